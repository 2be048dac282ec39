//! What one key of a memory takes on the heap is what the plan says, for every kind of memory.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    unsafe_code,
    reason = "a test that can't go on should say so, and counting bytes needs an allocator"
)]

#[allow(dead_code, reason = "each test uses a part of it")]
#[path = "support/allocator.rs"]
mod allocator;

use allocator::held;
use lictor_dsl::Source;
use lictor_engine::Generation;
use lictor_engine::event::{Event, Origin};
use lictor_engine::memory::{Fate, Memories};

const KEYS: usize = 400;

fn intent(number: usize, key: usize) -> Event {
    let json = format!(
        "{{\"event\":\"intent\",\"at\":\"2026-01-01T00:00:00Z\",\"org\":\"o\",\"agent\":{{\"id\":\"agent-{key}\"}},\"action\":\"a{}\"{}}}",
        number % 24,
        if number.is_multiple_of(2) { ",\"amount\":7" } else { "" }
    );
    Event::decode(json.as_bytes(), Origin::Event).expect("valid")
}

/// Memories of every kind, the condition that asks them, and how many events fill one key.
const CASES: [(&str, usize); 11] = [
    ("seen(intent where amount > 5)", 2),
    ("count(intent within 1h) >= 20", 30),
    ("count(intent where amount > 5 within 1h) >= 20", 60),
    ("distinct(intent.action within 1h) >= 10", 20),
    ("sum(intent.amount within 1h) > 5", 80),
    ("sum(intent.amount) > 5", 3),
    ("streak(intent where action == \"x\") > 3", 3),
    (
        "sequence(intent where action == \"a0\" then intent where action == \"a1\" then intent where action == \"a2\") and amount > 1",
        9,
    ),
    ("seen(intent where action == \"a0\" since intent where action == \"a1\")", 3),
    ("count(intent within 20 events) > 3", 30),
    ("last(intent.amount) > 3", 2),
];

#[test]
fn a_key_takes_what_the_plan_says() {
    // The first event ever makes the tables that all of them are read with.
    Event::decode(b"{}", Origin::Event).expect_err("no event");
    let mut faults = Vec::new();
    for (condition, events) in CASES {
        let text = format!("policy p {{}}\nrule r on intent {{ when {condition} warn }}");
        let set = lictor_dsl::check(vec![Source::new("p", text)]).into_set().expect("clean");
        let generation = Generation::compile(&set).expect("compiles");
        let promised =
            generation.plan().to_json()["memories"][0]["bytes_per_key"].as_u64().expect("a number");
        let mut memories = Memories::new(&generation);
        // What the machinery itself holds does not count: the first key on a thread makes room for those known again.
        Memories::new(&generation).remember(&generation, &intent(0, 0), Fate::Happened, 0, 0);
        let before = held();
        for number in 0..events {
            for key in 0..KEYS {
                let event = intent(number, key);
                let at = 1_767_225_600_000_000 + number as i64 * 45_000_000;
                memories.remember(&generation, &event, Fate::Happened, (number * KEYS + key) as u64, at);
            }
        }
        let taken = (held() - before) as u64 / KEYS as u64;
        println!("{condition}: {taken} bytes a key, of {promised} that the plan says");
        if taken > promised || taken * 4 < promised {
            faults.push(format!("{condition}: {taken} bytes a key, but the plan says {promised}"));
        }
        let reported = memories.bytes() as u64 / KEYS as u64;
        if reported * 2 < taken || reported > taken * 2 {
            faults.push(format!("{condition}: {taken} bytes a key, but {reported} are reported"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// What `check` says of a memory in steps is what the plan says.
#[test]
fn check_and_plan_say_the_same() {
    let text = "policy p {}\nrule r on intent { when sum(intent.amount within 1h) > 5 warn }";
    let checked = lictor_dsl::check(vec![Source::new("p", text)]);
    let note = checked.diagnostics.iter().find(|found| found.code == "L0506").expect("a note");
    let generation = Generation::compile(&checked.set).expect("compiles");
    let bytes = generation.plan().to_json()["memories"][0]["bytes_per_key"].as_u64().expect("a number");
    assert!(note.message.contains(&format!("up to {bytes} bytes")), "{} of {bytes}", note.message);
}
