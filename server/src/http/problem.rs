//! Every error answer, in one shape: `application/problem+json` (RFC 9457) with the members that clients look for.
//!
//! A handler returns a [`Problem`]; the outermost layer writes its body, because only there the request's id is known.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use lictor_dsl::diagnostics::Report;
use lictor_engine::event::FieldError;
use serde::Serialize;
use serde_json::json;
use utoipa::IntoResponses;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder};

use crate::accounts::people::PeopleError;
use crate::draft::Refused;
use crate::pdp::PdpError;
use crate::rollout::RolloutError;

/// Seconds after which a caller that was turned away may come back.
const RETRY_AFTER_S: u32 = 1;

/// Headers that an answer keeps when it becomes a problem.
const KEPT: [HeaderName; 3] =
    [header::ALLOW, HeaderName::from_static("ratelimit"), HeaderName::from_static("ratelimit-policy")];

/// One thing wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct FieldProblem {
    /// The field, with dots for nested ones; a header or a parameter by its name.
    #[schema(example = "agent.id")]
    pub field: String,
    /// The same place as a JSON pointer.
    #[schema(example = "/agent/id")]
    pub pointer: String,
    /// What is wrong with it.
    #[schema(example = "is required")]
    pub detail: String,
}

impl FieldProblem {
    /// Something is wrong with this field.
    pub fn new(field: impl Into<String>, detail: impl Into<String>) -> FieldProblem {
        let field = field.into();
        let pointer = if field.is_empty() { String::new() } else { format!("/{}", field.replace('.', "/")) };
        FieldProblem { field, pointer, detail: detail.into() }
    }
}

impl From<FieldError> for FieldProblem {
    fn from(error: FieldError) -> FieldProblem {
        FieldProblem::new(error.field, error.message)
    }
}

/// An error answer.
#[derive(Debug, Clone)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: String,
    errors: Vec<FieldProblem>,
    diagnostics: Option<Vec<Report>>,
    retry_after_s: Option<u32>,
    /// Whether the same request was answered before, so that its answer is kept.
    was_answered: bool,
}

impl Problem {
    fn new(
        status: StatusCode,
        code: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Problem {
        let detail = detail.into();
        let (errors, diagnostics, retry_after_s) = (Vec::new(), None, None);
        Problem { status, code, title, detail, errors, diagnostics, retry_after_s, was_answered: false }
    }

    /// 400: these fields are wrong or missing.
    pub fn invalid(errors: Vec<FieldProblem>) -> Problem {
        let one = |error: &FieldProblem| match error.field.as_str() {
            "" => error.detail.clone(),
            field => format!("`{field}` {}", error.detail),
        };
        let names: Vec<_> = errors.iter().map(one).take(5).collect();
        let detail = if names.is_empty() { "the request can't be read".to_owned() } else { names.join("; ") };
        let problem =
            Problem::new(StatusCode::BAD_REQUEST, "invalid_request", "Fields are wrong or missing", detail);
        Problem { errors, ..problem }
    }

    /// 400: this field is wrong or missing.
    pub fn field(field: &str, detail: impl Into<String>) -> Problem {
        Problem::invalid(vec![FieldProblem::new(field, detail)])
    }

    /// 400: not JSON at all.
    pub fn not_json(detail: impl Into<String>) -> Problem {
        let detail = detail.into();
        let errors = vec![FieldProblem::new("", detail.clone())];
        Problem {
            errors,
            ..Problem::new(StatusCode::BAD_REQUEST, "invalid_json", "The body is not JSON", detail)
        }
    }

    /// 401: nobody we know.
    pub fn unauthenticated() -> Problem {
        let detail = "an API key or an access token is needed: `Authorization: Bearer …`";
        Problem::new(StatusCode::UNAUTHORIZED, "unauthenticated", "The caller is unknown", detail)
    }

    /// 401: not this password.
    pub fn wrong_login() -> Problem {
        let detail = "the e-mail address or the password is wrong";
        Problem::new(StatusCode::UNAUTHORIZED, "wrong_login", "The login failed", detail)
    }

    /// 403: known, but not allowed.
    pub fn forbidden(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::FORBIDDEN, "forbidden", "The caller may not do this", detail)
    }

