//! Runs the tests that stand beside rules.

use std::collections::BTreeMap;

use lictor_dsl::events::{EventKind, fields_of};
use lictor_dsl::hir::{Comparison, Const, Expect, Policy, PolicySet, Test, TestValue};
use lictor_dsl::types::Type;
use serde::Serialize;

use crate::decision::{Class, Decision, ReportedTruth};
use crate::event::{Event, Origin};
use crate::explain::RuleExplanation;
use crate::generation::{Engine, Generation};
use crate::interpret::expr::Scene;
use crate::memory::Memories;
use crate::plan::{Plan, PlanError};
use crate::value::Value;

/// How one test ended.
#[derive(Debug, Clone, Serialize)]
pub struct TestReport {
    /// Its policy.
    pub policy: String,
    /// Its name.
    pub test: String,
    /// What came out differently; empty if it passed.
    pub failures: Vec<String>,
    /// What the rules said, if it failed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleExplanation>,
}

/// Runs all tests of all policies of a set, each with both engines.
pub fn run_tests(set: &PolicySet) -> Result<Vec<TestReport>, PlanError> {
    let generation = Generation::compile(set)?;
    let mut reports = Vec::new();
    for (number, policy) in set.policies.iter().enumerate() {
        for test in &policy.tests {
            let pinned = if test.pins.is_empty() { None } else { Some(pin(set, number, test, &generation)?) };
            let (failures, rules) = run(pinned.as_ref().unwrap_or(&generation), policy, test);
            reports.push(TestReport {
                policy: policy.name.clone(),
                test: test.name.clone(),
                failures,
                rules,
            });
        }
    }
    Ok(reports)
}

/// The set with the parameters that a test pins.
fn pin(set: &PolicySet, policy: usize, test: &Test, previous: &Generation) -> Result<Generation, PlanError> {
    let mut set = set.clone();
    for param in set.policies.iter_mut().skip(policy).take(1).flat_map(|policy| &mut policy.params) {
        if let Some((_, value)) = test.pins.iter().find(|(name, _)| *name == param.name) {
            param.value = value.clone();
        }
    }
    Generation::replacing(&set, Some(previous))
}

fn run(generation: &Generation, policy: &Policy, test: &Test) -> (Vec<String>, Vec<RuleExplanation>) {
    let json = match event_json(generation.plan(), test) {
        Ok(json) => json,
        Err(reason) => return (vec![reason], Vec::new()),
    };
    let event = match Event::decode(json.as_bytes(), Origin::Event) {
        Ok(event) => event,
        Err(invalid) => {
            let faults = invalid
                .errors
                .iter()
                .map(|error| format!("the event is invalid: {}: {}", error.field, error.message));
            return (faults.collect(), Vec::new());
        }
    };
    let memories = Memories::new(generation);
    let decision = generation.judge_with(&event, &memories, Engine::Jit);
    let mut failures: Vec<String> =
        test.expects.iter().filter_map(|expect| check(expect, &decision, policy)).collect();
    if decision != generation.judge_with(&event, &memories, Engine::Interpreter) {
        failures.push(
            "interpreter and machine code disagree: please report this policy as a fault of the engine"
                .to_owned(),
        );
    }
    let rules = if failures.is_empty() { Vec::new() } else { generation.explain(&event, &memories).rules };
    (failures, rules)
}

/// What is wrong with a decision, if anything.
fn check(expect: &Expect, decision: &Decision, policy: &Policy) -> Option<String> {
    let short = |name: &str| name.strip_prefix(&format!("{}.", policy.name)).unwrap_or(name).to_owned();
    match expect {
        Expect::NoMatch => {
            let names: Vec<String> = decision.rules.iter().map(|rule| short(&rule.rule)).collect();
            (!names.is_empty()).then(|| format!("expected no match, but got {}", names.join(", ")))
        }
        Expect::Incident(severity) => {
            let wanted = severity.name();
            let found: Vec<&str> =
                decision.incidents.iter().map(|incident| incident.severity.name()).collect();
            (!found.contains(&wanted)).then(|| match found.as_slice() {
                [] => format!("expected an incident {wanted}, but there is none"),
                found => format!("expected an incident {wanted}, but got {}", found.join(", ")),
            })
        }
        Expect::Risk(comparison, wanted) => {
            let holds = match comparison {
                Comparison::Equal | Comparison::Same => decision.risk == *wanted,
                Comparison::NotEqual => decision.risk != *wanted,
                Comparison::Less => decision.risk < *wanted,
                Comparison::LessOrEqual => decision.risk <= *wanted,
                Comparison::Greater => decision.risk > *wanted,
                Comparison::GreaterOrEqual => decision.risk >= *wanted,
            };
            (!holds).then(|| {
                format!("expected risk {} {wanted}, but it is {}", comparison.symbol(), decision.risk)
            })
        }
        Expect::Because(wanted) => {
            let found = decision.reason.as_deref().unwrap_or("no reason");
            (found != wanted).then(|| format!("expected because \"{wanted}\", but got \"{found}\""))
        }
        Expect::Decision { outcome, by, undecided } => {
            if decision.decision.name() != outcome {
                let (found, class) = (decision.decision.name(), decision.class.name());
                return Some(format!("expected {}, but got {} ({class})", spoken(outcome), spoken(found)));
            }
            if by.is_empty() {
                let unknown = decision.class == Class::Undecided;
                return (*undecided && !unknown).then(|| {
                    format!(
                        "expected {} undecided, but its class is {}",
                        spoken(outcome),
                        decision.class.name()
                    )
                });
            }
            by.iter().find_map(|name| {
                let Some(report) = decision.rules.iter().find(|rule| *rule.rule == **name) else {
                    return Some(format!(
                        "expected {} by {}, but that rule did not apply",
                        spoken(outcome),
                        short(name)
                    ));
                };
                let is_unknown = report.truth == ReportedTruth::Unknown;
                if report.effect.map(|effect| effect.name()) != Some(outcome.as_str()) {
                    Some(format!(
                        "expected {} by {}, but that rule asks for something else",
                        spoken(outcome),
                        short(name)
                    ))
                } else if is_unknown != *undecided {
                    let (wanted, found) =
                        if *undecided { ("undecided", "certain") } else { ("certain", "undecided") };
                    let missing = if report.missing.is_empty() {
                        String::new()
                    } else {
                        format!(" (missing {})", report.missing.join(", "))
                    };
                    Some(format!("expected {} to be {wanted}, but it is {found}{missing}", short(name)))
                } else {
                    None
                }
            })
        }
    }
}

