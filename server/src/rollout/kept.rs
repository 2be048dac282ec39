//! What is kept from one change of policies to the next, and the threads that the slow work is done on.

use lictor_dsl::Library;
use lictor_engine::plan::Planner;
use tokio::sync::Semaphore;

use super::RolloutError;

/// What one change of an org's policies leaves for the next, so that it pays for what it changes: never more than what
/// was loaded last.
#[derive(Debug, Default)]
pub struct Kept {
    pub(super) library: Library,
    pub(super) planner: Planner,
}

/// Does work off the request path with what is kept. Where it dies nothing is kept, and the next change starts anew.
pub(super) async fn with_kept<T: Send + 'static>(
    kept: &mut Kept,
    work: impl FnOnce(&mut Kept) -> Result<T, RolloutError> + Send + 'static,
) -> Result<T, RolloutError> {
    let mut taken = std::mem::take(kept);
    let (done, given_back) = off_the_request_path(move || {
        let done = work(&mut taken);
        Ok((done, taken))
    })
    .await?;
    *kept = given_back;
    done
}

/// Bounds how many checks and compilations run at once. One whose caller left still counts until it ends.
pub(super) static SLOW: Semaphore = Semaphore::const_new(2);

pub(super) async fn off_the_request_path<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RolloutError> + Send + 'static,
) -> Result<T, RolloutError> {
    let place = SLOW.acquire().await.map_err(|_| RolloutError::Crashed)?;
    let work = move || {
        let _until_done = place;
        work()
    };
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(RolloutError::Crashed))
}
