//! App: what handlers share, and how it is wired.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use lictor_engine::generation::Generation;
use lictor_engine::memory::Memories;
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::accounts::keys::Keyring;
use crate::accounts::logins::Logins;
use crate::accounts::tokens::Tokens;
use crate::agents::Directory;
use crate::checkpoints::{CHECKPOINT_EVERY, CheckpointError, Checkpointer, KeyFile, Shared, Sink};
use crate::clock::Clock;
use crate::config::{Config, Limits};
use crate::db::{Database, OrgRows, Store, StoreError};
use crate::draft::{Draft, Memory, View};
use crate::founding::{FoundingError, NewOrg, found};
use crate::incidents::Open;
use crate::ledger::{Head, Verified, verify};
use crate::memory::fill::{fill, fill_and_activate};
use crate::memory::snapshots::SnapshotError;
use crate::memory::{Past, Snapshots};
use crate::metrics::Metrics;
use crate::policies::InForce;
use crate::quota::Quota;
use crate::rollout::{Kept, RolloutError, compile, interpreted};
use crate::sequencer::{self, Compile, Parts, Queue};
use crate::vault::Vault;

/// Passwords that may be hashed at once; each takes 19 MiB and a core for some time.
const PASSWORDS_AT_ONCE: usize = 2;
/// Logins that may be under way at once.
const LOGINS_AT_ONCE: usize = 64;
/// How often the last uses of keys are written down.
const FLUSH_EVERY: Duration = Duration::from_secs(10);
/// How many entries at the end of a ledger are verified before it is served.
const VERIFIED_AT_START: i64 = 16;

/// How often it is looked whether a snapshot of memory is due.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// After this time a server fills what another began to fill.
const HELP_AFTER: Duration = Duration::from_secs(20);
/// How often it is looked whether other servers wrote something.
const FOLLOW_EVERY: Duration = Duration::from_millis(250);
/// How often a snapshot of memory is made where something happened.
const SNAPSHOT_EVERY: Duration = Duration::from_secs(60);
/// After so many entries one is made before that.
const SNAPSHOT_ENTRIES: i64 = 50_000;

/// An org and the task that decides for it.
type Sequencer = (Arc<Org>, JoinHandle<Memory>);

/// What handlers share.
#[derive(Debug)]
pub struct App {
    /// What callers may take of the server.
    pub limits: Limits,
    /// What whoever reads the metrics has to show; none: only this machine reads them.
    pub metrics_token: Option<String>,
    /// Whether callers come over TLS, which ends before this server.
    pub is_behind_tls: bool,
    /// How much an org may ask.
    pub quota: Quota,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Whether it is about to end.
    pub stopping: AtomicBool,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// Holds the master key.
    pub vault: Arc<Vault>,
    /// Where reads go.
    pub database: Arc<Database>,
    /// Every API key.
    pub keys: Arc<Keyring>,
    /// Signs and checks access tokens.
    pub tokens: Tokens,
    /// Slows down guessing.
    pub logins: Logins,
    /// Bounds how many passwords are hashed at once.
    pub hashing: Arc<Semaphore>,
    /// Bounds how many logins wait for that.
    pub logging_in: Semaphore,
    /// Since when it runs.
    pub started: Instant,
    /// Whether anybody may make an org of their own.
    pub open_registration: bool,
    /// Held by whoever makes one.
    pub registering: Mutex<()>,
    checkpoints: Shared,
    orgs: RwLock<HashMap<Uuid, Arc<Org>>>,
    sequencers: Mutex<Vec<Sequencer>>,
}

/// An org that is served.
#[derive(Debug)]
pub struct Org {
    /// What is committed.
    pub view: Arc<View>,
    /// The way to its sequencer.
    pub queue: Arc<Queue>,
    /// Policies change one after the other.
    pub rollout: Mutex<Kept>,
    /// Its ledger, to be folded.
    pub past: Past,
    /// Signs its ledger, and proves what is in it.
    pub checkpointer: Checkpointer,
    snapshots: Snapshots,
    /// Fills memories for the policies in force.
    filling: Mutex<Option<JoinHandle<()>>>,
    /// Since when another server fills memories for these policies.
    filled_elsewhere: Mutex<Option<(Arc<Generation>, Instant)>>,
}

impl Org {
    /// Who fills memories for the policies in force, if anybody has to. What was filled for others is of no use.
    pub async fn replace_filling(&self, filling: Option<JoinHandle<()>>) {
        let before = std::mem::replace(&mut *self.filling.lock().await, filling);
        if let Some(before) = before {
            before.abort();
            // It was told to end, or ended by itself.
            let _ = before.await;
        }
    }