    /// 403: a header or member that contradicts the credential.
    pub fn contradicts(field: &str, detail: impl Into<String>) -> Problem {
        let detail = detail.into();
        Problem { errors: vec![FieldProblem::new(field, detail.clone())], ..Problem::forbidden(detail) }
    }

    /// 404: absent, or not the caller's to see.
    pub fn not_found(what: &str) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "not_found", "Not found", format!("there is no such {what}"))
    }

    /// 405: the path exists, with other methods.
    pub fn method_not_allowed() -> Problem {
        let detail = "this path has other methods";
        Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Method not allowed", detail)
    }

    /// 408: the body did not come.
    pub fn timeout() -> Problem {
        let detail = "the body took too long to arrive";
        Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout", "The request took too long", detail)
    }

    /// 409: it can't be, as things are.
    pub fn conflict(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::CONFLICT, "conflict", "Conflict", detail)
    }

    /// 409: the key names another request.
    pub fn key_reused() -> Problem {
        let problem = Problem::conflict("the idempotency key was used for another request");
        Problem { code: "idempotency_key_reused", ..problem }
    }

    /// 412: changed meanwhile.
    pub fn stale(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::PRECONDITION_FAILED, "stale", "It was changed meanwhile", detail)
    }

    /// 413: over a limit.
    pub fn too_large(limit: usize) -> Problem {
        let detail = format!("a body may have at most {limit} bytes here");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "The body is too large", detail)
    }

    /// 415: packed.
    pub fn encoded() -> Problem {
        let detail = "a body has to be sent as it is, without `Content-Encoding`";
        Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "encoded", "The body is packed", detail)
    }

    /// 422: a policy source with errors.
    pub fn rejected(diagnostics: Vec<Report>) -> Problem {
        let errors =
            diagnostics.iter().filter(|d| d.severity == lictor_dsl::diagnostics::Severity::Error).count();
        let detail = format!("the policy has {errors} error(s); nothing was changed");
        let title = "The policy can't be used";
        let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "policy_rejected", title, detail);
        Problem { diagnostics: Some(diagnostics), ..problem }
    }

    /// 429: too many wrong tries.
    pub fn wait(seconds: u32) -> Problem {
        Problem::later(format!("too many wrong tries; come back in {seconds} s"), seconds)
    }

    /// 429: more than the org may ask.
    pub fn too_many(limit: &str, seconds: u32) -> Problem {
        Problem::later(format!("the org may have {limit}; come back in {seconds} s"), seconds)
    }

    fn later(detail: String, seconds: u32) -> Problem {
        let title = "Too many requests";
        let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", title, detail);
        Problem { retry_after_s: Some(seconds), ..problem }
    }

    /// 500: our fault. What happened is in the log.
    pub fn internal() -> Problem {
        let detail = "something went wrong here; the log has it under this request's id";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error", detail)
    }

    /// 503: no decision now; no answer means deny.
    pub fn unavailable(detail: impl Into<String>) -> Problem {
        Problem::cannot("unavailable", "Can't decide now", detail)
    }

    /// 503: there is an answer of before.
    pub(super) fn answered_before(detail: impl Into<String>) -> Problem {
        Problem { was_answered: true, ..Problem::unavailable(detail) }
    }

    /// Whether an answer of before may be found though it was not found a moment ago. A storage that just failed is not
    /// asked again: its caller has waited for it already.
    pub(super) fn may_be_kept(&self) -> bool {
        self.was_answered || self.status != StatusCode::SERVICE_UNAVAILABLE
    }

    /// 503, for a reason that has a name of its own.
    pub(super) fn cannot(code: &'static str, title: &'static str, detail: impl Into<String>) -> Problem {
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, title, detail);
        Problem { retry_after_s: Some(RETRY_AFTER_S), ..problem }
    }

    /// With fields named as this surface calls them.
    pub fn renamed(mut self, names: &[(&str, &str)]) -> Problem {
        for error in &mut self.errors {
            if let Some((_, ours)) = names.iter().find(|(theirs, _)| *theirs == error.field) {
                *error = FieldProblem::new(*ours, std::mem::take(&mut error.detail));
            }
        }
        if self.code == "invalid_request" { Problem::invalid(self.errors) } else { self }
    }

    /// The body.
    pub fn body(&self, request_id: &str) -> serde_json::Value {
        let mut body = json!({
            "type": format!("urn:lictor:problem:{}", self.code),
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": self.detail,
            "code": self.code,
            "message": self.detail,
            "error": {"code": self.code, "message": self.detail},
            "request_id": request_id,
        });
        if let Some(members) = body.as_object_mut() {
            if !self.errors.is_empty() {
                members.insert("errors".to_owned(), json!(self.errors));
            }
            if let Some(diagnostics) = &self.diagnostics {
                members.insert("diagnostics".to_owned(), json!(diagnostics));
            }
        }
        body
    }

    /// The problem that an answer is. An error that nobody explained has one as well.
    pub fn of(response: &Response) -> Option<Problem> {
        if let Some(problem) = response.extensions().get::<Problem>() {
            return Some(problem.clone());
        }
        let status = response.status();
        let is_error = status.is_client_error() || status.is_server_error();
        let content_type = response.headers().get(header::CONTENT_TYPE);
        let is_explained = content_type.is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
        if !is_error || is_explained {
            return None;
        }
        Some(match status {
            StatusCode::NOT_FOUND => Problem::not_found("path"),
            status if status.is_server_error() => Problem::internal(),
            status => Problem::new(status, "refused", "Refused", "the request can't be answered like this"),
        })
    }

    /// The whole answer. What other headers said of methods and limits stays said.
    pub fn render(&self, request_id: &str, said: &HeaderMap) -> Response {
        let mut response = (self.status, self.body(request_id).to_string()).into_response();
        let headers = response.headers_mut();
        for name in KEPT {
            if let Some(value) = said.get(&name) {
                headers.insert(name, value.clone());
            }
        }
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl IntoResponse for Problem {
    /// An empty answer that carries the problem to the outermost layer, which renders it.
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Logs a cause chain once, where it becomes an answer.
pub(super) fn logged(error: &(dyn std::error::Error + 'static), answer: Problem) -> Problem {
    tracing::error!(error, "a request failed");
    answer
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Problem {
        match refused {
            Refused::Inactive { ref reason } => {
                let because = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
                let problem = Problem::forbidden(format!("the agent is not active{because}"));
                Problem { code: "agent_inactive", ..problem }
            }
            Refused::Invalid(errors) => {
                Problem::invalid(errors.into_iter().map(FieldProblem::from).collect())
            }
            Refused::KeyReused => Problem::key_reused(),
            Refused::NotFound => Problem::not_found("object"),
            Refused::People(PeopleError::Nobody) => Problem::not_found("member"),
            Refused::People(PeopleError::OnlyOwners) => Problem::forbidden(refused.to_string()),
            Refused::WrongStatus { .. } | Refused::Taken | Refused::Superseded | Refused::People(_) => {
                Problem::conflict(refused.to_string())
            }
            Refused::Unsealable => logged(&refused, Problem::internal()),
        }
    }
}

impl From<PdpError> for Problem {
    fn from(error: PdpError) -> Problem {
        match error {
            PdpError::Refused(refused) => refused.into(),
            PdpError::Unavailable(unavailable) => unavailable.into(),
        }
    }
}

impl From<RolloutError> for Problem {
    fn from(error: RolloutError) -> Problem {
        match error {
            RolloutError::Rejected(reports) => Problem::rejected(reports),
            RolloutError::NameTaken(_) | RolloutError::ShadowByHeader(_) => {
                Problem::conflict(error.to_string())
            }
            RolloutError::NotFound => Problem::not_found("policy"),
            RolloutError::Stale(_) => Problem::stale(error.to_string()),
            RolloutError::Refused(refused) => refused.into(),
            RolloutError::Unavailable(unavailable) => unavailable.into(),
            RolloutError::Compile(error) => {
                Problem { detail: error.to_string(), ..Problem::rejected(Vec::new()) }
            }
            RolloutError::Crashed => logged(&error, Problem::internal()),
        }
    }
}

/// The shape of a problem, for the documentation.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Problem)]
#[schema(example = json!({
    "type": "urn:lictor:problem:invalid_request", "title": "Fields are wrong or missing", "status": 400,
    "detail": "`agent.id` is required", "code": "invalid_request", "message": "`agent.id` is required",
    "error": {"code": "invalid_request", "message": "`agent.id` is required"},
    "request_id": "0198c0de-0000-7000-8000-000000000000",
    "errors": [{"field": "agent.id", "pointer": "/agent/id", "detail": "is required"}]
}))]
pub struct ProblemBody {
    /// A stable name of the kind of problem.
    r#type: String,
    /// What kind it is, in words.
    title: String,
    /// The status of the answer.
    status: u16,
    /// What happened this time.
    detail: String,
    /// The kind, short.
    code: String,
    /// The same as `detail`.
    message: String,
    /// `code` and `message` once more, for clients that look there.
    error: ProblemError,
    /// The id of the request, also in the header `X-Request-ID`.
    request_id: String,
    /// The fields that are wrong or missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<Vec<FieldProblem>>,
    /// For a refused policy: what the checker found, each with code, message, line, column and help.
    #[schema(value_type = Option<Vec<Object>>)]
    diagnostics: Option<Vec<serde_json::Value>>,
}

