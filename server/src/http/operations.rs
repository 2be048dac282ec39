//! Operations: is it up, can it decide, and what has it done.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::Peer;
use super::auth::credential;
use super::problem::{MetricsProblems, Problem};
use crate::app::App;
use crate::db::StoreError;
use crate::ledger::sha256;
use crate::metrics::Text;

/// What proxies say of a request.
const FORWARDED: [&str; 3] = ["forwarded", "x-forwarded-for", "x-real-ip"];

/// How the server is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"status": "ok", "database": "ok", "uptime_s": 17, "version": "0.1.0"}))]
pub struct Health {
    /// `ok`, `unavailable`, `stopping`, or `clock_moved`: the machine's clock was, by more than 60 s.
    status: &'static str,
    /// `ok`, `unavailable`, `full`, or `moved`: its file is not where it was opened.
    database: &'static str,
    /// Since when it runs, in seconds.
    uptime_s: u64,
    /// The version of the server.
    version: &'static str,
}

/// Whether the server can decide.
#[utoipa::path(get, path = "/health", tag = "operations", security(()),
    responses((status = 200, description = "Ready", body = Health), (status = 503, description = "Not ready", body = Health)))]
pub async fn health(State(app): State<Arc<App>>) -> (StatusCode, axum::Json<Health>) {
    health_of(&app).await
}

/// Whether requests should come here: the server can decide, and is not about to end.
#[utoipa::path(get, path = "/ready", tag = "operations", security(()),
    responses((status = 200, description = "Ready", body = Health), (status = 503, description = "Not ready", body = Health)))]
pub async fn ready(State(app): State<Arc<App>>) -> (StatusCode, axum::Json<Health>) {
    let (status, health) = health_of(&app).await;
    let unready = |status| (StatusCode::SERVICE_UNAVAILABLE, axum::Json(Health { status, ..health.0 }));
    match app.stopping.load(Ordering::Relaxed) {
        true => unready("stopping"),
        false if status == StatusCode::OK && app.clock.is_off() => unready("clock_moved"),
        false => (status, health),
    }
}

/// Whether the process lives. It asks nobody else, so that nobody restarts it because of its database.
#[utoipa::path(get, path = "/livez", tag = "operations", security(()),
    responses((status = 200, description = "It lives", body = String, content_type = "text/plain", example = "ok")))]
pub async fn livez() -> &'static str {
    "ok"
}

/// What the server has done, for Prometheus.
///
/// With `LICTOR_METRICS_TOKEN` it is for whoever sends that as a bearer token; without, for this machine, unless the
/// request came through a proxy. It is about the server as a whole: no series names an org, an agent or a policy.
#[utoipa::path(get, path = "/metrics", tag = "operations",
    responses((status = 200, description = "Counters and histograms, in text", body = String, content_type = "text/plain",
        example = "lictor_decisions_total{outcome=\"allow\"} 17"), MetricsProblems))]
pub async fn metrics(
    State(app): State<Arc<App>>,
    Extension(Peer(peer)): Extension<Peer>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    match &app.metrics_token {
        Some(token) => {
            let sent = credential(&headers).ok_or_else(Problem::unauthenticated)?;
            // Hashes are compared, so that the time it takes tells nothing of the token.
            if sha256(&[sent.as_bytes()]) != sha256(&[token.as_bytes()]) {
                return Err(Problem::unauthenticated());
            }
        }
        None if peer.to_canonical().is_loopback()
            && !FORWARDED.iter().any(|by| headers.contains_key(*by)) => {}
        None => {
            return Err(Problem::forbidden("only this machine reads the metrics: see LICTOR_METRICS_TOKEN"));
        }
    }
    let mut text = Text::default();
    app.metrics.write(&mut text);
    text.gauge("lictor_queue_events", "Events that wait or are being recorded.", app.waiting());
    text.gauge("lictor_ledger_entries", "Entries of all ledgers.", app.ledger_entries());
    text.gauge("lictor_uptime_seconds", "Since when it runs.", app.started.elapsed().as_secs());
    Ok(([(header::CONTENT_TYPE, Text::CONTENT_TYPE)], text.into_string()).into_response())
}

async fn health_of(app: &App) -> (StatusCode, axum::Json<Health>) {
    let answers = app.database.ping().await;
    if let Err(error) = &answers {
        tracing::error!(error = error as &dyn std::error::Error, "the database does not answer");
    }
    let word = |well| if well { "ok" } else { "unavailable" };
    let ready = answers.is_ok() && app.can_decide();
    let database = match answers {
        Err(StoreError::Full(_)) => "full",
        Err(StoreError::Moved(_)) => "moved",
        answers => word(answers.is_ok()),
    };
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let uptime_s = app.started.elapsed().as_secs();
    let version = env!("CARGO_PKG_VERSION");
    (status, axum::Json(Health { status: word(ready), database, uptime_s, version }))
}
