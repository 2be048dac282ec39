//! The table once more for each kind of event: which rows it has, and what stands for them where the text has nothing.

use std::sync::LazyLock;

use lictor_dsl::events::{EventKind, FIELD_COUNT, FIELDS, Field, FieldId, Trust};
use lictor_dsl::number::Number;
use lictor_dsl::types::Type;

use super::field::{TASK_LIMIT, TEXT_LIMIT};
use super::known::KNOWN;
use super::layout::{Places, place_of};
use super::slots::{Slot, Span};

/// Fields that are the empty string where there is none: that there is none is known.
const EMPTY_WHERE_ABSENT: [&str; 7] = ["tool", "target", "publisher", "name", "verb", "status", "task"];

/// Fields that an event which speaks for itself can't leave out or leave empty.
const OWN_IDENTITY: [&str; 3] = ["at", "org", "agent.id"];

/// What a field has where the text has none.
#[derive(Debug, Clone, Copy)]
pub(super) enum Absent {
    /// Always this.
    Value(Slot),
    /// What this field has, which stands before it in the table.
    Same(FieldId),
    /// It can't be left out.
    Fault,
}

impl Absent {
    fn of(field: &Field) -> Absent {
        Absent::Value(match field.name {
            _ if field.optional => Slot::Absent,
            name if EMPTY_WHERE_ABSENT.contains(&name) => Slot::Fixed(""),
            "source" => Slot::Fixed("judge"),
            "agent.name" => return Absent::Same(KNOWN.agent_id),
            "agent.type" => Slot::Fixed("autonomous"),
            "agent.status" => Slot::Fixed("active"),
            "agent.tags" | "agent.manifest.tools" | "agent.manifest.destinations" => {
                Slot::Texts(Span::default())
            }
            "agent.trust" => Slot::Number(HALF),
            "agent.registered_at" => return Absent::Same(KNOWN.at),
            "agent.declared" | "agent.paused" => Slot::Bool(false),
            _ => return Absent::Fault,
        })
    }
}

/// The trust of an agent of which nothing is known.
const HALF: Number = Number::from_billionths(500_000_000);

/// One field of a kind of event.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) field: &'static Field,
    pub(super) absent: Absent,
    /// Whether it can't be empty in an event that speaks for itself.
    pub(super) never_empty: bool,
    /// How long a string may be.
    pub(super) limit: usize,
}

/// The fields of one kind of event. Where a set of them is wanted it is that of their places in the text.
#[derive(Debug)]
pub(super) struct Rows {
    /// In the order of the table.
    rows: Vec<Row>,
    /// The row of each field of the table.
    of_field: [Option<u8>; FIELD_COUNT],
    /// The row of each place.
    of_place: [u8; 64],
    /// What each has where the text has none, as far as that is always the same.
    pub(super) neutral: Vec<Slot>,
    /// All of them.
    all: Places,
    /// Those that come from the text where the server vouches for the rest.
    claimed: Places,
    /// Those for which nothing neutral can stand.
    needed: Places,
}

impl Rows {
    /// The rows of a kind; of an unknown one those that every kind has.
    pub(super) fn of(kind: Option<EventKind>) -> &'static Rows {
        kind.map_or(&ROWS.1, |kind| ROWS.0.get(kind as usize).unwrap_or(&ROWS.1))
    }

    fn new(belongs: impl Fn(&Field) -> bool) -> Rows {
        let mut rows = Rows {
            rows: Vec::new(),
            of_field: [None; FIELD_COUNT],
            of_place: [0; 64],
            neutral: Vec::new(),
            all: Places::default(),
            claimed: Places::default(),
            needed: Places::default(),
        };
        for (number, field) in (0..).zip(FIELDS).filter(|(_, field)| belongs(field)) {
            rows.add(FieldId(number), field);
        }
        rows
    }

    fn add(&mut self, id: FieldId, field: &'static Field) {
        let (row, place, absent) = (self.rows.len() as u8, place_of(id), Absent::of(field));
        if let Some(of_field) = self.of_field.get_mut(usize::from(id.0)) {
            *of_field = Some(row);
        }
        if let Some(of_place) = self.of_place.get_mut(place) {
            *of_place = row;
        }
        self.all.add(place);
        if field.trust == Trust::Claimed && !field.name.starts_with("agent.") {
            self.claimed.add(place);
        }
        self.neutral.push(match absent {
            Absent::Value(value) => value,
            Absent::Same(_) | Absent::Fault => {
                self.needed.add(place);
                Slot::Absent
            }
        });
        self.rows.push(Row {
            field,
            absent,
            never_empty: OWN_IDENTITY.contains(&field.name) && field.ty == Type::String,
            limit: if field.name == "task" { TASK_LIMIT } else { TEXT_LIMIT },
        });
    }

    /// The places of those that come from the text.
    pub(super) fn in_text(&self, own: bool) -> Places {
        if own { self.all } else { self.claimed }
    }

    /// The places of those that come from the text and can't just be neutral.
    pub(super) fn needed(&self, own: bool) -> Places {
        self.needed.and(self.in_text(own))
    }

    /// The row at a place, and its number.
    pub(super) fn at(&self, place: usize) -> Option<(usize, &Row)> {
        let number = usize::from(*self.of_place.get(place)?);
        Some((number, self.rows.get(number)?))
    }

    /// The number of a field's row.
    pub(super) fn number(&self, field: FieldId) -> Option<usize> {
        self.of_field.get(usize::from(field.0)).copied().flatten().map(usize::from)
    }
}

/// The rows of each kind, and those of all.
static ROWS: LazyLock<(Vec<Rows>, Rows)> = LazyLock::new(|| {
    let of_kind = |kind| Rows::new(move |field| field.belongs_to(kind));
    let all = Rows::new(|field| EventKind::ALL.into_iter().all(|kind| field.belongs_to(kind)));
    (EventKind::ALL.into_iter().map(of_kind).collect(), all)
});
