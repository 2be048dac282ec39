//! `/api/v1/logs`: steps of tasks.

use reqwest::Method;
use serde_json::{Value, json};

use crate::app::TestApp;

async fn step(app: &TestApp, key: &str, task: &str, more: Value) -> Value {
    let mut body =
        json!({"agent_id": "bot", "task_id": task, "node_type": "TOOL_CALL", "node_name": "get_order"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    app.send(Method::POST, "/api/v1/logs", Some(key), body).await.expect(201)
}

#[tokio::test]
async fn steps_are_numbered_and_chained_per_task() {
    let app = TestApp::start().await;
    let key = app.key().await;
    app.agent(&key, "bot").await;
    let first = step(&app, &key, "one", json!({})).await;
    let other = step(&app, &key, "two", json!({"step_number": 99})).await;
    let second = step(&app, &key, "one", json!({})).await;
    assert_eq!(
        (&first["step_number"], &other["step_number"], &second["step_number"]),
        (&json!(1), &json!(1), &json!(2))
    );
    assert_eq!(first["previous_hash"], "0".repeat(64));
    assert_eq!(second["previous_hash"], first["hash"]);
    assert_eq!((&first["action"], &first["risk_score"]), (&json!("allow"), &json!(0)));
    let app = app.restart().await;
    let third = step(&app, &key, "one", json!({})).await;
    assert_eq!((&third["step_number"], &third["previous_hash"]), (&json!(3), &second["hash"]));
    let entry = app.ledger().await.pop().unwrap();
    assert_eq!((&entry["record"]["step"], &entry["record"]["task_hash"]), (&json!(3), &third["hash"]));
}

#[tokio::test]
async fn rules_read_what_was_logged() {
    let app = TestApp::start().await;
    let key = app.key().await;
    let source = r#"
policy watch {}
rule leak on log {
  when step_type == "step.resource" and properties.node_type? == "TOOL_CALL" and properties.size? > 10
    and input.to? == "evil.example" and name == "send" and duration_ms? > 5
  deny
  because "it leaked"
}
"#;
    app.post("/api/v1/policies", json!({"source": source})).await.expect(201);
    let leak = json!({"node_name": "send", "input_data": {"to": "evil.example"}, "execution_time_ms": 7,
        "properties": {"node_type": "other"}, "metadata": {"size": 11}});
    let first = step(&app, &key, "t", leak.clone()).await;
    assert_eq!(first["action"], "deny", "{first}");
    assert_eq!(
        (&first["incidents"][0]["severity"], &first["incidents"][0]["new"]),
        (&json!("medium"), &json!(true))
    );
    assert_eq!(
        (&first["incidents"][0]["rule"], &first["incidents"][0]["title"]),
        (&json!("watch.leak"), &json!("it leaked"))
    );
    let second = step(&app, &key, "t", leak).await;
    assert_eq!(
        (&second["incidents"][0]["new"], &second["incidents"][0]["count"]),
        (&json!(false), &json!(2))
    );
}

#[tokio::test]
async fn wrong_fields_are_named_as_here() {
    let app = TestApp::start().await;
    let key = app.key().await;
    let before = app.head().await;
    let send = |body: Value| app.send(Method::POST, "/api/v1/logs", Some(&key), body);
    let missing = send(json!({})).await.expect_problem(400, "agent_id");
    assert_eq!(missing["errors"].as_array().unwrap().len(), 3, "{missing}");
    let base = json!({"agent_id": "bot", "task_id": "t", "node_type": "TOOL_CALL"});
    for (field, value) in [
        ("execution_time_ms", json!("soon")),
        ("execution_time_ms", json!(1e300)),
        ("node_name", json!(5)),
        ("input_data", json!("x".repeat(65_536))),
        ("properties", json!([])),
        ("metadata", json!("x")),
        ("task_id", json!("")),
        ("agent_id", json!("not a name")),
        ("agent_id", json!(7)),
    ] {
        let mut body = base.clone();
        body[field] = value;
        send(body).await.expect_problem(400, field);
    }
    send(json!({"agent_id": "0198c0de-0000-7000-8000-000000000000", "task_id": "t", "node_type": "X"}))
        .await
        .expect_problem(404, "");
    assert_eq!(app.head().await, before);
}
