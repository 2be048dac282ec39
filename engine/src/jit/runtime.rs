//! What compiled code calls: the evaluator, for predicates that are more than a comparison, and memories.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::abi::Call;
use crate::evaluate::Evaluator;
use crate::truth::Truth;

/// The name under which compiled code knows [`predicate`].
pub(crate) const PREDICATE: &str = "lictor_predicate";

/// The name under which compiled code knows [`ask`].
pub(crate) const ASK: &str = "lictor_ask";

/// Answers a predicate, at most once per event.
///
/// # Safety
///
/// `call` must point to a live `Call`.
#[expect(unsafe_code, reason = "compiled code hands over a pointer")]
pub(crate) unsafe extern "C" fn predicate(call: *const Call<'_, '_>, number: u64) -> u8 {
    // SAFETY: compiled code passes on the pointer that `Code::call` gave it, which outlives the call.
    let call = unsafe { &*call };
    let Ok(number) = usize::try_from(number) else { return Truth::Unknown as u8 };
    let evaluator = Evaluator { plan: call.plan, frame: call.frame, scene: call.scene };
    let evaluate = || caught(call, || evaluator.called(number));
    call.frame.predicate(number, || evaluate().unwrap_or(Truth::Unknown)) as u8
}

/// Asks a memory and leaves its answer in the frame.
///
/// # Safety
///
/// `call` must point to a live `Call`.
#[expect(unsafe_code, reason = "compiled code hands over a pointer")]
pub(crate) unsafe extern "C" fn ask(call: *const Call<'_, '_>, number: u64) {
    // SAFETY: compiled code passes on the pointer that `Code::call` gave it, which outlives the call.
    let call = unsafe { &*call };
    let Ok(number) = usize::try_from(number) else { return };
    let Some(question) = call.plan.questions.get(number) else { return };
    let answer = caught(call, || call.scene.recall_once(question));
    call.frame.answered(number, answer.as_ref());
}

/// A panic must not unwind through compiled code; it makes the decision one of class `engine_fault`.
fn caught<T>(call: &Call<'_, '_>, answer: impl FnOnce() -> T) -> Option<T> {
    let answer = catch_unwind(AssertUnwindSafe(answer));
    if answer.is_err() {
        call.scene.faulted.set(true);
    }
    answer.ok()
}
