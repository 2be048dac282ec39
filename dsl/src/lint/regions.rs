//! The values of one subject, divided into regions that the tests at hand can't tell apart any further.
//!
//! With the constants of those tests in order, a value is one of them or lies in a gap between two. Its rank is odd
//! for a constant and even for a gap, so that ranks compare as the values do.

use super::diagram::{FALSE, Node, TRUE, UNKNOWN};
use super::formula::{Atom, Test};
use super::subject::Subject;
use crate::hir::{Comparison, Const};
use crate::number::Number;
use crate::types::Type;

/// The most constants of a subject that may have two bounds: its regions are pairs.
const BOUNDS_LIMIT: usize = 12;

/// What is true of an atom in a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Cell {
    /// This.
    Known(Node),
    /// One of these, as a question of its own says.
    Open { question: usize, answers: [Node; 3] },
}

/// Where a value lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Region {
    /// Nowhere: there is none.
    Absent,
    /// Nowhere: there is none, and whether there is one can't be known.
    Hidden,
    /// There is one, of another type than any test takes.
    Other,
    Bool(bool),
    /// Between these ranks; they differ only for what has two bounds.
    Ordered(usize, usize),
    Text(usize),
}

/// The regions of one subject.
#[derive(Debug)]
pub(super) struct Regions {
    ordered: Vec<Const>,
    texts: Vec<Const>,
    regions: Vec<Region>,
}

/// The constants that a test compares with.
fn constants(atom: &Atom) -> Vec<&Const> {
    let mut constants: Vec<&Const> = atom.default.iter().collect();
    match &atom.test {
        Test::Compare(_, value) => constants.push(value),
        Test::CompareParam(_, low, high, _) => constants.extend([low, high]),
        Test::In(values) => constants.extend(values),
        Test::Present | Test::Truth | Test::Text(..) => {}
    }
    constants
}

fn rank(constants: &[Const], value: &Const) -> Option<usize> {
    constants.binary_search(value).ok().map(|place| 2 * place + 1)
}

fn order(a: usize, b: usize, comparison: Comparison) -> bool {
    match comparison {
        Comparison::Equal | Comparison::Same => a == b,
        Comparison::NotEqual => a != b,
        Comparison::Less => a < b,
        Comparison::LessOrEqual => a <= b,
        Comparison::Greater => a > b,
        Comparison::GreaterOrEqual => a >= b,
    }
}

fn truth(value: bool) -> Node {
    if value { TRUE } else { FALSE }
}

/// How something between two ranks compares with a constant.
fn compare(low: usize, high: usize, comparison: Comparison, with: usize) -> Node {
    if comparison == Comparison::NotEqual {
        return TRUE - compare(low, high, Comparison::Equal, with);
    }
    match (order(low, with, comparison), order(high, with, comparison)) {
        // Both ends equal the constant: then there is one value, or else it lies within the bounds or without.
        (true, true) => TRUE,
        (false, false) if comparison != Comparison::Equal || high < with || low > with => FALSE,
        _ => UNKNOWN,
    }
}

impl Regions {
    /// The regions of a subject for these tests; none if there are too many.
    pub(super) fn new(subject: &Subject, atoms: &[&Atom], only_absent: bool) -> Option<Regions> {
        let (mut ordered, mut texts) = (Vec::new(), Vec::new());
        let (mut takes_number, mut takes_text, mut takes_bool) = (false, false, false);
        for atom in atoms {
            match atom.take.unwrap_or(subject.ty) {
                Type::Bool => takes_bool = true,
                Type::String => takes_text = true,
                Type::Json | Type::List(_) | Type::Cidr => {}
                _ => takes_number = true,
            }
            for value in constants(atom) {
                match value {
                    Const::Bool(_) => {}
                    Const::Text(_) => texts.push(value.clone()),
                    other => ordered.push(other.clone()),
                }
            }
        }
        texts.extend(subject.texts.iter().map(|text| Const::Text((*text).to_owned())));
        for constants in [&mut ordered, &mut texts] {
            constants.sort_unstable();
            constants.dedup();
        }
        let mut found = Regions { ordered, texts, regions: Vec::new() };
        found.regions.extend(subject.absent.then_some(Region::Absent));
        if only_absent && subject.optional {
            return Some(found);
        }
        found.regions.extend(subject.hidden.then_some(Region::Hidden));
        let other = matches!(subject.ty, Type::Json | Type::List(_) | Type::Cidr)
            || !(takes_number || takes_text || takes_bool);
        found.regions.extend(other.then_some(Region::Other));
        if takes_bool {
            found.regions.extend([Region::Bool(false), Region::Bool(true)]);
        }
        if takes_number {
            found.numbers(subject)?;
        }
        if takes_text {
            let inhabited = (0..=2 * found.texts.len()).filter(|rank| found.has_text(subject, *rank));
            let regions: Vec<Region> = inhabited.map(Region::Text).collect();
            found.regions.extend(regions);
        }
        Some(found)
    }

