//! Values of a template's parameters: as JSON says them, and as JSON.

use lictor_dsl::hir::{Const, LIST_LIMIT, Param};
use lictor_dsl::params::value_of;
use lictor_dsl::types::Type;
use serde_json::value::RawValue;

use super::super::body::{MAX_FAULTS, without_place};
use super::super::members::{items, members};
use super::super::problem::{FieldProblem, Problem};
use crate::templates::{Template, Values};

/// A value as JSON: numbers exactly, durations as texts.
pub(super) fn json(value: &Const) -> Box<RawValue> {
    let text = match value {
        Const::Bool(_) | Const::Number(_) => value.to_string(),
        Const::Text(text) => quoted(text),
        Const::List(values) => {
            let values: Vec<_> = values.iter().map(|value| json(value).get().to_owned()).collect();
            format!("[{}]", values.join(","))
        }
        other => quoted(&other.to_string()),
    };
    RawValue::from_string(text).unwrap_or_default()
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The values that were given, each for a parameter that may have it; for `null` the template's default.
pub(super) fn given(
    template: &Template,
    params: &[Param],
    asked: Option<&RawValue>,
) -> Result<Values, Problem> {
    let (mut values, mut errors) = (Values::new(), Vec::new());
    let no_object =
        |error: serde_json::Error| Problem::field("parameters", without_place(&error.to_string()));
    for (name, json) in asked.map(members).transpose().map_err(no_object)?.unwrap_or_default() {
        let read = match params.iter().find(|param| *param.name == *name) {
            None => Err("is no parameter of this template".to_owned()),
            Some(param) if json.get() == "null" => {
                let own = template.policy.params.iter().find(|own| own.name == param.name);
                let own =
                    own.ok_or_else(|| "has no default: the template has no such parameter now".to_owned());
                own.and_then(|own| param.accepts(&own.default).map(|()| own.default.clone()))
            }
            Some(param) => read(json, param.ty).and_then(|value| param.accepts(&value).map(|()| value)),
        };
        match read {
            Ok(value) => drop(values.insert(name.into_owned(), value)),
            Err(why) => errors.push(FieldProblem::new(format!("parameters.{name}"), why)),
        }
        if errors.len() == MAX_FAULTS {
            break;
        }
    }
    if errors.is_empty() { Ok(values) } else { Err(Problem::invalid(errors)) }
}

/// What JSON says as a value of this type, or what it must be.
fn read(json: &RawValue, ty: Type) -> Result<Const, String> {
    let text = || serde_json::from_str::<String>(json.get()).ok().filter(|text| !text.contains('\0'));
    let value = match ty {
        Type::List(element) => {
            let values = items(json, LIST_LIMIT).map_err(|_| format!("must be a {ty}"))?;
            let values = values.ok_or_else(|| format!("can't have more than {LIST_LIMIT} values"))?;
            let values = values.into_iter().map(|value| read(value, element.ty()));
            return Ok(Const::List(values.collect::<Result<Vec<_>, _>>()?.into()));
        }
        Type::String => text().map(Const::Text),
        Type::Number => value_of(&text().unwrap_or_else(|| json.get().to_owned()), ty),
        Type::Bool => value_of(json.get(), ty),
        _ => text().and_then(|text| value_of(&text, ty)),
    };
    value.ok_or_else(|| format!("must be a {ty}"))
}
