//! Runs the tests that stand beside rules: each at the defaults of the parameters, and where it mentions one with a
//! range, at both ends of that too.

mod company;
mod expect;
mod given;

use std::collections::BTreeMap;
use std::sync::Arc;

use lictor_dsl::hir::{Const, Expect, ExprKind, Param, PastOutcome, Policy, PolicySet, Test, TestValue};
use serde::Serialize;

use crate::coverage::Coverage;
use crate::explain::RuleExplanation;
use crate::generation::{Engine, Generation};
use crate::memory::Fate;
use crate::plan::PlanError;
use crate::run::Run;
use given::Past;

/// How one test ended.
#[derive(Debug, Clone, Serialize)]
pub struct TestReport {
    /// Its policy.
    pub policy: String,
    /// Its name.
    pub test: String,
    /// How often it ran: once, and once more for each end of each parameter that it mentions.
    pub runs: usize,
    /// What came out differently, and at which value of a parameter if not at its default; empty if it passed.
    pub failures: Vec<String>,
    /// What the rules said when it failed first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleExplanation>,
}

/// Runs all tests of all policies of a set, each with both engines.
pub fn run_tests(set: &PolicySet) -> Result<Vec<TestReport>, PlanError> {
    trial(set, &mut None)
}

/// Runs all tests, and says what they have seen of the rules.
pub fn run_tests_with_coverage(set: &PolicySet) -> Result<(Vec<TestReport>, Coverage), PlanError> {
    let mut coverage = Some(Coverage::new(set));
    let reports = trial(set, &mut coverage)?;
    Ok((reports, coverage.unwrap_or_default()))
}

/// The parameters that are not at their defaults, by full name.
type Settings = Vec<(String, Const)>;

fn trial(set: &PolicySet, coverage: &mut Option<Coverage>) -> Result<Vec<TestReport>, PlanError> {
    // Policies whose tests run with the same others are tried at once.
    let mut companies: BTreeMap<Vec<usize>, Vec<usize>> = BTreeMap::new();
    for (number, _) in set.policies.iter().enumerate().filter(|(_, policy)| !policy.tests.is_empty()) {
        companies.entry(company::company(set, number)).or_default().push(number);
    }
    let name = |number: &usize| set.policies.get(*number).map(|policy| policy.name.as_str());
    let mut reports = Vec::new();
    for (company, tried) in companies {
        let policies = company.iter().filter_map(|number| set.policies.get(*number)).cloned().collect();
        let tried: Vec<&str> = tried.iter().filter_map(name).collect();
        reports.extend(try_policies(&PolicySet { policies }, &tried, coverage)?);
    }
    // As the policies stand in the set; the tests of each are in their order.
    reports.sort_by_key(|report| set.policies.iter().position(|policy| policy.name == report.policy));
    Ok(reports)
}

/// Runs the tests of some policies of a set.
fn try_policies(
    set: &PolicySet,
    tried: &[&str],
    coverage: &mut Option<Coverage>,
) -> Result<Vec<TestReport>, PlanError> {
    let set = at_defaults(set);
    let policies = || set.policies.iter().filter(|policy| tried.contains(&policy.name.as_str()));
    let tests = || policies().flat_map(|policy| policy.tests.iter().map(move |test| (policy.as_ref(), test)));
    let mut reports: Vec<TestReport> = tests().map(|(policy, test)| report(policy, test)).collect();
    let mut runs: BTreeMap<Settings, Vec<usize>> = BTreeMap::new();
    for (number, (_, test)) in tests().enumerate() {
        settings(&set, test).into_iter().for_each(|settings| runs.entry(settings).or_default().push(number));
    }
    let all: Vec<(&Policy, &Test)> = tests().collect();
    let defaults = Generation::compile(&set)?;
    // Tests at the same values share a generation; it is gone before the next is made.
    for (settings, numbers) in runs {
        let changed = match settings.as_slice() {
            [] => None,
            settings => Some(Generation::replacing(&with(&set, settings), Some(&defaults))?),
        };
        let generation = changed.as_ref().unwrap_or(&defaults);
        for number in numbers {
            let (Some((policy, test)), Some(report)) = (all.get(number), reports.get_mut(number)) else {
                continue;
            };
            let (failures, rules) = run(generation, policy, test, coverage);
            if report.failures.is_empty() {
                report.rules = rules;
            }
            let place = place(policy, test, &settings);
            report.failures.extend(failures.into_iter().map(|failure| format!("{place}{failure}")));
            report.runs += 1;
        }
    }
    Ok(reports)
}

fn report(policy: &Policy, test: &Test) -> TestReport {
    let (policy, test) = (policy.name.clone(), test.name.clone());
    TestReport { policy, test, runs: 0, failures: Vec::new(), rules: Vec::new() }
}

