//! The Lictor engine: checked policies to machine code, events to decisions.

pub mod decision;
pub mod event;
pub mod generation;
pub mod json;

/// The version of the language's meaning, carried by every ledger entry.
pub const SEMANTICS: u32 = 1;
