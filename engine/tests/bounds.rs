//! What judging costs stays below what the plan says, whatever rules and events are made up against it.
//!
//! Counts, not times: they are the same on every machine. `LICTOR_FUZZ` makes the largest set go through machine code.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a test that can't go on should say so"
)]

#[allow(dead_code, reason = "each test uses a part of the generators")]
mod support;

use std::fmt::Write;
use std::sync::Arc;

use lictor_dsl::Source;
use lictor_dsl::hir::{self, Const, Expr, ExprKind, PolicySet};
use lictor_dsl::number::Number;
use lictor_engine::event::{Event, Origin};
use lictor_engine::memory::{Fate, Memories};
use lictor_engine::{Cost, Engine, Generation};

fn checked(rules: impl IntoIterator<Item = String>) -> PolicySet {
    let mut text = String::from("policy p {}\ndefault on intent allow\n");
    for (number, rule) in rules.into_iter().enumerate() {
        writeln!(text, "rule r{number} on intent {{ when {rule} }}").expect("strings take writes");
    }
    let checked = lictor_dsl::check(vec![Source::new("p", text)]);
    assert!(!checked.has_errors(), "{:#?}", checked.reports());
    checked.set
}

fn compiled(rules: impl IntoIterator<Item = String>) -> Generation {
    Generation::compile(&checked(rules)).expect("compiles")
}

/// An intent with these members besides.
fn intent(agent: &str, members: &str) -> Event {
    let json = format!(
        r#"{{"event":"intent","at":"2026-01-01T00:00:00Z","org":"o","agent":{{"id":"a"{agent}}}{members}}}"#
    );
    Event::decode(json.as_bytes(), Origin::Event).unwrap_or_else(|error| panic!("{error:?}"))
}

/// Judges an event, and holds what that cost against what the plan says.
fn cost(generation: &Generation, memories: &Memories, event: &Event) -> Cost {
    let (decision, cost) = generation.judge_counted(event, memories);
    assert_ne!(decision.class.name(), "invalid_input");
    let bounds = generation.plan().bounds(event.kind());
    assert_eq!(cost.beyond(&bounds), None, "{cost:?} of {bounds:?}");
    cost
}

fn alone(generation: &Generation, event: &Event) -> Cost {
    cost(generation, &Memories::default(), event)
}

#[test]
fn rules_without_an_index_are_looked_at_once_each() {
    let generation = compiled((0..300).map(|n| format!("amount > {n} and agent.trust < 0.{n:03} deny")));
    let bounds = generation.plan().bounds(lictor_dsl::events::EventKind::Intent);
    for (amount, trust) in [(0, "0"), (1_000, "0"), (150, "0.15"), (1_000, "1")] {
        let event = intent(&format!(",\"trust\":{trust}"), &format!(",\"action\":\"x\",\"amount\":{amount}"));
        let cost = alone(&generation, &event);
        assert_eq!((cost.rules, cost.predicates, cost.steps), (300, 0, 0));
    }
    assert_eq!((bounds.rules, bounds.predicates, bounds.found), (300, 0, 0));
}

/// An event that has everything that any rule looks for.
#[test]
fn an_event_that_hits_every_entry_finds_every_rule_once() {
    let tags = (0..120).map(|n| format!("agent.tags has any [\"t{n}\", \"t{}\"] warn", (n + 1) % 120));
    let pieces = (0..120).map(|n| format!("payload.text contains \"piece{n:03}\" warn"));
    let texts = (0..120).map(|n| format!("action in [\"a\", \"b{n}\"] warn"));
    let generation = compiled(tags.chain(pieces).chain(texts));
    let agent: Vec<String> = (0..120).map(|n| format!("\"t{n}\"")).collect();
    let text: String = (0..120).map(|n| format!("piece{n:03} ")).collect();
    let all = alone(
        &generation,
        &intent(
            &format!(",\"tags\":[{}]", agent.join(",")),
            &format!(",\"action\":\"a\",\"payload\":{{\"text\":\"{text}\"}}"),
        ),
    );
    let none = alone(&generation, &intent("", ",\"action\":\"x\",\"payload\":{\"text\":\"none\"}"));
    println!("{all:?}\n{none:?}");
    assert_eq!((all.rules, all.found, all.searched), (360, 120, text.len() as u64));
    assert_eq!((none.rules, none.found, none.predicates), (0, 0, 0));
    let bounds = generation.plan().bounds(lictor_dsl::events::EventKind::Intent);
    assert_eq!(bounds.rules, 360);
    // The texts of one field exclude each other, so that only those of one value count.
    let apart = compiled((0..120).map(|n| format!("action == \"b{}\" warn", n % 40)));
    assert_eq!(apart.plan().bounds(lictor_dsl::events::EventKind::Intent).rules, 3);
}

