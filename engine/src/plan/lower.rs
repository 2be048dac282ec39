//! The checked form to the plan: conditions are split into predicates, and equal predicates become one.

use std::collections::HashMap;

use lictor_dsl::events::{EventKind, FieldId};
use lictor_dsl::hir::{self, Comparison, Const, Expr, ExprKind, HasTest};
use lictor_dsl::types::Type;
use sha2::{Digest, Sha256};

use super::memory::{Filters, Memories};
use super::node::{Lowering, Node, lower as lower_expr};
use super::{
    Cond, ExemptionPlan, IncidentPlan, KindPlan, Operand, Plan, PlanError, Predicate, RISK_SLOT, RulePlan,
    Shape, predicates_of,
};
use crate::index::Index;
use crate::limits::INLINE_TEXTS;
use crate::truth::Truth;

pub(super) fn plan(set: &hir::PolicySet) -> Result<Plan, PlanError> {
    let (params, places) = parameters(set);
    let values: Vec<Const> = params.iter().map(|(_, value)| value.clone()).collect();
    let param = |name: &str| places.get(name).copied().unwrap_or(usize::MAX);
    let memories = memories(set, &param, &values)?;
    let lowering = Lowering::new(&param, &values, &memories);
    let mut builder = Builder::new(set, params, &places, lowering);
    for (number, policy) in set.policies.iter().enumerate() {
        for rule in &policy.rules {
            builder.rule(number, policy, rule, set)?;
        }
    }
    let filters = builder.filters(&memories)?;
    let mut plan = builder.plan;
    plan.memories = memories.filtered(filters);
    finish(&mut plan, set);
    Ok(plan)
}

/// Every memory that some rule or exemption asks for.
fn memories(
    set: &hir::PolicySet,
    param: &dyn Fn(&str) -> usize,
    values: &[Const],
) -> Result<Memories, PlanError> {
    let none = Memories::default();
    let lowering = Lowering::new(param, values, &none);
    let mut memories = Memories::default();
    for policy in &set.policies {
        let rules = policy.rules.iter().map(|rule| {
            let in_incident =
                rule.incident.iter().flat_map(|incident| incident.per.iter().chain(&incident.title));
            let exprs = std::iter::once(&rule.condition).chain(&rule.because).chain(in_incident);
            (format!("{}.{}", policy.name, rule.name), exprs.collect::<Vec<_>>())
        });
        let exemptions =
            policy.exemptions.iter().map(|exemption| (exemption.rule.clone(), vec![&exemption.condition]));
        for (rule, exprs) in rules.chain(exemptions) {
            for expr in exprs {
                let mut failed = None;
                expr.any(&mut |expr| {
                    if let ExprKind::Memory(ask) = &expr.kind {
                        failed = memories.register(ask, &lowering).err();
                    }
                    failed.is_some()
                });
                if let Some(reason) = failed {
                    return Err(PlanError { rule, reason });
                }
            }
        }
    }
    Ok(memories)
}

/// What names a policy set: for each policy its name, mode, source and parameters, sorted by name.
fn digest(set: &hir::PolicySet) -> String {
    let mut lines: Vec<String> = set
        .policies
        .iter()
        .map(|policy| {
            let mode = if policy.shadow { "shadow" } else { "enforce" };
            let params: Vec<String> =
                policy.params.iter().map(|param| format!("{}={}", param.name, param.value)).collect();
            format!("{} {mode} {} {}\n", policy.name, policy.source_digest, params.join(" "))
        })
        .collect();
    lines.sort_unstable();
    let mut hash = Sha256::new();
    hash.update(format!("lictor policy set {}\n", crate::SEMANTICS));
    lines.iter().for_each(|line| hash.update(line));
    let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// The parameter block, and the place of each parameter in it.
fn parameters(set: &hir::PolicySet) -> (Vec<(String, Const)>, HashMap<String, usize>) {
    let params: Vec<(String, Const)> = set
        .policies
        .iter()
        .flat_map(|policy| {
            policy.params.iter().map(move |p| (format!("{}.{}", policy.name, p.name), p.value.clone()))
        })
        .collect();
    let places = params.iter().enumerate().map(|(place, (name, _))| (name.clone(), place)).collect();
    (params, places)
}

struct Builder<'p> {
    plan: Plan,
    /// Predicates by what they mean.
    known: HashMap<Expr, usize>,
    places: &'p HashMap<String, usize>,
    lowering: Lowering<'p>,
}

