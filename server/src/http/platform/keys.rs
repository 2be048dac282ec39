//! `/api/v1/auth/api-keys`: API keys.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::super::auth::Human;
use super::super::body::Json;
use super::super::problem::{Problem, ReadProblems, WriteProblems};
use super::super::values::{Segment, id};
use crate::accounts::keys::{ApiKey, PREFIXES, generate};
use crate::app::App;
use crate::clock::rfc3339;
use crate::draft::Rotation;

/// The longest that an old secret stays good: 30 days.
const MAX_OVERLAP_S: i64 = 30 * 86_400;

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
    human: Human,
    Json(new): Json<NewKey>,
) -> Result<(StatusCode, axum::Json<MadeKey>), Problem> {
    let made = make(&app, &human, new, PREFIXES[0]).await?;
    Ok((StatusCode::CREATED, axum::Json(made)))
}

/// Makes a key that begins like this if nothing else is said.
pub(in crate::http) async fn make(
    app: &App,
    human: &Human,
    new: NewKey,
    usually: &str,
) -> Result<MadeKey, Problem> {
    if new.name.trim().is_empty() || new.name.len() > 255 || new.name.contains('\0') {
        return Err(Problem::field("name", "must have 1 to 255 bytes, none of them 0"));
    }
    let prefix = new.prefix.unwrap_or_else(|| usually.to_owned());
    if !PREFIXES.contains(&prefix.as_str()) {
        return Err(Problem::field("prefix", format!("must be one of {}", PREFIXES.join(", "))));
    }
    let directory = &human.org.view.directory;
    let agent = match &new.agent_id {
        Some(name) => Some(
            directory.find(name).ok_or_else(|| Problem::field("agent_id", "is no agent of this org"))?.id,
        ),
        None => None,
    };
    let (secret, hash) = generate(&prefix).map_err(|_| Problem::internal())?;
    let (id, now_us) = (Uuid::now_v7(), app.clock.now_us());
    let (org, account) = (human.org.view.id, human.person.id);
    let key = ApiKey::new(id, org, account, new.name.clone(), prefix.clone(), agent, hash, now_us, None);
    human.org.queue.add_key(Arc::new(key), human.actor()).await??;
    Ok(MadeKey { key: secret, id, name: new.name, prefix })
}

/// How a key is rotated.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSecret {
    /// How long the secret until now stays good, in seconds: at most 30 days, and none if nothing is said.
    #[schema(example = 3600)]
    overlap_s: Option<i64>,
}

/// Give a key another secret. It stays the same key: its agents and its name remain.
#[utoipa::path(post, path = "/api/v1/auth/api-keys/{id}/rotate", tag = "auth", request_body = NewSecret,
    params(("id" = String, Path, description = "The key's id")),
    responses((status = 200, description = "The new secret, shown this once", body = MadeKey), WriteProblems))]
pub async fn rotate_key(
    State(app): State<Arc<App>>,
    human: Human,
    Segment(key): Segment,
    Json(new): Json<NewSecret>,
) -> Result<axum::Json<MadeKey>, Problem> {
    let id = id(&key, "key")?;
    let key = app.keys.by_id(human.org.view.id, id).ok_or_else(|| Problem::not_found("key"))?;
    let overlap_s = new.overlap_s.unwrap_or(0);
    if !(0..=MAX_OVERLAP_S).contains(&overlap_s) {
        return Err(Problem::field("overlap_s", "must be from 0 to 2592000 seconds"));
    }
    let (secret, hash) = generate(&key.prefix).map_err(|_| Problem::internal())?;
    human.org.queue.rotate_key(Rotation { id, hash, overlap_s }, human.actor()).await??;
    Ok(axum::Json(MadeKey { key: secret, id, name: key.name.clone(), prefix: key.prefix.clone() }))
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
    /// When it was last used, on any server; written down every ten seconds.
    last_used_at: Option<String>,
    /// After a rotation: until when the secret before it is good.
    #[serde(skip_serializing_if = "Option::is_none")]
    old_secret_until: Option<String>,
}

/// The live keys of the org.
#[utoipa::path(get, path = "/api/v1/auth/api-keys", tag = "auth",
    responses((status = 200, description = "Oldest first", body = Vec<ListedKey>), ReadProblems))]
pub async fn list_keys(
    State(app): State<Arc<App>>,
    human: Human,
) -> Result<axum::Json<Vec<ListedKey>>, Problem> {
    // Other servers know of other uses.
    let uses = app.database.key_uses(human.org.view.id).await?;
    let listed = |key: Arc<ApiKey>| ListedKey {
        id: key.id,
        name: key.name.clone(),
        prefix: key.prefix.clone(),
        agent_id: key.agent,
        created_at: rfc3339(key.created_at_us),
        last_used_at: key.last_used_us().max(uses.get(&key.id).copied()).map(rfc3339),
        old_secret_until: key.old.map(|old| rfc3339(old.until_us)),
    };
    Ok(axum::Json(app.keys.of(human.org.view.id).into_iter().map(listed).collect()))
}

/// Revoke a key. It is worthless when this is answered.
#[utoipa::path(delete, path = "/api/v1/auth/api-keys/{id}", tag = "auth", params(("id" = String, Path, description = "The key's id")),
    responses((status = 204, description = "Revoked"), WriteProblems))]
pub async fn revoke_key(
    State(app): State<Arc<App>>,
    human: Human,
    Segment(key): Segment,
) -> Result<StatusCode, Problem> {
    let key = id(&key, "key")?;
    app.keys.by_id(human.org.view.id, key).ok_or_else(|| Problem::not_found("key"))?;
    human.org.queue.revoke_key(key, human.actor()).await?;
    Ok(StatusCode::NO_CONTENT)
}
