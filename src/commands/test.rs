//! `lictor test`: runs the tests that stand beside rules.

use std::path::PathBuf;

use clap::Args;
use lictor_engine::trial::{TestReport, run_tests};

use super::check::counted;
use super::explain;
use crate::progress::{Progress, Steps};
use crate::{Outcome, policies, print};

/// Runs the tests beside the rules.
#[derive(Debug, Args)]
pub(crate) struct Test {
    /// Files, or folders of .lictor files, that are active together.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Who reads the output.
    #[arg(long, value_enum, default_value = "text")]
    format: print::Format,
}

impl Test {
    pub(crate) fn run(self) -> anyhow::Result<Outcome> {
        let Some(checked) = policies::usable(&self.paths)? else { return Ok(Outcome::Findings) };
        let progress = Progress::start("testing", Steps::One);
        let reports = run_tests(&checked.set)?;
        drop(progress);
        if self.format == print::Format::Json {
            print::json(&reports)?;
        } else {
            show(&reports)?;
        }
        let failed = reports.iter().any(|report| !report.failures.is_empty());
        Ok(if failed { Outcome::Findings } else { Outcome::Clean })
    }
}

fn show(reports: &[TestReport]) -> anyhow::Result<()> {
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
