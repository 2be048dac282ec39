//! Bounds, edits of policies, filling and taking back.

#![allow(clippy::expect_used, reason = "a test that can't go on should say so")]

use super::*;
use crate::decision::Outcome;
use crate::event::Origin;
use crate::generation::{Engine, Generation};

pub(super) fn compiled(rules: &str) -> Generation {
    let text = format!("policy p {{}}\ndefault on intent allow\n{rules}\n");
    let set = lictor_dsl::check(vec![lictor_dsl::Source::new("p", text)]).into_set().expect("clean");
    Generation::compile(&set).expect("compiles")
}

/// Minutes since some day began.
fn intent(agent: &str, minute: i64) -> Event {
    let json = format!(
        "{{\"event\":\"intent\",\"at\":\"2026-01-01T00:00:00Z\",\"org\":\"o\",\"agent\":{{\"id\":\"{agent}\"}},\"action\":\"refund\",\"amount\":5}}"
    );
    let mut event = Event::decode(json.as_bytes(), Origin::Event).expect("valid");
    event.set_at(event.at() + minute * 60_000_000);
    event
}

fn remember(memories: &mut Memories, generation: &Generation, agent: &str, minute: i64) {
    let event = intent(agent, minute);
    memories.remember(generation, &event, Fate::Happened, minute.unsigned_abs(), event.at());
}

fn outcome(memories: &Memories, generation: &Generation, agent: &str, minute: i64) -> Outcome {
    generation.judge_with(&intent(agent, minute), memories, Engine::Jit).decision
}

const TWICE: &str = "rule twice on intent { when count(intent per agent.id within 1h) >= 2 deny }";

#[test]
fn an_hour_is_an_hour() {
    let generation = compiled(TWICE);
    let mut memories = Memories::new(&generation);
    remember(&mut memories, &generation, "a", 0);
    remember(&mut memories, &generation, "a", 10);
    assert_eq!(outcome(&memories, &generation, "a", 59), Outcome::Deny);
    assert_eq!(outcome(&memories, &generation, "a", 60), Outcome::Allow, "what is an hour ago is outside");
    assert_eq!(outcome(&memories, &generation, "b", 20), Outcome::Allow);
}

/// The oldest key goes first, and what is asked of it from then on is unknown: a restriction applies to it alone.
#[test]
fn a_key_that_had_to_go_is_in_doubt() {
    let generation = compiled(TWICE);
    let mut memories = Memories::limited(&generation, MemoryLimits { keys: 10 });
    for agent in 0..11 {
        remember(&mut memories, &generation, &format!("agent-{agent}"), agent);
    }
    assert_eq!((memories.keys(), memories.take_lost()), (10, 1));
    assert_eq!(outcome(&memories, &generation, "agent-0", 20), Outcome::Deny);
    assert_eq!(outcome(&memories, &generation, "agent-1", 20), Outcome::Allow);
    assert_eq!(outcome(&memories, &generation, "somebody", 20), Outcome::Allow);
    let bytes = memories.to_bytes().expect("can be written");
    let restored = Memories::from_bytes(&bytes, &generation).expect("can be read");
    assert_eq!(outcome(&restored, &generation, "agent-0", 20), Outcome::Deny, "a restart forgets no doubt");
}

#[test]
fn keys_that_no_longer_matter_are_let_go() {
    let generation = compiled(TWICE);
    let mut memories = Memories::limited(&generation, MemoryLimits { keys: 10 });
    for agent in 0..1_000 {
        remember(&mut memories, &generation, &format!("agent-{agent}"), agent * 10);
    }
    assert_eq!((memories.keys(), memories.take_lost()), (7, 0), "an hour, to the minute");
}

