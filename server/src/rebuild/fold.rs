//! The entries of a ledger, one after the other, to everything that follows from them.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

use super::record::{
    Announced, Change, Common, Decided, Erased, Founded, Hit, Hits, Judged, Key, Moved, Person, Waiting,
};
use crate::incidents::{add_earlier, add_witness};
use crate::policies::TakesPart;

/// What follows from a ledger.
#[derive(Debug, Default)]
pub(super) struct Rebuilt {
    pub(super) agents: BTreeMap<Uuid, Agent>,
    pub(super) incidents: BTreeMap<Uuid, Incident>,
    pub(super) tasks: BTreeMap<String, Task>,
    pub(super) intents: BTreeMap<Uuid, Intent>,
    pub(super) keys: BTreeMap<Uuid, ApiKey>,
    pub(super) members: BTreeMap<Uuid, Member>,
    pub(super) policies: Vec<TakesPart>,
    pub(super) filling: Vec<Waiting>,
    /// The key of the ledger that was announced last.
    pub(super) ledger_key: Option<String>,
}

#[derive(Debug)]
pub(super) struct Agent {
    pub(super) account: Option<Uuid>,
    pub(super) key: Option<Uuid>,
    pub(super) denied: bool,
    pub(super) revision: i64,
    pub(super) registered_at: i64,
    pub(super) updated_at: i64,
    /// What its latest registration said, from the payload; none if that is not known.
    pub(super) said: Option<Value>,
}

#[derive(Debug)]
pub(super) struct Incident {
    pub(super) rule: String,
    pub(super) severity: String,
    pub(super) status: String,
    pub(super) agent: Uuid,
    pub(super) task: String,
    pub(super) count: i64,
    pub(super) first_seen: i64,
    pub(super) last_seen: i64,
    pub(super) witnesses: Vec<Uuid>,
    pub(super) earlier: Vec<i64>,
}

#[derive(Debug)]
pub(super) struct Task {
    pub(super) steps: i64,
    pub(super) hash: String,
    pub(super) last_at: i64,
}

#[derive(Debug)]
pub(super) struct Intent {
    pub(super) agent: Option<Uuid>,
    pub(super) action: String,
    pub(super) risk: String,
    pub(super) created_at: i64,
}

#[derive(Debug)]
pub(super) struct ApiKey {
    pub(super) account: Option<Uuid>,
    pub(super) agent: Option<Uuid>,
    pub(super) old_until: Option<i64>,
    pub(super) revoked_at: Option<i64>,
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) role: String,
    /// Whether they accepted, where the ledger says so.
    pub(super) accepted: Option<bool>,
}

/// A member of the record as this kind of entry has it.
pub(super) fn read<T: DeserializeOwned>(canonical: &[u8]) -> Result<T, &'static str> {
    serde_json::from_slice(canonical).map_err(|_| "does not say what entries of its kind say")
}

