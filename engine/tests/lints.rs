//! What the checker says of rule sets is true: each accusation is held against every event of a grid that covers
//! every region that the rules can tell apart, absence too.
//!
//! `LICTOR_FUZZ` multiplies the number of rule sets; a failing one is printed with its event.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that can't go on should say so"
)]

use std::collections::BTreeMap;

use lictor_dsl::Source;
use lictor_dsl::diagnostics::{Diagnostic, Severity};
use lictor_dsl::hir::{Const, Effect, PolicySet};
use lictor_dsl::number::Number;
use lictor_engine::Generation;
use lictor_engine::decision::{Decision, Outcome, ReportedTruth};
use lictor_engine::event::{Event, Origin};

const SETS: u64 = 400;

/// The most events that accusations are held against: of a larger grid, as many by chance.
const EVENTS: usize = 600;

/// A stream of choices from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, count: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 16) % count as u64) as usize
    }

    fn one<'t>(&mut self, texts: &[&'t str]) -> &'t str {
        texts[self.below(texts.len())]
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// Something that rules test, and the values that cover what they can tell apart.
struct Dimension {
    /// The member of the event that it is.
    path: &'static str,
    tests: &'static [&'static str],
    /// As JSON; an empty text for absence.
    values: &'static [&'static str],
    /// The lint sees all there is to see.
    exact: bool,
}

const fn exact(
    path: &'static str,
    tests: &'static [&'static str],
    values: &'static [&'static str],
) -> Dimension {
    Dimension { path, tests, values, exact: true }
}

const fn loose(
    path: &'static str,
    tests: &'static [&'static str],
    values: &'static [&'static str],
) -> Dimension {
    Dimension { path, tests, values, exact: false }
}

