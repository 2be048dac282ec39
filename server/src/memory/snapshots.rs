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
    /// The thread that makes or reads it died.
    #[error("making or reading a snapshot stopped")]
    Crashed,
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
            self.keep(memories, next_seq).await?;
        }
        *latest = next_seq;
        Ok(())
    }

    /// Keeps what was remembered before this entry.
    pub async fn keep_last(&self, memories: Memories, next_seq: i64) -> Result<(), SnapshotError> {
        let mut latest = self.latest.lock().await;
        if next_seq > *latest {
            self.keep(memories, next_seq).await?;
            *latest = next_seq;
        }
        Ok(())
    }

    async fn keep(&self, memories: Memories, next_seq: i64) -> Result<(), SnapshotError> {
        let (id, org, vault) = (Uuid::now_v7(), self.past.org(), Arc::clone(&self.vault));
        let seal = move || -> Result<Sealed, SnapshotError> {
            let mut bytes = header(next_seq);
            bytes.extend(memories.to_bytes()?);
            Ok(vault.seal(org, id, &bytes)?)
        };
        let Sealed { wrapped_key, ciphertext, .. } = off_the_request_path(seal).await??;
        let bytes = ciphertext.len();
        self.database.keep_snapshot(org, &SnapshotRow { id, next_seq, wrapped_key, ciphertext }).await?;
        tracing::debug!(%org, next_seq, bytes, "a snapshot of memory is kept");
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
            let next_seq = row.next_seq;
            if let Some(mut memories) = self.open(generation, row).await? {
                if !memories.missing(generation).is_empty() {
                    let aside = memories.aside(generation);
                    memories.absorb(self.past.fold(generation, aside, 0..next_seq).await?);
                }
                return Ok((memories, next_seq));
            }
            tracing::warn!(%org, next_seq, "a snapshot of memory can't be used and is dropped");
            self.database.drop_snapshot(org, next_seq).await?;
        }
        Ok((Memories::new(generation), 0))
    }

    async fn open(
        &self,
        generation: &Arc<Generation>,
        row: SnapshotRow,
    ) -> Result<Option<Memories>, SnapshotError> {
        let (vault, org, generation) = (Arc::clone(&self.vault), self.past.org(), Arc::clone(generation));
        off_the_request_path(move || {
            let bytes = vault.unseal(org, row.id, &row.wrapped_key, &row.ciphertext).ok()?;
            let (head, bytes) = bytes.split_at_checked(HEADER)?;
            (head == header(row.next_seq)).then(|| Memories::from_bytes(bytes, &generation).ok())?
        })
        .await
    }
}

fn header(next_seq: i64) -> Vec<u8> {
    let mut header = SEMANTICS.to_le_bytes().to_vec();
    header.extend(next_seq.to_le_bytes());
    header
}

async fn off_the_request_path<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, SnapshotError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| SnapshotError::Crashed)
}
