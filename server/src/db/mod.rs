//! Storage: what one batch of the sequencer writes, and what is read back.
//!
//! [`Store`] is all that the path of a decision needs from a database, so that tests can put one in its place
//! that fails when told to. [`Database`] is SQLite or PostgreSQL, with one text of SQL for both.

mod accounts;
mod address;
mod agents;
mod answers;
mod backup;
mod checkpoints;
mod database;
mod entries;
mod erasures;
mod follow;
mod incidents;
mod intents;
mod lock;
mod logins;
mod memory;
mod place;
mod policies;
mod postgres;
mod quota;
mod rebuild;
mod sql;
mod sqlite;
mod tasks;
mod trust;

use std::future::Future;
use std::ops::Range;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use uuid::Uuid;

use crate::accounts::keys::ApiKey;
use crate::accounts::{Member, User};
use crate::agents::Agent;
use crate::incidents::Incident;
use crate::intents::Intent;
use crate::ledger::erasure::{Erasure, Subject};
use crate::ledger::{Entry, Head, StepBefore};
use crate::policies::Policy;
use crate::retries::{KeptAnswer, Name};
use crate::vault::Sealed;
use lictor_engine::memory::Missing;

pub use address::{Address, AddressError};
pub use answers::AnswerRow;
pub use backup::copy;
pub use checkpoints::{CheckpointRow, LedgerKeyRow, SignatureRow};
pub use database::{Alone, Database, OpenError};
pub use entries::{EntryRow, PayloadRow};
pub use erasures::{ErasableRow, MAX_EVENTS};
pub use follow::{Changed, Turn};
pub use incidents::Filter as IncidentFilter;
pub use lock::Lock;
pub use logins::LoginTry;
pub use memory::{JudgedRow, SnapshotRow};
pub use rebuild::{Stored, StoredIntent, StoredKey, StoredMember, StoredPolicy};
pub use sqlite::OnVfs;

