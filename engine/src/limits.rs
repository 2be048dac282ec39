//! Sizes and counts that the engine accepts, each with its reason.

/// Steps that one predicate may take on one event: nested quantifiers over large lists must not hold up a queue.
/// A predicate that takes more is unknown, and a rule that depends on it ends in a deny of class `engine_fault`.
pub const STEPS: u32 = 1_000_000;

/// Bytes of text or json that are read in one step: long texts must not make cheap steps of dear ones.
pub const BYTES_A_STEP: usize = 64;

/// Members of an object that a look-up passes in one step: looking for one in thousands, thousands of times, is not cheap.
pub const MEMBERS_A_STEP: usize = 64;

/// Steps that reading one entry of a list `as` a pattern takes: it is compiled on the spot.
pub const PATTERN_STEPS: usize = 1_000;

/// Rules that are swept together, a bit each, and functions in one module of machine code: a page of memory is worth it.
pub const RULES_PER_UNIT: usize = 64;

/// Texts that one comparison tests inline; longer lists are looked up.
pub const INLINE_TEXTS: usize = 16;

/// Networks of one list by which rules are found; longer lists say too little about which rule is meant.
pub const INDEXED_NETS: usize = 1_000;