/// Code and message of a problem.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ProblemError {
    code: String,
    message: String,
}

/// The problems of routes that read.
pub struct ReadProblems;
/// The problems of routes that judge or change something.
pub struct WriteProblems;
/// The same, of routes that an org may only call so often.
pub struct LimitedProblems;
/// The problems of routes that change policies.
pub struct PolicyProblems;
/// The problems of the metrics.
pub struct MetricsProblems;
/// The problems of the login.
pub struct LoginProblems;

const READ: [(&str, &str); 5] = [
    ("400", "Fields are wrong or missing"),
    ("401", "The caller is unknown"),
    ("403", "The caller may not do this"),
    ("404", "There is no such object, or it is not the caller's"),
    ("503", "The server can't answer now; see `Retry-After`"),
];
const TIMEOUT: (&str, &str) = ("408", "The body took too long to arrive");
const INTERNAL: (&str, &str) = ("500", "Something went wrong here; the log has it");
const CONFLICT: (&str, &str) = ("409", "It contradicts what is there");
const TOO_LARGE: (&str, &str) = ("413", "The body is too large");

fn documented(problems: &[(&str, &str)]) -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
    let content = || ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    problems
        .iter()
        .map(|(status, description)| {
            let response = ResponseBuilder::new().description(*description);
            let response = response.content("application/problem+json", content()).build();
            ((*status).to_owned(), RefOr::T(response))
        })
        .collect()
}

