//! The one table of event kinds and their fields: names, types, and who vouches for each.
//!
//! The checker, the event decoder, completion and the reference page are all made from this table, so that
//! a field can't mean one thing to an author and another to the engine. A field's number is its place in
//! [`FIELDS`]; compiled code refers to it by that number.

use crate::types::Type;

/// What kind of thing is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum EventKind {
    /// An agent is registered or changed.
    Registration,
    /// An agent says what it wants to do, before it does it.
    Intent,
    /// An agent is about to do something, or was seen doing it.
    Action,
    /// One executed step of a task.
    Log,
    /// An access check: may this agent do this to that resource?
    Request,
    /// An agent is submitted for review.
    Submission,
}

impl EventKind {
    /// Every kind, in the order of the language reference.
    pub const ALL: [EventKind; 6] = [
        EventKind::Registration,
        EventKind::Intent,
        EventKind::Action,
        EventKind::Log,
        EventKind::Request,
        EventKind::Submission,
    ];

    /// The word that names this kind in a policy and in an event's `event` member.
    pub fn name(self) -> &'static str {
        match self {
            EventKind::Registration => "registration",
            EventKind::Intent => "intent",
            EventKind::Action => "action",
            EventKind::Log => "log",
            EventKind::Request => "request",
            EventKind::Submission => "submission",
        }
    }

    /// The kind with this name.
    pub fn named(name: &str) -> Option<EventKind> {
        EventKind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }

    /// The payload field that a `schema` of this kind describes, and the field that selects the schema.
    pub fn payload(self) -> Option<(FieldId, FieldId)> {
        let (payload, selector) = match self {
            EventKind::Intent => ("payload", "action"),
            EventKind::Action => ("metadata", "tool"),
            EventKind::Log => ("properties", "name"),
            EventKind::Request => ("arguments", "action"),
            EventKind::Registration | EventKind::Submission => return None,
        };
        Some((field(self, payload)?, field(self, selector)?))
    }
}

/// Who vouches for a field's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// The server knows it.
    Attested,
    /// The agent says so.
    Claimed,
}

/// The number of a field: its place in [`FIELDS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FieldId(pub u16);

impl FieldId {
    /// What the table says about this field.
    #[expect(clippy::indexing_slicing, reason = "numbers are only made from places in the table")]
    pub fn def(self) -> &'static Field {
        &FIELDS[usize::from(self.0)]
    }
}

/// One row of the table.
#[derive(Debug)]
pub struct Field {
    /// Its name, with dots for nested objects.
    pub name: &'static str,
    /// Its type.
    pub ty: Type,
    /// Whether an event may come without it. Strings that are not optional are empty where there is none.
    pub optional: bool,
    /// Who vouches for it.
    pub trust: Trust,
    kinds: u8,
}

impl Field {
    /// Whether events of this kind have the field.
    pub fn belongs_to(&self, kind: EventKind) -> bool {
        self.kinds & kind.bit() != 0
    }
}

const ALL: u8 = 0b11_1111;
const REGISTRATION: u8 = 1;
const INTENT: u8 = 2;
const ACTION: u8 = 4;
const LOG: u8 = 8;
const REQUEST: u8 = 16;
const SUBMISSION: u8 = 32;

const fn attested(name: &'static str, ty: Type) -> Field {
    Field { name, ty, optional: false, trust: Trust::Attested, kinds: ALL }
}

const fn claimed(kinds: u8, name: &'static str, ty: Type) -> Field {
    Field { name, ty, optional: false, trust: Trust::Claimed, kinds }
}

const fn optional(field: Field) -> Field {
    Field { optional: true, ..field }
}

const fn of(kinds: u8, field: Field) -> Field {
    Field { kinds, ..field }
}

