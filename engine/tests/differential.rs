//! Interpreter and machine code agree on every event, whatever the policy.
//!
//! `LICTOR_FUZZ` multiplies the number of cases (`make fuzz` sets it to 10); a failing case prints its policy and event.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that can't go on should say so"
)]

#[allow(dead_code, reason = "each test uses a part of the generators")]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lictor_dsl::Source;
use lictor_dsl::events::EventKind;
use lictor_engine::event::{Event, Origin};
use lictor_engine::memory::Memories;
use lictor_engine::{Engine, Generation, live_modules};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestError, TestRunner};
use support::{Choices, checked};

/// In CI: 4 tests of 500 policies with 100 events each.
const POLICIES: u32 = 500;
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
}

fn compare(
    generation: &Generation,
    text: &str,
    events: &[Vec<u16>],
    seen: &Seen,
) -> Result<(), TestCaseError> {
    let bounds = EventKind::ALL.map(|kind| generation.plan().bounds(kind));
    for choices in events {
        let json = support::event(&mut Choices::new(choices));
        let event = match Event::decode(json.as_bytes(), Origin::Event) {
            Ok(event) => event,
            Err(error) => return Err(TestCaseError::fail(format!("{:?} in {json}", error.errors))),
        };
        let (code, cost) = generation.judge_counted(&event, &Memories::default());
        let walked = generation.judge_with(&event, &Memories::default(), Engine::Interpreter);
        prop_assert_eq!(&code, &walked, "policy:\n{}\nevent: {}", text, json);
        prop_assert_eq!(
            cost.beyond(&bounds[event.kind() as usize]),
            None,
            "policy:\n{}\nevent: {}",
            text,
            json
        );
        let word = |unknown: bool| code.rules.iter().any(|rule| rule.missing.is_empty() != unknown);
        seen.events.fetch_add(1, Ordering::Relaxed);
        seen.certain.fetch_add(usize::from(word(false)), Ordering::Relaxed);
        seen.unknown.fetch_add(usize::from(word(true)), Ordering::Relaxed);
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
    let policies = prop::collection::vec(any::<u16>(), 100..700);
    let events = prop::collection::vec(prop::collection::vec(any::<u16>(), 40..160), EVENTS);
    let result = TestRunner::new(config).run(&(policies, events), |(policy, events)| {
        let text = support::policy(&mut Choices::new(&policy));
        let generation = Generation::compile(&checked(&text))
            .map_err(|error| TestCaseError::fail(format!("{error:?}")))?;
        compare(&generation, &text, &events, &seen)
    });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(reason, (policy, _))) => {
            panic!("seed {seed}: {reason}\nshrunk to\n{}", support::policy(&mut Choices::new(&policy)))
        }
        Err(error) => panic!("seed {seed}: {error}"),
    }
    let (events, certain, unknown) =
        (seen.events.into_inner(), seen.certain.into_inner(), seen.unknown.into_inner());
    println!(
        "seed {seed}: {} policies, {events} events judged two ways, {certain} with a certain rule, {unknown} with an unknown one",
        cases()
    );
    assert!(events >= cases() as usize * EVENTS);
    assert!(certain * 4 > events && unknown * 5 > events, "too few events reach a rule");
}

#[test]
fn engines_agree_1() {
    differential(1);
}

#[test]
fn engines_agree_2() {
    differential(2);
}

#[test]
fn engines_agree_3() {
    differential(3);
}

#[test]
fn engines_agree_4() {
    differential(4);
}

proptest! {
    #![proptest_config(Config { cases: 200, failure_persistence: None, ..Config::default() })]

    /// The order of rules never matters, and a rule that stands twice is a rule.
    #[test]
    fn order_never_matters(policy in prop::collection::vec(any::<u16>(), 0..400), events in prop::collection::vec(prop::collection::vec(any::<u16>(), 40..160), 20)) {
        let text = support::policy(&mut Choices::new(&policy));
        let set = checked(&text);
        let mut reversed = set.clone();
        Arc::make_mut(&mut reversed.policies[0]).rules.reverse();
        let (one, other) = (Generation::compile(&set).expect("compiles"), Generation::compile(&reversed).expect("compiles"));
        for choices in &events {
            let event = Event::decode(support::event(&mut Choices::new(choices)).as_bytes(), Origin::Event).expect("valid");
            prop_assert_eq!(one.judge(&event), other.judge(&event));
        }
    }

    /// A deny that certainly applies wins over everything, and adding it never lets anything through.
    #[test]
    fn deny_wins(policy in prop::collection::vec(any::<u16>(), 0..400), events in prop::collection::vec(prop::collection::vec(any::<u16>(), 40..160), 20)) {
        let text = format!("{}\nrule no on intent, action {{ when org == \"o\" deny because \"no\" }}", support::policy(&mut Choices::new(&policy)));
        let generation = Generation::compile(&checked(&text)).expect("compiles");
        for choices in &events {
            let event = Event::decode(support::event(&mut Choices::new(choices)).as_bytes(), Origin::Event).expect("valid");
            let decision = generation.judge(&event);
            prop_assert_eq!(decision.decision.name(), "deny");
            prop_assert_eq!(decision.class.name(), "denied_by_rule");
        }
    }
}

