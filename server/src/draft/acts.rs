//! Administrative acts in a batch: policies, keys and incidents, each with its entry.

use std::sync::Arc;

use lictor_engine::generation::Generation;
use uuid::Uuid;

use super::{Draft, Refused};
use crate::accounts::keys::ApiKey;
use crate::canonical::{Object, Value};
use crate::clock::ledger_time;
use crate::db::Change;
use crate::incidents::{Incident, Status};
use crate::ledger::{self, Index, Record};
use crate::policies::Policies;
use crate::vault::hex;

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
}

impl Draft<'_> {
    /// Puts a changed policy set in force: everything after this in the ledger is judged by it.
    pub fn change_policies(
        &mut self,
        now_us: i64,
        change: PolicyChange,
        actor: String,
    ) -> Result<(), Refused> {
        let current = self.new.policies.clone().unwrap_or_else(|| self.view.policies());
        if !Arc::ptr_eq(&current, &change.based_on) {
            return Err(Refused::Superseded);
        }
        let members = change.policies.iter().filter(|policy| policy.enabled).map(|policy| {
            let digest = format!("sha256:{}", hex(&policy.digest()));
            Value::Object(
                Object::new().text("name", &*policy.name).text("mode", policy.mode()).text("source", digest),
            )
        });
        let content = Object::new()
            .text("change", change.what)
            .text("policy", &*change.name)
            .text("policy_set", change.generation.digest())
            .value("policies", Value::List(members.collect()));
        self.note(now_us, "policy", "/api/v1/policies", change.what, actor, content);
        self.changes.push(change.change);
        self.new.policies = Some(Arc::clone(&change.policies));
        self.new.generation = change.generation;
        Ok(())
    }

    /// Makes an API key good.
    pub fn add_key(&mut self, now_us: i64, key: Arc<ApiKey>, actor: String) {
        let content = Object::new()
            .text("key", key.id.to_string())
            .text("account", key.account.to_string())
            .optional_text("key_agent", key.agent.map(|id| id.to_string()));
        self.note(now_us, "key", "/api/v1/auth/api-keys", "created", actor, content);
        self.changes.push(Change::Key(Arc::clone(&key)));
        self.new.keys.push(key);
    }

    /// Makes an API key worthless.
    pub fn revoke_key(&mut self, now_us: i64, id: Uuid, actor: String) {
        let content = Object::new().text("key", id.to_string());
        let at_us = self.note(now_us, "key", "/api/v1/auth/api-keys", "revoked", actor, content);
        self.changes.push(Change::KeyRevoked { id, at_us });
        self.new.revoked.push(id);
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
        let at_us = ledger_time(self.new.head.at_us, now_us);
        let index = Index { kind, source, actor, action: Some(action.to_owned()), ..Index::default() };
        let record = Record { id: Uuid::now_v7(), index, content, step: None };
        let (entry, _) = ledger::append(&mut self.new.head, self.view.id, at_us, record);
        self.entries.push(entry);
        at_us
    }
}
