//! Points in time as texts: RFC 3339, dates, and civil times in a zone. A point is microseconds since 1970.
//!
//! The calendar is jiff's and its table of zones comes with the program, so the same policy reads the same text
//! alike on every machine. Nothing here reads a clock.

use jiff::SignedDuration;
use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;

const SECOND: i64 = 1_000_000;
const HOUR: i64 = 3600 * SECOND;
const DAY: i64 = 24 * HOUR;

/// A point in time with an offset or `Z`, as RFC 3339 writes it. Digits past microseconds are cut off.
pub fn rfc3339(text: &str) -> Option<i64> {
    let mut reader = Reader(text.as_bytes());
    let date = reader.date()?;
    reader.one_of(b"Tt")?;
    let time = reader.time(false)?;
    let offset_s = reader.offset()?;
    reader.end()?;
    since_1970(date.to_datetime(time)).checked_sub(offset_s * SECOND)
}

/// A civil date-time (`T` or a space between, seconds may be missing) or date, in a zone; a text that has its own
/// offset is read as such. Of a time that a change of clocks repeats the first is meant; one that it skips moves on
/// by as much as the clocks did.
pub fn in_zone(text: &str, zone: &str) -> Option<i64> {
    let zone = self::zone(zone)?;
    if let Some(point) = rfc3339(text) {
        return Some(point);
    }
    let civil = civil(text)?;
    zone.to_ambiguous_timestamp(civil).compatible().ok().map(Timestamp::as_microsecond)
}

/// A date: 00:00 UTC of that day.
pub fn date(text: &str) -> Option<i64> {
    let mut reader = Reader(text.as_bytes());
    let date = reader.date()?;
    reader.end()?;
    Some(since_1970(date.to_datetime(Time::midnight())))
}

/// The zone of an IANA name.
pub fn zone(name: &str) -> Option<TimeZone> {
    TimeZone::get(name).ok().filter(|zone| !zone.is_unknown())
}

/// The hour of the day, 0 to 23, in a zone or UTC.
pub fn hour(us: i64, zone: Option<&TimeZone>) -> i64 {
    local(us, zone).rem_euclid(DAY) / HOUR
}

/// The day of the week, `mon` to `sun`, in a zone or UTC.
pub fn weekday(us: i64, zone: Option<&TimeZone>) -> &'static str {
    // 1970 began on a Thursday.
    match local(us, zone).div_euclid(DAY).rem_euclid(7) {
        0 => "thu",
        1 => "fri",
        2 => "sat",
        3 => "sun",
        4 => "mon",
        5 => "tue",
        _ => "wed",
    }
}

/// RFC 3339 in UTC with milliseconds. What lies before the year 0 or after 9999 is shown as its nearest end.
pub fn to_rfc3339(us: i64) -> String {
    let earliest = DateTime::constant(0, 1, 1, 0, 0, 0, 0);
    let end = if us < 0 { earliest } else { DateTime::MAX };
    let civil = EPOCH.checked_add(SignedDuration::from_micros(us)).unwrap_or(end).max(earliest);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        civil.year(),
        civil.month(),
        civil.day(),
        civil.hour(),
        civil.minute(),
        civil.second(),
        civil.millisecond()
    )
}

const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

/// The point in time of a civil time in UTC. Years are 0 to 9999 here, so it fits.
fn since_1970(civil: DateTime) -> i64 {
    let since = civil.duration_since(EPOCH);
    since.as_secs() * SECOND + i64::from(since.subsec_micros())
}

/// The point moved by the zone's offset, so that plain division gives its civil parts.
fn local(us: i64, zone: Option<&TimeZone>) -> i64 {
    let Some(zone) = zone else { return us };
    let ends = (Timestamp::MIN.as_microsecond(), Timestamp::MAX.as_microsecond());
    let nearest = Timestamp::from_microsecond(us.clamp(ends.0, ends.1)).unwrap_or(Timestamp::UNIX_EPOCH);
    us.saturating_add(i64::from(zone.to_offset(nearest).seconds()) * SECOND)
}

fn civil(text: &str) -> Option<DateTime> {
    let mut reader = Reader(text.as_bytes());
    let date = reader.date()?;
    if reader.end().is_some() {
        return Some(date.to_datetime(Time::midnight()));
    }
    reader.one_of(b"Tt ")?;
    let time = reader.time(true)?;
    reader.end()?;
    Some(date.to_datetime(time))
}

