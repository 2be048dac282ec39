//! API keys: random, shown once, kept as a hash, revocable at once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use uuid::Uuid;

use crate::ledger::sha256;
use crate::vault::{Bytes32, OpenError, hex, random};

/// The prefixes that clients know, with the first as the default.
pub const PREFIXES: [&str; 3] = ["KvKey-", "kz_live_", "ka_live_"];

/// Hexadecimal digits at the end of a key that follow from those before them.
const CHECK_DIGITS: usize = 8;

/// A secret that was replaced and is good for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OldSecret {
    /// SHA-256 of it.
    pub hash: Bytes32,
    /// Until when.
    pub until_us: i64,
}

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
    /// The secret before it.
    pub old: Option<OldSecret>,
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
        ApiKey {
            id,
            org,
            account,
            name,
            prefix,
            agent,
            hash,
            old: None,
            created_at_us,
            last_used_us,
            unsaved_use,
        }
    }

    /// With the secret before it.
    pub fn with_old(self, old: Option<OldSecret>) -> ApiKey {
        ApiKey { old, ..self }
    }

    /// The same key with another secret, which its agents go on with. The one until now is good until then.
    pub fn rotated(&self, hash: Bytes32, old_until_us: Option<i64>) -> ApiKey {
        let old = old_until_us.map(|until_us| OldSecret { hash: self.hash, until_us });
        let ApiKey { id, org, account, agent, created_at_us, .. } = *self;
        let (name, prefix, last_used_us) = (self.name.clone(), self.prefix.clone(), self.last_used_us());
        let key = ApiKey::new(id, org, account, name, prefix, agent, hash, created_at_us, last_used_us);
        key.unsaved_use.store(self.unsaved_use.load(Ordering::Relaxed), Ordering::Relaxed);
        key.with_old(old)
    }

    /// The hashes of the secrets that it is found by.
    fn hashes(&self) -> impl Iterator<Item = Bytes32> {
        [Some(self.hash), self.old.map(|old| old.hash)].into_iter().flatten()
    }

    /// Whether the secret with this hash is good now.
    fn takes(&self, hash: &Bytes32, now_us: i64) -> bool {
        self.hash == *hash || self.old.is_some_and(|old| old.hash == *hash && now_us < old.until_us)
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

    /// What was taken as written was not.
    pub fn not_saved(&self) {
        self.unsaved_use.store(true, Ordering::Relaxed);
    }
}

