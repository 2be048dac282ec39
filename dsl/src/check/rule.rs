//! Rules, defaults and exemptions: clauses are put together and effects checked.

use super::expr::{Checker, kind_list, plain_text};
use super::scope::Scope;
use super::unknowns;
use crate::ast::{self, Clause};
use crate::diagnostics::{effects, lints, names, typing, unknowns as unknown};
use crate::events::{EventKind, FieldId, Trust};
use crate::hir::*;
use crate::number::Number;
use crate::source::Span;
use crate::text::moment;
use crate::types::Type;

/// How long an incident folds unless its rule says otherwise, in seconds.
const FOLD_S: u64 = 24 * 3600;

/// The kinds of event that are named, unknown ones reported.
pub(super) fn kinds(scope: &mut Scope, written: &[ast::Name]) -> Option<Vec<EventKind>> {
    let mut kinds = Vec::new();
    let mut complete = true;
    for name in written {
        match EventKind::named(&name.value) {
            Some(kind) if !kinds.contains(&kind) => kinds.push(kind),
            Some(_) => {}
            None => {
                scope.report(names::unknown_kind(name.span, &name.value));
                complete = false;
            }
        }
    }
    complete.then_some(kinds)
}

/// The clauses of one rule, each at most once.
#[derive(Default)]
struct Parts<'a> {
    when: Option<&'a ast::Expr>,
    unless: Option<&'a ast::Expr>,
    effect: Option<(&'a ast::Effect, Span)>,
    score: Option<(Number, Span)>,
    incident: Option<&'a ast::Incident>,
    because: Option<&'a ast::Expr>,
    controls: Vec<String>,
    applies: Option<(Option<i64>, Option<i64>)>,
    obligations: Vec<Obligation>,
    mode: Option<&'a ast::Name>,
}

/// Checks one rule; `None` if anything in it is wrong (then the diagnostics say what).
pub(super) fn rule(scope: &mut Scope, rule: &ast::Rule, docs: &[String]) -> Option<Rule> {
    scope.forget_variables();
    let kinds = kinds(scope, &rule.kinds);
    let mut sound = true;
    let parts = collect(scope, rule, &mut sound);
    let has_effect = parts.effect.is_some()
        || parts.score.is_some()
        || parts.incident.is_some()
        || !parts.obligations.is_empty();
    if !has_effect && sound {
        scope.report(effects::none(rule.name.span, &rule.name.value));
        sound = false;
    }
    let effect = match parts.effect {
        Some((written, span)) => effect(scope, written, span).map(Some),
        None => Some(None),
    };
    let kinds = kinds?;
    let mut checker = Checker::new(scope, &kinds);
    checker.risk_refused = parts.score.is_some();
    sound &= lets(&mut checker, rule);
    let mut conditions = Vec::new();
    if let Some(when) = parts.when {
        conditions.push(checker.condition(when));
    }
    if let Some(unless) = parts.unless {
        conditions.push(checker.condition(unless).map(|condition| {
            let span = condition.span;
            Expr { kind: ExprKind::Not(Box::new(condition)), ty: Type::Bool, span }
        }));
    }
    let because = parts.because.map(|because| checker.typed(because, Type::String));
    let incident = parts.incident.map(|incident| self::incident(&mut checker, incident));
    if conditions.is_empty() && !matches!(parts.effect, Some((ast::Effect::Allow, _))) {
        scope.report(lints::always(rule.name.span, &rule.name.value, &kind_list(&kinds)));
    }
    let conditions: Vec<Expr> = conditions.into_iter().collect::<Option<_>>()?;
    let mut condition = conjunction(conditions, rule.name.span);
    let (mut because, mut incident, effect) = (
        because.map_or(Some(None), |b| b.map(Some))?,
        incident.map_or(Some(None), |i| i.map(Some))?,
        effect?,
    );
    let in_incident =
        incident.iter_mut().flat_map(|incident| incident.per.iter_mut().chain(&mut incident.title));
    let mut shown: Vec<&mut Expr> = because.iter_mut().chain(in_incident).collect();
    sound &= settle(scope, &mut [&mut condition], &mut shown);
    for wrong in super::promise::mistyped(&condition, scope.schemas) {
        scope.report(typing::against_schema(wrong.span, &wrong.field, wrong.used_as, wrong.is));
        sound = false;
    }
    if let Some(effect) = &effect {
        sound &= unknown_parts(scope, &condition, effect, rule.name.span);
    }
    let (from_us, until_us) = parts.applies.unwrap_or_default();
    sound.then(|| Rule {
        name: rule.name.value.clone(),
        docs: docs.to_vec(),
        kinds,
        condition,
        effect,
        score: parts.score.map(|(score, _)| score),
        incident,
        obligations: parts.obligations,
        because,
        controls: parts.controls,
        from_us,
        until_us,
        shadow: parts.mode.is_some(),
        span: rule.name.span,
    })
}

