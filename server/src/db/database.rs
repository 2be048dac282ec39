//! The database: what a batch writes and what is read back, the same on SQLite and on PostgreSQL.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lictor_engine::memory::Missing;
use sqlx::PgConnection;
use tokio::time::timeout;
use uuid::Uuid;

use super::follow::Held;
use super::place::Place;
use super::sql::{Pool, Transaction};
use super::trust::Trust;
use super::{
    Address, Batch, Change, Changed, ErasableRow, JudgedRow, Later, OnVfs, OrgRows, Store, StoreError, Turn,
};
use super::{
    accounts, agents, answers, entries, erasures, follow, incidents, intents, memory, policies, postgres,
    sqlite, tasks,
};
use crate::accounts::Member;
use crate::incidents::Incident;
use crate::intents::Intent;
use crate::ledger::erasure::{Erasure, Subject};
use crate::ledger::{Head, StepBefore};
use crate::policies::Policy;
use crate::retries::Name;

/// Why a database can't be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It can't be opened or read.
    #[error("the database {database} can't be opened")]
    Open {
        /// Which one.
        database: String,
        /// What happened.
        #[source]
        source: sqlx::Error,
    },
    /// Another process uses it.
    #[error("the database {} is in use by another server", .0.display())]
    InUse(PathBuf),
    /// It can't be seen whether another process uses it.
    #[error("the database {} can't be locked", .path.display())]
    Lock {
        /// Which file.
        path: PathBuf,
        /// What happened.
        #[source]
        source: std::io::Error,
    },
    /// Its tables can't be brought up to date.
    #[error("the tables of the database can't be brought up to date")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// The library has a bug that loses data.
    #[error("SQLite {0} can corrupt a database; 3.51.3 or later is needed")]
    UnsafeVersion(String),
    /// The file system, the administrator or an earlier user forced a setting that loses data.
    #[error("the database insists on {setting} = {value}, which can lose acknowledged decisions")]
    UnsafeSetting {
        /// The setting.
        setting: &'static str,
        /// What it says.
        value: String,
    },
    /// It can't hold every text.
    #[error("the database is encoded in {0}; UTF8 is needed")]
    Encoding(String),
}

/// How long the database may take to say how it is.
const PING: Duration = Duration::from_millis(1_700);
/// How long a short read may take that a decision waits for.
const SOON: Duration = Duration::from_millis(1_500);
/// How long PostgreSQL may take for a turn, for a batch, or for what is read for one: longer than they wait for a lock.
const VANISHED: Duration = Duration::from_secs(5);

/// No other server does the same.
#[derive(Debug)]
#[expect(dead_code, reason = "the connection holds the lock")]
pub struct Alone(Option<PgConnection>);

/// A database.
#[derive(Debug)]
pub struct Database {
    writers: Pool,
    readers: Pool,
    /// Where its files are, if it has files.
    place: Option<Place>,
    trust: Trust,
    /// Whether the latest batch could not be written.
    refuses: AtomicBool,
}

impl Database {
    /// Opens the database, and brings its tables up to date. A file is made if it is not there.
    pub async fn open(address: &Address) -> Result<Database, OpenError> {
        match address {
            Address::File(path) => Ok(Database::on_sqlite(sqlite::open(path).await?)),
            Address::Postgres(options) => {
                let (writers, readers) = postgres::open(address, options).await?;
                Ok(Database::of(Pool::Postgres(writers), Pool::Postgres(readers), None, Trust::default()))
            }
        }
    }

    /// Opens one that a VFS keeps: for tests.
    pub async fn open_on_vfs(on_vfs: OnVfs) -> Result<Database, OpenError> {
        Ok(Database::on_sqlite(sqlite::open_on_vfs(on_vfs).await?))
    }

