//! The ledger: what one entry is, how its bytes are made, how entries are chained, and how a chain is verified.
//!
//! One org has one ledger: a dense sequence from 0 whose time only goes forward. An entry's hash covers the hash
//! before it and the canonical bytes of everything that was decided; personal content enters as an HMAC only.

use aws_lc_rs::digest;
use lictor_dsl::number::Number;
use lictor_engine::decision::{Approval, Decision, Obligation, ReportedTruth, RuleReport};
use serde::Deserialize;
use uuid::Uuid;

use crate::canonical::{MAX_INTEGER, Object, Value};
use crate::vault::{Bytes32, hex};

/// The version of the record format.
pub const VERSION: i64 = 1;

/// Room for the members of the entry of a judged event.
const MEMBERS: usize = 18;

/// Where a ledger stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The sequence number of the next entry.
    pub next_seq: i64,
    /// The hash of the latest entry; zeros before the first.
    pub hash: Bytes32,
    /// The time of the latest entry.
    pub at_us: i64,
}

impl Head {
    /// The head of a ledger without entries.
    pub const EMPTY: Head = Head { next_seq: 0, hash: [0; 32], at_us: 0 };
}

/// One entry, ready to be stored: the bytes that are hashed, and index columns over them.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "named like the columns of the table, which is documented")]
pub struct Entry {
    pub seq: i64,
    pub id: Uuid,
    pub canonical: Vec<u8>,
    pub hash: Bytes32,
    pub prev_hash: Bytes32,
    pub at_us: i64,
    pub index: Index,
}

/// What entries can be searched by.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "named like the columns of the table, which is documented")]
pub struct Index {
    pub kind: &'static str,
    pub source: &'static str,
    pub agent: Option<Uuid>,
    pub task: Option<String>,
    pub actor: String,
    pub action: Option<String>,
    pub outcome: Option<&'static str>,
    pub risk: Option<Number>,
}

/// A step of a task: its number and the hash that chains the task's steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Counted from 1.
    pub number: i64,
    /// The task's hash after this step.
    pub hash: Bytes32,
    /// The task's hash before it; zeros before the first.
    pub previous: Bytes32,
}

/// Where a step stands before its hash is known.
#[derive(Debug, Clone, Copy)]
pub struct StepBefore {
    /// Steps the task has had.
    pub steps: i64,
    /// The task's hash so far.
    pub hash: Bytes32,
}

impl StepBefore {
    /// A task without steps.
    pub const START: StepBefore = StepBefore { steps: 0, hash: [0; 32] };
}

/// What an entry says beside its place and time.
#[derive(Debug)]
pub struct Record<'a> {
    /// The entry's id, which is also the id of its decision or log step.
    pub id: Uuid,
    /// What it can be searched by.
    pub index: Index,
    /// What the entry says, by name. See [`judged`].
    pub content: Object<'a>,
    /// The task that this is a step of.
    pub step: Option<StepBefore>,
}

/// Gives a record its place and time, makes its bytes, and moves the head past it.
pub fn append(head: &mut Head, org: Uuid, at_us: i64, record: Record<'_>) -> (Entry, Option<Step>) {
    let Record { id, index, content, step } = record;
    let mut object = content
        .integer("v", VERSION)
        .integer("semantics", i64::from(lictor_engine::SEMANTICS))
        .id("org", org)
        .integer("seq", head.next_seq)
        .id("id", id)
        .integer("at", at_us)
        .text("kind", index.kind)
        .text("source", index.source)
        .optional_text("task", index.task.as_deref())
        .text("actor", index.actor.as_str())
        .optional_text("action", index.action.as_deref());
    if let Some(agent) = index.agent {
        object = object.id("agent", agent);
    }
    let step = step.map(|before| {
        object = std::mem::take(&mut object).integer("step", before.steps + 1);
        let leaf = sha256(&[&object.to_bytes()]);
        let step =
            Step { number: before.steps + 1, hash: sha256(&[&before.hash, &leaf]), previous: before.hash };
        object = std::mem::take(&mut object).text("task_hash", hex(&step.hash));
        step
    });
    let canonical = object.to_bytes();
    drop(object);
    let prev_hash = head.hash;
    let hash = sha256(&[&prev_hash, &canonical]);
    let entry = Entry { seq: head.next_seq, id, canonical, hash, prev_hash, at_us, index };
    *head = Head { next_seq: head.next_seq + 1, hash, at_us };
    (entry, step)
}

