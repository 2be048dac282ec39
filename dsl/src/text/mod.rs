//! What texts mean: hosts, addresses, paths, patterns, folded text and times.
//!
//! Pure functions that the checker applies to literals and the engine to values, so that both read the same
//! text the same way. Text that two readers could take differently has no meaning here: it is unknown.

pub mod fold;
pub mod glob;
pub mod host;
pub mod lists;
pub mod moment;
pub mod pattern;

/// How large a compiled regex may be: policies come from people, and a pattern must not eat the memory.
pub(crate) const COMPILED_LIMIT: usize = 1 << 20;
