//! Slows down guessing of passwords: after ten wrong ones in a row an e-mail address is locked for half an hour.
//!
//! It counts by the address that was tried, whether or not somebody has it, so that waiting reveals nothing.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Wrong tries in a row; the last of them locks (PCI DSS 8.3.4).
pub const FREE_TRIES: u32 = 10;
/// For how long.
const LOCKED_S: i64 = 30 * 60;
/// Addresses remembered; past it those whose wait is over are forgotten.
const MAX_ADDRESSES: usize = 100_000;

#[derive(Debug, Clone, Copy, Default)]
struct Tries {
    wrong: u32,
    wait_until_us: i64,
}

impl Tries {
    fn wait_s(self, now_us: i64) -> Option<u32> {
        let left_us = self.wait_until_us - now_us;
        (left_us > 0).then(|| u32::try_from((left_us + 999_999) / 1_000_000).unwrap_or(u32::MAX))
    }
}

/// Wrong logins by e-mail address.
#[derive(Debug, Default)]
pub struct Logins(Mutex<HashMap<String, Tries>>);

impl Logins {
    /// How long this address has to wait before its next try, in whole seconds; none if it may try now.
    pub fn wait_s(&self, email: &str, now_us: i64) -> Option<u32> {
        let tries = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(email).copied()?;
        tries.wait_s(now_us)
    }

    /// Begins a try, which counts as wrong until [`Logins::right`] is said: however many come at once, no more than the
    /// free ones are looked at. Tells which try in a row it is. An error is how long to wait, in whole seconds.
    pub fn begin(&self, email: &str, now_us: i64) -> Result<u32, u32> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MAX_ADDRESSES {
            all.retain(|_, tries| tries.wait_until_us > now_us);
        }
        let tries = all.entry(email.to_owned()).or_default();
        if let Some(seconds) = tries.wait_s(now_us) {
            return Err(seconds);
        }
        if tries.wrong >= FREE_TRIES {
            tries.wrong = 0;
        }
        tries.wrong += 1;
        if tries.wrong == FREE_TRIES {
            tries.wait_until_us = now_us + LOCKED_S * 1_000_000;
        }
        Ok(tries.wrong)
    }

    /// Notes a right one: counting starts anew.
    pub fn right(&self, email: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(email);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tenth_wrong_try_locks_for_half_an_hour() {
        let logins = Logins::default();
        let over = LOCKED_S * 1_000_000;
        for begun in [0, over] {
            for number in 1..=FREE_TRIES {
                assert_eq!(logins.wait_s("a@b.example", begun), None);
                assert_eq!(logins.begin("a@b.example", begun), Ok(number));
            }
            assert_eq!(logins.begin("a@b.example", begun), Err(1_800));
            assert_eq!(logins.wait_s("a@b.example", begun + over - 1), Some(1));
        }
        assert_eq!(logins.wait_s("c@b.example", over), None);
        logins.right("a@b.example");
        assert_eq!(logins.begin("a@b.example", over), Ok(1));
    }
}
