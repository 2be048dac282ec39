//! Many rules at once: what the index leaves out, and what a sweep finds, is what the interpreter says of every rule.
//!
//! The generated policies of `differential.rs` are small; here hundreds of rules share fields, lists, pieces of texts and
//! memories, in as many as make a unit and in some more or less: swept together, called alone, in force between dates, and
//! mixed. Each event is judged by machine code with the index, by machine code without it, and by the interpreter.
//! `LICTOR_FUZZ` multiplies the number of policies, and the number of events for each.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that can't go on should say so"
)]

#[allow(dead_code, reason = "each test uses a part of the generators")]
mod support;

use std::fmt::Write;

use lictor_dsl::Source;
use lictor_dsl::events::EventKind;
use lictor_engine::decision::Outcome;
use lictor_engine::event::{Event, Origin};
use lictor_engine::memory::{Fate, Memories};
use lictor_engine::{Engine, Generation};
use proptest::test_runner::{Config, RngAlgorithm, RngSeed, TestRng, TestRunner};
use support::Choices;

/// For each kind and number of rules.
const EVENTS: usize = 140;
/// Around the edges of units, which hold 64; and several units.
const RULES: [usize; 9] = [1, 63, 64, 65, 127, 128, 129, 200, 320];

/// What the rules of a policy have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rules {
    /// Nothing rules them out.
    Swept,
    /// Each needs a text of its own.
    Alone,
    /// All are in force between dates only.
    Dated,
    /// They ask what happened before.
    Remembering,
    /// Any of these.
    Mixed,
}

const KINDS: [Rules; 5] = [Rules::Swept, Rules::Alone, Rules::Dated, Rules::Remembering, Rules::Mixed];

const ACTIONS: [&str; 6] = ["refund", "payout", "note", "transfer", "", "Refund"];
const TAGS: [&str; 7] = ["pci", "eu", "vip", "test", "beta", "", "hr"];
const PIECES: [&str; 9] =
    [".example", "api.", "evil", "aaa", "aaaa", "a", "Straße", "https://evil.example/", "pay"];
const REGEXES: [&str; 6] = ["api\\.", "^pay", "(evil|example)", "(aaa)+", "x?", "Straße$"];
const NETS: [&str; 4] = ["inner", "outer", "both", "one"];
const LISTS: &str = "list inner: cidr = [\"10.0.0.0/8\"]\nlist outer: cidr = [\"10.2.0.0/16\", \"::/0\"]\n\
                     list both: cidr = [\"10.2.3.0/24\", \"2001:db8::/32\"]\nlist one: cidr = [\"10.2.3.4\"]\n";
const HOSTS: [&str; 12] = [
    "10.2.3.4",
    "10.2.9.9:443",
    "https://[2001:db8::1]/",
    "::ffff:10.2.3.4",
    "api.bank.example",
    "evil.example",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "",
    "pay https://evil.example/x now",
    "Straße 5",
    "api.",
    "nothing of the kind",
];

fn runner(seed: u64) -> TestRng {
    let bytes: Vec<u8> = (0..32).map(|place| (seed >> (place % 8 * 8)) as u8 ^ place as u8).collect();
    TestRng::from_seed(RngAlgorithm::ChaCha, &bytes)
}

fn choices(random: &mut TestRng, count: usize) -> Vec<u16> {
    use proptest::prelude::Rng;
    (0..count).map(|_| random.next_u32() as u16).collect()
}

