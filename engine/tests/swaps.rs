//! Ten thousand changes of a set, each loaded, planned, compiled and put in force after the other: what is kept for the
//! next change does not grow with the changes before it.

#![allow(
    clippy::expect_used,
    unsafe_code,
    reason = "a test that can't go on should say so, and counting allocations needs an allocator"
)]

#[allow(dead_code, reason = "each test uses a part of it")]
#[path = "support/allocator.rs"]
mod allocator;

use std::fmt::Write;
use std::sync::Arc;

use allocator::held;
use lictor_dsl::{Library, Source};
use lictor_engine::decision::Outcome;
use lictor_engine::event::{Event, Origin};
use lictor_engine::plan::Planner;
use lictor_engine::{Active, Generation, live_modules};

const CHANGES: usize = 10_000;
const RULES: usize = 8;

/// A policy one of whose rules says something that no rule said before.
fn source(change: usize) -> Source {
    let mut text = String::from("policy p {}\ndefault on intent allow\n");
    for rule in 0..RULES {
        // Changes of this rule up to now.
        let number = (change + RULES - rule) / RULES;
        let condition = match (rule, number / 8) {
            // This one has another form now and then, so that code is compiled and let go.
            (0, form) if form % 2 == 1 => format!("amount > {number} or org == \"x{number}\""),
            (1, _) => format!("agent.tags has any [\"t{number}\"]"),
            (2, _) => format!("payload.m{number} == \"x\""),
            (3, _) => format!("payload.host endswith \".h{number}.example\""),
            _ => format!("action == \"a{rule}\" and amount > {number}"),
        };
        writeln!(text, "rule r{rule} on intent {{ when {condition} warn }}").expect("text");
    }
    writeln!(text, "rule last on intent {{ when action == \"last\" and amount == {change} deny }}")
        .expect("text");
    Source::new("p", text)
}

fn event(amount: usize) -> Event {
    let json = format!(
        "{{\"event\":\"intent\",\"at\":\"2026-01-01T00:00:00Z\",\"org\":\"o\",\"agent\":{{\"id\":\"a\",\"tags\":[]}},\"action\":\"last\",\"amount\":{amount},\"payload\":{{}}}}"
    );
    Event::decode(json.as_bytes(), Origin::Event).expect("valid")
}

#[test]
fn ten_thousand_swaps_leave_nothing_behind() {
    let (mut library, mut planner) = (Library::default(), Planner::default());
    let mut active: Option<Active> = None;
    // The most that was held in each thousand changes.
    let mut most = [0; CHANGES / 1_000];
    for change in 0..CHANGES {
        let set = library.load(vec![source(change)]).expect("clean");
        let generation = Arc::new(Generation::interpreted_by(&mut planner, &set).expect("plans"));
        drop(set);
        let active = active.get_or_insert_with(|| {
            Active::new(
                Generation::interpreted_by(&mut Planner::default(), &Default::default()).expect("plans"),
            )
        });
        generation.make_code(Some(&active.snapshot()));
        active.publish(generation);
        let decision = active.snapshot().judge(&event(change));
        assert_eq!(decision.decision, Outcome::Deny, "change {change}");
        assert!(live_modules() <= 8, "{} modules of code", live_modules());
        if let Some(most) = most.get_mut(change / 1_000) {
            *most = held().max(*most);
        }
    }
    let [_, second, .., last] = most;
    // Texts have more digits now.
    assert!(last < second + second / 20, "{most:?} bytes");
}
