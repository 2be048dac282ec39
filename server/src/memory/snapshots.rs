//! Snapshots of what is remembered: what a restart begins from.
//!
//! One is made by folding what came since the one before it, beside the sequencer and not in it. It is encrypted and
//! authenticated under the master key, and names the entry that it ends with by its hash. One that does not open, was made
//! for other memories, from another ledger, or before something was erased, is dropped for the one before it, and without
//! any the ledger is folded from its beginning.

use std::sync::Arc;

use lictor_engine::SEMANTICS;
use lictor_engine::generation::Generation;
use lictor_engine::memory::Memories;
use tokio::sync::Mutex;
use uuid::Uuid;

use super::past::{Past, PastError};
use crate::db::{Database, SnapshotRow, StoreError};
use crate::ledger::Head;
use crate::vault::{Bytes32, CipherError, Sealed, Vault};

/// Bytes in front of a snapshot: see [`Basis::header`].
const HEADER: usize = 52;
/// Where a start had to fold so many entries, it keeps what it remembers: a server that does not live long enough to make a
/// snapshot would take longer for each start.
const FOLDED_AT_START: i64 = 5_000;

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
        let org = self.past.org();
        tracing::info!(%org, from, to = next_seq, "what happened is remembered again");
        let memories = self.past.fold(generation, memories, from..next_seq).await?;
        if next_seq - from < FOLDED_AT_START {
            return Ok(memories);
        }
        let (memories, bytes) = off_the_request_path(move || {
            let bytes = memories.to_bytes();
            (memories, bytes)
        })
        .await?;
        let kept = async { self.keep_stored(bytes?, next_seq).await };
        match kept.await {
            Ok(()) => *latest = next_seq,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(%org, error, "a snapshot of memory was not made");
            }
        }
        Ok(memories)
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
            self.keep_stored(written(memories).await?, next_seq).await?;
        }
        *latest = next_seq;
        Ok(())
    }

    /// Keeps what was remembered of the entries that are stored before this one.
    async fn keep_stored(&self, memories: Vec<u8>, next_seq: i64) -> Result<(), SnapshotError> {
        let hash = self.hash_before(next_seq).await?.ok_or(StoreError::Corrupt("ledger"))?;
        self.keep(memories, Basis { next_seq, begun: next_seq, hash }).await
    }

    /// Keeps what was remembered when the ledger stood here.
    pub async fn keep_last(&self, memories: Memories, head: Head) -> Result<(), SnapshotError> {
        let Head { next_seq, hash, .. } = head;
        let mut latest = self.latest.lock().await;
        if next_seq > *latest {
            self.keep(written(memories).await?, Basis { next_seq, begun: next_seq, hash }).await?;
            *latest = next_seq;
        }
        Ok(())
    }

    async fn keep(&self, memories: Vec<u8>, basis: Basis) -> Result<(), SnapshotError> {
        let (id, org, vault) = (Uuid::now_v7(), self.past.org(), Arc::clone(&self.vault));
        let next_seq = basis.next_seq;
        let seal = move || -> Result<Sealed, SnapshotError> {
            let mut bytes = basis.header();
            bytes.extend(memories);
            Ok(vault.seal(org, id, &bytes)?)
        };
        let Sealed { wrapped_key, ciphertext, .. } = off_the_request_path(seal).await??;
        let bytes = ciphertext.len();
        self.database.keep_snapshot(org, &SnapshotRow { id, next_seq, wrapped_key, ciphertext }).await?;
        if self.database.last_erasure(org).await? >= basis.begun {
            // It may hold what was erased while it was made.
            self.database.drop_snapshot(org, next_seq).await?;
        }
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
        let erasure = self.database.last_erasure(org).await?;
        while let Some(row) = self.database.snapshot(org, up_to).await? {
            let next_seq = row.next_seq;
            let hash = self.hash_before(next_seq).await?;
            if let Some(mut memories) = self.open(generation, row, hash, erasure).await? {
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
        hash: Option<Bytes32>,
        erasure: i64,
    ) -> Result<Option<Memories>, SnapshotError> {
        let Some(hash) = hash else { return Ok(None) };
        let (vault, org, generation) = (Arc::clone(&self.vault), self.past.org(), Arc::clone(generation));
        off_the_request_path(move || {
            let bytes = vault.unseal(org, row.id, &row.wrapped_key, &row.ciphertext).ok()?;
            let (head, bytes) = bytes.split_at_checked(HEADER)?;
            let basis = Basis::read(head).filter(|basis| {
                (basis.next_seq, basis.hash) == (row.next_seq, hash) && basis.begun > erasure
            });
            basis.and_then(|_| Memories::from_bytes(bytes, &generation).ok())
        })
        .await
    }

    /// The hash of the entry before this one; none if it is not there.
    async fn hash_before(&self, next_seq: i64) -> Result<Option<Bytes32>, SnapshotError> {
        let last = self.database.stored_entries(self.past.org(), next_seq - 2, 1).await?.pop();
        Ok(last.filter(|entry| entry.seq == next_seq - 1).map(|entry| entry.hash))
    }
}

/// What a snapshot was made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Basis {
    /// The first entry that is not in it.
    next_seq: i64,
    /// How many entries the ledger had when it was begun: what was erased before that is not in it.
    begun: i64,
    /// The hash of its last entry.
    hash: Bytes32,
}

impl Basis {
    /// With the version of the language's meaning in front.
    fn header(&self) -> Vec<u8> {
        let (version, numbers) = (SEMANTICS.to_le_bytes(), [self.next_seq, self.begun].map(i64::to_le_bytes));
        [version.as_slice(), numbers.as_flattened(), &self.hash].concat()
    }

    /// What a header says, if it is of this version.
    fn read(header: &[u8]) -> Option<Basis> {
        let (version, rest) = header.split_first_chunk()?;
        let (next_seq, rest) = rest.split_first_chunk()?;
        let (begun, hash) = rest.split_first_chunk()?;
        let (next_seq, begun) = (i64::from_le_bytes(*next_seq), i64::from_le_bytes(*begun));
        let basis = Basis { next_seq, begun, hash: hash.try_into().ok()? };
        (*version == SEMANTICS.to_le_bytes()).then_some(basis)
    }
}

async fn written(memories: Memories) -> Result<Vec<u8>, SnapshotError> {
    Ok(off_the_request_path(move || memories.to_bytes()).await??)
}

async fn off_the_request_path<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, SnapshotError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| SnapshotError::Crashed)
}
