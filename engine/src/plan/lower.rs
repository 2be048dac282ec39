//! The checked form to the plan: conditions are split into predicates, and equal predicates become one.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};

use lictor_dsl::events::{EventKind, FIELD_COUNT, FieldId};
use lictor_dsl::hir::{self, Comparison, Const, Expr, ExprKind};
use sha2::{Digest, Sha256};

use super::memory::{Filters, Memories, MemoryPlan, Window};
use super::node::{Lowering, Node, PatternLists, lower as lower_expr};
use super::shape::slots_of;
use super::{Cond, ExemptionPlan, IncidentPlan, KindPlan, Plan, PlanError, Predicate, RulePlan, SLOTS};
use crate::decision::Outcome;
use crate::index::{Index, Need, needs};
use crate::truth::Truth;

/// Plans a set anew. The tables are what a later set can be planned with.
pub(super) fn plan(set: &hir::PolicySet) -> Result<(Plan, Tables), PlanError> {
    let (params, places) = parameters(set);
    let values: Vec<Const> = params.iter().map(|(_, value)| value.clone()).collect();
    let param = |name: &str| places.get(name).copied().unwrap_or(usize::MAX);
    let memories = memories(set, &param, &values)?;
    let lowering = Lowering::new(&param, &values, &memories);
    let mut builder =
        Builder { plan: empty(set, params), tables: Tables::default(), places: &places, lowering };
    let exemptions = exemptions(set);
    for policy in &set.policies {
        for rule in &policy.rules {
            let planned = builder.rule(policy, rule, &exemptions)?;
            builder.plan.rules.push(Arc::new(planned));
        }
    }
    let filters = builder.filters(&memories)?;
    let Builder { mut plan, tables, lowering, .. } = builder;
    plan.ranks = ranks(&plan.rules);
    plan.patterns = lowering.into_patterns();
    plan.memories = Arc::new(memories.filtered(filters));
    finish(&mut plan, set);
    Ok((plan, tables))
}

/// What is equal becomes one: by this it is found.
#[derive(Debug, Default)]
pub(super) struct Tables {
    /// Predicates by what they mean.
    known: HashMap<Meaning, usize, foldhash::fast::RandomState>,
    /// Slots of values inside json, by what these are.
    pub(super) taken: HashMap<Expr, usize>,
    /// Questions by memory, list of keys and window.
    pub(super) questions: HashMap<(usize, usize, Window), usize>,
}

/// A predicate, equal to another that means the same.
#[derive(Debug)]
struct Meaning(Arc<Predicate>);

impl Borrow<Expr> for Meaning {
    fn borrow(&self) -> &Expr {
        &self.0.expr
    }
}

impl PartialEq for Meaning {
    fn eq(&self, other: &Meaning) -> bool {
        self.0.expr == other.0.expr
    }
}

impl Eq for Meaning {}

impl Hash for Meaning {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.expr.hash(state);
    }
}

/// The exemptions that count, by the full name of their rule.
pub(super) type Exemptions<'s> = HashMap<&'s str, Vec<&'s hir::Exemption>>;

pub(super) fn exemptions(set: &hir::PolicySet) -> Exemptions<'_> {
    let mut exemptions = Exemptions::new();
    // A policy in shadow decides nothing, so it loosens nothing either.
    let enforced = set.policies.iter().filter(|policy| !policy.shadow);
    for exemption in enforced.flat_map(|policy| &policy.exemptions) {
        exemptions.entry(&exemption.rule).or_default().push(exemption);
    }
    exemptions
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
        let rules = policy
            .rules
            .iter()
            .map(|rule| (format!("{}.{}", policy.name, rule.name), exprs(rule).collect::<Vec<_>>()));
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

