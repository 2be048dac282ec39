//! The keys that sign an org's checkpoints: made here and kept under the master key, or read from a file.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use uuid::Uuid;

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
    /// Keys from a file change with the file.
    #[error(
        "the key comes from LICTOR_LEDGER_KEY_FILE: put a new one on its first line and start the server again"
    )]
    FromFile,
}

/// The keys of a file, the one in use first; the others are those that it replaces.
pub struct KeyFile(Vec<Bytes32>);

impl std::fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyFile")
    }
}

impl KeyFile {
    /// Reads the file.
    pub fn open(path: &Path) -> Result<KeyFile, KeyError> {
        let failed = |source| KeyError::File { path: path.to_owned(), source };
        let text = fs::read_to_string(path).map_err(failed)?;
        if !vault::is_private(path).map_err(failed)? {
            return Err(KeyError::Exposed(path.to_owned()));
        }
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        match lines.map(vault::from_hex).collect::<Option<Vec<_>>>() {
            Some(secrets) if !secrets.is_empty() => Ok(KeyFile(secrets)),
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
    /// A new key, because the file has another one first, or because the old one can't be had any more.
    Replace { old: LedgerKeyRow, signing: Option<SigningKey>, new: Key },
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
            let current = self.database.ledger_keys(self.org).await?.into_iter().find(|row| row.is_current);
            let Some(row) = current else {
                // Another server may be first: then its key is the one.
                self.database.keep_first_ledger_key(self.org, &self.make()?.row, now_us).await?;
                continue;
            };
            let signing = self.signing(&row)?;
            let first = self.file.as_ref().and_then(|file| file.0.first()).map(|secret| self.of(secret));
            let is_other = first.is_some_and(|first| first.public().bytes() != &row.public);
            return Ok(match signing {
                Some(signing) if !is_other => InUse::Key(Key { row, signing }),
                signing => InUse::Replace { old: row, signing, new: self.make()? },
            });
        }
    }

    /// A key to replace the one in use, unless the file says which it is.
    pub(super) fn make_other(&self) -> Result<Key, KeyError> {
        if self.file.is_some() { Err(KeyError::FromFile) } else { self.make() }
    }

    /// The first key of the file, or a new one.
    fn make(&self) -> Result<Key, KeyError> {
        let id = Uuid::now_v7();
        let (secret, sealed) = match self.file.as_ref().and_then(|file| file.0.first()) {
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
        let secrets = self.file.iter().flat_map(|file| &file.0);
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
