//! Schemas: what payloads look like, for the whole policy set.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::scope::Scope;
use crate::ast::{self, ItemKind};
use crate::diagnostics::{effects, names};
use crate::events::{EventKind, FieldId};
use crate::hir::{Expr, ExprKind, Schema, SchemaField};
use crate::source::{Lines, Span};
use crate::types::{Element, Type};

/// The fields of every schema of the set, by kind of event and value of its selector.
pub(super) type Schemas = BTreeMap<(EventKind, String), Vec<Promise>>;

/// What a schema says of one field.
#[derive(Debug, PartialEq)]
pub(super) struct Promise {
    name: String,
    /// None where the type is none.
    ty: Option<Type>,
    required: bool,
}

const TYPES: [(&str, Type); 7] = [
    ("number", Type::Number),
    ("string", Type::String),
    ("bool", Type::Bool),
    ("json", Type::Json),
    ("list<string>", Type::STRINGS),
    ("list<number>", Type::List(Element::Number)),
    ("list<json>", Type::List(Element::Json)),
];

/// All schemas of all files, so that rules may lean on them wherever they stand.
pub(super) fn all<'f>(files: impl Iterator<Item = &'f ast::File>) -> Schemas {
    let mut schemas = Schemas::new();
    // A policy in shadow decides nothing, and so holds no event to its schemas.
    let enforced = files.filter(|file| super::header(file).is_none_or(|header| !super::is_shadow(header)));
    for item in enforced.flat_map(|file| &file.items) {
        let ItemKind::Schema(written) = &item.kind else { continue };
        let Some(kind) = EventKind::named(&written.kind.value) else { continue };
        let fields = written.fields.iter().map(|(name, ty, optional)| Promise {
            name: name.value.clone(),
            ty: TYPES.iter().find(|(known, _)| *known == ty.value.replace(' ', "")).map(|(_, ty)| *ty),
            required: !optional,
        });
        schemas.entry((kind, written.value.value.clone())).or_default().extend(fields);
    }
    schemas
}

/// What is there once the selector has this value.
pub(super) fn promised(schemas: &Schemas, selector: FieldId, value: &str) -> HashSet<Expr> {
    let mut there = HashSet::new();
    for (payload, fields) in selected(schemas, selector, value) {
        let required = fields.iter().filter(|field| field.required);
        there.extend(required.map(|field| member(&payload, &field.name)));
        there.insert(payload);
    }
    there
}

/// The types that fields have where they are there, once the selector has this value.
pub(super) fn types(schemas: &Schemas, selector: FieldId, value: &str) -> HashMap<Expr, Type> {
    let mut types = HashMap::new();
    for (payload, fields) in selected(schemas, selector, value) {
        let typed = fields.iter().filter_map(|field| Some((member(&payload, &field.name), field.ty?)));
        types.extend(typed);
    }
    types
}

/// The payloads that schemas describe for this value of their selector, with their fields.
fn selected<'s>(
    schemas: &'s Schemas,
    selector: FieldId,
    value: &str,
) -> impl Iterator<Item = (Expr, &'s Vec<Promise>)> {
    schemas.iter().filter_map(move |((kind, of), fields)| {
        let (payload, its_selector) = kind.payload()?;
        (of == value && its_selector == selector).then(|| (json(ExprKind::Field(payload)), fields))
    })
}

fn json(kind: ExprKind) -> Expr {
    Expr { kind, ty: Type::Json, span: Span::default() }
}

fn member(payload: &Expr, name: &str) -> Expr {
    json(ExprKind::Member(Box::new(payload.clone()), name.to_owned()))
}

/// Checks one schema.
pub(super) fn schema(scope: &mut Scope, written: &ast::Schema, lines: &[Lines]) -> Option<Schema> {
    let kind = super::rule::kinds(scope, std::slice::from_ref(&written.kind))?.first().copied()?;
    if kind.payload().is_none() {
        let help = "schemas describe the payloads of `intent`, `action`, `log` and `request`";
        scope.report(effects::schema(written.kind.span, &format!("a {} has no payload", kind.name()), help));
        return None;
    }
    let mut fields: Vec<SchemaField> = Vec::new();
    let mut seen: HashMap<&str, Span> = HashMap::new();
    let mut sound = true;
    for (name, ty, optional) in &written.fields {
        match seen.get(name.value.as_str()) {
            Some(first) => {
                super::report_duplicate(scope, lines, "field", name, *first);
                sound = false;
            }
            None => {
                seen.insert(&name.value, name.span);
            }
        }
        match TYPES.iter().find(|(known, _)| *known == ty.value.replace(' ', "")) {
            Some((_, ty)) => {
                fields.push(SchemaField { name: name.value.clone(), ty: *ty, optional: *optional })
            }
            None => {
                scope.report(names::unknown_word(
                    ty.span,
                    "type of field",
                    &ty.value,
                    TYPES.iter().map(|(name, _)| *name),
                ));
                sound = false;
            }
        }
    }
    sound.then(|| Schema { kind, value: written.value.value.clone(), fields })
}
