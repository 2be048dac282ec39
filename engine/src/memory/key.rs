//! Keys: what keeps the memory of one agent, task or order from that of another, as 128 bits.
//!
//! A key is the first half of SHA-256 over the org and the values of the keys. Two equal values have equal bytes, a
//! json text the same as a text. Nobody finds two values with one key, and no value can be read from it.

use std::hash::{BuildHasherDefault, Hasher};

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

/// The key of these values; none if one is unknown.
pub(crate) fn key(org: &str, values: &[Option<Value<'_>>]) -> Option<Key> {
    let mut hash = begin(org);
    for value in values {
        absorb(&mut hash, value.as_ref()?)?;
    }
    Some(finish(hash))
}

/// The one value, as 128 bits; none if it can't be known.
pub(crate) fn digest(value: &Value<'_>) -> Option<u128> {
    let mut hash = Sha256::new();
    absorb(&mut hash, value)?;
    Some(finish(hash))
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
    let mut keys = vec![begin(org)];
    let mut any = false;
    for plan in plans {
        let Some(value) = key_value(plan, scene) else { return Keys::default() };
        if !plan.each {
            keys.retain_mut(|hash| absorb(hash, &value).is_some());
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
            for hash in &keys {
                let mut hash = hash.clone();
                match absorb(&mut hash, &element) {
                    Some(()) => longer.push(hash),
                    None => any = true,
                }
            }
        }
        any |= longer.len() > MOST_EACH;
        longer.truncate(MOST_EACH);
        keys = longer;
    }
    let mut certain: Vec<Key> = keys.into_iter().map(finish).collect();
    certain.sort_unstable();
    certain.dedup();
    let any = any.then(|| any_key(org, plans, scene)).flatten();
    Keys { certain, any }
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
    let values: Vec<Option<Value<'e>>> =
        plans.iter().filter(|plan| !plan.each).map(|plan| key_value(plan, scene)).collect();
    asked_any(org, plans, values)
}

/// The same key from the side of the asker: `values` are those of the keys without `each`.
pub(crate) fn asked_any(org: &str, plans: &[KeyPlan], values: Vec<Option<Value<'_>>>) -> Option<Key> {
    let mut hash = begin(org);
    let mut values = values.into_iter();
    for plan in plans {
        if plan.each {
            hash.update(b"*");
        } else {
            absorb(&mut hash, &values.next()??)?;
        }
    }
    Some(finish(hash))
}

fn begin(org: &str) -> Sha256 {
    let mut hash = Sha256::new();
    text(&mut hash, b's', org);
    hash
}

fn finish(hash: Sha256) -> u128 {
    let bytes: [u8; 32] = hash.finalize().into();
    bytes.iter().take(16).fold(0, |key, byte| key << 8 | u128::from(*byte))
}

fn text(hash: &mut Sha256, tag: u8, text: &str) {
    hash.update([tag]);
    hash.update((text.len() as u64).to_le_bytes());
    hash.update(text);
}

/// Takes in a value; none if it holds a number that does not fit.
fn absorb(hash: &mut Sha256, value: &Value<'_>) -> Option<()> {
    let mut fixed = |tag: u8, value: i128| {
        hash.update([tag]);
        hash.update(value.to_le_bytes());
    };
    match value {
        Value::Bool(value) => fixed(b'b', i128::from(*value)),
        Value::Number(value) => fixed(b'n', value.billionths()),
        Value::Time(micros) => fixed(b't', i128::from(*micros)),
        Value::Duration(micros) => fixed(b'd', i128::from(*micros)),
        Value::Text(value) => text(hash, b's', value),
        Value::Ip(address) => text(hash, b'i', &address.to_string()),
        Value::Cidr(network) => text(hash, b'c', &network.to_string()),
        Value::Json(value) => json(hash, value)?,
        Value::Texts(_) | Value::Consts(_) | Value::Jsons(_) | Value::List(_) => {
            let count = value.count()?;
            hash.update([b'l']);
            hash.update((count as u64).to_le_bytes());
            for index in 0..count {
                match value.element(index) {
                    Some(element) => absorb(hash, &element)?,
                    None => hash.update(b"0"),
                }
            }
        }
    }
    Some(())
}

fn json(hash: &mut Sha256, value: &Json) -> Option<()> {
    match value {
        Json::Null => hash.update(b"0"),
        Json::Bool(value) => absorb(hash, &Value::Bool(*value))?,
        Json::Number(value) => absorb(hash, &Value::Number((*value)?))?,
        Json::Text(value) => text(hash, b's', value),
        Json::List(values) => {
            hash.update([b'l']);
            hash.update((values.len() as u64).to_le_bytes());
            for value in values {
                json(hash, value)?;
            }
        }
        Json::Object(members) => {
            let mut present: Vec<_> = members.iter().filter(|(_, value)| !value.is_null()).collect();
            present.sort_by(|a, b| a.0.cmp(&b.0));
            hash.update([b'o']);
            hash.update((present.len() as u64).to_le_bytes());
            for (key, value) in present {
                text(hash, b's', key);
                json(hash, value)?;
            }
        }
    }
    Some(())
}