    fn numbers(&mut self, subject: &Subject) -> Option<()> {
        let ranks: Vec<usize> =
            (0..=2 * self.ordered.len()).filter(|rank| self.has_number(subject, *rank)).collect();
        if !subject.bounds {
            self.regions.extend(ranks.into_iter().map(|rank| Region::Ordered(rank, rank)));
            return Some(());
        }
        for (place, low) in ranks.iter().enumerate() {
            let above = ranks.get(place..).unwrap_or_default();
            self.regions.extend(above.iter().map(|high| Region::Ordered(*low, *high)));
        }
        (self.ordered.len() <= BOUNDS_LIMIT).then_some(())
    }

    /// Whether some text has this rank.
    fn has_text(&self, subject: &Subject, rank: usize) -> bool {
        let at = |place: usize| match self.texts.get(place) {
            Some(Const::Text(text)) => Some(text.as_str()),
            _ => None,
        };
        match (rank % 2 == 1, at(rank / 2)) {
            (true, Some(text)) => subject.texts.is_empty() || subject.texts.contains(&text),
            // Nothing comes before the empty text.
            _ => subject.texts.is_empty() && !(rank == 0 && at(0) == Some("")),
        }
    }

    /// Whether some value of the subject has this rank.
    fn has_number(&self, subject: &Subject, rank: usize) -> bool {
        let step = if subject.whole { Number::ONE.billionths() } else { 1 };
        let key = |value: &Const| match value {
            Const::Number(number) => Some(number.billionths()),
            Const::Time(micros) | Const::Duration(micros) => Some(i128::from(*micros)),
            _ => None,
        };
        if self.ordered.iter().any(|value| key(value).is_none()) {
            return true;
        }
        let at = |place: Option<usize>| place.and_then(|place| self.ordered.get(place)).and_then(key);
        let (least, most) = (subject.least.as_ref().and_then(key), subject.most.as_ref().and_then(key));
        let place = rank / 2;
        if rank % 2 == 1 {
            return at(Some(place)).is_none_or(|value| {
                value % step == 0
                    && least.is_none_or(|least| least <= value)
                    && most.is_none_or(|most| value <= most)
            });
        }
        // The least and the greatest value strictly between the neighbours.
        let above = at(place.checked_sub(1)).map(|low| (low.div_euclid(step) + 1) * step);
        let below = at(Some(place)).map(|high| (high - 1).div_euclid(step) * step);
        let low = [above, least].into_iter().flatten().max();
        let high = [below, most].into_iter().flatten().min();
        low.zip(high).is_none_or(|(low, high)| low <= high)
    }

    /// What these tests say in each region; regions that all of them see alike are one.
    pub(super) fn columns(&self, atoms: &[&Atom]) -> Option<Vec<Vec<Cell>>> {
        let rows: Vec<Vec<Cell>> = atoms.iter().map(|atom| self.row(atom)).collect::<Option<_>>()?;
        let mut seen = std::collections::HashSet::new();
        let mut columns = Vec::new();
        for place in 0..self.regions.len() {
            let column: Vec<Cell> = rows.iter().filter_map(|row| row.get(place).copied()).collect();
            if seen.insert(column.clone()) {
                columns.push(column);
            }
        }
        Some(columns)
    }

