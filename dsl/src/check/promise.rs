//! What schemas say of the types of payload fields, once the discriminator is known.

use std::collections::HashMap;

use super::schema::{self, Schemas};
use crate::hir::*;
use crate::source::Span;
use crate::types::{Element, Type};

/// A field that is used as another type than its schema gives it.
pub(super) struct Mistyped {
    pub span: Span,
    /// The field, as written.
    pub field: String,
    pub used_as: Type,
    pub is: Type,
}

/// Finds fields that a condition takes for another type than the schema under which they stand.
pub(super) fn mistyped(condition: &Expr, schemas: &Schemas) -> Vec<Mistyped> {
    let mut found = Vec::new();
    if !schemas.is_empty() {
        walk(condition, &HashMap::new(), schemas, &mut found);
    }
    found
}

fn walk(expr: &Expr, known: &HashMap<Expr, Type>, schemas: &Schemas, found: &mut Vec<Mistyped>) {
    match &expr.kind {
        ExprKind::And(parts) => {
            let mut known = known.clone();
            for (selector, value) in parts.iter().filter_map(selected) {
                known.extend(schema::types(schemas, selector, value));
            }
            parts.iter().for_each(|part| walk(part, &known, schemas, found));
        }
        ExprKind::Take(inner) => {
            if let Some(is) = known.get(inner.as_ref()).copied()
                && !serves(is, expr.ty)
            {
                found.push(Mistyped { span: inner.span, field: inner.to_string(), used_as: expr.ty, is });
            }
            walk(inner, known, schemas, found);
        }
        _ => expr.children().into_iter().for_each(|child| walk(child, known, schemas, found)),
    }
}

/// `action == "refund"`, either way round.
fn selected(part: &Expr) -> Option<(crate::events::FieldId, &str)> {
    let ExprKind::Compare(Comparison::Equal, left, right) = &part.kind else { return None };
    match (&left.kind, &right.kind) {
        (ExprKind::Field(selector), ExprKind::Const(Const::Text(value)))
        | (ExprKind::Const(Const::Text(value)), ExprKind::Field(selector)) => Some((*selector, value)),
        _ => None,
    }
}

/// Whether a value of one type can be taken as the other.
fn serves(is: Type, used_as: Type) -> bool {
    is == used_as || is == Type::Json || matches!((is, used_as), (Type::List(_), Type::List(Element::Json)))
}
