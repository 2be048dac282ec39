//! What judging an event of a kind can cost at most: follows from the plan and from how large events may be.

use std::cell::RefCell;
use std::collections::BTreeSet;

use lictor_dsl::events::{EventKind, FieldId};
use lictor_dsl::hir;
use lictor_dsl::types::Type;

use super::Cost;
use super::worst::{JSON, Sizes, TEXTS, Worst};
use crate::event::TEXT_LIMIT;
use crate::index::MOST_FOUND;
use crate::plan::node::{Node, Part};
use crate::plan::{Cond, Plan, Predicate, RulePlan, SLOTS, Shape, Sought, predicates_of};

impl Plan {
    /// The most that judging one event of this kind can cost with machine code. Without it every rule of the kind is
    /// walked, and nothing is asked once only.
    pub fn bounds(&self, kind: EventKind) -> Cost {
        Bounds::new(self).of(kind)
    }

    /// The most steps that the predicates of a condition take.
    pub(crate) fn step_bound(&self, condition: &Cond) -> u64 {
        let bounds = Bounds::new(self);
        let used = bounds.used(condition).into_iter();
        Taken::sum(used.map(|number| bounds.answered(number))).worst.total()
    }
}

/// What rules take together, at most.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Taken {
    rules: u64,
    evaluations: u64,
    worst: Worst,
}

impl Taken {
    fn merged(self, other: Taken, number: impl Fn(u64, u64) -> u64) -> Taken {
        Taken {
            rules: number(self.rules, other.rules),
            evaluations: number(self.evaluations, other.evaluations),
            worst: self.worst.merged(other.worst, number),
        }
    }

    /// Both.
    pub(crate) fn and(self, other: Taken) -> Taken {
        self.merged(other, u64::saturating_add)
    }

    /// One or the other: each number as large as in either.
    pub(crate) fn or_more(self, other: Taken) -> Taken {
        self.merged(other, u64::max)
    }

    /// What is no more than either.
    fn or_less(self, other: Taken) -> Taken {
        self.merged(other, u64::min)
    }

    fn times(self, count: u64) -> Taken {
        (0..count).fold(Taken::default(), |all, _| all.and(self))
    }

    pub(crate) fn sum(all: impl IntoIterator<Item = Taken>) -> Taken {
        all.into_iter().fold(Taken::default(), Taken::and)
    }
}

struct Bounds<'p> {
    plan: &'p Plan,
    sizes: Sizes<'p>,
}

