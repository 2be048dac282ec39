//! The full list of earlier events, searched anew for each question: slow, obvious, and the definition of memory.
//!
//! Where this and [`super::Memories`] differ, this is right. It models what is documented of them: sums are kept in
//! steps of time, and an event whose `where` is unknown may or may not have been one.

use std::sync::Arc;

use lictor_dsl::hir::MemoryOperator;
use lictor_dsl::number::Number;
use lictor_dsl::types::Type;

use super::answer::{Answer, Span};
use super::key::{self, Keys};
use super::state::{Sight, Stamp, lacking};
use super::{Asked, EventNumber, Fate, Recall, sight};
use crate::event::Event;
use crate::generation::Generation;
use crate::interpret::{self, expr::Scene};
use crate::plan::Plan;
use crate::plan::memory::MemoryPlan;
use crate::truth::Truth;
use crate::value::Value;

/// Everything that happened, in order.
#[derive(Debug, Default)]
pub struct History {
    events: Vec<Past>,
}

#[derive(Debug)]
struct Past {
    event: Arc<Event>,
    stamp: Stamp,
    /// What it is to each memory, and under which keys: worked out once, since it can't change.
    seen: Vec<Option<(Sight, Keys)>>,
}

impl History {
    /// Takes in an event that was judged; see [`super::Memories::remember`].
    pub fn remember(
        &mut self,
        generation: &Generation,
        event: Arc<Event>,
        fate: Fate,
        number: EventNumber,
        at_us: i64,
    ) {
        let latest = self.events.last().map_or(i64::MIN, |past| past.stamp.at);
        let plan = generation.plan();
        let scene = Scene::new(&event, &plan.values);
        let condition = |condition| interpret::condition(plan, &scene, condition);
        let seen = plan.memories.all.iter().map(|memory| {
            let sight = sight(memory, &event, fate, &scene, condition)?;
            let keys = plan.memories.groups.get(memory.group).map_or(&[][..], |group| &group.keys);
            Some((sight, key::keys_of(event.org(), keys, &scene)))
        });
        let seen = seen.collect();
        self.events.push(Past { event, stamp: Stamp { at: latest.max(at_us), id: number }, seen });
    }
}

/// A history as the memories of one plan.
#[derive(Debug)]
pub(crate) struct Replayed<'h> {
    pub plan: &'h Plan,
    pub history: &'h History,
}

/// One earlier event as a memory saw it.
struct Seen<'h> {
    past: &'h Past,
    sight: &'h Sight,
}

impl Seen<'_> {
    fn counts(&self) -> Truth {
        self.sight.first
    }
}

impl Replayed<'_> {
    /// The earlier events that a memory knows under the key that is asked, oldest first; none if it can't be told
    /// which.
    fn seen(&self, ask: &Asked<'_>, memory: &MemoryPlan) -> Option<Vec<Seen<'_>>> {
        let mut seen = Vec::new();
        for past in &self.history.events {
            let Some(Some((sight, keys))) = past.seen.get(ask.ask.memory) else { continue };
            let inside = ask.span.reaches(memory.keep, past.stamp.at, ask.now);
            if keys.any.is_some() && keys.any == ask.any && inside {
                return None;
            }
            if keys.certain.contains(&ask.key) {
                seen.push(Seen { past, sight });
            }
        }
        Some(seen)
    }
}

impl Recall for Replayed<'_> {
    fn recall<'m>(&'m self, ask: &Asked<'_>) -> Answer<'m> {
        let Some(memory) = self.plan.memories.all.get(ask.ask.memory) else { return Answer::UNKNOWN };
        let Some(seen) = self.seen(ask, memory) else { return Answer::UNKNOWN };
        match memory.operator {
            MemoryOperator::Sequence => sequence(&seen, memory, ask),
            MemoryOperator::Streak => streak(&seen),
            MemoryOperator::Seen if memory.since.is_some() => since(&seen, ask),
            _ => over(&inside(&seen, memory, ask), memory, ask, self.plan),
        }
    }

    fn witnesses(&self, _: &Asked<'_>) -> Vec<u64> {
        Vec::new()
    }

    fn is_ready(&self, _: usize) -> bool {
        true
    }

    fn plan(&self) -> Option<&Plan> {
        Some(self.plan)
    }
}

