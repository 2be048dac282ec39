//! The one number of the language: exact, 128-bit fixed point with nine decimal digits.
//!
//! `0.1 + 0.2 == 0.3`, sums of amounts never drift, and there is no NaN, infinity or negative zero. Sums
//! saturate; what is multiplied, divided or read with more than nine digits is rounded half to even.

use std::fmt;
use std::str::FromStr;

/// An exact number: a whole count of billionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Number(i128);

/// Billionths in one.
const SCALE: i128 = 1_000_000_000;
/// Decimal digits kept.
const DIGITS: usize = 9;

/// Why a text is not a number of the language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberError {
    /// It is not a decimal number.
    Malformed,
    /// Its magnitude does not fit 128 bits of billionths (about 1.7e29).
    TooLarge,
    /// It has more than nine decimal digits (only an error where asked for exactly).
    TooPrecise,
}

impl fmt::Display for NumberError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NumberError::Malformed => "not a number",
            NumberError::TooLarge => "larger than a number can be (about 1.7e29)",
            NumberError::TooPrecise => "more precise than nine decimal digits",
        })
    }
}

impl Number {
    /// Nought.
    pub const ZERO: Number = Number(0);
    /// One.
    pub const ONE: Number = Number(SCALE);

    /// The number with this many billionths.
    pub const fn from_billionths(billionths: i128) -> Number {
        Number(billionths)
    }

    /// How many billionths it is: what compiled code compares.
    pub const fn billionths(self) -> i128 {
        self.0
    }

    /// A whole number.
    pub const fn whole(value: i64) -> Number {
        Number(value as i128 * SCALE)
    }

    /// The whole number that this is, if it is one and fits.
    pub fn to_whole(self) -> Option<i64> {
        if self.0 % SCALE == 0 { i64::try_from(self.0 / SCALE).ok() } else { None }
    }

    /// The greatest whole number that is not above this one.
    pub fn floor(self) -> Number {
        Number(self.0.saturating_sub(self.0.rem_euclid(SCALE)))
    }

    /// The nearest float, for display and charts only.
    pub fn to_f64(self) -> f64 {
        self.0 as f64 / SCALE as f64
    }

    /// Sum, held to the range.
    pub fn plus(self, other: Number) -> Number {
        Number(self.0.saturating_add(other.0))
    }

    /// Difference, held to the range.
    pub fn minus(self, other: Number) -> Number {
        Number(self.0.saturating_sub(other.0))
    }

    /// The negative, held to the range.
    pub fn negated(self) -> Number {
        Number(self.0.saturating_neg())
    }

    /// Product, rounded half to even at the ninth digit, held to the range.
    pub fn times(self, other: Number) -> Number {
        let negative = (self.0 < 0) != (other.0 < 0);
        let (high, low) = wide_product(self.0.unsigned_abs(), other.0.unsigned_abs());
        Number(signed(divide_wide(high, low, SCALE.unsigned_abs()), negative))
    }

    /// Quotient, rounded half to even at the ninth digit; none for a division by zero.
    pub fn divided_by(self, other: Number) -> Option<Number> {
        if other.0 == 0 {
            return None;
        }
        let negative = (self.0 < 0) != (other.0 < 0);
        let (high, low) = wide_product(self.0.unsigned_abs(), SCALE.unsigned_abs());
        Some(Number(signed(divide_wide(high, low, other.0.unsigned_abs()), negative)))
    }

    /// Remainder, with the sign of the dividend; none for a division by zero.
    pub fn remainder(self, other: Number) -> Option<Number> {
        if other.0 == 0 { None } else { Some(Number(self.0.wrapping_rem(other.0))) }
    }

    /// Held to a range.
    pub fn clamped(self, low: Number, high: Number) -> Number {
        Number(self.0.clamp(low.0, high.0))
    }

    /// Reads a literal of the language: digits with `_` between them, no exponent, at most nine decimals.
    pub fn from_literal(text: &str) -> Result<Number, NumberError> {
        let plain: String = text.chars().filter(|c| *c != '_').collect();
        if plain.contains(['e', 'E']) {
            return Err(NumberError::Malformed);
        }
        parse(&plain, true)
    }
}

/// Reads a JSON number exactly from its text; further digits are rounded half to even.
impl FromStr for Number {
    type Err = NumberError;

