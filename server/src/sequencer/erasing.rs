//! Content erased between two batches: from the entry that says so on, nothing that is remembered rests on it.

use std::sync::Arc;

use super::activation::CATCH_UP_ENTRIES;
use super::queue::Unavailable;
use super::{Parts, Sequencer};
use crate::db::{StoreError, Turn};
use crate::draft::{Draft, Erased, Erasing};
use crate::memory::PastError;
use crate::memory::erase::find;

/// What became of an erasure.
#[derive(Debug)]
pub enum Attempt {
    /// It is done.
    Done(Erased),
    /// Much happened since it was made ready: it has to be brought further first.
    NotYet(Box<Erasing>),
    /// Other policies are in force than it was made ready for.
    Anew,
}

impl Sequencer {
    /// Erases what was made ready, and what came since.
    pub(super) async fn erase(
        &mut self,
        turn: Turn,
        mut erasing: Box<Erasing>,
    ) -> Result<Attempt, Unavailable> {
        let (in_force, head) = (self.parts.view.in_force(), self.memory.head.next_seq);
        let same = Arc::ptr_eq(&in_force.generation, &erasing.generation);
        if !same || in_force.filling != erasing.filling {
            return Ok(Attempt::Anew);
        }
        if head - erasing.found.next_seq > CATCH_UP_ENTRIES {
            return Ok(Attempt::NotYet(erasing));
        }
        if let Err(error) = self.bring_up(&mut erasing, head).await {
            let org = self.parts.view.id;
            tracing::error!(%org, error = &error as &dyn std::error::Error, "nothing could be erased");
            return Err(Unavailable::NotDurable);
        }
        if erasing.found.entries.is_empty() {
            return Ok(Attempt::Done(Erased::default()));
        }
        let Parts { view, clock, vault, .. } = &self.parts;
        let mut draft = Draft::new(view, &mut self.memory, vault);
        let erased = draft.erase(clock.now_us(), *erasing);
        let (writes, new) = draft.finish();
        self.commit(turn, writes, new).await.map_err(|error| Unavailable::from(&error))?;
        self.erased_at = self.erased_at.max(erased.seq.unwrap_or(-1));
        Ok(Attempt::Done(erased))
    }

    /// Looks through what came since it was made ready, and reads the incidents that it needs.
    async fn bring_up(&mut self, erasing: &mut Erasing, head: i64) -> Result<(), PastError> {
        let Erasing { subject, generation, filling, memories, found, .. } = erasing;
        let from = found.next_seq;
        find(&self.past, subject, found, head).await?;
        if let Some(remembered) = memories.take() {
            let past = self.past.without(subject.clone());
            let mut remembered = past.fold(generation, remembered, from..head).await?;
            // Whoever fills these goes on with that.
            remembered.forget(generation, filling);
            remembered.adopt(generation);
            *memories = Some(remembered);
        }
        let unknown: Vec<_> =
            found.incidents().filter(|id| self.memory.incidents.get(*id).is_none()).collect();
        let count = unknown.len();
        let incidents = self.parts.store.incidents_by_id(self.parts.view.id, unknown).await?;
        if incidents.len() != count {
            return Err(StoreError::Corrupt("incident").into());
        }
        incidents.into_iter().for_each(|incident| self.memory.incidents.put(Arc::new(incident)));
        Ok(())
    }
}
