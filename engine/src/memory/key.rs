//! Keys: what keeps the memory of one agent, task or order from that of another, as 128 bits.
//!
//! A key is the first half of SHA-256 over the org and the values of the keys. Two equal values have equal bytes, a
//! json text the same as a text. Nobody finds two values with one key, and no value can be read from it. A key that
//! was worked out lately is known again by a quicker hash (see [`Lately`]): an event is judged and remembered under the
//! same keys, and so is the next one of the same agent.

use std::cell::{Cell, RefCell};
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};

use sha2::{Digest, Sha256};

use crate::interpret::expr::Scene;
use crate::json::Json;
use crate::plan::memory::KeyPlan;
use crate::plan::node::Node;
use crate::value::Value;

/// The most keys that `each` makes of one list.
pub(super) const MOST_EACH: usize = 100;

/// A key of a memory.
pub(crate) type Key = u128;

/// Keys are random bits already.
#[derive(Debug, Default)]
pub(super) struct Bits(u64);

pub(super) type BitsState = BuildHasherDefault<Bits>;

impl Hasher for Bits {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, value: u128) {
        self.0 = value as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The bytes of values, from which a key is made.
#[derive(Debug, Clone)]
pub(crate) struct Bytes(Vec<u8>);

impl Bytes {
    /// No value yet, in this org.
    pub(crate) fn of_org(org: &str) -> Bytes {
        let mut bytes = Bytes::new();
        text(&mut bytes.0, b's', org);
        bytes
    }

    fn new() -> Bytes {
        let mut room = ROOM.take();
        room.clear();
        Bytes(room)
    }

    /// With one more value; none if it holds a number that does not fit.
    pub(crate) fn with(mut self, value: &Value<'_>) -> Option<Bytes> {
        absorb(&mut self.0, value)?;
        Some(self)
    }

    /// With any value of a list.
    pub(crate) fn with_any(mut self) -> Bytes {
        self.0.push(b'*');
        self
    }

    /// The key of these values.
    pub(crate) fn key(self) -> Key {
        let key = LATELY.with_borrow_mut(|lately| lately.key(&self.0));
        if self.0.capacity() <= MOST_ROOM {
            ROOM.set(self.0);
        }
        key
    }
}

thread_local! {
    static LATELY: RefCell<Lately> = RefCell::new(Lately::new());
    /// The room of the bytes before these.
    static ROOM: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What is larger than this, in bytes, is not kept for the next key.
const MOST_ROOM: usize = 4_096;

/// Keys that were worked out lately on this thread: each has one place, which the next one there takes.
///
/// Bytes are known again by 128 bits of a hash under a secret of this thread, and nobody learns secret or hash. Two
/// with the same hash are as unlikely as two with the same key, whoever chooses them.
#[derive(Debug)]
struct Lately {
    secret: RandomState,
    known: Vec<(u128, Key)>,
}

/// Keys that are known again.
const LATELY_KEYS: usize = 1_024;

impl Lately {
    fn new() -> Lately {
        Lately { secret: RandomState::new(), known: vec![(0, 0); LATELY_KEYS] }
    }

    fn key(&mut self, bytes: &[u8]) -> Key {
        let mut hash = self.secret.build_hasher();
        hash.write(bytes);
        let first = hash.finish();
        hash.write_u8(0);
        let mark = u128::from(first) << 64 | u128::from(hash.finish());
        match self.known.get_mut(first as usize % LATELY_KEYS) {
            Some((known, key)) if *known == mark => *key,
            Some(place) => {
                *place = (mark, sha(bytes));
                place.1
            }
            None => sha(bytes),
        }
    }
}

/// The first half of SHA-256.
fn sha(bytes: &[u8]) -> Key {
    let hash: [u8; 32] = Sha256::digest(bytes).into();
    hash.iter().take(16).fold(0, |key, byte| key << 8 | u128::from(*byte))
}

/// The one value, as 128 bits; none if it can't be known.
pub(crate) fn digest(value: &Value<'_>) -> Option<u128> {
    Bytes::new().with(value).map(Bytes::key)
}

/// The keys under which an event is remembered.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    /// Each once.
    pub certain: Vec<Key>,
    /// The key that stands for all values of a list that is too long, or has values that can't be known: what is
    /// asked under any of them may have been among those.
    pub any: Option<Key>,
}

/// The keys of a remembered event; none where one is absent.
pub(crate) fn keys_of<'e>(org: &str, plans: &'e [KeyPlan], scene: &Scene<'e>) -> Keys {
    let mut keys = vec![Bytes::of_org(org)];
    let mut any = false;
    for plan in plans {
        let Some(value) = key_value(plan, scene) else { return Keys::default() };
        if !plan.each {
            keys = keys.into_iter().filter_map(|bytes| bytes.with(&value)).collect();
            continue;
        }
        let count = value.count();
        any |= count.is_some_and(|count| count > MOST_EACH);
        // What stands where a list was expected is one value.
        let one = if count.is_none() { Some(value.clone()) } else { None };
        let elements =
            (0..count.unwrap_or(0).min(MOST_EACH)).filter_map(|index| value.element(index)).chain(one);
        let mut longer = Vec::new();
        for element in elements {
            for bytes in &keys {
                match bytes.clone().with(&element) {
                    Some(bytes) => longer.push(bytes),
                    None => any = true,
                }
            }
        }
        any |= longer.len() > MOST_EACH;
        longer.truncate(MOST_EACH);
        keys = longer;
    }
    let mut certain: Vec<Key> = keys.into_iter().map(Bytes::key).collect();
    certain.sort_unstable();
    certain.dedup();
    let any = any.then(|| any_key(org, plans, scene)).flatten();
    Keys { certain, any }
}

