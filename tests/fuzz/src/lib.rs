//! What is fuzzed and how, whoever makes the inputs: libFuzzer, guided by coverage, or a test of a few seconds.
//!
//! An input is a text in sections (see `SECTION`). A target fails by panicking; [`measured`] adds the limits on time
//! and memory.

mod heap;
mod mutate;
mod seeds;
#[allow(dead_code, reason = "each user of the generators takes a part of them")]
#[path = "../../../engine/tests/support/mod.rs"]
mod support;
mod targets;

use std::sync::LazyLock;
use std::time::{Duration, Instant};

pub use mutate::{Random, mutate};
pub use seeds::seeds;
pub use targets::Target;

/// The longest that one step of an input may take. Unoptimised code is many times slower.
pub const LONGEST: Duration = Duration::from_secs(if cfg!(debug_assertions) { 30 } else { 1 });

/// The most bytes that one input may hold on the heap at once.
pub const MOST_BYTES: usize = 256 << 20;

/// What one input took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    /// The time of its longest step: one reading, one check, one compilation, one event.
    pub time: Duration,
    /// The most bytes that were allocated at once.
    pub bytes: usize,
}

/// Runs a target on one input, and panics if that takes too long or too much.
pub fn measured(target: Target, input: &[u8]) -> Cost {
    heap::begin();
    let mut steps = Steps { began: busy(), longest: Duration::ZERO };
    target.run(input, &mut steps);
    steps.done();
    let cost = Cost { time: steps.longest, bytes: heap::peak() };
    assert!(cost.time <= LONGEST, "{} took {:?} for {} bytes", target.name(), cost.time, input.len());
    assert!(
        cost.bytes <= MOST_BYTES,
        "{} held {} bytes for {} bytes",
        target.name(),
        cost.bytes,
        input.len()
    );
    cost
}

/// The time that each step of a target takes.
struct Steps {
    began: Duration,
    longest: Duration,
}

impl Steps {
    /// What went on since the last step is none, and the next begins.
    fn skip(&mut self) {
        self.began = busy();
    }

    /// A step ends, and the next begins.
    fn done(&mut self) {
        let now = busy();
        self.longest = self.longest.max(now.saturating_sub(self.began));
        self.began = now;
    }
}

/// How long this thread was at work. Where nobody counts that, the time that passed, other programs' share included.
fn busy() -> Duration {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    let counted = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = counted.as_deref().and_then(|text| text.split(' ').next()?.parse().ok());
    nanoseconds.map_or_else(|| START.elapsed(), Duration::from_nanos)
}