    fn on_sqlite((writer, readers, place): sqlite::Opened) -> Database {
        let trust = Trust::default();
        let (writers, readers) = (Pool::Sqlite(writer, trust.clone()), Pool::Sqlite(readers, trust.clone()));
        Database::of(writers, readers, place, trust)
    }

    fn of(writers: Pool, readers: Pool, place: Option<Place>, trust: Trust) -> Database {
        Database { writers, readers, place, trust, refuses: AtomicBool::new(false) }
    }

    /// Where reads go.
    pub(super) fn readers(&self) -> &Pool {
        &self.readers
    }

    /// Where writes go.
    pub(super) fn writers(&self) -> &Pool {
        &self.writers
    }

    /// Waits until the database can't be believed any more: nothing may be written to it then, and nobody may be told
    /// what it says.
    pub async fn lost(&self) {
        self.trust.lost().await;
    }

    /// Whether the database answers and, if it did not take the latest batch, whether it takes a write now.
    pub async fn ping(&self) -> Result<(), StoreError> {
        timeout(PING, self.answers()).await.unwrap_or(Err(StoreError::TooSlow))
    }

    async fn answers(&self) -> Result<(), StoreError> {
        self.is_in_place()?;
        self.readers.query("SELECT 1").execute().await?;
        if self.refuses.load(Ordering::Relaxed) {
            let mut transaction = self.writers.begin().await?;
            // Of a row that stays as it is SQLite would write nothing.
            for sql in
                ["UPDATE heads SET next_seq = next_seq + 1", "UPDATE heads SET next_seq = next_seq - 1"]
            {
                transaction.query(sql).execute().await?;
            }
            transaction.commit().await?;
            self.refuses.store(false, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Whether the files that it writes to are the ones that are found by their names.
    pub(super) fn is_in_place(&self) -> Result<(), StoreError> {
        self.place.as_ref().map_or(Ok(()), Place::check)
    }

    /// While this is there, no other server does what must be done once. With a file there is no other server.
    pub async fn alone(&self) -> Result<Alone, StoreError> {
        match &self.writers {
            Pool::Sqlite(..) => Ok(Alone(None)),
            Pool::Postgres(pool) => Ok(Alone(Some(postgres::alone(pool).await?))),
        }
    }

    /// Every org.
    pub async fn org_ids(&self) -> Result<Vec<Uuid>, StoreError> {
        let ids: Vec<(Uuid,)> = self.readers.query("SELECT org_id FROM orgs ORDER BY org_id").all().await?;
        Ok(ids.into_iter().map(|(id,)| id).collect())
    }

    /// An org with what the server keeps in memory of it. For whoever has its turn: what is read belongs together.
    pub async fn org(&self, id: Uuid, now_us: i64) -> Result<OrgRows, StoreError> {
        let sql = "SELECT o.name, o.created_at, h.next_seq, h.hash, h.at \
                   FROM orgs o JOIN heads h ON h.org_id = o.org_id WHERE o.org_id = $1";
        let (name, created_at_us, next_seq, hash, at_us): (String, i64, i64, Vec<u8>, i64) =
            self.readers.query(sql).bind(id).one().await?;
        Ok(OrgRows {
            id,
            name,
            created_at_us,
            head: Head { next_seq, hash: bytes32(&hash, "head")?, at_us },
            agents: agents::all(&self.readers, id).await?,
            policies: policies::all(&self.readers, id).await?,
            incidents: incidents::foldable(&self.readers, id, now_us).await?,
            filling: memory::filling(&self.readers, id).await?,
        })
    }

    /// Ends all connections; what was committed stays.
    pub async fn close(self) {
        self.readers.close().await;
        self.writers.close().await;
    }

    /// What a sequencer waits for. Of a PostgreSQL that vanished without a word it would otherwise hear nothing until the
    /// network gives up. A batch may be written then after all: whoever has the next turn finds it.
    ///
    /// With a file nobody would find it, so that it is waited for.
    async fn unless_vanished<T>(
        &self,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        match self.is_shared() {
            true => timeout(VANISHED, work).await.unwrap_or(Err(StoreError::TooSlow)),
            false => work.await,
        }
    }

    async fn write(&self, turn: Turn, batch: Batch) -> Result<(), StoreError> {
        self.is_in_place()?;
        let mut transaction = match turn.held {
            Held::Transaction(transaction) => transaction,
            Held::Nothing | Held::Other(_) => self.writers.begin().await?,
        };
        put(&mut transaction, batch.org, &batch.changes).await?;
        entries::append(&mut transaction, batch).await?;
        transaction.commit().await
    }
}

impl Store for Database {
    fn turn(&self, org: Uuid) -> Later<'_, Turn> {
        Box::pin(self.unless_vanished(follow::turn(&self.writers, org)))
    }

    fn changed(&self, org: Uuid, from: i64, limit: i64) -> Later<'_, Changed> {
        Box::pin(self.unless_vanished(follow::changed(&self.readers, org, from, limit)))
    }

    fn policies(&self, org: Uuid) -> Later<'_, (Vec<Policy>, Vec<Missing>)> {
        Box::pin(self.unless_vanished(async move {
            Ok((policies::all(&self.readers, org).await?, memory::filling(&self.readers, org).await?))
        }))
    }

