//! L01: the text can't be read as declarations.

use super::{Diagnostic, Severity, error, shown};
use crate::source::Span;

/// Text between declarations.
pub(crate) const STRAY: &str = "L0106";

/// The parser expected something else.
pub(crate) fn unexpected(span: Span, found: &str, expected: &str, help: &str) -> Diagnostic {
    let message = match found {
        "" => "this declaration ends too early".to_owned(),
        "policy" | "param" | "list" | "def" | "default" | "rule" | "schema" | "exempt" | "test" => {
            format!("this `{found}` can't be read")
        }
        _ => format!("unexpected `{}`", shown(found)),
    };
    error("L0101", message, span, format!("expected {expected}"), help)
}

/// A string without its closing quote.
pub(crate) fn unclosed_string(span: Span) -> Diagnostic {
    error(
        "L0102",
        "this string is never closed",
        span,
        "begins here",
        "end it with `\"` on the same line; write `\\n` for a line break and `\\\"` for a quote inside",
    )
}

/// A bracket that is never closed.
pub(crate) fn unclosed(span: Span, sign: char) -> Diagnostic {
    let closing = match sign {
        '(' => ')',
        '[' => ']',
        _ => '}',
    };
    error(
        "L0103",
        format!("this `{sign}` is never closed"),
        span,
        "opened here",
        format!("add the missing `{closing}`"),
    )
}

/// A closing bracket that nothing opened.
pub(crate) fn unmatched(span: Span, sign: char) -> Diagnostic {
    error(
        "L0103",
        format!("this `{sign}` closes nothing"),
        span,
        "no matching bracket",
        "remove it, or open its partner before it",
    )
}

/// Brackets, operators, quantifiers or `if`s nested too deeply.
pub(crate) fn too_deep(span: Span) -> Diagnostic {
    error(
        "L0104",
        format!("this is nested more than {} deep", crate::items::NESTING_LIMIT),
        span,
        "too deep",
        "give the inner part a name with `let` or `def` and use that",
    )
}

/// An expression with too many operators, or a rule that grows too large.
pub(crate) fn too_large(span: Span, what: &str, limit: usize) -> Diagnostic {
    error(
        "L0105",
        format!("{what} has more than {limit} parts"),
        span,
        "too large",
        "split it into several rules, or use a `list` and `in` instead of many comparisons",
    )
}

/// Something that begins no declaration.
pub(crate) fn stray(span: Span, text: &str) -> Diagnostic {
    error(
        STRAY,
        format!("`{}` begins no declaration", shown(text)),
        span,
        "not a declaration",
        declarations(text),
    )
}

/// What to write where a declaration should begin.
pub(crate) fn declarations(found: &str) -> String {
    let words = ["policy", "param", "list", "def", "default", "rule", "schema", "exempt", "test"];
    match super::nearest(found, words.into_iter()) {
        Some(word) => format!("did you mean `{word}`?"),
        None => "a file holds `policy`, `param`, `list`, `def`, `default`, `rule`, `schema`, `exempt` and `test` declarations".to_owned(),
    }
}

/// A literal that can't be what it looks like.
pub(crate) fn bad_literal(span: Span, message: impl Into<String>, help: impl Into<String>) -> Diagnostic {
    error("L0107", message, span, "can't be read", help)
}

/// A file over the size limit.
pub(crate) fn file_too_large(span: Span, limit: usize) -> Diagnostic {
    error(
        "L0109",
        format!("the file is larger than {limit} bytes"),
        span,
        "too large",
        "split it into several policies",
    )
}

/// A file about which there is more to say than anybody reads at once.
pub(crate) fn more(span: Span, limit: usize, severity: Severity) -> Diagnostic {
    let (message, help) = match severity {
        Severity::Error => (
            format!("this file has {limit} mistakes or more"),
            "mend those above first: the rest is not shown",
        ),
        Severity::Warning => (format!("this file has {limit} warnings or more"), "the rest is not shown"),
        Severity::Note => {
            (format!("there are {limit} notes or more about this file"), "the rest is not shown")
        }
    };
    Diagnostic { severity, ..error("L0111", message, span, "the rest begins here", help) }
}

/// A template that does not say where its rules come from.
pub(crate) fn template(span: Span, message: &str, help: &str) -> Diagnostic {
    error("L0112", message, span, "this header", help)
}

/// A file that would say something else once it is formatted: a fault of the formatter's.
pub(crate) fn not_formatted(span: Span) -> Diagnostic {
    error(
        "L0113",
        "this file can't be formatted without a change to what it says or to its comments",
        span,
        "left as it was",
        "this is a fault of the formatter: please report it, with the file if you can",
    )
}

/// The header is missing or there are several.
pub(crate) fn header(span: Span, message: &str, help: &str) -> Diagnostic {
    error("L0110", message, span, "here", help)
}
