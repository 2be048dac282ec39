//! The keys that sign an org's checkpoints: made here and kept under the master key, or read from a file.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use uuid::Uuid;

use super::Shared;
use crate::db::{Database, LedgerKeyRow, StoreError};
use crate::ledger::checkpoint::origin;
use crate::ledger::note::{PublicKey, SigningKey};
use crate::vault::{self, Bytes32, CipherError, Sealed, Vault};

/// Why a key can't be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It can't be kept encrypted.
    #[error(transparent)]
    Cipher(#[from] CipherError),
    /// There is no randomness.
    #[error(transparent)]
    Random(#[from] vault::OpenError),
    /// The file can't be read.
    #[error("LICTOR_LEDGER_KEY_FILE {path} can't be read")]
    File {
        /// Which file.
        path: PathBuf,
        /// What happened.
        #[source]
        source: std::io::Error,
    },
    /// Others could read the file.
    #[error("LICTOR_LEDGER_KEY_FILE {0} must be readable by its owner only (mode 0600)")]
    Exposed(PathBuf),
    /// The file holds no key.
    #[error("LICTOR_LEDGER_KEY_FILE {0} must hold 64 hexadecimal digits a line, the key in use first")]
    Malformed(PathBuf),
    /// What is said to be lost is no key.
    #[error("LICTOR_LEDGER_KEY_LOST `{0}` is not a public key as /api/v1/ledger/keys lists them")]
    NoKey(String),
    /// The key in use is not here.
    #[error(
        "this server does not have the key that signs the ledger, {0}: start it with the LICTOR_LEDGER_KEY_FILE of the \
         other servers; if nobody has that key any more, start it once with LICTOR_LEDGER_KEY_LOST={0}"
    )]
    Absent(PublicKey),
    /// The key in use is kept under another master key.
    #[error(
        "the master key (LICTOR_MASTER_KEY, or the file beside the database) is not the one that keeps the key that signs \
         the ledger, {0}"
    )]
    OtherMaster(PublicKey),
    /// The file is older than the key in use.
    #[error("LICTOR_LEDGER_KEY_FILE begins with a key that was replaced: the one in use is {0}")]
    Outdated(PublicKey),
    /// Keys from a file change with the file.
    #[error(
        "the key comes from LICTOR_LEDGER_KEY_FILE: put a new one on its first line and start the server again"
    )]
    FromFile,
}

/// What the server's owner says of keys.
pub struct KeyFile {
    /// The keys of the file, the one in use first; the others are those that it replaces. None if there is no file.
    secrets: Vec<Bytes32>,
    /// The public keys whose secrets nobody has any more.
    lost: Vec<Bytes32>,
}

impl std::fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyFile")
    }
}

impl KeyFile {
    /// Reads the file, if there is one, and which keys are lost: public keys with commas between them. Nothing, if nothing is
    /// said.
    pub fn open(path: Option<&Path>, lost: Option<&str>) -> Result<Option<KeyFile>, KeyError> {
        let secrets = path.map(KeyFile::read).transpose()?.unwrap_or_default();
        let lost = lost.iter().flat_map(|lost| lost.split(',')).map(str::trim).filter(|key| !key.is_empty());
        let public = |key: &str| match PublicKey::parse(key) {
            Ok(key) => Ok(*key.bytes()),
            Err(_) => Err(KeyError::NoKey(key.to_owned())),
        };
        let lost = lost.map(public).collect::<Result<Vec<_>, _>>()?;
        Ok(Some(KeyFile { secrets, lost }).filter(|file| !file.secrets.is_empty() || !file.lost.is_empty()))
    }

    fn read(path: &Path) -> Result<Vec<Bytes32>, KeyError> {
        let failed = |source| KeyError::File { path: path.to_owned(), source };
        let text = fs::read_to_string(path).map_err(failed)?;
        if !vault::is_private(path).map_err(failed)? {
            return Err(KeyError::Exposed(path.to_owned()));
        }
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        match lines.map(vault::from_hex).collect::<Option<Vec<_>>>() {
            Some(secrets) if !secrets.is_empty() => Ok(secrets),
            _ => Err(KeyError::Malformed(path.to_owned())),
        }
    }
}

/// A key that signs.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) row: LedgerKeyRow,
    pub(super) signing: SigningKey,
}

/// What signs from now on.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one at a time, and it is taken apart at once")]
pub(super) enum InUse {
    /// This key.
    Key(Key),
    /// A new key, because the file has another one first, or because the owner says that the old one is lost.
    Replace { old: LedgerKeyRow, signing: Option<SigningKey>, new: Key },
}

