//! `/api/v1/decisions`: one event, many, and dry runs.

use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{TestApp, text};

pub(crate) const REFUNDS: &str = r#"
policy refunds { title = "Refunds" }

rule large on intent {
  when  action == "refund" and amount > 1_000
  require approval from "finance" within 60m
  score +0.35
  because "refund of {amount} is above 1000"
}

rule stolen on intent, action, log {
  when task == "stolen"
  deny
  incident high per task within 1h title "task {task} was stolen"
}

rule quiet on intent {
  when action == "look"
  mode shadow
  deny
  incident low
}
"#;

async fn app() -> (TestApp, String) {
    let app = TestApp::start().await;
    app.post("/api/v1/policies", json!({"source": REFUNDS})).await.expect(201);
    let key = app.key().await;
    app.agent(&key, "bot").await;
    (app, key)
}

fn intent(action: &str, amount: i64) -> Value {
    json!({"event": "intent", "agent": {"id": "bot"}, "action": action, "amount": amount})
}

#[tokio::test]
async fn a_decision_names_its_rules_and_its_place_in_the_ledger() {
    let (app, key) = app().await;
    let decision =
        app.send(Method::POST, "/api/v1/decisions", Some(&key), intent("refund", 5_000)).await.expect(200);
    assert_eq!(decision["decision"], "require_approval", "{decision}");
    assert_eq!(decision["class"], "approval_required");
    assert_eq!(decision["risk"].to_string(), "0.35");
    assert_eq!(decision["reason"], "refund of 5000 is above 1000");
    assert_eq!(decision["rules"][0]["rule"], "refunds.large");
    assert_eq!(decision["approval"], json!({"from": ["finance"], "count": 1, "within_s": 3600}));
    let ledger = app.ledger().await;
    let entry = ledger.last().unwrap();
    assert_eq!((&entry["entry_id"], &entry["seq"]), (&decision["decision_id"], &decision["seq"]));
    assert_eq!((&entry["outcome"], &entry["action"]), (&json!("require_approval"), &json!("refund")));
    assert_eq!(entry["record"]["policy_set"], decision["policy_set"]);
    assert_eq!(entry["record"]["decision"]["rules"][0]["rule"], "refunds.large");
    assert_eq!(entry["record"]["action"], "refund");
    assert_eq!(entry["record"]["decision"]["approval"], decision["approval"]);
    assert!(!entry.to_string().contains("5000"), "the ledger holds no content: {entry}");
}

#[tokio::test]
async fn the_ledger_says_what_was_missing_and_what_is_to_be_done() {
    let (app, key) = app().await;
    let source = "policy more {}\nrule tell on intent { when action == \"refund\" do notify \"finance\" }";
    app.post("/api/v1/policies", json!({"source": source})).await.expect(201);
    let event = json!({"event": "intent", "agent": {"id": "bot"}, "action": "refund"});
    let decision = app.send(Method::POST, "/api/v1/decisions", Some(&key), event).await.expect(200);
    assert_eq!(decision["rules"][0]["missing"], json!(["amount"]), "{decision}");
    let recorded = &app.ledger().await.pop().unwrap()["record"]["decision"];
    assert_eq!(recorded["rules"][0]["missing"], json!(["amount"]), "{recorded}");
    assert_eq!(recorded["obligations"], decision["obligations"]);
    assert_eq!(recorded["obligations"][0]["do"], "notify");
}

#[tokio::test]
async fn a_batch_answers_each_event_in_its_place() {
    let (app, key) = app().await;
    let events = json!({"events": [intent("refund", 1), {"event": "intent"}, intent("refund", 2_000), 7,
        {"event": "intent", "agent": {"id": "bot"}, "action": "refund", "amount": "many"}]});
    let before = app.head().await.0;
    let answer = app.send(Method::POST, "/api/v1/decisions", Some(&key), events).await.expect(200);
    let decisions = answer["decisions"].as_array().unwrap();
    let words: Vec<_> = decisions.iter().map(|one| one["decision"].as_str().unwrap_or("problem")).collect();
    assert_eq!(words, ["allow", "problem", "require_approval", "problem", "problem"]);
    assert_eq!(
        (&decisions[1]["status"], &decisions[1]["errors"][0]["field"]),
        (&json!(400), &json!("agent.id"))
    );
    assert_eq!(decisions[4]["errors"][0]["field"], "amount");
    assert_eq!(decisions[2]["seq"].as_i64().unwrap(), decisions[0]["seq"].as_i64().unwrap() + 1);
    assert_eq!(app.head().await.0, before + 2);
    let empty =
        app.send(Method::POST, "/api/v1/decisions", Some(&key), json!({"events": []})).await.expect(200);
    assert_eq!(empty, json!({"decisions": []}));
}