impl IntoResponses for ReadProblems {
    fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        documented(&[&READ[..], &[INTERNAL]].concat())
    }
}

impl IntoResponses for WriteProblems {
    fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        documented(&[&READ[..], &[TIMEOUT, CONFLICT, TOO_LARGE, INTERNAL]].concat())
    }
}

impl IntoResponses for LimitedProblems {
    fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        let mut problems = WriteProblems::responses();
        problems
            .extend(documented(&[("429", "The org asked for more than its tier has; see `Retry-After`")]));
        problems
    }
}

impl IntoResponses for PolicyProblems {
    fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        let more = [
            TIMEOUT,
            CONFLICT,
            ("412", "It was changed since the `If-Match` was read"),
            TOO_LARGE,
            ("422", "The source has errors: see `diagnostics`; nothing was changed"),
            INTERNAL,
        ];
        documented(&[&READ[..], &more].concat())
    }
}

impl IntoResponses for MetricsProblems {
    fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        documented(&[
            ("401", "Not the token for metrics"),
            ("403", "There is no token, and the request does not come from this machine"),
            INTERNAL,
        ])
    }
}

impl IntoResponses for LoginProblems {
    fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        documented(&[
            ("400", "Fields are wrong or missing"),
            ("401", "The e-mail address or the password is wrong"),
            TIMEOUT,
            TOO_LARGE,
            INTERNAL,
            ("429", "Too many wrong tries; see `Retry-After`"),
            ("503", "The server can't answer now; see `Retry-After`"),
        ])
    }
}
