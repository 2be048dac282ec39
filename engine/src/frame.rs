//! Event to the fixed slots that compiled code reads: numbers, times, bools, and texts as the numbers of known texts.

use crate::event::{Event, FieldValue};
use crate::plan::{Plan, RISK_SLOT, SLOTS};
use lictor_dsl::events::FieldId;
use lictor_dsl::number::Number;

/// One slot. Compiled code reads it at fixed offsets (see `jit::abi`).
#[derive(Debug, Clone, Copy, Default)]
#[repr(C, align(16))]
pub(crate) struct Slot {
    /// 1 where the field is there, else 0.
    pub present: u64,
    /// Billionths, microseconds, 0 or 1, the number of a known text, or the bits of known texts.
    pub value: i128,
}

/// The bits of those texts that rules ask of this field.
fn mask(plan: &Plan, field: FieldId, texts: &[String]) -> i128 {
    let Some(bits) = plan.bits.get(&field) else { return 0 };
    texts.iter().filter_map(|text| bits.get(text)).fold(0, |mask, bit| mask | 1 << bit)
}

/// What a predicate's byte holds before it was evaluated.
pub(crate) const NOT_YET: u8 = 0xff;

/// The slots of one event, and what was found out about it so far. Reused from event to event.
#[derive(Debug)]
pub(crate) struct Frame {
    pub slots: [Slot; SLOTS],
    /// The truth of each called predicate, or [`NOT_YET`].
    pub memo: Vec<u8>,
}

impl Default for Frame {
    fn default() -> Frame {
        Frame { slots: [Slot::default(); SLOTS], memo: Vec::new() }
    }
}

impl Frame {
    /// Takes the wanted fields of an event.
    pub(crate) fn fill(&mut self, plan: &Plan, event: &Event) {
        for field in &plan.kind(event.kind()).slots {
            let value = match event.get(*field) {
                None => None,
                Some(FieldValue::Bool(value)) => Some(i128::from(*value)),
                Some(FieldValue::Number(value)) => Some(value.billionths()),
                Some(FieldValue::Time(micros)) => Some(i128::from(*micros)),
                Some(FieldValue::Text(text)) => {
                    Some(i128::from(plan.texts.get(text.as_str()).copied().unwrap_or(0)))
                }
                Some(FieldValue::Texts(texts)) => Some(mask(plan, *field, texts)),
                // Only their presence is asked for.
                Some(FieldValue::Ip(_) | FieldValue::Json(_)) => Some(0),
            };
            if let Some(slot) = self.slots.get_mut(usize::from(field.0)) {
                *slot = value.map_or(Slot::default(), |value| Slot { present: 1, value });
            }
        }
        self.memo.clear();
        self.memo.resize(plan.predicates.len(), NOT_YET);
        self.set_risk(Number::ZERO);
    }

    pub(crate) fn set_risk(&mut self, risk: Number) {
        if let Some(slot) = self.slots.get_mut(RISK_SLOT) {
            *slot = Slot { present: 1, value: risk.billionths() };
        }
    }

    /// The number of the text in a slot; none if the field is absent.
    pub(crate) fn text(&self, slot: usize) -> Option<u32> {
        let slot = self.slots.get(slot).filter(|slot| slot.present != 0)?;
        u32::try_from(slot.value).ok()
    }
}
