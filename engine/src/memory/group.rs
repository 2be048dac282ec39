//! All that is kept under one set of keys, and the order in which keys can be let go.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use super::key::{BitsState, Key};
use super::state::State;

/// Keys are ordered by the minute in which they were touched: a busy one moves once a minute.
const MINUTE_US: i64 = 60_000_000;

/// What is kept under one key: for each memory its state, by slot.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    pub touched: i64,
    /// The edit of the policies since which it holds no state that nobody asks any more.
    #[serde(skip)]
    pub edit: u32,
    pub states: Vec<(u32, State)>,
}

impl Record {
    /// A copy with the states of these slots. The numbers of the others may be given again.
    pub(super) fn of<S>(&self, slots: &HashMap<u32, S>) -> Record {
        let asked = self.states.iter().filter(|(slot, _)| slots.contains_key(slot));
        Record { touched: self.touched, edit: 0, states: asked.cloned().collect() }
    }

    pub(super) fn state(&self, slot: u32) -> Option<&State> {
        let place = self.states.binary_search_by_key(&slot, |(slot, _)| *slot).ok()?;
        self.states.get(place).map(|(_, state)| state)
    }

    pub(super) fn state_mut(&mut self, slot: u32) -> Option<&mut State> {
        let place = self.states.binary_search_by_key(&slot, |(slot, _)| *slot).ok()?;
        self.states.get_mut(place).map(|(_, state)| state)
    }
}

/// Everything under one set of keys.
#[derive(Debug, Default, Clone)]
pub(super) struct Group {
    /// What its keys mean.
    pub identity: [u8; 32],
    records: HashMap<Key, Record, BitsState>,
    /// Every key, by the minute in which it was touched.
    order: BTreeSet<(i64, Key)>,
    /// How long a key can matter, in microseconds.
    pub horizon_us: i64,
}

fn minute(touched: i64) -> i64 {
    touched.div_euclid(MINUTE_US)
}

impl Group {
    pub(super) fn new(identity: [u8; 32]) -> Group {
        Group { identity, ..Group::default() }
    }

    /// A group of these records.
    pub(super) fn of(identity: [u8; 32], records: Vec<(Key, Record)>) -> Group {
        let order = records.iter().map(|(key, record)| (minute(record.touched), *key)).collect();
        Group { identity, records: records.into_iter().collect(), order, horizon_us: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn get(&self, key: Key) -> Option<&Record> {
        self.records.get(&key)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Record> {
        self.records.get_mut(&key)
    }

    pub(super) fn records(&self) -> impl Iterator<Item = (&Key, &Record)> {
        self.records.iter()
    }

    pub(super) fn into_records(self) -> impl Iterator<Item = (Key, Record)> {
        self.records.into_iter()
    }

    /// Says that a key was touched then; a new one gets a record. Returns the record, and when it was touched before.
    pub(super) fn touch(&mut self, key: Key, at: i64) -> (&mut Record, Option<i64>) {
        match self.records.entry(key) {
            Entry::Occupied(known) => {
                let record = known.into_mut();
                let before = std::mem::replace(&mut record.touched, at);
                if minute(before) != minute(at) {
                    self.order.remove(&(minute(before), key));
                    self.order.insert((minute(at), key));
                }
                (record, Some(before))
            }
            Entry::Vacant(room) => {
                self.order.insert((minute(at), key));
                (room.insert(Record { touched: at, ..Record::default() }), None)
            }
        }
    }

    pub(super) fn insert(&mut self, key: Key, record: Record) {
        self.order.insert((minute(record.touched), key));
        self.records.insert(key, record);
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Record> {
        let record = self.records.remove(&key)?;
        self.order.remove(&(minute(record.touched), key));
        Some(record)
    }

    /// The key that was touched longest ago, to the minute, and that minute.
    pub(super) fn oldest(&self) -> Option<(i64, Key)> {
        self.order.first().copied()
    }

    /// Whether no key that was touched in this minute can matter any more.
    pub(super) fn is_over(&self, minute: i64, now: i64) -> bool {
        self.over_at(minute) <= now
    }

    /// When no key that was touched in this minute can matter any more.
    fn over_at(&self, minute: i64) -> i64 {
        minute.saturating_add(1).saturating_mul(MINUTE_US).saturating_add(self.horizon_us)
    }

    /// When the oldest key can't matter any more.
    pub(super) fn due(&self) -> i64 {
        self.oldest().map_or(i64::MAX, |(minute, _)| self.over_at(minute))
    }

    /// When a key can't matter any more that was touched then.
    pub(super) fn due_after(&self, touched: i64) -> i64 {
        self.over_at(minute(touched))
    }

    /// About how many bytes are held.
    pub(super) fn bytes(&self) -> usize {
        let record = |record: &Record| {
            record.states.capacity() * size_of::<(u32, State)>()
                + record.states.iter().map(|(_, state)| state.heap()).sum::<usize>()
        };
        // Nodes of an ordered set are about two thirds full.
        self.records.values().map(record).sum::<usize>()
            + self.records.capacity() * size_of::<(Key, Record)>()
            + self.order.len() * size_of::<(i64, Key)>() * 3 / 2
    }
}