/// Nothing that one rule finds out helps another.
#[test]
fn rules_that_share_nothing_cost_what_each_costs() {
    let numbers = (0..200).map(|n| format!("payload.n{n} * 2 > {n} and amount? > {n} warn"));
    let texts = (0..200).map(|n| format!("payload.t{n} contains \"needle{n}\" warn"));
    let asked = (0..200).map(|n| {
        format!(
            "count(intent where action == \"a{n}\" and amount > {n} per agent.id within {}m) > 3 warn",
            n + 1
        )
    });
    let keys = (0..50).map(|n| format!("seen(intent where amount > {n} per payload.k{n} within 1h) warn"));
    let generation = compiled(numbers.chain(texts).chain(asked).chain(keys));
    let mut members = String::new();
    for n in 0..200 {
        write!(members, "\"n{n}\":{},\"t{n}\":\"{}needle{n}\",\"k{n}\":\"{n}\",", n + 1, "x".repeat(200))
            .expect("strings take writes");
    }
    let mut memories = Memories::new(&generation);
    for (number, payload) in ["{}", members.as_str()].into_iter().enumerate() {
        let payload = if payload == "{}" { payload.to_owned() } else { format!("{{{}\"z\":1}}", payload) };
        let event = intent("", &format!(",\"action\":\"a1\",\"amount\":250,\"payload\":{payload}"));
        let cost = cost(&generation, &memories, &event);
        println!("{cost:?}\nof {:?}", generation.plan().bounds(event.kind()));
        assert_eq!((cost.rules, cost.predicates), (650, 400), "each predicate once");
        assert!(cost.questions <= 250, "each question once");
        memories.remember(&generation, &event, Fate::Happened, number as u64 + 1, event.at());
    }
}

/// The same counts whatever else there is, where a text tells rules apart.
#[test]
fn rules_that_an_index_finds_cost_the_same_among_many() {
    let set = |rules: usize| many(rules, 8);
    let event = intent(
        ",\"tags\":[\"x\",\"y\"]",
        ",\"action\":\"a00001\",\"amount\":1000000,\"payload\":{\"host\":\"api.h00001.example\"}",
    );
    let mut counts = Vec::new();
    for rules in [100, 1_000, 10_000] {
        let generation = Generation::interpreted(&set(rules)).expect("plans");
        let bounds = generation.plan().bounds(event.kind());
        assert_eq!(bounds.rules, 8, "{bounds:?}");
        counts.push((generation.find_counted(&event), bounds));
    }
    assert!(counts.iter().all(|count| *count == counts[0]), "{counts:#?}");
    let (few, more) = (compiled_of(&set(100)), compiled_of(&set(1_000)));
    let (few, more) = (alone(&few, &event), alone(&more, &event));
    assert_eq!(few, more);
    assert_eq!((few.rules, few.predicates), (8, 1));
}

fn compiled_of(set: &PolicySet) -> Generation {
    Generation::compile(set).expect("compiles")
}

/// Rules that each look for an action, so many for one action, a thousand to a policy. Checking so many as text is
/// tried elsewhere: here one is checked, and the others are made of it.
fn many(rules: usize, of_an_action: usize) -> PolicySet {
    let rule = "action == \"a\" and amount > 7 and payload.host endswith \".bank\" and agent.tags has any [\"x\"] warn";
    let mut set = checked([rule.to_owned()]);
    let policy = set.policies.pop().expect("a policy");
    let like = policy.rules.first().expect("a rule");
    for first in (0..rules).step_by(1_000) {
        let mut own = hir::Policy::clone(&policy);
        own.name = format!("p{first}");
        own.rules.clear();
        for number in first..rules.min(first + 1_000) {
            let mut rule = hir::Rule::clone(like);
            rule.name = format!("r{number}");
            rule.condition.each_mut(&mut |expr: &mut Expr| match &mut expr.kind {
                ExprKind::Const(Const::Text(text)) if text == "a" => {
                    *text = format!("a{:05}", number / of_an_action);
                }
                ExprKind::Const(Const::Number(amount)) => *amount = Number::whole(number as i64),
                ExprKind::Const(Const::Text(text)) if text == ".bank" => {
                    *text = format!(".h{:05}.example", number / of_an_action);
                }
                _ => {}
            });
            own.rules.push(Arc::new(rule));
        }
        set.policies.push(Arc::new(own));
    }
    set
}

