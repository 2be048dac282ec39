//! App: what handlers share, and how it is wired.

mod restore;
mod upkeep;

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use lictor_engine::generation::Generation;
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::accounts::checks::Checks;
use crate::accounts::keys::Keyring;
use crate::accounts::logins::Logins;
use crate::accounts::tokens::Tokens;
use crate::checkpoints::{Checkpointer, KeyError, KeyFile, Shared, Sink, check_key};
use crate::clock::Clock;
use crate::config::{Config, Limits};
use crate::db::{Database, Store, StoreError};
use crate::draft::{Memory, View};
use crate::founding::{FoundingError, NewOrg, found};
use crate::ledger::Verified;
use crate::memory::snapshots::SnapshotError;
use crate::memory::{Past, Snapshots};
use crate::metrics::Metrics;
use crate::peers::Places;
use crate::quota::Quota;
use crate::rollout::{Kept, RolloutError};
use crate::sequencer::{self, Parts, Queue};
use crate::vault::Vault;
use restore::{activate, following, restore, verify_end, verify_policies};

/// Passwords that may be hashed at once; each takes 19 MiB and a core for some time.
const PASSWORDS_AT_ONCE: usize = 2;
/// Logins and registrations that may be under way at once.
const LOGINS_AT_ONCE: usize = 64;
/// Of these, by one address.
const LOGINS_OF_AN_ADDRESS: usize = 16;

/// An org and the task that decides for it.
type Sequencer = (Arc<Org>, JoinHandle<Option<Memory>>);

/// What tests put in the place of what a server has.
#[derive(Debug)]
pub struct Given {
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// Checks who calls, if it is not what the server does.
    pub checks: Option<Arc<dyn Checks>>,
}

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
    /// Signs access tokens.
    pub tokens: Arc<Tokens>,
    /// Checks who calls.
    pub checks: Arc<dyn Checks>,
    /// Slows down guessing.
    pub logins: Logins,
    /// Bounds how many passwords are hashed at once.
    pub hashing: Arc<Semaphore>,
    /// Bounds how many logins and registrations wait for that.
    pub logging_in: Places,
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
    /// Other policies are stored than the ledger says are in force.
    #[error(
        "the stored policies of org {org} are not those that its ledger says are in force: {stored} instead of {said}"
    )]
    OtherPolicies {
        /// Which org.
        org: Uuid,
        /// What is stored.
        stored: String,
        /// What the ledger says.
        said: String,
    },
    /// What happened can't be remembered again.
    #[error("what happened in org {org} can't be remembered: {source}")]
    Memory {
        /// Which org.
        org: Uuid,
        /// What happened.
        source: SnapshotError,
    },
    /// Its ledger is signed with a key that this server can't go on with.
    #[error(transparent)]
    LedgerKey(#[from] KeyError),
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
        given: Given,
        key_file: Option<Arc<KeyFile>>,
        sink: Arc<Sink>,
        config: &Config,
        metrics: Metrics,
    ) -> Result<Arc<App>, LoadError> {
        let Given { clock, checks } = given;
        let tokens = Arc::new(Tokens::new(vault.token_secret()));
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
            checks: checks.unwrap_or_else(|| Arc::clone(&tokens) as Arc<dyn Checks>),
            tokens,
            logins: Logins::new(Arc::clone(&database)),
            clock,
            vault,
            database,
            hashing: Arc::new(Semaphore::new(PASSWORDS_AT_ONCE)),
            logging_in: Places::new(LOGINS_AT_ONCE, LOGINS_OF_AN_ADDRESS),
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
        check_key(id, &self.checkpoints).await?;
        let App { database, vault, clock, keys, metrics, .. } = self;
        let store = Arc::clone(database) as Arc<dyn Store>;
        let past = Past::new(Arc::clone(&store), Arc::clone(vault), id);
        let snapshots = Snapshots::new(Arc::clone(database), Arc::clone(vault), past.clone());
        let (view, memory) = loop {
            let turn = database.turn(id).await?;
            let rows = database.org(id, clock.now_us()).await?;
            verify_end(database, id, rows.head).await?;
            verify_policies(database, &rows).await?;
            // What other servers do with keys from here on is followed.
            keys.replace(id, database.live_keys_of(id).await?);
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
}

/// A sequencer that ended: what it remembered is kept, so that the next start need not fold it.
async fn end((org, task): Sequencer) {
    org.replace_filling(None).await;
    let memory = match task.await {
        Ok(Some(memory)) => memory,
        // It said why.
        Ok(None) => return,
        Err(error) => {
            // The error would quote what it panicked with.
            let panicked = error.is_panic();
            tracing::error!(panicked, "a sequencer did not end by itself");
            return;
        }
    };
    let in_force = org.view.in_force();
    if in_force.generation.remembers() && in_force.filling.is_empty() {
        let kept = org.snapshots.keep_last(memory.memories, memory.head).await;
        if let Err(error) = kept {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(org = %org.view.id, error, "the last snapshot of memory was not kept");
        }
    }
}
