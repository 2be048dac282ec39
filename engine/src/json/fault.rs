//! What can be wrong with JSON text, and which value it is wrong with.
//!
//! Reading keeps no more than it needs to go on. Where a fault stands is found by walking the text once more.

use super::JsonError;
use super::cursor::DEPTH_LIMIT;
use super::scan::{end_of_plain, unescaped};

/// No path in an error is longer, whatever the keys.
const PATH_LIMIT: usize = 128;

/// What is wrong with a text. As large as a place, so that a step returns either in registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Fault {
    NoValue,
    EndsEarly,
    NoObject,
    NoList,
    NoString,
    NoKey,
    NoColon,
    NoMember,
    NoItem,
    KeyTwice,
    TooDeep,
    LeadingNought,
    NoDigit,
    Control,
    EndsInString,
    UnknownEscape,
    NotHex,
    HalfAPair,
    Follows,
    TooLong,
}

impl Fault {
    fn message(self) -> String {
        let message = match self {
            Fault::NoValue => "a value should stand here",
            Fault::EndsEarly => "the text ends too early",
            Fault::NoObject => "an object should stand here",
            Fault::NoList => "a list should stand here",
            Fault::NoString => "a string should stand here",
            Fault::NoKey => "a key in double quotes should stand here",
            Fault::NoColon => "a colon should stand here",
            Fault::NoMember => "a comma or `}` should stand here",
            Fault::NoItem => "a comma or `]` should stand here",
            Fault::KeyTwice => "the object has this key twice",
            Fault::TooDeep => return format!("values nest deeper than {DEPTH_LIMIT}"),
            Fault::LeadingNought => "a number does not begin with a nought",
            Fault::NoDigit => "a digit should stand here",
            Fault::Control => "a control character stands bare in a string",
            Fault::EndsInString => "the text ends inside a string",
            Fault::UnknownEscape => "a string has an unknown escape",
            Fault::NotHex => "a `\\u` needs four hexadecimal digits",
            Fault::HalfAPair => "a string has half a surrogate pair",
            Fault::Follows => "something follows the value",
            Fault::TooLong => "the text is longer than 4 GiB",
        };
        message.to_owned()
    }

    /// The error for a fault at this byte of a text that is well-formed up to there.
    #[cold]
    pub(super) fn at(self, text: &str, offset: usize) -> JsonError {
        let until = match self {
            // The key itself is what it is about.
            Fault::KeyTwice => end_of_string(text.as_bytes(), offset + 1).unwrap_or(offset),
            _ => offset,
        };
        JsonError { offset, path: path(text.get(..until).unwrap_or_default()), message: self.message() }
    }
}

/// A list or object that has begun and not ended: how many items came before, or the text of the last key.
enum Open<'a> {
    List(usize),
    Object(Option<&'a str>),
}

/// The keys and item numbers that lead to the end of a text, with dots between.
fn path(text: &str) -> String {
    let mut open = Vec::new();
    let (mut at, mut key_next) = (0, false);
    while let Some(byte) = text.as_bytes().get(at) {
        at += 1;
        match byte {
            // The bracket that is too many was not entered.
            b'[' | b'{' if open.len() == DEPTH_LIMIT => {}
            b'[' => open.push(Open::List(0)),
            b'{' => {
                open.push(Open::Object(None));
                key_next = true;
            }
            b']' | b'}' => drop(open.pop()),
            b',' => match open.last_mut() {
                Some(Open::List(before)) => *before += 1,
                _ => key_next = true,
            },
            b'"' => {
                let Some(end) = end_of_string(text.as_bytes(), at) else { break };
                if let (true, Some(Open::Object(key))) = (key_next, open.last_mut()) {
                    *key = text.get(at..end - 1);
                }
                (at, key_next) = (end, false);
            }
            _ => {}
        }
    }
    let mut parts: Vec<String> = Vec::new();
    for level in open {
        match level {
            Open::List(before) => parts.push(before.to_string()),
            Open::Object(Some(key)) => parts.push(unescaped(key).chars().take(PATH_LIMIT).collect()),
            Open::Object(None) => break,
        }
    }
    parts.join(".").chars().take(PATH_LIMIT).collect()
}

/// Past the closing quote of a string without faults, from its first character; none if it does not end.
fn end_of_string(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at = end_of_plain(bytes, at);
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => return None,
        }
    }
}
