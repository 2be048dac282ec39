//! The store of the world: what is durable, whose turn it is to write, and what goes wrong when servers call it.

use std::collections::{BTreeMap, HashMap};
use std::future::pending;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use lictor_engine::memory::Missing;
use lictor_server::accounts::keys::ApiKey;
use lictor_server::agents::Agent;
use lictor_server::db::{Batch, Change, Changed, JudgedRow, Later, Store, StoreError, Turn};
use lictor_server::incidents::Incident;
use lictor_server::intents::Intent;
use lictor_server::ledger::{Entry, Head, StepBefore};
use lictor_server::policies::Policy;
use lictor_server::retries::Name;
use lictor_server::vault::Sealed;
use serde_json::Value;
use uuid::Uuid;

/// The org of the world.
pub(crate) const ORG: Uuid = Uuid::from_u128(0x0198_c0de_0000_7000_8000_0000_0000_0001);

/// How often others go on while a batch is written.
const COMMIT_YIELDS: usize = 4;

/// What can be wrong with the world on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// Some batches are acknowledged and not kept.
    Forgets,
    /// Of some batches the entries are kept and what else they change is not.
    WritesHalf,
    /// Two servers may write at once, and what the head was is not looked at.
    TakesNoTurns,
    /// A server is not told that another changed the policies.
    HidesPolicies,
    /// A server is not told of some events that others recorded.
    HidesEvents,
    /// A server is not told which requests were answered.
    HidesAnswers,
}

/// What goes wrong at one call of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It does nothing and says so.
    Fails,
    /// A commit is kept, and its answer is lost. Any other call fails.
    LosesTheAnswer,
    /// The server is gone before anything is done.
    Crashes,
    /// The server is gone once it is done.
    CrashesAfter,
}

/// Everything that is durable.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) head: Head,
    pub(crate) entries: Vec<Entry>,
    pub(crate) payloads: HashMap<Uuid, Sealed>,
    pub(crate) agents: BTreeMap<Uuid, Arc<Agent>>,
    pub(crate) incidents: BTreeMap<Uuid, Arc<Incident>>,
    pub(crate) tasks: BTreeMap<String, StepBefore>,
    pub(crate) intents: Vec<Arc<Intent>>,
    pub(crate) keys: BTreeMap<Uuid, Arc<ApiKey>>,
    pub(crate) policies: Vec<Arc<Policy>>,
    pub(crate) filling: Vec<Missing>,
    /// Requests that were answered, with the first and the last entry of each.
    pub(crate) answers: BTreeMap<String, (i64, i64)>,
    /// Batches so far.
    batches: u64,
}

/// What servers share.
#[derive(Debug)]
pub(crate) struct World {
    kept: Mutex<Kept>,
    turn: Arc<tokio::sync::Mutex<()>>,
    bug: Option<Bug>,
    /// Whether it has one server, which needs no turns.
    is_alone: bool,
}

impl World {
    pub(crate) fn new(policies: Vec<Arc<Policy>>, bug: Option<Bug>, is_alone: bool) -> Arc<World> {
        let kept = Kept {
            head: Head::EMPTY,
            entries: Vec::new(),
            payloads: HashMap::new(),
            agents: BTreeMap::new(),
            incidents: BTreeMap::new(),
            tasks: BTreeMap::new(),
            intents: Vec::new(),
            keys: BTreeMap::new(),
            policies,
            filling: Vec::new(),
            answers: BTreeMap::new(),
            batches: 0,
        };
        Arc::new(World { kept: Mutex::new(kept), turn: Arc::default(), bug, is_alone })
    }

    pub(crate) fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap()
    }

    fn keep(&self, batch: Batch) -> Result<(), StoreError> {
        let mut kept = self.kept();
        if batch.before != kept.head && self.bug != Some(Bug::TakesNoTurns) {
            return Err(StoreError::HeadMoved);
        }
        kept.batches += 1;
        let now_and_then = kept.batches.is_multiple_of(7);
        if now_and_then && self.bug == Some(Bug::Forgets) {
            return Ok(());
        }
        kept.head = batch.after;
        kept.entries.extend(batch.entries);
        kept.payloads.extend(batch.payloads);
        if now_and_then && self.bug == Some(Bug::WritesHalf) {
            return Ok(());
        }
        for change in batch.changes {
            kept.change(change);
        }
        Ok(())
    }
}

