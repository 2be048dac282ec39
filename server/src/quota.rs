//! How much an org may ask of governed execution, by its tier.
//!
//! Requests of a minute are counted by each server for itself, in memory; intents of a day by all servers, in the database.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

use crate::db::{Database, StoreError};

/// A minute, in microseconds.
const MINUTE_US: i64 = 60_000_000;
/// A day, in microseconds.
const DAY_US: i64 = 24 * 60 * MINUTE_US;

/// What an org pays for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tier {
    /// 60 requests a minute, 100 intents a day.
    Starter,
    /// 600 requests a minute, 10,000 intents a day.
    Growth,
    /// No limit.
    #[default]
    Enterprise,
}

impl FromStr for Tier {
    type Err = ();

    fn from_str(name: &str) -> Result<Tier, ()> {
        match name {
            "starter" => Ok(Tier::Starter),
            "growth" => Ok(Tier::Growth),
            "enterprise" => Ok(Tier::Enterprise),
            _ => Err(()),
        }
    }
}

/// What is left after a request, or that there was nothing left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    /// How many there may be in a window.
    pub limit: u32,
    /// How many are left in this one.
    pub left: u32,
    /// When the next window begins, in seconds.
    pub resets_s: u32,
    /// Whether this one was within the limit.
    pub is_within: bool,
}

/// A stretch of time, and what happened in it.
#[derive(Debug, Clone, Copy)]
struct Window {
    began_us: i64,
    used: u32,
}

impl Window {
    /// One more, if the limit allows it.
    fn take(&mut self, limit: u32, length_us: i64, now_us: i64) -> Spent {
        let is_within = self.used < limit;
        self.used += u32::from(is_within);
        let resets_s = resets_s((self.began_us + length_us - now_us).max(0));
        Spent { limit, left: limit - self.used.min(limit), resets_s, is_within }
    }

    fn is_over(&self, length_us: i64, now_us: i64) -> bool {
        !(self.began_us..self.began_us + length_us).contains(&now_us)
    }
}

fn resets_s(rest_us: i64) -> u32 {
    u32::try_from(rest_us / 1_000_000 + 1).unwrap_or(u32::MAX)
}

/// The limits of a tier, and what each org used of them.
#[derive(Debug)]
pub struct Quota {
    requests_per_minute: Option<u32>,
    intents_per_day: Option<u32>,
    minutes: Mutex<HashMap<Uuid, Window>>,
}

impl Quota {
    /// The limits of this tier, with another number of intents if it is given.
    pub fn new(tier: Tier, intents_per_day: Option<u32>) -> Quota {
        let (requests_per_minute, by_tier) = match tier {
            Tier::Starter => (Some(60), Some(100)),
            Tier::Growth => (Some(600), Some(10_000)),
            Tier::Enterprise => (None, None),
        };
        let intents_per_day = intents_per_day.or(by_tier);
        Quota { requests_per_minute, intents_per_day, minutes: Mutex::default() }
    }

    /// Whether requests are limited at all.
    pub fn limits_requests(&self) -> bool {
        self.requests_per_minute.is_some()
    }

    /// A request; nothing if there is no limit. A minute begins with an org's first request after the last one.
    pub fn take_request(&self, org: Uuid, now_us: i64) -> Option<Spent> {
        let limit = self.requests_per_minute?;
        let mut minutes = self.minutes.lock().unwrap_or_else(PoisonError::into_inner);
        let minute = minutes.entry(org).or_insert(Window { began_us: now_us, used: 0 });
        if minute.is_over(MINUTE_US, now_us) {
            *minute = Window { began_us: now_us, used: 0 };
        }
        Some(minute.take(limit, MINUTE_US, now_us))
    }

    /// An intent; nothing if there is no limit. Days begin at midnight, UTC. However many servers there are, no more are
    /// taken; what can't be recorded after all counts as well.
    pub async fn take_intent(
        &self,
        database: &Database,
        org: Uuid,
        now_us: i64,
    ) -> Result<Option<Spent>, StoreError> {
        let Some(limit) = self.intents_per_day else { return Ok(None) };
        let taken = database.take_intent(org, now_us.div_euclid(DAY_US), i64::from(limit)).await?;
        let used = u32::try_from(taken.unwrap_or(i64::MAX)).unwrap_or(u32::MAX);
        let resets_s = resets_s(DAY_US - now_us.rem_euclid(DAY_US));
        Ok(Some(Spent { limit, left: limit.saturating_sub(used), resets_s, is_within: taken.is_some() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_has_so_many_requests_for_each_org() {
        let quota = Quota::new(Tier::Starter, None);
        let (a, b) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let take = |org, second: i64| quota.take_request(org, second * 1_000_000).unwrap();
        let first = take(a, 100);
        assert_eq!(first, Spent { limit: 60, left: 59, resets_s: 61, is_within: true });
        for second in 101..159 {
            assert!(take(a, second).is_within);
        }
        assert_eq!(take(a, 159), Spent { limit: 60, left: 0, resets_s: 2, is_within: true });
        assert!(!take(a, 159).is_within);
        assert!(take(b, 159).is_within);
        assert_eq!(take(a, 160).left, 59);
        // A clock that went back begins anew.
        assert_eq!(take(a, 10).left, 59);
    }

    #[test]
    fn enterprise_has_no_limit() {
        assert_eq!(Quota::new(Tier::default(), None).take_request(Uuid::nil(), 0), None);
    }
}
