//! SQLite: one connection that writes, a pool that reads, and no setting that could lose what was acknowledged.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Connection, SqliteConnection};
use tokio::sync::{Mutex, MutexGuard};
use uuid::Uuid;

use super::{Batch, Change, JudgedRow, Later, OrgRows, Store, StoreError};
use super::{accounts, agents, entries, incidents, intents, memory, policies, tasks};
use crate::incidents::Incident;
use crate::intents::Intent;
use crate::ledger::{Head, StepBefore};

/// The first SQLite without the WAL-reset bug, which can corrupt a database with two connections.
const OLDEST_SAFE: (u32, u32, u32) = (3, 51, 3);
/// How long a statement waits for a lock of another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);
/// Connections that read.
const READERS: u32 = 4;

/// Why a database can't be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It can't be opened or read.
    #[error("the database {path} can't be opened")]
    Open {
        /// Which file.
        path: PathBuf,
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
    /// The file system or an earlier user forced a setting that loses data.
    #[error("the database insists on {setting} = {value}, which can lose acknowledged decisions")]
    UnsafeSetting {
        /// The pragma.
        setting: &'static str,
        /// What it says.
        value: String,
    },
}

/// A SQLite database.
#[derive(Debug)]
pub struct Database {
    writer: Mutex<SqliteConnection>,
    readers: SqlitePool,
    /// Whether the latest batch could not be written.
    refuses: AtomicBool,
}

impl Database {
    /// Opens the file, or makes it, and brings its tables up to date.
    pub async fn open(path: &Path) -> Result<Database, OpenError> {
        let failed = |source| OpenError::Open { path: path.to_owned(), source };
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            .statement_cache_capacity(256);
        let mut writer = SqliteConnection::connect_with(&options).await.map_err(failed)?;
        refuse_unsafe(&mut writer).await.map_err(failed)??;
        sqlx::migrate!("migrations/sqlite").run(&mut writer).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(Duration::from_millis(1500))
            .connect_with(options.create_if_missing(false).read_only(true))
            .await
            .map_err(failed)?;
        Ok(Database { writer: Mutex::new(writer), readers, refuses: AtomicBool::new(false) })
    }

    /// Where reads go.
    pub(super) fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    pub(super) async fn writer(&self) -> MutexGuard<'_, SqliteConnection> {
        self.writer.lock().await
    }

    /// Whether the database answers and, if it did not take the latest batch, whether it takes a write now.
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1").execute(&self.readers).await?;
        if self.refuses.load(Ordering::Relaxed) {
            let nothing_new = "UPDATE heads SET next_seq = next_seq";
            sqlx::query(nothing_new).execute(&mut *self.writer().await).await?;
            self.refuses.store(false, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Every org with what the server keeps in memory of it.
    pub async fn orgs(&self, now_us: i64) -> Result<Vec<OrgRows>, StoreError> {
        let sql = "SELECT o.org_id, o.name, o.created_at, h.next_seq, h.hash, h.at \
                   FROM orgs o JOIN heads h ON h.org_id = o.org_id ORDER BY o.org_id";
        let rows: Vec<(Uuid, String, i64, i64, Vec<u8>, i64)> =
            sqlx::query_as(sql).fetch_all(&self.readers).await?;
        let mut orgs = Vec::with_capacity(rows.len());
        for (id, name, created_at_us, next_seq, hash, at_us) in rows {
            let head = Head { next_seq, hash: bytes32(&hash, "head")?, at_us };
            let agents = agents::all(&self.readers, id).await?;
            let policies = policies::all(&self.readers, id).await?;
            let incidents = incidents::foldable(&self.readers, id, now_us).await?;
            let filling = memory::filling(&self.readers, id).await?;
            orgs.push(OrgRows { id, name, created_at_us, head, agents, policies, incidents, filling });
        }
        Ok(orgs)
    }

    /// Ends all connections; what was committed is in the file.
    pub async fn close(self) {
        self.readers.close().await;
        if let Err(error) = self.writer.into_inner().close().await {
            tracing::warn!(%error, "the database did not close cleanly");
        }
    }

    async fn write(&self, batch: Batch) -> Result<(), StoreError> {
        let Batch { org, before, after, entries, payloads, changes } = batch;
        let mut writer = self.writer().await;
        let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await?;
        let connection: &mut SqliteConnection = &mut transaction;
        for change in &changes {
            apply(connection, org, change).await?;
        }
        entries::insert(connection, org, entries).await?;
        entries::insert_payloads(connection, org, payloads).await?;
        let sql = "UPDATE heads SET next_seq = $1, hash = $2, at = $3 WHERE org_id = $4 AND next_seq = $5 AND hash = $6";
        let moved = sqlx::query(sql)
            .bind(after.next_seq)
            .bind(after.hash.as_slice())
            .bind(after.at_us)
            .bind(org)
            .bind(before.next_seq)
            .bind(before.hash.as_slice())
            .execute(&mut *connection)
            .await?;
        if moved.rows_affected() != 1 {
            return Err(StoreError::HeadMoved);
        }
        transaction.commit().await?;
        Ok(())
    }
}

impl Store for Database {
    fn commit(&self, batch: Batch) -> Later<'_, ()> {
        Box::pin(async move {
            let written = self.write(batch).await;
            self.refuses.store(matches!(written, Err(StoreError::Database(_))), Ordering::Relaxed);
            written
        })
    }

    fn task<'a>(&'a self, org: Uuid, task: &'a str) -> Later<'a, Option<StepBefore>> {
        Box::pin(tasks::find(&self.readers, org, task))
    }

    fn incident(&self, org: Uuid, id: Uuid) -> Later<'_, Option<Incident>> {
        Box::pin(incidents::find(&self.readers, org, id))
    }

    fn intent_by_key<'a>(&'a self, org: Uuid, key: &'a str) -> Later<'a, Option<Intent>> {
        Box::pin(intents::by_key(&self.readers, org, key))
    }

    fn next_seq(&self, org: Uuid) -> Later<'_, i64> {
        Box::pin(memory::next_seq(&self.readers, org))
    }

    fn judged(&self, org: Uuid, entries: Range<i64>, limit: usize) -> Later<'_, Vec<JudgedRow>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        Box::pin(memory::judged(&self.readers, org, entries.start, entries.end, limit))
    }
}

