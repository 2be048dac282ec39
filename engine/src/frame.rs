//! Event to the fixed slots that compiled code reads: numbers, times, bools, and texts as the numbers of known texts.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::ops::Range;

use crate::cost::Cost;
use crate::event::{Event, FieldRef, Texts};
use crate::index::Seen;
use crate::interpret::expr::Scene;
use crate::memory::answer::Answer;
use crate::plan::{Plan, RISK_SLOT, SLOTS};
use crate::truth::Truth;
use crate::value::Value;
use lictor_dsl::events::FieldId;
use lictor_dsl::number::Number;
use lictor_dsl::text::host;

/// One slot. Compiled code reads it at fixed offsets (see `jit::abi`).
#[derive(Debug, Clone, Copy, Default)]
#[repr(C, align(16))]
pub(crate) struct Slot {
    /// 1 where the value is there, else 0; [`NOT_TAKEN`] where nobody looked yet.
    pub present: u64,
    /// Billionths, microseconds, 0 or 1, the bits of known texts; or in its lowest 32 bits the number of a known text,
    /// and in its upper half where that stands in the texts that were taken.
    pub value: i128,
}

/// What `present` is before a value inside json was taken.
const NOT_TAKEN: u64 = 2;
const UNTAKEN: Slot = Slot { present: NOT_TAKEN, value: 0 };

impl Slot {
    fn there(value: i128) -> Slot {
        Slot { present: 1, value }
    }

    /// The number of its text.
    pub(crate) fn text(self) -> u32 {
        self.value as u32
    }

    /// Where its text stands among those that were taken.
    fn range(self) -> Range<usize> {
        let start = (self.value >> 64) as u32 as usize;
        start..start + (self.value >> 96) as u32 as usize
    }
}

/// The bits of those texts that rules ask of this field.
fn mask(plan: &Plan, field: FieldId, texts: Texts<'_>) -> i128 {
    let Some(bits) = plan.bits.get(&field) else { return 0 };
    texts.iter().filter_map(|text| bits.get(text)).fold(0, |mask, bit| mask | 1 << bit)
}

/// What a predicate's byte holds before it was evaluated.
pub(crate) const NOT_YET: u8 = 0xff;

/// What is known of the answer to a question: the numbers that compiled code tests.
pub(crate) const NOT_ASKED: u64 = 0;
pub(crate) const ANSWERED: u64 = 1;
pub(crate) const NO_ANSWER: u64 = 2;

/// The answer to a question, as compiled code reads it.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C, align(16))]
pub(crate) struct Held {
    /// [`NOT_ASKED`], [`ANSWERED`] or [`NO_ANSWER`].
    pub known: u64,
    /// The least and the greatest value that doubt allows: billionths, microseconds, 0 or 1.
    pub least: i128,
    pub most: i128,
}

impl Held {
    fn of(answer: &Answer<'_>) -> Held {
        let integer = |value: &Value<'_>| match value {
            Value::Bool(value) => Some(i128::from(*value)),
            Value::Number(value) => Some(value.billionths()),
            Value::Time(micros) | Value::Duration(micros) => Some(i128::from(*micros)),
            _ => None,
        };
        let bounds = answer.value.as_ref().and_then(|(least, most)| Some((integer(least)?, integer(most)?)));
        match bounds {
            Some((least, most)) => Held { known: ANSWERED, least, most },
            None => Held { known: NO_ANSWER, ..Held::default() },
        }
    }
}

/// The slots of one event, and what was found out about it so far. Reused from event to event.
#[derive(Debug)]
pub(crate) struct Frame {
    /// Those of the fields, the risk, then those of values inside json, which are taken when somebody asks.
    slots: Vec<Cell<Slot>>,
    /// The slots that were taken, and the texts in them.
    taken: RefCell<Vec<usize>>,
    texts: RefCell<String>,
    /// The truth of each called predicate, or [`NOT_YET`].
    memo: Vec<Cell<u8>>,
    /// The answer to each question.
    answers: Vec<Cell<Held>>,
    /// The predicates and the questions whose answers are known, to be forgotten before the next event: that costs what
    /// this event cost, not what all policies could ask.
    evaluated: RefCell<Vec<usize>>,
    asked: RefCell<Vec<usize>>,
    /// What the index found already.
    seen: RefCell<Seen>,
    /// Texts that were looked up.
    looked_up: u64,
}