/// A threshold, a message or another rule changes nothing; a larger ring has to be filled.
#[test]
fn what_means_the_same_is_kept() {
    let first = compiled("rule r on intent { when count(intent per agent.id within 1h) >= 5 deny }");
    let mut memories = Memories::new(&first);
    for minute in 0..3 {
        remember(&mut memories, &first, "a", minute);
    }
    let lower = compiled(
        "rule other on intent { when count(intent where amount > 1 per agent.id within 1h) >= 2 warn }\n\
         rule renamed on intent { when count(intent per agent.id within 30m) >= 3 deny because \"{agent.id}\" }",
    );
    let missing = memories.adopt(&lower);
    assert_eq!(missing.len(), 1, "{missing:?}");
    assert_eq!(missing.first().map(|missing| missing.rules.clone()), Some(vec!["p.other".into()]));
    assert_eq!(outcome(&memories, &lower, "a", 5), Outcome::Deny);
    let larger = compiled("rule r on intent { when count(intent per agent.id within 1h) >= 50 deny }");
    assert_eq!(memories.adopt(&larger).len(), 1);
}

/// What is kept of less can't be asked for more later: it was cut away.
#[test]
fn narrower_and_wider_again_is_filled_again() {
    let asked = |least: usize, window: &str| {
        compiled(&format!(
            "rule r on intent {{ when count(intent per agent.id within {window}) >= {least} deny }}"
        ))
    };
    for (wide, narrow) in [(asked(5, "1h"), asked(3, "1h")), (asked(5, "24h"), asked(5, "1h"))] {
        let mut memories = Memories::new(&wide);
        for minute in 0..4 {
            remember(&mut memories, &wide, "a", minute);
        }
        assert_eq!(memories.adopt(&narrow), []);
        for minute in 4..7 {
            remember(&mut memories, &narrow, "a", minute);
        }
        let bytes = memories.to_bytes().expect("can be written");
        let mut restored = Memories::from_bytes(&bytes, &narrow).expect("can be read");
        assert_eq!(restored.adopt(&wide).len(), 1);
        assert_eq!(memories.adopt(&wide).len(), 1, "seven in the hour, and three are kept");
    }
}

/// Doubt about a key ends when what was lost no longer matters.
#[test]
fn what_was_lost_long_ago_is_not_missed() {
    let generation = compiled(TWICE);
    let mut memories = Memories::limited(&generation, MemoryLimits { keys: 1 });
    remember(&mut memories, &generation, "a", 0);
    remember(&mut memories, &generation, "b", 1);
    assert_eq!(outcome(&memories, &generation, "a", 30), Outcome::Deny);
    remember(&mut memories, &generation, "b", 90);
    assert_eq!(outcome(&memories, &generation, "a", 90), Outcome::Allow);
}

/// The place of a memory that nobody asks any more may be given to another, also after a restart.
#[test]
fn what_nobody_asks_is_forgotten() {
    let both =
        compiled(&format!("{TWICE}\nrule sum on intent {{ when sum(intent.amount per agent.id) > 9 deny }}"));
    let mut memories = Memories::new(&both);
    remember(&mut memories, &both, "a", 0);
    remember(&mut memories, &both, "a", 1);
    let held = memories.bytes();
    let one = compiled(TWICE);
    memories.adopt(&one);
    remember(&mut memories, &one, "a", 2);
    assert!(memories.bytes() < held);
    memories.adopt(&both);
    remember(&mut memories, &both, "a", 3);
    memories.adopt(&one);
    let restored = memories.to_bytes().expect("can be written");
    let mut restored = Memories::from_bytes(&restored, &one).expect("can be read");
    let another =
        compiled(&format!("{TWICE}\nrule seen on intent {{ when seen(denied intent per agent.id) deny }}"));
    assert_eq!(restored.adopt(&another).len(), 1);
    let mut aside = restored.aside(&another);
    for minute in 0..4 {
        remember(&mut aside, &another, "a", minute);
    }
    restored.absorb(aside);
    let decision = another.judge_with(&intent("a", 100), &restored, Engine::Jit);
    assert_eq!(decision.rules, [], "nothing was denied, and the hour is over");
}

