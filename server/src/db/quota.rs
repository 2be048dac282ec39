//! Rows of quotas: every server takes from the same ones.

use uuid::Uuid;

use super::StoreError;
use super::database::{Database, soon};

/// A day, in microseconds.
const DAY_US: i64 = 86_400_000_000;

impl Database {
    /// Takes one intent of a day's, which has so many: how many are taken then, or none if there were none left.
    ///
    /// Servers that take at once do it one after the other, because it is one statement.
    pub async fn take_intent(&self, org: Uuid, day: i64, limit: i64) -> Result<Option<i64>, StoreError> {
        soon(self.take_at_last(org, day, limit)).await
    }

    async fn take_at_last(&self, org: Uuid, day: i64, limit: i64) -> Result<Option<i64>, StoreError> {
        let take = "UPDATE quota_days SET used = used + 1 WHERE org_id = $1 AND day = $2 AND used < $3 RETURNING used";
        let take = async || {
            // All rows are asked for, so that it is written when they are there.
            let taken: Vec<(i64,)> = self.writers().query(take).bind(org).bind(day).bind(limit).all().await?;
            Ok::<_, StoreError>(taken.first().map(|(used,)| *used))
        };
        if let Some(used) = take().await? {
            return Ok(Some(used));
        }
        let there = "SELECT used FROM quota_days WHERE org_id = $1 AND day = $2";
        let there: Option<(i64,)> = self.readers().query(there).bind(org).bind(day).optional().await?;
        if there.is_some() {
            return Ok(None);
        }
        // The first that is counted this day. There may have been others before anything was limited.
        let used = self.intents_since(org, day * DAY_US).await?;
        let first = "INSERT INTO quota_days (org_id, day, used) VALUES ($1, $2, $3) ON CONFLICT (org_id, day) DO NOTHING";
        self.writers().query(first).bind(org).bind(day).bind(used).execute().await?;
        let old = "DELETE FROM quota_days WHERE org_id = $1 AND day < $2";
        self.writers().query(old).bind(org).bind(day - 1).execute().await?;
        take().await
    }
}
