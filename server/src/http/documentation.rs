//! The documentation of the API: the document, made once from the routes, and the pages that show it.

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::problem::{FieldProblem, ProblemBody, ProblemError};
use crate::ledger::sha256;
use crate::vault::hex;

const PATH: &str = "/openapi.json";
/// The pages load their own scripts and pictures, style what they draw, and ask this server.
const PAGES_MAY: &str = "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; object-src 'none'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What the documentation says before the routes.
#[derive(OpenApi)]
#[openapi(
    info(title = "Lictor", description = "A policy engine that governs AI agents: rules in, decisions out, and a ledger."),
    components(schemas(ProblemBody, ProblemError, FieldProblem)),
    security(("bearer" = []))
)]
pub struct Documentation;

/// The document of all routes at `/openapi.json`, and the pages that show it at `/docs`.
pub fn routes<S: Clone + Send + Sync + 'static>(mut api: utoipa::openapi::OpenApi) -> Router<S> {
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("An API key or an access token"))
        .build();
    api.components.get_or_insert_default().add_security_scheme("bearer", SecurityScheme::Http(bearer));
    let text = api.to_json().expect("what was made from types has text");
    // Making it takes a thousand times as long as sending it.
    let document = Document { etag: format!("\"{}\"", hex(&sha256(&[text.as_bytes()]))), text: text.into() };
    let pages = SwaggerUi::new("/docs").config(Config::from(PATH));
    Router::from(pages)
        .layer(map_response(async |mut page: Response| {
            let headers = page.headers_mut();
            headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGES_MAY));
            page
        }))
        .route(PATH, get(async move |headers: HeaderMap| document.answer(&headers)))
}

#[derive(Clone)]
struct Document {
    text: Bytes,
    etag: String,
}

impl Document {
    fn answer(self, asked: &HeaderMap) -> Response {
        let kept =
            asked.get(header::IF_NONE_MATCH).is_some_and(|kept| kept.as_bytes() == self.etag.as_bytes());
        let headers = [(header::ETAG, self.etag), (header::CACHE_CONTROL, "no-cache".to_owned())];
        if kept {
            return (StatusCode::NOT_MODIFIED, headers).into_response();
        }
        let json = [(header::CONTENT_TYPE, "application/json")];
        (headers, json, self.text).into_response()
    }
}
