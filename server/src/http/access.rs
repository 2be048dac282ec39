//! Who may call what: the one table of routes and roles, read by the router and by the tests.
//!
//! A route that has no row here is called by nobody.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::auth::Actor;
use super::problem::Problem;
use crate::accounts::{Caller, Role};
use crate::app::App;

use Access::{Everybody, KeysAnd, People};
use Role::{Admin, Member, Owner, Viewer};

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Also those who are nobody yet.
    Everybody,
    /// API keys, for their own agents; and people who are at least this.
    KeysAnd(Role),
    /// People who are at least this. Never a key: an agent does not do what people look after.
    People(Role),
}

/// Every route: its method, its path, and who may call it.
pub const ACCESS: &[(&str, &str, Access)] = &[
    ("GET", "/health", Everybody),
    ("GET", "/ready", Everybody),
    ("GET", "/livez", Everybody),
    // It has a token of its own.
    ("GET", "/metrics", Everybody),
    // Accounts.
    ("POST", "/api/v1/auth/login", Everybody),
    ("POST", "/admin/auth/login", Everybody),
    ("POST", "/api/v1/auth/register", Everybody),
    ("POST", "/api/v1/auth/password", People(Viewer)),
    ("POST", "/api/v1/auth/api-keys", People(Member)),
    ("GET", "/api/v1/auth/api-keys", People(Viewer)),
    ("DELETE", "/api/v1/auth/api-keys/{id}", People(Member)),
    ("POST", "/api/v1/auth/api-keys/{id}/rotate", People(Member)),
    ("POST", "/v1/keys", People(Member)),
    ("GET", "/v1/keys", People(Viewer)),
    ("GET", "/api/v1/orgs", People(Viewer)),
    ("POST", "/api/v1/orgs", People(Owner)),
    ("GET", "/v1/members", People(Viewer)),
    ("POST", "/v1/members/invite", People(Admin)),
    ("POST", "/v1/members/role", People(Admin)),
    ("POST", "/v1/members/groups", People(Admin)),
    ("POST", "/v1/members/{member}/one-time-password", People(Admin)),
    ("POST", "/v1/members/leave", People(Viewer)),
    ("DELETE", "/v1/members/{member}", People(Admin)),
    // What agents call.
    ("POST", "/api/v1/agents", KeysAnd(Member)),
    ("GET", "/api/v1/agents", KeysAnd(Viewer)),
    ("GET", "/api/v1/agents/{agent}", KeysAnd(Viewer)),
    ("POST", "/api/v1/logs", KeysAnd(Member)),
    ("POST", "/api/v1/decisions", KeysAnd(Member)),
    ("POST", "/api/v3/intents", KeysAnd(Member)),
    ("POST", "/api/v3/policy/evaluate", KeysAnd(Member)),
    // What people look after.
    ("POST", "/api/v1/policies", People(Member)),
    ("GET", "/api/v1/policies", People(Viewer)),
    ("POST", "/api/v1/policies/check", People(Viewer)),
    ("GET", "/api/v1/policies/{id}", People(Viewer)),
    ("PUT", "/api/v1/policies/{id}", People(Member)),
    ("DELETE", "/api/v1/policies/{id}", People(Member)),
    ("POST", "/api/v1/policies/{id}/enable", People(Member)),
    ("POST", "/api/v1/policies/{id}/disable", People(Member)),
    ("POST", "/api/v1/policies/{id}/shadow", People(Member)),
    ("GET", "/api/v1/policies/{id}/versions", People(Viewer)),
    ("GET", "/api/v1/policy-templates", People(Viewer)),
    ("GET", "/api/v1/policy-templates/{template}", People(Viewer)),
    ("DELETE", "/api/v1/policy-templates/{template}", People(Member)),
    ("POST", "/api/v1/policy-templates/{template}/apply", People(Member)),
    ("POST", "/api/v1/policy-templates/{template}/preview", People(Viewer)),
    ("PUT", "/api/v1/policy-templates/{template}/parameters", People(Member)),
    ("POST", "/api/v1/policy-templates/{template}/upgrade", People(Member)),
    ("POST", "/api/v1/policy-templates/{template}/remove", People(Member)),
    ("GET", "/api/v1/incidents", People(Viewer)),
    ("POST", "/api/v1/incidents/{id}/acknowledge", People(Member)),
    ("PUT", "/api/v1/incidents/{id}/acknowledge", People(Member)),
    ("POST", "/api/v1/incidents/{id}/resolve", People(Member)),
    ("PUT", "/api/v1/incidents/{id}/resolve", People(Member)),
    ("POST", "/api/v1/incidents/{id}/ignore", People(Member)),
    ("PUT", "/api/v1/incidents/{id}/ignore", People(Member)),
    ("POST", "/api/v1/incidents/{id}/reactivate", People(Member)),
    ("PUT", "/api/v1/incidents/{id}/reactivate", People(Member)),
    ("GET", "/api/v1/ledger", People(Viewer)),
    ("GET", "/api/v1/ledger/checkpoint", People(Viewer)),
    ("GET", "/api/v1/ledger/proof/inclusion", People(Viewer)),
    ("GET", "/api/v1/ledger/proof/consistency", People(Viewer)),
    ("GET", "/api/v1/ledger/export", People(Viewer)),
    ("GET", "/api/v1/ledger/keys", People(Viewer)),
    ("POST", "/api/v1/ledger/keys", People(Owner)),
    ("POST", "/api/v1/ledger/erasures", People(Admin)),
];

/// Who may call this route; none if it has no row.
pub fn access(method: &str, path: &str) -> Option<Access> {
    static ROWS: LazyLock<HashMap<(&str, &str), Access>> =
        LazyLock::new(|| ACCESS.iter().map(|(method, path, access)| ((*method, *path), *access)).collect());
    let method = if method == Method::HEAD.as_str() { Method::GET.as_str() } else { method };
    ROWS.get(&(method, path)).copied()
}

/// Lets a request through to its route if its caller may call it. The route finds the [`Actor`] in the request.
pub async fn admit(State(app): State<Arc<App>>, path: MatchedPath, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match admitted(&app, path.as_str(), &parts).await {
        Ok(Some(actor)) => {
            parts.extensions.insert(actor);
        }
        // No handler that wants to know its caller goes on without one.
        Ok(None) => {}
        Err(problem) => return problem.into_response(),
    }
    next.run(Request::from_parts(parts, body)).await
}

async fn admitted(app: &App, path: &str, parts: &Parts) -> Result<Option<Actor>, Problem> {
    let (keys, role) = match access(parts.method.as_str(), path) {
        None | Some(Everybody) => return Ok(None),
        Some(KeysAnd(role)) => (true, role),
        Some(People(role)) => (false, role),
    };
    let actor = Actor::of(app, &parts.headers).await?;
    match &actor.caller {
        Caller::Key(_) if keys => Ok(Some(actor)),
        Caller::Key(_) => Err(Problem::forbidden("this is for people: log in and send the access token")),
        Caller::Person(person) if person.role >= role => Ok(Some(actor)),
        Caller::Person(person) => Err(Problem::forbidden(format!(
            "this takes the role `{}` or more; yours is `{}`",
            role.name(),
            person.role.name()
        ))),
    }
}
