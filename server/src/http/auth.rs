//! Who calls: the credential of a request, and the org that it acts in.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use uuid::Uuid;

use super::problem::Problem;
use crate::accounts::keys::{ApiKey, PREFIXES};
use crate::accounts::{Caller, Membership, Person};
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
        let org = app.org(key.org).ok_or_else(Problem::unauthenticated)?;
        let actor = Actor { caller: Caller::Key(key), org };
        match named_org(headers) {
            Some(named) if named != Some(actor.org.view.id) => Err(actor.refused(named).await),
            _ => Ok(actor),
        }
    }

    /// Who acts, if it is an API key that is good.
    pub fn by_key(app: &App, headers: &HeaderMap) -> Option<Actor> {
        let credential = credential(headers).filter(|credential| is_key(credential))?;
        let caller = Caller::Key(key(app, credential)?);
        let org = app.org(caller.org())?;
        let agrees = named_org(headers).is_none_or(|named| named == Some(org.view.id));
        agrees.then_some(Actor { caller, org })
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
    let claims = app.tokens.check(token, app.clock.now_us()).ok_or_else(Problem::unauthenticated)?;
    let memberships = app.database.memberships(claims.sub).await?;
    let home = memberships.iter().find(|membership| membership.org == claims.org).or(memberships.first());
    let act_in = |membership: &Membership| {
        let Membership { org, role, .. } = *membership;
        let caller = Caller::Person(Person { id: claims.sub, org, role });
        let org = app.org(org).ok_or_else(Problem::unauthenticated)?;
        Ok::<_, Problem>(Actor { caller, org })
    };
    let at_home = act_in(home.ok_or_else(Problem::unauthenticated)?);
    match named_org(headers) {
        None => at_home,
        Some(named) => match memberships.iter().find(|membership| named == Some(membership.org)) {
            Some(membership) => act_in(membership),
            None => Err(at_home?.refused(named).await),
        },
    }
}