/// The set with every parameter at its default, whatever is in force.
fn at_defaults(set: &PolicySet) -> PolicySet {
    let mut set = set.clone();
    for param in set.policies.iter_mut().flat_map(|policy| &mut Arc::make_mut(policy).params) {
        param.value = param.default.clone();
    }
    set
}

/// The set with some parameters changed.
fn with(set: &PolicySet, settings: &[(String, Const)]) -> PolicySet {
    let mut set = set.clone();
    for policy in set.policies.iter_mut().map(Arc::make_mut) {
        for param in &mut policy.params {
            let full = format!("{}.{}", policy.name, param.name);
            if let Some((_, value)) = settings.iter().find(|(name, _)| *name == full) {
                param.value = value.clone();
            }
        }
    }
    set
}

/// At which values a test runs. A parameter that it pins is not varied.
fn settings(set: &PolicySet, test: &Test) -> Vec<Settings> {
    let pins: Settings = test.pins.clone();
    let mut all = vec![pins.clone()];
    for name in mentioned(test) {
        let Some(param) = param(set, &name) else { continue };
        let Some((low, high)) = &param.range else { continue };
        if pins.iter().any(|(pinned, _)| *pinned == name) {
            continue;
        }
        for end in [low, high] {
            let mut varied = pins.clone();
            varied.push((name.clone(), end.clone()));
            if *end != param.default && !all.contains(&varied) {
                all.push(varied);
            }
        }
    }
    all
}

fn param<'s>(set: &'s PolicySet, full: &str) -> Option<&'s Param> {
    let (policy, name) = full.split_once('.')?;
    let policy = set.policies.iter().find(|known| known.name == policy)?;
    policy.params.iter().find(|param| param.name == name)
}

/// The parameters that a test reads, each once.
fn mentioned(test: &Test) -> Vec<String> {
    let mut found = Vec::new();
    let history = test.history.iter().flat_map(|past| &past.members);
    for (_, value) in test.agent.iter().chain(&test.event).chain(history) {
        mentioned_in(value, &mut found);
    }
    for expect in &test.expects {
        if let Expect::Because(text) = expect {
            mentioned_in(&TestValue::Expr(text.clone()), &mut found);
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

fn mentioned_in(value: &TestValue, found: &mut Vec<String>) {
    match value {
        TestValue::Null => {}
        TestValue::Object(members) => members.iter().for_each(|(_, value)| mentioned_in(value, found)),
        TestValue::List(values) => values.iter().for_each(|value| mentioned_in(value, found)),
        TestValue::Expr(expr) => {
            expr.any(&mut |part| {
                if let ExprKind::Param(name) = &part.kind {
                    found.push(name.clone());
                }
                false
            });
        }
    }
}

/// At which values a failure came about, beside those that the test pins itself.
fn place(policy: &Policy, test: &Test, settings: &[(String, Const)]) -> String {
    let own = format!("{}.", policy.name);
    let varied = settings.iter().filter(|setting| !test.pins.contains(setting));
    let varied: Vec<String> = varied
        .map(|(name, value)| format!("{} = {value}", name.strip_prefix(&own).unwrap_or(name)))
        .collect();
    if varied.is_empty() { String::new() } else { format!("at {}: ", varied.join(", ")) }
}

fn run(
    generation: &Generation,
    policy: &Policy,
    test: &Test,
    coverage: &mut Option<Coverage>,
) -> (Vec<String>, Vec<RuleExplanation>) {
    let failed = |reason: String| (vec![reason], Vec::new());
    let plan = generation.plan();
    let event = match given::event(plan, test) {
        Ok(event) => event,
        Err(reason) => return failed(reason),
    };
    let past = match given::history(plan, test, &event) {
        Ok(past) => past,
        Err(reason) => return failed(reason),
    };
    let mut run = after(generation, past);
    let memories = run.memories(event.org());
    let decision = generation.judge_with(&event, memories, Engine::Jit);
    let mut failures: Vec<String> = test
        .expects
        .iter()
        .filter_map(|expect| expect::fault(expect, &decision, policy, plan, &event))
        .collect();
    if decision != generation.judge_with(&event, memories, Engine::Interpreter) {
        failures.push(
            "interpreter and machine code disagree: please report this policy as a fault of the engine"
                .to_owned(),
        );
    }
    if let Some(coverage) = coverage {
        coverage.observe(plan, &event, memories, decision.risk);
    }
    let rules = if failures.is_empty() { Vec::new() } else { generation.explain(&event, memories).rules };
    (failures, rules)
}

/// A run after what happened before: unjudged, each event with its outcome.
fn after(generation: &Generation, past: Vec<Past>) -> Run<'_> {
    let mut run = Run::new(generation, Engine::Jit);
    for Past { outcome, event } in past {
        let fate = match outcome {
            PastOutcome::Happened => Fate::Happened,
            PastOutcome::Denied => Fate::Denied,
            PastOutcome::Waiting => Fate::Waiting,
        };
        run.past(event, fate);
    }
    run
}
