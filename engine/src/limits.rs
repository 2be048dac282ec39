//! Sizes and counts that the engine accepts, each with its reason.

/// Steps that one predicate may take on one event: nested quantifiers over large lists must not hold up a queue.
/// A predicate that takes more is unknown, and a rule that depends on it ends in a deny of class `engine_fault`.
pub const STEPS: u32 = 1_000_000;

/// Rules in one unit of machine code: an edit recompiles one unit, and 64 rules take about half a millisecond.
pub const RULES_PER_UNIT: usize = 64;

/// Texts that one comparison tests inline; longer lists are looked up.
pub const INLINE_TEXTS: usize = 16;
