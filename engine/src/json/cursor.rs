//! Walks JSON text value by value without building a tree.
//!
//! Every value that is passed is checked whole, also one that is skipped: its grammar, its escapes, its depth, and
//! that no object says the same key twice. A scanner that took the first of two and a store that took the last
//! would be a way around every rule.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use super::JsonError;
use super::fault::Fault;
use super::scan::{digest, end_of_plain, escape, unescaped};

/// How deep lists and objects may nest.
pub const DEPTH_LIMIT: usize = 128;

/// An object with more members than this has its keys hashed instead of compared one by one.
const FEW_KEYS: usize = 16;

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
    /// How many lists and objects are open.
    depth: usize,
    /// Whether the innermost one has an item or member yet. All others have: the one that is open in them.
    begun: bool,
    /// The keys of all open objects, the innermost object's last.
    keys: Vec<Seen<'a>>,
    /// Where in `keys` those of the innermost object begin.
    own: usize,
    /// The keys of open objects that have many, with the depth of each.
    many: Vec<(usize, HashSet<Cow<'a, str>>)>,
}

/// A key as it stands in the text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key<'a> {
    /// What stands between the quotes.
    raw: &'a str,
    escaped: bool,
    /// The digest of what it says.
    pub(crate) digest: u64,
}

impl<'a> Key<'a> {
    /// What the key says.
    pub(crate) fn text(self) -> Cow<'a, str> {
        if self.escaped { unescaped(self.raw) } else { Cow::Borrowed(self.raw) }
    }

    /// Whether it says this.
    pub(crate) fn says(self, name: &str) -> bool {
        if self.escaped { unescaped(self.raw) == name } else { self.raw == name }
    }
}