static DIMENSIONS: [Dimension; 13] = [
    exact(
        "action",
        &[
            "action == \"a\"",
            "action != \"b\"",
            "action in [\"a\", \"c\"]",
            "action in [\"b\", \"c\"]",
            "action < \"b\"",
            "not (action in [\"a\", \"b\", \"c\"])",
        ],
        &["\"a\"", "\"b\"", "\"c\"", "\"aa\"", "\"bb\"", "\"d\"", "\"\""],
    ),
    exact(
        "amount",
        &[
            "amount > 10",
            "amount? > 5",
            "amount < 5",
            "amount in 5..10",
            "amount == 10",
            "amount != 5",
            "has amount",
            "(amount else 7) >= 7",
            "amount in [5, 7]",
            "not (amount? <= 10)",
            "5 < amount",
        ],
        &["", "4", "5", "6", "7", "8", "10", "11", "null"],
    ),
    exact(
        "agent.trust",
        &[
            "agent.trust < 0.5",
            "agent.trust >= 0.5",
            "agent.trust > 1",
            "agent.trust >= 0",
            "agent.trust == 1",
        ],
        &["0", "0.25", "0.5", "0.75", "1"],
    ),
    exact(
        "agent.tags",
        &[
            "agent.tags has \"x\"",
            "agent.tags has any [\"x\", \"y\"]",
            "agent.tags has all [\"x\", \"y\"]",
            "\"y\" in agent.tags",
            "not (agent.tags has \"y\")",
        ],
        &["[]", "[\"x\"]", "[\"y\"]", "[\"x\",\"y\"]"],
    ),
    exact(
        "agent.environment",
        &[
            "agent.environment == \"prod\"",
            "agent.environment? == \"prod\"",
            "agent.environment != \"test\"",
            "agent.environment in [\"prod\", \"test\"]",
            "has agent.environment",
            "(agent.environment else \"test\") == \"test\"",
        ],
        &["", "\"prod\"", "\"test\"", "\"other\""],
    ),
    exact(
        "payload",
        &[
            "payload.x > 3",
            "payload.x? > 2",
            "payload.x == \"a\"",
            "payload.x? != \"a\"",
            "has payload.x",
            "payload.x == true",
            "(payload.x else 9) > 3",
            "not (payload.x in [1, 2])",
        ],
        &[
            "",
            "7",
            "{}",
            "{\"x\":null}",
            "{\"x\":1}",
            "{\"x\":2}",
            "{\"x\":2.5}",
            "{\"x\":3}",
            "{\"x\":4}",
            "{\"x\":\"a\"}",
            "{\"x\":\"b\"}",
            "{\"x\":true}",
            "{\"x\":false}",
            "{\"x\":[]}",
            "{\"x\":0}",
        ],
    ),
    exact(
        "agent.paused",
        &["agent.paused", "agent.paused == false", "not agent.paused", "agent.paused != true"],
        &["true", "false"],
    ),
    exact(
        "at",
        &[
            "at.hour in 9..17",
            "at.hour > 23",
            "at.hour >= 0",
            "at.weekday in [\"sat\", \"sun\"]",
            "at.weekday == \"monday\"",
            "at.hour < 9",
        ],
        &[
            "\"2026-03-02T08:00:00Z\"",
            "\"2026-03-02T09:00:00Z\"",
            "\"2026-03-02T18:00:00Z\"",
            "\"2026-03-07T08:00:00Z\"",
            "\"2026-03-07T12:00:00Z\"",
            "\"2026-03-08T18:00:00Z\"",
            "\"2026-03-08T12:00:00Z\"",
            "\"2026-03-07T23:00:00Z\"",
            "\"2026-03-03T12:00:00Z\"",
        ],
    ),
    loose(
        "currency",
        &[
            "currency startswith \"a\"",
            "currency == \"ab\"",
            "currency? like \"*b\"",
            "currency matches /^a+$/",
            "currency in names",
            "currency in hosts",
            "currency? in hosts",
            "len(currency) > 1",
            "lower(currency) == \"ab\"",
            "currency ~= \"AB\"",
            "currency in [\"ab\", \"cb\"]",
            "currency != action",
        ],
        &["", "\"ab\"", "\"AB\"", "\"cb\"", "\"aa\"", "\"\"", "\"c\"", "\"bank.example\"", "\"not a host\""],
    ),
    loose(
        "agent.purpose",
        &[
            "agent.purpose == agent.id",
            "agent.id == agent.purpose",
            "agent.purpose < agent.id",
            "agent.purpose? >= agent.id",
            "agent.id == agent.id",
            "agent.purpose != agent.purpose",
        ],
        &["", "\"a\"", "\"agent\"", "\"b\""],
    ),
    loose(
        "target",
        &[
            "target > cap",
            "target < cap",
            "target <= cap",
            "target == cap",
            "target > 20",
            "target in cap..30",
            "target? > free",
            "target < free",
            "cap > 25",
            "cap in 10..20",
        ],
        &["", "9", "10", "15", "20", "25", "\"x\""],
    ),
    loose(
        "payload",
        &[
            "any r in payload.list: r == \"a\"",
            "all r in payload.list: r? == \"a\"",
            "(count r in payload.list: r == \"a\") >= 1",
            "(count r in payload.list: r == \"a\") < 1",
            "(count r in payload.list: r == \"a\") == 2",
            "(count r in payload.list: r == \"a\") in 1..2",
            "payload.list has \"a\"",
            "payload.list? has any [\"a\", \"b\"]",
            "payload.list[0] == \"a\"",
            "has payload.list[1]",
            "len(payload.list) > 1",
            "(payload.list[0] else \"a\") == \"a\"",
        ],
        &[
            "",
            "{}",
            "{\"list\":[]}",
            "{\"list\":[\"a\"]}",
            "{\"list\":[\"a\",\"a\"]}",
            "{\"list\":[\"b\"]}",
            "{\"list\":[1]}",
            "{\"list\":[1,\"a\"]}",
            "{\"list\":[null,\"b\"]}",
            "{\"list\":\"a\"}",
        ],
    ),
    loose(
        "agent.status",
        &[
            "(if agent.paused then amount > 10 else amount < 5)",
            "(if amount > 5 then agent.paused else agent.paused)",
            "risk > 0.5",
            "risk <= 1",
            "agent.trust * 2 > 1",
            "agent.status == \"active\"",
            "amount / agent.trust > 10",
        ],
        &["\"active\"", "\"stopped\""],
    ),
];

