//! What tests have seen of rules, for people and for machines.

use lictor_dsl::Source;
use lictor_dsl::source::{Lines, Span};
use lictor_engine::Truth;
use lictor_engine::coverage::{Coverage, PartCoverage, PolicyCoverage, RuleCoverage, Seen};
use serde_json::{Value, json};

use crate::print;

/// For each policy a percentage, and the rules and parts of which something is left to be seen.
pub(super) fn show(sources: &[Source], coverage: &Coverage) -> anyhow::Result<()> {
    print::line("")?;
    for policy in &coverage.policies {
        let (met, possible) = policy.met_of();
        let summary = format!("{}: {} % covered ({met} of {possible})", policy.policy, policy.percent());
        print::line(print::bold(&summary))?;
        for rule in policy.rules.iter().filter(|rule| !rule.is_complete()) {
            show_rule(sources, rule)?;
        }
    }
    Ok(())
}

fn show_rule(sources: &[Source], rule: &RuleCoverage) -> anyhow::Result<()> {
    let never = rule.whole.missing().map(|truth| match truth {
        Truth::False => "never not matched",
        _ => "never matched",
    });
    let never: Vec<&str> = never.collect();
    let place = Place::of(sources, rule.span);
    let note = if never.is_empty() { String::new() } else { format!(": {}", never.join(", ")) };
    print::line(format!("  {}:{} {}{note}", place.file, place.line, rule.rule))?;
    for part in &rule.parts {
        let never: Vec<&str> = part.seen.missing().map(Truth::name).collect();
        if never.is_empty() {
            continue;
        }
        let place = Place::of(sources, part.span);
        print::line(format!("    {:>5} | {}", place.line, place.text))?;
        print::line(format!("          | `{}` was never {}", part.text, never.join(" or ")))?;
    }
    Ok(())
}

/// The same with everything in it.
pub(super) fn to_json(sources: &[Source], coverage: &Coverage) -> Value {
    let part = |part: &PartCoverage| {
        let place = Place::of(sources, part.span);
        json!({"text": part.text, "file": place.file, "line": place.line,
            "met": met(part.seen), "missing": missing(part.seen)})
    };
    let rule = |rule: &RuleCoverage| {
        let place = Place::of(sources, rule.span);
        json!({
            "rule": rule.rule, "file": place.file, "line": place.line,
            "matched": rule.whole.met(Truth::True), "not_matched": rule.whole.met(Truth::False),
            "parts": rule.parts.iter().map(part).collect::<Vec<_>>(),
        })
    };
    let policy = |policy: &PolicyCoverage| {
        let (met, possible) = policy.met_of();
        json!({
            "policy": policy.policy, "percent": policy.percent(), "met": met, "possible": possible,
            "rules": policy.rules.iter().map(rule).collect::<Vec<_>>(),
        })
    };
    coverage.policies.iter().map(policy).collect()
}

fn met(seen: Seen) -> Vec<&'static str> {
    lictor_engine::coverage::TRUTHS.into_iter().filter(|truth| seen.met(*truth)).map(Truth::name).collect()
}

fn missing(seen: Seen) -> Vec<&'static str> {
    seen.missing().map(Truth::name).collect()
}

/// A line of a file.
struct Place<'s> {
    file: &'s str,
    line: usize,
    text: &'s str,
}

impl Place<'_> {
    fn of(sources: &[Source], span: Span) -> Place<'_> {
        let Some(source) = sources.get(span.source as usize) else {
            return Place { file: "", line: 0, text: "" };
        };
        let (line, _) = Lines::new(source).line_column(span.start as usize);
        let text = source.text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
        Place { file: &source.name, line, text: text.trim() }
    }
}
