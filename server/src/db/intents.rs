//! Rows of intents.

use lictor_dsl::number::Number;
use sqlx::FromRow;
use uuid::Uuid;

use super::StoreError;
use super::database::{Database, bytes32, soon};
use super::sql::{Pool, Transaction};
use crate::intents::{Intent, PENDING};

pub(super) async fn insert(
    transaction: &mut Transaction,
    org: Uuid,
    intent: &Intent,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO intents (org_id, intent_id, agent_id, action, status, risk, idempotency_key, request_digest, \
               created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    transaction
        .query(sql)
        .bind(org)
        .bind(intent.id)
        .bind(intent.agent)
        .bind(&intent.action)
        .bind(PENDING)
        .bind(super::entries::risk_column(intent.risk))
        .bind(&intent.idempotency_key)
        .bind(intent.request_digest.as_slice())
        .bind(intent.created_at_us)
        .execute()
        .await?;
    Ok(())
}

#[derive(FromRow)]
struct Row {
    intent_id: Uuid,
    agent_id: Uuid,
    action: String,
    risk: i64,
    idempotency_key: Option<String>,
    request_digest: Vec<u8>,
    created_at: i64,
}

fn intent(row: Row) -> Result<Intent, StoreError> {
    Ok(Intent {
        id: row.intent_id,
        agent: row.agent_id,
        action: row.action,
        risk: Number::from_billionths(i128::from(row.risk)),
        idempotency_key: row.idempotency_key,
        request_digest: bytes32(&row.request_digest, "intent")?,
        created_at_us: row.created_at,
    })
}

pub(super) async fn by_key(pool: &Pool, org: Uuid, key: &str) -> Result<Option<Intent>, StoreError> {
    let sql = "SELECT intent_id, agent_id, action, risk, idempotency_key, request_digest, created_at FROM intents \
               WHERE org_id = $1 AND idempotency_key = $2";
    let row: Option<Row> = pool.query(sql).bind(org).bind(key).optional().await?;
    row.map(intent).transpose()
}

impl Database {
    /// How many intents an org declared since then.
    pub async fn intents_since(&self, org: Uuid, at_us: i64) -> Result<i64, StoreError> {
        let sql = "SELECT COUNT(*) FROM intents WHERE org_id = $1 AND created_at >= $2";
        let (count,): (i64,) = soon(self.readers().query(sql).bind(org).bind(at_us).one()).await?;
        Ok(count)
    }

    /// An intent by its id. It is about to be acted on, so what is elsewhere by now is not good enough.
    pub async fn intent(&self, org: Uuid, id: Uuid) -> Result<Option<Intent>, StoreError> {
        self.is_in_place()?;
        let sql = "SELECT intent_id, agent_id, action, risk, idempotency_key, request_digest, created_at FROM intents \
                   WHERE org_id = $1 AND intent_id = $2";
        let row: Option<Row> = soon(self.readers().query(sql).bind(org).bind(id).optional()).await?;
        row.map(intent).transpose()
    }
}
