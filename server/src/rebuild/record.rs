//! What entries say, as far as something beside the ledger follows from it.

use serde::Deserialize;
use uuid::Uuid;

use crate::policies::TakesPart;

/// What every entry says.
#[derive(Debug, Deserialize)]
pub(super) struct Common {
    pub(super) id: Uuid,
    pub(super) at: i64,
    pub(super) kind: String,
    pub(super) source: String,
    pub(super) agent: Option<Uuid>,
    pub(super) task: Option<String>,
    pub(super) actor: String,
    pub(super) action: Option<String>,
    pub(super) decision: Option<Decided>,
}

/// What was decided.
#[derive(Debug, Deserialize)]
pub(super) struct Decided {
    pub(super) outcome: String,
    pub(super) risk: String,
}

/// What the entry of a judged event says beside that.
#[derive(Debug, Deserialize)]
pub(super) struct Judged {
    pub(super) agent_revision: i64,
    pub(super) payload: String,
    pub(super) step: Option<i64>,
    pub(super) task_hash: Option<String>,
}

/// The incidents that an entry opened or added to.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Hits {
    #[serde(default)]
    pub(super) incidents: Vec<Hit>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Hit {
    pub(super) id: Uuid,
    pub(super) rule: String,
    pub(super) severity: String,
    #[serde(default)]
    pub(super) new: i64,
    #[serde(default)]
    pub(super) witnesses: Vec<i64>,
}

/// An incident that somebody moved on.
#[derive(Debug, Deserialize)]
pub(super) struct Moved {
    pub(super) incident: Uuid,
    pub(super) status: String,
}

/// A change of the policies.
#[derive(Debug, Deserialize)]
pub(super) struct Change {
    pub(super) policies: Option<Vec<TakesPart>>,
    #[serde(default)]
    pub(super) filling: Vec<Waiting>,
}

#[derive(Debug, Deserialize, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) memory: String,
    pub(super) rules: Vec<String>,
}

/// An act about a key.
#[derive(Debug, Deserialize)]
pub(super) struct Key {
    pub(super) key: Uuid,
    pub(super) account: Option<Uuid>,
    pub(super) key_agent: Option<Uuid>,
    pub(super) overlap_s: Option<i64>,
}

/// An act about a person.
#[derive(Debug, Deserialize)]
pub(super) struct Person {
    pub(super) user: Uuid,
    pub(super) role: Option<String>,
}

/// The beginning of an org.
#[derive(Debug, Deserialize)]
pub(super) struct Founded {
    pub(super) owner: Uuid,
}

/// Content that went.
#[derive(Debug, Deserialize)]
pub(super) struct Erased {
    #[serde(default)]
    pub(super) agents: Vec<Uuid>,
}

/// A new key of the ledger.
#[derive(Debug, Deserialize)]
pub(super) struct Announced {
    pub(super) ledger_key: String,
}
