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
    print::line(print::bold("\nindex: which rules are looked at"))?;
    for kind in items(plan, "kinds").iter().filter(|kind| number(kind, "rules") > 0) {
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
