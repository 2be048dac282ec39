//! Sets that are loaded and planned from what the set before them had in common with them: the same errors, plan, digest
//! and decisions as when everything is read and planned anew, after whatever was changed.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that can't go on should say so"
)]

#[allow(dead_code, reason = "each test uses a part of it")]
mod support;

use std::sync::Arc;

use lictor_dsl::hir::{Const, PolicySet, Rule};
use lictor_dsl::number::Number;
use lictor_dsl::{Library, Source};
use lictor_engine::Generation;
use lictor_engine::event::{Event, Origin};
use lictor_engine::plan::Planner;
use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};
use support::{Choices, factor};

/// How many changes each sequence makes.
const CHANGES: usize = 60;

/// What others mostly lean on.
const NEEDED: [char; 3] = ['p', 'l', 'd'];

/// One declaration of a policy, from the choices that make it.
fn declaration(choices: &mut Choices, policy: &str) -> String {
    let number = choices.below(12);
    let amount = choices.below(5);
    match choices.below(16) {
        0 => format!("default on intent {}", choices.one(&["allow", "deny", "warn"])),
        1 => format!("param cap: number = {amount} in 0..{}", 3 + choices.below(5)),
        2 => format!("list hosts: domain = [\"bank{amount}.example\", \"x.example\"]"),
        3 => format!("list tags = [\"t{amount}\", \"t7\"]"),
        4 => format!("def big(x) = x > {amount}"),
        5 => format!(
            "schema intent \"a{number}\" {{ n: {}, note: string? }}",
            choices.one(&["number", "string"])
        ),
        6 => format!(
            "exempt {}.r{} for agent.id != \"a-{amount}\" until 2030-01-01 because \"trial\"",
            choices.one(&["p0", "bystander", policy]),
            choices.below(4)
        ),
        7 => format!(
            "test \"t{number}\" {{\n  intent {{ action = \"a{number}\", amount = {amount} }}\n  expect deny by r{number}\n}}"
        ),
        8 => format!(
            "/// Why {amount}.\nrule d{number} on intent {{ when agent.tags has all [\"t{amount}\", \"t1\"] warn }}"
        ),
        9 => format!(
            "rule m{number} on intent {{ when count(intent within {}m) > {amount} deny }}",
            10 + amount
        ),
        _ => format!(
            "rule r{number} on {} {{ when {} {} }}",
            choices.one(&["intent", "intent", "intent", "intent, action"]),
            condition(choices),
            effect(choices)
        ),
    }
}

fn effect(choices: &mut Choices) -> String {
    let effect =
        choices.one(&["deny", "warn", "require approval from \"ops\"", "score +0.2", "mode shadow deny"]);
    let because = choices.one(&["", " because \"{agent.id} over\"", " incident high per agent.id"]);
    format!("{effect}{because}")
}

fn condition(choices: &mut Choices) -> String {
    let number = choices.below(5);
    let parts: Vec<String> = (0..1 + choices.below(3))
        .map(|_| match choices.below(14) {
            0 => format!("amount > {number}"),
            1 => "amount > cap".to_owned(),
            2 => "big(amount)".to_owned(),
            3 => format!("payload.host endswith \".h{number}.example\""),
            4 => format!("payload.n > {number}"),
            5 => "agent.tags has any tags".to_owned(),
            6 => format!("agent.tags has all [\"t{number}\", \"t7\", \"t1\"]"),
            7 => format!("any t in agent.tags: t startswith \"t{number}\""),
            8 => "(payload.host else \"none\") in hosts".to_owned(),
            9 => format!("payload.note contains \"note{number}\""),
            10 => format!("not (org == \"o{number}\")"),
            11 => "risk > 0.1".to_owned(),
            _ => format!("action == \"a{number}\""),
        })
        .collect();
    parts.join(choices.one(&[" and ", " or "]))
}

/// A policy that is edited: its name, what its header says, and its declarations.
#[derive(Clone)]
struct Draft {
    name: String,
    header: String,
    declarations: Vec<String>,
}

