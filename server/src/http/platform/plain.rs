//! The usual request for a decision: one small event of an agent that is there, sent by an API key.
//!
//! It is answered without the detours that others need. Whatever is unusual or wrong goes on to its route, which says
//! what; so nothing may have happened before it is clear that an event is judged.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Method, Request, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::super::auth::Actor;
use super::super::body::{Due, announced, is_encoded, whole};
use super::super::problem::Problem;
use super::super::retries::IDEMPOTENCY_KEY;
use super::decisions::{DecisionBody, SOURCE, answered, hypothetical};
use super::head::Head;
use crate::agents::Known;
use crate::app::App;
use crate::pdp::{Incoming, MAX_FIELD_BYTES, PdpError, decide, decode, dry_run, prepare};

/// Where such requests are sent.
pub const ROUTE: &str = SOURCE;
/// What most answers are shorter than.
const ANSWER_BYTES: usize = 1024;

/// What became of a request.
pub enum Plain {
    /// It is answered.
    Answered {
        /// The answer.
        response: Response,
        /// Whether all of the body was read.
        is_read: bool,
    },
    /// Nothing happened: its route answers it, with this body if it was read.
    Other(Option<Bytes>),
}

/// Answers a request if it is a usual one.
pub async fn answer(app: &App, request: &mut Request<hyper::body::Incoming>, due: Due) -> Plain {
    let is_asked = request.method() == Method::POST && request.uri().path() == SOURCE;
    let length = announced(request.headers()).filter(|length| *length <= MAX_FIELD_BYTES);
    let (true, Some(length), false) = (is_asked, length, is_encoded(request.headers())) else {
        return Plain::Other(None);
    };
    // Its answer may be kept, or be there already.
    if request.headers().contains_key(IDEMPOTENCY_KEY) {
        return Plain::Other(None);
    }
    let Some(actor) = Actor::by_key(app, request.headers()) else { return Plain::Other(None) };
    let body = match whole(request.body_mut(), Some(length), MAX_FIELD_BYTES, due).await {
        Ok(bytes) => bytes,
        Err(problem) => return Plain::Answered { response: problem.into_response(), is_read: false },
    };
    match judged(app, &actor, &body).await {
        Some(Ok(decision)) => Plain::Answered { response: json(&decision), is_read: true },
        Some(Err(problem)) => Plain::Answered { response: problem.into_response(), is_read: true },
        None => Plain::Other(Some(body)),
    }
}

/// The decision on a body that is an event; nothing, if that is not certain.
async fn judged(app: &App, actor: &Actor, body: &Bytes) -> Option<Result<DecisionBody, Problem>> {
    let text = std::str::from_utf8(body).ok()?;
    let Head { agent, dry_run: is_dry } = Head::find(text)?;
    let Actor { caller, org } = actor;
    let agent: Arc<Known> = org.view.directory.find(agent).filter(|agent| agent.obeys(caller))?;
    let event = text.trim_matches([' ', '\t', '\n', '\r']);
    let incoming = Incoming { caller, source: SOURCE, json: event.as_bytes() };
    Some(if is_dry {
        let event = decode(org, incoming, &agent).ok()?;
        dry_run(org, event, Some(app.clock.now_us())).await.map(hypothetical).map_err(Problem::from)
    } else {
        let prepared = prepare(app, org, incoming, &agent, None).ok()?;
        match decide(org, prepared).await {
            Ok(answer) => answered(Ok(answer)),
            Err(PdpError::Refused(refused)) => answered(Err(refused)),
            Err(PdpError::Unavailable(unavailable)) => Err(unavailable.into()),
        }
    })
}

/// An answer written straight into its bytes.
pub(super) fn json(body: &impl Serialize) -> Response {
    let mut bytes = Vec::with_capacity(ANSWER_BYTES);
    if let Err(error) = serde_json::to_writer(&mut bytes, body) {
        tracing::error!(%error, "an answer can't be written");
        return Problem::internal().into_response();
    }
    let mut response = Response::new(Body::from(bytes));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
