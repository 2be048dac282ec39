//! The whole table checked against one event: its values, or every fault.

use lictor_dsl::events::{EventKind, FieldId};
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
    let mut decoder = Decoder { rows, slots: Slots::new(&rows.neutral, found.text), errors: Vec::new() };
    if let Err(message) = named {
        decoder.fault(FIRST, "event", message);
    }
    for (group, other) in &found.not_objects {
        decoder.no_group(group, *other, own);
    }
    if let Origin::Server { org, source, agent } = origin {
        decoder.vouched(kind, org, source, agent);
    }
    for place in found.met.and(rows.in_text(own)).iter() {
        decoder.field(place, &found, own);
    }
    for place in rows.needed(own).without(found.met).iter() {
        decoder.absent(place);
    }
    if kind == Some(EventKind::Action) {
        decoder.action();
    }
    match kind {
        Some(kind) if decoder.errors.is_empty() => Ok(Event { kind, slots: decoder.slots }),
        _ => Err(decoder.invalid()),
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
    /// Each with the row that it is listed before.
    errors: Vec<(usize, FieldError)>,
}

/// Where faults are listed that are not those of one row.
const FIRST: usize = 0;
const LAST: usize = usize::MAX;

impl Decoder {
    #[cold]
    fn fault(&mut self, row: usize, field: &str, message: impl Into<String>) {
        self.errors.push((row, FieldError { field: field.to_owned(), message: message.into() }));
    }

    /// All faults, in the order of the table.
    #[cold]
    fn invalid(mut self) -> InvalidEvent {
        self.errors.sort_by_key(|(row, _)| *row);
        InvalidEvent { errors: self.errors.into_iter().map(|(_, error)| error).collect() }
    }

    /// Something else than an object stands where one with fields should.
    fn no_group(&mut self, group: &str, other: Kind, own: bool) {
        let below = |name: &str| name.strip_prefix(group).is_some_and(|rest| rest.starts_with('.'));
        let mut fields = self.rows.in_text(own).iter().filter_map(|place| self.rows.at(place));
        if fields.any(|(_, row)| below(row.field.name)) {
            self.fault(FIRST, group, format!("must be an object, not {}", other.named()));
        }
    }

    /// One field from the text.
    fn field(&mut self, place: usize, found: &Found<'_>, own: bool) {
        let (Some((number, row)), Some(there)) = (self.rows.at(place), found.at(place)) else { return };
        let message = match self.value(number, row, there, found) {
            Ok(()) if own && row.never_empty && self.is_empty(number) => "must not be empty".to_owned(),
            Ok(()) => return,
            Err(message) => message,
        };
        // Nothing more is said about what follows from it.
        self.slots.set(number, Slot::Absent);
        self.fault(number + 1, row.field.name, message);
    }

    /// The value that stands in the text; the error is what it must be.
    fn value(&mut self, number: usize, row: &Row, there: Place, found: &Found<'_>) -> Result<(), String> {
        let text = || there.span.of(found.text);
        match (row.field.ty, there.kind) {
            (Type::String, Kind::Text) => {
                let span = self.slots.keep(there.quoted());
                if span.len() > row.limit {
                    return Err(format!("must not be longer than {} bytes", row.limit));
                }
                if there.quoted().escaped && self.slots.kept(span).contains('\0') {
                    return Err("must not hold U+0000".to_owned());
                }
                self.slots.set(number, Slot::Text(span));
            }
            (Type::Bool, Kind::Bool) => self.slots.set(number, Slot::Bool(text() == "true")),
            (Type::Number, Kind::Number) => self.slots.set(number, field::number(row.field, text())?),
            (Type::Time, Kind::Text) => self.slots.set(number, field::time(&found.string(there))?),
            (Type::Ip, Kind::Text) => self.slots.set(number, field::address(&found.string(there))?),
            (Type::Json | Type::List(_), _) if there.span.len() > PAYLOAD_LIMIT => {
                return Err(field::too_large());
            }
            (Type::Json, _) => self.slots.set(number, Slot::Json(there.span)),
            (Type::List(Element::String), Kind::List) => {
                let first = self.slots.next_item();
                field::each_string(text(), there.span, |item| self.slots.add_item(item))?;
                self.slots.set_texts(number, first);
            }
            (wanted, found) => return Err(field::not_a(wanted, found)),
        }
        Ok(())
    }

    fn is_empty(&self, number: usize) -> bool {
        matches!(self.slots.read(number), Some(FieldRef::Text("")))
    }

    /// What stands for a field that the text has not, where that is not always the same.
    ///
    /// The agent's name follows its id and its registration the event's time, which stand before them in the table.
    /// Where those are at fault the event is refused for that; nothing more is said about what follows them.
    fn absent(&mut self, place: usize) {
        let Some((number, row)) = self.rows.at(place) else { return };
        match row.absent {
            Absent::Value(_) => {}
            Absent::Same(other) => {
                if let Some(from) = self.rows.number(other) {
                    self.slots.copy(from, number);
                }
            }
            Absent::Fault if self.is_reported(row.field.name) => {}
            Absent::Fault => self.fault(number + 1, row.field.name, REQUIRED),
        }
    }

    /// Whether a fault already names this field or an object above it.
    fn is_reported(&self, name: &str) -> bool {
        let above = |group: &str| {
            name.strip_prefix(group).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.errors.iter().any(|(_, error)| above(&error.field))
    }

    fn set(&mut self, field: FieldId, value: Slot) {
        if let Some(place) = self.rows.number(field) {
            self.slots.set(place, value);
        }
    }

    fn set_text(&mut self, field: FieldId, text: &str) {
        if let Some(place) = self.rows.number(field) {
            self.slots.set_new_text(place, text);
        }
    }

    fn set_texts(&mut self, field: FieldId, texts: &[String]) {
        if let Some(place) = self.rows.number(field) {
            let first = self.slots.next_item();
            texts.iter().for_each(|item| self.slots.add_new_item(item));
            self.slots.set_texts(place, first);
        }
    }

    fn text(&self, field: FieldId) -> Option<&str> {
        match self.slots.read(self.rows.number(field)?)? {
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
            match (field::checked_json(text), self.rows.number(known.metadata)) {
                (Ok(Some(text)), Some(place)) => self.slots.set_new_json(place, text),
                (Ok(_), _) => {}
                (Err(message), _) => self.fault(FIRST, known.metadata.def().name, message),
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
            self.fault(LAST, needed.def().name, message);
        }
    }
}