/// An error if this server can't go on with the key that signs an org's ledger.
pub async fn check_key(org: Uuid, shared: &Shared) -> Result<(), KeyError> {
    let Shared { database, vault, key_file, .. } = shared.clone();
    Keys::new(org, database, vault, key_file).agreed().await.map(drop)
}

/// The keys of an org.
#[derive(Debug)]
pub(super) struct Keys {
    org: Uuid,
    database: Arc<Database>,
    vault: Arc<Vault>,
    file: Option<Arc<KeyFile>>,
}

impl Keys {
    pub(super) fn new(
        org: Uuid,
        database: Arc<Database>,
        vault: Arc<Vault>,
        file: Option<Arc<KeyFile>>,
    ) -> Keys {
        Keys { org, database, vault, file }
    }

    /// Every public key with its id, oldest first.
    pub(super) async fn public(&self) -> Result<Vec<(Uuid, PublicKey)>, KeyError> {
        let rows = self.database.ledger_keys(self.org).await?;
        Ok(rows.into_iter().map(|row| (row.id, PublicKey::new(origin(self.org), row.public))).collect())
    }

    /// What signs now. The first key is made if there is none.
    pub(super) async fn in_use(&self, now_us: i64) -> Result<InUse, KeyError> {
        loop {
            match self.agreed().await? {
                Some(in_use) => return Ok(in_use),
                // Another server may be first: then its key is the one.
                None => self.database.keep_first_ledger_key(self.org, &self.make()?.row, now_us).await?,
            }
        }
    }

    /// What signs now by what is stored and by what is here; nothing if there was no key yet. Where they disagree it is an
    /// error, so that servers with other keys don't replace each other's.
    async fn agreed(&self) -> Result<Option<InUse>, KeyError> {
        let rows = self.database.ledger_keys(self.org).await?;
        let Some(row) = rows.iter().find(|row| row.is_current).cloned() else { return Ok(None) };
        let key = || PublicKey::new(origin(self.org), row.public);
        let is_lost = self.file.as_ref().is_some_and(|file| file.lost.contains(&row.public));
        let signing = match self.signing(&row) {
            Ok(None) if !is_lost => return Err(KeyError::Absent(key())),
            Err(KeyError::Cipher(_)) if !is_lost => return Err(KeyError::OtherMaster(key())),
            Err(KeyError::Cipher(_)) => None,
            signing => signing?,
        };
        let first = self.first().map(|secret| self.of(secret)).map(|first| *first.public().bytes());
        if first.is_some_and(|first| rows.iter().any(|row| row.public == first && !row.is_current)) {
            return Err(KeyError::Outdated(key()));
        }
        Ok(Some(match signing {
            Some(signing) if first.is_none_or(|first| first == row.public) => {
                InUse::Key(Key { row, signing })
            }
            signing => InUse::Replace { old: row, signing, new: self.make()? },
        }))
    }

    /// The first key of the file.
    fn first(&self) -> Option<&Bytes32> {
        self.file.as_ref()?.secrets.first()
    }

    /// A key to replace the one in use, unless the file says which it is.
    pub(super) fn make_other(&self) -> Result<Key, KeyError> {
        if self.first().is_some() { Err(KeyError::FromFile) } else { self.make() }
    }

    /// The first key of the file, or a new one.
    fn make(&self) -> Result<Key, KeyError> {
        let id = Uuid::now_v7();
        let (secret, sealed) = match self.first() {
            Some(secret) => (*secret, None),
            None => {
                let secret = vault::random()?;
                let Sealed { wrapped_key, ciphertext, .. } = self.vault.seal(self.org, id, &secret)?;
                (secret, Some((wrapped_key, ciphertext)))
            }
        };
        let signing = self.of(&secret);
        let row = LedgerKeyRow { id, public: *signing.public().bytes(), sealed, is_current: true };
        Ok(Key { row, signing })
    }

    /// What this key signs with, if it can still be had: it is in the file, or kept under the master key.
    fn signing(&self, row: &LedgerKeyRow) -> Result<Option<SigningKey>, KeyError> {
        let fits = |signing: &SigningKey| signing.public().bytes() == &row.public;
        let secrets = self.file.iter().flat_map(|file| &file.secrets);
        if let Some(signing) = secrets.map(|secret| self.of(secret)).find(fits) {
            return Ok(Some(signing));
        }
        let Some((wrapped_key, ciphertext)) = &row.sealed else { return Ok(None) };
        let secret = self.vault.unseal(self.org, row.id, wrapped_key, ciphertext)?;
        let secret = Bytes32::try_from(secret).map_err(|_| StoreError::Corrupt("key of the ledger"))?;
        Ok(Some(self.of(&secret)).filter(fits))
    }

    fn of(&self, secret: &Bytes32) -> SigningKey {
        SigningKey::new(origin(self.org), secret)
    }
}
