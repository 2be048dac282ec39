//! A fixed number of turns of a few workloads, for counting instructions: `make bench-instructions`.
//!
//! Time on a shared machine is noise; the number of instructions is the same each time. `instructions.sh` runs each
//! workload under callgrind, which counts what happens inside `measured`.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a bench that can't go on should say so"
)]

mod workload;

use std::hint::black_box;

use lictor_dsl::Source;
use lictor_engine::event::{Event, Origin};
use lictor_engine::memory::{Fate, Memories};
use lictor_engine::{Engine, Generation};
use workload::Shape;

/// Turns that are counted.
const TURNS: usize = 640;

/// The one function inside which instructions are counted.
#[inline(never)]
fn measured(mut turn: impl FnMut(usize)) {
    (0..TURNS).for_each(&mut turn);
}

fn decide(shape: Shape, rules: usize) {
    let generation = Generation::compile(&workload::policies(shape, rules)).expect("compiles");
    let events = workload::events(rules);
    events.iter().for_each(|event| drop(generation.judge(event)));
    measured(|turn| {
        black_box(generation.judge(black_box(&events[turn % events.len()])));
    });
}

fn from_bytes(rules: usize) {
    let generation = Generation::compile(&workload::policies(Shape::Indexable, rules)).expect("compiles");
    let events = workload::events_json(rules);
    let judge = |turn: usize| {
        let bytes = black_box(events[turn % events.len()].as_bytes());
        black_box(generation.judge(&Event::decode(bytes, Origin::Event).expect("valid")))
    };
    (0..events.len()).for_each(|turn| drop(judge(turn)));
    measured(|turn| drop(judge(turn)));
}

/// Rules over ten memories of an agent; each event is judged and remembered.
fn memory(rules: usize) {
    let kinds = [
        ("count(intent where action == \"a1\" per agent.id within 1h)", 900),
        ("sum(intent.amount per agent.id within 24h)", 90_000_000),
        ("distinct(intent.action per agent.id within 1h)", 900),
        ("count(denied intent per agent.id within 10m)", 900),
        ("streak(intent where action == \"a1\" per agent.id)", 900),
    ];
    let mut text = String::from("policy bench {}\ndefault on intent allow\n");
    for rule in 0..rules {
        let (memory, threshold) = kinds[rule % kinds.len()];
        text.push_str(&format!("rule r{rule} on intent {{ when {memory} > {} warn }}\n", threshold + rule));
    }
    let set = lictor_dsl::check(vec![Source::new("bench", text)]).into_set().expect("clean");
    let generation = Generation::compile(&set).expect("compiles");
    let mut memories = Memories::new(&generation);
    let mut events = workload::events(100);
    let mut judge = |turn: usize| {
        let place = turn % events.len();
        let event = &mut events[place];
        event.set_at(1_767_225_600_000_000 + turn as i64 * 2_000_000);
        let decision = generation.judge_with(event, &memories, Engine::Jit);
        memories.remember(&generation, event, Fate::of(decision.decision), turn as u64, event.at());
    };
    (0..1_000).for_each(&mut judge);
    measured(|turn| judge(1_000 + turn));
}

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("decide_indexable") => decide(Shape::Indexable, 1_000),
        Some("decide_noindex") => decide(Shape::NoIndex, 1_000),
        Some("from_bytes") => from_bytes(1_000),
        Some("memory") => memory(100),
        // `cargo bench` runs every bench: this one says what it is.
        _ => println!("instructions: counted by `make bench-instructions`"),
    }
}