    fn row(&self, atom: &Atom) -> Option<Vec<Cell>> {
        if let Test::Text(check, question) = &atom.test {
            let texts: Vec<&str> = self
                .texts
                .iter()
                .map(|text| if let Const::Text(text) = text { text.as_str() } else { "" })
                .collect();
            let answers = check.answers(&texts);
            let nothing = if atom.soft { FALSE } else { UNKNOWN };
            let doubt = if check.can_be_unknown() { nothing } else { TRUE };
            let open = Cell::Open { question: *question, answers: [FALSE, doubt, TRUE] };
            let of_text = |rank: usize| match &answers {
                Some(answers) if rank % 2 == 1 => match answers.get(rank / 2) {
                    Some(Some(answer)) => Cell::Known(truth(*answer)),
                    _ => Cell::Known(nothing),
                },
                _ => open,
            };
            return Some(self.cells(atom, |region| match region {
                Region::Text(rank) => Some(of_text(rank)),
                _ => None,
            }));
        }
        let members = match &atom.test {
            Test::In(values) => {
                let mut ranks: Vec<Option<usize>> = values.iter().map(|value| self.rank(value)).collect();
                ranks.sort_unstable();
                ranks
            }
            _ => Vec::new(),
        };
        Some(self.cells(atom, |region| self.known(atom, region, &members)))
    }

    fn rank(&self, value: &Const) -> Option<usize> {
        rank(if matches!(value, Const::Text(_)) { &self.texts } else { &self.ordered }, value)
    }

    /// The region of a constant.
    fn place(&self, value: &Const) -> Option<Region> {
        Some(match value {
            Const::Bool(value) => Region::Bool(*value),
            Const::Text(_) => Region::Text(self.rank(value)?),
            other => {
                let rank = self.rank(other)?;
                Region::Ordered(rank, rank)
            }
        })
    }

    /// A cell for each region, once types, defaults and `?` are seen to.
    fn cells(&self, atom: &Atom, of_value: impl Fn(Region) -> Option<Cell>) -> Vec<Cell> {
        let default = atom.default.as_ref().and_then(|value| self.place(value));
        let cell = |region: Region| {
            if atom.test == Test::Present {
                return Cell::Known(match region {
                    Region::Absent => FALSE,
                    Region::Hidden => UNKNOWN,
                    _ => TRUE,
                });
            }
            let taken = match (region, atom.take) {
                (Region::Absent | Region::Hidden | Region::Other, _) => None,
                (Region::Bool(_), None | Some(Type::Bool))
                | (Region::Text(_), None | Some(Type::String))
                | (Region::Ordered(..), None | Some(Type::Number)) => Some(region),
                _ => None,
            };
            match taken.or(default) {
                Some(region) => of_value(region).unwrap_or(Cell::Known(UNKNOWN)),
                None if atom.test == Test::In(Vec::new()) || atom.soft => Cell::Known(FALSE),
                None => Cell::Known(UNKNOWN),
            }
        };
        self.regions.iter().copied().map(cell).collect()
    }

    fn known(&self, atom: &Atom, region: Region, members: &[Option<usize>]) -> Option<Cell> {
        Some(Cell::Known(match (&atom.test, region) {
            (Test::Truth, Region::Bool(value)) => truth(value),
            (Test::Compare(comparison, Const::Bool(with)), Region::Bool(value)) => {
                truth((value == *with) == (*comparison == Comparison::Equal))
            }
            (Test::Compare(comparison, with), Region::Ordered(low, high)) => {
                compare(low, high, *comparison, self.rank(with)?)
            }
            (Test::Compare(comparison, with), Region::Text(rank)) => {
                compare(rank, rank, *comparison, self.rank(with)?)
            }
            (Test::In(_), Region::Ordered(rank, _) | Region::Text(rank)) => {
                truth(members.binary_search(&Some(rank)).is_ok())
            }
            (
                Test::CompareParam(comparison, low, high, question),
                Region::Ordered(x, _) | Region::Text(x),
            ) => {
                return self.against_param(*comparison, x, (self.rank(low)?, self.rank(high)?), *question);
            }
            _ => return None,
        }))
    }

    /// A known value against a parameter between two constants: settled if every order that is left says the same.
    fn against_param(
        &self,
        comparison: Comparison,
        x: usize,
        (low, high): (usize, usize),
        question: usize,
    ) -> Option<Cell> {
        let answer = |x: usize, with: usize| truth(order(x, with, comparison));
        let answers = [answer(0, 1), answer(1, 1), answer(2, 1)];
        let possible = [x < high, low <= x && x <= high, x > low];
        let mut left = answers.into_iter().zip(possible).filter(|(_, possible)| *possible).map(|(a, _)| a);
        let first = left.next()?;
        Some(if left.all(|answer| answer == first) {
            Cell::Known(first)
        } else {
            Cell::Open { question, answers }
        })
    }
}
