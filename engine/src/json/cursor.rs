//! Walks JSON text value by value without building a tree.
//!
//! Every value that is passed is checked whole, also one that is skipped: its grammar, its escapes, its depth, and
//! that no object says the same key twice. A scanner that took the first of two and a store that took the last
//! would be a way around every rule.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use super::JsonError;

/// How deep lists and objects may nest.
pub const DEPTH_LIMIT: usize = 128;

/// An object with more members than this has its keys hashed instead of compared one by one.
const FEW_KEYS: usize = 16;

/// No path in an error is longer, whatever the keys.
const PATH_LIMIT: usize = 128;

/// What a value is, told by its first character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool,
    /// A number.
    Number,
    /// A string.
    Text,
    /// A list.
    List,
    /// An object.
    Object,
}

impl Kind {
    /// With its article, for messages.
    pub fn named(self) -> &'static str {
        match self {
            Kind::Null => "null",
            Kind::Bool => "a bool",
            Kind::Number => "a number",
            Kind::Text => "a string",
            Kind::List => "a list",
            Kind::Object => "an object",
        }
    }
}

/// A place in JSON text.
#[derive(Debug)]
pub struct Cursor<'a> {
    text: &'a str,
    at: usize,
    open: Vec<Open<'a>>,
    /// The keys of all open objects, the innermost object's last.
    keys: Vec<Key<'a>>,
}

#[derive(Debug)]
struct Key<'a> {
    digest: u64,
    text: Cow<'a, str>,
}

/// A list or object that has begun and not ended.
#[derive(Debug)]
struct Open<'a> {
    is_object: bool,
    /// Items or members begun.
    count: usize,
    /// Where in `keys` its own begin.
    keys_from: usize,
    /// Its keys, once they are many.
    seen: Option<HashSet<Cow<'a, str>>>,
}

