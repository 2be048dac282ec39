//! A ledger audited as it is stored: its chain, its head, and every checkpoint that was signed of it.

use uuid::Uuid;

use crate::db::{CheckpointRow, Database, StoreError};
use crate::ledger::audit::{Audit, Report};
use crate::ledger::checkpoint::{Checkpoint, origin};
use crate::ledger::note::{Note, PublicKey, Signature};

/// Entries that are read at once.
const ENTRIES_AT_ONCE: i64 = 1_000;

/// What an audit of a stored ledger found.
#[derive(Debug)]
pub struct StoredReport {
    /// What whoever has the export, the keys and all checkpoints finds.
    pub report: Report,
    /// Whether it ends where the org's head says.
    pub ends_at_head: bool,
}

/// Audits the ledger of an org, entry by entry. The keys are those that are stored beside it: this shows what was damaged,
/// not what was forged by somebody who has them.
pub async fn audit(
    database: &Database,
    org: Uuid,
    mut step: impl FnMut(),
) -> Result<StoredReport, StoreError> {
    let head = database.head(org).await?;
    let keys = database.ledger_keys(org).await?;
    let keys: Vec<_> = keys.iter().map(|row| (row.id, PublicKey::new(origin(org), row.public))).collect();
    let checkpoints = database.checkpoints_from(org, 0).await?;
    let notes: Vec<_> = checkpoints.into_iter().map(|row| note(org, row, &keys)).collect();
    let keys: Vec<_> = keys.into_iter().map(|(_, key)| key).collect();
    let mut audit = Audit::new(&keys, &notes);
    let mut after = -1;
    loop {
        let entries = database.stored_entries(org, after, ENTRIES_AT_ONCE).await?;
        let Some(last) = entries.last() else { break };
        after = last.seq;
        if !entries.iter().all(|entry| {
            step();
            audit.entry(&entry.into())
        }) {
            break;
        }
    }
    let ends_at_head = audit.head() == head;
    Ok(StoredReport { report: audit.finish(), ends_at_head })
}

/// A checkpoint as it was signed. A signature by a key that is not there is left out.
fn note(org: Uuid, row: CheckpointRow, keys: &[(Uuid, PublicKey)]) -> Note {
    let CheckpointRow { size, root, signatures } = row;
    let signature = |(id, bytes): (Uuid, Vec<u8>)| {
        let (_, key) = keys.iter().find(|(known, _)| *known == id)?;
        Some(Signature::of(key, bytes))
    };
    let signatures = signatures.into_iter().map(|one| (one.key, one.bytes)).filter_map(signature).collect();
    Note { text: Checkpoint { origin: origin(org), size, root }.text(), signatures }
}
