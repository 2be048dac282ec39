//! Several servers, one ledger: what others wrote is taken over before anything is judged on top of it.

use std::sync::{Arc, PoisonError};

use super::{Parts, Sequencer};
use crate::db::{Changed, StoreError, Turn};
use crate::ledger::Head;
use crate::memory::PastError;
use crate::policies::InForce;
use crate::rollout::{RolloutError, code_for, interpreted};

/// Entries that are taken over at once.
const PAGE: i64 = 1_000;

/// Why an org can't be decided for now.
#[derive(Debug, thiserror::Error)]
pub(super) enum FollowError {
    /// The database did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What others wrote can't be remembered.
    #[error("what another server recorded can't be remembered")]
    Past(#[from] PastError),
    /// The policies that another server put in force can't be used here.
    #[error("the policies that another server put in force can't be used")]
    Policies(#[from] RolloutError),
    /// The ledger does not go on from where it stood.
    #[error("the ledger does not go on from entry {0}, which was there")]
    Rewound(i64),
}

impl FollowError {
    /// Whether what is remembered here is no longer what the ledger says, so that nothing may be decided from it.
    fn is_final(&self) -> bool {
        matches!(
            self,
            FollowError::Past(PastError::Unreadable { .. } | PastError::Crashed) | FollowError::Rewound(_)
        )
    }
}

impl Sequencer {
    /// Waits for the turn to write, and knows then all that was written. None if that can't be had now.
    pub(super) async fn turn(&mut self) -> Option<Turn> {
        match self.try_turn().await {
            Ok(turn) => Some(turn),
            Err(error) => {
                self.stopping |= error.is_final();
                let org = self.parts.view.id;
                tracing::error!(%org, error = &error as &dyn std::error::Error, "the org can't be decided for");
                None
            }
        }
    }

    async fn try_turn(&mut self) -> Result<Turn, FollowError> {
        let turn = self.parts.store.turn(self.parts.view.id).await?;
        if let Some(head) = turn.head {
            self.follow(head).await?;
        }
        if self.policies_moved {
            self.adopt_policies().await?;
            self.policies_moved = false;
        }
        Ok(turn)
    }

    /// Takes over what others wrote, up to where the ledger stands.
    async fn follow(&mut self, to: Head) -> Result<(), FollowError> {
        let (org, was) = (self.parts.view.id, self.memory.head);
        while self.memory.head.next_seq < to.next_seq {
            let from = self.memory.head.next_seq;
            let changed = self.parts.store.changed(org, from, PAGE).await?;
            let head = changed.head.filter(|head| head.next_seq > from).ok_or(FollowError::Rewound(from))?;
            let limit = usize::try_from(PAGE).unwrap_or(usize::MAX);
            let rows = self.past.read(from..head.next_seq, limit).await?;
            let generation = Arc::clone(&self.parts.view.in_force().generation);
            let memories = std::mem::take(&mut self.memory.memories);
            self.memory.memories = self.past.remember(&generation, memories, rows).await?;
            self.take_over(changed, head);
        }
        if self.memory.head != to {
            return Err(FollowError::Rewound(was.next_seq));
        }
        Ok(())
    }

    fn take_over(&mut self, changed: Changed, head: Head) {
        let Parts { view, keys, .. } = &self.parts;
        let Changed { agents, incidents, tasks, keys: all_keys, policies, .. } = changed;
        agents.into_iter().for_each(|agent| view.directory.put(Arc::new(agent)));
        incidents.into_iter().for_each(|incident| self.memory.incidents.put(Arc::new(incident)));
        for task in tasks {
            self.memory.tasks.remove(&task);
        }
        if let Some(all) = all_keys {
            keys.replace(view.id, all);
        }
        self.policies_moved |= policies;
        self.memory.head = head;
        view.moved_to(head.next_seq);
    }

    /// Puts in force here what another server put in force. What its rules need of the past is filled before anything
    /// is judged by them.
    async fn adopt_policies(&mut self) -> Result<(), FollowError> {
        let Parts { view, store, .. } = &self.parts;
        let (policies, filling) = store.policies(view.id).await?;
        let policies = Arc::new(policies.into_iter().map(Arc::new).collect::<Vec<_>>());
        let before = view.in_force();
        let generation = match before.policies == policies {
            true => Arc::clone(&before.generation),
            false => interpreted(Arc::clone(&policies)).await?,
        };
        let memories = &self.memory.memories;
        let filled = match generation.remembers() && !memories.lacks(&generation).is_empty() {
            true => {
                let aside = memories.aside(&generation);
                Some(self.past.fold(&generation, aside, 0..self.memory.head.next_seq).await?)
            }
            false => None,
        };
        self.memory.memories.adopt(&generation);
        if let Some(filled) = filled {
            self.memory.memories.absorb(filled);
        }
        code_for(&generation, Arc::clone(&before.generation));
        let in_force = Arc::new(InForce::new(policies, generation, filling));
        tracing::info!(org = %view.id, policy_set = &*in_force.policy_set, "another server changed the policies");
        *view.in_force.write().unwrap_or_else(PoisonError::into_inner) = in_force;
        Ok(())
    }
}
