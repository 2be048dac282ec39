//! Conditions from the slots of a frame, where machine code is not worth its making: those of memories.
//!
//! It answers what machine code answers, predicate by predicate, and shares with it what was found out.

use lictor_dsl::hir::Comparison;

use crate::frame::{Frame, Slot};
use crate::interpret::{
    self,
    expr::{Scene, text_test},
};
use crate::plan::{Cond, Operand, Plan, Predicate, Shape, fixed};
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
            // The number of a text that no policy knows is 0, which is in no list.
            Shape::Texts { slot, texts, absent } => {
                self.slot(*slot, *absent, |slot| texts.contains(&slot.text()))
            }
            Shape::Number { slot, comparison, operand, absent } => match self.operand(operand) {
                Some(operand) => self.slot(*slot, *absent, |slot| holds(*comparison, slot.value, operand)),
                None => Truth::Unknown,
            },
            Shape::Bool { slot, wanted, absent } => {
                self.slot(*slot, *absent, |slot| slot.value == i128::from(*wanted))
            }
            Shape::Mask { slot, mask, all } => {
                let common = self.slot_at(*slot).value & mask;
                if *all { common == *mask } else { common != 0 }.into()
            }
            Shape::Present { slot } => (self.slot_at(*slot).present != 0).into(),
            // Memories don't ask memories: the evaluator answers whatever else there is.
            Shape::Part { .. } | Shape::Answer { .. } | Shape::Happened { .. } | Shape::Called => {
                self.frame.predicate(number, || self.called(number))
            }
        }
    }

    /// The truth of a predicate that machine code does not answer itself, found anew.
    pub(crate) fn called(self, number: usize) -> Truth {
        match self.plan.predicate(number) {
            Some(predicate @ Predicate { shape: Shape::Part { .. }, .. }) => self.searched(predicate),
            _ => interpret::predicate(self.plan, self.scene, number).0,
        }
    }

    fn searched(self, predicate: &Predicate) -> Truth {
        let Shape::Part { slot, test, part, absent } = &predicate.shape else { return Truth::Unknown };
        self.frame.with_text(self.plan, self.scene, *slot, |text| {
            let Some(text) = text else { return *absent };
            self.scene.meter.read(text.len() + part.len());
            text_test(*test, text, part).into()
        })
    }

    fn slot_at(self, slot: usize) -> Slot {
        self.frame.slot(self.plan, self.scene, slot)
    }

    fn slot(self, slot: usize, absent: Truth, holds: impl FnOnce(Slot) -> bool) -> Truth {
        let slot = self.slot_at(slot);
        if slot.present != 0 { holds(slot).into() } else { absent }
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
