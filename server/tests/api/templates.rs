//! `/api/v1/policy-templates`: applied, changed, upgraded and removed whole, in one operation each.

use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{Answer, TestApp, text};

const TEMPLATES: &str = "/api/v1/policy-templates";

async fn send(app: &TestApp, method: Method, path: &str, body: Value) -> Answer {
    app.send(method, &format!("{TEMPLATES}/{path}"), Some(&app.token), body).await
}

/// What becomes of a payment of so much. At night and on Sundays a person has to agree to any.
async fn payment(app: &TestApp, amount: u32) -> String {
    let payload = json!({"payee": "acme", "account_changed": false});
    let event = json!({"event": "intent", "agent": {"id": "bot"}, "action": "payout", "amount": amount,
        "currency": "EUR", "payload": payload});
    text(&app.post("/api/v1/decisions", event).await.expect(200)["decision"])
}

fn parameter<'t>(template: &'t Value, name: &str) -> &'t Value {
    let parameters = template["parameters"].as_array().unwrap();
    parameters.iter().find(|parameter| parameter["name"] == name).unwrap()
}

async fn policy_changes(app: &TestApp) -> Vec<String> {
    let entries = app.ledger().await;
    entries.iter().filter(|entry| entry["kind"] == "policy").map(|entry| text(&entry["action"])).collect()
}

#[tokio::test]
async fn templates_are_listed_with_their_parameters() {
    let app = TestApp::start().await;
    let listed = app.get(TEMPLATES).await.expect(200);
    let names: Vec<_> = listed.as_array().unwrap().iter().map(|template| text(&template["id"])).collect();
    assert_eq!(names, ["outbound_data", "owasp_agentic", "payment_controls"]);
    let owasp = send(&app, Method::GET, "owasp_agentic_default", json!({})).await.expect(200);
    assert_eq!(owasp, listed[1]);
    assert_eq!((&owasp["applied"], &owasp["policy"]), (&json!(false), &json!(null)));
    assert!(owasp["rules"].as_u64().unwrap() >= 15, "{owasp}");
    assert!(text(&owasp["framework"]).contains("OWASP") && !owasp["controls"].as_array().unwrap().is_empty());
    let autonomy = parameter(&owasp, "autonomy_from");
    let want = json!({"name": "autonomy_from", "type": "number", "default": 0.3, "min": 0.01, "max": 1,
        "help": "Below this trust, side effects wait for a person", "value": 0.3});
    assert_eq!(*autonomy, want);
    assert_eq!(parameter(&owasp, "credential_age")["default"], "90d");
    assert_eq!(parameter(&owasp, "money_actions")["value"], json!(["pay", "transfer"]));
    send(&app, Method::GET, "nobody", json!({})).await.expect_problem(404, "");
}

#[tokio::test]
async fn a_template_decides_at_once_as_its_parameters_say_until_it_is_removed() {
    let app = TestApp::start().await;
    assert_eq!(payment(&app, 150_000).await, "allow");
    let before = app.get("/api/v1/policies").await.expect(200);
    // Members that published clients send are passed over; others may be a slip of the pen.
    let slip = json!({"paramters": {"alone_up_to": 3000}});
    send(&app, Method::POST, "payment_controls/apply", slip).await.expect_problem(400, "paramters");
    let asked = json!({"parameters": {"never_above": 200000}, "enabled": true, "agent_id": null});
    let applied = send(&app, Method::POST, "payment_controls/apply", asked.clone()).await.expect(201);
    assert_eq!((&applied["applied"], &applied["policy"]["mode"]), (&json!(true), &json!("enforce")));
    assert_eq!(applied["policy"]["version"], applied["version"]);
    let most = parameter(&applied, "never_above");
    assert_eq!((&most["default"], &most["value"]), (&json!(100_000), &json!(200_000)));
    assert_eq!(payment(&app, 150_000).await, "require_approval");
    assert_eq!(payment(&app, 200_001).await, "deny");
    // It is a policy like any other.
    let policy = app.get("/api/v1/policies/payment_controls").await.expect(200);
    assert_eq!(
        (&policy["id"], &policy["policy_set"]),
        (&applied["policy"]["id"], &applied["policy"]["policy_set"])
    );
    assert!(text(&policy["source"]).contains("param never_above: number = 200000 in 0..100_000_000"));
    send(&app, Method::POST, "payment_controls/apply", asked).await.expect_problem(409, "");

    let changed = json!({"parameters": {"never_above": null, "one_person_up_to": "2_000"}});
    let changed = send(&app, Method::PUT, "payment_controls/parameters", changed).await.expect(200);
    assert_eq!(parameter(&changed, "never_above")["value"], 100_000);
    assert_eq!(parameter(&changed, "one_person_up_to")["value"], 2000);
    assert_eq!(payment(&app, 150_000).await, "deny");
    // The same once more changes nothing.
    let same = json!({"parameters": {"one_person_up_to": 2000}});
    assert_eq!(send(&app, Method::PUT, "payment_controls/parameters", same).await.expect(200), changed);

    send(&app, Method::DELETE, "payment_controls", json!({})).await.expect(204);
    assert_eq!(payment(&app, 150_000).await, "allow");
    assert_eq!(app.get("/api/v1/policies").await.expect(200), before);
    send(&app, Method::DELETE, "payment_controls", json!({})).await.expect_problem(409, "");
    send(&app, Method::POST, "payment_controls/remove", json!({})).await.expect_problem(409, "");
    // One operation is one entry, and one policy set.
    assert_eq!(policy_changes(&app).await, ["created", "created", "updated", "removed"]);
}

