//! How often an org may call governed execution: headers that say what is left, and 429 when nothing is.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::auth::Actor;
use super::problem::Problem;
use crate::app::App;
use crate::quota::Spent;

/// The routes that are limited.
const LIMITED: &str = "/api/v3/";

/// Answers as the route does, if the caller's org may still ask.
pub async fn limited(
    State(app): State<Arc<App>>,
    route: MatchedPath,
    request: Request,
    next: Next,
) -> Response {
    if !app.quota.limits_requests() || !route.as_str().starts_with(LIMITED) {
        return next.run(request).await;
    }
    let org = request.extensions().get::<Actor>().map(|actor| actor.org.view.id);
    let Some(spent) = org.and_then(|org| app.quota.take_request(org, app.clock.now_us())) else {
        return next.run(request).await;
    };
    let mut response = match spent.is_within {
        true => next.run(request).await,
        false => {
            let limit = format!("{} requests a minute", spent.limit);
            Problem::too_many(&limit, spent.resets_s).into_response()
        }
    };
    say(response.headers_mut(), spent);
    response
}

/// The fields of the IETF draft: the policy, and where the caller stands.
fn say(headers: &mut HeaderMap, spent: Spent) {
    let Spent { limit, left, resets_s, .. } = spent;
    let policy = format!("\"minute\";q={limit};w=60");
    let now = format!("\"minute\";r={left};t={resets_s}");
    for (name, text) in [("ratelimit-policy", policy), ("ratelimit", now)] {
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(name, value);
        }
    }
}
