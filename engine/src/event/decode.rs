//! The whole table checked against one event: its values, or every fault.

use lictor_dsl::events::{EventKind, FieldId};
use lictor_dsl::number::Number;
use lictor_dsl::types::{Element, Type};

use super::field::{self, PAYLOAD_LIMIT};
use super::known::KNOWN;
use super::layout::{Found, Place};
use super::rows::{Absent, Row, Rows};
use super::slots::{FieldRef, Slot, Slots};
use super::{AgentFacts, Event, FieldError, InvalidEvent, Origin};
use crate::json::{JsonError, Kind};

/// Reads and checks an event.
pub(super) fn decode(json: &[u8], origin: Origin<'_>) -> Result<Event, InvalidEvent> {
    let found = Found::read(json).map_err(not_json)?;
    let named = event_kind(&found);
    let (kind, own) = (named.as_ref().ok().copied(), matches!(origin, Origin::Event));
    let rows = Rows::of(kind);
    let mut decoder = Decoder { rows, slots: Slots::new(rows.rows.len(), found.text), errors: Vec::new() };
    if let Err(message) = named {
        decoder.fault("event", message);
    }
    for (group, other) in &found.not_objects {
        decoder.no_group(group, *other, own);
    }
    if let Origin::Server { org, source, agent } = origin {
        decoder.vouched(kind, org, source, agent);
    }
    for (place, row) in rows.rows.iter().enumerate().filter(|(_, row)| own || row.claimed) {
        decoder.field(place, row, &found, own);
    }
    if kind == Some(EventKind::Action) {
        decoder.action();
    }
    match kind {
        Some(kind) if decoder.errors.is_empty() => Ok(Event { kind, slots: decoder.slots }),
        _ => Err(InvalidEvent { errors: decoder.errors }),
    }
}

fn not_json(error: JsonError) -> InvalidEvent {
    let message = error.to_string();
    InvalidEvent { errors: vec![FieldError { field: error.path, message }] }
}

fn event_kind(found: &Found<'_>) -> Result<EventKind, String> {
    let Some(place) = found.event_kind() else { return Err(REQUIRED.to_owned()) };
    // No kind's name needs an escape, so the text between the quotes is the name.
    match EventKind::named(place.quoted().span.of(found.text)) {
        Some(known) if place.kind == Kind::Text => Ok(known),
        _ => {
            let names: Vec<&str> = EventKind::ALL.into_iter().map(EventKind::name).collect();
            Err(format!("must be one of {}", names.join(", ")))
        }
    }
}

const REQUIRED: &str = "is required";

struct Decoder {
    rows: &'static Rows,
    slots: Slots,
    errors: Vec<FieldError>,
}

impl Decoder {
    #[cold]
    fn fault(&mut self, field: &str, message: impl Into<String>) {
        self.errors.push(FieldError { field: field.to_owned(), message: message.into() });
    }

    /// Something else than an object stands where one with fields should.
    fn no_group(&mut self, group: &str, other: Kind, own: bool) {
        let below = |row: &&Row| row.field.name.strip_prefix(group).is_some_and(|rest| rest.starts_with('.'));
        if self.rows.rows.iter().filter(below).any(|row| own || row.claimed) {
            self.fault(group, format!("must be an object, not {}", other.named()));
        }
    }

    /// One field from the text, or what stands for it where it is absent.
    fn field(&mut self, place: usize, row: &Row, found: &Found<'_>, own: bool) {
        match found.at(row.place) {
            Some(there) => match self.value(place, row, there, found) {
                Ok(()) if own && row.never_empty && self.is_empty(place) => {
                    self.fault(row.field.name, "must not be empty");
                }
                Ok(()) => {}
                Err(message) => self.fault(row.field.name, message),
            },
            None => self.absent(place, row),
        }
    }

    /// The value that stands in the text; the error is what it must be.
    fn value(&mut self, place: usize, row: &Row, there: Place, found: &Found<'_>) -> Result<(), String> {
        let text = || there.span.of(found.text);
        match (row.field.ty, there.kind) {
            (Type::String, Kind::Text) => {
                let span = self.slots.keep(there.quoted());
                if span.len() > row.limit {
                    return Err(format!("must not be longer than {} bytes", row.limit));
                }
                self.slots.set(place, Slot::Text(span));
            }
            (Type::Bool, Kind::Bool) => self.slots.set(place, Slot::Bool(text() == "true")),
            (Type::Number, Kind::Number) => self.slots.set(place, field::number(row.field, text())?),
            (Type::Time, Kind::Text) => self.slots.set(place, field::time(&found.string(there))?),
            (Type::Ip, Kind::Text) => self.slots.set(place, field::address(&found.string(there))?),
            (Type::Json | Type::List(_), _) if there.span.len() > PAYLOAD_LIMIT => {
                return Err(field::too_large());
            }
            (Type::Json, _) => self.slots.set(place, Slot::Json(there.span)),
            (Type::List(Element::String), Kind::List) => {
                let first = self.slots.next_item();
                field::each_string(text(), there.span, |item| self.slots.add_item(item))?;
                self.slots.set_texts(place, first);
            }
            (wanted, found) => return Err(field::not_a(wanted, found)),
        }
        Ok(())
    }

