//! What a decision takes from the heap: nothing where no rule matches, however many rules there are.

#![allow(
    clippy::expect_used,
    unsafe_code,
    reason = "a test that can't go on should say so, and counting allocations needs an allocator"
)]

#[allow(dead_code, reason = "each test uses a part of it")]
#[path = "support/allocator.rs"]
mod allocator;

use std::fmt::Write;

use allocator::count;
use lictor_dsl::Source;
use lictor_engine::Generation;
use lictor_engine::decision::Outcome;
use lictor_engine::event::{Event, Origin};

fn allocations<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = count();
    let result = work();
    (result, count() - before)
}

fn generation(rules: usize) -> Generation {
    let mut text = String::from("policy p {}\ndefault on intent allow\n");
    for rule in 0..rules {
        writeln!(
            text,
            "rule r{rule} on intent {{ when action == \"a{}\" and payload.host endswith \".h{rule}.example\" and amount > {rule} deny }}",
            rule % 50
        )
        .expect("text");
    }
    let set = lictor_dsl::check(vec![Source::new("p", text)]).into_set().expect("clean");
    Generation::compile(&set).expect("compiles")
}

fn event(host: &str) -> Event {
    let json = format!(
        "{{\"event\":\"intent\",\"at\":\"2026-01-01T00:00:00Z\",\"org\":\"o\",\"agent\":{{\"id\":\"a\",\"tags\":[\"x\",\"y\"]}},\"action\":\"a7\",\"amount\":2000,\"payload\":{{\"host\":\"{host}\"}}}}"
    );
    Event::decode(json.as_bytes(), Origin::Event).expect("valid")
}

#[test]
fn where_no_rule_matches_nothing_is_allocated() {
    for rules in [10, 1_000] {
        let (generation, event) = (generation(rules), event("api.other.example"));
        // The first decision of a thread makes room; the first look into a payload reads it.
        generation.judge(&event);
        let (decision, count) = allocations(|| generation.judge(&event));
        assert_eq!((decision.decision, decision.rules.len()), (Outcome::Allow, 0));
        assert_eq!(count, 0, "{rules} rules");
    }
}

#[test]
fn a_match_costs_its_report_whatever_the_rules() {
    let taken = |rules| {
        let (generation, event) = (generation(rules), event("api.h7.example"));
        generation.judge(&event);
        let (decision, count) = allocations(|| generation.judge(&event));
        assert_eq!((decision.decision, decision.rules.len()), (Outcome::Deny, 1));
        count
    };
    let few = taken(10);
    assert!(few <= 4, "{few} allocations");
    assert_eq!(taken(1_000), few);
}