/// A test that all kinds of events understand, or one of intents.
fn part(c: &mut Choices<'_>, of_all: bool) -> String {
    if of_all {
        return match c.below(5) {
            0 => format!("task contains {:?}", c.one(&PIECES)),
            1 => format!("agent.tags has any [{:?}, {:?}]", c.one(&TAGS), c.one(&TAGS)),
            2 => format!("task == {:?}", c.one(&HOSTS)),
            3 => format!("agent.tags has {:?}", c.one(&TAGS)),
            _ => format!("agent.trust < 0.{}", c.below(10)),
        };
    }
    match c.below(22) {
        0 | 1 => format!("action == {:?}", c.one(&ACTIONS)),
        2 => format!("action in [{:?}, {:?}]", c.one(&ACTIONS), c.one(&ACTIONS)),
        3 => format!("agent.tags has {:?}", c.one(&TAGS)),
        4 => format!("agent.tags has any [{:?}, {:?}, {:?}]", c.one(&TAGS), c.one(&TAGS), c.one(&TAGS)),
        5 => format!("agent.tags has all [{:?}, {:?}]", c.one(&TAGS), c.one(&TAGS)),
        6 => format!("payload.host endswith {:?}", c.one(&PIECES)),
        7 => format!("payload.host contains {:?}", c.one(&PIECES)),
        8 => format!("payload.host like \"*{}*{}\"", c.one(&PIECES), c.one(&PIECES)),
        9 => format!("target.host? startswith {:?}", c.one(&PIECES)),
        10 => format!("task contains {:?}", c.one(&PIECES)),
        11 => format!("amount > {}", c.below(10)),
        12 => format!("agent.trust < 0.{}", c.below(10)),
        13 => format!("payload.host matches /{}.*{}/", c.one(&REGEXES), c.one(&REGEXES)),
        14 => format!("target.host? in {}", c.one(&NETS)),
        15 => format!("payload.host in {}", c.one(&NETS)),
        16 => format!("payload.host == {:?}", c.one(&HOSTS)),
        17 => format!("payload.host? in [{:?}, {:?}]", c.one(&HOSTS), c.one(&HOSTS)),
        18 => format!("payload.n? > {}", c.below(3)),
        19 => format!("payload.n in {}..{}", c.below(2), 1 + c.below(3)),
        20 => "payload.yes".to_owned(),
        21 => format!("payload.in.host != {:?}", c.one(&HOSTS)),
        _ => format!("payload.n == {}", c.below(3)),
    }
}

fn condition(c: &mut Choices<'_>, of_all: bool) -> String {
    let part = |c: &mut Choices<'_>| part(c, of_all);
    match c.below(8) {
        0 => part(c),
        1 => format!("not ({})", part(c)),
        2 => format!("({} or {})", part(c), part(c)),
        3 => format!("({} or {}) and {}", part(c), part(c), part(c)),
        4 => format!("{} and not ({} and {})", part(c), part(c), part(c)),
        5 => format!("{} and {} and {}", part(c), part(c), part(c)),
        _ => format!("{} and {}", part(c), part(c)),
    }
}

/// A test that no index is made for.
fn unneeded(c: &mut Choices<'_>) -> String {
    match c.below(5) {
        0 => format!("amount > {}", c.below(10)),
        1 => format!("agent.trust < 0.{}", c.below(10)),
        2 => format!("payload.n == {}", c.below(3)),
        3 => format!("amount? in {}..{}", c.below(5), 3 + c.below(8)),
        _ => format!("not (agent.tags has {:?})", c.one(&TAGS)),
    }
}

/// A question to a memory.
fn question(c: &mut Choices<'_>) -> String {
    let keys = c.one(&["per agent.id", "per org", "per task", "per agent.id, task"]);
    let action = c.one(&ACTIONS);
    let window = c.one(&["10m", "1h", "1d"]);
    match c.below(6) {
        0 | 1 => {
            format!("count(intent where action == {action:?} {keys} within {window}) >= {}", 1 + c.below(4))
        }
        2 => format!("sum(intent.amount {keys} within {window}) > {}", c.below(60)),
        3 => format!("seen(denied intent where amount > {} {keys} within {window})", c.below(10)),
        4 => format!("distinct(intent.action {keys} within {window}) > {}", c.below(4)),
        _ => format!("streak(intent where action == {action:?} {keys}) >= {}", 1 + c.below(3)),
    }
}

fn condition_of(c: &mut Choices<'_>, rules: Rules, number: usize, of_all: bool) -> String {
    let of_all = of_all || rules != Rules::Mixed;
    match rules {
        Rules::Swept => format!("{} and {}", unneeded(c), unneeded(c)),
        Rules::Alone => {
            let action = if c.chance(70) { c.one(&ACTIONS).to_owned() } else { format!("a{number}") };
            format!("action == {action:?} and {}", unneeded(c))
        }
        Rules::Remembering if c.chance(80) => format!("{} and {}", question(c), unneeded(c)),
        _ => condition(c, of_all),
    }
}

