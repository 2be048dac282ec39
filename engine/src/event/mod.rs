//! JSON to the typed event that is judged.
//!
//! One pass over the bytes checks all of them and finds the fields (`layout`); then the table is checked row by
//! row (`decode`). A rule sees no event that breaks the table, and none whose text two readers could take
//! differently.

mod decode;
mod erased;
mod field;
mod known;
mod layout;
mod names;
mod payload;
mod rows;
mod slots;
mod time;

use lictor_dsl::events::{self, EventKind, FieldId};
use serde::Serialize;

pub use erased::Remains;
pub use field::{FieldValue, PAYLOAD_LIMIT, TASK_LIMIT, TEXT_LIMIT};
pub use payload::JsonField;
pub use slots::{FieldRef, Texts};

use known::KNOWN;
use rows::Rows;
use slots::{Slot, Slots};

/// One thing wrong with an event: which field (dotted path, or empty for the whole), and what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// The field.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

/// Why bytes are not an event: every field that breaks the table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the event breaks the event table")]
pub struct InvalidEvent {
    /// At least one.
    pub errors: Vec<FieldError>,
}

/// What the server knows about the agent behind an event. Overwrites whatever the event says.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "named like the fields of the event table")]
pub struct AgentFacts {
    pub id: String,
    pub name: String,
    pub owner: Option<String>,
    pub kind: String,
    pub status: String,
    pub environment: Option<String>,
    pub purpose: Option<String>,
    pub risk_class: Option<String>,
    pub tags: Vec<String>,
    pub manifest_tools: Vec<String>,
    pub manifest_destinations: Vec<String>,
    pub trust: lictor_dsl::number::Number,
    pub registered_at_us: i64,
    pub declared: bool,
    pub paused: bool,
    /// JSON text of `agent.metadata`.
    pub metadata: Option<String>,
}

/// Who vouches for the attested fields of an event.
#[derive(Debug, Clone, Copy)]
pub enum Origin<'a> {
    /// The event itself (command line, tests, a human's dry run): `at`, `org` and `agent.id` are required,
    /// what else is left out of the envelope gets its neutral value.
    Event,
    /// The server: attested fields of the event's own JSON are ignored and replaced by these.
    /// `at` is a placeholder until the sequencer calls [`Event::set_at`].
    Server {
        /// The org whose ledger it enters.
        org: &'a str,
        /// The API that took it.
        source: &'a str,
        /// What the registry knows of the agent.
        agent: &'a AgentFacts,
    },
}

/// A typed event: every field of the table decoded and validated, json kept as text until a rule reads it.
#[derive(Debug, Clone)]
pub struct Event {
    kind: EventKind,
    slots: Slots,
}

impl Event {
    /// Decodes one event in the form `{"event": "intent", "at": …, "org": …, "agent": {…}, "task": …, …fields}`.
    ///
    /// The whole table is validated and every fault is listed; duplicate keys at any depth are a fault;
    /// members that the table does not know are ignored.
    ///
    /// ```
    /// use lictor_engine::event::{Event, Origin};
    ///
    /// let json = br#"{"event": "intent", "at": "2026-01-01T12:00:00Z", "org": "acme", "agent": {"id": "a-1"},
    ///                 "action": "refund", "amount": "5"}"#;
    /// let invalid = Event::decode(json, Origin::Event).expect_err("an amount in a string");
    /// assert_eq!(invalid.errors[0].field, "amount");
    /// assert_eq!(invalid.errors[0].message, "must be a number, not a string");
    /// ```
    pub fn decode(json: &[u8], origin: Origin<'_>) -> Result<Event, InvalidEvent> {
        decode::decode(json, origin)
    }

    /// What kind of event it is.
    pub fn kind(&self) -> EventKind {
        self.kind
    }

    /// A field's value; none where it is absent. A value with texts of its own is made when it is first asked for.
    pub fn get(&self, field: FieldId) -> Option<&FieldValue> {
        self.slots.get(self.place(field)?)
    }

    /// A field's value, its texts where they lie; none where it is absent.
    pub fn read(&self, field: FieldId) -> Option<FieldRef<'_>> {
        self.slots.read(self.place(field)?)
    }

    /// These fields' values, their texts where they lie.
    pub(crate) fn read_each<'e>(
        &'e self,
        fields: &'e [FieldId],
    ) -> impl Iterator<Item = (FieldId, Option<FieldRef<'e>>)> {
        let rows = Rows::of(Some(self.kind));
        fields.iter().map(move |field| (*field, rows.number(*field).and_then(|place| self.slots.read(place))))
    }

    fn place(&self, field: FieldId) -> Option<usize> {
        Rows::of(Some(self.kind)).number(field)
    }

    /// Sets the ledger's time, in microseconds since 1970.
    pub fn set_at(&mut self, at_us: i64) {
        if let Some(place) = self.place(KNOWN.at) {
            self.slots.set(place, Slot::Time(at_us));
        }
    }

    /// The ledger's time, in microseconds since 1970.
    pub fn at(&self) -> i64 {
        match self.read(KNOWN.at) {
            Some(FieldRef::Time(us)) => us,
            _ => 0,
        }
    }

    /// The org whose event it is.
    pub fn org(&self) -> &str {
        self.text_of(KNOWN.org)
    }

    /// The agent whose event it is.
    pub fn agent_id(&self) -> &str {
        self.text_of(KNOWN.agent_id)
    }

    /// Bytes of its json fields that were read because somebody asked for what is in them.
    pub(crate) fn json_read(&self) -> usize {
        self.slots.json_read()
    }

    /// The text of a string field (`task`, `action`, `tool`, …); empty where there is none.
    pub fn text(&self, field: &str) -> &str {
        events::field(self.kind, field).map_or("", |field| self.text_of(field))
    }

    fn text_of(&self, field: FieldId) -> &str {
        match self.read(field) {
            Some(FieldRef::Text(text)) => text,
            _ => "",
        }
    }
}

#[cfg(test)]
mod strict;
#[cfg(test)]
mod tests;
