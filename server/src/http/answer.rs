//! What every request gets, whatever it asks: an id, a deadline, an answer even if its handler panics, and the headers
//! that every answer has.

use std::any::Any;
use std::future::poll_fn;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use tokio::time::Instant;
use tower::ServiceExt;
use uuid::Uuid;

use super::body::{Due, Unread, is_encoded};
use super::platform::plain::{self, Plain};
use super::problem::Problem;
use crate::app::App;
use crate::ids;
use crate::logging::of_request;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest id of a request that is taken from its caller.
const MAX_REQUEST_ID: usize = 128;
/// For browsers: an answer is no page, and belongs into none.
const NO_PAGE: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
/// For browsers that came over TLS: for two years, come no other way.
const TLS_ONLY: HeaderValue = HeaderValue::from_static("max-age=63072000; includeSubDomains");

/// The id of a request: the caller's, or one of ours.
#[derive(Debug, Clone)]
pub struct RequestId(pub String);

/// Where a request came from: its connection's other end.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub IpAddr);

/// What answers requests.
#[derive(Debug)]
pub struct Front {
    /// What handlers share.
    pub app: Arc<App>,
    /// Finds their handlers.
    pub router: Router,
}

/// An answer, and what is known of how it came about.
struct Answered {
    response: Response,
    /// Whether all of the body was read.
    is_read: bool,
    route: Option<MatchedPath>,
}

impl Front {
    /// Answers a request, whatever it asks.
    pub async fn answer(&self, request: hyper::Request<Incoming>, peer: Peer) -> Response {
        let id = request_id(request.headers());
        of_request(&id, self.answer_as(&id, request, peer)).await
    }

    async fn answer_as(
        &self,
        id: &HeaderValue,
        mut request: hyper::Request<Incoming>,
        peer: Peer,
    ) -> Response {
        let begun = Instant::now();
        let (app, method) = (&*self.app, request.method().clone());
        let due = Due(begun + app.limits.body_timeout);
        let plain = unless_it_panics(plain::answer(app, &mut request, due)).await;
        let (answered, path) = match plain {
            Ok(Plain::Answered { response, is_read }) => {
                (Answered { response, is_read, route: None }, Some(plain::ROUTE))
            }
            Ok(Plain::Other(read)) => {
                let request = request.map(|rest| read.map_or_else(|| Body::new(rest), Body::from));
                (self.routed(request, id, due, peer).await, None)
            }
            Err(panic) => {
                (Answered { response: panicked(panic), is_read: false, route: None }, Some(plain::ROUTE))
            }
        };
        let Answered { mut response, is_read, route } = answered;
        let path = path.or(route.as_ref().map(MatchedPath::as_str));
        app.metrics.requests.of(&method, path).add(response.status(), begun.elapsed());
        if let Some(problem) = Problem::of(&response) {
            response = problem.render(text(id), response.headers());
        }
        self.add_headers(response.headers_mut(), id.clone(), is_read);
        response
    }

    /// The answer of the request's route.
    async fn routed(&self, mut request: Request, id: &HeaderValue, due: Due, peer: Peer) -> Answered {
        let extensions = request.extensions_mut();
        extensions.insert(due);
        extensions.insert(peer);
        extensions.insert(RequestId(text(id).to_owned()));
        let (request, unread) = Unread::hold(request);
        let mut response = match is_encoded(request.headers()) {
            true => Problem::encoded().into_response(),
            false => {
                let Ok(response) = self.router.clone().oneshot(request).await;
                response
            }
        };
        let route = response.extensions_mut().remove();
        Answered { response, is_read: unread.drain(due).await, route }
    }

