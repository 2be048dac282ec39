//! HTTP: every route on one page, and what all of them share.

pub mod acting;
pub mod auth;
pub mod body;
pub mod intents;
pub mod listen;
pub mod members;
pub mod operations;
pub mod platform;
pub mod problem;
pub mod progress;
pub mod values;

use std::any::Any;
use std::sync::Arc;

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::{Router, response};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::SwaggerUi;
use uuid::Uuid;

use crate::app::App;
use body::Unread;
use platform::{agents, auth as accounts, decisions, incidents, ledger, logs, orgs, policies};
use problem::{FieldProblem, Problem, ProblemBody, ProblemError};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest id of a request that is taken from its caller.
const MAX_REQUEST_ID: usize = 128;

/// The id of a request: the caller's, or one of ours.
#[derive(Debug, Clone)]
pub struct RequestId(pub String);

/// What the documentation says before the routes.
#[derive(OpenApi)]
#[openapi(
    info(title = "Lictor", description = "A policy engine that governs AI agents: rules in, decisions out, and a ledger."),
    components(schemas(ProblemBody, ProblemError, FieldProblem)),
    security(("bearer" = []))
)]
struct Documentation;

/// Every route.
pub fn router(app: Arc<App>) -> Router {
    let (router, mut api) = OpenApiRouter::with_openapi(Documentation::openapi())
        // Operations.
        .routes(routes!(operations::health))
        // The platform: accounts.
        .routes(routes!(accounts::login))
        .routes(routes!(accounts::create_key, accounts::list_keys))
        .routes(routes!(accounts::revoke_key))
        .routes(routes!(orgs::list_orgs))
        // The platform: what agents call.
        .routes(routes!(agents::register_agent, agents::list_agents))
        .routes(routes!(agents::get_agent))
        .routes(routes!(logs::log_step))
        .routes(routes!(decisions::decide))
        // The platform: what people look after.
        .routes(routes!(policies::create_policy, policies::list_policies))
        .routes(routes!(policies::check_policy))
        .routes(routes!(policies::get_policy, policies::update_policy, policies::delete_policy))
        .routes(routes!(policies::enable_policy))
        .routes(routes!(policies::disable_policy))
        .routes(routes!(policies::shadow_policy))
        .routes(routes!(policies::list_versions))
        .routes(routes!(incidents::list_incidents))
        .routes(routes!(incidents::acknowledge))
        .routes(routes!(incidents::resolve))
        .routes(routes!(incidents::ignore))
        .routes(routes!(incidents::reactivate))
        .routes(routes!(ledger::list_entries))
        // Governed execution.
        .routes(routes!(intents::declare_intent))
        .routes(routes!(intents::evaluate_intent))
        .with_state(app)
        .split_for_parts();
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("An API key or an access token"))
        .build();
    api.components.get_or_insert_default().add_security_scheme("bearer", SecurityScheme::Http(bearer));
    router
        .merge(SwaggerUi::new("/docs").url("/openapi.json", api))
        .fallback(async || Problem::not_found("path"))
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn(finish))
}

/// Around everything: gives the request its id, and writes what every answer has.
async fn finish(mut request: Request, next: Next) -> response::Response {
    let id = request_id(&request);
    request.extensions_mut().insert(RequestId(id.clone()));
    let (request, unread) = Unread::hold(request);
    let mut response = next.run(request).await;
    let is_read = unread.drain().await;
    if let Some(problem) = response.extensions().get::<Problem>() {
        response = problem.render(&id);
    }
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, id);
    }
    if !is_read {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn request_id(request: &Request) -> String {
    let given = request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let usable = |id: &&str| {
        !id.is_empty() && id.len() <= MAX_REQUEST_ID && id.bytes().all(|byte| byte.is_ascii_graphic())
    };
    given.filter(usable).map_or_else(|| Uuid::now_v7().to_string(), str::to_owned)
}

fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    tracing::error!(panic = text.unwrap_or_default(), "a request panicked");
    Problem::internal().into_response()
}
