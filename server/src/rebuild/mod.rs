//! Everything beside a ledger that follows from it: made from the entries again, and compared with what is stored.
//!
//! Tables are indexes over the ledger, written in the same transaction. Who changes one behind the server's back leaves
//! the ledger whole: this finds it. What does not follow from entries is not looked at; `docs/ledger.md` lists it.

mod compare;
mod fold;
mod record;

use std::collections::HashMap;
use std::fmt;

use lictor_dsl::number::Number;
use serde_json::Value;
use uuid::Uuid;

use crate::db::{CheckpointRow, Database, EntryRow, JudgedRow, Store, StoreError};
use crate::ledger::checkpoint::origin;
use crate::ledger::erasure::{Erasure, Named};
use crate::ledger::note::PublicKey;
use crate::ledger::tree::{Edge, FullTile, leaf};
use crate::ledger::{Head, StoredEntry, Verified, verify};
use crate::vault::{Bytes32, Vault, hex};
use fold::{Rebuilt, read};
use record::{Common, Judged};

/// Entries that are read at once.
const ENTRIES_AT_ONCE: i64 = 1_000;
/// How often it is tried to read the tables while nothing is written.
const TRIES: usize = 50;

/// A row that is not what follows from the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Its table.
    pub table: &'static str,
    /// Which row.
    pub row: String,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.table, self.row, self.what)
    }
}

/// What a comparison found.
#[derive(Debug, Default)]
pub struct Compared {
    /// Entries that were read.
    pub entries: i64,
    /// Rows that were compared with what follows from them.
    pub rows: usize,
    /// What is not as it should be.
    pub differences: Vec<Difference>,
}

/// Why there is no comparison.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something was written all the time.
    #[error("something is written all the time: compare a copy of it (lictor backup, lictor restore)")]
    Busy,
}

/// Compares what is stored of an org with what follows from its ledger. Payloads are read if there is a vault.
pub async fn compare(
    database: &Database,
    vault: Option<&Vault>,
    org: Uuid,
    mut step: impl FnMut(),
) -> Result<Compared, RebuildError> {
    let mut rebuild = Rebuild::new(database, vault, org).await?;
    for _ in 0..TRIES {
        rebuild.read(&mut step).await?;
        let stored = database.stored(org).await?;
        if rebuild.is_broken || (stored.head == rebuild.head && database.head(org).await? == rebuild.head) {
            return rebuild.finish(stored).await;
        }
        if stored.head.next_seq <= rebuild.head.next_seq {
            let what = format!("is {:?}, the ledger ends at {:?}", shown(stored.head), shown(rebuild.head));
            rebuild.say("heads", org, what);
            return rebuild.finish(stored).await;
        }
    }
    Err(RebuildError::Busy)
}

fn shown(head: Head) -> (i64, String, i64) {
    (head.next_seq, hex(&head.hash), head.at_us)
}

/// A comparison under way.
struct Rebuild<'a> {
    database: &'a Database,
    vault: Option<&'a Vault>,
    org: Uuid,
    erasures: Vec<Erasure>,
    /// The roots of all checkpoints, by size.
    checkpoints: HashMap<u64, Vec<CheckpointRow>>,
    head: Head,
    edge: Edge,
    rebuilt: Rebuilt,
    found: Compared,
    /// Whether the chain does not go on.
    is_broken: bool,
}

