//! `/api/v1/incidents`: filters and their way through life.

use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{TestApp, answer, text};

const SOURCE: &str = r#"
policy watch {}
rule bad on log { when name == "bad" deny incident high per task title "bad in {task}" }
rule odd on log { when name == "odd" incident low per task }
"#;

async fn log(app: &TestApp, agent: &str, task: &str, name: &str) -> Value {
    let body = json!({"agent_id": agent, "task_id": task, "node_type": "TOOL_CALL", "node_name": name});
    app.post("/api/v1/logs", body).await.expect(201)
}

async fn app() -> TestApp {
    let app = TestApp::start().await;
    app.post("/api/v1/policies", json!({"source": SOURCE})).await.expect(201);
    app
}

async fn count(app: &TestApp, query: &str) -> usize {
    app.get(&format!("/api/v1/incidents{query}")).await.expect(200).as_array().unwrap().len()
}

#[tokio::test]
async fn incidents_are_listed_and_filtered() {
    let app = app().await;
    for (agent, task, name) in
        [("a", "1", "bad"), ("a", "1", "bad"), ("a", "2", "odd"), ("b", "3", "bad"), ("b", "3", "fine")]
    {
        log(&app, agent, task, name).await;
    }
    let all = app.get("/api/v1/incidents").await.expect(200);
    let titles: Vec<_> = all.as_array().unwrap().iter().map(|one| text(&one["task_id"])).collect();
    assert_eq!(titles, ["3", "2", "1"]);
    let oldest = &all[2];
    assert_eq!(
        (&oldest["rule"], &oldest["severity"], &oldest["status"]),
        (&json!("watch.bad"), &json!("high"), &json!("open"))
    );
    assert_eq!(
        (&oldest["count"], &oldest["title"], &oldest["shadow"]),
        (&json!(2), &json!("bad in 1"), &json!(false))
    );
    assert_eq!(oldest["witnesses"].as_array().unwrap().len(), 2);
    for (query, want) in [
        ("?severity=high", 2),
        ("?severity=low&status=open", 1),
        ("?status=resolved", 0),
        ("?agent_id=a", 2),
        ("?agent_id=nobody", 0),
        ("?limit=1", 1),
        ("?status=false_positive", 0),
        ("?from=2026-01-01T00:00:00Z", 3),
        ("?from=2999-01-01T00:00:00%2B02:00", 0),
        ("?to=2999-01-01T00:00:00Z", 3),
        ("?from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z", 0),
    ] {
        assert_eq!(count(&app, query).await, want, "{query}");
    }
    for (query, field) in [("from=yesterday", "from"), ("to=2026-01-01", "to"), ("state=open", "state")] {
        app.get(&format!("/api/v1/incidents?{query}")).await.expect_problem(400, field);
    }
    for list in ["agents", "ledger", "policies", "policies/base/versions"] {
        app.get(&format!("/api/v1/{list}?offset=1")).await.expect_problem(400, "offset");
    }
    let page = app.get("/api/v1/incidents?limit=2&severity=high").await;
    let next = page.headers["link"].to_str().unwrap().to_owned();
    let path = next.split(['<', '>']).nth(1).unwrap();
    assert_eq!(count(&app, path.trim_start_matches("/api/v1/incidents")).await, 0);
    for (query, field) in [
        ("?status=x", "status"),
        ("?severity=x", "severity"),
        ("?limit=0", "limit"),
        ("?limit=1001", "limit"),
    ] {
        app.get(&format!("/api/v1/incidents{query}")).await.expect_problem(400, field);
    }
}

#[tokio::test]
async fn an_incident_goes_its_way() {
    let app = app().await;
    let first = text(&log(&app, "a", "1", "bad").await["incidents"][0]["incident_id"]);
    let path = |verb: &str| format!("/api/v1/incidents/{first}/{verb}");
    let act =
        async |method: Method, verb: &str| answer(app.request(method, &path(verb), Some(&app.token))).await;
    assert_eq!(act(Method::POST, "acknowledge").await.expect(200)["status"], "acknowledged");
    assert_eq!(log(&app, "a", "1", "bad").await["incidents"][0]["count"], 2);
    assert_eq!(act(Method::PUT, "resolve").await.expect(200)["status"], "resolved");
    act(Method::POST, "acknowledge").await.expect_problem(409, "");
    let second = log(&app, "a", "1", "bad").await["incidents"][0].clone();
    assert_eq!((&second["new"], &second["count"]), (&json!(true), &json!(1)));
    let app_head = app.head().await;
    assert_eq!(act(Method::POST, "resolve").await.expect(200)["status"], "resolved");
    assert_eq!(app.head().await, app_head, "what changes nothing is not recorded");
    assert_eq!(act(Method::POST, "reactivate").await.expect(200)["status"], "open");
    assert_eq!(act(Method::PUT, "ignore").await.expect(200)["status"], "ignored");
    for id in ["nothing", "0198c0de-0000-7000-8000-000000000000"] {
        app.post(&format!("/api/v1/incidents/{id}/resolve"), json!({})).await.expect_problem(404, "");
    }
    let app = app.restart().await;
    assert_eq!(count(&app, "?status=ignored").await, 1);
    assert_eq!(log(&app, "a", "1", "bad").await["incidents"][0]["count"], 2);
}
