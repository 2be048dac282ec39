//! L05: operators over earlier events.

use super::{Diagnostic, Severity, error};
use crate::source::Span;
use crate::types::Type;

/// An operator that is given too little, or what it can't use.
pub(crate) fn shape(span: Span, message: impl Into<String>, help: &str) -> Diagnostic {
    error("L0501", message, span, "here", help)
}

/// More memories than one declaration may ask.
pub(crate) fn too_many(span: Span, most: usize) -> Diagnostic {
    let message =
        format!("this is one memory too many: a declaration asks at most {most}, its macros expanded");
    shape(
        span,
        message,
        "make several rules of it; `where … or …` and `per` let one memory answer for many values",
    )
}

/// A memory whose size nothing bounds.
pub(crate) fn unbounded(span: Span, operator: &str) -> Diagnostic {
    error(
        "L0502",
        format!("nothing bounds what this `{operator}` has to remember"),
        span,
        "compared with no constant",
        "compare it with a number, or with a parameter that has a range: `distinct(…) >= 5`; up to 9,999",
    )
}

/// A window that can't be.
pub(crate) fn window(span: Span, message: impl Into<String>, help: &str) -> Diagnostic {
    error("L0503", message, span, "this window", help)
}

/// A key of the wrong type.
pub(crate) fn key(span: Span, message: impl Into<String>, help: &str) -> Diagnostic {
    error("L0504", message, span, "this key", help)
}

/// Keys whose two sides can never be equal.
pub(crate) fn key_types(span: Span, remembered: Type, asked: Type) -> Diagnostic {
    key(
        span,
        format!("the remembered side of this key is a {remembered}, the asked side a {asked}"),
        "compare like with like: what the earlier event had with what this one has",
    )
}

/// Something of the event being judged inside of what is computed from earlier ones.
pub(crate) fn not_remembered(span: Span, what: &str) -> Diagnostic {
    error(
        "L0505",
        format!("{what} can't be used here: this part is about the earlier event alone"),
        span,
        "belongs to the event being judged",
        "correlate the two events by a key: `per agent.id, field_of_the_earlier = field_of_this_one`",
    )
}

/// How exactly a window is kept, where it is rounded.
pub(crate) fn granularity(span: Span, operator: &str, resolution: &str, bytes: usize) -> Diagnostic {
    Diagnostic {
        code: "L0506",
        severity: Severity::Note,
        message: format!(
            "this `{operator}` is kept in steps of {resolution}: the window's far edge is rounded outward to one, and a key takes up to {bytes} bytes"
        ),
        span,
        label: format!("in steps of {resolution}"),
        help: "`resolution` asks for other steps, at most 1,500 to a window; finer ones take more memory"
            .to_owned(),
        fixes: Vec::new(),
    }
}
