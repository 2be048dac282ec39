//! What is read from the database for a batch, because it is not at hand.

use std::sync::Arc;

use uuid::Uuid;

use super::Draft;
use crate::incidents::Incident;
use crate::intents::Intent;
use crate::ledger::StepBefore;

impl Draft<'_> {
    /// Whether it is known where this task stands.
    pub fn knows_task(&self, task: &str) -> bool {
        self.new.tasks.contains_key(task) || self.memory.tasks.contains_key(task)
    }

    /// Takes in what was read from the database for this batch.
    pub fn know_task(&mut self, task: String, step: Option<StepBefore>) {
        self.new.tasks.insert(task, step.unwrap_or(StepBefore::START));
    }

    /// Takes in what was read from the database for this batch.
    pub fn know_intent(&mut self, key: String, intent: Option<Intent>) {
        if let Some(intent) = intent {
            self.new.intents.insert(key, Arc::new(intent));
        }
    }

    /// Takes in what was read from the database for this batch.
    pub fn know_incident(&mut self, incident: Incident) {
        self.new.incidents.put(Arc::new(incident));
    }

    /// Whether the database has to be asked for this incident.
    pub fn knows_incident(&self, id: Uuid) -> bool {
        self.new.incidents.get(id).or_else(|| self.memory.incidents.get(id)).is_some()
    }
}
