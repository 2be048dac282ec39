//! What tests have seen of rules: each matching and not, each part of each condition true, false and unknown.

use std::collections::HashMap;
use std::sync::Arc;

use lictor_dsl::hir::{Expr, ExprKind, PolicySet, Rule};
use lictor_dsl::number::Number;
use lictor_dsl::source::Span;

use crate::event::Event;
use crate::interpret::{self, expr::Scene};
use crate::memory::{Memories, store::Folded};
use crate::plan::{Plan, RulePlan};
use crate::truth::Truth;

/// What has been seen of all rules of a set, in their order.
#[derive(Debug, Clone, Default)]
pub struct Coverage {
    /// The policies that have rules.
    pub policies: Vec<PolicyCoverage>,
}

/// What has been seen of one policy.
#[derive(Debug, Clone)]
pub struct PolicyCoverage {
    /// Its name.
    pub policy: String,
    /// Its rules.
    pub rules: Vec<RuleCoverage>,
}

/// What has been seen of one rule.
#[derive(Debug, Clone)]
pub struct RuleCoverage {
    /// Its name within its policy.
    pub rule: String,
    /// Where its name stands.
    pub span: Span,
    /// Its whole condition. Only whether it was true and false counts.
    pub whole: Seen,
    /// The smallest parts of its condition under `and`, `or` and `not`.
    pub parts: Vec<PartCoverage>,
}

/// What has been seen of one part of a condition.
#[derive(Debug, Clone)]
pub struct PartCoverage {
    /// The part, as an author would write it.
    pub text: String,
    /// Where it stands: in a macro, if it comes from there.
    pub span: Span,
    /// What it has been.
    pub seen: Seen,
    expr: Expr,
}

/// Which truths were met, of those that can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    met: [bool; 3],
    possible: [bool; 3],
}

/// The truths in the order in which they are reported.
pub const TRUTHS: [Truth; 3] = [Truth::True, Truth::False, Truth::Unknown];

impl Seen {
    fn of(possible: [bool; 3]) -> Seen {
        Seen { met: [false; 3], possible }
    }

    fn meet(&mut self, truth: Truth) {
        self.met.iter_mut().zip(TRUTHS).filter(|(_, known)| *known == truth).for_each(|(met, _)| *met = true);
    }

    /// Whether this truth was met.
    pub fn met(self, truth: Truth) -> bool {
        self.met.into_iter().zip(TRUTHS).any(|(met, known)| met && known == truth)
    }

    /// The truths that can be and were never met.
    pub fn missing(self) -> impl Iterator<Item = Truth> {
        let all = self.met.into_iter().zip(self.possible).zip(TRUTHS);
        all.filter(|((met, possible), _)| *possible && !met).map(|(_, truth)| truth)
    }

    fn possible(self) -> usize {
        self.possible.into_iter().filter(|possible| *possible).count()
    }
}

impl RuleCoverage {
    /// Of the rule and its parts.
    fn all(&self) -> impl Iterator<Item = Seen> {
        std::iter::once(self.whole).chain(self.parts.iter().map(|part| part.seen))
    }

    /// Whether nothing is left to be seen.
    pub fn is_complete(&self) -> bool {
        self.all().all(|seen| seen.missing().next().is_none())
    }
}

impl PolicyCoverage {
    /// How much was met of what can be, and how much that is.
    pub fn met_of(&self) -> (usize, usize) {
        let all = || self.rules.iter().flat_map(RuleCoverage::all);
        let possible = all().map(Seen::possible).sum();
        (possible - all().map(|seen| seen.missing().count()).sum::<usize>(), possible)
    }

    /// The same in percent, rounded down: only what is complete has 100.
    pub fn percent(&self) -> usize {
        match self.met_of() {
            (_, 0) => 100,
            (met, possible) => met * 100 / possible,
        }
    }
}

impl Coverage {
    /// Of a set of which nothing has been seen yet.
    pub fn new(set: &PolicySet) -> Coverage {
        let policies = set.policies.iter().filter(|policy| !policy.rules.is_empty());
        let rule = |rule: &Arc<Rule>| {
            let mut parts = Vec::new();
            smallest(&rule.condition, &mut parts);
            // What has no condition always matches.
            let whole = Seen::of([true, !parts.is_empty(), false]);
            RuleCoverage { rule: rule.name.clone(), span: rule.span, whole, parts }
        };
        let policies = policies.map(|policy| PolicyCoverage {
            policy: policy.name.clone(),
            rules: policy.rules.iter().map(rule).collect(),
        });
        Coverage { policies: policies.collect() }
    }

    /// Takes in what all rules say of one event. `risk` is that of its decision.
    pub(crate) fn observe(&mut self, plan: &Plan, event: &Event, memories: &Memories, risk: Number) {
        let predicates: HashMap<&Expr, usize> =
            plan.predicates.iter().enumerate().map(|(number, predicate)| (&predicate.expr, number)).collect();
        let folded = Folded { plan, memories };
        let scene = Scene::after(event, &plan.values, &folded);
        scene.risk.set(risk);
        let planned: HashMap<&str, &RulePlan> =
            plan.rules.iter().map(|rule| (&*rule.name, rule.as_ref())).collect();
        let rules = self.policies.iter_mut().flat_map(|PolicyCoverage { policy, rules }| {
            rules.iter_mut().map(move |rule| (format!("{policy}.{}", rule.rule), rule))
        });
        for (name, rule) in rules {
            // Not all policies take part in every test.
            let Some(planned) = planned.get(name.as_str()) else { continue };
            if !planned.kinds.contains(&event.kind()) || !planned.in_force(event.at()) {
                continue;
            }
            rule.whole.meet(interpret::condition(plan, &scene, &planned.condition));
            for part in &mut rule.parts {
                part.seen.meet(match predicates.get(&part.expr) {
                    Some(number) => interpret::predicate(plan, &scene, *number).0,
                    None => truth(plan, &scene, &part.expr),
                });
            }
        }
    }
}

/// The truth of a part that the plan splits further.
fn truth(plan: &Plan, scene: &Scene<'_>, expr: &Expr) -> Truth {
    match interpret::shown(plan, scene, expr).as_deref() {
        Some("true") => Truth::True,
        Some("false") => Truth::False,
        _ => Truth::Unknown,
    }
}

/// The parts of a condition under `and`, `or` and `not`.
fn smallest(condition: &Expr, into: &mut Vec<PartCoverage>) {
    match &condition.kind {
        ExprKind::Const(_) => {}
        ExprKind::Not(inner) => smallest(inner, into),
        ExprKind::And(parts) | ExprKind::Or(parts) => parts.iter().for_each(|part| smallest(part, into)),
        _ => into.push(PartCoverage {
            text: condition.to_string(),
            span: condition.span,
            seen: Seen::of([true, true, lictor_dsl::can_be_unknown(condition)]),
            expr: condition.clone(),
        }),
    }
}
