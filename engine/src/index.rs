//! Which rules could match an event: cost follows them, not all the rules that exist.
//!
//! A rule whose condition needs a text field to be one of a few texts is found by that text. Where the field is
//! absent the need is unknown rather than unmet, so the rule stays a candidate then.

use std::collections::HashMap;

use lictor_dsl::events::FieldId;
use serde_json::{Value, json};

use crate::frame::Frame;
use crate::plan::{Cond, Plan, Shape};
use crate::truth::Truth;

/// The index of one kind of event.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// Rules that nothing rules out beforehand.
    always: Vec<usize>,
    fields: Vec<FieldIndex>,
}

#[derive(Debug)]
struct FieldIndex {
    slot: usize,
    by_text: HashMap<u32, Vec<usize>>,
    absent: Vec<usize>,
}

/// A necessary condition of a rule: this slot holds one of these texts.
struct Need {
    slot: usize,
    texts: Vec<u32>,
    /// Whether an absent field leaves the condition undecided.
    absent_counts: bool,
}

impl Index {
    /// Indexes rules, or memories, by what they need.
    pub(crate) fn new(plan: &Plan, numbered: &[(usize, &Cond)]) -> Index {
        let mut index = Index::default();
        for (number, condition) in numbered {
            let Some(need) = need(plan, condition) else {
                index.always.push(*number);
                continue;
            };
            let place = match index.fields.iter().position(|field| field.slot == need.slot) {
                Some(place) => place,
                None => {
                    index.fields.push(FieldIndex {
                        slot: need.slot,
                        by_text: HashMap::new(),
                        absent: Vec::new(),
                    });
                    index.fields.len() - 1
                }
            };
            let Some(field) = index.fields.get_mut(place) else { continue };
            for text in need.texts {
                field.by_text.entry(text).or_default().push(*number);
            }
            if need.absent_counts {
                field.absent.push(*number);
            }
        }
        index
    }

    /// Calls back for each rule that could match, each once.
    pub(crate) fn candidates(&self, frame: &Frame, mut each: impl FnMut(usize)) {
        self.always.iter().for_each(|rule| each(*rule));
        for field in &self.fields {
            let found = match frame.text(field.slot) {
                Some(text) => field.by_text.get(&text).map_or(&[][..], Vec::as_slice),
                None => &field.absent,
            };
            found.iter().for_each(|rule| each(*rule));
        }
    }

    /// The index for `lictor plan`.
    pub(crate) fn describe(&self, plan: &Plan) -> Value {
        let name = |number: &usize| plan.rules.get(*number).map(|rule| rule.name.to_string());
        let text = |wanted: &u32| {
            plan.texts.iter().find(|(_, number)| *number == wanted).map(|(text, _)| text.clone())
        };
        let fields = self.fields.iter().map(|field| {
            let mut texts: Vec<(Option<String>, Vec<Option<String>>)> =
                field.by_text.iter().map(|(number, rules)| (text(number), rules.iter().map(name).collect())).collect();
            texts.sort();
            let by_text: serde_json::Map<String, Value> =
                texts.into_iter().map(|(text, rules)| (text.unwrap_or_default(), json!(rules))).collect();
            let slot = u16::try_from(field.slot).map_or("", |number| FieldId(number).def().name);
            json!({"field": slot, "by_text": by_text, "when_absent": field.absent.iter().map(name).collect::<Vec<_>>()})
        });
        json!({"always": self.always.iter().map(name).collect::<Vec<_>>(), "fields": fields.collect::<Vec<_>>()})
    }
}

/// The most selective need of a condition: the one with the fewest texts.
fn need(plan: &Plan, condition: &Cond) -> Option<Need> {
    match condition {
        Cond::Predicate(number) => match &plan.predicate(*number)?.shape {
            Shape::Texts { slot, texts, absent } => {
                Some(Need { slot: *slot, texts: texts.clone(), absent_counts: *absent == Truth::Unknown })
            }
            _ => None,
        },
        Cond::And(parts) => {
            parts.iter().filter_map(|part| need(plan, part)).min_by_key(|need| need.texts.len())
        }
        Cond::Or(parts) => {
            let mut all = parts.iter().map(|part| need(plan, part));
            let mut joined = all.next()??;
            for need in all {
                let need = need.filter(|need| need.slot == joined.slot)?;
                joined.texts.extend(need.texts);
                joined.absent_counts |= need.absent_counts;
            }
            joined.texts.sort_unstable();
            joined.texts.dedup();
            Some(joined)
        }
        Cond::Const(_) | Cond::Not(_) => None,
    }
}
