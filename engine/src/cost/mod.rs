//! What judging one event costs: counted while it is judged, and bounded beforehand by the plan.
//!
//! A count is a plain number that stands where the work is done; nobody pays for it but with an addition. What a plan
//! says of a kind of event is never less than what any event of that kind counts: `tests/bounds.rs` tries to break it.

mod bounds;
mod worst;

use std::cell::Cell;

pub(crate) use bounds::Taken;
use serde_json::Value;

/// What judging one event cost, or the most that it can.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// Rules that were looked at: called, or swept together with others. What they compare themselves is a few
    /// instructions each.
    pub rules: u64,
    /// Predicates that the evaluator answered for rules, each at most once.
    pub predicates: u64,
    /// Questions put to memories.
    pub questions: u64,
    /// Texts of the event that were looked up among those of the policies, and numbers of theirs in the index.
    pub look_ups: u64,
    /// Bytes of texts in which the index searched for pieces.
    pub searched: u64,
    /// Pieces that it found there.
    pub found: u64,
    /// Bytes of json that were read anew, because a rule asked for what is in them.
    pub json: u64,
    /// How often the evaluator was begun: for predicates, for keys, and for what a decision says.
    pub evaluations: u64,
    /// Its steps in all.
    pub steps: u64,
    /// Bytes of texts and json that its operators read.
    pub read: u64,
}

impl Cost {
    /// Every count with its name.
    pub fn counts(&self) -> [(&'static str, u64); 10] {
        [
            ("rules", self.rules),
            ("predicates", self.predicates),
            ("questions", self.questions),
            ("look_ups", self.look_ups),
            ("searched_bytes", self.searched),
            ("found_pieces", self.found),
            ("json_bytes", self.json),
            ("evaluations", self.evaluations),
            ("steps", self.steps),
            ("read_bytes", self.read),
        ]
    }

    /// The counts as an object.
    pub fn to_json(&self) -> Value {
        self.counts().into_iter().map(|(name, count)| (name.to_owned(), Value::from(count))).collect()
    }

    /// The first count that is greater than this bound allows: its name, the count and the bound.
    pub fn beyond(&self, bound: &Cost) -> Option<(&'static str, u64, u64)> {
        let both = self.counts().into_iter().zip(bound.counts());
        both.map(|((name, count), (_, most))| (name, count, most)).find(|(_, count, most)| count > most)
    }
}

/// What the evaluator and the index have done for one event so far.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    evaluations: Cell<u64>,
    steps: Cell<u64>,
    read: Cell<u64>,
    questions: Cell<u64>,
    look_ups: Cell<u64>,
    searched: Cell<u64>,
    found: Cell<u64>,
}

fn add(count: &Cell<u64>, more: usize) {
    count.set(count.get() + more as u64);
}

impl Meter {
    /// The evaluator ended after so many steps.
    pub(crate) fn evaluated(&self, steps: u32) {
        add(&self.evaluations, 1);
        self.stepped(steps);
    }

    /// Steps that no evaluation ends with.
    pub(crate) fn stepped(&self, steps: u32) {
        add(&self.steps, steps as usize);
    }

    /// An operator read so many bytes.
    pub(crate) fn read(&self, bytes: usize) {
        add(&self.read, bytes);
    }

    /// A memory was asked.
    pub(crate) fn asked(&self) {
        add(&self.questions, 1);
    }

    /// The index looked something up so often.
    pub(crate) fn looked_up(&self, times: usize) {
        add(&self.look_ups, times);
    }

    /// The index searched a text and found so many pieces.
    pub(crate) fn searched(&self, bytes: usize, found: usize) {
        add(&self.searched, bytes);
        add(&self.found, found);
    }

    /// What was counted, with what the frame knows.
    pub(crate) fn cost(&self, frame: Cost) -> Cost {
        Cost {
            questions: self.questions.get(),
            look_ups: frame.look_ups + self.look_ups.get(),
            searched: self.searched.get(),
            found: self.found.get(),
            evaluations: self.evaluations.get(),
            steps: self.steps.get(),
            read: self.read.get(),
            ..frame
        }
    }
}
