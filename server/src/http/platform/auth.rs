//! `/api/v1/auth`: logging in, passwords, and orgs of one's own.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::super::auth::Human;
use super::super::body::Json;
use super::super::problem::{LoginProblems, Problem, WriteProblems};
use super::super::retries::Retry;
use super::orgs::{FoundedOrg, founded, org_name};
use crate::accounts::logins::FREE_TRIES;
use crate::accounts::people::Step;
use crate::accounts::{User, passwords, tokens};
use crate::app::App;
use crate::config::looks_like_email;
use crate::draft::Note;
use crate::founding::{NewOrg, Standing};
use crate::retries::Shown;

/// How the ledger names whoever does not know a password.
const NOBODY: &str = "nobody";
/// What anybody may send without being known.
pub(in crate::http) const MAX_LOGIN_BYTES: usize = 16 * 1024;
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

/// Log in with e-mail address and password. Who was invited to an org belongs to it from then on.
#[utoipa::path(post, path = "/api/v1/auth/login", tag = "auth", request_body = Login, security(()),
    responses((status = 200, description = "Who you are", body = Token), LoginProblems))]
pub async fn login(
    State(app): State<Arc<App>>,
    Json(login): Json<Login, MAX_LOGIN_BYTES>,
) -> Result<axum::Json<Token>, Problem> {
    let email = login.email.trim().to_lowercase();
    if !can_be_kept(&email) || login.password.len() > passwords::MAX_BYTES {
        return Err(Problem::wrong_login());
    }
    let user = proven(&app, &email, login.password).await?;
    accept(&app, &user).await?;
    Ok(axum::Json(token(&app, &user)?))
}

/// The person who has this e-mail address and this password.
async fn proven(app: &App, email: &str, password: String) -> Result<User, Problem> {
    if let Some(seconds) = app.logins.wait_s(email, app.clock.now_us()) {
        return Err(Problem::wait(seconds));
    }
    let _in_line =
        app.logging_in.try_acquire().map_err(|_| Problem::unavailable("too many logins are waiting"))?;
    let user = app.database.user_by_email(email).await?;
    let kept = user.as_ref().map(|user| user.password_hash.clone());
    let place = Arc::clone(&app.hashing).acquire_owned().await.map_err(|_| Problem::internal())?;
    let tries = app.logins.begin(email, app.clock.now_us()).map_err(Problem::wait)?;
    let verify = move || {
        let matches = passwords::verify(&password, kept.as_deref());
        drop(place);
        matches
    };
    match (user, tokio::task::spawn_blocking(verify).await) {
        (Some(user), Ok(true)) => {
            app.logins.right(email);
            Ok(user)
        }
        (user, Ok(_)) => {
            record_failure(app, user.as_ref(), tries);
            Err(Problem::wrong_login())
        }
        (_, Err(_)) => Err(Problem::internal()),
    }
}

/// Records a failed login in the ledger of the home of whoever it was tried for. Nobody waits for that, so that the
/// answer comes as soon where nobody has the address.
fn record_failure(app: &App, user: Option<&User>, tries: u32) {
    let action = if tries >= FREE_TRIES { "locked" } else { "failed" };
    let Some((user, org)) = user.and_then(|user| Some((user, app.org(user.org)?))) else {
        tracing::warn!(action, "a login under an address that nobody has was refused");
        return;
    };
    let content = vec![("user", user.id.to_string())];
    let note =
        Note { kind: "login", source: "/api/v1/auth/login", action, actor: NOBODY.to_owned(), content };
    tokio::spawn(async move {
        if let Err(error) = org.queue.note(note).await {
            tracing::warn!(%error, action, org = %org.view.id, "a failed login could not be recorded");
        }
    });
}

/// Makes a person who logged in a member of the orgs that they are invited to, and spends a password that is good once.
async fn accept(app: &App, user: &User) -> Result<(), Problem> {
    let mut orgs = app.database.invitations(user.id).await?;
    if user.one_time && !orgs.contains(&user.org) {
        orgs.push(user.org);
    }
    for id in orgs {
        let Some(org) = app.org(id) else { continue };
        let mut steps = vec![Step::Accept { user: user.id }];
        if user.one_time && id == user.org {
            steps.push(Step::SpendPassword { user: user.id });
        }
        match org.queue.change_people(steps, format!("user:{}", user.id)).await? {
            Ok(()) => {}
            // Somebody else logged in with it, or withdrew the invitation.
            Err(_) if user.one_time && id == user.org => return Err(Problem::wrong_login()),
            Err(refused) => tracing::info!(org = %id, %refused, "an invitation was not accepted"),
        }
    }
    Ok(())
}

