//! Operators over earlier events: what is remembered, by which keys, for how long.

use super::expr::{Checked, Checker};
use crate::ast;
use crate::diagnostics::syntax;
use crate::source::Span;

impl Checker<'_, '_> {
    pub(super) fn memory(&mut self, _written: &ast::Memory, span: Span) -> Checked {
        let help = "rules of this version look at one event at a time";
        self.refuse(syntax::not_available(span, "operators over earlier events", help))
    }
}
