//! The events of a test: written as JSON and read like any other, so that a test can't make what could not be sent.

use std::collections::BTreeMap;

use lictor_dsl::events::{EventKind, fields_of};
use lictor_dsl::hir::{Const, PastOutcome, Test, TestValue};
use lictor_dsl::types::Type;

use crate::event::{Event, Origin};
use crate::interpret::expr::Scene;
use crate::plan::Plan;
use crate::value::Value;

/// An event of a test's history, ready to be remembered.
#[derive(Debug)]
pub(super) struct Past {
    /// What became of it.
    pub outcome: PastOutcome,
    /// What happened, at its ledger time.
    pub event: Event,
}

/// What an earlier event has in common with the judged one unless it says otherwise.
const SHARED: [&str; 3] = ["agent", "org", "task"];

/// The event that a test judges, what it leaves out filled with neutral values.
pub(super) fn event(plan: &Plan, test: &Test) -> Result<Event, String> {
    let mut tree = neutral(test.kind);
    put(plan, &mut tree, &agent(test), test.kind)?;
    put(plan, &mut tree, &test.event, test.kind)?;
    decode(&tree).map_err(|faults| format!("the event is invalid: {faults}"))
}

/// What happened before, in the order of time; what happened at once in the order of the test.
pub(super) fn history(plan: &Plan, test: &Test, judged: &Event) -> Result<Vec<Past>, String> {
    let shared = |path: &[String]| path.first().is_some_and(|name| SHARED.contains(&name.as_str()));
    let shared: Vec<_> = test.event.iter().filter(|(path, _)| shared(path)).cloned().collect();
    let mut past = Vec::new();
    for (number, written) in (1..).zip(&test.history) {
        let mut tree = neutral(written.kind);
        put(plan, &mut tree, &agent(test), written.kind)?;
        put(plan, &mut tree, &shared, written.kind)?;
        put(plan, &mut tree, &written.members, written.kind)?;
        let mut event = decode(&tree)
            .map_err(|faults| format!("event {number} of what happened before is invalid: {faults}"))?;
        if let Some(fault) = plan.schemas.faults(&event).first() {
            let (field, message) = (&fault.field, &fault.message);
            return Err(format!(
                "event {number} of what happened before breaks a schema, and would not be remembered: {field}: {message}"
            ));
        }
        event.set_at(judged.at().saturating_sub(written.before_us));
        past.push(Past { outcome: written.outcome, event });
    }
    past.sort_by_key(|past| past.event.at());
    Ok(past)
}

type Members = Vec<(Vec<String>, TestValue)>;

/// The members of a test's agent, as members of the event.
fn agent(test: &Test) -> Members {
    let members = test.agent.iter().map(|(path, value)| {
        (std::iter::once("agent".to_owned()).chain(path.iter().cloned()).collect(), value.clone())
    });
    members.collect()
}

/// JSON under construction: members by name, or the text of a value.
#[derive(Debug)]
enum Tree {
    Object(BTreeMap<String, Tree>),
    Text(String),
}

impl Tree {
    fn put(&mut self, path: &[String], value: Tree) -> Result<(), String> {
        let ([name, rest @ ..], Tree::Object(members)) = (path, self) else {
            return Err("a field is given a value and members at once".to_owned());
        };
        if !rest.is_empty() {
            return members
                .entry(name.clone())
                .or_insert_with(|| Tree::Object(BTreeMap::new()))
                .put(rest, value);
        }
        match (members.get_mut(name), value) {
            // What is given later is added to what is there, and has the last word.
            (Some(there @ Tree::Object(_)), Tree::Object(more)) => {
                more.into_iter().try_for_each(|(name, value)| there.put(&[name], value))
            }
            (Some(Tree::Object(_)), _) => Err(format!("`{name}` is given a value and members at once")),
            (_, value) => {
                members.insert(name.clone(), value);
                Ok(())
            }
        }
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

fn decode(tree: &Tree) -> Result<Event, String> {
    let mut text = String::new();
    tree.write(&mut text);
    Event::decode(text.as_bytes(), Origin::Event).map_err(|invalid| {
        let faults = invalid.errors.iter().map(|error| format!("{}: {}", error.field, error.message));
        faults.collect::<Vec<_>>().join("; ")
    })
}

/// An event of which nothing is said: the envelope, and the kind's own fields that must be there.
fn neutral(kind: EventKind) -> Tree {
    let envelope =
        [("event", kind.name()), ("at", "2026-01-01T12:00:00Z"), ("org", "test"), ("agent.id", "agent")];
    let envelope = envelope.into_iter().map(|(name, value)| (name, quoted(value)));
    let own = fields_of(kind).filter_map(|field| {
        let def = field.def();
        let shared = EventKind::ALL.iter().all(|kind| def.belongs_to(*kind));
        let value = match (def.name, def.ty) {
            _ if shared || def.optional => return None,
            ("step_type", _) => quoted("step.resource"),
            (_, Type::String) => quoted(""),
            (_, Type::Bool) => "false".to_owned(),
            _ => return None,
        };
        Some((def.name, value))
    });
    let mut tree = Tree::Object(BTreeMap::new());
    for (name, value) in envelope.chain(own) {
        let path: Vec<String> = name.split('.').map(str::to_owned).collect();
        // No name of the table is above another, so nothing is in the way.
        let _ = tree.put(&path, Tree::Text(value));
    }
    tree
}

/// Adds members to an event, their expressions worked out.
fn put(plan: &Plan, tree: &mut Tree, members: &Members, kind: EventKind) -> Result<(), String> {
    let neutral = decode(&neutral(kind))?;
    for (path, value) in members {
        tree.put(path, self::tree(plan, &neutral, value)?)?;
    }
    Ok(())
}

fn tree(plan: &Plan, neutral: &Event, value: &TestValue) -> Result<Tree, String> {
    Ok(match value {
        TestValue::Null => Tree::Text("null".to_owned()),
        TestValue::Object(members) => {
            let mut object = Tree::Object(BTreeMap::new());
            for (path, value) in members {
                object.put(path, tree(plan, neutral, value)?)?;
            }
            object
        }
        TestValue::List(values) => {
            let mut text = String::from("[");
            for (number, value) in values.iter().enumerate() {
                if number > 0 {
                    text.push(',');
                }
                tree(plan, neutral, value)?.write(&mut text);
            }
            text.push(']');
            Tree::Text(text)
        }
        TestValue::Expr(expr) => {
            let node = plan.lower(expr)?;
            let scene = Scene::new(neutral, &plan.values);
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
