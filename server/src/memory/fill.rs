//! Memories for rules that ask something new, filled from the stored ledger while the org goes on deciding.

use std::sync::Arc;
use std::time::Duration;

use lictor_engine::generation::Generation;
use lictor_engine::memory::Memories;

use super::past::{Past, PastError};
use crate::draft::{Filled, View};
use crate::sequencer::{Activated, Queue, Unavailable};

/// With fewer entries than this in its last round, a fill is near the head of the ledger.
pub(super) const NEAR: i64 = 1_000;
/// How long to wait after a fill failed.
const RETRY: Duration = Duration::from_secs(1);

/// Why a fill did not end.
#[derive(Debug, thiserror::Error)]
pub enum FillError {
    /// The ledger can't be read.
    #[error(transparent)]
    Past(#[from] PastError),
    /// The sequencer did not answer.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Fills what a generation lacks, almost up to the head of the ledger; none if it lacks nothing.
pub async fn fill(
    past: &Past,
    queue: &Queue,
    generation: &Arc<Generation>,
) -> Result<Option<Box<Filled>>, FillError> {
    if !generation.remembers() {
        return Ok(None);
    }
    let Some(aside) = queue.aside(generation).await? else { return Ok(None) };
    let begun = past.next_seq().await?;
    Ok(Some(go_on(past, generation, aside, 0, begun).await?))
}

/// Goes on until little happened meanwhile.
async fn go_on(
    past: &Past,
    generation: &Arc<Generation>,
    mut memories: Memories,
    mut from: i64,
    begun: i64,
) -> Result<Box<Filled>, FillError> {
    loop {
        let next_seq = past.next_seq().await?;
        memories = past.fold(generation, memories, from..next_seq).await?;
        if next_seq - from < NEAR {
            return Ok(Box::new(Filled { generation: Arc::clone(generation), memories, next_seq, begun }));
        }
        from = next_seq;
    }
}

/// Lets the rules of a generation decide once their memories are filled, for as long as it is in force.
///
/// `begun` is a fill that is under way.
pub async fn fill_and_activate(
    past: Past,
    queue: Arc<Queue>,
    view: Arc<View>,
    generation: Arc<Generation>,
    begun: impl Future<Output = Result<Option<Box<Filled>>, FillError>>,
) {
    let mut filled = begun.await;
    loop {
        match filled {
            Ok(Some(ready)) => match queue.activate(ready).await {
                Activated::Live => {
                    tracing::info!(org = %view.id, policy_set = generation.digest(), "memories are filled");
                    return;
                }
                Activated::NotYet(some) => {
                    let Filled { memories, next_seq, begun, .. } = *some;
                    filled = go_on(&past, &generation, memories, next_seq, begun).await.map(Some);
                    continue;
                }
                Activated::Dropped => {}
            },
            Ok(None) => {}
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(org = %view.id, error, "memories can't be filled, and are tried again");
            }
        }
        let in_force = view.in_force();
        if in_force.filling.is_empty() || !Arc::ptr_eq(&in_force.generation, &generation) {
            return;
        }
        tokio::time::sleep(RETRY).await;
        filled = fill(&past, &queue, &generation).await;
    }
}
