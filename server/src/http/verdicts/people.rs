//! `/v1/members`: who belongs to the org.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::super::auth::Human;
use super::super::body::Json;
use super::super::platform::auth::{email, hashed};
use super::super::problem::{Problem, ReadProblems, WriteProblems};
use super::super::values::Segment;
use crate::accounts::people::{self, Step};
use crate::accounts::{Member, Role, User, passwords};
use crate::app::App;
use crate::clock::rfc3339;
use crate::db::Store;

/// Somebody to be invited.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Invitation {
    #[schema(example = "ann@example.com")]
    email: String,
    /// `viewer`, `member`, `approver`, `admin`, or by an owner `owner`.
    #[schema(example = "member")]
    role: String,
    /// A password for somebody who is not known yet: at least 8 characters. Without it one is made up, for one login.
    password: Option<String>,
}

/// Somebody who belongs to the org or is invited.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"id": "0198c0de-0000-7000-8000-000000000000", "email": "ann@example.com", "role": "member",
    "groups": ["finance"], "status": "invited", "invited_at": "2026-11-21T12:00:00.000Z", "one_time_password": "3f…"}))]
pub struct MemberBody {
    id: Uuid,
    email: String,
    role: &'static str,
    /// The groups that they are in.
    groups: Vec<String>,
    /// `active`; `invited`, until they log in; or `outdated`, if another org gave them a password since: logging in does not
    /// accept it then, and whoever wants them here gives them a password, or removes and invites them again.
    status: &'static str,
    invited_at: String,
    /// After an invitation of somebody who is not known yet, or when it was asked for: good for one login, and not shown again.
    #[serde(skip_serializing_if = "Option::is_none")]
    one_time_password: Option<String>,
    /// After an invitation: whether the address was known, so that its owner accepts with the password that they have.
    #[serde(skip_serializing_if = "Option::is_none")]
    was_known: Option<bool>,
}

fn body(member: &Member) -> MemberBody {
    MemberBody {
        id: member.user,
        email: member.email.clone(),
        role: member.role.name(),
        groups: member.groups.clone(),
        status: match member.accepted_at_us {
            Some(_) => "active",
            None if member.is_outdated => "outdated",
            None => "invited",
        },
        invited_at: rfc3339(member.invited_at_us),
        one_time_password: None,
        was_known: None,
    }
}

/// Invite somebody. They accept by logging in.
#[utoipa::path(post, path = "/v1/members/invite", tag = "members", request_body = Invitation,
    responses((status = 201, description = "Invited", body = MemberBody), WriteProblems))]
pub async fn invite(
    State(app): State<Arc<App>>,
    human: Human,
    Json(new): Json<Invitation>,
) -> Result<(StatusCode, axum::Json<MemberBody>), Problem> {
    let (email, role) = (email("email", &new.email)?, role(&new.role)?);
    if let Some(password) = &new.password {
        passwords::check(password).map_err(|detail| Problem::field("password", detail))?;
    }
    let known = app.database.user_by_email(&email).await?;
    let (is_new, mut one_time_password) = (known.is_none(), None);
    let user = match known {
        Some(user) => user,
        None => {
            let one_time = new.password.is_none();
            let password = match new.password {
                Some(password) => password,
                None => passwords::made_up().map_err(|_| Problem::internal())?,
            };
            one_time_password = one_time.then(|| password.clone());
            let password_hash = hashed(&app, password).await?;
            let (id, org) = (Uuid::now_v7(), human.org.view.id);
            User { id, org, email, password_hash, one_time, created_at_us: app.clock.now_us() }
        }
    };
    let (id, user) = (user.id, Arc::new(user));
    changed(&human, Step::Invite { user, is_new, role, by: human.person.role }).await?;
    let member = found(&app, &human, |member| member.user == id).await?;
    let body = MemberBody { one_time_password, was_known: Some(!is_new), ..body(&member) };
    Ok((StatusCode::CREATED, axum::Json(body)))
}

/// A role to be given.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRole {
    #[schema(example = "ann@example.com")]
    email: String,
    /// `viewer`, `member`, `approver`, `admin`, or by an owner `owner`.
    #[schema(example = "approver")]
    role: String,
}

/// Give a member another role. It counts from their next request on.
#[utoipa::path(post, path = "/v1/members/role", tag = "members", request_body = NewRole,
    responses((status = 200, description = "The member as they are now", body = MemberBody), WriteProblems))]
pub async fn set_role(
    State(app): State<Arc<App>>,
    human: Human,
    Json(new): Json<NewRole>,
) -> Result<axum::Json<MemberBody>, Problem> {
    let (email, role) = (email("email", &new.email)?, role(&new.role)?);
    let user = found(&app, &human, |member| member.email == email).await?.user;
    changed(&human, Step::SetRole { user, role, by: human.person.role }).await?;
    Ok(axum::Json(body(&found(&app, &human, |member| member.user == user).await?)))
}