/// The events inside the window that may count.
fn inside<'s, 'h>(seen: &'s [Seen<'h>], memory: &MemoryPlan, ask: &Asked<'_>) -> Vec<&'s Seen<'h>> {
    let of_kind: Vec<&Seen<'_>> = seen.iter().filter(|seen| seen.sight.of_kind).collect();
    let from = match ask.span {
        Span::Events(count) => of_kind.len().saturating_sub(count),
        _ => 0,
    };
    let holds = |seen: &&&Seen<'_>| ask.span.reaches(memory.keep, seen.past.stamp.at, ask.now);
    let mut inside: Vec<&Seen<'_>> = of_kind.iter().skip(from).filter(holds).copied().collect();
    inside.retain(|seen| seen.counts() != Truth::False);
    inside
}

/// Operators over a set of events.
fn over<'m>(inside: &[&Seen<'m>], memory: &MemoryPlan, ask: &Asked<'_>, plan: &'m Plan) -> Answer<'m> {
    let certain: Vec<&&Seen<'_>> = inside.iter().filter(|seen| seen.counts() == Truth::True).collect();
    let doubtful: Vec<&&Seen<'_>> = inside.iter().filter(|seen| seen.counts() == Truth::Unknown).collect();
    let counted = |least: usize, most: usize| Answer::count(least, most);
    match memory.operator {
        MemoryOperator::Count => counted(certain.len(), inside.len()),
        MemoryOperator::Seen => Answer::truth(!certain.is_empty(), !inside.is_empty()),
        MemoryOperator::Distinct => {
            let value = |seen: &&&Seen<'_>| match &seen.sight.value {
                Some(super::Stored::Digest(value)) => Some(*value),
                _ => None,
            };
            let mut known: Vec<u128> = certain.iter().filter_map(value).collect();
            known.sort_unstable();
            known.dedup();
            let mut all: Vec<u128> =
                inside.iter().map(|seen| value(&seen).unwrap_or_else(|| lacking(seen.past.stamp))).collect();
            all.sort_unstable();
            all.dedup();
            counted(known.len(), all.len())
        }
        MemoryOperator::Sum | MemoryOperator::Max | MemoryOperator::Min => {
            let amount = |seen: &Seen<'_>| seen.sight.value.as_ref().and_then(super::Stored::amount);
            let lacking = inside.iter().any(|seen| amount(seen).is_none());
            let sure: Vec<i128> = certain.iter().filter_map(|seen| amount(seen)).collect();
            let maybe: Vec<i128> = doubtful.iter().filter_map(|seen| amount(seen)).collect();
            amounts(memory, lacking, &sure, &maybe)
        }
        MemoryOperator::Age => match certain.last() {
            None => Answer::absent(if doubtful.is_empty() { Truth::False } else { Truth::Unknown }),
            Some(known) => {
                let latest = inside.last().map_or(known.past.stamp.at, |seen| seen.past.stamp.at);
                let age = |at: i64| Value::Duration(ask.now.saturating_sub(at));
                Answer { value: Some((age(latest), age(known.past.stamp.at))), present: Truth::True }
            }
        },
        _ => last(inside, memory, plan),
    }
}

fn amounts<'m>(memory: &MemoryPlan, lacking: bool, sure: &[i128], maybe: &[i128]) -> Answer<'m> {
    let typed = |amount: i128| match memory.value_ty {
        Some(Type::Time) => Value::Time(amount as i64),
        Some(Type::Duration) => Value::Duration(amount as i64),
        _ => Value::Number(Number::from_billionths(amount)),
    };
    if memory.operator == MemoryOperator::Sum {
        if lacking {
            return Answer::absent(Truth::True);
        }
        let sum: i128 = sure.iter().sum();
        let less: i128 = maybe.iter().filter(|amount| **amount < 0).sum();
        let more: i128 = maybe.iter().filter(|amount| **amount > 0).sum();
        return Answer { value: Some((typed(sum + less), typed(sum + more))), present: Truth::True };
    }
    let all = || sure.iter().chain(maybe).copied();
    let bounds = match memory.operator {
        MemoryOperator::Max => (sure.iter().copied().max(), all().max()),
        _ => (all().min(), sure.iter().copied().min()),
    };
    match (bounds, sure.is_empty(), lacking) {
        ((Some(low), Some(high)), false, false) => {
            Answer { value: Some((typed(low), typed(high))), present: Truth::True }
        }
        (_, false, _) => Answer::absent(Truth::True),
        (_, true, lacking) if lacking || !maybe.is_empty() => Answer::absent(Truth::Unknown),
        _ => Answer::absent(Truth::False),
    }
}