impl Kept {
    fn change(&mut self, change: Change) {
        match change {
            Change::Agent(agent) => drop(self.agents.insert(agent.id, agent)),
            Change::Incident(incident) => drop(self.incidents.insert(incident.id, incident)),
            Change::Task { task, step, .. } => drop(self.tasks.insert(task, step)),
            Change::Intent(intent) => self.intents.push(intent),
            Change::Key(key) => drop(self.keys.insert(key.id, key)),
            Change::KeyRevoked { id, .. } => drop(self.keys.remove(&id)),
            Change::Policy { policy, .. } => {
                self.policies.retain(|other| other.id != policy.id);
                self.policies.push(policy);
            }
            Change::PolicyRemoved(id) => self.policies.retain(|other| other.id != id),
            Change::Filling(filling) => self.filling = filling,
            Change::Answer(answer) => drop(self.answers.insert(answer.name.key, answer.entries)),
            other => panic!("nobody does this here: {other:?}"),
        }
    }

    fn judged(&self, entries: Range<i64>, limit: usize) -> Vec<JudgedRow> {
        let wanted =
            self.entries.iter().filter(|entry| entries.contains(&entry.seq) && entry.index.outcome.is_some());
        let row = |entry: &Entry| {
            let sealed = self.payloads.get(&entry.id);
            JudgedRow {
                seq: entry.seq,
                entry_id: entry.id,
                canonical: entry.canonical.clone(),
                wrapped_key: sealed.map(|sealed| sealed.wrapped_key.clone()),
                ciphertext: sealed.map(|sealed| sealed.ciphertext.clone()),
            }
        };
        wanted.take(limit).map(row).collect()
    }

    /// What these entries changed: the rows as they are now.
    fn changed(&self, from: i64, limit: i64) -> Changed {
        let mut changed = Changed::default();
        for entry in self.entries.iter().filter(|entry| entry.seq >= from).take(limit as usize) {
            changed.after.get_or_insert(entry.prev_hash);
            let record: Value = serde_json::from_slice(&entry.canonical).unwrap();
            let touched = record["incidents"].as_array().into_iter().flatten().map(|touched| &touched["id"]);
            for id in touched.chain(record.get("incident")) {
                let id: Uuid = id.as_str().unwrap().parse().unwrap();
                changed.incidents.extend(self.incidents.get(&id).map(|incident| Incident::clone(incident)));
            }
            match entry.index.kind {
                "registration" => {
                    let agent = entry.index.agent.and_then(|id| self.agents.get(&id));
                    changed.agents.extend(agent.map(|agent| Agent::clone(agent)));
                }
                "policy" => changed.policies = true,
                "key" => changed.keys = Some(self.keys.values().map(|key| copy(key)).collect()),
                "log" => changed.tasks.extend(entry.index.task.clone()),
                _ => {}
            }
            changed.head = Some(Head { next_seq: entry.seq + 1, hash: entry.hash, at_us: entry.at_us });
        }
        changed
    }
}

/// A key as it is read from the store.
pub(crate) fn copy(key: &ApiKey) -> ApiKey {
    let (name, prefix) = (key.name.clone(), key.prefix.clone());
    ApiKey::new(key.id, key.org, key.account, name, prefix, key.agent, key.hash, key.created_at_us, None)
}

/// What names a request that may be sent again.
pub(crate) fn name(org: Uuid, key: &str) -> Name {
    Name { org, account: Uuid::nil(), route: "simulation".to_owned(), key: key.to_owned() }
}

/// The store as one server reaches it.
#[derive(Debug)]
pub(crate) struct Reach {
    world: Arc<World>,
    /// What goes wrong, and at which call from now.
    fault: Mutex<Option<(u32, Fault)>>,
    crashed: AtomicBool,
    /// Answers to commits that got lost.
    lost_answers: Mutex<u64>,
}

impl Reach {
    pub(crate) fn new(world: &Arc<World>) -> Arc<Reach> {
        let (fault, lost_answers) = (Mutex::default(), Mutex::default());
        Arc::new(Reach { world: Arc::clone(world), fault, crashed: AtomicBool::new(false), lost_answers })
    }

    /// Lets something go wrong at a call from now.
    pub(crate) fn let_fail(&self, call: u32, fault: Fault) {
        *self.fault.lock().unwrap() = Some((call, fault));
    }

    pub(crate) fn has_crashed(&self) -> bool {
        self.crashed.load(Ordering::SeqCst)
    }

    pub(crate) fn take_lost_answers(&self) -> u64 {
        std::mem::take(&mut self.lost_answers.lock().unwrap())
    }

    /// What goes wrong at this call.
    fn fault(&self) -> Option<Fault> {
        let mut fault = self.fault.lock().unwrap();
        match *fault {
            Some((0, now)) => {
                *fault = None;
                Some(now)
            }
            Some((calls, later)) => {
                *fault = Some((calls - 1, later));
                None
            }
            None => None,
        }
    }

