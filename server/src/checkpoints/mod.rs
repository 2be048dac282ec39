//! Signed checkpoints of an org's ledger, and proofs about it, made off the path of decisions.
//!
//! A checkpointer reads what was committed, follows the chain, adds the entries to the tree and signs its root. It never
//! signs what does not begin with what was signed last: then it says so, and the server is not ready any more.

mod keys;
mod log;
mod sink;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use uuid::Uuid;

use crate::clock::Clock;
use crate::db::{CheckpointRow, Database, LedgerKeyRow, SignatureRow, Store, StoreError};
use crate::draft::SYSTEM;
use crate::ledger::checkpoint::{Checkpoint, origin};
use crate::ledger::note::{Note, PublicKey, Signature, Signed, SigningKey};
use crate::ledger::proof::{consistency, inclusion};
use crate::sequencer::{Queue, Unavailable};
use crate::vault::{Bytes32, Vault};

pub use keys::{KeyError, KeyFile, check_key};
pub use sink::{Sink, SinkError};

use keys::{InUse, Key, Keys};
use log::Log;
use sink::Last;

/// How often a checkpoint is made where something happened.
pub const CHECKPOINT_EVERY: Duration = Duration::from_secs(10);
/// How often another server may be first before it is given up.
const TRIES: usize = 8;

/// Why there is no checkpoint or proof.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key can't be had.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The ledger is not what was signed. Nothing is signed until it is again.
    #[error("the ledger is not what was signed: {0}")]
    Unsound(String),
    /// Other servers were first, again and again.
    #[error("other servers make checkpoints all the time")]
    Busy,
    /// The change of the key could not be recorded.
    #[error("the new key could not be recorded")]
    Unavailable(#[from] Unavailable),
}

/// A proof that an entry is in the ledger as it was at some size.
#[derive(Debug)]
#[expect(missing_docs, reason = "named as RFC 6962 names them")]
pub struct Inclusion {
    pub size: u64,
    pub root: Bytes32,
    pub leaf: Bytes32,
    pub proof: Vec<Bytes32>,
    /// The checkpoint of this size, if one was signed.
    pub checkpoint: Option<Note>,
}

/// A proof that the ledger of one size begins with that of another.
#[derive(Debug)]
#[expect(missing_docs, reason = "named as RFC 6962 names them")]
pub struct Consistency {
    pub from_root: Bytes32,
    pub to_root: Bytes32,
    pub proof: Vec<Bytes32>,
    /// The checkpoint of the larger size, if one was signed.
    pub checkpoint: Option<Note>,
}

/// What the checkpointers of all orgs share.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "each is named for what it is")]
pub struct Shared {
    pub database: Arc<Database>,
    pub vault: Arc<Vault>,
    pub clock: Arc<dyn Clock>,
    pub key_file: Option<Arc<KeyFile>>,
    pub sink: Arc<Sink>,
}

/// Makes the checkpoints of one org.
#[derive(Debug)]
pub struct Checkpointer {
    org: Uuid,
    database: Arc<Database>,
    clock: Arc<dyn Clock>,
    queue: Arc<Queue>,
    keys: Keys,
    sink: Arc<Sink>,
    /// The tree as far as it was read; none before that, and after something went wrong.
    log: Mutex<Option<Log>>,
    is_sound: AtomicBool,
}

impl Checkpointer {
    /// For this org's ledger.
    pub fn new(org: Uuid, shared: &Shared, queue: Arc<Queue>) -> Checkpointer {
        let Shared { database, vault, clock, key_file, sink } = shared.clone();
        let keys = Keys::new(org, Arc::clone(&database), vault, key_file);
        let is_sound = AtomicBool::new(true);
        Checkpointer { org, database, clock, queue, keys, sink, log: Mutex::default(), is_sound }
    }

    /// Whether the ledger was what was signed when it was last looked.
    pub fn is_sound(&self) -> bool {
        self.is_sound.load(Ordering::Acquire)
    }

