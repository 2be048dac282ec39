//! `lictor fmt`: policy files in their one canonical form.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use lictor_dsl::Source;
use lictor_dsl::diagnostics::{Diagnostic, Report};
use lictor_dsl::source::Lines;
use serde::Serialize;

use super::check::counted;
use crate::progress::{Progress, Steps};
use crate::{Outcome, policies, print};

/// Brings policy files into their one canonical form; comments are kept.
#[derive(Debug, Args)]
pub(crate) struct Fmt {
    /// Files, or folders of .lictor files.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Change nothing; name the files that would change.
    #[arg(long)]
    check: bool,
    /// Who reads the output.
    #[arg(long, value_enum, default_value = "text")]
    format: print::Format,
}

/// What came of the files.
#[derive(Default)]
struct Formatted {
    /// The files that changed, or would.
    changed: Vec<String>,
    /// The files that can't be read as policies, and why. They are left alone.
    broken: Vec<(Source, Vec<Diagnostic>)>,
}

/// The same for programs.
#[derive(Serialize)]
struct Summary<'a> {
    changed: &'a [String],
    diagnostics: Vec<Report>,
}

impl Fmt {
    pub(crate) fn run(self) -> anyhow::Result<Outcome> {
        let sources = policies::read(&self.paths)?;
        let count = sources.len();
        let formatted = self.format_all(sources)?;
        if self.format == print::Format::Json {
            print::json(&Summary { changed: &formatted.changed, diagnostics: formatted.reports() })?;
        } else {
            self.show(&formatted, count)?;
        }
        let findings = !formatted.broken.is_empty() || self.check && !formatted.changed.is_empty();
        Ok(if findings { Outcome::Findings } else { Outcome::Clean })
    }

    fn format_all(&self, sources: Vec<Source>) -> anyhow::Result<Formatted> {
        let progress = Progress::start("formatting", Steps::Of(sources.len()));
        let mut formatted = Formatted::default();
        for source in sources {
            progress.step();
            match lictor_dsl::format(&source) {
                Err(diagnostics) => formatted.broken.push((source, diagnostics)),
                Ok(text) if text == source.text => {}
                Ok(text) => {
                    if !self.check {
                        replace(Path::new(&source.name), &text)
                            .with_context(|| format!("can't write {}", source.name))?;
                    }
                    formatted.changed.push(source.name);
                }
            }
        }
        Ok(formatted)
    }

    fn show(&self, formatted: &Formatted, count: usize) -> io::Result<()> {
        let colour = io::stdout().is_terminal();
        for (source, diagnostics) in &formatted.broken {
            print::diagnostics(std::slice::from_ref(source), diagnostics, io::stdout().lock(), colour)?;
        }
        for path in &formatted.changed {
            print::line(path)?;
        }
        let done = if self.check { "would change" } else { "changed" };
        let summary = format!(
            "{}: {} {done}, {} can't be read",
            counted(count, "file"),
            formatted.changed.len(),
            formatted.broken.len()
        );
        print::line(print::bold(&summary))
    }
}

impl Formatted {
    fn reports(&self) -> Vec<Report> {
        let of_file = |(source, found): &(Source, Vec<Diagnostic>)| {
            let lines = [Lines::new(source)];
            found.iter().map(|diagnostic| diagnostic.report(&lines)).collect::<Vec<_>>()
        };
        self.broken.iter().flat_map(of_file).collect()
    }
}

/// Puts a text in a file's place, whole or not at all. A link stays one, and permissions stay as they are.
fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    let path = fs::canonicalize(path)?;
    let folder = path.parent().context("it has no folder")?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().set_permissions(fs::metadata(&path)?.permissions())?;
    file.as_file().sync_all()?;
    file.persist(&path)?;
    Ok(())
}
