//! Canonical JSON (RFC 8785) for records that are hashed: strings, integers, lists and objects only.
//!
//! There are no floats, booleans or nulls, so two writers can't disagree about how one of them looks.

use std::borrow::Cow;
use std::io::Write;

use uuid::Uuid;

/// Room for the bytes of most records.
const BYTES: usize = 1_024;

/// The largest integer that every reader of JSON takes exactly.
pub const MAX_INTEGER: i64 = (1 << 53) - 1;

/// A value of a canonical record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value<'a> {
    /// A string.
    Text(Cow<'a, str>),
    /// An id, as the string that it is shown as.
    Id(Uuid),
    /// An integer; its magnitude must stay below 2^53.
    Integer(i64),
    /// A list.
    List(Vec<Value<'a>>),
    /// An object.
    Object(Object<'a>),
}

/// An object whose members are written in the order that RFC 8785 asks for.
///
/// INVARIANT: names are ASCII without escapes, for which the order of bytes is the order of UTF-16 code units; the members
/// are in that order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Object<'a>(Vec<(&'static str, Value<'a>)>);

impl<'a> Object<'a> {
    /// An object without members.
    pub fn new() -> Object<'a> {
        Object::default()
    }

    /// An object without members, with room for so many.
    pub fn with_room(members: usize) -> Object<'a> {
        Object(Vec::with_capacity(members))
    }

    /// With a string.
    pub fn text(self, name: &'static str, value: impl Into<Cow<'a, str>>) -> Object<'a> {
        self.value(name, Value::Text(value.into()))
    }

    /// With an id.
    pub fn id(self, name: &'static str, id: Uuid) -> Object<'a> {
        self.value(name, Value::Id(id))
    }

    /// With a string, if there is one.
    pub fn optional_text(self, name: &'static str, value: Option<impl Into<Cow<'a, str>>>) -> Object<'a> {
        match value {
            Some(value) => self.text(name, value),
            None => self,
        }
    }

    /// With an integer.
    pub fn integer(self, name: &'static str, value: i64) -> Object<'a> {
        self.value(name, Value::Integer(value))
    }

    /// With any value.
    pub fn value(mut self, name: &'static str, value: Value<'a>) -> Object<'a> {
        match self.0.binary_search_by_key(&name, |(name, _)| name) {
            Ok(place) => {
                if let Some((_, known)) = self.0.get_mut(place) {
                    *known = value;
                }
            }
            Err(place) => self.0.insert(place, (name, value)),
        }
        self
    }

    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(BYTES);
        write_object(self, &mut out);
        out
    }
}

fn write_object(object: &Object<'_>, out: &mut Vec<u8>) {
    out.push(b'{');
    for (place, (name, value)) in object.0.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        out.push(b'"');
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        write_value(value, out);
    }
    out.push(b'}');
}

fn write_value(value: &Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Text(text) => write_text(text, out),
        Value::Id(id) => {
            out.push(b'"');
            out.extend_from_slice(id.hyphenated().encode_lower(&mut Uuid::encode_buffer()).as_bytes());
            out.push(b'"');
        }
        Value::Integer(number) => write!(out, "{number}").expect("memory takes writes"),
        Value::List(values) => {
            out.push(b'[');
            for (place, value) in values.iter().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                write_value(value, out);
            }
            out.push(b']');
        }
        Value::Object(object) => write_object(object, out),
    }
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    // Most texts have nothing to escape; all bytes are looked at, which goes faster than stopping at the first.
    let needs_escape = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    if !text.bytes().fold(false, |found, byte| found | needs_escape(byte)) {
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
        return;
    }
    for byte in text.bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x09 => out.extend_from_slice(b"\\t"),
            0x0a => out.extend_from_slice(b"\\n"),
            0x0c => out.extend_from_slice(b"\\f"),
            0x0d => out.extend_from_slice(b"\\r"),
            0x00..0x20 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_sorted_and_text_is_escaped_as_the_rfc_says() {
        let object = Object::new()
            .text("b", "a\"\\\u{8}\t\n\u{c}\r\u{1}\u{1f}/é\u{20ac}\u{7f}")
            .integer("a", -7)
            .value("c", Value::List(vec![Value::Integer(1), Value::Object(Object::new().text("x", ""))]));
        let want =
            "{\"a\":-7,\"b\":\"a\\\"\\\\\\b\\t\\n\\f\\r\\u0001\\u001f/é€\u{7f}\",\"c\":[1,{\"x\":\"\"}]}";
        assert_eq!(String::from_utf8(object.to_bytes()), Ok(want.to_owned()));
    }
}
