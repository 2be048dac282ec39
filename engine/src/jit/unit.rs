//! Rules as machine code sees them: with numbers of their own, so that rules of the same form share code.

use super::abi::{SLOT_SIZE, Tables};
use crate::plan::{Cond, Operand, Plan, SLOTS, Shape, fixed};

/// What one function is made from. Equal routines are the same code, whatever texts, numbers and policies they are for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Routine {
    /// One rule, called by itself, where the index finds it.
    Alone(LocalCond),
    /// Up to 64 rules that nothing rules out.
    Sweep(Vec<LocalCond>),
}

/// A condition over inline tests and calls.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum LocalCond {
    Const(bool),
    /// A test that is done inline. Its texts, its operand, its mask and its slot inside json are the routine's numbers.
    Inline(Shape),
    /// The routine's number of a called predicate.
    Called(usize),
    Not(Box<LocalCond>),
    And(Vec<LocalCond>),
    Or(Vec<LocalCond>),
}

/// What routines reach by numbers of their own: for all rules of a plan, one behind the other.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    /// The plan's numbers of texts, called predicates and questions, and where values inside json stand.
    short: Vec<u64>,
    /// Constants, the values of parameters, and the plan's bits of the texts that are asked of lists.
    wide: Vec<i128>,
}

/// Where those of one rule, or of a sweep, begin.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Start {
    short: u32,
    wide: u32,
}

/// What a short number is a number of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Text,
    Predicate,
    Question,
    Taken,
}

impl Numbers {
    /// The tables that code reads. Valid while the numbers live and are not changed.
    pub(crate) fn tables(&self, start: Start) -> Tables {
        let short = self.short.get(start.short as usize..).unwrap_or_default().as_ptr();
        let wide = self.wide.get(start.wide as usize..).unwrap_or_default().as_ptr();
        Tables { short, wide }
    }

    /// A rule that is called by itself: constants stand in the table, so that only its form matters.
    pub(crate) fn alone(&mut self, plan: &Plan, condition: &Cond) -> (Start, Routine) {
        let mut local = Local::new(plan, self, false);
        (local.start, Routine::Alone(local.condition(condition)))
    }

    /// Rules that are swept: constants stand in the code, which runs for every event.
    pub(crate) fn sweep<'c>(
        &mut self,
        plan: &Plan,
        conditions: impl Iterator<Item = &'c Cond>,
    ) -> (Start, Routine) {
        let mut local = Local::new(plan, self, true);
        (local.start, Routine::Sweep(conditions.map(|condition| local.condition(condition)).collect()))
    }
}

/// One routine in the making.
struct Local<'n> {
    plan: &'n Plan,
    numbers: &'n mut Numbers,
    start: Start,
    /// Its short numbers so far.
    short: Vec<(Of, u64)>,
    constants_in_code: bool,
}

impl<'n> Local<'n> {
    fn new(plan: &'n Plan, numbers: &'n mut Numbers, constants_in_code: bool) -> Local<'n> {
        let start = Start { short: numbers.short.len() as u32, wide: numbers.wide.len() as u32 };
        Local { plan, numbers, start, short: Vec::new(), constants_in_code }
    }

    fn condition(&mut self, condition: &Cond) -> LocalCond {
        let mut all = |parts: &[Cond]| parts.iter().map(|part| self.condition(part)).collect();
        match condition {
            Cond::Const(value) => LocalCond::Const(*value),
            Cond::And(parts) => LocalCond::And(all(parts)),
            Cond::Or(parts) => LocalCond::Or(all(parts)),
            Cond::Not(inner) => LocalCond::Not(Box::new(self.condition(inner))),
            Cond::Predicate(number) => match self.plan.predicate(*number).map(|known| &known.shape) {
                None | Some(Shape::Called | Shape::Part { .. }) => {
                    LocalCond::Called(self.number(Of::Predicate, *number as u64))
                }
                Some(shape) => LocalCond::Inline(self.shape(shape)),
            },
        }
    }

    fn shape(&mut self, shape: &Shape) -> Shape {
        match shape {
            Shape::Texts { slot, texts, absent } => {
                let texts = texts.iter().map(|text| self.number(Of::Text, u64::from(*text)) as u32).collect();
                Shape::Texts { slot: self.slot(*slot), texts, absent: *absent }
            }
            Shape::Number { slot, comparison, operand, absent } => {
                let operand = self.operand(operand);
                Shape::Number { slot: self.slot(*slot), comparison: *comparison, operand, absent: *absent }
            }
            Shape::Answer { question, comparison, operand } => {
                let question = self.number(Of::Question, *question as u64);
                Shape::Answer { question, comparison: *comparison, operand: self.operand(operand) }
            }
            Shape::Happened { question } => {
                Shape::Happened { question: self.number(Of::Question, *question as u64) }
            }
            Shape::Mask { slot, mask, all } => {
                Shape::Mask { slot: *slot, mask: self.wide(*mask) as i128, all: *all }
            }
            Shape::Bool { slot, wanted, absent } => {
                Shape::Bool { slot: self.slot(*slot), wanted: *wanted, absent: *absent }
            }
            Shape::Present { slot } => Shape::Present { slot: *slot },
            Shape::Part { .. } | Shape::Called => Shape::Called,
        }
    }

    /// Slots of fields are everywhere the same; those of values inside json get numbers of the routine.
    fn slot(&mut self, slot: usize) -> usize {
        match slot {
            0..SLOTS => slot,
            taken => SLOTS + self.number(Of::Taken, taken as u64 * SLOT_SIZE as u64),
        }
    }

    fn operand(&mut self, operand: &Operand) -> Operand {
        match *operand {
            Operand::Const(value) if self.constants_in_code => Operand::Const(value),
            Operand::Const(value) => Operand::Param(self.wide(value)),
            Operand::Param(place) => {
                let value = self.plan.values.get(place).and_then(fixed).unwrap_or(0);
                Operand::Param(self.wide(value))
            }
        }
    }

    /// The routine's number of something that has a number in the plan, the same wherever it stands in the routine.
    fn number(&mut self, of: Of, number: u64) -> usize {
        let known = self.short.iter().position(|known| *known == (of, number));
        known.unwrap_or_else(|| {
            self.short.push((of, number));
            self.numbers.short.push(number);
            self.short.len() - 1
        })
    }

    /// Each value gets a place of its own: which of them are equal is no part of a rule's form.
    fn wide(&mut self, value: i128) -> usize {
        self.numbers.wide.push(value);
        self.numbers.wide.len() - 1 - self.start.wide as usize
    }
}
