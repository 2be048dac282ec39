//! One decision: machine code, interpreter and hand-written Rust side by side, at 10, 100 and 1,000 rules.
//!
//! Before anything is timed, all three are shown to agree on every event.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a bench that can't go on should say so"
)]

mod workload;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use lictor_engine::decision::Outcome;
use lictor_engine::event::{Event, Origin};
use lictor_engine::memory::Memories;
use lictor_engine::{Engine, Generation};
use workload::{ByHand, Shape};

fn decide(c: &mut Criterion) {
    for (name, shape) in Shape::ALL {
        let mut group = c.benchmark_group(format!("decide/{name}"));
        for rules in [10, 100, 1_000] {
            let generation = Generation::compile(&workload::policies(shape, rules)).expect("compiles");
            let (events, hand_events) = (workload::events(rules), workload::hand_events(rules));
            let hand = ByHand::new(shape, rules);
            let mut matched = Vec::new();
            for (event, hand_event) in events.iter().zip(&hand_events) {
                let decision = generation.judge(event);
                assert_eq!(decision, generation.judge_with(event, &Memories::default(), Engine::Interpreter));
                assert_eq!(decision.decision == Outcome::Allow, hand.judge(hand_event, &mut matched));
                let mut names: Vec<&str> = decision.rules.iter().map(|rule| &*rule.rule).collect();
                names.sort_unstable();
                matched.sort_unstable();
                assert_eq!(names, matched);
            }
            let mut next = 0;
            let mut turn = move || {
                next = (next + 1) % 64;
                next
            };
            group.bench_function(BenchmarkId::new("by_hand", rules), |b| {
                b.iter(|| black_box(hand.judge(black_box(&hand_events[turn()]), &mut matched)));
            });
            group.bench_function(BenchmarkId::new("machine_code", rules), |b| {
                b.iter(|| black_box(generation.judge(black_box(&events[turn()]))));
            });
            group.bench_function(BenchmarkId::new("interpreter", rules), |b| {
                b.iter(|| {
                    black_box(generation.judge_with(
                        black_box(&events[turn()]),
                        &Memories::default(),
                        Engine::Interpreter,
                    ))
                });
            });
        }
        group.finish();
    }
}

/// From the bytes of a request to the decision, next to what only parsing them costs with serde_json.
fn from_bytes(c: &mut Criterion) {
    let mut group = c.benchmark_group("from_bytes/indexable");
    for rules in [10, 1_000] {
        let generation = Generation::compile(&workload::policies(Shape::Indexable, rules)).expect("compiles");
        let events = workload::events_json(rules);
        let mut next = 0;
        let mut turn = move || {
            next = (next + 1) % 64;
            next
        };
        group.bench_function(BenchmarkId::new("serde_json_value_only", rules), |b| {
            b.iter(|| black_box(serde_json::from_str::<serde_json::Value>(black_box(&events[turn()]))));
        });
        group.bench_function(BenchmarkId::new("decode_only", rules), |b| {
            b.iter(|| black_box(Event::decode(black_box(events[turn()].as_bytes()), Origin::Event)));
        });
        group.bench_function(BenchmarkId::new("decode_and_judge", rules), |b| {
            b.iter(|| {
                let event =
                    Event::decode(black_box(events[turn()].as_bytes()), Origin::Event).expect("valid");
                black_box(generation.judge(&event))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, decide, from_bytes);
criterion_main!(benches);
