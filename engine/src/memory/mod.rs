//! Memory: a deterministic fold over the ledger, kept per key, asked by rules.
//!
//! [`Memories`] holds what the loaded rules need of the past, bounded. [`history::History`] answers the same questions
//! from the full list of events, slowly and obviously: it defines what they mean.

mod adopt;
pub(crate) mod answer;
mod erased;
mod group;
pub mod history;
pub(crate) mod key;
mod snapshot;
pub(crate) mod state;
mod steps;
pub(crate) mod store;
#[cfg(test)]
mod tests;
mod undo;

use std::sync::LazyLock;

use crate::interpret::expr::Scene;
use crate::plan::memory::{AskPlan, Keep, MemoryPlan, PartPlan, Window};
use crate::plan::{Cond, Plan};
use crate::truth::Truth;
use answer::{Answer, Span};
use key::Key;
use lictor_dsl::hir::{Became, Const, MemoryOperator};
use state::{Sight, Stamp, State, Stored};

pub use adopt::Missing;
pub use snapshot::SnapshotError;
pub use store::{Memories, MemoryLimits};

use crate::event::Event;

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It was not denied and waits for nobody.
    Happened,
    /// It waits for an approval: attempted, and nothing else yet.
    Waiting,
    /// It was denied.
    Denied,
    /// It waited and was approved: it happens now.
    Approved,
}

impl Fate {
    /// What becomes of an event that is judged so.
    pub fn of(outcome: crate::decision::Outcome) -> Fate {
        use crate::decision::Outcome;
        match outcome {
            Outcome::Allow | Outcome::Warn => Fate::Happened,
            Outcome::RequireApproval => Fate::Waiting,
            Outcome::Deny => Fate::Denied,
        }
    }

    fn is(self, wanted: Became) -> bool {
        match wanted {
            Became::Happened => matches!(self, Fate::Happened | Fate::Approved),
            Became::Attempted => self != Fate::Approved,
            Became::Denied => self == Fate::Denied,
        }
    }
}

/// What answers questions about earlier events.
pub(crate) trait Recall: std::fmt::Debug {
    /// The answer of a memory under a key. `any` is the key that stands for all values of the lists among the keys.
    fn recall<'m>(&'m self, ask: &Asked<'_>) -> Answer<'m>;

    /// The events that the answer rests on.
    fn witnesses(&self, ask: &Asked<'_>) -> Vec<u64>;

    /// Whether a memory holds everything since the ledger began. Rules that ask one that does not are in shadow.
    fn is_ready(&self, memory: usize) -> bool;

    /// The plan whose memories these are.
    fn plan(&self) -> Option<&Plan>;
}

/// A question with its keys worked out.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    pub ask: &'a AskPlan,
    pub key: Key,
    /// The key that stands for every value of the lists among the keys.
    pub any: Option<Key>,
    pub span: Span,
    pub now: i64,
}

/// Nothing is remembered.
#[derive(Debug)]
pub(crate) struct Nothing;

impl Recall for Nothing {
    fn recall<'m>(&'m self, _: &Asked<'_>) -> Answer<'m> {
        Answer::UNKNOWN
    }

    fn witnesses(&self, _: &Asked<'_>) -> Vec<u64> {
        Vec::new()
    }

    fn is_ready(&self, _: usize) -> bool {
        true
    }

    fn plan(&self) -> Option<&Plan> {
        None
    }
}

impl Window {
    /// The window with its parameter's value.
    pub(crate) fn span(self, params: &[Const]) -> Option<Span> {
        Some(match self {
            Window::Always => Span::Always,
            Window::Time(micros) => Span::Time(micros),
            Window::Events(count) => Span::Events(count as usize),
            Window::Param(place) => match params.get(place) {
                Some(Const::Duration(micros)) => Span::Time(*micros),
                _ => return None,
            },
        })
    }
}

/// What an event is to a memory; none if it does not concern it.
fn sight<'e>(
    memory: &'e MemoryPlan,
    event: &Event,
    fate: Fate,
    scene: &Scene<'e>,
    condition: impl Fn(&'e Cond) -> Truth,
) -> Option<Sight> {
    let of_kind = |part: &PartPlan| part.kinds.contains(&event.kind()) && fate.is(part.became);
    let truth = |part: &'e PartPlan| if of_kind(part) { condition(&part.filter) } else { Truth::False };
    let mut parts = memory.parts.iter().map(truth);
    let mut sight = Sight {
        first: parts.next().unwrap_or_default(),
        others: parts.collect(),
        since: memory.since.as_ref().map_or(Truth::False, truth),
        until: memory.until.as_ref().map_or(Truth::False, truth),
        of_kind: memory.parts.first().is_some_and(of_kind),
        value: None,
    };
    let counts_others = matches!(memory.keep, Keep::Events(_) | Keep::Streak) && sight.of_kind;
    let matched = |truth: &Truth| *truth != Truth::False;
    let edges = [&sight.first, &sight.since, &sight.until];
    if !counts_others && !edges.into_iter().chain(&sight.others).any(matched) {
        return None;
    }
    if matched(&sight.first)
        && let Some(value) = memory.parts.first().and_then(|part| part.value.as_ref())
    {
        let value = scene.evaluate(value);
        sight.value = match memory.operator {
            MemoryOperator::Distinct => value.as_ref().and_then(key::digest).map(Stored::Digest),
            _ => value.as_ref().and_then(Stored::new),
        };
    }
    Some(sight)
}

/// About how many bytes one key of a memory takes at most, but for values that are texts or json.
pub(crate) fn bytes_per_key(memory: &MemoryPlan) -> usize {
    /// A key and its record in a table that is up to half empty, and its place in the queue of the oldest.
    const KEY: usize = 2 * (16 + 40) + 64;
    // Rings grow by doubling, from room for four.
    let room = |most: usize| most.next_power_of_two().max(4);
    let entry = match memory.keep {
        Keep::Ring(most) => room(most) * size_of::<Stamp>(),
        Keep::Values(most) => room(most) * size_of::<(u128, Stamp)>(),
        Keep::Steps(None, most) => room(most) * size_of::<steps::Step>(),
        Keep::Steps(Some(_), most) => room(most) * size_of::<steps::Step>() + size_of::<steps::Earlier>(),
        Keep::Events(most) => room(most) * size_of::<state::Entry>(),
        Keep::Stages(parts) => parts * (size_of::<Option<Vec<Stamp>>>() + room(parts) * size_of::<Stamp>()),
        Keep::Value => size_of::<state::Latest>(),
        Keep::Mark | Keep::Streak | Keep::Since => 0,
    };
    // What is only possible is kept apart, where the condition can be unknown.
    let both = if matches!(memory.keep, Keep::Steps(..) | Keep::Events(_) | Keep::Value) { 1 } else { 2 };
    KEY + size_of::<(u32, State)>() + both * entry
}

/// A number for each event that is remembered, its place in the ledger.
pub type EventNumber = u64;

/// Memories that hold nothing, for policies that ask none.
pub(crate) fn none() -> &'static Memories {
    static NONE: LazyLock<Memories> = LazyLock::new(Memories::default);
    &NONE
}