fn collect<'r>(scope: &mut Scope, rule: &'r ast::Rule, sound: &mut bool) -> Parts<'r> {
    let mut parts = Parts::default();
    for clause in &rule.clauses {
        let span = clause.span;
        let repeated = match &clause.value {
            Clause::Let(..) => None,
            Clause::When(expr) => parts.when.replace(expr).map(|_| "when"),
            Clause::Unless(expr) => parts.unless.replace(expr).map(|_| "unless"),
            Clause::Effect(effect) => {
                if parts.effect.replace((effect, span)).is_some() {
                    scope.report(effects::several(span));
                    *sound = false;
                }
                None
            }
            Clause::Score(score) => {
                if *score < Number::whole(-1) || *score > Number::ONE {
                    scope.report(effects::score_out_of_range(span));
                    *sound = false;
                }
                parts.score.replace((*score, span)).map(|_| "score")
            }
            Clause::Incident(incident) => parts.incident.replace(incident).map(|_| "incident"),
            Clause::Because(expr) => parts.because.replace(expr).map(|_| "because"),
            Clause::Controls(values) => {
                *sound &= texts(scope, values, &mut parts.controls);
                None
            }
            Clause::Applies { from, until } => {
                let bounds = (date(scope, from.as_ref()), date(scope, until.as_ref()));
                let (Some(from), Some(until)) = bounds else {
                    *sound = false;
                    continue;
                };
                if from.zip(until).is_some_and(|(from, until)| from >= until) {
                    scope.report(effects::never_applies(span));
                    *sound = false;
                }
                parts.applies.replace((from, until)).map(|_| "applies")
            }
            Clause::Mode(word) => {
                *sound &= mode(scope, word);
                parts.mode.replace(word).map(|_| "mode")
            }
            Clause::Do(written) => {
                match obligation(scope, written) {
                    Some(obligation) => parts.obligations.push(obligation),
                    None => *sound = false,
                }
                None
            }
        };
        if let Some(name) = repeated {
            scope.report(effects::repeated(span, name));
            *sound = false;
        }
    }
    parts
}

fn lets(checker: &mut Checker, rule: &ast::Rule) -> bool {
    let mut sound = true;
    for clause in &rule.clauses {
        let Clause::Let(name, expr) = &clause.value else { continue };
        match checker.infer(expr) {
            Some(value) => checker.bind(name.value.clone(), value),
            None => sound = false,
        }
    }
    sound
}

fn conjunction(mut conditions: Vec<Expr>, span: Span) -> Expr {
    let kind = match (conditions.pop(), conditions.is_empty()) {
        (None, _) => ExprKind::Const(Const::Bool(true)),
        (Some(only), true) => return only,
        (Some(last), false) => {
            conditions.push(last);
            ExprKind::And(conditions)
        }
    };
    Expr { kind, ty: Type::Bool, span }
}

/// Reports what can make a condition unknown; false if that is an error for this effect.
fn unknown_parts(scope: &mut Scope, condition: &Expr, effect: &Effect, span: Span) -> bool {
    let found = unknowns::of(condition, scope.schemas);
    if *effect != Effect::Allow {
        if effect.restricts() {
            let word = if *effect == Effect::Deny { "deny" } else { "require approval" };
            for (what, (place, _)) in &found.absent {
                scope.report(unknown::also_applies(*place, what, word));
            }
        }
        return true;
    }
    for (what, (place, mendable)) in &found.absent {
        scope.report(unknown::absent_in_allow(*place, what, *mendable));
    }
    for place in &found.lenient_under_not {
        scope.report(unknown::lenient_under_not(*place));
    }
    for (what, place) in &found.other {
        scope.report(unknown::unknown_in_allow(*place, what));
    }
    let mut fields: Vec<FieldId> = Vec::new();
    condition.any(&mut |expr| {
        if let ExprKind::Field(field) = expr.kind {
            fields.push(field);
        }
        false
    });
    fields.sort_unstable();
    fields.dedup();
    let sound = found.absent.is_empty() && found.lenient_under_not.is_empty();
    if sound && !fields.is_empty() && fields.iter().all(|field| field.def().trust == Trust::Claimed) {
        let list = fields.iter().map(|field| field.def().name).collect::<Vec<_>>().join(", ");
        scope.report(unknown::claimed_only(span, &list));
    }
    sound
}

/// Settles what memories have to keep; false if nothing bounds one.
fn settle(scope: &mut Scope, deciding: &mut [&mut Expr], shown: &mut [&mut Expr]) -> bool {
    let mut found = Vec::new();
    super::memory::settle(deciding, shown, &mut found);
    let sound = found.iter().all(|diagnostic| diagnostic.severity != crate::diagnostics::Severity::Error);
    found.into_iter().for_each(|diagnostic| scope.report(diagnostic));
    sound
}

