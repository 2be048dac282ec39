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
    /// Each org has a clock and a past of its own.
    orgs: HashMap<String, Org>,
    /// Events that wait for an approval.
    waiting: HashMap<EventNumber, Event>,
    number: EventNumber,
}

#[derive(Debug)]
struct Org {
    memories: Memories,
    latest_us: i64,
}

impl<'g> Run<'g> {
    /// Begins without a past.
    pub fn new(generation: &'g Generation, engine: Engine) -> Run<'g> {
        Run { generation, engine, orgs: HashMap::new(), waiting: HashMap::new(), number: 0 }
    }

    /// Gives the next event its number, the first is 1, and its time: within an org that never goes back.
    fn next(&mut self, event: &mut Event) -> &mut Org {
        self.number += 1;
        let org = org(&mut self.orgs, self.generation, event.org());
        org.latest_us = org.latest_us.max(event.at());
        event.set_at(org.latest_us);
        org
    }

    /// Judges the next event, and remembers it.
    pub fn judge(&mut self, mut event: Event) -> Decision {
        let (generation, engine) = (self.generation, self.engine);
        let memories = &self.next(&mut event).memories;
        let decision = generation.judge_with(&event, memories, engine);
        self.happened(event, &decision);
        decision
    }

    /// Judges the next event, says how, and remembers it.
    pub fn explain(&mut self, mut event: Event) -> Explanation {
        let generation = self.generation;
        let memories = &self.next(&mut event).memories;
        let explanation = generation.explain(&event, memories);
        self.happened(event, &explanation.decision);
        explanation
    }

    /// What became of an event follows from its decision; one that breaks a schema is not remembered.
    fn happened(&mut self, event: Event, decision: &Decision) {
        if decision.class != crate::decision::Class::InvalidInput {
            self.remember(event, Fate::of(decision.decision));
        }
    }

    /// Remembers an event that nobody judges, at this time: the past of a test.
    pub fn past(&mut self, mut event: Event, fate: Fate) {
        self.next(&mut event);
        self.remember(event, fate);
    }

    fn remember(&mut self, event: Event, fate: Fate) {
        let org = org(&mut self.orgs, self.generation, event.org());
        org.memories.remember(self.generation, &event, fate, self.number, org.latest_us);
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
        let Some(event) = self.waiting.remove(&number) else { return };
        let org = org(&mut self.orgs, self.generation, event.org());
        org.latest_us = org.latest_us.max(at_us);
        org.memories.remember(self.generation, &event, Fate::Approved, number, org.latest_us);
    }

    /// What is remembered of an org.
    pub fn memories(&mut self, name: &str) -> &Memories {
        &org(&mut self.orgs, self.generation, name).memories
    }
}

fn org<'o>(orgs: &'o mut HashMap<String, Org>, generation: &Generation, name: &str) -> &'o mut Org {
    orgs.entry(name.to_owned())
        .or_insert_with(|| Org { memories: Memories::new(generation), latest_us: i64::MIN })
}
