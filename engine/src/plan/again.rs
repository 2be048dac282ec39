//! A plan made from the one before it: rules that are the same keep what they were planned to, and only the others, the
//! order of all and the index are worked out anew.
//!
//! Numbers of predicates, texts and slots stay those of the plan before, so that rules which hold them stay right; what a
//! rule that is gone used stays in the tables until everything is planned anew. That happens when half as many rules as
//! there are were made anew, and when something changed that numbers of all rules hang on: parameters, memories, lists of
//! patterns, or the bits of a list running out.
//!
//! INVARIANT: but for those numbers, which nobody is shown, the plan is the one that [`Plan::new`] makes.

use std::collections::HashMap;
use std::sync::Arc;

use lictor_dsl::hir::{self, Const, Expr, ExprKind};

use super::lower::{self, Builder, Tables};
use super::node::Lowering;
use super::{Plan, PlanError, RulePlan};

/// Plans one set after the other.
#[derive(Debug, Default)]
pub struct Planner(Option<Last>);

/// The set that was planned last.
#[derive(Debug)]
struct Last {
    plan: Arc<Plan>,
    tables: Tables,
    policies: Vec<Arc<hir::Policy>>,
    /// How many rules were planned since everything was planned anew.
    replaced: usize,
}

impl Planner {
    /// Plans a set, with what it has in common with the last one.
    pub fn plan(&mut self, set: &hir::PolicySet) -> Result<Arc<Plan>, PlanError> {
        let last = match self.0.take().and_then(|last| last.again(set)) {
            Some(last) => last,
            None => {
                let (plan, tables) = lower::plan(set)?;
                Last { plan: Arc::new(plan), tables, policies: set.policies.clone(), replaced: 0 }
            }
        };
        let plan = Arc::clone(&last.plan);
        self.0 = Some(last);
        Ok(plan)
    }
}

impl Last {
    /// The same for another set; none if all of it has to be planned.
    fn again(self, set: &hir::PolicySet) -> Option<Last> {
        let (params, places) = lower::parameters(set);
        if params != self.plan.params || remember(&self.policies) || remember(&set.policies) {
            return None;
        }
        let planned = self.planned(set);
        let fresh: Vec<&hir::Rule> = {
            let rules = set.policies.iter().flat_map(|policy| &policy.rules).zip(&planned);
            rules.filter(|(_, planned)| planned.is_none()).map(|(rule, _)| rule.as_ref()).collect()
        };
        let replaced = self.replaced + fresh.len();
        if replaced > planned.len() / 2
            || !fresh.iter().all(|rule| self.can_plan(rule))
            || !self.keeps_memories(&planned)
        {
            return None;
        }
        let values: Vec<Const> = params.iter().map(|(_, value)| value.clone()).collect();
        let param = |name: &str| places.get(name).copied().unwrap_or(usize::MAX);
        let memories = Arc::clone(&self.plan.memories);
        let lowering = Lowering::new(&param, &values, &memories).knowing(self.plan.patterns.clone());
        let before = self.plan.as_ref();
        let plan = Plan {
            memories: Arc::clone(&memories),
            texts: Arc::clone(&before.texts),
            bits: before.bits.clone(),
            taken: before.taken.clone(),
            predicates: before.predicates.clone(),
            questions: before.questions.clone(),
            ..lower::empty(set, params)
        };
        let mut builder = Builder { plan, tables: self.tables, places: &places, lowering };
        let exemptions = lower::exemptions(set);
        builder.plan.rules.reserve_exact(planned.len());
        let mut planned = planned.into_iter();
        for policy in &set.policies {
            for (rule, planned) in policy.rules.iter().zip(planned.by_ref()) {
                let planned = match planned {
                    Some(planned) => planned,
                    None => Arc::new(builder.rule(policy, rule, &exemptions).ok()?),
                };
                builder.plan.rules.push(planned);
            }
        }
        let Builder { mut plan, tables, lowering, .. } = builder;
        // Where they run out it matters who came first.
        if plan.bits.values().any(|texts| texts.len() >= i128::BITS as usize) {
            return None;
        }
        plan.patterns = lowering.into_patterns();
        plan.ranks = match same_order(&plan.rules, &self.plan.rules) {
            true => Arc::clone(&self.plan.ranks),
            false => lower::ranks(&plan.rules),
        };
        lower::finish(&mut plan, set);
        Some(Last { plan: Arc::new(plan), tables, policies: set.policies.clone(), replaced })
    }

