//! The ledger: what one entry is, how its bytes are made, how entries are chained, and how that is verified and proved.
//!
//! One org has one ledger: a dense sequence from 0 whose time only goes forward. An entry's hash covers the hash
//! before it and the canonical bytes of everything that was decided; personal content enters as an HMAC only. Beside
//! the chain there is a Merkle tree over the same bytes ([`tree`]), whose root is signed from time to time
//! ([`checkpoint`]), so that what somebody else holds proves what the chain alone can't ([`audit`], [`proof`]).
//! Nothing here knows of a database or waits for anything.

pub mod audit;
pub mod checkpoint;
pub mod erasure;
pub mod export;
pub mod note;
pub mod proof;
mod record;
pub mod tree;
mod verify;

use aws_lc_rs::digest;
use lictor_dsl::number::Number;
use uuid::Uuid;

use crate::canonical::Object;
use crate::vault::{Bytes32, hex};

pub use record::judged;
pub use verify::{StoredEntry, Verified, verify};

/// The version of the record format.
pub const VERSION: i64 = 1;

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

#[cfg(test)]
mod tests;
