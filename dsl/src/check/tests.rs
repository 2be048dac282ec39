//! Tests beside the rules: one agent, one event, what must come out.

use super::expr::{Checker, kind_list};
use super::rule;
use super::scope::Scope;
use crate::ast;
use crate::diagnostics::{effects, names};
use crate::events::{self, EventKind};
use crate::hir::*;
use crate::types::Type;

/// Members of an agent or an event: where each goes, and its value.
type Members = Vec<(Vec<String>, TestValue)>;

/// Checks one test. `rules` are the full names of all rules of the set.
pub(super) fn test(
    scope: &mut Scope,
    written: &ast::Test,
    params: &[(String, Param)],
    rules: &[String],
) -> Option<Test> {
    let mut sound = true;
    let mut event: Option<(EventKind, Members)> = None;
    let mut agent = Vec::new();
    for (kind, members, span) in &written.given {
        if kind.value == "agent" {
            agent.extend(self::members(scope, members, Some("agent"), &EventKind::ALL).unwrap_or_else(
                || {
                    sound = false;
                    Vec::new()
                },
            ));
            continue;
        }
        let Some(kind) = self::kind(scope, kind) else {
            sound = false;
            continue;
        };
        if event.is_some() {
            scope.report(effects::test(
                *span,
                "a test judges one event",
                "write a second test for the other event",
            ));
            sound = false;
            continue;
        }
        match self::members(scope, members, None, &[kind]) {
            Some(members) => event = Some((kind, members)),
            None => sound = false,
        }
    }
    if event.is_none() && sound {
        let help = "add the event that is judged, such as `intent { action = \"refund\" }`";
        scope.report(effects::test(written.name.span, "this test has no event", help));
    }
    if written.expects.is_empty() {
        let help = "say what must come out: `expect deny by my_rule`, or `expect no match`";
        scope.report(effects::test(written.name.span, "this test expects nothing, so it can't fail", help));
        sound = false;
    }
    let expects: Vec<_> =
        written.expects.iter().map(|expect| self::expect(scope, &expect.value, rules)).collect();
    let history: Vec<_> = written.history.iter().map(|past| self::history(scope, past)).collect();
    let pins: Vec<_> = written.pins.iter().map(|(name, value)| pin(scope, name, value, params)).collect();
    let (kind, event) = event?;
    let expects = expects.into_iter().collect::<Option<_>>()?;
    let history = history.into_iter().collect::<Option<_>>()?;
    let pins = pins.into_iter().collect::<Option<_>>()?;
    sound.then(|| Test {
        name: written.name.value.clone(),
        pins,
        history,
        kind,
        agent,
        event,
        expects,
        span: written.name.span,
    })
}

fn kind(scope: &mut Scope, name: &ast::Name) -> Option<EventKind> {
    rule::kinds(scope, std::slice::from_ref(name))?.first().copied()
}

/// An event that happened before. When it happened is all that it can't say itself.
fn history(scope: &mut Scope, written: &ast::History) -> Option<History> {
    let outcome = match written.outcome.as_ref().map(|outcome| outcome.value.as_str()) {
        None => PastOutcome::Happened,
        Some("denied") => PastOutcome::Denied,
        Some(_) => PastOutcome::Waiting,
    };
    let kind = kind(scope, &written.kind)?;
    let members = self::members(scope, &written.members, None, &[kind])?;
    if let Some(at) = written.members.iter().find(|member| member.path == ["at"]) {
        let help = "write how long before the judged event it was: `before 10m: …`";
        scope.report(effects::test(at.span, "an earlier event has no time of its own", help));
        return None;
    }
    Some(History { outcome, before_us: written.before_us, kind, members, span: written.span })
}

fn pin(
    scope: &mut Scope,
    name: &ast::Name,
    value: &ast::Value,
    params: &[(String, Param)],
) -> Option<(String, Const)> {
    let Some((policy, param)) = params.iter().find(|(_, param)| param.name == name.value) else {
        let known = params.iter().map(|(_, param)| param.name.as_str());
        scope.report(names::unknown_word(name.span, "parameter", &name.value, known));
        return None;
    };
    let value_span = value.span();
    let value = super::constant(scope, value)?;
    if let Err(reason) = param.accepts(&value) {
        scope.report(crate::diagnostics::typing::out_of_range(value_span, reason));
        return None;
    }
    Some((format!("{policy}.{}", name.value), value))
}

