//! `Idempotency-Key`: a request that is sent again gets the answer of the first time, and does nothing more.
//!
//! A request's answer is looked up before its route is asked, and again where the route could not answer though the
//! storage did: the same request may have been answered meanwhile. That it is done once does not rest on this: the
//! sequencer looks as well, when nobody else can write.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::header::{CONTENT_TYPE, ETAG, IF_MATCH};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::value::RawValue;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::Type;
use utoipa::openapi::{ObjectBuilder, OpenApi, RefOr, Required};

use super::auth::Actor;
use super::body::{BATCH_BYTES, MIB, POLICY_BYTES, json, read_ahead};
use super::members::{canonical, members};
use super::platform::decisions;
use super::problem::Problem;
use crate::app::App;
use crate::ledger::sha256;
use crate::retries::{Claim, Keep, Name, Shown, open};
use crate::vault::Bytes32;

/// The header that names a request.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The header of an answer that was given before.
pub const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// Says which agent a request is about, where its body does not.
const X_AGENT_ID: HeaderName = HeaderName::from_static("x-agent-id");
/// The longest body of which two spellings are one request.
const MAX_SPELLED: usize = 64 * 1024;
/// The longest key, in characters.
const MAX_KEY: usize = 255;

/// The routes that do a request once: every `POST` that makes, judges or changes something.
pub const ONCE: &[&str] = &[
    "/api/v1/agents",
    "/api/v1/auth/api-keys",
    "/api/v1/auth/api-keys/{id}/rotate",
    "/api/v1/auth/password",
    "/api/v1/decisions",
    "/api/v1/incidents/{id}/acknowledge",
    "/api/v1/incidents/{id}/ignore",
    "/api/v1/incidents/{id}/reactivate",
    "/api/v1/incidents/{id}/resolve",
    "/api/v1/logs",
    "/api/v1/orgs",
    "/api/v1/policies",
    "/api/v1/policies/{id}/disable",
    "/api/v1/policies/{id}/enable",
    "/api/v1/policies/{id}/shadow",
    "/api/v1/policy-templates/{template}/apply",
    "/api/v3/intents",
    "/v1/keys",
];

/// The other `POST` routes, which ignore the header. They change nothing; or know nobody to keep an answer for (before a
/// login, and after leaving); or do in several steps what may be done once more (another key for the ledger, an erasure); or are about
/// people, where an invitation that was made is a 409, and roles, groups and one-time passwords may be given again; or about
/// templates that are applied, where a second removal is a 409, and an upgrade may be asked for again.
pub const ANY_NUMBER_OF_TIMES: &[&str] = &[
    "/admin/auth/login",
    "/api/v1/auth/login",
    "/api/v1/auth/register",
    "/api/v1/ledger/erasures",
    "/api/v1/ledger/keys",
    "/api/v1/policies/check",
    "/api/v1/policy-templates/{template}/preview",
    "/api/v1/policy-templates/{template}/remove",
    "/api/v1/policy-templates/{template}/upgrade",
    "/api/v3/policy/evaluate",
    "/v1/members/groups",
    "/v1/members/invite",
    "/v1/members/leave",
    "/v1/members/role",
    "/v1/members/{member}/one-time-password",
];

