//! Questions to memories: keys are worked out, once an event where they can be, and answers told to whoever asks why.

use super::expr::{Scene, cut, differ};
use crate::limits::BYTES_A_STEP;
use crate::memory::Asked;
use crate::memory::answer::Answer;
use crate::memory::key;
use crate::plan::memory::AskPlan;
use crate::plan::node::Node;
use crate::value::Value;

/// A question that was put to a memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recollection {
    /// The number of the memory.
    pub memory: usize,
    /// The values of its keys.
    pub keys: Vec<String>,
    /// The answer; none if it is unknown.
    pub value: Option<String>,
    /// The events that it rests on.
    pub events: Vec<u64>,
}

impl<'e> Scene<'e> {
    /// The questions that evaluating this puts to memories.
    pub(crate) fn recollections(&self, node: &'e Node) -> Vec<Recollection> {
        self.asked.replace(Some(Vec::new()));
        self.predicate(node);
        self.asked.take().unwrap_or_default()
    }

    /// Asks a memory. A key that is absent leaves the answer unknown.
    pub(super) fn recall(&self, ask: &'e AskPlan) -> Answer<'e> {
        let Some(asked) = self.asked(ask) else { return Answer::UNKNOWN };
        let answer = self.answer(&asked).up_to(ask.bound);
        if let Some(list) = self.asked.borrow_mut().as_mut() {
            let certain = match &answer.value {
                Some((least, most)) if !differ(least, most) => Some(cut(&least.to_string())),
                Some((least, most)) => Some(format!("{least} to {most}")),
                None => None,
            };
            let recollection = Recollection {
                memory: ask.memory,
                keys: ask.keys.iter().map(|key| self.shown(key)).collect(),
                value: certain,
                events: self.memory.witnesses(&asked),
            };
            // What is asked twice is told once.
            if !list.contains(&recollection) {
                list.push(recollection);
            }
        }
        answer
    }

    /// The whole answer, worked out once an event where the keys depend on nothing else. Rules over one memory mostly
    /// stand together, so it is looked for from the end.
    fn answer(&self, asked: &Asked<'e>) -> Answer<'e> {
        let Some(list) = asked.ask.list else { return self.memory.recall(asked) };
        let question = (asked.ask.memory, list, asked.span);
        let known = self.answers.borrow().iter().rev().find(|(known, _)| *known == question).cloned();
        known.map(|(_, answer)| answer).unwrap_or_else(|| {
            let answer = self.memory.recall(asked);
            self.answers.borrow_mut().push((question, answer.clone()));
            answer
        })
    }

    fn shown(&self, node: &'e Node) -> String {
        self.value(node).map_or_else(|| "?".to_owned(), |value| cut(&value.to_string()))
    }

    /// A question with its keys worked out.
    fn asked(&self, ask: &'e AskPlan) -> Option<Asked<'e>> {
        let span = ask.window.span(self.params)?;
        let plan = self.memory.plan()?;
        let memory = plan.memories.all.get(ask.memory)?;
        let group = plan.memories.groups.get(memory.group)?;
        let known = ask.list.and_then(|list| {
            self.keys.borrow().iter().find(|(known, _)| *known == list).map(|(_, key)| *key)
        });
        let has_each = group.keys.iter().any(|key| key.each);
        let now = self.event.at();
        if let (Some(key), false) = (known, has_each) {
            return Some(Asked { ask, key: key?, any: None, span, now });
        }
        // Which predicate is the first to ask must not show in its steps: that depends on the engine.
        let before = if ask.list.is_some() { self.steps.replace(0) } else { 0 };
        let values: Vec<Option<Value<'e>>> = ask.keys.iter().map(|key| self.value(key)).collect();
        let read = values.iter().flatten().map(Value::size).sum::<usize>() / BYTES_A_STEP;
        let key = if self.charge(read) { key::key(self.event.org(), &values) } else { None };
        if let Some(list) = ask.list {
            self.steps.set(before);
            if known.is_none() {
                self.keys.borrow_mut().push((list, key));
            }
        }
        let any = if has_each {
            let plain =
                values.into_iter().zip(&group.keys).filter(|(_, key)| !key.each).map(|(value, _)| value);
            key::asked_any(self.event.org(), &group.keys, plain.collect())
        } else {
            None
        };
        Some(Asked { ask, key: key?, any, span, now })
    }
}
