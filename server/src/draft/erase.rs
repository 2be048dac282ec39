//! Erasing in a batch: the entry that says so, and every copy of what goes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lictor_engine::generation::Generation;
use lictor_engine::memory::{Memories, Missing};
use serde::Deserialize;
use uuid::Uuid;

use super::Draft;
use crate::agents::{Agent, Profile};
use crate::canonical::{Object, Value};
use crate::db::{Change, ErasableRow, StoreError};
use crate::incidents::Incident;
use crate::ledger::erasure::{ERASED, Subject};

const SOURCE: &str = "/api/v1/ledger/erasures";

/// What is to be erased, made ready beside the sequencer.
#[derive(Debug)]
pub struct Erasing {
    /// Whose content.
    pub subject: Arc<Subject>,
    /// Who asked for it.
    pub actor: String,
    /// The generation that was in force.
    pub generation: Arc<Generation>,
    /// The memories that were being filled for it.
    pub filling: Vec<Missing>,
    /// What is remembered without that content; none if nothing is.
    pub memories: Option<Memories>,
    /// What was found.
    pub found: Found,
}

/// What there is to erase, as far as the ledger was looked through.
#[derive(Debug, Default)]
pub struct Found {
    /// The first entry that was not looked at, and is not remembered.
    pub next_seq: i64,
    /// Entries that have content.
    pub entries: Vec<Uuid>,
    /// Incidents with texts that were made from it.
    incidents: BTreeSet<Uuid>,
    /// Agents, with the time of the latest of their registrations that goes.
    agents: BTreeMap<Uuid, i64>,
}

impl Found {
    /// Adds entries that have content.
    pub fn add(&mut self, rows: &[ErasableRow]) -> Result<(), StoreError> {
        #[derive(Deserialize)]
        struct Record {
            #[serde(default)]
            incidents: Vec<Touched>,
        }
        #[derive(Deserialize)]
        struct Touched {
            id: Uuid,
        }
        for row in rows {
            let record: Record =
                serde_json::from_slice(&row.canonical).map_err(|_| StoreError::Corrupt("entry"))?;
            self.entries.push(row.entry_id);
            self.incidents.extend(record.incidents.into_iter().map(|touched| touched.id));
            if let Some(agent) = row.agent_id.filter(|_| row.kind == "registration") {
                self.agents.insert(agent, row.at);
            }
        }
        Ok(())
    }

    /// Incidents with texts that were made from it.
    pub fn incidents(&self) -> impl Iterator<Item = Uuid> {
        self.incidents.iter().copied()
    }
}

/// What was erased.
#[derive(Debug, Clone, Copy, Default)]
pub struct Erased {
    /// The entry that says so; none if there was nothing to erase.
    pub seq: Option<i64>,
    /// Entries that lost their content.
    pub entries: usize,
    /// Incidents that lost their title and key.
    pub incidents: usize,
    /// Agents that lost what their registration said.
    pub agents: usize,
}

impl Draft<'_> {
    /// Erases what was found. The incidents among it are known.
    pub fn erase(&mut self, now_us: i64, erasing: Erasing) -> Erased {
        let Erasing { subject, actor, memories, found, .. } = erasing;
        let incidents: Vec<_> = found.incidents().filter_map(|id| self.incident(id)).collect();
        // What was registered since is not of this content.
        let latest = |agent: &Arc<Agent>| found.agents.get(&agent.id) == Some(&agent.updated_at_us);
        let agents: Vec<_> = found.agents.keys().filter_map(|id| self.agent(*id)).filter(latest).collect();
        let seq = self.new.head.next_seq;
        let erased = Erased {
            seq: Some(seq),
            entries: found.entries.len(),
            incidents: incidents.len(),
            agents: agents.len(),
        };
        let touched = incidents.iter().map(|incident| Value::Object(Object::new().id("id", incident.id)));
        let content = Object::new()
            .value("subject", Value::Object(subject.record()))
            .integer("count", i64::try_from(erased.entries).unwrap_or(i64::MAX))
            .value("incidents", Value::List(touched.collect()))
            .value("agents", Value::List(agents.iter().map(|agent| Value::Id(agent.id)).collect()));
        let at_us = self.note(now_us, "erasure", SOURCE, subject.name(), actor, content);
        for incident in incidents {
            let (key, title) = (Vec::new(), ERASED.to_owned());
            let incident = Arc::new(Incident { key, title, ..Incident::clone(&incident) });
            self.new.incidents.put(Arc::clone(&incident));
            self.changes.push(Change::Incident(incident));
        }
        for agent in agents {
            let agent = Arc::new(Agent {
                profile: Profile::default(),
                reason: None,
                revision: agent.revision + 1,
                updated_at_us: at_us,
                ..Agent::clone(&agent)
            });
            self.new.agents.insert(agent.id, Arc::clone(&agent));
            self.changes.push(Change::Agent(agent));
        }
        self.changes.push(Change::Erased(found.entries));
        self.new.memories = memories;
        erased
    }

    fn incident(&self, id: Uuid) -> Option<Arc<Incident>> {
        self.new.incidents.get(id).or_else(|| self.memory.incidents.get(id)).cloned()
    }
}
