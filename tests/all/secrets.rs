//! What callers are known by, and what is personal, shows up nowhere: not in the log at any level, not in metrics, in
//! errors or in the ledger.

use std::fs::File;
use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};

use crate::home::Home;
use crate::running::{Server, serve, text};

/// The levels that a log may have.
const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];
/// Rounds of one level, each of 19 requests with every header and field: 1,000 requests. [`ROUNDS_VARIABLE`] says another number.
const ROUNDS: usize = 53;
const ROUNDS_VARIABLE: &str = "LICTOR_SECRET_ROUNDS";
/// Headers that credentials come in.
const HEADERS: [&str; 8] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "x-api-key",
    "x-signature",
    "x-internal-secret",
    "x-auth-token",
    "idempotency-key",
];
/// Fields that credentials come in, and that they are put into by mistake.
const FIELDS: [&str; 10] =
    ["email", "password", "secret", "api_key", "token", "key", "prefix", "name", "agent_id", "client_secret"];
const METRICS_TOKEN: &str = "canary-of-the-metrics";
const MASTER_KEY: &str = "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00";

fn rounds() -> usize {
    std::env::var(ROUNDS_VARIABLE).map_or(ROUNDS, |rounds| rounds.parse().unwrap())
}

#[tokio::test]
async fn no_secret_is_told() {
    for level in LEVELS {
        let home = Home::on_files();
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut command = serve(&home);
        command.env("LICTOR_LOG", level).env("LICTOR_METRICS_TOKEN", METRICS_TOKEN);
        command.env("LICTOR_MASTER_KEY", MASTER_KEY).stderr(File::create(&log).unwrap());
        let mut server = Server::start_by(command);
        let told = Told::of(&server, level).await;
        assert!(server.terminate().success());
        told.expect_nowhere(&log, level);
    }
}

/// What a server said, and what it must not say.
#[derive(Default)]
struct Told {
    /// Parts of what was answered: errors, metrics, the ledger.
    answers: Vec<String>,
    secrets: Vec<String>,
}

impl Told {
    async fn of(server: &Server, level: &str) -> Told {
        let mut told = Told::default();
        let owner = server.owner().await;
        let key = owner.key().await;
        let agent = owner.with(&key);
        agent.post("/api/v1/agents", &json!({"agent_key": "bot"})).await.expect(201);
        told.secrets.extend([owner.credential().to_owned(), key.clone()]);
        told.secrets.extend([METRICS_TOKEN, MASTER_KEY, "correct horse battery"].map(str::to_owned));
        for round in 0..rounds() {
            let canary = format!("canary-{level}-{round}");
            // In the headers, to routes that know the caller otherwise or not at all.
            let as_credential =
                [format!("Bearer {canary}"), format!("Bearer KvKey-{canary}"), canary.clone()];
            for (place, header) in HEADERS.into_iter().enumerate() {
                let value = &as_credential[(place + round) % as_credential.len()];
                let path = ["/api/v1/decisions", "/api/v1/agents", "/nothing"][round % 3];
                let nobody = server.client();
                let answer = nobody.try_send(Method::POST, path, &[(header, value)], &json!({})).await;
                told.answers.push(answer.unwrap().body.to_string());
            }
            // In fields.
            let body: Value = FIELDS.into_iter().map(|field| (field.to_owned(), json!(canary))).collect();
            let wrong_shape: Value =
                FIELDS.into_iter().map(|field| (field.to_owned(), json!([canary]))).collect();
            for path in ["/api/v1/auth/login", "/api/v1/auth/api-keys", "/api/v1/policies/check"] {
                for body in [&body, &wrong_shape, &json!(canary)] {
                    told.answers.push(owner.post(path, body).await.body.to_string());
                }
            }
            let login = json!({"email": format!("{canary}@example.com"), "password": canary});
            if round < 5 {
                told.answers.push(server.client().post("/api/v1/auth/login", &login).await.body.to_string());
            }
            // What is personal, in events that are recorded.
            let event = json!({"event": "intent", "agent": {"id": "bot"}, "action": "x", "payload": {"card": canary}});
            agent.post("/api/v1/decisions", &event).await.expect(200);
            let step = json!({"agent_id": "bot", "task_id": "t", "node_type": "TOOL_CALL", "input_data": {"a": canary},
                "output_data": canary, "metadata": {"b": canary}});
            agent.post("/api/v1/logs", &step).await.expect(201);
        }
        // What all of them begin with.
        told.secrets.push(format!("canary-{level}-"));
        let mut entries = 0;
        loop {
            let page = owner.get(&format!("/api/v1/ledger?limit=1000&after={}", entries as i64 - 1)).await;
            let page = page.expect(200);
            told.answers.push(page.to_string());
            match page.as_array().unwrap().len() {
                0 => break,
                more => entries += more,
            }
        }
        assert!(entries > 2 * rounds());
        told.answers.push(owner.get("/api/v1/auth/api-keys").await.expect(200).to_string());
        told.answers.push(server.client().with(METRICS_TOKEN).get_text("/metrics").await);
        let refused = server.client().get("/metrics").await;
        assert_eq!((refused.status, text(&refused.body["code"])), (401, "unauthenticated".to_owned()));
        told
    }

    fn expect_nowhere(&self, log: &Path, level: &str) {
        let log = std::fs::read_to_string(log).unwrap();
        // The log is there, and as long as its level says.
        assert!(
            log.lines().count() > if level == "trace" { 1_000 } else { 0 } || level == "error",
            "{level}: {log}"
        );
        for secret in &self.secrets {
            let line = log.lines().find(|line| line.contains(secret));
            assert!(line.is_none(), "{level}: {secret} in the log: {}", line.unwrap_or_default());
            let answer = self.answers.iter().find(|answer| answer.contains(secret));
            assert!(answer.is_none(), "{level}: {secret} in {}", answer.map_or("", String::as_str));
        }
        for line in log.lines() {
            let event: Value =
                serde_json::from_str(line).unwrap_or_else(|_| panic!("{level}: no event: {line}"));
            assert!(event["level"].is_string() && event["message"].is_string(), "{line}");
        }
    }
}
