//! Values of expressions, and what equality and order mean between them.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use lictor_dsl::events::FieldId;
use lictor_dsl::hir::Const;
use lictor_dsl::number::Number;
use lictor_dsl::text::moment;

use crate::event::{Event, FieldRef, FieldValue};
use crate::json::Json;
use crate::truth::Truth;

/// A known value. What is unknown has none.
#[derive(Debug, Clone)]
pub(crate) enum Value<'e> {
    Bool(bool),
    Number(Number),
    Text(Cow<'e, str>),
    Time(i64),
    Duration(i64),
    Ip(IpAddr),
    Cidr(IpNet),
    /// A list field of the event.
    Texts(&'e [String]),
    /// A list in the policy.
    Consts(&'e [Const]),
    /// A list inside json.
    Jsons(&'e [Json]),
    /// A list made by a function.
    List(Vec<Value<'e>>),
    /// Never null: that is absent.
    Json(&'e Json),
}

impl<'e> Value<'e> {
    pub(crate) fn of_const(value: &'e Const) -> Value<'e> {
        match value {
            Const::Bool(value) => Value::Bool(*value),
            Const::Number(value) => Value::Number(*value),
            Const::Text(value) => Value::Text(Cow::Borrowed(value)),
            Const::Time(value) => Value::Time(*value),
            Const::Duration(value) => Value::Duration(*value),
            Const::Ip(value) => Value::Ip(*value),
            Const::Cidr(value) => Value::Cidr(*value),
            Const::List(values) => Value::Consts(values),
        }
    }

    pub(crate) fn of_field(event: &'e Event, field: FieldId) -> Option<Value<'e>> {
        Some(match event.read(field)? {
            FieldRef::Bool(value) => Value::Bool(value),
            FieldRef::Number(value) => Value::Number(value),
            FieldRef::Text(value) => Value::Text(Cow::Borrowed(value)),
            FieldRef::Time(value) => Value::Time(value),
            FieldRef::Ip(value) => Value::Ip(value),
            FieldRef::Texts(_) => match event.get(field)? {
                FieldValue::Texts(values) => Value::Texts(values),
                _ => return None,
            },
            FieldRef::Json(value) => return Value::of_json(value.value()),
        })
    }

    /// A json value; null is absent.
    pub(crate) fn of_json(value: &'e Json) -> Option<Value<'e>> {
        match value {
            Json::Null => None,
            value => Some(Value::Json(value)),
        }
    }

    /// About how many bytes reading all of it touches.
    pub(crate) fn size(&self) -> usize {
        match self {
            Value::Text(text) => text.len(),
            Value::Json(json) => json_size(json),
            Value::Jsons(values) => values.iter().map(json_size).sum(),
            Value::List(values) => values.iter().map(Value::size).sum(),
            Value::Texts(values) => values.iter().map(String::len).sum(),
            _ => 0,
        }
    }

    /// How many elements it has, if it is a list.
    pub(crate) fn count(&self) -> Option<usize> {
        match self {
            Value::Texts(values) => Some(values.len()),
            Value::Consts(values) => Some(values.len()),
            Value::Jsons(values) => Some(values.len()),
            Value::List(values) => Some(values.len()),
            Value::Json(Json::List(values)) => Some(values.len()),
            _ => None,
        }
    }

    /// One element; unknown if there is none, or it is null.
    pub(crate) fn element(&self, index: usize) -> Option<Value<'e>> {
        match self {
            Value::Texts(values) => values.get(index).map(|text| Value::Text(Cow::Borrowed(text.as_str()))),
            Value::Consts(values) => values.get(index).map(Value::of_const),
            Value::Jsons(values) => values.get(index).and_then(Value::of_json),
            Value::List(values) => values.get(index).cloned(),
            Value::Json(Json::List(values)) => values.get(index).and_then(Value::of_json),
            _ => None,
        }
    }

    /// Whether both are the same value. A json value takes the type of the other side; of another type it is unknown.
    pub(crate) fn equals(&self, other: &Value<'_>) -> Truth {
        match (self, other) {
            (Value::Json(a), Value::Json(b)) => a.same(b).map_or(Truth::Unknown, Truth::from),
            (Value::Json(json), typed) | (typed, Value::Json(json)) => json_equals_typed(json, typed),
            (Value::Bool(a), Value::Bool(b)) => (a == b).into(),
            (Value::Number(a), Value::Number(b)) => (a == b).into(),
            (Value::Text(a), Value::Text(b)) => (a == b).into(),
            (Value::Time(a), Value::Time(b)) | (Value::Duration(a), Value::Duration(b)) => (a == b).into(),
            (Value::Ip(a), Value::Ip(b)) => (a == b).into(),
            (Value::Cidr(a), Value::Cidr(b)) => (a == b).into(),
            (a, b) => match (a.count(), b.count()) {
                (Some(a_count), Some(b_count)) => lists_equal(a, a_count, b, b_count),
                _ => Truth::Unknown,
            },
        }
    }

    /// How both are ordered, if they are two numbers, texts, times or spans of time.
    pub(crate) fn order(&self, other: &Value<'_>) -> Option<Ordering> {
        match (self, other) {
            (Value::Number(a), Value::Number(b)) => Some(a.cmp(b)),
            (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
            (Value::Time(a), Value::Time(b)) | (Value::Duration(a), Value::Duration(b)) => Some(a.cmp(b)),
            (Value::Json(Json::Number(Some(a))), Value::Json(Json::Number(Some(b)))) => Some(a.cmp(b)),
            (Value::Json(Json::Text(a)), Value::Json(Json::Text(b))) => Some(a.cmp(b)),
            _ => None,
        }
    }
}

fn lists_equal(a: &Value<'_>, a_count: usize, b: &Value<'_>, b_count: usize) -> Truth {
    if a_count != b_count {
        return Truth::False;
    }
    (0..a_count).fold(Truth::True, |all, index| {
        all.and(match (a.element(index), b.element(index)) {
            (Some(a), Some(b)) => a.equals(&b),
            _ => Truth::Unknown,
        })
    })
}

fn json_equals_typed(json: &Json, typed: &Value<'_>) -> Truth {
    match (json, typed) {
        (Json::Bool(a), Value::Bool(b)) => (a == b).into(),
        (Json::Number(Some(a)), Value::Number(b)) => (a == b).into(),
        (Json::Text(a), Value::Text(b)) => (a == b).into(),
        (Json::List(values), list) => match list.count() {
            Some(count) => lists_equal(&Value::Jsons(values), values.len(), list, count),
            None => Truth::Unknown,
        },
        _ => Truth::Unknown,
    }
}

fn json_size(json: &Json) -> usize {
    const NODE: usize = 32;
    match json {
        Json::Text(text) => text.len(),
        Json::List(values) => NODE + values.iter().map(|value| NODE + json_size(value)).sum::<usize>(),
        Json::Object(members) => {
            NODE + members.iter().map(|(key, value)| NODE + key.len() + json_size(value)).sum::<usize>()
        }
        Json::Null | Json::Bool(_) | Json::Number(_) => 0,
    }
}

/// As it is filled into a text: strings without quotes.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Bool(value) => write!(f, "{value}"),
            Value::Number(value) => write!(f, "{value}"),
            Value::Text(value) => f.write_str(value),
            Value::Time(value) => f.write_str(&moment::to_rfc3339(*value)),
            Value::Duration(value) => write!(f, "{}", Const::Duration(*value)),
            Value::Ip(value) => write!(f, "{value}"),
            Value::Cidr(value) => write!(f, "{value}"),
            Value::Json(Json::Text(value)) => f.write_str(value),
            Value::Json(value) => json(f, value, "?"),
            list => {
                f.write_str("[")?;
                for index in 0..list.count().unwrap_or(0) {
                    if index > 0 {
                        f.write_str(", ")?;
                    }
                    match list.element(index) {
                        Some(value) => write!(f, "{value}")?,
                        None => f.write_str("?")?,
                    }
                }
                f.write_str("]")
            }
        }
    }
}

/// A number that does not fit, as JSON that reads as one.
const TOO_LARGE: &str = "1e999";

/// A json value as a JSON text that reads as the same value.
pub(crate) fn json_text(value: &Json) -> String {
    struct Text<'j>(&'j Json);
    impl fmt::Display for Text<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            json(f, self.0, TOO_LARGE)
        }
    }
    Text(value).to_string()
}

/// `too_large` stands for a number that does not fit.
fn json(f: &mut fmt::Formatter<'_>, value: &Json, too_large: &str) -> fmt::Result {
    let quoted = |text: &str| serde_json::to_string(text).unwrap_or_default();
    match value {
        Json::Null => f.write_str("null"),
        Json::Bool(value) => write!(f, "{value}"),
        Json::Number(Some(value)) => write!(f, "{value}"),
        Json::Number(None) => f.write_str(too_large),
        Json::Text(value) => f.write_str(&quoted(value)),
        Json::List(values) => {
            f.write_str("[")?;
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    f.write_str(",")?;
                }
                json(f, value, too_large)?;
            }
            f.write_str("]")
        }
        Json::Object(members) => {
            f.write_str("{")?;
            for (index, (key, value)) in members.iter().enumerate() {
                if index > 0 {
                    f.write_str(",")?;
                }
                write!(f, "{}:", quoted(key))?;
                json(f, value, too_large)?;
            }
            f.write_str("}")
        }
    }
}