fn policy(c: &mut Choices<'_>, kind: Rules, rules: usize) -> String {
    let mut text = String::from("policy p {}\ndefault on intent allow\ndefault on action deny\n");
    text.push_str(LISTS);
    for rule in 0..rules {
        let own = match kind {
            Rules::Mixed => KINDS[c.below(KINDS.len())],
            _ => kind,
        };
        let (kinds, of_all) = match own {
            Rules::Mixed | Rules::Dated => {
                [("intent", false), ("intent, action", true), ("action", true)][c.below(3)]
            }
            _ => ("intent", false),
        };
        let risk = if c.chance(10) { "risk >= 0.3 and " } else { "" };
        let effect = ["deny", "warn", "require approval from \"ops\"", "score +0.1"];
        let effect = effect[c.below(if risk.is_empty() { 4 } else { 3 })];
        let dates = if own == Rules::Dated || kind == Rules::Mixed && c.chance(10) {
            "applies from 2026-01-01 until 2026-03-01\n"
        } else {
            ""
        };
        writeln!(
            text,
            "rule r{rule} on {kinds} {{\n{dates}when {risk}{}\n{effect}\n}}",
            condition_of(c, own, rule, of_all)
        )
        .expect("text");
    }
    text
}

fn event(c: &mut Choices<'_>) -> String {
    let kind = ["intent", "action"][c.below(2)];
    let mut members = vec![
        format!("\"event\":\"{kind}\",\"at\":\"2026-0{}-01T00:00:00Z\",\"org\":\"o\"", 1 + c.below(4)),
        format!("\"task\":{:?}", c.one(&HOSTS)),
    ];
    let tags: Vec<String> = (0..c.below(5)).map(|_| format!("{:?}", c.one(&TAGS))).collect();
    members.push(format!(
        "\"agent\":{{\"id\":\"a\",\"tags\":[{}],\"trust\":0.{}}}",
        tags.join(","),
        c.below(10)
    ));
    if kind == "action" {
        members.push("\"kind\":\"http\",\"tool\":\"get\",\"target\":\"x\",\"publisher\":\"p\"".to_owned());
        return format!("{{{}}}", members.join(","));
    }
    members.push(format!("\"action\":{:?}", c.one(&ACTIONS)));
    if c.chance(80) {
        members.push(format!("\"amount\":{}", c.below(12)));
    }
    if c.chance(60) {
        members.push(format!("\"target\":{{\"host\":{:?}}}", c.one(&HOSTS)));
    }
    match c.below(7) {
        0 => {}
        3 => members.push(format!("\"payload\":{{\"in\":{{\"host\":{:?}}},\"yes\":true}}", c.one(&HOSTS))),
        4 => members.push("\"payload\":{\"in\":1,\"yes\":\"no\"}".to_owned()),
        1 => members.push(format!("\"payload\":{{\"host\":{},\"n\":1}}", c.below(5))),
        2 => members.push("\"payload\":{\"n\":\"x\"}".to_owned()),
        _ => members.push(format!("\"payload\":{{\"host\":{:?},\"n\":{}}}", c.one(&HOSTS), c.below(3))),
    }
    format!("{{{}}}", members.join(","))
}

