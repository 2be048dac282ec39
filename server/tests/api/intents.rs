//! `/api/v3`: intents and their evaluation, as the seed says.

use lictor_server::Server;
use lictor_server::config::Config;
use lictor_server::quota::Tier;
use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{TestApp, answer, config, text};
use crate::decisions::REFUNDS;
use crate::home::Home;

async fn app() -> (TestApp, String, String) {
    let app = TestApp::start().await;
    app.post("/api/v1/policies", json!({"source": REFUNDS})).await.expect(201);
    let key = app.key().await;
    let agent = app.agent(&key, "bot").await;
    (app, key, agent)
}

fn intent(app: &TestApp, agent: &str, more: Value) -> Value {
    let mut body = json!({"agent_id": agent, "org_id": app.org, "action": "refund"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

#[tokio::test]
async fn an_intent_is_declared_scored_and_evaluated() {
    let (app, key, agent) = app().await;
    let body = intent(&app, &agent, json!({"amount": 5000, "payload": {"order": "o-1"}, "target": {"a": 1}}));
    let declared = app.send_v3("/api/v3/intents", &key, &agent, body).await.expect(201);
    assert_eq!((&declared["status"], &declared["risk_score"]), (&json!("pending"), &json!(0.35)));
    assert!(text(&declared["created_at"]).ends_with('Z'));
    let before = app.head().await;
    let body = json!({"intent_id": declared["intent_id"], "org_id": app.org});
    let evaluated = app.send_v3("/api/v3/policy/evaluate", &key, &agent, body.clone()).await.expect(200);
    let want = json!({"decision": "require_approval", "risk_score": 0.35, "reason": "refund of 5000 is above 1000",
        "matched_rules": ["large"]});
    assert_eq!(evaluated, want);
    assert_eq!(app.head().await, before, "evaluating is not remembered");
    app.send(Method::POST, "/api/v1/policies/refunds/disable", Some(&app.token), json!({})).await.expect(200);
    let evaluated = app.send_v3("/api/v3/policy/evaluate", &app.token, &agent, body).await.expect(200);
    assert_eq!((&evaluated["decision"], &evaluated["matched_rules"]), (&json!("allow"), &json!([])));
    assert!(!text(&evaluated["reason"]).is_empty());
}

#[tokio::test]
async fn the_same_key_declares_nothing_twice() {
    let (app, key, agent) = app().await;
    let with_key = |amount: i64| intent(&app, &agent, json!({"amount": amount, "idempotency_key": "k-1"}));
    let first = app.send_v3("/api/v3/intents", &key, &agent, with_key(5)).await.expect(201);
    let head = app.head().await;
    let again = futures(20, || app.send_v3("/api/v3/intents", &key, &agent, with_key(5))).await;
    assert!(again.into_iter().all(|answer| answer.expect(201) == first));
    app.send_v3("/api/v3/intents", &key, &agent, with_key(6)).await.expect_problem(409, "");
    assert_eq!(app.head().await, head);
    let (body, other_body) = (with_key(5), with_key(6));
    let app = app.restart().await;
    assert_eq!(app.send_v3("/api/v3/intents", &key, &agent, body).await.expect(201), first);
    app.send_v3("/api/v3/intents", &key, &agent, other_body).await.expect_problem(409, "");
}

#[tokio::test]
async fn concurrent_first_uses_of_a_key_make_one_intent() {
    let (app, key, agent) = app().await;
    let before = app.head().await.0;
    let body = intent(&app, &agent, json!({"idempotency_key": "k-2"}));
    let answers = futures(50, || app.send_v3("/api/v3/intents", &key, &agent, body.clone())).await;
    let bodies: Vec<_> = answers.into_iter().map(|answer| answer.expect(201)).collect();
    assert!(bodies.iter().all(|body| *body == bodies[0]));
    assert_eq!(app.head().await.0, before + 1);
}

#[tokio::test]
async fn a_request_is_the_same_however_it_is_spelled() {
    let (app, key, agent) = app().await;
    let before = app.head().await.0;
    let mut made = Vec::new();
    for payload in [r#"{"a": 1, "b": {"x": [1.50], "y": null}}"#, r#"{"b":{"y":null,"x":[1.5]},"a":1.0}"#] {
        let payload = format!(
            r#"{{"agent_id":"{agent}","org_id":"{}","action":"refund","payload":{payload},"idempotency_key":"k-3"}}"#,
            app.org
        );
        let request = app.request(Method::POST, "/api/v3/intents", Some(&key)).body(payload);
        made.push(
            answer(request.header("x-org-id", &app.org).header("x-agent-id", &agent)).await.expect(201),
        );
    }
    assert_eq!(made[0], made[1]);
    assert_eq!(app.head().await.0, before + 1);
}

/// That many at once.
async fn futures<F: Future>(count: usize, make: impl Fn() -> F) -> Vec<F::Output> {
    let mut set: Vec<_> = (0..count).map(|_| Box::pin(make())).collect();
    let mut out: Vec<Option<F::Output>> = (0..count).map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, place) in set.iter_mut().zip(&mut out) {
            if place.is_none()
                && let std::task::Poll::Ready(value) = future.as_mut().poll(context)
            {
                *place = Some(value);
            }
        }
        if out.iter().all(Option::is_some) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    out.into_iter().flatten().collect()
}

#[tokio::test]
async fn headers_are_required_and_must_agree() {
    let (app, key, agent) = app().await;
    let body = intent(&app, &agent, json!({}));
    let post = |headers: &[(&'static str, String)]| {
        let mut request = app.request(Method::POST, "/api/v3/intents", Some(&key)).json(&body);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        answer(request)
    };
    let none = post(&[]).await.expect_problem(400, "x-org-id");
    assert_eq!(none["errors"].as_array().unwrap().len(), 2);
    post(&[("x-org-id", app.org.clone())]).await.expect_problem(400, "x-agent-id");
    post(&[("x-org-id", agent.clone()), ("x-agent-id", agent.clone())]).await.expect_problem(403, "x-org-id");
    let before = app.head().await;
    post(&[("x-org-id", app.org.clone()), ("x-agent-id", app.org.clone())])
        .await
        .expect_problem(403, "x-agent-id");
    let mut other = body.clone();
    other["org_id"] = json!(agent);
    app.send_v3("/api/v3/intents", &key, &agent, other).await.expect_problem(403, "org_id");
    let mut other = body.clone();
    other["agent_id"] = json!(app.org);
    app.send_v3("/api/v3/intents", &key, &agent, other).await.expect_problem(403, "agent_id");
    assert_eq!(app.head().await, before);
}

#[tokio::test]
async fn wrong_fields_and_unknown_intents() {
    let (app, key, agent) = app().await;
    let before = app.head().await;
    let empty = app.send_v3("/api/v3/intents", &key, &agent, json!({})).await.expect_problem(400, "action");
    assert_eq!(empty["errors"].as_array().unwrap().len(), 3);
    for (field, value) in [
        ("action", json!("x".repeat(201))),
        ("action", json!("")),
        ("amount", json!("a lot")),
        ("amount", json!({})),
        ("payload", json!("text")),
        ("payload", json!({"x": "y".repeat(65_536)})),
        ("target", json!(7)),
        ("idempotency_key", json!("x".repeat(256))),
    ] {
        let body = intent(&app, &agent, json!({field: value}));
        app.send_v3("/api/v3/intents", &key, &agent, body).await.expect_problem(400, field);
    }
    let evaluate = |intent: &str| json!({"intent_id": intent, "org_id": app.org});
    app.send_v3("/api/v3/policy/evaluate", &key, &agent, evaluate("x"))
        .await
        .expect_problem(400, "intent_id");
    app.send_v3("/api/v3/policy/evaluate", &key, &agent, evaluate(&agent)).await.expect_problem(404, "");
    assert_eq!(app.head().await, before);
}

#[tokio::test]
async fn a_tier_has_so_many_requests_a_minute() {
    let app = TestApp::start_with(|config| config.tier = Tier::Starter).await;
    let key = app.key().await;
    let agent = app.agent(&key, "bot").await;
    let body = json!({"intent_id": uuid::Uuid::nil(), "org_id": app.org});
    for left in (0..60).rev() {
        // A person and a key are of one org.
        let credential = if left % 2 == 0 { &key } else { &app.token };
        let found = app.send_v3("/api/v3/policy/evaluate", credential, &agent, body.clone()).await;
        assert_eq!(found.headers["ratelimit-policy"], "\"minute\";q=60;w=60");
        let now = found.headers["ratelimit"].to_str().unwrap();
        assert!(now.starts_with(&format!("\"minute\";r={left};t=")), "{now}");
        found.expect_problem(404, "");
    }
    // Whoever is unknown uses up nothing and hears so.
    app.send_v3("/api/v3/policy/evaluate", "KvKey-x", &agent, body.clone()).await.expect_problem(401, "");
    let refused = app.send_v3("/api/v3/policy/evaluate", &key, &agent, body).await;
    let wait: u32 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert!(refused.headers["ratelimit"].to_str().unwrap().starts_with("\"minute\";r=0;t="));
    assert_eq!(refused.expect_problem(429, "")["code"], "rate_limited");
    let elsewhere = app.get("/api/v1/orgs").await;
    assert!(!elsewhere.headers.contains_key("ratelimit"));
    elsewhere.expect(200);
    answer(app.request(Method::GET, "/health", None)).await.expect(200);
}

#[tokio::test]
async fn an_org_has_so_many_intents_a_day_also_after_a_restart() {
    let home = Home::new().await;
    let config = Config { intents_per_day: Some(3), ..config(&home) };
    let app = TestApp::over(Server::start(&config).await.unwrap(), home).await;
    let key = app.key().await;
    let agent = app.agent(&key, "bot").await;
    let declare = async |app: &TestApp| {
        app.send_v3("/api/v3/intents", &key, &agent, intent(app, &agent, json!({}))).await
    };
    for _ in 0..2 {
        declare(&app).await.expect(201);
    }
    let home = app.stop().await;
    let app = TestApp::over(Server::start(&config).await.unwrap(), home).await;
    declare(&app).await.expect(201);
    let before = app.head().await;
    let refused = declare(&app).await;
    assert!(refused.headers.contains_key("retry-after"));
    refused.expect_problem(429, "");
    assert_eq!(app.head().await, before);
}
