//! Erasures: whose content goes, as the ledger's entry says it, and whether an entry without its content is covered.

use std::collections::BTreeSet;

use serde::Deserialize;
use uuid::Uuid;

use crate::canonical::{Object, Value};

/// What is shown in place of a text that was erased.
pub const ERASED: &str = "erased";

/// Whose content is erased.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// That of these entries.
    Events(BTreeSet<Uuid>),
    /// That of all events of an agent.
    Agent(Uuid),
    /// That of all events of a task.
    Task(String),
    /// That of all that somebody sent, as the ledger names them: `key:…` or `user:…`.
    Actor(String),
}

/// What of an entry's record says whether it is meant.
#[derive(Debug, Deserialize)]
pub struct Named {
    id: Uuid,
    agent: Option<Uuid>,
    task: Option<String>,
    actor: String,
}

impl Subject {
    /// How the ledger names the kind of subject.
    pub fn name(&self) -> &'static str {
        match self {
            Subject::Events(_) => "events",
            Subject::Agent(_) => "agent",
            Subject::Task(_) => "task",
            Subject::Actor(_) => "actor",
        }
    }

    /// Whether an entry is meant.
    pub fn covers(&self, entry: &Named) -> bool {
        match self {
            Subject::Events(ids) => ids.contains(&entry.id),
            Subject::Agent(id) => entry.agent == Some(*id),
            Subject::Task(task) => entry.task.as_ref() == Some(task),
            Subject::Actor(actor) => entry.actor == *actor,
        }
    }

    /// As the ledger has it.
    pub fn record(&self) -> Object<'static> {
        let value = match self {
            Subject::Events(ids) => Value::List(ids.iter().copied().map(Value::Id).collect()),
            Subject::Agent(id) => Value::Id(*id),
            Subject::Task(text) | Subject::Actor(text) => Value::Text(text.clone().into()),
        };
        Object::new().value(self.name(), value)
    }
}

/// An erasure in the ledger. It is about entries before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    /// Its place.
    pub seq: i64,
    /// Whose content went.
    pub subject: Subject,
}

impl Erasure {
    /// What an entry of the kind `erasure` says.
    pub fn of(seq: i64, canonical: &[u8]) -> Option<Erasure> {
        #[derive(Deserialize)]
        struct Record {
            subject: Subject,
        }
        let Record { subject } = serde_json::from_slice(canonical).ok()?;
        Some(Erasure { seq, subject })
    }

    /// Whether the content of this entry is gone because of it.
    pub fn covers(&self, seq: i64, entry: &Named) -> bool {
        seq < self.seq && self.subject.covers(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_read_back_and_covers_what_it_names() {
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let entry =
            Named { id: one, agent: Some(other), task: Some("t".to_owned()), actor: "key:a".to_owned() };
        for (subject, covers) in [
            (Subject::Events(BTreeSet::from([one, other])), true),
            (Subject::Events(BTreeSet::from([other])), false),
            (Subject::Agent(other), true),
            (Subject::Agent(one), false),
            (Subject::Task("t".to_owned()), true),
            (Subject::Task("T".to_owned()), false),
            (Subject::Actor("key:a".to_owned()), true),
            (Subject::Actor("key:b".to_owned()), false),
        ] {
            let bytes = Object::new().value("subject", Value::Object(subject.record())).to_bytes();
            let erasure = Erasure::of(7, &bytes).unwrap();
            assert_eq!((erasure.seq, &erasure.subject), (7, &subject));
            assert_eq!((erasure.covers(6, &entry), erasure.covers(7, &entry)), (covers, false));
        }
    }
}
