//! Who calls: extractors that a handler names to say whom it serves.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

use super::problem::Problem;
use crate::accounts::keys::{ApiKey, PREFIXES};
use crate::accounts::{Caller, Person, Role};
use crate::app::{App, Org};

/// Anybody we know: an API key or a person.
#[derive(Debug)]
pub struct Anyone {
    /// Who.
    pub caller: Caller,
    /// Where.
    pub org: Arc<Org>,
}

/// Anybody who may act: an API key, or a person who may change things.
#[derive(Debug)]
pub struct Actor {
    /// Who.
    pub caller: Caller,
    /// Where.
    pub org: Arc<Org>,
}

/// A person, whatever their role.
#[derive(Debug)]
pub struct Reader {
    /// Who.
    pub person: Person,
    /// Where.
    pub org: Arc<Org>,
}

/// A person who may change things.
#[derive(Debug)]
pub struct Editor {
    /// Who.
    pub person: Person,
    /// Where.
    pub org: Arc<Org>,
}

impl Editor {
    /// How the ledger names the person.
    pub fn actor(&self) -> String {
        Caller::Person(self.person.clone()).actor()
    }
}

impl FromRequestParts<Arc<App>> for Anyone {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Anyone, Problem> {
        let credential = credential(&parts.headers).ok_or_else(Problem::unauthenticated)?;
        let caller = if is_key(credential) {
            Caller::Key(key(app, credential).ok_or_else(Problem::unauthenticated)?)
        } else {
            Caller::Person(person(app, credential).await?)
        };
        let org = app.org(caller.org()).ok_or_else(Problem::unauthenticated)?;
        Ok(Anyone { caller, org })
    }
}

impl Actor {
    /// Who acts, if it is an API key that is good.
    pub fn by_key(app: &App, headers: &HeaderMap) -> Option<Actor> {
        let credential = credential(headers).filter(|credential| is_key(credential))?;
        let caller = Caller::Key(key(app, credential)?);
        let org = app.org(caller.org())?;
        Some(Actor { caller, org })
    }
}

impl FromRequestParts<Arc<App>> for Actor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Actor, Problem> {
        let Anyone { caller, org } = Anyone::from_request_parts(parts, app).await?;
        match &caller {
            Caller::Person(person) if !person.role.may_change() => Err(only_looks(person.role)),
            _ => Ok(Actor { caller, org }),
        }
    }
}

impl FromRequestParts<Arc<App>> for Reader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Reader, Problem> {
        let Anyone { caller, org } = Anyone::from_request_parts(parts, app).await?;
        match caller {
            Caller::Person(person) => Ok(Reader { person, org }),
            Caller::Key(_) => Err(Problem::forbidden("this is for people: log in and send the access token")),
        }
    }
}

impl FromRequestParts<Arc<App>> for Editor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Editor, Problem> {
        let Reader { person, org } = Reader::from_request_parts(parts, app).await?;
        if person.role.may_change() { Ok(Editor { person, org }) } else { Err(only_looks(person.role)) }
    }
}

fn only_looks(role: Role) -> Problem {
    Problem::forbidden(format!("a {} can't change anything", role.name()))
}

fn is_key(credential: &str) -> bool {
    PREFIXES.iter().any(|prefix| credential.starts_with(prefix))
}

fn key(app: &App, secret: &str) -> Option<Arc<ApiKey>> {
    let key = app.keys.find(secret)?;
    key.used(app.clock.now_us());
    Some(key)
}

pub(super) fn credential(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, credential) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| credential.trim())
        .filter(|credential| !credential.is_empty())
}

/// The person of a token, with the role that they have now.
async fn person(app: &App, token: &str) -> Result<Person, Problem> {
    let claims = app.tokens.check(token, app.clock.now_us()).ok_or_else(Problem::unauthenticated)?;
    let user = app.database.user(claims.org, claims.sub).await?.ok_or_else(Problem::unauthenticated)?;
    Ok(Person { id: user.id, org: user.org, role: user.role })
}
