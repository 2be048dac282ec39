//! What is wrong with a policy set that has no errors: rules that never match, hide or contradict each other, memories
//! that stay empty.
//!
//! All of it rests on one procedure: conditions become formulas over atoms (`formula`), the values of what they ask
//! about are divided into regions (`regions`), and a question about a few formulas is answered for every combination
//! of regions (`question`, `diagram`).
//!
//! INVARIANT: nothing is accused wrongly. Combinations that no event shows may be counted in, never left out; what
//! takes too long is passed over in silence.

mod controls;
mod diagram;
mod exemptions;
mod formula;
mod memories;
pub(crate) mod names;
mod pairs;
mod profile;
mod question;
mod regions;
mod rules;
mod subject;
mod text_test;

use std::collections::HashSet;
use std::sync::Arc;

use self::diagram::{FALSE, Node, TRUE};
use self::formula::{Atoms, Formula};
use crate::ast::{self, ItemKind};
use crate::diagnostics::{Diagnostic, Severity};
use crate::hir::{Effect, Expr, Policy, PolicySet, Rule};
use crate::source::{Lines, Span};

/// A rule with what is known of it.
struct Judged<'s> {
    policy: &'s Policy,
    rule: &'s Rule,
    formula: Formula,
    /// It matches nothing, or everything, or it is not known.
    matches: Matches,
    /// There is an exemption from it.
    exempted: bool,
}

/// What a rule matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Matches {
    Nothing,
    Something,
    Everything,
}

impl Judged<'_> {
    fn enforces(&self) -> bool {
        !self.rule.shadow && !self.policy.shadow
    }

    /// Whether the rule applies where its condition has this truth.
    fn applies(&self, truth: Node) -> bool {
        truth == TRUE || truth != FALSE && self.rule.effect.as_ref().is_some_and(Effect::restricts)
    }

    fn full_name(&self) -> String {
        format!("{}.{}", self.policy.name, self.rule.name)
    }
}

/// Reports what is wrong with a set that has no errors.
pub(crate) fn lint(files: &[Arc<ast::File>], set: &PolicySet, lines: &[Lines], out: &mut Vec<Diagnostic>) {
    if out.iter().any(|diagnostic| diagnostic.severity == Severity::Error) {
        return;
    }
    controls::check(files, out);
    let mut atoms = Atoms::new(set);
    let macros = Macros::of(files);
    let exemptions = set.policies.iter().flat_map(|policy| &policy.exemptions);
    let exempted: HashSet<&str> = exemptions.map(|exemption| exemption.rule.as_str()).collect();
    let mut judged: Vec<Judged> = Vec::new();
    for policy in &set.policies {
        for rule in &policy.rules {
            let formula = atoms.formula(&rule.condition);
            let exempted = exempted.contains(format!("{}.{}", policy.name, rule.name).as_str());
            judged.push(Judged { policy, rule, formula, matches: Matches::Something, exempted });
        }
    }
    for rule in &mut judged {
        rules::check(&mut atoms, &macros, rule, out);
    }
    pairs::check(&atoms, &judged, lines, out);
    exemptions::check(&mut atoms, set, &judged, out);
    memories::check(&mut atoms, set, &judged, out);
}

/// Where macros stand: what they hold is meant for more than one place.
struct Macros(Vec<Span>);

impl Macros {
    fn of(files: &[Arc<ast::File>]) -> Macros {
        let items = files.iter().flat_map(|file| &file.items);
        let spans = items.filter(|item| matches!(item.kind, ItemKind::Def(_))).map(|item| item.span);
        let mut spans: Vec<Span> = spans.collect();
        spans.sort_unstable_by_key(|span| (span.source, span.start));
        Macros(spans)
    }

    /// Whether an expression stands in a macro.
    fn hold(&self, expr: &Expr) -> bool {
        let place = (expr.span.source, expr.span.start);
        let after = self.0.partition_point(|span| (span.source, span.start) <= place);
        let before = after.checked_sub(1).and_then(|at| self.0.get(at));
        before.is_some_and(|span| span.source == expr.span.source && expr.span.start < span.end)
    }
}

/// Where a condition is pointed at: at itself, or at its rule's name where it is put together from several clauses.
fn place(rule: &Rule) -> Span {
    rule.condition.span
}
