//! What an event keeps: the texts of its fields in one string, and for each field where in it that stands.
//!
//! Of a field that nobody asks for no more is made than that. A text is a place in the string, without a string of its
//! own; json is read when a rule first asks for it.

use std::ops::Range;
use std::sync::OnceLock;

use super::field::{FieldValue, JsonField};

/// What a field holds, its texts where they lie.
#[derive(Debug, Clone, Copy)]
pub enum FieldRef<'e> {
    /// A string.
    Text(&'e str),
    /// A list of strings.
    Texts(Texts<'e>),
    /// Anything else.
    Value(&'e FieldValue),
}

/// The strings of a list field.
#[derive(Debug, Clone, Copy)]
pub struct Texts<'e> {
    text: &'e str,
    items: &'e [Slot],
}

impl<'e> Texts<'e> {
    /// The strings in their order.
    pub fn iter(self) -> impl Iterator<Item = &'e str> {
        self.items.iter().map(move |item| match item {
            Slot::Text(span, _) => span.of(self.text),
            _ => "",
        })
    }
}

/// A part of the text of all fields; for a list the part of the slots that are its items.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// Events of more than 4 GiB are refused before anything of them is kept.
    fn new(start: usize, end: usize) -> Span {
        Span { start: start as u32, end: end as u32 }
    }

    fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    fn of(self, text: &str) -> &str {
        text.get(self.range()).unwrap_or_default()
    }
}

/// The value with texts of its own, for those who ask for it.
type Made = OnceLock<Box<FieldValue>>;

/// One field.
#[derive(Debug, Clone, Default)]
pub(super) enum Slot {
    #[default]
    Absent,
    /// A value without a text.
    Ready(FieldValue),
    Text(Span, Made),
    Texts(Span, Made),
    Json(Span, Made),
}

/// The fields of one event, in the order of the rows of its kind.
#[derive(Debug, Clone)]
pub(super) struct Slots {
    text: String,
    /// After those of the fields come the items of lists.
    slots: Vec<Slot>,
}

/// Items of lists for which there is room from the beginning.
const FEW_ITEMS: usize = 6;

impl Slots {
    /// No field yet, and room for so many with texts of this size.
    pub(super) fn new(fields: usize, size: usize) -> Slots {
        let mut slots = Vec::with_capacity(fields + FEW_ITEMS);
        slots.resize_with(fields, Slot::default);
        Slots { text: String::with_capacity(size), slots }
    }

    fn keep(&mut self, text: &str) -> Span {
        let start = self.text.len();
        self.text.push_str(text);
        Span::new(start, self.text.len())
    }

    fn put(&mut self, place: usize, slot: Slot) {
        if let Some(there) = self.slots.get_mut(place) {
            *there = slot;
        }
    }

    pub(super) fn set(&mut self, place: usize, value: FieldValue) {
        self.put(place, Slot::Ready(value));
    }

    pub(super) fn set_text(&mut self, place: usize, text: &str) {
        let span = self.keep(text);
        self.put(place, Slot::Text(span, Made::new()));
    }

    pub(super) fn set_json(&mut self, place: usize, text: &str) {
        let span = self.keep(text);
        self.put(place, Slot::Json(span, Made::new()));
    }

    /// Where the items of a list begin that are added next.
    pub(super) fn next_item(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn add_item(&mut self, text: &str) {
        let span = self.keep(text);
        self.slots.push(Slot::Text(span, Made::new()));
    }

    /// Sets a list to the items added since.
    pub(super) fn set_texts(&mut self, place: usize, first: usize) {
        let span = Span::new(first, self.slots.len());
        self.put(place, Slot::Texts(span, Made::new()));
    }

    /// Gives a field what another has.
    pub(super) fn copy(&mut self, from: usize, to: usize) {
        if let Some(slot) = self.slots.get(from).cloned() {
            self.put(to, slot);
        }
    }

    /// A field, its texts where they lie.
    pub(super) fn read(&self, place: usize) -> Option<FieldRef<'_>> {
        match self.slots.get(place)? {
            Slot::Absent => None,
            Slot::Text(span, _) => Some(FieldRef::Text(span.of(&self.text))),
            Slot::Texts(span, _) => Some(FieldRef::Texts(self.texts(*span))),
            Slot::Ready(_) | Slot::Json(..) => self.get(place).map(FieldRef::Value),
        }
    }

    /// A field with texts of its own, made when it is first asked for.
    pub(super) fn get(&self, place: usize) -> Option<&FieldValue> {
        let (made, value): (_, &dyn Fn() -> FieldValue) = match self.slots.get(place)? {
            Slot::Absent => return None,
            Slot::Ready(value) => return Some(value),
            Slot::Text(span, made) => (made, &|| FieldValue::Text(span.of(&self.text).to_owned())),
            Slot::Texts(span, made) => {
                (made, &|| FieldValue::Texts(self.texts(*span).iter().map(str::to_owned).collect()))
            }
            Slot::Json(span, made) => (made, &|| FieldValue::Json(JsonField::new(span.of(&self.text)))),
        };
        Some(made.get_or_init(|| Box::new(value())))
    }

    fn texts(&self, span: Span) -> Texts<'_> {
        Texts { text: &self.text, items: self.slots.get(span.range()).unwrap_or_default() }
    }
}