/// Calls back for each key of a remembered event, and for the one that stands for any value, which it says.
pub(super) fn each_key<'e>(
    org: &str,
    plans: &'e [KeyPlan],
    scene: &Scene<'e>,
    mut each: impl FnMut(Key, bool),
) {
    if !plans.iter().any(|plan| plan.each) {
        key_of(org, plans, scene).into_iter().for_each(|key| each(key, false));
        return;
    }
    let keys = keys_of(org, plans, scene);
    keys.certain.into_iter().for_each(|key| each(key, false));
    keys.any.into_iter().for_each(|key| each(key, true));
}

/// The one key, where no list gives several.
fn key_of<'e>(org: &str, plans: &'e [KeyPlan], scene: &Scene<'e>) -> Option<Key> {
    let mut bytes = Bytes::of_org(org);
    for plan in plans {
        bytes = bytes.with(&key_value(plan, scene)?)?;
    }
    Some(bytes.key())
}

/// The value of a key; for `each` also what is there instead of a list.
fn key_value<'e>(plan: &'e KeyPlan, scene: &Scene<'e>) -> Option<Value<'e>> {
    let value = scene.key(&plan.node);
    match &plan.node {
        Node::Take(_, inner) if plan.each && value.is_none() => scene.key(inner),
        _ => value,
    }
}

/// The key that stands for every value of the lists among the keys.
fn any_key<'e>(org: &str, plans: &'e [KeyPlan], scene: &Scene<'e>) -> Option<Key> {
    let mut bytes = Bytes::of_org(org);
    for plan in plans {
        bytes = if plan.each { bytes.with_any() } else { bytes.with(&key_value(plan, scene)?)? };
    }
    Some(bytes.key())
}

fn text(bytes: &mut Vec<u8>, tag: u8, text: &str) {
    bytes.push(tag);
    bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
}

/// Takes in a value; none if it holds a number that does not fit.
fn absorb(bytes: &mut Vec<u8>, value: &Value<'_>) -> Option<()> {
    let mut fixed = |tag: u8, value: i128| {
        bytes.push(tag);
        bytes.extend_from_slice(&value.to_le_bytes());
    };
    match value {
        Value::Bool(value) => fixed(b'b', i128::from(*value)),
        Value::Number(value) => fixed(b'n', value.billionths()),
        Value::Time(micros) => fixed(b't', i128::from(*micros)),
        Value::Duration(micros) => fixed(b'd', i128::from(*micros)),
        Value::Text(value) => text(bytes, b's', value),
        Value::Ip(address) => text(bytes, b'i', &address.to_string()),
        Value::Cidr(network) => text(bytes, b'c', &network.to_string()),
        Value::Json(value) => json(bytes, value)?,
        Value::Texts(_) | Value::Consts(_) | Value::Jsons(_) | Value::List(_) => {
            let count = value.count()?;
            bytes.push(b'l');
            bytes.extend_from_slice(&(count as u64).to_le_bytes());
            for index in 0..count {
                match value.element(index) {
                    Some(element) => absorb(bytes, &element)?,
                    None => bytes.push(b'0'),
                }
            }
        }
    }
    Some(())
}

fn json(bytes: &mut Vec<u8>, value: &Json) -> Option<()> {
    match value {
        Json::Null => bytes.push(b'0'),
        Json::Bool(value) => absorb(bytes, &Value::Bool(*value))?,
        Json::Number(value) => absorb(bytes, &Value::Number((*value)?))?,
        Json::Text(value) => text(bytes, b's', value),
        Json::List(values) => {
            bytes.push(b'l');
            bytes.extend_from_slice(&(values.len() as u64).to_le_bytes());
            for value in values {
                json(bytes, value)?;
            }
        }
        Json::Object(members) => {
            let mut present: Vec<_> = members.iter().filter(|(_, value)| !value.is_null()).collect();
            present.sort_by(|a, b| a.0.cmp(&b.0));
            bytes.push(b'o');
            bytes.extend_from_slice(&(present.len() as u64).to_le_bytes());
            for (key, value) in present {
                text(bytes, b's', key);
                json(bytes, value)?;
            }
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used, reason = "a test that can't go on should say so")]

    use super::*;

    /// Snapshots hold keys: what they are made from must not change.
    #[test]
    fn a_key_is_the_first_half_of_a_hash() {
        let mut bytes = b"s\x03\0\0\0\0\0\0\0orgs\x07\0\0\0\0\0\0\0agent-1n".to_vec();
        bytes.extend_from_slice(&5_000_000_000i128.to_le_bytes());
        let agent = Value::Text("agent-1".into());
        let five = Value::Number(lictor_dsl::number::Number::whole(5));
        let key = || {
            let bytes = Bytes::of_org("org").with(&agent).and_then(|bytes| bytes.with(&five));
            bytes.expect("known").key()
        };
        assert_eq!(key(), sha(&bytes));
        assert_eq!(key(), sha(&bytes), "known again");
    }

    /// Far more keys than are known at once, each asked twice in a row and again after all others.
    #[test]
    fn a_key_that_is_known_again_is_the_same() {
        for number in (0..3 * LATELY_KEYS).chain(0..LATELY_KEYS) {
            let agent = format!("agent-{number}");
            let value = Value::Text(agent.as_str().into());
            let (first, again) = (digest(&value), digest(&value));
            let mut bytes = Vec::new();
            text(&mut bytes, b's', &agent);
            assert_eq!((first, again), (Some(sha(&bytes)), Some(sha(&bytes))));
        }
    }
}
