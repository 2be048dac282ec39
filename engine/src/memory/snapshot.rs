//! Memories as bytes, so that a restart need not read the whole ledger again.

use serde::{Deserialize, Serialize};

use super::group::{Group, Record};
use super::key::Key;
use super::store::{Memories, Slot};
use crate::generation::Generation;

/// The version of this form; another one is not read.
const FORM: u32 = 2;

/// The identity of a group, and its records.
type Records = ([u8; 32], Vec<(Key, Record)>);

#[derive(Serialize, Deserialize)]
struct Snapshot {
    form: u32,
    semantics: u32,
    slots: Vec<(u32, Slot)>,
    groups: Vec<Records>,
    latest_at: i64,
    remembered: u64,
    lost: Vec<(([u8; 32], Key), i64)>,
    all_lost: Option<i64>,
}

impl Memories {
    /// All that is remembered, as bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>, SnapshotError> {
        let groups = self.groups.iter().map(|group| {
            let mut records: Vec<(Key, Record)> =
                group.records().map(|(key, record)| (*key, record.of(&self.slots))).collect();
            // Equal memories have equal bytes.
            records.sort_unstable_by_key(|(key, record)| (record.touched, *key));
            (group.identity, records)
        });
        let mut groups: Vec<_> = groups.collect();
        groups.sort_unstable_by_key(|(identity, _)| *identity);
        let mut slots: Vec<(u32, Slot)> =
            self.slots.iter().map(|(number, slot)| (*number, slot.clone())).collect();
        slots.sort_unstable_by_key(|(number, _)| *number);
        let mut lost: Vec<_> = self.lost.iter().map(|(lost, at)| (*lost, *at)).collect();
        lost.sort_unstable();
        let snapshot = Snapshot {
            form: FORM,
            semantics: crate::SEMANTICS,
            slots,
            groups,
            latest_at: self.latest_at,
            remembered: self.remembered,
            lost,
            all_lost: self.all_lost,
        };
        postcard::to_allocvec(&snapshot).map_err(|error| SnapshotError(error.to_string()))
    }

    /// Memories from a snapshot, for a policy set; what the snapshot does not hold has to be filled from the ledger,
    /// and is listed by [`Memories::missing`].
    pub fn from_bytes(bytes: &[u8], generation: &Generation) -> Result<Memories, SnapshotError> {
        let snapshot: Snapshot =
            postcard::from_bytes(bytes).map_err(|error| SnapshotError(error.to_string()))?;
        if (snapshot.form, snapshot.semantics) != (FORM, crate::SEMANTICS) {
            return Err(SnapshotError("it is of another version".to_owned()));
        }
        let groups = snapshot.groups.into_iter().map(|(identity, records)| Group::of(identity, records));
        let next_slot = snapshot.slots.iter().map(|(number, _)| number.saturating_add(1)).max().unwrap_or(0);
        let mut memories = Memories::default();
        memories.slots = snapshot.slots.into_iter().collect();
        memories.next_slot = next_slot;
        memories.groups = groups.collect();
        memories.latest_at = snapshot.latest_at;
        memories.remembered = snapshot.remembered;
        memories.lost = snapshot.lost.into_iter().collect();
        memories.all_lost = snapshot.all_lost;
        memories.adopt(generation);
        Ok(memories)
    }
}

/// Why a snapshot can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the snapshot can't be used: {0}")]
pub struct SnapshotError(String);
