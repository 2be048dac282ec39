//! Schemas: what payloads look like, for the whole policy set.

use std::collections::{BTreeMap, BTreeSet};

use super::scope::Scope;
use crate::ast::{self, ItemKind};
use crate::diagnostics::{effects, names};
use crate::events::{EventKind, FieldId};
use crate::hir::{Schema, SchemaField};
use crate::source::Lines;
use crate::types::{Element, Type};

/// The required fields of every schema of the set, by kind of event and value of its selector.
pub(super) type Schemas = BTreeMap<(EventKind, String), Vec<String>>;

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
pub(super) fn all(files: &[ast::File]) -> Schemas {
    let mut schemas = Schemas::new();
    for item in files.iter().flat_map(|file| &file.items) {
        let ItemKind::Schema(written) = &item.kind else { continue };
        let Some(kind) = EventKind::named(&written.kind.value) else { continue };
        let required =
            written.fields.iter().filter(|(.., optional)| !optional).map(|(name, ..)| name.value.clone());
        schemas.entry((kind, written.value.value.clone())).or_default().extend(required);
    }
    schemas
}

/// What is there once the selector has this value, as keys of expressions.
pub(super) fn promised(schemas: &Schemas, selector: FieldId, value: &str) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for ((kind, of), required) in schemas {
        let Some((payload, its_selector)) = kind.payload() else { continue };
        if of == value && its_selector == selector {
            let payload = payload.def().name;
            keys.insert(payload.to_owned());
            keys.extend(required.iter().map(|name| format!("{payload}.{name}")));
        }
    }
    keys
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
    let mut sound = true;
    for (name, ty, optional) in &written.fields {
        if let Some((first, ..)) =
            written.fields.iter().find(|(other, ..)| other.value == name.value && other.span != name.span)
            && first.span.start < name.span.start
        {
            super::report_duplicate(scope, lines, "field", name, first.span);
            sound = false;
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
