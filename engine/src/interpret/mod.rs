//! The reference interpreter: it walks a rule's condition as it stands, without index, machine code or shortcuts.

pub(crate) mod expr;
mod recall;

use lictor_dsl::hir::{self, ExprKind};
use lictor_dsl::types::Type;

use crate::plan::{Cond, Plan};
use crate::truth::Truth;
use expr::Scene;

/// The truth of a condition.
pub(crate) fn condition<'e>(plan: &'e Plan, scene: &Scene<'e>, cond: &Cond) -> Truth {
    match cond {
        Cond::Const(value) => (*value).into(),
        Cond::Predicate(number) => predicate(plan, scene, *number).0,
        Cond::Not(inner) => condition(plan, scene, inner).not(),
        Cond::And(parts) => parts.iter().fold(Truth::True, |all, part| all.and(condition(plan, scene, part))),
        Cond::Or(parts) => parts.iter().fold(Truth::False, |any, part| any.or(condition(plan, scene, part))),
    }
}

/// The truth of a predicate, and whether it took too many steps.
pub(crate) fn predicate<'e>(plan: &'e Plan, scene: &Scene<'e>, number: usize) -> (Truth, bool) {
    plan.predicate(number).map_or((Truth::Unknown, false), |predicate| scene.predicate(&predicate.node))
}

/// Why a condition is unknown.
#[derive(Debug, Default)]
pub(crate) struct Blame {
    /// The distinct unknown parts, sorted.
    pub missing: Vec<String>,
    /// A part took too many steps.
    pub overrun: bool,
}

/// Finds what made an unknown condition unknown.
pub(crate) fn blame<'e>(plan: &'e Plan, scene: &Scene<'e>, cond: &Cond) -> Blame {
    let mut blame = Blame::default();
    blame_condition(plan, scene, cond, &mut blame);
    blame.missing.sort_unstable();
    blame.missing.dedup();
    blame
}

fn blame_condition<'e>(plan: &'e Plan, scene: &Scene<'e>, cond: &Cond, blame: &mut Blame) {
    match cond {
        Cond::Const(_) => {}
        Cond::Predicate(number) => {
            let (truth, overrun) = predicate(plan, scene, *number);
            blame.overrun |= overrun;
            if let (Truth::Unknown, Some(predicate)) = (truth, plan.predicate(*number)) {
                blame_expr(plan, scene, &predicate.expr, blame);
            }
        }
        Cond::Not(inner) => blame_condition(plan, scene, inner, blame),
        Cond::And(parts) | Cond::Or(parts) => {
            for part in parts.iter().filter(|part| condition(plan, scene, part) == Truth::Unknown) {
                blame_condition(plan, scene, part, blame);
            }
        }
    }
}

/// Walks an unknown expression down to the smallest unknown parts.
fn blame_expr(plan: &Plan, scene: &Scene<'_>, expr: &hir::Expr, blame: &mut Blame) {
    match &expr.kind {
        ExprKind::Field(_) | ExprKind::Member(..) | ExprKind::Item(..) => {
            blame.missing.push(expr.to_string())
        }
        ExprKind::Otherwise(_, default) => blame_expr(plan, scene, default, blame),
        // The body speaks of one element at a time, so the list is as near as it gets.
        ExprKind::Quantified(_, _, list, _) if is_unknown(plan, scene, list) => {
            blame_expr(plan, scene, list, blame)
        }
        ExprKind::Quantified(..) => blame.missing.push(expr.to_string()),
        _ => {
            let unknown: Vec<&hir::Expr> =
                expr.children().into_iter().filter(|child| is_unknown(plan, scene, child)).collect();
            if unknown.is_empty() {
                blame.missing.push(expr.to_string());
            }
            unknown.into_iter().for_each(|child| blame_expr(plan, scene, child, blame));
        }
    }
}

fn is_unknown(plan: &Plan, scene: &Scene<'_>, expr: &hir::Expr) -> bool {
    !matches!(expr.kind, ExprKind::Const(_) | ExprKind::Param(_) | ExprKind::Risk)
        && shown(plan, scene, expr).is_none()
}

/// The value of any expression of a rule, as text; none if it is unknown.
pub(crate) fn shown(plan: &Plan, scene: &Scene<'_>, expr: &hir::Expr) -> Option<String> {
    let node = plan.lower(expr).ok()?;
    // A scene of its own: this expression does not live as long as the plan's.
    let here = Scene::after(scene.event, scene.params, scene.memory());
    here.risk.set(scene.risk.get());
    if expr.ty == Type::Bool {
        let (truth, _) = here.predicate(&node);
        return (truth != Truth::Unknown).then(|| truth.name().to_owned());
    }
    here.evaluate(&node).map(|value| value.to_string())
}
