//! Exemptions that never hold.

use std::collections::HashMap;

use super::diagram::{FALSE, TRUE};
use super::formula::Atoms;
use super::question::Question;
use super::{Judged, Matches};
use crate::diagnostics::{Diagnostic, lints};
use crate::hir::{Exemption, PolicySet};

/// Reports exemptions under which nothing is let off.
pub(super) fn check(atoms: &mut Atoms, set: &PolicySet, judged: &[Judged], out: &mut Vec<Diagnostic>) {
    let rules: HashMap<String, &Judged> = judged.iter().map(|rule| (rule.full_name(), rule)).collect();
    for exemption in set.policies.iter().flat_map(|policy| &policy.exemptions) {
        let Some(rule) = rules.get(&exemption.rule).filter(|rule| rule.matches != Matches::Nothing) else {
            continue;
        };
        if let Some(why) = idle(atoms, exemption, rule) {
            out.push(lints::idle_exemption(exemption.condition.span, &exemption.rule, why));
        }
    }
}

/// Why an exemption never holds, if it does not.
fn idle(atoms: &mut Atoms, exemption: &Exemption, rule: &Judged) -> Option<&'static str> {
    if rule.rule.from_us.is_some_and(|from| exemption.until_us <= from) {
        return Some("ends before the rule begins to apply");
    }
    let formula = atoms.formula(&exemption.condition);
    let mut question = Question::new(atoms, &[&formula, &rule.formula])?;
    let (holds, applies) = (question.node(&formula)?, question.node(&rule.formula)?);
    if !question.can_be(holds, |truth| truth == TRUE) {
        return Some("never true");
    }
    // An unknown rule is listed even where it does not apply, and its exemption with it.
    let both = question.can_both(holds, applies, |holds, applies| holds == TRUE && applies != FALSE)?;
    (!both).then_some("never true where the rule matches")
}