    /// Every public key that checkpoints were signed with, oldest first.
    pub async fn keys(&self) -> Result<Vec<PublicKey>, CheckpointError> {
        // The first is made with the first checkpoint.
        self.latest().await?;
        Ok(self.keys.public().await?.into_iter().map(|(_, key)| key).collect())
    }

    /// The latest checkpoint. The first is made now if there is none.
    pub async fn latest(&self) -> Result<Note, CheckpointError> {
        match self.database.last_checkpoint(self.org).await? {
            Some(row) => self.note(row).await,
            None => self.advance().await,
        }
    }

    /// Makes a checkpoint if something happened since the last one, and gives the latest.
    pub async fn advance(&self) -> Result<Note, CheckpointError> {
        let mut log = self.log.lock().await;
        let row = self.advance_log(&mut log).await?;
        self.publish().await;
        self.note(row).await
    }

    async fn advance_log(&self, log: &mut Option<Log>) -> Result<CheckpointRow, CheckpointError> {
        let advanced = self.sign_what_happened(log).await;
        self.watch(log, advanced)
    }

    /// What could not be signed is looked at from the beginning the next time.
    fn watch<T>(
        &self,
        log: &mut Option<Log>,
        done: Result<T, CheckpointError>,
    ) -> Result<T, CheckpointError> {
        match &done {
            Ok(_) => self.is_sound.store(true, Ordering::Release),
            Err(error) => {
                *log = None;
                if let CheckpointError::Unsound(reason) = error {
                    self.is_sound.store(false, Ordering::Release);
                    tracing::error!(org = %self.org, reason, "the ledger is not what was signed: nothing is signed");
                }
            }
        }
        done
    }

    async fn sign_what_happened(&self, log: &mut Option<Log>) -> Result<CheckpointRow, CheckpointError> {
        let key = match self.keys.in_use(self.clock.now_us()).await? {
            InUse::Key(key) => key,
            InUse::Replace { old, signing, new } => {
                self.replace(log, old, signing, &new, SYSTEM.to_owned()).await?;
                new
            }
        };
        self.sign(log, &key).await
    }

    /// Signs the ledger as it is, unless that was done.
    async fn sign(&self, log: &mut Option<Log>, key: &Key) -> Result<CheckpointRow, CheckpointError> {
        for _ in 0..TRIES {
            let last = self.database.last_checkpoint(self.org).await?;
            let log = self.keep_up(log, last.as_ref(), &key.row).await?;
            let next_seq = self.size().await?;
            let before = last.as_ref().map(|last| last.size);
            if let Some(last) = last.filter(|last| last.size == next_seq) {
                return Ok(last);
            }
            log.read(&self.database, self.org, next_seq).await?;
            let signatures = vec![self.signature(key, log.size(), log.root())];
            let row = CheckpointRow { size: log.size(), root: log.root(), signatures };
            if self.database.keep_checkpoint(self.org, before, &row, self.clock.now_us()).await? {
                return Ok(row);
            }
        }
        Err(CheckpointError::Busy)
    }

