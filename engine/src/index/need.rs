//! What an event must have for a condition not to be false: what the index finds rules by.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use foldhash::fast::RandomState;
use ipnet::IpNet;

use crate::plan::{Cond, Plan, Shape, Sought};
use crate::truth::Truth;

/// A necessary condition: one of these values has to be there.
#[derive(Debug, Clone)]
pub(crate) struct Need {
    pub(super) by: By,
    pub(super) values: Vec<Wanted>,
    /// Whether an absent value leaves the condition undecided.
    pub(super) absent_counts: bool,
}

/// Where a value is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum By {
    /// A text field has to be equal, by its slot.
    Text(usize),
    /// A list field has to have it, by its slot.
    List(usize),
    /// A text has to contain it, by its slot.
    Part(usize),
    /// An address has to be in it, by its slot.
    Net(usize),
}

/// A value that is looked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Wanted {
    /// The number of a known text, or the bit of one that is asked of a list.
    Number(u32),
    /// A piece of a text.
    Piece(Arc<str>),
    /// A network.
    Net(IpNet),
}

/// Shorter pieces stand in too many texts to tell rules apart.
const SHORTEST_PIECE: usize = 3;

/// All needs of a condition; any one of them is enough to rule it out.
pub(crate) fn needs(plan: &Plan, condition: &Cond) -> Vec<Need> {
    match condition {
        Cond::Predicate(number) => of_predicate(plan, *number).into_iter().collect(),
        Cond::And(parts) => parts.iter().flat_map(|part| needs(plan, part)).collect(),
        Cond::Or(parts) => {
            let mut all = parts.iter().map(|part| needs(plan, part));
            let first = all.next().unwrap_or_default();
            all.fold(first, |known, part| joined(known, &part))
        }
        Cond::Const(_) | Cond::Not(_) => Vec::new(),
    }
}

/// What is needed where one of two conditions has to hold: what both look for in one place.
fn joined(known: Vec<Need>, other: &[Need]) -> Vec<Need> {
    let join = |mut need: Need| {
        let same = other.iter().find(|other| other.by == need.by)?;
        need.values.extend(same.values.iter().cloned());
        need.values.sort_unstable();
        need.values.dedup();
        need.absent_counts |= same.absent_counts;
        Some(need)
    };
    known.into_iter().filter_map(join).collect()
}

fn of_predicate(plan: &Plan, number: usize) -> Option<Need> {
    let predicate = plan.predicate(number)?;
    match &predicate.shape {
        Shape::Texts { slot, texts, absent } => Some(Need {
            by: By::Text(*slot),
            values: texts.iter().copied().map(Wanted::Number).collect(),
            absent_counts: *absent == Truth::Unknown,
        }),
        Shape::Mask { slot, mask, all } => {
            // Of all of them each has to be there, so looking for one is enough. None of them: it always holds.
            let bits: Vec<Wanted> = match predicate.first_bit.filter(|_| *all) {
                Some(first) => vec![Wanted::Number(first)],
                None if *all => return None,
                None => bits_of(*mask).map(Wanted::Number).collect(),
            };
            Some(Need { by: By::List(*slot), values: bits, absent_counts: false })
        }
        // What is no text and no address, or absent, leaves the test unknown.
        Shape::Part { slot, part, .. } => of_part(*slot, part),
        Shape::Called => match predicate.sought.as_ref()? {
            Sought::Part { slot, part } => of_part(*slot, part),
            Sought::Nets { slot, nets } => Some(Need {
                by: By::Net(*slot),
                values: nets.iter().copied().map(Wanted::Net).collect(),
                absent_counts: true,
            }),
        },
        _ => None,
    }
}

/// The numbers of the bits that are set.
fn bits_of(mask: i128) -> impl Iterator<Item = u32> {
    let rest = std::iter::successors(Some(mask), |rest| Some(rest & rest.wrapping_sub(1)));
    rest.take_while(|rest| *rest != 0).map(i128::trailing_zeros)
}

fn of_part(slot: usize, part: &str) -> Option<Need> {
    let values = vec![Wanted::Piece(part.into())];
    (part.len() >= SHORTEST_PIECE).then_some(Need { by: By::Part(slot), values, absent_counts: true })
}

/// How many different values are looked for in each place: the more, the fewer rules one value finds.
#[derive(Debug, Default)]
pub(super) struct Spread<'n>(HashMap<By, HashSet<&'n Wanted, RandomState>, RandomState>);

impl<'n> Spread<'n> {
    pub(super) fn add(&mut self, need: &'n Need) {
        self.0.entry(need.by).or_default().extend(&need.values);
    }

    /// The need that rules out most.
    pub(super) fn best(&self, needs: impl Iterator<Item = &'n Need>) -> Option<&'n Need> {
        needs.min_by_key(|need| self.cost(need))
    }

    /// About how many of a million events have what is needed, as far as the rules tell.
    fn cost(&self, need: &Need) -> usize {
        /// A list has several values, and a text several pieces.
        const VALUES_OF_A_LIST: usize = 4;
        let different = self.0.get(&need.by).map_or(1, HashSet::len).max(1);
        let chances = match need.by {
            By::Text(_) | By::Net(_) => need.values.len(),
            By::List(_) => need.values.len() * VALUES_OF_A_LIST,
            // Looking through a text costs more than looking up a number.
            By::Part(_) => need.values.len() * VALUES_OF_A_LIST + 1,
        };
        chances.saturating_mul(1_000_000) / different
    }
}
