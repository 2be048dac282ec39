//! A world of servers, one shared store and one clock, run step by step under a seed: commits fail or their answers are
//! lost, servers crash at any call, policies are swapped, the clock jumps. After every step the world must be one that the
//! promises allow.
//!
//! `LICTOR_SEED=… cargo test -p lictor-server --test simulation` runs one world alone, `LICTOR_SEEDS=…` that many.
//! Everything happens in one thread, and all that is random comes from the seed, but for the ids of entries and for
//! encryption, on which nothing depends.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that fails says where")]

mod promises;
mod random;
mod servers;
mod steps;
mod store;

use std::time::{Duration, Instant};

use steps::{Ran, run};
use store::Bug;

/// Worlds, unless `LICTOR_SEEDS` says otherwise.
const SEEDS: u64 = 5_000;
/// Within so many worlds a bug has to be seen.
const FOUND_WITHIN: u64 = 500;

#[test]
fn in_every_world_all_promises_are_kept() {
    if let Ok(seed) = std::env::var("LICTOR_SEED") {
        let ran = run(seed.parse().unwrap(), None, true).unwrap_or_else(|broken| panic!("{broken}"));
        return note(&format!("{ran:?}"));
    }
    let seeds = std::env::var("LICTOR_SEEDS").map_or(SEEDS, |seeds| seeds.parse().unwrap());
    let begun = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
    let all = std::thread::scope(|scope| {
        let share = |first| move || (first..seeds).step_by(threads as usize).map(expect_kept).sum::<Ran>();
        let shares: Vec<_> = (0..threads).map(|first| scope.spawn(share(first))).collect();
        shares.into_iter().map(|share| share.join().unwrap()).sum::<Ran>()
    });
    note(&format!("{seeds} worlds in {:?}: {all:?}", begun.elapsed()));
    // A world in which nothing happens keeps every promise.
    assert!(all.acknowledged > 10 * seeds && all.denied > seeds && all.waiting > seeds / 10, "{all:?}");
    assert!(all.failed > seeds && all.lost_answers > seeds / 10 && all.crashes > seeds / 2, "{all:?}");
    assert!(all.swaps > seeds && all.followed > seeds / 4 && all.jumps > seeds, "{all:?}");
}

fn expect_kept(seed: u64) -> Ran {
    run(seed, None, false).unwrap_or_else(|broken| panic!("LICTOR_SEED={seed}: {broken}"))
}

#[test]
fn a_world_runs_the_same_way_twice() {
    for seed in 0..20 {
        assert_eq!(run(seed, None, false), run(seed, None, false), "{seed}");
    }
}

/// Runs worlds with a bug until a promise is broken.
#[track_caller]
fn expect_found(bug: Bug) {
    let begun = Instant::now();
    let broken =
        (0..FOUND_WITHIN).find_map(|seed| run(seed, Some(bug), false).err().map(|broken| (seed, broken)));
    let (seed, broken) = broken.unwrap_or_else(|| panic!("{bug:?} is not found in {FOUND_WITHIN} worlds"));
    note(&format!("{bug:?} found by seed {seed} in {:?}: {broken}", begun.elapsed()));
    // It is found again by its seed alone.
    assert_eq!(run(seed, Some(bug), false), Err(broken));
    assert!(begun.elapsed() < Duration::from_secs(300));
}

#[test]
fn a_store_that_acknowledges_and_forgets_is_found() {
    expect_found(Bug::Forgets);
}

#[test]
fn a_store_that_writes_half_a_batch_is_found() {
    expect_found(Bug::WritesHalf);
}

#[test]
fn two_servers_that_write_at_once_are_found() {
    expect_found(Bug::TakesNoTurns);
}

#[test]
fn a_server_that_misses_a_change_of_policies_is_found() {
    expect_found(Bug::HidesPolicies);
}

#[test]
fn a_server_that_misses_an_event_is_found() {
    expect_found(Bug::HidesEvents);
}

#[test]
fn a_server_that_does_what_was_done_before_is_found() {
    expect_found(Bug::HidesAnswers);
}

#[expect(clippy::print_stderr, reason = "what was measured")]
fn note(text: &str) {
    eprintln!("{text}");
}
