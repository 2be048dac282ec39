//! Walks JSON text value by value without building a tree.
//!
//! Every value that is passed is checked whole, also one that is skipped: its grammar, its escapes, its depth, and
//! that no object says the same key twice. A scanner that took the first of two and a store that took the last
//! would be a way around every rule.

use std::borrow::Cow;
use std::collections::HashSet;
use std::mem;
use std::ops::Range;

use super::JsonError;
use super::fault::Fault;
use super::scan::{Head, end_of_plain, escape, unescaped};

/// How deep lists and objects may nest.
pub const DEPTH_LIMIT: usize = 128;

/// An object with more members than this has its keys hashed instead of compared one by one.
const FEW_KEYS: usize = 16;

/// Keys for which there is room at once: growing step by step costs more than all of it.
const ROOM_FOR_KEYS: usize = 24;

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
/// What is public walks from here to there and remembers where it is. Beneath it each step takes the place where it
/// begins and returns the one where it ends: so that stays in a register, which halves the time.
#[derive(Debug)]
pub struct Cursor<'a> {
    text: &'a str,
    /// Where it is, or where a fault was met.
    at: usize,
    /// How many lists and objects are open.
    depth: usize,
    /// The keys of all open objects, the innermost object's last.
    keys: Vec<Key>,
    /// Where in `keys` those of the innermost object begin.
    own: usize,
    /// The keys of open objects that have many, with the depth of each.
    many: Vec<(usize, HashSet<Cow<'a, str>>)>,
    /// Where the last string ended that has escapes.
    escaped: usize,
    /// For each list or object that was entered and not left, where the keys of the outer one begin.
    entered: Vec<usize>,
    /// Whether the one entered last has an item or member yet. All others have: the next one in them.
    begun: bool,
}