/// A hundred thousand rules.
#[test]
fn a_hundred_thousand_rules_cost_what_a_hundred_cost() {
    let event = intent(
        ",\"tags\":[\"x\"]",
        ",\"action\":\"a00007\",\"amount\":1000000,\"payload\":{\"host\":\"api.h00007.example\"}",
    );
    let started = std::time::Instant::now();
    let set = many(100_000, 10);
    println!("made: {:?}", started.elapsed());
    let generation = Generation::interpreted(&set).expect("plans");
    println!("planned: {:?}", started.elapsed());
    let few = Generation::interpreted(&many(100, 10)).expect("plans");
    let (found, of_few) = (generation.find_counted(&event), few.find_counted(&event));
    assert_eq!(found, of_few);
    assert_eq!(found.rules, 10);
    let bounds = generation.plan().bounds(event.kind());
    println!("bounds: {:?}", started.elapsed());
    assert_eq!(bounds, few.plan().bounds(event.kind()));
    if support::factor() > 1 {
        let generation = Generation::compile(&set).expect("compiles");
        println!("compiled: {:?}", started.elapsed());
        let cost = alone(&generation, &event);
        assert_eq!(cost.rules, 10);
        let decision = generation.judge(&event);
        assert_eq!(decision.rules.len(), 10);
        assert_eq!(decision, generation.judge_with(&event, &Memories::default(), Engine::Interpreter));
    }
}

/// Rules that look at all of an event.
fn nosy() -> Generation {
    let deep = ".a".repeat(60);
    compiled(
        [
            "any a in payload.xs: any b in payload.xs: a == b + payload.k warn",
            "text(payload) contains word \"needle\" or text(payload) matches /(x+x+)+y/ warn",
            "len(keys(payload)) > 7 and len(payload.t) > 7 warn",
            "payload.t ~= \"straße\" or payload.t like \"*x*y*z\" warn",
            "payload.t endswith \"y\" and lower(payload.t) contains \"zzz\" warn",
            "host(payload.t) == \"bank.example\" or payload.u in agent.tags warn",
            "agent.tags has any [\"x\", \"y\"] or agent.tags has payload.t warn",
            "payload.xs == payload.ys or payload == target warn because \"{payload} and {target}\"",
        ]
        .into_iter()
        .map(str::to_owned)
        .chain([format!("payload{deep} == 1 warn")])
        .chain((0..40).map(|n| format!("payload.k{n} == {n} or payload.t contains \"piece{n}\" warn"))),
    )
}

/// The largest events that are taken: deep, wide, with long texts, many tags and many members.
#[test]
fn the_largest_events_stay_within_the_bounds() {
    let generation = nosy();
    let list = |item: &str, count: usize| vec![item; count].join(",");
    let members = |count: usize| (0..count).map(|n| format!("\"k{n}\":{n}")).collect::<Vec<_>>().join(",");
    let payloads = [
        format!("{}1{}", "{\"a\":".repeat(120), "}".repeat(120)),
        format!("{{{},\"t\":\"x\"}}", members(5_000)),
        format!("{{\"t\":\"{}\",\"k\":1}}", "x".repeat(65_000)),
        format!("{{\"t\":\"{}\",\"xs\":[1,2],\"k\":1}}", "ß".repeat(32_000)),
        format!("{{\"xs\":[{}],\"ys\":[{}],\"k\":2}}", list("1", 16_000), list("1", 16_000)),
        format!("{{\"xs\":[{}],\"t\":\"piece1 piece2\",\"u\":\"t\",\"k\":\"\"}}", list("\"\"", 20_000)),
        format!("[{}]", list("[]", 21_000)),
        format!("{{\"t\":\"{}\"}}", "\\u0041".repeat(10_000)),
    ];
    let tags = format!(",\"tags\":[{}]", list("\"t\"", 16_000));
    let bounds = generation.plan().bounds(lictor_dsl::events::EventKind::Intent);
    let mut most = Cost::default();
    for (number, payload) in payloads.iter().enumerate() {
        let (agent, target) = if number % 2 == 0 { (tags.as_str(), payload.as_str()) } else { ("", "{}") };
        let event = intent(agent, &format!(",\"action\":\"x\",\"payload\":{payload},\"target\":{target}"));
        let cost = alone(&generation, &event);
        println!("{cost:?}");
        most.steps = most.steps.max(cost.steps);
        most.json = most.json.max(cost.json);
    }
    println!("of {bounds:?}");
    // A bound that nothing comes near says nothing.
    assert!(most.steps * 100 > bounds.steps && most.json * 3 > bounds.json, "{most:?} of {bounds:?}");
}

/// A text that counts how often it is compared.
#[derive(Debug, Clone, Eq)]
struct Compared(String);

thread_local! {
    static COMPARED: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}

impl PartialEq for Compared {
    fn eq(&self, other: &Compared) -> bool {
        COMPARED.set(COMPARED.get() + 1);
        self.0 == other.0
    }
}

