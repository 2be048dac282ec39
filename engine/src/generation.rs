//! One compiled policy set and its digest.

use std::sync::Arc;

use arc_swap::ArcSwap;
use lictor_dsl::hir::PolicySet;

use crate::decision::Decision;
use crate::event::Event;

/// Why a checked policy set could not be made into code.
#[derive(Debug, thiserror::Error)]
#[error("the policy set can't be compiled: {0}")]
pub struct CompileError(pub String);

/// One compiled policy set: immutable; a decision belongs to exactly one and names it.
#[derive(Debug)]
pub struct Generation {
    digest: String,
}

impl Generation {
    /// Plans and compiles a checked policy set. CPU-bound: call it off the request path.
    pub fn compile(_set: &PolicySet) -> Result<Generation, CompileError> {
        Ok(Generation { digest: String::new() })
    }

    /// `sha256:…` over names, modes and sources of the policies.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Judges one event. Always ends in a decision; an engine fault is a deny that says so.
    pub fn judge(&self, _event: &Event) -> Decision {
        unreachable!()
    }
}

/// The policy set in force: read by every decision, replaced whole.
#[derive(Debug)]
pub struct Active(ArcSwap<Generation>);

impl Active {
    /// Starts with this generation.
    pub fn new(generation: Generation) -> Active {
        Active(ArcSwap::from_pointee(generation))
    }

    /// The generation in force now; hold it for the whole of one decision.
    pub fn snapshot(&self) -> Arc<Generation> {
        self.0.load_full()
    }

    /// Puts a generation in force.
    pub fn publish(&self, generation: Arc<Generation>) {
        self.0.store(generation);
    }
}
