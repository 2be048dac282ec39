//! SQLite: one connection that writes, a pool that reads, and no setting that could lose what was acknowledged.

use std::path::Path;
use std::time::Duration;

use sqlx::Connection;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use super::database::OpenError;

/// The first SQLite without the WAL-reset bug, which can corrupt a database with two connections.
const OLDEST_SAFE: (u32, u32, u32) = (3, 51, 3);
/// How long a statement waits for a lock of another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a batch waits for what else is being written.
const WRITE_WAIT: Duration = Duration::from_secs(3);
/// How long a read waits for a connection.
const READ_WAIT: Duration = Duration::from_millis(1500);
/// Connections that read.
const READERS: u32 = 4;
/// Statements that stay prepared in a connection.
const PREPARED: usize = 256;

/// Opens the file, or makes it, and brings its tables up to date: the connection that writes, and those that read.
pub(super) async fn open(path: &Path) -> Result<(SqlitePool, SqlitePool), OpenError> {
    let failed = |source| OpenError::Open { database: path.display().to_string(), source };
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .statement_cache_capacity(PREPARED);
    let writer = SqlitePoolOptions::new()
        .max_connections(1)
        .acquire_timeout(WRITE_WAIT)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        // After some errors SQLite has ended a transaction that the driver believes in: nothing more could begin.
        .after_release(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }))
        .connect_with(options.clone())
        .await
        .map_err(failed)?;
    refuse_unsafe(&writer).await.map_err(failed)??;
    sqlx::migrate!("migrations/sqlite").run(&writer).await?;
    let readers = SqlitePoolOptions::new()
        .max_connections(READERS)
        .acquire_timeout(READ_WAIT)
        .connect_with(options.create_if_missing(false).read_only(true))
        .await
        .map_err(failed)?;
    Ok((writer, readers))
}

async fn refuse_unsafe(writer: &SqlitePool) -> Result<Result<(), OpenError>, sqlx::Error> {
    let version: String = sqlx::query_scalar("SELECT sqlite_version()").fetch_one(writer).await?;
    if !is_safe(&version) {
        return Ok(Err(OpenError::UnsafeVersion(version)));
    }
    let journal: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(writer).await?;
    if journal != "wal" {
        return Ok(Err(OpenError::UnsafeSetting { setting: "journal_mode", value: journal }));
    }
    let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(writer).await?;
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
}
