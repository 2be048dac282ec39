//! Rules that ask what happened before: filled when they come, kept over restarts, shown with their witnesses.

use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{TestApp, answer, config, text};
use lictor_server::{ServeError, Server};

/// From the `most`-th intent of an agent on the next is denied.
fn counting(most: usize) -> Value {
    json!({"source": format!(
        "policy p {{}}\nrule many on intent {{ when count(intent per agent.id within 1h) >= {most} deny incident high }}\n\
         rule other on intent {{ when action == \"other\" warn }}"
    )})
}

async fn intent(app: &TestApp) -> Value {
    let event = json!({"event": "intent", "agent": {"id": "bot"}, "action": "x"});
    app.post("/api/v1/decisions", event).await.expect(200)
}

async fn outcomes(app: &TestApp, count: usize) -> Vec<String> {
    let mut outcomes = Vec::new();
    for _ in 0..count {
        outcomes.push(text(&intent(app).await["decision"]));
    }
    outcomes
}

#[tokio::test]
async fn a_new_rule_knows_what_happened_before_it_and_says_that_it_is_live() {
    let app = TestApp::start().await;
    assert_eq!(outcomes(&app, 3).await, ["allow"; 3]);
    let made = app.post("/api/v1/policies", counting(3)).await.expect(201);
    assert_eq!(made["state"], "live");
    let rules = json!([{"rule": "p.many", "state": "live"}, {"rule": "p.other", "state": "live"}]);
    assert_eq!(made["rules"], rules);
    let denied = intent(&app).await;
    assert_eq!((&denied["decision"], &denied["policy_set"]), (&json!("deny"), &made["policy_set"]));

    let path = format!("/api/v1/policies/{}", text(&made["id"]));
    let higher = app.request(Method::PUT, &path, Some(&app.token)).json(&counting(5));
    assert_eq!(answer(higher).await.expect(200)["state"], "live");
    assert_eq!(outcomes(&app, 3).await, ["allow", "allow", "deny"]);
    app.send(Method::DELETE, &path, Some(&app.token), json!({})).await.expect(204);
    assert_eq!(outcomes(&app, 1).await, ["allow"]);
    let again = app.post("/api/v1/policies", counting(6)).await.expect(201);
    assert_eq!(again["state"], "live");
    assert_eq!(outcomes(&app, 1).await, ["deny"]);
    assert_eq!(app.get("/api/v1/policies/p").await.expect(200)["rules"], rules);
}

#[tokio::test]
async fn incidents_show_the_entries_that_they_rest_on() {
    let app = TestApp::start().await;
    app.post("/api/v1/policies", counting(2)).await.expect(201);
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(intent(&app).await["decision_id"].clone());
    }
    let incident = &app.get("/api/v1/incidents").await.expect(200)[0];
    assert_eq!((&incident["rule"], &incident["count"]), (&json!("p.many"), &json!(2)));
    assert_eq!(incident["witnesses"], Value::from(ids));
    let path = format!("/api/v1/incidents/{}/resolve", text(&incident["incident_id"]));
    assert_eq!(app.post(&path, json!({})).await.expect(200)["witnesses"], incident["witnesses"]);
}

#[tokio::test]
async fn what_is_only_asked_is_judged_by_what_happened_and_not_remembered() {
    let app = TestApp::start().await;
    app.post("/api/v1/policies", counting(2)).await.expect(201);
    outcomes(&app, 1).await;
    let head = app.head().await;
    let event = json!({"event": "intent", "agent": {"id": "bot"}, "action": "x"});
    let own_time = json!({"event": "intent", "agent": {"id": "bot", "trust": 1}, "action": "x", "at": "2026-01-01T00:00:00Z"});
    let asked = json!({"dry_run": true, "events": [event, event, event, {"event": "intent"}, own_time]});
    let answers = app.post("/api/v1/decisions", asked).await.expect(200);
    let decisions = answers["decisions"].as_array().unwrap();
    for place in [0, 1, 2, 4] {
        assert_eq!(decisions[place]["decision"], "allow", "{answers}");
    }
    assert_eq!(decisions[3]["status"], 400);
    assert_eq!(app.head().await, head);
    assert_eq!(outcomes(&app, 2).await, ["allow", "deny"]);
    let asked = json!({"dry_run": true, "event": "intent", "agent": {"id": "bot"}, "action": "x"});
    assert_eq!(app.post("/api/v1/decisions", asked).await.expect(200)["decision"], "deny");
}