    fn members(&self, org: Uuid) -> Later<'_, Vec<Member>> {
        Box::pin(self.unless_vanished(accounts::members(&self.readers, org)))
    }

    fn belongs(&self, org: Uuid, user: Uuid) -> Later<'_, bool> {
        Box::pin(self.unless_vanished(accounts::belongs(&self.readers, org, user)))
    }

    fn commit(&self, turn: Turn, batch: Batch) -> Later<'_, ()> {
        Box::pin(async move {
            let written = self.unless_vanished(self.write(turn, batch)).await;
            let refuses = match &written {
                Err(StoreError::Full(_) | StoreError::TooSlow) => true,
                Err(error @ StoreError::Database(_)) => !error.is_conflict(),
                _ => false,
            };
            self.refuses.store(refuses, Ordering::Relaxed);
            written
        })
    }

    fn task<'a>(&'a self, org: Uuid, task: &'a str) -> Later<'a, Option<StepBefore>> {
        Box::pin(self.unless_vanished(tasks::find(&self.readers, org, task)))
    }

    fn incidents_by_id(&self, org: Uuid, ids: Vec<Uuid>) -> Later<'_, Vec<Incident>> {
        Box::pin(self.unless_vanished(async move { incidents::some(&self.readers, org, &ids).await }))
    }

    fn intent_by_key<'a>(&'a self, org: Uuid, key: &'a str) -> Later<'a, Option<Intent>> {
        Box::pin(self.unless_vanished(intents::by_key(&self.readers, org, key)))
    }

    fn answered<'a>(&'a self, org: Uuid, keys: Vec<&'a str>) -> Later<'a, Vec<Name>> {
        Box::pin(self.unless_vanished(async move { answers::answered(&self.readers, org, &keys).await }))
    }

    fn next_seq(&self, org: Uuid) -> Later<'_, i64> {
        Box::pin(memory::next_seq(&self.readers, org))
    }

    fn judged(&self, org: Uuid, entries: Range<i64>, limit: usize) -> Later<'_, Vec<JudgedRow>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        Box::pin(memory::judged(&self.readers, org, entries.start, entries.end, limit))
    }

    fn erasable<'a>(
        &'a self,
        org: Uuid,
        subject: &'a Subject,
        entries: Range<i64>,
        limit: i64,
    ) -> Later<'a, Vec<ErasableRow>> {
        Box::pin(erasures::erasable(&self.readers, org, subject, entries, limit))
    }

    fn erasures(&self, org: Uuid) -> Later<'_, Vec<Erasure>> {
        Box::pin(erasures::erasures(&self.readers, org))
    }
}