    /// For each rule of a set what it was planned to, if it is the same.
    fn planned(&self, set: &hir::PolicySet) -> Vec<Option<Arc<RulePlan>>> {
        let mut rest = self.plan.rules.as_slice();
        let mut known: HashMap<&str, (&Arc<hir::Policy>, &[Arc<RulePlan>])> = HashMap::new();
        for policy in &self.policies {
            let Some((own, others)) = rest.split_at_checked(policy.rules.len()) else { break };
            known.insert(&policy.name, (policy, own));
            rest = others;
        }
        let exempted = lower::exemptions(set);
        let reusable = |planned: &&Arc<RulePlan>| {
            planned.exemptions.is_empty() && (exempted.is_empty() || !exempted.contains_key(&*planned.name))
        };
        let mut all = Vec::new();
        for policy in &set.policies {
            let before = known.get(policy.name.as_str());
            let before = before.filter(|(b, _)| b.shadow == policy.shadow && b.controls == policy.controls);
            match before {
                Some((before, planned)) if Arc::ptr_eq(before, policy) => {
                    all.extend(planned.iter().map(|planned| Some(planned).filter(reusable).cloned()));
                }
                Some((before, planned)) => {
                    let by_place: HashMap<*const hir::Rule, &Arc<RulePlan>> =
                        before.rules.iter().map(Arc::as_ptr).zip(*planned).collect();
                    let find = |rule: &Arc<hir::Rule>| by_place.get(&Arc::as_ptr(rule)).copied();
                    all.extend(policy.rules.iter().map(|rule| find(rule).filter(reusable).cloned()));
                }
                None => all.extend(policy.rules.iter().map(|_| None)),
            }
        }
        all
    }

    /// Whether a rule can be planned with the tables of the plan before.
    fn can_plan(&self, rule: &hir::Rule) -> bool {
        let changed = |list: &Arc<hir::PatternList>| {
            self.plan.patterns.get(&list.name).is_some_and(|(known, _)| {
                !Arc::ptr_eq(known, list) && (known.kind != list.kind || known.entries != list.entries)
            })
        };
        let stops = &mut |expr: &Expr| match &expr.kind {
            ExprKind::Memory(_) => true,
            ExprKind::InPatterns(_, list) => changed(list),
            _ => false,
        };
        !lower::exprs(rule).any(|expr| expr.any(stops))
    }

    /// Whether no rule is gone that asked a memory, and those that do come in the same order.
    fn keeps_memories(&self, planned: &[Option<Arc<RulePlan>>]) -> bool {
        if self.plan.memories.all.is_empty() {
            return true;
        }
        let asking = |planned: &&Arc<RulePlan>| planned.remembers;
        let before = self.plan.rules.iter().filter(asking).map(Arc::as_ptr);
        before.eq(planned.iter().flatten().filter(asking).map(Arc::as_ptr))
    }
}

/// Whether exemptions ask memories.
fn remember(policies: &[Arc<hir::Policy>]) -> bool {
    let exemptions = policies.iter().flat_map(|policy| &policy.exemptions);
    exemptions.flat_map(|exemption| [&exemption.condition, &exemption.because]).any(|expr| {
        expr.any(&mut |expr| matches!(&expr.kind, ExprKind::Memory(_) | ExprKind::InPatterns(..)))
    })
}

/// Whether decisions list these rules in the order of those.
fn same_order(rules: &[Arc<RulePlan>], others: &[Arc<RulePlan>]) -> bool {
    let same = |(a, b): (&Arc<RulePlan>, &Arc<RulePlan>)| {
        Arc::ptr_eq(a, b) || a.name == b.name && lower::outcome(a) == lower::outcome(b)
    };
    rules.len() == others.len() && rules.iter().zip(others).all(same)
}
