//! `/api/v1/auth`: logging in, passwords, and orgs of one's own.

use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::super::answer::Peer;
use super::super::auth::Human;
use super::super::body::Json;
use super::super::problem::{LoginProblems, Problem, WriteProblems};
use super::orgs::{FoundedOrg, founded, org_name};
use crate::accounts::logins::FREE_TRIES;
use crate::accounts::people::Step;
use crate::accounts::{Joining, User, passwords, tokens};
use crate::app::App;
use crate::config::looks_like_email;
use crate::draft::{Note, Refused};
use crate::founding::{NewOrg, Standing};
use crate::peers::Place;

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
    Extension(peer): Extension<Peer>,
    Json(login): Json<Login, MAX_LOGIN_BYTES>,
) -> Result<axum::Json<Token>, Problem> {
    let email = login.email.trim().to_lowercase();
    if !can_be_kept(&email) || login.password.len() > passwords::MAX_BYTES {
        return Err(Problem::wrong_login());
    }
    let user = proven(&app, peer, &email, login.password).await?;
    accept(&app, &user).await?;
    Ok(axum::Json(token(&app, &user)?))
}

/// The person who has this e-mail address and this password.
async fn proven(app: &App, peer: Peer, email: &str, password: String) -> Result<User, Problem> {
    let _in_line = in_line(app, peer)?;
    if let Some(seconds) = app.logins.wait_s(email, app.clock.now_us()).await? {
        return Err(Problem::wait(seconds));
    }
    let user = app.database.user_by_email(email).await?;
    let kept = user.as_ref().map(|user| user.password_hash.clone());
    let place = Arc::clone(&app.hashing).acquire_owned().await.map_err(|_| Problem::internal())?;
    let tries = app.logins.begin(email, user.is_some(), app.clock.now_us()).await?;
    let tries = tries.map_err(Problem::wait)?;
    let verify = move || {
        let matches = passwords::verify(&password, kept.as_deref());
        drop(place);
        matches
    };
    match (user, tokio::task::spawn_blocking(verify).await) {
        (Some(user), Ok(true)) => {
            app.logins.right(email).await?;
            Ok(user)
        }
        (user, Ok(_)) => {
            record_failure(app, user.as_ref(), tries);
            Err(Problem::wrong_login())
        }
        (_, Err(_)) => Err(Problem::internal()),
    }
}

/// A place among those who log in or register: of these no address has more than its share.
fn in_line(app: &App, peer: Peer) -> Result<Place, Problem> {
    app.logging_in.take(peer.0).ok_or_else(|| Problem::unavailable("too many logins are waiting"))
}

/// Records a failed login in the ledger of the home of whoever it was tried for. Nobody waits for that, so that the
/// answer comes as soon where nobody has the address.
fn record_failure(app: &App, user: Option<&User>, tries: i64) {
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
    let joinings = app.database.joinings(user.id).await?;
    let may_accept = |joining: &&Joining| !joining.has_accepted && !joining.is_outdated;
    // First it is spent, by the org that gave it out, or the next where that one has them no more: of several who log in
    // with it at once one is let in, and nobody belongs to an org by a password that was replaced meanwhile.
    let spent_at = match user.one_time {
        true => {
            let home = joinings.iter().find(|joining| joining.org == user.org);
            let joining =
                home.or_else(|| joinings.iter().find(may_accept)).ok_or_else(Problem::wrong_login)?;
            let spend = Step::SpendPassword { user: user.id, hash: user.password_hash.clone() };
            let accept = (!joining.has_accepted).then_some(Step::Accept { user: user.id });
            let spent = join(app, user, joining.org, accept.into_iter().chain([spend]).collect()).await?;
            spent.map_err(|_| Problem::wrong_login())?;
            Some(joining.org)
        }
        false => None,
    };
    for joining in joinings.iter().filter(may_accept).filter(|joining| Some(joining.org) != spent_at) {
        match join(app, user, joining.org, vec![Step::Accept { user: user.id }]).await {
            Ok(Ok(())) => {}
            // Somebody withdrew the invitation.
            Ok(Err(refused)) => {
                tracing::info!(org = %joining.org, %refused, "an invitation was not accepted")
            }
            Err(problem) if spent_at.is_none() => return Err(problem),
            // The password is not good again. The next login accepts.
            Err(_) => tracing::warn!(org = %joining.org, "an invitation could not be accepted"),
        }
    }
    Ok(())
}

async fn join(app: &App, user: &User, org: Uuid, steps: Vec<Step>) -> Result<Result<(), Refused>, Problem> {
    let org =
        app.org(org).ok_or_else(|| Problem::unavailable("an org that invited you is not served here yet"))?;
    Ok(org.queue.change_people(steps, format!("user:{}", user.id)).await?.map(drop))
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
    Extension(peer): Extension<Peer>,
    human: Human,
    Json(new): Json<NewPassword>,
) -> Result<StatusCode, Problem> {
    passwords::check(&new.new_password).map_err(|detail| Problem::field("new_password", detail))?;
    let user = app.database.user(human.person.id).await?.ok_or_else(Problem::unauthenticated)?;
    if !user.password_hash.is_empty() {
        let password = new.password.ok_or_else(|| Problem::field("password", "is required"))?;
        if password.len() > passwords::MAX_BYTES {
            return Err(Problem::wrong_login());
        }
        proven(&app, peer, &user.email, password).await?;
    }
    let hash = hashed(&app, new.new_password).await?;
    human.org.queue.set_password(user.id, hash).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// An error if somebody has an e-mail address of the same domain.
async fn expect_new_domain(app: &App, email: &str) -> Result<(), Problem> {
    let domain = email.rsplit('@').next().unwrap_or_default();
    match app.database.knows_domain(domain).await? {
        true => Err(Problem::conflict(
            "somebody of that e-mail domain is known here: ask an owner of their org to invite you",
        )),
        false => Ok(()),
    }
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
    Extension(peer): Extension<Peer>,
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
    let _in_line = in_line(&app, peer)?;
    // Before what is costly, and again where nobody else registers.
    expect_new_domain(&app, &email).await?;
    let hash = hashed(&app, new.password).await?;
    // Of several that come at once with one domain, one makes the org.
    let _here = app.registering.lock().await;
    let _anywhere = app.database.alone().await?;
    expect_new_domain(&app, &email).await?;
    let (org, id) = (Uuid::now_v7(), Uuid::now_v7());
    let created_at_us = app.clock.now_us();
    let owner = User { id, org, email, password_hash: hash, one_time: false, created_at_us };
    let actor = format!("user:{id}");
    let new = NewOrg { id: org, name, owner: Arc::new(owner), standing: Standing::New, key: None, actor };
    founded(&app, new).await
}
