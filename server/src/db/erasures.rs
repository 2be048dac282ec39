//! Erasing: which entries still have content, and taking it away from every table that has a copy.

use std::ops::Range;

use sqlx::FromRow;
use uuid::Uuid;

use super::StoreError;
use super::database::Database;
use super::sql::{KEYS_AT_ONCE, Pool, Transaction};
use crate::ledger::erasure::{Erasure, Subject};

/// Entries that one request may name.
pub const MAX_EVENTS: usize = KEYS_AT_ONCE;

/// An entry whose content can be erased.
#[derive(Debug, Clone, FromRow)]
pub struct ErasableRow {
    /// Its place.
    pub seq: i64,
    /// Its id.
    pub entry_id: Uuid,
    /// What kind it is of.
    pub kind: String,
    /// Its agent.
    pub agent_id: Option<Uuid>,
    /// When it was.
    pub at: i64,
    /// What was hashed.
    pub canonical: Vec<u8>,
}

/// Those of these entries that have content of this subject, in order, at most so many.
pub(super) async fn erasable(
    pool: &Pool,
    org: Uuid,
    subject: &Subject,
    entries: Range<i64>,
    limit: i64,
) -> Result<Vec<ErasableRow>, StoreError> {
    let query = pool.query(
        "SELECT e.seq, e.entry_id, e.kind, e.agent_id, e.at, e.canonical FROM entries e WHERE e.org_id = ",
    );
    let query = query.push_bind(org).push(" AND e.seq >= ").push_bind(entries.start);
    let query = query.push(" AND e.seq < ").push_bind(entries.end);
    let query = match subject {
        Subject::Events(ids) => query.push(" AND e.entry_id IN ").push_list(ids.iter().copied()),
        Subject::Agent(id) => query.push(" AND e.agent_id = ").push_bind(*id),
        Subject::Task(task) => query.push(" AND e.task = ").push_bind(task.as_str()),
        Subject::Actor(actor) => query.push(" AND e.actor = ").push_bind(actor.as_str()),
    };
    let query = query.push(
        " AND EXISTS (SELECT 1 FROM payloads p WHERE p.org_id = e.org_id AND p.entry_id = e.entry_id) ORDER BY e.seq LIMIT ",
    );
    query.push_bind(limit).all().await
}

/// Takes away the content of these entries, and whatever was made of it that can't be told apart.
pub(super) async fn erase(
    transaction: &mut Transaction,
    org: Uuid,
    entries: &[Uuid],
) -> Result<(), StoreError> {
    for some in entries.chunks(KEYS_AT_ONCE) {
        let payloads = transaction.query("DELETE FROM payloads WHERE org_id = ").push_bind(org);
        payloads.push(" AND entry_id IN ").push_list(some.iter().copied()).execute().await?;
        // A digest of what can be guessed says what it was. No request has this one.
        let intents =
            transaction.query("UPDATE intents SET request_digest = ").push_bind([0_u8; 32].to_vec());
        let intents = intents.push(" WHERE org_id = ").push_bind(org);
        intents.push(" AND intent_id IN ").push_list(some.iter().copied()).execute().await?;
    }
    // What was answered about them, and about any incident, whose title may quote them: a request that comes again is a
    // new one.
    let answers = "DELETE FROM answers WHERE org_id = $1 AND EXISTS (SELECT 1 FROM entries e WHERE e.org_id = answers.org_id \
                   AND e.seq BETWEEN answers.first_seq AND answers.last_seq AND (e.kind = 'incident' OR e.outcome IS NOT NULL AND \
                   NOT EXISTS (SELECT 1 FROM payloads p WHERE p.org_id = e.org_id AND p.entry_id = e.entry_id)))";
    transaction.query(answers).bind(org).execute().await?;
    transaction.query("DELETE FROM memory_snapshots WHERE org_id = $1").bind(org).execute().await?;
    Ok(())
}

/// Every erasure of an org.
pub(super) async fn erasures(pool: &Pool, org: Uuid) -> Result<Vec<Erasure>, StoreError> {
    let sql = "SELECT seq, canonical FROM entries WHERE org_id = $1 AND kind = 'erasure' ORDER BY seq";
    let rows: Vec<(i64, Vec<u8>)> = pool.query(sql).bind(org).all().await?;
    rows.into_iter()
        .map(|(seq, canonical)| Erasure::of(seq, &canonical).ok_or(StoreError::Corrupt("erasure")))
        .collect()
}

impl Database {
    /// The number of the latest erasure of an org; -1 if there is none.
    pub async fn last_erasure(&self, org: Uuid) -> Result<i64, StoreError> {
        let sql = "SELECT MAX(seq) FROM entries WHERE org_id = $1 AND kind = 'erasure'";
        let (seq,): (Option<i64>,) = self.readers().query(sql).bind(org).one().await?;
        Ok(seq.unwrap_or(-1))
    }

    /// Those of these entries that the org has.
    pub async fn known_entries(&self, org: Uuid, ids: &[Uuid]) -> Result<Vec<Uuid>, StoreError> {
        let mut known = Vec::with_capacity(ids.len());
        for some in ids.chunks(KEYS_AT_ONCE) {
            let query = self.readers().query("SELECT entry_id FROM entries WHERE org_id = ").push_bind(org);
            let rows: Vec<(Uuid,)> =
                query.push(" AND entry_id IN ").push_list(some.iter().copied()).all().await?;
            known.extend(rows.into_iter().map(|(id,)| id));
        }
        Ok(known)
    }
}
