//! `/v1/keys`: API keys as clients of this console make them.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;

use super::super::auth::Human;
use super::super::body::Json;
use super::super::platform::keys::{ListedKey, MadeKey, NewKey, list_keys as list, make};
use super::super::problem::{Problem, ReadProblems, WriteProblems};
use crate::app::App;

/// Make an API key: the same kind, with the prefix `kz_live_` unless another is asked for.
#[utoipa::path(post, path = "/v1/keys", tag = "auth", request_body = NewKey,
    responses((status = 201, description = "The key, shown this once", body = MadeKey), WriteProblems))]
pub async fn create_key(
    State(app): State<Arc<App>>,
    human: Human,
    Json(new): Json<NewKey>,
) -> Result<(StatusCode, axum::Json<MadeKey>), Problem> {
    Ok((StatusCode::CREATED, axum::Json(make(&app, &human, new, "kz_live_").await?)))
}

/// The live keys of the org.
#[utoipa::path(get, path = "/v1/keys", tag = "auth",
    responses((status = 200, description = "Oldest first", body = Vec<ListedKey>), ReadProblems))]
pub async fn list_keys(app: State<Arc<App>>, human: Human) -> Result<axum::Json<Vec<ListedKey>>, Problem> {
    list(app, human).await
}
