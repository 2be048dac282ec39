//! Times in events.

use lictor_dsl::text::moment;

/// The time that a text says, in microseconds since 1970.
pub(super) fn read(text: &str) -> Option<i64> {
    utc(text).or_else(|| moment::rfc3339(text))
}

/// A time in the form that most programs write, such as `2026-01-31T12:00:00.123Z`; none for any other form. It takes
/// a fifth of the time, of which an event that says two has seldom more to spend.
fn utc(text: &str) -> Option<i64> {
    let (fixed, rest) = text.as_bytes().split_first_chunk::<19>()?;
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', h1, h2, b':', n1, n2, b':', s1, s2] = *fixed
    else {
        return None;
    };
    let (year, month, day) = (number(&[y1, y2, y3, y4])?, number(&[m1, m2])?, number(&[d1, d2])?);
    let (hour, minute, second) = (number(&[h1, h2])?, number(&[n1, n2])?, number(&[s1, s2])?);
    let micros = match rest {
        [b'Z'] => 0,
        [b'.', digits @ .., b'Z'] if (1..=6).contains(&digits.len()) => {
            number(digits)? * MICROS.get(digits.len())?
        }
        _ => return None,
    };
    // Every month has 28 days; which have more is not asked here.
    if !(1..=12).contains(&month) || !(1..=28).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = (days(year, month, day) * 24 + hour) * 3600 + minute * 60 + second;
    Some(seconds * 1_000_000 + micros)
}

/// What so many digits after the point are multiplied by.
const MICROS: [i64; 7] = [0, 100_000, 10_000, 1_000, 100, 10, 1];

fn number(digits: &[u8]) -> Option<i64> {
    digits
        .iter()
        .try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0')))
}

/// Days since 1970 in the Gregorian calendar. Years are counted from March, so that a leap day ends one.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + (month * 153 + 2) / 5 + day - 719_469
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn the_usual_form_says_what_any_form_says(
            text in "[0-9]{4}-[01][0-9]-[0-3][0-9][Tt][0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{0,8})?(Z|z|\\+01:00)?"
        ) {
            prop_assert_eq!(read(&text), moment::rfc3339(&text));
            prop_assert!(utc(&text).is_none_or(|micros| Some(micros) == moment::rfc3339(&text)));
        }

        #[test]
        fn every_day_has_its_number(days in -719_528i64..2_932_897, second in 0i64..86_400) {
            let micros = (days * 86_400 + second) * 1_000_000;
            prop_assert_eq!(read(&moment::to_rfc3339(micros)), Some(micros));
        }
    }
}
