//! Several things worked on at once: one share for each processor, results in the order of the things.

use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::thread::{available_parallelism, scope};

/// What `work` makes of each, in their order.
pub fn map<T: Sync, R: Send>(things: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = available_parallelism().map_or(1, NonZeroUsize::get).min(things.len());
    if threads < 2 {
        return things.iter().map(work).collect();
    }
    let all = |share: &[T]| share.iter().map(&work).collect::<Vec<R>>();
    scope(|scope| {
        let mut shares = things.chunks(things.len().div_ceil(threads));
        let own = shares.next().unwrap_or_default();
        let others: Vec<_> = shares.map(|share| scope.spawn(|| all(share))).collect();
        let mut done = all(own);
        for share in others {
            done.extend(share.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        done
    })
}
