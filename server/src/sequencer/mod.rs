//! One per org: takes everything that waits, gives it its order and its time, judges and records it, commits it as
//! one batch, and only then answers.
//!
//! While a batch commits, the next ones queue up; the more load, the larger the batches. A commit that fails leaves
//! nothing behind: the draft is undone and everybody in it is told that nothing happened.
//!
//! A change of the policy set is a batch of its own, so that all events of a batch are judged by one set. Questions
//! about what would be decided are answered between batches, a little at a time, and leave nothing.

mod activation;
mod erasing;
mod follow;
mod queue;
mod reads;
mod reply;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use lictor_dsl::events::EventKind;
use lictor_engine::generation::Generation;
use tokio::task::JoinHandle;

use crate::accounts::keys::Keyring;
use crate::clock::Clock;
use crate::db::{Batch, Store, StoreError, Turn};
use crate::draft::{Draft, Memory, New, View};
use crate::memory::Past;
use crate::metrics::Metrics;
use crate::policies::Policies;
use crate::rollout::RolloutError;
use crate::vault::Vault;
use follow::Adoption;
use queue::{Job, Waiting, Work};
use reply::Told;

pub use activation::Activated;
pub use erasing::Attempt;
pub use queue::{Queue, Unavailable};
pub use reply::Asked;

/// Events in one batch, and so in one transaction.
pub const BATCH_EVENTS: usize = 512;
/// Weight of one batch: 4 MiB.
const BATCH_WEIGHT: usize = 1_024;
/// Tasks whose state is kept at hand; past it all are forgotten and read again when asked for.
const MAX_TASKS: usize = 100_000;
/// Incidents at hand above which finished ones are forgotten.
const MANY_INCIDENTS: usize = 10_000;
/// Incidents that are kept at hand when too many are not finished.
const MAX_INCIDENTS: usize = 100_000;

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
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Compiles what other servers put in force.
    pub compile: Compile,
}

/// Makes the generation of some policies.
pub type Compile = Box<dyn Fn(Policies) -> Compiled + Send + Sync>;
/// A generation that is being made.
pub type Compiled = Pin<Box<dyn Future<Output = Result<Arc<Generation>, RolloutError>> + Send>>;

/// Starts the sequencer of an org that stands where `memory` says. It ends with where it stands then; with nothing, if that is
/// not what the ledger says.
pub fn start(parts: Parts, memory: Memory) -> (Queue, JoinHandle<Option<Memory>>) {
    let (queue, waiting) = queue::queue();
    let past = Past::new(Arc::clone(&parts.store), Arc::clone(&parts.vault), parts.view.id);
    let sequencer = Sequencer {
        parts,
        past,
        memory,
        waiting,
        stopping: false,
        is_sound: true,
        policies_moved: false,
        adoption: None,
        erased_at: -1,
        unrecorded: 0,
        tidy_above: MANY_INCIDENTS,
    };
    let task = tokio::spawn(sequencer.run());
    (queue, task)
}

struct Sequencer {
    parts: Parts,
    past: Past,
    memory: Memory,
    waiting: Waiting,
    stopping: bool,
    /// Whether what is remembered is what the ledger says.
    is_sound: bool,
    /// Whether another server put policies in force that are not in force here yet.
    policies_moved: bool,
    /// Those policies, ready to be put in force.
    adoption: Option<Adoption>,
    /// The number of the latest erasure that is known of since the start.
    erased_at: i64,
    /// Batches in a row that could not be recorded.
    unrecorded: u64,
    /// How many incidents are too many to keep without a look.
    tidy_above: usize,
}

impl Sequencer {
    async fn run(mut self) -> Option<Memory> {
        while !self.stopping {
            let batch = tokio::select! {
                biased;
                Some(job) = self.waiting.first.recv() => self.take_alone(job),
                job = self.waiting.jobs.recv() => match job {
                    Some(job) => self.take(job),
                    None => break,
                },
                Some(read) = self.waiting.reads.recv() => {
                    self.answer(read);
                    continue;
                }
            };
            self.process(batch).await;
            self.answer_some();
        }
        self.is_sound.then_some(self.memory)
    }