/// A policy over a few dimensions, and those.
fn policy(dice: &mut Dice, only_exact: bool) -> (String, Vec<&'static Dimension>) {
    let known: Vec<&Dimension> =
        DIMENSIONS.iter().filter(|dimension| dimension.exact || !only_exact).collect();
    let mut dimensions: Vec<&Dimension> = Vec::new();
    for _ in 0..3 {
        let next = known[dice.below(known.len())];
        if dimensions.iter().all(|dimension| dimension.path != next.path) {
            dimensions.push(next);
        }
    }
    let mut text = String::from(
        "policy p {}\nparam cap: number = 15 in 10..20\nparam free: number = 15\nlist names: glob = [\"a*\", \"c?\"]\nlist hosts: domain = [\"bank.example\", \"ab\"]\n",
    );
    text.push_str(dice.one(&["", "default on intent allow\n", "default on intent deny\n"]));
    for number in 0..2 + dice.below(5) {
        let condition = condition(dice, &dimensions, 2);
        text.push_str(&format!("rule r{number} on intent {{ when {condition}"));
        if dice.chance(20) {
            text.push_str(&format!(" unless {}", test(dice, &dimensions)));
        }
        text.push_str(dice.one(&[
            " deny",
            " deny",
            " require approval",
            " require approval from \"ops\" by 2",
            " warn",
            " allow",
            " allow",
            " score +0.2",
        ]));
        text.push_str(
            dice.one(&[
                "",
                "",
                "",
                "",
                "",
                " score +0.1",
                " incident low",
                " mode shadow",
                " applies from 2026-03-03",
                " applies from 2026-03-01 until 2026-03-08",
                " controls = [\"SOC2:CC6.1\"]",
            ])
            .replace(" score +0.1", if text.ends_with("+0.2") { "" } else { " score +0.1" })
            .as_str(),
        );
        text.push_str(" }\n");
    }
    if dice.chance(30) {
        let until = dice.one(&["2026-03-01", "2026-03-05", "2027-01-01"]);
        let condition = condition(dice, &dimensions, 1);
        text.push_str(&format!("exempt r0 for {condition} until {until} because \"trial\"\n"));
    }
    (text, dimensions)
}

fn test(dice: &mut Dice, dimensions: &[&Dimension]) -> String {
    let dimension = dimensions[dice.below(dimensions.len())];
    dice.one(dimension.tests).to_owned()
}

fn condition(dice: &mut Dice, dimensions: &[&Dimension], depth: usize) -> String {
    if depth == 0 || dice.chance(20) {
        return test(dice, dimensions);
    }
    let word = dice.one(&[" and ", " and ", " or "]);
    let parts: Vec<String> =
        (0..2 + dice.below(2)).map(|_| format!("({})", condition(dice, dimensions, depth - 1))).collect();
    let joined = parts.join(word);
    if dice.chance(10) { format!("not ({joined})") } else { joined }
}

