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
use super::scan::{Head, unescaped};

/// How deep lists and objects may nest.
pub const DEPTH_LIMIT: usize = 128;

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
///
/// It remembers where it is; its steps (`steps`) are told.
#[derive(Debug)]
pub struct Cursor<'a> {
    pub(super) text: &'a str,
    /// Where it is, or where a fault was met.
    pub(super) at: usize,
    /// How many lists and objects are open.
    pub(super) depth: usize,
    /// The keys of all open objects, the innermost object's last.
    pub(super) keys: Vec<Key>,
    /// Where in `keys` those of the innermost object begin.
    pub(super) own: usize,
    /// The keys of open objects that have many, with the depth of each.
    pub(super) many: Vec<(usize, HashSet<Cow<'a, str>>)>,
    /// Where the last string ended that has escapes.
    pub(super) escaped: usize,
    /// For each list or object that was entered and not left, where the keys of the outer one begin.
    pub(super) entered: Vec<usize>,
    /// Whether the one entered last has an item or member yet. All others have: the next one in them.
    pub(super) begun: bool,
}

/// A key that was passed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    /// Where its text between the quotes stands.
    pub(super) start: usize,
    pub(super) end: usize,
    /// What tells it from most other keys.
    pub(crate) head: Head,
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
        Cursor {
            text,
            at: 0,
            depth: 0,
            keys: Vec::new(),
            own: 0,
            many: Vec::new(),
            escaped: 0,
            entered: Vec::new(),
            begun: false,
        }
    }

    /// Before the first item of a list that was passed before.
    pub(crate) fn inside(list: &'a str) -> Cursor<'a> {
        Cursor { at: 1, ..Cursor::over(list) }
    }

    /// Where the keys (between the quotes) and the values of an object stand that was passed before; nothing of any
    /// other value.
    pub(crate) fn spans(object: &'a str) -> Vec<(Range<usize>, Range<usize>)> {
        let mut spans = Vec::new();
        let passed = Cursor::over(object).members(0, |cursor, key, at| {
            let at = cursor.colon(at)?;
            let (start, kind) = cursor.value(at)?;
            let end = cursor.pass_kind(start, kind)?;
            spans.push((key.start..key.end, start..end));
            Ok(end)
        });
        if passed.is_ok() { spans } else { Vec::new() }
    }

    /// What the next value is.
    pub fn kind(&mut self) -> Result<Kind, JsonError> {
        match self.value(self.at) {
            Ok((at, kind)) => {
                self.at = at;
                Ok(kind)
            }
            Err(fault) => Err(self.error(fault)),
        }
    }

    /// Enters an object; then [`Cursor::next_key`] until there is none.
    pub fn open_object(&mut self) -> Result<(), JsonError> {
        self.open(b'{', Fault::NoObject)
    }

    /// The next key of the object entered last, its value to follow; at none the object is left.
    pub fn next_key(&mut self) -> Result<Option<Cow<'a, str>>, JsonError> {
        if !self.next(b'}', Fault::NoMember)? {
            return Ok(None);
        }
        let key = self.key(self.at).and_then(|key| {
            self.note(key)?;
            self.at = self.colon(key.end + 1)?;
            Ok(Some(self.said(key)))
        });
        key.map_err(|fault| self.error(fault))
    }

    /// Enters a list; then [`Cursor::next_item`] until there is none.
    pub fn open_list(&mut self) -> Result<(), JsonError> {
        self.open(b'[', Fault::NoList)
    }

    /// Whether the list entered last has another item, which then follows; if not the list is left.
    pub fn next_item(&mut self) -> Result<bool, JsonError> {
        self.next(b']', Fault::NoItem)
    }

    /// A string, its escapes read.
    pub fn string(&mut self) -> Result<Cow<'a, str>, JsonError> {
        let (Range { start, end }, escaped) = self.quoted()?;
        let raw = self.slice(start, end);
        Ok(if escaped { unescaped(raw) } else { Cow::Borrowed(raw) })
    }

    /// Where the text of a string stands between the quotes, and whether it has escapes.
    pub(crate) fn quoted(&mut self) -> Result<(Range<usize>, bool), JsonError> {
        let start = self.space(self.at);
        self.step(start, Cursor::pass_string)?;
        Ok((start + 1..self.at - 1, self.was_escaped(self.at)))
    }

    /// The text of a number.
    pub fn number(&mut self) -> Result<&'a str, JsonError> {
        let start = self.space(self.at);
        self.step(start, Cursor::pass_number)?;
        Ok(self.slice(start, self.at))
    }

    /// `true` or `false`.
    pub fn boolean(&mut self) -> Result<bool, JsonError> {
        let start = self.space(self.at);
        self.step(start, Cursor::pass_bool)?;
        Ok(self.byte(start) == Some(b't'))
    }

    /// `null`.
    pub fn null(&mut self) -> Result<(), JsonError> {
        let start = self.space(self.at);
        self.step(start, |cursor, at| cursor.pass_word(at, b"null"))
    }

    /// Passes a value, checking all of it; where in the text it stands.
    pub fn skip(&mut self) -> Result<Range<usize>, JsonError> {
        let start = self.space(self.at);
        self.step(start, Cursor::pass)?;
        Ok(start..self.at)
    }

    /// Makes sure that nothing follows.
    pub fn end(&mut self) -> Result<(), JsonError> {
        self.at = self.space(self.at);
        if self.byte(self.at).is_some() { Err(self.error(Fault::Follows)) } else { Ok(()) }
    }

    fn open(&mut self, bracket: u8, otherwise: Fault) -> Result<(), JsonError> {
        self.step(self.at, |cursor, at| {
            let at = cursor.expect(at, bracket, otherwise)?;
            let outer = cursor.enter(at)?;
            cursor.entered.push(outer);
            cursor.begun = false;
            Ok(at)
        })
    }

    /// Moves on to the next item or key, or past the end.
    fn next(&mut self, end: u8, otherwise: Fault) -> Result<bool, JsonError> {
        match self.part(self.at, end, otherwise, self.begun) {
            Ok((more, at)) => {
                self.at = at;
                self.begun = true;
                if !more {
                    let outer = self.entered.pop().unwrap_or(0);
                    self.leave(outer);
                }
                Ok(more)
            }
            Err(fault) => Err(self.error(fault)),
        }
    }

    /// Takes a step and stays where it ends.
    pub(crate) fn step(
        &mut self,
        from: usize,
        step: impl FnOnce(&mut Cursor<'a>, usize) -> Result<usize, Fault>,
    ) -> Result<(), JsonError> {
        match step(self, from) {
            Ok(at) => {
                self.at = at;
                Ok(())
            }
            Err(fault) => Err(self.error(fault)),
        }
    }

    fn error(&self, fault: Fault) -> JsonError {
        fault.at(self.text, self.at)
    }

    /// A fault, noting where it is.
    #[cold]
    pub(crate) fn fault(&mut self, at: usize, fault: Fault) -> Fault {
        self.at = at;
        fault
    }

    /// The whole text that it walks.
    pub(crate) fn text(&self) -> &'a str {
        self.text
    }
}
