//! The fuzz targets for a few seconds: every policy of the project, every input that once failed, and mutations of them.
//!
//! `make fuzz` runs the same targets guided by coverage, for longer. Here `FUZZ_SECONDS` says how long each is mutated,
//! `FUZZ_SEED` where that begins, and `FUZZ_INPUT` names a file that each target is run on instead.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    unreachable_pub,
    dead_code,
    reason = "a test that can't go on should say so; what is shared with the other user of the targets is public there"
)]

#[path = "../../tests/fuzz/src/lib.rs"]
mod fuzz;

use std::cell::Cell;
use std::fs;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use fuzz::{Cost, LONGEST, Random, Target, measured, mutate, seeds};
use sha2::{Digest, Sha256};

/// The longest input that is made, in bytes.
const LONGEST_INPUT: usize = 16 << 10;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

#[test]
fn parse() {
    fuzz(Target::Parse);
}

#[test]
fn check() {
    fuzz(Target::Check);
}

#[test]
fn judge() {
    fuzz(Target::Judge);
}

/// What a run has seen.
#[derive(Default)]
struct Seen {
    inputs: u64,
    longest: usize,
    cost: Cost,
}

fn fuzz(target: Target) {
    watch_panics();
    let mut runner = Runner { target, running: Arc::default(), seen: Seen::default() };
    watch_time(target, &runner.running);
    if let Some(path) = std::env::var_os("FUZZ_INPUT") {
        runner.run(&fs::read(path).expect("FUZZ_INPUT names a file"));
        return;
    }
    found(target).iter().for_each(|input| runner.run(input));
    seeds().all(target).iter().for_each(|seed| runner.run(seed.as_bytes()));
    let seed = setting("FUZZ_SEED", 1);
    println!("{}: mutations from FUZZ_SEED={seed}", target.name());
    let mut random = Random::new(seed);
    let end = Instant::now() + Duration::from_secs(setting("FUZZ_SECONDS", 3));
    while Instant::now() < end {
        let input = mutate(target, &[], &mut random, LONGEST_INPUT);
        runner.run(&input);
    }
    let Seen { inputs, longest, cost } = runner.seen;
    println!(
        "{}: {inputs} inputs of up to {longest} bytes; at most {} ms and {} KiB for one",
        target.name(),
        cost.time.as_millis(),
        cost.bytes / 1024
    );
}

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// Inputs that once failed.
fn found(target: Target) -> Vec<Vec<u8>> {
    let folder = Path::new(ROOT).join("tests/fuzz/found").join(target.name());
    let files = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.expect("an entry").path());
    let mut files: Vec<PathBuf> = files.collect();
    files.sort();
    files.into_iter().map(|path| fs::read(path).expect("a file")).collect()
}

/// The input that is running, and since when.
type Running = Arc<Mutex<Option<(Instant, Vec<u8>)>>>;

struct Runner {
    target: Target,
    running: Running,
    seen: Seen,
}

impl Runner {
    /// Runs one input; one that fails is written to a file that the failure names.
    fn run(&mut self, input: &[u8]) {
        *self.running.lock().expect("nothing panics with it") = Some((Instant::now(), input.to_vec()));
        PANICKED.set(false);
        let result = catch_unwind(AssertUnwindSafe(|| measured(self.target, input)));
        *self.running.lock().expect("nothing panics with it") = None;
        let cost = match result {
            Ok(cost) if !PANICKED.get() => cost,
            _ => {
                panic!("{} fails on FUZZ_INPUT={}", self.target.name(), written(self.target, input).display())
            }
        };
        self.seen.inputs += 1;
        self.seen.longest = self.seen.longest.max(input.len());
        self.seen.cost.time = self.seen.cost.time.max(cost.time);
        self.seen.cost.bytes = self.seen.cost.bytes.max(cost.bytes);
    }
}

/// Writes an input that failed to a file named by its hash.
fn written(target: Target, input: &[u8]) -> PathBuf {
    let hash: String = Sha256::digest(input).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let path = std::env::temp_dir().join(format!("lictor-{}-{hash}", target.name()));
    fs::write(&path, input).expect("a file can be written");
    path
}

thread_local! {
    /// Whether this thread panicked, if only to be caught: judging answers a panic with a deny.
    static PANICKED: Cell<bool> = const { Cell::new(false) };
}

fn watch_panics() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        PANICKED.set(true);
        before(info);
    }));
}

/// Ends the process when an input does not end.
fn watch_time(target: Target, running: &Running) {
    let running = Arc::downgrade(running);
    thread::spawn(move || {
        while let Some(running) = running.upgrade() {
            if let Some((since, input)) = &*running.lock().expect("nothing panics with it")
                && since.elapsed() > LONGEST * 10
            {
                println!("{} does not end on FUZZ_INPUT={}", target.name(), written(target, input).display());
                std::process::abort();
            }
            drop(running);
            thread::sleep(Duration::from_millis(500));
        }
    });
}
