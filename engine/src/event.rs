//! JSON to the typed event that is judged.

use lictor_dsl::events::EventKind;
use serde::Serialize;

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
}

impl Event {
    /// Decodes one event in the form `{"event": "intent", "at": …, "org": …, "agent": {…}, "task": …, …fields}`.
    ///
    /// The whole table is validated and every fault is listed; duplicate keys at any depth are a fault;
    /// members that the table does not know are ignored.
    pub fn decode(_json: &[u8], _origin: Origin<'_>) -> Result<Event, InvalidEvent> {
        Err(InvalidEvent { errors: Vec::new() })
    }

    /// What kind of event it is.
    pub fn kind(&self) -> EventKind {
        self.kind
    }

    /// Sets the ledger's time, in microseconds since 1970.
    pub fn set_at(&mut self, _at_us: i64) {}

    /// The text of a string field (`task`, `action`, `tool`, …); empty where there is none.
    pub fn text(&self, _field: &str) -> &str {
        ""
    }
}
