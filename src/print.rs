//! Where output goes: text for people with colour on a terminal, JSON for machines.

use std::io::{self, IsTerminal, Write};

use ariadne::{Color, Config, Label, Report, ReportKind};
use clap::ValueEnum;
use lictor_dsl::Source;
use lictor_dsl::diagnostics::{Diagnostic, Severity};
use serde::Serialize;

/// Who reads the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A person.
    Text,
    /// A program.
    Json,
}

/// Writes an error to standard error.
pub(crate) fn error(message: &str) {
    // If even that is gone there is nobody left to tell.
    let _ = writeln!(io::stderr(), "lictor: {message}");
}

/// Writes a line to standard output.
pub(crate) fn line(text: impl AsRef<str>) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{}", text.as_ref())
}

/// Writes a value as indented JSON to standard output.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value)?;
    writeln!(out)?;
    Ok(())
}

/// A text in bold where there is colour.
pub(crate) fn bold(text: &str) -> String {
    if io::stdout().is_terminal() { format!("\u{1b}[1m{text}\u{1b}[0m") } else { text.to_owned() }
}

/// Draws diagnostics with the lines that they are about.
pub(crate) fn diagnostics(
    sources: &[Source],
    diagnostics: &[Diagnostic],
    mut out: impl Write,
    colour: bool,
) -> io::Result<()> {
    for diagnostic in diagnostics {
        let Some(source) = sources.get(diagnostic.span.source as usize) else { continue };
        let kind = match diagnostic.severity {
            Severity::Error => ReportKind::Error,
            Severity::Warning => ReportKind::Warning,
            Severity::Note => ReportKind::Advice,
        };
        let config = Config::default().with_color(colour).with_index_type(ariadne::IndexType::Byte);
        let length = source.text.len();
        let start = (diagnostic.span.start as usize).min(length);
        let end = (diagnostic.span.end as usize).clamp(start, length);
        let place = (source.name.as_str(), start..end);
        let label =
            Label::new(place.clone()).with_message(&diagnostic.label).with_color(match diagnostic.severity {
                Severity::Error => Color::Red,
                Severity::Warning => Color::Yellow,
                Severity::Note => Color::Blue,
            });
        Report::build(kind, place)
            .with_config(config)
            .with_code(diagnostic.code)
            .with_message(&diagnostic.message)
            .with_label(label)
            .with_help(&diagnostic.help)
            .finish()
            .write((source.name.as_str(), ariadne::Source::from(&source.text)), &mut out)?;
    }
    Ok(())
}
