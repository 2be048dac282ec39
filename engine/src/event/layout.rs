//! Where the fields of the table stand in an event's JSON: one pass finds and checks them all.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use lictor_dsl::events::{FIELD_COUNT, FIELDS, FieldId};

use super::names::Names;
use super::slots::{Quoted, Span};
use crate::json::{Cursor, Fault, JsonError, Key, Kind, unescaped};

/// The member that names the kind.
const KIND: &str = "event";

/// One for each name of the table, and one for the kind. At most 64 are in use: sets of them are bits.
const PLACES: usize = FIELD_COUNT + 1;

/// The members that an event may have, for all kinds together: which fields they are is told by the kind, and
/// that may come last.
static LAYOUT: LazyLock<Layout> = LazyLock::new(Layout::of_table);

struct Layout {
    root: Group,
    /// The place of `event`.
    kind: usize,
    /// The place of each field.
    of_field: Vec<usize>,
}

/// An object with members of its own, such as `agent`.
#[derive(Default)]
struct Group {
    /// Its name, with dots.
    name: String,
    /// At most 64: those that were met are noted as bits.
    members: Vec<Member>,
    names: Names,
}

enum Member {
    Place(usize),
    Group(Group),
}

impl Layout {
    fn of_table() -> Layout {
        let mut places = BTreeMap::new();
        let mut root = Group::default();
        let mut place_of = |name: &'static str| {
            let next = places.len();
            let place = *places.entry(name).or_insert(next);
            root.add(name, place);
            place
        };
        let kind = place_of(KIND);
        let of_field = FIELDS.iter().map(|field| place_of(field.name)).collect();
        Layout { root, kind, of_field }
    }
}

impl Group {
    fn add(&mut self, name: &'static str, place: usize) {
        let (first, rest) = name.split_once('.').unwrap_or((name, ""));
        let number = self.names.add(first);
        if number == self.members.len() {
            let dot = if self.name.is_empty() { "" } else { "." };
            self.members.push(match rest {
                "" => Member::Place(place),
                _ => Member::Group(Group { name: format!("{}{dot}{first}", self.name), ..Group::default() }),
            });
        }
        if let Some(Member::Group(group)) = self.members.get_mut(number) {
            group.add(rest, place);
        }
    }

    /// The member that a key names, and its bit.
    fn member(&self, cursor: &Cursor<'_>, key: Key) -> Option<(u64, &Member)> {
        let (number, name) = self.names.find(key.head)?;
        if !cursor.says(key, name) {
            return None;
        }
        Some((1 << number, self.members.get(number)?))
    }
}

/// A set of places.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Places(u64);

impl Places {
    pub(super) fn add(&mut self, place: usize) {
        self.0 |= 1 << place;
    }

    pub(super) fn and(self, others: Places) -> Places {
        Places(self.0 & others.0)
    }

    pub(super) fn without(self, others: Places) -> Places {
        Places(self.0 & !others.0)
    }

    /// Each of them, from the first.
    pub(super) fn iter(self) -> impl Iterator<Item = usize> {
        let rest = |set: &u64| Some(set & (set - 1)).filter(|rest| *rest != 0);
        std::iter::successors(Some(self.0).filter(|set| *set != 0), rest)
            .map(|set| set.trailing_zeros() as usize)
    }
}

/// A value of the table as it stands in the text. There is none where it is null.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) kind: Kind,
    /// Whether it is a string with escapes.
    escaped: bool,
    /// With the quotes of a string.
    pub(super) span: Span,
}

impl Place {
    /// What stands between the quotes of a string.
    pub(super) fn quoted(self) -> Quoted {
        Quoted { span: self.span.between_quotes(), escaped: self.escaped }
    }
}

/// A well-formed event: where each field stands.
#[derive(Debug)]
pub(super) struct Found<'a> {
    pub(super) text: &'a str,
    places: [Place; PLACES],
    /// Which of them there are.
    pub(super) met: Places,
    /// Names that have fields below them but hold something else than an object.
    pub(super) not_objects: Vec<(&'static str, Kind)>,
}

