//! `/api/v1/policies`: changed whole, live when answered, refused whole.

use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{Answer, TestApp, answer, text};

fn policy(name: &str, effect: &str) -> Value {
    json!({"source": format!("policy {name} {{ title = \"T {name}\" }}\n// kept\nrule r on intent {{ when action == \"x\" {effect} }}\n")})
}

async fn outcome(app: &TestApp) -> String {
    let event = json!({"event": "intent", "agent": {"id": "bot"}, "action": "x"});
    text(&app.post("/api/v1/decisions", event).await.expect(200)["decision"])
}

async fn put(app: &TestApp, path: &str, body: &Value, etag: Option<&str>) -> Answer {
    let mut request = app.request(Method::PUT, path, Some(&app.token)).json(body);
    if let Some(etag) = etag {
        request = request.header("if-match", etag);
    }
    answer(request).await
}

#[tokio::test]
async fn a_policy_decides_the_very_next_request() {
    let app = TestApp::start().await;
    assert_eq!(outcome(&app).await, "allow");
    let made = app.post("/api/v1/policies", policy("p", "deny")).await.expect(201);
    assert_eq!((&made["name"], &made["title"], &made["version"]), (&json!("p"), &json!("T p"), &json!(1)));
    assert_eq!(made["source"], policy("p", "deny")["source"]);
    assert_eq!(outcome(&app).await, "deny");
    let path = format!("/api/v1/policies/{}", text(&made["id"]));
    let changed = put(&app, &path, &policy("p", "warn"), None).await.expect(200);
    assert_eq!(changed["version"], 2);
    assert_eq!(outcome(&app).await, "warn");
    for (verb, mode, want) in
        [("disable", "disabled", "allow"), ("enable", "enforce", "warn"), ("shadow", "shadow", "allow")]
    {
        let changed = app.post(&format!("{path}/{verb}"), json!({})).await.expect(200);
        assert_eq!(changed["mode"], mode);
        assert_eq!(outcome(&app).await, want, "{verb}");
    }
    let versions = app.get(&format!("{path}/versions")).await.expect(200);
    let numbers: Vec<_> =
        versions.as_array().unwrap().iter().map(|version| version["version"].as_i64()).collect();
    assert_eq!(numbers, [Some(2), Some(1)]);
    assert_eq!(versions[1]["source"], policy("p", "deny")["source"]);
    answer(app.request(Method::DELETE, &path, Some(&app.token))).await.expect(204);
    app.get(&path).await.expect_problem(404, "");
    assert_eq!(outcome(&app).await, "allow");
    let changes: Vec<_> = app
        .ledger()
        .await
        .iter()
        .filter(|entry| entry["kind"] == "policy")
        .map(|entry| text(&entry["action"]))
        .collect();
    assert_eq!(changes, ["created", "created", "updated", "disabled", "enabled", "shadowed", "removed"]);
}

#[tokio::test]
async fn a_bad_source_changes_nothing() {
    let app = TestApp::start().await;
    app.post("/api/v1/policies", policy("p", "deny")).await.expect(201);
    let before = app.head().await;
    let bad = json!({"source": "policy p {}\nrule r on intent { when acton == \"x\" and amount > \"a\" deny }\nrule s on nothing { deny }"});
    for answer in [
        app.post("/api/v1/policies", bad.clone()).await,
        put(&app, "/api/v1/policies/p", &bad, None).await,
        app.post("/api/v1/policies/check", bad).await,
    ] {
        let problem = answer.expect_problem(422, "");
        let diagnostics = problem["diagnostics"].as_array().unwrap();
        assert!(diagnostics.len() >= 2, "{problem}");
        for diagnostic in diagnostics {
            assert!(diagnostic["code"].as_str().unwrap().starts_with('L'), "{diagnostic}");
            assert!(
                diagnostic["line"].is_u64()
                    && diagnostic["column"].is_u64()
                    && diagnostic["help"].is_string()
            );
        }
    }
    assert_eq!(app.head().await, before);
    assert_eq!(outcome(&app).await, "deny");
}

#[tokio::test]
async fn checking_saves_nothing() {
    let app = TestApp::start().await;
    let before = app.head().await;
    let checked = app.post("/api/v1/policies/check", policy("p", "deny")).await.expect(200);
    assert_eq!((&checked["valid"], &checked["name"]), (&json!(true), &json!("p")));
    app.post("/api/v1/policies/check", policy("base", "deny")).await.expect(200);
    assert_eq!(app.head().await, before);
    assert_eq!(outcome(&app).await, "allow");
}

#[tokio::test]
async fn names_are_unique_and_come_from_the_header() {
    let app = TestApp::start().await;
    app.post("/api/v1/policies", policy("p", "deny")).await.expect(201);
    app.post("/api/v1/policies", policy("p", "warn")).await.expect_problem(409, "");
    app.post("/api/v1/policies", policy("q", "warn")).await.expect(201);
    put(&app, "/api/v1/policies/q", &policy("p", "warn"), None).await.expect_problem(409, "");
    app.post("/api/v1/policies/p/disable", json!({})).await.expect(200);
    app.post("/api/v1/policies", policy("p", "warn")).await.expect_problem(409, "");
    let renamed = put(&app, "/api/v1/policies/q", &policy("r", "warn"), None).await.expect(200);
    assert_eq!(renamed["name"], "r");
    app.get("/api/v1/policies/q").await.expect_problem(404, "");
}