#[tokio::test]
async fn a_large_batch_is_judged_whole() {
    let (app, key) = app().await;
    let events: Vec<_> = (0..1_300).map(|n| intent("refund", n)).collect();
    let answer =
        app.send(Method::POST, "/api/v1/decisions", Some(&key), json!({"events": events})).await.expect(200);
    let decisions = answer["decisions"].as_array().unwrap();
    assert_eq!(decisions.len(), 1_300);
    let waiting = decisions.iter().filter(|one| one["decision"] == "require_approval").count();
    assert_eq!(waiting, 299);
}

#[tokio::test]
async fn a_dry_run_records_nothing() {
    let (app, key) = app().await;
    let before = app.head().await;
    let mut event = intent("refund", 5_000);
    event["dry_run"] = json!(true);
    let decision = app.send(Method::POST, "/api/v1/decisions", Some(&key), event.clone()).await.expect(200);
    assert_eq!((&decision["decision"], &decision["dry_run"]), (&json!("require_approval"), &json!(true)));
    assert!(decision.get("seq").is_none() && decision.get("decision_id").is_none());
    event["agent"]["id"] = json!("somebody-new");
    app.send(Method::POST, "/api/v1/decisions", Some(&key), event).await.expect(200);
    assert_eq!(app.head().await, before);
    app.get("/api/v1/agents/somebody-new").await.expect(404);
}

#[tokio::test]
async fn only_a_persons_dry_run_may_bring_attested_fields() {
    let (app, key) = app().await;
    app.post("/api/v1/policies", json!({"source": "policy tags {}\nrule treasury on intent { when agent.tags has \"treasury\" deny }"}))
        .await
        .expect(201);
    let event = |dry_run: bool| {
        json!({"event": "intent", "at": "2026-01-01T00:00:00Z", "org": "o", "dry_run": dry_run,
            "agent": {"id": "bot", "tags": ["treasury"]}, "action": "x"})
    };
    let as_key = app.send(Method::POST, "/api/v1/decisions", Some(&key), event(true)).await.expect(200);
    assert_eq!(as_key["decision"], "allow");
    let as_person = app.post("/api/v1/decisions", event(true)).await.expect(200);
    assert_eq!(as_person["decision"], "deny", "{as_person}");
    let for_good = app.post("/api/v1/decisions", event(false)).await.expect(200);
    assert_eq!(for_good["decision"], "allow");
}

#[tokio::test]
async fn what_a_persons_dry_run_does_not_say_the_server_fills_in() {
    let (app, key) = app().await;
    let source = "policy who {}\nrule treasury on intent { when agent.tags has \"treasury\" deny }\n\
        rule known on intent { when agent.declared and agent.name == \"bot\" warn }\n\
        rule now on intent { when at > time(\"2026-01-01T00:00:00Z\") score +0.5 }";
    app.post("/api/v1/policies", json!({"source": source})).await.expect(201);
    let before = app.head().await;
    let event = json!({"event": "intent", "dry_run": true, "agent": {"id": "bot", "tags": ["treasury"]}, "action": "x"});
    let as_person = app.post("/api/v1/decisions", event.clone()).await.expect(200);
    assert_eq!(as_person["decision"], "deny", "{as_person}");
    let rules: Vec<_> =
        as_person["rules"].as_array().unwrap().iter().map(|rule| text(&rule["rule"])).collect();
    assert_eq!(rules, ["who.treasury", "who.known", "who.now"]);
    let as_key = app.send(Method::POST, "/api/v1/decisions", Some(&key), event).await.expect(200);
    assert_eq!(as_key["decision"], "warn");
    assert_eq!(app.head().await, before);
}

#[tokio::test]
async fn every_fault_of_an_event_is_named_and_nobody_dries_one_item() {
    let (app, key) = app().await;
    let before = app.head().await;
    let wrong = json!({"event": "intent", "amount": "many", "task": 5});
    let problem =
        app.send(Method::POST, "/api/v1/decisions", Some(&key), wrong).await.expect_problem(400, "agent.id");
    let fields: Vec<_> =
        problem["errors"].as_array().unwrap().iter().map(|error| text(&error["field"])).collect();
    for field in ["agent.id", "action", "amount", "task"] {
        assert_eq!(fields.iter().filter(|name| *name == field).count(), 1, "{field} in {problem}");
    }
    let mut dry = intent("refund", 1);
    dry["dry_run"] = json!(true);
    let batch = json!({"events": [dry]});
    let answer = app.send(Method::POST, "/api/v1/decisions", Some(&key), batch).await.expect(200);
    assert_eq!(answer["decisions"][0]["errors"][0]["field"], "dry_run", "{answer}");
    assert_eq!(app.head().await, before);
}

