//! What can't be read is refused, by name, and nothing of it is stored.

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::app::{TestApp, answer, text};

const BODIES: [&str; 6] = [
    "/api/v1/agents",
    "/api/v1/logs",
    "/api/v1/decisions",
    "/api/v1/policies",
    "/api/v1/policies/check",
    "/api/v1/auth/api-keys",
];

#[tokio::test]
async fn broken_json_is_refused_everywhere() {
    let app = TestApp::start().await;
    let before = app.head().await;
    let broken: [&[u8]; 9] = [
        b"",
        b"{",
        b"{\"a\":}",
        b"nonsense",
        b"{} {}",
        b"{\"a\": NaN}",
        b"{\"a\": 01}",
        b"\xff\xfe",
        b"{\"a\": \"\x01\"}",
    ];
    for path in BODIES {
        for body in broken {
            let problem = app.send_text(path, &app.token, body).await.expect_problem(400, "");
            assert_eq!(problem["code"], "invalid_json", "{path} {body:?}");
        }
        for body in ["[]", "null", "7", "\"x\"", "[\"a\",\"b\",\"c\",\"d\"]"] {
            app.send_text(path, &app.token, body).await.expect_problem(400, "");
        }
    }
    assert_eq!(app.head().await, before);
}

#[tokio::test]
async fn bodies_over_the_limit_are_413() {
    let app = TestApp::start().await;
    let before = app.head().await;
    for path in BODIES {
        let body = format!("{{\"x\":\"{}\"}}", "y".repeat(10_000_000));
        app.send_text(path, &app.token, body).await.expect_problem(413, "");
    }
    let batch = format!("{{\"events\":[\"{}\"]}}", "y".repeat(17_000_000));
    app.send_text("/api/v1/decisions", &app.token, batch).await.expect_problem(413, "");
    assert_eq!(app.head().await, before);
}

