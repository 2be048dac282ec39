//! What rules remember of earlier events, made from the ledger.
//!
//! A memory is a fold over the ledger: after a restart, and for rules that ask something new, the outcomes that were
//! recorded are folded again ([`past`], [`fill`]); nothing is judged again. A snapshot from time to time saves a restart
//! most of that ([`snapshots`]). What is erased is not remembered any more ([`erase`]).

pub mod erase;
pub mod fill;
pub mod past;
pub mod snapshots;

pub use past::{Past, PastError, Recorded};
pub use snapshots::Snapshots;
