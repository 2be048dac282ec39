//! Where time comes from.
//!
//! Time is an input: the sequencer asks a [`Clock`] and makes ledger time of it with [`ledger_time`], which
//! never repeats and never goes back.

use std::fmt::Debug;
use std::time::Instant;

use jiff::Timestamp;

/// Tells the time in microseconds since 1970.
pub trait Clock: Debug + Send + Sync {
    /// Now.
    fn now_us(&self) -> i64;

    /// How far the machine's clock was moved since this one began, in microseconds.
    fn moved_us(&self) -> i64 {
        0
    }

    /// Whether the machine's clock was moved so far that its times and these can't be taken for each other.
    fn is_off(&self) -> bool {
        self.moved_us().saturating_abs() > MOST_MOVED_US
    }
}

/// How far the machine's clock may be moved: 60 s.
const MOST_MOVED_US: i64 = 60 * 1_000_000;

/// The machine's clock, read once and carried on by the monotonic clock, so that a step of the wall clock moves nothing.
#[derive(Debug)]
pub struct SystemClock {
    anchor: Instant,
    anchor_us: i64,
}

impl SystemClock {
    /// A clock anchored to the wall clock of this moment.
    pub fn new() -> SystemClock {
        SystemClock { anchor: Instant::now(), anchor_us: Timestamp::now().as_microsecond() }
    }
}

impl Default for SystemClock {
    fn default() -> SystemClock {
        SystemClock::new()
    }
}

impl Clock for SystemClock {
    fn now_us(&self) -> i64 {
        let passed = i64::try_from(self.anchor.elapsed().as_micros()).unwrap_or(i64::MAX);
        self.anchor_us.saturating_add(passed)
    }

    fn moved_us(&self) -> i64 {
        Timestamp::now().as_microsecond().saturating_sub(self.now_us())
    }
}

/// The time of the next ledger entry: now, but always later than the previous entry.
pub fn ledger_time(previous_us: i64, now_us: i64) -> i64 {
    now_us.max(previous_us.saturating_add(1))
}

/// RFC 3339 in UTC with milliseconds, as every answer shows times.
pub fn rfc3339(at_us: i64) -> String {
    match Timestamp::from_microsecond(at_us) {
        Ok(time) => format!("{time:.3}"),
        Err(_) => String::new(),
    }
}

/// A time in RFC 3339, in microseconds since 1970.
pub fn micros(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(Timestamp::as_microsecond)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ledger_time_never_goes_back_or_repeats() {
        assert_eq!(ledger_time(10, 50), 50);
        assert_eq!(ledger_time(50, 50), 51);
        assert_eq!(ledger_time(50, 10), 51);
    }

    #[test]
    fn times_are_shown_in_milliseconds() {
        assert_eq!(rfc3339(1_775_304_000_123_456), "2026-04-04T12:00:00.123Z");
    }

    #[test]
    fn the_system_clock_moves_forward() {
        let clock = SystemClock::new();
        let first = clock.now_us();
        assert!(clock.now_us() >= first);
        assert!(!clock.is_off());
        let (anchor, anchor_us) = (clock.anchor, clock.anchor_us - 61_000_000);
        assert!(SystemClock { anchor, anchor_us }.is_off());
    }
}
