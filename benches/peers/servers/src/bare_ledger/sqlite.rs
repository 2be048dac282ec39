//! Rows to a file of SQLite, by a thread of its own.

use anyhow::Result;
use rusqlite::{CachedStatement, Connection, TransactionBehavior, params};

use super::{ACTOR, AGENT, BATCH, HASH, ORG, Row, TASK, TOOL, WRAPPED_KEY, Waiting};

/// The tables and indexes that Lictor writes to for a decision.
const TABLES: &str = include_str!("../../../../../server/migrations/sqlite/0001_the_first_tables.sql");

pub fn open(path: &str) -> Result<Connection> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.execute_batch(TABLES)?;
    connection.execute("INSERT INTO orgs VALUES (?1, 'acme', 0)", params![ORG])?;
    connection.execute("INSERT INTO heads VALUES (?1, 0, ?2, 0)", params![ORG, HASH])?;
    Ok(connection)
}

pub fn write_all(mut connection: Connection, mut waiting: Waiting) -> Result<()> {
    let mut seq = 0_i64;
    let mut batch = Vec::new();
    while waiting.blocking_recv_many(&mut batch, BATCH) > 0 {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let mut entries = transaction.prepare_cached(
                "INSERT INTO entries (org_id, seq, entry_id, canonical, hash, prev_hash, kind, source, agent_id, task, actor, \
                 action, outcome, risk, at) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?5, 'action', '/api/v1/decisions', ?6, ?7, ?8, ?9, ?10, 0, ?2)",
            )?;
            let mut payloads = transaction.prepare_cached(
                "INSERT INTO payloads (org_id, entry_id, wrapped_key, ciphertext) VALUES (?1, ?2, ?3, ?4)",
            )?;
            for (row, _) in &batch {
                insert(&mut entries, &mut payloads, row, seq)?;
                seq += 1;
            }
            transaction
                .prepare_cached("UPDATE heads SET next_seq = ?1, hash = ?2, at = ?1 WHERE org_id = ?3")?
                .execute(params![seq, HASH, ORG])?;
        }
        transaction.commit()?;
        for (_, done) in batch.drain(..) {
            // Who asked may have left.
            let _ = done.send(());
        }
    }
    Ok(())
}

fn insert(
    entries: &mut CachedStatement<'_>,
    payloads: &mut CachedStatement<'_>,
    row: &Row,
    seq: i64,
) -> Result<()> {
    let id = Row::id(seq);
    entries.execute(params![
        ORG,
        seq,
        id,
        row.canonical(id),
        HASH,
        AGENT,
        TASK,
        ACTOR,
        TOOL,
        row.decision
    ])?;
    payloads.execute(params![ORG, id, WRAPPED_KEY, row.payload()])?;
    Ok(())
}
