//! Filled memories brought up to the head of the ledger, and their rules let decide.

use std::sync::Arc;

use super::{Parts, Sequencer};
use crate::db::Turn;
use crate::draft::{Draft, Filled};

/// Entries that the sequencer itself remembers to bring filled memories up to its head; with more to go, they are
/// given back to be filled further.
pub(super) const CATCH_UP_ENTRIES: i64 = 2_048;

/// What became of memories that were filled.
#[derive(Debug)]
pub enum Activated {
    /// Their rules decide.
    Live,
    /// They have to be filled further first, or could not be recorded.
    NotYet(Box<Filled>),
    /// Another policy set is in force, or they can't be used.
    Dropped,
}

impl Sequencer {
    /// Lets rules decide from here on whose memories were filled off to the side.
    pub(super) async fn activate(&mut self, turn: Turn, filled: Box<Filled>) -> Activated {
        let in_force = self.parts.view.in_force();
        if !Arc::ptr_eq(&in_force.generation, &filled.generation) || in_force.filling.is_empty() {
            return Activated::Dropped;
        }
        let filled = match self.caught_up(filled).await {
            Ok(Some(filled)) => filled,
            Ok(None) => return Activated::Dropped,
            Err(filled) => return Activated::NotYet(filled),
        };
        let Parts { view, clock, vault, .. } = &self.parts;
        let mut draft = Draft::new(view, &mut self.memory, vault);
        draft.activate(clock.now_us(), filled.memories);
        let (writes, new) = draft.finish();
        match self.commit(turn, writes, new).await {
            Ok(()) => Activated::Live,
            Err(_) => Activated::Dropped,
        }
    }

    /// Brings memories up to the head. Nothing if the ledger can't be read, or something was erased since they were begun;
    /// gives them back if much is missing.
    pub(super) async fn caught_up(
        &self,
        mut filled: Box<Filled>,
    ) -> Result<Option<Box<Filled>>, Box<Filled>> {
        if filled.begun <= self.erased_at {
            return Ok(None);
        }
        let head = self.memory.head.next_seq;
        if head - filled.next_seq > CATCH_UP_ENTRIES {
            return Err(filled);
        }
        let memories = std::mem::take(&mut filled.memories);
        match self.past.fold(&filled.generation, memories, filled.next_seq..head).await {
            Ok(memories) => {
                (filled.memories, filled.next_seq) = (memories, head);
                Ok(Some(filled))
            }
            Err(error) => {
                let org = self.parts.view.id;
                tracing::error!(%org, error = &error as &dyn std::error::Error, "memories can't be filled");
                Ok(None)
            }
        }
    }
}
