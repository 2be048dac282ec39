//! Memories that no event can ever fill, since all that they ask for is denied.

use super::Judged;
use super::diagram::FALSE;
use super::formula::{Atoms, Formula};
use super::question::Question;
use crate::diagnostics::{Diagnostic, lints};
use crate::events::EventKind;
use crate::hir::{Became, Effect, ExprKind, MemoryPart, Obligation, PolicySet};

/// Restrictions that are compared with one memory.
const RESTRICTIONS_LIMIT: usize = 500;

/// Reports memories that stay empty.
pub(super) fn check(atoms: &mut Atoms, set: &PolicySet, judged: &[Judged], out: &mut Vec<Diagnostic>) {
    for rule in judged {
        let mut parts = Vec::new();
        rule.rule.condition.any(&mut |expr| {
            if let ExprKind::Memory(ask) = &expr.kind {
                parts.extend(ask.memory.parts.iter().map(|part| (expr.span, part.clone())));
            }
            false
        });
        for (span, part) in parts {
            if let Some(why) = empty(atoms, set, judged, &part) {
                let kinds: Vec<&str> = part.kinds.iter().map(|kind| kind.name()).collect();
                let what = format!("{}{}", part.became.prefix(), kinds.join("|"));
                out.push(lints::empty_memory(span, &what, why));
            }
        }
    }
}

/// Why no event can be part of a memory, if so.
fn empty(atoms: &mut Atoms, set: &PolicySet, judged: &[Judged], part: &MemoryPart) -> Option<String> {
    let filter = part.filter.as_ref().map_or(Formula::Const(true), |filter| atoms.formula(filter));
    let mut question = Question::new(atoms, &[&filter])?;
    let node = question.node(&filter)?;
    if !question.can_be(node, |truth| truth != FALSE) {
        return Some("its `where` is never true".to_owned());
    }
    match part.became {
        Became::Attempted => None,
        Became::Happened => {
            let denying: Option<Vec<&Judged>> =
                part.kinds.iter().map(|kind| denying(atoms, judged, *kind, &filter)).collect();
            let mut names: Vec<String> =
                denying?.iter().map(|rule| format!("`{}`", rule.rule.name)).collect();
            names.dedup();
            Some(format!("denied, every one, by {}", names.join(", ")))
        }
        Became::Denied => {
            let free =
                part.kinds.iter().all(|kind| never_refused(atoms, set, judged, *kind, &filter) == Some(true));
            free.then(|| "no rule or default denies such an event".to_owned())
        }
    }
}

/// The rule that denies all events of this kind for which the filter may hold.
fn denying<'j, 's>(
    atoms: &Atoms,
    judged: &'j [Judged<'s>],
    kind: EventKind,
    filter: &Formula,
) -> Option<&'j Judged<'s>> {
    let denies = judged.iter().filter(|rule| {
        rule.rule.effect == Some(Effect::Deny)
            && rule.enforces()
            && !rule.exempted
            && rule.rule.kinds.contains(&kind)
            && (rule.rule.from_us, rule.rule.until_us) == (None, None)
    });
    denies.take(RESTRICTIONS_LIMIT).find(|rule| overlap(atoms, filter, rule, false) == Some(false))
}

/// Whether an event that passes the filter can meet the rule, or can escape it.
fn overlap(atoms: &Atoms, filter: &Formula, rule: &Judged, meets: bool) -> Option<bool> {
    let mut question = Question::new(atoms, &[filter, &rule.formula])?;
    let (filter, condition) = (question.node(filter)?, question.node(&rule.formula)?);
    question.can_both(filter, condition, |passes, applies| passes != FALSE && (applies != FALSE) == meets)
}

/// Whether no event of this kind that passes the filter can be refused, by anybody.
fn never_refused(
    atoms: &Atoms,
    set: &PolicySet,
    judged: &[Judged],
    kind: EventKind,
    filter: &Formula,
) -> Option<bool> {
    let enforced = set.policies.iter().filter(|policy| !policy.shadow);
    let defaults: Vec<&Effect> = enforced
        .flat_map(|policy| &policy.defaults)
        .filter(|default| default.kinds.contains(&kind))
        .map(|default| &default.effect)
        .collect();
    let denied_unless_allowed = matches!(kind, EventKind::Intent | EventKind::Action | EventKind::Request);
    if defaults.iter().any(|effect| effect.restricts()) || defaults.is_empty() && denied_unless_allowed {
        return Some(false);
    }
    let mut compared = 0;
    for rule in judged.iter().filter(|rule| rule.rule.kinds.contains(&kind)) {
        // A reasoning model may tighten what it is asked about.
        let restricts = rule.rule.effect.as_ref().is_some_and(Effect::restricts)
            || rule.rule.obligations.contains(&Obligation::Judge);
        if !restricts {
            continue;
        }
        compared += 1;
        if compared > RESTRICTIONS_LIMIT || overlap(atoms, filter, rule, true)? {
            return Some(false);
        }
    }
    Some(true)
}