/// A new secret with this prefix, and the hash that is kept of it.
///
/// Its last digits are the first of the SHA-256 of all before them: whoever searches texts for leaked keys can tell one from
/// what only looks like it.
pub fn generate(prefix: &str) -> Result<(String, Bytes32), OpenError> {
    let random = format!("{prefix}{}", hex(&random()?));
    let check: String = hex(&hash(&random)).chars().take(CHECK_DIGITS).collect();
    let secret = format!("{random}{check}");
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
pub struct Keyring(RwLock<Keys>);

#[derive(Debug, Default)]
struct Keys {
    by_hash: HashMap<Bytes32, Arc<ApiKey>>,
    by_id: HashMap<Uuid, Arc<ApiKey>>,
}

impl Keys {
    fn put(&mut self, key: Arc<ApiKey>) {
        self.remove(key.id);
        self.by_hash.extend(key.hashes().map(|hash| (hash, Arc::clone(&key))));
        self.by_id.insert(key.id, key);
    }

    fn remove(&mut self, id: Uuid) {
        for hash in self.by_id.remove(&id).iter().flat_map(|key| key.hashes()) {
            self.by_hash.remove(&hash);
        }
    }
}

impl Keyring {
    /// A keyring of these keys.
    pub fn new(keys: Vec<ApiKey>) -> Keyring {
        let keyring = Keyring::default();
        keys.into_iter().for_each(|key| keyring.put(Arc::new(key)));
        keyring
    }

    fn read(&self) -> RwLockReadGuard<'_, Keys> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Keys> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key whose secret this is.
    pub fn find(&self, secret: &str, now_us: i64) -> Option<Arc<ApiKey>> {
        let hash = hash(secret);
        self.read().by_hash.get(&hash).filter(|key| key.takes(&hash, now_us)).cloned()
    }

    /// The live key of an org with this id.
    pub fn by_id(&self, org: Uuid, id: Uuid) -> Option<Arc<ApiKey>> {
        self.read().by_id.get(&id).filter(|key| key.org == org).cloned()
    }

    /// The live keys of an org, oldest first.
    pub fn of(&self, org: Uuid) -> Vec<Arc<ApiKey>> {
        let mut keys: Vec<_> = self.read().by_id.values().filter(|key| key.org == org).cloned().collect();
        keys.sort_unstable_by_key(|key| key.id);
        keys
    }

    /// Every live key.
    pub fn all(&self) -> Vec<Arc<ApiKey>> {
        self.read().by_id.values().cloned().collect()
    }

    /// Adds a key, or replaces the one with its id. Only for what is committed.
    pub fn put(&self, key: Arc<ApiKey>) {
        self.write().put(key);
    }

    /// All live keys of an org, as another server committed them. What is known of their uses stays.
    pub fn replace(&self, org: Uuid, live: Vec<ApiKey>) {
        let mut keys = self.write();
        let gone = |key: &&Arc<ApiKey>| key.org == org && !live.iter().any(|other| other.id == key.id);
        let gone: Vec<_> = keys.by_id.values().filter(gone).map(|key| key.id).collect();
        gone.into_iter().for_each(|id| keys.remove(id));
        for key in live {
            let known = keys.by_id.get(&key.id);
            if known.is_none_or(|known| known.hash != key.hash || known.old != key.old) {
                keys.put(Arc::new(key));
            }
        }
    }

    /// Removes a key: from now on it is unknown.
    pub fn remove(&self, id: Uuid) {
        self.write().remove(id);
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
        let keys = Keyring::new(vec![key(secret_hash)]);
        assert!(keys.find(&secret, 0).is_some());
        assert!(keys.find("KvKey-other", 0).is_none());
        keys.remove(Uuid::from_u128(1));
        assert!(keys.find(&secret, 0).is_none());
    }

    #[test]
    fn the_end_of_a_key_follows_from_the_rest() {
        let (secret, _) = generate("ka_live_").unwrap();
        let (random, check) = secret.split_at(secret.len() - CHECK_DIGITS);
        assert_eq!(random.len(), "ka_live_".len() + 64);
        assert!(hex(&sha256(&[random.as_bytes()])).starts_with(check));
    }

    #[test]
    fn an_old_secret_is_good_as_long_as_was_said() {
        let (first, first_hash) = generate("KvKey-").unwrap();
        let (second, second_hash) = generate("KvKey-").unwrap();
        let (third, third_hash) = generate("KvKey-").unwrap();
        let keys = Keyring::new(vec![key(first_hash)]);
        let good = |secret: &str, now_us| keys.find(secret, now_us).is_some();
        keys.put(Arc::new(key(first_hash).rotated(second_hash, Some(10))));
        assert_eq!((good(&first, 9), good(&first, 10), good(&second, 99)), (true, false, true));
        let rotated = keys.by_id(Uuid::from_u128(2), Uuid::from_u128(1)).unwrap().rotated(third_hash, None);
        keys.replace(Uuid::from_u128(2), vec![rotated]);
        assert_eq!((good(&first, 0), good(&second, 0), good(&third, 0)), (false, false, true));
        assert_eq!(keys.0.read().unwrap().by_hash.len(), 1);
    }

    /// With a hundred thousand keys finding one takes as long as with a hundred.
    #[test]
    fn finding_a_key_does_not_depend_on_how_many_there_are() {
        let filled = |count: u128| {
            let one = |number: u128| {
                let hash = hash(&number.to_string());
                ApiKey { id: Uuid::from_u128(number), ..key(hash) }
            };
            Keyring::new((0..count).map(one).collect())
        };
        let took = |keys: &Keyring| {
            let round = |_| {
                let begun = std::time::Instant::now();
                (0..200).for_each(|number: u32| assert!(keys.find(&(number % 100).to_string(), 0).is_some()));
                begun.elapsed()
            };
            (0..20).map(round).min().unwrap()
        };
        let (few, many) = (took(&filled(100)), took(&filled(100_000)));
        assert!(many < few * 20, "{many:?} with many, {few:?} with few");
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
        // Unless that failed. Another secret is the same key.
        key.not_saved();
        assert_eq!(key.rotated([1; 32], None).take_unsaved_use(), Some(7));
    }
}
