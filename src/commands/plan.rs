//! `lictor plan`: what policies compile to.

use std::path::PathBuf;

use clap::Args;
use serde_json::Value;

use crate::{Outcome, policies, print};

/// Shows what policies compile to.
#[derive(Debug, Args)]
pub(crate) struct Plan {
    /// Files, or folders of .lictor files, that are active together.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Who reads the output.
    #[arg(long, value_enum, default_value = "text")]
    format: print::Format,
}

impl Plan {
    pub(crate) fn run(self) -> anyhow::Result<Outcome> {
        let Some(checked) = policies::usable(&self.paths)? else { return Ok(Outcome::Findings) };
        let plan = lictor_engine::plan::Plan::new(&checked.set)?;
        let json = plan.to_json();
        if self.format == print::Format::Json {
            print::json(&json)?;
        } else {
            show(&json)?;
        }
        Ok(Outcome::Clean)
    }
}

fn items<'j>(json: &'j Value, name: &str) -> &'j [Value] {
    json.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text<'j>(json: &'j Value, name: &str) -> &'j str {
    json.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn number(json: &Value, name: &str) -> u64 {
    json.get(name).and_then(Value::as_u64).unwrap_or_default()
}

fn words(values: &[Value]) -> String {
    values.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
}

/// What the bounds of a kind of event are called here, by their names.
const BOUNDS: [(&str, &str); 10] = [
    ("rules", "rules looked at"),
    ("predicates", "predicates called, each once; all others are comparisons within a rule"),
    ("questions", "questions put to memories"),
    ("look_ups", "look-ups of texts and tags"),
    ("searched_bytes", "bytes of text searched to find rules"),
    ("found_pieces", "pieces found there, before all rules are taken"),
    ("json_bytes", "bytes of json read, as far as rules ask for what is in it"),
    ("evaluations", "evaluations, those for reasons and for what is missing with them"),
    ("steps", "steps of all evaluations"),
    ("read_bytes", "bytes that they read"),
];

/// The bounds of one kind of event; what can't happen is left out.
fn at_most(kind: &Value) -> anyhow::Result<()> {
    print::line(format!("  {} ({} rules)", text(kind, "kind"), number(kind, "rules")))?;
    let Some(most) = kind.get("at_most") else { return Ok(()) };
    for (name, words) in BOUNDS.into_iter().filter(|(name, _)| number(most, name) > 0) {
        print::line(format!("    {:>16}  {words}", grouped(number(most, name))))?;
    }
    Ok(())
}

/// A number with commas between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let parts: Vec<&[u8]> = digits.as_bytes().rchunks(3).rev().collect();
    parts.iter().map(|part| String::from_utf8_lossy(part)).collect::<Vec<_>>().join(",")
}

fn show(plan: &Value) -> anyhow::Result<()> {
    print::line(format!("policy set  {}", text(plan, "policy_set")))?;
    print::line(format!("fields      {}", words(items(plan, "fields"))))?;
    for param in items(plan, "params") {
        print::line(format!("param       {} = {}", text(param, "param"), text(param, "value")))?;
    }
    print::line(print::bold("\npredicates, each answered once an event"))?;
    for predicate in items(plan, "predicates") {
        print::line(format!(
            "  {:>4}  {:<7} {}",
            number(predicate, "predicate"),
            text(predicate, "how"),
            text(predicate, "text")
        ))?;
    }
    let memories = items(plan, "memories");
    if !memories.is_empty() {
        print::line(print::bold("\nmemories, each kept once for each key"))?;
    }
    for memory in memories {
        print::line(format!("  {:>4}  {}", number(memory, "memory"), text(memory, "text")))?;
        print::line(format!(
            "        keeps {}, up to {} bytes a key, for up to {}; asked by {}",
            text(memory, "keeps"),
            number(memory, "bytes_per_key"),
            text(memory, "longest"),
            words(items(memory, "rules"))
        ))?;
    }
    print::line(print::bold("\nrules"))?;
    for rule in items(plan, "rules") {
        let kinds = words(items(rule, "kinds"));
        print::line(format!(
            "  {} on {kinds}, at most {} steps",
            text(rule, "rule"),
            number(rule, "step_bound")
        ))?;
        print::line(format!("        {}", text(rule, "condition")))?;
    }
    let kinds = || items(plan, "kinds").iter().filter(|kind| number(kind, "rules") > 0);
    print::line(print::bold("\nwhat judging one event can cost at most, with machine code"))?;
    for kind in kinds() {
        at_most(kind)?;
    }
    print::line(print::bold("\nindex: which rules are looked at"))?;
    for kind in kinds() {
        print::line(format!("  {} ({} rules)", text(kind, "kind"), number(kind, "rules")))?;
        let Some(index) = kind.get("index") else { continue };
        let always = words(items(index, "always"));
        print::line(format!("        always: {}", if always.is_empty() { "none" } else { &always }))?;
        for field in items(index, "fields") {
            for (value, rules) in field.get("by_text").and_then(Value::as_object).into_iter().flatten() {
                print::line(format!(
                    "        {} == {value:?}: {}",
                    text(field, "field"),
                    words(rules.as_array().map_or(&[], Vec::as_slice))
                ))?;
            }
            let absent = words(items(field, "when_absent"));
            if !absent.is_empty() {
                print::line(format!("        {} absent: {absent}", text(field, "field")))?;
            }
        }
    }
    Ok(())
}
