//! What policies say of payloads, checked before any rule sees the event.

use std::collections::HashMap;

use lictor_dsl::events::{EventKind, FieldId};
use lictor_dsl::hir::{PolicySet, SchemaField};
use lictor_dsl::types::{Element, Type};

use crate::event::{Event, FieldError, FieldRef};
use crate::json::Json;

/// The fields that payloads must have, by kind of event and value of its selector.
#[derive(Debug, Default)]
pub(crate) struct Schemas(HashMap<EventKind, HashMap<String, Vec<SchemaField>>>);

impl Schemas {
    pub(super) fn new(set: &PolicySet) -> Schemas {
        let mut schemas = Schemas::default();
        // A policy in shadow decides nothing, and so refuses nothing.
        for schema in set.policies.iter().filter(|policy| !policy.shadow).flat_map(|policy| &policy.schemas) {
            let of_kind = schemas.0.entry(schema.kind).or_default();
            of_kind.entry(schema.value.clone()).or_default().extend(schema.fields.iter().cloned());
        }
        schemas
    }

    /// Every way in which an event breaks its schema.
    pub(crate) fn faults(&self, event: &Event) -> Vec<FieldError> {
        let Some((fields, payload)) = self.schema_of(event) else { return Vec::new() };
        let name = payload.def().name;
        let json = match event.read(payload) {
            Some(FieldRef::Json(json)) => json.value(),
            _ => &Json::Null,
        };
        let mut faults = Vec::new();
        for field in fields {
            let fault = match json.get(&field.name) {
                None | Some(Json::Null) if field.optional => None,
                None | Some(Json::Null) => Some("is required".to_owned()),
                Some(value) if has_type(value, field.ty) => None,
                Some(value) => Some(format!("must be a {}, not {}", field.ty, kind_of(value))),
            };
            faults
                .extend(fault.map(|message| FieldError { field: format!("{name}.{}", field.name), message }));
        }
        faults
    }

    /// The field that is read for events of this kind, if some value of its selector has a schema.
    pub(crate) fn reads(&self, kind: EventKind) -> Option<FieldId> {
        self.0.get(&kind).and_then(|_| kind.payload()).map(|(payload, _)| payload)
    }

    fn schema_of(&self, event: &Event) -> Option<(&[SchemaField], FieldId)> {
        if self.0.is_empty() {
            return None;
        }
        let of_kind = self.0.get(&event.kind())?;
        let (payload, selector) = event.kind().payload()?;
        match event.read(selector) {
            Some(FieldRef::Text(value)) => Some((of_kind.get(value)?, payload)),
            _ => None,
        }
    }
}

fn has_type(value: &Json, ty: Type) -> bool {
    match (ty, value) {
        (Type::Json, _)
        | (Type::Number, Json::Number(Some(_)))
        | (Type::String, Json::Text(_))
        | (Type::Bool, Json::Bool(_))
        | (Type::List(Element::Json), Json::List(_)) => true,
        (Type::List(element), Json::List(values)) => values.iter().all(|value| has_type(value, element.ty())),
        _ => false,
    }
}

fn kind_of(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "a bool",
        Json::Number(Some(_)) => "a number",
        Json::Number(None) => "a number that does not fit",
        Json::Text(_) => "a string",
        Json::List(_) => "a list of these values",
        Json::Object(_) => "an object",
    }
}
