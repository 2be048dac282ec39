//! Which rules could match an event: cost follows them, not all the rules that exist.
//!
//! A rule whose condition needs a value is found by that value: a text that a field must be equal to, one that a list
//! must have, a piece that a text must contain, a network that an address must be in. Where it can't be known whether the value is there, the need is unknown
//! rather than unmet, so the rule stays a candidate then.

mod need;
mod nets;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aho_corasick::AhoCorasick;
use lictor_dsl::events::{FIELD_COUNT, FieldId};
use serde_json::{Value, json};

use crate::cost::{Meter, Taken};
use crate::frame::Frame;
use crate::interpret::expr::Scene;
use crate::plan::{Plan, SLOTS};
use need::{By, Spread, Wanted};
pub(crate) use need::{Need, needs};
use nets::NetIndex;

/// The index of one kind of event.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// Rules that nothing rules out beforehand.
    pub always: Vec<usize>,
    texts: Vec<TextIndex>,
    lists: Vec<ListIndex>,
    parts: Vec<PartIndex>,
    nets: Vec<NetIndex>,
}

/// Rules by the text that a field must be equal to.
#[derive(Debug)]
struct TextIndex {
    slot: usize,
    by_text: HashMap<u32, Vec<usize>, foldhash::fast::RandomState>,
    absent: Vec<usize>,
}

/// Rules by a text that a list must have.
#[derive(Debug)]
struct ListIndex {
    slot: usize,
    /// By the bit of the text.
    by_bit: Vec<Vec<usize>>,
}

/// Rules by a piece that a text must contain: all pieces are looked for at once.
#[derive(Debug)]
struct PartIndex {
    slot: usize,
    pieces: Vec<String>,
    search: AhoCorasick,
    /// For each piece its rules.
    by_piece: Vec<Vec<usize>>,
    /// Every rule that is found so: where there is no text, all are candidates.
    all: Vec<usize>,
}

/// A rule and what it needs.
type Found<'n> = (usize, &'n Need);

/// Pieces found in one text after which all its rules are candidates: texts may be made so that each letter ends
/// many pieces.
pub(crate) const MOST_FOUND: usize = 10_000;
/// With fewer rules than this, evaluating them costs less than looking for what they need.
const WORTH_A_SEARCH: usize = 4;

/// What was found already, so that a rule is a candidate once.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    rules: Bits,
    pieces: Bits,
}

impl Seen {
    /// Adds rules that are new to what was found.
    fn add(&mut self, rules: Option<&Vec<usize>>, found: &mut Vec<usize>) {
        let rules = rules.map_or(&[][..], Vec::as_slice);
        found.reserve(rules.len());
        for rule in rules {
            if self.rules.add(*rule) {
                found.push(*rule);
            }
        }
    }
}

#[derive(Debug, Default)]
struct Bits {
    words: Vec<u64>,
    touched: Vec<usize>,
}

impl Bits {
    /// Notes a number; whether it is new.
    fn add(&mut self, number: usize) -> bool {
        let (word, bit) = (number / 64, 1u64 << (number % 64));
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        let Some(found) = self.words.get_mut(word) else { return true };
        if *found == 0 {
            self.touched.push(word);
        }
        let new = *found & bit == 0;
        *found |= bit;
        new
    }

    /// Costs what was noted.
    fn clear(&mut self) {
        for word in self.touched.drain(..) {
            if let Some(found) = self.words.get_mut(word) {
                *found = 0;
            }
        }
    }
}

impl Index {
    /// Indexes rules, or memories, by what they need.
    pub(crate) fn new(needed: &[(usize, &[Need])]) -> Index {
        let mut spread = Spread::default();
        needed.iter().flat_map(|(_, needs)| *needs).for_each(|need| spread.add(need));
        Index::with(needed, &spread, |_| true)
    }

    /// An index that finds all of them, whatever the event.
    pub(crate) fn of_all(rules: &[usize]) -> Index {
        Index { always: rules.to_vec(), ..Index::default() }
    }

    /// Indexes them only by the texts that fields must be equal to.
    pub(crate) fn by_texts(needed: &[(usize, &[Need])]) -> Index {
        // Which of several texts is taken must not depend on other rules.
        Index::with(needed, &Spread::default(), |need| matches!(need.by, By::Text(_)))
    }

