//! L02: names that mean nothing, or two things.

use super::{Diagnostic, Fix, error, nearest, shown};
use crate::source::Span;

fn with_suggestion<'a>(
    code: &'static str,
    span: Span,
    what: &str,
    name: &str,
    known: impl Iterator<Item = &'a str>,
    otherwise: &str,
) -> Diagnostic {
    let message = format!("there is no {what} `{}`", shown(name));
    match nearest(name, known) {
        Some(near) => {
            let mut diagnostic = error(code, message, span, "unknown", format!("did you mean `{near}`?"));
            diagnostic.fixes.push(Fix { title: format!("write `{near}`"), span, text: near.to_owned() });
            diagnostic
        }
        None => error(code, message, span, "unknown", otherwise),
    }
}

/// Stands for the kinds of event where no event can be read.
pub(crate) const NO_EVENT: &str = "no event here";

/// A name that is no field, parameter, list, macro or variable.
pub(crate) fn unknown_name<'a>(
    span: Span,
    name: &str,
    known: impl Iterator<Item = &'a str>,
    kinds: &str,
) -> Diagnostic {
    if matches!(name, "null" | "nil" | "None" | "undefined") {
        let help = "ask whether a field is there with `has field`, or give a default with `else`";
        return error("L0201", format!("there is no `{name}`"), span, "unknown", help);
    }
    if kinds == NO_EVENT {
        return with_suggestion(
            "L0201",
            span,
            "name",
            name,
            known,
            "no event is read here: write the value out; a text needs double quotes",
        );
    }
    let help = format!(
        "use a field of {kinds}, or declare it with `param`, `list`, `def` or `let`; a text needs double quotes"
    );
    with_suggestion("L0201", span, "field or name", name, known, &help)
}

/// A field that events of another kind have.
pub(crate) fn field_of_another_kind(span: Span, name: &str, has: &[&str], lacks: &[&str]) -> Diagnostic {
    error(
        "L0202",
        format!("`{name}` is a field of {}, not of {}", has.join(", "), lacks.join(", ")),
        span,
        "not on every event of this rule",
        format!(
            "write one rule `on {}` for it, or use a field that all kinds of this rule share",
            has.join(", ")
        ),
    )
}

/// A field with different types on the kinds of one rule.
pub(crate) fn field_differs(span: Span, name: &str) -> Diagnostic {
    error(
        "L0203",
        format!("`{name}` has different types on the kinds of event of this rule"),
        span,
        "not one type",
        "write one rule for each kind",
    )
}

/// A name above fields, used as if it were one.
pub(crate) fn group(span: Span, name: &str, members: &[&str]) -> Diagnostic {
    let mut some = members.iter().take(6).map(|member| format!("`{member}`")).collect::<Vec<_>>().join(", ");
    if members.len() > 6 {
        some.push_str(", …");
    }
    error(
        "L0204",
        format!("`{name}` is not a value by itself"),
        span,
        "a group of fields",
        format!("name one of its fields: {some}"),
    )
}

/// Two declarations of one name.
pub(crate) fn duplicate(span: Span, what: &str, name: &str, first_line: usize) -> Diagnostic {
    error(
        "L0205",
        format!("{what} `{name}` is declared twice"),
        span,
        format!("first declared in line {first_line}"),
        "rename one of them, or remove it",
    )
}

/// A name that `extends` has brought here already.
pub(crate) fn redeclared(span: Span, what: &str, name: &str, base: &str) -> Diagnostic {
    error(
        "L0205",
        format!("{what} `{name}` is declared in `{base}` already"),
        span,
        "a second meaning",
        format!("`extends {base}` brings it here: use it as it is, or choose another name"),
    )
}

/// A policy that `extends` names, but that is not there.
pub(crate) fn unknown_policy<'a>(span: Span, name: &str, known: impl Iterator<Item = &'a str>) -> Diagnostic {
    let help = "name a policy or template that is active together with this one, and check them together";
    with_suggestion("L0213", span, "policy or template", name, known, help)
}

/// A policy that extends itself, directly or through others.
pub(crate) fn extends_itself(span: Span, name: &str) -> Diagnostic {
    error(
        "L0214",
        format!("`{name}` would extend itself"),
        span,
        "leads back here",
        "let one of them stand alone: what all share belongs into it",
    )
}

/// A kind of event that does not exist.
pub(crate) fn unknown_kind(span: Span, name: &str) -> Diagnostic {
    let kinds = crate::events::EventKind::ALL.map(crate::events::EventKind::name);
    let help = format!("the kinds of event are {}", kinds.map(|kind| format!("`{kind}`")).join(", "));
    with_suggestion("L0206", span, "kind of event", name, kinds.into_iter(), &help)
}

/// A function that does not exist.
pub(crate) fn unknown_function<'a>(
    span: Span,
    name: &str,
    known: impl Iterator<Item = &'a str> + Clone,
) -> Diagnostic {
    let help = format!(
        "functions are {}",
        known.clone().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    );
    with_suggestion("L0207", span, "function", name, known, &help)
}

/// A severity that does not exist.
pub(crate) fn unknown_severity(span: Span, name: &str) -> Diagnostic {
    let known = crate::hir::Severity::NAMES.iter().map(|(name, _)| *name);
    with_suggestion(
        "L0208",
        span,
        "severity",
        name,
        known,
        "severities are `low`, `medium`, `high` and `critical`",
    )
}

/// A macro that expands to itself.
pub(crate) fn recursion(span: Span, name: &str) -> Diagnostic {
    error(
        "L0209",
        format!("`{name}` would expand for ever"),
        span,
        "expands to itself",
        "macros can't call themselves: write out what you mean",
    )
}

/// A rule that an exemption or a test names, but that does not exist.
pub(crate) fn unknown_rule<'a>(span: Span, name: &str, known: impl Iterator<Item = &'a str>) -> Diagnostic {
    with_suggestion("L0210", span, "rule", name, known, "name a rule of this policy, or `policy.rule`")
}

/// A word where only certain words may stand.
pub(crate) fn unknown_word<'a>(
    span: Span,
    what: &str,
    name: &str,
    known: impl Iterator<Item = &'a str> + Clone,
) -> Diagnostic {
    let words = known.clone().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let help =
        if words.is_empty() { "this policy declares none".to_owned() } else { format!("it can be {words}") };
    with_suggestion("L0211", span, what, name, known, &help)
}

/// A time zone that does not exist.
pub(crate) fn unknown_zone(span: Span, name: &str) -> Diagnostic {
    error(
        "L0212",
        format!("there is no time zone `{name}`"),
        span,
        "unknown",
        "name a zone of the IANA database, such as `Europe/Amsterdam`",
    )
}

/// A name that calls of it could not reach.
pub(crate) fn reserved(span: Span, name: &str, taken_by: &str) -> Diagnostic {
    error(
        "L0215",
        format!("`{name}` can't be declared"),
        span,
        format!("the name of {taken_by}"),
        format!("choose another name: `{name}(…)` would mean {taken_by}"),
    )
}