/// The value of the latest event.
fn last<'m>(inside: &[&Seen<'m>], memory: &MemoryPlan, plan: &'m Plan) -> Answer<'m> {
    let place = inside.iter().rposition(|seen| seen.counts() == Truth::True);
    let after = inside.get(place.map_or(0, |place| place + 1)..).unwrap_or_default();
    let latest = place.and_then(|place| inside.get(place));
    let has = latest.is_some_and(|seen| seen.sight.value.is_some());
    if after.is_empty() {
        // The value itself is read from the event, where it still stands.
        let value = latest.filter(|_| has).and_then(|seen| {
            let number = plan.memories.all.iter().position(|known| known.identity == memory.identity)?;
            let node = plan.memories.all.get(number)?.parts.first()?.value.as_ref()?;
            Scene::new(&seen.past.event, &plan.values).evaluate(node)
        });
        return Answer { value: value.map(|value| (value.clone(), value)), present: has.into() };
    }
    let worlds = after.iter().map(|seen| seen.sight.value.is_some()).chain([has]);
    let worlds: Vec<bool> = worlds.collect();
    Answer::absent(match (worlds.contains(&true), worlds.contains(&false)) {
        (true, false) => Truth::True,
        (false, true) => Truth::False,
        _ => Truth::Unknown,
    })
}

/// How many in a row, from the latest back.
fn streak<'m>(seen: &[Seen<'_>]) -> Answer<'m> {
    let of_kind = || seen.iter().rev().filter(|seen| seen.sight.of_kind);
    let least = of_kind().take_while(|seen| seen.counts() == Truth::True).count();
    let most = of_kind().take_while(|seen| seen.counts() != Truth::False).count();
    Answer::count(least, most)
}

/// Whether there was one after the latest end, with every doubt decided against it, and for it.
fn since<'m>(seen: &[Seen<'_>], ask: &Asked<'_>) -> Answer<'m> {
    let was = |ends: &dyn Fn(Truth) -> bool, counts: &dyn Fn(Truth) -> bool| {
        let end = seen.iter().rposition(|seen| ends(seen.sight.since));
        let after = seen.get(end.map_or(0, |end| end + 1)..).unwrap_or_default();
        after.iter().any(|seen| counts(seen.counts()) && ask.span.holds(seen.past.stamp.at, ask.now))
    };
    let (sure, maybe) = (|truth| truth == Truth::True, |truth| truth != Truth::False);
    Answer::truth(was(&maybe, &sure), was(&sure, &maybe))
}

/// Whether the parts came in this order, each by an event of its own: the earliest that fits is always best.
fn sequence<'m>(seen: &[Seen<'_>], memory: &MemoryPlan, ask: &Asked<'_>) -> Answer<'m> {
    let done = |is_part: &dyn Fn(Truth) -> bool, resets: &dyn Fn(Truth) -> bool| {
        let reset = seen.iter().rposition(|seen| resets(seen.sight.until)).unwrap_or(0);
        let mut part = 0;
        for seen in seen.get(reset..).unwrap_or_default() {
            let inside = ask.span.holds(seen.past.stamp.at, ask.now);
            if inside && is_part(seen.sight.part(part)) {
                part += 1;
            }
        }
        part == memory.parts.len()
    };
    let (sure, maybe) = (|truth| truth == Truth::True, |truth| truth != Truth::False);
    Answer::truth(done(&sure, &maybe), done(&maybe, &sure))
}
