//! What an engine has to do to take part, and the fields that engines read which take no JSON themselves.

use anyhow::Result;
use serde::Deserialize;
use smallvec::SmallVec;

use crate::workload::Rule;

/// An engine. Rules forbid; what none forbids is allowed.
pub trait Peer: Sized {
    const NAME: &'static str;
    /// The crate whose version in Cargo.lock is reported.
    const CRATE: &'static str;

    /// An event in the form that the engine judges; it may borrow from the JSON.
    type Event<'json>;
    /// The decision and the names of the rules that matched, as the engine itself hands them out.
    type Answer<'peer>
    where
        Self: 'peer;

    /// The rules in the engine's language, in as many pieces as it likes.
    fn text(rules: &[Rule]) -> Vec<String>;

    /// From text to what can decide; the engine may take the names from `rules` where its language has none.
    fn load(text: Vec<String>, rules: &[Rule]) -> Result<Self>;

    fn prepare<'json>(&self, json: &'json [u8]) -> Result<Self::Event<'json>>;

    fn decide<'peer>(&'peer mut self, event: &Self::Event<'_>) -> Result<Self::Answer<'peer>>;

    /// The answer in one form for all engines; names in any order.
    fn verdict(answer: Self::Answer<'_>) -> Verdict;
}

/// An answer that can be compared.
#[derive(Debug, PartialEq, Eq)]
pub struct Verdict {
    pub allowed: bool,
    pub matched: Vec<String>,
}

/// The answer of engines that know one expression at a time: the names of those that were true.
pub type Matched<'a> = SmallVec<[&'a str; 4]>;

pub fn verdict_of(matched: Matched<'_>) -> Verdict {
    Verdict { allowed: matched.is_empty(), matched: matched.into_iter().map(str::to_owned).collect() }
}

/// The fields that the rules read, for engines that take typed values. Texts with escapes in them are refused.
#[derive(Debug, Deserialize)]
pub struct Fields<'a> {
    #[serde(borrow)]
    pub agent: Agent<'a>,
    pub tool: &'a str,
    pub target: &'a str,
    #[serde(borrow)]
    pub metadata: Metadata<'a>,
}

#[derive(Debug, Deserialize)]
pub struct Agent<'a> {
    #[serde(borrow)]
    pub tags: SmallVec<[&'a str; 4]>,
    trust: f64,
}

#[derive(Debug, Deserialize)]
pub struct Metadata<'a> {
    pub amount: i64,
    pub path: &'a str,
    pub ip: &'a str,
}

impl<'a> Fields<'a> {
    pub fn read(json: &'a [u8]) -> Result<Fields<'a>> {
        Ok(serde_json::from_slice(json)?)
    }
}

impl Agent<'_> {
    /// Trust in hundredths, for engines without fractions.
    pub fn trust(&self) -> i64 {
        (self.trust * 100.0).round() as i64
    }
}
