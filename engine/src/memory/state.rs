//! What one memory keeps for one key: bounded, whatever the length of the history.
//!
//! An event whose `where` is unknown may have been one. So each state keeps what certainly happened apart from what
//! possibly did, and answers with the least and the greatest value that both allow.

use std::collections::VecDeque;
use std::sync::Arc;

use lictor_dsl::number::Number;
use serde::{Deserialize, Serialize};

use super::steps::Steps;
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

    pub(super) fn value(&self) -> Option<Value<'_>> {
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

/// One of the latest events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(super) stamp: Stamp,
    pub(super) counts: Truth,
    pub(super) value: Option<Stored>,
}

/// The latest value, and what may have come after it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Latest {
    pub(super) certain: Option<(Stamp, Option<Stored>)>,
    /// The latest doubtful event that has a value.
    pub(super) with: Option<Stamp>,
    /// The latest doubtful event that has none.
    pub(super) without: Option<Stamp>,
}

/// For each part of a sequence the events that led there, the latest start of all.
pub(super) type Stages = Vec<Option<Vec<Stamp>>>;

/// Doubtful events are rare: their ring takes a word where there are none.
type Doubtful<T> = Option<Box<VecDeque<T>>>;

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
        doubtful: Doubtful<Stamp>,
    },
    /// The latest distinct values, certain and doubtful.
    Values {
        certain: VecDeque<(u128, Stamp)>,
        doubtful: Doubtful<(u128, Stamp)>,
    },
    Steps(Steps),
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
    pub first: Truth,
    /// Only a sequence has more than one part.
    pub others: Vec<Truth>,
    pub since: Truth,
    pub until: Truth,
    /// Whether its kind and what became of it fit the first part, whatever its `where` says.
    pub of_kind: bool,
    pub value: Option<Stored>,
}

impl Sight {
    /// Whether the event is this part of a sequence.
    pub(super) fn part(&self, number: usize) -> Truth {
        let other = |number| self.others.get(number).copied().unwrap_or_default();
        number.checked_sub(1).map_or(self.first, other)
    }
}

impl State {
    /// Nothing remembered yet.
    pub(crate) fn new(keep: Keep) -> State {
        match keep {
            Keep::Mark | Keep::Since => State::Marks { certain: None, possible: None },
            Keep::Ring(_) => State::Ring { certain: VecDeque::new(), doubtful: None },
            Keep::Values(_) => State::Values { certain: VecDeque::new(), doubtful: None },
            Keep::Steps(..) => State::Steps(Steps::default()),
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
        let counts = sight.first;
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
            (State::Steps(steps), Keep::Steps(length, _)) if counts != Truth::False => {
                steps.add(memory, length, counts, sight.value.as_ref(), stamp);
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
            (State::Streak { least, most, latest }, _) if sight.of_kind => {
                *least = if counts == Truth::True { least.saturating_add(1) } else { 0 };
                *most = if counts == Truth::False { 0 } else { most.saturating_add(1) };
                *latest = Some(stamp);
            }
            (State::Stages { certain, possible }, _) => {
                advance(certain, sight.until != Truth::False, stamp, |part| sight.part(part) == Truth::True);
                advance(possible, sight.until == Truth::True, stamp, |part| sight.part(part) != Truth::False);
            }
            (State::Events(events), Keep::Events(most)) if sight.of_kind => {
                push(events, Entry { stamp, counts, value: sight.value.clone() }, most);
            }
            _ => {}
        }
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
            State::Steps(steps) => steps.heap(),
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
