//! Totals by steps of time, of which a window takes many: those that no event changes any more are summed up once.

use std::collections::VecDeque;

use lictor_dsl::hir::MemoryOperator;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::answer::{Span, first_step};
use super::state::{Stamp, Stored};
use crate::plan::memory::MemoryPlan;
use crate::truth::Truth;

/// The sums of one step of time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Step {
    /// Its number since 1970.
    pub(super) number: i64,
    /// The sum, count or extreme that is certain, and the one that is possible at most.
    pub(super) least: i128,
    pub(super) most: i128,
    /// Whether an event certainly counts, and whether one possibly does.
    pub(super) certain: bool,
    pub(super) possible: bool,
    /// Whether the value of an event that may count is absent.
    pub(super) lacking: bool,
}

impl Step {
    /// Nothing happened in it.
    pub(super) fn empty(number: i64) -> Step {
        Step { number, least: 0, most: 0, certain: false, possible: false, lacking: false }
    }

    /// Adds an amount.
    pub(super) fn take(
        &mut self,
        operator: MemoryOperator,
        least: i128,
        most: i128,
        certain: bool,
        possible: bool,
    ) {
        match operator {
            MemoryOperator::Max | MemoryOperator::Min => {
                let is_max = operator == MemoryOperator::Max;
                let better = |a: i128, b: i128| if is_max { a.max(b) } else { a.min(b) };
                // `least` is the extreme of what is certain, `most` of all that is possible.
                if certain {
                    self.least = if self.certain { better(self.least, least) } else { least };
                }
                if possible {
                    self.most = if self.possible { better(self.most, most) } else { most };
                }
            }
            _ => {
                self.least = self.least.saturating_add(if certain { least } else { least.min(0) });
                self.most = self.most.saturating_add(if certain { most } else { most.max(0) });
            }
        }
        self.certain |= certain;
        self.possible |= possible;
    }

    /// Adds a whole step.
    fn join(&mut self, operator: MemoryOperator, step: &Step) {
        match operator {
            MemoryOperator::Max | MemoryOperator::Min => {
                self.take(operator, step.least, step.most, step.certain, step.possible);
            }
            _ => {
                self.least = self.least.saturating_add(step.least);
                self.most = self.most.saturating_add(step.most);
            }
        }
        self.lacking |= step.lacking;
    }
}

/// The steps in which something happened, oldest first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Steps {
    steps: VecDeque<Step>,
    /// Where there are many, those of the window before the latest together.
    earlier: Option<Box<Earlier>>,
}

/// Several steps together: all but so many of the oldest, and the latest.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Earlier {
    skipped: usize,
    sum: Step,
}

/// So few steps are summed up each time.
const FEW: usize = 8;

impl Steps {
    /// The steps from this one on together.
    pub(super) fn since(&self, operator: MemoryOperator, first: i64) -> Step {
        if let Some(earlier) = self.earlier_since(first)
            && let Some(latest) = self.steps.back()
        {
            let mut sum = earlier.sum.clone();
            sum.join(operator, latest);
            return sum;
        }
        self.summed(operator, first, self.steps.len())
    }

    /// Those from this one on, of so many.
    fn summed(&self, operator: MemoryOperator, first: i64, count: usize) -> Step {
        let mut sum = Step::empty(0);
        let from = self.steps.partition_point(|step| step.number < first).min(count);
        self.steps.range(from..count).for_each(|step| sum.join(operator, step));
        sum
    }

    /// What was summed up, if that is what comes from this step on.
    fn earlier_since(&self, first: i64) -> Option<&Earlier> {
        let earlier = self.earlier.as_deref()?;
        let inside = |place: usize| self.steps.get(place).is_some_and(|step| step.number >= first);
        let before = earlier.skipped.checked_sub(1);
        (inside(earlier.skipped) && !before.is_some_and(inside)).then_some(earlier)
    }

    /// Sums up what comes before the latest step, from this one on.
    fn sum_up(&mut self, operator: MemoryOperator, first: i64) {
        self.earlier = (self.steps.len() > FEW).then(|| {
            let skipped = self.steps.partition_point(|step| step.number < first);
            Box::new(Earlier { skipped, sum: self.summed(operator, first, self.steps.len() - 1) })
        });
    }

