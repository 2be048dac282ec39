//! Rows of the ledger and of the payloads beside it.

use lictor_dsl::number::Number;
use sqlx::FromRow;
use uuid::Uuid;

use super::database::{Database, bytes32, soon};
use super::sql::{Insert, Query, ROWS_AT_ONCE, Together, Transaction};
use super::{Batch, StoreError};
use crate::ledger::{Entry, StoredEntry};
use crate::vault::Sealed;

static ENTRIES: Insert = Insert::new(
    "INSERT INTO entries (org_id, seq, entry_id, canonical, hash, prev_hash, kind, source, agent_id, task, actor, \
     action, outcome, risk, at) VALUES",
    15,
    "",
);
static PAYLOADS: Insert =
    Insert::new("INSERT INTO payloads (org_id, entry_id, wrapped_key, ciphertext) VALUES", 4, "");
static LAST: Together = Together::new(
    [&ENTRIES, &PAYLOADS],
    "UPDATE heads SET next_seq = ?, hash = ?, at = ? WHERE org_id = ? AND next_seq = ? AND hash = ?",
    6,
);

/// Appends the entries of a batch and their payloads to the ledger, and moves its head. For who has the org's turn, or nobody
/// else writes.
pub(super) async fn append(transaction: &mut Transaction, batch: Batch) -> Result<(), StoreError> {
    let Batch { org, before, after, entries, payloads, .. } = batch;
    let (mut entries, mut payloads) = (entries.into_iter(), payloads.into_iter());
    while entries.len() > ROWS_AT_ONCE {
        let (query, some) = (transaction.insert(&ENTRIES, ROWS_AT_ONCE), entries.by_ref().take(ROWS_AT_ONCE));
        some.fold(query, |query, entry| bind(query, org, entry)).execute().await?;
    }
    while payloads.len() > ROWS_AT_ONCE {
        let (query, some) =
            (transaction.insert(&PAYLOADS, ROWS_AT_ONCE), payloads.by_ref().take(ROWS_AT_ONCE));
        some.fold(query, |query, payload| bind_payload(query, org, payload)).execute().await?;
    }
    let (query, inserted) = transaction.together(&LAST, [entries.len(), payloads.len()]);
    let query = entries.fold(query, |query, entry| bind(query, org, entry));
    let query = payloads.fold(query, |query, payload| bind_payload(query, org, payload));
    let changed = query
        .bind(after.next_seq)
        .bind(after.hash.as_slice())
        .bind(after.at_us)
        .bind(org)
        .bind(before.next_seq)
        .bind(before.hash.as_slice())
        .execute()
        .await?;
    if changed == inserted + 1 { Ok(()) } else { Err(StoreError::HeadMoved) }
}

fn bind(query: Query<'_>, org: Uuid, entry: Entry) -> Query<'_> {
    let Entry { seq, id, canonical, hash, prev_hash, at_us, index } = entry;
    query
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
        .bind(at_us)
}

fn bind_payload(query: Query<'_>, org: Uuid, (id, sealed): (Uuid, Sealed)) -> Query<'_> {
    query.bind(org).bind(id).bind(sealed.wrapped_key).bind(sealed.ciphertext)
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
        self.readers().query(sql).bind(org).bind(after).bind(limit).all().await
    }

    /// What is needed to verify the same entries.
    pub async fn stored_entries(
        &self,
        org: Uuid,
        after: i64,
        limit: i64,
    ) -> Result<Vec<StoredEntry>, StoreError> {
        let sql = "SELECT seq, canonical, hash, prev_hash FROM entries WHERE org_id = $1 AND seq > $2 ORDER BY seq LIMIT $3";
        let rows: Vec<StoredRow> = self.readers().query(sql).bind(org).bind(after).bind(limit).all().await?;
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
        soon(self.readers().query(sql).bind(org).bind(entry).optional()).await
    }
}