impl<'p> Builder<'p> {
    fn new(
        set: &hir::PolicySet,
        params: Vec<(String, Const)>,
        places: &'p HashMap<String, usize>,
        lowering: Lowering<'p>,
    ) -> Builder<'p> {
        let values = params.iter().map(|(_, value)| value.clone()).collect();
        let plan = Plan {
            memories: Memories::default(),
            digest: digest(set).into(),
            params,
            values,
            texts: HashMap::new(),
            bits: HashMap::new(),
            predicates: Vec::new(),
            rules: Vec::new(),
            kinds: EventKind::ALL.iter().map(|_| KindPlan::default()).collect(),
            schemas: super::schema::Schemas::new(set),
        };
        Builder { plan, known: HashMap::new(), places, lowering }
    }

    fn lower(&self, expr: &Expr) -> Result<Node, String> {
        lower_expr(expr, &self.lowering)
    }

    fn rule(
        &mut self,
        policy: usize,
        owner: &hir::Policy,
        rule: &hir::Rule,
        set: &hir::PolicySet,
    ) -> Result<(), PlanError> {
        let name = format!("{}.{}", owner.name, rule.name);
        let planned = self.rule_plan(policy, owner, rule, set, &name);
        self.plan.rules.push(planned.map_err(|reason| PlanError { rule: name, reason })?);
        Ok(())
    }

    fn rule_plan(
        &mut self,
        policy: usize,
        owner: &hir::Policy,
        rule: &hir::Rule,
        set: &hir::PolicySet,
        name: &str,
    ) -> Result<RulePlan, String> {
        let condition = self.condition(&rule.condition)?;
        let because = rule.because.as_ref().map(|because| self.lower(because)).transpose()?;
        let incident = match &rule.incident {
            None => None,
            Some(incident) => Some(IncidentPlan {
                severity: incident.severity,
                per: incident.per.iter().map(|expr| self.lower(expr)).collect::<Result<_, _>>()?,
                fold_s: incident.fold_s,
                title: incident.title.as_ref().map(|title| self.lower(title)).transpose()?,
            }),
        };
        let exemptions = set
            .policies
            .iter()
            // A policy in shadow decides nothing, so it loosens nothing either.
            .filter(|policy| !policy.shadow)
            .flat_map(|policy| &policy.exemptions)
            .filter(|exemption| exemption.rule == name);
        let exemptions = exemptions
            .map(|exemption| {
                Ok(ExemptionPlan {
                    condition: self.lower(&exemption.condition)?,
                    until_us: exemption.until_us,
                    because: self.lower(&exemption.because)?,
                })
            })
            .collect::<Result<_, String>>()?;
        let asked = self.asked(rule);
        let reads_risk = rule.condition.any(&mut |expr| matches!(expr.kind, ExprKind::Risk));
        let mut controls = rule.controls.clone();
        controls.extend(owner.controls.iter().filter(|control| !rule.controls.contains(control)).cloned());
        Ok(RulePlan {
            name: name.into(),
            policy,
            kinds: rule.kinds.clone(),
            condition,
            reads_risk,
            memories: asked,
            effect: rule.effect.clone(),
            score: rule.score,
            incident,
            obligations: rule.obligations.clone(),
            because,
            controls: controls.into(),
            from_us: rule.from_us,
            until_us: rule.until_us,
            shadow: rule.shadow || owner.shadow,
            exemptions,
        })
    }

    fn condition(&mut self, expr: &Expr) -> Result<Cond, String> {
        Ok(match &expr.kind {
            ExprKind::Const(Const::Bool(value)) => Cond::Const(*value),
            ExprKind::Not(inner) => Cond::Not(Box::new(self.condition(inner)?)),
            ExprKind::And(parts) => {
                Cond::And(parts.iter().map(|part| self.condition(part)).collect::<Result<_, _>>()?)
            }
            ExprKind::Or(parts) => {
                Cond::Or(parts.iter().map(|part| self.condition(part)).collect::<Result<_, _>>()?)
            }
            ExprKind::Compare(Comparison::NotEqual, left, right) => {
                let equal = ExprKind::Compare(Comparison::Equal, left.clone(), right.clone());
                Cond::Not(Box::new(self.predicate(&Expr { kind: equal, ..expr.clone() })?))
            }
            ExprKind::Between(x, low, high) if slot_of(x).is_some() => {
                let at_least = ExprKind::Compare(Comparison::GreaterOrEqual, x.clone(), low.clone());
                let at_most = ExprKind::Compare(Comparison::LessOrEqual, x.clone(), high.clone());
                let mut part = |kind| self.predicate(&Expr { kind, ..expr.clone() });
                Cond::And(vec![part(at_least)?, part(at_most)?])
            }
            _ => self.predicate(expr)?,
        })
    }

    fn predicate(&mut self, expr: &Expr) -> Result<Cond, String> {
        if let Some(known) = self.known.get(expr) {
            return Ok(Cond::Predicate(*known));
        }
        let number = self.plan.predicates.len();
        let predicate = Predicate {
            text: expr.to_string(),
            node: self.lower(expr)?,
            shape: self.shape(expr, Truth::Unknown),
            expr: expr.clone(),
        };
        self.plan.predicates.push(predicate);
        self.known.insert(expr.clone(), number);
        Ok(Cond::Predicate(number))
    }

    /// What machine code can do itself: compare a field with a constant.
    fn shape(&mut self, expr: &Expr, absent: Truth) -> Shape {
        match &expr.kind {
            ExprKind::Lenient { soft, test, .. } if soft.iter().all(|operand| slot_of(operand).is_some()) => {
                self.shape(test, Truth::False)
            }
            ExprKind::Field(field) if expr.ty == Type::Bool => {
                Shape::Bool { slot: usize::from(field.0), wanted: true, absent }
            }
            ExprKind::Present(inner) => match &inner.kind {
                ExprKind::Field(field) if inner.ty != Type::Json => {
                    Shape::Present { slot: usize::from(field.0) }
                }
                _ => Shape::Called,
            },
            ExprKind::In(x, xs) => match (slot_of(x), &xs.kind) {
                (Some(slot), ExprKind::Const(Const::List(values)))
                    if x.ty == Type::String && values.len() <= INLINE_TEXTS =>
                {
                    let mut texts: Vec<u32> = values.iter().filter_map(|value| self.text(value)).collect();
                    texts.sort_unstable();
                    texts.dedup();
                    Shape::Texts {
                        slot,
                        texts,
                        absent: if values.is_empty() { Truth::False } else { absent },
                    }
                }
                _ => Shape::Called,
            },
            ExprKind::Has(test, xs, x) => match (&xs.kind, &x.kind) {
                (ExprKind::Field(field), ExprKind::Const(wanted))
                    if xs.ty == Type::STRINGS && !field.def().optional =>
                {
                    self.mask(*field, *test, wanted).unwrap_or(Shape::Called)
                }
                _ => Shape::Called,
            },
            ExprKind::Compare(comparison, left, right) => match (slot_of(left), slot_of(right)) {
                (Some(slot), None) => self.comparison(slot, left.ty, *comparison, right, absent),
                (None, Some(slot)) => self.comparison(slot, right.ty, mirrored(*comparison), left, absent),
                _ => Shape::Called,
            },
            _ => Shape::Called,
        }
    }

    fn comparison(
        &mut self,
        slot: usize,
        ty: Type,
        comparison: Comparison,
        other: &Expr,
        absent: Truth,
    ) -> Shape {
        match (ty, &other.kind, comparison) {
            (Type::String, ExprKind::Const(value), Comparison::Equal) => {
                Shape::Texts { slot, texts: self.text(value).into_iter().collect(), absent }
            }
            (Type::Bool, ExprKind::Const(Const::Bool(wanted)), Comparison::Equal) => {
                Shape::Bool { slot, wanted: *wanted, absent }
            }
            (Type::Number, ExprKind::Const(Const::Number(number)), _) if comparison != Comparison::Same => {
                Shape::Number { slot, comparison, operand: Operand::Const(number.billionths()), absent }
            }
            (Type::Time, ExprKind::Const(Const::Time(micros)), _) if comparison != Comparison::Same => {
                Shape::Number { slot, comparison, operand: Operand::Const(i128::from(*micros)), absent }
            }
            (Type::Number, ExprKind::Param(name), _) if comparison != Comparison::Same => match self
                .places
                .get(name)
            {
                Some(place) => Shape::Number { slot, comparison, operand: Operand::Param(*place), absent },
                None => Shape::Called,
            },
            _ => Shape::Called,
        }
    }

    /// Gives each text that is asked of a list field a bit; none where the bits run out.
    fn mask(&mut self, field: FieldId, test: HasTest, wanted: &Const) -> Option<Shape> {
        let wanted = match (test, wanted) {
            (HasTest::One, one) => std::slice::from_ref(one),
            (_, Const::List(wanted)) => wanted,
            _ => return None,
        };
        let bits = self.plan.bits.entry(field).or_default();
        let mut mask = 0i128;
        for text in wanted {
            let Const::Text(text) = text else { return None };
            let next = u32::try_from(bits.len()).ok()?;
            let bit = bits.get(text).copied().or_else(|| (next < i128::BITS).then_some(next))?;
            bits.entry(text.clone()).or_insert(bit);
            mask |= 1 << bit;
        }
        Some(Shape::Mask { slot: usize::from(field.0), mask, all: test == HasTest::All })
    }

    fn text(&mut self, value: &Const) -> Option<u32> {
        let Const::Text(text) = value else { return None };
        let next = u32::try_from(self.plan.texts.len() + 1).ok()?;
        Some(*self.plan.texts.entry(text.clone()).or_insert(next))
    }

    /// The memories that a rule's condition asks.
    fn asked(&self, rule: &hir::Rule) -> Vec<usize> {
        let mut asked = Vec::new();
        rule.condition.any(&mut |expr| {
            if let ExprKind::Memory(ask) = &expr.kind {
                asked.extend(self.lowering.number(ask));
            }
            false
        });
        asked.sort_unstable();
        asked.dedup();
        asked
    }

    /// The conditions of the parts of all memories, which share predicates with rules.
    fn filters(&mut self, memories: &Memories) -> Result<Filters, PlanError> {
        let mut filters = Filters::new();
        for (number, memory) in memories.filters() {
            let conditions = memory.all_parts().map(|part| match &part.filter {
                Some(filter) => self.condition(filter),
                None => Ok(Cond::Const(true)),
            });
            let conditions = conditions.collect::<Result<Vec<_>, String>>();
            let named = |reason| PlanError { rule: "a memory".to_owned(), reason };
            filters.insert(number, conditions.map_err(named)?);
        }
        Ok(filters)
    }
}