impl std::hash::Hash for Compared {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

/// Texts by their numbers.
type Texts<'t> = Box<dyn Fn(usize) -> String + 't>;

/// Who does not know the seed finds no texts that meet in one place of a table, near to each other or far apart.
#[test]
fn texts_made_to_collide_are_compared_once() {
    const TEXTS: usize = 100_000;
    let long = "x".repeat(200);
    let kinds: [(&str, Texts<'_>); 5] = [
        ("a number in front", Box::new(|n| format!("{n}-action"))),
        ("a number at the end", Box::new(|n| format!("action-{n:06}"))),
        ("long, different at the end", Box::new(|n| format!("{long}{n:06}"))),
        ("long, different in the middle", Box::new(|n| format!("{long}{n:06}{long}"))),
        // The same bytes in other places: what hashes of sums take for one.
        (
            "the same letters",
            Box::new(|n| (0..17).map(|bit| if n >> bit & 1 == 1 { "ab" } else { "ba" }).collect()),
        ),
    ];
    for (name, text) in kinds {
        // The table of a plan's texts.
        let mut table: std::collections::HashMap<Compared, usize, foldhash::fast::RandomState> =
            std::collections::HashMap::default();
        for number in 0..TEXTS {
            if number % 2 == 0 {
                table.insert(Compared(text(number)), number);
            }
        }
        let (mut most, mut all) = (0, 0);
        for number in 0..TEXTS {
            COMPARED.set(0);
            assert_eq!(table.contains_key(&Compared(text(number))), number % 2 == 0);
            most = most.max(COMPARED.get());
            all += COMPARED.get() as usize;
        }
        println!("{name}: {all} comparisons for {TEXTS} look-ups, at most {most} for one");
        assert!(most <= 12 && all < TEXTS, "{name}: {all} comparisons, {most} for one");
    }
}

/// Different texts, long keys and keys spelled with escapes count the same as any.
#[test]
fn what_is_looked_up_does_not_change_what_looking_costs() {
    let generation =
        compiled((0..2_000).map(|n| format!("action == \"action-{n:04}\" and agent.purpose != \"x\" warn")));
    let event = |action: &str| intent("", &format!(",\"action\":\"{action}\""));
    let miss = alone(&generation, &event("x"));
    for number in 0..2_000 {
        let near = [
            format!("action-{number:05}"),
            format!("action-{number:04} "),
            format!("\\u0061ction_{number:04}"),
        ];
        for action in near {
            assert_eq!(alone_unbounded(&generation, &event(&action)), miss, "{action}");
        }
        assert_eq!(alone_unbounded(&generation, &event(&format!("action-{number:04}"))).rules, 1);
    }
}

fn alone_unbounded(generation: &Generation, event: &Event) -> Cost {
    generation.judge_counted(event, &Memories::default()).1
}

/// Reading many keys of one object takes time in proportion to their bytes.
#[test]
fn keys_made_to_collide_are_read_in_linear_time() {
    use std::time::Instant;
    let kinds: [fn(usize) -> String; 3] = [
        |n| format!("\"key-{n:06}\":1"),
        |n| format!("\"{}{n:06}\":1", "x".repeat(100)),
        |n| format!("\"\\u006bey-{n:06}\":1"),
    ];
    for member in kinds {
        let payload = |bytes: usize| {
            let members: Vec<String> = (0..bytes / member(0).len() - 10).map(member).collect();
            format!(
                r#"{{"event":"intent","at":"2026-01-01T00:00:00Z","org":"o","agent":{{"id":"a"}},"action":"x","payload":{{{}}}}}"#,
                members.join(",")
            )
        };
        let fastest = |json: &str| {
            let read = || {
                let started = Instant::now();
                assert!(Event::decode(json.as_bytes(), Origin::Event).is_ok());
                started.elapsed()
            };
            (0..20).map(|_| read()).min().expect("some")
        };
        // Ten times the bytes: a hundred times the time if each key met all others. The machine may have other work.
        let is_linear = (0..10).any(|_| {
            let (few, many) = (fastest(&payload(6_000)), fastest(&payload(60_000)));
            println!("{}: 6 KB {few:?}, 60 KB {many:?}", member(0));
            many < few * 30
        });
        assert!(is_linear, "{}", member(0));
    }
}

/// A schema is checked before any rule sees the event, and that reads the payload.
#[test]
fn what_a_schema_reads_is_counted() {
    let text = "policy p {}\ndefault on intent allow\nschema intent \"refund\" { amount: number }\nrule r on intent { when amount > 5 deny }\n";
    let set = lictor_dsl::check(vec![Source::new("p", text)]).into_set().expect("clean");
    let generation = Generation::compile(&set).expect("compiles");
    for payload in ["{\"amount\":7}", "{\"amount\":\"x\"}"] {
        let event = intent("", &format!(",\"action\":\"refund\",\"payload\":{payload}"));
        let (_, cost) = generation.judge_counted(&event, &Memories::new(&generation));
        assert!(cost.json >= payload.len() as u64);
        assert_eq!(cost.beyond(&generation.plan().bounds(event.kind())), None, "{cost:?}");
    }
}
