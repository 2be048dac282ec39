//! Checked policies to a flat plan: fields wanted, predicates each once, rules as conditions over them.

mod again;
mod lower;
pub(crate) mod memory;
pub(crate) mod node;
mod schema;
mod shape;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use ipnet::IpNet;
use lictor_dsl::events::{EventKind, FIELD_COUNT, FieldId};
use lictor_dsl::hir::{self, Comparison, Const, Effect, TextTest};
use lictor_dsl::number::Number;
use serde_json::{Value, json};

use crate::index::{Index, Need};
use crate::interpret::blame::Suspect;
use crate::truth::Truth;
pub use again::Planner;
use memory::MemoryPlan;
use node::{Lowering, Node, PatternLists, lower as lower_expr};
pub(crate) use shape::fixed;

/// Everything that judging needs, without code.
#[derive(Debug)]
pub struct Plan {
    pub(crate) digest: Arc<str>,
    /// The parameter block: full names and values in force.
    pub(crate) params: Vec<(String, Const)>,
    pub(crate) values: Vec<Const>,
    /// Texts that inline comparisons test, by number from 1. Nought is any other text.
    pub(crate) texts: Arc<Texts>,
    /// For list fields the bits of the texts that rules ask for.
    pub(crate) bits: BTreeMap<FieldId, Texts>,
    /// Values inside json that have slots, behind those of the fields.
    pub(crate) taken: Vec<Taken>,
    pub(crate) predicates: Vec<Arc<Predicate>>,
    /// What machine code asks memories itself, each once.
    pub(crate) questions: Vec<Arc<memory::AskPlan>>,
    pub(crate) memories: Arc<memory::Memories>,
    /// Compiled lists by name.
    patterns: PatternLists,
    pub(crate) rules: Vec<Arc<RulePlan>>,
    /// For each rule where decisions list it: by what it asks for, the strongest first, then by name.
    pub(crate) ranks: Arc<[u32]>,
    pub(crate) kinds: Vec<KindPlan>,
    pub(crate) schemas: schema::Schemas,
}

/// Numbers of texts. Looked up several times an event: SipHash would take as long as all the rest of a small decision.
pub(crate) type Texts = HashMap<String, u32, foldhash::fast::RandomState>;

/// What concerns one kind of event.
#[derive(Debug, Default)]
pub(crate) struct KindPlan {
    /// The rules that judge it.
    pub rules: Vec<usize>,
    /// The fields that machine code reads from their slots.
    pub slots: Vec<FieldId>,
    /// The strongest defaults that policies set: several only where several ask for an approval.
    pub defaults: Vec<Effect>,
    pub index: Index,
    /// Whether some of them read the risk, so that they come after the others.
    pub reads_risk: bool,
    /// The rules that allow, by the texts that they need: of these the nearest is told where none applies.
    pub permits: Index,
    /// The memories that an event of this kind could change.
    pub memories: Index,
}

/// A value inside json that has a slot.
#[derive(Debug, Clone)]
pub(crate) struct Taken {
    pub expr: hir::Expr,
    pub node: Arc<Node>,
    /// Whether somebody looks into its text.
    pub searched: bool,
}

/// One distinct question about an event.
#[derive(Debug)]
pub(crate) struct Predicate {
    pub expr: hir::Expr,
    pub node: Node,
    pub shape: Shape,
    /// The bit of the first text that is asked of a list.
    pub first_bit: Option<u32>,
    /// What the index can look for, where the shape does not say.
    pub sought: Option<Sought>,
    /// What may be to blame where it is unknown.
    pub suspect: OnceLock<Suspect>,
}

/// How machine code answers a predicate.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Shape {
    /// A text field is one of these.
    Texts { slot: usize, texts: Vec<u32>, absent: Truth },
    /// A number or a time compares so with a constant.
    Number { slot: usize, comparison: Comparison, operand: Operand, absent: Truth },
    /// A bool field has this value.
    Bool { slot: usize, wanted: bool, absent: Truth },
    /// A list field has any, or all, of these texts: one bit each.
    Mask { slot: usize, mask: i128, all: bool },
    /// A field is there.
    Present { slot: usize },
    /// The answer to a question compares so with what is fixed.
    Answer { question: usize, comparison: Comparison, operand: Operand },
    /// The answer to a question is yes.
    Happened { question: usize },
    /// The text in a slot begins with, ends with or contains this: answered without the evaluator, though not inline.
    Part { slot: usize, test: TextTest, part: String, absent: Truth },
    /// By calling the evaluator.
    Called,
}

/// What a number is compared with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Operand {
    /// A literal.
    Const(i128),
    /// A parameter, by its place: read when judging, so that changing it recompiles nothing.
    Param(usize),
}