#[tokio::test]
async fn an_intent_is_evaluated_by_what_happened() {
    let app = TestApp::start().await;
    app.post("/api/v1/policies", counting(3)).await.expect(201);
    let key = app.key().await;
    let agent = app.agent(&key, "bot").await;
    let new = json!({"agent_id": agent, "org_id": app.org, "action": "x"});
    let declared = app.send_v3("/api/v3/intents", &key, &agent, new).await.expect(201);
    let asked = json!({"intent_id": declared["intent_id"], "org_id": app.org});
    for want in ["allow", "allow", "deny"] {
        let evaluated = app.send_v3("/api/v3/policy/evaluate", &key, &agent, asked.clone()).await;
        assert_eq!(evaluated.expect(200)["decision"], want);
        outcomes(&app, 1).await;
    }
}

#[tokio::test]
async fn a_restart_forgets_nothing_with_a_snapshot_a_broken_one_and_none() {
    let app = TestApp::start().await;
    app.post("/api/v1/policies", counting(9)).await.expect(201);
    assert_eq!(outcomes(&app, 2).await, ["allow"; 2]);
    let app = app.restart().await;
    assert_eq!(outcomes(&app, 2).await, ["allow"; 2]);
    let breaking = [
        "UPDATE memory_snapshots SET bytes = wrapped_key",
        "UPDATE memory_snapshots SET parts = 2 WHERE next_seq = (SELECT MAX(next_seq) FROM memory_snapshots)",
        "UPDATE memory_snapshots SET next_seq = next_seq - 1",
        "DELETE FROM memory_snapshots",
    ];
    let mut app = app;
    for sql in breaking {
        let home = app.stop().await;
        assert!(home.meddle(&[sql]).await > 0, "{sql}");
        let server = Server::start(&config(&home)).await.unwrap();
        app = TestApp::over(server, home).await;
        assert_eq!(outcomes(&app, 1).await, ["allow"], "{sql}");
    }
    assert_eq!(outcomes(&app, 2).await, ["allow", "deny"]);
    let app = app.restart().await.restart().await;
    assert_eq!(outcomes(&app, 1).await, ["deny"]);
    assert_eq!(app.get("/api/v1/incidents").await.expect(200)[0]["count"], 2);
}

#[tokio::test]
async fn rules_that_waited_for_their_memories_decide_after_a_restart_and_the_ledger_says_so() {
    let app = TestApp::start().await;
    outcomes(&app, 2).await;
    let made = app.post("/api/v1/policies", counting(2)).await.expect(201);
    let home = app.stop().await;
    let waiting = "INSERT INTO filling (org_id, memories) \
                   SELECT org_id, '[[\"count(intent per agent.id)\", [\"p.many\"]]]' FROM orgs";
    assert_eq!(home.meddle(&[waiting]).await, 1);
    let server = Server::start(&config(&home)).await.unwrap();
    let app = TestApp::over(server, home).await;
    let last = app.ledger().await.pop().unwrap();
    assert_eq!((&last["kind"], &last["action"]), (&json!("policy"), &json!("activated")));
    assert_eq!(last["record"]["policy_set"], made["policy_set"]);
    assert_eq!(last["record"]["filled"][0]["rules"], json!(["p.many"]));
    assert_eq!(outcomes(&app, 1).await, ["deny"]);
    let app = app.restart().await;
    assert_eq!(app.get("/api/v1/policies/p").await.expect(200)["state"], "live");
    assert_eq!(app.ledger().await.iter().filter(|entry| entry["action"] == "activated").count(), 1);
}

#[tokio::test]
async fn a_past_that_can_not_be_read_is_not_served() {
    let app = TestApp::start().await;
    app.post("/api/v1/policies", counting(2)).await.expect(201);
    outcomes(&app, 1).await;
    let home = app.stop().await;
    home.meddle(&["DELETE FROM memory_snapshots"]).await;
    assert!(home.meddle(&["DELETE FROM payloads"]).await > 0);
    let refused = Server::start(&config(&home)).await;
    assert!(matches!(refused, Err(ServeError::Load(_))), "{refused:?}");
}
