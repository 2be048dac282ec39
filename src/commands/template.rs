//! `lictor template`: what templates there are, what one asks for, and whether it holds.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use lictor_dsl::diagnostics::Severity;
use lictor_dsl::hir::{Param, Policy, Rule, Template as Origin};
use lictor_dsl::{Checked, Source};
use lictor_engine::trial::run_tests;
use serde_json::{Value, json};

use super::test;
use crate::{Outcome, policies, print};

/// Shows and checks templates.
#[derive(Debug, Args)]
pub(crate) struct Template {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List templates with their framework, version and parameters.
    List {
        /// A folder of templates, or one file.
        #[arg(default_value = FOLDER)]
        path: PathBuf,
        /// Who reads the output.
        #[arg(long, value_enum, default_value = "text")]
        format: print::Format,
    },
    /// Show one template: parameters with their ranges and meaning, rules with their controls.
    Show(One),
    /// Check one template as strictly as it can be, and run its tests.
    Check(One),
}

#[derive(Debug, Args)]
struct One {
    /// A file, or the name of a template in `policy-templates`. What it extends stands beside it.
    path: PathBuf,
    /// Who reads the output.
    #[arg(long, value_enum, default_value = "text")]
    format: print::Format,
}

/// Where templates are looked for.
const FOLDER: &str = "policy-templates";

impl Template {
    pub(crate) fn run(self) -> anyhow::Result<Outcome> {
        match self.action {
            Action::List { path, format } => list(&path, format),
            Action::Show(one) => show(&one),
            Action::Check(one) => check(&one),
        }
    }
}

fn list(path: &Path, format: print::Format) -> anyhow::Result<Outcome> {
    let Some(checked) = policies::usable(&[path.to_owned()])? else { return Ok(Outcome::Findings) };
    let templates =
        checked.set.policies.iter().filter_map(|policy| Some((policy, policy.template.as_ref()?)));
    if format == print::Format::Json {
        print::json(&templates.map(|(policy, origin)| summary(policy, origin)).collect::<Vec<_>>())?;
        return Ok(Outcome::Clean);
    }
    for (policy, origin) in templates {
        print::line(format!(
            "{}  {} (version {}, facts checked on {})",
            print::bold(&policy.name),
            origin.framework,
            origin.version,
            origin.facts_checked_on
        ))?;
        for param in &policy.params {
            print::line(format!("  {}", declaration(param)))?;
        }
    }
    Ok(Outcome::Clean)
}

fn show(one: &One) -> anyhow::Result<Outcome> {
    let checked = lictor_dsl::check(read(&one.path)?);
    let Some(checked) = policies::sound(checked)? else { return Ok(Outcome::Findings) };
    let (policy, origin) = template(&checked, &one.path)?;
    if one.format == print::Format::Json {
        let rules = policy.rules.iter().map(|rule| {
            json!({
                "rule": rule.name, "docs": rule.docs, "effect": rule.effect.as_ref().map(lictor_dsl::hir::Effect::name),
                "on": rule.kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>(), "controls": controls(policy, rule),
            })
        });
        let mut whole = summary(policy, origin);
        if let Value::Object(members) = &mut whole {
            members.insert("rules".to_owned(), rules.collect());
        }
        print::json(&whole)?;
        return Ok(Outcome::Clean);
    }
    print::line(format!("{}  {}", print::bold(&policy.name), policy.title))?;
    print::line(format!("  framework         {}", origin.framework))?;
    print::line(format!("  version           {}", origin.version))?;
    print::line(format!("  source            {}", origin.source))?;
    print::line(format!("  facts checked on  {}", origin.facts_checked_on))?;
    if let Some(base) = &policy.extends {
        print::line(format!("  extends           {base}"))?;
    }
    print::line(print::bold("\nparameters"))?;
    for param in &policy.params {
        print::line(format!("  {}", declaration(param)))?;
        if let Some(help) = &param.help {
            print::line(format!("      {help}"))?;
        }
    }
    print::line(print::bold("\nrules"))?;
    for rule in &policy.rules {
        let effect = rule.effect.as_ref().map_or("no effect", lictor_dsl::hir::Effect::name);
        let kinds: Vec<&str> = rule.kinds.iter().map(|kind| kind.name()).collect();
        print::line(format!("  {} on {}: {}", rule.name, kinds.join(", "), effect.replace('_', " ")))?;
        for line in &rule.docs {
            print::line(format!("      {line}"))?;
        }
        print::line(format!("      controls: {}", controls(policy, rule).join(", ")))?;
    }
    Ok(Outcome::Clean)
}