    /// Goes on with what another server began to fill a while ago: it may be gone.
    async fn help_with_filling(&self) {
        let in_force = self.view.in_force();
        let mut elsewhere = self.filled_elsewhere.lock().await;
        let is_filled_here = self.filling.lock().await.as_ref().is_some_and(|task| !task.is_finished());
        if in_force.filling.is_empty() || is_filled_here {
            *elsewhere = None;
            return;
        }
        match &*elsewhere {
            Some((generation, since)) if Arc::ptr_eq(generation, &in_force.generation) => {
                if since.elapsed() < HELP_AFTER {
                    return;
                }
            }
            _ => {
                *elsewhere = Some((Arc::clone(&in_force.generation), Instant::now()));
                return;
            }
        }
        *elsewhere = None;
        let generation = Arc::clone(&in_force.generation);
        let (past, queue, view) = (self.past.clone(), Arc::clone(&self.queue), Arc::clone(&self.view));
        let fill = async move {
            let begun = fill(&past, &queue, &generation).await;
            fill_and_activate(past, queue, view, generation, async { begun }).await;
        };
        self.replace_filling(Some(tokio::spawn(fill))).await;
    }

    async fn make_snapshot(&self) -> Result<(), SnapshotError> {
        let in_force = self.view.in_force();
        match in_force.generation.remembers() && in_force.filling.is_empty() {
            true => self.snapshots.advance(&in_force.generation).await,
            false => Ok(()),
        }
    }
}

/// Why an org can't be served.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It can't be read.
    #[error("an org can't be read from the database")]
    Store(#[from] StoreError),
    /// Its policies no longer make a set.
    #[error("the stored policies of org {org} can't be used: {source}")]
    Policies {
        /// Which org.
        org: Uuid,
        /// What happened.
        source: RolloutError,
    },
    /// What happened can't be remembered again.
    #[error("what happened in org {org} can't be remembered: {source}")]
    Memory {
        /// Which org.
        org: Uuid,
        /// What happened.
        source: SnapshotError,
    },
    /// Its ledger is not what its head says.
    #[error("the ledger of org {org} does not end as its head says: {found:?}")]
    Ledger {
        /// Which org.
        org: Uuid,
        /// What verification found.
        found: Verified,
    },
}

/// Why a new org is not served.
#[derive(Debug, thiserror::Error)]
pub enum FoundError {
    /// It was not made.
    #[error(transparent)]
    Founding(#[from] FoundingError),
    /// It was made, but can't be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
}

impl App {
    /// Wires up what is in the database.
    pub async fn load(
        database: Arc<Database>,
        vault: Arc<Vault>,
        clock: Arc<dyn Clock>,
        key_file: Option<Arc<KeyFile>>,
        sink: Arc<Sink>,
        config: &Config,
        metrics: Metrics,
    ) -> Result<Arc<App>, LoadError> {
        let checkpoints = Shared {
            database: Arc::clone(&database),
            vault: Arc::clone(&vault),
            clock: Arc::clone(&clock),
            key_file,
            sink,
        };
        let app = App {
            limits: config.limits,
            metrics_token: config.metrics_token.clone(),
            is_behind_tls: config.is_behind_tls(),
            quota: Quota::new(config.tier, config.intents_per_day),
            metrics: Arc::new(metrics),
            stopping: AtomicBool::new(false),
            keys: Arc::new(Keyring::new(database.live_keys().await?)),
            tokens: Tokens::new(vault.token_secret()),
            clock,
            vault,
            database,
            logins: Logins::default(),
            hashing: Arc::new(Semaphore::new(PASSWORDS_AT_ONCE)),
            logging_in: Semaphore::new(LOGINS_AT_ONCE),
            started: Instant::now(),
            open_registration: config.open_registration,
            registering: Mutex::default(),
            checkpoints,
            orgs: RwLock::default(),
            sequencers: Mutex::default(),
        };
        for id in app.database.org_ids().await? {
            app.serve(id).await?;
        }
        Ok(Arc::new(app))
    }

    /// Makes an org and begins to decide for it.
    pub async fn found(&self, new: NewOrg) -> Result<Arc<Org>, FoundError> {
        let id = new.id;
        found(&self.database, &self.vault, self.clock.now_us(), new).await?;
        Ok(self.serve(id).await?)
    }

