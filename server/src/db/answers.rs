//! Rows of answers that are kept for requests that may be sent again.

use sqlx::FromRow;
use uuid::Uuid;

use super::StoreError;
use super::database::{Database, soon};
use super::sql::{KEYS_AT_ONCE, Pool, Transaction};
use crate::retries::{KeptAnswer, Name};

/// Answers of this time go at once: others wait to write meanwhile.
const STEP_US: i64 = 10 * 1_000_000;

pub(super) async fn insert(transaction: &mut Transaction, answer: &KeptAnswer) -> Result<(), StoreError> {
    let sql = "INSERT INTO answers (org_id, account_id, route, idempotency_key, answer_id, first_seq, last_seq, \
               wrapped_key, ciphertext, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING";
    let KeptAnswer { name, id, entries: (first, last), sealed, at_us } = answer;
    let kept = transaction
        .query(sql)
        .bind(name.org)
        .bind(name.account)
        .bind(&name.route)
        .bind(&name.key)
        .bind(*id)
        .bind(*first)
        .bind(*last)
        .bind(&sealed.wrapped_key)
        .bind(&sealed.ciphertext)
        .bind(*at_us)
        .execute()
        .await?;
    if kept == 1 { Ok(()) } else { Err(StoreError::AnsweredBefore) }
}

/// Which requests of an org with one of these keys were answered.
pub(super) async fn answered(pool: &Pool, org: Uuid, keys: &[&str]) -> Result<Vec<Name>, StoreError> {
    let mut answered = Vec::new();
    for keys in keys.chunks(KEYS_AT_ONCE) {
        let sql = "SELECT account_id, route, idempotency_key FROM answers WHERE org_id = $1 AND idempotency_key IN ";
        let rows: Vec<(Uuid, String, String)> =
            pool.query(sql).bind(org).push_list(keys.iter().copied()).all().await?;
        answered.extend(rows.into_iter().map(|(account, route, key)| Name { org, account, route, key }));
    }
    Ok(answered)
}

/// A stored answer.
#[derive(Debug, FromRow)]
#[expect(missing_docs, reason = "named like the columns of the table, which is documented")]
pub struct AnswerRow {
    pub answer_id: Uuid,
    pub wrapped_key: Vec<u8>,
    pub ciphertext: Vec<u8>,
}

impl Database {
    /// The answer that a request got.
    pub async fn answer(&self, name: &Name) -> Result<Option<AnswerRow>, StoreError> {
        let sql = "SELECT answer_id, wrapped_key, ciphertext FROM answers \
                   WHERE org_id = $1 AND account_id = $2 AND route = $3 AND idempotency_key = $4";
        let query = self.readers().query(sql).bind(name.org).bind(name.account);
        soon(query.bind(&name.route).bind(&name.key).optional()).await
    }

    /// Forgets the answers that were given before this time, some at a time.
    pub async fn forget_answers(&self, before_us: i64) -> Result<(), StoreError> {
        loop {
            let (oldest,): (Option<i64>,) =
                self.readers().query("SELECT MIN(created_at) FROM answers").one().await?;
            let Some(oldest) = oldest.filter(|oldest| *oldest < before_us) else { return Ok(()) };
            let sql = "DELETE FROM answers WHERE created_at < $1";
            let until_us = before_us.min(oldest.saturating_add(STEP_US));
            self.writers().query(sql).bind(until_us).execute().await?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Address, Batch, Change, Store, Turn};
    use super::*;
    use crate::ledger::Head;
    use crate::retries::{Claim, Shown};
    use crate::vault::Vault;

    #[tokio::test]
    async fn answers_are_forgotten_when_their_time_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&Address::File(folder.path().join("a.db"))).await.unwrap();
        let (vault, org) = (Vault::new(&[1; 32]), Uuid::from_u128(1));
        let name =
            |key: usize| Name { org, account: Uuid::nil(), route: "/x".to_owned(), key: key.to_string() };
        let times = [0, 5, 3 * STEP_US, 9 * STEP_US, 9 * STEP_US + 1];
        let answer = |(key, at_us): (usize, &i64)| {
            let claim = Claim { name: name(key), digest: [0; 32] };
            let answer = KeptAnswer::seal(&vault, claim, Shown::empty(204), (0, 0), *at_us).unwrap();
            Change::Answer(Box::new(answer))
        };
        let changes = [Change::Org { name: "o".to_owned(), created_at_us: 1 }].into_iter();
        let changes: Vec<_> = changes.chain(times.iter().enumerate().map(answer)).collect();
        let mut after = Head { next_seq: 1, hash: [1; 32], at_us: 5 };
        let batch = |before, after, changes| Batch {
            org,
            before,
            after,
            entries: Vec::new(),
            payloads: Vec::new(),
            changes,
        };
        database.commit(Turn::alone(), batch(Head::EMPTY, after, changes)).await.unwrap();
        database.forget_answers(9 * STEP_US).await.unwrap();
        let mut kept = database.answered(org, vec!["0", "1", "2", "3", "4", "5"]).await.unwrap();
        kept.sort_by(|one, other| one.key.cmp(&other.key));
        assert_eq!(kept, [name(3), name(4)]);
        assert!(database.answer(&name(2)).await.unwrap().is_none());
        assert!(database.answer(&name(3)).await.unwrap().is_some());
        // One that is there is not replaced, and what was to be written with it is not written.
        let before = after;
        after.next_seq = 2;
        let again = batch(before, after, vec![answer((3, &times[4]))]);
        assert!(matches!(database.commit(Turn::alone(), again).await, Err(StoreError::AnsweredBefore)));
        assert_eq!(database.next_seq(org).await.unwrap(), 1);
        database.close().await;
    }
}
