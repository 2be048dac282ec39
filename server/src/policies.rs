//! Policies: the sources that an org keeps, their versions, and which of them decide.

use std::collections::HashMap;
use std::sync::Arc;

use lictor_dsl::{Source, load};
use lictor_engine::generation::Generation;
use lictor_engine::memory::Missing;
use serde::Deserialize;
use uuid::Uuid;

use crate::ledger::sha256;
use crate::vault::{Bytes32, hex};

/// One policy of an org.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Its id.
    pub id: Uuid,
    /// The name in its header, unique in the org.
    pub name: String,
    /// Its title.
    pub title: String,
    /// Whether it takes part.
    pub enabled: bool,
    /// Whether somebody let it only report.
    pub shadow: bool,
    /// Whether its source says that it only reports.
    pub shadow_by_header: bool,
    /// Counts its sources.
    pub version: i64,
    /// Counts its changes of any kind; what an ETag shows.
    pub revision: i64,
    /// The text, byte for byte as it came.
    pub source: Arc<str>,
    /// When it was made.
    pub created_at_us: i64,
    /// When it was last changed.
    pub updated_at_us: i64,
}

impl Policy {
    /// What the source is kept under.
    pub fn digest(&self) -> Bytes32 {
        sha256(&[self.source.as_bytes()])
    }

    /// Whether it only reports, if it takes part.
    pub fn only_reports(&self) -> bool {
        self.shadow || self.shadow_by_header
    }

    /// How it takes part: `enforce`, `shadow` or `disabled`.
    pub fn mode(&self) -> &'static str {
        match (self.enabled, self.only_reports()) {
            (false, _) => "disabled",
            (true, true) => "shadow",
            (true, false) => "enforce",
        }
    }

    /// As entries name it, if it takes part.
    pub fn takes_part(&self) -> Option<TakesPart> {
        let source = format!("sha256:{}", hex(&self.digest()));
        self.enabled.then(|| TakesPart { name: self.name.clone(), mode: self.mode().to_owned(), source })
    }
}

/// A policy that takes part, as entries about policies name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct TakesPart {
    /// Its name.
    pub name: String,
    /// `enforce` or `shadow`.
    pub mode: String,
    /// The digest of its source: `sha256:…`.
    pub source: String,
}

/// Whether the header of a source says `mode = "shadow"`.
pub fn header_says_shadow(source: &str) -> bool {
    let checked = load(vec![Source::new("policy", source)]);
    checked.set.policies.first().is_some_and(|policy| policy.shadow)
}

/// All policies of an org, by name. Replaced whole.
pub type Policies = Arc<Vec<Arc<Policy>>>;

/// What decides: the policies of an org and the generation that they make. Replaced whole.
#[derive(Debug)]
pub struct InForce {
    /// All policies of the org.
    pub policies: Policies,
    /// Those that take part, compiled.
    pub generation: Arc<Generation>,
    /// The memories that are being filled from the ledger. Until they are, the rules that ask them are in shadow.
    pub filling: Vec<Missing>,
    /// What decisions name. While memories are being filled the same policies decide otherwise, so it is another.
    pub policy_set: Arc<str>,
    /// The full names of the rules of each policy that takes part.
    rules: HashMap<String, Vec<Arc<str>>>,
}

impl InForce {
    /// These policies, with rules in shadow until these memories are filled.
    pub fn new(policies: Policies, generation: Arc<Generation>, filling: Vec<Missing>) -> InForce {
        let policy_set = match filling.is_empty() {
            true => Arc::from(generation.digest()),
            false => {
                let mut text = generation.digest().to_owned();
                for missing in &filling {
                    text.extend(["\0", &missing.memory]);
                }
                Arc::from(format!("sha256:{}", hex(&sha256(&[text.as_bytes()]))))
            }
        };
        let mut rules: HashMap<String, Vec<Arc<str>>> = HashMap::new();
        for rule in generation.rules() {
            let policy = rule.split_once('.').map_or("", |(policy, _)| policy);
            rules.entry(policy.to_owned()).or_default().push(Arc::clone(rule));
        }
        InForce { policies, generation, filling, policy_set, rules }
    }

    /// The same once all memories are filled.
    pub fn filled(&self) -> InForce {
        InForce::new(Arc::clone(&self.policies), Arc::clone(&self.generation), Vec::new())
    }

    /// Whether a rule waits for its memory.
    pub fn is_filling(&self, rule: &str) -> bool {
        self.filling.iter().any(|missing| missing.rules.iter().any(|waiting| &**waiting == rule))
    }

    /// The full names of a policy's rules.
    pub fn rules_of(&self, policy: &str) -> &[Arc<str>] {
        self.rules.get(policy).map_or(&[], Vec::as_slice)
    }
}

/// One earlier or present source of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Counted from 1.
    pub version: i64,
    /// Its text.
    pub source: String,
    /// Who saved it.
    pub actor: String,
    /// When.
    pub created_at_us: i64,
}

/// The policy that a new org starts with: ordinary, so it can be read, changed and removed.
pub const BASE: &str = include_str!("base.lictor");
