//! The whole table checked against one event: its values, or every fault.

use std::sync::LazyLock;

use lictor_dsl::events::{self, EventKind, FIELD_COUNT, FIELDS, Field, FieldId, Trust};
use lictor_dsl::number::Number;

use super::field::FieldValue;
use super::layout::Found;
use super::{AgentFacts, FieldError, InvalidEvent, Origin};
use crate::json::{JsonError, Kind};

/// One slot for each field of the table.
pub(super) type Slots = Box<[Option<FieldValue>]>;

/// Fields that are the empty string where there is none: that there is none is known.
const EMPTY_WHERE_ABSENT: [&str; 7] = ["tool", "target", "publisher", "name", "verb", "status", "task"];

/// Fields that an event which speaks for itself can't leave out or leave empty.
const OWN_IDENTITY: [&str; 3] = ["at", "org", "agent.id"];

/// The numbers of the fields that are filled from elsewhere than the text.
pub(super) struct Known {
    pub(super) at: FieldId,
    pub(super) org: FieldId,
    source: FieldId,
    pub(super) agent_id: FieldId,
    name: FieldId,
    owner: FieldId,
    kind: FieldId,
    status: FieldId,
    environment: FieldId,
    purpose: FieldId,
    risk_class: FieldId,
    tags: FieldId,
    tools: FieldId,
    destinations: FieldId,
    trust: FieldId,
    registered_at: FieldId,
    declared: FieldId,
    paused: FieldId,
    metadata: FieldId,
    allowed: FieldId,
    via: FieldId,
    action_kind: FieldId,
    tool: FieldId,
    target: FieldId,
}

pub(super) static KNOWN: LazyLock<Known> = LazyLock::new(|| {
    let of = |kind, name| events::field(kind, name).expect("the event table has this row");
    let envelope = |name| of(EventKind::Request, name);
    Known {
        at: envelope("at"),
        org: envelope("org"),
        source: envelope("source"),
        agent_id: envelope("agent.id"),
        name: envelope("agent.name"),
        owner: envelope("agent.owner"),
        kind: envelope("agent.type"),
        status: envelope("agent.status"),
        environment: envelope("agent.environment"),
        purpose: envelope("agent.purpose"),
        risk_class: envelope("agent.risk_class"),
        tags: envelope("agent.tags"),
        tools: envelope("agent.manifest.tools"),
        destinations: envelope("agent.manifest.destinations"),
        trust: envelope("agent.trust"),
        registered_at: envelope("agent.registered_at"),
        declared: envelope("agent.declared"),
        paused: envelope("agent.paused"),
        metadata: envelope("agent.metadata"),
        allowed: envelope("grant.allowed"),
        via: envelope("grant.via"),
        action_kind: of(EventKind::Action, "kind"),
        tool: of(EventKind::Action, "tool"),
        target: of(EventKind::Action, "target"),
    }
});

/// Reads and checks an event.
pub(super) fn decode(json: &[u8], origin: Origin<'_>) -> Result<(EventKind, Slots), InvalidEvent> {
    let found = Found::read(json).map_err(not_json)?;
    let mut decoder = Decoder { slots: vec![None; FIELD_COUNT].into(), errors: Vec::new() };
    let kind = match event_kind(&found) {
        Ok(kind) => Some(kind),
        Err(message) => {
            decoder.fault("event", message);
            None
        }
    };
    let own = matches!(origin, Origin::Event);
    decoder.groups(&found, kind, own);
    if let Origin::Server { org, source, agent } = origin {
        decoder.vouched(kind, org, source, agent);
    }
    for (number, field) in (0..).zip(FIELDS) {
        if in_text(field, kind, own) {
            decoder.field(FieldId(number), &found, own);
        }
    }
    if kind == Some(EventKind::Action) {
        decoder.action();
    }
    match kind {
        Some(kind) if decoder.errors.is_empty() => Ok((kind, decoder.slots)),
        _ => Err(InvalidEvent { errors: decoder.errors }),
    }
}

fn not_json(error: JsonError) -> InvalidEvent {
    let message = error.to_string();
    InvalidEvent { errors: vec![FieldError { field: error.path, message }] }
}

fn event_kind(found: &Found<'_>) -> Result<EventKind, String> {
    let Some((kind, text)) = found.event_kind() else { return Err(REQUIRED.to_owned()) };
    // No kind's name needs an escape, so the text between the quotes is the name.
    let name = text.trim_matches('"');
    match EventKind::named(name) {
        Some(known) if kind == Kind::Text => Ok(known),
        _ => {
            let names: Vec<&str> = EventKind::ALL.into_iter().map(EventKind::name).collect();
            Err(format!("must be one of {}", names.join(", ")))
        }
    }
}

const REQUIRED: &str = "is required";

/// Whether an event of this kind takes the field from its own text. Of an unknown kind it has the envelope.
fn in_text(field: &Field, kind: Option<EventKind>, own: bool) -> bool {
    let belongs = match kind {
        Some(kind) => field.belongs_to(kind),
        None => EventKind::ALL.into_iter().all(|kind| field.belongs_to(kind)),
    };
    belongs && (own || (field.trust == Trust::Claimed && !field.name.starts_with("agent.")))
}