/// The table. Rows are only ever added at the end of their group; compiled code is not kept across versions.
pub static FIELDS: &[Field] = &[
    // The envelope, shared by every kind.
    attested("at", Type::Time),
    attested("org", Type::String),
    attested("source", Type::String),
    claimed(ALL, "task", Type::String),
    attested("agent.id", Type::String),
    attested("agent.name", Type::String),
    optional(attested("agent.owner", Type::String)),
    attested("agent.type", Type::String),
    attested("agent.status", Type::String),
    optional(attested("agent.environment", Type::String)),
    optional(claimed(ALL, "agent.purpose", Type::String)),
    optional(attested("agent.risk_class", Type::String)),
    attested("agent.tags", Type::STRINGS),
    attested("agent.manifest.tools", Type::STRINGS),
    attested("agent.manifest.destinations", Type::STRINGS),
    attested("agent.trust", Type::Number),
    attested("agent.registered_at", Type::Time),
    attested("agent.declared", Type::Bool),
    attested("agent.paused", Type::Bool),
    optional(claimed(ALL, "agent.metadata", Type::Json)),
    // Registration.
    claimed(REGISTRATION, "change", Type::String),
    optional(claimed(REGISTRATION, "previous", Type::Json)),
    // Intent, request, action: what is to be done, to what. One name has one type within a kind.
    claimed(INTENT | REQUEST, "action", Type::String),
    optional(claimed(INTENT, "amount", Type::Number)),
    optional(claimed(INTENT, "currency", Type::String)),
    optional(claimed(INTENT, "target", Type::Json)),
    optional(claimed(INTENT, "payload", Type::Json)),
    claimed(ACTION, "kind", Type::String),
    claimed(ACTION, "tool", Type::String),
    claimed(ACTION, "target", Type::String),
    claimed(ACTION, "publisher", Type::String),
    optional(claimed(ACTION, "metadata", Type::Json)),
    // Log.
    claimed(LOG, "step_type", Type::String),
    claimed(LOG, "name", Type::String),
    claimed(LOG, "verb", Type::String),
    claimed(LOG, "status", Type::String),
    optional(claimed(LOG, "duration_ms", Type::Number)),
    optional(claimed(LOG, "input", Type::Json)),
    optional(claimed(LOG, "output", Type::Json)),
    optional(claimed(LOG, "properties", Type::Json)),
    // Request.
    claimed(REQUEST, "resource", Type::String),
    optional(claimed(REQUEST, "arguments", Type::Json)),
    of(REQUEST, optional(attested("context.ip", Type::Ip))),
    optional(claimed(REQUEST, "context.user_agent", Type::String)),
    of(REQUEST, attested("grant.allowed", Type::Bool)),
    of(REQUEST, optional(attested("grant.reason", Type::String))),
    of(REQUEST, attested("grant.via", Type::String)),
    // Submission.
    claimed(SUBMISSION, "owner", Type::String),
    claimed(SUBMISSION, "fingerprint", Type::String),
    optional(claimed(SUBMISSION, "spend_cap", Type::Number)),
    optional(claimed(SUBMISSION, "spend_currency", Type::String)),
    optional(claimed(SUBMISSION, "profile", Type::Json)),
];

/// How many fields there are.
pub const FIELD_COUNT: usize = FIELDS.len();

/// The field of this name on events of this kind.
pub fn field(kind: EventKind, name: &str) -> Option<FieldId> {
    fields_of(kind).find(|id| id.def().name == name)
}

/// All fields of a kind, envelope first.
pub fn fields_of(kind: EventKind) -> impl Iterator<Item = FieldId> {
    (0u16..).zip(FIELDS).filter(move |(_, field)| field.belongs_to(kind)).map(|(number, _)| FieldId(number))
}

/// Whether some field of this kind lies below this name, as `agent` lies above `agent.id`.
pub fn is_group(kind: EventKind, name: &str) -> bool {
    fields_of(kind).any(|id| id.def().name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_within_a_kind() {
        for kind in EventKind::ALL {
            let mut names: Vec<_> = fields_of(kind).map(|id| id.def().name).collect();
            let all = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), all, "{}", kind.name());
        }
    }

    #[test]
    fn a_payload_and_its_selector_exist() {
        assert_eq!(
            EventKind::Action.payload().map(|(p, s)| (p.def().name, s.def().name)),
            Some(("metadata", "tool"))
        );
        assert!(EventKind::Submission.payload().is_none());
    }
}
