//! `/api/v1/agents`: registering, taking over, being denied.

use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{TestApp, answer, text};

#[tokio::test]
async fn a_registration_comes_back_whole_and_is_an_upsert() {
    let app = TestApp::start().await;
    let key = app.key().await;
    let body = json!({"agent_key": "bot", "name": "Bot", "purpose": "helps", "owner_id": "o", "maintainer_id": "m",
        "risk_classification": "limited", "environment": "production", "declared_tools": ["a", "b"], "metadata": {"n": 1.50},
        "tags": ["treasury"], "something": "else"});
    let made = app.send(Method::POST, "/api/v1/agents", Some(&key), body.clone()).await.expect(201);
    for member in [
        "agent_key",
        "name",
        "purpose",
        "owner_id",
        "risk_classification",
        "environment",
        "declared_tools",
        "metadata",
    ] {
        assert_eq!(made[member], body[member], "{member}");
    }
    assert_eq!(
        (&made["registration_status"], &made["is_active"], &made["incidents"]),
        (&json!("created"), &json!(true), &json!([]))
    );
    assert_eq!(made["tags"], json!([]), "an agent does not tag itself");
    let again = app
        .send(Method::POST, "/api/v1/agents", Some(&key), json!({"agent_key": "bot", "name": "B"}))
        .await
        .expect(200);
    assert_eq!((&again["agent_id"], &again["registration_status"]), (&made["agent_id"], &json!("updated")));
    assert_eq!(again["name"], "B");
    let by_person =
        app.post("/api/v1/agents", json!({"agent_key": "bot", "tags": ["treasury"]})).await.expect(200);
    assert_eq!(by_person["tags"], json!(["treasury"]));
    let by_id = app.get(&format!("/api/v1/agents/{}", text(&made["agent_id"]))).await.expect(200);
    assert_eq!(by_id["agent_key"], "bot");
    let app = app.restart().await;
    assert_eq!(app.get("/api/v1/agents/bot").await.expect(200)["tags"], json!(["treasury"]));
    assert_eq!(app.get("/api/v1/agents?environment=qa").await.expect(200), json!([]));
}

#[tokio::test]
async fn a_denied_registration_is_inactive_with_the_reason() {
    let app = TestApp::start().await;
    let key = app.key().await;
    let source = "policy p {}\nrule no_prod on registration { when agent.environment? == \"production\" deny incident high because \"not there\" }";
    app.post("/api/v1/policies", json!({"source": source})).await.expect(201);
    let register = |environment: &str| {
        app.send(
            Method::POST,
            "/api/v1/agents",
            Some(&key),
            json!({"agent_key": "bot", "environment": environment}),
        )
    };
    let denied = register("production").await.expect(201);
    assert_eq!(
        (&denied["is_active"], &denied["reason"], &denied["inactive_cause"]),
        (&json!(false), &json!("not there"), &json!("denied"))
    );
    assert_eq!(denied["incidents"][0]["severity"], "high");
    let event = json!({"event": "intent", "agent": {"id": "bot"}, "action": "x"});
    let refused =
        app.send(Method::POST, "/api/v1/decisions", Some(&key), event.clone()).await.expect_problem(403, "");
    assert_eq!(refused["code"], "agent_inactive");
    let step = json!({"agent_id": "bot", "task_id": "t", "node_type": "TOOL_CALL"});
    app.send(Method::POST, "/api/v1/logs", Some(&key), step).await.expect(201);
    assert_eq!(app.get("/api/v1/agents").await.expect(200), json!([]));
    assert_eq!(
        app.get("/api/v1/agents?include_inactive=true").await.expect(200).as_array().unwrap().len(),
        1
    );
    assert_eq!(register("qa").await.expect(200)["is_active"], true);
    app.send(Method::POST, "/api/v1/decisions", Some(&key), event).await.expect(200);
}

#[tokio::test]
async fn an_unknown_agent_that_is_denied_stays_denied_however_many_of_its_actions_race() {
    let app = TestApp::start().await;
    let key = app.key().await;
    let source = "policy p {}\nrule strangers on registration { when change == \"seen\" deny because \"who is that?\" }";
    app.post("/api/v1/policies", json!({"source": source})).await.expect(201);
    let event = json!({"event": "action", "agent": {"id": "stranger"}, "kind": "tool", "tool": "get"});
    let racing: Vec<_> = (0..16)
        .map(|_| {
            let request = app.request(Method::POST, "/api/v1/decisions", Some(&key)).json(&event);
            tokio::spawn(answer(request))
        })
        .collect();
    for one in racing {
        let refused = one.await.unwrap().expect_problem(403, "");
        assert_eq!(refused["code"], "agent_inactive");
    }
    let agent = app.get("/api/v1/agents/stranger").await.expect(200);
    assert_eq!((&agent["is_active"], &agent["reason"]), (&json!(false), &json!("who is that?")));
    let registrations = app.ledger().await.into_iter().filter(|entry| entry["kind"] == "registration");
    assert_eq!(registrations.count(), 1);
}

#[tokio::test]
async fn of_two_keys_that_race_for_a_new_name_one_gets_it() {
    let app = TestApp::start().await;
    let keys = [app.key().await, app.key().await];
    let event = json!({"event": "action", "agent": {"id": "stranger"}, "kind": "tool", "tool": "get"});
    let racing = keys.map(|key| {
        let request = app.request(Method::POST, "/api/v1/decisions", Some(&key)).json(&event);
        tokio::spawn(answer(request))
    });
    let mut statuses = Vec::new();
    for one in racing {
        statuses.push(one.await.unwrap().status.as_u16());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 403]);
}

