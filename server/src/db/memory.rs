//! Rows of what is remembered: events read back from the ledger, snapshots, and what waits to be filled.

use std::sync::Arc;

use lictor_engine::memory::Missing;
use sqlx::FromRow;
use uuid::Uuid;

use super::StoreError;
use super::database::Database;
use super::sql::{KEYS_AT_ONCE, Pool, Transaction};

/// Bytes of one part of a snapshot: a commit behind it waits for one of them at most.
const PART_BYTES: usize = 1024 * 1024;
/// Snapshots that are kept.
const KEPT: i64 = 2;

/// A judged event as it is stored.
#[derive(Debug, Clone, FromRow)]
pub struct JudgedRow {
    /// Its place in the ledger.
    pub seq: i64,
    /// Its entry.
    pub entry_id: Uuid,
    /// What was hashed.
    pub canonical: Vec<u8>,
    /// The key of its payload; none if that was erased.
    pub wrapped_key: Option<Vec<u8>>,
    /// Its payload.
    pub ciphertext: Option<Vec<u8>>,
}

pub(super) async fn judged(
    pool: &Pool,
    org: Uuid,
    from: i64,
    below: i64,
    limit: i64,
) -> Result<Vec<JudgedRow>, StoreError> {
    let sql = "SELECT e.seq, e.entry_id, e.canonical, p.wrapped_key, p.ciphertext FROM entries e \
               LEFT JOIN payloads p ON p.org_id = e.org_id AND p.entry_id = e.entry_id \
               WHERE e.org_id = $1 AND e.seq >= $2 AND e.seq < $3 AND e.outcome IS NOT NULL ORDER BY e.seq LIMIT $4";
    pool.query(sql).bind(org).bind(from).bind(below).bind(limit).all().await
}

pub(super) async fn next_seq(pool: &Pool, org: Uuid) -> Result<i64, StoreError> {
    let sql = "SELECT next_seq FROM heads WHERE org_id = $1";
    let (next_seq,) = pool.query(sql).bind(org).one().await?;
    Ok(next_seq)
}

pub(super) async fn put_filling(
    transaction: &mut Transaction,
    org: Uuid,
    filling: &[Missing],
) -> Result<(), StoreError> {
    transaction.query("DELETE FROM filling WHERE org_id = $1").bind(org).execute().await?;
    if filling.is_empty() {
        return Ok(());
    }
    let rows: Vec<(&str, &[Arc<str>])> =
        filling.iter().map(|missing| (&*missing.memory, &*missing.rules)).collect();
    let json = serde_json::to_string(&rows).map_err(|_| StoreError::Corrupt("list of memories"))?;
    let sql = "INSERT INTO filling (org_id, memories) VALUES ($1, $2)";
    transaction.query(sql).bind(org).bind(json).execute().await?;
    Ok(())
}

pub(super) async fn filling(pool: &Pool, org: Uuid) -> Result<Vec<Missing>, StoreError> {
    let sql = "SELECT memories FROM filling WHERE org_id = $1";
    let json: Option<(String,)> = pool.query(sql).bind(org).optional().await?;
    let Some((json,)) = json else { return Ok(Vec::new()) };
    let rows: Vec<(String, Vec<Arc<str>>)> =
        serde_json::from_str(&json).map_err(|_| StoreError::Corrupt("list of memories"))?;
    Ok(rows.into_iter().map(|(memory, rules)| Missing { memory, rules }).collect())
}

/// An encrypted snapshot.
#[derive(Debug, Clone)]
pub struct SnapshotRow {
    /// Its id.
    pub id: Uuid,
    /// The first entry that is not in it.
    pub next_seq: i64,
    /// Its key.
    pub wrapped_key: Vec<u8>,
    /// What is remembered.
    pub ciphertext: Vec<u8>,
}

/// `next_seq`, `snapshot_id`, `parts`, and how many of them there are.
type Listed = (i64, Uuid, i64, i64);

