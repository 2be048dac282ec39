//! What inputs are made from: every policy of the project, the events of its tests, and generated histories.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use lictor_dsl::Source;
use lictor_dsl::hir::{Const, ExprKind, Test, TestValue};
use serde_json::{Map, Value, json};

use super::mutate::Random;
use super::support::{self, Choices};
use super::targets::{SECTION, Target};

/// The folder of the project.
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// How many generated policies there are, each with so many events.
const GENERATED: u64 = 64;
const EVENTS: usize = 24;

/// Texts of the project.
#[derive(Debug, Default)]
pub struct Seeds {
    /// Policies, as they stand in the project.
    policies: Vec<String>,
    /// Policies with events.
    judged: Vec<String>,
    /// Declarations and events: what begins at the margin, up to what begins there next.
    pieces: Vec<String>,
}

/// All seeds, read once.
pub fn seeds() -> &'static Seeds {
    static SEEDS: LazyLock<Seeds> = LazyLock::new(Seeds::read);
    &SEEDS
}

impl Seeds {
    fn read() -> Seeds {
        let mut seeds = Seeds::default();
        let mut above = Path::new(ROOT).ancestors();
        let project = above.find(|folder| folder.join("policy-templates").is_dir());
        policies(project.expect("it is a folder of the project"), &mut seeds.policies);
        // A few long ones would be all that is fuzzed.
        seeds.policies.retain(|text| text.len() <= 16 << 10);
        assert!(seeds.policies.len() > 50, "the project's policies are not where they were");
        for text in &seeds.policies {
            seeds.judged.push(format!("{text}{SECTION}{}", events(text).join("\n")));
        }
        for number in 0..GENERATED {
            seeds.judged.push(generated(number));
        }
        seeds.pieces = seeds.judged.iter().flat_map(|text| pieces(text)).collect();
        seeds
    }

    /// All that a target begins with.
    pub fn all(&self, target: Target) -> &[String] {
        match target {
            Target::Parse | Target::Check => &self.policies,
            Target::Judge => &self.judged,
        }
    }

    /// Any one that a target begins with.
    pub(crate) fn of(&self, target: Target, random: &mut Random) -> &str {
        let all = self.all(target);
        &all[random.below(all.len())]
    }

    /// Any declaration or event.
    pub(crate) fn piece(&self, random: &mut Random) -> &str {
        &self.pieces[random.below(self.pieces.len())]
    }
}

/// The policies in a folder and below, in the order of their paths.
fn policies(folder: &Path, found: &mut Vec<String>) {
    let mut paths: Vec<_> =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            policies(&path, found);
        } else if name.ends_with(".lictor") {
            found.extend(fs::read_to_string(&path).ok());
        }
    }
}

fn pieces(text: &str) -> Vec<String> {
    let mut pieces: Vec<String> = Vec::new();
    for line in text.lines() {
        let begins = line.starts_with(|c: char| c.is_alphabetic() || c == '{');
        match pieces.last_mut() {
            Some(piece) if !begins => {
                piece.push('\n');
                piece.push_str(line);
            }
            _ => pieces.push(line.to_owned()),
        }
    }
    pieces
}

fn generated(number: u64) -> String {
    let mut random = Random::new(number);
    let data: Vec<u16> = (0..400).map(|_| random.word()).collect();
    let mut choices = Choices::new(&data);
    let remembers = number.is_multiple_of(2);
    let mut text =
        if remembers { support::memory::policy(&mut choices) } else { support::policy(&mut choices) };
    text.push_str(SECTION);
    let mut minute = 600;
    for _ in 0..EVENTS {
        let data: Vec<u16> = (0..160).map(|_| random.word()).collect();
        let mut choices = Choices::new(&data);
        let event = if remembers {
            support::memory::event(&mut choices, &mut minute)
        } else {
            support::event(&mut choices)
        };
        text.push_str(&event);
        text.push('\n');
    }
    text
}

/// The events of a policy's tests as JSON, as far as they are written out; what happened before comes first.
fn events(text: &str) -> Vec<String> {
    let checked = lictor_dsl::check(vec![Source::new("p", text)]);
    let tests = checked.set.policies.iter().flat_map(|policy| &policy.tests);
    tests.flat_map(history).collect()
}

fn history(test: &Test) -> Vec<String> {
    let event = |kind: &str, minute: usize, members: &[(Vec<String>, TestValue)]| {
        let at = format!("2026-01-01T11:{minute:02}:00Z");
        let mut event = json!({"event": kind, "at": at, "org": "test", "agent": {"id": "agent"}});
        for (path, value) in &test.agent {
            put(&mut event["agent"], path, value);
        }
        members.iter().for_each(|(path, value)| put(&mut event, path, value));
        event.to_string()
    };
    let before = test
        .history
        .iter()
        .enumerate()
        .map(|(minute, past)| event(past.kind.name(), minute % 60, &past.members));
    before.chain([event(test.kind.name(), 59, &test.event)]).collect()
}

fn put(tree: &mut Value, path: &[String], value: &TestValue) {
    let mut place = tree;
    for name in path {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        place = &mut place[name];
    }
    *place = plain(value);
}

fn plain(value: &TestValue) -> Value {
    match value {
        TestValue::Null => Value::Null,
        TestValue::List(values) => values.iter().map(plain).collect(),
        TestValue::Object(members) => {
            let mut object = Value::Object(Map::new());
            members.iter().for_each(|(path, value)| put(&mut object, path, value));
            object
        }
        TestValue::Expr(expr) => match &expr.kind {
            ExprKind::Const(value) => constant(value),
            _ => Value::Null,
        },
    }
}

fn constant(value: &Const) -> Value {
    match value {
        Const::Bool(value) => json!(value),
        Const::Number(value) => serde_json::from_str(&value.to_string()).unwrap_or_default(),
        Const::List(values) => values.iter().map(constant).collect(),
        Const::Text(text) => json!(text),
        other => json!(other.to_string()),
    }
}
