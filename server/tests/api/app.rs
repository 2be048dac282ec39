//! TestApp: a server on a fresh database and a free port, and a client that speaks its language.

use std::sync::Arc;

use lictor_server::Server;
use lictor_server::accounts::checks::Checks;
use lictor_server::app::Given;
use lictor_server::clock::SystemClock;
use lictor_server::config::Config;
use lictor_server::vault::Vault;
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::home::Home;

pub(crate) const EMAIL: &str = "owner@example.com";
pub(crate) const PASSWORD: &str = "correct horse";
const MASTER_KEY: &str = "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a";

/// A server under test. Its files go when it is dropped.
pub(crate) struct TestApp {
    pub(crate) server: Option<Server>,
    pub(crate) home: Home,
    pub(crate) client: Client,
    pub(crate) base: String,
    /// The owner's access token.
    pub(crate) token: String,
    /// The id of the org.
    pub(crate) org: String,
}

/// An org beside the first.
pub(crate) struct OtherOrg {
    pub(crate) id: String,
    /// Its owner's access token.
    pub(crate) token: String,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    /// The body, after checking the status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        self.body
    }

    /// The problem, after checking that it is one and that it names this field.
    #[track_caller]
    pub(crate) fn expect_problem(self, status: u16, field: &str) -> Value {
        let content_type = self.headers.get("content-type").map(|v| v.to_str().unwrap().to_owned());
        assert_eq!(content_type.as_deref(), Some("application/problem+json"), "{}", self.body);
        let body = self.expect(status);
        for member in ["type", "title", "detail", "code", "message", "request_id"] {
            assert!(body[member].as_str().is_some_and(|text| !text.is_empty()), "no {member} in {body}");
        }
        assert_eq!(body["status"], status);
        assert_eq!(body["error"]["code"], body["code"]);
        if !field.is_empty() {
            let errors = body["errors"].as_array().unwrap_or_else(|| panic!("no errors in {body}"));
            assert!(errors.iter().any(|error| error["field"] == field), "{field} is not named in {body}");
        }
        body
    }
}

impl TestApp {
    pub(crate) async fn start() -> TestApp {
        TestApp::start_in(Home::new().await).await
    }

    /// With other settings.
    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> TestApp {
        let home = Home::new().await;
        let mut config = config(&home);
        change(&mut config);
        TestApp::over(Server::start(&config).await.unwrap(), home).await
    }

    /// With other checks of who calls, made of the secret that signs tokens; with the server's own, if there are none.
    pub(crate) async fn start_checked(
        checks: impl FnOnce(&[u8; 32]) -> Option<Arc<dyn Checks>>,
    ) -> (TestApp, [u8; 32]) {
        let home = Home::new().await;
        let config = Config { master_key: Some(MASTER_KEY.to_owned()), ..config(&home) };
        let secret = *Vault::open(Some(MASTER_KEY), None).unwrap().token_secret();
        let given = Given { clock: Arc::new(SystemClock::new()), checks: checks(&secret) };
        let server = Server::start_with(&config, given).await.unwrap();
        (TestApp::over(server, home).await, secret)
    }

    pub(crate) async fn start_in(home: Home) -> TestApp {
        let server = Server::start(&config(&home)).await.unwrap();
        TestApp::over(server, home).await
    }

    /// Over a server that runs on this database.
    pub(crate) async fn over(server: Server, home: Home) -> TestApp {
        let base = format!("http://{}", server.address());
        let client = Client::builder().build().unwrap();
        let mut app =
            TestApp { server: Some(server), home, client, base, token: String::new(), org: String::new() };
        app.token = app.token_of(EMAIL, PASSWORD).await;
        app.org = text(&app.get("/api/v1/orgs").await.expect(200)[0]["id"]);
        app
    }

    /// Stops the server and starts it again on the same database.
    pub(crate) async fn restart(self) -> TestApp {
        TestApp::start_in(self.stop().await).await
    }

    /// Stops the server and keeps what it knew.
    pub(crate) async fn stop(mut self) -> Home {
        self.server.take().unwrap().stop().await;
        self.home
    }