/// Reads the parts of a time from the front of a text.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn one_of(&mut self, wanted: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        if !wanted.contains(first) {
            return None;
        }
        self.0 = rest;
        Some(*first)
    }

    fn digits(&mut self, count: usize) -> Option<i16> {
        let mut value = 0i16;
        for _ in 0..count {
            value = value * 10 + i16::from(self.one_of(b"0123456789")? - b'0');
        }
        Some(value)
    }

    fn two(&mut self) -> Option<i8> {
        i8::try_from(self.digits(2)?).ok()
    }

    fn date(&mut self) -> Option<Date> {
        let year = self.digits(4)?;
        self.one_of(b"-")?;
        let month = self.two()?;
        self.one_of(b"-")?;
        Date::new(year, month, self.two()?).ok()
    }

    /// `12:34:56.789`. A leap second is the end of its minute.
    fn time(&mut self, seconds_optional: bool) -> Option<Time> {
        let hour = self.two()?;
        self.one_of(b":")?;
        let minute = self.two()?;
        if seconds_optional && self.end().is_some() {
            return Time::new(hour, minute, 0, 0).ok();
        }
        self.one_of(b":")?;
        let second = self.two()?;
        let mut nanoseconds = 0;
        if self.one_of(b".").is_some() {
            let mut weight = 100_000_000;
            let mut any = false;
            while let Some(digit) = self.one_of(b"0123456789") {
                nanoseconds += i32::from(digit - b'0') * weight;
                weight /= 10;
                any = true;
            }
            if !any {
                return None;
            }
        }
        if second == 60 && minute == 59 {
            return Time::new(hour, minute, 59, 999_999_000).ok();
        }
        Time::new(hour, minute, second, nanoseconds).ok()
    }

    /// `Z` or `+01:30`, in seconds.
    fn offset(&mut self) -> Option<i64> {
        let sign = match self.one_of(b"Zz+-")? {
            b'+' => 1,
            b'-' => -1,
            _ => return Some(0),
        };
        let hours = self.two()?;
        self.one_of(b":")?;
        let minutes = self.two()?;
        (hours < 24 && minutes < 60).then(|| sign * (i64::from(hours) * 3600 + i64::from(minutes) * 60))
    }

    fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rfc_3339_is_read_strictly() {
        for (text, want) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("1970-01-01t00:00:00z", Some(0)),
            ("1970-01-01T01:00:00+01:00", Some(0)),
            ("1969-12-31T18:30:00-05:30", Some(0)),
            ("1970-01-01T00:00:00.000001Z", Some(1)),
            ("1970-01-01T00:00:00.9999999999999Z", Some(999_999)),
            ("1969-12-31T23:59:59.999999Z", Some(-1)),
            ("2026-01-01T12:00:00Z", Some(1_767_268_800_000_000)),
            ("2024-02-29T00:00:00Z", Some(1_709_164_800_000_000)),
            ("2016-12-31T23:59:60Z", Some(1_483_228_799_999_999)),
            ("9999-12-31T23:59:59Z", Some(253_402_300_799_000_000)),
            ("0000-01-01T00:00:00Z", Some(-62_167_219_200_000_000)),
            ("", None),
            ("2026-01-01", None),
            ("2026-01-01T12:00:00", None),
            ("2026-01-01 12:00:00Z", None),
            ("2026-01-01T12:00Z", None),
            ("2026-01-01T12:00:00.Z", None),
            ("2026-01-01T12:00:00,5Z", None),
            ("2026-01-01T12:00:00+0100", None),
            ("2026-01-01T12:00:00+01", None),
            ("2026-01-01T12:00:00+24:00", None),
            ("2026-01-01T12:00:00+01:60", None),
            ("2026-01-01T12:00:00Z ", None),
            (" 2026-01-01T12:00:00Z", None),
            ("2026-01-01T12:00:00Z[UTC]", None),
            ("2026-01-01T24:00:00Z", None),
            ("2026-01-01T12:30:60Z", None),
            ("2026-01-01T12:60:00Z", None),
            ("2026-13-01T12:00:00Z", None),
            ("2025-02-29T12:00:00Z", None),
            ("2026-1-1T12:00:00Z", None),
            ("+2026-01-01T12:00:00Z", None),
            ("-0001-01-01T12:00:00Z", None),
            ("20260101T120000Z", None),
            ("２026-01-01T12:00:00Z", None),
            ("1767268800", None),
        ] {
            assert_eq!(rfc3339(text), want, "{text}");
        }
    }

    #[test]
    fn civil_times_take_their_zone() {
        let new_york = "America/New_York";
        for (text, zone, want) in [
            ("2024-05-15T15:00:00", new_york, Some("2024-05-15T19:00:00Z")),
            ("2024-05-15 15:00:00.5", new_york, Some("2024-05-15T19:00:00.5Z")),
            ("2024-05-15T15:00", new_york, Some("2024-05-15T19:00:00Z")),
            ("2024-01-15", new_york, Some("2024-01-15T05:00:00Z")),
            ("2024-05-15T15:00:00Z", new_york, Some("2024-05-15T15:00:00Z")),
            ("2024-05-15T15:00:00+02:00", new_york, Some("2024-05-15T13:00:00Z")),
            // Clocks go forward (02:30 is skipped) and back (01:30 comes twice).
            ("2024-03-10T02:30:00", new_york, Some("2024-03-10T07:30:00Z")),
            ("2024-11-03T01:30:00", new_york, Some("2024-11-03T05:30:00Z")),
            ("2024-05-15T15:00:00", "UTC", Some("2024-05-15T15:00:00Z")),
            ("2024-05-15T15:00:00", "Mars/Olympus", None),
            ("2024-05-15T15:00:00Z", "Mars/Olympus", None),
            ("2024-05-15T15:00:00[Europe/Paris]", new_york, None),
            ("2024-05-15T", new_york, None),
            ("2024-05-15T15", new_york, None),
            ("15:00:00", new_york, None),
            ("tomorrow", new_york, None),
            ("9999-12-31T23:59:59", new_york, None),
        ] {
            assert_eq!(in_zone(text, zone), want.and_then(rfc3339), "{text} {zone}");
        }
    }

    #[test]
    fn dates_begin_at_midnight_in_utc() {
        assert_eq!(date("2025-08-02"), rfc3339("2025-08-02T00:00:00Z"));
        for text in
            ["", "2025-8-2", "2025-08-32", "2025-08-02T00:00:00Z", "2025-08-02 ", "20250802", "2025-W31"]
        {
            assert_eq!(date(text), None, "{text}");
        }
    }

    #[test]
    fn zones_are_those_of_iana() {
        assert!(zone("Europe/Amsterdam").is_some());
        assert!(zone("UTC").is_some());
        for name in
            ["", "CEST", "Amsterdam", "+01:00", "EST5EDT4,M3.2.0,M11.1.0", "Etc/Unknown", "../etc/passwd"]
        {
            assert!(zone(name).is_none(), "{name}");
        }
    }

    #[test]
    fn hours_and_weekdays_follow_the_zone() {
        let amsterdam = zone("Europe/Amsterdam");
        for (text, utc, local) in [
            ("2026-01-01T12:00:00Z", (12, "thu"), (13, "thu")),
            ("2026-07-31T22:30:00Z", (22, "fri"), (0, "sat")),
            ("2026-03-29T00:59:59Z", (0, "sun"), (1, "sun")),
            ("2026-03-29T01:00:00Z", (1, "sun"), (3, "sun")),
            ("1969-12-31T23:59:59.999999Z", (23, "wed"), (0, "thu")),
        ] {
            let us = rfc3339(text).expect("a good case");
            assert_eq!((hour(us, None), weekday(us, None)), utc, "{text}");
            assert_eq!((hour(us, amsterdam.as_ref()), weekday(us, amsterdam.as_ref())), local, "{text}");
        }
    }

    #[test]
    fn points_are_shown_with_milliseconds() {
        for (us, want) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (1_767_268_800_123_456, "2026-01-01T12:00:00.123Z"),
            (253_402_300_799_000_000, "9999-12-31T23:59:59.000Z"),
            (i64::MAX, "9999-12-31T23:59:59.999Z"),
            (i64::MIN, "0000-01-01T00:00:00.000Z"),
            (-62_167_219_200_000_001, "0000-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(to_rfc3339(us), want);
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(ms in -62_167_219_200_000i64..253_402_300_800_000) {
            prop_assert_eq!(rfc3339(&to_rfc3339(ms * 1000)), Some(ms * 1000));
        }

        #[test]
        fn no_point_in_time_panics(us in any::<i64>()) {
            let zone = zone("Pacific/Apia");
            prop_assert!((0..24).contains(&hour(us, zone.as_ref())));
            prop_assert!((0..24).contains(&hour(us, None)));
            prop_assert_eq!(weekday(us, zone.as_ref()).len(), 3);
            to_rfc3339(us);
        }

        #[test]
        fn no_text_panics(text in "[0-9TZ:.+ -]{0,30}|\\PC{0,30}") {
            rfc3339(&text);
            date(&text);
            in_zone(&text, "Pacific/Apia");
        }
    }
}
