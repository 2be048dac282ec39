//! What is stored beside a ledger against what follows from it, table by table.

use std::collections::BTreeMap;
use std::fmt::{Debug, Display};

use serde_json::Value;

use super::Difference;
use super::fold::{Agent, Rebuilt};
use crate::agents;
use crate::db::Stored;
use crate::ledger::sha256;
use crate::vault::hex;

/// The differences of one table.
struct Table<'d> {
    name: &'static str,
    rows: usize,
    differences: &'d mut Vec<Difference>,
}

impl Table<'_> {
    fn say(&mut self, row: impl Display, what: impl Into<String>) {
        self.differences.push(Difference { table: self.name, row: row.to_string(), what: what.into() });
    }

    /// Compares a column.
    fn column<T: PartialEq + Debug>(&mut self, row: impl Display, column: &str, stored: &T, follows: &T) {
        if stored != follows {
            self.say(row, format!("`{column}` is {stored:?}, from the ledger follows {follows:?}"));
        }
    }

    /// Compares the rows that there are with those that there should be, by key.
    fn rows<K: Ord + Display, S, F>(
        &mut self,
        stored: impl IntoIterator<Item = (K, S)>,
        follows: &BTreeMap<K, F>,
        mut compare: impl FnMut(&mut Self, &K, S, &F),
    ) {
        let mut missing: BTreeMap<&K, &F> = follows.iter().collect();
        for (key, row) in stored {
            self.rows += 1;
            match missing.remove(&key) {
                Some(follows) => compare(self, &key, row, follows),
                None => self.say(&key, "is there, and nothing in the ledger says so"),
            }
        }
        for key in missing.into_keys() {
            self.say(key, "is missing");
        }
    }
}

/// Compares all tables; says how many rows were compared.
pub(super) fn compare(stored: Stored, follows: &Rebuilt, differences: &mut Vec<Difference>) -> usize {
    let mut compared = 0;
    let mut table = |name, compare: &mut dyn FnMut(&mut Table<'_>)| {
        let mut table = Table { name, rows: 0, differences: &mut *differences };
        compare(&mut table);
        compared += table.rows;
    };
    let Stored { agents, incidents, tasks, intents, keys, members, policies, filling, sources, .. } = stored;
    let mut agents = agents.into_iter().map(|agent| (agent.id, agent));
    table("agents", &mut |table| table.rows(&mut agents, &follows.agents, agent));
    let mut incidents = incidents.into_iter().map(|incident| (incident.id, incident));
    table("incidents", &mut |table| {
        table.rows(&mut incidents, &follows.incidents, |table, id, row, follows| {
            table.column(id, "rule", &row.rule, &follows.rule);
            table.column(id, "severity", &row.severity.name(), &follows.severity.as_str());
            table.column(id, "status", &row.status.name(), &follows.status.as_str());
            table.column(id, "agent_id", &row.agent, &follows.agent);
            table.column(id, "task", &row.task, &follows.task);
            table.column(id, "hits", &row.count, &follows.count);
            table.column(id, "first_seen", &row.first_seen_us, &follows.first_seen);
            table.column(id, "last_seen", &row.last_seen_us, &follows.last_seen);
            table.column(id, "witnesses", &row.witnesses, &follows.witnesses);
            table.column(id, "earlier", &row.earlier, &follows.earlier);
        });
    });
    let mut tasks = tasks.into_iter().map(|(task, step, at)| (task, (step, at)));
    table("tasks", &mut |table| {
        table.rows(&mut tasks, &follows.tasks, |table, task, (step, at), follows| {
            table.column(task, "steps", &step.steps, &follows.steps);
            table.column(task, "hash", &hex(&step.hash), &follows.hash);
            table.column(task, "last_at", &at, &follows.last_at);
        });
    });
    let mut intents = intents.into_iter().map(|intent| (intent.intent_id, intent));
    table("intents", &mut |table| {
        table.rows(&mut intents, &follows.intents, |table, id, row, follows| {
            table.column(id, "agent_id", &Some(row.agent_id), &follows.agent);
            table.column(id, "action", &row.action, &follows.action);
            table.column(id, "risk", &Some(row.risk), &super::billionths(&follows.risk));
            table.column(id, "created_at", &row.created_at, &follows.created_at);
        });
    });
    let mut keys = keys.into_iter().map(|key| (key.key_id, key));
    table("api_keys", &mut |table| {
        table.rows(&mut keys, &follows.keys, |table, id, row, follows| {
            table.column(id, "account_id", &Some(row.account_id), &follows.account);
            table.column(id, "agent_id", &row.agent_id, &follows.agent);
            table.column(id, "old_until", &row.old_until, &follows.old_until);
            table.column(id, "revoked_at", &row.revoked_at, &follows.revoked_at);
        });
    });
    let mut members = members.into_iter().map(|member| (member.user_id, member));
    table("members", &mut |table| {
        table.rows(&mut members, &follows.members, |table, id, row, follows| {
            table.column(id, "role", &row.role, &follows.role);
            let accepted = row.accepted_at.is_some();
            table.column(id, "accepted", &accepted, &follows.accepted.unwrap_or(accepted));
        });
    });
    let in_force: BTreeMap<_, _> =
        follows.policies.iter().map(|policy| (policy.name.clone(), policy)).collect();
    let mut policies =
        policies.into_iter().filter(|policy| policy.enabled).map(|policy| (policy.name.clone(), policy));
    table("policies", &mut |table| {
        table.rows(&mut policies, &in_force, |table, name, row, follows| {
            table.column(name, "mode", &row.mode(), &follows.mode.as_str());
            table.column(name, "digest", &format!("sha256:{}", hex(&row.digest())), &follows.source);
        });
    });
    table("policy_sources", &mut |table| {
        for (digest, source) in &sources {
            table.rows += 1;
            table.column(hex(digest), "digest", digest, &sha256(&[source.as_bytes()]));
        }
    });
    table("filling", &mut |table| {
        let stored =
            filling.iter().map(|one| (one.memory.as_str(), one.rules.iter().map(|rule| &**rule).collect()));
        let stored: Vec<(&str, Vec<&str>)> = stored.collect();
        let follows = follows.filling.iter();
        let follows =
            follows.map(|one| (one.memory.as_str(), one.rules.iter().map(String::as_str).collect()));
        table.column("of the org", "memories", &stored, &follows.collect());
    });
    compared
}

fn agent(table: &mut Table<'_>, id: &uuid::Uuid, row: agents::Agent, follows: &Agent) {
    table.column(id, "account_id", &row.account, &follows.account);
    table.column(id, "key_id", &row.api_key, &follows.key);
    table.column(id, "inactive", &row.inactive.is_some(), &follows.denied);
    table.column(id, "revision", &row.revision, &follows.revision);
    table.column(id, "registered_at", &row.registered_at_us, &follows.registered_at);
    table.column(id, "updated_at", &row.updated_at_us, &follows.updated_at);
    let Some(said) = &follows.said else { return };
    table.column(id, "agent_key", &Value::from(row.key), said.get("agent_key").unwrap_or(&Value::Null));
    table.column(id, "declared", &Value::from(row.declared), said.get("declared").unwrap_or(&Value::Null));
    let profile = serde_json::to_value(&row.profile).unwrap_or_default();
    let registered = serde_json::from_value::<agents::Profile>(said.clone());
    let registered = registered.and_then(serde_json::to_value).unwrap_or_default();
    table.column(id, "profile", &profile, &registered);
}