impl Draft {
    fn new(name: usize, choices: &mut Choices) -> Draft {
        let name = format!("p{name}");
        let extends = if choices.chance(30) { "extends p0" } else { "" };
        let header = format!(
            " {{ {extends} {} }}",
            choices.one(&["", "title = \"T\"", "mode = \"shadow\"", "controls = [\"ORG:1\"]"])
        );
        let mut declarations = vec![
            "param cap: number = 3 in 0..9".to_owned(),
            "list hosts: domain = [\"bank1.example\"]".to_owned(),
            "list tags = [\"t1\"]".to_owned(),
            "def big(x) = x > 2".to_owned(),
        ];
        // What it extends has them.
        if !extends.is_empty() {
            declarations.clear();
        }
        Draft { name, header, declarations }
    }

    fn source(&self) -> Source {
        let text = format!("policy {}{}\n\n{}\n", self.name, self.header, self.declarations.join("\n"));
        Source::new(self.name.as_str(), text)
    }
}

fn change(drafts: &mut Vec<Draft>, choices: &mut Choices) {
    let at = choices.below(drafts.len());
    match choices.below(20) {
        0 => {
            let new = Draft::new(choices.below(6), choices);
            drafts.insert(at, new);
        }
        1 if drafts.len() > 1 => {
            drafts.remove(at);
        }
        2 => drafts[at].name = format!("p{}", choices.below(6)),
        3 => drafts.swap(0, at),
        4 => {
            drafts[at].header = choices
                .one(&[" {}", " { mode = \"shadow\" }", " { extends p1 }", " { controls = [\"ORG:2\"] }"])
                .to_owned()
        }
        5..=8 => {
            let (place, name) = (choices.below(drafts[at].declarations.len() + 1), drafts[at].name.clone());
            drafts[at].declarations.insert(place, declaration(choices, &name));
        }
        9..=11 if !drafts[at].declarations.is_empty() => {
            let place = choices.below(drafts[at].declarations.len());
            if !drafts[at].declarations[place].starts_with(NEEDED) || choices.chance(20) {
                drafts[at].declarations.remove(place);
            }
        }
        12 => {
            let place = choices.below(drafts[at].declarations.len() + 1);
            drafts[at].declarations.insert(place, "// Only a comment.".to_owned());
        }
        13..=14 => {
            let hosts = format!("list hosts: domain = [\"bank{}.example\"]", 1 + choices.below(2));
            let lists = drafts.iter_mut().flat_map(|draft| &mut draft.declarations);
            lists.filter(|text| text.starts_with("list hosts")).for_each(|text| text.clone_from(&hosts));
        }
        _ if !drafts[at].declarations.is_empty() => {
            let (place, name) = (choices.below(drafts[at].declarations.len()), drafts[at].name.clone());
            let new = declaration(choices, &name);
            let word = |text: &str| text.split(' ').next().map(str::to_owned);
            if !drafts[at].declarations[place].starts_with(NEEDED)
                || word(&new) == word(&drafts[at].declarations[place])
            {
                drafts[at].declarations[place] = new;
            }
        }
        _ => {}
    }
}

fn events(choices: &mut Choices) -> Vec<Event> {
    (0..6)
        .map(|_| {
            let (action, amount, tag) = (choices.below(12), choices.below(6), choices.below(5));
            let json = format!(
                "{{\"event\":\"intent\",\"at\":\"2026-01-01T00:00:00Z\",\"org\":\"o{amount}\",\"agent\":{{\"id\":\"a-{amount}\",\"tags\":[\"t{tag}\",\"t7\",\"t1\"]}},\"action\":\"a{action}\",\"amount\":{amount},\"payload\":{{\"host\":\"{}\",\"n\":{amount},\"note\":\"a note{amount} b\"}}}}",
                choices.one(&["x.h1.example", "bank1.example", "bank2.example", "x.h3.example"])
            );
            Event::decode(json.as_bytes(), Origin::Event).expect("valid")
        })
        .collect()
}

/// A policy that stays as it is: where most rules do, the others are planned beside them.
fn bystander() -> Source {
    let rules = (0..24).map(|rule| format!("rule r{rule} on intent {{ when action == \"a{rule}\" warn }}\n"));
    Source::new("bystander", format!("policy bystander {{}}\n{}", rules.collect::<String>()))
}