    /// Takes in an event.
    pub(super) fn add(
        &mut self,
        memory: &MemoryPlan,
        length: Option<i64>,
        counts: Truth,
        value: Option<&Stored>,
        stamp: Stamp,
    ) {
        let (number, first) = step_of(memory, length, stamp);
        let before = self.steps.len();
        while length.is_some() && self.steps.front().is_some_and(|step| step.number < first) {
            self.steps.pop_front();
        }
        let fell = self.steps.len() < before;
        let is_new = self.steps.back().is_none_or(|step| step.number != number);
        if is_new {
            self.steps.push_back(Step::empty(number));
        }
        // A window reaches one step less far than what is kept for it.
        let window = memory.horizon_us.saturating_sub(length.unwrap_or(0));
        let first = first_step(Span::Time(window), length, stamp.at);
        if fell || is_new || self.earlier_since(first).is_none() {
            self.sum_up(memory.operator, first);
        }
        let Some(step) = self.steps.back_mut() else { return };
        let certain = counts == Truth::True;
        let amount = match memory.operator {
            MemoryOperator::Count => Some(1),
            _ => value.and_then(Stored::amount),
        };
        let Some(amount) = amount else {
            step.lacking = true;
            return;
        };
        step.take(memory.operator, amount, amount, certain, true);
    }

    /// The latest step, if it is this one.
    pub(super) fn latest(&self, number: i64) -> Option<&Step> {
        self.steps.back().filter(|step| step.number == number)
    }

    /// Whether steps before this one are still held.
    pub(super) fn reach_before(&self, first: i64) -> bool {
        self.steps.front().is_some_and(|step| step.number < first)
    }

    /// Makes the latest step what it was before an event; none if there was another before it.
    pub(super) fn take_back(&mut self, before: Option<Step>) {
        self.steps.pop_back();
        self.steps.extend(before);
        // The next event sums up anew.
        self.earlier = None;
    }

    /// Bytes on the heap.
    pub(super) fn heap(&self) -> usize {
        self.steps.capacity() * size_of::<Step>() + self.earlier.as_ref().map_or(0, |_| size_of::<Earlier>())
    }
}

/// What was summed up follows from the steps.
impl PartialEq for Steps {
    fn eq(&self, other: &Steps) -> bool {
        self.steps == other.steps
    }
}

impl Serialize for Steps {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.steps.serialize(serializer)
    }
}

impl<'d> Deserialize<'d> for Steps {
    fn deserialize<D: Deserializer<'d>>(deserializer: D) -> Result<Steps, D::Error> {
        Ok(Steps { steps: VecDeque::deserialize(deserializer)?, earlier: None })
    }
}

/// The number of the step of time that a moment falls into, and that of the first step that can still matter then.
pub(super) fn step_of(memory: &MemoryPlan, length: Option<i64>, stamp: Stamp) -> (i64, i64) {
    let number = length.map_or(0, |length| stamp.at.div_euclid(length.max(1)));
    (number, first_step(Span::Time(memory.horizon_us), length, stamp.at))
}

#[cfg(test)]
mod tests {
    use super::super::tests::compiled;
    use super::*;
    use crate::plan::memory::Keep;

    /// Whatever was summed up before, the steps of any window are those that are held.
    #[test]
    fn what_was_summed_up_is_the_sum() {
        let generation = compiled(
            "rule sum on intent { when sum(intent.amount per agent.id within 1h) > 5 warn }
             rule most on intent { when max(intent.amount per agent.id within 1h) > 5 warn }
             rule least on intent { when min(intent.amount per agent.id within 1h) < 5 warn }",
        );
        for memory in &generation.plan().memories.all {
            let Keep::Steps(length, _) = memory.keep else { panic!("not in steps") };
            let (mut steps, mut known, mut at) = (Steps::default(), 0, 0);
            for number in 0..2_000i64 {
                // Busy, then quiet, then busy again.
                at += if number % 400 < 300 { 7_000_000 } else { 900_000_000 };
                let stamp = Stamp { at, id: 0 };
                let value = (number % 17 != 0).then(|| Stored::Number(i128::from(number * 31 % 97 - 48)));
                let counts = if number % 5 == 0 { Truth::Unknown } else { Truth::True };
                let (step, _) = step_of(memory, length, stamp);
                let before = steps.latest(step).cloned();
                let fell = steps.reach_before(step_of(memory, length, stamp).1);
                steps.add(memory, length, counts, value.as_ref(), stamp);
                if number % 13 == 0 && !fell {
                    steps.take_back(before);
                    steps.add(memory, length, counts, value.as_ref(), stamp);
                }
                for window in [60_000_000, 1_800_000_000, 3_540_000_000, 3_600_000_000] {
                    for later in [0, 30_000_000, 200_000_000] {
                        let first = first_step(Span::Time(window), length, at + later);
                        let anew = steps.summed(memory.operator, first, steps.steps.len());
                        assert_eq!(
                            steps.since(memory.operator, first),
                            anew,
                            "{} event {number}",
                            memory.text
                        );
                        known += usize::from(steps.earlier_since(first).is_some());
                    }
                }
            }
            assert!(known > 1_000, "{known} were known");
        }
    }
}
