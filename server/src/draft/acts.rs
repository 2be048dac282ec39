//! Administrative acts in a batch: policies, keys and incidents, each with its entry; and what the engine reports.

use std::sync::Arc;

use lictor_engine::generation::Generation;
use lictor_engine::memory::{Memories, Missing};
use uuid::Uuid;

use super::{Draft, Refused};
use crate::accounts::keys::{ApiKey, Keyring};
use crate::accounts::people::PeopleError;
use crate::canonical::{Object, Value};
use crate::clock::ledger_time;
use crate::db::Change;
use crate::incidents::{self, Hit, Incident, Status, Witness};
use crate::ledger::{self, Index, Record};
use crate::policies::{InForce, Policies};
use crate::vault::{Bytes32, hex};

/// Who acts where nobody asked.
pub const SYSTEM: &str = "system";

/// A change of the policy set, checked and compiled.
#[derive(Debug)]
pub struct PolicyChange {
    /// What is done: `created`, `updated`, `enabled`, `disabled`, `shadowed`, `removed`.
    pub what: &'static str,
    /// The policy's name.
    pub name: String,
    /// All policies that it was made from.
    pub based_on: Policies,
    /// All policies from now on.
    pub policies: Policies,
    /// The generation that they make.
    pub generation: Arc<Generation>,
    /// The row that changes.
    pub change: Change,
    /// What its rules need of the past, if it is filled already.
    pub filled: Option<Filled>,
}

/// Memories for a generation, filled off to the side from the ledger.
#[derive(Debug)]
pub struct Filled {
    /// The generation that asks them.
    pub generation: Arc<Generation>,
    /// What is remembered.
    pub memories: Memories,
    /// The first entry of the ledger that is not in them.
    pub next_seq: i64,
    /// How many entries it had when the first of them was read: what was erased since may be in them.
    pub begun: i64,
}

/// Another secret for a key.
#[derive(Debug, Clone, Copy)]
pub struct Rotation {
    /// Which key.
    pub id: Uuid,
    /// SHA-256 of the new secret.
    pub hash: Bytes32,
    /// How long the one until now is good, in seconds.
    pub overlap_s: i64,
}

/// An act that changes nothing, but is to be found in the ledger.
#[derive(Debug)]
pub struct Note {
    /// What kind of entry it makes.
    pub kind: &'static str,
    /// The API that took it.
    pub source: &'static str,
    /// What happened.
    pub action: &'static str,
    /// Who did it.
    pub actor: String,
    /// What else there is to say, by name.
    pub content: Vec<(&'static str, String)>,
}

impl Draft<'_> {
    /// Puts a changed policy set in force: everything after this in the ledger is judged by it.
    pub fn change_policies(
        &mut self,
        now_us: i64,
        change: PolicyChange,
        actor: String,
    ) -> Result<Arc<InForce>, Refused> {
        if !Arc::ptr_eq(&self.in_force.policies, &change.based_on) {
            return Err(Refused::Superseded);
        }
        // Filled up to here, so that its rules count from their first event on.
        let is_filled = |filled: &Filled| filled.next_seq == self.new.head.next_seq;
        let filled = change.filled.filter(is_filled);
        let filling = match &filled {
            Some(_) => Vec::new(),
            None => self.memory.memories.lacks(&change.generation),
        };
        let in_force = InForce::new(change.policies, change.generation, filling);
        let members = in_force.policies.iter().filter(|policy| policy.enabled).map(|policy| {
            let digest = format!("sha256:{}", hex(&policy.digest()));
            Value::Object(
                Object::new().text("name", &*policy.name).text("mode", policy.mode()).text("source", digest),
            )
        });
        let content = Object::new()
            .text("change", change.what)
            .text("policy", &*change.name)
            .text("policy_set", &*in_force.policy_set)
            .value("policies", Value::List(members.collect()));
        let content = match in_force.filling.as_slice() {
            [] => content,
            filling => content.value("filling", filling_record(filling)),
        };
        self.note(now_us, "policy", "/api/v1/policies", change.what, actor, content);
        self.changes.push(change.change);
        self.changes.push(Change::Filling(in_force.filling.clone()));
        self.new.filled = filled.map(|filled| filled.memories);
        let in_force = Arc::new(in_force);
        self.new.in_force = Some(Arc::clone(&in_force));
        Ok(in_force)
    }

    /// Lets rules decide whose memories are filled now, up to the head of the ledger.
    pub fn activate(&mut self, now_us: i64, memories: Memories) {
        let in_force = self.in_force.filled();
        let content = Object::new()
            .text("change", "activated")
            .text("policy_set", &*in_force.policy_set)
            .value("filled", filling_record(&self.in_force.filling));
        self.note(now_us, "policy", "server", "activated", SYSTEM.to_owned(), content);
        self.changes.push(Change::Filling(Vec::new()));
        self.new.filled = Some(memories);
        self.new.in_force = Some(Arc::new(in_force));
    }

    /// Opens an incident where keys had to go that could still matter, unless one is open.
    pub fn report_lost_keys(&mut self) {
        let lost = self.memory.memories.take_lost();
        if lost > 0 && self.report(self.new.head.at_us, incidents::lost_keys(self.memory.memories.keys())) {
            tracing::error!(org = %self.view.id, lost, "memory is full: keys that could still matter are forgotten");
        }
    }

    /// Opens an incident, or adds to it: so many batches could not be recorded, and this one may be again. Says nothing of
    /// them if there is nothing else to record.
    pub fn report_outage(&mut self, now_us: i64, batches: u64) -> bool {
        let reports = batches > 0 && !self.entries.is_empty();
        if reports {
            self.fold_in(ledger_time(self.new.head.at_us, now_us), incidents::outage(batches));
        }
        reports
    }

