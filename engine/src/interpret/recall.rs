//! Questions to memories: keys are worked out, once an event where they can be, and answers told to whoever asks why.

use std::borrow::Cow;
use std::collections::BTreeSet;

use lictor_dsl::number::Number;

use super::expr::{Scene, cut, differ};
use crate::memory::Asked;
use crate::memory::answer::Answer;
use crate::memory::key::{Bytes, Key};
use crate::plan::memory::{AskPlan, GroupPlan};
use crate::plan::node::Node;
use crate::truth::Truth;
use crate::value::Value;

/// The key that is asked, and the one that stands for every value of the lists among the keys.
pub(super) type AskedKeys = (Option<Key>, Option<Key>);

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

/// Steps that working out a key takes.
pub(crate) const KEY_STEPS: usize = 20;
/// Events after which no more are looked for.
const WITNESSES: usize = 100;
/// The most questions that are told.
const TOLD: usize = 100;

impl<'e> Scene<'e> {
    /// The earlier events that an expression rests on, some hundred at most.
    pub(crate) fn witnesses(&self, node: &'e Node) -> BTreeSet<u64> {
        self.resting_on.replace(Some(BTreeSet::new()));
        self.predicate(node);
        self.resting_on.take().unwrap_or_default()
    }

    /// The questions that evaluating this puts to memories.
    pub(crate) fn recollections(&self, node: &'e Node) -> Vec<Recollection> {
        self.asked.replace(Some(Vec::new()));
        self.predicate(node);
        self.asked.take().unwrap_or_default()
    }

