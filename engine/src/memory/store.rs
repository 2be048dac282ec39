//! The keys and what is kept under each: bounded in number, with an undo journal for a batch that fails.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::answer::{self, Answer};
use super::group::{Group, Record};
use super::key::{self, Key};
use super::state::{Sight, Stamp, State};
use super::undo::{Before, Undo};
use super::{Asked, EventNumber, Fate, Recall, sight};
use crate::event::Event;
use crate::generation::Generation;
use crate::interpret::expr::Scene;
use crate::plan::Plan;
use crate::plan::memory::{Keep, MemoryPlan};

/// How much may be remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryLimits {
    /// Keys in all.
    pub keys: usize,
}

impl Default for MemoryLimits {
    fn default() -> MemoryLimits {
        MemoryLimits { keys: 4_000_000 }
    }
}

/// What the rules of one policy set need of the past.
#[derive(Debug, Default)]
pub struct Memories {
    /// The digest of the policy set that may ask.
    pub(super) digest: Option<Arc<str>>,
    /// For each memory of the plan where it is kept.
    pub(super) bound: Vec<Bound>,
    pub(super) slots: HashMap<u32, Slot>,
    pub(super) next_slot: u32,
    /// How often memories were dropped.
    pub(super) edit: u32,
    pub(super) groups: Vec<Group>,
    pub(super) limits: MemoryLimits,
    pub(super) live_keys: usize,
    /// The time of the latest event.
    pub(super) latest_at: i64,
    /// How many events were remembered.
    pub(super) remembered: u64,
    /// Keys that had to go while they were alive, and when: what is asked of them is unknown until it no longer matters.
    pub(super) lost: HashMap<([u8; 32], Key), i64>,
    /// When so many were lost that they are no longer told apart.
    pub(super) all_lost: Option<i64>,
    /// Keys lost since somebody asked.
    pub(super) lost_lately: u64,
    journal: Option<Vec<Undo>>,
    /// Before then no key is over.
    pub(super) due: i64,
    /// Room for what an event changes.
    changes: Vec<Change>,
}

/// Where a memory of the plan is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound {
    pub(super) slot: u32,
    pub(super) group: usize,
    pub(super) ready: bool,
}

/// One memory that is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Slot {
    pub(super) identity: [u8; 32],
    pub(super) keep: Keep,
    pub(super) horizon_us: i64,
    /// Whether it holds everything since the ledger began.
    pub(super) ready: bool,
}

impl Slot {
    /// Whether it holds all that this memory needs.
    pub(super) fn serves(&self, memory: &MemoryPlan) -> bool {
        self.identity == memory.identity
            && self.keep.covers(memory.keep)
            && self.horizon_us >= memory.horizon_us
    }
}

/// What an event changes in one memory.
#[derive(Debug)]
pub(super) struct Change {
    /// The number of the memory in the plan, and of its keys.
    pub(super) memory: usize,
    pub(super) group: usize,
    pub(super) bound: Bound,
    pub(super) sight: Sight,
}

/// Keys that one event buries in each group: they no longer matter, so there is no hurry.
const BURIED_AT_ONCE: usize = 8;

/// The most keys that are told apart after they were lost.
const LOST: usize = 100_000;

impl Memories {
    /// Empty memories for a policy set, at the beginning of a ledger.
    pub fn new(generation: &Generation) -> Memories {
        let mut memories = Memories::default();
        memories.adopt(generation);
        memories
    }

    /// The same with other limits.
    pub fn limited(generation: &Generation, limits: MemoryLimits) -> Memories {
        Memories { limits, ..Memories::new(generation) }
    }

    /// Whether a memory of the plan holds everything since the ledger began.
    pub(crate) fn is_ready(&self, memory: usize) -> bool {
        self.bound.get(memory).is_some_and(|bound| bound.ready)
    }

    /// Whether these memories were made for this plan.
    pub(crate) fn serves(&self, plan: &Plan) -> bool {
        let same = |digest: &Arc<str>| Arc::ptr_eq(digest, &plan.digest) || *digest == plan.digest;
        plan.memories.all.is_empty() || self.digest.as_ref().is_some_and(same)
    }

