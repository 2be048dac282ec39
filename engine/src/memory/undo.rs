//! How to take back what one event does to one state: at the cost of that change, not of all that is kept.

use std::collections::VecDeque;

use super::group::Record;
use super::key::Key;
use super::state::{Entry, Sight, Stamp, State};
use super::steps::{Step, step_of};
use crate::plan::memory::{Keep, MemoryPlan};
use crate::truth::Truth;

/// How to take back one change.
#[derive(Debug)]
pub(super) enum Undo {
    State {
        group: usize,
        key: Key,
        slot: u32,
        before: Before,
    },
    /// There was no state.
    NoState {
        group: usize,
        key: Key,
        slot: u32,
    },
    Touched {
        group: usize,
        key: Key,
        before: i64,
    },
    Gone {
        group: usize,
        key: Key,
        record: Record,
    },
    Created {
        group: usize,
        key: Key,
    },
    Lost {
        group: [u8; 32],
        key: Key,
        before: Option<i64>,
    },
    Clock {
        latest_at: i64,
        remembered: u64,
        lost_lately: u64,
        all_lost: Option<i64>,
    },
}

/// What has to be known of a state to take back what one event did to it.
#[derive(Debug)]
pub(super) enum Before {
    /// All of it: it is small, or changed in more than one place.
    Whole(Box<State>),
    /// Nothing changed.
    Same,
    /// A time came behind the others, certain or doubtful.
    Ring { doubtful: bool, end: End<Stamp> },
    /// An event came behind the others.
    Events(End<Entry>),
    /// The latest step of time was this, or there was another before it.
    Step(Option<Step>),
}

/// One entry came behind the others, and this one fell out in front.
#[derive(Debug)]
pub(super) struct End<T> {
    fell: Option<T>,
}

impl<T: Clone> End<T> {
    /// What pushing an entry does to a ring; none if more than one falls out.
    fn of(ring: &VecDeque<T>, most: usize) -> Option<End<T>> {
        let most = most.max(1);
        (ring.len() <= most).then(|| End { fell: ring.front().filter(|_| ring.len() == most).cloned() })
    }

    fn take_back(self, ring: &mut VecDeque<T>) {
        ring.pop_back();
        if let Some(fell) = self.fell {
            ring.push_front(fell);
        }
    }
}

impl Before {
    /// What a state is before it takes in this event.
    pub(super) fn of(state: &State, memory: &MemoryPlan, sight: &Sight, stamp: Stamp) -> Before {
        let whole = || Before::Whole(Box::new(state.clone()));
        let counts = sight.first;
        match (state, memory.keep) {
            (State::Ring { .. } | State::Values { .. } | State::Steps(_), _) if counts == Truth::False => {
                Before::Same
            }
            (State::Events(_), _) if !sight.of_kind => Before::Same,
            (State::Ring { certain, doubtful }, Keep::Ring(most)) => {
                let is_doubtful = counts != Truth::True;
                let end = match (is_doubtful, doubtful.as_deref()) {
                    (false, _) => End::of(certain, most),
                    (true, Some(doubtful)) => End::of(doubtful, most),
                    (true, None) => Some(End { fell: None }),
                };
                end.map_or_else(whole, |end| Before::Ring { doubtful: is_doubtful, end })
            }
            (State::Events(events), Keep::Events(most)) => {
                End::of(events, most).map_or_else(whole, Before::Events)
            }
            (State::Steps(steps), Keep::Steps(length, _)) => {
                let (number, first) = step_of(memory, length, stamp);
                if length.is_some() && steps.reach_before(first) {
                    return whole();
                }
                Before::Step(steps.latest(number).cloned())
            }
            _ => whole(),
        }
    }

    /// Makes a state what it was.
    pub(super) fn take_back(self, state: &mut State) {
        match (self, state) {
            (Before::Whole(before), state) => *state = *before,
            (Before::Ring { doubtful: false, end }, State::Ring { certain, .. }) => end.take_back(certain),
            (Before::Ring { end, .. }, State::Ring { doubtful, .. }) => {
                if let Some(ring) = doubtful {
                    end.take_back(ring);
                }
                // Where there is no doubt no room is taken.
                *doubtful = doubtful.take().filter(|ring| !ring.is_empty());
            }
            (Before::Events(end), State::Events(events)) => end.take_back(events),
            (Before::Step(before), State::Steps(steps)) => {
                steps.take_back(before);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::compiled;
    use super::*;
    use crate::memory::state::Stored;

    /// Each kind of state, through hundreds of events of every truth: one more, taken back, leaves what was there.
    #[test]
    fn a_change_taken_back_leaves_nothing() {
        let generation = compiled(
            "rule ring on intent { when count(intent per agent.id within 1h) >= 5 warn }
             rule values on intent { when distinct(intent.action per agent.id within 1h) >= 4 warn }
             rule steps on intent { when sum(intent.amount per agent.id within 1h) > 5 warn }
             rule total on intent { when sum(intent.amount per agent.id) > 5 warn }
             rule extreme on intent { when max(intent.amount per agent.id within 1h) > 5 warn }
             rule events on intent { when count(intent per agent.id within 7 events) > 5 warn }
             rule mark on intent { when age(intent per agent.id) < 1h warn }
             rule last on intent { when last(intent.amount per agent.id) > 5 warn }
             rule streak on intent { when streak(intent where amount > 1 per agent.id) > 5 warn }
             rule since on intent { when seen(intent since action per agent.id) warn }
             rule stages on intent { when sequence(intent then action until log per agent.id) warn }",
        );
        let memories = &generation.plan().memories.all;
        assert_eq!(memories.len(), 11);
        let truths = [Truth::True, Truth::Unknown, Truth::False];
        for memory in memories {
            let mut state = State::new(memory.keep);
            for number in 0..600usize {
                let truth = |shift: usize| truths[(number * 7 + number / 5 + shift) % 3];
                let sight = Sight {
                    first: truth(0),
                    others: vec![truth(1)],
                    since: if number % 11 == 0 { truth(2) } else { Truth::False },
                    until: if number % 13 == 0 { truth(1) } else { Truth::False },
                    of_kind: number % 4 != 0,
                    value: match (memory.operator, number % 5) {
                        (_, 0) => None,
                        (lictor_dsl::hir::MemoryOperator::Distinct, _) => {
                            Some(Stored::Digest(number as u128 % 9))
                        }
                        _ => Some(Stored::Number(number as i128)),
                    },
                };
                let stamp = Stamp { at: number as i64 * 40_000_000, id: number as u64 };
                let before = state.clone();
                let undo = Before::of(&state, memory, &sight, stamp);
                state.remember(memory, &sight, stamp);
                let after = state.clone();
                undo.take_back(&mut state);
                assert_eq!(state, before, "{} event {number}", memory.text);
                state = after;
            }
        }
    }
}
