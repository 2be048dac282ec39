//! L06 and L07: what rules ask for, and their tests.

use super::{Diagnostic, error};
use crate::source::Span;

/// A rule that asks for nothing.
pub(crate) fn none(span: Span, name: &str) -> Diagnostic {
    error(
        "L0601",
        format!("rule `{name}` has no effect"),
        span,
        "asks for nothing",
        "say what follows: `deny`, `require approval`, `warn`, `allow`, `score +0.2`, `incident high` or `do notify \"…\"`",
    )
}

/// A rule with two of the four effects.
pub(crate) fn several(span: Span) -> Diagnostic {
    error(
        "L0602",
        "a rule has one effect",
        span,
        "a second effect",
        "keep one, or write a rule for each; the strongest of all matching rules wins",
    )
}

/// A clause that stands twice.
pub(crate) fn repeated(span: Span, clause: &str) -> Diagnostic {
    error(
        "L0603",
        format!("this rule has a second `{clause}`"),
        span,
        "a second one",
        "join them with `and`, or remove one",
    )
}

/// A rule that reads the risk and adds to it.
pub(crate) fn risk_in_scored_rule(span: Span) -> Diagnostic {
    error(
        "L0604",
        "a rule with a `score` can't read `risk`",
        span,
        "adds to what it reads",
        "move the `score` into a rule of its own",
    )
}

/// A score no risk can hold.
pub(crate) fn score_out_of_range(span: Span) -> Diagnostic {
    error(
        "L0605",
        "a score is between -1 and 1",
        span,
        "out of range",
        "the risk is held to 0..1, so write a part of it, such as `score +0.2`",
    )
}

/// A rule that never applies, going by its dates.
pub(crate) fn never_applies(span: Span) -> Diagnostic {
    error(
        "L0606",
        "this rule ends before it begins",
        span,
        "no day in it",
        "`from` is the first day on which it applies, `until` the first on which it no longer does",
    )
}

/// A date that does not exist.
pub(crate) fn bad_date(span: Span, text: &str) -> Diagnostic {
    error(
        "L0607",
        format!("`{text}` is no date or time"),
        span,
        "no such day",
        "write `2025-08-02`, or a time such as \"2025-08-02T12:00:00Z\"",
    )
}

/// An approval by nobody, or by a fraction of a person.
pub(crate) fn approvers(span: Span) -> Diagnostic {
    error(
        "L0608",
        "an approval needs between 1 and 100 people",
        span,
        "not a number of people",
        "write `by 2` for two people",
    )
}

/// A span of time that is no whole number of seconds, or none at all.
pub(crate) fn seconds(span: Span) -> Diagnostic {
    error(
        "L0609",
        "this span of time must be whole seconds, and more than none",
        span,
        "not usable",
        "write it as `30s`, `60m`, `24h` or `7d`",
    )
}

/// Something that would loosen what is extended.
pub(crate) fn loosens(span: Span, message: String, base: &str) -> Diagnostic {
    error(
        "L0610",
        message,
        span,
        "loosens",
        format!(
            "whoever `extends {base}` only adds and tightens: put this into a policy of its own that does not extend it"
        ),
    )
}

/// An obligation that does not say for whom, or on what.
pub(crate) fn incomplete(span: Span, obligation: &str, lacks: &str, example: &str) -> Diagnostic {
    error(
        "L0611",
        format!("`{obligation}` needs {lacks}"),
        span,
        format!("without {lacks}"),
        format!("write `{example}`"),
    )
}

/// A test that can't be run.
pub(crate) fn test(span: Span, message: &str, help: &str) -> Diagnostic {
    error("L0701", message, span, "this test", help)
}

/// A schema that can hold for nothing.
pub(crate) fn schema(span: Span, message: &str, help: &str) -> Diagnostic {
    error("L0801", message, span, "this schema", help)
}
