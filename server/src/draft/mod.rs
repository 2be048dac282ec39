//! What one batch is about to change: judged, recorded and remembered on top of what is committed.
//!
//! Nothing outside a draft changes before its batch is durable, but for what is remembered of earlier events: that
//! has a journal, so that a failed commit is undone.

mod acts;
mod people;
mod view;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use lictor_dsl::events::EventKind;
use lictor_engine::decision::{Class, Decision, Outcome};
use lictor_engine::event::{Event, FieldError, Origin};
use lictor_engine::generation::Engine;
use lictor_engine::memory::{Fate, Memories};
use uuid::Uuid;

use crate::accounts::keys::{ApiKey, Keyring};
use crate::accounts::people::{People, PeopleError};
use crate::agents::{Agent, Inactive};
use crate::canonical::{Object, Value};
use crate::clock::ledger_time;
use crate::db::{Batch, Change};
use crate::incidents::{self, Incident, Open, Status, Touched, Witness};
use crate::intents::{Declaration, Intent};
use crate::ledger::{self, Head, Index, Record, Step, StepBefore};
use crate::policies::InForce;
use crate::registration::{Registered, Registration};
use crate::vault::{Sealed, Vault};

pub use acts::{Filled, Note, PolicyChange, Rotation, SYSTEM};
pub use view::{Memory, View};

/// A judged event, ready to be put in its place.
#[derive(Debug)]
pub struct Prepared {
    /// The id of its ledger entry.
    pub id: Uuid,
    /// The typed event.
    pub event: Event,
    /// The API that took it.
    pub source: &'static str,
    /// Its agent, as the HTTP thread knew it.
    pub agent: Arc<Agent>,
    /// Who sent it.
    pub actor: String,
    /// Its encrypted payload.
    pub sealed: Sealed,
    /// For an intent that is to be stored.
    pub declaration: Option<Declaration>,
}

/// A decision in its place in the ledger.
#[derive(Debug)]
pub struct Judged {
    /// The id of its entry.
    pub id: Uuid,
    /// Its place.
    pub seq: i64,
    /// What was decided.
    pub decision: Decision,
    /// The incidents that it opened or added to.
    pub incidents: Vec<Touched>,
    /// For a log: its place in its task.
    pub step: Option<Step>,
    /// For a declared intent: what was stored.
    pub intent: Option<Arc<Intent>>,
}

/// What became of an event.
#[derive(Debug)]
pub enum Answer {
    /// It was judged and recorded.
    Judged(Box<Judged>),
    /// The same intent was declared before; nothing happened.
    DeclaredBefore(Arc<Intent>),
}

/// Why nothing happened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The agent may not act.
    #[error("the agent is not active")]
    Inactive {
        /// What the policy said.
        reason: Option<String>,
    },
    /// The request can't be an event.
    #[error("the event breaks the event table")]
    Invalid(Vec<FieldError>),
    /// The idempotency key was used for another request.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// There is no such object in the org.
    #[error("there is no such object")]
    NotFound,
    /// The incident's status does not allow it.
    #[error("an incident that is {} can't become {}", .from.name(), .to.name())]
    WrongStatus {
        /// What it is.
        from: Status,
        /// What it was to be.
        to: Status,
    },
    /// The name belongs to somebody else.
    #[error("the agent is registered by another key")]
    Taken,
    /// The payload can't be encrypted.
    #[error("the payload can't be encrypted")]
    Unsealable,
    /// Who belongs to the org can't be changed like that.
    #[error(transparent)]
    People(#[from] PeopleError),
    /// The policies are no longer those that the change was made from.
    #[error("the policies were changed meanwhile")]
    Superseded,
}

/// One batch in the making.
#[derive(Debug)]
pub struct Draft<'a> {
    view: &'a View,
    memory: &'a mut Memory,
    vault: &'a Vault,
    in_force: Arc<InForce>,
    /// Who belongs to the org, if this batch asks.
    people: Option<People>,
    /// Accounts that don't belong to the org any more.
    gone: Vec<Uuid>,
    new: New,
    entries: Vec<ledger::Entry>,
    payloads: Vec<(Uuid, Sealed)>,
    changes: Vec<Change>,
}

/// What is true from now on, if the batch gets durable.
#[derive(Debug)]
pub struct New {
    head: Head,
    agents: HashMap<Uuid, Arc<Agent>>,
    agent_keys: HashMap<String, Uuid>,
    incidents: Open,
    tasks: HashMap<String, StepBefore>,
    intents: HashMap<String, Arc<Intent>>,
    keys: Vec<Arc<ApiKey>>,
    revoked: Vec<Uuid>,
    in_force: Option<Arc<InForce>>,
    filled: Option<Memories>,
}

