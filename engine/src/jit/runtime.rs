//! What compiled code calls: the evaluator, for predicates that are more than a comparison.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::abi::Call;
use crate::frame::NOT_YET;
use crate::interpret;
use crate::truth::Truth;

/// The name under which compiled code knows [`predicate`].
pub(crate) const PREDICATE: &str = "lictor_predicate";

/// Answers a predicate, at most once per event.
///
/// # Safety
///
/// `call` must point to a live `Call` whose `memo` has a byte for each predicate of its plan.
#[expect(unsafe_code, reason = "compiled code hands over a pointer")]
pub(crate) unsafe extern "C" fn predicate(call: *const Call<'_, '_>, number: u64) -> u8 {
    // SAFETY: compiled code passes on the pointer that `Code::call` gave it, which outlives the call.
    let call = unsafe { &*call };
    let Ok(number) = usize::try_from(number) else { return Truth::Unknown as u8 };
    if number >= call.plan.predicates.len() {
        return Truth::Unknown as u8;
    }
    // SAFETY: `memo` has one byte for each predicate, and `number` is one of them.
    let known = unsafe { *call.memo.add(number) };
    if known != NOT_YET {
        return known;
    }
    // A panic must not unwind through compiled code; it makes the decision one of class `engine_fault`.
    let answer = catch_unwind(AssertUnwindSafe(|| interpret::predicate(call.plan, call.scene, number).0));
    if answer.is_err() {
        call.scene.faulted.set(true);
    }
    let truth = answer.unwrap_or(Truth::Unknown) as u8;
    // SAFETY: as above.
    unsafe { *call.memo.add(number) = truth };
    truth
}
