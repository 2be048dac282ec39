//! The value of one field: from its JSON text to its type in the table.

use std::net::IpAddr;

use lictor_dsl::events::Field;
use lictor_dsl::number::Number;
use lictor_dsl::types::Type;

use super::payload::JsonField;
use super::slots::{Quoted, Slot, Span};
use super::time;
use crate::json::{self, Cursor, Kind};

/// The largest json field, in bytes of its text.
pub const PAYLOAD_LIMIT: usize = 64 * 1024;
/// The longest text of a field that is no json, in bytes: names and addresses, not content.
pub const TEXT_LIMIT: usize = 8 * 1024;
/// The longest name of a task, in bytes: it is a key of what is remembered.
pub const TASK_LIMIT: usize = 255;

/// What a field holds.
#[derive(Debug, Clone, PartialEq)]
pub enum FieldValue {
    /// A bool.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A string.
    Text(String),
    /// A time, in microseconds since 1970.
    Time(i64),
    /// An address; an IPv4-mapped one is IPv4.
    Ip(IpAddr),
    /// A list of strings.
    Texts(Vec<String>),
    /// Json.
    Json(JsonField),
}

#[cfg(test)]
impl FieldValue {
    /// Json as a field of it would hold it; none for `null`.
    pub(super) fn read_json(field: &Field, text: &str) -> Result<Option<FieldValue>, String> {
        assert_eq!(field.ty, Type::Json);
        Ok(checked_json(text)?.map(|text| FieldValue::Json(JsonField::new(text))))
    }
}

/// Json text that somebody else than the event brings, checked; none for `null`.
pub(super) fn checked_json(text: &str) -> Result<Option<&str>, String> {
    let mut cursor = Cursor::over(text);
    let checked = cursor.kind().and_then(|kind| {
        let range = cursor.skip()?;
        cursor.end()?;
        Ok((kind, text.get(range).unwrap_or_default()))
    });
    match checked {
        Ok((Kind::Null, _)) => Ok(None),
        Ok((_, text)) if text.len() > PAYLOAD_LIMIT => Err(too_large()),
        Ok((_, text)) => Ok(Some(text)),
        Err(error) => Err(error.to_string()),
    }
}

pub(super) fn too_large() -> String {
    format!("must not be larger than {} KiB", PAYLOAD_LIMIT / 1024)
}

pub(super) fn not_a(wanted: Type, found: Kind) -> String {
    format!("must be {}, not {}", named(wanted), found.named())
}

fn named(ty: Type) -> &'static str {
    match ty {
        Type::Bool => "a bool",
        Type::Number => "a number",
        Type::String => "a string",
        Type::Time => "a time in a string",
        Type::Duration => "a duration",
        Type::Ip => "an address in a string",
        Type::Cidr => "a network in a string",
        Type::List(_) => "a list of strings",
        Type::Json => "json",
    }
}

pub(super) fn number(field: &Field, text: &str) -> Result<Slot, String> {
    let number = json::number(text).map_err(|error| format!("is {error}"))?;
    if field.name == "agent.trust" && !(Number::ZERO..=Number::ONE).contains(&number) {
        return Err("must be in 0..1".to_owned());
    }
    Ok(Slot::Number(number))
}

pub(super) fn time(text: &str) -> Result<Slot, String> {
    match time::read(text) {
        Some(micros) => Ok(Slot::Time(micros)),
        None => Err("must be a time such as `2026-01-31T12:00:00Z` (RFC 3339)".to_owned()),
    }
}

pub(super) fn address(text: &str) -> Result<Slot, String> {
    match text.parse::<IpAddr>() {
        Ok(address) => Ok(Slot::Ip(address.to_canonical())),
        Err(_) => Err("must be an IPv4 or IPv6 address".to_owned()),
    }
}

/// Each string of a checked list that stands at this place.
pub(super) fn each_string(list: &str, span: Span, mut each: impl FnMut(Quoted)) -> Result<(), String> {
    let mut cursor = Cursor::inside(list);
    let mut place = 0;
    while cursor.next_item().map_err(|error| error.to_string())? {
        place += 1;
        match cursor.kind() {
            Ok(Kind::Text) => {
                let (inner, escaped) = cursor.quoted().map_err(|error| error.to_string())?;
                each(Quoted { span: span.part(inner), escaped });
            }
            Ok(kind) => {
                return Err(format!("must be a list of strings, and its item {place} is {}", kind.named()));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(())
}