fn spoken(outcome: &str) -> String {
    outcome.replace('_', " ")
}

/// JSON under construction: members by name, or the text of a value.
enum Tree {
    Object(BTreeMap<String, Tree>),
    Text(String),
}

impl Tree {
    fn put(&mut self, path: &[String], value: Tree) -> Result<(), String> {
        let ([name, rest @ ..], Tree::Object(members)) = (path, self) else {
            return Err("a field is given a value and members at once".to_owned());
        };
        if rest.is_empty() {
            return match members.insert(name.clone(), value) {
                // What is neutral gives way; what the test says twice does not.
                Some(Tree::Object(_)) => Err(format!("`{name}` is given a value and members at once")),
                _ => Ok(()),
            };
        }
        members.entry(name.clone()).or_insert_with(|| Tree::Object(BTreeMap::new())).put(rest, value)
    }

    fn write(&self, into: &mut String) {
        match self {
            Tree::Text(text) => into.push_str(text),
            Tree::Object(members) => {
                into.push('{');
                for (number, (name, value)) in members.iter().enumerate() {
                    if number > 0 {
                        into.push(',');
                    }
                    into.push_str(&quoted(name));
                    into.push(':');
                    value.write(into);
                }
                into.push('}');
            }
        }
    }
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

/// The event of a test, what it leaves out filled with neutral values.
fn event_json(plan: &Plan, test: &Test) -> Result<String, String> {
    let neutral = neutral_event(test.kind)?;
    let scene = Scene::new(&neutral, &plan.values);
    let mut tree = Tree::Object(BTreeMap::new());
    for (path, text) in neutral_members(test.kind) {
        tree.put(&path, Tree::Text(text))?;
    }
    for (path, value) in &test.agent {
        let path: Vec<String> = std::iter::once("agent".to_owned()).chain(path.iter().cloned()).collect();
        tree.put(&path, self::tree(plan, &scene, value)?)?;
    }
    for (path, value) in &test.event {
        tree.put(path, self::tree(plan, &scene, value)?)?;
    }
    let mut text = String::new();
    tree.write(&mut text);
    Ok(text)
}

fn neutral_event(kind: EventKind) -> Result<Event, String> {
    let mut tree = Tree::Object(BTreeMap::new());
    for (path, text) in neutral_members(kind) {
        tree.put(&path, Tree::Text(text))?;
    }
    let mut text = String::new();
    tree.write(&mut text);
    Event::decode(text.as_bytes(), Origin::Event).map_err(|error| error.to_string())
}

/// The envelope, and the kind's own fields that must be there.
fn neutral_members(kind: EventKind) -> Vec<(Vec<String>, String)> {
    let path = |name: &str| name.split('.').map(str::to_owned).collect::<Vec<_>>();
    let envelope =
        [("event", kind.name()), ("at", "2026-01-01T12:00:00Z"), ("org", "test"), ("agent.id", "agent")];
    let mut members: Vec<_> = envelope.into_iter().map(|(name, value)| (path(name), quoted(value))).collect();
    for field in fields_of(kind) {
        let def = field.def();
        let shared = EventKind::ALL.iter().all(|kind| def.belongs_to(*kind));
        if shared || def.optional {
            continue;
        }
        let value = match (def.name, def.ty) {
            ("step_type", _) => quoted("step.resource"),
            (_, Type::String) => quoted(""),
            (_, Type::Bool) => "false".to_owned(),
            _ => continue,
        };
        members.push((path(def.name), value));
    }
    members
}

fn tree(plan: &Plan, scene: &Scene<'_>, value: &TestValue) -> Result<Tree, String> {
    Ok(match value {
        TestValue::Object(members) => {
            let mut object = Tree::Object(BTreeMap::new());
            for (path, value) in members {
                object.put(path, tree(plan, scene, value)?)?;
            }
            object
        }
        TestValue::List(values) => {
            let mut text = String::from("[");
            for (number, value) in values.iter().enumerate() {
                if number > 0 {
                    text.push(',');
                }
                tree(plan, scene, value)?.write(&mut text);
            }
            text.push(']');
            Tree::Text(text)
        }
        TestValue::Expr(expr) => {
            let node = plan.lower(expr)?;
            let scene = Scene::new(scene.event, scene.params);
            let value = scene.evaluate(&node).ok_or_else(|| format!("`{expr}` has no value"))?;
            Tree::Text(json_text(&value))
        }
    })
}

fn json_text(value: &Value<'_>) -> String {
    match value {
        Value::Bool(value) => value.to_string(),
        Value::Number(value) => value.to_string(),
        Value::Consts(values) => {
            let values: Vec<String> =
                values.iter().map(|value: &Const| json_text(&Value::of_const(value))).collect();
            format!("[{}]", values.join(","))
        }
        other => quoted(&other.to_string()),
    }
}
