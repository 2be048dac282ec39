//! The bare server's ledger: Lictor's own tables, and one writer that takes all that waits, commits it as one transaction,
//! and only then answers.

mod postgres;
mod sqlite;

use anyhow::{Context, Result};
use tokio::sync::{mpsc, oneshot};

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
/// Decisions in a transaction.
const BATCH: usize = 512;

/// A decision to keep.
pub struct Row {
    pub body: axum::body::Bytes,
    pub decision: &'static str,
    pub rules: usize,
}

impl Row {
    fn id(seq: i64) -> [u8; 16] {
        i128::from(seq).to_be_bytes()
    }

    fn canonical(&self, id: [u8; 16]) -> Vec<u8> {
        let mut canonical = vec![b' '; RECORD_BYTES + RULE_BYTES * self.rules];
        canonical[..16].copy_from_slice(&id);
        canonical
    }

    fn payload(&self) -> Vec<u8> {
        let mut payload = vec![0; PAYLOAD_BYTES + self.body.len()];
        payload[PAYLOAD_BYTES..].copy_from_slice(&self.body);
        payload
    }
}

/// What waits, each with whom to tell that it is durable.
type Waiting = mpsc::Receiver<(Row, oneshot::Sender<()>)>;

/// The way to the writer.
#[derive(Clone)]
pub struct Ledger(mpsc::Sender<(Row, oneshot::Sender<()>)>);

impl Ledger {
    /// In a database of PostgreSQL if `place` is an address of one, otherwise in a file of SQLite.
    pub async fn open(place: &str) -> Result<Ledger> {
        let (rows, waiting) = mpsc::channel(QUEUE);
        if place.starts_with("postgres://") {
            let client = postgres::open(place).await?;
            tokio::spawn(async {
                postgres::write_all(client, waiting).await.expect("the bare ledger takes rows")
            });
        } else {
            let connection = sqlite::open(place)?;
            std::thread::spawn(|| {
                sqlite::write_all(connection, waiting).expect("the bare ledger takes rows")
            });
        }
        Ok(Ledger(rows))
    }

    /// Returns once the row is durable.
    pub async fn keep(&self, row: Row) -> Result<()> {
        let (done, durable) = oneshot::channel();
        self.0.send((row, done)).await.ok().context("the writer is gone")?;
        Ok(durable.await?)
    }
}
