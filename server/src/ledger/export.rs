//! A ledger as a file: one line of JSON an entry, with exactly the bytes that were hashed.
//!
//! The lines have one form, `{"seq":7,"hash":"…","prev_hash":"…","record":{…}}`, without spaces and in this order; the
//! record stands in it as its canonical bytes. A line that says the same in another spelling is not read.

use std::io::Write;

use super::StoredEntry;
use super::checkpoint::whole;
use crate::vault::{Bytes32, hex};

const SEQ: &[u8] = b"{\"seq\":";
const HASH: &[u8] = b",\"hash\":\"";
const PREV_HASH: &[u8] = b"\",\"prev_hash\":\"";
const RECORD: &[u8] = b"\",\"record\":";
const END: &[u8] = b"}";

/// Hexadecimal digits of a hash.
const DIGITS: usize = 64;

/// An entry of a ledger, as far as it is verified.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "named like the columns of the table, which is documented")]
pub struct Line<'a> {
    pub seq: i64,
    pub hash: Bytes32,
    pub prev_hash: Bytes32,
    pub canonical: &'a [u8],
}

impl<'a> From<&'a StoredEntry> for Line<'a> {
    fn from(entry: &'a StoredEntry) -> Line<'a> {
        let StoredEntry { seq, ref canonical, hash, prev_hash } = *entry;
        Line { seq, hash, prev_hash, canonical }
    }
}

impl<'a> Line<'a> {
    /// Writes it, with the line's end.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(SEQ);
        write!(out, "{}", self.seq).expect("memory takes writes");
        out.extend_from_slice(HASH);
        out.extend_from_slice(hex(&self.hash).as_bytes());
        out.extend_from_slice(PREV_HASH);
        out.extend_from_slice(hex(&self.prev_hash).as_bytes());
        out.extend_from_slice(RECORD);
        out.extend_from_slice(self.canonical);
        out.extend_from_slice(END);
        out.push(b'\n');
    }

    /// Reads it, without the line's end; none if it is not in the one form that it has.
    pub fn parse(line: &'a [u8]) -> Option<Line<'a>> {
        let rest = line.strip_prefix(SEQ)?;
        let digits = rest.iter().position(|byte| !byte.is_ascii_digit())?;
        let (digits, rest) = rest.split_at_checked(digits)?;
        let seq = i64::try_from(whole(str::from_utf8(digits).ok()?)?).ok()?;
        let (hash, rest) = rest.strip_prefix(HASH)?.split_at_checked(DIGITS)?;
        let (prev_hash, rest) = rest.strip_prefix(PREV_HASH)?.split_at_checked(DIGITS)?;
        let canonical = rest.strip_prefix(RECORD)?.strip_suffix(END)?;
        Some(Line { seq, hash: unhex(hash)?, prev_hash: unhex(prev_hash)?, canonical })
    }
}

/// A hash of lower-case hexadecimal digits.
fn unhex(digits: &[u8]) -> Option<Bytes32> {
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut hash = [0; 32];
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    if pairs.len() != hash.len() {
        return None;
    }
    for (byte, [high, low]) in hash.iter_mut().zip(pairs) {
        *byte = value(*high)? << 4 | value(*low)?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_back_and_in_no_other_spelling() {
        let line = Line { seq: 7, hash: [0xab; 32], prev_hash: [0x0c; 32], canonical: b"{\"seq\":7}" };
        let mut bytes = Vec::new();
        line.write(&mut bytes);
        let text = String::from_utf8(bytes).unwrap();
        let text = text.strip_suffix('\n').unwrap();
        let read = Line::parse(text.as_bytes()).unwrap();
        assert_eq!((read.seq, read.hash, read.prev_hash), (7, [0xab; 32], [0x0c; 32]));
        assert_eq!(read.canonical, line.canonical);
        for (from, to) in [
            ("\"seq\":7,", "\"seq\":07,"),
            ("\"seq\":7,", "\"seq\":+7,"),
            ("\"seq\":7,", "\"seq\":,"),
            ("\"seq\":7,", "\"seq\": 7,"),
            ("abab", "ABab"),
            ("abab", "aba"),
            ("\"record\"", "\"Record\""),
        ] {
            let other = text.replacen(from, to, 1);
            assert_ne!(other, text);
            assert!(Line::parse(other.as_bytes()).is_none(), "{other}");
        }
        for end in 0..text.len() {
            assert!(Line::parse(&text.as_bytes()[..end]).is_none_or(|read| read.canonical != line.canonical));
        }
    }
}