#[tokio::test]
async fn a_stale_etag_changes_nothing() {
    let app = TestApp::start().await;
    app.post("/api/v1/policies", policy("p", "deny")).await.expect(201);
    let read = app.get("/api/v1/policies/p").await;
    let etag = read.headers["etag"].to_str().unwrap().to_owned();
    put(&app, "/api/v1/policies/p", &policy("p", "warn"), Some(&etag)).await.expect(200);
    for stale in [etag.as_str(), "\"other\""] {
        put(&app, "/api/v1/policies/p", &policy("p", "allow"), Some(stale)).await.expect_problem(412, "");
    }
    assert_eq!(outcome(&app).await, "warn");
    put(&app, "/api/v1/policies/p", &policy("p", "deny"), Some("*")).await.expect(200);
}

#[tokio::test]
async fn unknown_policies_and_members() {
    let app = TestApp::start().await;
    for path in ["/api/v1/policies/nothing", "/api/v1/policies/0198c0de-0000-7000-8000-000000000000"] {
        app.get(path).await.expect_problem(404, "");
        put(&app, path, &policy("p", "deny"), None).await.expect_problem(404, "");
        app.post(&format!("{path}/enable"), json!({})).await.expect_problem(404, "");
        app.get(&format!("{path}/versions")).await.expect_problem(404, "");
    }
    app.post("/api/v1/policies", json!({"source": 5})).await.expect_problem(400, "source");
    app.post("/api/v1/policies", json!({})).await.expect_problem(400, "source");
    let mut extra = policy("p", "deny");
    extra["enabled"] = json!(true);
    app.post("/api/v1/policies", extra).await.expect_problem(400, "enabled");
}

#[tokio::test]
async fn two_policies_with_schemas_and_a_disabled_base() {
    let app = TestApp::start().await;
    app.post("/api/v1/policies/base/disable", json!({})).await.expect(200);
    let event = json!({"event": "intent", "agent": {"id": "bot"}, "action": "x"});
    let decision = app.post("/api/v1/decisions", event).await.expect(200);
    assert_eq!((&decision["decision"], &decision["class"]), (&json!("deny"), &json!("not_permitted")));
}

#[tokio::test]
async fn a_header_that_says_shadow_is_shown_recorded_and_obeyed() {
    let app = TestApp::start().await;
    let source = "policy p { mode = \"shadow\" }\nrule r on intent { deny }";
    let made = app.post("/api/v1/policies", json!({"source": source})).await.expect(201);
    assert_eq!((&made["mode"], &made["shadow"]), (&json!("shadow"), &json!(true)));
    assert_eq!(outcome(&app).await, "allow");
    let problem = app.post("/api/v1/policies/p/enable", json!({})).await.expect_problem(409, "");
    assert!(text(&problem["detail"]).contains("mode = \"shadow\""), "{problem}");
    app.post("/api/v1/policies/p/disable", json!({})).await.expect(200);
    assert_eq!(app.post("/api/v1/policies/p/shadow", json!({})).await.expect(200)["mode"], "shadow");
    let app = app.restart().await;
    assert_eq!(app.get("/api/v1/policies/p").await.expect(200)["mode"], "shadow");
    let ledger = app.ledger().await;
    let entry = ledger.iter().rev().find(|entry| entry["kind"] == "policy").unwrap();
    let recorded =
        entry["record"]["policies"].as_array().unwrap().iter().find(|one| one["name"] == "p").unwrap();
    assert_eq!(recorded["mode"], "shadow");
    app.post("/api/v1/policies/p/shadow", json!({})).await.expect(200);
    put(&app, "/api/v1/policies/p", &policy("p", "deny"), None).await.expect(200);
    assert_eq!(app.post("/api/v1/policies/p/enable", json!({})).await.expect(200)["mode"], "enforce");
    assert_eq!(outcome(&app).await, "deny");
}

#[tokio::test]
async fn a_rejection_says_nothing_about_other_policies_that_are_fine() {
    let app = TestApp::start().await;
    let noted = "policy noted {}\nrule r on intent { when amount > 5 require approval from \"x\" }";
    let made = app.post("/api/v1/policies", json!({"source": noted})).await.expect(201);
    assert_eq!(made["diagnostics"].as_array().unwrap().len(), 1, "{made}");
    let bad = "policy bad {}\nrule r on intent { when amount > 5 require approval from \"x\" }\nrule s on intent { when acton == 1 deny }";
    let problem = app.post("/api/v1/policies", json!({"source": bad})).await.expect_problem(422, "");
    let files: Vec<_> =
        problem["diagnostics"].as_array().unwrap().iter().map(|one| text(&one["file"])).collect();
    assert!(files.len() >= 2 && files.iter().all(|file| file != "noted"), "{problem}");
}