/// What the value in a slot has to have where a predicate is not false.
#[derive(Debug)]
pub(crate) enum Sought {
    /// A text has to contain this.
    Part { slot: usize, part: String },
    /// An address, or that of a text, has to be in one of these.
    Nets { slot: usize, nets: Vec<IpNet> },
}

/// A condition over predicates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cond {
    Const(bool),
    Predicate(usize),
    Not(Box<Cond>),
    And(Vec<Cond>),
    Or(Vec<Cond>),
}

/// The slot in which the risk stands, behind those of the fields.
pub(crate) const RISK_SLOT: usize = FIELD_COUNT;
/// How many slots a frame has.
pub(crate) const SLOTS: usize = FIELD_COUNT + 1;

/// One rule.
#[derive(Debug)]
pub(crate) struct RulePlan {
    /// `policy.rule`.
    pub name: Arc<str>,
    pub kinds: Vec<EventKind>,
    pub condition: Cond,
    pub reads_risk: bool,
    /// What an event must have where it is not false.
    pub needs: Vec<Need>,
    /// The fields that machine code reads for it.
    pub fields: Vec<FieldId>,
    /// The slots of values inside json that machine code reads for it.
    pub taken: Vec<usize>,
    /// The memories that its condition asks.
    pub memories: Vec<usize>,
    /// Whether anything in it asks a memory.
    pub remembers: bool,
    pub effect: Option<Effect>,
    pub score: Option<Number>,
    pub incident: Option<IncidentPlan>,
    pub obligations: Vec<hir::Obligation>,
    pub because: Option<Node>,
    pub controls: Arc<[String]>,
    pub from_us: Option<i64>,
    pub until_us: Option<i64>,
    pub shadow: bool,
    pub exemptions: Vec<ExemptionPlan>,
}

impl RulePlan {
    /// The name of its policy: rules of one policy share units of code.
    pub(crate) fn policy(&self) -> &str {
        self.name.split_once('.').map_or("", |(policy, _)| policy)
    }

    /// Whether it is in force between dates only.
    pub(crate) fn has_dates(&self) -> bool {
        self.from_us.is_some() || self.until_us.is_some()
    }

    /// Whether it applies at this time at all.
    pub(crate) fn in_force(&self, at_us: i64) -> bool {
        self.from_us.is_none_or(|from| at_us >= from) && self.until_us.is_none_or(|until| at_us < until)
    }
}

/// The incident of a rule.
#[derive(Debug)]
pub(crate) struct IncidentPlan {
    pub severity: hir::Severity,
    pub per: Vec<Node>,
    pub fold_s: u64,
    pub title: Option<Node>,
}

/// An exemption from a rule.
#[derive(Debug)]
pub(crate) struct ExemptionPlan {
    pub condition: Node,
    pub until_us: i64,
    pub because: Node,
}

/// Why a plan can't be made of a checked set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("rule `{rule}`: {reason}")]
pub struct PlanError {
    /// `policy.rule`.
    pub rule: String,
    /// What can't be planned.
    pub reason: String,
}

impl Plan {
    /// Plans a checked policy set.
    pub fn new(set: &hir::PolicySet) -> Result<Plan, PlanError> {
        lower::plan(set).map(|(plan, _)| plan)
    }

    /// The same plan where no rule is ruled out beforehand.
    pub(crate) fn unindexed(mut self) -> Plan {
        for kind in &mut self.kinds {
            kind.index = Index::of_all(&kind.rules);
        }
        self
    }

    pub(crate) fn predicate(&self, number: usize) -> Option<&Predicate> {
        self.predicates.get(number).map(Arc::as_ref)
    }

    /// The value inside json in this slot.
    pub(crate) fn taken(&self, slot: usize) -> Option<&Taken> {
        self.taken.get(slot.checked_sub(SLOTS)?)
    }

    /// What a slot holds, as an author would write it.
    pub(crate) fn slot_name(&self, slot: usize) -> String {
        match (self.taken(slot), u16::try_from(slot)) {
            (Some(taken), _) => taken.expr.to_string(),
            (None, Ok(field)) if slot < FIELD_COUNT => FieldId(field).def().name.to_owned(),
            _ => "risk".to_owned(),
        }
    }

    /// The place of a parameter in the block.
    pub(crate) fn param(&self, name: &str) -> usize {
        self.params.iter().position(|(param, _)| param == name).unwrap_or(usize::MAX)
    }

    pub(crate) fn lower(&self, expr: &hir::Expr) -> Result<Node, String> {
        let param = |name: &str| self.param(name);
        let lowering = Lowering::new(&param, &self.values, &self.memories);
        lower_expr(expr, &lowering.knowing(self.patterns.clone()))
    }