/// A key of an open object; or, where an inner list or object begins, where the keys of the outer one began.
#[derive(Debug)]
enum Seen<'a> {
    Key(Key<'a>),
    Outer(usize),
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
        Cursor { text, at: 0, depth: 0, begun: false, keys: Vec::new(), own: 0, many: Vec::new() }
    }

    /// Before the first item of a list that was passed before.
    pub(crate) fn inside(list: &'a str) -> Cursor<'a> {
        Cursor { at: 1, ..Cursor::over(list) }
    }

    /// What the next value is.
    pub fn kind(&mut self) -> Result<Kind, JsonError> {
        self.value_kind().map_err(|fault| self.error(fault))
    }

    /// Enters an object; then [`Cursor::next_key`] until there is none.
    pub fn open_object(&mut self) -> Result<(), JsonError> {
        self.enter_object().map_err(|fault| self.error(fault))
    }

    /// The next key of the object entered last, its value to follow; at none the object is left.
    pub fn next_key(&mut self) -> Result<Option<Cow<'a, str>>, JsonError> {
        match self.member() {
            Ok(key) => Ok(key.map(Key::text)),
            Err(fault) => Err(self.error(fault)),
        }
    }

    /// Enters a list; then [`Cursor::next_item`] until there is none.
    pub fn open_list(&mut self) -> Result<(), JsonError> {
        self.enter_list().map_err(|fault| self.error(fault))
    }

    /// Whether the list entered last has another item, which then follows; if not the list is left.
    pub fn next_item(&mut self) -> Result<bool, JsonError> {
        self.item().map_err(|fault| self.error(fault))
    }

    /// A string, its escapes read.
    pub fn string(&mut self) -> Result<Cow<'a, str>, JsonError> {
        match self.raw_string() {
            Ok((raw, true)) => Ok(unescaped(raw)),
            Ok((raw, false)) => Ok(Cow::Borrowed(raw)),
            Err(fault) => Err(self.error(fault)),
        }
    }

    /// The text of a number.
    pub fn number(&mut self) -> Result<&'a str, JsonError> {
        self.space();
        let start = self.at;
        match self.pass_number() {
            Ok(()) => Ok(self.slice(start, self.at)),
            Err(fault) => Err(self.error(fault)),
        }
    }

    /// `true` or `false`.
    pub fn boolean(&mut self) -> Result<bool, JsonError> {
        self.space();
        let is_true = self.byte() == Some(b't');
        self.pass_word(if is_true { "true" } else { "false" }).map_err(|fault| self.error(fault))?;
        Ok(is_true)
    }

    /// `null`.
    pub fn null(&mut self) -> Result<(), JsonError> {
        self.space();
        self.pass_word("null").map_err(|fault| self.error(fault))
    }

    /// Passes a value, checking all of it; where in the text it stands.
    pub fn skip(&mut self) -> Result<Range<usize>, JsonError> {
        self.space();
        let start = self.at;
        match self.pass() {
            Ok(_) => Ok(start..self.at),
            Err(fault) => Err(self.error(fault)),
        }
    }

    /// Makes sure that nothing follows.
    pub fn end(&mut self) -> Result<(), JsonError> {
        self.space();
        if self.byte().is_some() { Err(self.error(Fault::Follows)) } else { Ok(()) }
    }

    /// The error for a fault that was just met.
    pub(crate) fn error(&self, fault: Fault) -> JsonError {
        fault.at(self.text, self.at)
    }

    /// The whole text that it walks.
    pub(crate) fn text(&self) -> &'a str {
        self.text
    }

    /// Where it is.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn value_kind(&mut self) -> Result<Kind, Fault> {
        self.space();
        match self.byte() {
            Some(b'"') => Ok(Kind::Text),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::List),
            Some(b't' | b'f') => Ok(Kind::Bool),
            Some(b'n') => Ok(Kind::Null),
            Some(_) => Err(Fault::NoValue),
            None => Err(Fault::EndsEarly),
        }
    }

    /// Passes a value, checking all of it. Recursion is bounded by [`DEPTH_LIMIT`].
    pub(crate) fn pass(&mut self) -> Result<Kind, Fault> {
        let kind = self.value_kind()?;
        match kind {
            Kind::Text => drop(self.raw_string()?),
            Kind::Number => self.pass_number()?,
            Kind::Null => self.pass_word("null")?,
            Kind::Bool => self.pass_word(if self.byte() == Some(b't') { "true" } else { "false" })?,
            Kind::List => {
                self.enter_list()?;
                while self.item()? {
                    self.pass()?;
                }
            }
            Kind::Object => {
                self.enter_object()?;
                while self.member()?.is_some() {
                    self.pass()?;
                }
            }
        }
        Ok(kind)
    }

    pub(crate) fn enter_object(&mut self) -> Result<(), Fault> {
        self.expect(b'{', Fault::NoObject)?;
        self.enter()
    }

    fn enter_list(&mut self) -> Result<(), Fault> {
        self.expect(b'[', Fault::NoList)?;
        self.enter()
    }

    fn item(&mut self) -> Result<bool, Fault> {
        self.part(b']', Fault::NoItem)
    }

    /// The next key, shown to be new, and its colon.
    fn member(&mut self) -> Result<Option<Key<'a>>, Fault> {
        let Some(key) = self.key()? else { return Ok(None) };
        self.note(key)?;
        self.colon()?;
        Ok(Some(key))
    }

    /// The next key, which may have come before; then either [`Cursor::note`] or [`Cursor::twice`], and
    /// [`Cursor::colon`].
    pub(crate) fn key(&mut self) -> Result<Option<Key<'a>>, Fault> {
        if !self.part(b'}', Fault::NoMember)? {
            return Ok(None);
        }
        if self.byte() != Some(b'"') {
            return Err(Fault::NoKey);
        }
        let (raw, escaped) = self.raw_string()?;
        let digest = if escaped { digest(&unescaped(raw)) } else { digest(raw) };
        Ok(Some(Key { raw, escaped, digest }))
    }

    /// Notes a key of the innermost object, which it may not have yet.
    pub(crate) fn note(&mut self, key: Key<'a>) -> Result<(), Fault> {
        let own = self.keys.get(self.own..).unwrap_or_default();
        let is_new = if own.len() < FEW_KEYS {
            !own.iter().any(
                |seen| matches!(seen, Seen::Key(seen) if seen.digest == key.digest && key.says(&seen.text())),
            )
        } else {
            if !self.many.last().is_some_and(|(depth, _)| *depth == self.depth) {
                let texts = own.iter().filter_map(|seen| match seen {
                    Seen::Key(key) => Some(key.text()),
                    Seen::Outer(_) => None,
                });
                self.many.push((self.depth, texts.collect()));
            }
            self.many.last_mut().is_some_and(|(_, seen)| seen.insert(key.text()))
        };
        if !is_new {
            return Err(self.twice(key));
        }
        self.keys.push(Seen::Key(key));
        Ok(())
    }

    /// The fault of a key that was just read, and came before.
    pub(crate) fn twice(&mut self, key: Key<'a>) -> Fault {
        // Back to its opening quote.
        self.at = self.at.saturating_sub(key.raw.len() + 2);
        Fault::KeyTwice
    }

    pub(crate) fn colon(&mut self) -> Result<(), Fault> {
        self.expect(b':', Fault::NoColon)
    }

    /// What stands between the quotes, checked, and whether it has escapes.
    pub(crate) fn raw_string(&mut self) -> Result<(&'a str, bool), Fault> {
        self.expect(b'"', Fault::NoString)?;
        let start = self.at;
        let mut escaped = false;
        loop {
            self.at = end_of_plain(self.text.as_bytes(), self.at);
            match self.byte() {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    (_, self.at) = escape(self.text.as_bytes(), self.at)?;
                }
                Some(_) => return Err(Fault::Control),
                None => return Err(Fault::EndsInString),
            }
        }
        let raw = self.slice(start, self.at);
        self.at += 1;
        Ok((raw, escaped))
    }

    fn pass_number(&mut self) -> Result<(), Fault> {
        self.take(b'-');
        if self.take(b'0') {
            if matches!(self.byte(), Some(b'0'..=b'9')) {
                return Err(Fault::LeadingNought);
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
        Ok(())
    }

    fn pass_word(&mut self, word: &str) -> Result<(), Fault> {
        if !self.text.as_bytes().get(self.at..).is_some_and(|rest| rest.starts_with(word.as_bytes())) {
            return Err(Fault::NoValue);
        }
        self.at += word.len();
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Fault> {
        let start = self.at;
        while matches!(self.byte(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { Err(Fault::NoDigit) } else { Ok(()) }
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

    fn expect(&mut self, byte: u8, otherwise: Fault) -> Result<(), Fault> {
        self.space();
        if self.take(byte) { Ok(()) } else { Err(otherwise) }
    }

    fn enter(&mut self) -> Result<(), Fault> {
        if self.depth == DEPTH_LIMIT {
            return Err(Fault::TooDeep);
        }
        self.depth += 1;
        self.begun = false;
        self.keys.push(Seen::Outer(self.own));
        self.own = self.keys.len();
        Ok(())
    }

    fn leave(&mut self) {
        if self.many.last().is_some_and(|(depth, _)| *depth == self.depth) {
            self.many.pop();
        }
        self.depth = self.depth.saturating_sub(1);
        self.begun = true;
        self.keys.truncate(self.own);
        if let Some(Seen::Outer(own)) = self.keys.pop() {
            self.own = own;
        }
    }

    /// Moves past the comma to the next item or key, or past the end, which leaves the value.
    fn part(&mut self, end: u8, otherwise: Fault) -> Result<bool, Fault> {
        self.space();
        if self.take(end) {
            self.leave();
            return Ok(false);
        }
        if self.begun {
            if !self.take(b',') {
                return Err(otherwise);
            }
            self.space();
        }
        self.begun = true;
        Ok(true)
    }
}