fn token(app: &App, user: &User) -> Result<Token, Problem> {
    let issued = app.tokens.issue(user.id, user.org, app.clock.now_us());
    let access_token = issued.map_err(|_| Problem::internal())?;
    Ok(Token { access_token, token_type: "bearer", expires_in: tokens::LIFETIME_S })
}

/// The hash of a password, made where it may be slow.
pub(in crate::http) async fn hashed(app: &App, password: String) -> Result<String, Problem> {
    let place = Arc::clone(&app.hashing).acquire_owned().await.map_err(|_| Problem::internal())?;
    let hash = move || {
        let hash = passwords::hash(&password);
        drop(place);
        hash
    };
    let hashed = tokio::task::spawn_blocking(hash).await.map_err(|_| Problem::internal())?;
    hashed.map_err(|_| Problem::internal())
}

/// An e-mail address as it is kept; `field` names it where it can't be one.
pub(in crate::http) fn email(field: &str, text: &str) -> Result<String, Problem> {
    match looks_like_email(text) && can_be_kept(text) {
        true => Ok(text.trim().to_lowercase()),
        false => Err(Problem::field(field, "must be an e-mail address of at most 320 bytes")),
    }
}

fn can_be_kept(email: &str) -> bool {
    email.len() <= MAX_EMAIL_BYTES && !email.contains(char::is_control)
}

/// A new password.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPassword {
    /// The one until now. Not needed after a login with a one-time password.
    password: Option<String>,
    /// The one from now on: at least 8 characters.
    #[schema(example = "correct horse battery staple")]
    new_password: String,
}

/// Set your password.
#[utoipa::path(post, path = "/api/v1/auth/password", tag = "auth", request_body = NewPassword,
    responses((status = 204, description = "From now on it is the new one"), WriteProblems))]
pub async fn set_password(
    State(app): State<Arc<App>>,
    human: Human,
    retry: Retry,
    Json(new): Json<NewPassword>,
) -> Result<StatusCode, Problem> {
    passwords::check(&new.new_password).map_err(|detail| Problem::field("new_password", detail))?;
    let user = app.database.user(human.person.id).await?.ok_or_else(Problem::unauthenticated)?;
    if !user.password_hash.is_empty() {
        let password = new.password.ok_or_else(|| Problem::field("password", "is required"))?;
        if password.len() > passwords::MAX_BYTES {
            return Err(Problem::wrong_login());
        }
        proven(&app, &user.email, password).await?;
    }
    let hash = hashed(&app, new.new_password).await?;
    let keep = retry.keep(|_: &()| Some(Shown::empty(StatusCode::NO_CONTENT.as_u16())));
    human.org.queue.set_password(user.id, hash).keeping(keep).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Somebody who wants an org of their own.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// The e-mail address of its owner. Nobody known here may have one of the same domain.
    #[schema(example = "owner@example.org")]
    email: String,
    /// What it is called.
    #[schema(example = "Example")]
    name: String,
    /// At least 8 characters.
    #[schema(example = "correct horse battery staple")]
    password: String,
}

/// Make an org of your own, where the server is open to that (`LICTOR_OPEN_REGISTRATION=1`).
#[utoipa::path(post, path = "/api/v1/auth/register", tag = "auth", request_body = Registration, security(()),
    responses((status = 201, description = "The org, and its owner", body = FoundedOrg), WriteProblems))]
pub async fn register(
    State(app): State<Arc<App>>,
    Json(new): Json<Registration, MAX_LOGIN_BYTES>,
) -> Result<(StatusCode, axum::Json<FoundedOrg>), Problem> {
    if !app.open_registration {
        return Err(Problem::forbidden(
            "this server is not open to registration: ask an owner to invite you",
        ));
    }
    let email = email("email", &new.email)?;
    let name = org_name("name", &new.name)?;
    passwords::check(&new.password).map_err(|detail| Problem::field("password", detail))?;
    let hash = hashed(&app, new.password).await?;
    // Of several that come at once with one domain, one makes the org.
    let _here = app.registering.lock().await;
    let _anywhere = app.database.alone().await?;
    let domain = email.rsplit('@').next().unwrap_or_default();
    if app.database.knows_domain(domain).await? {
        let detail = "somebody of that e-mail domain is known here: ask an owner of their org to invite you";
        return Err(Problem::conflict(detail));
    }
    let (org, id) = (Uuid::now_v7(), Uuid::now_v7());
    let created_at_us = app.clock.now_us();
    let owner = User { id, org, email, password_hash: hash, one_time: false, created_at_us };
    let actor = format!("user:{id}");
    let owner = Arc::new(owner);
    let new = NewOrg { id: org, name, owner, standing: Standing::New, key: None, actor, answer: None };
    founded(&app, new, Retry(None)).await
}