    fn with<'n>(
        needed: &[(usize, &'n [Need])],
        spread: &Spread<'n>,
        wanted: impl Fn(&Need) -> bool,
    ) -> Index {
        let mut index = Index::default();
        let (mut texts, mut lists) = (BTreeMap::new(), BTreeMap::new());
        let (mut parts, mut nets) = (BTreeMap::<usize, Vec<Found<'_>>>::new(), BTreeMap::<_, Vec<_>>::new());
        for (number, needs) in needed.iter().copied() {
            let Some(need) = spread.best(needs.iter().filter(|need| wanted(need))) else {
                index.always.push(number);
                continue;
            };
            match need.by {
                By::Text(slot) => texts.entry(slot).or_insert_with(|| TextIndex::new(slot)).add(number, need),
                By::List(slot) => lists.entry(slot).or_insert_with(|| ListIndex::new(slot)).add(number, need),
                By::Part(slot) => parts.entry(slot).or_default().push((number, need)),
                By::Net(slot) => nets.entry(slot).or_default().push((number, need)),
            }
        }
        index.texts = texts.into_values().collect();
        index.lists = lists.into_values().collect();
        index.nets = nets.into_iter().map(|(slot, found)| NetIndex::new(slot, &found)).collect();
        for (slot, found) in parts {
            match PartIndex::new(slot, &found) {
                Some(part) => index.parts.push(part),
                None => index.always.extend(found.iter().map(|(number, _)| *number)),
            }
        }
        index.always.sort_unstable();
        index
    }

    /// The rules that could match, each once, but for those that nothing rules out.
    pub(crate) fn candidates<'e>(
        &'e self,
        plan: &'e Plan,
        frame: &Frame,
        scene: &Scene<'e>,
        found: &mut Vec<usize>,
    ) {
        found.clear();
        let mut looked_up = self.texts.len();
        for field in &self.texts {
            let slot = frame.slot(plan, scene, field.slot);
            found.extend_from_slice(match slot.present {
                0 => &field.absent,
                _ => field.by_text.get(&slot.text()).map_or(&[], Vec::as_slice),
            });
        }
        if self.lists.is_empty() && self.parts.is_empty() && self.nets.is_empty() {
            scene.meter.looked_up(looked_up);
            return;
        }
        let seen = &mut *frame.seen().borrow_mut();
        // A panic may have left something of the event before; a rule taken for seen would be a rule left out.
        seen.rules.clear();
        seen.pieces.clear();
        for field in &self.lists {
            let mut bits = frame.slot(plan, scene, field.slot).value as u128;
            looked_up += bits.count_ones() as usize;
            while bits != 0 {
                let bit = bits.trailing_zeros() as usize;
                bits &= bits - 1;
                seen.add(field.by_bit.get(bit), found);
            }
        }
        for part in &self.parts {
            frame.with_text(plan, scene, part.slot, |text| part.candidates(text, &scene.meter, seen, found));
        }
        for nets in &self.nets {
            nets.candidates(frame.address(plan, scene, nets.slot), seen, found);
            looked_up += nets.lengths.len();
        }
        scene.meter.looked_up(looked_up);
    }

    /// The most that the rules which one event finds can weigh together.
    pub(crate) fn most(&self, weight: impl Fn(usize) -> Taken) -> Taken {
        let all = |rules: &[usize]| Taken::sum(rules.iter().map(|rule| weight(*rule)));
        let of_text = |field: &TextIndex| {
            let by_text = field.by_text.values().map(|rules| all(rules));
            by_text.fold(
                if field.can_be_absent() { all(&field.absent) } else { Taken::default() },
                Taken::or_more,
            )
        };
        // A list may have all of the texts, and a text all pieces.
        let of_list = |field: &ListIndex| {
            let rules: BTreeSet<usize> = field.by_bit.iter().flatten().copied().collect();
            Taken::sum(rules.into_iter().map(&weight))
        };
        all(&self.always)
            .and(Taken::sum(self.texts.iter().map(of_text)))
            .and(Taken::sum(self.lists.iter().map(of_list)))
            .and(Taken::sum(self.parts.iter().map(|part| all(&part.all))))
            .and(Taken::sum(self.nets.iter().map(|nets| all(&nets.all))))
    }

    /// How often something is looked up to find the rules of one event, at most.
    pub(crate) fn look_ups(&self) -> u64 {
        let of_nets = self.nets.iter().map(|nets| nets.lengths.len()).sum::<usize>();
        (self.texts.len() + self.lists.len() * i128::BITS as usize + of_nets) as u64
    }

    /// The slots of the texts that are searched.
    pub(crate) fn searches(&self) -> impl Iterator<Item = usize> {
        self.parts.iter().map(|part| part.slot)
    }

    /// The index for `lictor plan`.
    pub(crate) fn describe(&self, plan: &Plan) -> Value {
        let names = |rules: &[usize]| -> Vec<Option<String>> {
            rules.iter().map(|number| plan.rules.get(*number).map(|rule| rule.name.to_string())).collect()
        };
        let sorted = |mut found: Vec<(String, Value)>| -> serde_json::Map<String, Value> {
            found.sort_by(|a, b| a.0.cmp(&b.0));
            found.into_iter().collect()
        };
        let text = |wanted: u32| {
            let known = plan.texts.iter().find(|(_, number)| **number == wanted);
            known.map_or_else(String::new, |(text, _)| text.clone())
        };
        let bit = |slot: usize, wanted: usize| {
            let texts = u16::try_from(slot).ok().and_then(|number| plan.bits.get(&FieldId(number)));
            let known = texts.into_iter().flatten().find(|(_, bit)| **bit as usize == wanted);
            known.map_or_else(String::new, |(text, _)| text.clone())
        };
        let texts = self.texts.iter().map(|found| {
            let by_text = found.by_text.iter().map(|(number, rules)| (text(*number), json!(names(rules))));
            (found.slot, json!({"field": plan.slot_name(found.slot), "by_text": sorted(by_text.collect()), "when_absent": names(&found.absent)}))
        });
        let lists = self.lists.iter().map(|found| {
            let filled = found.by_bit.iter().enumerate().filter(|(_, rules)| !rules.is_empty());
            let by_text = filled.map(|(number, rules)| (bit(found.slot, number), json!(names(rules))));
            (found.slot, json!({"list": plan.slot_name(found.slot), "by_text": sorted(by_text.collect())}))
        });
        let parts = self.parts.iter().map(|found| {
            let pieces = found.pieces.iter().zip(&found.by_piece);
            let by_piece = pieces.map(|(piece, rules)| (piece.clone(), json!(names(rules))));
            (found.slot, json!({"text": plan.slot_name(found.slot), "by_piece": sorted(by_piece.collect())}))
        });
        let nets = self.nets.iter().map(|found| {
            let by_net = found.by_net.iter().map(|(net, rules)| (net.to_string(), json!(names(rules))));
            (found.slot, json!({"address": plan.slot_name(found.slot), "by_net": sorted(by_net.collect())}))
        });
        // Slots of values inside json have numbers that depend on what was planned before.
        let by_name = |mut found: Vec<(usize, Value)>| -> Vec<Value> {
            found.sort_by_cached_key(|(slot, _)| ((*slot).min(SLOTS), plan.slot_name(*slot)));
            found.into_iter().map(|(_, found)| found).collect()
        };
        json!({
            "always": names(&self.always),
            "fields": by_name(texts.collect()),
            "lists": by_name(lists.collect()),
            "texts": by_name(parts.collect()),
            "addresses": by_name(nets.collect()),
        })
    }
}

impl TextIndex {
    fn new(slot: usize) -> TextIndex {
        TextIndex { slot, by_text: HashMap::default(), absent: Vec::new() }
    }

