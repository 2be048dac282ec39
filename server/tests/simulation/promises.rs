//! What must be true of everything that is kept, whatever went wrong: the ledger judged and folded again, slowly and
//! obviously, beside what servers made of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lictor_engine::decision::Decision;
use lictor_engine::event::Event;
use lictor_engine::generation::{Engine, Generation};
use lictor_engine::memory::Fate;
use lictor_engine::memory::history::History;
use lictor_server::agents::Agent;
use lictor_server::db::JudgedRow;
use lictor_server::ledger::{Entry, Head, StepBefore, StoredEntry, Verified, sha256, verify};
use lictor_server::memory::{Past, Recorded};
use lictor_server::policies::Policy;
use lictor_server::vault::hex;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::servers::{SOURCES, generation, policy};
use crate::store::Kept;

/// Stands in everything that must stay secret.
pub(crate) const SECRET: &str = "CANARY";

/// How the actions of requests begin that are done once, however often they are sent.
pub(crate) const ONCE: &str = "once-";

/// An answer that a caller had in its hands.
#[derive(Debug, Clone)]
pub(crate) struct Acknowledged {
    pub(crate) id: Uuid,
    pub(crate) seq: i64,
    pub(crate) outcome: &'static str,
}

/// An agent as it was last registered.
#[derive(Debug, Clone, PartialEq)]
struct Registered {
    at_us: i64,
    revision: i64,
    purpose: String,
}

/// The ledger as far as it was looked at, and what follows from it.
pub(crate) struct Promises {
    head: Head,
    generation: Arc<Generation>,
    policy: Arc<Policy>,
    policy_set: String,
    /// Whether rules wait for their memories.
    filling: bool,
    history: History,
    events: Vec<(Arc<Event>, Fate, u64)>,
    steps: BTreeMap<String, StepBefore>,
    /// Hits and status of incidents.
    incidents: BTreeMap<Uuid, (i64, String)>,
    agents: BTreeMap<Uuid, Registered>,
    keys: BTreeSet<Uuid>,
    /// Requests that are done once, and were.
    once: BTreeMap<String, (i64, i64)>,
    /// Decisions that were made while rules waited.
    pub(crate) waiting: u64,
}

impl Promises {
    pub(crate) fn new(first: Arc<Policy>) -> Promises {
        let generation = generation(&[Arc::clone(&first)]);
        Promises {
            head: Head::EMPTY,
            policy_set: generation.digest().to_owned(),
            generation,
            policy: first,
            filling: false,
            history: History::default(),
            events: Vec::new(),
            steps: BTreeMap::new(),
            incidents: BTreeMap::new(),
            agents: BTreeMap::new(),
            keys: BTreeSet::new(),
            once: BTreeMap::new(),
            waiting: 0,
        }
    }

    /// Looks at what is new, and at everything that follows from it.
    pub(crate) fn check(&mut self, kept: &Kept, past: &Past) -> Result<(), String> {
        for entry in kept.entries.iter().skip(self.head.next_seq as usize) {
            self.entry(entry, kept, past).map_err(|broken| format!("entry {}: {broken}", entry.seq))?;
        }
        same("the head", &kept.head, &self.head)?;
        let tasks: [Vec<_>; 2] = [&kept.tasks, &self.steps].map(|tasks| tasks.iter().map(stands).collect());
        same("tasks", &tasks[0], &tasks[1])?;
        if kept.tasks.values().map(|step| step.hash).ne(self.steps.values().map(|step| step.hash)) {
            // Hashes are of ids as well, which are others each time.
            return Err("a task has another hash".to_owned());
        }
        let incidents = kept.incidents.values();
        let incidents = incidents.map(|one| (one.id, (one.count, one.status.name().to_owned()))).collect();
        same("incidents", &incidents, &self.incidents)?;
        same(
            "agents",
            &kept.agents.values().map(|agent| (agent.id, registered(agent))).collect(),
            &self.agents,
        )?;
        same("keys", &kept.keys.keys().copied().collect(), &self.keys)?;
        same("answers", &kept.answers, &self.once)?;
        same("the policy", &kept.policies[0].source, &self.policy.source)?;
        same("whether rules wait", &!kept.filling.is_empty(), &self.filling)
    }