impl<'a> Cursor<'a> {
    /// Before the first value of UTF-8 bytes.
    pub fn new(bytes: &'a [u8]) -> Result<Cursor<'a>, JsonError> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Cursor::over(text)),
            Err(error) => Err(JsonError {
                offset: error.valid_up_to(),
                path: String::new(),
                message: "the text is not UTF-8".to_owned(),
            }),
        }
    }

    /// Before the first value of a text.
    pub fn over(text: &'a str) -> Cursor<'a> {
        Cursor { text, at: 0, open: Vec::new(), keys: Vec::new() }
    }

    /// The whole text that it walks.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// What the next value is.
    pub fn kind(&mut self) -> Result<Kind, JsonError> {
        self.space();
        match self.byte() {
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::List),
            Some(b'"') => Ok(Kind::Text),
            Some(b't' | b'f') => Ok(Kind::Bool),
            Some(b'n') => Ok(Kind::Null),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(_) => Err(self.error("a value should stand here")),
            None => Err(self.error("the text ends too early")),
        }
    }

    /// Enters an object; then [`Cursor::next_key`] until there is none.
    pub fn open_object(&mut self) -> Result<(), JsonError> {
        self.expect(b'{', "an object should stand here")?;
        self.opened(true)
    }

    /// The next key of the object entered last, its value to follow; at none the object is left.
    pub fn next_key(&mut self) -> Result<Option<Cow<'a, str>>, JsonError> {
        if !self.next_part(b'}', "a comma or `}` should stand here")? {
            return Ok(None);
        }
        let start = self.at;
        if self.byte() != Some(b'"') {
            return Err(self.error("a key in double quotes should stand here"));
        }
        let key = self.string()?;
        if !self.add_key(key.clone()) {
            self.at = start;
            return Err(self.error("the object has this key twice"));
        }
        self.space();
        self.expect(b':', "a colon should stand here")?;
        Ok(Some(key))
    }

    /// Enters a list; then [`Cursor::next_item`] until there is none.
    pub fn open_list(&mut self) -> Result<(), JsonError> {
        self.expect(b'[', "a list should stand here")?;
        self.opened(false)
    }

    /// Whether the list entered last has another item, which then follows; if not the list is left.
    pub fn next_item(&mut self) -> Result<bool, JsonError> {
        self.next_part(b']', "a comma or `]` should stand here")
    }

    /// A string, its escapes read.
    pub fn string(&mut self) -> Result<Cow<'a, str>, JsonError> {
        let (raw, escaped) = self.raw_string()?;
        Ok(if escaped { Cow::Owned(unescaped(raw)) } else { Cow::Borrowed(raw) })
    }

    /// The text of a number.
    pub fn number(&mut self) -> Result<&'a str, JsonError> {
        self.space();
        let start = self.at;
        self.take(b'-');
        if self.take(b'0') {
            if matches!(self.byte(), Some(b'0'..=b'9')) {
                return Err(self.error("a number does not begin with a nought"));
            }
        } else {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _ = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        Ok(self.slice(start, self.at))
    }

    /// `true` or `false`.
    pub fn boolean(&mut self) -> Result<bool, JsonError> {
        self.space();
        if self.byte() == Some(b't') {
            self.word("true").map(|()| true)
        } else {
            self.word("false").map(|()| false)
        }
    }

    /// `null`.
    pub fn null(&mut self) -> Result<(), JsonError> {
        self.space();
        self.word("null")
    }

    /// Passes a value, checking all of it; where in the text it stands.
    pub fn skip(&mut self) -> Result<Range<usize>, JsonError> {
        let kind = self.kind()?;
        let start = self.at;
        match kind {
            Kind::Null => self.null()?,
            Kind::Bool => drop(self.boolean()?),
            Kind::Number => drop(self.number()?),
            Kind::Text => drop(self.raw_string()?),
            Kind::List => {
                self.open_list()?;
                while self.next_item()? {
                    self.skip()?;
                }
            }
            Kind::Object => {
                self.open_object()?;
                while self.next_key()?.is_some() {
                    self.skip()?;
                }
            }
        }
        Ok(start..self.at)
    }

    /// Makes sure that nothing follows.
    pub fn end(&mut self) -> Result<(), JsonError> {
        self.space();
        if self.byte().is_some() { Err(self.error("something follows the value")) } else { Ok(()) }
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn slice(&self, start: usize, end: usize) -> &'a str {
        self.text.get(start..end).unwrap_or_default()
    }

    fn space(&mut self) {
        while matches!(self.byte(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let there = self.byte() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn expect(&mut self, byte: u8, message: &str) -> Result<(), JsonError> {
        self.space();
        if self.take(byte) { Ok(()) } else { Err(self.error(message)) }
    }

    fn word(&mut self, word: &str) -> Result<(), JsonError> {
        if !self.text.as_bytes().get(self.at..).is_some_and(|rest| rest.starts_with(word.as_bytes())) {
            return Err(self.error("a value should stand here"));
        }
        self.at += word.len();
        Ok(())
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while matches!(self.byte(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { Err(self.error("a digit should stand here")) } else { Ok(()) }
    }

    fn opened(&mut self, is_object: bool) -> Result<(), JsonError> {
        if self.open.len() == DEPTH_LIMIT {
            return Err(self.error(&format!("values nest deeper than {DEPTH_LIMIT}")));
        }
        self.open.push(Open { is_object, count: 0, keys_from: self.keys.len(), seen: None });
        Ok(())
    }

    /// Moves past the comma to the next item or key, or past the end, which leaves the value.
    fn next_part(&mut self, end: u8, message: &str) -> Result<bool, JsonError> {
        self.space();
        let count = self.open.last().map_or(0, |open| open.count);
        if self.take(end) {
            if let Some(closed) = self.open.pop() {
                self.keys.truncate(closed.keys_from);
            }
            return Ok(false);
        }
        if count > 0 {
            self.expect(b',', message)?;
            self.space();
        }
        if let Some(open) = self.open.last_mut() {
            open.count += 1;
        }
        Ok(true)
    }

    /// Adds a key to the innermost object; false if it has it already.
    fn add_key(&mut self, text: Cow<'a, str>) -> bool {
        let Some(open) = self.open.last_mut() else { return true };
        let own = self.keys.get(open.keys_from..).unwrap_or_default();
        let digest = digest(&text);
        let is_new = if own.len() < FEW_KEYS {
            !own.iter().any(|key| key.digest == digest && key.text == text)
        } else {
            let seen = open.seen.get_or_insert_with(|| own.iter().map(|key| key.text.clone()).collect());
            seen.insert(text.clone())
        };
        self.keys.push(Key { digest, text });
        is_new
    }

    /// What stands between the quotes, checked, and whether it has escapes.
    fn raw_string(&mut self) -> Result<(&'a str, bool), JsonError> {
        self.expect(b'"', "a string should stand here")?;
        let start = self.at;
        let mut escaped = false;
        loop {
            self.at = end_of_plain(self.text.as_bytes(), self.at);
            match self.byte() {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    match escape(self.text.as_bytes(), self.at) {
                        Ok((_, next)) => self.at = next,
                        Err(message) => return Err(self.error(message)),
                    }
                }
                Some(_) => return Err(self.error("a control character stands bare in a string")),
                None => return Err(self.error("the text ends inside a string")),
            }
        }
        let raw = self.slice(start, self.at);
        self.at += 1;
        Ok((raw, escaped))
    }

    fn error(&self, message: &str) -> JsonError {
        JsonError { offset: self.at, path: self.path(), message: message.to_owned() }
    }

    /// The keys and item numbers that lead here, with dots between.
    fn path(&self) -> String {
        let mut parts = Vec::new();
        for (level, open) in self.open.iter().enumerate() {
            if !open.is_object {
                parts.push(open.count.saturating_sub(1).to_string());
                continue;
            }
            let until = self.open.get(level + 1).map_or(self.keys.len(), |inner| inner.keys_from);
            match self.keys.get(open.keys_from..until).and_then(<[_]>::last) {
                Some(key) => parts.push(key.text.chars().take(PATH_LIMIT).collect()),
                None => break,
            }
        }
        parts.join(".").chars().take(PATH_LIMIT).collect()
    }
}

/// Where the bytes end that a string may hold as they are.
fn end_of_plain(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at).is_some_and(|byte| *byte >= 0x20 && *byte != b'"' && *byte != b'\\') {
        at += 1;
    }
    at
}

/// A number that tells most keys apart without looking at their texts: the length and the first characters.
pub(crate) fn digest(key: &str) -> u64 {
    key.bytes().take(7).fold(key.len() as u64, |digest, byte| (digest << 8) | u64::from(byte))
}

/// The character of the escape that begins at a backslash, and where it ends.
fn escape(bytes: &[u8], at: usize) -> Result<(char, usize), &'static str> {
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
        _ => Err("a string has an unknown escape"),
    }
}