/// Defaults, indexes and slots of every kind of event.
fn finish(plan: &mut Plan, set: &hir::PolicySet) {
    for kind in EventKind::ALL {
        let defaults: Vec<&hir::Effect> = set
            .policies
            .iter()
            .filter(|policy| !policy.shadow)
            .flat_map(|policy| &policy.defaults)
            .filter(|default| default.kinds.contains(&kind))
            .map(|default| &default.effect)
            .collect();
        let strongest = defaults.iter().map(|effect| crate::combine::outcome(effect)).max();
        let carries = |effect: &&hir::Effect| Some(crate::combine::outcome(effect)) == strongest;
        let defaults = defaults.into_iter().filter(carries).cloned().collect();
        let judging: Vec<(usize, &Cond)> = plan
            .rules
            .iter()
            .enumerate()
            .filter(|(_, rule)| rule.kinds.contains(&kind))
            .map(|(number, rule)| (number, &rule.condition))
            .collect();
        let concerned: Vec<(usize, Cond)> = (plan.memories.all.iter().enumerate())
            .filter_map(|(number, memory)| Some((number, memory.concerns(kind)?)))
            .collect();
        let remembering: Vec<(usize, &Cond)> =
            concerned.iter().map(|(number, condition)| (*number, condition)).collect();
        let index = Index::new(plan, &judging);
        let memories = Index::new(plan, &remembering);
        let slots = slots(plan, judging.iter().chain(&remembering).map(|(_, condition)| *condition));
        let rules = judging.into_iter().map(|(number, _)| number).collect();
        if let Some(place) = plan.kinds.get_mut(kind as usize) {
            *place = KindPlan { rules, slots, defaults, index, memories };
        }
    }
}

