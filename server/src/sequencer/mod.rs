//! One per org: takes everything that waits, gives it its order and its time, judges and records it, commits it as
//! one batch, and only then answers.
//!
//! While a batch commits, the next ones queue up; the more load, the larger the batches. A commit that fails leaves
//! nothing behind: the draft is undone and everybody in it is told that nothing happened.
//!
//! A change of the policy set is a batch of its own, so that all events of a batch are judged by one set. Questions
//! about what would be decided are answered between batches, a little at a time, and leave nothing.

mod reads;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use lictor_engine::event::Event;
use lictor_engine::generation::Generation;
use lictor_engine::memory::Memories;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use crate::accounts::keys::{ApiKey, Keyring};
use crate::clock::Clock;
use crate::db::{Batch, Store, StoreError};
use crate::draft::{Answer, Draft, Filled, Memory, New, PolicyChange, Prepared, Refused, View};
use crate::incidents::{Incident, Status};
use crate::memory::{Past, PastError};
use crate::policies::InForce;
use crate::registration::{Registered, Registration};
use crate::vault::Vault;
use lictor_dsl::events::EventKind;
use lictor_engine::decision::Decision;
use reads::Read;

/// Events that may wait for one org.
const QUEUE_EVENTS: usize = 4_096;
/// How long one may wait for its turn before its caller is told to come back.
const QUEUE_TIMEOUT: Duration = Duration::from_millis(1_500);
/// Events in one batch, and so in one transaction.
pub const BATCH_EVENTS: usize = 512;
/// What an event of this many bytes, or a part of it, weighs as much as one small event: 4,096 places are 16 MiB.
const PLACE_BYTES: usize = 4_096;
/// Weight of one batch: 4 MiB.
const BATCH_WEIGHT: usize = 1_024;
/// Entries that the sequencer itself remembers to bring filled memories up to its head; with more to go, they are
/// given back to be filled further.
const CATCH_UP_EVENTS: usize = 512;
/// Tasks whose state is kept at hand; past it all are forgotten and read again when asked for.
const MAX_TASKS: usize = 100_000;
/// Incidents at hand above which finished ones are forgotten.
const MANY_INCIDENTS: usize = 10_000;
/// Incidents that are kept at hand when too many are not finished.
const MAX_INCIDENTS: usize = 100_000;

/// The server can't decide now. The caller may come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// Too much waits already.
    #[error("too many requests are waiting")]
    Busy,
    /// What was decided could not be made durable, so it counts for nothing.
    #[error("the decision could not be recorded")]
    NotDurable,
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopping,
}

type Reply<T> = oneshot::Sender<Result<T, Unavailable>>;

/// Something for the sequencer to do.
enum Work {
    Judge(Vec<Prepared>, Reply<Vec<Result<Answer, Refused>>>),
    Register(Box<Registration>, Reply<Result<Registered, Refused>>),
    Policies(Box<PolicyChange>, String, Reply<Result<Arc<InForce>, Refused>>),
    Activate(Box<Filled>, oneshot::Sender<Activated>),
    AddKey(Arc<ApiKey>, String, Reply<()>),
    RevokeKey(Uuid, String, Reply<()>),
    Incident(Uuid, Status, String, Reply<Result<Arc<Incident>, Refused>>),
    Stop,
}

impl Work {
    fn events(&self) -> usize {
        match self {
            Work::Judge(events, _) => events.len(),
            _ => 1,
        }
    }

    /// How many places it takes in the queue.
    fn weight(&self) -> usize {
        match self {
            Work::Judge(events, _) => {
                events.iter().map(|event| event.sealed.ciphertext.len() / PLACE_BYTES + 1).sum()
            }
            _ => 1,
        }
    }

    /// Everything else is judged by the policy set before it or after it.
    fn stands_alone(&self) -> bool {
        matches!(self, Work::Policies(..) | Work::Activate(..))
    }

