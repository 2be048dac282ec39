//! The reference interpreter: it walks a rule's condition as it stands, without index, machine code or shortcuts.

pub(crate) mod blame;
pub(crate) mod expr;
mod recall;

use lictor_dsl::hir;
use lictor_dsl::types::Type;

use crate::plan::{Cond, Plan};
use crate::truth::Truth;
use expr::Scene;
pub(crate) use recall::KEY_STEPS;

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