fn members(
    scope: &mut Scope,
    written: &[ast::Member],
    below: Option<&str>,
    kinds: &[EventKind],
) -> Option<Members> {
    let mut checked = Vec::new();
    let mut sound = true;
    for member in written {
        let path: Vec<&str> = below.into_iter().chain(member.path.iter().map(String::as_str)).collect();
        let is_json = known_field(kinds, &path);
        if is_json.is_none() {
            let full = path.join(".");
            let known: Vec<&str> = kinds
                .iter()
                .flat_map(|kind| events::fields_of(*kind))
                .map(|field| field.def().name)
                .collect();
            let mut diagnostic =
                names::unknown_name(member.span, &full, known.into_iter(), &kind_list(kinds));
            diagnostic.fixes.clear();
            scope.report(diagnostic);
            sound = false;
            continue;
        }
        match value(scope, &member.value) {
            Some(value) => checked.push((member.path.clone(), value)),
            None => sound = false,
        }
    }
    sound.then_some(checked)
}

/// Whether a path names a field, something above fields, or something inside a json field.
fn known_field(kinds: &[EventKind], path: &[&str]) -> Option<()> {
    let full = path.join(".");
    let inside_json = || {
        (1..path.len()).any(|length| {
            let prefix = path.iter().take(length).copied().collect::<Vec<_>>().join(".");
            kinds.iter().any(|kind| {
                events::field(*kind, &prefix).is_some_and(|field| field.def().ty == crate::types::Type::Json)
            })
        })
    };
    let known =
        kinds.iter().any(|kind| events::field(*kind, &full).is_some() || events::is_group(*kind, &full));
    (known || inside_json()).then_some(())
}

fn value(scope: &mut Scope, written: &ast::Value) -> Option<TestValue> {
    Some(match written {
        ast::Value::Object(members, _) => {
            let members: Vec<Option<_>> = members
                .iter()
                .map(|member| Some((member.path.clone(), value(scope, &member.value)?)))
                .collect();
            TestValue::Object(members.into_iter().collect::<Option<_>>()?)
        }
        ast::Value::List(values, _) => {
            let values: Vec<Option<_>> = values.iter().map(|item| value(scope, item)).collect();
            TestValue::List(values.into_iter().collect::<Option<_>>()?)
        }
        ast::Value::Expr(ast::Expr { kind: ast::ExprKind::Name(name), .. }) if name == "null" => {
            TestValue::Null
        }
        ast::Value::Expr(expr) => TestValue::Expr(Checker::new(scope, &[]).infer(expr)?),
    })
}

fn expect(scope: &mut Scope, written: &ast::Expect, rules: &[String]) -> Option<Expect> {
    Some(match written {
        ast::Expect::NoMatch => Expect::NoMatch,
        ast::Expect::Incident(name) => Expect::Incident(rule::severity(scope, name)?),
        ast::Expect::Risk(comparison, number) => Expect::Risk(*comparison, *number),
        ast::Expect::Because(expr) => Expect::Because(Checker::new(scope, &[]).typed(expr, Type::String)?),
        ast::Expect::Do(obligation) => Expect::Do(rule::obligation(scope, obligation)?),
        ast::Expect::Shadow(names) => Expect::Shadow(full_names(scope, names, rules)?),
        ast::Expect::Exempted(names) => Expect::Exempted(full_names(scope, names, rules)?),
        ast::Expect::Decision { outcome, by, undecided } => {
            let by = full_names(scope, by, rules)?;
            Expect::Decision { outcome: outcome.clone(), by, undecided: *undecided }
        }
    })
}

/// The full names of rules; each that does not exist is reported.
fn full_names(scope: &mut Scope, names: &[ast::Name], rules: &[String]) -> Option<Vec<String>> {
    let names: Vec<_> = names.iter().map(|name| super::full_rule_name(scope, name, rules)).collect();
    names.into_iter().collect()
}