#[tokio::test]
async fn incidents_fold_and_say_whether_they_are_new() {
    let (app, key) = app().await;
    let event = json!({"event": "action", "agent": {"id": "bot"}, "task": "stolen", "kind": "tool_call", "tool": "x"});
    for (new, count) in [(true, 1), (false, 2)] {
        let decision =
            app.send(Method::POST, "/api/v1/decisions", Some(&key), event.clone()).await.expect(200);
        let incident = &decision["incidents"][0];
        assert_eq!((&incident["new"], &incident["count"]), (&json!(new), &json!(count)), "{decision}");
        assert_eq!((&incident["rule"], &incident["key"]), (&json!("refunds.stolen"), &json!(["stolen"])));
    }
    let two = json!({"events": [event, event]});
    let answer = app.send(Method::POST, "/api/v1/decisions", Some(&key), two).await.expect(200);
    assert_eq!(answer["decisions"][1]["incidents"][0]["count"], 4);
    let shadow = app.send(Method::POST, "/api/v1/decisions", Some(&key), intent("look", 1)).await.expect(200);
    assert_eq!(shadow["decision"], "allow");
    assert_eq!(shadow["incidents"][0]["shadow"], true, "{shadow}");
    assert_eq!(app.get("/api/v1/incidents").await.expect(200).as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn an_unknown_name_registers_an_agent_that_nobody_declared() {
    let (app, key) = app().await;
    let event = json!({"event": "intent", "agent": {"id": "stranger"}, "action": "x"});
    app.send(Method::POST, "/api/v1/decisions", Some(&key), event).await.expect(200);
    let agent = app.get("/api/v1/agents/stranger").await.expect(200);
    assert_eq!((&agent["declared"], &agent["is_active"]), (&json!(false), &json!(true)));
    let kinds: Vec<_> = app.ledger().await.iter().map(|entry| text(&entry["kind"])).collect();
    assert_eq!(&kinds[kinds.len() - 2..], ["registration", "intent"]);
    let declared = app
        .send(Method::POST, "/api/v1/agents", Some(&key), json!({"agent_key": "stranger"}))
        .await
        .expect(200);
    assert_eq!((&declared["declared"], &declared["registration_status"]), (&json!(true), &json!("updated")));
}

/// Small bodies are answered without their route, larger ones by it: white space makes them larger.
#[tokio::test]
async fn the_usual_way_and_the_route_answer_alike() {
    let (app, key) = app().await;
    let refund =
        r#"{"dry_run":true,"event":"intent","agent":{"id":"bot"},"action":"refund","amount":5000.50}"#;
    let look = refund.replace("refund", "look");
    let deep = format!("{}{}{}", &refund[..refund.len() - 1], r#","metadata":"#, "[".repeat(200));
    let bodies = [
        refund.to_owned(),
        format!(" \r\n\t{look} \n"),
        format!("{refund}\u{a0}"),
        format!("{refund}\u{c}"),
        format!("{refund} x"),
        refund.replace("\"bot\"", "\"b\\u006ft\""),
        refund.replace("\"bot\"", "\"nobody\""),
        refund.replace("\"bot\"", "\"0198c0de-0000-7000-8000-000000000000\""),
        refund.replace("\"bot\"", "5"),
        refund.replace("{\"id\":\"bot\"}", "\"bot\""),
        refund.replace("true", "null").replace("\"intent\"", "\"none\""),
        refund.replace("true", "5"),
        refund.replace("5000.50", "\"much\""),
        refund.replace("5000.50", "1,\"amount\":2"),
        refund.replace("5000.50", "1,\"x\":{\"y\":1,\"y\":2}"),
        refund.replace("5000.50", "1,\"agent\":{\"id\":\"bot\"}"),
        refund.replace("5000.50", "1,\"dry_run\":false"),
        refund.replace("5000.50", "01"),
        format!("{{\"dry_run\":true,\"events\":[{}]}}", refund.replace("\"dry_run\":true,", "")),
        deep,
        "[]".to_owned(),
        String::new(),
    ];
    for body in bodies {
        let mut usual = app.send_text("/api/v1/decisions", &key, body.clone()).await;
        let spaces = " ".repeat(70_000);
        let mut routed = app.send_text("/api/v1/decisions", &key, spaces + &body).await;
        for answer in [&mut usual, &mut routed] {
            for member in ["request_id", "detail", "message", "error", "errors"] {
                // Faults of texts that are no JSON name the column.
                let is_ours = member == "request_id" || answer.body["code"] == "invalid_json";
                if let Some(members) = answer.body.as_object_mut().filter(|_| is_ours) {
                    members.remove(member);
                }
            }
        }
        assert_eq!((usual.status, &usual.body), (routed.status, &routed.body), "{body}");
        for header in ["content-type", "cache-control", "x-content-type-options", "connection"] {
            assert_eq!(usual.headers.get(header), routed.headers.get(header), "{header} of {body}");
        }
    }
}
