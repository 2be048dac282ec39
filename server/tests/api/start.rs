//! Starting, stopping, and what is there from the start.

use reqwest::Method;
use serde_json::json;

use crate::app::{TestApp, answer, config, text};
use crate::home::Home;
use lictor_server::{ServeError, Server};

#[tokio::test]
async fn a_fresh_server_is_healthy_and_has_a_base_policy() {
    let app = TestApp::start().await;
    let health = answer(app.request(Method::GET, "/health", None)).await.expect(200);
    assert_eq!((&health["status"], &health["database"]), (&json!("ok"), &json!("ok")));
    let policies = app.get("/api/v1/policies").await.expect(200);
    assert_eq!((&policies[0]["name"], &policies[0]["mode"]), (&json!("base"), &json!("enforce")));
    let kinds: Vec<_> = app.ledger().await.iter().map(|entry| text(&entry["kind"])).collect();
    assert_eq!(kinds, ["org", "policy"]);
}

#[tokio::test]
async fn without_a_named_owner_credentials_are_made_once() {
    let home = Home::new().await;
    let mut config = config(&home);
    (config.owner_email, config.owner_password) = (None, None);
    let server = Server::start(&config).await.unwrap();
    let made = server.credentials().unwrap().clone();
    let client = reqwest::Client::new();
    let url = |server: &Server, path: &str| format!("http://{}{path}", server.address());
    let login = client
        .post(url(&server, "/api/v1/auth/login"))
        .json(&json!({"email": made.email, "password": made.password}));
    answer(login).await.expect(200);
    let agent = client
        .post(url(&server, "/api/v1/agents"))
        .bearer_auth(&made.api_key)
        .json(&json!({"agent_key": "a"}));
    answer(agent).await.expect(201);
    server.stop().await;
    let again = Server::start(&config).await.unwrap();
    assert!(again.credentials().is_none());
    again.stop().await;
}

#[tokio::test]
async fn a_taken_address_is_an_error() {
    let app = TestApp::start().await;
    let home = Home::new().await;
    let mut config = config(&home);
    config.listen = app.base.trim_start_matches("http://").to_owned();
    assert!(matches!(Server::start(&config).await, Err(ServeError::Listen { .. })));
}

#[tokio::test]
async fn a_file_serves_one_server_at_a_time() {
    let app = TestApp::start_in(Home::on_files()).await;
    let refused = Server::start(&config(&app.home)).await.unwrap_err();
    let want = format!("the database {} is in use by another server", app.home.database);
    assert_eq!(refused.to_string(), want);
    let app = app.restart().await;
    app.get("/api/v1/orgs").await.expect(200);
}

#[tokio::test]
async fn a_ledger_that_was_changed_near_its_end_is_not_served() {
    let home = Home::new().await;
    let change = |nth: i64| {
        let sql = home.replacing_in_entries("\"actor\"", "\"Actor\"");
        format!("{sql} WHERE seq = (SELECT max(seq) FROM entries) - {nth}")
    };
    for (more, sql) in [
        (0, change(0)),
        (0, change(1)),
        (30, change(1)),
        (30, "DELETE FROM entries WHERE seq = (SELECT max(seq) FROM entries) - 1".to_owned()),
        (30, "DELETE FROM entries WHERE seq > 5".to_owned()),
        (30, "DELETE FROM entries".to_owned()),
    ] {
        let app = TestApp::start().await;
        for number in 0..more {
            app.post("/api/v1/agents", json!({"agent_key": format!("a{number}")})).await.expect(201);
        }
        let home = app.stop().await;
        assert!(home.meddle(&[&sql]).await > 0, "{sql}");
        let refused = Server::start(&config(&home)).await;
        assert!(matches!(refused, Err(ServeError::Load(_))), "{sql} with {more} more");
    }
}

#[tokio::test]
async fn the_documentation_describes_every_route() {
    let app = TestApp::start().await;
    let api = answer(app.request(Method::GET, "/openapi.json", None)).await.expect(200);
    let paths = api["paths"].as_object().unwrap();
    for path in [
        "/health",
        "/api/v1/auth/login",
        "/api/v1/auth/api-keys",
        "/api/v1/auth/api-keys/{id}",
        "/api/v1/orgs",
        "/api/v1/agents",
        "/api/v1/agents/{agent}",
        "/api/v1/logs",
        "/api/v1/decisions",
        "/api/v1/policies",
        "/api/v1/policies/check",
        "/api/v1/policies/{id}",
        "/api/v1/policies/{id}/enable",
        "/api/v1/policies/{id}/disable",
        "/api/v1/policies/{id}/shadow",
        "/api/v1/policies/{id}/versions",
        "/api/v1/incidents",
        "/api/v1/incidents/{id}/acknowledge",
        "/api/v1/ledger",
        "/api/v3/intents",
        "/api/v3/policy/evaluate",
    ] {
        assert!(paths.contains_key(path), "{path}");
    }
    for (path, item) in paths {
        for (method, operation) in item.as_object().unwrap() {
            assert!(operation["summary"].is_string(), "{method} {path} has no summary");
            let responses = operation["responses"].as_object().unwrap();
            assert!(responses.keys().any(|status| status.starts_with('2')), "{method} {path} has no success");
            let problems =
                responses.values().filter(|r| r["content"]["application/problem+json"].is_object()).count();
            let says_how_it_is = ["/health", "/ready", "/livez"].contains(&path.as_str());
            assert!(says_how_it_is || problems > 0, "{method} {path} has no problems");
        }
    }
    let decide = &api["paths"]["/api/v1/decisions"]["post"]["responses"];
    assert!(decide["408"].is_object() && decide["500"].is_object());
    assert!(api["components"]["schemas"]["DecideBody"].to_string().contains("DecisionsBody"));
    let docs = app.client.get(format!("{}/docs/", app.base)).send().await.unwrap();
    assert_eq!(docs.status().as_u16(), 200);
    assert!(docs.text().await.unwrap().contains("swagger"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_under_load_loses_nothing_that_was_answered() {
    let app = TestApp::start().await;
    let (client, url, token) =
        (app.client.clone(), format!("{}/api/v1/decisions", app.base), app.token.clone());
    app.post("/api/v1/agents", json!({"agent_key": "bot"})).await.expect(201);
    let load: Vec<_> = (0..8)
        .map(|_| {
            let (client, url, token) = (client.clone(), url.clone(), token.clone());
            tokio::spawn(async move {
                let event = json!({"event": "intent", "agent": {"id": "bot"}, "action": "x"});
                let mut answered = Vec::new();
                // Until the server is gone.
                while let Ok(response) = client.post(&url).bearer_auth(&token).json(&event).send().await {
                    let Ok(body) = response.json::<serde_json::Value>().await else { break };
                    answered.push(text(&body["decision_id"]));
                }
                answered
            })
        })
        .collect();
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let app = app.restart().await;
    let kept: std::collections::HashSet<_> =
        app.ledger().await.iter().map(|entry| text(&entry["entry_id"])).collect();
    let mut answered = 0;
    for task in load {
        for id in task.await.unwrap() {
            answered += 1;
            assert!(kept.contains(&id), "{id} was answered and is gone");
        }
    }
    assert!(answered > 8, "only {answered}");
}