impl<'a> Found<'a> {
    /// Reads an event once, checking all of its text, that of unknown members too.
    pub(super) fn read(json: &'a [u8]) -> Result<Found<'a>, JsonError> {
        let mut cursor = Cursor::new(json)?;
        let none = Place { kind: Kind::Null, escaped: false, span: Span::default() };
        let mut found = Found {
            text: cursor.text(),
            places: [none; PLACES],
            met: Places::default(),
            not_objects: Vec::new(),
        };
        cursor.step(0, |cursor, at| found.group(cursor, at, &LAYOUT.root))?;
        cursor.end()?;
        Ok(found)
    }

    fn group(&mut self, cursor: &mut Cursor<'a>, at: usize, group: &'static Group) -> Result<usize, Fault> {
        let mut met = 0;
        cursor.members(at, |cursor, key, at| {
            let Some((bit, member)) = group.member(cursor, key) else {
                cursor.note(key)?;
                let at = cursor.colon(at)?;
                return cursor.pass(at);
            };
            // A known key needs no list of what came before it.
            if met & bit != 0 {
                return Err(cursor.twice(key));
            }
            met |= bit;
            let at = cursor.colon(at)?;
            let (start, kind) = cursor.value(at)?;
            if let (Member::Group(inner), Kind::Object) = (member, kind) {
                return self.group(cursor, start, inner);
            }
            let end = cursor.pass_kind(start, kind)?;
            match member {
                _ if kind == Kind::Null => {}
                Member::Place(number) => {
                    let Some(span) = Span::new(start, end) else {
                        return Err(cursor.fault(start, Fault::TooLong));
                    };
                    let escaped = kind == Kind::Text && cursor.was_escaped(end);
                    if let Some(place) = self.places.get_mut(*number) {
                        *place = Place { kind, escaped, span };
                        self.met.add(*number);
                    }
                }
                Member::Group(inner) => self.not_objects.push((&inner.name, kind)),
            }
            Ok(end)
        })
    }

    /// What the text has at a place; none also for `null`.
    pub(super) fn at(&self, place: usize) -> Option<Place> {
        self.places.get(place).copied().filter(|place| place.kind != Kind::Null)
    }

    /// What the text has as the kind of event.
    pub(super) fn event_kind(&self) -> Option<Place> {
        self.at(LAYOUT.kind)
    }

    /// What a string says.
    pub(super) fn string(&self, place: Place) -> Cow<'a, str> {
        let Quoted { span, escaped } = place.quoted();
        if escaped { unescaped(span.of(self.text)) } else { Cow::Borrowed(span.of(self.text)) }
    }
}

/// The place where a field is found. Fields of different kinds with the same name share one.
pub(super) fn place_of(field: FieldId) -> usize {
    LAYOUT.of_field.get(usize::from(field.0)).copied().unwrap_or(PLACES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_a_place_that_its_name_leads_to() {
        for (field, place) in FIELDS.iter().zip(&LAYOUT.of_field) {
            let mut parts = field.name.split('.');
            let last = parts.next_back().expect("a name");
            let member = |group: &'static Group, part: &str| {
                let text = format!("{{\"{part}\":1}}");
                let mut there = None;
                let passed = Cursor::over(&text).members(0, |cursor, key, _| {
                    there = group.member(cursor, key);
                    Ok(text.len() - 1)
                });
                passed.ok().and(there).expect(part).1
            };
            let group = parts.fold(&LAYOUT.root, |group, part| match member(group, part) {
                Member::Group(inner) => inner,
                Member::Place(_) => panic!("{}", field.name),
            });
            assert!(matches!(member(group, last), Member::Place(there) if there == place), "{}", field.name);
            assert!(group.members.len() <= 64 && *place < 64, "{}", group.name);
        }
    }
}