/// What a server changes in a set after it is loaded: a policy only reports, a parameter has another value.
fn as_server(set: &mut PolicySet, shadowed: usize, cap: i64) {
    for policy in &mut set.policies {
        if policy.name == format!("p{shadowed}") {
            Arc::make_mut(policy).shadow = true;
        }
        if policy.name == "p0" && policy.params.iter().any(|param| param.name == "cap") {
            Arc::make_mut(policy).set_param("cap", Const::Number(Number::whole(cap))).ok();
        }
    }
}

/// What was seen, so that a test can't pass by trying nothing of interest.
#[derive(Default)]
struct Seen {
    accepted: usize,
    refused: usize,
    matched: usize,
    kept: usize,
}

fn sequence(seed: u64, seen: &mut Seen) {
    let mut random = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed as u8; 32]);
    let data: Vec<u16> = (0..40_000).map(|_| random.next_u32() as u16).collect();
    let choices = &mut Choices::new(&data);
    let (mut library, mut planner) = (Library::default(), Planner::default());
    let mut drafts = vec![Draft::new(0, choices), Draft::new(1, choices), Draft::new(2, choices)];
    let mut rules: Vec<Arc<Rule>> = Vec::new();
    let (mut shadowed, mut cap) = (9, 3);
    for turn in 0..CHANGES {
        let before = drafts.clone();
        change(&mut drafts, choices);
        let sources: Vec<Source> = drafts.iter().map(Draft::source).chain([bystander()]).collect();
        let texts = || sources.iter().map(|source| source.text.as_str()).collect::<Vec<_>>().join("\n---\n");
        let mut anew = lictor_dsl::load(sources.clone());
        let mut set = match library.load(sources.clone()) {
            Ok(set) => set,
            Err(checked) => {
                assert!(anew.has_errors(), "seed {seed}, change {turn}: refused\n{}", texts());
                assert_eq!(checked.diagnostics, anew.diagnostics, "seed {seed}, change {turn}");
                seen.refused += 1;
                // Most sequences would soon be full of mistakes.
                if choices.chance(95) {
                    drafts = before;
                }
                continue;
            }
        };
        assert!(
            !anew.has_errors(),
            "seed {seed}, change {turn}: accepted\n{}\n{:?}",
            texts(),
            anew.reports()
        );
        let now: Vec<Arc<Rule>> =
            set.policies.iter().flat_map(|policy| policy.rules.iter().cloned()).collect();
        seen.kept += now.iter().filter(|rule| rules.iter().any(|known| Arc::ptr_eq(known, rule))).count();
        rules = now;
        if choices.chance(30) {
            (shadowed, cap) = (choices.below(4), choices.below(4) as i64);
        }
        as_server(&mut set, shadowed, cap);
        as_server(&mut anew.set, shadowed, cap);
        let again = Generation::interpreted_by(&mut planner, &set).expect("plans");
        let plain = Generation::interpreted(&anew.set).expect("plans");
        assert_eq!(again.digest(), plain.digest(), "seed {seed}, change {turn}");
        assert_eq!(
            again.plan().to_json().to_string(),
            plain.plan().to_json().to_string(),
            "seed {seed}, change {turn}:\n{}",
            texts()
        );
        if turn % 4 == 0 {
            again.make_code(None);
        }
        for event in events(choices) {
            let decision = again.judge(&event);
            assert_eq!(decision, plain.judge(&event), "seed {seed}, change {turn}:\n{}", texts());
            seen.matched += decision.rules.len();
        }
        seen.accepted += 1;
    }
}

#[test]
fn what_is_kept_changes_nothing() {
    let mut seen = Seen::default();
    for seed in 0..u64::from(15 * factor()) {
        sequence(seed, &mut seen);
    }
    assert!(seen.accepted > 300 && seen.refused > 80, "{} accepted, {} refused", seen.accepted, seen.refused);
    assert!(seen.matched > 1_000 && seen.kept > 5_000, "{} matched, {} kept", seen.matched, seen.kept);
}
