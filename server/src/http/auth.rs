//! Who calls: the credential of a request, and the org that it acts in.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use uuid::Uuid;

use super::problem::Problem;
use crate::accounts::keys::{ApiKey, PREFIXES};
use crate::accounts::{Caller, Membership, Person, Role};
use crate::app::{App, Org};
use crate::draft::Note;

/// The header that names the org that a request is about.
const X_ORG_ID: &str = "x-org-id";

/// Whoever calls: an API key or a person. [`super::access`] has looked whether they may.
#[derive(Debug, Clone)]
pub struct Actor {
    /// Who.
    pub caller: Caller,
    /// Where.
    pub org: Arc<Org>,
}

/// A person who calls.
#[derive(Debug)]
pub struct Human {
    /// Who.
    pub person: Person,
    /// Where.
    pub org: Arc<Org>,
}

impl Human {
    /// How the ledger names the person.
    pub fn actor(&self) -> String {
        Caller::Person(self.person.clone()).actor()
    }
}

impl Actor {
    /// Who sent these headers.
    pub(super) async fn of(app: &App, headers: &HeaderMap) -> Result<Actor, Problem> {
        let credential = credential(headers).ok_or_else(Problem::unauthenticated)?;
        if !is_key(credential) {
            return person(app, headers, credential).await;
        }
        let key = key(app, credential).ok_or_else(Problem::unauthenticated)?;
        let home = home(&key);
        let acts_in = |org: Uuid| {
            let (caller, org) = (Caller::Key(Arc::clone(&key)), app.org(org));
            Ok::<_, Problem>(Actor { caller, org: org.ok_or_else(Problem::unauthenticated)? })
        };
        match membership(app, headers, &[home], home) {
            Ok(membership) => acts_in(membership.org),
            Err(named) => Err(acts_in(home.org)?.refused(named).await),
        }
    }

    /// Who acts, if it is an API key that is good.
    pub fn by_key(app: &App, headers: &HeaderMap) -> Option<Actor> {
        let credential = credential(headers).filter(|credential| is_key(credential))?;
        let key = key(app, credential)?;
        let home = home(&key);
        let org = app.org(membership(app, headers, &[home], home).ok()?.org)?;
        Some(Actor { caller: Caller::Key(key), org })
    }

    /// The answer to a credential that reached for another org, which is recorded in its own.
    async fn refused(self, named: Option<Uuid>) -> Problem {
        let named = named.map(|id| ("named_org", id.to_string()));
        let note = Note {
            kind: "access",
            source: "server",
            action: "refused",
            actor: self.caller.actor(),
            content: named.into_iter().collect(),
        };
        match self.org.queue.note(note).await {
            Ok(()) => Problem::contradicts(X_ORG_ID, "this credential does not belong to that org"),
            Err(unavailable) => unavailable.into(),
        }
    }
}

impl FromRequestParts<Arc<App>> for Actor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _app: &Arc<App>) -> Result<Actor, Problem> {
        parts.extensions.get::<Actor>().cloned().ok_or_else(|| {
            tracing::error!(path = parts.uri.path(), "a route that has to know its caller lets in everybody");
            Problem::internal()
        })
    }
}

impl FromRequestParts<Arc<App>> for Human {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Human, Problem> {
        let Actor { caller, org } = Actor::from_request_parts(parts, app).await?;
        match caller {
            Caller::Person(person) => Ok(Human { person, org }),
            Caller::Key(_) => Err(Problem::forbidden("this is for people: log in and send the access token")),
        }
    }
}

/// The org that the header names, if it is there: none inside if it can't be the id of one.
fn named_org(headers: &HeaderMap) -> Option<Option<Uuid>> {
    let value = headers.get(X_ORG_ID)?;
    Some(value.to_str().ok().and_then(|text| Uuid::parse_str(text.trim()).ok()))
}

/// Where a caller acts, and as what: in the org that the request names, or else at home. An error is an org that is not theirs.
fn membership(
    app: &App,
    headers: &HeaderMap,
    own: &[Membership],
    home: Membership,
) -> Result<Membership, Option<Uuid>> {
    match named_org(headers) {
        None => Ok(home),
        Some(named) => named.and_then(|named| app.checks.in_org(own, named)).ok_or(named),
    }
}

/// The org of a key. What a key may do does not depend on a role.
fn home(key: &ApiKey) -> Membership {
    Membership { org: key.org, role: Role::Viewer }
}

fn is_key(credential: &str) -> bool {
    PREFIXES.iter().any(|prefix| credential.starts_with(prefix))
}

fn key(app: &App, secret: &str) -> Option<Arc<ApiKey>> {
    let now_us = app.clock.now_us();
    let key = app.keys.find(secret, now_us)?;
    key.used(now_us);
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

/// The person of a token, with the role that they have now in the org that they name, or else in their home.
async fn person(app: &App, headers: &HeaderMap, token: &str) -> Result<Actor, Problem> {
    let claims = app.checks.token(token, app.clock.now_us()).ok_or_else(Problem::unauthenticated)?;
    let memberships = app.database.memberships(claims.sub).await?;
    let home = memberships.iter().find(|membership| membership.org == claims.org).or(memberships.first());
    let home = *home.ok_or_else(Problem::unauthenticated)?;
    let acts_as = |Membership { org, role }: Membership| {
        let caller = Caller::Person(Person { id: claims.sub, org, role });
        let org = app.org(org).ok_or_else(Problem::unauthenticated)?;
        Ok::<_, Problem>(Actor { caller, org })
    };
    match membership(app, headers, &memberships, home) {
        Ok(membership) => acts_as(membership),
        Err(named) => Err(acts_as(home)?.refused(named).await),
    }
}