    /// Nobody waits for the answer any more, so it need not happen.
    fn is_abandoned(&self) -> bool {
        match self {
            Work::Judge(_, reply) => reply.is_closed(),
            Work::Register(_, reply) => reply.is_closed(),
            Work::Policies(_, _, reply) => reply.is_closed(),
            Work::Activate(_, reply) => reply.is_closed(),
            Work::AddKey(_, _, reply) | Work::RevokeKey(_, _, reply) => reply.is_closed(),
            Work::Incident(_, _, _, reply) => reply.is_closed(),
            Work::Stop => false,
        }
    }
}

/// What became of memories that were filled.
#[derive(Debug)]
pub enum Activated {
    /// Their rules decide.
    Live,
    /// They have to be filled further first, or could not be recorded.
    NotYet(Box<Filled>),
    /// Another policy set is in force, or they can't be used.
    Dropped,
}

/// Work with its place in the queue.
struct Job {
    work: Work,
    claim: Arc<Claim>,
    _place: Option<OwnedSemaphorePermit>,
}

/// Who got to a job first: the sequencer that does it, or the caller that gave up waiting.
#[derive(Debug, Default)]
struct Claim(AtomicU8);

impl Claim {
    const TAKEN: u8 = 1;
    const GIVEN_UP: u8 = 2;

