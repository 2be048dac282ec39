//! Memories that no event can ever fill, since all that they ask for is denied.

use std::collections::HashMap;

use super::Judged;
use super::diagram::FALSE;
use super::formula::{Atoms, Formula};
use super::question::Question;
use crate::diagnostics::{Diagnostic, lints};
use crate::events::EventKind;
use crate::hir::{Became, Effect, ExprKind, MemoryPart, Obligation, PolicySet};

/// Restrictions that are compared with one memory.
const RESTRICTIONS_LIMIT: usize = 500;
/// Comparisons in all. What is not looked at is not accused.
const COMPARISONS_LIMIT: usize = 20_000;

/// What the search needs, and how much of it is left.
struct Search<'s, 'j> {
    set: &'s PolicySet,
    judged: &'j [Judged<'s>],
    left: usize,
}

/// Reports memories that stay empty.
pub(super) fn check(atoms: &mut Atoms, set: &PolicySet, judged: &[Judged], out: &mut Vec<Diagnostic>) {
    let mut search = Search { set, judged, left: COMPARISONS_LIMIT };
    let mut known: HashMap<MemoryPart, Option<String>> = HashMap::new();
    for rule in judged {
        let mut parts = Vec::new();
        rule.rule.condition.any(&mut |expr| {
            if let ExprKind::Memory(ask) = &expr.kind {
                parts.extend(ask.memory.parts.iter().map(|part| (expr.span, part.clone())));
            }
            false
        });
        for (span, part) in parts {
            let why = match known.get(&part) {
                Some(why) => why.clone(),
                None => {
                    let why = search.empty(atoms, &part);
                    known.insert(part.clone(), why.clone());
                    why
                }
            };
            if let Some(why) = why {
                let kinds: Vec<&str> = part.kinds.iter().map(|kind| kind.name()).collect();
                let what = format!("{}{}", part.became.prefix(), kinds.join("|"));
                out.push(lints::empty_memory(span, &what, why));
            }
        }
    }
}

impl<'s, 'j> Search<'s, 'j> {
    /// Why no event can be part of a memory, if so.
    fn empty(&mut self, atoms: &mut Atoms, part: &MemoryPart) -> Option<String> {
        let filter = part.filter.as_ref().map_or(Formula::Const(true), |filter| atoms.formula(filter));
        let mut question = Question::new(atoms, &[&filter])?;
        let node = question.node(&filter)?;
        if !question.can_be(node, |truth| truth != FALSE) {
            return Some("its `where` is never true".to_owned());
        }
        match part.became {
            Became::Attempted => None,
            Became::Happened => {
                let mut names: Vec<String> = Vec::new();
                for kind in &part.kinds {
                    names.push(format!("`{}`", self.denying(atoms, *kind, &filter)?.rule.name));
                }
                names.dedup();
                Some(format!("denied, every one, by {}", names.join(", ")))
            }
            Became::Denied => {
                let mut kinds = part.kinds.iter();
                let free = kinds.all(|kind| self.never_refused(atoms, *kind, &filter) == Some(true));
                free.then(|| "no rule or default denies such an event".to_owned())
            }
        }
    }

    /// The rule that denies all events of this kind for which the filter may hold.
    fn denying(&mut self, atoms: &Atoms, kind: EventKind, filter: &Formula) -> Option<&'j Judged<'s>> {
        let denies = self.judged.iter().filter(|rule| {
            rule.rule.effect == Some(Effect::Deny)
                && rule.enforces()
                && !rule.exempted
                && rule.rule.kinds.contains(&kind)
                && (rule.rule.from_us, rule.rule.until_us) == (None, None)
                // What happened before decides nothing for all events.
                && !rule.rule.condition.any(&mut |expr| matches!(expr.kind, ExprKind::Memory(_)))
        });
        for rule in denies.take(RESTRICTIONS_LIMIT) {
            if self.overlap(atoms, filter, rule, false)? {
                continue;
            }
            return Some(rule);
        }
        None
    }

    /// Whether an event that passes the filter can meet the rule, or can escape it.
    fn overlap(&mut self, atoms: &Atoms, filter: &Formula, rule: &Judged, meets: bool) -> Option<bool> {
        self.left = self.left.checked_sub(1)?;
        let Some(mut question) = Question::new(atoms, &[filter, &rule.formula]) else { return Some(true) };
        let (Some(filter), Some(condition)) = (question.node(filter), question.node(&rule.formula)) else {
            return Some(true);
        };
        let found = question
            .can_both(filter, condition, |passes, applies| passes != FALSE && (applies != FALSE) == meets);
        Some(found.unwrap_or(true))
    }

    /// Whether no event of this kind that passes the filter can be refused, by anybody.
    fn never_refused(&mut self, atoms: &Atoms, kind: EventKind, filter: &Formula) -> Option<bool> {
        let enforced = self.set.policies.iter().filter(|policy| !policy.shadow);
        let defaults: Vec<&Effect> = enforced
            .flat_map(|policy| &policy.defaults)
            .filter(|default| default.kinds.contains(&kind))
            .map(|default| &default.effect)
            .collect();
        let denied_unless_allowed =
            matches!(kind, EventKind::Intent | EventKind::Action | EventKind::Request);
        if defaults.iter().any(|effect| effect.restricts()) || defaults.is_empty() && denied_unless_allowed {
            return Some(false);
        }
        let mut compared = 0;
        for rule in self.judged.iter().filter(|rule| rule.rule.kinds.contains(&kind)) {
            // A reasoning model may tighten what it is asked about.
            let restricts = rule.rule.effect.as_ref().is_some_and(Effect::restricts)
                || rule.rule.obligations.contains(&Obligation::Judge);
            if !restricts {
                continue;
            }
            compared += 1;
            if compared > RESTRICTIONS_LIMIT || self.overlap(atoms, filter, rule, true)? {
                return Some(false);
            }
        }
        Some(true)
    }
}
