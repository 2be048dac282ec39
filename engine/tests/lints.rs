//! What the checker says of rule sets is true: each accusation is held against every event of a grid that covers
//! every region that the rules can tell apart, absence too.
//!
//! `LICTOR_FUZZ` multiplies the number of rule sets; a failing one is printed with its event.

#![allow(
    clippy::collapsible_match,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that can't go on should say so"
)]

#[path = "support/grid.rs"]
mod grid;

use std::collections::BTreeMap;
use std::sync::Arc;

use lictor_dsl::Source;
use lictor_dsl::diagnostics::{Diagnostic, Severity};
use lictor_dsl::hir::{Const, Effect, PolicySet};
use lictor_dsl::number::Number;
use lictor_engine::Generation;
use lictor_engine::decision::{Decision, Outcome, ReportedTruth};
use lictor_engine::event::Event;

use self::grid::{DIMENSIONS, Dice, Dimension, event, grid, policy};

const SETS: u64 = 400;

/// The most events that accusations are held against: of a larger grid, as many by chance.
const EVENTS: usize = 600;

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
        Arc::make_mut(&mut set.policies[0])
            .set_param("cap", Const::Number(Number::whole(cap)))
            .expect("in its range");
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
        Arc::make_mut(&mut set.policies[0]).rules.retain(|known| known.name != rule);
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