#[tokio::test]
async fn a_template_can_report_only_and_is_another_orgs_business_in_another_org() {
    let app = TestApp::start().await;
    let other = app.org("Other").await;
    let applied = send(&app, Method::POST, "payment_controls/apply", json!({"mode": "shadow"})).await;
    assert_eq!(applied.expect(201)["policy"]["mode"], "shadow");
    assert_eq!(payment(&app, 150_000).await, "allow");
    app.post("/api/v1/policies/payment_controls/enable", json!({})).await.expect(200);
    assert_eq!(payment(&app, 150_000).await, "deny");
    let path = format!("{TEMPLATES}/payment_controls");
    let theirs = app.send(Method::GET, &path, Some(&other.token), json!({})).await.expect(200);
    assert_eq!((&theirs["applied"], &theirs["policy"]), (&json!(false), &json!(null)));
}

#[tokio::test]
async fn what_a_parameter_can_not_be_is_named_and_nothing_changes() {
    let app = TestApp::start().await;
    for (parameters, field) in [
        (json!({"nothing": 1}), "parameters.nothing"),
        (json!({"alone_up_to": -1}), "parameters.alone_up_to"),
        (json!({"alone_up_to": 1_000_001}), "parameters.alone_up_to"),
        (json!({"alone_up_to": "much"}), "parameters.alone_up_to"),
        (json!({"alone_up_to": [1]}), "parameters.alone_up_to"),
        (json!({"currencies": "EUR"}), "parameters.currencies"),
        (json!({"currencies": ["EUR", 1]}), "parameters.currencies"),
        (json!({"currencies": ["E\u{0}R"]}), "parameters.currencies"),
        (json!([]), "parameters"),
    ] {
        let asked = json!({"parameters": parameters});
        let refused = send(&app, Method::POST, "payment_controls/apply", asked).await;
        refused.expect_problem(400, field);
    }
    send(&app, Method::POST, "payment_controls/apply", json!({"mode": "loud"}))
        .await
        .expect_problem(400, "mode");
    for path in ["payment_controls/parameters", "nobody/parameters"] {
        let status = if path.starts_with("nobody") { 404 } else { 409 };
        send(&app, Method::PUT, path, json!({"parameters": {}})).await.expect_problem(status, "");
    }
    send(&app, Method::POST, "payment_controls/upgrade", json!({})).await.expect_problem(409, "");
    assert_eq!(policy_changes(&app).await, ["created"]);
}

#[tokio::test]
async fn an_upgrade_keeps_every_value_that_is_in_force() {
    let app = TestApp::start().await;
    let asked = json!({"parameters": {"alone_up_to": 5, "currencies": ["CHF", "E\"R"]}});
    let new = send(&app, Method::POST, "payment_controls/apply", asked).await.expect(201);
    // As an earlier version left it.
    let path = "/api/v1/policies/payment_controls";
    let source = text(&app.get(path).await.expect(200)["source"]);
    let earlier = source.replace("\"0.1.0\"", "\"0.0.9\"");
    assert_ne!(earlier, source);
    app.send(Method::PUT, path, Some(&app.token), json!({"source": earlier})).await.expect(200);
    let before = send(&app, Method::GET, "payment_controls", json!({})).await.expect(200);
    assert_eq!((&before["version"], &before["policy"]["version"]), (&json!("0.1.0"), &json!("0.0.9")));
    let upgraded = send(&app, Method::POST, "payment_controls/upgrade", json!({})).await.expect(200);
    assert_eq!(upgraded, new);
    assert_eq!(text(&app.get(path).await.expect(200)["source"]), source);
    // There is nothing to upgrade now.
    send(&app, Method::POST, "payment_controls/upgrade", json!({})).await.expect(200);
    assert_eq!(policy_changes(&app).await, ["created", "created", "updated", "updated"]);
}
