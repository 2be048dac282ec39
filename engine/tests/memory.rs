//! Memories and the full history agree on every event, under machine code and under the interpreter.
//!
//! Each event is judged four times. `LICTOR_FUZZ` multiplies the number of cases (`make fuzz` sets it to 10); a failing
//! case prints its policy and the events up to the one that differs.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that can't go on should say so"
)]

#[allow(dead_code, reason = "each test uses a part of the generators")]
mod support;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lictor_dsl::events::EventKind;
use lictor_engine::decision::{Decision, Outcome};
use lictor_engine::event::{Event, Origin};
use lictor_engine::memory::history::History;
use lictor_engine::memory::{Fate, Memories};
use lictor_engine::{Engine, Generation};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestError, TestRunner};
use support::{Choices, checked, memory};

/// In CI: 4 tests of 750 policies with 100 events each.
const POLICIES: u32 = 750;
const EVENTS: usize = 100;

fn cases() -> u32 {
    POLICIES * support::factor()
}

/// What was seen, so that a test can't pass by judging nothing of interest.
#[derive(Default)]
struct Seen {
    events: AtomicUsize,
    certain: AtomicUsize,
    unknown: AtomicUsize,
    approved: AtomicUsize,
    filled: AtomicUsize,
}

/// The same rules with shorter windows and lower thresholds: they share memories with the others, and keep less.
fn narrower(text: &str) -> String {
    text.replace("within 1h", "within 10m")
        .replace("within 20 events", "within 3 events")
        .replace(">= 3", ">= 1")
}

/// A history knows no witnesses.
fn plain(mut decision: Decision) -> Decision {
    decision.incidents.iter_mut().for_each(|incident| incident.witnesses.clear());
    decision
}

fn follow(text: &str, choices: &[Vec<u16>], seen: &Seen) -> Result<(), TestCaseError> {
    let generation =
        Generation::compile(&checked(text)).map_err(|error| TestCaseError::fail(format!("{error:?}")))?;
    let bounds = EventKind::ALL.map(|kind| generation.plan().bounds(kind));
    let mut memories = Memories::new(&generation);
    let mut history = History::default();
    let mut waiting: HashMap<u64, Arc<Event>> = HashMap::new();
    let mut told = Vec::new();
    let mut minute = 600;
    let narrower = Generation::compile(&checked(&narrower(text)))
        .map_err(|error| TestCaseError::fail(format!("{error:?}")))?;
    let mut ledger: Vec<(Arc<Event>, Fate, u64, i64)> = Vec::new();
    for (number, choices) in (1u64..).zip(choices) {
        let mut choices = Choices::new(choices);
        let json = memory::event(&mut choices, &mut minute);
        let event = match Event::decode(json.as_bytes(), Origin::Event) {
            Ok(event) => Arc::new(event),
            Err(error) => return Err(TestCaseError::fail(format!("{:?} in {json}", error.errors))),
        };
        told.push(json);
        let (folded, cost) = generation.judge_counted(&event, &memories);
        let folded = plain(folded);
        prop_assert_eq!(
            cost.beyond(&bounds[event.kind() as usize]),
            None,
            "policy:\n{}\nevents:\n{}",
            text,
            told.join("\n")
        );
        let others = [
            ("memories, interpreter", plain(generation.judge_with(&event, &memories, Engine::Interpreter))),
            ("history, machine code", plain(generation.judge_by_history(&event, &history, Engine::Jit))),
            (
                "history, interpreter",
                plain(generation.judge_by_history(&event, &history, Engine::Interpreter)),
            ),
        ];
        for (by, other) in others {
            prop_assert_eq!(&folded, &other, "by {}, policy:\n{}\nevents:\n{}", by, text, told.join("\n"));
        }
        let word = |unknown: bool| folded.rules.iter().any(|rule| rule.missing.is_empty() != unknown);
        seen.events.fetch_add(1, Ordering::Relaxed);
        seen.certain.fetch_add(usize::from(word(false)), Ordering::Relaxed);
        seen.unknown.fetch_add(usize::from(word(true)), Ordering::Relaxed);
        // After a restart the memories are those of the snapshot.
        if choices.chance(5) {
            let bytes = memories.to_bytes().expect("memories can be written");
            memories = Memories::from_bytes(&bytes, &generation).expect("and read");
        }
        // A batch that fails is as if it had never been.
        memories.begin();
        memories.remember(&generation, &event, Fate::Happened, number, event.at());
        if choices.chance(30) {
            memories.remember(&generation, &event, Fate::Denied, number, event.at());
        }
        memories.roll_back();
        let fate = Fate::of(folded.decision);
        // Somebody asks for less for the time of one event; what was cut away is filled again from the ledger.
        let edited = choices.chance(5);
        if edited {
            memories.adopt(&narrower);
        }
        memories.remember(if edited { &narrower } else { &generation }, &event, fate, number, event.at());
        ledger.push((Arc::clone(&event), fate, number, event.at()));
        if edited && !memories.adopt(&generation).is_empty() {
            let mut aside = memories.aside(&generation);
            for (event, fate, number, at) in &ledger {
                aside.remember(&generation, event, *fate, *number, *at);
            }
            memories.absorb(aside);
            seen.filled.fetch_add(1, Ordering::Relaxed);
        }
        history.remember(&generation, Arc::clone(&event), fate, number, event.at());
        let now = event.at();
        if folded.decision == Outcome::RequireApproval {
            waiting.insert(number, event);
        }
        let oldest = waiting.keys().min().copied().filter(|_| choices.chance(40));
        if let Some((number, event)) = oldest.and_then(|number| waiting.remove_entry(&number)) {
            told.push(format!("{{\"approve\":{number}}}"));
            memories.remember(&generation, &event, Fate::Approved, number, now);
            ledger.push((Arc::clone(&event), Fate::Approved, number, now));
            history.remember(&generation, event, Fate::Approved, number, now);
            seen.approved.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(())
}

fn differential(seed: u64) {
    let seen = Seen::default();
    let config = Config {
        cases: cases(),
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        ..Config::default()
    };
    let policies = prop::collection::vec(any::<u16>(), 60..400);
    let events = prop::collection::vec(prop::collection::vec(any::<u16>(), 20..21), EVENTS);
    let result = TestRunner::new(config).run(&(policies, events), |(policy, events)| {
        follow(&memory::policy(&mut Choices::new(&policy)), &events, &seen)
    });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(reason, _)) => panic!("seed {seed}: {reason}"),
        Err(error) => panic!("seed {seed}: {error}"),
    }
    let (events, certain, unknown, approved, filled) = (
        seen.events.into_inner(),
        seen.certain.into_inner(),
        seen.unknown.into_inner(),
        seen.approved.into_inner(),
        seen.filled.into_inner(),
    );
    println!(
        "seed {seed}: {} policies, {events} events judged four ways, {certain} with a certain rule, {unknown} with an unknown one, {approved} approved, {filled} fills",
        cases()
    );
    assert!(events >= cases() as usize * EVENTS);
    assert!(
        certain * 4 > events && unknown * 5 > events && approved * 50 > events && filled * 100 > events,
        "too few events reach a rule"
    );
}

#[test]
fn memories_agree_with_the_history_1() {
    differential(11);
}

#[test]
fn memories_agree_with_the_history_2() {
    differential(12);
}

#[test]
fn memories_agree_with_the_history_3() {
    differential(13);
}

#[test]
fn memories_agree_with_the_history_4() {
    differential(14);
}