    /// What every answer says beside its content.
    fn add_headers(&self, headers: &mut HeaderMap, id: HeaderValue, is_read: bool) {
        headers.insert(REQUEST_ID, id);
        if !is_read {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(NO_PAGE);
        if self.app.is_behind_tls {
            headers.insert(header::STRICT_TRANSPORT_SECURITY, TLS_ONLY);
        }
    }
}

/// Tells which route answered.
pub(super) async fn tell_route(route: MatchedPath, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.extensions_mut().insert(route);
    response
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

/// What a request gets whose handler panicked. The hook for panics has logged it.
pub(super) fn panicked(_panic: Box<dyn Any + Send>) -> Response {
    Problem::internal().into_response()
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::PoisonError;
    use std::time::Duration;

    use axum::extract::State;
    use axum::routing::get;
    use serde_json::{Value, json};
    use tokio::net::TcpListener;
    use tokio::sync::watch;

    use super::super::{listen, routes};
    use super::*;
    use crate::Server;
    use crate::config::Config;

    /// Panics with what a caller sent, and with what everybody needs in its hands.
    async fn panics(State(app): State<Arc<App>>, request: Request) -> &'static str {
        let orgs = app.database.org_ids().await.unwrap();
        let org = app.org(orgs[0]).unwrap();
        let _held = org.view.in_force.write().unwrap_or_else(PoisonError::into_inner);
        panic!("{:?}", request.headers());
    }

    /// With this set the test beside it logs as the server does, and panics more often if it says so.
    const LOGGED: &str = "LICTOR_TEST_LOGGED_PANICS";

    #[test]
    fn a_panic_tells_nothing_at_any_level() {
        let rounds = std::env::var("LICTOR_SECRET_ROUNDS").unwrap_or_else(|_| "20".to_owned());
        for level in ["error", "warn", "info", "debug", "trace"] {
            let mut itself = Command::new(std::env::current_exe().unwrap());
            itself.args([
                "--exact",
                "http::answer::tests::a_panic_is_an_answer_and_harms_nobody",
                "--nocapture",
            ]);
            let ran = itself.env("LICTOR_LOG", level).env(LOGGED, &rounds).output().unwrap();
            assert!(ran.status.success(), "{level}");
            let log = String::from_utf8([ran.stderr, ran.stdout].concat()).unwrap();
            assert!(log.matches("something panicked").count() >= rounds.parse().unwrap(), "{level}: {log}");
            let told = log.lines().find(|line| line.contains("canary"));
            assert!(told.is_none(), "{level}: {}", told.unwrap_or_default());
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_panic_is_an_answer_and_harms_nobody() {
        let rounds = std::env::var(LOGGED).ok().map(|rounds| rounds.parse::<u32>().unwrap());
        if rounds.is_some() {
            crate::logging::install();
        }
        let folder = tempfile::tempdir().unwrap();
        let (email, password) = ("owner@example.com", "correct horse");
        let config = Config {
            listen: "127.0.0.1:0".to_owned(),
            database: folder.path().join("a.db").display().to_string(),
            owner_email: Some(email.to_owned()),
            owner_password: Some(password.to_owned()),
            ..Config::default()
        };
        let server = Server::start(&config).await.unwrap();
        let mut routes = routes();
        routes.router = routes.router.route("/panic", get(panics));
        let app = Arc::clone(&server.app);
        let front = Front { router: routes.served_by(Arc::clone(&app)), app };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (_stop, stopping) = watch::channel(false);
        let drain = Duration::from_secs(1);
        let listening = tokio::spawn(listen::serve(listener, Arc::new(front), drain, stopping));

        let client = reqwest::Client::new();
        let login = client.post(format!("{base}/api/v1/auth/login"));
        let login = login.json(&json!({"email": email, "password": password})).send().await.unwrap();
        let token = login.json::<Value>().await.unwrap()["access_token"].as_str().unwrap().to_owned();
        for round in 0..rounds.unwrap_or(20) {
            let panicked = client.get(format!("{base}/panic")).header("x-secret", "canary");
            let panicked = panicked.header("x-request-id", format!("r-{round}")).send().await.unwrap();
            assert_eq!(panicked.status().as_u16(), 500);
            assert_eq!(panicked.headers()["content-type"], "application/problem+json");
            let body = panicked.text().await.unwrap();
            assert!(
                body.contains(&format!("\"request_id\":\"r-{round}\"")) && !body.contains("canary"),
                "{body}"
            );
            // The same connection and the same locks serve the next one.
            let event = json!({"event": "intent", "agent": {"id": "bot"}, "action": "x"});
            let decided = client.post(format!("{base}/api/v1/decisions")).bearer_auth(&token).json(&event);
            assert_eq!(decided.send().await.unwrap().status().as_u16(), 200);
        }
        listening.abort();
        server.stop().await;
    }
}