    /// Whether there are events without this field.
    fn can_be_absent(&self) -> bool {
        let field = u16::try_from(self.slot).ok().filter(|_| self.slot < FIELD_COUNT);
        field.is_none_or(|number| FieldId(number).def().optional)
    }

    fn add(&mut self, rule: usize, need: &Need) {
        for value in &need.values {
            if let Wanted::Number(text) = value {
                self.by_text.entry(*text).or_default().push(rule);
            }
        }
        if need.absent_counts {
            self.absent.push(rule);
        }
    }
}

impl ListIndex {
    fn new(slot: usize) -> ListIndex {
        ListIndex { slot, by_bit: Vec::new() }
    }

    fn add(&mut self, rule: usize, need: &Need) {
        for value in &need.values {
            let Wanted::Number(bit) = value else { continue };
            let bit = *bit as usize;
            if self.by_bit.len() <= bit {
                self.by_bit.resize(bit + 1, Vec::new());
            }
            if let Some(rules) = self.by_bit.get_mut(bit) {
                rules.push(rule);
            }
        }
    }
}

impl PartIndex {
    /// None where a search is not worth it, or can't be had.
    fn new(slot: usize, found: &[Found<'_>]) -> Option<PartIndex> {
        if found.len() < WORTH_A_SEARCH {
            return None;
        }
        let mut numbers: HashMap<&str, usize> = HashMap::new();
        let mut by_piece: Vec<Vec<usize>> = Vec::new();
        for (rule, need) in found {
            for value in &need.values {
                let Wanted::Piece(piece) = value else { continue };
                let number = *numbers.entry(piece).or_insert_with(|| {
                    by_piece.push(Vec::new());
                    by_piece.len() - 1
                });
                if let Some(rules) = by_piece.get_mut(number) {
                    rules.push(*rule);
                }
            }
        }
        let mut pieces = vec![String::new(); by_piece.len()];
        for (piece, number) in numbers {
            if let Some(place) = pieces.get_mut(number) {
                *place = piece.to_owned();
            }
        }
        Some(PartIndex {
            slot,
            search: AhoCorasick::new(&pieces).ok()?,
            pieces,
            by_piece,
            all: found.iter().map(|(rule, _)| *rule).collect(),
        })
    }

    fn candidates(&self, text: Option<&str>, meter: &Meter, seen: &mut Seen, found: &mut Vec<usize>) {
        let Some(text) = text else {
            seen.add(Some(&self.all), found);
            return;
        };
        let mut count = 0;
        for piece in self.search.find_overlapping_iter(text) {
            count += 1;
            if count > MOST_FOUND {
                seen.add(Some(&self.all), found);
                break;
            }
            let piece = piece.pattern().as_usize();
            if seen.pieces.add(piece) {
                seen.add(self.by_piece.get(piece), found);
            }
        }
        seen.pieces.clear();
        meter.searched(text.len(), count);
    }
}