fn check(one: &One) -> anyhow::Result<Outcome> {
    let checked = lictor_dsl::check(read(&one.path)?);
    let findings = checked.diagnostics.iter().any(|found| found.severity != Severity::Note);
    let reports = if checked.has_errors() {
        Vec::new()
    } else {
        template(&checked, &one.path)?;
        run_tests(&checked.set)?
    };
    if one.format == print::Format::Json {
        print::json(&json!({"diagnostics": checked.reports(), "tests": reports}))?;
    } else {
        let out = io::stdout();
        let colour = out.is_terminal();
        print::diagnostics(&checked.sources, &checked.diagnostics, out.lock(), colour)?;
        if !checked.has_errors() {
            test::show(&reports)?;
        }
    }
    Ok(if findings { Outcome::Findings } else { test::outcome(&reports) })
}

/// Reads a template and, before it, what it extends.
fn read(path: &Path) -> anyhow::Result<Vec<Source>> {
    let known =
        if path.exists() { path.to_owned() } else { Path::new(FOLDER).join(path).with_extension("lictor") };
    if !known.is_file() {
        bail!("there is no template {}", path.display());
    }
    let mut sources = Vec::new();
    let mut read = BTreeSet::new();
    let mut next = Some(known);
    while let Some(file) = next.take() {
        let text = fs::read_to_string(&file).with_context(|| format!("can't read {}", file.display()))?;
        let source = Source::new(file.display().to_string(), text);
        let base =
            lictor_dsl::extends(&source).map(|base| file.with_file_name(base).with_extension("lictor"));
        sources.insert(0, source);
        // What is not there the checker will miss, and say where.
        next = base.filter(|base| base.is_file() && !read.contains(base));
        read.insert(file);
    }
    Ok(sources)
}

/// The template of a file that was read.
fn template<'c>(checked: &'c Checked, path: &Path) -> anyhow::Result<(&'c Policy, &'c Origin)> {
    let policy = checked.set.policies.last();
    policy
        .and_then(|policy| Some((policy.as_ref(), policy.template.as_ref()?)))
        .with_context(|| format!("{} is no template: its header is not `template`", path.display()))
}

fn summary(policy: &Policy, origin: &Origin) -> Value {
    let params = policy.params.iter().map(|param| {
        let range = param.range.as_ref().map(|(low, high)| json!([low.to_string(), high.to_string()]));
        json!({"param": param.name, "type": param.ty.to_string(), "default": param.default.to_string(),
            "range": range, "help": param.help})
    });
    json!({
        "template": policy.name, "title": policy.title, "owner": policy.owner, "framework": origin.framework,
        "version": origin.version, "source": origin.source, "facts_checked_on": origin.facts_checked_on,
        "extends": policy.extends, "params": params.collect::<Vec<_>>(),
    })
}

fn declaration(param: &Param) -> String {
    let range = param.range.as_ref().map(|(low, high)| format!(" in {low}..{high}")).unwrap_or_default();
    format!("{}: {} = {}{range}", param.name, param.ty, param.default)
}

/// The controls that a rule serves: its own and those of its policy.
fn controls(policy: &Policy, rule: &Rule) -> Vec<String> {
    let mut controls = rule.controls.clone();
    controls.extend(policy.controls.iter().filter(|control| !rule.controls.contains(control)).cloned());
    controls
}
