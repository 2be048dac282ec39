//! What a memory answers from what it keeps for one key: the least and the greatest value that all doubt allows.

use std::collections::VecDeque;

use lictor_dsl::hir::MemoryOperator;
use lictor_dsl::number::Number;
use lictor_dsl::types::Type;

use super::state::{Entry, Stages, Stamp, State, Stored, lacking};
use super::steps::Step;
use crate::plan::memory::{Keep, MemoryPlan};
use crate::truth::Truth;
use crate::value::Value;

/// What a memory answers: the least and the greatest value, if they are known; and whether there is anything.
#[derive(Debug, Clone)]
pub(crate) struct Answer<'m> {
    pub value: Option<(Value<'m>, Value<'m>)>,
    pub present: Truth,
}

impl<'m> Answer<'m> {
    /// The answer as far as it is asked for: only whether a bound is reached.
    pub(crate) fn up_to(mut self, bound: Option<u32>) -> Answer<'m> {
        if let (Some(bound), Some((least, most))) = (bound, &mut self.value) {
            for value in [least, most] {
                if let Value::Number(number) = value {
                    *number = (*number).min(Number::whole(i64::from(bound)));
                }
            }
        }
        self
    }

    /// Nothing is known.
    pub(crate) const UNKNOWN: Answer<'static> = Answer { value: None, present: Truth::Unknown };

    pub(super) fn truth(least: bool, most: bool) -> Answer<'m> {
        Answer { value: Some((Value::Bool(least), Value::Bool(most))), present: Truth::True }
    }

    pub(super) fn count(least: usize, most: usize) -> Answer<'m> {
        let number = |count: usize| Value::Number(Number::whole(i64::try_from(count).unwrap_or(i64::MAX)));
        Answer { value: Some((number(least), number(most))), present: Truth::True }
    }

    pub(super) fn absent(present: Truth) -> Answer<'m> {
        Answer { value: None, present }
    }
}

/// How far back is asked, with the parameter's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Span {
    Always,
    Time(i64),
    Events(usize),
}

impl Span {
    /// Whether what happened then is inside, the window rounded outward where it is kept in steps.
    pub(super) fn reaches(self, keep: Keep, at: i64, now: i64) -> bool {
        match keep {
            Keep::Steps(Some(length), _) => {
                at.div_euclid(length.max(1)) >= first_step(self, Some(length), now)
            }
            _ => self.holds(at, now),
        }
    }

    /// Whether something that happened then is inside.
    pub(crate) fn holds(self, at: i64, now: i64) -> bool {
        match self {
            Span::Time(window) => now.saturating_sub(at) < window,
            Span::Always | Span::Events(_) => true,
        }
    }
}

