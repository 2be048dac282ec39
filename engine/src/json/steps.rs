//! The steps of a cursor: each takes the place where it begins and returns the one where it ends, so that the place stays
//! in a register. Kept in memory, as the cursor that users see keeps it, it doubles the time.

use std::borrow::Cow;
use std::mem;

use super::cursor::{Cursor, DEPTH_LIMIT, Key, Kind};
use super::fault::Fault;
use super::scan::{Head, end_of_plain, escape, unescaped};

/// An object with more members than this has its keys hashed instead of compared one by one.
const FEW_KEYS: usize = 16;

/// Keys for which there is room at once: growing step by step costs more than all of it.
const ROOM_FOR_KEYS: usize = 24;

impl<'a> Cursor<'a> {
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
    pub(super) fn key(&mut self, at: usize) -> Result<Key, Fault> {
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
    pub(super) fn said(&self, key: Key) -> Cow<'a, str> {
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

    pub(super) fn pass_number(&mut self, at: usize) -> Result<usize, Fault> {
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

    pub(super) fn pass_bool(&mut self, at: usize) -> Result<usize, Fault> {
        self.pass_word(at, if self.byte(at) == Some(b't') { b"true" } else { b"false" })
    }

    pub(super) fn pass_word(&mut self, at: usize, word: &[u8]) -> Result<usize, Fault> {
        if !self.text.as_bytes().get(at..).is_some_and(|rest| rest.starts_with(word)) {
            return Err(self.fault(at, Fault::NoValue));
        }
        Ok(at + word.len())
    }

    #[inline(always)]
    pub(super) fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    pub(super) fn slice(&self, start: usize, end: usize) -> &'a str {
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
    pub(super) fn expect(&mut self, at: usize, wanted: u8, otherwise: Fault) -> Result<usize, Fault> {
        let (at, byte) = self.peek(at);
        if byte == wanted { Ok(at + 1) } else { Err(self.fault(at, otherwise)) }
    }

    /// Moves on to the next item or key, past the comma if one has begun; or past the end.
    #[inline(always)]
    pub(super) fn part(
        &mut self,
        at: usize,
        end: u8,
        otherwise: Fault,
        begun: bool,
    ) -> Result<(bool, usize), Fault> {
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
    pub(super) fn enter(&mut self, at: usize) -> Result<usize, Fault> {
        if self.depth == DEPTH_LIMIT {
            return Err(self.fault(at, Fault::TooDeep));
        }
        self.depth += 1;
        Ok(mem::replace(&mut self.own, self.keys.len()))
    }

    pub(super) fn leave(&mut self, outer: usize) {
        if !self.many.is_empty() {
            self.many.retain(|(depth, _)| *depth < self.depth);
        }
        self.depth = self.depth.saturating_sub(1);
        self.keys.truncate(self.own);
        self.own = outer;
    }
}
