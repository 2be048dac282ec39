//! The names of members that are known beforehand, found without hashing and without a search.

use crate::json::Head;

/// Names and their numbers, in a table where no two of them share a place: one look tells which name a key can be, one
/// comparison whether it is.
#[derive(Debug, Default)]
pub(super) struct Names {
    names: Vec<(Head, &'static str)>,
    /// The number of the name of each place.
    places: Vec<Option<u8>>,
    /// What a head is multiplied by to find its place. It is searched for when a name is added.
    factor: u64,
    /// How far the product is shifted, so that it is one of the places.
    shift: u32,
}

impl Names {
    /// The number of a name, which is added if it is new. Numbers count from 0.
    pub(super) fn add(&mut self, name: &'static str) -> usize {
        if let Some(number) = self.names.iter().position(|(_, known)| *known == name) {
            return number;
        }
        self.names.push((Head::of(name), name));
        let mut size = self.names.len().next_power_of_two() * 2;
        // The heads of two names differ (the tests see to it), so some size will do.
        while !(1..200).any(|attempt| self.spread(size, attempt)) && size < 1 << 16 {
            size *= 2;
        }
        self.names.len() - 1
    }

    /// Tries to give each name a place of its own.
    fn spread(&mut self, size: usize, attempt: u64) -> bool {
        self.factor = attempt.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        self.places = vec![None; size];
        self.shift = 64 - size.trailing_zeros();
        for (number, (head, _)) in (0..).zip(&self.names) {
            let place = self.place(*head);
            match self.places.get_mut(place) {
                Some(free @ None) => *free = Some(number),
                _ => return false,
            }
        }
        true
    }

    /// The high bits of the product, which all bits of the head have a say in.
    fn place(&self, head: Head) -> usize {
        (head.mixed().wrapping_mul(self.factor) >> self.shift) as usize
    }

    /// The only name that a key with this head can be, and its number.
    pub(super) fn find(&self, head: Head) -> Option<(usize, &'static str)> {
        let number = usize::from((*self.places.get(self.place(head))?)?);
        let (known, name) = self.names.get(number)?;
        (*known == head).then_some((number, name))
    }
}
