//! L09: rules that can be used, and hardly say what was meant.

use super::{Diagnostic, Fix, shown, warning};
use crate::source::Span;

/// Parts of a condition, as a message names them.
fn listed(parts: &[String]) -> String {
    let quoted: Vec<String> = parts.iter().map(|part| format!("`{}`", shown(part))).collect();
    quoted.join(" and ")
}

/// Something declared and never used.
pub(crate) fn unused(span: Span, what: &str, name: &str) -> Diagnostic {
    warning("L0901", format!("{what} `{name}` is never used"), span, "declared here", "use it, or remove it")
}

/// A rule without a condition.
pub(crate) fn always(span: Span, name: &str, kinds: &str) -> Diagnostic {
    warning(
        "L0902",
        format!("rule `{name}` applies to every {kinds}"),
        span,
        "has no `when`",
        "add a `when`; if every event is meant, a `default` says so better",
    )
}

/// A rule whose condition excludes nothing.
pub(crate) fn always_true(span: Span, name: &str, kinds: &str) -> Diagnostic {
    warning(
        "L0902",
        format!("rule `{name}` applies to every {kinds}"),
        span,
        "no event makes this false",
        "look for a value that is in no doubt, or for tests that cover everything between them; if every event is meant, a `default` says so better",
    )
}

/// A rule whose condition nothing fulfils.
///
/// `parts` exclude each other, if there are several.
pub(crate) fn never(span: Span, name: &str, parts: &[String]) -> Diagnostic {
    let label = match parts {
        [] => "no event makes this true".to_owned(),
        [one] => format!("{} is never true", listed(std::slice::from_ref(one))),
        several => format!("{} exclude each other", listed(several)),
    };
    warning(
        "L0903",
        format!("rule `{name}` can never match"),
        span,
        label,
        "a rule that never matches protects nothing: join alternatives with `or`, or correct the value that can't be",
    )
}

/// A restrictive rule that is never true, and unknown on some events.
pub(crate) fn never_true(span: Span, name: &str, parts: &[String]) -> Diagnostic {
    let label = match parts {
        [] | [_] => "never true, at most unknown".to_owned(),
        several => format!("{} exclude each other", listed(several)),
    };
    warning(
        "L0903",
        format!("rule `{name}` can never be true: it applies only where something that it reads is unknown"),
        span,
        label,
        "join alternatives with `or`, or correct the value that can't be; if absence is meant, ask `not has …`",
    )
}

/// A part of an `and` or `or` that changes nothing.
pub(crate) fn redundant(span: Span, part: &str, in_and: bool) -> Diagnostic {
    let why = if in_and { "the other parts already say so" } else { "the other parts already cover it" };
    warning(
        "L0904",
        format!("`{}` changes nothing", shown(part)),
        span,
        why,
        "remove it, or correct it: what was meant to narrow or widen this condition does not",
    )
}

/// A rule that changes no decision, since another applies whenever it does.
pub(crate) fn hidden(span: Span, name: &str, by: &str) -> Diagnostic {
    warning(
        "L0905",
        format!("rule `{name}` is hidden by {by}"),
        span,
        "never changes a decision",
        "the other applies whenever this one does and asks for at least as much: remove this one, or narrow the other",
    )
}

/// An `allow` that a `deny` always overrides.
pub(crate) fn contradiction(span: Span, name: &str, denied_by: &str, same: bool) -> Diagnostic {
    let message = if same {
        format!("rule `{name}` contradicts {denied_by}: both have the same condition")
    } else {
        format!("rule `{name}` can never let anything through: {denied_by} denies all of it")
    };
    warning(
        "L0906",
        message,
        span,
        "always overridden",
        "`deny` wins over `allow`: say in the `deny` what it should spare (`unless …`), or remove this rule",
    )
}

/// A rule that says what another says.
pub(crate) fn duplicate_rule(span: Span, name: &str, of: &str) -> Diagnostic {
    warning(
        "L0907",
        format!("rule `{name}` says the same as {of}"),
        span,
        "a second time",
        "remove one of them, so that nobody changes only one",
    )
}

/// A control of a framework that is not known.
pub(crate) fn unknown_control(span: Span, control: &str, known: &[&'static str]) -> Diagnostic {
    let (framework, rest) = control.split_once(':').unwrap_or((control, ""));
    let near = known
        .iter()
        .find(|name| name.eq_ignore_ascii_case(framework))
        .copied()
        .or_else(|| super::nearest(framework, known.iter().copied()));
    let message =
        format!("there is no framework `{}` for the control `{}`", shown(framework), shown(control));
    match near {
        Some(near) => {
            let fixed = format!("{near}:{rest}");
            let help = format!("did you mean `{fixed}`?");
            let mut diagnostic = warning("L0908", message, span, "unknown framework", help);
            let literal = crate::hir::Const::Text(fixed.clone()).to_string();
            diagnostic.fixes.push(Fix { title: format!("write `{fixed}`"), span, text: literal });
            diagnostic
        }
        None => {
            let help = format!(
                "reports group rules by framework; known are {}, and `ORG` for your own",
                known
                    .iter()
                    .filter(|name| **name != "ORG")
                    .map(|name| format!("`{name}`"))
                    .collect::<Vec<_>>()
                    .join(", ")
            );
            warning("L0908", message, span, "unknown framework", help)
        }
    }
}

/// A restrictive rule that nothing narrows where something optional is absent.
pub(crate) fn optional_discriminator(span: Span, name: &str, kinds: &str, absent: &[String]) -> Diagnostic {
    let lenient = absent.first().map_or_else(|| "x?".to_owned(), |first| format!("{}?", shown(first)));
    warning(
        "L0909",
        format!("rule `{name}` applies to every {kinds} without {}", listed(absent)),
        span,
        "only what may be absent narrows it",
        format!(
            "add a condition on a field that is always there, or write `{lenient}` if absence should not count"
        ),
    )
}

/// An exemption that loosens nothing.
pub(crate) fn idle_exemption(span: Span, rule: &str, why: &str) -> Diagnostic {
    warning(
        "L0910",
        format!("this exemption from `{rule}` never holds"),
        span,
        why,
        "correct its condition, or remove it: who reads it believes that something is let through",
    )
}

/// A memory that stays empty.
pub(crate) fn empty_memory(span: Span, what: &str, why: String) -> Diagnostic {
    warning(
        "L0911",
        format!("no event can ever fill this memory of {what}"),
        span,
        why,
        "remember `attempted` or `denied` events if those are meant, or correct its `where`",
    )
}
