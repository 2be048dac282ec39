//! `lictor check`: diagnostics for policy files.

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use clap::Args;
use lictor_dsl::diagnostics::Severity;

use crate::progress::{Progress, Steps};
use crate::{Outcome, policies, print};

/// Finds mistakes in policies.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Files, or folders of .lictor files, that will be active together.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Treat warnings as errors.
    #[arg(long)]
    strict: bool,
    /// Who reads the output.
    #[arg(long, value_enum, default_value = "text")]
    format: print::Format,
}

impl Check {
    pub(crate) fn run(self) -> anyhow::Result<Outcome> {
        let sources = policies::read(&self.paths)?;
        let progress = Progress::start("checking", Steps::One);
        let checked = lictor_dsl::check(sources);
        drop(progress);
        if self.format == print::Format::Json {
            print::json(&checked.reports())?;
        } else {
            let out = io::stdout();
            let colour = out.is_terminal();
            print::diagnostics(&checked.sources, &checked.diagnostics, out.lock(), colour)?;
            let count = |severity| checked.diagnostics.iter().filter(|d| d.severity == severity).count();
            let summary = format!(
                "{} checked: {}, {}, {}",
                counted(checked.sources.len(), "file"),
                counted(count(Severity::Error), "error"),
                counted(count(Severity::Warning), "warning"),
                counted(count(Severity::Note), "note"),
            );
            print::line(print::bold(&summary))?;
        }
        let worst = checked.diagnostics.iter().map(|d| d.severity).min();
        let findings = worst == Some(Severity::Error) || self.strict && worst == Some(Severity::Warning);
        Ok(if findings { Outcome::Findings } else { Outcome::Clean })
    }
}

/// `1 file`, `2 files`.
pub(super) fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
