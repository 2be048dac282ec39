//! Secrets at rest: the master key, the keys of single records, and what is derived from them.
//!
//! A payload is encrypted under a random key of its own, which is kept wrapped by the master key. Erasing the
//! wrapped key erases the content; the ledger holds only an HMAC under a key derived from the same record key,
//! so that the hash says nothing about short or guessable content either.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hmac, rand};
use uuid::Uuid;

/// A key or digest of 256 bits.
pub type Bytes32 = [u8; 32];

/// Why the master key can't be had.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The setting is not a key.
    #[error("LICTOR_MASTER_KEY must be 64 hexadecimal digits")]
    Malformed,
    /// There is neither.
    #[error(
        "LICTOR_MASTER_KEY must be set with PostgreSQL: 64 hexadecimal digits, the same for every server"
    )]
    Missing,
    /// The file is not a key.
    #[error("{0} must hold 64 hexadecimal digits")]
    MalformedFile(PathBuf),
    /// Others could read the file.
    #[error("{0} must be readable by its owner only (mode 0600)")]
    Exposed(PathBuf),
    /// The file can't be read or made.
    #[error("{path} can't be used as the key file")]
    File {
        /// Which file.
        path: PathBuf,
        /// What happened.
        #[source]
        source: std::io::Error,
    },
    /// No randomness.
    #[error("the system gives no random bytes")]
    Random,
}

/// Something could not be encrypted, or did not open with the key that it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a record can't be sealed or opened with its key")]
pub struct CipherError;

/// An encrypted payload and what the ledger holds of it.
#[derive(Debug, Clone)]
pub struct Sealed {
    /// HMAC of the payload under its record's key.
    pub digest: Bytes32,
    /// The record's key, wrapped by the master key.
    pub wrapped_key: Vec<u8>,
    /// Nonce and ciphertext.
    pub ciphertext: Vec<u8>,
}

/// Holds the master key.
pub struct Vault {
    wrapping: LessSafeKey,
    token_secret: Bytes32,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vault")
    }
}

impl Vault {
    /// A vault over this master key.
    pub fn new(master: &Bytes32) -> Vault {
        Vault {
            wrapping: cipher(&derive(master, "lictor record key wrapping")),
            token_secret: derive(master, "lictor access tokens"),
        }
    }

    /// The vault of the configured key, or of the key file beside the database, which is made if it is missing.
    pub fn open(configured: Option<&str>, key_file: Option<&Path>) -> Result<Vault, OpenError> {
        let master = match (configured, key_file) {
            (Some(text), _) => from_hex(text.trim()).ok_or(OpenError::Malformed)?,
            (None, Some(file)) => key_from_file(file)?,
            (None, None) => return Err(OpenError::Missing),
        };
        Ok(Vault::new(&master))
    }

    /// The secret that signs access tokens.
    pub fn token_secret(&self) -> &Bytes32 {
        &self.token_secret
    }

    /// Encrypts a payload for one entry of one org.
    pub fn seal(&self, org: Uuid, entry: Uuid, payload: &[u8]) -> Result<Sealed, CipherError> {
        let [record_key, nonces] = random_pair()?;
        let derived = Derived::of(&record_key);
        let (wrapping, content) = nonces.split_at(NONCE_LEN);
        Ok(Sealed {
            digest: derived.digest(payload),
            wrapped_key: encrypt(&self.wrapping, nonce(wrapping)?, org, entry, &record_key)?,
            ciphertext: encrypt(&derived.cipher(), nonce(content)?, org, entry, payload)?,
        })
    }

    /// Decrypts what [`Vault::seal`] made for this entry of this org.
    pub fn unseal(
        &self,
        org: Uuid,
        entry: Uuid,
        wrapped_key: &[u8],
        ciphertext: &[u8],
    ) -> Result<Vec<u8>, CipherError> {
        decrypt(&self.derived(org, entry, wrapped_key)?.cipher(), org, entry, ciphertext)
    }

    /// What the ledger has to say of a payload that [`Vault::seal`] encrypted with this key.
    pub fn digest(
        &self,
        org: Uuid,
        entry: Uuid,
        wrapped_key: &[u8],
        payload: &[u8],
    ) -> Result<Bytes32, CipherError> {
        Ok(self.derived(org, entry, wrapped_key)?.digest(payload))
    }

    fn derived(&self, org: Uuid, entry: Uuid, wrapped_key: &[u8]) -> Result<Derived, CipherError> {
        let record_key = decrypt(&self.wrapping, org, entry, wrapped_key)?;
        let record_key = Bytes32::try_from(record_key.as_slice()).map_err(|_| CipherError)?;
        Ok(Derived::of(&record_key))
    }
}

/// Random bytes of the operating system's quality.
pub fn random() -> Result<Bytes32, OpenError> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).map_err(|_| OpenError::Random)?;
    Ok(bytes)
}

/// A random key, and as many random bytes again, asked for at once.
fn random_pair() -> Result<[Bytes32; 2], CipherError> {
    let mut bytes = [[0; 32]; 2];
    rand::fill(bytes.as_flattened_mut()).map_err(|_| CipherError)?;
    Ok(bytes)
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS.get(usize::from(value)).copied().unwrap_or(b'0'));
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.push(digit(byte >> 4));
        text.push(digit(byte & 15));
    }
    text
}

/// Reads 64 hexadecimal digits.
pub(crate) fn from_hex(text: &str) -> Option<Bytes32> {
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; 32];
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(place * 2..place * 2 + 2)?, 16).ok()?;
    }
    Some(bytes)
}