/// A policy in shadow decides nothing: its exemptions loosen nothing either.
#[test]
fn an_exemption_in_shadow_loosens_nothing() {
    let enforced = "policy a {}\nrule no on intent { when org == \"o\" deny }";
    let shadow = "policy b { mode = \"shadow\" }\nexempt a.no for agent.id == \"a\" until 2030-01-01 because \"trial\"";
    let sources = vec![Source::new("a", enforced), Source::new("b", shadow)];
    let generation =
        Generation::compile(&lictor_dsl::check(sources).into_set().expect("clean")).expect("compiles");
    let json = br#"{"event":"intent","at":"2026-01-01T00:00:00Z","org":"o","agent":{"id":"a"},"action":"x"}"#;
    let decision = generation.judge(&Event::decode(json, Origin::Event).expect("valid"));
    assert_eq!(decision.decision.name(), "deny");
}

/// Before there is machine code, or where there can't be any, the interpreter answers.
#[test]
fn without_machine_code_the_interpreter_answers() {
    let set = checked("policy p {}\nrule r on intent { when amount > 10 deny }");
    let (interpreted, compiled) =
        (Generation::interpreted(&set).expect("plans"), Generation::compile(&set).expect("compiles"));
    assert!(interpreted.no_code().is_some() && compiled.no_code().is_none());
    let json = br#"{"event":"intent","at":"2026-01-01T00:00:00Z","org":"o","agent":{"id":"a"},"action":"x","amount":11}"#;
    let event = Event::decode(json, Origin::Event).expect("valid");
    assert_eq!(interpreted.judge(&event), compiled.judge(&event));
}

/// Machine code is freed with the last generation that uses it, and shared by generations that mean the same.
#[test]
fn code_is_shared_and_freed() {
    let set = |number: usize| {
        let rules: String = (0..10)
            .map(|rule| format!("rule r{rule} on intent {{ when amount > {} deny }}\n", number * 100 + rule))
            .collect();
        checked(&format!("policy p {{}}\n{rules}"))
    };
    let before = live_modules();
    let first = Generation::compile(&set(1)).expect("compiles");
    let again = Generation::replacing(&set(1), Some(&first)).expect("compiles");
    assert_eq!(live_modules(), before + 1, "the same meaning shares its code");
    drop(first);
    assert_eq!(live_modules(), before + 1, "still used");
    let mut current = again;
    for number in 0..500 {
        current = Generation::replacing(&set(number), Some(&current)).expect("compiles");
    }
    assert_eq!(live_modules(), before + 1, "what no generation uses is freed");
    drop(current);
    assert_eq!(live_modules(), before);
}

/// Machine code joins a generation that judges already. Rules of one form share it, whatever they compare with.
#[test]
fn code_joins_later_and_is_shared_by_form() {
    let set = |rules: usize, add: usize| {
        let rule = |rule: usize| {
            let amount = rule * 10 + add;
            format!("rule r{rule} on intent {{ when action == \"a{rule}\" and amount > {amount} deny }}\n")
        };
        checked(&format!("policy p {{}}\n{}", (0..rules).map(rule).collect::<String>()))
    };
    let before = live_modules();
    let first = Generation::compile(&set(200, 0)).expect("compiles");
    assert_eq!(live_modules(), before + 1, "all rules are of one form");
    let next = Generation::interpreted(&set(300, 7)).expect("plans");
    let event = |number: usize, amount: usize| {
        let json = format!(
            r#"{{"event":"intent","at":"2026-01-01T00:00:00Z","org":"o","agent":{{"id":"a"}},"action":"a{number}","amount":{amount}}}"#
        );
        Event::decode(json.as_bytes(), Origin::Event).expect("valid")
    };
    let events: Vec<Event> = (0..300).flat_map(|n| [event(n, n * 10 + 7), event(n, n * 10 + 8)]).collect();
    let interpreted: Vec<_> = events.iter().map(|event| next.judge(event)).collect();
    assert!(next.no_code().is_some());
    next.make_code(Some(&first));
    assert!(next.no_code().is_none());
    assert_eq!(live_modules(), before + 1, "another amount is no other form");
    let compiled: Vec<_> = events.iter().map(|event| next.judge(event)).collect();
    assert_eq!(interpreted, compiled);
    assert_eq!(compiled.iter().filter(|decision| decision.class.name() == "denied_by_rule").count(), 300);
    drop(first);
    drop(next);
    assert_eq!(live_modules(), before);
}