/// The content of an entry for a judged event: the decision as it was made, without texts that may be personal.
pub fn judged<'a>(decision: &'a Decision, agent_revision: i64, payload: &Bytes32) -> Object<'a> {
    let rules = decision.rules.iter().map(|rule| Value::Object(rule_record(rule))).collect();
    let mut outcome = Object::new()
        .text("outcome", decision.decision.name())
        .text("class", decision.class.name())
        .text("risk", decision.risk.to_string())
        .value("rules", Value::List(rules));
    if let Some(approval) = &decision.approval {
        outcome = outcome.value("approval", Value::Object(approval_record(approval)));
    }
    if !decision.obligations.is_empty() {
        let obligations = decision.obligations.iter().map(|one| Value::Object(obligation_record(one)));
        outcome = outcome.value("obligations", Value::List(obligations.collect()));
    }
    Object::with_room(MEMBERS)
        .value("decision", Value::Object(outcome))
        .text("policy_set", &*decision.policy_set)
        .integer("agent_revision", agent_revision)
        .text("payload", format!("hmac-sha256:{}", hex(payload)))
}

fn approval_record(approval: &Approval) -> Object<'_> {
    let object =
        Object::new().value("from", texts(&approval.from)).integer("count", i64::from(approval.count));
    match approval.within_s {
        Some(seconds) => {
            object.integer("within_s", i64::try_from(seconds).map_or(MAX_INTEGER, |s| s.min(MAX_INTEGER)))
        }
        None => object,
    }
}

fn obligation_record(obligation: &Obligation) -> Object<'_> {
    let object = Object::new()
        .text("do", &*obligation.action)
        .optional_text("to", obligation.to.as_deref())
        .optional_text("path", obligation.path.as_deref());
    if obligation.shadow { object.integer("shadow", 1) } else { object }
}

fn texts(texts: &[String]) -> Value<'_> {
    Value::List(texts.iter().map(|text| Value::Text(text.as_str().into())).collect())
}

fn rule_record(rule: &RuleReport) -> Object<'_> {
    let truth = match rule.truth {
        ReportedTruth::True => "true",
        ReportedTruth::Unknown => "unknown",
    };
    let mode = match rule.mode {
        lictor_engine::decision::Mode::Enforce => "enforce",
        lictor_engine::decision::Mode::Shadow => "shadow",
    };
    let object = Object::new()
        .text("rule", &*rule.rule)
        .optional_text("effect", rule.effect.map(|effect| effect.name()))
        .text("truth", truth)
        .text("mode", mode)
        .optional_text("score", rule.score.map(|score| score.to_string()));
    let object = if rule.missing.is_empty() { object } else { object.value("missing", texts(&rule.missing)) };
    let object = if rule.filling { object.integer("filling", 1) } else { object };
    if rule.exempted { object.integer("exempted", 1) } else { object }
}

/// SHA-256 of the parts, one after the other.
pub fn sha256(parts: &[&[u8]]) -> Bytes32 {
    let digest = match parts {
        [whole] => digest::digest(&digest::SHA256, whole),
        parts => {
            let mut context = digest::Context::new(&digest::SHA256);
            parts.iter().for_each(|part| context.update(part));
            context.finish()
        }
    };
    let mut hash = [0; 32];
    hash.copy_from_slice(digest.as_ref());
    hash
}

/// An entry as it was stored, for verification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEntry {
    /// Its sequence number.
    pub seq: i64,
    /// Its canonical bytes.
    pub canonical: Vec<u8>,
    /// Its hash.
    pub hash: Bytes32,
    /// The hash before it.
    pub prev_hash: Bytes32,
}

/// What verification found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verified {
    /// Every entry follows from the one before it.
    Ok(Head),
    /// This entry is not what was hashed, or does not follow from the one before it.
    ChangedAt(i64),
    /// An entry with this number is missing.
    GapAt(i64),
    /// This entry is not later than the one before it.
    TimeGoesBack(i64),
}

/// The members of a record that place it.
#[derive(Deserialize)]
struct Place {
    seq: i64,
    at: i64,
}