/// Writes what changes beside the ledger. What events change in numbers goes by many rows at once.
async fn put(transaction: &mut Transaction, org: Uuid, changes: &[Change]) -> Result<(), StoreError> {
    let (mut steps, mut folds) = (Vec::new(), Vec::new());
    for change in changes {
        match change {
            Change::Org { name, created_at_us } => {
                accounts::insert_org(transaction, org, name, *created_at_us).await?;
            }
            Change::User(user) => accounts::insert_user(transaction, user).await?,
            Change::Password { user, hash } => accounts::set_password(transaction, *user, hash).await?,
            Change::PasswordSpent { user, hash } => {
                accounts::spend_password(transaction, *user, hash).await?
            }
            Change::PasswordIssued { user, hash } => {
                accounts::issue_password(transaction, org, *user, hash).await?;
            }
            Change::Member(member) => accounts::put_member(transaction, org, member).await?,
            Change::MemberRemoved(user) => accounts::remove_member(transaction, org, *user).await?,
            Change::Key(key) => accounts::insert_key(transaction, key).await?,
            Change::KeyRotated(key) => accounts::rotate_key(transaction, key).await?,
            Change::KeyRevoked { id, at_us } => accounts::revoke_key(transaction, org, *id, *at_us).await?,
            Change::Agent(agent) => agents::put(transaction, org, agent).await?,
            Change::Incident(incident) => folds.push(&**incident),
            Change::Task { task, step, at_us } => steps.push((task.as_str(), *step, *at_us)),
            Change::Intent(intent) => intents::insert(transaction, org, intent).await?,
            Change::Policy { policy, new_source_by } => {
                policies::put(transaction, org, policy, new_source_by.as_deref()).await?;
            }
            Change::PolicyRemoved(id) => policies::remove(transaction, org, *id).await?,
            Change::Erased(entries) => erasures::erase(transaction, org, entries).await?,
            Change::Filling(filling) => memory::put_filling(transaction, org, filling).await?,
            Change::Answer(answer) => answers::insert(transaction, answer).await?,
        }
    }
    tasks::put(transaction, org, &steps).await?;
    incidents::put(transaction, org, &folds).await
}

/// A short read that a decision waits for: a disk or a network that hangs must not keep its caller waiting.
pub(super) async fn soon<T>(read: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    timeout(SOON, read).await.unwrap_or(Err(StoreError::TooSlow))
}

