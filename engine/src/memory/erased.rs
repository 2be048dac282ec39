//! Events whose content was erased: what can still be remembered of them.

use super::sight;
use super::store::{Change, Memories};
use super::{EventNumber, Fate};
use crate::event::Event;
use crate::generation::Generation;
use crate::interpret::expr::Scene;
use crate::plan::Cond;
use crate::truth::Truth;

impl Memories {
    /// Takes in what remains of an event (see [`Event::erased`]). Whatever a condition asks of it is unknown, and so is its
    /// value. Under a key that can't be known any more nothing is remembered.
    pub fn remember_erased(
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
        let condition = |condition: &Cond| match condition {
            Cond::Const(value) => (*value).into(),
            _ => Truth::Unknown,
        };
        let mut changes = Vec::new();
        for (number, memory) in plan.memories.all.iter().enumerate() {
            let Some(bound) = self.bound.get(number).filter(|bound| bound.ready) else { continue };
            if let Some(sight) = sight(memory, event, fate, &scene, condition) {
                changes.push(Change { memory: number, group: memory.group, bound: *bound, sight });
            }
        }
        self.take_in(plan, &scene, number, changes);
    }
}