/// Answers as the route does, unless the same was asked before.
pub async fn once(State(app): State<Arc<App>>, route: MatchedPath, request: Request, next: Next) -> Response {
    let is_once = request.method() == Method::POST && ONCE.contains(&route.as_str());
    if !is_once || !request.headers().contains_key(IDEMPOTENCY_KEY) {
        return next.run(request).await;
    }
    match answered_once(&app, route.as_str(), request, next).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn answered_once(app: &App, route: &str, request: Request, next: Next) -> Result<Response, Problem> {
    let key = key(request.headers())?;
    let (mut parts, body) = read_ahead(request, most(route)).await?;
    let claim = match parts.extensions.get::<Actor>() {
        Some(actor) => asked(actor, route, key, &parts, &body),
        None => return Err(Problem::internal()),
    };
    let Some(claim) = claim else { return Ok(next.run(Request::from_parts(parts, Body::from(body))).await) };
    if let Some(response) = replayed(app, &claim).await? {
        return Ok(response);
    }
    parts.extensions.insert(claim.clone());
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    // Whoever may no longer ask gets no answer of before either.
    if response.status().is_success() || response.status() == StatusCode::UNAUTHORIZED {
        return Ok(response);
    }
    match Problem::of(&response) {
        Some(problem) if !problem.may_be_kept() => Ok(response),
        _ => Ok(replayed(app, &claim).await?.unwrap_or(response)),
    }
}

/// The longest body that a route takes.
fn most(route: &str) -> usize {
    match route {
        decisions::SOURCE => BATCH_BYTES,
        "/api/v1/policies" => POLICY_BYTES,
        _ => MIB,
    }
}

fn key(headers: &HeaderMap) -> Result<String, Problem> {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    let (key, is_alone) = (keys.next(), keys.next().is_none());
    let printable = |byte: &u8| (b' '..=b'~').contains(byte);
    let key = key.filter(|key| (1..=MAX_KEY).contains(&key.len()) && key.as_bytes().iter().all(printable));
    match key.and_then(|key| key.to_str().ok()) {
        Some(key) if is_alone => Ok(key.to_owned()),
        _ => {
            Err(Problem::field("Idempotency-Key", "must be one text of 1 to 255 printable ASCII characters"))
        }
    }
}

/// What is asked, if it is to be done once.
fn asked(actor: &Actor, route: &str, key: String, parts: &Parts, body: &Bytes) -> Option<Claim> {
    let json = json(body.clone()).ok();
    if route == decisions::SOURCE && json.as_deref().is_some_and(is_dry_run) {
        return None;
    }
    let place = parts.uri.path_and_query().map_or(route, |place| place.as_str());
    let header = |name: HeaderName| parts.headers.get(name).map_or(b"".as_slice(), HeaderValue::as_bytes);
    // However it is spelled. What is no JSON is only itself, and so is what is long: to spell it anew would cost far more
    // than to read it.
    let short = json.filter(|_| body.len() <= MAX_SPELLED);
    let spelled = short.and_then(|json| canonical(&json).ok());
    let body = spelled.as_deref().map_or(body.as_ref(), str::as_bytes);
    let said: [&[u8]; 7] =
        [place.as_bytes(), b"\n", header(IF_MATCH), b"\n", header(X_AGENT_ID), b"\n", body];
    let (org, account) = (actor.org.view.id, actor.caller.account());
    Some(Claim { name: Name { org, account, route: route.to_owned(), key }, digest: sha256(&said) })
}

fn is_dry_run(body: &RawValue) -> bool {
    let members = members(body).unwrap_or_default();
    members.iter().any(|(name, value)| name == "dry_run" && value.get() == "true")
}

/// The answer that the request got before, if it did.
async fn replayed(app: &App, claim: &Claim) -> Result<Option<Response>, Problem> {
    let Some(row) = app.database.answer(&claim.name).await? else { return Ok(None) };
    let opened = open(&app.vault, claim.name.org, row.answer_id, &row.wrapped_key, &row.ciphertext);
    let (request, answer): (Bytes32, Shown) = opened.map_err(|error| {
        tracing::error!(org = %claim.name.org, %error, "a kept answer can't be opened");
        Problem::internal()
    })?;
    if request != claim.digest {
        return Err(Problem::key_reused());
    }
    response(answer).map(Some)
}

fn response(Shown { status, etag, body }: Shown) -> Result<Response, Problem> {
    let status = StatusCode::from_u16(status).map_err(|_| Problem::internal())?;
    let is_empty = body.is_empty();
    let mut response = (status, Body::from(body)).into_response();
    let headers = response.headers_mut();
    if !is_empty {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    if let Some(etag) = etag {
        headers.insert(ETAG, HeaderValue::from_str(&etag).map_err(|_| Problem::internal())?);
    }
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}

/// The request as its handler knows it, if it is to be done once.
#[derive(Debug)]
pub struct Retry(pub Option<Claim>);

impl Retry {
    /// How the answer is kept: as `show` makes it of what came of the request.
    pub fn keep<T>(self, show: impl FnOnce(&T) -> Option<Shown> + Send + Sync + 'static) -> Option<Keep<T>> {
        self.0.map(|claim| Keep { claim, show: Box::new(show) })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Retry {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Retry, Infallible> {
        Ok(Retry(parts.extensions.get::<Claim>().cloned()))
    }
}

/// Says of every route that does a request once that it does.
pub fn document(api: &mut OpenApi) {
    for (path, item) in &mut api.paths.paths {
        if let Some(operation) = item.post.as_mut().filter(|_| ONCE.contains(&path.as_str())) {
            operation.parameters.get_or_insert_default().push(RefOr::T(parameter()));
        }
    }
}

fn parameter() -> Parameter {
    let text = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(MAX_KEY));
    ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(
            "A name of your choice for this request. For a day the same request with the same key is answered with what it \
             was answered first, with `Idempotency-Replayed: true`, and does nothing more; secrets that are shown once are \
             null in it. Another request with the same key is a 409",
        ))
        .schema(Some(text))
        .build()
}