    fn is_empty(&self, place: usize) -> bool {
        matches!(self.slots.read(place), Some(FieldRef::Text("")))
    }

    /// What a field has where the text has none.
    ///
    /// The agent's name follows its id and its registration the event's time, which stand before them in the table.
    /// Where those are at fault the event is refused for that; nothing more is said about what follows them.
    fn absent(&mut self, place: usize, row: &Row) {
        match row.absent {
            Absent::Nothing => {}
            Absent::Text(text) => self.slots.set_new_text(place, text),
            Absent::NoTexts => self.slots.set_texts(place, self.slots.next_item()),
            Absent::Half => self.slots.set(place, Slot::Number(HALF)),
            Absent::False => self.slots.set(place, Slot::Bool(false)),
            Absent::Same(other) => {
                if let Some(from) = self.rows.place(other) {
                    self.slots.copy(from, place);
                }
            }
            Absent::Fault if self.is_reported(row.field.name) => {}
            Absent::Fault => self.fault(row.field.name, REQUIRED),
        }
    }

    /// Whether a fault already names this field or an object above it.
    fn is_reported(&self, name: &str) -> bool {
        let above = |group: &str| {
            name.strip_prefix(group).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.errors.iter().any(|error| above(&error.field))
    }

    fn set(&mut self, field: FieldId, value: Slot) {
        if let Some(place) = self.rows.place(field) {
            self.slots.set(place, value);
        }
    }

    fn set_text(&mut self, field: FieldId, text: &str) {
        if let Some(place) = self.rows.place(field) {
            self.slots.set_new_text(place, text);
        }
    }

    fn set_texts(&mut self, field: FieldId, texts: &[String]) {
        if let Some(place) = self.rows.place(field) {
            let first = self.slots.next_item();
            texts.iter().for_each(|item| self.slots.add_new_item(item));
            self.slots.set_texts(place, first);
        }
    }

    fn text(&self, field: FieldId) -> Option<&str> {
        match self.slots.read(self.rows.place(field)?)? {
            FieldRef::Text(text) => Some(text),
            _ => None,
        }
    }

    /// What the server vouches for.
    fn vouched(&mut self, kind: Option<EventKind>, org: &str, source: &str, agent: &AgentFacts) {
        let known = &*KNOWN;
        self.set(known.at, Slot::Time(0));
        for (field, text) in [
            (known.org, org),
            (known.source, source),
            (known.agent_id, &agent.id),
            (known.name, &agent.name),
            (known.kind, &agent.kind),
            (known.status, &agent.status),
        ] {
            self.set_text(field, text);
        }
        for (field, text) in [
            (known.owner, &agent.owner),
            (known.environment, &agent.environment),
            (known.purpose, &agent.purpose),
            (known.risk_class, &agent.risk_class),
        ] {
            if let Some(text) = text {
                self.set_text(field, text);
            }
        }
        self.set_texts(known.tags, &agent.tags);
        self.set_texts(known.tools, &agent.manifest_tools);
        self.set_texts(known.destinations, &agent.manifest_destinations);
        self.set(known.trust, Slot::Number(agent.trust));
        self.set(known.registered_at, Slot::Time(agent.registered_at_us));
        self.set(known.declared, Slot::Bool(agent.declared));
        self.set(known.paused, Slot::Bool(agent.paused));
        if let Some(text) = &agent.metadata {
            match (field::checked_json(text), self.rows.place(known.metadata)) {
                (Ok(Some(text)), Some(place)) => self.slots.set_new_json(place, text),
                (Ok(_), _) => {}
                (Err(message), _) => self.fault(known.metadata.def().name, message),
            }
        }
        if kind == Some(EventKind::Request) {
            self.set(known.allowed, Slot::Bool(false));
            self.set_text(known.via, "none");
        }
    }

    /// A tool call has a tool, a connection a target.
    fn action(&mut self) {
        let (kind, needed) = match self.text(KNOWN.action_kind) {
            Some("tool_call") => ("tool_call", KNOWN.tool),
            Some("connect") => ("connect", KNOWN.target),
            Some("http") => ("http", KNOWN.target),
            _ => return,
        };
        if self.text(needed) == Some("") {
            let message = format!("must not be empty in an action of kind `{kind}`");
            self.fault(needed.def().name, message);
        }
    }
}

/// The trust of an agent of which nothing is known.
const HALF: Number = Number::from_billionths(500_000_000);