    /// Asks a memory for machine code, which holds the answer itself and asks once an event.
    pub(crate) fn recall_once(&self, ask: &'e AskPlan) -> Answer<'e> {
        self.asked(ask).map_or(Answer::UNKNOWN, |asked| self.memory.recall(&asked))
    }

    /// Asks a memory. A key that is absent leaves the answer unknown.
    pub(crate) fn recall(&self, ask: &'e AskPlan) -> Answer<'e> {
        let Some(asked) = self.asked(ask) else { return Answer::UNKNOWN };
        let answer = self.answer(&asked).up_to(ask.bound);
        if let Some(events) = self.resting_on.borrow_mut().as_mut()
            && events.len() < WITNESSES
        {
            events.extend(self.memory.witnesses(&asked));
        }
        if let Some(list) = self.asked.borrow_mut().as_mut()
            && list.len() < TOLD
        {
            // No more is kept than decides: what reaches the bound may be more.
            let bound = ask.bound.map(|bound| Number::whole(i64::from(bound)));
            let or_more = |value: &Value<'_>| match (value, bound) {
                (Value::Number(number), Some(bound)) if *number >= bound => " or more",
                _ => "",
            };
            let certain = answer.value.as_ref().map(|(least, most)| {
                let least_text = cut(&least.to_string());
                let from = if differ(least, most) { format!("{least_text} to ") } else { String::new() };
                format!("{from}{}{}", cut(&most.to_string()), or_more(most))
            });
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
        let Some(list) = asked.ask.list else {
            // Asked anew for each element of a quantifier: the key is hashed, and what is kept is looked through.
            let kept = self.memory.plan().and_then(|plan| plan.memories.all.get(asked.ask.memory));
            let looked_at = kept.map_or(0, |memory| memory.keep.entries());
            return if self.charge(KEY_STEPS + looked_at) {
                self.meter.asked();
                self.memory.recall(asked)
            } else {
                Answer::UNKNOWN
            };
        };
        let question = (asked.ask.memory, list, asked.span);
        let known = self.answers.borrow().iter().rev().find(|(known, _)| *known == question).cloned();
        known.map(|(_, answer)| answer).unwrap_or_else(|| {
            self.meter.asked();
            let answer = self.memory.recall(asked);
            self.answers.borrow_mut().push((question, answer.clone()));
            answer
        })
    }

    /// Whether an expression rests on a memory that may or may not hold something.
    pub(super) fn in_doubt(&self, node: &'e Node) -> bool {
        match node {
            // A key that is absent is an absence, not a doubt.
            Node::Memory(ask) => {
                let Some(asked) = self.asked(ask) else { return false };
                let answer = self.answer(&asked).up_to(ask.bound);
                match &answer.value {
                    Some((least, most)) => differ(least, most),
                    None => answer.present != Truth::False,
                }
            }
            Node::Take(_, x)
            | Node::Member(x, _)
            | Node::Negative(_, x)
            | Node::Lower(x)
            | Node::Len(x)
            | Node::Text(x)
            | Node::Keys(x)
            | Node::Values(x)
            | Node::Host(x)
            | Node::Port(x)
            | Node::Ip(x)
            | Node::Time(x, _)
            | Node::TimePart(_, x, _)
            | Node::Otherwise(x, _) => self.in_doubt(x),
            Node::Item(x, y) | Node::Arithmetic(_, x, y) => self.in_doubt(x) || self.in_doubt(y),
            _ => false,
        }
    }

    fn shown(&self, node: &'e Node) -> String {
        self.value(node).map_or_else(|| "?".to_owned(), |value| cut(&value.to_string()))
    }

    /// The value of a key by itself.
    pub(crate) fn key(&self, node: &'e Node) -> Option<Value<'e>> {
        self.budgeted(|| self.key_value(node))
    }

    /// The value of a key. A run without a task is the agent's own, and nobody else's.
    fn key_value(&self, node: &'e Node) -> Option<Value<'e>> {
        let value = self.value(node)?;
        match (node, &value) {
            (Node::Field(field), Value::Text(task)) if task.is_empty() && field.def().name == "task" => {
                let agent = Value::Text(Cow::Borrowed(self.event.agent_id()));
                Some(Value::List(vec![value, agent]))
            }
            _ => Some(value),
        }
    }

    /// A question with its keys worked out.
    fn asked(&self, ask: &'e AskPlan) -> Option<Asked<'e>> {
        let span = ask.window.span(self.params)?;
        let plan = self.memory.plan()?;
        let memory = plan.memories.all.get(ask.memory)?;
        let of = ask.list.map(|list| (list, memory.group));
        let known = of.and_then(|of| {
            self.keys.borrow().iter().rev().find(|(known, _)| *known == of).map(|(_, keys)| *keys)
        });
        let (key, any) = known.unwrap_or_else(|| {
            let keys = plan.memories.groups.get(memory.group).map(|group| self.keys_of(ask, group));
            let keys = keys.unwrap_or_default();
            if let Some(of) = of {
                self.keys.borrow_mut().push((of, keys));
            }
            keys
        });
        let now = self.now.get().unwrap_or_else(|| self.event.at());
        self.now.set(Some(now));
        Some(Asked { ask, key: key?, any, span, now })
    }

    /// The keys of a question, worked out.
    fn keys_of(&self, ask: &'e AskPlan, group: &GroupPlan) -> AskedKeys {
        // Which predicate is the first to ask must not show in its steps: that depends on the engine.
        let before = if ask.list.is_some() { self.steps.replace(0) } else { 0 };
        let mut read = 0;
        let mut key = Some(Bytes::of_org(self.event.org()));
        let mut any = group.keys.iter().any(|key| key.each).then(|| Bytes::of_org(self.event.org()));
        for (node, plan) in ask.keys.iter().zip(&group.keys) {
            let value = self.key_value(node);
            read += value.as_ref().map_or(0, Value::size);
            let with = |bytes: Option<Bytes>| bytes?.with(value.as_ref()?);
            key = with(key);
            any = if plan.each { any.map(Bytes::with_any) } else { with(any) };
        }
        let affordable = self.pass(read);
        let key = key.filter(|_| affordable).map(Bytes::key);
        if ask.list.is_some() {
            self.meter.stepped(self.steps.replace(before));
        }
        (key, any.map(Bytes::key))
    }
}
