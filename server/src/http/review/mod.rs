//! The review console, `/admin`: its own door to the same login.

use std::sync::Arc;

use axum::extract::{Extension, State};

use super::answer::Peer;
use super::body::Json;
use super::platform::auth::{Login, MAX_LOGIN_BYTES, Token, login as log_in};
use super::problem::{LoginProblems, Problem};
use crate::app::App;

/// Log in with e-mail address and password: the same as `/api/v1/auth/login`, and the token is good everywhere.
#[utoipa::path(post, path = "/admin/auth/login", tag = "auth", request_body = Login, security(()),
    responses((status = 200, description = "Who you are", body = Token), LoginProblems))]
pub async fn login(
    app: State<Arc<App>>,
    peer: Extension<Peer>,
    login: Json<Login, MAX_LOGIN_BYTES>,
) -> Result<axum::Json<Token>, Problem> {
    log_in(app, peer, login).await
}
