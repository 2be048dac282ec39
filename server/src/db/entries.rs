//! Rows of the ledger and of the payloads beside it.

use std::sync::OnceLock;

use lictor_dsl::number::Number;
use sqlx::Arguments;
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, FromRow, SqlSafeStr, SqlStr, Sqlite, SqliteConnection};
use uuid::Uuid;

use super::StoreError;
use super::sqlite::{Database, bytes32};
use crate::ledger::{Entry, StoredEntry};
use crate::vault::Sealed;

/// Rows written by one statement at most.
const ROWS_AT_ONCE: usize = 64;

static ENTRIES: Insert = Insert::new(
    "INSERT INTO entries (org_id, seq, entry_id, canonical, hash, prev_hash, kind, source, agent_id, task, actor, \
     action, outcome, risk, at) VALUES ",
    15,
);
static PAYLOADS: Insert =
    Insert::new("INSERT INTO payloads (org_id, entry_id, wrapped_key, ciphertext) VALUES ", 4);

pub(super) async fn insert(
    connection: &mut SqliteConnection,
    org: Uuid,
    entries: Vec<Entry>,
) -> Result<(), StoreError> {
    let mut entries = entries.into_iter();
    while entries.len() > 0 {
        let mut query = ENTRIES.rows(entries.len());
        for Entry { seq, id, canonical, hash, prev_hash, at_us, index } in entries.by_ref().take(ROWS_AT_ONCE)
        {
            query = query
                .bind(org)
                .bind(seq)
                .bind(id)
                .bind(canonical)
                .bind(hash.to_vec())
                .bind(prev_hash.to_vec())
                .bind(index.kind)
                .bind(index.source)
                .bind(index.agent)
                .bind(index.task)
                .bind(index.actor)
                .bind(index.action)
                .bind(index.outcome)
                .bind(index.risk.map(risk_column))
                .bind(at_us);
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

pub(super) async fn insert_payloads(
    connection: &mut SqliteConnection,
    org: Uuid,
    payloads: Vec<(Uuid, Sealed)>,
) -> Result<(), StoreError> {
    let mut payloads = payloads.into_iter();
    while payloads.len() > 0 {
        let mut query = PAYLOADS.rows(payloads.len());
        for (id, Sealed { wrapped_key, ciphertext, .. }) in payloads.by_ref().take(ROWS_AT_ONCE) {
            query = query.bind(org).bind(id).bind(wrapped_key).bind(ciphertext);
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// A statement for every number of rows: each waits for the database once however many rows it has, and stays
/// prepared.
struct Insert {
    before_rows: &'static str,
    columns: usize,
    texts: [OnceLock<SqlStr>; ROWS_AT_ONCE],
}

impl Insert {
    const fn new(before_rows: &'static str, columns: usize) -> Insert {
        Insert { before_rows, columns, texts: [const { OnceLock::new() }; ROWS_AT_ONCE] }
    }

    /// For so many rows, or for as many as one statement writes.
    fn rows(&self, count: usize) -> Query<'static, Sqlite, SqliteArguments> {
        let count = count.clamp(1, ROWS_AT_ONCE);
        let text = || {
            let row = format!("({})", vec!["?"; self.columns].join(", "));
            AssertSqlSafe(format!("{}{}", self.before_rows, vec![row; count].join(", "))).into_sql_str()
        };
        let known = self.texts.get(count - 1).map(|known| known.get_or_init(text).clone());
        let mut values = SqliteArguments::default();
        values.reserve(count * self.columns, 0);
        sqlx::query_with(known.unwrap_or_else(text), values)
    }
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