    /// The server is gone: nothing that it waits for comes.
    async fn crash<T>(&self) -> T {
        self.crashed.store(true, Ordering::SeqCst);
        pending().await
    }

    /// A call that changes nothing.
    async fn read<T>(&self, read: impl FnOnce(&Kept) -> T) -> Result<T, StoreError> {
        // Others go on meanwhile.
        tokio::task::yield_now().await;
        match self.fault() {
            None => Ok(read(&self.world.kept())),
            Some(Fault::Fails | Fault::LosesTheAnswer) => Err(StoreError::Corrupt("simulation")),
            Some(Fault::Crashes | Fault::CrashesAfter) => self.crash().await,
        }
    }
}

impl Store for Reach {
    fn turn(&self, _org: Uuid) -> Later<'_, Turn> {
        Box::pin(async move {
            if self.world.is_alone {
                return self.read(|_| Turn::alone()).await;
            }
            let held = match self.world.bug {
                Some(Bug::TakesNoTurns) => None,
                _ => Some(Arc::clone(&self.world.turn).lock_owned().await),
            };
            let head = self.read(|kept| kept.head).await?;
            Ok(Turn::holding(head, held))
        })
    }

    fn commit(&self, turn: Turn, batch: Batch) -> Later<'_, ()> {
        Box::pin(async move {
            // Others go on meanwhile, and the server itself.
            for _ in 0..COMMIT_YIELDS {
                tokio::task::yield_now().await;
            }
            let fault = match self.fault() {
                // Who writes to a file hears what came of it, or is gone.
                Some(Fault::LosesTheAnswer) if self.world.is_alone => Some(Fault::CrashesAfter),
                fault => fault,
            };
            let done = match fault {
                Some(Fault::Fails) => Err(StoreError::Corrupt("simulation")),
                Some(Fault::Crashes) => self.crash().await,
                _ => self.world.keep(batch),
            };
            drop(turn);
            match fault {
                Some(Fault::LosesTheAnswer) => {
                    *self.lost_answers.lock().unwrap() += 1;
                    Err(StoreError::Corrupt("simulation"))
                }
                Some(Fault::CrashesAfter) => self.crash().await,
                _ => done,
            }
        })
    }

    fn changed(&self, _org: Uuid, from: i64, limit: i64) -> Later<'_, Changed> {
        Box::pin(async move {
            let mut changed = self.read(|kept| kept.changed(from, limit)).await?;
            changed.policies &= self.world.bug != Some(Bug::HidesPolicies);
            Ok(changed)
        })
    }

    fn policies(&self, _org: Uuid) -> Later<'_, (Vec<Policy>, Vec<Missing>)> {
        Box::pin(self.read(|kept| {
            let policies = kept.policies.iter().map(|policy| Policy::clone(policy)).collect();
            (policies, kept.filling.clone())
        }))
    }

    fn task<'a>(&'a self, _org: Uuid, task: &'a str) -> Later<'a, Option<StepBefore>> {
        Box::pin(self.read(move |kept| kept.tasks.get(task).copied()))
    }

    fn incidents_by_id(&self, _org: Uuid, ids: Vec<Uuid>) -> Later<'_, Vec<Incident>> {
        let known = move |kept: &Kept| {
            ids.iter()
                .filter_map(|id| kept.incidents.get(id))
                .map(|incident| Incident::clone(incident))
                .collect()
        };
        Box::pin(self.read(known))
    }

    fn intent_by_key<'a>(&'a self, _org: Uuid, key: &'a str) -> Later<'a, Option<Intent>> {
        let by_key = move |intent: &&Arc<Intent>| intent.idempotency_key.as_deref() == Some(key);
        Box::pin(self.read(move |kept| kept.intents.iter().find(by_key).map(|intent| Intent::clone(intent))))
    }

    fn answered<'a>(&'a self, org: Uuid, keys: Vec<&'a str>) -> Later<'a, Vec<Name>> {
        let is_hidden = self.world.bug == Some(Bug::HidesAnswers);
        Box::pin(self.read(move |kept| {
            let keys = keys.into_iter().filter(|key| !is_hidden && kept.answers.contains_key(*key));
            keys.map(|key| name(org, key)).collect()
        }))
    }

    fn next_seq(&self, _org: Uuid) -> Later<'_, i64> {
        Box::pin(self.read(|kept| kept.head.next_seq))
    }

    fn judged(&self, _org: Uuid, entries: Range<i64>, limit: usize) -> Later<'_, Vec<JudgedRow>> {
        Box::pin(async move {
            let mut rows = self.read(|kept| kept.judged(entries, limit)).await?;
            if self.world.bug == Some(Bug::HidesEvents) && rows.len() > 1 {
                rows.remove(0);
            }
            Ok(rows)
        })
    }
}
