//! What a rule asks about, to tell without much ado that it can't imply another.
//!
//! A wrong "no" here loses a finding, a wrong "yes" only time: what is reported is always settled by a diagram.

use std::collections::BTreeSet;

use super::formula::{Atom, Atoms, Formula, Test};
use crate::hir::{Comparison, Const};

/// What a rule asks about.
pub(super) struct Profile {
    /// The parts of its `and`.
    pub parts: Vec<Part>,
    /// All subjects, sorted.
    pub subjects: Vec<usize>,
    /// Texts that it wants: of which subject, which.
    pub wants: Vec<(usize, BTreeSet<Const>)>,
    /// Where it wants values to lie: of which subject, from where, up to where.
    ranges: Vec<(usize, Option<Const>, Option<Const>)>,
}

/// One part of an `and`.
pub(super) struct Part {
    /// Its subjects, sorted.
    pub subjects: Vec<usize>,
    /// It asks whether one of several things is so, and no more.
    any_of: bool,
}

impl Profile {
    pub(super) fn of(atoms: &Atoms, formula: &Formula) -> Profile {
        let parts: &[Formula] = match formula {
            Formula::And(parts) => parts,
            Formula::Const(true) => &[],
            whole => std::slice::from_ref(whole),
        };
        Profile {
            subjects: subjects(atoms, formula),
            parts: parts.iter().map(|part| Part::of(atoms, part)).collect(),
            wants: parts.iter().filter_map(|part| wanted(atoms, part)).collect(),
            ranges: ranges(atoms, formula, parts),
        }
    }

    /// Whether a rule with this profile could hold only where the other one does.
    pub(super) fn could_imply(&self, other: &Profile) -> bool {
        let knows = |subject: &usize| self.subjects.binary_search(subject).is_ok();
        let within = |part: &Part, whole: &Part| part.subjects.iter().all(|s| whole.subjects.contains(s));
        let parts = other.parts.iter().all(|part| match part.any_of {
            true => self.parts.iter().any(|own| within(own, part)),
            false => part.subjects.iter().any(knows),
        });
        let texts = |(subject, texts): &(usize, BTreeSet<Const>)| {
            let mut own = self.wants.iter().filter(|(known, _)| known == subject);
            own.all(|(_, own)| own.len() > 1 || own.is_subset(texts))
        };
        let ranges = |(subject, low, high): &(usize, Option<Const>, Option<Const>)| {
            let mut own = self.ranges.iter().filter(|(known, ..)| known == subject);
            own.all(|(_, from, to)| {
                let from_within = low.is_none() || from.is_some() && from >= low;
                let to_within = high.as_ref().is_none_or(|high| to.as_ref().is_some_and(|to| to <= high));
                from_within && to_within
            })
        };
        parts && other.wants.iter().all(texts) && other.ranges.iter().all(ranges)
    }
}

impl Part {
    fn of(atoms: &Atoms, part: &Formula) -> Part {
        let truth = |part: &Formula| match part {
            Formula::Atom(number) => atoms.atoms.get(*number).is_some_and(|atom| atom.test == Test::Truth),
            _ => false,
        };
        let any_of = match part {
            Formula::Or(parts) => parts.iter().all(truth),
            part => truth(part),
        };
        Part { subjects: subjects(atoms, part), any_of }
    }
}

fn subjects(atoms: &Atoms, formula: &Formula) -> Vec<usize> {
    let mut numbers = Vec::new();
    formula.atoms(&mut numbers);
    let found = numbers.into_iter().filter_map(|number| atoms.atoms.get(number));
    let mut found: Vec<usize> = found.map(|atom| atom.subject).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// The texts that a part wants of one subject.
fn wanted(atoms: &Atoms, part: &Formula) -> Option<(usize, BTreeSet<Const>)> {
    match part {
        Formula::Atom(number) => {
            let atom = atoms.atoms.get(*number)?;
            if atom.default.is_some() {
                return None;
            }
            match &atom.test {
                Test::Compare(Comparison::Equal, value @ Const::Text(_)) => {
                    Some((atom.subject, BTreeSet::from([value.clone()])))
                }
                Test::In(values) if matches!(values.first(), Some(Const::Text(_))) => {
                    Some((atom.subject, values.iter().cloned().collect()))
                }
                _ => None,
            }
        }
        Formula::Or(parts) => {
            let all: Option<Vec<_>> = parts.iter().map(|part| wanted(atoms, part)).collect();
            let all = all?;
            let subject = all.first()?.0;
            let alike = all.iter().all(|(other, _)| *other == subject);
            alike.then(|| (subject, all.into_iter().flat_map(|(_, values)| values).collect()))
        }
        _ => None,
    }
}

/// The range of each subject about which a rule asks nothing else.
fn ranges(atoms: &Atoms, formula: &Formula, parts: &[Formula]) -> Vec<(usize, Option<Const>, Option<Const>)> {
    let mut ranges: Vec<(usize, Option<Const>, Option<Const>)> = Vec::new();
    let mut in_ranges: Vec<usize> = Vec::new();
    for part in parts {
        let Formula::Atom(number) = part else { continue };
        let Some(atom) = atoms.atoms.get(*number) else { continue };
        let Some((low, high)) = range(atom) else { continue };
        in_ranges.push(*number);
        match ranges.iter_mut().find(|(subject, ..)| *subject == atom.subject) {
            Some((_, from, to)) => {
                *from = low.max(from.take());
                *to = [to.take(), high].into_iter().flatten().min();
            }
            None => ranges.push((atom.subject, low, high)),
        }
    }
    let mut all = Vec::new();
    formula.atoms(&mut all);
    let others: Vec<usize> = all.into_iter().filter(|number| !in_ranges.contains(number)).collect();
    let of = |number: &usize| atoms.atoms.get(*number).map(|atom| atom.subject);
    ranges.retain(|(subject, ..)| !others.iter().any(|number| of(number) == Some(*subject)));
    ranges
}

fn range(atom: &Atom) -> Option<(Option<Const>, Option<Const>)> {
    if atom.default.is_some() {
        return None;
    }
    match &atom.test {
        Test::Compare(_, Const::Text(_) | Const::Bool(_)) => None,
        Test::Compare(comparison, value) => {
            let value = Some(value.clone());
            match comparison {
                Comparison::Equal => Some((value.clone(), value)),
                Comparison::Less | Comparison::LessOrEqual => Some((None, value)),
                Comparison::Greater | Comparison::GreaterOrEqual => Some((value, None)),
                Comparison::NotEqual | Comparison::Same => None,
            }
        }
        _ => None,
    }
}