    /// Begins to decide for an org that is in the database, unless that was done.
    pub async fn serve(&self, id: Uuid) -> Result<Arc<Org>, LoadError> {
        // One after the other, so that none gets two sequencers.
        let mut sequencers = self.sequencers.lock().await;
        if let Some(org) = self.org(id) {
            return Ok(org);
        }
        let App { database, vault, clock, keys, metrics, .. } = self;
        let store = Arc::clone(database) as Arc<dyn Store>;
        let past = Past::new(Arc::clone(&store), Arc::clone(vault), id);
        let snapshots = Snapshots::new(Arc::clone(database), Arc::clone(vault), past.clone());
        let (view, memory) = loop {
            let turn = database.turn(id).await?;
            let rows = database.org(id, clock.now_us()).await?;
            verify_end(database, id, rows.head).await?;
            drop(turn);
            let (view, mut memory) = restore(rows, &snapshots).await?;
            if activate(&view, &mut memory, self).await? {
                break (Arc::new(view), memory);
            }
        };
        let parts = Parts {
            view: Arc::clone(&view),
            keys: Arc::clone(keys),
            store,
            clock: Arc::clone(clock),
            vault: Arc::clone(vault),
            metrics: Arc::clone(metrics),
            compile: following(),
        };
        let (queue, task) = sequencer::start(parts, memory);
        let queue = Arc::new(queue);
        let org = Arc::new(Org {
            view,
            checkpointer: Checkpointer::new(id, &self.checkpoints, Arc::clone(&queue)),
            queue,
            rollout: Mutex::default(),
            past,
            snapshots,
            filling: Mutex::default(),
            filled_elsewhere: Mutex::default(),
        });
        sequencers.push((Arc::clone(&org), task));
        self.orgs.write().unwrap_or_else(PoisonError::into_inner).insert(id, Arc::clone(&org));
        Ok(org)
    }

    /// Takes over what other servers write, for as long as it is polled.
    pub async fn follow_other_servers(self: Arc<App>) {
        while self.database.is_shared() {
            tokio::time::sleep(FOLLOW_EVERY).await;
            if let Err(error) = self.follow().await {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "what other servers wrote can't be seen");
            }
        }
    }

    async fn follow(&self) -> Result<(), LoadError> {
        for org in self.all() {
            org.help_with_filling().await;
        }
        for (id, next_seq) in self.database.heads().await? {
            match self.org(id) {
                Some(org) if org.view.next_seq() != next_seq => org.queue.follow(),
                Some(_) => {}
                None => {
                    self.keys.replace(id, self.database.live_keys_of(id).await?);
                    self.serve(id).await?;
                }
            }
        }
        Ok(())
    }

    /// An org by its id.
    pub fn org(&self, id: Uuid) -> Option<Arc<Org>> {
        self.orgs.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// Whether every org has a sequencer that takes work, and a ledger that is what was signed of it.
    pub fn can_decide(&self) -> bool {
        let orgs = self.orgs.read().unwrap_or_else(PoisonError::into_inner);
        orgs.values().all(|org| org.queue.is_served() && org.checkpointer.is_sound())
    }

    /// Lets all sequencers finish what waits, and end.
    pub async fn stop(&self) {
        for org in self.all() {
            org.queue.stop();
        }
        for sequencer in std::mem::take(&mut *self.sequencers.lock().await) {
            end(sequencer).await;
        }
    }

    /// Events and other work that wait for the sequencers.
    pub fn waiting(&self) -> usize {
        self.all().iter().map(|org| org.queue.waiting()).sum()
    }

    /// Entries of all ledgers.
    pub fn ledger_entries(&self) -> i64 {
        self.all().iter().map(|org| org.view.next_seq()).sum()
    }

    /// Every org.
    fn all(&self) -> Vec<Arc<Org>> {
        self.orgs.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Makes snapshots of what is remembered from time to time, for as long as it is polled.
    pub async fn make_snapshots_now_and_then(self: Arc<App>) {
        let mut made = HashMap::new();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            for org in self.all() {
                let Ok(behind) = org.snapshots.behind().await else { continue };
                let since = made.entry(org.view.id).or_insert_with(Instant::now);
                let is_due = behind >= SNAPSHOT_ENTRIES || (behind > 0 && since.elapsed() >= SNAPSHOT_EVERY);
                if is_due {
                    if let Err(error) = org.make_snapshot().await {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(org = %org.view.id, error, "a snapshot of memory was not made");
                    }
                    made.insert(org.view.id, Instant::now());
                }
            }
        }
    }

    /// Signs every ledger from time to time, for as long as it is polled.
    pub async fn make_checkpoints_now_and_then(self: Arc<App>) {
        loop {
            self.make_checkpoints().await;
            tokio::time::sleep(CHECKPOINT_EVERY).await;
        }
    }

    /// Signs every ledger in which something happened.
    pub async fn make_checkpoints(&self) {
        for org in self.all() {
            match org.checkpointer.advance().await {
                // It says so itself, louder.
                Ok(_) | Err(CheckpointError::Unsound(_)) => {}
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(org = %org.view.id, error, "a checkpoint was not made");
                }
            }
        }
    }