impl<'a> Draft<'a> {
    /// An empty draft on top of what is committed.
    pub fn new(view: &'a View, memory: &'a mut Memory, vault: &'a Vault) -> Draft<'a> {
        memory.memories.begin();
        let new = New {
            head: memory.head,
            agents: HashMap::new(),
            agent_keys: HashMap::new(),
            incidents: Open::default(),
            tasks: HashMap::new(),
            intents: HashMap::new(),
            keys: Vec::new(),
            revoked: Vec::new(),
            in_force: None,
            filled: None,
        };
        let (entries, payloads, changes) = (Vec::new(), Vec::new(), Vec::new());
        let (in_force, people, gone) = (view.in_force(), None, Vec::new());
        Draft { view, memory, vault, in_force, people, gone, new, entries, payloads, changes }
    }

    /// Whose ledger it is.
    pub fn org(&self) -> Uuid {
        self.view.id
    }

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

    /// Judges one event, records the decision and remembers it.
    pub fn judge(&mut self, now_us: i64, prepared: Prepared) -> Result<Answer, Refused> {
        let agent = self.agent(prepared.agent.id).unwrap_or_else(|| Arc::clone(&prepared.agent));
        if let Some(reason) = refusal_of_inactive(&agent, prepared.event.kind()) {
            return Err(Refused::Inactive { reason });
        }
        if let Some(before) = self.declared_before(prepared.declaration.as_ref())? {
            return Ok(Answer::DeclaredBefore(before));
        }
        Ok(Answer::Judged(Box::new(self.record(now_us, prepared))))
    }

    fn declared_before(&self, declaration: Option<&Declaration>) -> Result<Option<Arc<Intent>>, Refused> {
        let Some(declaration) = declaration else { return Ok(None) };
        let Some(key) = declaration.idempotency_key.as_ref() else { return Ok(None) };
        match self.new.intents.get(key) {
            Some(intent) if intent.request_digest == declaration.request_digest => {
                Ok(Some(Arc::clone(intent)))
            }
            Some(_) => Err(Refused::KeyReused),
            None => Ok(None),
        }
    }

    fn record(&mut self, now_us: i64, prepared: Prepared) -> Judged {
        let Prepared { id, mut event, source, agent, actor, sealed, declaration } = prepared;
        let at_us = ledger_time(self.new.head.at_us, now_us);
        event.set_at(at_us);
        let decision = judge(&self.in_force, &self.memory.memories, &event);
        let task = event.text("task").to_owned();
        let is_log = event.kind() == EventKind::Log;
        let incidents =
            self.fold(&decision, is_log, Witness { entry: id, at_us, agent: agent.id, task: &task });
        let action = action_of(&event);
        let index = Index {
            kind: event.kind().name(),
            source,
            agent: Some(agent.id),
            task: Some(task.clone()).filter(|task| !task.is_empty()),
            actor,
            action: Some(action.to_owned()).filter(|action| !action.is_empty()),
            outcome: Some(decision.decision.name()),
            risk: Some(decision.risk),
        };
        let content = ledger::judged(&decision, agent.revision, &sealed.digest);
        let content = match incidents.as_slice() {
            [] => content,
            touched => content.value("incidents", touched_record(touched)),
        };
        let before = (is_log && !task.is_empty()).then(|| self.task(&task));
        let record = Record { id, index, content, step: before };
        let (entry, step) = ledger::append(&mut self.new.head, self.view.id, at_us, record);
        let seq = entry.seq;
        remember(&mut self.memory.memories, &self.in_force, &event, &decision, seq);
        self.entries.push(entry);
        self.payloads.push((id, sealed));
        if let Some(step) = step {
            let step = StepBefore { steps: step.number, hash: step.hash };
            self.new.tasks.insert(task.clone(), step);
            self.changes.push(Change::Task { task, step, at_us });
        }
        let intent = declaration.map(|declaration| {
            self.declare(Intent {
                id,
                agent: agent.id,
                action: event.text("action").to_owned(),
                risk: decision.risk,
                idempotency_key: declaration.idempotency_key,
                request_digest: declaration.request_digest,
                created_at_us: at_us,
            })
        });
        Judged { id, seq, decision, incidents, step, intent }
    }

    fn declare(&mut self, intent: Intent) -> Arc<Intent> {
        let intent = Arc::new(intent);
        if let Some(key) = &intent.idempotency_key {
            self.new.intents.insert(key.clone(), Arc::clone(&intent));
        }
        self.changes.push(Change::Intent(Arc::clone(&intent)));
        intent
    }

    fn fold(&mut self, decision: &Decision, is_log: bool, witness: Witness<'_>) -> Vec<Touched> {
        let mut touched = Vec::new();
        for hit in incidents::hits(decision, is_log, witness.agent) {
            let one =
                incidents::fold(&self.new.incidents, &self.memory.incidents, hit, witness, Uuid::now_v7);
            self.new.incidents.put(Arc::clone(&one.incident));
            self.changes.push(Change::Incident(Arc::clone(&one.incident)));
            touched.push(one);
        }
        touched
    }

    /// Registers an agent, or changes its registration, and lets the policies judge that.
    pub fn register(&mut self, now_us: i64, registration: Registration) -> Result<Registered, Refused> {
        let previous = self.agent_named(&registration.key);
        if let Some(agent) = previous.as_ref().filter(|_| !registration.declared) {
            // Somebody registered it meanwhile: to be seen again says nothing new about it.
            let (agent, judged) = (Arc::clone(agent), None);
            return match agent.obeys(&registration.caller) {
                true => Ok(Registered { agent, created: false, judged }),
                false => Err(Refused::Taken),
            };
        }
        let registrar_is_live = match previous.as_ref().and_then(|agent| agent.api_key) {
            Some(key) => registration.live_keys.contains(&key) && !self.new.revoked.contains(&key),
            None => false,
        };
        let at_us = ledger_time(self.new.head.at_us, now_us);
        let (mut agent, json) = registration.outcome(previous.as_deref(), registrar_is_live, at_us)?;
        let facts = agent.facts();
        let org = self.view.id.to_string();
        let origin = Origin::Server { org: &org, source: registration.source, agent: &facts };
        let event =
            Event::decode(json.as_bytes(), origin).map_err(|invalid| Refused::Invalid(invalid.errors))?;
        let id = Uuid::now_v7();
        let prepared = Prepared {
            id,
            event,
            source: registration.source,
            agent: Arc::new(agent.clone()),
            actor: registration.caller.actor(),
            sealed: self.seal(id, &agent, json.as_bytes())?,
            declaration: None,
        };
        let judged = self.record(now_us, prepared);
        (agent.inactive, agent.reason) = match judged.decision.decision {
            Outcome::Allow | Outcome::Warn => (None, None),
            Outcome::Deny | Outcome::RequireApproval => {
                (Some(Inactive::Denied), judged.decision.reason.clone())
            }
        };
        let agent = Arc::new(agent);
        self.new.agent_keys.insert(agent.key.clone(), agent.id);
        self.new.agents.insert(agent.id, Arc::clone(&agent));
        self.changes.push(Change::Agent(Arc::clone(&agent)));
        Ok(Registered { agent, created: previous.is_none(), judged: Some(judged) })
    }

    fn seal(&self, id: Uuid, agent: &Agent, event: &[u8]) -> Result<Sealed, Refused> {
        let agent = agent.to_json().map_err(|_| Refused::Unsealable)?;
        let payload = payload(&agent, event);
        self.vault.seal(self.view.id, id, &payload).map_err(|_| Refused::Unsealable)
    }

    /// Adds a row that has no entry of its own.
    pub fn also(&mut self, change: Change) {
        self.changes.push(change);
    }

    /// What to write, and what is true once it is written. Nothing, if nothing happened.
    pub fn finish(mut self) -> (Option<Batch>, New) {
        self.report_lost_keys();
        let Draft { view, memory, new, entries, payloads, changes, .. } = self;
        if entries.is_empty() {
            return (None, new);
        }
        let changes = latest_of_each(changes);
        (Some(Batch { org: view.id, before: memory.head, after: new.head, entries, payloads, changes }), new)
    }

    fn agent(&self, id: Uuid) -> Option<Arc<Agent>> {
        self.new.agents.get(&id).cloned().or_else(|| self.view.directory.by_id(id))
    }

    fn agent_named(&self, key: &str) -> Option<Arc<Agent>> {
        match self.new.agent_keys.get(key) {
            Some(id) => self.new.agents.get(id).cloned(),
            None => self.view.directory.find(key).map(|known| Arc::clone(&known.agent)),
        }
    }

    fn task(&self, task: &str) -> StepBefore {
        let known = self.new.tasks.get(task).or_else(|| self.memory.tasks.get(task));
        known.copied().unwrap_or(StepBefore::START)
    }
}

impl New {
    /// Makes it what everybody sees: the batch is durable.
    pub fn publish(mut self, view: &View, keys: &Keyring, memory: &mut Memory) {
        memory.memories.commit();
        memory.head = self.head;
        view.moved_to(self.head.next_seq);
        memory.tasks.extend(self.tasks);
        for incident in self.incidents.drain() {
            memory.incidents.put(incident);
        }
        for agent in self.agents.into_values() {
            view.directory.put(agent);
        }
        for key in self.keys {
            keys.put(key);
        }
        for id in self.revoked {
            keys.remove(id);
        }
        if let Some(in_force) = self.in_force {
            memory.memories.adopt(&in_force.generation);
            if let Some(filled) = self.filled {
                memory.memories.absorb(filled);
            }
            *view.in_force.write().unwrap_or_else(PoisonError::into_inner) = in_force;
        }
    }