/// A key that was passed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    /// Where its text between the quotes stands.
    start: usize,
    end: usize,
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

    /// Passes a value, checking all of it. Recursion is bounded by [`DEPTH_LIMIT`].
    pub(crate) fn pass(&mut self, at: usize) -> Result<usize, Fault> {
        let (at, kind) = self.value(at)?;
        self.pass_kind(at, kind)
    }

    /// Where the next value begins and what it is.
    #[inline(always)]
    pub(crate) fn value(&mut self, at: usize) -> Result<(usize, Kind), Fault> {
        let (at, byte) = self.peek(at);
        let kind = match byte {
            b'"' => Kind::Text,
            b'-' | b'0'..=b'9' => Kind::Number,
            b'{' => Kind::Object,
            b'[' => Kind::List,
            b't' | b'f' => Kind::Bool,
            b'n' => Kind::Null,
            _ if at == self.text.len() => return Err(self.fault(at, Fault::EndsEarly)),
            _ => return Err(self.fault(at, Fault::NoValue)),
        };
        Ok((at, kind))
    }

    /// Passes a value that was seen to begin here.
    #[inline(always)]
    pub(crate) fn pass_kind(&mut self, at: usize, kind: Kind) -> Result<usize, Fault> {
        match kind {
            Kind::Text => self.pass_string(at),
            Kind::Number => self.pass_number(at),
            Kind::Object => self.pass_object(at),
            Kind::List => self.pass_list(at),
            Kind::Bool => self.pass_bool(at),
            Kind::Null => self.pass_word(at, b"null"),
        }
    }

    fn pass_object(&mut self, at: usize) -> Result<usize, Fault> {
        self.members(at, |cursor, key, at| {
            cursor.note(key)?;
            let at = cursor.colon(at)?;
            cursor.pass(at)
        })
    }

    fn pass_list(&mut self, at: usize) -> Result<usize, Fault> {
        let mut at = self.expect(at, b'[', Fault::NoList)?;
        let outer = self.enter(at)?;
        let (mut more, mut begun) = (true, false);
        while more {
            (more, at) = self.part(at, b']', Fault::NoItem, begun)?;
            if more {
                at = self.pass(at)?;
            }
            begun = true;
        }
        self.leave(outer);
        Ok(at)
    }

    /// Passes an object, of which `each` passes the members: it has the key and what follows it, which should be the
    /// colon.
    pub(crate) fn members(
        &mut self,
        at: usize,
        mut each: impl FnMut(&mut Cursor<'a>, Key, usize) -> Result<usize, Fault>,
    ) -> Result<usize, Fault> {
        let mut at = self.expect(at, b'{', Fault::NoObject)?;
        let outer = self.enter(at)?;
        let (mut more, mut begun) = (true, false);
        while more {
            (more, at) = self.part(at, b'}', Fault::NoMember, begun)?;
            if more {
                let key = self.key(at)?;
                at = each(self, key, key.end + 1)?;
            }
            begun = true;
        }
        self.leave(outer);
        Ok(at)
    }

    /// A key, which may have come before.
    #[inline(always)]
    fn key(&mut self, at: usize) -> Result<Key, Fault> {
        let at = self.space(at);
        match Head::of_short(self.text.as_bytes(), at) {
            Some(head) => Ok(Key { start: at + 1, end: at + 1 + head.len(), head }),
            None => self.any_key(at),
        }
    }

    fn any_key(&mut self, at: usize) -> Result<Key, Fault> {
        if self.byte(at) != Some(b'"') {
            return Err(self.fault(at, Fault::NoKey));
        }
        let after = self.pass_string(at)?;
        let (start, end) = (at + 1, after - 1);
        let head = match self.was_escaped(after) {
            false => Head::within(self.text.as_bytes(), start, end),
            true => self.head_of_escaped(start, end),
        };
        Ok(Key { start, end, head })
    }

    #[cold]
    fn head_of_escaped(&self, start: usize, end: usize) -> Head {
        Head::of(&unescaped(self.slice(start, end)))
    }

    /// What a key says.
    fn said(&self, key: Key) -> Cow<'a, str> {
        let raw = self.slice(key.start, key.end);
        // What an escape says is shorter than itself.
        if key.head.len() < raw.len() { unescaped(raw) } else { Cow::Borrowed(raw) }
    }

    /// Whether a key with the head of this name says it.
    pub(crate) fn says(&self, key: Key, name: &str) -> bool {
        key.head.is_all() || self.said(key) == name
    }

    /// Notes a key of the innermost object, which it may not have yet.
    pub(crate) fn note(&mut self, key: Key) -> Result<(), Fault> {
        let own = self.keys.get(self.own..).unwrap_or_default();
        let is_new = if own.len() < FEW_KEYS {
            !own.iter().any(|seen| seen.head == key.head && self.are_same(*seen, key))
        } else {
            self.is_new_among_many(key)
        };
        if !is_new {
            return Err(self.twice(key));
        }
        if self.keys.capacity() == 0 {
            self.keys.reserve(ROOM_FOR_KEYS);
        }
        self.keys.push(key);
        Ok(())
    }

    /// Whether two keys with the same head say the same. Seldom asked, and slow to inline.
    #[cold]
    fn are_same(&self, one: Key, other: Key) -> bool {
        one.head.is_all() || self.said(one) == self.said(other)
    }

    #[cold]
    fn is_new_among_many(&mut self, key: Key) -> bool {
        if self.many.last().is_none_or(|(depth, _)| *depth != self.depth) {
            let own = self.keys.get(self.own..).unwrap_or_default();
            let texts = own.iter().map(|key| self.said(*key)).collect();
            self.many.push((self.depth, texts));
        }
        let text = self.said(key);
        self.many.last_mut().is_some_and(|(_, seen)| seen.insert(text))
    }

    /// The fault of a key that came before.
    #[cold]
    pub(crate) fn twice(&mut self, key: Key) -> Fault {
        self.fault(key.start - 1, Fault::KeyTwice)
    }

    pub(crate) fn colon(&mut self, at: usize) -> Result<usize, Fault> {
        self.expect(at, b':', Fault::NoColon)
    }

    /// Passes a string, checking all of it. If it has escapes its end is where `escaped` says.
    pub(crate) fn pass_string(&mut self, at: usize) -> Result<usize, Fault> {
        if self.byte(at) != Some(b'"') {
            return Err(self.fault(at, Fault::NoString));
        }
        let end = end_of_plain(self.text.as_bytes(), at + 1);
        if self.byte(end) == Some(b'"') { Ok(end + 1) } else { self.pass_escapes(end) }
    }

    /// Whether the string that ends here has escapes. To be asked before the next one is passed.
    pub(crate) fn was_escaped(&self, end: usize) -> bool {
        self.escaped == end
    }

    /// Passes the rest of a string that is not plain.
    #[cold]
    fn pass_escapes(&mut self, mut at: usize) -> Result<usize, Fault> {
        let bytes = self.text.as_bytes();
        loop {
            match self.byte(at) {
                Some(b'"') => break,
                Some(b'\\') => match escape(bytes, at) {
                    Ok((_, next)) => at = end_of_plain(bytes, next),
                    Err(fault) => return Err(self.fault(at, fault)),
                },
                Some(_) => return Err(self.fault(at, Fault::Control)),
                None => return Err(self.fault(at, Fault::EndsInString)),
            }
        }
        self.escaped = at + 1;
        Ok(at + 1)
    }

    fn pass_number(&mut self, at: usize) -> Result<usize, Fault> {
        let is = |at, wanted: u8| self.byte(at) == Some(wanted);
        let mut at = at + usize::from(is(at, b'-'));
        if is(at, b'0') {
            at += 1;
            if self.byte(at).is_some_and(|byte| byte.is_ascii_digit()) {
                return Err(self.fault(at, Fault::LeadingNought));
            }
        } else {
            at = self.pass_digits(at)?;
        }
        if self.byte(at) == Some(b'.') {
            at = self.pass_digits(at + 1)?;
        }
        if matches!(self.byte(at), Some(b'e' | b'E')) {
            let signed = matches!(self.byte(at + 1), Some(b'+' | b'-'));
            at = self.pass_digits(at + 1 + usize::from(signed))?;
        }
        Ok(at)
    }

    fn pass_digits(&mut self, start: usize) -> Result<usize, Fault> {
        let mut at = start;
        while self.byte(at).is_some_and(|byte| byte.is_ascii_digit()) {
            at += 1;
        }
        if at == start { Err(self.fault(at, Fault::NoDigit)) } else { Ok(at) }
    }

    fn pass_bool(&mut self, at: usize) -> Result<usize, Fault> {
        self.pass_word(at, if self.byte(at) == Some(b't') { b"true" } else { b"false" })
    }

    fn pass_word(&mut self, at: usize, word: &[u8]) -> Result<usize, Fault> {
        if !self.text.as_bytes().get(at..).is_some_and(|rest| rest.starts_with(word)) {
            return Err(self.fault(at, Fault::NoValue));
        }
        Ok(at + word.len())
    }

    #[inline(always)]
    fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    fn slice(&self, start: usize, end: usize) -> &'a str {
        self.text.get(start..end).unwrap_or_default()
    }

    /// Where what is not space begins, and the byte that stands there: 0 at the end. No such byte may stand between
    /// values, so that one is met as any other that should not be there.
    #[inline(always)]
    fn peek(&self, at: usize) -> (usize, u8) {
        // Events are seldom written with space in them.
        match self.byte(at) {
            Some(byte) if byte > b' ' => (at, byte),
            _ => self.peek_past_space(at),
        }
    }

    fn peek_past_space(&self, mut at: usize) -> (usize, u8) {
        while matches!(self.byte(at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            at += 1;
        }
        (at, self.byte(at).unwrap_or(0))
    }

    /// Where what is not space begins.
    #[inline(always)]
    pub(crate) fn space(&self, at: usize) -> usize {
        self.peek(at).0
    }

    #[inline(always)]
    fn expect(&mut self, at: usize, wanted: u8, otherwise: Fault) -> Result<usize, Fault> {
        let (at, byte) = self.peek(at);
        if byte == wanted { Ok(at + 1) } else { Err(self.fault(at, otherwise)) }
    }

    /// Moves on to the next item or key, past the comma if one has begun; or past the end.
    #[inline(always)]
    fn part(&mut self, at: usize, end: u8, otherwise: Fault, begun: bool) -> Result<(bool, usize), Fault> {
        let (at, byte) = self.peek(at);
        if byte == end {
            Ok((false, at + 1))
        } else if !begun {
            Ok((true, at))
        } else if byte == b',' {
            Ok((true, at + 1))
        } else {
            Err(self.fault(at, otherwise))
        }
    }

    /// Enters a list or an object; what [`Cursor::leave`] takes.
    fn enter(&mut self, at: usize) -> Result<usize, Fault> {
        if self.depth == DEPTH_LIMIT {
            return Err(self.fault(at, Fault::TooDeep));
        }
        self.depth += 1;
        Ok(mem::replace(&mut self.own, self.keys.len()))
    }

    fn leave(&mut self, outer: usize) {
        if !self.many.is_empty() {
            self.many.retain(|(depth, _)| *depth < self.depth);
        }
        self.depth = self.depth.saturating_sub(1);
        self.keys.truncate(self.own);
        self.own = outer;
    }
}