impl Default for Frame {
    fn default() -> Frame {
        Frame {
            slots: vec![Cell::default(); SLOTS],
            taken: RefCell::default(),
            texts: RefCell::default(),
            memo: Vec::new(),
            answers: Vec::new(),
            evaluated: RefCell::default(),
            asked: RefCell::default(),
            seen: RefCell::default(),
            looked_up: 0,
        }
    }
}

impl Frame {
    /// Takes the wanted fields of an event.
    pub(crate) fn fill(&mut self, plan: &Plan, event: &Event) {
        self.looked_up = 0;
        for (field, value) in event.read_each(&plan.kind(event.kind()).slots) {
            let value = match value {
                None => None,
                Some(FieldRef::Bool(value)) => Some(i128::from(value)),
                Some(FieldRef::Number(value)) => Some(value.billionths()),
                Some(FieldRef::Time(micros)) => Some(i128::from(micros)),
                Some(FieldRef::Text(text)) => {
                    self.looked_up += 1;
                    Some(i128::from(plan.texts.get(text).copied().unwrap_or(0)))
                }
                Some(FieldRef::Texts(texts)) => {
                    self.looked_up += texts.len() as u64;
                    Some(mask(plan, field, texts))
                }
                // Only their presence is asked for.
                Some(FieldRef::Ip(_) | FieldRef::Json(_)) => Some(0),
            };
            if let Some(slot) = self.slots.get(usize::from(field.0)) {
                slot.set(value.map_or(Slot::default(), Slot::there));
            }
        }
        self.forget();
        // Room for the largest plan that was judged by on this thread.
        if self.slots.len() < SLOTS + plan.taken.len() {
            self.slots.resize(SLOTS + plan.taken.len(), Cell::new(UNTAKEN));
        }
        if self.memo.len() < plan.predicates.len() {
            self.memo.resize(plan.predicates.len(), Cell::new(NOT_YET));
        }
        if self.answers.len() < plan.questions.len() {
            self.answers.resize(plan.questions.len(), Cell::default());
        }
        self.set_risk(Number::ZERO);
    }

    fn forget(&mut self) {
        for number in self.evaluated.get_mut().drain(..) {
            if let Some(known) = self.memo.get(number) {
                known.set(NOT_YET);
            }
        }
        for number in self.asked.get_mut().drain(..) {
            if let Some(held) = self.answers.get(number) {
                held.set(Held::default());
            }
        }
        for number in self.taken.get_mut().drain(..) {
            if let Some(slot) = self.slots.get(number) {
                slot.set(UNTAKEN);
            }
        }
        self.texts.get_mut().clear();
    }

    /// Where compiled code finds the slots. It does not look whether a value was taken.
    pub(crate) fn slots(&self) -> *const Cell<Slot> {
        self.slots.as_ptr()
    }