    /// Every answer is durable, at the place and with the outcome that it named.
    pub(crate) fn durable(acknowledged: &[Acknowledged], kept: &Kept) -> Result<(), String> {
        for answer in acknowledged {
            let entry = kept.entries.get(answer.seq as usize);
            let is_kept = entry
                .is_some_and(|entry| entry.id == answer.id && entry.index.outcome == Some(answer.outcome));
            if !is_kept {
                return Err(format!(
                    "an acknowledged decision is lost: number {}, {}",
                    answer.seq, answer.outcome
                ));
            }
        }
        Ok(())
    }

    fn entry(&mut self, entry: &Entry, kept: &Kept, past: &Past) -> Result<(), String> {
        let Entry { seq, canonical, hash, prev_hash, .. } = entry.clone();
        let stored = StoredEntry { seq, canonical, hash, prev_hash };
        self.head = match verify(self.head, [stored]) {
            Verified::Ok(head) => head,
            fault => return Err(format!("the chain is broken: {fault:?}")),
        };
        let text = String::from_utf8(entry.canonical.clone()).map_err(|_| "not a text")?;
        if text.contains(SECRET) {
            return Err("a secret is in the ledger".to_owned());
        }
        let record: Value = serde_json::from_str(&text).map_err(|_| "no JSON")?;
        for touched in record["incidents"].as_array().into_iter().flatten() {
            self.incidents.entry(id(&touched["id"])).or_insert((0, "open".to_owned())).0 += 1;
        }
        match entry.index.kind {
            "policy" => self.policies(&record),
            "incident" if record["status"].is_string() => {
                let status = record["status"].as_str().unwrap_or_default().to_owned();
                let known = self.incidents.get_mut(&id(&record["incident"])).ok_or("an unknown incident")?;
                known.1 = status;
                Ok(())
            }
            // The system says that something could not be recorded before.
            "incident" if entry.index.action.as_deref() == Some("opened") => Ok(()),
            "key" => {
                let key = id(&record["key"]);
                match entry.index.action.as_deref() {
                    Some("created") => drop(self.keys.insert(key)),
                    _ => drop(self.keys.remove(&key)),
                }
                Ok(())
            }
            _ if entry.index.outcome.is_some() => self.judged(entry, &record, kept, past),
            kind => Err(format!("nobody records {kind} here")),
        }
    }

    /// Other policies from here on, or rules that wait no longer.
    fn policies(&mut self, record: &Value) -> Result<(), String> {
        if let Some(policies) = record["policies"].as_array() {
            let digest = policies[0]["source"].as_str().unwrap_or_default();
            let is_it =
                |which: &usize| digest == format!("sha256:{}", hex(&sha256(&[SOURCES[*which].as_bytes()])));
            let which = (0..SOURCES.len()).find(is_it).ok_or("an unknown policy")?;
            self.policy = policy(which, 0);
            self.generation = generation(&[Arc::clone(&self.policy)]);
            self.history = History::default();
            for (event, fate, number) in &self.events {
                self.history.remember(&self.generation, Arc::clone(event), *fate, *number, event.at());
            }
        }
        self.filling = record["filling"].is_array();
        record["policy_set"].as_str().unwrap_or_default().clone_into(&mut self.policy_set);
        match self.filling {
            true => Ok(()),
            false => {
                same("the digest of the policies", &self.policy_set, &self.generation.digest().to_owned())
            }
        }
    }