    /// Nothing of it happened: the batch is not durable.
    pub fn undo(self, memory: &mut Memory) {
        memory.memories.roll_back();
    }
}

/// What is kept, encrypted, of a judged event: the agent as it was and the event as it came, both as JSON.
pub fn payload(agent: &str, event: &[u8]) -> Vec<u8> {
    [br#"{"agent":"#, agent.as_bytes(), br#","event":"#, event, b"}"].concat()
}

/// Judges by what happened before; a fault of the engine is a deny that says so, and is logged here.
pub fn judge(in_force: &InForce, memories: &Memories, event: &Event) -> Decision {
    let mut decision = in_force.generation.judge_with(event, memories, Engine::Jit);
    if decision.class == Class::EngineFault {
        let policy_set = &*in_force.policy_set;
        tracing::error!(policy_set, reason = decision.reason, "the engine could not answer");
    }
    decision.policy_set = Arc::clone(&in_force.policy_set);
    decision
}

/// Takes in an event that was judged. One that breaks a schema is as if it had not been.
fn remember(memories: &mut Memories, in_force: &InForce, event: &Event, decision: &Decision, seq: i64) {
    if decision.class != Class::InvalidInput {
        let (fate, number) = (Fate::of(decision.decision), u64::try_from(seq).unwrap_or_default());
        memories.remember(&in_force.generation, event, fate, number, event.at());
    }
}

/// What an inactive agent did is recorded; what it wants to do is refused.
fn refusal_of_inactive(agent: &Agent, kind: EventKind) -> Option<Option<String>> {
    let wants = matches!(kind, EventKind::Intent | EventKind::Action | EventKind::Request);
    (agent.inactive.is_some() && wants).then(|| agent.reason.clone())
}

fn action_of(event: &Event) -> &str {
    match event.kind() {
        EventKind::Intent | EventKind::Request => event.text("action"),
        EventKind::Action => event.text("tool"),
        EventKind::Log => event.text("name"),
        EventKind::Registration => event.text("change"),
        EventKind::Submission => "",
    }
}

fn touched_record(touched: &[Touched]) -> Value<'static> {
    let one = |touched: &Touched| {
        let object = Object::new()
            .text("id", touched.incident.id.to_string())
            .text("rule", touched.incident.rule.clone())
            .text("severity", touched.incident.severity.name());
        let object = if touched.new { object.integer("new", 1) } else { object };
        Value::Object(match touched.rests_on.as_slice() {
            [] => object,
            seqs => {
                object.value("witnesses", Value::List(seqs.iter().copied().map(Value::Integer).collect()))
            }
        })
    };
    Value::List(touched.iter().map(one).collect())
}

/// Rows that a batch writes more than once are written as they end: a task or an incident changes with each event.
fn latest_of_each(changes: Vec<Change>) -> Vec<Change> {
    let mut latest: HashMap<String, usize> = HashMap::new();
    let name = |change: &Change| match change {
        Change::Task { task, .. } => Some(format!("task {task}")),
        Change::Incident(incident) => Some(format!("incident {}", incident.id)),
        _ => None,
    };
    for (place, change) in changes.iter().enumerate() {
        if let Some(name) = name(change) {
            latest.insert(name, place);
        }
    }
    let is_latest =
        |(place, change): &(usize, Change)| name(change).is_none_or(|name| latest.get(&name) == Some(place));
    changes.into_iter().enumerate().filter(is_latest).map(|(_, change)| change).collect()
}