    /// A slot. A value inside json is taken now, if it was not before.
    #[inline]
    pub(crate) fn slot<'e>(&self, plan: &'e Plan, scene: &Scene<'e>, number: usize) -> Slot {
        let slot = self.slots.get(number).map_or(Slot::default(), Cell::get);
        if slot.present == NOT_TAKEN { self.take(plan, scene, number) } else { slot }
    }

    /// Looking for a value inside json can't take too many steps: payloads are not large enough.
    fn take<'e>(&self, plan: &'e Plan, scene: &Scene<'e>, number: usize) -> Slot {
        let taken = plan.taken(number);
        let value = taken.and_then(|taken| scene.evaluate(&taken.node));
        let value = value.and_then(|value| match value {
            Value::Bool(value) => Some(i128::from(value)),
            Value::Number(value) => Some(value.billionths()),
            Value::Text(text) => {
                scene.meter.looked_up(1);
                let number = i128::from(plan.texts.get(text.as_ref()).copied().unwrap_or(0));
                if !taken.is_some_and(|taken| taken.searched) {
                    return Some(number);
                }
                let texts = &mut *self.texts.borrow_mut();
                let place = (u32::try_from(texts.len()).ok()?, u32::try_from(text.len()).ok()?);
                texts.push_str(&text);
                Some(number | i128::from(place.0) << 64 | i128::from(place.1) << 96)
            }
            _ => None,
        });
        let slot = value.map_or(Slot::default(), Slot::there);
        if let Some(place) = self.slots.get(number) {
            place.set(slot);
            self.taken.borrow_mut().push(number);
        }
        slot
    }

    /// The address in a slot, or that of its text; none where there is none.
    pub(crate) fn address<'e>(&self, plan: &'e Plan, scene: &Scene<'e>, number: usize) -> Option<IpAddr> {
        let field = u16::try_from(number).ok().and_then(|number| scene.event.read(FieldId(number)));
        match field {
            Some(FieldRef::Ip(address)) => Some(address),
            _ => self.with_text(plan, scene, number, |text| host::address(text?)),
        }
        .map(|address| address.to_canonical())
    }

    /// Looks at the text in a slot; none where there is none.
    pub(crate) fn with_text<'e, T>(
        &self,
        plan: &'e Plan,
        scene: &Scene<'e>,
        number: usize,
        look: impl FnOnce(Option<&str>) -> T,
    ) -> T {
        if number < SLOTS {
            let field = u16::try_from(number).ok().and_then(|number| scene.event.read(FieldId(number)));
            return look(match field {
                Some(FieldRef::Text(text)) => Some(text),
                _ => None,
            });
        }
        let slot = self.slot(plan, scene, number);
        let texts = self.texts.borrow();
        look(if slot.present == 0 { None } else { texts.get(slot.range()) })
    }

    /// Where compiled code finds the truths of predicates, a byte each, as many as the plan has.
    pub(crate) fn memo(&self) -> *const Cell<u8> {
        self.memo.as_ptr()
    }

    /// Where compiled code finds the answers to questions, as many as the plan has.
    pub(crate) fn answers(&self) -> *const Cell<Held> {
        self.answers.as_ptr()
    }

    /// The truth of a predicate, found out at most once an event.
    pub(crate) fn predicate(&self, number: usize, evaluate: impl FnOnce() -> Truth) -> Truth {
        let Some(known) = self.memo.get(number) else { return Truth::Unknown };
        if known.get() == NOT_YET {
            known.set(evaluate() as u8);
            self.evaluated.borrow_mut().push(number);
        }
        Truth::from_byte(known.get())
    }

    /// Notes the answer to a question; none where asking it failed.
    pub(crate) fn answered(&self, question: usize, answer: Option<&Answer<'_>>) {
        if let Some(held) = self.answers.get(question) {
            held.set(answer.map_or(Held { known: NO_ANSWER, ..Held::default() }, Held::of));
            self.asked.borrow_mut().push(question);
        }
    }

    pub(crate) fn set_risk(&mut self, risk: Number) {
        if let Some(slot) = self.slots.get(RISK_SLOT) {
            slot.set(Slot::there(risk.billionths()));
        }
    }

    /// What judging by this frame has cost so far.
    pub(crate) fn cost(&self) -> Cost {
        let predicates = self.evaluated.borrow().len() as u64;
        Cost { predicates, look_ups: self.looked_up, ..Cost::default() }
    }

    /// What the index found already.
    pub(crate) fn seen(&self) -> &RefCell<Seen> {
        &self.seen
    }
}
