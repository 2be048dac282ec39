//! Rows of tasks.

use sqlx::{SqliteConnection, SqlitePool};
use uuid::Uuid;

use super::StoreError;
use super::sqlite::bytes32;
use crate::ledger::StepBefore;

pub(super) async fn put(
    connection: &mut SqliteConnection,
    org: Uuid,
    task: &str,
    step: StepBefore,
    at_us: i64,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO tasks (org_id, task, steps, hash, last_at) VALUES ($1, $2, $3, $4, $5) \
               ON CONFLICT (org_id, task) DO UPDATE SET steps = excluded.steps, hash = excluded.hash, last_at = excluded.last_at";
    sqlx::query(sql)
        .bind(org)
        .bind(task)
        .bind(step.steps)
        .bind(step.hash.as_slice())
        .bind(at_us)
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn find(pool: &SqlitePool, org: Uuid, task: &str) -> Result<Option<StepBefore>, StoreError> {
    let sql = "SELECT steps, hash FROM tasks WHERE org_id = $1 AND task = $2";
    let row: Option<(i64, Vec<u8>)> = sqlx::query_as(sql).bind(org).bind(task).fetch_optional(pool).await?;
    row.map(|(steps, hash)| Ok(StepBefore { steps, hash: bytes32(&hash, "task")? })).transpose()
}
