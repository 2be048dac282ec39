//! Judging one event after the other, remembering: what `judge`, `explain`, tests and benches do without a server.

use std::collections::HashMap;

use crate::decision::Decision;
use crate::event::Event;
use crate::explain::Explanation;
use crate::generation::{Engine, Generation};
use crate::memory::{EventNumber, Fate, Memories};

/// A run of events through one policy set.
#[derive(Debug)]
pub struct Run<'g> {
    generation: &'g Generation,
    engine: Engine,
    memories: Memories,
    /// Events that wait for an approval.
    waiting: HashMap<EventNumber, Event>,
    latest_us: i64,
    number: EventNumber,
}

impl<'g> Run<'g> {
    /// Begins without a past.
    pub fn new(generation: &'g Generation, engine: Engine) -> Run<'g> {
        let memories = Memories::new(generation);
        Run { generation, engine, memories, waiting: HashMap::new(), latest_us: i64::MIN, number: 0 }
    }

    /// Gives the next event its number, the first is 1, and its time: that never goes back.
    fn next(&mut self, event: &mut Event) {
        self.number += 1;
        self.latest_us = self.latest_us.max(event.at());
        event.set_at(self.latest_us);
    }

    /// Judges the next event, and remembers it.
    pub fn judge(&mut self, mut event: Event) -> Decision {
        self.next(&mut event);
        let decision = self.generation.judge_with(&event, &self.memories, self.engine);
        self.happened(event, &decision);
        decision
    }

    /// Judges the next event, says how, and remembers it.
    pub fn explain(&mut self, mut event: Event) -> Explanation {
        self.next(&mut event);
        let explanation = self.generation.explain(&event, &self.memories);
        self.happened(event, &explanation.decision);
        explanation
    }

    /// What became of an event follows from its decision; one that breaks a schema is not remembered.
    fn happened(&mut self, event: Event, decision: &Decision) {
        if decision.class != crate::decision::Class::InvalidInput {
            self.remember(event, Fate::of(decision.decision), self.latest_us);
        }
    }

    /// Remembers an event that nobody judges, at this time: the past of a test.
    pub fn past(&mut self, mut event: Event, fate: Fate) {
        self.next(&mut event);
        self.remember(event, fate, self.latest_us);
    }

    fn remember(&mut self, event: Event, fate: Fate, at_us: i64) {
        self.memories.remember(self.generation, &event, fate, self.number, at_us);
        if fate == Fate::Waiting {
            self.waiting.insert(self.number, event);
        }
    }

    /// Counts an event that can't be judged.
    pub fn skip(&mut self) {
        self.number += 1;
    }

    /// The event of this number is approved, and happens now. Approving one that does not wait changes nothing.
    pub fn approve(&mut self, number: EventNumber, at_us: i64) {
        self.latest_us = self.latest_us.max(at_us);
        if let Some(event) = self.waiting.remove(&number) {
            self.memories.remember(self.generation, &event, Fate::Approved, number, self.latest_us);
        }
    }

    /// What is remembered when all is over.
    pub fn into_memories(self) -> Memories {
        self.memories
    }

    /// What is remembered.
    pub fn memories(&self) -> &Memories {
        &self.memories
    }
}
