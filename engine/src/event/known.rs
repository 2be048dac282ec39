//! The numbers of the fields that are filled from elsewhere than the text.

use std::sync::LazyLock;

use lictor_dsl::events::{self, EventKind, FieldId};

/// Fields by what they are to the decoder.
pub(super) struct Known {
    pub(super) at: FieldId,
    pub(super) org: FieldId,
    pub(super) source: FieldId,
    pub(super) agent_id: FieldId,
    pub(super) name: FieldId,
    pub(super) owner: FieldId,
    pub(super) kind: FieldId,
    pub(super) status: FieldId,
    pub(super) environment: FieldId,
    pub(super) purpose: FieldId,
    pub(super) risk_class: FieldId,
    pub(super) tags: FieldId,
    pub(super) tools: FieldId,
    pub(super) destinations: FieldId,
    pub(super) trust: FieldId,
    pub(super) registered_at: FieldId,
    pub(super) declared: FieldId,
    pub(super) paused: FieldId,
    pub(super) metadata: FieldId,
    pub(super) allowed: FieldId,
    pub(super) via: FieldId,
    pub(super) action_kind: FieldId,
    pub(super) tool: FieldId,
    pub(super) target: FieldId,
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