    /// Takes what is a batch of its own.
    fn take_alone(&mut self, job: Job) -> Vec<Work> {
        if job.claim() { vec![job.work] } else { Vec::new() }
    }

    /// Takes all that is there, up to a batch.
    fn take(&mut self, first: Job) -> Vec<Work> {
        let mut batch = Vec::new();
        let (mut events, mut weight) = (0, 0);
        let mut next = Some(first);
        while let Some(job) = next {
            let wanted = job.claim();
            match job.work {
                Work::Stop => self.stopping = true,
                work if wanted => {
                    events += work.events();
                    weight += work.weight();
                    batch.push(work);
                }
                _ => {}
            }
            let is_full = events >= BATCH_EVENTS || weight >= BATCH_WEIGHT;
            next = if is_full || self.stopping { None } else { self.waiting.jobs.try_recv().ok() };
        }
        batch
    }

    async fn process(&mut self, mut batch: Vec<Work>) {
        if batch.is_empty() {
            return;
        }
        // Dropping the batch tells its callers.
        let Some(turn) = self.turn().await else { return };
        if let Some(Work::Policies(change, ..)) = batch.first_mut() {
            change.filled = match change.filled.take() {
                Some(filled) => self.caught_up(Box::new(filled)).await.ok().flatten().map(|filled| *filled),
                None => None,
            };
        }
        if let [Work::Activate(..)] = batch.as_slice() {
            if let Some(Work::Activate(filled, reply)) = batch.pop() {
                // Who filled them may have ended.
                let _ = reply.send(self.activate(turn, filled).await);
            }
            return;
        }
        if let [Work::Erase(..)] = batch.as_slice() {
            if let Some(Work::Erase(erasing, reply)) = batch.pop() {
                // Who asked may have left.
                let _ = reply.send(self.erase(turn, erasing).await);
            }
            return;
        }
        let Parts { view, store, clock, vault, keys, .. } = &self.parts;
        let mut draft = Draft::new(view, &mut self.memory, vault);
        let mut tell = Vec::new();
        let read = prefetch(store.as_ref(), &mut draft, &batch).await;
        if read.is_ok() {
            tell.extend(batch.into_iter().filter_map(|work| match refusal(&draft, keys, &work) {
                Some(why) => work.refused(why),
                None => apply(&mut draft, clock.as_ref(), keys, work),
            }));
        }
        let reports = draft.report_outage(clock.now_us(), self.unrecorded);
        let (writes, new) = draft.finish();
        // Where something could not be read, dropping the batch tells its callers.
        let done = match read {
            Ok(()) => self.commit(turn, writes, new).await,
            Err(error) => {
                new.undo(&mut self.memory);
                self.failed(&error);
                Err(error)
            }
        };
        if reports && done.is_ok() {
            self.unrecorded = 0;
        }
        let outcome = done.map_err(|error| Unavailable::from(&error));
        tell.into_iter().for_each(|tell: Told| tell(outcome));
        self.tidy();
    }

