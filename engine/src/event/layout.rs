//! Where the fields of the table stand in an event's JSON: one pass finds and checks them all.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::LazyLock;

use lictor_dsl::events::{FIELDS, FieldId};

use crate::json::{Cursor, JsonError, Kind, digest};

/// The member that names the kind.
const KIND: &str = "event";

/// The members that an event may have, for all kinds together: which fields they are is told by the kind, and
/// that may come last.
static LAYOUT: LazyLock<Layout> = LazyLock::new(Layout::of_table);

struct Layout {
    root: Group,
    /// How many places there are.
    places: usize,
    /// The place of `event`.
    kind: usize,
    /// The place of each field. Fields of different kinds with the same name share one.
    of_field: Vec<usize>,
}

/// An object with members of its own, such as `agent`.
#[derive(Default)]
struct Group {
    /// Its name, with dots.
    name: String,
    /// Sorted by the digest of the name, then by the name.
    members: Vec<Named>,
}

struct Named {
    digest: u64,
    name: &'static str,
    member: Member,
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
        Layout { root, places: places.len(), kind, of_field }
    }
}

impl Group {
    fn add(&mut self, name: &'static str, place: usize) {
        let Some((first, rest)) = name.split_once('.') else {
            if let Err(at) = self.find(name) {
                self.insert(at, name, Member::Place(place));
            }
            return;
        };
        let at = match self.find(first) {
            Ok(at) => at,
            Err(at) => {
                let dot = if self.name.is_empty() { "" } else { "." };
                let group = Group { name: format!("{}{dot}{first}", self.name), members: Vec::new() };
                self.insert(at, first, Member::Group(group));
                at
            }
        };
        if let Some(Named { member: Member::Group(group), .. }) = self.members.get_mut(at) {
            group.add(rest, place);
        }
    }

    fn insert(&mut self, at: usize, name: &'static str, member: Member) {
        self.members.insert(at, Named { digest: digest(name), name, member });
    }

    fn find(&self, name: &str) -> Result<usize, usize> {
        let digest = digest(name);
        self.members.binary_search_by(|known| known.digest.cmp(&digest).then_with(|| known.name.cmp(name)))
    }

    fn member(&self, name: &str) -> Option<&Member> {
        self.find(name).ok().and_then(|at| self.members.get(at)).map(|known| &known.member)
    }
}

/// A value of the table as it stands in the text; never `null`.
#[derive(Debug, Clone)]
struct Place {
    kind: Kind,
    range: Range<usize>,
}

/// A well-formed event: where each field stands.
#[derive(Debug)]
pub(super) struct Found<'a> {
    text: &'a str,
    places: Vec<Option<Place>>,
    /// Names that have fields below them but hold something else than an object.
    pub(super) not_objects: Vec<(&'static str, Kind)>,
}

impl<'a> Found<'a> {
    /// Reads an event once, checking all of its text, that of unknown members too.
    pub(super) fn read(json: &'a [u8]) -> Result<Found<'a>, JsonError> {
        let mut cursor = Cursor::new(json)?;
        let layout = &*LAYOUT;
        let mut found =
            Found { text: cursor.text(), places: vec![None; layout.places], not_objects: Vec::new() };
        found.group(&mut cursor, &layout.root)?;
        cursor.end()?;
        Ok(found)
    }

    fn group(&mut self, cursor: &mut Cursor<'a>, group: &'static Group) -> Result<(), JsonError> {
        cursor.open_object()?;
        while let Some(key) = cursor.next_key()? {
            let member = group.member(&key);
            let kind = cursor.kind()?;
            if let (Some(Member::Group(inner)), Kind::Object) = (member, kind) {
                self.group(cursor, inner)?;
                continue;
            }
            let range = cursor.skip()?;
            match member {
                _ if kind == Kind::Null => {}
                Some(Member::Place(place)) => {
                    if let Some(slot) = self.places.get_mut(*place) {
                        *slot = Some(Place { kind, range });
                    }
                }
                Some(Member::Group(inner)) => self.not_objects.push((&inner.name, kind)),
                None => {}
            }
        }
        Ok(())
    }

    /// What the text has for a field; none also for `null`.
    pub(super) fn field(&self, field: FieldId) -> Option<(Kind, &'a str)> {
        self.place(*LAYOUT.of_field.get(usize::from(field.0))?)
    }

    /// What the text has as the kind of event.
    pub(super) fn event_kind(&self) -> Option<(Kind, &'a str)> {
        self.place(LAYOUT.kind)
    }

    fn place(&self, place: usize) -> Option<(Kind, &'a str)> {
        let place = self.places.get(place)?.as_ref()?;
        Some((place.kind, self.text.get(place.range.clone())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_a_place_that_its_name_leads_to() {
        for (field, place) in FIELDS.iter().zip(&LAYOUT.of_field) {
            let mut parts = field.name.split('.');
            let last = parts.next_back().expect("a name");
            let group = parts.fold(&LAYOUT.root, |group, part| match group.member(part) {
                Some(Member::Group(inner)) => inner,
                _ => panic!("{}", field.name),
            });
            assert!(
                matches!(group.member(last), Some(Member::Place(there)) if there == place),
                "{}",
                field.name
            );
        }
    }
}
