//! The bytes of JSON strings: where they end, what their escapes say, and how their names are told apart.

use std::borrow::Cow;

use super::fault::Fault;

/// Eight bytes from a place in the text, the first lowest; none where it ends before that.
fn word(bytes: &[u8], at: usize) -> Option<u64> {
    let word = bytes.get(at..)?.first_chunk::<8>()?;
    Some(u64::from_le_bytes(*word))
}

/// Where the bytes end that a string may hold as they are: at a quote, a backslash, a control character or the end.
///
/// Strings are most of an event, so they are passed eight bytes at a time: a third of the instructions of a whole event
/// went into looking at them one by one.
pub(super) fn end_of_plain(bytes: &[u8], start: usize) -> usize {
    let (words, rest) = bytes.get(start..).unwrap_or_default().as_chunks::<8>();
    let mut at = start;
    for word in words {
        let ends = ends_plain(u64::from_le_bytes(*word));
        if ends != 0 {
            return at + ends.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    at + rest.iter().take_while(|byte| **byte >= 0x20 && **byte != b'"' && **byte != b'\\').count()
}

/// The high bits of those bytes that end plain text. A borrow may mark further bytes above the first: only the lowest
/// mark counts.
fn ends_plain(word: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let quote = (word ^ (b'"' as u64 * EACH)).wrapping_sub(EACH);
    let backslash = (word ^ (b'\\' as u64 * EACH)).wrapping_sub(EACH);
    let control = word.wrapping_sub(0x20 * EACH);
    // Below zero where it is the byte looked for, unless the byte was beyond ASCII.
    (quote | backslash | control) & !word & (0x80 * EACH)
}

/// The first eight bytes of a name and its length. Of a short name that is all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    first: u64,
    len: usize,
}

impl Head {
    /// Of a name of less than eight bytes without escapes whose opening quote stands here, if it is one. Most are, and
    /// the eight bytes that tell where it ends are its head.
    #[inline(always)]
    pub(super) fn of_short(text: &[u8], quote: usize) -> Option<Head> {
        let [b'"', first @ ..] = text.get(quote..)?.first_chunk::<9>()? else { return None };
        let first = u64::from_le_bytes(*first);
        let bits = ends_plain(first).trailing_zeros() & !7;
        let is_quote = first.checked_shr(bits)? & 0xff == u64::from(b'"');
        is_quote.then_some(Head { first: first & !(u64::MAX << bits), len: bits as usize / 8 })
    }

    /// Of the name between these places of a text.
    pub(super) fn within(text: &[u8], start: usize, end: usize) -> Head {
        let len = end - start;
        match word(text, start) {
            // What follows the name in the text is cut off.
            Some(first) if len < 8 => Head { first: first & !(u64::MAX << (8 * len)), len },
            Some(first) => Head { first, len },
            None => Head::of_bytes(text.get(start..end).unwrap_or_default()),
        }
    }

    /// Of a name that stands in no text.
    pub(crate) fn of(name: &str) -> Head {
        Head::of_bytes(name.as_bytes())
    }

    fn of_bytes(name: &[u8]) -> Head {
        let first = name.iter().take(8).rev().fold(0, |first, byte| first << 8 | u64::from(*byte));
        Head { first, len: name.len() }
    }

    /// How long the name is.
    pub(super) fn len(self) -> usize {
        self.len
    }

    /// Whether it is all of the name.
    pub(crate) fn is_all(self) -> bool {
        self.len <= 8
    }

    /// Both parts in one number, so that most heads can be told apart by it.
    pub(crate) fn mixed(self) -> u64 {
        self.first ^ (self.len as u64).rotate_right(8)
    }
}

/// What a checked string says whose text between the quotes this is.
pub(crate) fn unescaped(raw: &str) -> Cow<'_, str> {
    if !raw.contains('\\') {
        return Cow::Borrowed(raw);
    }
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((before, after)) = rest.find('\\').and_then(|at| rest.split_at_checked(at)) {
        text.push_str(before);
        let Ok((c, end)) = escape(after.as_bytes(), 0) else { break };
        text.push(c);
        rest = after.get(end..).unwrap_or_default();
    }
    text.push_str(rest);
    Cow::Owned(text)
}

/// The character of the escape that begins at a backslash, and where it ends.
pub(super) fn escape(bytes: &[u8], at: usize) -> Result<(char, usize), Fault> {
    let plain = |c| Ok((c, at + 2));
    match bytes.get(at + 1) {
        Some(b'"') => plain('"'),
        Some(b'\\') => plain('\\'),
        Some(b'/') => plain('/'),
        Some(b'b') => plain('\u{8}'),
        Some(b'f') => plain('\u{c}'),
        Some(b'n') => plain('\n'),
        Some(b'r') => plain('\r'),
        Some(b't') => plain('\t'),
        Some(b'u') => unicode_escape(bytes, at),
        _ => Err(Fault::UnknownEscape),
    }
}

fn unicode_escape(bytes: &[u8], at: usize) -> Result<(char, usize), Fault> {
    let first = hex(bytes, at + 2)?;
    if let Some(c) = char::from_u32(first) {
        return Ok((c, at + 6));
    }
    // What is not a character is a surrogate: the high one must come first, the low one right after it.
    if first >= 0xdc00 || bytes.get(at + 6) != Some(&b'\\') || bytes.get(at + 7) != Some(&b'u') {
        return Err(Fault::HalfAPair);
    }
    let second = hex(bytes, at + 8)?;
    if !(0xdc00..=0xdfff).contains(&second) {
        return Err(Fault::HalfAPair);
    }
    let code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
    char::from_u32(code).map(|c| (c, at + 12)).ok_or(Fault::HalfAPair)
}

fn hex(bytes: &[u8], at: usize) -> Result<u32, Fault> {
    let digits = bytes.get(at..at + 4).ok_or(Fault::EndsInString)?;
    digits.iter().try_fold(0, |value, digit| {
        char::from(*digit).to_digit(16).map(|digit| value * 16 + digit).ok_or(Fault::NotHex)
    })
}