    /// Makes a draft durable and then true, or undoes it.
    async fn commit(&mut self, turn: Turn, writes: Option<Batch>, new: New) -> Result<(), StoreError> {
        let Parts { view, keys, store, metrics, .. } = &self.parts;
        let written = match writes {
            Some(writes) => {
                let (entries, begun) = (writes.entries.len(), Instant::now());
                let outcomes = writes.entries.iter().filter_map(|entry| entry.index.outcome).collect();
                let written = store.commit(turn, writes).await;
                metrics.batch(entries, begun.elapsed(), written.is_ok().then_some(outcomes));
                written
            }
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
        let (org, shown) = (self.parts.view.id, error as &dyn std::error::Error);
        if error.is_conflict() {
            tracing::info!(%org, error = shown, "a batch was overtaken by somebody else's");
            return;
        }
        tracing::error!(%org, error = shown, "a batch could not be recorded");
        self.unrecorded += 1;
        if matches!(error, StoreError::HeadMoved) {
            self.give_up();
        }
    }

    /// What is remembered here is no longer what the ledger says: it ends, and nothing of it is kept.
    fn give_up(&mut self) {
        (self.stopping, self.is_sound) = (true, false);
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
    let claims: Vec<_> = batch.iter().filter_map(Work::claim).map(|claim| claim.name.key.as_str()).collect();
    if !claims.is_empty() {
        draft.know_answered(store.answered(org, claims).await?);
    }
    for work in batch {
        match work {
            Work::Judge(events, _) => {
                for prepared in events {
                    if prepared.event.kind() == EventKind::Log {
                        let task = prepared.event.text("task");
                        if !task.is_empty() && !draft.knows_task(task) {
                            draft.know_task(task.to_owned(), store.task(org, task).await?);
                        }
                    }
                    if let Some(key) = prepared.declaration.as_ref().and_then(|d| d.idempotency_key.as_ref())
                    {
                        draft.know_intent(key.clone(), store.intent_by_key(org, key).await?);
                    }
                }
            }
            Work::People(..) => draft.know_people(store.members(org).await?),
            Work::AddKey(key, ..) if !store.belongs(org, key.account).await? => {
                draft.know_gone(key.account);
            }
            Work::Incident(id, ..) if !draft.knows_incident(*id) => {
                store
                    .incidents_by_id(org, vec![*id])
                    .await?
                    .into_iter()
                    .for_each(|one| draft.know_incident(one));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Why work is not done, though it was fine when it came in.
fn refusal(draft: &Draft<'_>, keys: &Keyring, work: &Work) -> Option<Unavailable> {
    if work.key().is_some_and(|key| !draft.is_good(keys, key)) {
        return Some(Unavailable::Revoked);
    }
    let was_answered = work.claim().is_some_and(|claim| draft.has_answered(&claim.name));
    was_answered.then_some(Unavailable::AnsweredBefore)
}

fn apply(draft: &mut Draft<'_>, clock: &dyn Clock, keys: &Keyring, work: Work) -> Option<Told> {
    let (now_us, first) = (clock.now_us(), draft.next_seq());
    match work {
        Work::Judge(events, reply) => {
            let answers = events.into_iter().map(|prepared| draft.judge(clock.now_us(), prepared)).collect();
            Some(reply.told(draft, first, answers))
        }
        Work::Register(registration, reply) => {
            let registered = draft.register(now_us, keys, *registration);
            Some(reply.told(draft, first, registered))
        }
        Work::Policies(change, actor, reply) => {
            let changed = draft.change_policies(now_us, *change, actor);
            Some(reply.told(draft, first, changed))
        }
        Work::AddKey(key, actor, reply) => {
            let added = draft.add_key(now_us, key, actor);
            Some(reply.told(draft, first, added))
        }
        Work::RotateKey(rotation, actor, reply) => {
            let rotated = draft.rotate_key(now_us, keys, rotation, actor);
            Some(reply.told(draft, first, rotated))
        }
        Work::RevokeKey(id, actor, reply) => {
            draft.revoke_key(now_us, id, actor);
            Some(reply.told(draft, first, ()))
        }
        Work::People(steps, actor, reply) => {
            let changed = draft.change_people(now_us, keys, steps, &actor);
            Some(reply.told(draft, first, changed))
        }
        Work::Password(user, hash, reply) => {
            draft.set_password(now_us, user, hash);
            Some(reply.told(draft, first, ()))
        }
        Work::Note(note, reply) => {
            draft.take_note(now_us, note);
            Some(reply.told(draft, first, ()))
        }
        Work::Incident(id, to, actor, reply) => {
            let changed = draft.change_incident(now_us, id, to, actor);
            Some(reply.told(draft, first, changed))
        }
        Work::Report(hit, reply) => {
            draft.report(now_us, hit);
            Some(reply.told(draft, first, ()))
        }
        Work::LedgerKey(key, actor, reply) => {
            draft.announce_ledger_key(now_us, &key, actor);
            Some(reply.told(draft, first, ()))
        }
        // It was taken out before, or the turn was all that it needs.
        Work::Activate(..) | Work::Erase(..) | Work::Follow | Work::Stop => None,
    }
}

#[cfg(test)]
mod tests;