    /// How many keys are held.
    pub fn keys(&self) -> usize {
        self.live_keys
    }

    /// How many live keys had to go since this was asked last: each is worth an incident.
    pub fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost_lately)
    }

    /// Notes that something happened of which nothing needs to be remembered.
    pub fn pass(&mut self, at_us: i64) {
        self.note(Undo::Clock {
            latest_at: self.latest_at,
            remembered: self.remembered,
            lost_lately: self.lost_lately,
            all_lost: self.all_lost,
        });
        self.latest_at = self.latest_at.max(at_us);
        self.remembered += 1;
    }

    /// About how many bytes are held.
    pub fn bytes(&self) -> usize {
        self.groups.iter().map(Group::bytes).sum()
    }

    /// Takes in an event that was judged: `at_us` is when it happened, its number is that of its ledger entry. Events
    /// come in the order of the ledger.
    pub fn remember(
        &mut self,
        generation: &Generation,
        event: &Event,
        fate: Fate,
        number: EventNumber,
        at_us: i64,
    ) {
        let plan = generation.plan();
        self.pass(at_us);
        if plan.memories.all.is_empty() || !self.serves(plan) {
            return;
        }
        let scene = Scene::new(event, &plan.values);
        let mut changes = std::mem::take(&mut self.changes);
        generation.concerned(&scene, |memory, number, evaluator| {
            let Some(bound) = self.bound.get(number).filter(|bound| bound.ready) else { return };
            let condition = |condition| evaluator.condition(condition);
            if let Some(sight) = sight(memory, event, fate, &scene, condition) {
                changes.push(Change { memory: number, group: memory.group, bound: *bound, sight });
            }
        });
        self.take_in(plan, &scene, number, changes);
    }

    /// Changes what an event concerns.
    pub(super) fn take_in<'e>(
        &mut self,
        plan: &'e Plan,
        scene: &Scene<'e>,
        number: EventNumber,
        mut changes: Vec<Change>,
    ) {
        let stamp = Stamp { at: self.latest_at, id: number };
        // What has the same keys is kept together: each key is looked up once.
        changes.sort_by_key(|change| change.group);
        for changes in changes.chunk_by(|a, b| a.group == b.group) {
            let Some(group) = changes.first().and_then(|change| plan.memories.groups.get(change.group))
            else {
                continue;
            };
            key::each_key(scene.event.org(), &group.keys, scene, |key, any| {
                self.update(plan, key, changes, stamp, any);
            });
        }
        // What an event said is not kept longer than needed.
        changes.clear();
        self.changes = changes;
        self.bury();
    }

    /// Changes what is kept under one key. Under the one that stands for any value (`any`) only the time counts: until
    /// then nothing is certain.
    fn update(&mut self, plan: &Plan, key: Key, changes: &[Change], stamp: Stamp, any: bool) {
        let Some(Change { bound: Bound { group: place_of_group, .. }, .. }) = changes.first() else { return };
        let place_of_group = *place_of_group;
        let Some(group) = self.groups.get_mut(place_of_group) else { return };
        let due = group.due_after(stamp.at);
        let (record, touched) = group.touch(key, stamp.at);
        if touched.is_none() {
            self.live_keys += 1;
            self.due = self.due.min(due);
        }
        // A key that was not there goes as a whole.
        let mut journal = self.journal.as_mut();
        if let Some(journal) = &mut journal {
            journal.push(match touched {
                None => Undo::Created { group: place_of_group, key },
                Some(before) => Undo::Touched { group: place_of_group, key, before },
            });
        }
        let mut journal = journal.filter(|_| touched.is_some());
        if record.edit != self.edit {
            record.edit = self.edit;
            record.states.retain(|(slot, _)| self.slots.contains_key(slot));
        }
        let mut next = 0;
        for Change { memory, bound: Bound { slot, .. }, sight, .. } in changes {
            let Some(memory) = plan.memories.all.get(*memory) else { continue };
            // Mostly it is the one behind the last.
            let known = match record.states.get(next) {
                Some((known, _)) if known == slot => Ok(next),
                _ => record.states.binary_search_by_key(slot, |(slot, _)| *slot),
            };
            let place = known.unwrap_or_else(|place| {
                // There are as many keys as agents and tasks: no room is taken in advance.
                record.states.reserve_exact(1);
                let keep = if any { Keep::Mark } else { memory.keep };
                record.states.insert(place, (*slot, State::new(keep)));
                place
            });
            next = place + 1;
            let Some((_, state)) = record.states.get_mut(place) else { continue };
            if let Some(journal) = &mut journal {
                let (group, slot) = (place_of_group, *slot);
                journal.push(match known {
                    Err(_) => Undo::NoState { group, key, slot },
                    Ok(_) if any => {
                        let before = Before::Whole(Box::new(state.clone()));
                        Undo::State { group, key, slot, before }
                    }
                    Ok(_) => {
                        Undo::State { group, key, slot, before: Before::of(state, memory, sight, stamp) }
                    }
                });
            }
            if any {
                *state = State::at(stamp);
            } else {
                state.remember(memory, sight, stamp);
            }
        }
    }

    /// Lets go of keys that can no longer matter, a few an event; past the bound also of the oldest that could.
    pub(super) fn bury(&mut self) {
        let now = self.latest_at;
        if self.due <= now {
            for place in 0..self.groups.len() {
                for _ in 0..BURIED_AT_ONCE {
                    let Some(group) = self.groups.get(place) else { break };
                    let Some((_, key)) = group.oldest().filter(|(minute, _)| group.is_over(*minute, now))
                    else {
                        break;
                    };
                    self.bury_one(place, key);
                }
            }
            self.due = self.groups.iter().map(Group::due).min().unwrap_or(i64::MAX);
        }
        while self.live_keys > self.limits.keys {
            let oldest = self.groups.iter().enumerate();
            let oldest = oldest.filter_map(|(place, group)| Some((group.oldest()?, place))).min();
            let Some(((minute, key), place)) = oldest else { return };
            let alive = self.groups.get(place).is_some_and(|group| !group.is_over(minute, now));
            let identity = self.groups.get(place).map(|group| group.identity).unwrap_or_default();
            self.bury_one(place, key);
            if alive {
                self.lose(identity, key);
            }
        }
    }

    fn bury_one(&mut self, place: usize, key: Key) {
        let Some(record) = self.groups.get_mut(place).and_then(|group| group.remove(key)) else { return };
        self.live_keys -= 1;
        self.note(Undo::Gone { group: place, key, record });
    }

    fn lose(&mut self, group: [u8; 32], key: Key) {
        let now = self.latest_at;
        self.lost_lately += 1;
        if self.lost.len() >= LOST {
            let matters = |identity: &[u8; 32], at: i64| {
                let group = self.groups.iter().find(|group| group.identity == *identity);
                group.is_some_and(|group| now.saturating_sub(at) < group.horizon_us)
            };
            // Those that no longer matter make room.
            let over: Vec<_> = self
                .lost
                .iter()
                .filter(|((group, _), at)| !matters(group, **at))
                .map(|(lost, _)| *lost)
                .collect();
            for (group, key) in over {
                let before = self.lost.remove(&(group, key));
                self.note(Undo::Lost { group, key, before });
            }
        }
        if self.lost.len() >= LOST {
            self.all_lost = Some(now);
            return;
        }
        let before = self.lost.insert((group, key), now);
        self.note(Undo::Lost { group, key, before });
    }

    fn note(&mut self, undo: Undo) {
        if let Some(journal) = &mut self.journal {
            journal.push(undo);
        }
    }

    /// From here on changes can be taken back.
    pub fn begin(&mut self) {
        self.journal = Some(Vec::new());
    }

    /// The changes since `begin` stay.
    pub fn commit(&mut self) {
        self.journal = None;
    }

    /// Takes back the changes since `begin`.
    pub fn roll_back(&mut self) {
        self.due = i64::MIN;
        for undo in self.journal.take().into_iter().flatten().rev() {
            match undo {
                Undo::Clock { latest_at, remembered, lost_lately, all_lost } => {
                    (self.latest_at, self.remembered) = (latest_at, remembered);
                    (self.lost_lately, self.all_lost) = (lost_lately, all_lost);
                }
                Undo::Lost { group, key, before } => match before {
                    Some(at) => {
                        self.lost.insert((group, key), at);
                    }
                    None => {
                        self.lost.remove(&(group, key));
                    }
                },
                Undo::Created { group, key } => {
                    let removed = self.groups.get_mut(group).and_then(|group| group.remove(key));
                    self.live_keys -= usize::from(removed.is_some());
                }
                Undo::Gone { group, key, record } => {
                    if let Some(group) = self.groups.get_mut(group) {
                        group.insert(key, record);
                        self.live_keys += 1;
                    }
                }
                Undo::Touched { group, key, before } => {
                    if let Some(group) = self.groups.get_mut(group) {
                        group.touch(key, before);
                    }
                }
                Undo::State { group, key, slot, before } => {
                    if let Some(state) = self.record(group, key).and_then(|record| record.state_mut(slot)) {
                        before.take_back(state);
                    }
                }
                Undo::NoState { group, key, slot } => {
                    if let Some(record) = self.record(group, key) {
                        record.states.retain(|(known, _)| *known != slot);
                    }
                }
            }
        }
    }

    fn record(&mut self, group: usize, key: Key) -> Option<&mut Record> {
        self.groups.get_mut(group)?.get_mut(key)
    }
}

