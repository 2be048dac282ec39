//! `/api/v1/orgs`: where the caller belongs, and new orgs.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::super::auth::Human;
use super::super::body::Json;
use super::super::problem::{Problem, ReadProblems, WriteProblems};
use super::super::retries::Retry;
use super::auth::{email, hashed};
use crate::accounts::{Role, User, passwords};
use crate::app::{App, FoundError, Org};
use crate::clock::rfc3339;
use crate::founding::{FoundingError, NewOrg, Standing};
use crate::retries::Shown;

/// The longest name of an org, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// An org.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"id": "0198c0de-0000-7000-8000-000000000000", "name": "default", "role": "owner",
    "is_verified": true, "created_at": "2026-11-21T12:00:00.000Z"}))]
pub struct OrgBody {
    /// What other places call `org_id` and `x-org-id`.
    id: Uuid,
    name: String,
    /// What the caller is there.
    role: &'static str,
    /// Whether its members are known to belong to it.
    is_verified: bool,
    created_at: String,
}

/// The orgs that the caller belongs to. `x-org-id` says in which of them a request acts; without it, the first.
#[utoipa::path(get, path = "/api/v1/orgs", tag = "orgs",
    responses((status = 200, description = "The org that this request acts in first", body = Vec<OrgBody>), ReadProblems))]
pub async fn list_orgs(
    State(app): State<Arc<App>>,
    human: Human,
) -> Result<axum::Json<Vec<OrgBody>>, Problem> {
    let mut memberships = app.database.memberships(human.person.id).await?;
    memberships.sort_by_key(|membership| membership.org != human.org.view.id);
    let served =
        memberships.iter().filter_map(|membership| Some((app.org(membership.org)?, membership.role)));
    let body = |(org, role): (Arc<Org>, Role)| OrgBody {
        id: org.view.id,
        name: org.view.name.clone(),
        role: role.name(),
        is_verified: true,
        created_at: rfc3339(org.view.created_at_us),
    };
    Ok(axum::Json(served.map(body).collect()))
}

/// An org to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewOrgBody {
    /// What it is called.
    #[schema(example = "Example")]
    name: String,
    /// Who owns it: the caller, if nobody is named. Whoever is known already accepts by logging in.
    #[schema(example = "owner@example.org")]
    owner_email: Option<String>,
    /// The password of an owner who is not known yet: at least 8 characters.
    #[schema(example = "correct horse battery staple")]
    owner_password: Option<String>,
}

/// An org that was made.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"id": "0198c0de-0000-7000-8000-000000000000", "name": "Example",
    "owner": {"id": "0198c0de-0000-7000-8000-000000000001", "email": "owner@example.org", "status": "active"}}))]
pub struct FoundedOrg {
    /// What other places call `org_id` and `x-org-id`.
    id: Uuid,
    name: String,
    owner: Owner,
}

/// Who owns it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Owner {
    id: Uuid,
    email: String,
    /// `active`; or `invited`, until they log in.
    status: &'static str,
}

/// Make a further org.
#[utoipa::path(post, path = "/api/v1/orgs", tag = "orgs", request_body = NewOrgBody,
    responses((status = 201, description = "Made", body = FoundedOrg), WriteProblems))]
pub async fn create_org(
    State(app): State<Arc<App>>,
    human: Human,
    retry: Retry,
    Json(new): Json<NewOrgBody>,
) -> Result<(StatusCode, axum::Json<FoundedOrg>), Problem> {
    let name = org_name("name", &new.name)?;
    let org = Uuid::now_v7();
    let known = match &new.owner_email {
        Some(text) => app.database.user_by_email(&email("owner_email", text)?).await?,
        None => app.database.user(human.person.id).await?,
    };
    let (owner, standing) = match known {
        Some(user) if user.id == human.person.id => (user, Standing::Asked),
        Some(user) => (user, Standing::Invited),
        None => {
            let email = email("owner_email", new.owner_email.as_deref().unwrap_or_default())?;
            let password =
                new.owner_password.ok_or_else(|| Problem::field("owner_password", "is required"))?;
            passwords::check(&password).map_err(|detail| Problem::field("owner_password", detail))?;
            let (id, created_at_us) = (Uuid::now_v7(), app.clock.now_us());
            let password_hash = hashed(&app, password).await?;
            (User { id, org, email, password_hash, one_time: false, created_at_us }, Standing::New)
        }
    };
    let (owner, actor) = (Arc::new(owner), human.actor());
    let new = NewOrg { id: org, name, owner, standing, key: None, actor, answer: None };
    founded(&app, new, retry).await
}

/// Makes an org, and the answer that says so.
pub(super) async fn founded(
    app: &Arc<App>,
    mut new: NewOrg,
    retry: Retry,
) -> Result<(StatusCode, axum::Json<FoundedOrg>), Problem> {
    let status = if new.standing == Standing::Invited { "invited" } else { "active" };
    let owner = Owner { id: new.owner.id, email: new.owner.email.clone(), status };
    let made = FoundedOrg { id: new.id, name: new.name.clone(), owner };
    new.answer = retry.0.zip(Shown::new(StatusCode::CREATED.as_u16(), &made));
    // To the end even if the caller leaves: an org that is stored has to be served.
    let app = Arc::clone(app);
    tokio::spawn(async move { app.found(new).await }).await.map_err(|_| Problem::internal())??;
    Ok((StatusCode::CREATED, axum::Json(made)))
}

/// The name of an org; `field` names it where it can't be one.
pub(super) fn org_name(field: &str, text: &str) -> Result<String, Problem> {
    let text = text.trim();
    match (1..=MAX_NAME_BYTES).contains(&text.len()) && !text.contains(char::is_control) {
        true => Ok(text.to_owned()),
        false => Err(Problem::field(field, "must have 1 to 255 bytes and no control characters")),
    }
}

impl From<FoundError> for Problem {
    fn from(error: FoundError) -> Problem {
        match error {
            FoundError::Founding(FoundingError::Store(error)) => error.into(),
            error => {
                tracing::error!(error = &error as &dyn std::error::Error, "an org could not be made");
                Problem::internal()
            }
        }
    }
}
