//! Values that answers share: exact numbers, and pages of lists.

use std::collections::HashMap;

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use lictor_dsl::number::Number;
use lictor_engine::decision::number;
use serde::{Serialize, Serializer};
use uuid::Uuid;

use super::problem::{FieldProblem, Problem};

/// Items of a page unless the caller says.
const DEFAULT_LIMIT: i64 = 100;
/// Items of the longest page.
const MAX_LIMIT: i64 = 1_000;

/// An exact number, written as a plain JSON number.
#[derive(Debug, Clone, Copy, utoipa::ToSchema)]
#[schema(value_type = f64)]
pub struct Decimal(pub Number);

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        number(&self.0, serializer)
    }
}

/// The parameters of a query.
#[derive(Debug, Default)]
pub struct Parameters(HashMap<String, String>);

impl Parameters {
    /// Those of this address, which has to have no others than these.
    pub fn of(uri: &Uri, known: &[&str]) -> Result<Parameters, Problem> {
        let query = Query::<HashMap<String, String>>::try_from_uri(uri);
        let Query(all) = query.map_err(|_| Problem::field("query", "can't be read"))?;
        let mut unknown: Vec<_> = all.keys().filter(|name| !known.contains(&name.as_str())).collect();
        unknown.sort_unstable();
        match unknown.is_empty() {
            true => Ok(Parameters(all)),
            false => Err(Problem::invalid(
                unknown.into_iter().map(|name| FieldProblem::new(name, "is not known here")).collect(),
            )),
        }
    }

    /// A parameter as it came.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A parameter that `read` makes something of, or a problem that names it.
    pub fn read<T>(
        &self,
        name: &str,
        what: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        self.text(name)
            .map(|text| read(text).ok_or_else(|| Problem::field(name, format!("must be {what}"))))
            .transpose()
    }

    /// `limit`, from 1 to 1000.
    pub fn limit(&self) -> Result<i64, Problem> {
        let in_range = |text: &str| text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
        Ok(self.read("limit", "a whole number from 1 to 1000", in_range)?.unwrap_or(DEFAULT_LIMIT))
    }

    /// The header that names the next page, if this one is full.
    pub fn next_page(
        &self,
        path: &str,
        cursor: (&str, Option<String>),
        items: usize,
        limit: i64,
    ) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let is_full = i64::try_from(items).is_ok_and(|items| items == limit);
        let (name, Some(after)) = cursor else { return headers };
        if is_full {
            let kept = self.0.iter().filter(|(other, _)| *other != name && *other != "limit");
            let kept: String =
                kept.map(|(name, value)| format!("&{}={}", escape(name), escape(value))).collect();
            let link = format!("<{path}?{name}={}&limit={limit}{kept}>; rel=\"next\"", escape(&after));
            if let Ok(value) = HeaderValue::from_str(&link) {
                headers.insert(header::LINK, value);
            }
        }
        headers
    }
}

fn escape(text: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if keep(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// The part of a path that a route names. What can't be one names nothing.
#[derive(Debug)]
pub struct Segment(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Segment, Problem> {
        let segment = Path::<String>::from_request_parts(parts, state).await;
        segment.map(|Path(text)| Segment(text)).map_err(|_| Problem::not_found("path"))
    }
}

/// An id in a path: one that can't be an id names nothing.
pub fn id(text: &str, what: &str) -> Result<Uuid, Problem> {
    Uuid::parse_str(text).map_err(|_| Problem::not_found(what))
}
