//! What one memory keeps for one key: bounded, whatever the length of the history.
//!
//! An event whose `where` is unknown may have been one. So each state keeps what certainly happened apart from what
//! possibly did, and answers with the least and the greatest value that both allow.

use std::collections::VecDeque;
use std::sync::Arc;

use lictor_dsl::hir::MemoryOperator;
use lictor_dsl::number::Number;
use lictor_dsl::types::Type;
use serde::{Deserialize, Serialize};

use crate::json::Json;
use crate::plan::memory::{Keep, MemoryPlan};
use crate::truth::Truth;
use crate::value::Value;

/// When an event happened, and which it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    /// The ledger's time, in microseconds since 1970.
    pub at: i64,
    /// The event's number in the ledger.
    pub id: u64,
}

/// A remembered value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Stored {
    Bool(bool),
    Number(i128),
    Text(Arc<str>),
    Time(i64),
    Duration(i64),
    Ip(std::net::IpAddr),
    Texts(Arc<[String]>),
    #[serde(with = "as_text")]
    Json(Arc<Json>),
    #[serde(with = "as_text")]
    Jsons(Arc<Json>),
    /// Of a value that only has to be told from others.
    Digest(u128),
}

impl Stored {
    /// Keeps a value; none for what can't be kept.
    pub(crate) fn new(value: &Value<'_>) -> Option<Stored> {
        Some(match value {
            Value::Bool(value) => Stored::Bool(*value),
            Value::Number(value) => Stored::Number(value.billionths()),
            Value::Text(value) => Stored::Text(value.as_ref().into()),
            Value::Time(micros) => Stored::Time(*micros),
            Value::Duration(micros) => Stored::Duration(*micros),
            Value::Ip(address) => Stored::Ip(*address),
            Value::Texts(values) => Stored::Texts(values.to_vec().into()),
            Value::Json(value) => Stored::Json(Arc::new((*value).clone())),
            Value::Jsons(values) => Stored::Jsons(Arc::new(Json::List(values.to_vec()))),
            // No field of an event is one of these.
            Value::Cidr(_) | Value::Consts(_) | Value::List(_) => return None,
        })
    }

    fn value(&self) -> Option<Value<'_>> {
        Some(match self {
            Stored::Bool(value) => Value::Bool(*value),
            Stored::Number(value) => Value::Number(Number::from_billionths(*value)),
            Stored::Text(value) => Value::Text(std::borrow::Cow::Borrowed(value)),
            Stored::Time(micros) => Value::Time(*micros),
            Stored::Duration(micros) => Value::Duration(*micros),
            Stored::Ip(address) => Value::Ip(*address),
            Stored::Texts(values) => Value::Texts(values),
            Stored::Json(value) => Value::Json(value),
            Stored::Jsons(value) => match value.as_ref() {
                Json::List(values) => Value::Jsons(values),
                _ => return None,
            },
            Stored::Digest(_) => return None,
        })
    }

    /// A number, a time or a span of time as one integer.
    pub(super) fn amount(&self) -> Option<i128> {
        match self {
            Stored::Number(value) => Some(*value),
            Stored::Time(micros) | Stored::Duration(micros) => Some(i128::from(*micros)),
            _ => None,
        }
    }
}

/// Json in snapshots, as its text.
mod as_text {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::json::{self, Json};

    pub(super) fn serialize<S: Serializer>(json: &Arc<Json>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&crate::value::json_text(json))
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(deserializer: D) -> Result<Arc<Json>, D::Error> {
        let text = String::deserialize(deserializer)?;
        json::parse(text.as_bytes()).map(Arc::new).map_err(D::Error::custom)
    }
}

/// The sums of one step of time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Step {
    /// Its number since 1970.
    number: i64,
    /// The sum, count or extreme that is certain, and the one that is possible at most.
    least: i128,
    most: i128,
    /// Whether an event certainly counts, and whether one possibly does.
    certain: bool,
    possible: bool,
    /// Whether the value of an event that may count is absent.
    lacking: bool,
}

/// One of the latest events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    stamp: Stamp,
    counts: Truth,
    value: Option<Stored>,
}

/// The latest value, and what may have come after it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Latest {
    certain: Option<(Stamp, Option<Stored>)>,
    /// The latest doubtful event that has a value.
    with: Option<Stamp>,
    /// The latest doubtful event that has none.
    without: Option<Stamp>,
}

/// For each part of a sequence the events that led there, the latest start of all.
type Stages = Vec<Option<Vec<Stamp>>>;

