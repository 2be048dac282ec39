//! Rows of tasks.

use uuid::Uuid;

use super::StoreError;
use super::database::bytes32;
use super::sql::{Insert, Pool, ROWS_AT_ONCE, Transaction};
use crate::ledger::StepBefore;

static PUT: Insert = Insert::new(
    "INSERT INTO tasks (org_id, task, steps, hash, last_at) VALUES",
    5,
    "ON CONFLICT (org_id, task) DO UPDATE SET steps = excluded.steps, hash = excluded.hash, last_at = excluded.last_at",
);

/// Writes where tasks stand, each of them once.
pub(super) async fn put(
    transaction: &mut Transaction,
    org: Uuid,
    tasks: &[(&str, StepBefore, i64)],
) -> Result<(), StoreError> {
    for some in tasks.chunks(ROWS_AT_ONCE) {
        let mut query = transaction.insert(&PUT, some.len());
        for (task, step, at_us) in some {
            query = query.bind(org).bind(*task).bind(step.steps).bind(step.hash.as_slice()).bind(*at_us);
        }
        query.execute().await?;
    }
    Ok(())
}

pub(super) async fn find(pool: &Pool, org: Uuid, task: &str) -> Result<Option<StepBefore>, StoreError> {
    let sql = "SELECT steps, hash FROM tasks WHERE org_id = $1 AND task = $2";
    let row: Option<(i64, Vec<u8>)> = pool.query(sql).bind(org).bind(task).optional().await?;
    row.map(|(steps, hash)| Ok(StepBefore { steps, hash: bytes32(&hash, "task")? })).transpose()
}