/// One of the four effects, its numbers checked.
pub(super) fn effect(scope: &mut Scope, written: &ast::Effect, span: Span) -> Option<Effect> {
    Some(match written {
        ast::Effect::Deny => Effect::Deny,
        ast::Effect::Warn => Effect::Warn,
        ast::Effect::Allow => Effect::Allow,
        ast::Effect::RequireApproval { from, by, within_us } => {
            let by = match by {
                None => Some(1),
                Some(number) => {
                    let people = number.value.to_whole().filter(|count| (1..=100).contains(count));
                    if people.is_none() {
                        scope.report(effects::approvers(number.span));
                    }
                    people.map(|count| count as u32)
                }
            };
            let within_s = within_us.map_or(Some(None), |within| seconds(scope, within, span).map(Some));
            Effect::RequireApproval { from: from.clone(), by: by?, within_s: within_s? }
        }
    })
}

fn seconds(scope: &mut Scope, micros: i64, span: Span) -> Option<u64> {
    if micros > 0 && micros % 1_000_000 == 0 {
        return Some(micros.unsigned_abs() / 1_000_000);
    }
    scope.report(effects::seconds(span));
    None
}

fn incident(checker: &mut Checker, written: &ast::Incident) -> Option<Incident> {
    let severity = severity(checker.scope, &written.severity);
    let per: Vec<Option<Expr>> = written.per.iter().map(|expr| checker.infer(expr)).collect();
    let title = written.title.as_ref().map(|title| checker.typed(title, Type::String));
    let fold_s = written
        .within_us
        .map_or(Some(FOLD_S), |within| seconds(checker.scope, within, written.severity.span));
    Some(Incident {
        severity: severity?,
        per: per.into_iter().collect::<Option<_>>()?,
        fold_s: fold_s?,
        title: title.map_or(Some(None), |title| title.map(Some))?,
    })
}

/// A severity by its name.
pub(super) fn severity(scope: &mut Scope, name: &ast::Name) -> Option<Severity> {
    let found = Severity::NAMES.iter().find(|(known, _)| *known == name.value);
    if found.is_none() {
        scope.report(names::unknown_severity(name.span, &name.value));
    }
    found.map(|(_, severity)| *severity)
}

/// An obligation, its word known.
pub(super) fn obligation(scope: &mut Scope, written: &ast::Obligation) -> Option<Obligation> {
    Some(match written {
        ast::Obligation::Notify(channel) => Obligation::Notify(channel.clone()),
        ast::Obligation::Redact(path) => Obligation::Redact(path.clone()),
        ast::Obligation::Plain(word) => match word.value.as_str() {
            "pause" => Obligation::Pause,
            "freeze" => Obligation::Freeze,
            "judge" => Obligation::Judge,
            "notify" => {
                scope.report(effects::incomplete(word.span, "do notify", "a channel", "do notify \"ops\""));
                return None;
            }
            "redact" => {
                scope.report(effects::incomplete(word.span, "do redact", "a path", "do redact payload.iban"));
                return None;
            }
            other => {
                let known = ["pause", "freeze", "judge", "notify \"…\"", "redact …"];
                scope.report(names::unknown_word(word.span, "obligation", other, known.into_iter()));
                return None;
            }
        },
    })
}

fn mode(scope: &mut Scope, word: &ast::Name) -> bool {
    let known = word.value == "shadow";
    if !known {
        scope.report(names::unknown_word(word.span, "mode", &word.value, ["shadow"].into_iter()));
    }
    known
}

/// 00:00 UTC of a day; `Some(None)` if none is given, `None` if it does not exist.
fn date(scope: &mut Scope, day: Option<&ast::Name>) -> Option<Option<i64>> {
    let Some(day) = day else { return Some(None) };
    let micros = moment::date(&day.value);
    if micros.is_none() {
        scope.report(effects::bad_date(day.span, &day.value));
    }
    micros.map(Some)
}

/// A list of plain texts, such as controls.
pub(super) fn texts(scope: &mut Scope, values: &[ast::Value], into: &mut Vec<String>) -> bool {
    let mut sound = true;
    for value in values {
        match value {
            ast::Value::Expr(expr) if plain_text(expr).is_some() => into.extend(plain_text(expr)),
            other => {
                scope.report(typing::literal_only(
                    other.span(),
                    "what stands in this list",
                    "`[\"SOC2:CC6.1\"]`",
                ));
                sound = false;
            }
        }
    }
    sound
}

/// An exemption; its fields are those of the rule that it exempts from.
pub(super) fn exemption(
    scope: &mut Scope,
    written: &ast::Exempt,
    rule: String,
    kinds: &[EventKind],
) -> Option<Exemption> {
    let mut checker = Checker::new(scope, kinds);
    // Exemptions are looked at before the risk is added up.
    checker.risk_refused = true;
    let condition = checker.condition(&written.condition);
    let because = checker.typed(&written.because, Type::String);
    let until = moment::date(&written.until.value).or_else(|| moment::rfc3339(&written.until.value));
    if until.is_none() {
        scope.report(effects::bad_date(written.until.span, &written.until.value));
    }
    let (mut condition, mut because) = (condition?, because?);
    settle(scope, &mut [&mut condition], &mut [&mut because]).then_some(())?;
    Some(Exemption { rule, condition, until_us: until?, because })
}