fn unicode_escape(bytes: &[u8], at: usize) -> Result<(char, usize), &'static str> {
    const LONE: &str = "a string has half a surrogate pair";
    let first = hex(bytes, at + 2)?;
    if let Some(c) = char::from_u32(first) {
        return Ok((c, at + 6));
    }
    // What is not a character is a surrogate: the high one must come first, the low one right after it.
    if first >= 0xdc00 || bytes.get(at + 6) != Some(&b'\\') || bytes.get(at + 7) != Some(&b'u') {
        return Err(LONE);
    }
    let second = hex(bytes, at + 8)?;
    if !(0xdc00..=0xdfff).contains(&second) {
        return Err(LONE);
    }
    let code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
    char::from_u32(code).map(|c| (c, at + 12)).ok_or(LONE)
}

fn hex(bytes: &[u8], at: usize) -> Result<u32, &'static str> {
    let digits = bytes.get(at..at + 4).ok_or("the text ends inside a string")?;
    digits.iter().try_fold(0, |value, digit| {
        char::from(*digit)
            .to_digit(16)
            .map(|digit| value * 16 + digit)
            .ok_or("a `\\u` needs four hexadecimal digits")
    })
}

/// What a checked string with escapes says.
fn unescaped(raw: &str) -> String {
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((before, after)) = rest.find('\\').and_then(|at| rest.split_at_checked(at)) {
        text.push_str(before);
        let Ok((c, end)) = escape(after.as_bytes(), 0) else { break };
        text.push(c);
        rest = after.get(end..).unwrap_or_default();
    }
    text.push_str(rest);
    text
}