/// Events with every combination of values; those of fields that are not of these dimensions are at rest, or vary a
/// little where tests read them beside their own.
fn grid(dimensions: &[&Dimension], text: &str) -> Vec<Event> {
    let mut axes: Vec<(&str, Vec<&str>)> =
        dimensions.iter().map(|dimension| (dimension.path, dimension.values.to_vec())).collect();
    for (path, reads, values) in [
        ("amount", "amount", vec!["", "4", "5", "6", "11"]),
        ("agent.paused", "agent.paused", vec!["true", "false"]),
        ("agent.trust", "agent.trust", vec!["0", "0.25", "1"]),
        ("action", "action", vec!["\"ab\"", "\"z\""]),
    ] {
        if text.contains(reads) && axes.iter().all(|(axis, _)| *axis != path) {
            axes.push((path, values));
        }
    }
    if text.contains("applies") && axes.iter().all(|(axis, _)| *axis != "at") {
        let days = vec!["\"2026-02-01T00:00:00Z\"", "\"2026-03-04T12:00:00Z\"", "\"2026-06-01T00:00:00Z\""];
        axes.push(("at", days));
    }
    let mut rows: Vec<BTreeMap<&str, &str>> = vec![BTreeMap::new()];
    for (path, values) in axes {
        rows = rows
            .into_iter()
            .flat_map(|row| {
                values.iter().map(move |value| {
                    let mut row = row.clone();
                    row.insert(path, value);
                    row
                })
            })
            .collect();
    }
    rows.iter().map(|row| event(row)).collect()
}

fn event(row: &BTreeMap<&str, &str>) -> Event {
    let mut top = vec!["\"event\":\"intent\"".to_owned(), "\"org\":\"o\"".to_owned()];
    let mut agent = vec!["\"id\":\"agent\"".to_owned()];
    for (path, default) in [("at", "\"2026-03-04T12:00:00Z\""), ("action", "\"z\"")] {
        if !row.contains_key(path) {
            top.push(format!("\"{path}\":{default}"));
        }
    }
    for (path, value) in row.iter().filter(|(_, value)| !value.is_empty()) {
        match path.strip_prefix("agent.") {
            Some(name) => agent.push(format!("\"{name}\":{value}")),
            None => top.push(format!("\"{path}\":{value}")),
        }
    }
    top.push(format!("\"agent\":{{{}}}", agent.join(",")));
    let json = format!("{{{}}}", top.join(","));
    Event::decode(json.as_bytes(), Origin::Event)
        .unwrap_or_else(|error| panic!("{:?} in {json}", error.errors))
}

fn check(text: &str) -> Option<(PolicySet, Vec<Diagnostic>)> {
    let checked = lictor_dsl::check(vec![Source::new("p", text)]);
    let errors = checked.diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error);
    if errors.clone().count() > 0 {
        // An `allow` that could be unknown is refused, and a score that reads the risk; anything else is a mistake of
        // this test.
        let refused = |code: &str| code.starts_with("L04") || code == "L0604";
        errors.for_each(|error| assert!(refused(error.code), "{error:?} in\n{text}"));
        return None;
    }
    Some((checked.set, checked.diagnostics))
}

/// What a set decides about every event, with the parameters at several values.
fn decisions(set: &PolicySet, events: &[Event]) -> Vec<Decision> {
    let mut set = set.clone();
    let mut all = Vec::new();
    for cap in [15, 10, 20] {
        set.policies[0].set_param("cap", Const::Number(Number::whole(cap))).expect("in its range");
        let generation = Generation::interpreted(&set).expect("plans");
        all.extend(events.iter().map(|event| generation.judge(event)));
    }
    all
}

/// The truth of a rule in a decision; none if it is false.
fn truth(decision: &Decision, rule: &str) -> Option<ReportedTruth> {
    let report = decision.rules.iter().find(|report| report.rule.strip_prefix("p.") == Some(rule));
    report.map(|report| report.truth)
}

struct Case<'t> {
    text: &'t str,
    set: &'t PolicySet,
    events: &'t [Event],
    all: &'t [Decision],
}

