//! A running server, started from the built command, and a client that speaks to it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::command::command;
use crate::home::Home;

const EMAIL: &str = "owner@example.com";
const PASSWORD: &str = "correct horse battery";

/// How long a busy machine may take to start a server.
const START: Duration = Duration::from_secs(60);
/// How long a server may take to end once it is told to.
const END: Duration = Duration::from_secs(60);

/// A server in a process of its own. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    process: Child,
    /// The lines that it wrote before it said where it listens.
    pub(crate) said: Vec<String>,
    /// Where it listens, as `http://host:port`.
    pub(crate) base: String,
}

/// The command that runs a server on this database, on a free port. The first start makes the owner with [`EMAIL`] and
/// [`PASSWORD`].
pub(crate) fn serve(home: &Home) -> Command {
    let mut command = command();
    command.args(["serve", "--listen", "127.0.0.1:0", "--database", &home.database]);
    command.envs(home.master_key().map(|key| ("LICTOR_MASTER_KEY", key)));
    command.env("LICTOR_OWNER_EMAIL", EMAIL).env("LICTOR_OWNER_PASSWORD", PASSWORD);
    command
}

impl Server {
    /// Starts a server on this database.
    pub(crate) fn start(home: &Home) -> Server {
        Server::start_by(serve(home))
    }

    /// Starts a server by a command that becomes it.
    pub(crate) fn start_by(mut command: Command) -> Server {
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        // Goes on to the end, so that the server can always write.
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let mut server = Server { process, said: Vec::new(), base: String::new() };
        loop {
            let line = lines.recv_timeout(START).unwrap_or_else(|_| panic!("the server did not start"));
            if let Some(base) = line.strip_prefix("Lictor listens on ") {
                server.base = base.to_owned();
                return server;
            }
            server.said.push(line);
        }
    }

    /// A client that has said nothing about itself yet.
    pub(crate) fn client(&self) -> Client {
        Client { http: reqwest::Client::new(), base: self.base.clone(), credential: None }
    }

    /// A client that has said nothing about itself, with a new connection for each request.
    pub(crate) fn client_without_keep_alive(&self) -> Client {
        let http = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
        Client { http, ..self.client() }
    }

    /// A client logged in as the owner.
    pub(crate) async fn owner(&self) -> Client {
        let client = self.client();
        let login = client.post("/api/v1/auth/login", &json!({"email": EMAIL, "password": PASSWORD})).await;
        client.with(text(&login.expect(200)["access_token"]))
    }

    /// The most memory that it ever had.
    pub(crate) fn memory_mib(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        most.split_whitespace().next().unwrap().parse::<usize>().unwrap() / 1024
    }

    /// Waits until it says that it is well.
    pub(crate) async fn healthy(&self) {
        let (client, started) = (self.client(), Instant::now());
        while client.get("/health").await.status != 200 {
            assert!(started.elapsed() < START, "the server does not get well");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Ends it at once (SIGKILL): it can't do anything about it.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Asks it to end, and waits until it did.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        // The shell has a `kill` of its own, on every machine.
        let kill = format!("kill -TERM {}", self.process.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        let asked = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            assert!(asked.elapsed() < END, "the server does not end");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Speaks to a server, as whoever the credential belongs to.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    credential: Option<String>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Answer {
    /// The body, after checking the status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }
}

impl Client {
    /// The same with another credential: an API key or an access token.
    pub(crate) fn with(&self, credential: impl Into<String>) -> Client {
        Client { credential: Some(credential.into()), ..self.clone() }
    }

    /// The API key or access token that it sends.
    pub(crate) fn credential(&self) -> &str {
        self.credential.as_deref().unwrap_or_default()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        answer(self.request(Method::GET, path, &[], None)).await.unwrap()
    }

    /// The body as it is, after checking that it was found.
    pub(crate) async fn get_text(&self, path: &str) -> String {
        let response = self.request(Method::GET, path, &[], None).send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        assert!(status.is_success(), "{status}: {text}");
        text
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.try_send(Method::POST, path, &[], body).await.unwrap()
    }

    /// A body that need not be JSON.
    pub(crate) async fn post_text(&self, path: &str, body: String) -> Answer {
        answer(self.request(Method::POST, path, &[], None).body(body)).await.unwrap()
    }

    /// An error where no whole answer came.
    pub(crate) async fn try_send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> reqwest::Result<Answer> {
        answer(self.request(method, path, headers, Some(body))).await
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> RequestBuilder {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let Some(credential) = &self.credential {
            request = request.bearer_auth(credential);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        request
    }

    /// A new API key of the caller.
    pub(crate) async fn key(&self) -> String {
        text(&self.post("/api/v1/auth/api-keys", &json!({"name": "test"})).await.expect(201)["key"])
    }
}

async fn answer(request: RequestBuilder) -> reqwest::Result<Answer> {
    let response = request.send().await?;
    let status = response.status().as_u16();
    let text = response.text().await?;
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Ok(Answer { status, body })
}

#[track_caller]
pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not text: {value}")).to_owned()
}