/// Recomputes a stretch of a ledger: `from` is where it stood before the first of these entries.
pub fn verify(from: Head, entries: impl IntoIterator<Item = StoredEntry>) -> Verified {
    let mut head = from;
    for entry in entries {
        if entry.seq != head.next_seq {
            return Verified::GapAt(head.next_seq);
        }
        let Ok(place) = serde_json::from_slice::<Place>(&entry.canonical) else {
            return Verified::ChangedAt(entry.seq);
        };
        let hash = sha256(&[&head.hash, &entry.canonical]);
        if place.seq != entry.seq || entry.prev_hash != head.hash || entry.hash != hash {
            return Verified::ChangedAt(entry.seq);
        }
        if place.at <= head.at_us {
            return Verified::TimeGoesBack(entry.seq);
        }
        head = Head { next_seq: head.next_seq + 1, hash, at_us: place.at };
    }
    Verified::Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(times: &[i64]) -> (Vec<StoredEntry>, Head) {
        let mut head = Head::EMPTY;
        let mut entries = Vec::new();
        for at in times {
            let index = Index { kind: "test", source: "test", actor: "test".to_owned(), ..Index::default() };
            let record = Record { id: Uuid::from_u128(1), index, content: Object::new(), step: None };
            let (entry, _) = append(&mut head, Uuid::from_u128(9), *at, record);
            let Entry { seq, canonical, hash, prev_hash, .. } = entry;
            entries.push(StoredEntry { seq, canonical, hash, prev_hash });
        }
        (entries, head)
    }

    #[test]
    fn a_whole_chain_verifies_and_gives_its_head() {
        let (entries, head) = chain(&[10, 20, 30]);
        assert_eq!(verify(Head::EMPTY, entries), Verified::Ok(head));
        assert_eq!(head.next_seq, 3);
    }

    #[test]
    fn every_changed_byte_is_found() {
        let (entries, _) = chain(&[10, 20, 30]);
        for place in 0..entries[1].canonical.len() {
            let mut changed = entries.clone();
            changed[1].canonical[place] ^= 1;
            assert_eq!(verify(Head::EMPTY, changed), Verified::ChangedAt(1), "byte {place}");
        }
        for place in 0..32 {
            let mut changed = entries.clone();
            changed[1].hash[place] ^= 1;
            assert_eq!(verify(Head::EMPTY, changed), Verified::ChangedAt(1));
            let mut changed = entries.clone();
            changed[2].prev_hash[place] ^= 1;
            assert_eq!(verify(Head::EMPTY, changed), Verified::ChangedAt(2));
        }
    }

    #[test]
    fn missing_swapped_and_repeated_entries_are_found() {
        let (entries, _) = chain(&[10, 20, 30]);
        let pick = |places: &[usize]| places.iter().map(|place| entries[*place].clone()).collect::<Vec<_>>();
        assert_eq!(verify(Head::EMPTY, pick(&[0, 2])), Verified::GapAt(1));
        assert_eq!(verify(Head::EMPTY, pick(&[1, 2])), Verified::GapAt(0));
        assert_eq!(verify(Head::EMPTY, pick(&[0, 2, 1])), Verified::GapAt(1));
        assert_eq!(verify(Head::EMPTY, pick(&[0, 1, 1, 2])), Verified::GapAt(2));
    }

    #[test]
    fn time_that_goes_back_is_found() {
        let (entries, _) = chain(&[10, 20, 15]);
        assert_eq!(verify(Head::EMPTY, entries), Verified::TimeGoesBack(2));
    }

    #[test]
    fn a_step_chains_its_task() {
        let mut head = Head::EMPTY;
        let mut before = StepBefore::START;
        let mut steps = Vec::new();
        for at in [1, 2] {
            let index = Index { kind: "log", source: "test", actor: "test".to_owned(), ..Index::default() };
            let record = Record { id: Uuid::from_u128(1), index, content: Object::new(), step: Some(before) };
            let (entry, step) = append(&mut head, Uuid::from_u128(9), at, record);
            let step = step.unwrap();
            assert!(String::from_utf8(entry.canonical).unwrap().contains(&hex(&step.hash)));
            before = StepBefore { steps: step.number, hash: step.hash };
            steps.push(step);
        }
        assert_eq!((steps[0].number, steps[0].previous), (1, [0; 32]));
        assert_eq!((steps[1].number, steps[1].previous), (2, steps[0].hash));
    }
}
