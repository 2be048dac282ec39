//! The Lictor policy language: text in, checked policies and diagnostics out.

pub mod ast;
pub mod diagnostics;
pub mod events;
pub mod hir;
mod items;
pub mod number;
mod parse;
pub mod source;
pub mod text;
pub mod types;

pub use source::Source;

/// What checking found.
#[derive(Debug)]
pub struct Checked {
    /// The sources, as they were given.
    pub sources: Vec<Source>,
    /// The policies without errors. Use [`Checked::policies`] unless some may be missing.
    pub set: hir::PolicySet,
    /// Everything found, in the order of the sources.
    pub diagnostics: Vec<diagnostics::Diagnostic>,
}

impl Checked {
    /// Whether any diagnostic is an error.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|d| d.severity == diagnostics::Severity::Error)
    }

    /// All diagnostics with places as lines and columns.
    pub fn reports(&self) -> Vec<diagnostics::Report> {
        self.diagnostics.iter().map(|d| d.report(&self.sources)).collect()
    }
}

/// Checks policy texts that will be active together.
pub fn check(sources: Vec<Source>) -> Checked {
    Checked { sources, set: hir::PolicySet::default(), diagnostics: Vec::new() }
}