impl Database {
    /// Keeps a snapshot beside the one before it. Older ones go, and those that were not written to the end, as
    /// perhaps an earlier one of the same.
    pub async fn keep_snapshot(&self, org: Uuid, snapshot: &SnapshotRow) -> Result<(), StoreError> {
        let useless = "DELETE FROM memory_snapshots WHERE org_id = $1 AND (next_seq = $2 OR next_seq IN (SELECT next_seq \
                       FROM memory_snapshots WHERE org_id = $1 GROUP BY next_seq HAVING COUNT(*) < MAX(parts)))";
        self.writers().query(useless).bind(org).bind(snapshot.next_seq).execute().await?;
        let parts: Vec<&[u8]> = snapshot.ciphertext.chunks(PART_BYTES).collect();
        let count = i64::try_from(parts.len()).unwrap_or(i64::MAX);
        for (number, part) in (0_i64..).zip(parts) {
            let sql = "INSERT INTO memory_snapshots (org_id, next_seq, part, parts, snapshot_id, wrapped_key, bytes) \
                       VALUES ($1, $2, $3, $4, $5, $6, $7)";
            self.writers()
                .query(sql)
                .bind(org)
                .bind(snapshot.next_seq)
                .bind(number)
                .bind(count)
                .bind(snapshot.id)
                .bind(&snapshot.wrapped_key)
                .bind(part)
                .execute()
                .await?;
        }
        let old = "DELETE FROM memory_snapshots WHERE org_id = $1 AND next_seq NOT IN (SELECT DISTINCT next_seq \
                   FROM memory_snapshots WHERE org_id = $1 ORDER BY next_seq DESC LIMIT $2)";
        self.writers().query(old).bind(org).bind(KEPT).execute().await?;
        Ok(())
    }

    /// Forgets a snapshot that can't be used.
    pub async fn drop_snapshot(&self, org: Uuid, next_seq: i64) -> Result<(), StoreError> {
        let sql = "DELETE FROM memory_snapshots WHERE org_id = $1 AND next_seq = $2";
        self.writers().query(sql).bind(org).bind(next_seq).execute().await?;
        Ok(())
    }

    /// The latest whole snapshot of no more of the ledger than this.
    pub async fn snapshot(&self, org: Uuid, up_to: i64) -> Result<Option<SnapshotRow>, StoreError> {
        let sql = "SELECT next_seq, snapshot_id, parts, COUNT(*) FROM memory_snapshots \
                   WHERE org_id = $1 AND next_seq <= $2 GROUP BY next_seq, snapshot_id, parts ORDER BY next_seq DESC";
        let listed: Vec<Listed> = self.readers().query(sql).bind(org).bind(up_to).all().await?;
        let Some((next_seq, id, ..)) = listed.into_iter().find(|(.., parts, there)| parts == there) else {
            return Ok(None);
        };
        let sql = "SELECT wrapped_key, bytes FROM memory_snapshots \
                   WHERE org_id = $1 AND next_seq = $2 AND snapshot_id = $3 ORDER BY part";
        let parts: Vec<(Vec<u8>, Vec<u8>)> =
            self.readers().query(sql).bind(org).bind(next_seq).bind(id).all().await?;
        let wrapped_key = parts.first().map(|(key, _)| key.clone()).unwrap_or_default();
        let ciphertext = parts.into_iter().flat_map(|(_, bytes)| bytes).collect();
        Ok(Some(SnapshotRow { id, next_seq, wrapped_key, ciphertext }))
    }

    /// The ids of these entries.
    pub async fn entry_ids(&self, org: Uuid, seqs: &[i64]) -> Result<Vec<(i64, Uuid)>, StoreError> {
        let mut ids = Vec::with_capacity(seqs.len());
        for some in seqs.chunks(KEYS_AT_ONCE) {
            let query =
                self.readers().query("SELECT seq, entry_id FROM entries WHERE org_id = ").push_bind(org);
            let query = query.push(" AND seq IN ").push_list(some.iter().copied());
            ids.extend(query.all::<(i64, Uuid)>().await?);
        }
        Ok(ids)
    }
}