/// The expressions of a rule.
pub(super) fn exprs(rule: &hir::Rule) -> impl Iterator<Item = &Expr> {
    let in_incident = rule.incident.iter().flat_map(|incident| incident.per.iter().chain(&incident.title));
    std::iter::once(&rule.condition).chain(&rule.because).chain(in_incident)
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
pub(super) fn parameters(set: &hir::PolicySet) -> (Vec<(String, Const)>, HashMap<String, usize>) {
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
    pub(super) tables: Tables,
    pub(super) places: &'p HashMap<String, usize>,
    pub(super) lowering: Lowering<'p>,
}

/// The plan of a set without its rules.
pub(super) fn empty(set: &hir::PolicySet, params: Vec<(String, Const)>) -> Plan {
    Plan {
        memories: Arc::default(),
        patterns: PatternLists::default(),
        digest: digest(set).into(),
        values: params.iter().map(|(_, value)| value.clone()).collect(),
        params,
        texts: Arc::default(),
        bits: BTreeMap::new(),
        taken: Vec::new(),
        predicates: Vec::new(),
        questions: Vec::new(),
        rules: Vec::new(),
        ranks: Arc::default(),
        kinds: Vec::new(),
        schemas: super::schema::Schemas::new(set),
    }
}

impl Builder<'_> {
    pub(super) fn lower(&self, expr: &Expr) -> Result<Node, String> {
        lower_expr(expr, &self.lowering)
    }

    pub(super) fn rule(
        &mut self,
        owner: &hir::Policy,
        rule: &hir::Rule,
        exemptions: &Exemptions<'_>,
    ) -> Result<RulePlan, PlanError> {
        let name = format!("{}.{}", owner.name, rule.name);
        let exemptions = exemptions.get(name.as_str()).map_or(&[][..], Vec::as_slice);
        let planned = self.rule_plan(owner, rule, exemptions, &name);
        planned.map_err(|reason| PlanError { rule: name, reason })
    }

    fn rule_plan(
        &mut self,
        owner: &hir::Policy,
        rule: &hir::Rule,
        exemptions: &[&hir::Exemption],
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
        let exemptions = exemptions
            .iter()
            .map(|exemption| {
                Ok(ExemptionPlan {
                    condition: self.lower(&exemption.condition)?,
                    until_us: exemption.until_us,
                    because: self.lower(&exemption.because)?,
                })
            })
            .collect::<Result<_, String>>()?;
        let asked = self.asked(rule);
        let slots = slots_of(&self.plan, [&condition]);
        let reads_risk = rule.condition.any(&mut |expr| matches!(expr.kind, ExprKind::Risk));
        let mut controls = rule.controls.clone();
        controls.extend(owner.controls.iter().filter(|control| !rule.controls.contains(control)).cloned());
        Ok(RulePlan {
            name: name.into(),
            kinds: rule.kinds.clone(),
            needs: needs(&self.plan, &condition),
            condition,
            reads_risk,
            fields: fields_of(&slots),
            taken: slots.into_iter().filter(|slot| *slot >= SLOTS).collect(),
            memories: asked,
            remembers: exprs(rule).any(|expr| expr.any(&mut |expr| matches!(expr.kind, ExprKind::Memory(_)))),
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
        if let Some(known) = self.tables.known.get(expr) {
            return Ok(Cond::Predicate(*known));
        }
        let number = self.plan.predicates.len();
        let predicate = Arc::new(Predicate {
            node: self.lower(expr)?,
            shape: self.shape(expr, Truth::Unknown),
            first_bit: self.first_bit(expr),
            sought: self.sought(expr),
            expr: expr.clone(),
            suspect: OnceLock::new(),
        });
        self.plan.predicates.push(Arc::clone(&predicate));
        self.tables.known.insert(Meaning(predicate), number);
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

pub(super) fn ranks(rules: &[Arc<RulePlan>]) -> Arc<[u32]> {
    let mut order: Vec<(usize, &RulePlan)> = rules.iter().map(Arc::as_ref).enumerate().collect();
    order.sort_by(|(_, a), (_, b)| outcome(b).cmp(&outcome(a)).then_with(|| a.name.cmp(&b.name)));
    let mut ranks = vec![0; rules.len()];
    for (rank, (rule, _)) in (0..).zip(order) {
        if let Some(place) = ranks.get_mut(rule) {
            *place = rank;
        }
    }
    ranks.into()
}

/// What a rule asks for.
pub(super) fn outcome(rule: &RulePlan) -> Option<Outcome> {
    rule.effect.as_ref().map(crate::combine::outcome)
}

/// The fields among slots.
fn fields_of(slots: &[usize]) -> Vec<FieldId> {
    let fields = slots.iter().filter(|slot| **slot < FIELD_COUNT);
    fields.filter_map(|slot| u16::try_from(*slot).ok().map(FieldId)).collect()
}

/// Defaults, indexes and slots of every kind of event.
pub(super) fn finish(plan: &mut Plan, set: &hir::PolicySet) {
    plan.kinds = EventKind::ALL.iter().map(|kind| of_kind(plan, set, *kind)).collect();
}

fn of_kind(plan: &Plan, set: &hir::PolicySet, kind: EventKind) -> KindPlan {
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
    let numbered = plan.rules.iter().map(Arc::as_ref).enumerate();
    let judging: Vec<(usize, &RulePlan)> = numbered.filter(|(_, rule)| rule.kinds.contains(&kind)).collect();
    let with_needs: Vec<(usize, &[Need])> =
        judging.iter().map(|(number, rule)| (*number, rule.needs.as_slice())).collect();
    let allows =
        |number: &usize| plan.rules.get(*number).is_some_and(|rule| rule.effect == Some(hir::Effect::Allow));
    let allowing: Vec<(usize, &[Need])> =
        with_needs.iter().filter(|(number, _)| allows(number)).copied().collect();
    let concerned = plan.memories.all.iter().enumerate();
    let concerned = concerned.filter_map(|(number, memory)| Some((number, memory.concerns(kind)?)));
    let remembering: Vec<(usize, Vec<Need>)> =
        concerned.map(|(number, condition)| (number, needs(plan, &condition))).collect();
    let remembering: Vec<(usize, &[Need])> =
        remembering.iter().map(|(number, needs)| (*number, needs.as_slice())).collect();
    // Some memories take in every event of a kind, and evaluate what they ask of it all the same.
    let filters = plan.memories.all.iter().flat_map(MemoryPlan::all_parts);
    let filters = filters.filter(|part| part.kinds.contains(&kind)).map(|part| &part.filter);
    let read = judging.iter().flat_map(|(_, rule)| &rule.fields).copied();
    let slots: BTreeSet<FieldId> = read.chain(fields_of(&slots_of(plan, filters))).collect();
    KindPlan {
        rules: judging.iter().map(|(number, _)| *number).collect(),
        slots: slots.into_iter().collect(),
        defaults: defaults.into_iter().filter(carries).cloned().collect(),
        index: Index::new(&with_needs),
        reads_risk: judging.iter().any(|(_, rule)| rule.reads_risk),
        permits: Index::by_texts(&allowing),
        memories: Index::new(&remembering),
    }
}
