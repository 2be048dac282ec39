//! The rules and events that all benches share: as policy text, and as plain Rust for comparison.

#![allow(dead_code, reason = "each bench uses a part of it")]

use std::collections::HashMap;
use std::fmt::Write;

use lictor_dsl::Source;
use lictor_dsl::hir::PolicySet;
use lictor_engine::event::{Event, Origin};

/// Two shapes of rules: with an equality that an index can use, and without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// `action == A and amount > K and payload.host endswith S and agent.tags has any […]`
    Indexable,
    /// `amount > K and agent.trust < T and agent.tags has any […]`
    NoIndex,
}

impl Shape {
    pub(crate) const ALL: [(&'static str, Shape); 2] =
        [("indexable", Shape::Indexable), ("noindex", Shape::NoIndex)];
}

/// One rule with its numbers: everything follows from its place, so text and Rust can't drift apart.
struct Numbers {
    action: usize,
    amount: i128,
    host: usize,
    trust: i128,
    tags: [usize; 3],
}

fn numbers(rule: usize, rules: usize) -> Numbers {
    let spread = rule.wrapping_mul(0x9e37_79b9) >> 7;
    Numbers {
        action: rule % (rules / 8).max(1),
        amount: (spread % 1_000) as i128,
        host: spread % 16,
        trust: (spread % 30) as i128,
        tags: [spread % 50, (spread / 50) % 50, (spread / 2_500) % 50],
    }
}

/// The rules as policy text, 1,000 to a file.
pub(crate) fn sources(shape: Shape, rules: usize, changed: usize) -> Vec<Source> {
    let mut sources = Vec::new();
    for first in (0..rules).step_by(1_000) {
        let mut text = format!("policy p{} {{}}\ndefault on intent allow\n", first / 1_000);
        for rule in first..rules.min(first + 1_000) {
            let n = numbers(rule, rules);
            let tags: Vec<String> = n.tags.iter().map(|tag| format!("\"t{tag}\"")).collect();
            let amount = if rule == 0 { n.amount + changed as i128 } else { n.amount };
            let condition = match shape {
                Shape::Indexable => format!(
                    "action == \"a{}\" and amount > {amount} and payload.host endswith \".h{}.example\" and agent.tags has any [{}]",
                    n.action,
                    n.host,
                    tags.join(", ")
                ),
                Shape::NoIndex => {
                    format!(
                        "amount > {amount} and agent.trust < 0.{:02} and agent.tags has any [{}]",
                        n.trust,
                        tags.join(", ")
                    )
                }
            };
            writeln!(text, "rule r{rule} on intent {{ when {condition} deny }}")
                .expect("strings take writes");
        }
        sources.push(Source::new(format!("p{}.lictor", first / 1_000), text));
    }
    sources
}

/// The rules, checked.
pub(crate) fn policies(shape: Shape, rules: usize) -> PolicySet {
    lictor_dsl::check(sources(shape, rules, 0)).into_set().expect("the workload is well typed")
}

/// Events as JSON: 0 to 3 rules match most of them.
pub(crate) fn events_json(rules: usize) -> Vec<String> {
    (0..64usize)
        .map(|number| {
            let spread = number.wrapping_mul(0x85eb_ca6b) >> 5;
            format!(
                concat!(
                    r#"{{"event":"intent","at":"2026-03-01T09:30:00.123Z","org":"acme","agent":{{"id":"agent-{}","name":"Refund bot","#,
                    r#""type":"autonomous","status":"active","tags":["t{}","t{}"],"trust":0.{:02},"environment":"production","#,
                    r#""registered_at":"2026-01-01T00:00:00Z"}},"task":"task-{}","action":"a{}","amount":{},"currency":"EUR","#,
                    r#""target":{{"account":"NL91ABNA0417164300","name":"Example"}},"payload":{{"host":"api.h{}.example","order_id":"o-{}","#,
                    r#""items":[{{"sku":"A-1","count":2}},{{"sku":"B-7","count":1}}],"note":"second delivery, customer waited"}}}}"#
                ),
                number % 7,
                spread % 50,
                (spread / 50) % 50,
                spread % 30,
                number,
                spread % (rules / 8).max(1),
                spread % 1_000,
                spread % 16,
                spread
            )
        })
        .collect()
}

/// The same events, decoded.
pub(crate) fn events(rules: usize) -> Vec<Event> {
    events_json(rules)
        .iter()
        .map(|json| Event::decode(json.as_bytes(), Origin::Event).expect("the workload is valid"))
        .collect()
}

/// What a Rust programmer would write by hand for these rules.
pub(crate) struct ByHand {
    shape: Shape,
    by_action: HashMap<String, Vec<HandRule>>,
    all: Vec<HandRule>,
}

struct HandRule {
    name: String,
    amount: i128,
    host: String,
    trust: i128,
    tags: [String; 3],
}

/// The fields that the rules read.
pub(crate) struct HandEvent {
    action: String,
    amount: i128,
    host: String,
    trust: i128,
    tags: Vec<String>,
}

impl ByHand {
    pub(crate) fn new(shape: Shape, rules: usize) -> ByHand {
        let mut hand = ByHand { shape, by_action: HashMap::new(), all: Vec::new() };
        for rule in 0..rules {
            let n = numbers(rule, rules);
            let compiled = HandRule {
                name: format!("p{}.r{rule}", rule / 1_000),
                amount: n.amount * 1_000_000_000,
                host: format!(".h{}.example", n.host),
                trust: n.trust * 10_000_000,
                tags: n.tags.map(|tag| format!("t{tag}")),
            };
            match shape {
                Shape::Indexable => {
                    hand.by_action.entry(format!("a{}", n.action)).or_default().push(compiled)
                }
                Shape::NoIndex => hand.all.push(compiled),
            }
        }
        hand
    }

    /// Whether it may happen, and the rules that say no.
    pub(crate) fn judge<'h>(&'h self, event: &HandEvent, matched: &mut Vec<&'h str>) -> bool {
        matched.clear();
        let has_tag = |rule: &HandRule| rule.tags.iter().any(|tag| event.tags.contains(tag));
        match self.shape {
            Shape::Indexable => {
                for rule in self.by_action.get(&event.action).map_or(&[][..], Vec::as_slice) {
                    if event.amount > rule.amount && event.host.ends_with(&rule.host) && has_tag(rule) {
                        matched.push(&rule.name);
                    }
                }
            }
            Shape::NoIndex => {
                for rule in &self.all {
                    if event.amount > rule.amount && event.trust < rule.trust && has_tag(rule) {
                        matched.push(&rule.name);
                    }
                }
            }
        }
        matched.is_empty()
    }
}

/// The events as the hand-written rules read them.
pub(crate) fn hand_events(rules: usize) -> Vec<HandEvent> {
    events_json(rules)
        .iter()
        .map(|json| {
            let json: serde_json::Value = serde_json::from_str(json).expect("the workload is JSON");
            let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
            HandEvent {
                action: text(&json["action"]),
                amount: i128::from(json["amount"].as_i64().expect("a whole number")) * 1_000_000_000,
                host: text(&json["payload"]["host"]),
                trust: (json["agent"]["trust"].as_f64().expect("a number") * 1_000_000_000.0).round() as i128,
                tags: json["agent"]["tags"].as_array().expect("a list").iter().map(text).collect(),
            }
        })
        .collect()
}
