//! `lictor test`: runs the tests that stand beside rules.

use std::path::PathBuf;

use clap::Args;
use lictor_dsl::Checked;
use lictor_engine::coverage::Coverage;
use lictor_engine::trial::{TestReport, run_tests, run_tests_with_coverage};
use serde_json::json;

use super::check::counted;
use super::{coverage, explain};
use crate::progress::{Progress, Steps};
use crate::{Outcome, policies, print};

/// Runs the tests beside the rules.
#[derive(Debug, Args)]
pub(crate) struct Test {
    /// Files, or folders of .lictor files, that are active together.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Say what the tests have seen of each rule and of each part of its condition.
    #[arg(long)]
    coverage: bool,
    /// Who reads the output.
    #[arg(long, value_enum, default_value = "text")]
    format: print::Format,
}

impl Test {
    pub(crate) fn run(self) -> anyhow::Result<Outcome> {
        let Some(checked) = policies::usable(&self.paths)? else { return Ok(Outcome::Findings) };
        let progress = Progress::start("testing", Steps::One);
        let (reports, seen) = if self.coverage {
            let (reports, seen) = run_tests_with_coverage(&checked.set)?;
            (reports, Some(seen))
        } else {
            (run_tests(&checked.set)?, None)
        };
        drop(progress);
        if self.format == print::Format::Json {
            print_json(&checked, &reports, seen.as_ref())?;
        } else {
            show(&reports)?;
            seen.map_or(Ok(()), |seen| coverage::show(&checked.sources, &seen))?;
        }
        Ok(outcome(&reports))
    }
}

fn print_json(checked: &Checked, reports: &[TestReport], seen: Option<&Coverage>) -> anyhow::Result<()> {
    match seen {
        None => print::json(&reports),
        Some(seen) => {
            let coverage = coverage::to_json(&checked.sources, seen);
            print::json(&json!({"tests": reports, "coverage": coverage}))
        }
    }
}

/// Whether all tests passed.
pub(super) fn outcome(reports: &[TestReport]) -> Outcome {
    let failed = reports.iter().any(|report| !report.failures.is_empty());
    if failed { Outcome::Findings } else { Outcome::Clean }
}

/// The tests that failed, and how many passed.
pub(super) fn show(reports: &[TestReport]) -> anyhow::Result<()> {
    for report in reports.iter().filter(|report| !report.failures.is_empty()) {
        print::line(format!("{} {}: {}", print::bold("FAILED"), report.policy, report.test))?;
        for failure in &report.failures {
            print::line(format!("  {failure}"))?;
        }
        for rule in report.rules.iter().filter(|rule| rule.truth != "false" || mentioned(report, &rule.rule))
        {
            explain::show_rule(rule, "  ")?;
        }
    }
    let failed = reports.iter().filter(|report| !report.failures.is_empty()).count();
    let summary = format!("{} passed, {failed} failed", counted(reports.len() - failed, "test"));
    print::line(print::bold(&summary))?;
    Ok(())
}

/// Whether a failure speaks of this rule.
fn mentioned(report: &TestReport, rule: &str) -> bool {
    let short = rule.rsplit('.').next().unwrap_or(rule);
    report.failures.iter().any(|failure| failure.contains(short))
}