    /// Opens an incident that no rule asks for, unless it is open. Tells whether it did.
    pub fn report(&mut self, at_us: i64, hit: Hit) -> bool {
        let is_open = incidents::is_open(&self.new.incidents, &self.memory.incidents, &hit, at_us);
        if !is_open {
            self.fold_in(at_us, hit);
        }
        !is_open
    }

    fn fold_in(&mut self, at_us: i64, hit: Hit) {
        // That of its entry.
        let at_us = ledger_time(self.new.head.at_us, at_us);
        let entry = Uuid::now_v7();
        let witness = Witness { entry, at_us, agent: Uuid::nil(), task: "" };
        let touched =
            incidents::fold(&self.new.incidents, &self.memory.incidents, hit, witness, Uuid::now_v7);
        let content = Object::new().value("incidents", super::touched_record(std::slice::from_ref(&touched)));
        let (actor, action) = (SYSTEM.to_owned(), Some("opened".to_owned()));
        let index = Index { kind: "incident", source: "server", actor, action, ..Index::default() };
        self.enter(entry, at_us, index, content);
        self.new.incidents.put(Arc::clone(&touched.incident));
        self.changes.push(Change::Incident(touched.incident));
    }

    /// Makes an API key good, unless its account is gone.
    pub fn add_key(&mut self, now_us: i64, key: Arc<ApiKey>, actor: String) -> Result<(), Refused> {
        if self.gone.contains(&key.account) {
            return Err(PeopleError::Nobody.into());
        }
        let content = Object::new()
            .text("key", key.id.to_string())
            .text("account", key.account.to_string())
            .optional_text("key_agent", key.agent.map(|id| id.to_string()));
        self.note(now_us, "key", "/api/v1/auth/api-keys", "created", actor, content);
        self.changes.push(Change::Key(Arc::clone(&key)));
        self.new.keys.push(key);
        Ok(())
    }

    /// Gives an API key another secret, by its hash. The one until now is good for so long.
    pub fn rotate_key(
        &mut self,
        now_us: i64,
        keys: &Keyring,
        rotation: Rotation,
        actor: String,
    ) -> Result<(), Refused> {
        let Rotation { id, hash, overlap_s } = rotation;
        let in_batch = self.new.keys.iter().rev().find(|key| key.id == id).cloned();
        let known = in_batch.or_else(|| keys.by_id(self.view.id, id));
        let known = known.filter(|_| !self.new.revoked.contains(&id)).ok_or(Refused::NotFound)?;
        let content = Object::new().text("key", id.to_string()).integer("overlap_s", overlap_s);
        let at_us = self.note(now_us, "key", "/api/v1/auth/api-keys", "rotated", actor, content);
        let until_us = (overlap_s > 0).then(|| at_us + overlap_s * 1_000_000);
        let key = Arc::new(known.rotated(hash, until_us));
        self.changes.push(Change::KeyRotated(Arc::clone(&key)));
        self.new.keys.push(key);
        Ok(())
    }

    /// Makes an API key worthless.
    pub fn revoke_key(&mut self, now_us: i64, id: Uuid, actor: String) {
        let content = Object::new().text("key", id.to_string());
        let at_us = self.note(now_us, "key", "/api/v1/auth/api-keys", "revoked", actor, content);
        self.changes.push(Change::KeyRevoked { id, at_us });
        self.new.revoked.push(id);
    }

    /// Says which key the ledger's checkpoints are to be signed with.
    pub fn announce_ledger_key(&mut self, now_us: i64, key: &str, actor: String) {
        let content = Object::new().text("ledger_key", key);
        self.note(now_us, "ledger_key", "/api/v1/ledger/keys", "announced", actor, content);
    }

    /// Moves an incident on.
    pub fn change_incident(
        &mut self,
        now_us: i64,
        id: Uuid,
        to: Status,
        actor: String,
    ) -> Result<Arc<Incident>, Refused> {
        let known = self.new.incidents.get(id).or_else(|| self.memory.incidents.get(id));
        let known = Arc::clone(known.ok_or(Refused::NotFound)?);
        if !known.status.may_become(to) {
            return Err(Refused::WrongStatus { from: known.status, to });
        }
        if known.status == to {
            return Ok(known);
        }
        let content = Object::new().text("incident", id.to_string()).text("status", to.name());
        self.note(now_us, "incident", "/api/v1/incidents", to.name(), actor, content);
        let incident = Arc::new(Incident { status: to, ..Incident::clone(&known) });
        self.new.incidents.put(Arc::clone(&incident));
        self.changes.push(Change::Incident(Arc::clone(&incident)));
        Ok(incident)
    }

    /// Records an administrative act.
    pub fn note(
        &mut self,
        now_us: i64,
        kind: &'static str,
        source: &'static str,
        action: &str,
        actor: String,
        content: Object<'_>,
    ) -> i64 {
        let index = Index { kind, source, actor, action: Some(action.to_owned()), ..Index::default() };
        self.enter(Uuid::now_v7(), now_us, index, content)
    }

    fn enter(&mut self, id: Uuid, now_us: i64, index: Index, content: Object<'_>) -> i64 {
        let at_us = ledger_time(self.new.head.at_us, now_us);
        let record = Record { id, index, content, step: None };
        let (entry, _) = ledger::append(&mut self.new.head, self.view.id, at_us, record);
        self.entries.push(entry);
        at_us
    }
}

fn filling_record(filling: &[Missing]) -> Value<'static> {
    let one = |missing: &Missing| {
        let rules = missing.rules.iter().map(|rule| Value::Text(rule.to_string().into()));
        let object = Object::new().text("memory", missing.memory.clone());
        Value::Object(object.value("rules", Value::List(rules.collect())))
    };
    Value::List(filling.iter().map(one).collect())
}
