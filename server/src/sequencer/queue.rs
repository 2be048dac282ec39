//! The way to a sequencer: a bounded queue, with a time after which a caller is told to come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use lictor_engine::decision::Decision;
use lictor_engine::event::Event;
use lictor_engine::generation::Generation;
use lictor_engine::memory::Memories;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::activation::Activated;
use super::reads::{self, Read};
use crate::accounts::keys::ApiKey;
use crate::accounts::people::Step;
use crate::db::StoreError;
use crate::draft::{Answer, Filled, Note, PolicyChange, Prepared, Refused, Rotation};
use crate::incidents::{Incident, Status};
use crate::policies::InForce;
use crate::registration::{Registered, Registration};

/// Events that may wait for one org.
pub(super) const QUEUE_EVENTS: usize = 4_096;
/// How long one may wait for its turn before its caller is told to come back.
pub(super) const QUEUE_TIMEOUT: Duration = Duration::from_millis(1_500);
/// How long one waits for an answer about an event that is being recorded, its turn included. Callers wait for 2 s.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(1_800);
/// What an event of this many bytes, or a part of it, weighs as much as one small event: 4,096 places are 16 MiB.
const PLACE_BYTES: usize = 4_096;

/// The server can't decide now. The caller may come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// Too much waits already.
    #[error("too many requests are waiting")]
    Busy,
    /// What was decided could not be made durable, so it counts for nothing.
    #[error("the decision could not be recorded")]
    NotDurable,
    /// There was no room to make it durable.
    #[error("the decision could not be recorded: the disk of the database is full")]
    NoRoom,
    /// It is not durable yet. If it becomes so, nobody was told.
    #[error("the decision was not recorded in time; whether it will be is not known")]
    Late,
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopping,
}

impl From<&StoreError> for Unavailable {
    fn from(error: &StoreError) -> Unavailable {
        match error {
            StoreError::Full(_) => Unavailable::NoRoom,
            _ => Unavailable::NotDurable,
        }
    }
}

pub(super) type Reply<T> = oneshot::Sender<Result<T, Unavailable>>;

/// Something for the sequencer to do.
pub(super) enum Work {
    Judge(Vec<Prepared>, Reply<Vec<Result<Answer, Refused>>>),
    Register(Box<Registration>, Reply<Result<Registered, Refused>>),
    Policies(Box<PolicyChange>, String, Reply<Result<Arc<InForce>, Refused>>),
    Activate(Box<Filled>, oneshot::Sender<Activated>),
    AddKey(Arc<ApiKey>, String, Reply<Result<(), Refused>>),
    RotateKey(Rotation, String, Reply<Result<(), Refused>>),
    RevokeKey(Uuid, String, Reply<()>),
    People(Vec<Step>, String, Reply<Result<Vec<Uuid>, Refused>>),
    Password(Uuid, String, Reply<()>),
    Note(Note, Reply<()>),
    Incident(Uuid, Status, String, Reply<Result<Arc<Incident>, Refused>>),
    LedgerKey(String, String, Reply<()>),
    /// Takes over what other servers wrote.
    Follow,
    Stop,
}

impl Work {
    pub(super) fn events(&self) -> usize {
        match self {
            Work::Judge(events, _) => events.len(),
            _ => 1,
        }
    }

    /// How many places it takes in the queue.
    pub(super) fn weight(&self) -> usize {
        match self {
            Work::Judge(events, _) => {
                events.iter().map(|event| event.sealed.ciphertext.len() / PLACE_BYTES + 1).sum()
            }
            _ => 1,
        }
    }

    /// Nobody waits for the answer any more, so it need not happen.
    fn is_abandoned(&self) -> bool {
        match self {
            Work::Judge(_, reply) => reply.is_closed(),
            Work::Register(_, reply) => reply.is_closed(),
            Work::Policies(_, _, reply) => reply.is_closed(),
            Work::Activate(_, reply) => reply.is_closed(),
            Work::RevokeKey(_, _, reply) | Work::Password(_, _, reply) => reply.is_closed(),
            Work::AddKey(_, _, reply) | Work::RotateKey(_, _, reply) => reply.is_closed(),
            Work::People(_, _, reply) => reply.is_closed(),
            Work::Note(_, reply) => reply.is_closed(),
            Work::Incident(_, _, _, reply) => reply.is_closed(),
            Work::LedgerKey(_, _, reply) => reply.is_closed(),
            Work::Follow | Work::Stop => false,
        }
    }
}

/// Work with its place in the queue.
pub(super) struct Job {
    pub(super) work: Work,
    claim: Arc<Claim>,
    _place: Option<OwnedSemaphorePermit>,
}

impl Job {
    /// Whether somebody still waits for it. Then it is the sequencer's.
    pub(super) fn claim(&self) -> bool {
        !self.work.is_abandoned() && self.claim.set(Claim::TAKEN)
    }
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
    first: mpsc::UnboundedSender<Job>,
    jobs: mpsc::UnboundedSender<Job>,
    reads: mpsc::Sender<Read>,
    places: Arc<Semaphore>,
}

