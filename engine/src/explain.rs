//! How a decision came about: each rule considered, each part of its condition with the values and the truth it had.

use lictor_dsl::hir::{self, ExprKind};
use serde::Serialize;

use crate::combine;
use crate::decision::{Decision, Outcome};
use crate::event::Event;
use crate::generation::{Engine, Generation};
use crate::interpret::{self, expr::Scene};
use crate::memory::{Memories, store::Folded};
use crate::plan::{Plan, RulePlan, predicates_of};
use crate::truth::Truth;

/// A decision and everything that went into it.
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    /// The decision.
    pub decision: Decision,
    /// Every rule that judges this kind of event, in the order of the policies.
    pub rules: Vec<RuleExplanation>,
}

/// What one rule said.
#[derive(Debug, Clone, Serialize)]
pub struct RuleExplanation {
    /// `policy.rule`.
    pub rule: std::sync::Arc<str>,
    /// One of the four effects, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<Outcome>,
    /// `false`, `unknown` or `true`.
    pub truth: &'static str,
    /// Whether it applied: certainly true, or a restriction that could not be ruled out.
    pub applies: bool,
    /// Whether its dates exclude the event's time.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub out_of_force: bool,
    /// Its condition.
    pub condition: String,
    /// The parts of its condition.
    pub parts: Vec<PartExplanation>,
}

/// What one part of a condition said.
#[derive(Debug, Clone, Serialize)]
pub struct PartExplanation {
    /// The part, as an author would write it.
    pub text: String,
    /// `false`, `unknown` or `true`.
    pub truth: &'static str,
    /// The values that it read; none stands for unknown.
    pub values: Vec<(String, Option<String>)>,
    /// The memories that it asked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub memories: Vec<MemoryExplanation>,
}

/// What a memory answered.
#[derive(Debug, Clone, Serialize)]
pub struct MemoryExplanation {
    /// The memory, as an author would write it.
    pub memory: String,
    /// The values of its keys.
    pub keys: Vec<String>,
    /// What it answered; none if that is unknown.
    pub value: Option<String>,
    /// The numbers of the events that the answer rests on: the latest hundred.
    pub events: Vec<u64>,
}

impl Generation {
    /// Judges an event with the interpreter, and says how.
    pub fn explain(&self, event: &Event, memories: &Memories) -> Explanation {
        let decision = self.judge_with(event, memories, Engine::Interpreter);
        let plan = self.plan();
        let folded = Folded { plan, memories };
        let scene = Scene::after(event, &plan.values, &folded);
        scene.risk.set(decision.risk);
        let rules = plan.kind(event.kind()).rules.iter().filter_map(|number| plan.rules.get(*number));
        Explanation { decision, rules: rules.map(|rule| self::rule(plan, &scene, rule)).collect() }
    }
}

fn rule<'e>(plan: &'e Plan, scene: &Scene<'e>, rule: &'e RulePlan) -> RuleExplanation {
    let truth = interpret::condition(plan, scene, &rule.condition);
    let in_force = rule.in_force(scene.event.at());
    let mut used = Vec::new();
    predicates_of(&rule.condition, &mut used);
    let parts = used.into_iter().filter_map(|number| {
        let predicate = plan.predicate(number)?;
        let (truth, _) = interpret::predicate(plan, scene, number);
        let mut values = Vec::new();
        leaves(plan, scene, &predicate.expr, &mut values);
        let memories = scene.recollections(&predicate.node).into_iter().filter_map(|asked| {
            let memory = plan.memories.all.get(asked.memory)?.text.clone();
            Some(MemoryExplanation { memory, keys: asked.keys, value: asked.value, events: asked.events })
        });
        let memories = memories.collect();
        Some(PartExplanation { text: predicate.expr.to_string(), truth: truth.name(), values, memories })
    });
    RuleExplanation {
        rule: rule.name.clone(),
        effect: rule.effect.as_ref().map(|effect| match effect {
            hir::Effect::Allow => Outcome::Allow,
            hir::Effect::Warn => Outcome::Warn,
            hir::Effect::RequireApproval { .. } => Outcome::RequireApproval,
            hir::Effect::Deny => Outcome::Deny,
        }),
        truth: truth.name(),
        applies: in_force && truth != Truth::False && combine::applies(rule.effect.as_ref(), truth),
        out_of_force: !in_force,
        condition: plan.show(&rule.condition),
        parts: parts.collect(),
    }
}

/// The values that an expression reads from the event, the parameters and the risk.
fn leaves(plan: &Plan, scene: &Scene<'_>, expr: &hir::Expr, values: &mut Vec<(String, Option<String>)>) {
    match &expr.kind {
        ExprKind::Const(_) | ExprKind::Var(_) => {}
        ExprKind::Field(_)
        | ExprKind::Param(_)
        | ExprKind::Risk
        | ExprKind::Memory(_)
        | ExprKind::Member(..)
        | ExprKind::Item(..) => {
            // What belongs to one element of a quantifier has no value of its own.
            let of_element = expr.any(&mut |part| matches!(part.kind, ExprKind::Var(_)));
            let text = expr.to_string();
            if !of_element && !values.iter().any(|(known, _)| *known == text) {
                values.push((text, interpret::shown(plan, scene, expr)));
            }
        }
        ExprKind::Quantified(_, _, list, body) => {
            leaves(plan, scene, list, values);
            leaves(plan, scene, body, values);
        }
        _ => expr.children().into_iter().for_each(|child| leaves(plan, scene, child, values)),
    }
}
