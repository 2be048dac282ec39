//! Requests that may be sent again: what names one, and the answer that is kept of it.
//!
//! Whoever sends the same request with the same key once more gets the answer of the first time. The answer is written
//! in the transaction of what the request did, so that there is never the one without the other.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::vault::{Bytes32, CipherError, Sealed, Vault};

/// How long an answer is kept, in microseconds: a day.
pub const KEPT_US: i64 = 86_400 * 1_000_000;

/// What names a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Name {
    /// The org that it acts in.
    pub org: Uuid,
    /// The account that sends it.
    pub account: Uuid,
    /// The route that it is sent to.
    pub route: String,
    /// What its sender calls it.
    pub key: String,
}

/// A request that is to be done once.
#[derive(Debug, Clone)]
pub struct Claim {
    /// What names it.
    pub name: Name,
    /// SHA-256 of what is asked.
    pub digest: Bytes32,
}

/// An answer as it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// Its status.
    pub status: u16,
    /// Its `ETag`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// Its body.
    pub body: String,
}

impl Shown {
    /// An answer with this body. Nothing if it has no JSON, which no answer here is without.
    pub fn new(status: u16, body: &impl Serialize) -> Option<Shown> {
        let body = serde_json::to_string(body).ok()?;
        Some(Shown { status, etag: None, body })
    }

    /// An answer without a body.
    pub fn empty(status: u16) -> Shown {
        Shown { status, etag: None, body: String::new() }
    }
}

/// Makes an answer of what came of a request.
pub type Show<T> = Box<dyn FnOnce(&T) -> Option<Shown> + Send + Sync>;

/// How the answer to a request is kept: from what came of its work, before that is durable.
pub struct Keep<T> {
    /// The request.
    pub claim: Claim,
    /// Its answer; none for one that is not worth keeping, because nothing happened.
    pub show: Show<T>,
}

impl<T: 'static> Keep<T> {
    /// The same, of something that this is made from. Nothing is kept where it can't be made.
    pub fn of<U>(self, make: impl FnOnce(&U) -> Option<T> + Send + Sync + 'static) -> Keep<U> {
        let Keep { claim, show } = self;
        Keep { claim, show: Box::new(move |value| show(&make(value)?)) }
    }
}

/// An answer as it is stored.
#[derive(Debug, Clone)]
pub struct KeptAnswer {
    /// What names the request.
    pub name: Name,
    /// Its own id.
    pub id: Uuid,
    /// The first and the last entry of the ledger that it tells of.
    pub entries: (i64, i64),
    /// What was asked and what was answered.
    pub sealed: Sealed,
    /// Since when it is kept.
    pub at_us: i64,
}

/// What is encrypted: what was asked may be a password, of which no digest is to lie open.
#[derive(Serialize, Deserialize)]
struct Content {
    request: Bytes32,
    answer: Shown,
}

impl KeptAnswer {
    /// The answer to a request, to be stored.
    pub fn seal(
        vault: &Vault,
        claim: Claim,
        answer: Shown,
        entries: (i64, i64),
        at_us: i64,
    ) -> Result<KeptAnswer, CipherError> {
        let id = Uuid::now_v7();
        let content = Content { request: claim.digest, answer };
        let content = serde_json::to_vec(&content).map_err(|_| CipherError)?;
        let sealed = vault.seal(claim.name.org, id, &content)?;
        Ok(KeptAnswer { name: claim.name, id, entries, sealed, at_us })
    }
}

/// The request that a stored answer answers, by its digest, and the answer.
pub fn open(
    vault: &Vault,
    org: Uuid,
    id: Uuid,
    wrapped_key: &[u8],
    ciphertext: &[u8],
) -> Result<(Bytes32, Shown), CipherError> {
    let content = vault.unseal(org, id, wrapped_key, ciphertext)?;
    let Content { request, answer } = serde_json::from_slice(&content).map_err(|_| CipherError)?;
    Ok((request, answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_opens_in_its_org_only_and_says_nothing_before() {
        let vault = Vault::new(&[1; 32]);
        let (org, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let name = Name { org, account: Uuid::nil(), route: "/x".to_owned(), key: "k".to_owned() };
        let claim = Claim { name, digest: [7; 32] };
        let answer = Shown { etag: Some("\"1\"".to_owned()), ..Shown::new(201, &["canary"]).unwrap() };
        let kept = KeptAnswer::seal(&vault, claim, answer.clone(), (3, 4), 5).unwrap();
        let Sealed { wrapped_key, ciphertext, .. } = &kept.sealed;
        assert_eq!(open(&vault, org, kept.id, wrapped_key, ciphertext).unwrap(), ([7; 32], answer));
        assert!(open(&vault, other, kept.id, wrapped_key, ciphertext).is_err());
        assert!(!ciphertext.windows(6).any(|bytes| bytes == b"canary" || bytes == [7; 6]));
    }
}