    pub(crate) fn kind(&self, kind: EventKind) -> &KindPlan {
        static NONE: std::sync::LazyLock<KindPlan> = std::sync::LazyLock::new(KindPlan::default);
        self.kinds.get(kind as usize).unwrap_or(&NONE)
    }

    /// A condition as text.
    pub(crate) fn show(&self, condition: &Cond) -> String {
        let joined = |parts: &[Cond], word: &str| {
            parts.iter().map(|part| self.show_part(part)).collect::<Vec<_>>().join(word)
        };
        match condition {
            Cond::Const(value) => value.to_string(),
            Cond::Predicate(number) => {
                self.predicate(*number).map(|p| p.expr.to_string()).unwrap_or_default()
            }
            Cond::Not(inner) => format!("not {}", self.show_part(inner)),
            Cond::And(parts) => joined(parts, " and "),
            Cond::Or(parts) => joined(parts, " or "),
        }
    }

    fn show_part(&self, part: &Cond) -> String {
        match part {
            Cond::And(_) | Cond::Or(_) => format!("({})", self.show(part)),
            _ => self.show(part),
        }
    }

    /// The plan for machines: fields, predicates, rules and index, as `lictor plan --format json` prints it.
    pub fn to_json(&self) -> Value {
        let used = self.used();
        let shown: HashMap<usize, usize> = used.iter().copied().zip(0..).collect();
        let predicates = used.iter().filter_map(|number| self.predicate(*number));
        let predicates = predicates.enumerate().map(|(number, predicate)| {
            let how = match predicate.shape {
                Shape::Called => "called",
                Shape::Part { .. } => "searched",
                _ => "inline",
            };
            json!({"predicate": number, "text": predicate.expr.to_string(), "how": how})
        });
        let rules = self.rules.iter().map(|rule| {
            let kinds: Vec<&str> = rule.kinds.iter().map(|kind| kind.name()).collect();
            let mut used = Vec::new();
            predicates_of(&rule.condition, &mut used);
            let used: Vec<_> = used.iter().map(|number| shown.get(number)).collect();
            json!({
                "rule": &*rule.name, "kinds": kinds, "condition": self.show(&rule.condition), "predicates": used,
                "step_bound": self.step_bound(&rule.condition),
            })
        });
        let kinds = EventKind::ALL.iter().map(|kind| {
            let plan = self.kind(*kind);
            json!({
                "kind": kind.name(),
                "rules": plan.rules.len(),
                "slots": plan.slots.iter().map(|field| field.def().name).collect::<Vec<_>>(),
                "index": plan.index.describe(self),
                "at_most": self.bounds(*kind).to_json(),
            })
        });
        json!({
            "policy_set": &*self.digest,
            "fields": self.fields(),
            "params": self.params.iter().map(|(name, value)| json!({"param": name, "value": value.to_string()})).collect::<Vec<_>>(),
            "predicates": predicates.collect::<Vec<_>>(),
            "memories": self.memories.all.iter().enumerate().map(|(number, memory)| memory.to_json(number, self)).collect::<Vec<_>>(),
            "rules": rules.collect::<Vec<_>>(),
            "kinds": kinds.collect::<Vec<_>>(),
        })
    }

    /// The predicates that rules and memories use, in order of first use: there may be some of rules that are gone.
    fn used(&self) -> Vec<usize> {
        let filters = self.memories.all.iter().flat_map(MemoryPlan::all_parts).map(|part| &part.filter);
        let (mut used, mut seen) = (Vec::new(), vec![false; self.predicates.len()]);
        for condition in self.rules.iter().map(|rule| &rule.condition).chain(filters) {
            let mut here = Vec::new();
            predicates_of(condition, &mut here);
            here.retain(|number| seen.get_mut(*number).is_some_and(|seen| !std::mem::replace(seen, true)));
            used.extend(here);
        }
        used
    }

    /// The names of the fields that some rule reads.
    pub fn fields(&self) -> Vec<&'static str> {
        let mut fields = Vec::new();
        for predicate in self.used().into_iter().filter_map(|number| self.predicate(number)) {
            predicate.expr.any(&mut |expr| {
                if let hir::ExprKind::Field(field) = expr.kind {
                    fields.push(field);
                }
                false
            });
        }
        fields.sort_unstable();
        fields.dedup();
        fields.into_iter().map(|field: FieldId| field.def().name).collect()
    }
}

/// The predicates that a condition uses, each once, in order of first use.
pub(crate) fn predicates_of(condition: &Cond, into: &mut Vec<usize>) {
    match condition {
        Cond::Const(_) => {}
        Cond::Predicate(number) => {
            if !into.contains(number) {
                into.push(*number);
            }
        }
        Cond::Not(inner) => predicates_of(inner, into),
        Cond::And(parts) | Cond::Or(parts) => parts.iter().for_each(|part| predicates_of(part, into)),
    }
}