/// What one memory keeps for one key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum State {
    /// The latest event, certain and possible.
    Marks {
        certain: Option<Stamp>,
        possible: Option<Stamp>,
    },
    /// The latest events, certain and doubtful.
    Ring {
        certain: VecDeque<Stamp>,
        doubtful: Option<Box<VecDeque<Stamp>>>,
    },
    /// The latest distinct values, certain and doubtful.
    Values {
        certain: VecDeque<(u128, Stamp)>,
        doubtful: Option<Box<VecDeque<(u128, Stamp)>>>,
    },
    Steps(VecDeque<Step>),
    Latest(Box<Latest>),
    Streak {
        least: u64,
        most: u64,
        latest: Option<Stamp>,
    },
    Stages {
        certain: Stages,
        possible: Stages,
    },
    Events(VecDeque<Entry>),
}

/// What an event is to a memory: for each of its parts, whether it is one.
#[derive(Debug, Default)]
pub(crate) struct Sight {
    pub parts: Vec<Truth>,
    pub since: Truth,
    pub until: Truth,
    /// Whether its kind and what became of it fit the first part, whatever its `where` says.
    pub of_kind: bool,
    pub value: Option<Stored>,
}

/// What a memory answers: the least and the greatest value, if they are known; and whether there is anything.
#[derive(Debug)]
pub(crate) struct Answer<'m> {
    pub value: Option<(Value<'m>, Value<'m>)>,
    pub present: Truth,
}

impl<'m> Answer<'m> {
    /// Nothing is known.
    pub(crate) const UNKNOWN: Answer<'static> = Answer { value: None, present: Truth::Unknown };

