//! Conditions from the slots of a frame, where machine code is not worth its making: those of memories.
//!
//! It answers what machine code answers, predicate by predicate, and shares with it what was found out.

use lictor_dsl::hir::Comparison;

use crate::frame::{Frame, Slot};
use crate::interpret::{self, expr::Scene};
use crate::plan::{Cond, Operand, Plan, Shape, fixed};
use crate::truth::Truth;

/// What a condition is evaluated with.
#[derive(Clone, Copy)]
pub(crate) struct Evaluator<'c, 'e> {
    pub plan: &'e Plan,
    pub frame: &'c Frame,
    pub scene: &'c Scene<'e>,
}

impl Evaluator<'_, '_> {
    /// The truth of a condition. Parts that can't change it any more are left out.
    pub(crate) fn condition(self, condition: &Cond) -> Truth {
        match condition {
            Cond::Const(value) => (*value).into(),
            Cond::Predicate(number) => self.predicate(*number),
            Cond::Not(inner) => self.condition(inner).not(),
            Cond::And(parts) => self.chain(parts, Truth::True, Truth::False, Truth::and),
            Cond::Or(parts) => self.chain(parts, Truth::False, Truth::True, Truth::or),
        }
    }

    fn chain(self, parts: &[Cond], from: Truth, settled: Truth, join: fn(Truth, Truth) -> Truth) -> Truth {
        let mut answer = from;
        for part in parts {
            answer = join(answer, self.condition(part));
            if answer == settled {
                break;
            }
        }
        answer
    }

    fn predicate(self, number: usize) -> Truth {
        let Some(predicate) = self.plan.predicate(number) else { return Truth::Unknown };
        match &predicate.shape {
            Shape::Texts { slot, texts, absent } => self.slot(*slot, *absent, |value| {
                // The number of a text that no policy knows is 0, which is in no list.
                texts.iter().any(|text| i128::from(*text) == value)
            }),
            Shape::Number { slot, comparison, operand, absent } => match self.operand(operand) {
                Some(operand) => self.slot(*slot, *absent, |value| holds(*comparison, value, operand)),
                None => Truth::Unknown,
            },
            Shape::Bool { slot, wanted, absent } => {
                self.slot(*slot, *absent, |value| value == i128::from(*wanted))
            }
            Shape::Mask { slot, mask, all } => {
                let common = self.slot_at(*slot).value & mask;
                if *all { common == *mask } else { common != 0 }.into()
            }
            Shape::Present { slot } => (self.slot_at(*slot).present != 0).into(),
            // Memories don't ask memories: the evaluator answers whatever else there is.
            Shape::Answer { .. } | Shape::Happened { .. } | Shape::Called => {
                self.frame.predicate(number, || interpret::predicate(self.plan, self.scene, number).0)
            }
        }
    }

    fn slot_at(self, slot: usize) -> Slot {
        self.frame.slots.get(slot).copied().unwrap_or_default()
    }

    fn slot(self, slot: usize, absent: Truth, holds: impl FnOnce(i128) -> bool) -> Truth {
        let slot = self.slot_at(slot);
        if slot.present != 0 { holds(slot.value).into() } else { absent }
    }

    fn operand(self, operand: &Operand) -> Option<i128> {
        match operand {
            Operand::Const(value) => Some(*value),
            Operand::Param(place) => self.plan.values.get(*place).and_then(fixed),
        }
    }
}

fn holds(comparison: Comparison, left: i128, right: i128) -> bool {
    match comparison {
        Comparison::Equal | Comparison::Same => left == right,
        Comparison::NotEqual => left != right,
        Comparison::Less => left < right,
        Comparison::LessOrEqual => left <= right,
        Comparison::Greater => left > right,
        Comparison::GreaterOrEqual => left >= right,
    }
}
