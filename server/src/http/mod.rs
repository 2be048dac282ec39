//! HTTP: every route on one page, and what all of them share.

pub mod access;
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
pub mod review;
pub mod values;
pub mod verdicts;

use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use tower::ServiceExt;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::SwaggerUi;
use uuid::Uuid;

use crate::app::App;
use crate::ids;
use body::Unread;
use platform::plain::{self, Plain};
use platform::{agents, auth as accounts, decisions, incidents, keys, ledger, logs, orgs, policies};
use problem::{FieldProblem, Problem, ProblemBody, ProblemError};
use verdicts::{keys as console_keys, people};

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
        .routes(routes!(review::login))
        .routes(routes!(accounts::register))
        .routes(routes!(accounts::set_password))
        .routes(routes!(keys::create_key, keys::list_keys))
        .routes(routes!(keys::revoke_key))
        .routes(routes!(keys::rotate_key))
        .routes(routes!(console_keys::create_key, console_keys::list_keys))
        .routes(routes!(orgs::list_orgs, orgs::create_org))
        .routes(routes!(people::invite))
        .routes(routes!(people::set_role))
        .routes(routes!(people::leave))
        .routes(routes!(people::list_members))
        .routes(routes!(people::remove_member))
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
        .route_layer(from_fn_with_state(Arc::clone(&app), access::admit))
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
}

/// Answers a request, whatever it asks: gives it its id, and writes what every answer has.
pub async fn answer(app: &App, router: &Router, mut request: hyper::Request<Incoming>) -> Response {
    let id = request_id(request.headers());
    let (mut response, is_read) = match unless_it_panics(plain::answer(app, &mut request)).await {
        Ok(Plain::Answered { response, is_read }) => (response, is_read),
        Ok(Plain::Other(read)) => {
            let request = request.map(|rest| read.map_or_else(|| Body::new(rest), Body::from));
            routed(router, request, &id).await
        }
        Err(panic) => (panicked(panic), false),
    };
    if let Some(problem) = response.extensions().get::<Problem>() {
        response = problem.render(text(&id));
    }
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    if !is_read {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// The answer of the request's route, and whether all of the body was read.
async fn routed(router: &Router, mut request: Request, id: &HeaderValue) -> (Response, bool) {
    request.extensions_mut().insert(RequestId(text(id).to_owned()));
    let (request, unread) = Unread::hold(request);
    let Ok(response) = router.clone().oneshot(request).await;
    (response, unread.drain().await)
}

async fn unless_it_panics<T>(work: impl Future<Output = T>) -> Result<T, Box<dyn Any + Send>> {
    let mut work = pin!(work);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

fn request_id(headers: &HeaderMap) -> HeaderValue {
    let usable = |given: &&HeaderValue| {
        (1..=MAX_REQUEST_ID).contains(&given.len()) && given.as_bytes().iter().all(u8::is_ascii_graphic)
    };
    headers.get(REQUEST_ID).filter(usable).cloned().unwrap_or_else(|| {
        let mut text = Uuid::encode_buffer();
        let text = ids::new().hyphenated().encode_lower(&mut text);
        HeaderValue::from_str(text).expect("ids are ASCII")
    })
}

/// An id as text: it is one that can be shown.
fn text(id: &HeaderValue) -> &str {
    id.to_str().unwrap_or_default()
}

fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    tracing::error!(panic = text.unwrap_or_default(), "a request panicked");
    Problem::internal().into_response()
}