    /// Reads up to the last checkpoint, which this key has to have signed, and compares.
    async fn keep_up<'l>(
        &self,
        log: &'l mut Option<Log>,
        last: Option<&CheckpointRow>,
        key: &LedgerKeyRow,
    ) -> Result<&'l mut Log, CheckpointError> {
        if let Some(last) = last.filter(|last| !self.is_signed(last, key)) {
            let keys = self.database.ledger_keys(self.org).await?;
            return Err(match keys.iter().any(|row| row.id == key.id && row.is_current) {
                true => {
                    CheckpointError::Unsound(format!("nobody signed the checkpoint of {} entries", last.size))
                }
                false => CheckpointError::Busy,
            });
        }
        let signed = last.map_or(0, |last| last.size);
        let there = self.size().await?;
        if there < signed {
            let reason = format!("{signed} entries were signed, {there} are there");
            return Err(CheckpointError::Unsound(reason));
        }
        let mut read = match log.take().filter(|log| log.size() <= signed) {
            Some(log) => log,
            None => Log::load(&self.database, self.org, signed).await?,
        };
        read.read(&self.database, self.org, signed).await?;
        if last.is_some_and(|last| last.root != read.root()) {
            return Err(CheckpointError::Unsound(format!(
                "the checkpoint of {signed} entries does not hold"
            )));
        }
        Ok(log.insert(read))
    }

    /// Replaces the key by a new one.
    pub async fn rotate(&self, actor: String) -> Result<PublicKey, CheckpointError> {
        let mut log = self.log.lock().await;
        let new = self.keys.make_other()?;
        let (old, signing) = match self.keys.in_use(self.clock.now_us()).await? {
            InUse::Key(Key { row, signing }) => (row, Some(signing)),
            InUse::Replace { old, signing, .. } => (old, signing),
        };
        let replaced = self.replace(&mut log, old, signing, &new, actor).await;
        self.watch(&mut log, replaced)?;
        self.publish().await;
        Ok(new.signing.public())
    }

    /// The ledger says which key is next; the old key signs a checkpoint with that entry, if it can still be had, and so
    /// does the new one. Who trusts the old key sees that the new one is meant.
    async fn replace(
        &self,
        log: &mut Option<Log>,
        old: LedgerKeyRow,
        signing: Option<SigningKey>,
        new: &Key,
        actor: String,
    ) -> Result<(), CheckpointError> {
        self.queue.announce_ledger_key(new.signing.public().to_string(), actor).await?;
        let id = old.id;
        let last = match signing {
            Some(signing) => Some(self.sign(log, &Key { row: old, signing }).await?),
            None => {
                let last = self.database.last_checkpoint(self.org).await?;
                self.keep_up(log, last.as_ref(), &old).await?;
                last
            }
        };
        let signed = last.map(|last| {
            let signatures = vec![self.signature(new, last.size, last.root)];
            CheckpointRow { signatures, ..last }
        });
        let now_us = self.clock.now_us();
        if !self.database.replace_ledger_key(self.org, id, &new.row, signed.as_ref(), now_us).await? {
            return Err(CheckpointError::Busy);
        }
        tracing::info!(org = %self.org, key = %new.signing.public(), "checkpoints are signed with a new key");
        Ok(())
    }

    /// Sends out what was not sent yet. A sink that fails gets it the next time. Every other place that checkpoints are to
    /// go to is asked here.
    async fn publish(&self) {
        if let Err(error) = self.try_to_publish().await {
            let error = &error as &dyn std::error::Error;
            tracing::error!(org = %self.org, error, "a checkpoint could not be sent out");
        }
    }

    async fn try_to_publish(&self) -> Result<(), PublishError> {
        let Some(last) = self.sink.last(self.org) else { return Ok(()) };
        let rows =
            self.database.checkpoints_from(self.org, last.size).await.map_err(CheckpointError::from)?;
        for row in rows {
            let sent = Last { size: row.size, note: self.note(row).await?.to_string() };
            if sent != last {
                self.sink.append(self.org, sent).await?;
            }
        }
        Ok(())
    }

    /// The proof that an entry is in the ledger of this size, or of the last checkpoint; none if it is not.
    pub async fn inclusion(&self, seq: u64, size: Option<u64>) -> Result<Option<Inclusion>, CheckpointError> {
        let mut log = self.log.lock().await;
        let wanted = size.unwrap_or_else(|| seq.saturating_add(1));
        let Some(last) = self.reach(&mut log, wanted).await? else { return Ok(None) };
        let (Some(log), size) = (log.as_ref(), size.unwrap_or(last)) else { return Ok(None) };
        let Some(path) = inclusion(seq, size) else { return Ok(None) };
        let (leaf, whole) = (seq..seq + 1, 0..size);
        let mut hashes =
            log.hashes(&self.database, self.org, &[&[leaf, whole], path.as_slice()].concat()).await?;
        let (Some(leaf), Some(root), proof) = (hashes.next(), hashes.next(), hashes.collect()) else {
            return Ok(None);
        };
        Ok(Some(Inclusion { size, root, leaf, proof, checkpoint: self.signed(size).await? }))
    }

    /// The proof that the ledger of one size begins with that of another; none if it never had these sizes.
    pub async fn consistency(&self, from: u64, to: u64) -> Result<Option<Consistency>, CheckpointError> {
        let mut log = self.log.lock().await;
        let Some(path) = consistency(from, to) else { return Ok(None) };
        let reached = self.reach(&mut log, to).await?;
        let (Some(_), Some(log)) = (reached, log.as_ref()) else { return Ok(None) };
        let mut hashes =
            log.hashes(&self.database, self.org, &[&[0..from, 0..to], path.as_slice()].concat()).await?;
        let (Some(from_root), Some(to_root), proof) = (hashes.next(), hashes.next(), hashes.collect()) else {
            return Ok(None);
        };
        Ok(Some(Consistency { from_root, to_root, proof, checkpoint: self.signed(to).await? }))
    }

    /// The size of the last checkpoint, made now if the last one is of fewer entries than this; none if there are not so
    /// many.
    async fn reach(&self, log: &mut Option<Log>, wanted: u64) -> Result<Option<u64>, CheckpointError> {
        let last = self.database.last_checkpoint(self.org).await?.map_or(0, |last| last.size);
        if last >= wanted && log.as_ref().is_some_and(|log| log.size() >= last) {
            return Ok(Some(last));
        }
        let size = self.advance_log(log).await?.size;
        self.publish().await;
        Ok((size >= wanted).then_some(size))
    }

    /// The checkpoint of so many entries, if one was signed.
    pub async fn signed(&self, size: u64) -> Result<Option<Note>, CheckpointError> {
        match self.database.checkpoint(self.org, size).await? {
            Some(row) => Ok(Some(self.note(row).await?)),
            None => Ok(None),
        }
    }

    /// How many entries there are.
    async fn size(&self) -> Result<u64, CheckpointError> {
        Ok(u64::try_from(self.database.next_seq(self.org).await?).unwrap_or(0))
    }

    fn text(&self, size: u64, root: Bytes32) -> String {
        Checkpoint { origin: origin(self.org), size, root }.text()
    }

    fn signature(&self, key: &Key, size: u64, root: Bytes32) -> SignatureRow {
        SignatureRow { key: key.row.id, bytes: key.signing.sign(&self.text(size, root)).bytes().to_vec() }
    }

    fn is_signed(&self, checkpoint: &CheckpointRow, key: &LedgerKeyRow) -> bool {
        let public = PublicKey::new(origin(self.org), key.public);
        let signatures = checkpoint.signatures.iter().filter(|signature| signature.key == key.id);
        let signatures =
            signatures.map(|signature| Signature::of(&public, signature.bytes.clone())).collect();
        let note = Note { text: self.text(checkpoint.size, checkpoint.root), signatures };
        note.signed_by(std::slice::from_ref(&public)) == Signed::Yes
    }

    /// A checkpoint as it was signed.
    async fn note(&self, row: CheckpointRow) -> Result<Note, CheckpointError> {
        let keys = self.keys.public().await?;
        let signature = |SignatureRow { key, bytes }| {
            let (_, key) = keys.iter().find(|(id, _)| *id == key)?;
            Some(Signature::of(key, bytes))
        };
        let text = self.text(row.size, row.root);
        let signatures = row.signatures.into_iter().map(signature).collect::<Option<_>>();
        Ok(Note { text, signatures: signatures.ok_or(StoreError::Corrupt("signature of a checkpoint"))? })
    }
}

/// Why a checkpoint was not sent out.
#[derive(Debug, thiserror::Error)]
enum PublishError {
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(transparent)]
    Sink(#[from] SinkError),
}