    pub(super) fn truth(least: bool, most: bool) -> Answer<'m> {
        Answer { value: Some((Value::Bool(least), Value::Bool(most))), present: Truth::True }
    }

    pub(super) fn count(least: u64, most: u64) -> Answer<'m> {
        let number = |count: u64| Value::Number(Number::whole(i64::try_from(count).unwrap_or(i64::MAX)));
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
    /// Nothing remembered yet.
    pub(crate) fn new(keep: Keep) -> State {
        match keep {
            Keep::Mark | Keep::Since => State::Marks { certain: None, possible: None },
            Keep::Ring(_) => State::Ring { certain: VecDeque::new(), doubtful: None },
            Keep::Values(_) => State::Values { certain: VecDeque::new(), doubtful: None },
            Keep::Steps(..) => State::Steps(VecDeque::new()),
            Keep::Value => State::Latest(Box::default()),
            Keep::Streak => State::Streak { least: 0, most: 0, latest: None },
            Keep::Stages(parts) => State::Stages { certain: vec![None; parts], possible: vec![None; parts] },
            Keep::Events(_) => State::Events(VecDeque::new()),
        }
    }

    /// That something happened then.
    pub(super) fn at(stamp: Stamp) -> State {
        State::Marks { certain: Some(stamp), possible: None }
    }

    /// When something certainly happened last, if only that is kept.
    pub(super) fn latest(&self) -> Option<Stamp> {
        match self {
            State::Marks { certain, .. } => *certain,
            _ => None,
        }
    }

    /// Takes in an event.
    pub(crate) fn remember(&mut self, memory: &MemoryPlan, sight: &Sight, stamp: Stamp) {
        let counts = sight.parts.first().copied().unwrap_or_default();
        match (self, memory.keep) {
            (State::Marks { certain, possible }, Keep::Since) => {
                if sight.since != Truth::False {
                    *certain = None;
                }
                if sight.since == Truth::True {
                    *possible = None;
                }
                // What is the end itself does not come after it.
                if sight.since == Truth::False && counts == Truth::True {
                    *certain = Some(stamp);
                }
                if sight.since != Truth::True && counts != Truth::False {
                    *possible = Some(stamp);
                }
            }
            (State::Marks { certain, possible }, _) => match counts {
                Truth::True => *certain = Some(stamp),
                Truth::Unknown => *possible = Some(stamp),
                Truth::False => {}
            },
            (State::Ring { certain, doubtful }, Keep::Ring(most)) => match counts {
                Truth::True => push(certain, stamp, most),
                Truth::Unknown => push(doubtful.get_or_insert_default(), stamp, most),
                Truth::False => {}
            },
            (State::Values { certain, doubtful }, Keep::Values(most)) => {
                // An absent value may be one that nothing else was.
                let (ring, value) = match (counts, &sight.value) {
                    (Truth::True, Some(Stored::Digest(value))) => (certain, *value),
                    (Truth::False, _) => return,
                    (_, Some(Stored::Digest(value))) => (&mut **doubtful.get_or_insert_default(), *value),
                    _ => (&mut **doubtful.get_or_insert_default(), lacking(stamp)),
                };
                if let Some(place) = ring.iter().position(|(known, _)| *known == value) {
                    ring.remove(place);
                }
                push(ring, (value, stamp), most);
            }
            (State::Steps(steps), Keep::Steps(length, _)) => {
                if counts != Truth::False {
                    add(steps, memory, length, counts, sight.value.as_ref(), stamp);
                }
            }
            (State::Latest(latest), _) => match counts {
                Truth::True => {
                    **latest =
                        Latest { certain: Some((stamp, sight.value.clone())), with: None, without: None };
                }
                Truth::Unknown if sight.value.is_some() => latest.with = Some(stamp),
                Truth::Unknown => latest.without = Some(stamp),
                Truth::False => {}
            },
            (State::Streak { least, most, latest }, _) => {
                if sight.of_kind {
                    *least = if counts == Truth::True { least.saturating_add(1) } else { 0 };
                    *most = if counts == Truth::False { 0 } else { most.saturating_add(1) };
                    *latest = Some(stamp);
                }
            }
            (State::Stages { certain, possible }, _) => {
                advance(certain, sight.until != Truth::False, stamp, |part| {
                    sight.parts.get(part) == Some(&Truth::True)
                });
                advance(possible, sight.until == Truth::True, stamp, |part| {
                    sight.parts.get(part).is_some_and(|truth| *truth != Truth::False)
                });
            }
            (State::Events(events), Keep::Events(most)) => {
                if sight.of_kind {
                    push(events, Entry { stamp, counts, value: sight.value.clone() }, most);
                }
            }
            _ => {}
        }
    }

    /// Answers what is asked now.
    pub(crate) fn answer(&self, memory: &MemoryPlan, span: Span, bound: Option<u32>, now: i64) -> Answer<'_> {
        let inside = |stamp: &Stamp| span.holds(stamp.at, now);
        let capped = |count: usize| (count as u64).min(bound.map_or(u64::MAX, u64::from));
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
                Answer::count(capped(least), capped(least + more))
            }
            State::Values { certain, doubtful } => {
                let inside = |(_, stamp): &&(u128, Stamp)| inside(stamp);
                let least = certain.iter().filter(inside).count();
                let more = doubtful.iter().flat_map(|doubtful| doubtful.iter()).filter(inside);
                let known: Vec<u128> = certain.iter().filter(inside).map(|(value, _)| *value).collect();
                let more = more.filter(|(value, _)| !known.contains(value)).count();
                Answer::count(capped(least), capped(least + more))
            }
            State::Steps(steps) => {
                let length = match memory.keep {
                    Keep::Steps(length, _) => length,
                    _ => None,
                };
                let first = first_step(span, length, now);
                let steps: Vec<&Step> = steps.iter().filter(|step| step.number >= first).collect();
                total(memory, &steps, bound)
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
            State::Streak { least, most, .. } => Answer::count(*least, *most),
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
                of_events(memory, latest, bound, now)
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

    /// Bytes on the heap, for the bound that `plan` prints.
    pub(crate) fn heap(&self) -> usize {
        match self {
            State::Marks { .. } | State::Streak { .. } => 0,
            State::Ring { certain, doubtful } => {
                let doubtful = doubtful
                    .as_ref()
                    .map_or(0, |ring| size_of::<VecDeque<Stamp>>() + ring.capacity() * size_of::<Stamp>());
                certain.capacity() * size_of::<Stamp>() + doubtful
            }
            State::Values { certain, doubtful } => {
                let entry = size_of::<(u128, Stamp)>();
                let doubtful = doubtful
                    .as_ref()
                    .map_or(0, |ring| size_of::<VecDeque<Stamp>>() + ring.capacity() * entry);
                certain.capacity() * entry + doubtful
            }
            State::Steps(steps) => steps.capacity() * size_of::<Step>(),
            State::Latest(_) => size_of::<Latest>(),
            State::Stages { certain, possible } => {
                let chains = certain.iter().chain(possible);
                chains
                    .map(|chain| {
                        size_of::<Option<Vec<Stamp>>>()
                            + chain.as_ref().map_or(0, |chain| chain.capacity() * size_of::<Stamp>())
                    })
                    .sum()
            }
            State::Events(events) => events.capacity() * size_of::<Entry>(),
        }
    }
}

/// The most witnesses that an incident names.
const WITNESSES: usize = 100;

