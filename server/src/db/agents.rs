//! Rows of agents.

use sqlx::FromRow;
use uuid::Uuid;

use super::StoreError;
use super::sql::{KEYS_AT_ONCE, Pool, Transaction, shown};
use crate::agents::{Agent, Inactive};

const COLUMNS: &str = "agent_id, agent_key, account_id, key_id, profile, declared, inactive, reason, revision, \
                       registered_at, updated_at";

pub(super) async fn put(transaction: &mut Transaction, org: Uuid, agent: &Agent) -> Result<(), StoreError> {
    let profile = serde_json::to_string(&agent.profile).map_err(|_| StoreError::Corrupt("agent"))?;
    let sql = "INSERT INTO agents (org_id, agent_id, agent_key, account_id, key_id, profile, declared, inactive, reason, \
               revision, registered_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) \
               ON CONFLICT (org_id, agent_id) DO UPDATE SET account_id = excluded.account_id, key_id = excluded.key_id, \
               profile = excluded.profile, declared = excluded.declared, inactive = excluded.inactive, \
               reason = excluded.reason, revision = excluded.revision, updated_at = excluded.updated_at";
    transaction
        .query(sql)
        .bind(org)
        .bind(agent.id)
        .bind(&agent.key)
        .bind(agent.account)
        .bind(agent.api_key)
        .bind(profile)
        .bind(i64::from(agent.declared))
        .bind(agent.inactive.map(Inactive::name))
        .bind(agent.reason.as_deref().map(shown))
        .bind(agent.revision)
        .bind(agent.registered_at_us)
        .bind(agent.updated_at_us)
        .execute()
        .await?;
    Ok(())
}

#[derive(FromRow)]
struct Row {
    agent_id: Uuid,
    agent_key: String,
    account_id: Option<Uuid>,
    key_id: Option<Uuid>,
    profile: String,
    declared: i64,
    inactive: Option<String>,
    reason: Option<String>,
    revision: i64,
    registered_at: i64,
    updated_at: i64,
}

pub(super) async fn all(pool: &Pool, org: Uuid) -> Result<Vec<Agent>, StoreError> {
    let query = pool.query("SELECT ").push(COLUMNS).push(" FROM agents WHERE org_id = ").push_bind(org);
    let rows: Vec<Row> = query.push(" ORDER BY agent_id").all().await?;
    rows.into_iter().map(agent).collect()
}

/// The agents with these ids.
pub(super) async fn some(pool: &Pool, org: Uuid, ids: &[Uuid]) -> Result<Vec<Agent>, StoreError> {
    let mut agents = Vec::with_capacity(ids.len());
    for some in ids.chunks(KEYS_AT_ONCE) {
        let query = pool.query("SELECT ").push(COLUMNS).push(" FROM agents WHERE org_id = ").push_bind(org);
        let rows: Vec<Row> = query.push(" AND agent_id IN ").push_list(some.iter().copied()).all().await?;
        agents.extend(rows.into_iter().map(agent).collect::<Result<Vec<_>, _>>()?);
    }
    Ok(agents)
}

fn agent(row: Row) -> Result<Agent, StoreError> {
    let corrupt = || StoreError::Corrupt("agent");
    Ok(Agent {
        id: row.agent_id,
        key: row.agent_key,
        account: row.account_id,
        api_key: row.key_id,
        profile: serde_json::from_str(&row.profile).map_err(|_| corrupt())?,
        declared: row.declared != 0,
        inactive: row.inactive.map(|name| Inactive::named(&name).ok_or_else(corrupt)).transpose()?,
        reason: row.reason,
        revision: row.revision,
        registered_at_us: row.registered_at,
        updated_at_us: row.updated_at,
    })
}
