//! One decision: machine code, interpreter and hand-written Rust side by side, at 10, 100 and 1,000 rules; and a drawing
//! of that, up to 10,000, in `docs/images/decide.svg`.
//!
//! Before anything is timed, all three are shown to agree on every event.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a bench that can't go on should say so"
)]

mod drawing;
mod workload;

use std::hint::black_box;
use std::time::Instant;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use drawing::{Drawing, Line, Plot};
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

/// The numbers of rules that are drawn.
const DRAWN: [usize; 4] = [10, 100, 1_000, 10_000];
/// Who takes turns, in the order of the drawing.
const SIDES: [&str; 3] = ["by hand", "Lictor", "interpreted"];
const ROUNDS: usize = 15;

/// Nanoseconds for one decision of each side: medians of rounds in which they take turns.
fn in_turns(shape: Shape, rules: usize) -> [f64; 3] {
    let generation = Generation::compile(&workload::policies(shape, rules)).expect("compiles");
    let (events, hand_events) = (workload::events(rules), workload::hand_events(rules));
    let hand = ByHand::new(shape, rules);
    let mut matched = Vec::new();
    let none = Memories::default();
    let mut rounds: [Vec<f64>; 3] = Default::default();
    for _ in 0..ROUNDS {
        for (side, times) in rounds.iter_mut().enumerate() {
            // The interpreter walks all rules, and is slow enough to be timed by a few.
            let repeats = if side == 2 { 1 } else { 20 };
            let started = Instant::now();
            for _ in 0..repeats {
                for (event, hand_event) in events.iter().zip(&hand_events) {
                    match side {
                        0 => drop(black_box(hand.judge(black_box(hand_event), &mut matched))),
                        1 => drop(black_box(generation.judge(black_box(event)))),
                        _ => drop(black_box(generation.judge_with(event, &none, Engine::Interpreter))),
                    }
                }
            }
            times.push(started.elapsed().as_nanos() as f64 / (repeats * events.len()) as f64);
        }
    }
    rounds.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[ROUNDS / 2]
    })
}

fn draw(_: &mut Criterion) {
    if !drawing::is_wanted() {
        return;
    }
    let plot = |(name, shape)| {
        let times = DRAWN.map(|rules| in_turns(shape, rules));
        let line = |number: usize| {
            let points = DRAWN.into_iter().zip(&times).map(|(rules, of)| (rules, of[number])).collect();
            Line { name: SIDES[number], number, points }
        };
        Plot { name, lines: (0..SIDES.len()).map(line).collect() }
    };
    let title = "What one decision costs with 10 to 10,000 rules: Lictor, its interpreter, and Rust by hand";
    let plots = Shape::ALL.into_iter().map(plot).collect();
    drawing::publish("decide.svg", &Drawing { title, across: "rules", plots });
}

criterion_group!(benches, decide, from_bytes, draw);
criterion_main!(benches);
