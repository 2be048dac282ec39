//! Serving another policy set: what is kept, what has to be filled from the ledger, and taking over what was filled.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::group::Group;
use super::store::{Bound, Memories, Slot};
use crate::generation::Generation;
use crate::plan::Plan;
use crate::plan::memory::MemoryPlan;

/// A memory that a policy set asks and that is not filled yet: its rules are in shadow until it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// As an author would write it.
    pub memory: String,
    /// The rules that wait for it, as `policy.rule`.
    pub rules: Vec<Arc<str>>,
}

impl Memories {
    /// Serves another policy set from now on. What means the same is kept; what is new has to be filled from the
    /// ledger, unless nothing happened yet.
    pub fn adopt(&mut self, generation: &Generation) -> Vec<Missing> {
        let plan = generation.plan();
        let fresh = self.remembered == 0;
        let mut kept: HashMap<[u8; 32], u32> =
            self.slots.iter().map(|(number, slot)| (slot.identity, *number)).collect();
        let mut slots = Vec::new();
        for memory in &plan.memories.all {
            let known = kept.get(&memory.identity).copied();
            let serves =
                known.and_then(|number| self.slots.get(&number)).is_some_and(|slot| slot.serves(memory));
            let number = match known.filter(|_| serves) {
                Some(number) => {
                    // From here on it holds no more than is asked: what is cut away is not claimed any longer.
                    if let Some(slot) = self.slots.get_mut(&number) {
                        (slot.keep, slot.horizon_us) = (memory.keep, memory.horizon_us);
                    }
                    number
                }
                None => {
                    let slot = Slot {
                        identity: memory.identity,
                        keep: memory.keep,
                        horizon_us: memory.horizon_us,
                        ready: fresh,
                    };
                    let number = self.next_slot;
                    self.next_slot += 1;
                    self.slots.insert(number, slot);
                    kept.insert(memory.identity, number);
                    number
                }
            };
            slots.push(number);
        }
        let used: HashSet<u32> = slots.iter().copied().collect();
        let before = self.slots.len();
        self.slots.retain(|number, _| used.contains(number));
        if self.slots.len() < before {
            self.edit = self.edit.wrapping_add(1);
        }
        let wanted: HashSet<[u8; 32]> = plan.memories.groups.iter().map(|group| group.identity).collect();
        self.groups.retain(|group| wanted.contains(&group.identity));
        let mut places: HashMap<[u8; 32], usize> =
            self.groups.iter().zip(0..).map(|(group, place)| (group.identity, place)).collect();
        for group in &plan.memories.groups {
            places.entry(group.identity).or_insert_with(|| {
                self.groups.push(Group::new(group.identity));
                self.groups.len() - 1
            });
        }
        self.bound.clear();
        for (memory, slot) in plan.memories.all.iter().zip(slots) {
            let identity = plan.memories.groups.get(memory.group).map(|group| group.identity);
            let group = identity.and_then(|identity| places.get(&identity)).copied().unwrap_or(usize::MAX);
            if let Some(group) = self.groups.get_mut(group) {
                group.horizon_us = group.horizon_us.max(memory.horizon_us);
            }
            let ready = self.slots.get(&slot).is_some_and(|slot| slot.ready);
            self.bound.push(Bound { slot, group, ready });
        }
        self.live_keys = self.groups.iter().map(Group::len).sum();
        self.due = i64::MIN;
        self.digest = Some(Arc::clone(&plan.digest));
        self.missing(generation)
    }

    /// What would have to be filled if this policy set were served from now on.
    pub fn lacks(&self, generation: &Generation) -> Vec<Missing> {
        let plan = generation.plan();
        let fresh = self.remembered == 0;
        missing(plan, |number| fresh || plan.memories.all.get(number).is_some_and(|memory| self.has(memory)))
    }

    /// Whether everything that a memory needs is held.
    fn has(&self, memory: &MemoryPlan) -> bool {
        self.slots.values().any(|slot| slot.ready && slot.serves(memory))
    }

    /// What the policy set asks and is not filled.
    pub fn missing(&self, generation: &Generation) -> Vec<Missing> {
        missing(generation.plan(), |number| self.is_ready(number))
    }

    /// Memories for what is missing, to be filled off to the side by remembering the ledger from its beginning.
    pub fn aside(&self, generation: &Generation) -> Memories {
        let mut aside = Memories::limited(generation, self.limits);
        // What is held here needs no filling there.
        for (memory, bound) in generation.plan().memories.all.iter().zip(&mut aside.bound) {
            bound.ready = !self.has(memory);
        }
        aside
    }

    /// Leaves these for somebody else to fill: they are neither filled here nor taken over from here.
    pub fn leave(&mut self, generation: &Generation, left: &[Missing]) {
        for (memory, bound) in generation.plan().memories.all.iter().zip(&mut self.bound) {
            bound.ready &= left.iter().all(|left| left.memory != memory.text);
        }
    }

    /// Forgets what is held for these, as if it had never been asked.
    pub fn forget(&mut self, generation: &Generation, forgotten: &[Missing]) {
        let memories = generation.plan().memories.all.iter();
        let forgotten = memories.filter(|memory| forgotten.iter().any(|one| one.memory == memory.text));
        let identities: HashSet<[u8; 32]> = forgotten.map(|memory| memory.identity).collect();
        let before = self.slots.len();
        self.slots.retain(|_, slot| !identities.contains(&slot.identity));
        if self.slots.len() < before {
            self.edit = self.edit.wrapping_add(1);
        }
    }

    /// Takes over what was filled off to the side, up to the same entry of the ledger. From here on it counts.
    pub fn absorb(&mut self, filled: Memories) {
        for (lost, at) in filled.lost {
            self.lost.entry(lost).and_modify(|known| *known = at.max(*known)).or_insert(at);
        }
        self.all_lost = self.all_lost.max(filled.all_lost);
        self.lost_lately += filled.lost_lately;
        let mut taken: HashMap<u32, Bound> = HashMap::new();
        for (theirs, own) in filled.bound.iter().zip(&mut self.bound) {
            if own.ready || !theirs.ready {
                continue;
            }
            taken.insert(theirs.slot, *own);
            own.ready = true;
            if let Some(slot) = self.slots.get_mut(&own.slot) {
                slot.ready = true;
            }
        }
        for (key, record) in filled.groups.into_iter().flat_map(Group::into_records) {
            for (slot, state) in record.states {
                let Some(own) = taken.get(&slot) else { continue };
                let Some(group) = self.groups.get_mut(own.group) else { continue };
                let known = group.get(key).map(|known| known.touched);
                self.live_keys += usize::from(known.is_none());
                let (known, _) = group.touch(key, known.unwrap_or(i64::MIN).max(record.touched));
                if let Err(place) = known.states.binary_search_by_key(&own.slot, |(slot, _)| *slot) {
                    known.states.insert(place, (own.slot, state));
                }
            }
        }
        self.due = i64::MIN;
        self.bury();
    }
}

/// The memories of a plan that are not ready, with the rules that ask them.
fn missing(plan: &Plan, is_ready: impl Fn(usize) -> bool) -> Vec<Missing> {
    let waiting = plan.memories.all.iter().enumerate().filter(|(number, _)| !is_ready(*number));
    waiting
        .map(|(number, memory)| Missing {
            memory: memory.text.clone(),
            rules: plan
                .rules
                .iter()
                .filter(|rule| rule.memories.contains(&number))
                .map(|rule| Arc::clone(&rule.name))
                .collect(),
        })
        .collect()
}
