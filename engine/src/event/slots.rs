//! What an event keeps: the texts of its fields in one string, and for each field where in it that stands.
//!
//! Of a field that nobody asks for no more is made than that. A text is a place in the string, without a string of its
//! own; json is read when a rule first asks for it.

use std::ops::Range;
use std::sync::OnceLock;

use super::field::{FieldValue, JsonField};
use crate::json::unescaped;

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

/// A part of the text; for a list the part of the slots that are its items.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// None beyond 4 GiB.
    pub(super) fn new(start: usize, end: usize) -> Option<Span> {
        Some(Span { start: u32::try_from(start).ok()?, end: u32::try_from(end).ok()? })
    }

    /// Without the first and the last byte.
    pub(super) fn between_quotes(self) -> Span {
        Span { start: self.start + 1, end: self.end - 1 }
    }

    /// A part of this.
    pub(super) fn part(self, part: Range<usize>) -> Span {
        Span { start: self.start + part.start as u32, end: self.start + part.end as u32 }
    }

    pub(super) fn len(self) -> usize {
        self.range().len()
    }

    pub(super) fn of(self, text: &str) -> &str {
        text.get(self.range()).unwrap_or_default()
    }

    fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// What stands between the quotes of a checked string, and whether it has escapes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quoted {
    pub(super) span: Span,
    pub(super) escaped: bool,
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
    /// The event's own, then what came from elsewhere or had escapes.
    text: String,
    /// After those of the fields come the items of lists.
    slots: Vec<Slot>,
}

/// Items of lists for which there is room from the beginning.
const FEW_ITEMS: usize = 6;

impl Slots {
    /// No field yet, and room for so many; spans are those of this text.
    pub(super) fn new(fields: usize, text: &str) -> Slots {
        let mut slots = Vec::with_capacity(fields + FEW_ITEMS);
        slots.resize_with(fields, Slot::default);
        Slots { text: text.to_owned(), slots }
    }

    /// What a string of the event says.
    pub(super) fn keep(&mut self, Quoted { span, escaped }: Quoted) -> Span {
        if !escaped {
            return span;
        }
        let text = unescaped(span.of(&self.text)).into_owned();
        self.add(&text)
    }

    /// Adds a text. One that begins beyond 4 GiB is no text: nothing that large is decoded.
    fn add(&mut self, text: &str) -> Span {
        let start = self.text.len();
        self.text.push_str(text);
        Span::new(start, self.text.len()).unwrap_or_default()
    }

    fn put(&mut self, place: usize, slot: Slot) {
        if let Some(there) = self.slots.get_mut(place) {
            *there = slot;
        }
    }

    pub(super) fn set(&mut self, place: usize, value: FieldValue) {
        self.put(place, Slot::Ready(value));
    }

    pub(super) fn set_text(&mut self, place: usize, span: Span) {
        self.put(place, Slot::Text(span, Made::new()));
    }

    /// Sets a text that the event did not bring.
    pub(super) fn set_new_text(&mut self, place: usize, text: &str) {
        let span = self.add(text);
        self.set_text(place, span);
    }

    pub(super) fn set_json(&mut self, place: usize, span: Span) {
        self.put(place, Slot::Json(span, Made::new()));
    }

    /// Where the items of a list begin that are added next.
    pub(super) fn next_item(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn add_item(&mut self, item: Quoted) {
        let span = self.keep(item);
        self.slots.push(Slot::Text(span, Made::new()));
    }

    /// Adds an item that the event did not bring.
    pub(super) fn add_new_item(&mut self, text: &str) {
        let span = self.add(text);
        self.slots.push(Slot::Text(span, Made::new()));
    }

    /// Sets a list to the items added since.
    pub(super) fn set_texts(&mut self, place: usize, first: usize) {
        let span = Span::new(first, self.slots.len()).unwrap_or_default();
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
