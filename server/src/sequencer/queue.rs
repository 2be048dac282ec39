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
use super::erasing::Attempt;
use super::reads::{self, Read};
use super::reply::{Asked, Reply, Told};
use crate::accounts::keys::ApiKey;
use crate::accounts::people::Step;
use crate::db::StoreError;
use crate::draft::{Answer, Erasing, Filled, Note, PolicyChange, Prepared, Refused, Rotation};
use crate::incidents::{Hit, Incident, Status};
use crate::policies::InForce;
use crate::registration::{Registered, Registration};
use crate::retries::Claim;

/// Events that may wait for one org.
pub(super) const QUEUE_EVENTS: usize = 4_096;
/// How long one may wait for its turn before its caller is told to come back.
pub(super) const QUEUE_TIMEOUT: Duration = Duration::from_millis(1_500);
/// How long one waits for an answer about an event that is being recorded, its turn included. Callers wait for 2 s.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(1_800);
/// What an event of this many bytes, or a part of it, weighs as much as one small event: 4,096 places are 16 MiB.
const PLACE_BYTES: usize = 4_096;

/// Why nothing was done. But for the last two, the caller may come back.
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
    /// It was done before, for the same request: its answer is kept.
    #[error("the same request was just answered; send it again to get its answer")]
    AnsweredBefore,
    /// The API key that it was asked with was revoked while it waited.
    #[error("the API key was revoked")]
    Revoked,
}

impl From<&StoreError> for Unavailable {
    fn from(error: &StoreError) -> Unavailable {
        match error {
            StoreError::Full(_) => Unavailable::NoRoom,
            _ => Unavailable::NotDurable,
        }
    }
}

/// Something for the sequencer to do.
pub(super) enum Work {
    Judge(Vec<Prepared>, Reply<Vec<Result<Answer, Refused>>>),
    Register(Box<Registration>, Reply<Result<Registered, Refused>>),
    Policies(Box<PolicyChange>, String, Reply<Result<Arc<InForce>, Refused>>),
    Activate(Box<Filled>, oneshot::Sender<Activated>),
    Erase(Box<Erasing>, oneshot::Sender<Result<Attempt, Unavailable>>),
    AddKey(Arc<ApiKey>, String, Reply<Result<(), Refused>>),
    RotateKey(Rotation, String, Reply<Result<(), Refused>>),
    RevokeKey(Uuid, String, Reply<()>),
    People(Vec<Step>, String, Reply<Result<Vec<Uuid>, Refused>>),
    Password(Uuid, String, Reply<()>),
    Note(Note, Reply<()>),
    Incident(Uuid, Status, String, Reply<Result<Arc<Incident>, Refused>>),
    LedgerKey(String, String, Reply<()>),
    Report(Hit, Reply<()>),
    /// Takes over what other servers wrote.
    Follow,
    Stop,
}

/// What is made of the place where the caller of some work waits; nothing where nobody waits, or in a way of its own.
macro_rules! of_caller {
    ($work:expr, $reply:ident => $made:expr) => {
        match $work {
            Work::Judge(_, $reply) => Some($made),
            Work::Register(_, $reply) => Some($made),
            Work::Policies(_, _, $reply) => Some($made),
            Work::AddKey(_, _, $reply) | Work::RotateKey(_, _, $reply) => Some($made),
            Work::RevokeKey(_, _, $reply) | Work::Password(_, _, $reply) => Some($made),
            Work::People(_, _, $reply) => Some($made),
            Work::Note(_, $reply) | Work::Report(_, $reply) | Work::LedgerKey(_, _, $reply) => Some($made),
            Work::Incident(_, _, _, $reply) => Some($made),
            Work::Activate(..) | Work::Erase(..) | Work::Follow | Work::Stop => None,
        }
    };
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

    /// The API key that it was asked with, if agents may ask for it.
    pub(super) fn key(&self) -> Option<Uuid> {
        match self {
            Work::Judge(events, _) => events.first().and_then(|event| event.caller.key_id()),
            Work::Register(registration, _) => registration.caller.key_id(),
            _ => None,
        }
    }

    /// The request, if it may be sent again.
    pub(super) fn claim(&self) -> Option<&Claim> {
        of_caller!(self, reply => reply.claim()).flatten()
    }

    /// Tells whoever waits that nothing was done.
    pub(super) fn refused(self, why: Unavailable) -> Option<Told> {
        of_caller!(self, reply => reply.refused(why))
    }

    /// Nobody waits for the answer any more, so it need not happen.
    fn is_abandoned(&self) -> bool {
        match self {
            Work::Activate(_, reply) => reply.is_closed(),
            Work::Erase(_, reply) => reply.is_closed(),
            other => of_caller!(other, reply => reply.has_left()).unwrap_or(false),
        }
    }
}

/// Work with its place in the queue.
pub(super) struct Job {
    pub(super) work: Work,
    holder: Arc<Holder>,
    _place: Option<OwnedSemaphorePermit>,
}

impl Job {
    /// Whether somebody still waits for it. Then it is the sequencer's.
    pub(super) fn claim(&self) -> bool {
        !self.work.is_abandoned() && self.holder.set(Holder::TAKEN)
    }
}

/// Who got to a job first: the sequencer that does it, or the caller that gave up waiting.
#[derive(Debug, Default)]
struct Holder(AtomicU8);