/// Where a sequencer takes its work from.
pub(super) struct Waiting {
    /// Changes of the policy set, which come between two batches and before all that waits: what was filled for them
    /// would be far behind otherwise. Changes of who belongs to the org, which can fail where another org knows the
    /// same new person at the same time, and nobody else is to fail with them.
    pub(super) first: mpsc::UnboundedReceiver<Job>,
    pub(super) jobs: mpsc::UnboundedReceiver<Job>,
    pub(super) reads: mpsc::Receiver<Read>,
}

/// A queue and its other end.
pub(super) fn queue() -> (Queue, Waiting) {
    let (first, first_waiting) = mpsc::unbounded_channel();
    let (jobs, jobs_waiting) = mpsc::unbounded_channel();
    let (reads, reads_waiting) = mpsc::channel(reads::QUEUE);
    let places = Arc::new(Semaphore::new(QUEUE_EVENTS));
    let waiting = Waiting { first: first_waiting, jobs: jobs_waiting, reads: reads_waiting };
    (Queue { first, jobs, reads, places }, waiting)
}

impl Queue {
    /// Judges events in this order, recording each. At most [`super::BATCH_EVENTS`].
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
        if self.first.send(job).is_err() {
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

    /// Makes a key good, unless its account is gone.
    pub async fn add_key(&self, key: Arc<ApiKey>, actor: String) -> Result<Result<(), Refused>, Unavailable> {
        self.submit(|reply| Work::AddKey(key, actor, reply)).await
    }

    /// Gives a key another secret.
    pub async fn rotate_key(
        &self,
        rotation: Rotation,
        actor: String,
    ) -> Result<Result<(), Refused>, Unavailable> {
        self.submit(|reply| Work::RotateKey(rotation, actor, reply)).await
    }

    /// Says in the ledger which key its checkpoints are to be signed with.
    pub async fn announce_ledger_key(&self, key: String, actor: String) -> Result<(), Unavailable> {
        self.submit(|reply| Work::LedgerKey(key, actor, reply)).await
    }

    /// Makes a key worthless.
    pub async fn revoke_key(&self, id: Uuid, actor: String) -> Result<(), Unavailable> {
        self.submit(|reply| Work::RevokeKey(id, actor, reply)).await
    }

    /// Changes who belongs to the org: all of these steps, or none. Tells which API keys ended with that.
    pub async fn change_people(
        &self,
        steps: Vec<Step>,
        actor: String,
    ) -> Result<Result<Vec<Uuid>, Refused>, Unavailable> {
        self.submit(|reply| Work::People(steps, actor, reply)).await
    }

    /// Gives a person another password, by its hash.
    pub async fn set_password(&self, user: Uuid, hash: String) -> Result<(), Unavailable> {
        self.submit(|reply| Work::Password(user, hash, reply)).await
    }

    /// Records an act that changes nothing.
    pub async fn note(&self, note: Note) -> Result<(), Unavailable> {
        self.submit(|reply| Work::Note(note, reply)).await
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

    /// Lets it take over what other servers wrote.
    pub fn follow(&self) {
        // It is fine if it ended.
        let _ = self.first.send(Job { work: Work::Follow, claim: Arc::default(), _place: None });
    }

    /// How much waits or is being done, in events.
    pub fn waiting(&self) -> usize {
        QUEUE_EVENTS.saturating_sub(self.places.available_permits())
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
        let begun = Instant::now();
        let deadline = begun + QUEUE_TIMEOUT;
        let (reply, mut answer) = oneshot::channel();
        let work = work(reply);
        let is_event = matches!(work, Work::Judge(..) | Work::Register(..));
        let (jobs, place) = match work {
            Work::Policies(..) | Work::People(..) => (&self.first, None),
            _ => (&self.jobs, Some(self.place(&work, deadline).await?)),
        };
        let claim = Arc::<Claim>::default();
        let job = Job { work, claim: Arc::clone(&claim), _place: place };
        jobs.send(job).map_err(|_| Unavailable::Stopping)?;
        let answer = match timeout_at(deadline, &mut answer).await {
            Ok(answer) => answer,
            Err(_) if claim.set(Claim::GIVEN_UP) => return Err(Unavailable::Busy),
            // It is being done: what comes of it is told, of an event if that is soon.
            Err(_) if is_event => match timeout_at(begun + ANSWER_TIMEOUT, answer).await {
                Ok(answer) => answer,
                Err(_) => return Err(Unavailable::Late),
            },
            Err(_) => answer.await,
        };
        answer.unwrap_or(Err(Unavailable::NotDurable))
    }

    async fn place(&self, work: &Work, deadline: Instant) -> Result<OwnedSemaphorePermit, Unavailable> {
        let places = u32::try_from(work.weight().min(QUEUE_EVENTS)).unwrap_or(u32::MAX);
        // Mostly there is room, and nothing to wait for.
        if let Ok(place) = Arc::clone(&self.places).try_acquire_many_owned(places) {
            return Ok(place);
        }
        let place = Arc::clone(&self.places).acquire_many_owned(places);
        match timeout_at(deadline, place).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) => Err(Unavailable::Stopping),
            Err(_) => Err(Unavailable::Busy),
        }
    }
}