impl State {
    /// Answers what is asked now.
    pub(crate) fn answer(&self, memory: &MemoryPlan, span: Span, now: i64) -> Answer<'_> {
        let inside = |stamp: &Stamp| span.holds(stamp.at, now);
        match self {
            State::Marks { certain, possible } => {
                let certain = certain.filter(inside);
                let possible = possible.filter(inside);
                match memory.operator {
                    MemoryOperator::Age => {
                        let Some(known) = certain else {
                            return Answer::absent(if possible.is_some() {
                                Truth::Unknown
                            } else {
                                Truth::False
                            });
                        };
                        let latest = possible.map_or(known.at, |possible| possible.at.max(known.at));
                        let age = |at: i64| Value::Duration(now.saturating_sub(at));
                        Answer { value: Some((age(latest), age(known.at))), present: Truth::True }
                    }
                    _ => Answer::truth(certain.is_some(), certain.is_some() || possible.is_some()),
                }
            }
            State::Ring { certain, doubtful } => {
                let least = latest_inside(certain, inside);
                let more = doubtful.as_ref().map_or(0, |doubtful| latest_inside(doubtful, inside));
                Answer::count(least, least + more)
            }
            State::Values { certain, doubtful } => {
                let from = |ring: &VecDeque<(u128, Stamp)>| ring.partition_point(|(_, stamp)| !inside(stamp));
                let first = from(certain);
                let known = |value| certain.range(first..).any(|(known, _)| *known == value);
                let more = doubtful.as_ref().map_or(0, |doubtful| {
                    doubtful.range(from(doubtful)..).filter(|(value, _)| !known(*value)).count()
                });
                let least = certain.len() - first;
                Answer::count(least, least + more)
            }
            State::Steps(steps) => {
                let length = match memory.keep {
                    Keep::Steps(length, _) => length,
                    _ => None,
                };
                finished(memory, &steps.since(memory.operator, first_step(span, length, now)))
            }
            State::Latest(latest) => {
                let certain = latest.certain.as_ref().filter(|(stamp, _)| inside(stamp));
                let (with, without) =
                    (latest.with.is_some_and(|s| inside(&s)), latest.without.is_some_and(|s| inside(&s)));
                let value = certain.and_then(|(_, value)| value.as_ref()).and_then(Stored::value);
                if !with && !without {
                    let present = Truth::from(value.is_some());
                    return Answer { value: value.map(|value| (value.clone(), value)), present };
                }
                Answer::absent(match (value.is_some(), with, without) {
                    (true, true, false) => Truth::True,
                    (false, false, true) => Truth::False,
                    _ => Truth::Unknown,
                })
            }
            State::Streak { least, most, .. } => Answer::count(*least as usize, *most as usize),
            State::Stages { certain, possible } => {
                let done = |stages: &Stages| {
                    let first = stages.last().and_then(|last| last.as_ref()?.first());
                    first.is_some_and(inside)
                };
                Answer::truth(done(certain), done(possible))
            }
            State::Events(events) => {
                let count = match span {
                    Span::Events(count) => count,
                    _ => events.len(),
                };
                let latest = events.iter().skip(events.len().saturating_sub(count));
                of_events(memory, latest, now)
            }
        }
    }

    /// The events that an answer rests on, the latest hundred.
    pub(crate) fn witnesses(&self, span: Span, now: i64) -> Vec<u64> {
        let stamps: Vec<Stamp> = match self {
            State::Marks { certain, .. } => certain.iter().copied().collect(),
            State::Ring { certain, .. } => certain.iter().copied().collect(),
            State::Values { certain, .. } => certain.iter().map(|(_, stamp)| *stamp).collect(),
            State::Latest(latest) => latest.certain.iter().map(|(stamp, _)| *stamp).collect(),
            State::Streak { latest, .. } => latest.iter().copied().collect(),
            State::Stages { certain, .. } => certain.last().cloned().flatten().unwrap_or_default(),
            State::Events(events) => {
                let counting = events.iter().filter(|entry| entry.counts == Truth::True);
                counting.map(|entry| entry.stamp).collect()
            }
            State::Steps(_) => Vec::new(),
        };
        let inside: Vec<u64> =
            stamps.into_iter().filter(|stamp| span.holds(stamp.at, now)).map(|stamp| stamp.id).collect();
        inside.iter().skip(inside.len().saturating_sub(WITNESSES)).copied().collect()
    }
}

/// The most witnesses that an incident names.
const WITNESSES: usize = 100;

/// How many of the latest entries are inside; they are in order of time. Mostly all are.
fn latest_inside(ring: &VecDeque<Stamp>, inside: impl Fn(&Stamp) -> bool) -> usize {
    if ring.front().is_none_or(&inside) {
        return ring.len();
    }
    ring.len() - ring.partition_point(|stamp| !inside(stamp))
}

/// The number of the first step that a window touches.
pub(super) fn first_step(span: Span, length: Option<i64>, now: i64) -> i64 {
    match (span, length) {
        (Span::Time(window), Some(length)) => {
            now.saturating_sub(window).saturating_add(1).div_euclid(length.max(1))
        }
        _ => i64::MIN,
    }
}

