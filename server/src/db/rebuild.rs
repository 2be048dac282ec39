//! Everything that is stored beside the ledger of an org and follows from it, to be compared with what follows.

use sqlx::FromRow;
use uuid::Uuid;

use super::database::{Database, bytes32};
use super::{StoreError, agents, incidents, memory, policies};
use crate::agents::Agent;
use crate::incidents::Incident;
use crate::ledger::{Head, StepBefore};
use crate::policies::Policy;
use crate::vault::Bytes32;
use lictor_engine::memory::Missing;

/// The rows of an org that follow from its ledger.
#[derive(Debug)]
#[expect(missing_docs, reason = "each is named for its table")]
pub struct Stored {
    pub head: Head,
    pub agents: Vec<Agent>,
    pub incidents: Vec<Incident>,
    pub tasks: Vec<(String, StepBefore, i64)>,
    pub intents: Vec<StoredIntent>,
    pub keys: Vec<StoredKey>,
    pub members: Vec<StoredMember>,
    pub policies: Vec<Policy>,
    pub filling: Vec<Missing>,
    pub sources: Vec<(Bytes32, String)>,
}

/// An intent, as far as it follows from its entry.
#[derive(Debug, FromRow)]
#[expect(missing_docs, reason = "named like the columns of the table, which is documented")]
pub struct StoredIntent {
    pub intent_id: Uuid,
    pub agent_id: Uuid,
    pub action: String,
    pub risk: i64,
    pub created_at: i64,
}

/// A key, as far as it follows from its entries.
#[derive(Debug, FromRow)]
#[expect(missing_docs, reason = "named like the columns of the table, which is documented")]
pub struct StoredKey {
    pub key_id: Uuid,
    pub account_id: Uuid,
    pub agent_id: Option<Uuid>,
    pub old_until: Option<i64>,
    pub revoked_at: Option<i64>,
}

/// A member, as far as they follow from entries.
#[derive(Debug, FromRow)]
#[expect(missing_docs, reason = "named like the columns of the table, which is documented")]
pub struct StoredMember {
    pub user_id: Uuid,
    pub role: String,
    pub accepted_at: Option<i64>,
}

impl Database {
    /// What is stored beside a ledger.
    pub async fn stored(&self, org: Uuid) -> Result<Stored, StoreError> {
        let pool = self.readers();
        let tasks: Vec<(String, i64, Vec<u8>, i64)> = pool
            .query("SELECT task, steps, hash, last_at FROM tasks WHERE org_id = $1")
            .bind(org)
            .all()
            .await?;
        let task = |(task, steps, hash, at): (String, i64, Vec<u8>, i64)| {
            Ok((task, StepBefore { steps, hash: bytes32(&hash, "task")? }, at))
        };
        let intents = "SELECT intent_id, agent_id, action, risk, created_at FROM intents WHERE org_id = $1";
        let keys =
            "SELECT key_id, account_id, agent_id, old_until, revoked_at FROM api_keys WHERE org_id = $1";
        let sources = "SELECT digest, source FROM policy_sources WHERE org_id = $1";
        let sources: Vec<(Vec<u8>, String)> = pool.query(sources).bind(org).all().await?;
        let source = |(digest, source): (Vec<u8>, String)| Ok((bytes32(&digest, "source")?, source));
        Ok(Stored {
            head: self.head(org).await?,
            agents: agents::all(pool, org).await?,
            incidents: incidents::all(pool, org).await?,
            tasks: tasks.into_iter().map(task).collect::<Result<_, StoreError>>()?,
            intents: pool.query(intents).bind(org).all().await?,
            keys: pool.query(keys).bind(org).all().await?,
            members: pool
                .query("SELECT user_id, role, accepted_at FROM members WHERE org_id = $1")
                .bind(org)
                .all()
                .await?,
            policies: policies::all(pool, org).await?,
            filling: memory::filling(pool, org).await?,
            sources: sources.into_iter().map(source).collect::<Result<_, StoreError>>()?,
        })
    }
}