#[test]
fn a_new_memory_is_filled_before_its_rule_decides() {
    let empty = compiled("");
    let mut memories = Memories::new(&empty);
    for minute in 0..3 {
        remember(&mut memories, &empty, "a", minute);
    }
    let generation = compiled(TWICE);
    memories.adopt(&generation);
    let decision = generation.judge_with(&intent("a", 5), &memories, Engine::Jit);
    assert_eq!(decision.decision, Outcome::Allow);
    assert!(decision.rules.iter().all(|rule| rule.filling), "{:?}", decision.rules);
    let mut aside = memories.aside(&generation);
    for minute in 0..3 {
        remember(&mut aside, &generation, "a", minute);
    }
    memories.absorb(aside);
    assert_eq!(memories.missing(&generation), []);
    assert_eq!(outcome(&memories, &generation, "a", 5), Outcome::Deny);
}

#[test]
fn a_batch_that_fails_leaves_nothing() {
    let generation = compiled(TWICE);
    let mut memories = Memories::new(&generation);
    remember(&mut memories, &generation, "a", 0);
    let before = memories.to_bytes().expect("can be written");
    memories.begin();
    for minute in 1..200 {
        remember(&mut memories, &generation, "a", minute);
        remember(&mut memories, &generation, &format!("agent-{minute}"), minute);
    }
    memories.roll_back();
    assert_eq!(memories.to_bytes().expect("can be written"), before);
    memories.begin();
    remember(&mut memories, &generation, "a", 1);
    memories.commit();
    memories.roll_back();
    assert_eq!(outcome(&memories, &generation, "a", 2), Outcome::Deny, "what is committed stays");
}

/// What another policy set asks is not answered by memories that were not made for it.
#[test]
fn memories_of_another_set_answer_nothing() {
    let (one, other) = (compiled(TWICE), compiled(&TWICE.replace("twice", "again")));
    let memories = Memories::new(&one);
    assert_eq!(outcome(&memories, &one, "a", 0), Outcome::Allow);
    assert_eq!(outcome(&memories, &other, "a", 0), Outcome::Deny);
    assert_eq!(other.judge(&intent("a", 0)).class.name(), "undecided");
}

/// Of an erased event its kind, agent and outcome are known; what a condition asks of it is not, and so nothing that
/// rests on it is certain. Under a key that was erased nothing is remembered.
#[test]
fn an_erased_event_is_counted_where_nothing_is_asked_of_it() {
    let generation = compiled(
        "rule any on intent { when count(intent per agent.id within 1h) >= 2 warn }
         rule large on intent { when count(intent where amount > 1 per agent.id within 1h) >= 2 deny }
         rule same on intent { when count(intent per amount within 1h) >= 1 warn }",
    );
    let mut memories = Memories::new(&generation);
    let erase = |memories: &mut Memories, agent: &str, minute: i64| {
        let event = Event::erased(crate::event::Remains {
            kind: lictor_dsl::events::EventKind::Intent,
            org: "o",
            source: "test",
            agent,
            task: "",
            about: "refund",
            at_us: intent(agent, minute).at(),
        });
        memories.remember_erased(&generation, &event, Fate::Happened, minute.unsigned_abs(), event.at());
    };
    erase(&mut memories, "a", 0);
    assert_eq!(outcome(&memories, &generation, "a", 1), Outcome::Allow, "one is no two, whatever it was");
    erase(&mut memories, "a", 2);
    // Perhaps they were large: a restriction applies.
    assert_eq!(outcome(&memories, &generation, "a", 3), Outcome::Deny);
    assert_eq!(outcome(&memories, &generation, "b", 3), Outcome::Allow);
    let decision = generation.judge_with(&intent("a", 3), &memories, Engine::Interpreter);
    let truth = |rule: &str| decision.rules.iter().find(|one| &*one.rule == rule).map(|one| one.truth);
    use crate::decision::ReportedTruth;
    assert_eq!(truth("p.any"), Some(ReportedTruth::True));
    assert_eq!(truth("p.large"), Some(ReportedTruth::Unknown));
    assert_eq!(truth("p.same"), None, "the amounts are gone");
}