fn finished<'m>(memory: &MemoryPlan, sum: &Step) -> Answer<'m> {
    let typed = |amount: i128| match memory.value_ty {
        Some(Type::Time) => Value::Time(amount as i64),
        Some(Type::Duration) => Value::Duration(amount as i64),
        _ => Value::Number(Number::from_billionths(amount)),
    };
    match memory.operator {
        MemoryOperator::Count => Answer::count(sum.least as usize, sum.most as usize),
        MemoryOperator::Sum if sum.lacking => Answer::absent(Truth::True),
        MemoryOperator::Sum => {
            Answer { value: Some((typed(sum.least), typed(sum.most))), present: Truth::True }
        }
        _ if sum.certain && !sum.lacking => {
            let (low, high) = if memory.operator == MemoryOperator::Max {
                (sum.least, sum.most)
            } else {
                (sum.most, sum.least)
            };
            Answer { value: Some((typed(low), typed(high))), present: Truth::True }
        }
        _ => Answer::absent(match (sum.certain, sum.possible || sum.lacking) {
            (true, _) => Truth::True,
            (false, true) => Truth::Unknown,
            (false, false) => Truth::False,
        }),
    }
}

/// The answer over single events.
fn of_events<'m>(
    memory: &MemoryPlan,
    events: impl DoubleEndedIterator<Item = &'m Entry>,
    now: i64,
) -> Answer<'m> {
    let counting = events.filter(|entry| entry.counts != Truth::False);
    if memory.operator == MemoryOperator::Count {
        let (least, most) = counting.fold((0, 0), |(least, most), entry| {
            (least + usize::from(entry.counts == Truth::True), most + 1)
        });
        return Answer::count(least, most);
    }
    let counting: Vec<&Entry> = counting.collect();
    let certain = || counting.iter().filter(|entry| entry.counts == Truth::True);
    match memory.operator {
        MemoryOperator::Seen => Answer::truth(certain().next().is_some(), !counting.is_empty()),
        MemoryOperator::Sum | MemoryOperator::Max | MemoryOperator::Min => {
            let mut sum = Step::empty(0);
            for entry in &counting {
                match entry.value.as_ref().and_then(Stored::amount) {
                    Some(amount) => {
                        sum.take(memory.operator, amount, amount, entry.counts == Truth::True, true);
                    }
                    None => sum.lacking = true,
                }
            }
            finished(memory, &sum)
        }
        MemoryOperator::Distinct => {
            let mut known: Vec<u128> = Vec::new();
            let mut possible: Vec<u128> = Vec::new();
            for entry in &counting {
                match (&entry.value, entry.counts) {
                    (Some(Stored::Digest(value)), Truth::True) => known.push(*value),
                    (Some(Stored::Digest(value)), _) => possible.push(*value),
                    _ => possible.push(lacking(entry.stamp)),
                }
            }
            known.sort_unstable();
            known.dedup();
            possible.sort_unstable();
            possible.dedup();
            possible.retain(|value| known.binary_search(value).is_err());
            Answer::count(known.len(), known.len() + possible.len())
        }
        MemoryOperator::Age => {
            let Some(known) = certain().next_back() else {
                return Answer::absent(if counting.is_empty() { Truth::False } else { Truth::Unknown });
            };
            let latest = counting.last().map_or(known.stamp.at, |entry| entry.stamp.at);
            let age = |at: i64| Value::Duration(now.saturating_sub(at));
            Answer { value: Some((age(latest), age(known.stamp.at))), present: Truth::True }
        }
        _ => {
            let place = counting.iter().rposition(|entry| entry.counts == Truth::True);
            let value = place.and_then(|place| counting.get(place)?.value.as_ref()?.value());
            let doubtful = counting.get(place.map_or(0, |place| place + 1)..).unwrap_or_default();
            if doubtful.is_empty() {
                let present = Truth::from(value.is_some());
                return Answer { value: value.map(|value| (value.clone(), value)), present };
            }
            let mut worlds = doubtful.iter().map(|entry| entry.value.is_some());
            let all_alike = worlds.all(|has| has == value.is_some());
            Answer::absent(if all_alike { Truth::from(value.is_some()) } else { Truth::Unknown })
        }
    }
}