/// The fields whose slots these conditions read.
fn slots<'c>(plan: &Plan, conditions: impl Iterator<Item = &'c Cond>) -> Vec<FieldId> {
    let mut used = Vec::new();
    conditions.for_each(|condition| predicates_of(condition, &mut used));
    let mut slots: Vec<FieldId> = used
        .into_iter()
        .filter_map(|number| match plan.predicate(number)?.shape {
            Shape::Texts { slot, .. }
            | Shape::Number { slot, .. }
            | Shape::Bool { slot, .. }
            | Shape::Mask { slot, .. }
            | Shape::Present { slot } => {
                (slot != RISK_SLOT).then(|| u16::try_from(slot).ok().map(FieldId)).flatten()
            }
            Shape::Called => None,
        })
        .collect();
    slots.sort_unstable();
    slots.dedup();
    slots
}

/// The slot that holds this expression, if it is a field or the risk.
fn slot_of(expr: &Expr) -> Option<usize> {
    match &expr.kind {
        ExprKind::Field(field)
            if matches!(expr.ty, Type::Bool | Type::Number | Type::String | Type::Time) =>
        {
            Some(usize::from(field.0))
        }
        ExprKind::Risk => Some(RISK_SLOT),
        _ => None,
    }
}

fn mirrored(comparison: Comparison) -> Comparison {
    match comparison {
        Comparison::Less => Comparison::Greater,
        Comparison::LessOrEqual => Comparison::GreaterOrEqual,
        Comparison::Greater => Comparison::Less,
        Comparison::GreaterOrEqual => Comparison::LessOrEqual,
        same => same,
    }
}
