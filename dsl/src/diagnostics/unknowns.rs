//! L04: conditions that can become unknown.

use super::{Diagnostic, Fix, Severity, error, new, warning};
use crate::source::Span;

/// An `allow` whose condition is unknown where something is absent.
///
/// `?` helps only inside a test that is not negated; elsewhere it would open, or have nothing to soften.
pub(crate) fn absent_in_allow(span: Span, what: &str, lenient_helps: bool) -> Diagnostic {
    let guard = format!("an `allow` must know: guard it with `has {what} and …`");
    let default = format!("give a default with `({what} else …)`");
    let help = if lenient_helps {
        format!("{guard}, {default}, or write `{what}?` to count absence as false")
    } else {
        format!("{guard}, or {default}")
    };
    let mut diagnostic = error(
        "L0401",
        format!("`{what}` may be absent, and then this `allow` is undecided"),
        span,
        "may be absent",
        help,
    );
    if lenient_helps {
        let end = Span { start: span.end, ..span };
        let title = "count absence as false".to_owned();
        diagnostic.fixes.push(Fix { title, span: end, text: "?".to_owned() });
    }
    diagnostic
}

/// An `allow` with another source of unknown: a division, a host that can't be normalised.
pub(crate) fn unknown_in_allow(span: Span, what: &str) -> Diagnostic {
    warning(
        "L0402",
        format!("`{what}` can be unknown, and then this `allow` does not apply"),
        span,
        "can be unknown",
        "that is safe; to say that you meant it, put `?` behind the operand that can fail, or give a default with `else`",
    )
}

/// A restriction that also applies where something is absent.
pub(crate) fn also_applies(span: Span, what: &str, effect: &str) -> Diagnostic {
    new(
        Severity::Note,
        "L0403",
        format!("this `{effect}` also applies when `{what}` is absent"),
        span,
        "what is unknown can't be ruled out",
        format!("write `{what}?` or `has {what} and …` if absence should not count"),
    )
}

/// `?` under a `not` in an `allow`.
pub(crate) fn lenient_under_not(span: Span) -> Diagnostic {
    error(
        "L0404",
        "`?` under `not` would let through what is absent",
        span,
        "absence would count as true here",
        "say what must hold: `payload.blocked? == false` instead of `not payload.blocked?`",
    )
}

/// `?` where there is no test around it.
pub(crate) fn lone_lenient(span: Span) -> Diagnostic {
    error(
        "L0405",
        "`?` needs a comparison or a test around it",
        span,
        "no test here",
        "use it inside a comparison, such as `payload.amount? > 10`; elsewhere give a default with `else`",
    )
}

/// An `allow` that rests on what the agent says of itself.
pub(crate) fn claimed_only(span: Span, fields: &str) -> Diagnostic {
    warning(
        "L0406",
        "this `allow` rests only on what the agent claims",
        span,
        format!("claimed: {fields}"),
        "add a condition on something the server knows, such as `agent.tags`, `agent.trust` or `agent.declared`",
    )
}
