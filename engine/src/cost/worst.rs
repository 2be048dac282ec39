//! The most that evaluating an expression can take: from its form, and from how large the parts of an event can be.
//!
//! It follows `interpret/expr.rs` node by node and leans to the safe side where that is simpler. What comes out is held
//! to the budget of steps by whoever asks.

use std::cell::RefCell;
use std::collections::BTreeSet;

use lictor_dsl::events::FieldId;
use lictor_dsl::hir::{Const, HasTest, Quantifier};
use lictor_dsl::types::Type;

use crate::event::{PAYLOAD_LIMIT, TEXT_LIMIT};
use crate::interpret::KEY_STEPS;
use crate::limits::{BYTES_A_STEP, MEMBERS_A_STEP, PATTERN_STEPS, STEPS};
use crate::plan::Plan;
use crate::plan::memory::AskPlan;
use crate::plan::node::{Node, Part};

/// The most that one evaluation can take.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Worst {
    /// Steps within its budget.
    pub steps: u64,
    /// Steps for keys of memories, which have a budget of their own.
    pub aside: u64,
    pub read: u64,
    pub questions: u64,
}

impl Worst {
    fn steps(steps: u64) -> Worst {
        Worst { steps, ..Worst::default() }
    }

    pub(super) fn merged(self, other: Worst, number: impl Fn(u64, u64) -> u64) -> Worst {
        Worst {
            steps: number(self.steps, other.steps),
            aside: number(self.aside, other.aside),
            read: number(self.read, other.read),
            questions: number(self.questions, other.questions),
        }
    }

    fn and(self, other: Worst) -> Worst {
        self.merged(other, u64::saturating_add)
    }

    /// Passing over so many bytes so often.
    fn passing(self, bytes: u64, times: u64) -> Worst {
        let read = bytes.saturating_mul(times);
        self.and(Worst { read, ..Worst::steps(read / BYTES_A_STEP as u64) })
    }

    /// So often within one evaluation.
    fn times(self, count: u64) -> Worst {
        Worst {
            steps: self.steps.saturating_mul(count),
            // These are worked out once.
            aside: self.aside,
            read: self.read.saturating_mul(count),
            questions: self.questions.saturating_mul(count),
        }
    }

    /// What the budget leaves of it.
    fn within_budget(self) -> Worst {
        let steps = self.steps.min(u64::from(STEPS) + 1);
        // A step reads less than two steps' worth of bytes, and asks no more than one question.
        let read = self.read.min(steps.saturating_mul(2 * BYTES_A_STEP as u64));
        Worst { steps, read, questions: self.questions.min(steps), ..self }
    }

    /// All steps.
    pub(super) fn total(self) -> u64 {
        self.steps.saturating_add(self.aside)
    }
}

/// How large a value can be.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Extent {
    /// Bytes that reading all of it passes over.
    bytes: u64,
    /// Elements, if it is a list.
    pub elements: u64,
}

/// The text of a json field, in bytes.
pub(super) const JSON: u64 = PAYLOAD_LIMIT as u64;
/// Each value of json counts as some bytes of its own besides its text, of which the smallest have two.
const ANY: Extent = Extent { bytes: 32 * JSON, elements: JSON / 2 };
/// A text within json, or what a function makes of one.
const TEXT: Extent = Extent { bytes: JSON, elements: 0 };
/// An item of a list of texts has two quotes and a comma.
pub(super) const TEXTS: Extent = Extent { bytes: JSON, elements: JSON / 3 };
/// A member of an object has two quotes, a colon, a value and a comma.
const MEMBERS: u64 = JSON / 5;
/// Json written out: escapes and numbers get longer.
const SHOWN: u64 = 8 * JSON;
/// A number, a time, an address.
const SHORT: Extent = Extent { bytes: 64, elements: 0 };

impl Extent {
    fn or(self, other: Extent) -> Extent {
        Extent { bytes: self.bytes.max(other.bytes), elements: self.elements.max(other.elements) }
    }

