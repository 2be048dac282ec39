//! Several servers, one ledger: what others wrote is taken over before anything is judged on top of it.

use std::sync::{Arc, PoisonError};

use lictor_engine::generation::Generation;
use lictor_engine::memory::{Memories, Missing};

use super::{Parts, Sequencer};
use crate::db::{Changed, StoreError, Turn};
use crate::ledger::Head;
use crate::memory::PastError;
use crate::policies::{InForce, Policies};
use crate::rollout::{RolloutError, code_for};

/// Entries that are taken over at once.
const PAGE: i64 = 1_000;
/// So many entries are taken over while the turn is held; more without it.
const NEAR: i64 = 100;
/// How often that is tried before others have to wait for more.
const PATIENT: u32 = 2;
/// How often it is tried to know everything before the turn comes.
const TRIES: u32 = 8;

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
    /// There was always something new.
    #[error("other servers change policies faster than this one can follow")]
    TooFast,
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

/// Policies that another server put in force, ready to be put in force here.
pub(super) struct Adoption {
    policies: Policies,
    generation: Arc<Generation>,
    /// The memories that are still being filled, by the server that changed the policies.
    filling: Vec<Missing>,
    /// What else their rules need of the past and is not remembered here, with the first entry that is not in it.
    filled: Option<(Memories, i64)>,
}

impl Sequencer {
    /// Waits for the turn to write, and knows then all that was written. None if that can't be had now.
    pub(super) async fn turn(&mut self) -> Option<Turn> {
        match self.try_turn().await {
            Ok(turn) => Some(turn),
            Err(error) => {
                if error.is_final() {
                    self.give_up();
                }
                let org = self.parts.view.id;
                tracing::error!(%org, error = &error as &dyn std::error::Error, "the org can't be decided for");
                None
            }
        }
    }

    /// While it is this server's turn no other can decide: what takes long is done before it is taken again.
    async fn try_turn(&mut self) -> Result<Turn, FollowError> {
        for tries in 0..TRIES {
            let turn = self.parts.store.turn(self.parts.view.id).await?;
            let Some(head) = turn.head else { return Ok(turn) };
            // Where others write more meanwhile than is taken over, it is done while they wait.
            let near = if tries < PATIENT { NEAR } else { PAGE };
            if head.next_seq - self.memory.head.next_seq > near {
                drop(turn);
                self.follow(head).await?;
                continue;
            }
            self.follow(head).await?;
            if !self.policies_moved || self.adopt().await? {
                return Ok(turn);
            }
            drop(turn);
            self.adoption = Some(self.prepare().await?);
        }
        Err(FollowError::TooFast)
    }

    /// Takes over what others wrote, up to where the ledger stood.
    async fn follow(&mut self, to: Head) -> Result<(), FollowError> {
        let (org, was) = (self.parts.view.id, self.memory.head);
        while self.memory.head.next_seq < to.next_seq {
            let from = self.memory.head.next_seq;
            let limit = PAGE.min(to.next_seq - from);
            let changed = self.parts.store.changed(org, from, limit).await?;
            let goes_on = changed.after == Some(self.memory.head.hash);
            let head = changed.head.filter(|_| goes_on).ok_or(FollowError::Rewound(from))?;
            let rows =
                self.past.read(from..head.next_seq, usize::try_from(limit).unwrap_or(usize::MAX)).await?;
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
        let Changed { agents, incidents, tasks, keys: all_keys, policies, erasure, .. } = changed;
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
        if let Some(seq) = erasure {
            self.forget(seq);
        }
    }

    /// Another server erased something: what is remembered here may rest on it, and is made anew from the ledger.
    fn forget(&mut self, erasure: i64) {
        (self.erased_at, self.adoption, self.policies_moved) = (erasure, None, true);
        let mut memories = Memories::default();
        memories.pass(self.memory.head.at_us);
        self.memory.memories = memories;
    }

    /// Compiles the policies that another server put in force, and fills what their rules need of the past.
    async fn prepare(&self) -> Result<Adoption, FollowError> {
        let (policies, filling) = self.stored_policies().await?;
        let generation = self.generation_of(&policies).await?;
        let filled = match self.lacks(&generation, &filling) {
            true => {
                let mut aside = self.memory.memories.aside(&generation);
                aside.leave(&generation, &filling);
                let next_seq = self.memory.head.next_seq;
                Some((self.past.fold(&generation, aside, 0..next_seq).await?, next_seq))
            }
            false => None,
        };
        Ok(Adoption { policies, generation, filling, filled })
    }

    /// Puts in force here what another server put in force, and says whether that is what is stored now.
    ///
    /// What was stored a moment ago is put in force even so: nothing is judged by it, and what was filled for it need not
    /// be filled again for what came after it.
    async fn adopt(&mut self) -> Result<bool, FollowError> {
        let (stored, stored_filling) = self.stored_policies().await?;
        let before = self.parts.view.in_force();
        let ready = self.adoption.take();
        let Adoption { policies, generation, filling, filled } = ready.unwrap_or_else(|| Adoption {
            policies: Arc::clone(&before.policies),
            generation: Arc::clone(&before.generation),
            filling: stored_filling.clone(),
            filled: None,
        });
        if filled.is_none() && self.lacks(&generation, &filling) {
            // Nothing had happened yet when it was made ready.
            return Ok(false);
        }
        let filled = match filled {
            Some((memories, from)) => {
                Some(self.past.fold(&generation, memories, from..self.memory.head.next_seq).await?)
            }
            None => None,
        };
        let memories = &mut self.memory.memories;
        // Until the other server has filled them, their rules decide nothing here either.
        memories.forget(&generation, &filling);
        memories.adopt(&generation);
        if let Some(filled) = filled {
            memories.absorb(filled);
        }
        let is_stored = policies == stored && filling == stored_filling;
        let in_force = Arc::new(InForce::new(policies, Arc::clone(&generation), filling));
        let view = &self.parts.view;
        *view.in_force.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&in_force);
        if is_stored {
            code_for(&generation, Arc::clone(&before.generation));
            let policy_set = &*in_force.policy_set;
            tracing::info!(org = %view.id, policy_set, "another server changed the policies");
            self.policies_moved = false;
        }
        Ok(is_stored)
    }

    /// Whether rules need something of the past that is neither remembered here nor being filled by somebody else.
    fn lacks(&self, generation: &Generation, filling: &[Missing]) -> bool {
        let lacking = self.memory.memories.lacks(generation);
        lacking.iter().any(|missing| filling.iter().all(|one| one.memory != missing.memory))
    }

    async fn stored_policies(&self) -> Result<(Policies, Vec<Missing>), StoreError> {
        let (policies, filling) = self.parts.store.policies(self.parts.view.id).await?;
        Ok((Arc::new(policies.into_iter().map(Arc::new).collect()), filling))
    }

    async fn generation_of(&self, policies: &Policies) -> Result<Arc<Generation>, RolloutError> {
        let before = self.parts.view.in_force();
        match before.policies == *policies {
            true => Ok(Arc::clone(&before.generation)),
            false => (self.parts.compile)(Arc::clone(policies)).await,
        }
    }
}
