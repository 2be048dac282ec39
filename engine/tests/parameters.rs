//! Parameters stand beside the code: another value decides otherwise and compiles nothing. And what tests make of them.

#![expect(clippy::unwrap_used, reason = "a test that meets what it did not expect should stop right there")]

use std::sync::Arc;

use lictor_dsl::hir::{Const, Policy, PolicySet};
use lictor_dsl::number::Number;
use lictor_dsl::{Source, check};
use lictor_engine::coverage::Coverage;
use lictor_engine::event::{Event, Origin};
use lictor_engine::memory::Memories;
use lictor_engine::trial::{TestReport, run_tests, run_tests_with_coverage};
use lictor_engine::{Engine, Generation, Truth, live_modules};

fn checked(texts: &[&str]) -> PolicySet {
    let sources = texts.iter().map(|text| Source::new("p.lictor", *text)).collect();
    check(sources).into_set().unwrap_or_else(|found| panic!("{found:#?}"))
}

/// What comes out for an event, with both engines.
fn decide(generation: &Generation, members: &str) -> &'static str {
    let json = format!(
        r#"{{"event":"intent","at":"2026-01-02T00:00:00Z","org":"o","agent":{{"id":"a","registered_at":"2026-01-01T00:00:00Z"}},{members}}}"#
    );
    let event = Event::decode(json.as_bytes(), Origin::Event).unwrap();
    let decision = generation.judge(&event);
    assert_eq!(decision, generation.judge_with(&event, &Memories::default(), Engine::Interpreter));
    decision.decision.name()
}

const EVERY_TYPE: &str = r#"policy p {}
default on intent allow
param cap:   number       = 10 in 0..100
param wait:  duration     = 1h in 1h..30d
param bit:   string       = "no"
param on:    bool         = true
param names: list<string> = ["a"]
param codes: list<number> = []
rule r_cap   on intent { when action == "cap" and amount > cap deny }
rule r_wait  on intent { when action == "wait" and at - agent.registered_at < wait deny }
rule r_word  on intent { when action == "word" and payload.text contains bit deny }
rule r_on    on intent { when action == "on" and on deny }
rule r_names on intent { when payload.name in names and action == "names" deny }
rule r_codes on intent { when action == "codes" and any code in payload.codes: code in codes deny }
"#;

