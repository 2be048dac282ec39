//! One rule by itself: it never matches, always does, or says more than it needs to.

use super::diagram::{FALSE, Node, Operation, TRUE, UNKNOWN};
use super::formula::{Atoms, Formula};
use super::question::Question;
use super::{Judged, Macros, Matches, place};
use crate::diagnostics::{Diagnostic, lints};
use crate::hir::{Effect, Expr, ExprKind};

/// Longer chains of `and` or `or` are not searched for superfluous parts.
const PARTS_LIMIT: usize = 24;

/// Reports what is wrong with a rule, and notes what it matches.
pub(super) fn check(atoms: &mut Atoms, macros: &Macros, rule: &mut Judged, out: &mut Vec<Diagnostic>) {
    let name = &rule.rule.name;
    let Some(mut question) = Question::new(atoms, &[&rule.formula]) else { return };
    let Some(whole) = question.node(&rule.formula) else { return };
    let restricts = rule.rule.effect.as_ref().is_some_and(Effect::restricts);
    let unconditional = rule.rule.condition.span == rule.rule.span && rule.formula == Formula::Const(true);
    if !question.can_be(whole, |truth| truth == TRUE) {
        let parts = conflict(&mut question, &rule.rule.condition, &rule.formula);
        let certain = !restricts || !question.can_be(whole, |truth| truth == UNKNOWN);
        rule.matches = if certain { Matches::Nothing } else { Matches::Something };
        let lint = if certain { lints::never } else { lints::never_true };
        out.push(lint(place(rule.rule), name, &parts));
        return;
    }
    if !question.can_be(whole, |truth| !rule.applies(truth)) {
        rule.matches = Matches::Everything;
        if !unconditional {
            let kinds = kinds(rule);
            out.push(lints::always_true(place(rule.rule), name, &kinds));
        }
        return;
    }
    redundant(&mut question, macros, &rule.rule.condition, &rule.formula, out);
    if restricts && let Some(read) = narrowed_by_optional_only(atoms, rule) {
        out.push(lints::optional_discriminator(rule.rule.span, name, &kinds(rule), &read));
    }
}

fn kinds(rule: &Judged) -> String {
    rule.rule.kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ")
}

/// The parts of an `and` that can't all be true: as few as will do.
fn conflict(question: &mut Question, condition: &Expr, formula: &Formula) -> Vec<String> {
    let (ExprKind::And(exprs), Formula::And(formulas)) = (&condition.kind, formula) else {
        return Vec::new();
    };
    if exprs.len() > PARTS_LIMIT {
        return Vec::new();
    }
    let nodes: Option<Vec<Node>> = formulas.iter().map(|part| question.node(part)).collect();
    let Some(nodes) = nodes else { return Vec::new() };
    let mut kept: Vec<usize> = (0..nodes.len()).collect();
    for place in 0..nodes.len() {
        let without: Vec<usize> = kept.iter().copied().filter(|other| *other != place).collect();
        let others = without.iter().filter_map(|other| nodes.get(*other).copied());
        let Some(rest) = joined(question, Operation::And, others) else { return Vec::new() };
        if !question.can_be(rest, |truth| truth == TRUE) {
            kept = without;
        }
    }
    kept.iter().filter_map(|place| exprs.get(*place).map(shown)).collect()
}

fn joined(question: &mut Question, operation: Operation, parts: impl Iterator<Item = Node>) -> Option<Node> {
    let start = if operation == Operation::And { TRUE } else { FALSE };
    parts.into_iter().try_fold(start, |whole, part| question.join(operation, whole, part))
}

/// The diagram of a condition. Reports parts of an `and` or `or` without which it means the same; what a macro holds
/// may matter elsewhere.
fn redundant(
    question: &mut Question,
    macros: &Macros,
    expr: &Expr,
    formula: &Formula,
    out: &mut Vec<Diagnostic>,
) -> Option<Node> {
    let (exprs, formulas, operation) = match (&expr.kind, formula) {
        (ExprKind::Not(inner), Formula::Not(of_inner)) => {
            let inner = redundant(question, macros, inner, of_inner, out)?;
            return question.join(Operation::Not, inner, inner);
        }
        (ExprKind::And(exprs), Formula::And(formulas)) => (exprs, formulas, Operation::And),
        (ExprKind::Or(exprs), Formula::Or(formulas)) => (exprs, formulas, Operation::Or),
        _ => return question.node(formula),
    };
    if macros.hold(expr) || exprs.len() > PARTS_LIMIT {
        return question.node(formula);
    }
    let (mut nodes, mut inside) = (Vec::new(), Vec::new());
    for (part, of_part) in exprs.iter().zip(formulas) {
        let mut found = Vec::new();
        nodes.push(redundant(question, macros, part, of_part, &mut found)?);
        inside.push(found);
    }
    let whole = joined(question, operation, nodes.iter().copied())?;
    let mut kept: Vec<usize> = (0..nodes.len()).collect();
    for ((place, part), found) in exprs.iter().enumerate().zip(inside).rev() {
        let others: Vec<usize> = kept.iter().copied().filter(|other| *other != place).collect();
        let rest = joined(question, operation, others.iter().filter_map(|other| nodes.get(*other).copied()))?;
        if rest == whole && !macros.hold(part) && !others.is_empty() {
            kept = others;
            out.push(lints::redundant(part.span, &shown(part), operation == Operation::And));
        } else {
            out.extend(found);
        }
    }
    Some(whole)
}

/// A part as its author wrote it: `unless x` is a part `not x` that stands where `x` does.
fn shown(part: &Expr) -> String {
    match &part.kind {
        ExprKind::Not(inner) if inner.span == part.span => format!("unless {inner}"),
        _ => part.to_string(),
    }
}

/// What a restriction reads of optional things, if it applies to every event without them.
fn narrowed_by_optional_only(atoms: &Atoms, rule: &Judged) -> Option<Vec<String>> {
    let read = atoms.optional_discriminators(&rule.formula)?;
    let mut question = Question::where_absent(atoms, &[&rule.formula])?;
    let node = question.node(&rule.formula)?;
    let everywhere = !question.can_be(node, |truth| truth == FALSE);
    everywhere.then(|| read.into_iter().map(Expr::to_string).collect())
}