impl<'p> Bounds<'p> {
    fn new(plan: &'p Plan) -> Bounds<'p> {
        Bounds { plan, sizes: Sizes { plan, json: RefCell::default() } }
    }

    fn of(&self, kind: EventKind) -> Cost {
        let planned = self.plan.kind(kind);
        let rule = |number: usize| self.plan.rules.get(number);
        let mut used = BTreeSet::new();
        for rule in planned.rules.iter().filter_map(|number| rule(*number)) {
            used.extend(self.used(&rule.condition));
        }
        // Each predicate is answered once, and only for rules that are looked at.
        let all = Taken::sum(used.iter().map(|number| self.answered(*number)));
        let of_rule = |number| {
            let condition = rule(number).map(|rule| self.used(&rule.condition)).unwrap_or_default();
            Taken::sum(condition.into_iter().map(|number| self.answered(number)))
        };
        let judged = all.or_less(planned.index.most(of_rule));
        let asked = |number: &usize| match self.plan.predicate(*number)?.shape {
            Shape::Answer { question, .. } | Shape::Happened { question } => Some(question),
            _ => None,
        };
        let questions: BTreeSet<usize> = used.iter().filter_map(asked).collect();
        let questions = questions.into_iter().filter_map(|number| self.plan.questions.get(number));
        let asked = questions.map(|ask| Taken { worst: self.sizes.asking(ask), ..Taken::default() });
        let said = |number| rule(number).map(|rule| self.said(rule)).unwrap_or_default();
        let said = planned.index.most(said);
        let nearest = |number| rule(number).map(|rule| self.walked(&rule.condition)).unwrap_or_default();
        let nearest = planned.permits.most(nearest);
        let taken: BTreeSet<usize> = used.iter().flat_map(|number| self.slots_taken(*number)).collect();
        let fetched =
            taken.iter().filter_map(|slot| self.plan.taken(*slot)).map(|taken| self.evaluated(&taken.node));
        let fetched = Taken::sum(fetched);
        let found = planned.index.searches().count() * (MOST_FOUND + 1);
        let sum = Taken::sum(asked.chain([judged, said, nearest, fetched]));
        self.sizes.json.borrow_mut().extend(self.plan.schemas.reads(kind));
        Cost {
            rules: planned.index.most(|_| Taken { rules: 1, ..Taken::default() }).rules,
            predicates: judged.evaluations,
            questions: sum.worst.questions,
            look_ups: self.look_ups(&planned.slots) + taken.len() as u64 + self.index_look_ups(kind),
            searched: planned.index.searches().map(text_limit).sum(),
            found: found as u64,
            // Once to find the members, once for those that are read, and once for all of it.
            json: 3 * JSON * self.sizes.json.borrow().len() as u64,
            evaluations: sum.evaluations,
            steps: sum.worst.total(),
            read: sum.worst.read,
        }
    }

    /// The slots of values inside json that answering a predicate, or finding its rules, takes.
    fn slots_taken(&self, number: usize) -> impl Iterator<Item = usize> {
        let predicate = self.plan.predicate(number);
        let read = predicate.and_then(|predicate| match predicate.shape {
            Shape::Texts { slot, .. }
            | Shape::Number { slot, .. }
            | Shape::Bool { slot, .. }
            | Shape::Part { slot, .. } => Some(slot),
            _ => None,
        });
        let sought = predicate.and_then(|predicate| predicate.sought.as_ref()).map(|sought| match sought {
            Sought::Part { slot, .. } | Sought::Nets { slot, .. } => *slot,
        });
        read.into_iter().chain(sought).filter(|slot| *slot >= SLOTS)
    }

    /// The predicates of a condition.
    fn used(&self, condition: &Cond) -> Vec<usize> {
        let mut used = Vec::new();
        predicates_of(condition, &mut used);
        used
    }

    /// What answering a predicate takes where machine code asks for it.
    fn answered(&self, number: usize) -> Taken {
        match self.plan.predicate(number) {
            // Looking for a part of a text reads what the evaluator would read.
            Some(Predicate { shape: Shape::Called | Shape::Part { .. }, node, .. }) => self.evaluated(node),
            _ => Taken::default(),
        }
    }

    fn evaluated(&self, node: &Node) -> Taken {
        Taken { evaluations: 1, worst: self.sizes.worst(node), ..Taken::default() }
    }

    /// What walking a condition takes: each predicate in it, wherever it stands.
    fn walked(&self, condition: &Cond) -> Taken {
        match condition {
            Cond::Const(_) => Taken::default(),
            Cond::Predicate(number) => self
                .plan
                .predicate(*number)
                .map(|predicate| self.evaluated(&predicate.node))
                .unwrap_or_default(),
            Cond::Not(inner) => self.walked(inner),
            Cond::And(parts) | Cond::Or(parts) => Taken::sum(parts.iter().map(|part| self.walked(part))),
        }
    }

    /// What a decision says of a rule that is not false.
    fn said(&self, rule: &RulePlan) -> Taken {
        let rendered = |node: &Node| self.rendered(node);
        let exemptions = rule.exemptions.iter().map(|exemption| {
            // For the risk, and for the outcome.
            self.evaluated(&exemption.condition).times(2).and(self.rendered(&exemption.because))
        });
        let incident = rule.incident.iter().flat_map(|incident| incident.per.iter().chain(&incident.title));
        let witnesses = self.used(&rule.condition).into_iter().filter(|_| !rule.memories.is_empty());
        let witnesses = witnesses.filter_map(|number| self.plan.predicate(number));
        // The reason may stand for the title too.
        let because = rule.because.as_ref().map(rendered).unwrap_or_default().times(2);
        Taken::sum(exemptions)
            .and(because)
            .and(Taken::sum(incident.map(rendered)))
            .and(Taken::sum(witnesses.map(|predicate| self.evaluated(&predicate.node))))
            .and(self.blamed(&rule.condition))
    }

    /// A text for people: each value in it has a budget of its own.
    fn rendered(&self, node: &Node) -> Taken {
        let Node::Join(parts) = node else { return self.evaluated(node) };
        let values = parts.iter().filter_map(|part| match part {
            Part::Value(value) => Some(value),
            Part::Text(_) => None,
        });
        Taken::sum(values.map(|value| self.evaluated(value)))
    }

    /// Finding what made a condition unknown: each predicate and what is below it.
    fn blamed(&self, condition: &Cond) -> Taken {
        match condition {
            Cond::Const(_) => Taken::default(),
            Cond::Predicate(number) => {
                let Some(predicate) = self.plan.predicate(*number) else { return Taken::default() };
                // No part takes more than the whole.
                self.evaluated(&predicate.node).times(1 + parts(&predicate.expr))
            }
            Cond::Not(inner) => self.blamed(inner),
            Cond::And(parts) | Cond::Or(parts) => {
                Taken::sum(parts.iter().map(|part| self.walked(part).and(self.blamed(part))))
            }
        }
    }

    /// Looking up the texts of these fields.
    fn look_ups(&self, slots: &[FieldId]) -> u64 {
        let of = |field: &FieldId| match field.def().ty {
            Type::String => 1,
            Type::List(_) => TEXTS.elements,
            _ => 0,
        };
        slots.iter().map(of).sum()
    }

    fn index_look_ups(&self, kind: EventKind) -> u64 {
        let planned = self.plan.kind(kind);
        planned.index.look_ups() + planned.permits.look_ups()
    }
}

/// How long the text in a slot can be.
fn text_limit(slot: usize) -> u64 {
    if slot < SLOTS { TEXT_LIMIT as u64 } else { JSON }
}

/// The parts of an expression.
fn parts(expr: &hir::Expr) -> u64 {
    let mut count = 0;
    expr.any(&mut |_| {
        count += 1;
        false
    });
    count
}