#[test]
fn another_value_decides_otherwise_and_compiles_nothing() {
    let text = |text: &str| Const::Text(text.to_owned());
    let number = |number: i64| Const::Number(Number::whole(number));
    // A parameter, another value for it, and an event on which that matters: before, after.
    let cases = [
        ("cap", number(100), r#""action":"cap","amount":50"#, "deny", "allow"),
        ("wait", Const::Duration(2 * 86_400_000_000), r#""action":"wait""#, "allow", "deny"),
        ("bit", text("yes"), r#""action":"word","payload":{"text":"oh yes"}"#, "allow", "deny"),
        ("on", Const::Bool(false), r#""action":"on""#, "deny", "allow"),
        (
            "names",
            Const::List([text("b"), text("c")].into()),
            r#""action":"names","payload":{"name":"c"}"#,
            "allow",
            "deny",
        ),
        (
            "codes",
            Const::List([number(7)].into()),
            r#""action":"codes","payload":{"codes":[5,7]}"#,
            "allow",
            "deny",
        ),
    ];
    let mut set = checked(&[EVERY_TYPE]);
    let mut current = Generation::compile(&set).unwrap();
    let modules = live_modules();
    let mut old = Vec::new();
    for (name, value, event, before, after) in cases {
        assert_eq!(decide(&current, event), before, "{name}");
        set.policies
            .iter_mut()
            .for_each(|policy| Arc::make_mut(policy).set_param(name, value.clone()).unwrap());
        let next = Generation::replacing(&set, Some(&current)).unwrap();
        assert_eq!(decide(&next, event), after, "{name}");
        assert_ne!(next.digest(), current.digest(), "a decision says which values decided");
        old.push(std::mem::replace(&mut current, next));
    }
    assert_eq!(live_modules(), modules, "all generations run the code of the first");
}

#[test]
fn a_value_that_does_not_fit_is_refused() {
    let mut set = checked(&[EVERY_TYPE]);
    let policy = Arc::make_mut(set.policies.first_mut().unwrap());
    let mixed = Const::List([Const::Text("a".to_owned()), Const::Bool(true)].into());
    let many = Const::List(vec![Const::Bool(true); 100_001].into());
    for (name, value) in [
        ("cap", Const::Number(Number::whole(101))),
        ("cap", Const::Text("10".to_owned())),
        ("wait", Const::Duration(0)),
        ("names", mixed),
        ("names", many),
        ("nobody", Const::Bool(true)),
    ] {
        assert!(policy.set_param(name, value).is_err(), "{name}");
    }
    assert!(policy.set_param("names", Const::List([].into())).is_ok());
}

fn failures(reports: &[TestReport]) -> Vec<&str> {
    reports.iter().flat_map(|report| report.failures.iter().map(String::as_str)).collect()
}

const MENTIONED: &str = r#"policy p {}
default on intent allow
param cap:   number = 10 in 0..100
param floor: number = 5 in 0..100
rule r on intent { when amount > cap deny because "{amount} is above {cap}" }
test "holds at each value" { intent { amount = cap + 1 } expect deny by r expect because "{cap + 1} is above {cap}" }
test "fails at the highest" { intent { amount = if cap == 100 then 1 else cap + 1 } expect deny by r }
test "is pinned" { with cap = 3 intent { amount = cap + 1 } expect deny by r }
test "mentions none" { intent { amount = 50 } expect deny by r }
test "mentions two" { intent { amount = cap + floor + 1 } expect deny by r }
"#;

#[test]
fn a_test_runs_at_the_ends_of_what_it_mentions() {
    let mut set = checked(&[MENTIONED]);
    // What is in force is not what tests are about.
    let fifty = Const::Number(Number::whole(50));
    let capped = |policy: &mut Arc<Policy>| Arc::make_mut(policy).set_param("cap", fifty.clone()).unwrap();
    set.policies.iter_mut().for_each(capped);
    let reports = run_tests(&set).unwrap();
    let runs: Vec<usize> = reports.iter().map(|report| report.runs).collect();
    assert_eq!(runs, [3, 3, 1, 1, 5]);
    assert_eq!(failures(&reports), ["at cap = 100: expected deny, but got allow (allowed)"]);
}

#[test]
fn a_template_is_tried_alone_and_what_it_extends_with_it() {
    let base =
        "policy base {}\nparam cap: number = 10 in 0..100\nrule r on intent { when amount? > cap deny }";
    let facts = "framework = \"F\" version = \"1\" source = \"S\" facts_checked_on = \"2026-01-01\"";
    let template = format!(
        "template t {{ {facts} extends base }}\nrule lower on intent {{ when amount? > cap / 2 deny }}\n\
         test \"both\" {{ with cap = 20 intent {{ amount = cap + 1 }} expect deny by lower, base.r }}\n\
         test \"neither\" {{ intent {{ amount = cap / 2 }} expect no match }}"
    );
    let other = "policy other {}\nrule all on intent { when amount? >= 0 deny }\n\
                 test \"by itself and the base\" { intent { amount = 0 } expect deny by all }";
    let reports = run_tests(&checked(&[base, &template, other])).unwrap();
    assert_eq!(failures(&reports), Vec::<&str>::new());
    let names: Vec<&str> = reports.iter().map(|report| report.test.as_str()).collect();
    assert_eq!(names, ["both", "neither", "by itself and the base"]);
}

/// The truths that each part has missed.
fn missing(coverage: &Coverage) -> Vec<(String, Vec<Truth>)> {
    let rules = coverage.policies.iter().flat_map(|policy| &policy.rules);
    rules
        .flat_map(|rule| &rule.parts)
        .map(|part| (part.text.clone(), part.seen.missing().collect()))
        .collect()
}

#[test]
fn coverage_names_what_no_test_has_seen() {
    let set = checked(&[r#"policy p {}
rule r on intent { when (amount > 10 or amount != 5) and not agent.paused unless action == "x" deny }
rule all on log { deny }
test "large" { intent { amount = 11 } expect deny by r }
test "absent" { intent { } expect deny by r undecided }
"#]);
    let (reports, coverage) = run_tests_with_coverage(&set).unwrap();
    assert_eq!(failures(&reports), Vec::<&str>::new());
    assert_eq!(
        missing(&coverage),
        [
            ("amount > 10".to_owned(), vec![Truth::False]),
            ("amount != 5".to_owned(), vec![Truth::False]),
            ("agent.paused".to_owned(), vec![Truth::True]),
            ("action == \"x\"".to_owned(), vec![Truth::True]),
        ]
    );
    let policy = coverage.policies.first().unwrap();
    // Of the first rule: matching, not its opposite. Of the second, which always matches: nothing.
    assert_eq!(policy.met_of(), (1 + 2 + 2 + 1 + 1, 2 + 3 + 3 + 2 + 2 + 1));
    assert_eq!(policy.percent(), 53);
}

#[test]
fn an_exempted_rule_says_why() {
    let set = checked(&["policy p {}\nrule no on intent { when action == \"x\" deny }\n\
        exempt no for agent.id == \"a\" until 2027-01-01 because \"{agent.id} may\""]);
    let generation = Generation::compile(&set).unwrap();
    let json = br#"{"event":"intent","at":"2026-01-02T00:00:00Z","org":"o","agent":{"id":"a"},"action":"x"}"#;
    let decision = generation.judge(&Event::decode(json, Origin::Event).unwrap());
    let report = decision.rules.first().unwrap();
    assert_eq!((report.exempted, report.exemption.as_deref()), (true, Some("a may")));
}
