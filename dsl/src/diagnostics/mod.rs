//! What a policy author is told: a code, where, what is wrong, and what to write instead.
//!
//! This crate returns diagnostics as data; the command draws them and the server sends them as JSON.

pub(crate) mod effects;
pub(crate) mod lints;
pub(crate) mod memory;
pub(crate) mod names;
pub(crate) mod syntax;
pub(crate) mod typing;
pub(crate) mod unknowns;

use serde::Serialize;

use crate::source::{Lines, Span};

/// How much a diagnostic weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The policy can't be used.
    Error,
    /// It can, but hardly means what it says. An error under `--strict`.
    Warning,
    /// Worth knowing; never counts for the exit code.
    Note,
}

/// One finding about one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The code, `L0123`, with a section in `docs/diagnostics.md`.
    pub code: &'static str,
    /// Its weight.
    pub severity: Severity,
    /// What is wrong, in lower case and without a final period.
    pub message: String,
    /// Where.
    pub span: Span,
    /// What the place is, beside the caret.
    pub label: String,
    /// What to write instead.
    pub help: String,
    /// Replacements that would mend it.
    pub fixes: Vec<Fix>,
}

/// A replacement of a stretch of text that would mend a diagnostic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fix {
    /// What it does, in a few words.
    pub title: String,
    /// What is replaced.
    pub span: Span,
    /// By what.
    pub text: String,
}

/// A diagnostic as machines read it: places as lines and columns from 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The code.
    pub code: &'static str,
    /// Its weight.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// The name of the source.
    pub file: String,
    /// Where it begins.
    pub line: usize,
    /// Where it begins.
    pub column: usize,
    /// Where it ends.
    pub end_line: usize,
    /// Where it ends (one past).
    pub end_column: usize,
    /// What to write instead.
    pub help: String,
    /// Replacements that would mend it.
    pub fixes: Vec<FixReport>,
}

/// A fix as machines read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FixReport {
    /// What it does.
    pub title: String,
    /// Where the replaced text begins.
    pub line: usize,
    /// Where the replaced text begins.
    pub column: usize,
    /// Where it ends.
    pub end_line: usize,
    /// Where it ends (one past).
    pub end_column: usize,
    /// The new text.
    pub text: String,
}

impl Diagnostic {
    /// This diagnostic with places as lines and columns.
    pub fn report(&self, sources: &[Lines<'_>]) -> Report {
        let place = |span: Span| {
            let source = sources.get(span.source as usize);
            let at = |offset: u32| source.map_or((1, 1), |s| s.line_column(offset as usize));
            (at(span.start), at(span.end))
        };
        let ((line, column), (end_line, end_column)) = place(self.span);
        let fixes = self.fixes.iter().map(|fix| {
            let ((line, column), (end_line, end_column)) = place(fix.span);
            FixReport { title: fix.title.clone(), line, column, end_line, end_column, text: fix.text.clone() }
        });
        Report {
            code: self.code,
            severity: self.severity,
            message: self.message.clone(),
            file: sources
                .get(self.span.source as usize)
                .map(|lines| lines.name().to_owned())
                .unwrap_or_default(),
            line,
            column,
            end_line,
            end_column,
            help: self.help.clone(),
            fixes: fixes.collect(),
        }
    }
}

fn new(
    severity: Severity,
    code: &'static str,
    message: impl Into<String>,
    span: Span,
    label: impl Into<String>,
    help: impl Into<String>,
) -> Diagnostic {
    Diagnostic {
        code,
        severity,
        message: message.into(),
        span,
        label: label.into(),
        help: help.into(),
        fixes: Vec::new(),
    }
}

fn error(
    code: &'static str,
    message: impl Into<String>,
    span: Span,
    label: impl Into<String>,
    help: impl Into<String>,
) -> Diagnostic {
    new(Severity::Error, code, message, span, label, help)
}

fn warning(
    code: &'static str,
    message: impl Into<String>,
    span: Span,
    label: impl Into<String>,
    help: impl Into<String>,
) -> Diagnostic {
    new(Severity::Warning, code, message, span, label, help)
}

/// The longest text of an author that a message repeats, in characters.
const SHOWN: usize = 60;

/// A text of the author's as messages show it: cut if it is very long.
pub(crate) fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// The longest name that is compared with others, in bytes: nobody means a name by something longer.
const COMPARED: usize = 60;
/// The most names that one is compared with.
const COMPARED_WITH: usize = 1_000;

/// The known name that an unknown one most resembles, if any is near enough to be meant.
pub(crate) fn nearest<'a>(unknown: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Comparing takes time by the length of both.
    if unknown.len() > COMPARED {
        return None;
    }
    let far = 1.max(unknown.chars().count() / 3);
    let unknown = unknown.to_lowercase();
    known
        .take(COMPARED_WITH)
        .filter(|name| name.len() <= 2 * COMPARED)
        .map(|name| (strsim::osa_distance(&unknown, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= far && *distance < name.chars().count())
        .min()
        .map(|(_, name)| name)
}
