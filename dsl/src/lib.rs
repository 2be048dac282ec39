//! The Lictor policy language: text in, checked policies and diagnostics out.

pub mod ast;
mod check;
pub mod diagnostics;
pub mod events;
mod format;
pub mod hir;
mod items;
mod lint;
pub mod number;
pub mod parallel;
pub mod params;
mod parse;
mod print;
pub mod source;
pub mod text;
pub mod types;

pub use check::Library;
pub use format::format;
pub use source::Source;

/// What checking found.
#[derive(Debug)]
pub struct Checked {
    /// The sources, as they were given.
    pub sources: Vec<Source>,
    /// What could be read of the policies. Complete only if there are no errors: see [`Checked::into_set`].
    pub set: hir::PolicySet,
    /// Everything found, in the order of the sources.
    pub diagnostics: Vec<diagnostics::Diagnostic>,
}

impl Checked {
    /// Whether any diagnostic is an error.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|d| d.severity == diagnostics::Severity::Error)
    }

    /// The policies, if nothing is wrong with any of them; else the diagnostics.
    pub fn into_set(self) -> Result<hir::PolicySet, Vec<diagnostics::Report>> {
        if self.has_errors() { Err(self.reports()) } else { Ok(self.set) }
    }

    /// All diagnostics with places as lines and columns.
    pub fn reports(&self) -> Vec<diagnostics::Report> {
        let lines: Vec<_> = self.sources.iter().map(source::Lines::new).collect();
        self.diagnostics.iter().map(|d| d.report(&lines)).collect()
    }
}

/// Whether an expression can be unknown, whatever stands beside it.
pub fn can_be_unknown(expr: &hir::Expr) -> bool {
    check::can_be_unknown(expr)
}

/// The name of the policy that a text says it `extends`.
pub fn extends(source: &Source) -> Option<String> {
    check::extends(source)
}

/// Checks policy texts that will be active together.
pub fn check(sources: Vec<Source>) -> Checked {
    let (set, diagnostics) = check::check(&sources, true);
    Checked { sources, set, diagnostics }
}

/// Checks policy texts that are to decide as soon as can be: every error is found, but none of the warnings that take
/// comparing rules with each other, which can be had later from [`check`].
pub fn load(sources: Vec<Source>) -> Checked {
    let (set, diagnostics) = check::check(&sources, false);
    Checked { sources, set, diagnostics }
}