fn key_from_file(path: &Path) -> Result<Bytes32, OpenError> {
    let failed = |source| OpenError::File { path: path.to_owned(), source };
    match fs::read_to_string(path) {
        Ok(text) => {
            is_private(path)
                .map_err(failed)?
                .then_some(())
                .ok_or_else(|| OpenError::Exposed(path.to_owned()))?;
            from_hex(text.trim()).ok_or_else(|| OpenError::MalformedFile(path.to_owned()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let key = random()?;
            write_private(path, &hex(&key)).map_err(failed)?;
            Ok(key)
        }
        Err(error) => Err(failed(error)),
    }
}

/// Whether nobody but its owner may read or write a file.
#[cfg(unix)]
pub(crate) fn is_private(path: &Path) -> std::io::Result<bool> {
    use std::os::unix::fs::PermissionsExt;
    Ok(fs::metadata(path)?.permissions().mode() & 0o077 == 0)
}

/// Whether nobody but its owner may read or write a file: not known here.
#[cfg(not(unix))]
pub(crate) fn is_private(_path: &Path) -> std::io::Result<bool> {
    Ok(true)
}

/// The file is on the disk before anything is encrypted with its key.
fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => fs::File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

fn derive(key: &Bytes32, purpose: &str) -> Bytes32 {
    tag(&hmac::Key::new(hmac::HMAC_SHA256, key), purpose.as_bytes())
}

fn tag(key: &hmac::Key, text: &[u8]) -> Bytes32 {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(hmac::sign(key, text).as_ref());
    bytes
}

/// What comes of a record's key.
struct Derived(hmac::Key);

impl Derived {
    fn of(record_key: &Bytes32) -> Derived {
        Derived(hmac::Key::new(hmac::HMAC_SHA256, record_key))
    }

    /// What encrypts the payload.
    fn cipher(&self) -> LessSafeKey {
        cipher(&tag(&self.0, b"lictor payload"))
    }

    /// What the ledger says of the payload.
    fn digest(&self, payload: &[u8]) -> Bytes32 {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &tag(&self.0, b"lictor payload digest"));
        tag(&key, payload)
    }
}

fn cipher(key: &Bytes32) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("AES-256 takes a key of 32 bytes"))
}

/// What the ciphertext belongs to, so that it opens nowhere else.
fn place(org: Uuid, entry: Uuid) -> Aad<[u8; 32]> {
    let mut bytes = [0; 32];
    let (first, second) = bytes.split_at_mut(16);
    first.copy_from_slice(org.as_bytes());
    second.copy_from_slice(entry.as_bytes());
    Aad::from(bytes)
}

fn nonce(random: &[u8]) -> Result<[u8; NONCE_LEN], CipherError> {
    random.first_chunk().copied().ok_or(CipherError)
}

/// The nonce, then the ciphertext.
fn encrypt(
    key: &LessSafeKey,
    nonce: [u8; NONCE_LEN],
    org: Uuid,
    entry: Uuid,
    plain: &[u8],
) -> Result<Vec<u8>, CipherError> {
    let mut sealed = Vec::with_capacity(NONCE_LEN + plain.len() + AES_256_GCM.tag_len());
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(plain);
    let text = sealed.get_mut(NONCE_LEN..).ok_or(CipherError)?;
    let nonce = Nonce::assume_unique_for_key(nonce);
    let tag = key.seal_in_place_separate_tag(nonce, place(org, entry), text).map_err(|_| CipherError)?;
    sealed.extend_from_slice(tag.as_ref());
    Ok(sealed)
}

fn decrypt(key: &LessSafeKey, org: Uuid, entry: Uuid, sealed: &[u8]) -> Result<Vec<u8>, CipherError> {
    let (nonce, text) = sealed.split_at_checked(NONCE_LEN).ok_or(CipherError)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| CipherError)?;
    let mut text = text.to_vec();
    let plain = key.open_in_place(nonce, place(org, entry), &mut text).map_err(|_| CipherError)?;
    Ok(plain.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_opens_for_its_own_entry_only() {
        let vault = Vault::new(&[7; 32]);
        let (org, entry) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let sealed = vault.seal(org, entry, b"secret").unwrap();
        assert_eq!(vault.unseal(org, entry, &sealed.wrapped_key, &sealed.ciphertext).unwrap(), b"secret");
        assert!(vault.unseal(org, Uuid::from_u128(3), &sealed.wrapped_key, &sealed.ciphertext).is_err());
        assert!(Vault::new(&[8; 32]).unseal(org, entry, &sealed.wrapped_key, &sealed.ciphertext).is_err());
        assert!(vault.unseal(org, entry, b"short", &sealed.ciphertext).is_err());
        assert_eq!(vault.digest(org, entry, &sealed.wrapped_key, b"secret"), Ok(sealed.digest));
    }

    #[test]
    fn equal_payloads_have_different_digests() {
        let vault = Vault::new(&[7; 32]);
        let (org, entry) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let (one, other) = (vault.seal(org, entry, b"yes").unwrap(), vault.seal(org, entry, b"yes").unwrap());
        assert_ne!(one.digest, other.digest);
    }

    #[test]
    fn the_key_file_is_made_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lictor.db.key");
        let first = key_from_file(&path).unwrap();
        assert_eq!(key_from_file(&path).unwrap(), first);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
            assert!(matches!(key_from_file(&path), Err(OpenError::Exposed(_))));
        }
    }

    #[test]
    fn hexadecimal_round_trips() {
        assert_eq!(from_hex(&hex(&[0xab; 32])), Some([0xab; 32]));
        assert_eq!(from_hex("ab"), None);
        assert_eq!(from_hex(&"+1".repeat(32)), None);
    }
}
