//! Rows of the ledger and of the payloads beside it.

use lictor_dsl::number::Number;
use sqlx::{FromRow, QueryBuilder, Sqlite, SqliteConnection};
use uuid::Uuid;

use super::sqlite::{Database, bytes32};
use super::{Batch, StoreError};
use crate::ledger::{Entry, StoredEntry};

/// Rows written by one statement: few enough for the limits of any database, and one text to prepare.
const ROWS_AT_ONCE: usize = 32;

pub(super) async fn insert(connection: &mut SqliteConnection, batch: &Batch) -> Result<(), StoreError> {
    for entries in in_two_sizes(&batch.entries) {
        let mut query = QueryBuilder::<Sqlite>::new(
            "INSERT INTO entries (org_id, seq, entry_id, canonical, hash, prev_hash, kind, source, agent_id, task, actor, \
             action, outcome, risk, at) ",
        );
        query.push_values(entries, |mut row, entry: &Entry| {
            row.push_bind(batch.org)
                .push_bind(entry.seq)
                .push_bind(entry.id)
                .push_bind(entry.canonical.clone())
                .push_bind(entry.hash.to_vec())
                .push_bind(entry.prev_hash.to_vec())
                .push_bind(entry.index.kind)
                .push_bind(entry.index.source)
                .push_bind(entry.index.agent)
                .push_bind(entry.index.task.clone())
                .push_bind(entry.index.actor.clone())
                .push_bind(entry.index.action.clone())
                .push_bind(entry.index.outcome)
                .push_bind(entry.index.risk.map(risk_column))
                .push_bind(entry.at_us);
        });
        query.build().execute(&mut *connection).await?;
    }
    for payloads in in_two_sizes(&batch.payloads) {
        let mut query =
            QueryBuilder::<Sqlite>::new("INSERT INTO payloads (org_id, entry_id, wrapped_key, ciphertext) ");
        query.push_values(payloads, |mut row, (id, sealed)| {
            row.push_bind(batch.org)
                .push_bind(*id)
                .push_bind(sealed.wrapped_key.clone())
                .push_bind(sealed.ciphertext.clone());
        });
        query.build().execute(&mut *connection).await?;
    }
    Ok(())
}

/// Runs of [`ROWS_AT_ONCE`], then single rows: two statement texts, which stay prepared.
fn in_two_sizes<T>(rows: &[T]) -> impl Iterator<Item = &[T]> {
    let runs = rows.chunks_exact(ROWS_AT_ONCE);
    let rest = runs.remainder();
    runs.chain(rest.chunks(1))
}

/// A risk, which lies in 0..1, as whole billionths.
pub(super) fn risk_column(risk: Number) -> i64 {
    i64::try_from(risk.billionths()).unwrap_or(i64::MAX)
}

/// One entry, as lists of the ledger show it.
#[derive(Debug, Clone, FromRow)]
#[expect(missing_docs, reason = "named like the columns of the table, which is documented")]
pub struct EntryRow {
    pub seq: i64,
    pub entry_id: Uuid,
    pub hash: Vec<u8>,
    pub prev_hash: Vec<u8>,
    pub canonical: Vec<u8>,
    pub kind: String,
    pub source: String,
    pub agent_id: Option<Uuid>,
    pub task: Option<String>,
    pub actor: String,
    pub action: Option<String>,
    pub outcome: Option<String>,
    pub risk: Option<i64>,
    pub at: i64,
}

/// An encrypted payload.
#[derive(Debug, Clone, FromRow)]
#[expect(missing_docs, reason = "named like the columns of the table, which is documented")]
pub struct PayloadRow {
    pub wrapped_key: Vec<u8>,
    pub ciphertext: Vec<u8>,
}

/// `seq`, `canonical`, `hash`, `prev_hash`.
type StoredRow = (i64, Vec<u8>, Vec<u8>, Vec<u8>);

impl Database {
    /// Entries of an org with a higher number than `after`, in order.
    pub async fn entries(&self, org: Uuid, after: i64, limit: i64) -> Result<Vec<EntryRow>, StoreError> {
        let sql = "SELECT seq, entry_id, hash, prev_hash, canonical, kind, source, agent_id, task, actor, action, outcome, \
                   risk, at FROM entries WHERE org_id = $1 AND seq > $2 ORDER BY seq LIMIT $3";
        Ok(sqlx::query_as(sql).bind(org).bind(after).bind(limit).fetch_all(self.readers()).await?)
    }

    /// What is needed to verify the same entries.
    pub async fn stored_entries(
        &self,
        org: Uuid,
        after: i64,
        limit: i64,
    ) -> Result<Vec<StoredEntry>, StoreError> {
        let sql = "SELECT seq, canonical, hash, prev_hash FROM entries WHERE org_id = $1 AND seq > $2 ORDER BY seq LIMIT $3";
        let rows: Vec<StoredRow> =
            sqlx::query_as(sql).bind(org).bind(after).bind(limit).fetch_all(self.readers()).await?;
        rows.into_iter()
            .map(|(seq, canonical, hash, prev_hash)| {
                let (hash, prev_hash) = (bytes32(&hash, "entry")?, bytes32(&prev_hash, "entry")?);
                Ok(StoredEntry { seq, canonical, hash, prev_hash })
            })
            .collect()
    }

    /// The encrypted payload of an entry.
    pub async fn payload(&self, org: Uuid, entry: Uuid) -> Result<Option<PayloadRow>, StoreError> {
        let sql = "SELECT wrapped_key, ciphertext FROM payloads WHERE org_id = $1 AND entry_id = $2";
        Ok(sqlx::query_as(sql).bind(org).bind(entry).fetch_optional(self.readers()).await?)
    }
}