#[tokio::test]
async fn a_bound_key_leaves_its_agent_to_the_key_that_registered_it() {
    let app = TestApp::start().await;
    let registrar = app.key().await;
    let agent = app.agent(&registrar, "bot").await;
    let body = json!({"name": "bound", "agent_id": agent});
    let bound = text(&app.post("/api/v1/auth/api-keys", body).await.expect(201)["key"]);
    let body = json!({"agent_key": "bot", "name": "B"});
    app.send(Method::POST, "/api/v1/agents", Some(&bound), body).await.expect(200);
    let step = json!({"agent_id": "bot", "task_id": "t", "node_type": "TOOL_CALL"});
    for key in [&registrar, &bound] {
        app.send(Method::POST, "/api/v1/logs", Some(key), step.clone()).await.expect(201);
    }
    let stranger = app.key().await;
    let body = json!({"agent_key": "bot"});
    app.send(Method::POST, "/api/v1/agents", Some(&stranger), body).await.expect_problem(409, "");
}

#[tokio::test]
async fn another_key_takes_over_once_the_first_is_revoked() {
    let app = TestApp::start().await;
    let made = app.post("/api/v1/auth/api-keys", json!({"name": "old"})).await.expect(201);
    let (old, new) = (text(&made["key"]), app.key().await);
    let agent = app.agent(&old, "bot").await;
    let take =
        async || app.send(Method::POST, "/api/v1/agents", Some(&new), json!({"agent_key": "bot"})).await;
    take().await.expect_problem(409, "");
    answer(app.request(
        Method::DELETE,
        &format!("/api/v1/auth/api-keys/{}", text(&made["id"])),
        Some(&app.token),
    ))
    .await
    .expect(204);
    assert_eq!(take().await.expect(200)["agent_id"], json!(agent));
    let step = json!({"agent_id": "bot", "task_id": "t", "node_type": "TOOL_CALL"});
    app.send(Method::POST, "/api/v1/logs", Some(&new), step).await.expect(201);
}

#[tokio::test]
async fn a_bound_key_acts_for_its_agent_only() {
    let app = TestApp::start().await;
    let agent = text(&app.post("/api/v1/agents", json!({"agent_key": "mine"})).await.expect(201)["agent_id"]);
    app.post("/api/v1/agents", json!({"agent_key": "other"})).await.expect(201);
    let key = text(
        &app.post("/api/v1/auth/api-keys", json!({"name": "k", "agent_id": agent})).await.expect(201)["key"],
    );
    let step = |agent: &str| json!({"agent_id": agent, "task_id": "t", "node_type": "TOOL_CALL"});
    app.send(Method::POST, "/api/v1/logs", Some(&key), step("mine")).await.expect(201);
    app.send(Method::POST, "/api/v1/logs", Some(&key), step("other")).await.expect_problem(403, "agent_id");
    app.send(Method::POST, "/api/v1/logs", Some(&key), step("new")).await.expect_problem(403, "agent_id");
    app.send(Method::POST, "/api/v1/agents", Some(&key), json!({"agent_key": "new"}))
        .await
        .expect_problem(403, "agent_key");
    app.send(Method::POST, "/api/v1/agents", Some(&key), json!({"agent_key": "mine"})).await.expect(200);
    let listed = answer(app.request(Method::GET, "/api/v1/agents", Some(&key))).await.expect(200);
    assert_eq!(listed.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn wrong_fields_are_named_and_nothing_is_stored() {
    let app = TestApp::start().await;
    let before = app.head().await;
    let post = |body: Value| app.post("/api/v1/agents", body);
    post(json!({})).await.expect_problem(400, "agent_key");
    for (field, value) in [
        ("agent_key", json!("two words")),
        ("agent_key", json!("")),
        ("agent_key", json!("x".repeat(256))),
        ("agent_key", json!("0198c0de-0000-7000-8000-000000000000")),
        ("agent_key", json!(null)),
        ("name", json!(["x"])),
        ("environment", json!("moon")),
        ("risk_classification", json!("maybe")),
        ("declared_tools", json!("x")),
        ("name", json!("x".repeat(4_097))),
        ("description", json!("x".repeat(4_097))),
        ("purpose", json!("x".repeat(4_097))),
        ("owner_id", json!("x".repeat(4_097))),
        ("maintainer_id", json!("x".repeat(4_097))),
        ("declared_tools", json!(vec!["x"; 1_001])),
        ("metadata", json!([1])),
        ("metadata", json!({"x": "y".repeat(65_536)})),
    ] {
        let mut body = json!({"agent_key": "bot"});
        body[field] = value;
        post(body).await.expect_problem(400, field);
    }
    let long_names =
        json!({"agent_key": "bot", "declared_tools": ["x", "x".repeat(256)], "tags": ["x".repeat(256)]});
    let problem = post(long_names).await.expect_problem(400, "declared_tools.1");
    assert_eq!(problem["errors"].as_array().unwrap().len(), 2, "{problem}");
    app.get("/api/v1/agents/nobody").await.expect_problem(404, "");
    app.get("/api/v1/agents?include_inactive=perhaps").await.expect_problem(400, "include_inactive");
    assert_eq!(app.head().await, before);
}
