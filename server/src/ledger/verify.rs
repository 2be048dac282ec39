//! Verification of a stretch of a ledger: every entry follows from the one before it.
//!
//! This shows what was changed, removed or inserted before an entry that is known to be good. It can't show that the end
//! was cut off, or that all was written anew from some entry on: that takes a checkpoint ([`super::audit`]).

use serde::Deserialize;

use super::export::Line;
use super::{Head, sha256};
use crate::vault::Bytes32;

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
    /// This entry is not what was hashed, or the one after it does not follow from it.
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
        match follow(head, &Line::from(&entry)) {
            Verified::Ok(next) => head = next,
            found => return found,
        }
    }
    Verified::Ok(head)
}

/// The head behind this entry, if it follows.
pub(super) fn follow(head: Head, entry: &Line<'_>) -> Verified {
    let Ok(place) = serde_json::from_slice::<Place>(entry.canonical) else {
        return Verified::ChangedAt(head.next_seq);
    };
    let hash = sha256(&[&entry.prev_hash, entry.canonical]);
    if place.seq != entry.seq || entry.hash != hash || entry.seq < head.next_seq {
        return Verified::ChangedAt(head.next_seq);
    }
    // The entry is whole, so the fault is before it.
    if entry.seq > head.next_seq {
        return Verified::GapAt(head.next_seq);
    }
    if entry.prev_hash != head.hash {
        return Verified::ChangedAt((head.next_seq - 1).max(0));
    }
    if place.at <= head.at_us {
        return Verified::TimeGoesBack(entry.seq);
    }
    Verified::Ok(Head { next_seq: head.next_seq + 1, hash, at_us: place.at })
}
