//! Intents: what an agent declared that it wants to do, before anything of it is done.

use lictor_dsl::number::Number;
use uuid::Uuid;

use crate::vault::Bytes32;

/// One declared intent. Its event is the payload of the ledger entry with the same id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// Its id, which is also the id of its ledger entry.
    pub id: Uuid,
    /// Who declared it.
    pub agent: Uuid,
    /// What it wants to do.
    pub action: String,
    /// The risk that the policies gave it when it was declared.
    pub risk: Number,
    /// The caller's key against declaring it twice, unique in the org.
    pub idempotency_key: Option<String>,
    /// What was asked for, so that a reused key with another request is noticed.
    pub request_digest: Bytes32,
    /// When it was declared.
    pub created_at_us: i64,
}

/// Where every intent is until execution exists.
pub const PENDING: &str = "pending";

/// What an intent needs beside its event.
#[derive(Debug, Clone)]
pub struct Declaration {
    /// The caller's key against declaring it twice.
    pub idempotency_key: Option<String>,
    /// What was asked for.
    pub request_digest: Bytes32,
}