/// Memories as those of one plan ask them.
#[derive(Debug)]
pub(crate) struct Folded<'m> {
    pub plan: &'m Plan,
    pub memories: &'m Memories,
}

impl Folded<'_> {
    fn state(&self, ask: &Asked<'_>, key: Key) -> Option<&State> {
        let bound = self.memories.bound.get(ask.ask.memory)?;
        self.memories.groups.get(bound.group)?.get(key)?.state(bound.slot)
    }

    /// Whether a key had to go while it was alive.
    fn was_lost(&self, ask: &Asked<'_>) -> bool {
        let memories = self.memories;
        if memories.lost.is_empty() && memories.all_lost.is_none() {
            return false;
        }
        let group = memories.bound.get(ask.ask.memory).and_then(|bound| memories.groups.get(bound.group));
        let Some(group) = group else { return true };
        let matters = |at: i64| memories.latest_at.saturating_sub(at) < group.horizon_us;
        let lost = |key| memories.lost.get(&(group.identity, key)).is_some_and(|at| matters(*at));
        memories.all_lost.is_some_and(matters) || lost(ask.key) || ask.any.is_some_and(lost)
    }
}

impl Recall for Folded<'_> {
    fn recall<'m>(&'m self, ask: &Asked<'_>) -> Answer<'m> {
        let Some(memory) = self.plan.memories.all.get(ask.ask.memory) else { return Answer::UNKNOWN };
        let memories = self.memories;
        if !memories.serves(self.plan) || !memories.is_ready(ask.ask.memory) {
            return Answer::UNKNOWN;
        }
        if self.was_lost(ask) {
            return Answer::UNKNOWN;
        }
        let in_doubt = |stamp: Stamp| ask.span.reaches(memory.keep, stamp.at, ask.now);
        if ask.any.and_then(|any| self.state(ask, any)?.latest()).is_some_and(in_doubt) {
            return Answer::UNKNOWN;
        }
        match self.state(ask, ask.key) {
            Some(state) => state.answer(memory, ask.span, ask.now),
            None => answer::empty(ask, memory),
        }
    }

    fn witnesses(&self, ask: &Asked<'_>) -> Vec<u64> {
        self.state(ask, ask.key).map_or_else(Vec::new, |state| state.witnesses(ask.span, ask.now))
    }

    fn is_ready(&self, memory: usize) -> bool {
        !self.memories.serves(self.plan) || self.memories.is_ready(memory)
    }

    fn plan(&self) -> Option<&Plan> {
        Some(self.plan)
    }
}
