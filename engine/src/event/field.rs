//! The value of one field: from its JSON text to its type in the table.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use lictor_dsl::events::Field;
use lictor_dsl::number::Number;
use lictor_dsl::text::moment;
use lictor_dsl::types::{Element, Type};

use crate::json::{self, Cursor, Json, Kind};

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

/// A json field: checked text, read when a rule first asks for it. Its clones share both.
#[derive(Debug, Clone)]
pub struct JsonField(Arc<Lazy>);

#[derive(Debug)]
struct Lazy {
    text: Box<str>,
    value: OnceLock<Json>,
}

impl JsonField {
    /// Takes text that a [`Cursor`] has passed.
    fn new(checked: &str) -> JsonField {
        JsonField(Arc::new(Lazy { text: checked.into(), value: OnceLock::new() }))
    }

    /// The value. Reads the text the first time.
    pub fn value(&self) -> &Json {
        // The text is well-formed; were it not, nothing would be known of it.
        self.0.value.get_or_init(|| json::parse(self.0.text.as_bytes()).unwrap_or(Json::Null))
    }

    /// The JSON text as it was received.
    pub fn text(&self) -> &str {
        &self.0.text
    }
}

/// Certain equality of the values.
impl PartialEq for JsonField {
    fn eq(&self, other: &JsonField) -> bool {
        self.value() == other.value()
    }
}

impl FieldValue {
    /// Reads the text of a value that a [`Cursor`] has passed as a value of this field; the error is what the
    /// field must be.
    pub(super) fn read(field: &Field, kind: Kind, text: &str) -> Result<FieldValue, String> {
        match (field.ty, kind) {
            (Type::Bool, Kind::Bool) => Ok(FieldValue::Bool(text == "true")),
            (Type::Number, Kind::Number) => number(field, text),
            (Type::String, Kind::Text) => {
                let (value, limit) =
                    (string(text)?, if field.name == "task" { TASK_LIMIT } else { TEXT_LIMIT });
                if value.len() > limit {
                    return Err(format!("must not be longer than {limit} bytes"));
                }
                Ok(FieldValue::Text(value))
            }
            (Type::Time, Kind::Text) => moment::rfc3339(&string(text)?)
                .map(FieldValue::Time)
                .ok_or_else(|| "must be a time such as `2026-01-31T12:00:00Z` (RFC 3339)".to_owned()),
            (Type::Ip, Kind::Text) => match string(text)?.parse::<IpAddr>() {
                Ok(address) => Ok(FieldValue::Ip(address.to_canonical())),
                Err(_) => Err("must be an IPv4 or IPv6 address".to_owned()),
            },
            (Type::List(_), _) if text.len() > PAYLOAD_LIMIT => {
                Err(format!("must not be larger than {} KiB", PAYLOAD_LIMIT / 1024))
            }
            (Type::List(Element::String), Kind::List) => strings(text).map(FieldValue::Texts),
            (Type::Json, _) if text.len() > PAYLOAD_LIMIT => {
                Err(format!("must not be larger than {} KiB", PAYLOAD_LIMIT / 1024))
            }
            (Type::Json, _) => Ok(FieldValue::Json(JsonField::new(text))),
            (wanted, found) => Err(format!("must be {}, not {}", named(wanted), found.named())),
        }
    }

    /// Json text that somebody else than the event brings; none for `null`.
    pub(super) fn read_json(field: &Field, text: &str) -> Result<Option<FieldValue>, String> {
        let mut cursor = Cursor::over(text);
        let checked = cursor.kind().and_then(|kind| {
            let range = cursor.skip()?;
            cursor.end()?;
            Ok((kind, range))
        });
        match checked {
            Ok((Kind::Null, _)) => Ok(None),
            Ok((kind, range)) => FieldValue::read(field, kind, text.get(range).unwrap_or_default()).map(Some),
            Err(error) => Err(error.to_string()),
        }
    }
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

fn number(field: &Field, text: &str) -> Result<FieldValue, String> {
    let number: Number = text.parse().map_err(|error| format!("is {error}"))?;
    if field.name == "agent.trust" && !(Number::ZERO..=Number::ONE).contains(&number) {
        return Err("must be in 0..1".to_owned());
    }
    Ok(FieldValue::Number(number))
}

fn string(text: &str) -> Result<String, String> {
    Cursor::over(text).string().map(Into::into).map_err(|error| error.to_string())
}

fn strings(text: &str) -> Result<Vec<String>, String> {
    let mut cursor = Cursor::over(text);
    let mut texts = Vec::new();
    cursor.open_list().map_err(|error| error.to_string())?;
    while cursor.next_item().map_err(|error| error.to_string())? {
        match cursor.kind() {
            Ok(Kind::Text) => texts.push(cursor.string().map_err(|error| error.to_string())?.into_owned()),
            Ok(kind) => {
                let place = texts.len() + 1;
                return Err(format!("must be a list of strings, and its item {place} is {}", kind.named()));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(texts)
}