    fn of_const(value: &Const) -> Extent {
        match value {
            Const::Text(text) => Extent { bytes: text.len() as u64, elements: 0 },
            Const::List(values) => Extent {
                bytes: values.iter().map(|value| Extent::of_const(value).bytes).sum(),
                elements: values.len() as u64,
            },
            _ => SHORT,
        }
    }

    fn of_type(ty: Type) -> Extent {
        match ty {
            Type::String => TEXT,
            Type::Json => ANY,
            Type::List(_) if ty == Type::STRINGS => TEXTS,
            Type::List(_) => ANY,
            _ => SHORT,
        }
    }
}

/// How large what expressions read can be.
pub(super) struct Sizes<'p> {
    pub plan: &'p Plan,
    /// The json fields that were met.
    pub json: RefCell<BTreeSet<FieldId>>,
}

impl Sizes<'_> {
    /// The most that one evaluation of an expression can take.
    pub(super) fn worst(&self, node: &Node) -> Worst {
        self.of(node).within_budget()
    }

    /// The most that putting a question from machine code can take.
    pub(super) fn asking(&self, ask: &AskPlan) -> Worst {
        Worst { questions: 1, ..self.keys(ask) }
    }

    fn extent(&self, node: &Node) -> Extent {
        match node {
            Node::Const(value) => Extent::of_const(value),
            Node::Field(field) => match Extent::of_type(field.def().ty) {
                text if field.def().ty == Type::String => Extent { bytes: TEXT_LIMIT as u64, ..text },
                other => other,
            },
            Node::Param(place) => self.plan.values.get(*place).map_or(ANY, Extent::of_const),
            Node::Take(ty, _) => Extent::of_type(*ty),
            Node::Otherwise(x, y) | Node::If(_, x, y) => self.extent(x).or(self.extent(y)),
            Node::Join(parts) => Extent { bytes: self.joined(parts), elements: 0 },
            Node::Lower(x) => Extent { bytes: 2 * self.extent(x).bytes, elements: 0 },
            Node::Text(_) | Node::Host(_) => TEXT,
            Node::Keys(_) => Extent { bytes: JSON, elements: MEMBERS },
            Node::Values(_) => Extent { elements: MEMBERS, ..ANY },
            Node::Var(_) | Node::Member(..) | Node::Item(..) | Node::Memory(_) => ANY,
            _ => SHORT,
        }
    }

    /// The length of a text with what is filled in.
    fn joined(&self, parts: &[Part]) -> u64 {
        let length = |part: &Part| match part {
            Part::Text(text) => text.len() as u64,
            Part::Value(value) => match self.extent(value) {
                extent if extent.bytes >= JSON => SHOWN,
                // Between items stand a comma and a blank.
                extent => extent.bytes + 2 * extent.elements + 64,
            },
        };
        parts.iter().map(length).sum()
    }

    fn all<'n>(&self, nodes: impl IntoIterator<Item = &'n Node>) -> Worst {
        nodes.into_iter().map(|node| self.of(node)).fold(Worst::default(), Worst::and)
    }

    /// Evaluating a node in any way: as a truth, as a value, or as two bounds.
    fn of(&self, node: &Node) -> Worst {
        // One step as a truth and one as a value.
        let own = Worst::steps(2);
        own.and(match node {
            Node::Field(field) => {
                if field.def().ty == Type::Json {
                    self.json.borrow_mut().insert(*field);
                }
                Worst::default()
            }
            Node::Const(_) | Node::Param(_) | Node::Risk | Node::Var(_) => Worst::default(),
            Node::Member(base, _) => self.of(base).and(Worst::steps(1 + MEMBERS / MEMBERS_A_STEP as u64)),
            Node::Item(base, index) => {
                self.all([&**base, &**index]).and(Worst::steps(MEMBERS / MEMBERS_A_STEP as u64))
            }
            Node::Take(_, x) | Node::Not(x) | Node::Negative(_, x) | Node::TimePart(_, x, _) => self.of(x),
            Node::And(parts) | Node::Or(parts) => self.all(parts),
            Node::Arithmetic(_, x, y) => self.all([&**x, &**y]),
            Node::Between(x, low, high) => self.all([&**x, &**low, &**high]),
            Node::If(condition, then, otherwise) => self.all([&**condition, &**then, &**otherwise]),
            Node::Compare(_, x, y) | Node::TextTest(_, x, y) => {
                self.all([&**x, &**y]).passing(self.extent(x).bytes + self.extent(y).bytes, 1)
            }
            Node::InTexts(x, _) | Node::Like(x, _) | Node::Matches(x, _) => self.of_read(x, 1),
            Node::InPatterns(x, patterns) => self.of_read(x, patterns.passes() as u64),
            Node::In(x, xs) | Node::Has(HasTest::One, xs, x) => {
                self.all([&**x, &**xs]).and(self.contains(xs, self.extent(x).bytes))
            }
            Node::Has(_, xs, ys) => {
                let wanted = self.extent(ys);
                let each = self.contains(xs, wanted.bytes);
                self.all([&**xs, &**ys]).and(each.times(wanted.elements))
            }
            Node::InAs(x, xs, _) => {
                let entries = self.extent(xs);
                let each = Worst::steps(1 + PATTERN_STEPS as u64).passing(self.extent(x).bytes, 1);
                self.all([&**x, &**xs]).and(each.times(entries.elements)).and(Worst::steps(entries.bytes))
            }
            Node::Present(x) => self.presence(x),
            // Asked whether it is in doubt as a value and as two bounds.
            Node::Otherwise(x, default) => self.of(x).times(3).and(self.of(default)),
            Node::Lenient { soft, hard, test } => {
                self.all(soft).times(2).and(self.all(hard)).and(self.of(test))
            }
            Node::Quantified(Quantifier::Any | Quantifier::All | Quantifier::Count, _, xs, body) => {
                self.of(xs).and(self.of(body).times(self.extent(xs).elements))
            }
            Node::Join(parts) => {
                let values = parts.iter().filter_map(|part| match part {
                    Part::Value(value) => Some(value),
                    Part::Text(_) => None,
                });
                self.all(values).passing(self.joined(parts), parts.len() as u64)
            }
            Node::Lower(x)
            | Node::Len(x)
            | Node::Host(x)
            | Node::Port(x)
            | Node::Ip(x)
            | Node::Time(x, _) => self.of_read(x, 1),
            Node::Text(x) => self.of(x).passing(JSON, 1),
            Node::Keys(x) | Node::Values(x) => self.of(x).and(Worst::steps(MEMBERS)),
            Node::Memory(ask) => self.asked(ask),
        })
    }

    /// A text or another value that is passed over so often.
    fn of_read(&self, x: &Node, times: u64) -> Worst {
        self.of(x).passing(self.extent(x).bytes, times)
    }

    /// Looking for something of so many bytes in a list.
    fn contains(&self, xs: &Node, bytes: u64) -> Worst {
        let list = self.extent(xs);
        Worst::steps(1).passing(bytes, 1).times(list.elements).passing(list.bytes, 1)
    }

    /// `has x`: each member on the way is looked at from its base.
    fn presence(&self, node: &Node) -> Worst {
        let own = Worst::steps(1).and(self.of(node));
        match node {
            Node::Take(_, inner) => own.and(self.presence(inner)),
            Node::Member(base, _) | Node::Item(base, _) => own.and(self.of(base)).and(self.presence(base)),
            _ => own,
        }
    }

    /// Asking a memory, with whether it is in doubt.
    fn asked(&self, ask: &AskPlan) -> Worst {
        let keys = self.keys(ask);
        if ask.list.is_some() {
            return Worst { questions: 1, ..keys };
        }
        let entries = self.plan.memories.all.get(ask.memory).map_or(0, |memory| memory.keep.entries());
        let within = Worst { steps: keys.aside, aside: 0, ..keys };
        within.and(Worst { questions: 1, ..Worst::steps((KEY_STEPS + entries) as u64) })
    }

    /// Working out the keys of a question, aside from what asks it.
    fn keys(&self, ask: &AskPlan) -> Worst {
        let read = ask.keys.iter().map(|key| self.of_read(key, 1)).fold(Worst::default(), Worst::and);
        let keys = read.within_budget();
        Worst { steps: 0, aside: keys.total(), ..keys }
    }
}