    pub(crate) fn request(&self, method: Method, path: &str, credential: Option<&str>) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.base));
        match credential {
            Some(credential) => request.bearer_auth(credential),
            None => request,
        }
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        credential: Option<&str>,
        body: Value,
    ) -> Answer {
        answer(self.request(method, path, credential).json(&body)).await
    }

    /// A body that need not be JSON.
    pub(crate) async fn send_text(
        &self,
        path: &str,
        credential: &str,
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        answer(self.request(Method::POST, path, Some(credential)).body(body)).await
    }

    /// As the owner.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        answer(self.request(Method::GET, path, Some(&self.token))).await
    }

    /// As the owner.
    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, Some(&self.token), body).await
    }

    /// A new API key.
    pub(crate) async fn key(&self) -> String {
        text(&self.post("/api/v1/auth/api-keys", json!({"name": "test"})).await.expect(201)["key"])
    }

    /// An agent registered with this key: its id.
    pub(crate) async fn agent(&self, key: &str, name: &str) -> String {
        let body = json!({"agent_key": name});
        text(&self.send(Method::POST, "/api/v1/agents", Some(key), body).await.expect(201)["agent_id"])
    }

    /// Somebody who was invited and logged in: their access token.
    pub(crate) async fn member(&self, email: &str, role: &str) -> String {
        let password = format!("password of {email}");
        let body = json!({"email": email, "role": role, "password": password});
        self.post("/v1/members/invite", body).await.expect(201);
        self.token_of(email, &password).await
    }

    async fn token_of(&self, email: &str, password: &str) -> String {
        let body = json!({"email": email, "password": password});
        let login = self.send(Method::POST, "/api/v1/auth/login", None, body).await;
        text(&login.expect(200)["access_token"])
    }

    /// A further org with an owner of its own.
    pub(crate) async fn org(&self, name: &str) -> OtherOrg {
        let email = format!("owner@{}.example", name.to_lowercase());
        let body = json!({"name": name, "owner_email": email, "owner_password": PASSWORD});
        let id = text(&self.post("/api/v1/orgs", body).await.expect(201)["id"]);
        OtherOrg { id, token: self.token_of(&email, PASSWORD).await }
    }

    /// With the headers of `/api/v3`.
    pub(crate) async fn send_v3(&self, path: &str, credential: &str, agent: &str, body: Value) -> Answer {
        let request = self.request(Method::POST, path, Some(credential));
        answer(request.header("x-org-id", &self.org).header("x-agent-id", agent).json(&body)).await
    }

    /// Where the ledger stands: its last entry's number and hash.
    pub(crate) async fn head(&self) -> (i64, String) {
        let mut last = (-1, String::new());
        loop {
            let page = self.get(&format!("/api/v1/ledger?limit=1000&after={}", last.0)).await.expect(200);
            match page.as_array().unwrap().last() {
                Some(entry) => last = (entry["seq"].as_i64().unwrap(), text(&entry["hash"])),
                None => return last,
            }
        }
    }

    /// Every entry of the ledger.
    pub(crate) async fn ledger(&self) -> Vec<Value> {
        let mut entries: Vec<Value> = Vec::new();
        loop {
            let after = entries.last().map_or(-1, |entry| entry["seq"].as_i64().unwrap());
            let page = self.get(&format!("/api/v1/ledger?limit=1000&after={after}")).await.expect(200);
            match page {
                Value::Array(page) if !page.is_empty() => entries.extend(page),
                _ => return entries,
            }
        }
    }
}

pub(crate) async fn answer(request: RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let text = response.text().await.unwrap();
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Answer { status, headers, body }
}

pub(crate) fn config(home: &Home) -> Config {
    Config {
        listen: "127.0.0.1:0".to_owned(),
        database: home.database.clone(),
        owner_email: Some(EMAIL.to_owned()),
        owner_password: Some(PASSWORD.to_owned()),
        master_key: home.master_key(),
        ..Config::default()
    }
}

#[track_caller]
pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not text: {value}")).to_owned()
}