impl Case<'_> {
    fn applies(&self, decision: &Decision, rule: &str) -> bool {
        let of = self.set.policies[0].rules.iter().find(|known| known.name == rule).expect("it exists");
        match truth(decision, rule) {
            Some(ReportedTruth::True) => true,
            Some(ReportedTruth::Unknown) => of.effect.as_ref().is_some_and(Effect::restricts),
            None => false,
        }
    }

    /// Whether an event lies on days on which the rule applies at all.
    fn in_force(&self, number: usize, rule: &str) -> bool {
        let of = self.set.policies[0].rules.iter().find(|known| known.name == rule).expect("it exists");
        let at = self.events[number % self.events.len()].at();
        of.from_us.is_none_or(|from| from <= at) && of.until_us.is_none_or(|until| at < until)
    }

    fn without(&self, rule: &str) -> Vec<Decision> {
        let mut set = self.set.clone();
        set.policies[0].rules.retain(|known| known.name != rule);
        decisions(&set, self.events)
    }

    /// Panics if a diagnostic says what is not so.
    fn holds(&self, diagnostic: &Diagnostic) {
        let quoted: Vec<&str> = diagnostic.message.split('`').skip(1).step_by(2).collect();
        let rule = quoted.first().copied().unwrap_or_default();
        let fail = |why: &str| panic!("{why}: {}\n{}", diagnostic.message, self.text);
        let is_true = |decision: &Decision| truth(decision, rule) == Some(ReportedTruth::True);
        match diagnostic.code {
            "L0902" => {
                for (number, decision) in self.all.iter().enumerate().filter(|(n, _)| self.in_force(*n, rule))
                {
                    assert!(
                        self.applies(decision, rule),
                        "event {number} escapes: {}\n{}",
                        diagnostic.message,
                        self.text
                    );
                }
            }
            "L0903" if diagnostic.message.contains("never be true") => {
                if self.all.iter().any(is_true) {
                    fail("it is true");
                }
            }
            "L0903" => {
                if self.all.iter().any(|decision| is_true(decision) || self.applies(decision, rule)) {
                    fail("it matches");
                }
            }
            "L0904" => self.part_is_redundant(diagnostic),
            "L0905" => {
                for (with, without) in self.all.iter().zip(self.without(rule)) {
                    let same = (with.decision, with.class, &with.approval)
                        == (without.decision, without.class, &without.approval);
                    if !same {
                        fail("it changes a decision");
                    }
                }
            }
            "L0906" => {
                let through = |decision: &&Decision| decision.decision != Outcome::Deny && is_true(decision);
                if self.all.iter().find(through).is_some() {
                    fail("it lets something through");
                }
            }
            "L0907" => {
                let other = quoted[1];
                if self.all.iter().any(|decision| truth(decision, rule) != truth(decision, other)) {
                    fail("they differ");
                }
            }
            "L0909" => self.applies_to_bare_events(rule, &diagnostic.message),
            "L0910" => {
                if self.all.iter().flat_map(|decision| &decision.rules).any(|report| report.exempted) {
                    fail("it exempts");
                }
            }
            _ => {}
        }
    }

    /// Everything optional left out, the rest as various as it can be.
    fn applies_to_bare_events(&self, rule: &str, message: &str) {
        let required: Vec<&Dimension> =
            DIMENSIONS.iter().filter(|dimension| !dimension.values[0].is_empty()).collect();
        let mut dice = Dice(7);
        let generation = Generation::interpreted(self.set).expect("plans");
        for _ in 0..200 {
            let row: BTreeMap<&str, &str> =
                required.iter().map(|dimension| (dimension.path, dice.one(dimension.values))).collect();
            let event = event(&row);
            let of = self.set.policies[0].rules.iter().find(|known| known.name == rule).expect("it exists");
            let at = event.at();
            let in_force =
                of.from_us.is_none_or(|from| from <= at) && of.until_us.is_none_or(|until| at < until);
            let decision = generation.judge(&event);
            assert!(!in_force || self.applies(&decision, rule), "{message}: {row:?} escapes\n{}", self.text);
        }
    }

    fn part_is_redundant(&self, diagnostic: &Diagnostic) {
        let (start, end) = balanced(self.text, diagnostic.span.start as usize, diagnostic.span.end as usize);
        let unless = diagnostic.message.starts_with("`unless");
        let neutral = if diagnostic.label.contains("cover") || unless { "false" } else { "true" };
        let text = format!("{}{neutral}{}", &self.text[..start], &self.text[end..]);
        let (set, _) = check(&text).unwrap_or_else(|| panic!("{}\n{text}", diagnostic.message));
        for (with, without) in self.all.iter().zip(decisions(&set, self.events)) {
            let truths = |decision: &Decision| -> Vec<(String, ReportedTruth)> {
                decision.rules.iter().map(|report| (report.rule.to_string(), report.truth)).collect()
            };
            assert_eq!(truths(with), truths(&without), "{}\n{}", diagnostic.message, self.text);
        }
    }
}