struct Decoder {
    slots: Slots,
    errors: Vec<FieldError>,
}

impl Decoder {
    fn fault(&mut self, field: &str, message: impl Into<String>) {
        self.errors.push(FieldError { field: field.to_owned(), message: message.into() });
    }

    fn set(&mut self, field: FieldId, value: FieldValue) {
        if let Some(slot) = self.slots.get_mut(usize::from(field.0)) {
            *slot = Some(value);
        }
    }

    fn set_text(&mut self, field: FieldId, text: &str) {
        self.set(field, FieldValue::Text(text.to_owned()));
    }

    fn get(&self, field: FieldId) -> Option<&FieldValue> {
        self.slots.get(usize::from(field.0))?.as_ref()
    }

    /// What stands where an object with fields should.
    fn groups(&mut self, found: &Found<'_>, kind: Option<EventKind>, own: bool) {
        for (group, other) in &found.not_objects {
            let below =
                |field: &Field| field.name.strip_prefix(group).is_some_and(|rest| rest.starts_with('.'));
            if FIELDS.iter().any(|field| below(field) && in_text(field, kind, own)) {
                self.fault(group, format!("must be an object, not {}", other.named()));
            }
        }
    }

    /// One field from the text, or what stands for it where it is absent.
    fn field(&mut self, id: FieldId, found: &Found<'_>, own: bool) {
        let field = id.def();
        let value = match found.field(id) {
            Some((kind, text)) => FieldValue::read(field, kind, text),
            None if field.optional => return,
            None => match self.neutral(field, own) {
                Some(value) => Ok(value),
                None if self.is_reported(field.name) => return,
                None => Err(REQUIRED.to_owned()),
            },
        };
        match value {
            Ok(FieldValue::Text(text)) if own && text.is_empty() && OWN_IDENTITY.contains(&field.name) => {
                self.fault(field.name, "must not be empty");
            }
            Ok(value) => self.set(id, value),
            Err(message) => self.fault(field.name, message),
        }
    }

    /// Whether a fault already names this field or an object above it.
    fn is_reported(&self, name: &str) -> bool {
        let above = |group: &str| {
            name.strip_prefix(group).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.errors.iter().any(|error| above(&error.field))
    }

    /// What a required field has where the text has none.
    ///
    /// The agent's name follows its id and its registration the event's time, which stand before them in the table.
    /// Where those are at fault the event is refused for that; nothing more is said about what follows them.
    fn neutral(&self, field: &Field, own: bool) -> Option<FieldValue> {
        let text = |text: &str| Some(FieldValue::Text(text.to_owned()));
        if EMPTY_WHERE_ABSENT.contains(&field.name) {
            return text("");
        }
        if !own {
            return None;
        }
        match field.name {
            "source" => text("judge"),
            "agent.name" => self.get(KNOWN.agent_id).cloned().or_else(|| text("")),
            "agent.type" => text("autonomous"),
            "agent.status" => text("active"),
            "agent.tags" | "agent.manifest.tools" | "agent.manifest.destinations" => {
                Some(FieldValue::Texts(Vec::new()))
            }
            "agent.trust" => Some(FieldValue::Number(HALF)),
            "agent.registered_at" => self.get(KNOWN.at).cloned().or(Some(FieldValue::Time(0))),
            "agent.declared" | "agent.paused" => Some(FieldValue::Bool(false)),
            _ => None,
        }
    }

    /// What the server vouches for.
    fn vouched(&mut self, kind: Option<EventKind>, org: &str, source: &str, agent: &AgentFacts) {
        let known = &*KNOWN;
        self.set(known.at, FieldValue::Time(0));
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
        self.set(known.tags, FieldValue::Texts(agent.tags.clone()));
        self.set(known.tools, FieldValue::Texts(agent.manifest_tools.clone()));
        self.set(known.destinations, FieldValue::Texts(agent.manifest_destinations.clone()));
        self.set(known.trust, FieldValue::Number(agent.trust));
        self.set(known.registered_at, FieldValue::Time(agent.registered_at_us));
        self.set(known.declared, FieldValue::Bool(agent.declared));
        self.set(known.paused, FieldValue::Bool(agent.paused));
        if let Some(text) = &agent.metadata {
            let field = known.metadata.def();
            match FieldValue::read_json(field, text) {
                Ok(Some(value)) => self.set(known.metadata, value),
                Ok(None) => {}
                Err(message) => self.fault(field.name, message),
            }
        }
        if kind == Some(EventKind::Request) {
            self.set(known.allowed, FieldValue::Bool(false));
            self.set_text(known.via, "none");
        }
    }

    /// A tool call has a tool, a connection a target.
    fn action(&mut self) {
        let Some(FieldValue::Text(kind)) = self.get(KNOWN.action_kind) else { return };
        let needed = match kind.as_str() {
            "tool_call" => KNOWN.tool,
            "connect" | "http" => KNOWN.target,
            _ => return,
        };
        if matches!(self.get(needed), Some(FieldValue::Text(text)) if text.is_empty()) {
            let message = format!("must not be empty in an action of kind `{kind}`");
            self.fault(needed.def().name, message);
        }
    }
}

/// The trust of an agent of which nothing is known.
const HALF: Number = Number::from_billionths(500_000_000);