    fn from_str(text: &str) -> Result<Number, NumberError> {
        parse(text, false)
    }
}

fn parse(text: &str, exact: bool) -> Result<Number, NumberError> {
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent_value(exponent)?),
        None => (rest, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return Err(NumberError::Malformed);
    }
    if mantissa.ends_with('.') {
        return Err(NumberError::Malformed);
    }
    // The value is DIGITS·10^point; we want it in billionths, so the decimal point moves nine places right.
    let digits = whole.bytes().chain(fraction.bytes()).skip_while(|b| *b == b'0');
    let significant = digits.clone().count() as i64;
    if significant == 0 {
        return Ok(Number::ZERO);
    }
    let kept = significant - fraction.len() as i64 + exponent + DIGITS as i64;
    if kept > 40 {
        return Err(NumberError::TooLarge);
    }
    let mut billionths: u128 = 0;
    let mut round = Rounding::default();
    for (place, digit) in (0i64..).zip(digits) {
        let digit = u128::from(digit - b'0');
        if place < kept {
            billionths =
                billionths.checked_mul(10).and_then(|b| b.checked_add(digit)).ok_or(NumberError::TooLarge)?;
        } else {
            round.dropped(digit, place == kept);
        }
    }
    for _ in significant..kept {
        billionths = billionths.checked_mul(10).ok_or(NumberError::TooLarge)?;
    }
    if exact && round.lost() {
        return Err(NumberError::TooPrecise);
    }
    let up = u128::from(round.up(billionths % 2 == 1));
    let rounded = billionths.checked_add(up).ok_or(NumberError::TooLarge)?;
    let value = i128::try_from(rounded).map_err(|_| NumberError::TooLarge)?;
    Ok(Number(if negative { -value } else { value }))
}

/// An exponent beyond this moves every digit out of range, so it is as good as any larger one.
const EXPONENT_LIMIT: i64 = 100_000_000;

fn exponent_value(text: &str) -> Result<i64, NumberError> {
    let (negative, digits) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(NumberError::Malformed);
    }
    let value = digits.bytes().fold(0i64, |value, b| (value * 10 + i64::from(b - b'0')).min(EXPONENT_LIMIT));
    Ok(if negative { -value } else { value })
}

/// What was cut off behind the last kept digit, compared with a half.
#[derive(Default)]
struct Rounding {
    first: u128,
    more: bool,
}

impl Rounding {
    fn dropped(&mut self, digit: u128, is_first: bool) {
        if is_first {
            self.first = digit;
        } else {
            self.more |= digit != 0;
        }
    }

    fn lost(&self) -> bool {
        self.first != 0 || self.more
    }

    fn up(&self, odd: bool) -> bool {
        self.first > 5 || (self.first == 5 && (self.more || odd))
    }
}

/// The 256-bit product of two 128-bit numbers.
fn wide_product(a: u128, b: u128) -> (u128, u128) {
    const LOW: u128 = u64::MAX as u128;
    let (a1, a0, b1, b0) = (a >> 64, a & LOW, b >> 64, b & LOW);
    let (p00, p01, p10, p11) = (a0 * b0, a0 * b1, a1 * b0, a1 * b1);
    let middle = (p00 >> 64) + (p01 & LOW) + (p10 & LOW);
    let low = (p00 & LOW) | (middle << 64);
    let high = p11 + (p01 >> 64) + (p10 >> 64) + (middle >> 64);
    (high, low)
}

/// A 256-bit number divided by a 128-bit one, rounded half to even; the largest value if it does not fit.
fn divide_wide(high: u128, low: u128, divisor: u128) -> u128 {
    if high >= divisor {
        return u128::MAX;
    }
    let (mut quotient, mut rest) =
        if high == 0 { (low / divisor, low % divisor) } else { long_division(high, low, divisor) };
    let half = divisor - rest;
    if rest > half || (rest == half && quotient % 2 == 1) {
        quotient = quotient.saturating_add(1);
        rest = 0;
    }
    let _ = rest;
    quotient
}

