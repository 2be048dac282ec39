//! Several servers on one database: whose turn it is to write, and what others wrote.

use std::any::Any;
use std::collections::BTreeSet;

use serde::Deserialize;
use sqlx::FromRow;
use uuid::Uuid;

use super::database::{Database, bytes32};
use super::sql::{Pool, Transaction};
use super::{StoreError, accounts, agents, incidents};
use crate::accounts::keys::ApiKey;
use crate::agents::Agent;
use crate::incidents::Incident;
use crate::ledger::Head;
use crate::vault::Bytes32;

/// An org's turn to write: while it lasts, nobody else moves the org's ledger. It is given up when it is dropped.
#[derive(Debug)]
pub struct Turn {
    /// Where the ledger stands, if somebody else could have moved it.
    pub head: Option<Head>,
    pub(super) held: Held,
}

/// What a turn holds.
#[derive(Debug)]
pub(super) enum Held {
    Nothing,
    Transaction(Transaction),
    /// Of a store that is no database.
    #[expect(dead_code, reason = "it is held, and nothing else")]
    Other(Box<dyn Any + Send>),
}

impl Turn {
    /// Where nobody else writes, it is always one's turn.
    pub fn alone() -> Turn {
        Turn { head: None, held: Held::Nothing }
    }

    /// The turn of a store that is no database: it lasts as long as this is held.
    pub fn holding(head: Head, held: impl Any + Send) -> Turn {
        Turn { head: Some(head), held: Held::Other(Box::new(held)) }
    }
}

/// What others changed.
#[derive(Debug, Default)]
pub struct Changed {
    /// The hash of the entry before the first of them.
    pub after: Option<Bytes32>,
    /// Where the ledger stands after it; none if nothing changed.
    pub head: Option<Head>,
    /// Agents as they are now.
    pub agents: Vec<Agent>,
    /// Incidents as they are now.
    pub incidents: Vec<Incident>,
    /// Tasks that went on.
    pub tasks: BTreeSet<String>,
    /// All live keys of the org, if one changed.
    pub keys: Option<Vec<ApiKey>>,
    /// Whether policies changed, or rules were let decide.
    pub policies: bool,
    /// The latest of them that erased something.
    pub erasure: Option<i64>,
}

/// What an entry says about what it changed.
#[derive(FromRow)]
struct Row {
    seq: i64,
    hash: Vec<u8>,
    prev_hash: Vec<u8>,
    at: i64,
    kind: String,
    agent_id: Option<Uuid>,
    task: Option<String>,
    canonical: Vec<u8>,
}

/// The incidents and agents that an entry names.
#[derive(Deserialize)]
struct Named {
    /// Those that its event opened or added to.
    #[serde(default)]
    incidents: Vec<Touched>,
    /// The one that somebody moved on.
    #[serde(default)]
    incident: Option<Uuid>,
    /// Agents whose registration was erased.
    #[serde(default)]
    agents: Vec<Uuid>,
}

#[derive(Deserialize)]
struct Touched {
    id: Uuid,
}

/// Locks the head of an org until the turn is given up.
pub(super) async fn turn(writers: &Pool, org: Uuid) -> Result<Turn, StoreError> {
    if let Pool::Sqlite(..) = writers {
        return Ok(Turn::alone());
    }
    let mut transaction = writers.begin().await?;
    let sql = "SELECT next_seq, hash, at FROM heads WHERE org_id = $1 FOR UPDATE";
    let (next_seq, hash, at_us): (i64, Vec<u8>, i64) = transaction.query(sql).bind(org).one().await?;
    let head = Head { next_seq, hash: bytes32(&hash, "head")?, at_us };
    Ok(Turn { head: Some(head), held: Held::Transaction(transaction) })
}

/// What the entries from this one on changed. For whoever has the org's turn: what is read belongs together.
pub(super) async fn changed(readers: &Pool, org: Uuid, from: i64, limit: i64) -> Result<Changed, StoreError> {
    let sql = "SELECT seq, hash, prev_hash, at, kind, agent_id, task, canonical FROM entries \
               WHERE org_id = $1 AND seq >= $2 ORDER BY seq LIMIT $3";
    let rows: Vec<Row> = readers.query(sql).bind(org).bind(from).bind(limit).all().await?;
    let mut changed = Changed::default();
    let (mut agents, mut incidents, mut keys) = (BTreeSet::new(), BTreeSet::new(), false);
    for (seq, row) in (from..).zip(rows) {
        let prev_hash = bytes32(&row.prev_hash, "entry")?;
        if row.seq != seq || changed.head.is_some_and(|head| head.hash != prev_hash) {
            return Err(StoreError::Corrupt("ledger"));
        }
        changed.after.get_or_insert(prev_hash);
        let named: Named =
            serde_json::from_slice(&row.canonical).map_err(|_| StoreError::Corrupt("entry"))?;
        incidents.extend(named.incidents.into_iter().map(|touched| touched.id).chain(named.incident));
        agents.extend(named.agents);
        match row.kind.as_str() {
            "registration" => agents.extend(row.agent_id),
            "policy" => changed.policies = true,
            "key" => keys = true,
            "erasure" => changed.erasure = Some(row.seq),
            "log" => changed.tasks.extend(row.task),
            _ => {}
        }
        changed.head =
            Some(Head { next_seq: row.seq + 1, hash: bytes32(&row.hash, "entry")?, at_us: row.at });
    }
    let (agents, incidents): (Vec<_>, Vec<_>) =
        (agents.into_iter().collect(), incidents.into_iter().collect());
    changed.agents = agents::some(readers, org, &agents).await?;
    changed.incidents = incidents::some(readers, org, &incidents).await?;
    if keys {
        changed.keys = Some(accounts::live_keys(readers, Some(org)).await?);
    }
    Ok(changed)
}

impl Database {
    /// Whether other servers may use it at the same time.
    pub fn is_shared(&self) -> bool {
        matches!(self.readers(), Pool::Postgres(_))
    }

    /// Every org, and the number that its next entry will have.
    pub async fn heads(&self) -> Result<Vec<(Uuid, i64)>, StoreError> {
        self.readers().query("SELECT org_id, next_seq FROM heads").all().await
    }
}
