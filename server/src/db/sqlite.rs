//! SQLite: one connection that writes, a pool that reads, and no setting that could lose what was acknowledged.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::Connection;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use super::database::OpenError;
use super::place::Place;

/// The first SQLite without the WAL-reset bug, which can corrupt a database with two connections.
const OLDEST_SAFE: (u32, u32, u32) = (3, 51, 3);
/// How long a statement waits for a lock of another process.
const BUSY_TIMEOUT: Duration = Duration::from_millis(700);
/// How long a batch waits for what else is being written.
const WRITE_WAIT: Duration = Duration::from_millis(1_500);
/// How long a read waits for a connection.
const READ_WAIT: Duration = Duration::from_millis(1_500);
/// Connections that read.
const READERS: u32 = 4;
/// Statements that stay prepared in a connection.
const PREPARED: usize = 256;
/// Values of `PRAGMA synchronous`.
const NORMAL: i64 = 1;
const FULL: i64 = 2;

/// A database that a VFS keeps, and not the system's files. For tests, which no setting leads to.
#[derive(Debug, Clone)]
pub struct OnVfs {
    /// What SQLite is told to open.
    pub path: PathBuf,
    /// The name of the VFS, which is registered.
    pub vfs: Cow<'static, str>,
    /// Whether every commit is synced, as it has to be.
    pub is_synced: bool,
}

/// The connection that writes, those that read, and where the files are.
pub(super) type Opened = (SqlitePool, SqlitePool, Option<Place>);

/// Opens the file, or makes it, and brings its tables up to date.
pub(super) async fn open(path: &Path) -> Result<Opened, OpenError> {
    let (writer, readers) = connect(path, at(path), SqliteSynchronous::Full).await?;
    let place = Place::of(path)
        .map_err(|error| OpenError::Open { database: path.display().to_string(), source: error.into() })?;
    Ok((writer, readers, Some(place)))
}

/// The file of this name: SQLite would read settings out of one that begins with `file:`.
fn at(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(Path::new(".").join(path))
}

/// Opens one for a test.
pub(super) async fn open_on_vfs(OnVfs { path, vfs, is_synced }: OnVfs) -> Result<Opened, OpenError> {
    let options = SqliteConnectOptions::new().filename(&path).vfs(vfs);
    let synchronous = if is_synced { SqliteSynchronous::Full } else { SqliteSynchronous::Normal };
    let (writer, readers) = connect(&path, options, synchronous).await?;
    Ok((writer, readers, None))
}

async fn connect(
    path: &Path,
    options: SqliteConnectOptions,
    synchronous: SqliteSynchronous,
) -> Result<(SqlitePool, SqlitePool), OpenError> {
    let failed = |source| OpenError::Open { database: path.display().to_string(), source };
    let least = if matches!(synchronous, SqliteSynchronous::Normal) { NORMAL } else { FULL };
    let options = options
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(synchronous)
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
    refuse_unsafe(&writer, least).await.map_err(failed)??;
    sqlx::migrate!("migrations/sqlite").run(&writer).await?;
    let readers = SqlitePoolOptions::new()
        .max_connections(READERS)
        .acquire_timeout(READ_WAIT)
        .connect_with(options.create_if_missing(false).read_only(true))
        .await
        .map_err(failed)?;
    Ok((writer, readers))
}

async fn refuse_unsafe(writer: &SqlitePool, least: i64) -> Result<Result<(), OpenError>, sqlx::Error> {
    let version: String = sqlx::query_scalar("SELECT sqlite_version()").fetch_one(writer).await?;
    if !is_safe(&version) {
        return Ok(Err(OpenError::UnsafeVersion(version)));
    }
    let journal: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(writer).await?;
    if journal != "wal" {
        return Ok(Err(OpenError::UnsafeSetting { setting: "journal_mode", value: journal }));
    }
    let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(writer).await?;
    if synchronous < least {
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
    fn a_name_is_a_name_and_no_setting() {
        for (path, opened) in [
            ("file:a.db?mode=memory", "./file:a.db?mode=memory"),
            (":memory:", "./:memory:"),
            ("/var/lib/a.db", "/var/lib/a.db"),
        ] {
            assert_eq!(at(Path::new(path)).get_filename(), Path::new(opened));
        }
    }

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
