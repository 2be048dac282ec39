//! Policy text in its one canonical form: the same tokens and comments, laid out anew.

mod doc;
mod expr;
mod items;
#[cfg(test)]
mod tests;
mod tree;

use crate::diagnostics::{Diagnostic, syntax};
use crate::parse;
use crate::source::{Source, Span};

/// The canonical form of a text, or why it can't be read. What it says and all of its comments stay as they are.
///
/// ```
/// use lictor_dsl::{Source, format};
/// let source = Source::new("p.lictor", "policy p{}  default on intent   allow // for now");
/// assert_eq!(format(&source).unwrap(), "policy p {}\n\ndefault on intent allow // for now\n");
/// ```
pub fn format(source: &Source) -> Result<String, Vec<Diagnostic>> {
    let refused = || vec![syntax::not_formatted(Span { source: 0, start: 0, end: 1 })];
    let mut diagnostics = Vec::new();
    let file = parse::parse(0, source, &mut diagnostics);
    if !diagnostics.is_empty() {
        return Err(diagnostics);
    }
    let mut tree = tree::read(&source.text, &file.items).ok_or_else(refused)?;
    items::separate(&mut tree);
    let formatted = Source::new(source.name.as_str(), doc::print(&items::file(&tree), &tree));

    // Whatever goes wrong here, an author's text is not what pays for it.
    let file = parse::parse(0, &formatted, &mut diagnostics);
    let same = diagnostics.is_empty()
        && tree::read(&formatted.text, &file.items).is_some_and(|again| again.says_the_same(&tree));
    if same { Ok(formatted.text) } else { Err(refused()) }
}
