//! libFuzzer at work on one target: `LICTOR_TARGET=parse fuzz …`. `make fuzz` runs all of them.

#![no_main]

use std::sync::LazyLock;
use std::sync::Mutex;

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use lictor_fuzz::{Cost, Random, Target, measured, mutate};

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("LICTOR_TARGET").unwrap_or_default();
    let known = Target::ALL.into_iter().find(|target| target.name() == name);
    known.unwrap_or_else(|| panic!("LICTOR_TARGET is one of {}", Target::ALL.map(Target::name).join(", ")))
});

/// The dearest inputs so far.
static MOST: Mutex<Cost> = Mutex::new(Cost { time: std::time::Duration::ZERO, bytes: 0 });

fuzz_target!(|input: &[u8]| {
    let cost = measured(*TARGET, input);
    let mut most = MOST.lock().expect("a panic ends the process");
    if cost.time > most.time || cost.bytes > most.bytes {
        *most = Cost { time: most.time.max(cost.time), bytes: most.bytes.max(cost.bytes) };
        eprintln!("so far at most {} ms and {} KiB for one input", most.time.as_millis(), most.bytes / 1024);
    }
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    if seed % 4 == 0 {
        return fuzzer_mutate(data, size, max_size);
    }
    let mutated = mutate(*TARGET, &data[..size], &mut Random::new(u64::from(seed)), max_size);
    let size = mutated.len().min(max_size);
    data[..size].copy_from_slice(&mutated[..size]);
    size
});