/// The database could not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It answered with an error.
    #[error("the database failed")]
    Database(#[source] sqlx::Error),
    /// There is no room for what was to be written.
    #[error("the disk of the database is full")]
    Full(#[source] sqlx::Error),
    /// It did not answer in time.
    #[error("the database takes too long to answer")]
    TooSlow,
    /// A file of it is not where it was opened.
    #[error("the file {} is no longer the one that was opened", .0.display())]
    Moved(PathBuf),
    /// What it acknowledged may not be on its disk.
    #[error("the database could not be synced to its disk, and can't be believed since")]
    Untrusted,
    /// A stored row is not what this version writes.
    #[error("a stored {0} can't be read")]
    Corrupt(&'static str),
    /// The request got an answer before.
    #[error("the request was answered before")]
    AnsweredBefore,
    /// Another writer moved the org's ledger.
    #[error("the ledger was moved by somebody else")]
    HeadMoved,
    /// Somebody else changed meanwhile what was to be changed.
    #[error("a {0} was changed by somebody else")]
    Overtaken(&'static str),
}

impl StoreError {
    /// Whether nothing is wrong with the storage: somebody else was faster.
    pub fn is_conflict(&self) -> bool {
        match self {
            StoreError::AnsweredBefore | StoreError::Overtaken(_) => true,
            StoreError::Database(error) => {
                error.as_database_error().is_some_and(|error| error.is_unique_violation())
            }
            _ => false,
        }
    }
}

/// What databases call a full disk: SQLite (`SQLITE_FULL`) and PostgreSQL (`disk_full`).
const FULL: [&str; 2] = ["13", "53100"];

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> StoreError {
        match trust::code(&error) {
            Some(code) if FULL.contains(&&*code) => StoreError::Full(error),
            _ => StoreError::Database(error),
        }
    }
}

/// What a [`Store`] promises to answer later.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// What the path of a decision needs from a database.
pub trait Store: Send + Sync {
    /// Waits for the org's turn to write, where other servers may write as well.
    fn turn(&self, _org: Uuid) -> Later<'_, Turn> {
        Box::pin(async { Ok(Turn::alone()) })
    }
    /// Writes a batch whole and durably, or nothing of it, and gives the turn up.
    fn commit(&self, turn: Turn, batch: Batch) -> Later<'_, ()>;
    /// What other servers changed with the entries from this one on, up to so many.
    fn changed(&self, _org: Uuid, _from: i64, _limit: i64) -> Later<'_, Changed> {
        Box::pin(async { Ok(Changed::default()) })
    }
    /// The policies of an org, and the memories that wait to be filled.
    fn policies(&self, _org: Uuid) -> Later<'_, (Vec<Policy>, Vec<Missing>)> {
        Box::pin(async { Ok((Vec::new(), Vec::new())) })
    }
    /// Everybody who belongs to an org or may join it.
    fn members(&self, _org: Uuid) -> Later<'_, Vec<Member>> {
        Box::pin(async { Ok(Vec::new()) })
    }
    /// Whether somebody belongs to an org.
    fn belongs(&self, _org: Uuid, _user: Uuid) -> Later<'_, bool> {
        Box::pin(async { Ok(true) })
    }
    /// Where a task stands; none if it has no steps.
    fn task<'a>(&'a self, org: Uuid, task: &'a str) -> Later<'a, Option<StepBefore>>;
    /// The incidents with these ids.
    fn incidents_by_id(&self, org: Uuid, ids: Vec<Uuid>) -> Later<'_, Vec<Incident>>;
    /// The intent that was declared with this idempotency key.
    fn intent_by_key<'a>(&'a self, org: Uuid, key: &'a str) -> Later<'a, Option<Intent>>;
    /// Which requests of an org that may be sent again have one of these keys and were answered.
    fn answered<'a>(&'a self, _org: Uuid, _keys: Vec<&'a str>) -> Later<'a, Vec<Name>> {
        Box::pin(async { Ok(Vec::new()) })
    }
    /// The number that the next entry of an org will have.
    fn next_seq(&self, org: Uuid) -> Later<'_, i64>;
    /// The judged events among these entries, in order, at most so many.
    fn judged(&self, org: Uuid, entries: Range<i64>, limit: usize) -> Later<'_, Vec<JudgedRow>>;
    /// Those of these entries that have content of this subject, in order, at most so many.
    fn erasable<'a>(
        &'a self,
        _org: Uuid,
        _subject: &'a Subject,
        _entries: Range<i64>,
        _limit: i64,
    ) -> Later<'a, Vec<ErasableRow>> {
        Box::pin(async { Ok(Vec::new()) })
    }
    /// Every erasure of an org.
    fn erasures(&self, _org: Uuid) -> Later<'_, Vec<Erasure>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}

/// Everything that one batch writes, in one transaction.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Whose ledger.
    pub org: Uuid,
    /// Where the ledger stood before it.
    pub before: Head,
    /// Where it stands after it.
    pub after: Head,
    /// Its entries.
    pub entries: Vec<Entry>,
    /// The payloads of its entries.
    pub payloads: Vec<(Uuid, Sealed)>,
    /// What else changes.
    pub changes: Vec<Change>,
}

/// A change of a table beside the ledger: the row as it is from now on.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "each is named for the row that it writes")]
pub enum Change {
    Org { name: String, created_at_us: i64 },
    User(Arc<User>),
    Password { user: Uuid, hash: String },
    PasswordSpent { user: Uuid, hash: String },
    PasswordIssued { user: Uuid, hash: String },
    Member(Member),
    MemberRemoved(Uuid),
    Key(Arc<ApiKey>),
    KeyRotated(Arc<ApiKey>),
    KeyRevoked { id: Uuid, at_us: i64 },
    Agent(Arc<Agent>),
    Incident(Arc<Incident>),
    Task { task: String, step: StepBefore, at_us: i64 },
    Intent(Arc<Intent>),
    Policy { policy: Arc<Policy>, new_source_by: Option<String> },
    PolicyRemoved(Uuid),
    Erased(Vec<Uuid>),
    Filling(Vec<Missing>),
    Answer(Box<KeptAnswer>),
}

/// What the database knows of an org when the server starts.
#[derive(Debug)]
pub struct OrgRows {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created_at_us: i64,
    /// Where its ledger stands.
    pub head: Head,
    /// Its agents.
    pub agents: Vec<Agent>,
    /// Its policies, by name.
    pub policies: Vec<Policy>,
    /// The incidents that may still take hits.
    pub incidents: Vec<Incident>,
    /// The memories that wait to be filled.
    pub filling: Vec<Missing>,
}