/// Groups to be in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewGroups {
    #[schema(example = "ann@example.com")]
    email: String,
    /// All of them: at most 32 names of 1 to 64 bytes, none of them a role's.
    #[schema(example = json!(["finance"]))]
    groups: Vec<String>,
}

/// Say which groups a member is in. A policy that asks for an approval names a group or a role.
#[utoipa::path(post, path = "/v1/members/groups", tag = "members", request_body = NewGroups,
    responses((status = 200, description = "The member as they are now", body = MemberBody), WriteProblems))]
pub async fn set_groups(
    State(app): State<Arc<App>>,
    human: Human,
    Json(new): Json<NewGroups>,
) -> Result<axum::Json<MemberBody>, Problem> {
    let email = email("email", &new.email)?;
    let groups = people::groups(new.groups).map_err(|detail| Problem::field("groups", detail))?;
    let user = found(&app, &human, |member| member.email == email).await?.user;
    changed(&human, Step::SetGroups { user, groups, by: human.person.role }).await?;
    Ok(axum::Json(body(&found(&app, &human, |member| member.user == user).await?)))
}

/// Give a member a new password for one login: somebody who lost theirs before they set one of their own.
#[utoipa::path(post, path = "/v1/members/{member}/one-time-password", tag = "members",
    params(("member" = String, Path, description = "The member's id or e-mail address")),
    responses((status = 200, description = "The member, with the password", body = MemberBody), WriteProblems))]
pub async fn issue_password(
    State(app): State<Arc<App>>,
    human: Human,
    Segment(member): Segment,
) -> Result<axum::Json<MemberBody>, Problem> {
    let user = named(&app, &human, &member).await?.user;
    let password = passwords::made_up().map_err(|_| Problem::internal())?;
    let hash = hashed(&app, password.clone()).await?;
    changed(&human, Step::IssuePassword { user, hash, by: human.person.role }).await?;
    let member = found(&app, &human, |member| member.user == user).await?;
    Ok(axum::Json(MemberBody { one_time_password: Some(password), ..body(&member) }))
}

/// Who belongs to the org or is invited.
#[utoipa::path(get, path = "/v1/members", tag = "members",
    responses((status = 200, description = "First come first", body = Vec<MemberBody>), ReadProblems))]
pub async fn list_members(
    State(app): State<Arc<App>>,
    human: Human,
) -> Result<axum::Json<Vec<MemberBody>>, Problem> {
    Ok(axum::Json(app.database.members(human.org.view.id).await?.iter().map(body).collect()))
}

/// A member who is gone.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"id": "0198c0de-0000-7000-8000-000000000000", "api_keys": []}))]
pub struct Gone {
    id: Uuid,
    /// The API keys that they made, which are worthless now. For an agent that is to go on, make a key with its `agent_id`.
    api_keys: Vec<Uuid>,
}

/// Remove a member, by id or e-mail address.
#[utoipa::path(delete, path = "/v1/members/{member}", tag = "members",
    params(("member" = String, Path, description = "The member's id or e-mail address")),
    responses((status = 200, description = "They don't belong to the org any more", body = Gone), WriteProblems))]
pub async fn remove_member(
    State(app): State<Arc<App>>,
    human: Human,
    Segment(member): Segment,
) -> Result<axum::Json<Gone>, Problem> {
    let id = named(&app, &human, &member).await?.user;
    let api_keys = changed(&human, Step::Remove { user: id, by: Some(human.person.role) }).await?;
    Ok(axum::Json(Gone { id, api_keys }))
}

/// Leave the org.
#[utoipa::path(post, path = "/v1/members/leave", tag = "members",
    responses((status = 200, description = "You don't belong to the org any more", body = Gone), WriteProblems))]
pub async fn leave(human: Human) -> Result<axum::Json<Gone>, Problem> {
    let id = human.person.id;
    let api_keys = changed(&human, Step::Remove { user: id, by: None }).await?;
    Ok(axum::Json(Gone { id, api_keys }))
}

/// Takes a step: the API keys that ended with it.
async fn changed(human: &Human, step: Step) -> Result<Vec<Uuid>, Problem> {
    Ok(human.org.queue.change_people(vec![step], human.actor()).await??)
}

async fn found(app: &App, human: &Human, wanted: impl Fn(&Member) -> bool) -> Result<Member, Problem> {
    let members = app.database.members(human.org.view.id).await?;
    members.into_iter().find(wanted).ok_or_else(|| Problem::not_found("member"))
}

/// The member with this id or e-mail address.
async fn named(app: &App, human: &Human, name: &str) -> Result<Member, Problem> {
    let (id, address) = (Uuid::parse_str(name).ok(), name.to_lowercase());
    found(app, human, |member| Some(member.user) == id || member.email == address).await
}

fn role(name: &str) -> Result<Role, Problem> {
    Role::named(name).ok_or_else(|| Problem::field("role", format!("must be one of {}", Role::names())))
}
