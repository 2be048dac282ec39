//! What compiled code and the engine agree on: signatures and offsets, asserted when this crate is compiled.

use std::cell::Cell;
use std::mem::offset_of;

use crate::frame::{Frame, Held, Slot};
use crate::interpret::expr::Scene;
use crate::plan::Plan;

/// What compiled code gets for one event.
#[repr(C)]
pub(crate) struct Call<'c, 'e> {
    pub slots: *const Cell<Slot>,
    /// The truth of each called predicate, or `NOT_YET`.
    pub memo: *const Cell<u8>,
    /// The answer to each question.
    pub answers: *const Cell<Held>,
    /// What the two before point into.
    pub frame: &'c Frame,
    pub plan: &'e Plan,
    pub scene: &'c Scene<'e>,
}

/// What a routine reaches by its own numbers, so that it stays valid whatever other policies do, and serves many rules.
#[repr(C)]
pub(crate) struct Tables {
    /// The generation's numbers of the routine's texts, called predicates and questions to memories, and where among the
    /// slots the values inside json stand that it reads, in bytes.
    pub short: *const u64,
    /// The values of its constants and parameters, and the generation's bits of the texts that it asks of lists.
    pub wide: *const i128,
}

/// A compiled rule: the truth of its condition, as a byte.
pub(crate) type Entry = unsafe extern "C" fn(*const Call<'_, '_>, *const Tables) -> u8;

/// The truths of rules that nothing rules out, a byte each. Of the bits of the number only those rules
/// that cost more than a few comparisons are evaluated whose bit is set.
pub(crate) type Sweep = unsafe extern "C" fn(*const Call<'_, '_>, *const Tables, u64, *mut u8);

pub(crate) const CALL_SLOTS: i32 = 0;
pub(crate) const CALL_MEMO: i32 = 8;
pub(crate) const CALL_ANSWERS: i32 = 16;
pub(crate) const TABLE_TEXTS: i32 = 0;
pub(crate) const TABLE_PREDICATES: i32 = TABLE_TEXTS;
pub(crate) const TABLE_QUESTIONS: i32 = TABLE_TEXTS;
pub(crate) const TABLE_TAKEN: i32 = TABLE_TEXTS;
pub(crate) const TABLE_PARAMS: i32 = 8;
pub(crate) const TABLE_MASKS: i32 = TABLE_PARAMS;
pub(crate) const SLOT_SIZE: i32 = 32;
pub(crate) const SLOT_PRESENT: i32 = 0;
pub(crate) const SLOT_VALUE: i32 = 16;
pub(crate) const HELD_SIZE: i64 = 48;
pub(crate) const HELD_KNOWN: i32 = 0;
pub(crate) const HELD_LEAST: i32 = 16;
pub(crate) const HELD_MOST: i32 = 32;

const _: () = {
    assert!(offset_of!(Call, slots) == CALL_SLOTS as usize);
    assert!(offset_of!(Call, memo) == CALL_MEMO as usize);
    assert!(offset_of!(Call, answers) == CALL_ANSWERS as usize);
    assert!(offset_of!(Tables, short) == TABLE_TEXTS as usize);
    assert!(offset_of!(Tables, wide) == TABLE_PARAMS as usize);
    assert!(size_of::<Cell<Slot>>() == SLOT_SIZE as usize);
    assert!(offset_of!(Slot, present) == SLOT_PRESENT as usize);
    assert!(offset_of!(Slot, value) == SLOT_VALUE as usize);
    assert!(size_of::<Cell<Held>>() == HELD_SIZE as usize);
    assert!(offset_of!(Held, known) == HELD_KNOWN as usize);
    assert!(offset_of!(Held, least) == HELD_LEAST as usize);
    assert!(offset_of!(Held, most) == HELD_MOST as usize);
    assert!(cfg!(target_endian = "little"), "compiled code reads parts of wider values");
    assert!(size_of::<usize>() == 8, "compiled code uses 64-bit pointers");
};