    /// A decision: made by the policies in force, from everything that happened before it, with its payload beside it.
    fn judged(&mut self, entry: &Entry, record: &Value, kept: &Kept, past: &Past) -> Result<(), String> {
        let sealed = kept.payloads.get(&entry.id).ok_or("it has no payload")?;
        let row = JudgedRow {
            seq: entry.seq,
            entry_id: entry.id,
            canonical: entry.canonical.clone(),
            wrapped_key: Some(sealed.wrapped_key.clone()),
            ciphertext: Some(sealed.ciphertext.clone()),
        };
        let Recorded { event, fate, .. } = past.recorded(&row).map_err(|error| error.to_string())?;
        same("its policies", &record["policy_set"], &json!(self.policy_set))?;
        if self.filling {
            self.waiting += 1;
        } else {
            let decision = self.generation.judge_by_history(&event, &self.history, Engine::Interpreter);
            same("the decision", &recorded(&record["decision"]), &comparable(&decision))?;
        }
        if entry.index.kind != "registration" {
            let agent = entry.index.agent.and_then(|agent| self.agents.get(&agent));
            let Registered { revision, purpose, .. } = agent.ok_or("an agent that nobody registered")?;
            same("the agent's revision", &record["agent_revision"], &json!(revision))?;
            same("the agent's purpose", &event.text("agent.purpose"), &purpose.as_str())?;
        }
        if let Some(action) = entry.index.action.as_ref().filter(|action| action.starts_with(ONCE))
            && self.once.insert(action.clone(), (entry.seq, entry.seq)).is_some()
        {
            return Err("a request was done twice".to_owned());
        }
        if let Some(key) = entry.index.actor.strip_prefix("key:") {
            let is_good = self.keys.contains(&key.parse().unwrap_or_default());
            same("whether its key is good", &is_good, &true)?;
        }
        let fate = fate.ok_or("no policy here has a schema")?;
        let purpose = event.text("agent.purpose").to_owned();
        let (event, number) = (Arc::new(event), entry.seq as u64);
        self.history.remember(&self.generation, Arc::clone(&event), fate, number, event.at());
        self.events.push((event, fate, number));
        match entry.index.kind {
            "registration" => {
                let agent = entry.index.agent.unwrap_or_default();
                let revision = self.agents.get(&agent).map_or(0, |before| before.revision + 1);
                self.agents.insert(agent, Registered { at_us: entry.at_us, revision, purpose });
            }
            "log" => {
                let task = entry.index.task.clone().ok_or("a log without a task")?;
                let steps = self.steps.get(&task).map_or(0, |step| step.steps);
                same("the step", &record["step"], &json!(steps + 1))?;
                let hash = record["task_hash"].as_str().unwrap_or_default();
                let bytes = (0..32)
                    .map(|at| u8::from_str_radix(hash.get(2 * at..2 * at + 2).unwrap_or_default(), 16));
                let bytes: Vec<u8> = bytes.collect::<Result<_, _>>().map_err(|_| "no hash of the task")?;
                let hash = bytes.try_into().map_err(|_| "no hash of the task")?;
                self.steps.insert(task, StepBefore { steps: steps + 1, hash });
            }
            _ => {}
        }
        Ok(())
    }
}

fn registered(agent: &Agent) -> Registered {
    let purpose = agent.profile.purpose.clone().unwrap_or_default();
    Registered { at_us: agent.updated_at_us, revision: agent.revision, purpose }
}

fn stands((task, step): (&String, &StepBefore)) -> (String, i64) {
    (task.clone(), step.steps)
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, wanted: &T) -> Result<(), String> {
    if found == wanted { Ok(()) } else { Err(format!("{what}: {found:?} instead of {wanted:?}")) }
}

fn id(value: &Value) -> Uuid {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn comparable(decision: &Decision) -> Value {
    let rules = decision.rules.iter().map(|rule| json!([*rule.rule, rule.truth]));
    let rules: Vec<_> = rules.collect();
    json!([decision.decision.name(), decision.class.name(), decision.risk.to_string(), rules])
}

fn recorded(decision: &Value) -> Value {
    let rules = decision["rules"].as_array().into_iter().flatten();
    let rules: Vec<_> = rules.map(|rule| json!([rule["rule"], rule["truth"]])).collect();
    json!([decision["outcome"], decision["class"], decision["risk"], rules])
}