    /// Writes the last uses of keys from time to time, for as long as it is polled.
    pub async fn flush_key_uses_now_and_then(self: Arc<App>) {
        loop {
            tokio::time::sleep(FLUSH_EVERY).await;
            self.flush_key_uses().await;
        }
    }

    /// Writes the last uses of keys.
    pub async fn flush_key_uses(&self) {
        let keys = self.keys.all();
        let uses: Vec<_> =
            keys.iter().filter_map(|key| Some((key.org, key.id, key.take_unsaved_use()?))).collect();
        if uses.is_empty() {
            return;
        }
        if let Err(error) = self.database.save_key_uses(&uses).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the last uses of keys could not be written"
            );
        }
    }
}

/// A sequencer that ended: what it remembered is kept, so that the next start need not fold it.
async fn end((org, task): Sequencer) {
    org.replace_filling(None).await;
    let memory = match task.await {
        Ok(memory) => memory,
        Err(error) => {
            // The error would quote what it panicked with.
            let panicked = error.is_panic();
            tracing::error!(panicked, "a sequencer did not end by itself");
            return;
        }
    };
    let in_force = org.view.in_force();
    if in_force.generation.remembers() && in_force.filling.is_empty() {
        let kept = org.snapshots.keep_last(memory.memories, memory.head.next_seq).await;
        if let Err(error) = kept {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(org = %org.view.id, error, "the last snapshot of memory was not kept");
        }
    }
}

/// Compiles what other servers put in force, with what is kept from one set to the next.
fn following() -> Compile {
    let kept = Arc::<Mutex<Kept>>::default();
    Box::new(move |policies| {
        let kept = Arc::clone(&kept);
        Box::pin(async move { interpreted(&mut *kept.lock().await, policies).await })
    })
}

/// Rules whose memories were being filled when the server ended decide from now on: all is remembered again. Not if
/// another server moved the ledger meanwhile.
async fn activate(view: &View, memory: &mut Memory, app: &App) -> Result<bool, LoadError> {
    if view.in_force().filling.is_empty() {
        return Ok(true);
    }
    let turn = app.database.turn(view.id).await?;
    if turn.head.is_some_and(|head| head != memory.head) {
        return Ok(false);
    }
    let mut draft = Draft::new(view, memory, &app.vault);
    draft.activate(app.clock.now_us(), Memories::default());
    let (batch, new) = draft.finish();
    if let Some(batch) = batch {
        app.database.commit(turn, batch).await?;
    }
    new.publish(view, &app.keys, memory);
    Ok(true)
}

async fn restore(rows: OrgRows, snapshots: &Snapshots) -> Result<(View, Memory), LoadError> {
    let policies: Vec<_> = rows.policies.into_iter().map(Arc::new).collect();
    let generation = compile(&policies).map_err(|source| LoadError::Policies { org: rows.id, source })?;
    let generation = Arc::new(generation);
    let memories = if generation.remembers() {
        let restored = snapshots.restore(&generation, rows.head.next_seq).await;
        restored.map_err(|source| LoadError::Memory { org: rows.id, source })?
    } else {
        // What policies ask later has to be filled from the ledger.
        let mut memories = Memories::new(&generation);
        if rows.head != Head::EMPTY {
            memories.pass(rows.head.at_us);
        }
        memories
    };
    let mut incidents = Open::default();
    for incident in rows.incidents {
        incidents.put(Arc::new(incident));
    }
    let view = View {
        id: rows.id,
        name: rows.name,
        created_at_us: rows.created_at_us,
        directory: Directory::new(rows.agents),
        in_force: RwLock::new(Arc::new(InForce::new(Arc::new(policies), generation, rows.filling))),
        next_seq: AtomicI64::new(rows.head.next_seq),
    };
    Ok((view, Memory { head: rows.head, incidents, tasks: HashMap::new(), memories }))
}

/// The last entries must follow from the ones before them, and end where the head says.
async fn verify_end(database: &Database, org: Uuid, head: Head) -> Result<(), LoadError> {
    if head == Head::EMPTY {
        return Ok(());
    }
    let first = (head.next_seq - 1 - VERIFIED_AT_START).max(0);
    // One more than there should be, so that an entry behind the head is noticed.
    let stored = database.stored_entries(org, first - 1, VERIFIED_AT_START + 2).await?;
    let mut entries = stored.into_iter();
    let from = match first {
        0 => Some(Head::EMPTY),
        _ => entries.next().filter(|before| before.seq == first).map(|before| Head {
            next_seq: first + 1,
            hash: before.hash,
            at_us: 0,
        }),
    };
    match from.map_or(Verified::GapAt(first), |from| verify(from, entries)) {
        Verified::Ok(found) if found == head => Ok(()),
        found => Err(LoadError::Ledger { org, found }),
    }
}
