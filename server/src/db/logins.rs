//! Rows of wrong logins: every server counts in the same ones.

use super::StoreError;
use super::database::{Database, soon};
use crate::vault::Bytes32;

impl Database {
    /// Counts a try as wrong, unless the address has to wait: which one in a row it is, or until when it waits.
    ///
    /// The last of the free ones locks it. Servers that count at once do it one after the other, because it is one statement.
    pub async fn count_login(&self, try_: LoginTry<'_>) -> Result<Result<i64, i64>, StoreError> {
        let LoginTry { address, is_known, now_us, free_tries, locked_us } = try_;
        let sql = "INSERT INTO login_tries (address, is_known, wrong, wait_until, last_at) VALUES ($1, $2, 1, 0, $3) \
                   ON CONFLICT (address) DO UPDATE SET is_known = excluded.is_known, last_at = excluded.last_at, \
                   wrong = CASE WHEN login_tries.wrong >= $4 THEN 1 ELSE login_tries.wrong + 1 END, \
                   wait_until = CASE WHEN login_tries.wrong + 1 = $4 THEN $5 ELSE 0 END \
                   WHERE login_tries.wait_until <= $3 RETURNING wrong";
        let query = self.writers().query(sql).bind(address.as_slice()).bind(i64::from(is_known)).bind(now_us);
        // All rows are asked for, so that it is written when they are there.
        let counted: Vec<(i64,)> = soon(query.bind(free_tries).bind(now_us + locked_us).all()).await?;
        Ok(match counted.first().copied() {
            Some((wrong,)) => Ok(wrong),
            None => Err(self.login_waits_until(address).await?.unwrap_or(now_us)),
        })
    }

    /// Until when an address has to wait, if anything was counted for it.
    pub async fn login_waits_until(&self, address: &Bytes32) -> Result<Option<i64>, StoreError> {
        let sql = "SELECT wait_until FROM login_tries WHERE address = $1";
        let row: Option<(i64,)> = soon(self.readers().query(sql).bind(address.as_slice()).optional()).await?;
        Ok(row.map(|(until_us,)| until_us))
    }

    /// Counting starts anew for an address.
    pub async fn forget_login(&self, address: &Bytes32) -> Result<(), StoreError> {
        let sql = "DELETE FROM login_tries WHERE address = $1";
        soon(self.writers().query(sql).bind(address.as_slice()).execute()).await?;
        Ok(())
    }

    /// Forgets the addresses that nobody has and that were not tried since then.
    pub async fn forget_unknown_logins(&self, before_us: i64) -> Result<(), StoreError> {
        let sql = "DELETE FROM login_tries WHERE is_known = 0 AND last_at < $1";
        self.writers().query(sql).bind(before_us).execute().await?;
        Ok(())
    }
}

/// A login that is about to be looked at.
#[derive(Debug, Clone, Copy)]
pub struct LoginTry<'a> {
    /// SHA-256 of the e-mail address.
    pub address: &'a Bytes32,
    /// Whether somebody has it.
    pub is_known: bool,
    /// When.
    pub now_us: i64,
    /// The try that locks.
    pub free_tries: i64,
    /// For how long it locks.
    pub locked_us: i64,
}
