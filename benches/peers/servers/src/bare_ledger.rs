//! The bare server's ledger: SQLite with Lictor's own tables, one thread that takes all that waits, commits it as one
//! transaction, and only then answers.

use std::path::Path;

use anyhow::{Context, Result};
use rusqlite::{CachedStatement, Connection, TransactionBehavior, params};
use tokio::sync::{mpsc, oneshot};

/// The tables and indexes that Lictor writes to for a decision.
const TABLES: &str = include_str!("../../../../server/migrations/sqlite/0001_the_first_tables.sql");
const ORG: [u8; 16] = [7; 16];
const AGENT: [u8; 16] = [8; 16];
const HASH: [u8; 32] = [9; 32];
const ACTOR: &str = "key:0198c0de-0000-7000-8000-000000000000";
const TASK: &str = "task-5000";
const TOOL: &str = "tool_7";
/// What a wrapped key takes.
const WRAPPED_KEY: [u8; 60] = [10; 60];
/// What an entry says beside the rules that matched, and what each of them adds.
const RECORD_BYTES: usize = 589;
const RULE_BYTES: usize = 82;
/// What is kept beside the event: the agent as it was, a nonce and a tag.
const PAYLOAD_BYTES: usize = 226;
/// Requests that may wait.
const QUEUE: usize = 4_096;

/// A decision to keep.
pub struct Row {
    pub body: axum::body::Bytes,
    pub decision: &'static str,
    pub rules: usize,
}

/// The way to the thread that writes.
#[derive(Clone)]
pub struct Ledger(mpsc::Sender<(Row, oneshot::Sender<()>)>);

impl Ledger {
    pub fn open(path: &Path) -> Result<Ledger> {
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.execute_batch(TABLES)?;
        connection.execute("INSERT INTO orgs VALUES (?1, 'acme', 0)", params![ORG])?;
        connection.execute("INSERT INTO heads VALUES (?1, 0, ?2, 0)", params![ORG, HASH])?;
        let (rows, waiting) = mpsc::channel(QUEUE);
        std::thread::spawn(move || write_all(connection, waiting).expect("the bare ledger takes rows"));
        Ok(Ledger(rows))
    }

    /// Returns once the row is durable.
    pub async fn keep(&self, row: Row) -> Result<()> {
        let (done, durable) = oneshot::channel();
        self.0.send((row, done)).await.ok().context("the writer is gone")?;
        Ok(durable.await?)
    }
}

fn write_all(
    mut connection: Connection,
    mut waiting: mpsc::Receiver<(Row, oneshot::Sender<()>)>,
) -> Result<()> {
    let mut seq = 0_i64;
    let mut batch = Vec::new();
    while waiting.blocking_recv_many(&mut batch, 512) > 0 {
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
    let id = u128::try_from(seq)?.to_be_bytes();
    let mut canonical = vec![b' '; RECORD_BYTES + RULE_BYTES * row.rules];
    canonical[..16].copy_from_slice(&id);
    entries.execute(params![ORG, seq, id, canonical, HASH, AGENT, TASK, ACTOR, TOOL, row.decision])?;
    let mut payload = vec![0; PAYLOAD_BYTES + row.body.len()];
    payload[PAYLOAD_BYTES..].copy_from_slice(&row.body);
    payloads.execute(params![ORG, id, WRAPPED_KEY, payload])?;
    Ok(())
}
