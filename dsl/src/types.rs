//! The types of the language and how they relate.

use std::fmt;

/// A type. Whether a value may be absent is not part of it: that is tracked beside each expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Type {
    /// `true` or `false`; as a condition also unknown.
    Bool,
    /// An exact number.
    Number,
    /// Text.
    String,
    /// A point in time, in microseconds since 1970.
    Time,
    /// A span of time, in microseconds.
    Duration,
    /// An address, IPv4 or IPv6.
    Ip,
    /// A network.
    Cidr,
    /// A list of values of one type.
    List(Element),
    /// Any JSON value; it takes the type that its operator needs, else it is unknown.
    Json,
}

/// What a list holds: lists don't nest but inside json.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Element {
    /// Numbers.
    Number,
    /// Texts.
    String,
    /// Points in time.
    Time,
    /// Spans of time.
    Duration,
    /// Addresses.
    Ip,
    /// Networks.
    Cidr,
    /// JSON values.
    Json,
}

impl Element {
    /// The type of one element.
    pub fn ty(self) -> Type {
        match self {
            Element::Number => Type::Number,
            Element::String => Type::String,
            Element::Time => Type::Time,
            Element::Duration => Type::Duration,
            Element::Ip => Type::Ip,
            Element::Cidr => Type::Cidr,
            Element::Json => Type::Json,
        }
    }
}

impl Type {
    /// A list of strings.
    pub const STRINGS: Type = Type::List(Element::String);

    /// This type as the element of a list, if it can be one.
    pub fn as_element(self) -> Option<Element> {
        Some(match self {
            Type::Number => Element::Number,
            Type::String => Element::String,
            Type::Time => Element::Time,
            Type::Duration => Element::Duration,
            Type::Ip => Element::Ip,
            Type::Cidr => Element::Cidr,
            Type::Json => Element::Json,
            Type::Bool | Type::List(_) => return None,
        })
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Type::Bool => "bool",
            Type::Number => "number",
            Type::String => "string",
            Type::Time => "time",
            Type::Duration => "duration",
            Type::Ip => "ip",
            Type::Cidr => "cidr",
            Type::Json => "json",
            Type::List(element) => return write!(f, "list<{}>", element.ty()),
        })
    }
}
