//! Snapshots of what is remembered: what a restart begins from.
//!
//! One is made by folding what came since the one before it, beside the sequencer and not in it. It is encrypted and
//! authenticated under the master key; one that does not open, or was made for other memories, is dropped for the one
//! before it, and without any the ledger is folded from its beginning.

use std::sync::Arc;

use lictor_engine::SEMANTICS;
use lictor_engine::generation::Generation;
use lictor_engine::memory::Memories;
use tokio::sync::Mutex;
use uuid::Uuid;

use super::past::{Past, PastError};
use crate::db::{Database, SnapshotRow, StoreError};
use crate::vault::{CipherError, Sealed, Vault};

/// Bytes in front of a snapshot: the version of the language's meaning, and the first entry that is not in it.
const HEADER: usize = 12;

/// Why a snapshot was not made.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// What it is made from can't be had.
    #[error(transparent)]
    Past(#[from] PastError),
    /// It can't be kept.
    #[error("the snapshot can't be kept")]
    Store(#[from] StoreError),
    /// It can't be written.
    #[error(transparent)]
    Bytes(#[from] lictor_engine::memory::SnapshotError),
    /// It can't be encrypted.
    #[error(transparent)]
    Cipher(#[from] CipherError),
}

/// The snapshots of an org.
#[derive(Debug)]
pub struct Snapshots {
    database: Arc<Database>,
    vault: Arc<Vault>,
    past: Past,
    /// The first entry that is not in the latest snapshot. One is made at a time.
    latest: Mutex<i64>,
}

impl Snapshots {
    /// The snapshots of an org in this database.
    pub fn new(database: Arc<Database>, vault: Arc<Vault>, past: Past) -> Snapshots {
        Snapshots { database, vault, past, latest: Mutex::new(0) }
    }

    /// What was remembered before this entry: the latest good snapshot, and what came after it.
    pub async fn restore(
        &self,
        generation: &Arc<Generation>,
        next_seq: i64,
    ) -> Result<Memories, SnapshotError> {
        let mut latest = self.latest.lock().await;
        let (memories, from) = self.begin(generation, next_seq).await?;
        *latest = from;
        tracing::info!(org = %self.past.org(), from, to = next_seq, "what happened is remembered again");
        Ok(self.past.fold(generation, memories, from..next_seq).await?)
    }

    /// How many entries there are that are not in the latest snapshot.
    pub async fn behind(&self) -> Result<i64, SnapshotError> {
        Ok(self.past.next_seq().await? - *self.latest.lock().await)
    }

    /// Makes a snapshot of what is stored, without asking the sequencer.
    pub async fn advance(&self, generation: &Arc<Generation>) -> Result<(), SnapshotError> {
        let mut latest = self.latest.lock().await;
        let next_seq = self.past.next_seq().await?;
        let (memories, from) = self.begin(generation, next_seq).await?;
        let memories = self.past.fold(generation, memories, from..next_seq).await?;
        if next_seq > from {
            self.keep(&memories, next_seq).await?;
        }
        *latest = next_seq;
        Ok(())
    }

    /// Keeps what was remembered before this entry.
    pub async fn keep_last(&self, memories: &Memories, next_seq: i64) -> Result<(), SnapshotError> {
        let mut latest = self.latest.lock().await;
        if next_seq > *latest {
            self.keep(memories, next_seq).await?;
            *latest = next_seq;
        }
        Ok(())
    }

    async fn keep(&self, memories: &Memories, next_seq: i64) -> Result<(), SnapshotError> {
        let mut bytes = SEMANTICS.to_le_bytes().to_vec();
        bytes.extend(next_seq.to_le_bytes());
        bytes.extend(memories.to_bytes()?);
        let (id, org) = (Uuid::now_v7(), self.past.org());
        let Sealed { wrapped_key, ciphertext, .. } = self.vault.seal(org, id, &bytes)?;
        let size = ciphertext.len();
        self.database.keep_snapshot(org, &SnapshotRow { id, next_seq, wrapped_key, ciphertext }).await?;
        tracing::debug!(%org, next_seq, size, keys = memories.keys(), "a snapshot of memory is kept");
        Ok(())
    }

    /// The latest good snapshot, with everything that these policies ask, and the first entry that is not in it. Later
    /// ones, which are not good, are dropped.
    async fn begin(
        &self,
        generation: &Arc<Generation>,
        up_to: i64,
    ) -> Result<(Memories, i64), SnapshotError> {
        let org = self.past.org();
        while let Some(row) = self.database.snapshot(org, up_to).await? {
            if let Some(mut memories) = self.open(generation, &row) {
                if !memories.missing(generation).is_empty() {
                    let aside = memories.aside(generation);
                    memories.absorb(self.past.fold(generation, aside, 0..row.next_seq).await?);
                }
                return Ok((memories, row.next_seq));
            }
            tracing::warn!(%org, next_seq = row.next_seq, "a snapshot of memory can't be used and is dropped");
            self.database.drop_snapshot(org, row.next_seq).await?;
        }
        Ok((Memories::new(generation), 0))
    }

    fn open(&self, generation: &Arc<Generation>, row: &SnapshotRow) -> Option<Memories> {
        let SnapshotRow { id, next_seq, wrapped_key, ciphertext } = row;
        let bytes = self.vault.unseal(self.past.org(), *id, wrapped_key, ciphertext).ok()?;
        let (header, bytes) = bytes.split_at_checked(HEADER)?;
        let mut expected = SEMANTICS.to_le_bytes().to_vec();
        expected.extend(next_seq.to_le_bytes());
        (header == expected).then(|| Memories::from_bytes(bytes, generation).ok())?
    }
}
