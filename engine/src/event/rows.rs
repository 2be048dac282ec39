//! The table once more for each kind of event: which rows it has, and what stands for them where the text has nothing.

use std::sync::LazyLock;

use lictor_dsl::events::{EventKind, FIELD_COUNT, FIELDS, Field, FieldId, Trust};
use lictor_dsl::types::Type;

use super::field::{TASK_LIMIT, TEXT_LIMIT};
use super::known::KNOWN;
use super::layout::place_of;

/// Fields that are the empty string where there is none: that there is none is known.
const EMPTY_WHERE_ABSENT: [&str; 7] = ["tool", "target", "publisher", "name", "verb", "status", "task"];

/// Fields that an event which speaks for itself can't leave out or leave empty.
const OWN_IDENTITY: [&str; 3] = ["at", "org", "agent.id"];

/// What a field has where the text has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Absent {
    /// Nothing either.
    Nothing,
    /// It can't be left out.
    Fault,
    Text(&'static str),
    NoTexts,
    Half,
    False,
    /// What this field has, which stands before it in the table.
    Same(FieldId),
}

impl Absent {
    fn of(field: &Field) -> Absent {
        match field.name {
            _ if field.optional => Absent::Nothing,
            name if EMPTY_WHERE_ABSENT.contains(&name) => Absent::Text(""),
            "source" => Absent::Text("judge"),
            "agent.name" => Absent::Same(KNOWN.agent_id),
            "agent.type" => Absent::Text("autonomous"),
            "agent.status" => Absent::Text("active"),
            "agent.tags" | "agent.manifest.tools" | "agent.manifest.destinations" => Absent::NoTexts,
            "agent.trust" => Absent::Half,
            "agent.registered_at" => Absent::Same(KNOWN.at),
            "agent.declared" | "agent.paused" => Absent::False,
            _ => Absent::Fault,
        }
    }
}

/// One field of a kind of event.
#[derive(Debug)]
pub(super) struct Row {
    /// Where the text has it.
    pub(super) place: usize,
    pub(super) field: &'static Field,
    pub(super) absent: Absent,
    /// Whether it can't be empty in an event that speaks for itself.
    pub(super) never_empty: bool,
    /// Whether it comes from the text where the server vouches for the rest.
    pub(super) claimed: bool,
    /// How long a string may be.
    pub(super) limit: usize,
}

/// The fields of one kind of event.
#[derive(Debug)]
pub(super) struct Rows {
    /// In the order of the table.
    pub(super) rows: Vec<Row>,
    /// The place of each field of the table among them.
    places: [Option<u8>; FIELD_COUNT],
}

impl Rows {
    /// The rows of a kind; of an unknown one those that every kind has.
    pub(super) fn of(kind: Option<EventKind>) -> &'static Rows {
        kind.map_or(&ROWS.1, |kind| ROWS.0.get(kind as usize).unwrap_or(&ROWS.1))
    }

    fn new(belongs: impl Fn(&Field) -> bool) -> Rows {
        let mut rows = Rows { rows: Vec::new(), places: [None; FIELD_COUNT] };
        for ((number, field), place) in (0..).zip(FIELDS).zip(&mut rows.places) {
            if belongs(field) {
                *place = u8::try_from(rows.rows.len()).ok();
                rows.rows.push(Row {
                    place: place_of(FieldId(number)),
                    field,
                    absent: Absent::of(field),
                    never_empty: OWN_IDENTITY.contains(&field.name) && field.ty == Type::String,
                    claimed: field.trust == Trust::Claimed && !field.name.starts_with("agent."),
                    limit: if field.name == "task" { TASK_LIMIT } else { TEXT_LIMIT },
                });
            }
        }
        rows
    }

    /// Where a field stands among them.
    pub(super) fn place(&self, field: FieldId) -> Option<usize> {
        self.places.get(usize::from(field.0)).copied().flatten().map(usize::from)
    }
}

/// The rows of each kind, and those of all.
static ROWS: LazyLock<(Vec<Rows>, Rows)> = LazyLock::new(|| {
    let of_kind = |kind| Rows::new(move |field| field.belongs_to(kind));
    let all = Rows::new(|field| EventKind::ALL.into_iter().all(|kind| field.belongs_to(kind)));
    (EventKind::ALL.into_iter().map(of_kind).collect(), all)
});