#[tokio::test]
async fn depth_bombs_are_refused_by_name() {
    let app = TestApp::start().await;
    let before = app.head().await;
    let bomb = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    for levels in [129, 10_000, 400_000] {
        let event =
            format!(r#"{{"event":"intent","agent":{{"id":"bot"}},"action":"x","payload":{}}}"#, bomb(levels));
        app.send_text("/api/v1/decisions", &app.token, event).await.expect_problem(400, "payload");
        let step =
            format!(r#"{{"agent_id":"bot","task_id":"t","node_type":"X","input_data":{}}}"#, bomb(levels));
        app.send_text("/api/v1/logs", &app.token, step).await.expect_problem(400, "input_data");
    }
    let unclosed = format!("{{\"payload\":{}", "{\"a\":".repeat(100_000));
    app.send_text("/api/v1/decisions", &app.token, unclosed).await.expect_problem(400, "payload");
    assert_eq!(app.head().await, before);
}

#[tokio::test]
async fn an_event_that_breaks_the_table_is_400_by_name() {
    let app = TestApp::start().await;
    let before = app.head().await;
    let long = "x".repeat(70_000);
    for (field, event) in [
        ("agent.id", r#"{"event":"intent","action":"x"}"#),
        ("agent.id", r#"{"event":"intent","agent":{"id":7},"action":"x"}"#),
        ("agent", r#"{"event":"intent","agent":["bot"],"action":"x"}"#),
        ("agent.id", r#"{"event":"intent","agent":{"id":"two words"},"action":"x"}"#),
        ("event", r#"{"agent":{"id":"bot"},"action":"x"}"#),
        ("event", r#"{"event":"wish","agent":{"id":"bot"},"action":"x"}"#),
        ("action", r#"{"event":"intent","agent":{"id":"bot"}}"#),
        ("action", r#"{"event":"intent","agent":{"id":"bot"},"action":7}"#),
        ("amount", r#"{"event":"intent","agent":{"id":"bot"},"action":"x","amount":"5"}"#),
        ("amount", r#"{"event":"intent","agent":{"id":"bot"},"action":"x","amount":1e40}"#),
        ("action", r#"{"event":"intent","agent":{"id":"bot"},"action":"x","action":"y"}"#),
        (
            "payload",
            &format!(
                r#"{{"event":"intent","agent":{{"id":"bot"}},"action":"x","payload":{{"x":"{long}"}}}}"#
            ),
        ),
        ("target", r#"{"event":"action","agent":{"id":"bot"},"kind":"http","tool":"x"}"#),
    ] {
        app.send_text("/api/v1/decisions", &app.token, event.to_owned()).await.expect_problem(400, field);
    }
    let duplicate = r#"{"event":"intent","agent":{"id":"bot"},"action":"x","payload":{"a":{"b":1,"b":2}}}"#;
    app.send_text("/api/v1/decisions", &app.token, duplicate).await.expect_problem(400, "");
    for (field, body) in [("events", r#"{"events":{}}"#), ("dry_run", r#"{"events":[],"dry_run":"yes"}"#)] {
        app.send_text("/api/v1/decisions", &app.token, body).await.expect_problem(400, field);
    }
    assert_eq!(app.head().await, before);
    app.get("/api/v1/agents/bot").await.expect_problem(404, "");
}

#[tokio::test]
async fn the_content_type_does_not_matter() {
    let app = TestApp::start().await;
    for content_type in
        ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin1"]
    {
        let request = app
            .request(Method::POST, "/api/v1/agents", Some(&app.token))
            .header("content-type", content_type);
        assert!(answer(request.body(r#"{"agent_key":"bot"}"#)).await.status.is_success());
    }
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems_too() {
    let app = TestApp::start().await;
    app.get("/nothing").await.expect_problem(404, "");
    app.get("/api/v1/agents/%ff").await.expect_problem(404, "");
    app.get("/api/v1/incidents?limit=%ff").await.expect_problem(400, "limit");
    app.get("/api/v1/nothing").await.expect_problem(404, "");
    app.send(Method::DELETE, "/api/v1/policies", Some(&app.token), json!({})).await.expect_problem(405, "");
    app.send(Method::GET, "/api/v3/intents", Some(&app.token), json!({})).await.expect_problem(405, "");
}

#[tokio::test]
async fn pages_have_a_size_and_begin_where_something_is() {
    let app = TestApp::start().await;
    let other = TestApp::start().await;
    let foreign = other.post("/api/v1/agents", json!({"agent_key": "foreign"})).await.expect(201);
    let foreign = text(&foreign["agent_id"]);
    let own = text(&app.post("/api/v1/agents", json!({"agent_key": "own"})).await.expect(201)["agent_id"]);
    let lists = [
        ("/api/v1/agents", Some("after")),
        ("/api/v1/policies", Some("after")),
        ("/api/v1/incidents", Some("before")),
        ("/api/v1/ledger", Some("after")),
        ("/api/v1/policies/base/versions", None),
    ];
    for (path, cursor) in lists {
        for limit in ["0", "-1", "1000000000", "1001", "9223372036854775808", "1.5", "ten", ""] {
            app.get(&format!("{path}?limit={limit}")).await.expect_problem(400, "limit");
        }
        app.get(&format!("{path}?limit=1000")).await.expect(200);
        let Some(cursor) = cursor else { continue };
        let cut = own.get(..20).unwrap();
        for forged in ["", "x", "-2", "%00", &*foreign, cut, "99999999999999999999", "' OR 1=1 --"] {
            let page = app.get(&format!("{path}?{cursor}={forged}")).await;
            page.expect_problem(400, cursor);
        }
    }
    app.get(&format!("/api/v1/agents?after={own}")).await.expect(200);
    app.get("/api/v1/policies?after=base").await.expect(200);
    app.get("/api/v1/ledger?after=-1").await.expect(200);
}

/// Members that only the server may say, in bodies that are good otherwise.
#[tokio::test]
async fn what_only_the_server_may_say_is_not_believed() {
    let app = TestApp::start().await;
    let key = app.key().await;
    let agent = app.agent(&key, "bot").await;
    let smuggled = json!({
        "org_id": "0198c0de-0000-7000-8000-00000000000a", "role": "owner", "status": "approved",
        "risk_score": 0, "approved_by": "owner@example.com", "created_at": "2001-01-01T00:00:00.000Z",
        "is_active": true, "registration_status": "approved", "decision": "allow", "actor": "system",
    });
    let with = |body: serde_json::Value, but: &[&str]| {
        let mut whole = smuggled.clone();
        let members = whole.as_object_mut().unwrap();
        members.retain(|name, _| !but.contains(&name.as_str()));
        members.extend(body.as_object().unwrap().clone());
        whole
    };
    // Where people change things, it is refused by name.
    for (path, body) in [
        ("/api/v1/policies", json!({"source": "policy p {}"})),
        ("/api/v1/policies/check", json!({"source": "policy p {}"})),
        ("/api/v1/auth/api-keys", json!({"name": "k"})),
    ] {
        for field in smuggled.as_object().unwrap().keys() {
            let mut body = body.clone();
            body[field] = smuggled[field].clone();
            app.post(path, body).await.expect_problem(400, field);
        }
    }
    let login = with(json!({"email": "owner@example.com", "password": "correct horse"}), &[]);
    app.send(Method::POST, "/api/v1/auth/login", None, login).await.expect_problem(400, "role");
    // Where agents send, it is ignored.
    let mut ids = Vec::new();
    let registered =
        app.send(Method::POST, "/api/v1/agents", Some(&key), with(json!({"agent_key": "b2"}), &[]));
    ids.push(registered.await.expect(201)["agent_id"].clone());
    let step = json!({"agent_id": agent, "task_id": "t", "node_type": "TOOL_CALL"});
    let step = with(step, &["status"]);
    let logged = app.send(Method::POST, "/api/v1/logs", Some(&key), step).await.expect(201);
    assert_eq!(logged["action"], "allow");
    let intent = json!({"agent_id": agent, "org_id": app.org, "action": "refund"});
    let declared = app.send_v3("/api/v3/intents", &key, &agent, with(intent, &["org_id"])).await.expect(201);
    assert_eq!(declared["status"], "pending");
    assert!(!text(&declared["created_at"]).starts_with("2001"));
    for entry in app.ledger().await.iter().rev().take(3) {
        assert!(text(&entry["actor"]).starts_with("key:"), "{entry}");
        assert!(!text(&entry["at"]).starts_with("2001"), "{entry}");
    }
    let agents = app.get("/api/v1/agents").await.expect(200);
    for listed in agents.as_array().unwrap() {
        assert!(!listed["created_at"].as_str().unwrap_or_default().starts_with("2001"), "{listed}");
    }
}

#[tokio::test]
async fn the_request_id_comes_back() {
    let app = TestApp::start().await;
    let given = answer(app.request(Method::GET, "/nothing", None).header("x-request-id", "my-id-1")).await;
    assert_eq!(given.headers["x-request-id"], "my-id-1");
    assert_eq!(given.expect(404)["request_id"], "my-id-1");
    let made = answer(app.request(Method::GET, "/health", None).header("x-request-id", "not good")).await;
    assert_eq!(made.headers["x-request-id"].len(), 36);
    assert_eq!(made.status, StatusCode::OK);
}

#[tokio::test]
async fn who_is_refused_before_the_body_is_read_hears_why() {
    let app = TestApp::start().await;
    let body = format!("{{\"x\":\"{}\"}}", "y".repeat(10_000_000));
    for _ in 0..5 {
        app.send_text("/api/v1/policies", "KvKey-nonsense", body.clone()).await.expect_problem(401, "");
        app.send_text("/nothing", &app.token, body.clone()).await.expect_problem(404, "");
    }
}

#[tokio::test]
async fn a_text_that_names_something_has_no_zero_byte_and_other_texts_may() {
    let app = TestApp::start().await;
    let source = "policy p {}\nrule r on intent { when payload.x contains \"a\" deny incident high because \"saw {payload.x}\" }";
    app.post("/api/v1/policies", json!({"source": source})).await.expect(201);
    let before = app.head().await;
    let event = |action: &str, task: &str, agent: &str| json!({"event": "intent", "agent": {"id": agent}, "action": action, "task": task, "payload": {"x": "a\u{0}b"}});
    for (field, event) in [
        ("action", event("a\u{0}", "t", "bot")),
        ("task", event("a", "t\u{0}", "bot")),
        ("agent.id", event("a", "t", "b\u{0}")),
    ] {
        app.post("/api/v1/decisions", event).await.expect_problem(400, field);
    }
    let name = json!({"name": "k\u{0}"});
    app.post("/api/v1/auth/api-keys", name).await.expect_problem(400, "name");
    let source = json!({"source": "policy q {} // \u{0}"});
    app.post("/api/v1/policies", source).await.expect_problem(400, "source");
    app.post("/api/v1/agents", json!({"agent_key": "a\u{0}"})).await.expect_problem(400, "agent_key");
    assert_eq!(app.head().await, before);
    let denied = app.post("/api/v1/decisions", event("a", "t", "bot")).await.expect(200);
    assert_eq!(denied["decision"], "deny");
    assert_eq!(app.get("/api/v1/incidents").await.expect(200)[0]["count"], 1);
}
