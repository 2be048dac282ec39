//! The Lictor engine: checked policies to machine code, events to decisions.

mod combine;
mod cost;
pub mod coverage;
pub mod decision;
mod evaluate;
pub mod event;
pub mod explain;
mod frame;
pub mod generation;
mod index;
mod interpret;
mod jit;
pub mod json;
pub mod limits;
pub mod memory;
pub mod plan;
mod run;
pub mod trial;
mod truth;
mod value;

pub use cost::Cost;
pub use generation::{Active, Engine, Generation};
pub use jit::CompileError;
pub use jit::code::live_modules;
pub use run::Run;
pub use truth::Truth;

/// The version of the language's meaning, carried by every ledger entry. 2: `len`, `keys`, `host` and the like count steps
/// for what they read, so that a rule over large payloads can run out of them where it did not in 1.
pub const SEMANTICS: u32 = 2;
