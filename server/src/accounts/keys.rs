//! API keys: random, shown once, kept as a hash, revocable at once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use uuid::Uuid;

use crate::ledger::sha256;
use crate::vault::{Bytes32, OpenError, hex, random};

/// The prefixes that clients know, with the first as the default.
pub const PREFIXES: [&str; 3] = ["KvKey-", "kz_live_", "ka_live_"];

/// One API key.
#[derive(Debug)]
pub struct ApiKey {
    /// Its id.
    pub id: Uuid,
    /// The org it belongs to.
    pub org: Uuid,
    /// The account it belongs to.
    pub account: Uuid,
    /// What its owner calls it.
    pub name: String,
    /// How it begins.
    pub prefix: String,
    /// The only agent it may act for; none for those that it registered.
    pub agent: Option<Uuid>,
    /// SHA-256 of the key.
    pub hash: Bytes32,
    /// When it was made.
    pub created_at_us: i64,
    last_used_us: AtomicI64,
    unsaved_use: AtomicBool,
}

impl ApiKey {
    /// A key as stored or newly made.
    #[expect(clippy::too_many_arguments, reason = "one for each column")]
    pub fn new(
        id: Uuid,
        org: Uuid,
        account: Uuid,
        name: String,
        prefix: String,
        agent: Option<Uuid>,
        hash: Bytes32,
        created_at_us: i64,
        last_used_us: Option<i64>,
    ) -> ApiKey {
        let last_used_us = AtomicI64::new(last_used_us.unwrap_or(0));
        let unsaved_use = AtomicBool::new(false);
        ApiKey { id, org, account, name, prefix, agent, hash, created_at_us, last_used_us, unsaved_use }
    }

    /// When it was last used.
    pub fn last_used_us(&self) -> Option<i64> {
        Some(self.last_used_us.load(Ordering::Relaxed)).filter(|at| *at != 0)
    }

    /// Notes a use; written to the database later.
    pub fn used(&self, at_us: i64) {
        self.last_used_us.store(at_us, Ordering::Relaxed);
        self.unsaved_use.store(true, Ordering::Relaxed);
    }

    /// The last use, if it was not written yet. Takes it as written.
    pub fn take_unsaved_use(&self) -> Option<i64> {
        self.unsaved_use.swap(false, Ordering::Relaxed).then(|| self.last_used_us.load(Ordering::Relaxed))
    }
}

/// A new secret with this prefix, and the hash that is kept of it.
pub fn generate(prefix: &str) -> Result<(String, Bytes32), OpenError> {
    let secret = format!("{prefix}{}", hex(&random()?));
    let hash = hash(&secret);
    Ok((secret, hash))
}

/// What is kept of a key. The keys are random, so no slow hash is needed, and looking up the hash of what was
/// presented reveals nothing by its timing.
pub fn hash(secret: &str) -> Bytes32 {
    sha256(&[secret.as_bytes()])
}

/// Every live key of every org, as committed.
#[derive(Debug, Default)]
pub struct Keyring(RwLock<HashMap<Bytes32, Arc<ApiKey>>>);

impl Keyring {
    /// A keyring of these keys.
    pub fn new(keys: Vec<ApiKey>) -> Keyring {
        Keyring(RwLock::new(keys.into_iter().map(|key| (key.hash, Arc::new(key))).collect()))
    }

    /// The key whose secret this is.
    pub fn find(&self, secret: &str) -> Option<Arc<ApiKey>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&hash(secret)).cloned()
    }

    /// The live keys of an org, oldest first.
    pub fn of(&self, org: Uuid) -> Vec<Arc<ApiKey>> {
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut keys: Vec<_> = keys.values().filter(|key| key.org == org).cloned().collect();
        keys.sort_unstable_by_key(|key| key.id);
        keys
    }

    /// Every live key.
    pub fn all(&self) -> Vec<Arc<ApiKey>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Adds a key. Only for what is committed.
    pub fn put(&self, key: Arc<ApiKey>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(key.hash, key);
    }

    /// All live keys of an org, as another server committed them. What is known of their uses stays.
    pub fn replace(&self, org: Uuid, live: Vec<ApiKey>) {
        let mut keys = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let live: HashMap<_, _> = live.into_iter().map(|key| (key.hash, key)).collect();
        keys.retain(|hash, key| key.org != org || live.contains_key(hash));
        for (hash, key) in live {
            keys.entry(hash).or_insert_with(|| Arc::new(key));
        }
    }

    /// Removes a key: from now on it is unknown.
    pub fn remove(&self, id: Uuid) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).retain(|_, key| key.id != id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(secret_hash: Bytes32) -> ApiKey {
        let (id, org) = (Uuid::from_u128(1), Uuid::from_u128(2));
        ApiKey::new(id, org, Uuid::nil(), "k".to_owned(), "KvKey-".to_owned(), None, secret_hash, 0, None)
    }

    #[test]
    fn a_revoked_key_is_unknown_at_once() {
        let (secret, secret_hash) = generate("KvKey-").unwrap();
        assert_eq!(secret.len(), "KvKey-".len() + 64);
        let keys = Keyring::new(vec![key(secret_hash)]);
        assert!(keys.find(&secret).is_some());
        assert!(keys.find("KvKey-other").is_none());
        keys.remove(Uuid::from_u128(1));
        assert!(keys.find(&secret).is_none());
    }

    #[test]
    fn a_use_is_written_once() {
        let key = key([0; 32]);
        assert_eq!((key.last_used_us(), key.take_unsaved_use()), (None, None));
        key.used(7);
        assert_eq!(
            (key.last_used_us(), key.take_unsaved_use(), key.take_unsaved_use()),
            (Some(7), Some(7), None)
        );
    }
}
