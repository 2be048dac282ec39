//! An event whose content is gone: what is known of it without, and nothing else.

use lictor_dsl::events::{self, EventKind};

use super::Event;
use super::known::KNOWN;
use super::rows::Rows;
use super::slots::{Slot, Slots};

/// What is known of an event whose content was erased.
#[derive(Debug, Clone, Copy)]
pub struct Remains<'a> {
    /// What kind of event it was.
    pub kind: EventKind,
    /// The org whose ledger it is in.
    pub org: &'a str,
    /// The API that took it.
    pub source: &'a str,
    /// The id of its agent.
    pub agent: &'a str,
    /// Its task; empty if it had none.
    pub task: &'a str,
    /// What it was about: the action of an intent or a request, the tool of an action, the name of a log step, the change
    /// of a registration. Empty if it was about nothing.
    pub about: &'a str,
    /// The ledger's time, in microseconds since 1970.
    pub at_us: i64,
}

impl Event {
    /// The event that remains. All other fields are absent, also those that no event comes without: it is for
    /// [`remember_erased`](crate::memory::Memories::remember_erased), not to be judged.
    pub fn erased(remains: Remains<'_>) -> Event {
        let Remains { kind, org, source, agent, task, about, at_us } = remains;
        let rows = Rows::of(Some(kind));
        let mut slots = Slots::new(&vec![Slot::Absent; rows.neutral.len()], "");
        let field = |name| events::field(kind, name);
        let about_field = match kind {
            EventKind::Intent | EventKind::Request => field("action"),
            EventKind::Action => Some(KNOWN.tool),
            EventKind::Log => field("name"),
            EventKind::Registration => field("change"),
            EventKind::Submission => None,
        };
        for (field, text) in [
            (Some(KNOWN.org), org),
            (Some(KNOWN.source), source),
            (Some(KNOWN.agent_id), agent),
            (field("task"), task),
            (about_field, about),
        ] {
            if let Some(place) = field.and_then(|field| rows.number(field)) {
                slots.set_new_text(place, text);
            }
        }
        let mut event = Event { kind, slots };
        event.set_at(at_us);
        event
    }
}