async fn apply(connection: &mut SqliteConnection, org: Uuid, change: &Change) -> Result<(), StoreError> {
    match change {
        Change::Org { name, created_at_us } => {
            accounts::insert_org(connection, org, name, *created_at_us).await
        }
        Change::User(user) => accounts::insert_user(connection, user).await,
        Change::Key(key) => accounts::insert_key(connection, key).await,
        Change::KeyRevoked { id, at_us } => accounts::revoke_key(connection, org, *id, *at_us).await,
        Change::Agent(agent) => agents::put(connection, org, agent).await,
        Change::Incident(incident) => incidents::put(connection, org, incident).await,
        Change::Task { task, step, at_us } => tasks::put(connection, org, task, *step, *at_us).await,
        Change::Intent(intent) => intents::insert(connection, org, intent).await,
        Change::Policy { policy, new_source_by } => {
            policies::put(connection, org, policy, new_source_by.as_deref()).await
        }
        Change::PolicyRemoved(id) => policies::remove(connection, org, *id).await,
        Change::Filling(filling) => memory::put_filling(connection, org, filling).await,
    }
}

async fn refuse_unsafe(connection: &mut SqliteConnection) -> Result<Result<(), OpenError>, sqlx::Error> {
    let version: String = sqlx::query_scalar("SELECT sqlite_version()").fetch_one(&mut *connection).await?;
    if !is_safe(&version) {
        return Ok(Err(OpenError::UnsafeVersion(version)));
    }
    let journal: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut *connection).await?;
    if journal != "wal" {
        return Ok(Err(OpenError::UnsafeSetting { setting: "journal_mode", value: journal }));
    }
    let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(&mut *connection).await?;
    if synchronous < 2 {
        return Ok(Err(OpenError::UnsafeSetting { setting: "synchronous", value: synchronous.to_string() }));
    }
    Ok(Ok(()))
}

fn is_safe(version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    (next(), next(), next()) >= OLDEST_SAFE
}

/// A hash as it is stored.
pub(super) fn bytes32(bytes: &[u8], what: &'static str) -> Result<[u8; 32], StoreError> {
    bytes.try_into().map_err(|_| StoreError::Corrupt(what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_with_the_wal_bug_are_refused() {
        for (version, safe) in [
            ("3.51.3", true),
            ("3.51.2", false),
            ("3.7.0", false),
            ("3.52.0", true),
            ("4.0", true),
            ("", false),
        ] {
            assert_eq!(is_safe(version), safe, "{version}");
        }
    }

    #[tokio::test]
    async fn a_batch_that_starts_from_another_head_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("a.db")).await.unwrap();
        let org = Uuid::from_u128(1);
        let batch = |before: Head, name: &str| Batch {
            org,
            before,
            after: Head { next_seq: before.next_seq + 1, hash: [1; 32], at_us: 5 },
            entries: Vec::new(),
            payloads: Vec::new(),
            changes: vec![Change::Org { name: name.to_owned(), created_at_us: 1 }],
        };
        database.commit(batch(Head::EMPTY, "first")).await.unwrap();
        let mut stale = batch(Head::EMPTY, "second");
        stale.changes = vec![Change::Task {
            task: "t".to_owned(),
            step: StepBefore { steps: 1, hash: [0; 32] },
            at_us: 1,
        }];
        assert!(matches!(database.commit(stale).await, Err(StoreError::HeadMoved)));
        assert!(database.task(org, "t").await.unwrap().is_none());
        let orgs = database.orgs(0).await.unwrap();
        assert_eq!((orgs[0].head.next_seq, orgs[0].name.as_str()), (1, "first"));
        database.close().await;
    }

    #[tokio::test]
    async fn a_database_that_takes_no_batch_does_not_answer_well_until_it_takes_a_write() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("a.db")).await.unwrap();
        let run = async |sql: &'static str| {
            sqlx::query(sql).execute(&mut *database.writer().await).await.unwrap();
        };
        let batch = |before: Head, changes| {
            let after = Head { next_seq: before.next_seq + 1, hash: [1; 32], at_us: 5 };
            let org = Uuid::from_u128(1);
            Batch { org, before, after, entries: Vec::new(), payloads: Vec::new(), changes }
        };
        let org = Change::Org { name: "o".to_owned(), created_at_us: 1 };
        database.commit(batch(Head::EMPTY, vec![org])).await.unwrap();
        run("CREATE TRIGGER full BEFORE UPDATE ON heads BEGIN SELECT RAISE(FAIL, 'full'); END").await;
        database.ping().await.unwrap();
        let next = batch(Head { next_seq: 1, hash: [1; 32], at_us: 5 }, Vec::new());
        assert!(matches!(database.commit(next.clone()).await, Err(StoreError::Database(_))));
        assert!(database.ping().await.is_err());
        run("DROP TRIGGER full").await;
        database.ping().await.unwrap();
        database.commit(next).await.unwrap();
        database.close().await;
    }
}
