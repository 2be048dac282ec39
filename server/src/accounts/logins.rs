//! Slows down guessing of passwords: after ten wrong ones in a row an e-mail address is locked for half an hour.
//!
//! It counts by the address that was tried, whether or not somebody has it, so that waiting reveals nothing; and it counts in
//! the database, so that it holds whichever servers are asked, and after a restart.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::db::{Database, LoginTry, StoreError};
use crate::ledger::sha256;
use crate::vault::Bytes32;

/// Wrong tries in a row; the last of them locks (PCI DSS 8.3.4).
pub const FREE_TRIES: i64 = 10;
/// For how long.
const LOCKED_US: i64 = 30 * 60 * 1_000_000;
/// After this time without a try an address is forgotten that nobody has. Those of people are kept until the right password.
const FORGOTTEN_US: i64 = 60 * 60 * 1_000_000;
/// Once in so many tries it is looked what to forget.
const TRIES_PER_LOOK: u64 = 256;

/// Wrong logins by e-mail address.
#[derive(Debug)]
pub struct Logins {
    database: Arc<Database>,
    begun: AtomicU64,
}

impl Logins {
    /// Those that this database counts.
    pub fn new(database: Arc<Database>) -> Logins {
        Logins { database, begun: AtomicU64::new(0) }
    }

    /// How long this address has to wait before its next try, in whole seconds; none if it may try now.
    pub async fn wait_s(&self, email: &str, now_us: i64) -> Result<Option<u32>, StoreError> {
        let until_us = self.database.login_waits_until(&address(email)).await?;
        Ok(until_us.filter(|until_us| *until_us > now_us).map(|until_us| seconds(until_us - now_us)))
    }

    /// Begins a try, which counts as wrong until [`Logins::right`] is said: however many come at once, and on however many
    /// servers, no more than the free ones are looked at. Tells which try in a row it is. An error inside is how long to wait,
    /// in whole seconds.
    pub async fn begin(
        &self,
        email: &str,
        is_known: bool,
        now_us: i64,
    ) -> Result<Result<i64, u32>, StoreError> {
        if self.begun.fetch_add(1, Ordering::Relaxed) % TRIES_PER_LOOK == TRIES_PER_LOOK - 1 {
            self.database.forget_unknown_logins(now_us - FORGOTTEN_US).await?;
        }
        let (address, free_tries, locked_us) = (&address(email), FREE_TRIES, LOCKED_US);
        let counted =
            self.database.count_login(LoginTry { address, is_known, now_us, free_tries, locked_us }).await?;
        Ok(counted.map_err(|until_us| seconds(until_us - now_us)))
    }

    /// Notes a right one: counting starts anew.
    pub async fn right(&self, email: &str) -> Result<(), StoreError> {
        self.database.forget_login(&address(email)).await
    }
}

/// What is kept of an address that may be nobody's, or no address at all.
fn address(email: &str) -> Bytes32 {
    sha256(&[email.as_bytes()])
}

fn seconds(us: i64) -> u32 {
    u32::try_from((us.max(1) + 999_999) / 1_000_000).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMAIL: &str = "a@b.example";

    async fn logins(folder: &tempfile::TempDir) -> Logins {
        let address = folder.path().join("a.db").display().to_string().parse().unwrap();
        Logins::new(Arc::new(Database::open(&address).await.unwrap()))
    }

    #[tokio::test]
    async fn the_tenth_wrong_try_locks_for_half_an_hour_on_every_server() {
        let folder = tempfile::tempdir().unwrap();
        let logins = logins(&folder).await;
        let other = Logins::new(Arc::clone(&logins.database));
        for begun in [0, LOCKED_US] {
            for number in 1..=FREE_TRIES {
                let server = if number % 2 == 0 { &logins } else { &other };
                assert_eq!(server.wait_s(EMAIL, begun).await.unwrap(), None);
                assert_eq!(server.begin(EMAIL, true, begun).await.unwrap(), Ok(number));
            }
            for server in [&logins, &other] {
                assert_eq!(server.begin(EMAIL, true, begun).await.unwrap(), Err(1_800));
                assert_eq!(server.wait_s(EMAIL, begun + LOCKED_US - 1).await.unwrap(), Some(1));
            }
        }
        assert_eq!(logins.wait_s("c@b.example", LOCKED_US).await.unwrap(), None);
        logins.right(EMAIL).await.unwrap();
        assert_eq!(other.begin(EMAIL, true, LOCKED_US).await.unwrap(), Ok(1));
    }

    #[tokio::test]
    async fn what_nobody_has_is_forgotten_and_people_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let logins = logins(&folder).await;
        for (email, is_known) in [(EMAIL, true), ("nobody@b.example", false)] {
            assert_eq!(logins.begin(email, is_known, 0).await.unwrap(), Ok(1));
        }
        for number in 0..TRIES_PER_LOOK {
            let email = format!("{number}@b.example");
            assert_eq!(logins.begin(&email, false, FORGOTTEN_US + 1).await.unwrap(), Ok(1));
        }
        assert_eq!(logins.begin(EMAIL, true, FORGOTTEN_US + 1).await.unwrap(), Ok(2));
        let again = logins.begin("nobody@b.example", false, FORGOTTEN_US + 1).await.unwrap();
        assert_eq!(again, Ok(1));
    }
}
