//! `/api/v1/auth`: logging in, and API keys.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::super::auth::{Editor, Reader};
use super::super::body::Json;
use super::super::problem::{LoginProblems, Problem, ReadProblems, WriteProblems};
use super::super::values::{Segment, id};
use crate::accounts::keys::{ApiKey, PREFIXES, generate};
use crate::accounts::{passwords, tokens};
use crate::app::App;
use crate::clock::rfc3339;

/// The longest password that is looked at.
const MAX_PASSWORD_BYTES: usize = 1_024;
/// What anybody may send without being known.
const MAX_LOGIN_BYTES: usize = 16 * 1024;
/// The longest e-mail address that is looked at.
const MAX_EMAIL_BYTES: usize = 320;

/// A login.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// The e-mail address.
    #[schema(example = "owner@example.com")]
    email: String,
    /// The password.
    #[schema(example = "correct horse battery staple")]
    password: String,
}

/// An access token.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"access_token": "eyJ…", "token_type": "bearer", "expires_in": 86400}))]
pub struct Token {
    /// To be sent as `Authorization: Bearer …`.
    access_token: String,
    /// Always `bearer`.
    token_type: &'static str,
    /// How long it is good, in seconds.
    expires_in: i64,
}

/// Log in with e-mail address and password.
#[utoipa::path(post, path = "/api/v1/auth/login", tag = "auth", request_body = Login, security(()),
    responses((status = 200, description = "Who you are", body = Token), LoginProblems))]
pub async fn login(
    State(app): State<Arc<App>>,
    Json(login): Json<Login, MAX_LOGIN_BYTES>,
) -> Result<axum::Json<Token>, Problem> {
    let email = login.email.trim().to_lowercase();
    if email.len() > MAX_EMAIL_BYTES || login.password.len() > MAX_PASSWORD_BYTES {
        return Err(Problem::wrong_login());
    }
    if let Some(seconds) = app.logins.wait_s(&email, app.clock.now_us()) {
        return Err(Problem::wait(seconds));
    }
    let _in_line =
        app.logging_in.try_acquire().map_err(|_| Problem::unavailable("too many logins are waiting"))?;
    let user = app.database.user_by_email(&email).await?;
    let kept = user.as_ref().map(|user| user.password_hash.clone());
    let place = Arc::clone(&app.hashing).acquire_owned().await.map_err(|_| Problem::internal())?;
    app.logins.begin(&email, app.clock.now_us()).map_err(Problem::wait)?;
    let verify = move || {
        let matches = passwords::verify(&login.password, kept.as_deref());
        drop(place);
        matches
    };
    let matches = tokio::task::spawn_blocking(verify).await.map_err(|_| Problem::internal())?;
    let user = user.filter(|_| matches).ok_or_else(Problem::wrong_login)?;
    app.logins.right(&email);
    let now_us = app.clock.now_us();
    let access_token = app.tokens.issue(user.id, user.org, now_us).map_err(|_| Problem::internal())?;
    Ok(axum::Json(Token { access_token, token_type: "bearer", expires_in: tokens::LIFETIME_S }))
}

/// A key to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    /// What you call it.
    #[schema(example = "support bot")]
    name: String,
    /// How it begins: `KvKey-` (the default), `kz_live_` or `ka_live_`. They are all the same kind of key.
    #[schema(example = "KvKey-")]
    prefix: Option<String>,
    /// The only agent that it may act for, by id or name. Without it: the agents that it registers.
    agent_id: Option<String>,
}

/// A new key.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"key": "KvKey-3f…", "id": "0198c0de-0000-7000-8000-000000000000", "name": "support bot", "prefix": "KvKey-"}))]
pub struct MadeKey {
    /// The key itself. It is not shown again.
    key: String,
    /// The id to revoke it by.
    id: Uuid,
    /// What you call it.
    name: String,
    /// How it begins.
    prefix: String,
}

/// Make an API key.
#[utoipa::path(post, path = "/api/v1/auth/api-keys", tag = "auth", request_body = NewKey,
    responses((status = 201, description = "The key, shown this once", body = MadeKey), WriteProblems))]
pub async fn create_key(
    State(app): State<Arc<App>>,
    editor: Editor,
    Json(new): Json<NewKey>,
) -> Result<(StatusCode, axum::Json<MadeKey>), Problem> {
    if new.name.trim().is_empty() || new.name.len() > 255 || new.name.contains('\0') {
        return Err(Problem::field("name", "must have 1 to 255 bytes, none of them 0"));
    }
    let prefix = new.prefix.unwrap_or_else(|| PREFIXES[0].to_owned());
    if !PREFIXES.contains(&prefix.as_str()) {
        return Err(Problem::field("prefix", format!("must be one of {}", PREFIXES.join(", "))));
    }
    let directory = &editor.org.view.directory;
    let agent = match &new.agent_id {
        Some(name) => Some(
            directory.find(name).ok_or_else(|| Problem::field("agent_id", "is no agent of this org"))?.id,
        ),
        None => None,
    };
    let (secret, hash) = generate(&prefix).map_err(|_| Problem::internal())?;
    let (id, now_us) = (Uuid::now_v7(), app.clock.now_us());
    let (org, account) = (editor.org.view.id, editor.person.id);
    let key = ApiKey::new(id, org, account, new.name.clone(), prefix.clone(), agent, hash, now_us, None);
    editor.org.queue.add_key(Arc::new(key), editor.actor()).await?;
    Ok((StatusCode::CREATED, axum::Json(MadeKey { key: secret, id, name: new.name, prefix })))
}

/// A key, without the key.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"id": "0198c0de-0000-7000-8000-000000000000", "name": "support bot", "prefix": "KvKey-",
    "agent_id": null, "created_at": "2026-11-21T12:00:00.000Z", "last_used_at": "2026-11-21T12:05:00.000Z"}))]
pub struct ListedKey {
    id: Uuid,
    /// What it is called.
    name: String,
    /// How it begins.
    prefix: String,
    /// The only agent that it may act for.
    agent_id: Option<Uuid>,
    created_at: String,
    /// When it was last used; written down every few seconds.
    last_used_at: Option<String>,
}

/// The live keys of the org.
#[utoipa::path(get, path = "/api/v1/auth/api-keys", tag = "auth",
    responses((status = 200, description = "Oldest first", body = Vec<ListedKey>), ReadProblems))]
pub async fn list_keys(State(app): State<Arc<App>>, reader: Reader) -> axum::Json<Vec<ListedKey>> {
    let listed = |key: Arc<ApiKey>| ListedKey {
        id: key.id,
        name: key.name.clone(),
        prefix: key.prefix.clone(),
        agent_id: key.agent,
        created_at: rfc3339(key.created_at_us),
        last_used_at: key.last_used_us().map(rfc3339),
    };
    axum::Json(app.keys.of(reader.org.view.id).into_iter().map(listed).collect())
}

/// Revoke a key. It is worthless when this is answered.
#[utoipa::path(delete, path = "/api/v1/auth/api-keys/{id}", tag = "auth", params(("id" = String, Path, description = "The key's id")),
    responses((status = 204, description = "Revoked"), WriteProblems))]
pub async fn revoke_key(
    State(app): State<Arc<App>>,
    editor: Editor,
    Segment(key): Segment,
) -> Result<StatusCode, Problem> {
    let key = id(&key, "key")?;
    if !app.keys.of(editor.org.view.id).iter().any(|other| other.id == key) {
        return Err(Problem::not_found("key"));
    }
    editor.org.queue.revoke_key(key, editor.actor()).await?;
    Ok(StatusCode::NO_CONTENT)
}
