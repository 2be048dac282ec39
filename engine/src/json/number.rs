//! Numbers in JSON text.

use lictor_dsl::number::{Number, NumberError};

/// What the digits of a number are multiplied by that has so many decimals.
const BILLIONTHS: [u64; 10] =
    [1_000_000_000, 100_000_000, 10_000_000, 1_000_000, 100_000, 10_000, 1_000, 100, 10, 1];

/// The longest number whose digits surely fit 64 bits.
const SHORT: usize = 19;

/// The number that this text says, which a cursor has passed.
pub(crate) fn number(text: &str) -> Result<Number, NumberError> {
    match short(text) {
        Some(number) => Ok(number),
        None => text.parse(),
    }
}

/// A short number without an exponent: most are, and it takes a tenth of the time.
fn short(text: &str) -> Option<Number> {
    if text.len() > SHORT {
        return None;
    }
    let (digits, negative) = match text.strip_prefix('-') {
        Some(digits) => (digits, true),
        None => (text, false),
    };
    let (mut value, mut point) = (0u64, None);
    for (place, byte) in digits.bytes().enumerate() {
        match byte {
            b'0'..=b'9' => value = value * 10 + u64::from(byte - b'0'),
            b'.' => point = Some(place),
            _ => return None,
        }
    }
    let decimals = point.map_or(0, |point| digits.len() - point - 1);
    let billionths = i128::from(value) * i128::from(*BILLIONTHS.get(decimals)?);
    Some(Number::from_billionths(if negative { -billionths } else { billionths }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn short_numbers_are_what_any_number_is(text in "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,12})?([eE][+-]?[0-9]{1,2})?") {
            prop_assert_eq!(number(&text), text.parse());
        }
    }
}
