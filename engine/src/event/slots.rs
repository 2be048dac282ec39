//! What an event keeps: the texts of its fields in one string, and for each field where in it that stands.
//!
//! Of a field that nobody asks for no more is made than that. A text is a place in the string, without a string of its
//! own; json is read when a rule first asks for it.

use std::net::IpAddr;
use std::ops::Range;
use std::sync::OnceLock;

use lictor_dsl::number::Number;

use super::field::FieldValue;
use super::payload::JsonField;
use crate::json::unescaped;

/// What a field holds, its texts where they lie.
#[derive(Debug, Clone, Copy)]
pub enum FieldRef<'e> {
    /// A bool.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A string.
    Text(&'e str),
    /// A time, in microseconds since 1970.
    Time(i64),
    /// An address; an IPv4-mapped one is IPv4.
    Ip(IpAddr),
    /// A list of strings.
    Texts(Texts<'e>),
    /// Json.
    Json(&'e JsonField),
}

/// The strings of a list field.
#[derive(Debug, Clone, Copy)]
pub struct Texts<'e> {
    text: &'e str,
    items: &'e [Slot],
}

impl<'e> Texts<'e> {
    /// How many there are.
    pub(crate) fn len(self) -> usize {
        self.items.len()
    }

    /// The strings in their order.
    pub fn iter(self) -> impl Iterator<Item = &'e str> {
        self.items.iter().map(move |item| match item {
            Slot::Text(span) => span.of(self.text),
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

/// One field. Plain data: what is made of it when somebody asks lies elsewhere, so that there is nothing to drop where
/// nobody asked.
#[derive(Debug, Clone, Copy)]
pub(super) enum Slot {
    Absent,
    Bool(bool),
    Number(Number),
    Time(i64),
    Ip(IpAddr),
    Text(Span),
    /// A text that stands where there is none.
    Fixed(&'static str),
    Texts(Span),
    Json(Span),
}

/// Values with texts of their own, each made when it is first asked for.
type Made<T> = OnceLock<Box<[OnceLock<T>]>>;

/// The fields of one event, in the order of the rows of its kind.
#[derive(Debug, Clone)]
pub(super) struct Slots {
    /// The event's own, then what came from elsewhere or had escapes.
    text: String,
    /// After those of the fields come the items of lists.
    slots: Vec<Slot>,
    values: Made<FieldValue>,
    json: Made<JsonField>,
}

/// Items of lists for which there is room from the beginning.
const FEW_ITEMS: usize = 6;
/// Room for texts that the event does not bring, in bytes.
const FEW_TEXTS: usize = 128;

impl Slots {
    /// These fields, and the text that the spans are of which will be set.
    pub(super) fn new(fields: &[Slot], text: &str) -> Slots {
        let mut slots = Vec::with_capacity(fields.len() + FEW_ITEMS);
        slots.extend_from_slice(fields);
        let mut own = String::with_capacity(text.len() + FEW_TEXTS);
        own.push_str(text);
        Slots { text: own, slots, values: Made::new(), json: Made::new() }
    }

    /// What a string of the event says.
    pub(super) fn keep(&mut self, Quoted { span, escaped }: Quoted) -> Span {
        if escaped { self.add_unescaped(span) } else { span }
    }

    #[cold]
    fn add_unescaped(&mut self, span: Span) -> Span {
        let text = unescaped(span.of(&self.text)).into_owned();
        self.add(&text)
    }

    /// A text that was kept.
    pub(super) fn kept(&self, span: Span) -> &str {
        span.of(&self.text)
    }

    /// Adds a text. One that begins beyond 4 GiB is no text: nothing that large is decoded.
    fn add(&mut self, text: &str) -> Span {
        let start = self.text.len();
        self.text.push_str(text);
        Span::new(start, self.text.len()).unwrap_or_default()
    }

    pub(super) fn set(&mut self, place: usize, value: Slot) {
        if let Some(slot) = self.slots.get_mut(place) {
            *slot = value;
        }
        if let Some(made) = self.values.get_mut().and_then(|values| values.get_mut(place)) {
            made.take();
        }
    }

    /// Sets a text that the event did not bring.
    pub(super) fn set_new_text(&mut self, place: usize, text: &str) {
        let span = self.add(text);
        self.set(place, Slot::Text(span));
    }

    /// Sets checked json that the event did not bring.
    pub(super) fn set_new_json(&mut self, place: usize, text: &str) {
        let span = self.add(text);
        self.set(place, Slot::Json(span));
    }

    /// Where the items of a list begin that are added next.
    pub(super) fn next_item(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn add_item(&mut self, item: Quoted) {
        let span = self.keep(item);
        self.slots.push(Slot::Text(span));
    }

    /// Adds an item that the event did not bring.
    pub(super) fn add_new_item(&mut self, text: &str) {
        let span = self.add(text);
        self.slots.push(Slot::Text(span));
    }

    /// Sets a list to the items added since.
    pub(super) fn set_texts(&mut self, place: usize, first: usize) {
        let span = Span::new(first, self.slots.len()).unwrap_or_default();
        self.set(place, Slot::Texts(span));
    }

    /// Gives a field what another has.
    pub(super) fn copy(&mut self, from: usize, to: usize) {
        if let Some(slot) = self.slots.get(from).copied() {
            self.set(to, slot);
        }
    }

    /// A field, its texts where they lie.
    pub(super) fn read(&self, place: usize) -> Option<FieldRef<'_>> {
        Some(match self.slots.get(place)? {
            Slot::Absent => return None,
            Slot::Bool(value) => FieldRef::Bool(*value),
            Slot::Number(value) => FieldRef::Number(*value),
            Slot::Time(value) => FieldRef::Time(*value),
            Slot::Ip(value) => FieldRef::Ip(*value),
            Slot::Text(span) => FieldRef::Text(span.of(&self.text)),
            Slot::Fixed(text) => FieldRef::Text(text),
            Slot::Texts(span) => FieldRef::Texts(Texts {
                text: &self.text,
                items: self.slots.get(span.range()).unwrap_or_default(),
            }),
            Slot::Json(span) => FieldRef::Json(
                self.made(&self.json, place)?.get_or_init(|| JsonField::new(span.of(&self.text))),
            ),
        })
    }

    /// A field with texts of its own.
    pub(super) fn get(&self, place: usize) -> Option<&FieldValue> {
        let value = self.read(place)?;
        Some(self.made(&self.values, place)?.get_or_init(|| match value {
            FieldRef::Bool(value) => FieldValue::Bool(value),
            FieldRef::Number(value) => FieldValue::Number(value),
            FieldRef::Time(value) => FieldValue::Time(value),
            FieldRef::Ip(value) => FieldValue::Ip(value),
            FieldRef::Text(text) => FieldValue::Text(text.to_owned()),
            FieldRef::Texts(texts) => FieldValue::Texts(texts.iter().map(str::to_owned).collect()),
            FieldRef::Json(json) => FieldValue::Json(json.clone()),
        }))
    }

    /// Bytes of json that were read since the event was decoded.
    pub(super) fn json_read(&self) -> usize {
        let made = self.json.get().into_iter().flatten();
        made.filter_map(OnceLock::get).map(JsonField::bytes_read).sum()
    }

    fn made<'s, T>(&self, made: &'s Made<T>, place: usize) -> Option<&'s OnceLock<T>> {
        made.get_or_init(|| self.slots.iter().map(|_| OnceLock::new()).collect()).get(place)
    }
}