impl Holder {
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
    /// Judges events in this order, recording each. At most [`super::BATCH_EVENTS`], all from one caller.
    pub fn judge(&self, events: Vec<Prepared>) -> Asked<'_, Vec<Result<Answer, Refused>>> {
        Asked::new(self, |reply| Work::Judge(events, reply))
    }

    /// Registers an agent.
    pub fn register(&self, registration: Registration) -> Asked<'_, Result<Registered, Refused>> {
        Asked::new(self, |reply| Work::Register(Box::new(registration), reply))
    }

    /// Puts a policy set in force, and says what is in force then.
    pub fn change_policies(
        &self,
        change: PolicyChange,
        actor: String,
    ) -> Asked<'_, Result<Arc<InForce>, Refused>> {
        Asked::new(self, |reply| Work::Policies(Box::new(change), actor, reply))
    }

    /// Lets rules decide whose memories are filled. It waits for its turn however long that takes.
    pub async fn activate(&self, filled: Box<Filled>) -> Activated {
        let (reply, answer) = oneshot::channel();
        let job = Job { work: Work::Activate(filled, reply), holder: Arc::default(), _place: None };
        if self.first.send(job).is_err() {
            return Activated::Dropped;
        }
        answer.await.unwrap_or(Activated::Dropped)
    }

    /// Erases content. It waits for its turn however long that takes.
    pub async fn erase(&self, erasing: Box<Erasing>) -> Result<Attempt, Unavailable> {
        let (reply, answer) = oneshot::channel();
        let job = Job { work: Work::Erase(erasing, reply), holder: Arc::default(), _place: None };
        self.first.send(job).map_err(|_| Unavailable::Stopping)?;
        answer.await.unwrap_or(Err(Unavailable::NotDurable))
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
    pub fn add_key(&self, key: Arc<ApiKey>, actor: String) -> Asked<'_, Result<(), Refused>> {
        Asked::new(self, |reply| Work::AddKey(key, actor, reply))
    }

    /// Gives a key another secret.
    pub fn rotate_key(&self, rotation: Rotation, actor: String) -> Asked<'_, Result<(), Refused>> {
        Asked::new(self, move |reply| Work::RotateKey(rotation, actor, reply))
    }

    /// Says in the ledger which key its checkpoints are to be signed with.
    pub fn announce_ledger_key(&self, key: String, actor: String) -> Asked<'_, ()> {
        Asked::new(self, |reply| Work::LedgerKey(key, actor, reply))
    }

    /// Makes a key worthless.
    pub fn revoke_key(&self, id: Uuid, actor: String) -> Asked<'_, ()> {
        Asked::new(self, move |reply| Work::RevokeKey(id, actor, reply))
    }

    /// Changes who belongs to the org: all of these steps, or none. Tells which API keys ended with that.
    pub fn change_people(&self, steps: Vec<Step>, actor: String) -> Asked<'_, Result<Vec<Uuid>, Refused>> {
        Asked::new(self, |reply| Work::People(steps, actor, reply))
    }

    /// Gives a person another password, by its hash.
    pub fn set_password(&self, user: Uuid, hash: String) -> Asked<'_, ()> {
        Asked::new(self, move |reply| Work::Password(user, hash, reply))
    }

    /// Records an act that changes nothing.
    pub fn note(&self, note: Note) -> Asked<'_, ()> {
        Asked::new(self, |reply| Work::Note(note, reply))
    }

    /// Opens an incident that no rule asks for, unless it is open.
    pub fn report(&self, hit: Hit) -> Asked<'_, ()> {
        Asked::new(self, |reply| Work::Report(hit, reply))
    }

    /// Moves an incident on.
    pub fn change_incident(
        &self,
        id: Uuid,
        to: Status,
        actor: String,
    ) -> Asked<'_, Result<Arc<Incident>, Refused>> {
        Asked::new(self, move |reply| Work::Incident(id, to, actor, reply))
    }

    /// Lets it take over what other servers wrote.
    pub fn follow(&self) {
        // It is fine if it ended.
        let _ = self.first.send(Job { work: Work::Follow, holder: Arc::default(), _place: None });
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
        let _ = self.jobs.send(Job { work: Work::Stop, holder: Arc::default(), _place: None });
    }

    pub(super) async fn submit<T>(
        &self,
        work: Work,
        mut answer: oneshot::Receiver<Result<T, Unavailable>>,
    ) -> Result<T, Unavailable> {
        let begun = Instant::now();
        let deadline = begun + QUEUE_TIMEOUT;
        let (weight, is_event) = (work.weight(), matches!(work, Work::Judge(..) | Work::Register(..)));
        let (jobs, place) = match work {
            Work::Policies(..) | Work::People(..) => (&self.first, None),
            _ => (&self.jobs, Some(self.place(weight, deadline).await?)),
        };
        let holder = Arc::<Holder>::default();
        let job = Job { work, holder: Arc::clone(&holder), _place: place };
        jobs.send(job).map_err(|_| Unavailable::Stopping)?;
        let answer = match timeout_at(deadline, &mut answer).await {
            Ok(answer) => answer,
            Err(_) if holder.set(Holder::GIVEN_UP) => return Err(Unavailable::Busy),
            // It is being done: what comes of it is told, of an event if that is soon.
            Err(_) if is_event => match timeout_at(begun + ANSWER_TIMEOUT, answer).await {
                Ok(answer) => answer,
                Err(_) => return Err(Unavailable::Late),
            },
            Err(_) => answer.await,
        };
        answer.unwrap_or(Err(Unavailable::NotDurable))
    }

    async fn place(&self, weight: usize, deadline: Instant) -> Result<OwnedSemaphorePermit, Unavailable> {
        let places = u32::try_from(weight.min(QUEUE_EVENTS)).unwrap_or(u32::MAX);
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
