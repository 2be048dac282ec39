//! Operations: is it up, and what does it offer.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;

/// How the server is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"status": "ok", "database": "ok", "uptime_s": 17, "version": "0.1.0"}))]
pub struct Health {
    /// `ok`, or `unavailable`.
    status: &'static str,
    /// `ok`, or `unavailable`.
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
    let answers = app.database.ping().await;
    if let Err(error) = &answers {
        tracing::error!(error = error as &dyn std::error::Error, "the database does not answer");
    }
    let word = |well| if well { "ok" } else { "unavailable" };
    let (database, ready) = (word(answers.is_ok()), answers.is_ok() && app.can_decide());
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let uptime_s = app.started.elapsed().as_secs();
    let version = env!("CARGO_PKG_VERSION");
    (status, axum::Json(Health { status: word(ready), database, uptime_s, version }))
}