impl Rebuilt {
    /// Takes in an entry. `said` is the agent as its payload has it, if that can be read.
    pub(super) fn add(
        &mut self,
        entry: &Common,
        canonical: &[u8],
        said: Option<Value>,
    ) -> Result<(), &'static str> {
        if let Some(decided) = &entry.decision {
            self.judged(entry, decided, read(canonical)?, said);
        }
        match entry.kind.as_str() {
            "org" => {
                let Founded { owner } = read(canonical)?;
                self.members.insert(owner, Member { role: "owner".to_owned(), accepted: None });
            }
            "member" => self.member(entry, read(canonical)?),
            "key" => self.key(entry, read(canonical)?),
            "policy" => {
                let Change { policies, filling } = read(canonical)?;
                self.policies = policies.unwrap_or_else(|| std::mem::take(&mut self.policies));
                self.filling = filling;
            }
            "incident" if entry.action.as_deref() != Some("opened") => {
                let Moved { incident, status } = read(canonical)?;
                if let Some(incident) = self.incidents.get_mut(&incident) {
                    incident.status = status;
                }
            }
            "ledger_key" => self.ledger_key = Some(read::<Announced>(canonical)?.ledger_key),
            "erasure" => {
                for id in read::<Erased>(canonical)?.agents {
                    if let Some(agent) = self.agents.get_mut(&id) {
                        (agent.revision, agent.updated_at) = (agent.revision + 1, entry.at);
                        agent.said = None;
                    }
                }
                return Ok(());
            }
            _ => {}
        }
        for hit in read::<Hits>(canonical)?.incidents {
            self.hit(entry, hit);
        }
        Ok(())
    }

    fn judged(&mut self, entry: &Common, decided: &Decided, judged: Judged, said: Option<Value>) {
        match (entry.kind.as_str(), entry.agent) {
            ("registration", Some(id)) => self.registered(id, entry, decided, &judged, said),
            ("intent", agent) if entry.source == "/api/v3/intents" => {
                let (action, risk) = (entry.action.clone().unwrap_or_default(), decided.risk.clone());
                self.intents.insert(entry.id, Intent { agent, action, risk, created_at: entry.at });
            }
            _ => {}
        }
        if let (Some(task), Some(steps), Some(hash)) = (&entry.task, judged.step, judged.task_hash) {
            self.tasks.insert(task.clone(), Task { steps, hash, last_at: entry.at });
        }
    }

    /// Neither a person nor a key that is bound to an agent takes it away from whoever registered it.
    fn registered(
        &mut self,
        id: Uuid,
        entry: &Common,
        decided: &Decided,
        judged: &Judged,
        said: Option<Value>,
    ) {
        let (kind, caller) = entry.actor.split_once(':').unwrap_or_default();
        let caller = caller.parse::<Uuid>().ok();
        let known_key = caller.filter(|_| kind == "key").and_then(|id| self.keys.get(&id));
        let is_bound = known_key.is_some_and(|key| key.agent.is_some());
        let (account, key) = match known_key {
            Some(known) => (known.account, caller),
            None => (caller, None),
        };
        let before = self.agents.get(&id);
        let (account, key) = match before.filter(|_| kind == "user" || is_bound) {
            Some(before) if before.account.is_some() => (before.account, before.key),
            _ => (account, key),
        };
        let agent = Agent {
            account,
            key,
            denied: matches!(decided.outcome.as_str(), "deny" | "require_approval"),
            revision: judged.agent_revision,
            registered_at: before.map_or(entry.at, |before| before.registered_at),
            updated_at: entry.at,
            said,
        };
        self.agents.insert(id, agent);
    }

    fn hit(&mut self, entry: &Common, hit: Hit) {
        let Hit { id, rule, severity, new, mut witnesses } = hit;
        if new == 1 {
            let incident = Incident {
                rule,
                severity: String::new(),
                status: "open".to_owned(),
                agent: entry.agent.unwrap_or_default(),
                task: entry.task.clone().unwrap_or_default(),
                count: 0,
                first_seen: entry.at,
                last_seen: entry.at,
                witnesses: Vec::new(),
                earlier: Vec::new(),
            };
            self.incidents.insert(id, incident);
        }
        let Some(incident) = self.incidents.get_mut(&id) else { return };
        incident.count += 1;
        (incident.severity, incident.last_seen) = (severity, entry.at);
        add_witness(&mut incident.witnesses, entry.id);
        witnesses.sort_unstable();
        add_earlier(&mut incident.earlier, &witnesses);
    }

    fn key(&mut self, entry: &Common, Key { key, account, key_agent, overlap_s }: Key) {
        match entry.action.as_deref() {
            Some("created") => {
                let key_row = ApiKey { account, agent: key_agent, old_until: None, revoked_at: None };
                self.keys.insert(key, key_row);
            }
            Some("rotated") => {
                if let (Some(known), Some(overlap_s)) = (self.keys.get_mut(&key), overlap_s) {
                    known.old_until = (overlap_s > 0).then(|| entry.at + overlap_s * 1_000_000);
                }
            }
            Some("revoked") => {
                if let Some(known) = self.keys.get_mut(&key) {
                    known.revoked_at = Some(entry.at);
                }
            }
            _ => {}
        }
    }

    fn member(&mut self, entry: &Common, Person { user, role }: Person) {
        match (entry.action.as_deref(), role) {
            (Some("removed" | "left"), _) => {
                self.members.remove(&user);
            }
            (Some("invited"), Some(role)) => {
                self.members.insert(user, Member { role, accepted: Some(false) });
            }
            (action, Some(role)) => {
                if let Some(member) = self.members.get_mut(&user) {
                    member.role = role;
                    if action == Some("accepted") {
                        member.accepted = Some(true);
                    }
                }
            }
            _ => {}
        }
    }
}