fn long_division(high: u128, low: u128, divisor: u128) -> (u128, u128) {
    let (mut quotient, mut rest) = (0u128, high);
    for bit in (0..128).rev() {
        let carry = rest >> 127;
        rest = (rest << 1) | ((low >> bit) & 1);
        quotient <<= 1;
        if carry == 1 || rest >= divisor {
            rest = rest.wrapping_sub(divisor);
            quotient |= 1;
        }
    }
    (quotient, rest)
}

fn signed(magnitude: u128, negative: bool) -> i128 {
    match (i128::try_from(magnitude), negative) {
        (Ok(value), false) => value,
        (Ok(value), true) => -value,
        (Err(_), false) => i128::MAX,
        (Err(_), true) => i128::MIN,
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.0.unsigned_abs();
        let (whole, fraction) = (magnitude / SCALE.unsigned_abs(), magnitude % SCALE.unsigned_abs());
        let sign = if self.0 < 0 { "-" } else { "" };
        if fraction == 0 {
            return write!(f, "{sign}{whole}");
        }
        let digits = format!("{fraction:09}");
        write!(f, "{sign}{whole}.{}", digits.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn n(text: &str) -> Number {
        text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    #[test]
    fn decimals_are_exact() {
        assert_eq!(n("0.1").plus(n("0.2")), n("0.3"));
        assert_eq!(n("9007199254740993").to_string(), "9007199254740993");
        assert_eq!(n("-0"), Number::ZERO);
        assert_eq!(n("-0.000000001").to_string(), "-0.000000001");
    }

    #[test]
    fn more_digits_are_rounded_half_to_even() {
        for (text, want) in [
            ("0.0000000005", "0"),
            ("0.0000000015", "0.000000002"),
            ("0.0000000025", "0.000000002"),
            ("0.00000000250000001", "0.000000003"),
            ("5e-10", "0"),
            ("15e-10", "0.000000002"),
            ("1e-400", "0"),
            ("0e999999999999", "0"),
            ("1e3", "1000"),
            ("1.5E+2", "150"),
        ] {
            assert_eq!(n(text).to_string(), want, "{text}");
        }
    }

    #[test]
    fn what_does_not_fit_or_is_no_number_is_refused() {
        for text in [
            "340282366920938463463374607431.7682114559",
            "1e30",
            "170141183460469231731687303716",
            "1e99999999999999999999",
        ] {
            assert_eq!(text.parse::<Number>(), Err(NumberError::TooLarge), "{text}");
        }
        for text in ["", "-", ".5", "1.", "1e", "0x1", "1_000", "NaN", "+1"] {
            assert_eq!(text.parse::<Number>(), Err(NumberError::Malformed), "{text}");
        }
        assert_eq!(Number::from_literal("0.0000000001"), Err(NumberError::TooPrecise));
        assert_eq!(Number::from_literal("1_000.5").map(|v| v.to_string()), Ok("1000.5".to_owned()));
    }

    #[test]
    fn products_and_quotients_saturate_and_round() {
        assert_eq!(n("1.5").times(n("-2")), n("-3"));
        assert_eq!(n("0.00003").times(n("0.00005")), n("0.000000002"));
        assert_eq!(n("1e29").times(n("1e29")).billionths(), i128::MAX);
        assert_eq!(n("1e29").times(n("-1e29")).billionths(), i128::MIN);
        assert_eq!(n("1").divided_by(n("3")), Some(n("0.333333333")));
        assert_eq!(n("-7").remainder(n("3")), Some(n("-1")));
        assert_eq!(n("1").divided_by(Number::ZERO), None);
    }

    proptest! {
        #[test]
        fn text_round_trips(billionths in any::<i128>()) {
            let number = Number::from_billionths(billionths.max(-i128::MAX));
            prop_assert_eq!(number.to_string().parse(), Ok(number));
        }

        #[test]
        fn small_products_agree_with_plain_integers(a in -1_000_000_000i64..1_000_000_000, b in -1_000_000_000i64..1_000_000_000) {
            prop_assert_eq!(Number::whole(a).times(Number::whole(b)), Number::from_billionths(i128::from(a) * i128::from(b) * SCALE));
        }

        #[test]
        fn dividing_undoes_multiplying(a in -1_000_000_000_000i64..1_000_000_000_000, b in 1i64..1_000_000_000) {
            prop_assert_eq!(Number::whole(a).times(Number::whole(b)).divided_by(Number::whole(b)), Some(Number::whole(a)));
        }
    }
}