#[test]
fn with_and_without_index_the_same() {
    let seed = match TestRunner::new(Config::default()).config().rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => std::time::UNIX_EPOCH.elapsed().map_or(1, |since| since.as_nanos() as u64),
    };
    println!("PROPTEST_RNG_SEED={seed}");
    let mut random = runner(seed);
    let (mut judged, mut matched, mut denied) = (0, 0, 0);
    let factor = support::factor() as usize;
    let sets = KINDS.iter().flat_map(|kind| RULES.iter().map(|rules| (*kind, *rules)));
    for (kind, rules) in sets.cycle().take(factor * KINDS.len() * RULES.len()) {
        let data = choices(&mut random, rules * 24);
        let text = policy(&mut Choices::new(&data), kind, rules);
        let checked = support::checked(&text);
        let generation = Generation::compile(&checked).expect("compiles");
        let unindexed = Generation::unindexed(&checked).expect("compiles");
        assert!(generation.no_code().is_none() && unindexed.no_code().is_none());
        let bounds = EventKind::ALL.map(|kind| generation.plan().bounds(kind));
        let mut memories = Memories::new(&generation);
        for number in 0..EVENTS * factor {
            let data = choices(&mut random, 40);
            let json = event(&mut Choices::new(&data));
            let mut event = Event::decode(json.as_bytes(), Origin::Event).expect("valid");
            if generation.remembers() {
                // Seven minutes after the one before, over some days of January.
                event.set_at(1_767_225_600_000_000 + (number % 4_000) as i64 * 420_000_000);
            }
            let (indexed, cost) = generation.judge_counted(&event, &memories);
            let swept = unindexed.judge_with(&event, &memories, Engine::Jit);
            let walked = generation.judge_with(&event, &memories, Engine::Interpreter);
            assert_eq!(indexed, walked, "policy:\n{text}\nevent: {json}");
            assert_eq!(swept, walked, "without index, policy:\n{text}\nevent: {json}");
            assert_eq!(cost.beyond(&bounds[event.kind() as usize]), None, "policy:\n{text}\nevent: {json}");
            memories.remember(&generation, &event, Fate::of(indexed.decision), number as u64 + 1, event.at());
            judged += 1;
            matched += usize::from(!indexed.rules.is_empty());
            denied += usize::from(indexed.decision == Outcome::Deny);
        }
    }
    println!("{judged} events judged three ways, {matched} matched, {denied} denied");
    assert!(matched * 2 > judged && denied * 10 > judged, "hardly anything matched");
}

/// The risk is not known yet when the index looks for rules.
#[test]
fn a_text_made_of_the_risk_is_looked_at_when_it_is_known() {
    let mut text = String::from(
        "policy p {}\ndefault on intent allow\nrule s on intent { when amount > 10 score +0.5 }\n",
    );
    for tenth in 5..9 {
        writeln!(text, "rule r{tenth} on intent {{ when \"{{risk}}\" contains \"0.{tenth}\" deny }}")
            .expect("text");
    }
    let set = lictor_dsl::check(vec![Source::new("p", text)]).into_set().expect("clean");
    let generation = Generation::compile(&set).expect("compiles");
    let json = "{\"event\":\"intent\",\"at\":\"2026-01-01T00:00:00Z\",\"org\":\"o\",\"agent\":{\"id\":\"a\"},\"action\":\"x\",\"amount\":20}";
    let event = Event::decode(json.as_bytes(), Origin::Event).expect("valid");
    let decision = generation.judge(&event);
    assert_eq!(decision, generation.judge_with(&event, &Memories::default(), Engine::Interpreter));
    assert_eq!(decision.reason.as_deref(), Some("rule p.r5 applies"));
}

/// A text whose every letter ends many pieces makes all its rules candidates, and no more work than that.
#[test]
fn a_text_made_of_pieces_finds_every_rule() {
    let mut text = String::from("policy p {}\ndefault on intent allow\n");
    for length in 3..200 {
        writeln!(
            text,
            "rule r{length} on intent {{ when payload.host contains \"{}\" warn }}",
            "a".repeat(length)
        )
        .expect("text");
    }
    let set = lictor_dsl::check(vec![Source::new("p", text)]).into_set().expect("clean");
    let generation = Generation::compile(&set).expect("compiles");
    for (letters, expected) in [(2, 0), (3, 1), (100, 98), (199, 197), (60_000, 197)] {
        let json = format!(
            "{{\"event\":\"intent\",\"at\":\"2026-01-01T00:00:00Z\",\"org\":\"o\",\"agent\":{{\"id\":\"a\"}},\"action\":\"x\",\"payload\":{{\"host\":\"{}\"}}}}",
            "a".repeat(letters)
        );
        let event = Event::decode(json.as_bytes(), Origin::Event).expect("valid");
        assert_eq!(generation.judge(&event).rules.len(), expected, "{letters} letters");
    }
}