/// A hash as it is stored.
pub(super) fn bytes32(bytes: &[u8], what: &'static str) -> Result<[u8; 32], StoreError> {
    bytes.try_into().map_err(|_| StoreError::Corrupt(what))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::accounts::{Role, User};

    #[tokio::test]
    async fn a_batch_that_starts_from_another_head_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&Address::File(folder.path().join("a.db"))).await.unwrap();
        let org = Uuid::from_u128(1);
        let batch = |before: Head, name: &str| Batch {
            org,
            before,
            after: Head { next_seq: before.next_seq + 1, hash: [1; 32], at_us: 5 },
            entries: Vec::new(),
            payloads: Vec::new(),
            changes: vec![Change::Org { name: name.to_owned(), created_at_us: 1 }],
        };
        database.commit(Turn::alone(), batch(Head::EMPTY, "first")).await.unwrap();
        let mut stale = batch(Head::EMPTY, "second");
        stale.changes = vec![Change::Task {
            task: "t".to_owned(),
            step: StepBefore { steps: 1, hash: [0; 32] },
            at_us: 1,
        }];
        assert!(matches!(database.commit(Turn::alone(), stale).await, Err(StoreError::HeadMoved)));
        assert!(database.task(org, "t").await.unwrap().is_none());
        let found = database.org(org, 0).await.unwrap();
        assert_eq!((found.head.next_seq, found.name.as_str()), (1, "first"));
        database.close().await;
    }

    #[tokio::test]
    async fn whoever_comes_second_changes_nothing_and_the_database_is_well() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&Address::File(folder.path().join("a.db"))).await.unwrap();
        let user = |id: u128| {
            let (id, org, email) = (Uuid::from_u128(id), Uuid::from_u128(1), "ann@example.com".to_owned());
            Change::User(Arc::new(User {
                id,
                org,
                email,
                password_hash: String::new(),
                one_time: true,
                created_at_us: 1,
            }))
        };
        let member = |id: u128| {
            Change::Member(Member {
                user: Uuid::from_u128(id),
                email: "ann@example.com".to_owned(),
                role: Role::Viewer,
                invited_at_us: 1,
                accepted_at_us: None,
                one_time: true,
                is_outdated: false,
                groups: Vec::new(),
            })
        };
        let batch = |before: Head, changes| {
            let (org, after) =
                (Uuid::from_u128(1), Head { next_seq: before.next_seq + 1, hash: [1; 32], at_us: 5 });
            Batch { org, before, after, entries: Vec::new(), payloads: Vec::new(), changes }
        };
        let org = Change::Org { name: "o".to_owned(), created_at_us: 1 };
        let first = batch(Head::EMPTY, vec![org, user(1), member(1)]);
        let head = first.after;
        database.commit(Turn::alone(), first).await.unwrap();
        let same_address = database.commit(Turn::alone(), batch(head, vec![user(2)])).await.unwrap_err();
        assert!(matches!(same_address, StoreError::Database(_)) && same_address.is_conflict());
        assert!(!database.refuses.load(Ordering::Relaxed));
        // Removed by the last org that knew them, so that they are nobody any more.
        let removed = batch(head, vec![Change::MemberRemoved(Uuid::from_u128(1))]);
        let head = removed.after;
        database.commit(Turn::alone(), removed).await.unwrap();
        let of_nobody = database.commit(Turn::alone(), batch(head, vec![member(1)])).await.unwrap_err();
        assert!(matches!(of_nobody, StoreError::Overtaken("person")) && of_nobody.is_conflict());
        assert!(database.joinings(Uuid::from_u128(1)).await.unwrap().is_empty());
        database.close().await;
    }

    #[tokio::test]
    async fn a_database_that_takes_no_batch_does_not_answer_well_until_it_takes_a_write() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&Address::File(folder.path().join("a.db"))).await.unwrap();
        let run = async |sql: &'static str| {
            database.writers().query(sql).execute().await.unwrap();
        };
        let batch = |before: Head, changes| {
            let after = Head { next_seq: before.next_seq + 1, hash: [1; 32], at_us: 5 };
            let org = Uuid::from_u128(1);
            Batch { org, before, after, entries: Vec::new(), payloads: Vec::new(), changes }
        };
        let org = Change::Org { name: "o".to_owned(), created_at_us: 1 };
        database.commit(Turn::alone(), batch(Head::EMPTY, vec![org])).await.unwrap();
        let mut head = Head { next_seq: 1, hash: [1; 32], at_us: 5 };
        // The second ends the transaction by itself, as a full disk may.
        for trigger in [
            "CREATE TRIGGER full BEFORE UPDATE ON heads BEGIN SELECT RAISE(FAIL, 'full'); END",
            "CREATE TRIGGER full BEFORE UPDATE ON heads BEGIN SELECT RAISE(ROLLBACK, 'full'); END",
        ] {
            run(trigger).await;
            database.ping().await.unwrap();
            let next = batch(head, Vec::new());
            let refused = database.commit(Turn::alone(), next.clone()).await;
            assert!(matches!(refused, Err(StoreError::Database(_))), "{trigger}");
            assert!(database.ping().await.is_err(), "{trigger}");
            run("DROP TRIGGER full").await;
            database.ping().await.unwrap();
            head = next.after;
            database.commit(Turn::alone(), next).await.unwrap();
        }
        database.close().await;
    }
}