/// What stands for the value of an event that has none.
pub(super) fn lacking(stamp: Stamp) -> u128 {
    u128::from(stamp.id) << 64 | u128::from(stamp.at as u64)
}

fn push<T>(ring: &mut VecDeque<T>, entry: T, most: usize) {
    while ring.len() >= most.max(1) {
        ring.pop_front();
    }
    ring.push_back(entry);
}

/// How many of the latest entries are inside; they are in order of time.
fn latest_inside(ring: &VecDeque<Stamp>, inside: impl Fn(&Stamp) -> bool) -> usize {
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

fn add(
    steps: &mut VecDeque<Step>,
    memory: &MemoryPlan,
    length: Option<i64>,
    counts: Truth,
    value: Option<&Stored>,
    stamp: Stamp,
) {
    let number = length.map_or(0, |length| stamp.at.div_euclid(length.max(1)));
    let first = first_step(Span::Time(memory.horizon_us), length, stamp.at);
    while length.is_some() && steps.front().is_some_and(|step| step.number < first) {
        steps.pop_front();
    }
    if steps.back().is_none_or(|step| step.number != number) {
        let empty = Step { number, least: 0, most: 0, certain: false, possible: false, lacking: false };
        steps.push_back(empty);
    }
    let Some(step) = steps.back_mut() else { return };
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

impl Step {
    /// Adds an amount, or a whole step.
    fn take(&mut self, operator: MemoryOperator, least: i128, most: i128, certain: bool, possible: bool) {
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
}

/// The answer of several steps together.
fn total<'m>(memory: &MemoryPlan, steps: &[&Step], bound: Option<u32>) -> Answer<'m> {
    let mut sum = Step { number: 0, least: 0, most: 0, certain: false, possible: false, lacking: false };
    for step in steps {
        match memory.operator {
            MemoryOperator::Max | MemoryOperator::Min => {
                sum.take(memory.operator, step.least, step.most, step.certain, step.possible);
            }
            _ => {
                sum.least = sum.least.saturating_add(step.least);
                sum.most = sum.most.saturating_add(step.most);
            }
        }
        sum.lacking |= step.lacking;
    }
    finished(memory, &sum, bound)
}

fn finished<'m>(memory: &MemoryPlan, sum: &Step, bound: Option<u32>) -> Answer<'m> {
    let typed = |amount: i128| match memory.value_ty {
        Some(Type::Time) => Value::Time(amount as i64),
        Some(Type::Duration) => Value::Duration(amount as i64),
        _ => Value::Number(Number::from_billionths(amount)),
    };
    match memory.operator {
        MemoryOperator::Count => {
            let most = bound.map_or(u64::MAX, u64::from);
            Answer::count((sum.least as u64).min(most), (sum.most as u64).min(most))
        }
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
    bound: Option<u32>,
    now: i64,
) -> Answer<'m> {
    let counting: Vec<&Entry> = events.filter(|entry| entry.counts != Truth::False).collect();
    let certain = || counting.iter().filter(|entry| entry.counts == Truth::True);
    let capped = |count: usize| (count as u64).min(bound.map_or(u64::MAX, u64::from));
    match memory.operator {
        MemoryOperator::Count => Answer::count(capped(certain().count()), capped(counting.len())),
        MemoryOperator::Seen => Answer::truth(certain().next().is_some(), !counting.is_empty()),
        MemoryOperator::Sum | MemoryOperator::Max | MemoryOperator::Min => {
            let mut sum =
                Step { number: 0, least: 0, most: 0, certain: false, possible: false, lacking: false };
            for entry in &counting {
                match entry.value.as_ref().and_then(Stored::amount) {
                    Some(amount) => {
                        sum.take(memory.operator, amount, amount, entry.counts == Truth::True, true);
                    }
                    None => sum.lacking = true,
                }
            }
            finished(memory, &sum, bound)
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
            Answer::count(capped(known.len()), capped(known.len() + possible.len()))
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

/// Moves a sequence on: the last parts first, so that no event serves two.
fn advance(stages: &mut Stages, reset: bool, stamp: Stamp, is_part: impl Fn(usize) -> bool) {
    if reset {
        stages.iter_mut().for_each(|stage| *stage = None);
    }
    for part in (0..stages.len()).rev() {
        if !is_part(part) {
            continue;
        }
        let chain = match part.checked_sub(1) {
            None => Some(vec![stamp]),
            Some(before) => stages.get(before).cloned().flatten().map(|mut chain| {
                chain.push(stamp);
                chain
            }),
        };
        if let (Some(chain), Some(stage)) = (chain, stages.get_mut(part)) {
            *stage = Some(chain);
        }
    }
}