impl<'a> Rebuild<'a> {
    async fn new(
        database: &'a Database,
        vault: Option<&'a Vault>,
        org: Uuid,
    ) -> Result<Rebuild<'a>, StoreError> {
        let mut checkpoints: HashMap<u64, Vec<CheckpointRow>> = HashMap::new();
        for row in database.checkpoints_from(org, 0).await? {
            checkpoints.entry(row.size).or_default().push(row);
        }
        let (head, edge, rebuilt, found) =
            (Head::EMPTY, Edge::default(), Rebuilt::default(), Compared::default());
        let erasures = Vec::new();
        Ok(Rebuild {
            database,
            vault,
            org,
            erasures,
            checkpoints,
            head,
            edge,
            rebuilt,
            found,
            is_broken: false,
        })
    }

    fn say(&mut self, table: &'static str, row: impl fmt::Display, what: impl Into<String>) {
        self.found.differences.push(Difference { table, row: row.to_string(), what: what.into() });
    }

    /// Reads on to the end of the ledger.
    async fn read(&mut self, step: &mut impl FnMut()) -> Result<(), StoreError> {
        let Rebuild { database, org, .. } = *self;
        while !self.is_broken {
            let after = self.head.next_seq - 1;
            let entries = database.entries(org, after, ENTRIES_AT_ONCE).await?;
            let Some(last) = entries.last().map(|entry| entry.seq) else { break };
            let limit = usize::try_from(ENTRIES_AT_ONCE).unwrap_or(usize::MAX);
            let payloads = database.judged(org, after + 1..last + 1, limit).await?;
            if payloads.iter().any(|row| row.wrapped_key.is_none()) {
                // After the payloads: what is no longer there by then has its erasure among these.
                self.erasures = database.erasures(org).await?;
            }
            let mut payloads: HashMap<i64, JudgedRow> =
                payloads.into_iter().map(|row| (row.seq, row)).collect();
            for entry in entries {
                step();
                let payload = payloads.remove(&entry.seq);
                if !self.entry(&entry, payload.as_ref()).await? {
                    self.is_broken = true;
                    break;
                }
            }
        }
        Ok(())
    }

    /// Takes in an entry. False if it does not follow from the one before it.
    async fn entry(&mut self, entry: &EntryRow, payload: Option<&JudgedRow>) -> Result<bool, StoreError> {
        let hash = |bytes: &[u8]| Bytes32::try_from(bytes).map_err(|_| StoreError::Corrupt("entry"));
        let stored = StoredEntry {
            seq: entry.seq,
            canonical: entry.canonical.clone(),
            hash: hash(&entry.hash)?,
            prev_hash: hash(&entry.prev_hash)?,
        };
        match verify(self.head, [stored]) {
            Verified::Ok(head) => self.head = head,
            found => {
                self.say("entries", entry.seq, format!("the chain breaks: {found:?}"));
                return Ok(false);
            }
        }
        self.found.entries = self.head.next_seq;
        self.tree(&entry.canonical).await?;
        let common: Common = match read(&entry.canonical) {
            Ok(common) => common,
            Err(what) => {
                self.say("entries", entry.seq, what);
                return Ok(true);
            }
        };
        self.columns(entry, &common);
        let said = match &common.decision {
            Some(_) => self.payload(entry, payload),
            None => None,
        };
        if let Err(what) = self.rebuilt.add(&common, &entry.canonical, said) {
            self.say("entries", entry.seq, what);
        }
        Ok(true)
    }

    /// The columns that entries are searched by.
    fn columns(&mut self, entry: &EntryRow, record: &Common) {
        let decided = record.decision.as_ref();
        let columns = [
            ("entry_id", entry.entry_id == record.id),
            ("kind", entry.kind == record.kind),
            ("source", entry.source == record.source),
            ("agent_id", entry.agent_id == record.agent),
            ("task", entry.task == record.task),
            ("actor", entry.actor == record.actor),
            ("action", entry.action == record.action),
            ("outcome", entry.outcome.as_deref() == decided.map(|decided| decided.outcome.as_str())),
            ("risk", entry.risk == decided.and_then(|decided| billionths(&decided.risk))),
            ("at", entry.at == record.at),
        ];
        self.found.rows += 1;
        for (column, _) in columns.iter().filter(|(_, same)| !same) {
            self.say("entries", entry.seq, format!("`{column}` is not what the entry says"));
        }
    }

    /// Whether the payload is what the entry says, or was erased. The agent as it was, if that can be read.
    fn payload(&mut self, entry: &EntryRow, payload: Option<&JudgedRow>) -> Option<Value> {
        let named: Named = serde_json::from_slice(&entry.canonical).ok()?;
        let is_erased = self.erasures.iter().any(|erasure| erasure.covers(entry.seq, &named));
        let sealed = payload.and_then(|row| row.wrapped_key.as_deref().zip(row.ciphertext.as_deref()));
        let (wrapped_key, ciphertext) = match (sealed, is_erased) {
            (Some(sealed), false) => sealed,
            (None, true) => return None,
            (Some(_), true) => {
                self.say("payloads", entry.seq, "is there, though it was erased");
                return None;
            }
            (None, false) => {
                self.say("payloads", entry.seq, "is missing, and no erasure says so");
                return None;
            }
        };
        let vault = self.vault?;
        self.found.rows += 1;
        let Ok(plain) = vault.unseal(self.org, entry.entry_id, wrapped_key, ciphertext) else {
            self.say("payloads", entry.seq, "does not open with the master key");
            return None;
        };
        let digest = vault.digest(self.org, entry.entry_id, wrapped_key, &plain).ok()?;
        let says = read::<Judged>(&entry.canonical).ok()?.payload;
        if says != format!("hmac-sha256:{}", hex(&digest)) {
            self.say("payloads", entry.seq, "is not what the entry says");
            return None;
        }
        // Only of registrations anything follows.
        let agent = || serde_json::from_slice::<Value>(&plain).ok()?.get("agent").cloned();
        (entry.kind == "registration").then(agent)?
    }

    /// The tree: tiles that are stored, and checkpoints of this size.
    async fn tree(&mut self, canonical: &[u8]) -> Result<(), StoreError> {
        let mut filled = Vec::new();
        self.edge.push(leaf(canonical), |tile| filled.push(tile));
        for FullTile { place, hashes } in filled {
            // One that is missing is made again when it is needed.
            for stored in self.database.ledger_tiles(self.org, &[place]).await? {
                self.found.rows += 1;
                if stored.hashes != hashes {
                    let row = format!("{} of level {}", place.index, place.level);
                    self.say("ledger_tiles", row, "is not what the entries give");
                }
            }
        }
        let size = self.edge.size();
        let Some(signed) = self.checkpoints.remove(&size) else { return Ok(()) };
        let root = self.edge.root();
        for _ in signed.iter().filter(|row| row.root != root) {
            self.say("ledger_checkpoints", size, "has another root than the entries give");
        }
        self.found.rows += signed.len();
        Ok(())
    }

    async fn finish(mut self, stored: crate::db::Stored) -> Result<Compared, RebuildError> {
        if self.is_broken {
            return Ok(self.found);
        }
        let mut too_large: Vec<u64> = self.checkpoints.keys().copied().collect();
        too_large.sort_unstable();
        for size in too_large {
            self.say("ledger_checkpoints", size, "is of more entries than there are");
        }
        if let Some(announced) = self.rebuilt.ledger_key.take() {
            let keys = self.database.ledger_keys(self.org).await?;
            let current = keys.iter().find(|key| key.is_current);
            let current = current.map(|key| PublicKey::new(origin(self.org), key.public).to_string());
            if current.as_ref() != Some(&announced) {
                self.say("ledger_keys", announced, "was announced last, and is not the key in use");
            }
        }
        self.found.rows += compare::compare(stored, &self.rebuilt, &mut self.found.differences);
        Ok(self.found)
    }
}

/// A risk as its column has it.
fn billionths(risk: &str) -> Option<i64> {
    let risk: Number = risk.parse().ok()?;
    i64::try_from(risk.billionths()).ok()
}
