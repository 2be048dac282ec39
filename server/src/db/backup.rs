//! A SQLite database copied while it is in use, and whether a copy is whole.

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, SqliteConnection};
use uuid::Uuid;

use super::database::{Database, bytes32};
use super::sql::Pool;
use super::{OpenError, StoreError};
use crate::ledger::Head;

/// How long a copy waits for a lock of whoever writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// Writes all that is committed now to a file that is empty or not there. Whoever reads and writes the database goes on;
/// nothing of it that was deleted is in the copy. Returns where each ledger stands in it.
pub async fn copy(from: &Path, to: &Path) -> Result<Vec<(Uuid, Head)>, OpenError> {
    let failed = |path: &Path| {
        let database = path.display().to_string();
        move |source| OpenError::Open { database, source }
    };
    let reading =
        |path: &Path| SqliteConnectOptions::new().filename(path).read_only(true).busy_timeout(BUSY_TIMEOUT);
    let mut source = SqliteConnection::connect_with(&reading(from)).await.map_err(failed(from))?;
    let to_text = to.to_string_lossy().into_owned();
    sqlx::query("VACUUM INTO ?").bind(to_text).execute(&mut source).await.map_err(failed(from))?;
    source.close().await.map_err(failed(from))?;
    let mut copy = SqliteConnection::connect_with(&reading(to)).await.map_err(failed(to))?;
    let rows: Vec<(Uuid, i64, Vec<u8>, i64)> =
        sqlx::query_as("SELECT org_id, next_seq, hash, at FROM heads ORDER BY org_id")
            .fetch_all(&mut copy)
            .await
            .map_err(failed(to))?;
    copy.close().await.map_err(failed(to))?;
    let head = |(org, next_seq, hash, at_us): (Uuid, i64, Vec<u8>, i64)| {
        let hash = bytes32(&hash, "head").map_err(|_| sqlx::Error::RowNotFound);
        hash.map(|hash| (org, Head { next_seq, hash, at_us }))
    };
    rows.into_iter().map(head).collect::<Result<_, _>>().map_err(failed(to))
}

impl Database {
    /// What is wrong with the file itself, as SQLite says it; nothing of PostgreSQL, which looks after its own.
    pub async fn damage(&self) -> Result<Option<String>, StoreError> {
        if let Pool::Postgres(_) = self.readers() {
            return Ok(None);
        }
        let rows: Vec<(String,)> = self.readers().query("PRAGMA integrity_check").all().await?;
        Ok(rows.into_iter().map(|(said,)| said).find(|said| said != "ok"))
    }

    /// Where an org's ledger stands.
    pub async fn head(&self, org: Uuid) -> Result<Head, StoreError> {
        let sql = "SELECT next_seq, hash, at FROM heads WHERE org_id = $1";
        let (next_seq, hash, at_us): (i64, Vec<u8>, i64) = self.readers().query(sql).bind(org).one().await?;
        Ok(Head { next_seq, hash: bytes32(&hash, "head")?, at_us })
    }
}
