//! L03: values of the wrong type, and literals that can't serve.

use super::{Diagnostic, error};
use crate::source::Span;
use crate::types::Type;

/// A type with its article.
fn a(ty: Type) -> String {
    with_article(&ty.to_string())
}

fn with_article(what: &str) -> String {
    match what {
        "ip" => "an ip".to_owned(),
        _ if what.starts_with("a ") => what.to_owned(),
        _ => format!("a {what}"),
    }
}

/// An operand of another type than its operator takes.
pub(crate) fn mismatch(span: Span, wanted: &str, found: Type, help: &str) -> Diagnostic {
    error(
        "L0301",
        format!("this must be {}, and is {}", with_article(wanted), a(found)),
        span,
        format!("this is {}", a(found)),
        help,
    )
}

/// A condition that is no truth.
pub(crate) fn not_a_condition(span: Span, found: Type) -> Diagnostic {
    let help = match found {
        Type::Json => "compare it with something, or ask `has` whether it is there",
        Type::String => "compare it: `… == \"text\"`; no text is true or false by itself",
        Type::Number => "compare it: `… > 0`; no number is true or false by itself",
        Type::List(_) => "ask what is in it: `… has \"x\"`, or `len(…) > 0`",
        _ => "compare it with something",
    };
    error(
        "L0302",
        format!("a condition must be true or false, and this is {}", a(found)),
        span,
        format!("this is {}", a(found)),
        help,
    )
}

/// A comparison whose sides share no value.
pub(crate) fn incomparable(span: Span, left: Type, right: Type) -> Diagnostic {
    let help = match (left, right) {
        (Type::Number, Type::String) | (Type::String, Type::Number) => {
            "write numbers without quotes, and texts with them"
        }
        (Type::Time, Type::String) | (Type::String, Type::Time) => {
            "turn the text into a time: `time(\"2026-01-31T12:00:00Z\")`"
        }
        (Type::Ip, Type::String) | (Type::String, Type::Ip) => {
            "turn the text into an address: `ip(\"192.0.2.1\")`"
        }
        (Type::Duration, Type::Number) | (Type::Number, Type::Duration) => "give the number a unit: `60m`",
        (Type::List(_), _) => "ask what is in a list: `… has x`",
        (_, Type::List(_)) => "ask whether it is in the list: `x in …`",
        _ => "compare values of the same type, or convert one side",
    };
    error("L0303", format!("{} can't be compared with {}", a(left), a(right)), span, "never holds", help)
}

/// A payload field that its schema gives another type.
pub(crate) fn against_schema(span: Span, field: &str, used_as: Type, is: Type) -> Diagnostic {
    error(
        "L0314",
        format!("`{field}` is used as {}, but its schema says {}", a(used_as), a(is)),
        span,
        format!("this is {}", a(is)),
        "compare it with a value of the schema's type, or mend the schema",
    )
}

/// Values without an order.
pub(crate) fn unordered(span: Span, ty: Type) -> Diagnostic {
    error(
        "L0304",
        format!("values of type {ty} have no order"),
        span,
        "has no order",
        "compare them with `==` or `!=`",
    )
}

/// Arithmetic that means nothing.
pub(crate) fn no_arithmetic(span: Span, left: Type, sign: char, right: Type) -> Diagnostic {
    let help = match (left, sign, right) {
        (Type::String, '+', _) => "put values into a text with `\"… {value} …\"`",
        (Type::Time, '+', Type::Time) => "times can be subtracted, which gives a span of time",
        _ => "numbers take `+ - * / %`; times and spans of time take `+` and `-`",
    };
    error(
        "L0305",
        format!("`{sign}` does not work on {} and {}", a(left), a(right)),
        span,
        "no meaning",
        help,
    )
}

/// A list of different things.
pub(crate) fn mixed_list(span: Span, first: Type, other: Type) -> Diagnostic {
    error(
        "L0306",
        format!("this list holds {} and {}", a(first), a(other)),
        span,
        format!("this is {}", a(other)),
        "put values of one type into a list",
    )
}

/// A parameter outside of its own range, or a range that holds nothing.
pub(crate) fn out_of_range(span: Span, message: String) -> Diagnostic {
    error(
        "L0307",
        message,
        span,
        "out of range",
        "change the default or the range; a range reads `low..high`, low first, both included",
    )
}

/// A pattern, regex, address or list entry that can't be what it should be.
pub(crate) fn bad_pattern(span: Span, what: &str, reason: &str, help: &str) -> Diagnostic {
    error("L0308", format!("this {what} can't be used: {reason}"), span, "can't be used", help)
}

/// A function with the wrong number of arguments.
pub(crate) fn arguments(span: Span, name: &str, wanted: &str, found: usize) -> Diagnostic {
    error(
        "L0309",
        format!("`{name}` takes {wanted}, and {found} are given"),
        span,
        "wrong number",
        format!("write `{name}` with {wanted}"),
    )
}

/// An operator that takes a literal only.
pub(crate) fn literal_only(span: Span, what: &str, example: &str) -> Diagnostic {
    error(
        "L0310",
        format!("{what} must be a literal"),
        span,
        "not a literal",
        format!("write it out: {example}"),
    )
}

/// A member of something without members.
pub(crate) fn no_member(span: Span, ty: Type, name: &str) -> Diagnostic {
    let help = match ty {
        Type::Time => "a time has `.hour` and `.weekday`",
        Type::String | Type::List(_) => "for its length write `len(…)`",
        _ => "only json values have members",
    };
    error("L0311", format!("{} has no member `{name}`", a(ty)), span, "no such member", help)
}

/// A range anywhere but behind `in`.
pub(crate) fn lone_range(span: Span) -> Diagnostic {
    error("L0312", "a range is no value", span, "a range", "ask whether something is in it: `x in 9..17`")
}

/// Something that only makes sense in one place.
pub(crate) fn misplaced(span: Span, what: &str, help: &str) -> Diagnostic {
    error("L0313", format!("{what} can't stand here"), span, "misplaced", help)
}
