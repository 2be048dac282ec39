//! What is committed of an org: what everybody sees, and what only its sequencer needs.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use lictor_engine::memory::Memories;
use uuid::Uuid;

use crate::agents::Directory;
use crate::incidents::Open;
use crate::ledger::{Head, StepBefore};
use crate::policies::{InForce, Policies};

/// What HTTP threads see of an org: always what is committed.
#[derive(Debug)]
pub struct View {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created_at_us: i64,
    /// Its agents.
    pub directory: Directory,
    /// What decides.
    pub in_force: RwLock<Arc<InForce>>,
    /// The number that the next entry of its ledger will have.
    pub next_seq: AtomicI64,
}

impl View {
    /// The number that the next entry of its ledger will have, as far as is known here.
    pub fn next_seq(&self) -> i64 {
        self.next_seq.load(Ordering::Relaxed)
    }

    pub(crate) fn moved_to(&self, next_seq: i64) {
        self.next_seq.store(next_seq, Ordering::Relaxed);
    }

    /// Its policies now.
    pub fn policies(&self) -> Policies {
        Arc::clone(&self.in_force().policies)
    }

    /// What decides now.
    pub fn in_force(&self) -> Arc<InForce> {
        Arc::clone(&self.in_force.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What the sequencer alone remembers of an org: what is committed, and during a batch what its events leave behind.
#[derive(Debug)]
pub struct Memory {
    /// Where the ledger stands.
    pub head: Head,
    /// Incidents that may change.
    pub incidents: Open,
    /// Where tasks stand, as far as they were asked for.
    pub tasks: HashMap<String, StepBefore>,
    /// What the rules in force need of earlier events.
    pub memories: Memories,
}