    fn set(&self, state: u8) -> bool {
        self.0.compare_exchange(0, state, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// The way to an org's sequencer.
#[derive(Debug)]
pub struct Queue {
    jobs: mpsc::UnboundedSender<Job>,
    places: Arc<Semaphore>,
    reads: mpsc::Sender<Read>,
}

impl Queue {
    /// Judges events in this order, recording each. At most [`BATCH_EVENTS`].
    pub async fn judge(&self, events: Vec<Prepared>) -> Result<Vec<Result<Answer, Refused>>, Unavailable> {
        self.submit(|reply| Work::Judge(events, reply)).await
    }

    /// Registers an agent.
    pub async fn register(
        &self,
        registration: Registration,
    ) -> Result<Result<Registered, Refused>, Unavailable> {
        self.submit(|reply| Work::Register(Box::new(registration), reply)).await
    }

    /// Puts a policy set in force, and says what is in force then.
    pub async fn change_policies(
        &self,
        change: PolicyChange,
        actor: String,
    ) -> Result<Result<Arc<InForce>, Refused>, Unavailable> {
        self.submit(|reply| Work::Policies(Box::new(change), actor, reply)).await
    }

    /// Lets rules decide whose memories are filled. It waits for its turn however long that takes.
    pub async fn activate(&self, filled: Box<Filled>) -> Activated {
        let (reply, answer) = oneshot::channel();
        let job = Job { work: Work::Activate(filled, reply), claim: Arc::default(), _place: None };
        if self.jobs.send(job).is_err() {
            return Activated::Dropped;
        }
        answer.await.unwrap_or(Activated::Dropped)
    }

    /// What would be decided now, by what happened before. At this time, or at the event's own.
    pub async fn would_decide(
        &self,
        events: Vec<(Event, Option<i64>)>,
    ) -> Result<Vec<Decision>, Unavailable> {
        reads::would_decide(&self.reads, events).await
    }

    /// Memories to fill off to the side before this generation can be in force; none if it lacks nothing.
    pub async fn aside(&self, generation: &Arc<Generation>) -> Result<Option<Memories>, Unavailable> {
        reads::aside(&self.reads, generation).await
    }

    /// Makes a key good.
    pub async fn add_key(&self, key: Arc<ApiKey>, actor: String) -> Result<(), Unavailable> {
        self.submit(|reply| Work::AddKey(key, actor, reply)).await
    }

    /// Makes a key worthless.
    pub async fn revoke_key(&self, id: Uuid, actor: String) -> Result<(), Unavailable> {
        self.submit(|reply| Work::RevokeKey(id, actor, reply)).await
    }

    /// Moves an incident on.
    pub async fn change_incident(
        &self,
        id: Uuid,
        to: Status,
        actor: String,
    ) -> Result<Result<Arc<Incident>, Refused>, Unavailable> {
        self.submit(|reply| Work::Incident(id, to, actor, reply)).await
    }

    /// Whether somebody still takes work from it.
    pub fn is_served(&self) -> bool {
        !self.jobs.is_closed()
    }

    /// Lets the sequencer finish what waits, and end.
    pub fn stop(&self) {
        // It is fine if it ended already.
        let _ = self.jobs.send(Job { work: Work::Stop, claim: Arc::default(), _place: None });
    }

    async fn submit<T>(&self, work: impl FnOnce(Reply<T>) -> Work) -> Result<T, Unavailable> {
        let deadline = Instant::now() + QUEUE_TIMEOUT;
        let (reply, mut answer) = oneshot::channel();
        let work = work(reply);
        let places = u32::try_from(work.weight().min(QUEUE_EVENTS)).unwrap_or(u32::MAX);
        let place = Arc::clone(&self.places).acquire_many_owned(places);
        let place = match timeout_at(deadline, place).await {
            Ok(Ok(place)) => place,
            Ok(Err(_)) => return Err(Unavailable::Stopping),
            Err(_) => return Err(Unavailable::Busy),
        };
        let claim = Arc::<Claim>::default();
        let job = Job { work, claim: Arc::clone(&claim), _place: Some(place) };
        self.jobs.send(job).map_err(|_| Unavailable::Stopping)?;
        let answer = match timeout_at(deadline, &mut answer).await {
            Ok(answer) => answer,
            Err(_) if claim.set(Claim::GIVEN_UP) => return Err(Unavailable::Busy),
            // It is being done: what comes of it has to be told.
            Err(_) => answer.await,
        };
        answer.unwrap_or(Err(Unavailable::NotDurable))
    }
}

/// What a sequencer works with.
pub struct Parts {
    /// What HTTP threads see of the org.
    pub view: Arc<View>,
    /// Every API key.
    pub keys: Arc<Keyring>,
    /// Where batches go.
    pub store: Arc<dyn Store>,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// Encrypts what registrations say.
    pub vault: Arc<Vault>,
}

/// Starts the sequencer of an org that stands where `memory` says. It ends with where it stands then.
pub fn start(parts: Parts, memory: Memory) -> (Queue, JoinHandle<Memory>) {
    let (jobs, waiting) = mpsc::unbounded_channel();
    let (reads, asked) = mpsc::channel(reads::QUEUE);
    let past = Past::new(Arc::clone(&parts.store), Arc::clone(&parts.vault), parts.view.id);
    let sequencer = Sequencer {
        parts,
        past,
        memory,
        waiting,
        asked,
        held: None,
        stopping: false,
        tidy_above: MANY_INCIDENTS,
    };
    let task = tokio::spawn(sequencer.run());
    (Queue { jobs, places: Arc::new(Semaphore::new(QUEUE_EVENTS)), reads }, task)
}

struct Sequencer {
    parts: Parts,
    past: Past,
    memory: Memory,
    waiting: mpsc::UnboundedReceiver<Job>,
    asked: mpsc::Receiver<Read>,
    /// What waits for the batch after this one.
    held: Option<Job>,
    stopping: bool,
    /// How many incidents are too many to keep without a look.
    tidy_above: usize,
}

/// Told to a caller once the batch is durable, or failed.
type Told = Box<dyn FnOnce(Result<(), Unavailable>) + Send>;

fn told<T: Send + 'static>(reply: Reply<T>, value: T) -> Told {
    Box::new(move |durable| {
        // A caller that left does not hear it.
        let _ = reply.send(durable.map(|()| value));
    })
}

impl Sequencer {
    async fn run(mut self) -> Memory {
        while !self.stopping {
            let next = match self.held.take() {
                Some(job) => Some(job),
                None => tokio::select! {
                    biased;
                    job = self.waiting.recv() => job,
                    Some(read) = self.asked.recv() => {
                        self.answer(read);
                        continue;
                    }
                },
            };
            let Some(job) = next else { break };
            let batch = self.take(job);
            self.process(batch).await;
            self.answer_some();
        }
        self.memory
    }

    /// Takes all that is there, up to a batch.
    fn take(&mut self, first: Job) -> Vec<Work> {
        let mut batch = Vec::new();
        let (mut events, mut weight) = (0, 0);
        let mut next = Some(first);
        while let Some(job) = next {
            let stands_alone = job.work.stands_alone();
            if stands_alone && !batch.is_empty() {
                self.held = Some(job);
                break;
            }
            let wanted = !job.work.is_abandoned() && job.claim.set(Claim::TAKEN);
            match job.work {
                Work::Stop => self.stopping = true,
                work if wanted => {
                    events += work.events();
                    weight += work.weight();
                    batch.push(work);
                }
                _ => {}
            }
            let is_full = stands_alone || events >= BATCH_EVENTS || weight >= BATCH_WEIGHT;
            next = if is_full || self.stopping { None } else { self.waiting.try_recv().ok() };
        }
        batch
    }

    async fn process(&mut self, mut batch: Vec<Work>) {
        if let Some(Work::Policies(change, ..)) = batch.first_mut() {
            change.filled = match change.filled.take() {
                Some(filled) => self.caught_up(Box::new(filled)).await.ok().flatten().map(|filled| *filled),
                None => None,
            };
        }
        if let [Work::Activate(..)] = batch.as_slice() {
            if let Some(Work::Activate(filled, reply)) = batch.pop() {
                // Who filled them may have ended.
                let _ = reply.send(self.activate(filled).await);
            }
            return;
        }
        let Parts { view, store, clock, vault, .. } = &self.parts;
        let mut draft = Draft::new(view, &mut self.memory, vault);
        let mut tell = Vec::new();
        let read = prefetch(store.as_ref(), &mut draft, &batch).await;
        if read.is_ok() {
            tell.extend(batch.into_iter().filter_map(|work| apply(&mut draft, clock.as_ref(), work)));
        }
        let (writes, new) = draft.finish();
        // Where something could not be read, dropping the batch tells its callers.
        let done = match read {
            Ok(()) => self.commit(writes, new).await.is_ok(),
            Err(error) => {
                new.undo(&mut self.memory);
                self.failed(&error);
                false
            }
        };
        let outcome = if done { Ok(()) } else { Err(Unavailable::NotDurable) };
        tell.into_iter().for_each(|tell: Told| tell(outcome));
        self.tidy();
    }

    /// Makes a draft durable and then true, or undoes it.
    async fn commit(&mut self, writes: Option<Batch>, new: New) -> Result<(), StoreError> {
        let Parts { view, keys, store, .. } = &self.parts;
        let written = match &writes {
            Some(writes) => store.commit(writes).await,
            None => Ok(()),
        };
        match &written {
            Ok(()) => new.publish(view, keys, &mut self.memory),
            Err(error) => {
                new.undo(&mut self.memory);
                self.failed(error);
            }
        }
        written
    }

    fn failed(&mut self, error: &StoreError) {
        let org = self.parts.view.id;
        tracing::error!(%org, error = error as &dyn std::error::Error, "a batch could not be recorded");
        // What is remembered here is no longer what the ledger says: nothing may be decided from it.
        self.stopping |= matches!(error, StoreError::HeadMoved);
    }

    /// Lets rules decide from here on whose memories were filled off to the side.
    async fn activate(&mut self, filled: Box<Filled>) -> Activated {
        let in_force = self.parts.view.in_force();
        if !Arc::ptr_eq(&in_force.generation, &filled.generation) || in_force.filling.is_empty() {
            return Activated::Dropped;
        }
        let filled = match self.caught_up(filled).await {
            Ok(Some(filled)) => filled,
            Ok(None) => return Activated::Dropped,
            Err(filled) => return Activated::NotYet(filled),
        };
        let Parts { view, clock, vault, .. } = &self.parts;
        let mut draft = Draft::new(view, &mut self.memory, vault);
        draft.activate(clock.now_us(), filled.memories);
        let (writes, new) = draft.finish();
        match self.commit(writes, new).await {
            Ok(()) => Activated::Live,
            Err(_) => Activated::Dropped,
        }
    }

    /// Brings memories up to the head. Nothing if the ledger can't be read; gives them back if much is missing.
    async fn caught_up(&self, mut filled: Box<Filled>) -> Result<Option<Box<Filled>>, Box<Filled>> {
        let head = self.memory.head.next_seq;
        let caught_up = async {
            let rows = self.past.read(filled.next_seq..head, CATCH_UP_EVENTS).await?;
            if rows.len() == CATCH_UP_EVENTS {
                return Ok(None);
            }
            let memories = std::mem::take(&mut filled.memories);
            let memories = self.past.remember(&filled.generation, memories, rows).await?;
            Ok::<_, PastError>(Some(memories))
        };
        match caught_up.await {
            Ok(Some(memories)) => {
                (filled.memories, filled.next_seq) = (memories, head);
                Ok(Some(filled))
            }
            Ok(None) => Err(filled),
            Err(error) => {
                let org = self.parts.view.id;
                tracing::error!(%org, error = &error as &dyn std::error::Error, "memories can't be filled");
                Ok(None)
            }
        }
    }

    fn tidy(&mut self) {
        if self.memory.tasks.len() > MAX_TASKS {
            self.memory.tasks.clear();
        }
        let incidents = &mut self.memory.incidents;
        if incidents.exceeds(self.tidy_above) {
            incidents.forget_finished(self.memory.head.at_us);
            incidents.keep_latest(MAX_INCIDENTS);
            // Looking through all of them pays off only once there are twice as many.
            self.tidy_above = MANY_INCIDENTS.max(2 * incidents.count());
        }
    }
}

/// Reads what the batch needs and the memory does not hold.
async fn prefetch(store: &dyn Store, draft: &mut Draft<'_>, batch: &[Work]) -> Result<(), StoreError> {
    let org = draft.org();
    for work in batch {
        match work {
            Work::Judge(events, _) => {
                for prepared in events {
                    let task = prepared.event.text("task");
                    let is_step = prepared.event.kind() == EventKind::Log && !task.is_empty();
                    if is_step && !draft.knows_task(task) {
                        draft.know_task(task.to_owned(), store.task(org, task).await?);
                    }
                    if let Some(key) = prepared.declaration.as_ref().and_then(|d| d.idempotency_key.as_ref())
                    {
                        draft.know_intent(key.clone(), store.intent_by_key(org, key).await?);
                    }
                }
            }
            Work::Incident(id, ..) if !draft.knows_incident(*id) => {
                if let Some(incident) = store.incident(org, *id).await? {
                    draft.know_incident(incident);
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn apply(draft: &mut Draft<'_>, clock: &dyn Clock, work: Work) -> Option<Told> {
    let now_us = clock.now_us();
    match work {
        Work::Judge(events, reply) => {
            let answers = events.into_iter().map(|prepared| draft.judge(clock.now_us(), prepared)).collect();
            Some(told(reply, answers))
        }
        Work::Register(registration, reply) => {
            let registered = draft.register(now_us, *registration);
            Some(told(reply, registered))
        }
        Work::Policies(change, actor, reply) => {
            let changed = draft.change_policies(now_us, *change, actor);
            Some(told(reply, changed))
        }
        Work::AddKey(key, actor, reply) => {
            draft.add_key(now_us, key, actor);
            Some(told(reply, ()))
        }
        Work::RevokeKey(id, actor, reply) => {
            draft.revoke_key(now_us, id, actor);
            Some(told(reply, ()))
        }
        Work::Incident(id, to, actor, reply) => {
            let changed = draft.change_incident(now_us, id, to, actor);
            Some(told(reply, changed))
        }
        // It was taken out before.
        Work::Activate(..) | Work::Stop => None,
    }
}

#[cfg(test)]
mod tests;