/// A stretch of text, wider where it holds one bracket of two.
fn balanced(text: &str, mut start: usize, mut end: usize) -> (usize, usize) {
    let (mut open, mut unopened) = (0, 0);
    for byte in text[start..end].bytes() {
        match byte {
            b'(' => open += 1,
            b')' if open > 0 => open -= 1,
            b')' => unopened += 1,
            _ => {}
        }
    }
    for _ in 0..unopened {
        start = text[..start].rfind('(').expect("it is opened");
    }
    for _ in 0..open {
        end += text[end..].find(')').expect("it is closed") + 1;
    }
    (start, end)
}

fn factor() -> u64 {
    std::env::var("LICTOR_FUZZ").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

#[test]
fn no_rule_is_accused_wrongly() {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut sets = 0;
    for seed in 1..=SETS * factor() {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (text, dimensions) = policy(&mut dice, false);
        let Some((set, diagnostics)) = check(&text) else { continue };
        let accused: Vec<&Diagnostic> = diagnostics.iter().filter(|d| d.code.starts_with("L09")).collect();
        if accused.is_empty() {
            continue;
        }
        let mut events = grid(&dimensions, &text);
        while events.len() > EVENTS {
            events.swap_remove(dice.below(events.len()));
        }
        let all = decisions(&set, &events);
        let case = Case { text: &text, set: &set, events: &events, all: &all };
        sets += 1;
        for diagnostic in accused {
            *seen.entry(diagnostic.code).or_default() += 1;
            case.holds(diagnostic);
        }
    }
    println!("{sets} accused sets: {seen:?}");
    for code in ["L0902", "L0903", "L0904", "L0905", "L0906", "L0909", "L0910"] {
        assert!(seen.get(code).is_some_and(|count| *count >= 3), "{code} hardly came up: {seen:?}");
    }
}

/// Where the lint sees all there is to see, what no event of the grid shows is found.
#[test]
fn no_rule_that_never_matches_is_missed() {
    let (mut never, mut always) = (0, 0);
    for seed in 1..=SETS * factor() {
        let mut dice = Dice(seed.wrapping_mul(0xd134_2543_de82_ef95));
        let (text, dimensions) = policy(&mut dice, true);
        let Some((set, diagnostics)) = check(&text) else { continue };
        if text.contains("applies") {
            continue;
        }
        let events = grid(&dimensions, &text);
        let generation = Generation::interpreted(&set).expect("plans");
        let all: Vec<Decision> = events.iter().map(|event| generation.judge(event)).collect();
        let case = Case { text: &text, set: &set, events: &events, all: &all };
        for rule in &set.policies[0].rules {
            let said = |code: &str| {
                diagnostics.iter().any(|d| d.code == code && d.message.contains(&format!("`{}`", rule.name)))
            };
            if !all.iter().any(|decision| truth(decision, &rule.name) == Some(ReportedTruth::True)) {
                never += 1;
                assert!(said("L0903"), "{} is never true, and nobody says so in\n{text}", rule.name);
            } else if all.iter().all(|decision| case.applies(decision, &rule.name)) {
                always += 1;
                assert!(said("L0902"), "{} always applies, and nobody says so in\n{text}", rule.name);
            }
        }
    }
    println!("{never} rules never match, {always} always do");
    assert!(never > 20 && always > 10);
}
