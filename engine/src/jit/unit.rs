//! Up to 64 rules of one policy as machine code sees them: numbered by themselves, so that equal units share code.

use sha2::{Digest, Sha256};

use super::abi::{SLOT_SIZE, Tables};
use crate::plan::{Cond, Operand, Plan, RulePlan, SLOTS, Shape, fixed};

/// The conditions of a unit's rules, with numbers of its own.
#[derive(Debug, Default)]
pub(crate) struct Unit {
    /// The rules, by their numbers in the plan.
    pub rules: Vec<usize>,
    /// One condition for each rule.
    pub conditions: Vec<LocalCond>,
    /// How each rule is called.
    pub calls: Vec<Calls>,
    /// The plan's numbers of the texts.
    pub texts: Vec<u64>,
    /// The plan's numbers of the called predicates.
    pub predicates: Vec<u64>,
    /// The plan's numbers of the questions to memories.
    questions: Vec<u64>,
    /// The values of the parameters, and their places in the plan's block.
    pub params: Vec<i128>,
    places: Vec<usize>,
    /// The plan's bits of the texts that are asked of lists.
    masks: Vec<i128>,
    /// Where the values inside json stand among the slots, in bytes.
    taken: Vec<u64>,
}

/// How a rule is called: by itself, where the index finds it, or together with those that nothing rules out.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Calls {
    pub alone: bool,
    pub swept: bool,
}

// The tables point into the unit's own vectors, which live and die with it; moving the unit does not move these.
impl Unit {
    /// The tables that its code reads. Valid while the unit lives and is not changed.
    pub(crate) fn tables(&self) -> Tables {
        Tables {
            texts: self.texts.as_ptr(),
            predicates: self.predicates.as_ptr(),
            questions: self.questions.as_ptr(),
            params: self.params.as_ptr(),
            masks: self.masks.as_ptr(),
            taken: self.taken.as_ptr(),
        }
    }
}

/// A condition over inline tests and calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LocalCond {
    Const(bool),
    /// A test that is done inline. Its texts, its parameter and its mask are the unit's numbers.
    Inline(Shape),
    /// The unit's number of a called predicate.
    Called(usize),
    Not(Box<LocalCond>),
    And(Vec<LocalCond>),
    Or(Vec<LocalCond>),
}

impl Unit {
    pub(crate) fn new(plan: &Plan, rules: &[(usize, &RulePlan)], calls: impl Fn(usize) -> Calls) -> Unit {
        let mut unit = Unit::default();
        for (number, rule) in rules {
            unit.rules.push(*number);
            unit.calls.push(calls(*number));
            let condition = unit.localize(plan, &rule.condition);
            unit.conditions.push(condition);
        }
        unit
    }

    /// What the code of this unit depends on, and nothing else.
    pub(crate) fn identity(&self) -> [u8; 32] {
        Sha256::digest(format!("{:?}{:?}", self.conditions, self.calls)).into()
    }

    fn localize(&mut self, plan: &Plan, condition: &Cond) -> LocalCond {
        let all =
            |unit: &mut Unit, parts: &[Cond]| parts.iter().map(|part| unit.localize(plan, part)).collect();
        match condition {
            Cond::Const(value) => LocalCond::Const(*value),
            Cond::Not(inner) => LocalCond::Not(Box::new(self.localize(plan, inner))),
            Cond::And(parts) => LocalCond::And(all(self, parts)),
            Cond::Or(parts) => LocalCond::Or(all(self, parts)),
            Cond::Predicate(number) => match plan.predicate(*number).map(|predicate| predicate.shape.clone())
            {
                None | Some(Shape::Called | Shape::Part { .. }) => {
                    LocalCond::Called(place_of(&mut self.predicates, *number as u64))
                }
                Some(shape) => LocalCond::Inline(self.local_shape(plan, shape)),
            },
        }
    }

    fn local_shape(&mut self, plan: &Plan, shape: Shape) -> Shape {
        match shape {
            Shape::Texts { slot, texts, absent } => {
                let texts =
                    texts.iter().map(|text| place_of(&mut self.texts, u64::from(*text)) as u32).collect();
                Shape::Texts { slot: self.slot(slot), texts, absent }
            }
            Shape::Number { slot, comparison, operand, absent } => {
                let operand = self.operand(plan, operand);
                Shape::Number { slot: self.slot(slot), comparison, operand, absent }
            }
            Shape::Answer { question, comparison, operand } => {
                let question = place_of(&mut self.questions, question as u64);
                Shape::Answer { question, comparison, operand: self.operand(plan, operand) }
            }
            Shape::Happened { question } => {
                Shape::Happened { question: place_of(&mut self.questions, question as u64) }
            }
            Shape::Mask { slot, mask, all } => {
                Shape::Mask { slot, mask: place_of(&mut self.masks, mask) as i128, all }
            }
            Shape::Bool { slot, wanted, absent } => Shape::Bool { slot: self.slot(slot), wanted, absent },
            other @ (Shape::Present { .. } | Shape::Part { .. } | Shape::Called) => other,
        }
    }

    /// Slots of fields are everywhere the same; those of values inside json get numbers of the unit.
    fn slot(&mut self, slot: usize) -> usize {
        match slot {
            0..SLOTS => slot,
            taken => SLOTS + place_of(&mut self.taken, taken as u64 * SLOT_SIZE as u64),
        }
    }

    fn operand(&mut self, plan: &Plan, operand: Operand) -> Operand {
        let Operand::Param(place) = operand else { return operand };
        let local = place_of(&mut self.places, place);
        if local == self.params.len() {
            self.params.push(plan.values.get(place).and_then(fixed).unwrap_or(0));
        }
        Operand::Param(local)
    }
}

fn place_of<T: PartialEq>(list: &mut Vec<T>, value: T) -> usize {
    match list.iter().position(|known| *known == value) {
        Some(place) => place,
        None => {
            list.push(value);
            list.len() - 1
        }
    }
}
