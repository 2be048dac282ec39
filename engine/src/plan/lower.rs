//! The checked form to the plan: conditions are split into predicates, and equal predicates become one.

use std::collections::{BTreeMap, HashMap};
use std::sync::OnceLock;

use lictor_dsl::events::{EventKind, FIELD_COUNT, FieldId};
use lictor_dsl::hir::{self, Comparison, Const, Expr, ExprKind};
use sha2::{Digest, Sha256};

use super::memory::{Filters, Memories, MemoryPlan, Window};
use super::node::{Lowering, Node, PatternLists, lower as lower_expr};
use super::shape::slots_of;
use super::{
    Cond, ExemptionPlan, IncidentPlan, KindPlan, Plan, PlanError, Predicate, RulePlan, SLOTS, Texts,
};
use crate::index::Index;
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
    let Builder { mut plan, lowering, .. } = builder;
    plan.ranks = ranks(&plan.rules);
    plan.patterns = lowering.into_patterns();
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

pub(super) struct Builder<'p> {
    pub(super) plan: Plan,
    /// Predicates by what they mean.
    known: HashMap<Expr, usize, foldhash::fast::RandomState>,
    /// Slots of values inside json, by what these are.
    pub(super) taken: HashMap<Expr, usize>,
    /// Questions by memory, list of keys and window.
    pub(super) questions: HashMap<(usize, usize, Window), usize>,
    pub(super) places: &'p HashMap<String, usize>,
    pub(super) lowering: Lowering<'p>,
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
            patterns: PatternLists::default(),
            digest: digest(set).into(),
            params,
            values,
            texts: Texts::default(),
            bits: BTreeMap::new(),
            taken: Vec::new(),
            predicates: Vec::new(),
            questions: Vec::new(),
            rules: Vec::new(),
            ranks: Vec::new(),
            kinds: EventKind::ALL.iter().map(|_| KindPlan::default()).collect(),
            schemas: super::schema::Schemas::new(set),
        };
        let known = HashMap::default();
        Builder { plan, known, taken: HashMap::new(), questions: HashMap::new(), places, lowering }
    }

    pub(super) fn lower(&self, expr: &Expr) -> Result<Node, String> {
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
        let taken = slots_of(&self.plan, [&condition]).into_iter().filter(|slot| *slot >= SLOTS).collect();
        let reads_risk = rule.condition.any(&mut |expr| matches!(expr.kind, ExprKind::Risk));
        let mut controls = rule.controls.clone();
        controls.extend(owner.controls.iter().filter(|control| !rule.controls.contains(control)).cloned());
        Ok(RulePlan {
            name: name.into(),
            policy,
            kinds: rule.kinds.clone(),
            condition,
            reads_risk,
            taken,
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
            ExprKind::Between(x, low, high) if self.slot(x).is_some() => {
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
            node: self.lower(expr)?,
            shape: self.shape(expr, Truth::Unknown),
            sought: self.sought(expr),
            expr: expr.clone(),
            suspect: OnceLock::new(),
        };
        self.plan.predicates.push(predicate);
        self.known.insert(expr.clone(), number);
        Ok(Cond::Predicate(number))
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

fn ranks(rules: &[RulePlan]) -> Vec<u32> {
    let mut order: Vec<(usize, &RulePlan)> = rules.iter().enumerate().collect();
    let outcome = |rule: &RulePlan| rule.effect.as_ref().map(crate::combine::outcome);
    order.sort_by(|(_, a), (_, b)| outcome(b).cmp(&outcome(a)).then_with(|| a.name.cmp(&b.name)));
    let mut ranks = vec![0; rules.len()];
    for (rank, (rule, _)) in (0..).zip(order) {
        if let Some(place) = ranks.get_mut(rule) {
            *place = rank;
        }
    }
    ranks
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
        let rule = |number: &usize| plan.rules.get(*number);
        let reads_risk = judging.iter().any(|(number, _)| rule(number).is_some_and(|rule| rule.reads_risk));
        let allows =
            |number: &usize| rule(number).is_some_and(|rule| rule.effect == Some(hir::Effect::Allow));
        let allowing: Vec<(usize, &Cond)> =
            judging.iter().filter(|(number, _)| allows(number)).copied().collect();
        let permits = Index::by_texts(plan, &allowing);
        // Some memories take in every event of a kind, and evaluate what they ask of it all the same.
        let filters = plan.memories.all.iter().flat_map(MemoryPlan::all_parts);
        let filters = filters.filter(|part| part.kinds.contains(&kind)).map(|part| &part.filter);
        let slots = slots_of(plan, judging.iter().map(|(_, condition)| *condition).chain(filters));
        let slots = slots.into_iter().filter(|slot| *slot < FIELD_COUNT);
        let slots = slots.filter_map(|slot| u16::try_from(slot).ok().map(FieldId)).collect();
        let rules = judging.into_iter().map(|(number, _)| number).collect();
        if let Some(place) = plan.kinds.get_mut(kind as usize) {
            *place = KindPlan { rules, slots, defaults, index, reads_risk, permits, memories };
        }
    }
}
