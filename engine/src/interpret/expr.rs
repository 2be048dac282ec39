//! The slow, obvious evaluator of expressions. It defines what an expression means.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use lictor_dsl::hir::{Arithmetic, Comparison, Const, HasTest, PatternKind, Quantifier, TextTest, TimePart};
use lictor_dsl::number::Number;
use lictor_dsl::text::{fold, host, moment};
use lictor_dsl::types::{Element, Type};

use super::recall::{AskedKeys, Recollection};
use crate::cost::Meter;
use crate::event::{Event, FieldRef};
use crate::json::Json;
use crate::limits::{BYTES_A_STEP, MEMBERS_A_STEP, PATTERN_STEPS, STEPS};
use crate::memory::answer::{Answer, Span};
use crate::memory::{Nothing, Recall};
use crate::plan::node::{Node, Part, Patterns};
use crate::truth::Truth;
use crate::value::Value;

/// A memory, the number of a list of keys, and a window.
type Question = (usize, usize, Span);

/// What expressions are evaluated against.
pub(crate) struct Scene<'e> {
    pub event: &'e Event,
    pub params: &'e [Const],
    /// The risk, once it is known.
    pub risk: Cell<Number>,
    pub(super) steps: Cell<u32>,
    /// What was done for this event so far.
    pub meter: Meter,
    /// A predicate panicked: a fault of the engine, whatever the rest says.
    pub faulted: Cell<bool>,
    variables: RefCell<Vec<(u32, Option<Value<'e>>)>>,
    pub(super) memory: &'e dyn Recall,
    /// The event's time, once a memory was asked.
    pub(super) now: Cell<Option<i64>>,
    /// Keys that were worked out, by the number of their list and that of the memory's keys.
    pub(super) keys: RefCell<Vec<((usize, usize), AskedKeys)>>,
    /// The earlier events that answers rest on, while somebody wants to know.
    pub(super) resting_on: RefCell<Option<BTreeSet<u64>>>,
    /// What memories answered, by memory, number of the list of keys, and window.
    pub(super) answers: RefCell<Vec<(Question, Answer<'e>)>>,
    /// Questions to memories, while somebody wants to know which: the question, its keys, and what it rests on.
    pub(super) asked: RefCell<Option<Vec<Recollection>>>,
}

impl<'e> Scene<'e> {
    /// A scene without a past.
    pub(crate) fn new(event: &'e Event, params: &'e [Const]) -> Scene<'e> {
        Scene::after(event, params, &Nothing)
    }

    /// A scene with what happened before.
    pub(crate) fn after(event: &'e Event, params: &'e [Const], memory: &'e dyn Recall) -> Scene<'e> {
        Scene {
            memory,
            now: Cell::new(None),
            keys: RefCell::default(),
            answers: RefCell::default(),
            resting_on: RefCell::default(),
            asked: RefCell::default(),
            event,
            params,
            risk: Cell::new(Number::ZERO),
            steps: Cell::new(0),
            meter: Meter::default(),
            faulted: Cell::new(false),
            variables: RefCell::new(Vec::new()),
        }
    }

    /// What happened before.
    pub(crate) fn memory(&self) -> &'e dyn Recall {
        self.memory
    }

    /// Evaluates one predicate with a budget of its own; a second value says whether the budget was overrun.
    pub(crate) fn predicate(&self, node: &'e Node) -> (Truth, bool) {
        self.steps.set(0);
        self.variables.borrow_mut().clear();
        let truth = self.truth(node);
        let overrun = self.steps.get() > STEPS;
        self.meter.evaluated(self.steps.get());
        (if overrun { Truth::Unknown } else { truth }, overrun)
    }

    /// The value of an expression, with a budget of its own.
    pub(crate) fn evaluate(&self, node: &'e Node) -> Option<Value<'e>> {
        self.budgeted(|| self.value(node))
    }

    /// A value, with a budget of its own.
    pub(super) fn budgeted(&self, value: impl FnOnce() -> Option<Value<'e>>) -> Option<Value<'e>> {
        self.steps.set(0);
        self.variables.borrow_mut().clear();
        let value = value();
        self.meter.evaluated(self.steps.get());
        value.filter(|_| self.steps.get() <= STEPS)
    }

    /// A text for people: what is unknown prints `?`, and values are cut to a bounded length.
    pub(crate) fn render(&self, node: &'e Node) -> String {
        let Node::Join(parts) = node else {
            return self.evaluate(node).map_or_else(|| "?".to_owned(), |value| cut(&value.to_string()));
        };
        let mut text = String::new();
        for part in parts {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Value(value) => match self.evaluate(value) {
                    Some(value) => text.push_str(&cut(&value.to_string())),
                    None => text.push('?'),
                },
            }
        }
        text
    }

    /// Counts a step; false once there were too many.
    pub(super) fn step(&self) -> bool {
        self.charge(1)
    }

    /// Counts steps; false once there were too many.
    pub(super) fn charge(&self, count: usize) -> bool {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let steps = self.steps.get().saturating_add(count).min(STEPS + 1);
        self.steps.set(steps);
        steps <= STEPS
    }

    /// Counts what reading these values costs: a step for each of so many bytes.
    fn read(&self, values: &[&Value<'_>]) -> bool {
        self.pass(values.iter().map(|value| value.size()).sum())
    }

    /// Counts what passing over so many bytes costs.
    pub(super) fn pass(&self, bytes: usize) -> bool {
        let within = self.charge(bytes / BYTES_A_STEP);
        if within {
            self.meter.read(bytes);
        }
        within
    }

    fn truth(&self, node: &'e Node) -> Truth {
        if !self.step() {
            return Truth::Unknown;
        }
        match node {
            Node::Not(inner) => self.truth(inner).not(),
            Node::And(parts) => parts.iter().fold(Truth::True, |all, part| all.and(self.truth(part))),
            Node::Or(parts) => parts.iter().fold(Truth::False, |any, part| any.or(self.truth(part))),
            Node::Compare(comparison, left, right) => self.compare(*comparison, left, right),
            Node::Between(x, low, high) => {
                let (x, low, high) = (self.bounds(x), self.bounds(low), self.bounds(high));
                at_least(x.as_ref(), low.as_ref()).and(at_least(high.as_ref(), x.as_ref()))
            }
            Node::In(x, xs) => match (self.value(x), self.value(xs)) {
                (x, Some(xs)) => self.contains(&xs, x.as_ref()),
                _ => Truth::Unknown,
            },
            Node::InTexts(x, texts) => match self.value(x) {
                Some(text) if !self.read(&[&text]) => Truth::Unknown,
                Some(Value::Text(text)) => texts.contains(text.as_ref()).into(),
                // No text is in an empty list, whatever it may be.
                _ if texts.is_empty() => Truth::False,
                _ => Truth::Unknown,
            },
            Node::InPatterns(x, patterns) => match self.value(x) {
                Some(x) if self.pass(x.size() * patterns.passes()) => in_patterns(&x, patterns),
                _ => Truth::Unknown,
            },
            Node::InAs(x, xs, kind) => self.in_as(x, xs, *kind),
            Node::Has(test, xs, x) => self.has(*test, xs, x),
            Node::TextTest(test, left, right) => match (self.value(left), self.value(right)) {
                (Some(left), Some(right)) if self.read(&[&left, &right]) => match (&left, &right) {
                    (Value::Text(left), Value::Text(right)) => text_test(*test, left, right).into(),
                    _ => Truth::Unknown,
                },
                _ => Truth::Unknown,
            },
            Node::Like(x, glob) => match self.value(x) {
                Some(text) if !self.read(&[&text]) => Truth::Unknown,
                Some(Value::Text(text)) => glob.is_match(&text).into(),
                _ => Truth::Unknown,
            },
            Node::Matches(x, regex) => match self.value(x) {
                Some(text) if !self.read(&[&text]) => Truth::Unknown,
                Some(Value::Text(text)) => regex.is_match(&text).into(),
                _ => Truth::Unknown,
            },
            Node::Present(inner) => self.present(inner),
            Node::Lenient { soft, hard, test } => {
                // A memory in doubt is not absent: what its bounds settle is settled, the rest stays unknown.
                if soft.iter().any(|operand| self.in_doubt(operand)) {
                    return self.truth(test);
                }
                if soft.iter().any(|operand| self.value(operand).is_none()) {
                    return Truth::False;
                }
                match self.truth(test) {
                    Truth::Unknown if hard.iter().all(|operand| self.value(operand).is_some()) => {
                        Truth::False
                    }
                    truth => truth,
                }
            }
            Node::Quantified(quantifier @ (Quantifier::Any | Quantifier::All), var, xs, body) => {
                let Some(xs) = self.value(xs) else { return Truth::Unknown };
                let Some(count) = xs.count() else { return Truth::Unknown };
                let any = *quantifier == Quantifier::Any;
                let mut result = Truth::from(!any);
                for index in 0..count {
                    let truth = self.body(*var, xs.element(index), body);
                    result = if any { result.or(truth) } else { result.and(truth) };
                    if self.steps.get() > STEPS {
                        return Truth::Unknown;
                    }
                }
                result
            }
            Node::Memory(ask) => match self.recall(ask).value {
                Some((Value::Bool(least), Value::Bool(most))) if least == most => least.into(),
                _ => Truth::Unknown,
            },
            Node::If(condition, then, otherwise) => match self.truth(condition) {
                Truth::True => self.truth(then),
                Truth::False => self.truth(otherwise),
                Truth::Unknown => {
                    let (then, otherwise) = (self.truth(then), self.truth(otherwise));
                    if then == otherwise { then } else { Truth::Unknown }
                }
            },
            other => match self.value(other) {
                Some(Value::Bool(value)) => value.into(),
                _ => Truth::Unknown,
            },
        }
    }

    /// A member of a value. Of a json field of the event no more is read than that.
    fn member(&self, base: &'e Node, name: &str) -> Option<Value<'e>> {
        if let Node::Field(field) = base
            && let Some(FieldRef::Json(payload)) = self.event.read(*field)
        {
            let passed = 1 + payload.breadth() / MEMBERS_A_STEP;
            return if self.charge(passed) { payload.member(name).and_then(Value::of_json) } else { None };
        }
        let base = self.value(base)?;
        if self.charge(breadth(&base) / MEMBERS_A_STEP) { member(&base, name) } else { None }
    }

    pub(super) fn value(&self, node: &'e Node) -> Option<Value<'e>> {
        if !self.step() {
            return None;
        }
        Some(match node {
            Node::Const(value) => Value::of_const(value),
            Node::Field(field) => return Value::of_field(self.event, *field),
            Node::Param(place) => Value::of_const(self.params.get(*place)?),
            Node::Risk => Value::Number(self.risk.get()),
            Node::Var(number) => {
                let variables = self.variables.borrow();
                return variables.iter().rev().find(|(bound, _)| bound == number)?.1.clone();
            }
            Node::Member(base, name) => return self.member(base, name),
            Node::Item(base, index) => {
                let (base, index) = (self.value(base)?, self.value(index)?);
                return if self.charge(breadth(&base) / MEMBERS_A_STEP) { item(&base, &index) } else { None };
            }
            Node::Take(ty, inner) => return taken(self.value(inner)?, *ty),
            Node::Otherwise(x, default) => match self.value(x) {
                Some(x) => x,
                None if self.in_doubt(x) => return None,
                None => return self.value(default),
            },
            Node::Negative(ty, inner) => match (ty, self.value(inner)?) {
                (_, Value::Number(number)) => Value::Number(number.negated()),
                (_, Value::Duration(micros)) => Value::Duration(micros.saturating_neg()),
                _ => return None,
            },
            Node::Arithmetic(operator, left, right) => {
                return arithmetic(*operator, self.value(left)?, self.value(right)?);
            }
            Node::If(condition, then, otherwise) => match self.truth(condition) {
                Truth::True => return self.value(then),
                Truth::False => return self.value(otherwise),
                Truth::Unknown => {
                    let (then, otherwise) = (self.value(then)?, self.value(otherwise)?);
                    if then.equals(&otherwise) != Truth::True {
                        return None;
                    }
                    then
                }
            },
            Node::Join(parts) => {
                let mut text = String::new();
                for part in parts {
                    match part {
                        Part::Text(part) => text.push_str(part),
                        Part::Value(value) => text.push_str(&self.value(value)?.to_string()),
                    }
                    if !self.pass(text.len()) {
                        return None;
                    }
                }
                Value::Text(Cow::Owned(text))
            }
            Node::Quantified(Quantifier::Count, ..) => match self.bounds(node)? {
                (Value::Number(least), Value::Number(most)) if least == most => Value::Number(least),
                _ => return None,
            },
            Node::Memory(ask) => {
                let (least, most) = self.recall(ask).value?;
                if differ(&least, &most) {
                    return None;
                }
                least
            }
            Node::Lower(x) => Value::Text(Cow::Owned(self.text(x)?.to_lowercase())),
            Node::Len(x) => {
                let x = self.value(x)?;
                let count = match &x {
                    Value::Text(text) if self.pass(text.len()) => text.chars().count(),
                    Value::Json(Json::Text(text)) if self.pass(text.len()) => text.chars().count(),
                    list => list.count()?,
                };
                Value::Number(Number::whole(i64::try_from(count).ok()?))
            }
            Node::Text(x) => match self.value(x)? {
                Value::Json(json) => {
                    let mut text = String::new();
                    all_texts(json, &mut text);
                    self.pass(text.len());
                    Value::Text(Cow::Owned(text))
                }
                _ => return None,
            },
            Node::Keys(x) => match self.value(x)? {
                Value::Json(Json::Object(members)) if self.charge(members.len()) => {
                    let present = members.iter().filter(|(_, value)| !value.is_null());
                    Value::List(present.map(|(key, _)| Value::Text(Cow::Borrowed(key.as_str()))).collect())
                }
                _ => return None,
            },
            Node::Values(x) => match self.value(x)? {
                Value::Json(Json::Object(members)) if self.charge(members.len()) => {
                    Value::List(members.iter().filter_map(|(_, value)| Value::of_json(value)).collect())
                }
                _ => return None,
            },
            Node::Host(x) => Value::Text(Cow::Owned(host::host(&self.text(x)?)?.to_string())),
            Node::Port(x) => Value::Number(Number::whole(i64::from(host::port(&self.text(x)?)?))),
            Node::Ip(x) => Value::Ip(host::address(&self.text(x)?)?),
            Node::Time(x, None) => Value::Time(moment::rfc3339(&self.text(x)?)?),
            Node::Time(x, Some(zone)) => Value::Time(moment::in_zone(&self.text(x)?, zone)?),
            Node::TimePart(part, time, zone) => match (self.value(time)?, part) {
                (Value::Time(micros), TimePart::Hour) => {
                    Value::Number(Number::whole(moment::hour(micros, zone.as_ref())))
                }
                (Value::Time(micros), TimePart::Weekday) => {
                    Value::Text(Cow::Borrowed(moment::weekday(micros, zone.as_ref())))
                }
                _ => return None,
            },
            truth => match self.truth(truth) {
                Truth::True => Value::Bool(true),
                Truth::False => Value::Bool(false),
                Truth::Unknown => return None,
            },
        })
    }

    /// The text that a function passes over.
    fn text(&self, node: &'e Node) -> Option<Cow<'e, str>> {
        match self.value(node)? {
            Value::Text(text) if self.pass(text.len()) => Some(text),
            _ => None,
        }
    }

    fn body(&self, var: u32, element: Option<Value<'e>>, body: &'e Node) -> Truth {
        self.variables.borrow_mut().push((var, element));
        let truth = self.truth(body);
        self.variables.borrow_mut().pop();
        truth
    }

    fn compare(&self, comparison: Comparison, left: &'e Node, right: &'e Node) -> Truth {
        let (left, right) = (self.bounds(left), self.bounds(right));
        if let (Some((left, _)), Some((right, _))) = (&left, &right)
            && !self.read(&[left, right])
        {
            return Truth::Unknown;
        }
        match comparison {
            Comparison::Equal => equal(left.as_ref(), right.as_ref()),
            Comparison::NotEqual => equal(left.as_ref(), right.as_ref()).not(),
            Comparison::Less => at_least(left.as_ref(), right.as_ref()).not(),
            Comparison::LessOrEqual => at_least(right.as_ref(), left.as_ref()),
            Comparison::Greater => at_least(right.as_ref(), left.as_ref()).not(),
            Comparison::GreaterOrEqual => at_least(left.as_ref(), right.as_ref()),
            Comparison::Same => match (left, right) {
                (Some((Value::Text(left), _)), Some((Value::Text(right), _))) => {
                    (fold::fold(&left) == fold::fold(&right)).into()
                }
                _ => Truth::Unknown,
            },
        }
    }

    /// The least and the greatest value that an expression can have. They differ for a `count` of which some
    /// elements are unknown: it lies between those that certainly count and those that may.
    fn bounds(&self, node: &'e Node) -> Option<Bounds<'e>> {
        let (var, xs, body) = match node {
            Node::Quantified(Quantifier::Count, var, xs, body) => (var, xs, body),
            Node::Memory(ask) => {
                return if self.step() { self.recall(ask).value } else { None };
            }
            Node::Otherwise(x, _) if self.in_doubt(x) => return self.bounds(x),
            _ => return self.value(node).map(|value| (value.clone(), value)),
        };
        let xs = self.value(xs)?;
        let (mut least, mut most) = (0i64, 0i64);
        for index in 0..xs.count()? {
            let truth = self.body(*var, xs.element(index), body);
            least += i64::from(truth == Truth::True);
            most += i64::from(truth != Truth::False);
            if self.steps.get() > STEPS {
                return None;
            }
        }
        Some((Value::Number(Number::whole(least)), Value::Number(Number::whole(most))))
    }

    /// Membership: Kleene's or over `==`. Nothing is in an empty list, not even what is unknown.
    fn contains(&self, xs: &Value<'e>, x: Option<&Value<'e>>) -> Truth {
        let Some(count) = xs.count() else { return Truth::Unknown };
        let mut found = Truth::False;
        for index in 0..count {
            if !self.step() {
                return Truth::Unknown;
            }
            found = found.or(match (x, xs.element(index)) {
                (Some(x), Some(element)) if self.read(&[x, &element]) => x.equals(&element),
                _ => Truth::Unknown,
            });
            if found == Truth::True {
                break;
            }
        }
        found
    }

    fn has(&self, test: HasTest, xs: &'e Node, x: &'e Node) -> Truth {
        let (Some(xs), x) = (self.value(xs), self.value(x)) else { return Truth::Unknown };
        if test == HasTest::One {
            return self.contains(&xs, x.as_ref());
        }
        let Some((ys, count)) = x.and_then(|ys| ys.count().map(|count| (ys, count))) else {
            return Truth::Unknown;
        };
        let any = test == HasTest::Any;
        let mut result = Truth::from(!any);
        for index in 0..count {
            let truth = self.contains(&xs, ys.element(index).as_ref());
            result = if any { result.or(truth) } else { result.and(truth) };
        }
        result
    }

    fn in_as(&self, x: &'e Node, xs: &'e Node, kind: PatternKind) -> Truth {
        let (Some(x), Some(xs)) = (self.value(x), self.value(xs)) else { return Truth::Unknown };
        let Some(count) = xs.count() else { return Truth::Unknown };
        let mut found = Truth::False;
        for index in 0..count {
            if !self.charge(1 + PATTERN_STEPS) {
                return Truth::Unknown;
            }
            let pattern = match xs.element(index) {
                Some(Value::Text(text)) => Some(text.into_owned()),
                Some(Value::Json(Json::Text(text))) => Some(text.clone()),
                _ => None,
            };
            if !self.charge(pattern.as_ref().map_or(0, String::len)) || !self.read(&[&x]) {
                return Truth::Unknown;
            }
            // An entry that is no pattern may have been meant to match: it can't be ruled out.
            let patterns = pattern.and_then(|pattern| Patterns::new(kind, &[pattern]).ok());
            found = found.or(patterns.map_or(Truth::Unknown, |patterns| in_patterns(&x, &patterns)));
        }
        found
    }

    /// `has x`: false where there is nothing; unknown only where it can't be known what is asked for.
    fn present(&self, node: &'e Node) -> Truth {
        if !self.step() {
            return Truth::Unknown;
        }
        match node {
            Node::Take(_, inner) => self.present(inner),
            Node::Memory(ask) => self.recall(ask).present,
            Node::Field(field) => Value::of_field(self.event, *field).is_some().into(),
            Node::Var(_) => self.value(node).is_some().into(),
            Node::Member(base, _) => match self.value(base) {
                Some(Value::Json(Json::Object(_))) => self.value(node).is_some().into(),
                // A value of another type may hide what is asked for.
                Some(_) => Truth::Unknown,
                None => self.present(base).and(Truth::Unknown),
            },
            Node::Item(base, index) => match (self.value(base), self.value(index)) {
                (Some(base), Some(index)) if can_hold(&base, &index) => item(&base, &index).is_some().into(),
                (None, Some(_)) => self.present(base).and(Truth::Unknown),
                _ => Truth::Unknown,
            },
            other => match self.value(other) {
                Some(_) => Truth::True,
                None => Truth::Unknown,
            },
        }
    }
}

/// The longest interpolated value that is shown.
const SHOWN: usize = 256;

/// A value for a text that people read: bounded, and on one line whatever the agent sent.
pub(super) fn cut(text: &str) -> String {
    let mut shown: String = String::with_capacity(text.len().min(SHOWN));
    for (number, c) in text.chars().enumerate() {
        if number == SHOWN {
            shown.push('…');
            break;
        }
        if c.is_control() || is_bidi(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Marks that reorder the text around them, and so can make a reason read differently from what it says.
fn is_bidi(c: char) -> bool {
    matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether two bounds are not one value.
pub(super) fn differ(least: &Value<'_>, most: &Value<'_>) -> bool {
    match (least, most) {
        (Value::Bool(least), Value::Bool(most)) => least != most,
        _ => least.order(most).is_some_and(std::cmp::Ordering::is_ne),
    }
}

/// The least and the greatest value that something can have.
type Bounds<'e> = (Value<'e>, Value<'e>);

/// Whether one thing is at least another; unknown where their bounds overlap.
fn at_least(high: Option<&Bounds<'_>>, low: Option<&Bounds<'_>>) -> Truth {
    let Some(((high_least, high_most), (low_least, low_most))) = high.zip(low) else { return Truth::Unknown };
    match (high_least.order(low_most), high_most.order(low_least)) {
        (Some(order), _) if order.is_ge() => Truth::True,
        (Some(_), Some(order)) if order.is_lt() => Truth::False,
        _ => Truth::Unknown,
    }
}

/// Whether two things are equal; unknown where their bounds overlap without being one value.
fn equal(left: Option<&Bounds<'_>>, right: Option<&Bounds<'_>>) -> Truth {
    let Some((left, right)) = left.zip(right) else { return Truth::Unknown };
    let certain = |bounds: &Bounds<'_>| bounds.0.order(&bounds.1).is_none_or(std::cmp::Ordering::is_eq);
    if certain(left) && certain(right) {
        return left.0.equals(&right.0);
    }
    match at_least(Some(left), Some(right)).and(at_least(Some(right), Some(left))) {
        Truth::False => Truth::False,
        _ => Truth::Unknown,
    }
}

fn in_patterns(x: &Value<'_>, patterns: &Patterns) -> Truth {
    let contained = match (x, patterns) {
        (Value::Ip(address), Patterns::Cidr(list)) => Some(list.contains_address(*address)),
        (Value::Text(text), patterns) => patterns.contains(text),
        _ => None,
    };
    contained.map_or(Truth::Unknown, Truth::from)
}

pub(crate) fn text_test(test: TextTest, left: &str, right: &str) -> bool {
    match test {
        TextTest::StartsWith => left.starts_with(right),
        TextTest::EndsWith => left.ends_with(right),
        TextTest::Contains => left.contains(right),
        TextTest::ContainsWord => fold::contains_word(left, right),
    }
}

/// Whether a value can have such an element: a list by its place, an object by a name.
fn can_hold(base: &Value<'_>, index: &Value<'_>) -> bool {
    match index {
        Value::Text(_) | Value::Json(Json::Text(_)) => matches!(base, Value::Json(Json::Object(_))),
        Value::Number(_) | Value::Json(Json::Number(_)) => base.count().is_some(),
        _ => false,
    }
}

fn item<'e>(base: &Value<'e>, index: &Value<'e>) -> Option<Value<'e>> {
    let index = match index {
        Value::Json(Json::Text(name)) => return member(base, name),
        Value::Text(name) => return member(base, name),
        Value::Json(Json::Number(Some(number))) | Value::Number(number) => number.to_whole()?,
        _ => return None,
    };
    base.element(usize::try_from(index).ok()?)
}

/// How many members a look-up by name may have to pass.
fn breadth(base: &Value<'_>) -> usize {
    match base {
        Value::Json(json) => json.breadth(),
        _ => 0,
    }
}

fn member<'e>(base: &Value<'e>, name: &str) -> Option<Value<'e>> {
    match base {
        Value::Json(json) => json.get(name).and_then(Value::of_json),
        _ => None,
    }
}

fn taken(value: Value<'_>, ty: Type) -> Option<Value<'_>> {
    match (value, ty) {
        (Value::Json(Json::Bool(value)), Type::Bool) => Some(Value::Bool(*value)),
        (Value::Json(Json::Number(Some(value))), Type::Number) => Some(Value::Number(*value)),
        (Value::Json(Json::Text(value)), Type::String) => Some(Value::Text(Cow::Borrowed(value))),
        (Value::Json(Json::List(values)), Type::List(Element::Json)) => Some(Value::Jsons(values)),
        (Value::Json(_), _) => None,
        (value, _) => Some(value),
    }
}

fn arithmetic<'e>(operator: Arithmetic, left: Value<'e>, right: Value<'e>) -> Option<Value<'e>> {
    use Arithmetic::*;
    Some(match (left, operator, right) {
        (Value::Number(a), Plus, Value::Number(b)) => Value::Number(a.plus(b)),
        (Value::Number(a), Minus, Value::Number(b)) => Value::Number(a.minus(b)),
        (Value::Number(a), Times, Value::Number(b)) => Value::Number(a.times(b)),
        (Value::Number(a), Over, Value::Number(b)) => Value::Number(a.divided_by(b)?),
        (Value::Number(a), Modulo, Value::Number(b)) => Value::Number(a.remainder(b)?),
        (Value::Time(a), Minus, Value::Time(b)) => Value::Duration(a.saturating_sub(b)),
        (Value::Time(a), Plus, Value::Duration(b)) => Value::Time(a.saturating_add(b)),
        (Value::Time(a), Minus, Value::Duration(b)) => Value::Time(a.saturating_sub(b)),
        (Value::Duration(a), Plus, Value::Duration(b)) => Value::Duration(a.saturating_add(b)),
        (Value::Duration(a), Minus, Value::Duration(b)) => Value::Duration(a.saturating_sub(b)),
        _ => return None,
    })
}

/// All the strings inside a json value, keys too, a line each.
fn all_texts(json: &Json, into: &mut String) {
    let mut line = |text: &str| {
        if !into.is_empty() {
            into.push('\n');
        }
        into.push_str(text);
    };
    match json {
        Json::Text(text) => line(text),
        Json::List(values) => values.iter().for_each(|value| all_texts(value, into)),
        Json::Object(members) => {
            for (key, value) in members {
                if !into.is_empty() {
                    into.push('\n');
                }
                into.push_str(key);
                all_texts(value, into);
            }
        }
        Json::Null | Json::Bool(_) | Json::Number(_) => {}
    }
}
