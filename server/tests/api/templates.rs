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
        (json!({"nothing": null}), "parameters.nothing"),
    ] {
        let asked = json!({"parameters": parameters});
        let refused = send(&app, Method::POST, "payment_controls/apply", asked).await;
        refused.expect_problem(400, field);
    }
    let twice = "{\"parameters\": {\"alone_up_to\": 1, \"alone_up_to\": 2}}".to_owned();
    let twice = app.send_text(&format!("{TEMPLATES}/payment_controls/apply"), &app.token, twice).await;
    twice.expect_problem(400, "parameters");
    let many: serde_json::Map<_, _> = (0..1_000).map(|number| (format!("p{number}"), json!(1))).collect();
    let many = send(&app, Method::POST, "payment_controls/apply", json!({"parameters": many})).await;
    assert!(many.expect_problem(400, "parameters.p0")["errors"].as_array().unwrap().len() < 100);
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
    // What is not a text that was released may say anything: it is not lost unawares.
    send(&app, Method::POST, "payment_controls/upgrade", json!({})).await.expect_problem(409, "");
    assert_eq!(text(&app.get(path).await.expect(200)["source"]), earlier);
    let discard = json!({"discard_changes": true});
    let upgraded = send(&app, Method::POST, "payment_controls/upgrade", discard.clone()).await.expect(200);
    assert_eq!(upgraded, new);
    assert_eq!(text(&app.get(path).await.expect(200)["source"]), source);
    // There is nothing to upgrade now.
    send(&app, Method::POST, "payment_controls/upgrade", json!({})).await.expect(200);
    assert_eq!(policy_changes(&app).await, ["created", "created", "updated", "updated"]);
    // The same version with one more rule.
    let stricter = format!("{source}\nrule no_more on intent {{ when is_payment() deny }}\n");
    app.send(Method::PUT, path, Some(&app.token), json!({"source": stricter})).await.expect(200);
    send(&app, Method::POST, "payment_controls/upgrade", json!({})).await.expect_problem(409, "");
    assert_eq!(payment(&app, 1).await, "deny");
    // Parameters change in it like in any other.
    let asked = json!({"parameters": {"alone_up_to": 7}});
    send(&app, Method::PUT, "payment_controls/parameters", asked).await.expect(200);
    assert_eq!(payment(&app, 1).await, "deny");
    // A value that the new version does not take is named, whatever is discarded.
    let wider = source.replace(
        "alone_up_to: number = 5 in 0..1_000_000",
        "alone_up_to: number = 2_000_000 in 0..9_000_000",
    );
    assert_ne!(wider, source);
    app.send(Method::PUT, path, Some(&app.token), json!({"source": wider})).await.expect(200);
    let refused = send(&app, Method::POST, "payment_controls/upgrade", discard).await;
    refused.expect_problem(400, "parameters.alone_up_to");
}

#[tokio::test]
async fn a_policy_of_the_same_name_is_not_taken_for_the_template() {
    let app = TestApp::start().await;
    let own = json!({"source": "policy payment_controls {}\nrule r on intent { when amount > 1 warn }"});
    app.post("/api/v1/policies", own).await.expect(201);
    let seen = send(&app, Method::GET, "payment_controls", json!({})).await.expect(200);
    assert_eq!(seen["applied"], false);
    for (method, path, body) in [
        (Method::POST, "payment_controls/apply", json!({})),
        (Method::PUT, "payment_controls/parameters", json!({"parameters": {}})),
        (Method::POST, "payment_controls/upgrade", json!({"discard_changes": true})),
        (Method::DELETE, "payment_controls", json!({})),
    ] {
        let problem = send(&app, method, path, body).await.expect_problem(409, "");
        assert!(text(&problem["detail"]).contains("is no template"), "{problem}");
    }
    assert_eq!(payment(&app, 150_000).await, "warn");
}

async fn preview(app: &TestApp, asked: Value) -> Value {
    send(app, Method::POST, "payment_controls/preview", asked).await.expect(200)
}

#[tokio::test]
async fn a_preview_says_what_would_change_and_changes_nothing() {
    let app = TestApp::start().await;
    for amount in [150_000, 150_000, 300_000] {
        assert_eq!(payment(&app, amount).await, "allow");
    }
    let log = json!({"event": "log", "agent": {"id": "bot"}, "step_type": "step.exec"});
    app.post("/api/v1/decisions", log).await.expect(200);
    let before = (app.head().await, app.get("/api/v1/policies").await.expect(200));

    let seen = preview(&app, json!({})).await;
    // The agent was seen for the first time by one of them.
    assert_eq!((&seen["events"], &seen["erased"], &seen["changed"]), (&json!(5), &json!(0), &json!(3)));
    assert_eq!(seen["outcomes"], json!([{"before": "allow", "after": "deny", "events": 3}]));
    assert_eq!(seen["examples"].as_array().unwrap().len(), 3);
    assert_eq!(seen["examples"][0]["before"], "allow");
    let rules = seen["rules"].as_array().unwrap();
    let above =
        json!({"rule": "payment_controls.above_any_agent", "matched": 3, "undecided": 0, "changed": 3});
    assert!(rules.contains(&above) && rules.len() > 10, "{seen}");

    // With another limit only the largest would be denied, and of the last two entries that is the one.
    let seen = preview(&app, json!({"parameters": {"never_above": 200_000}, "last": 2})).await;
    let deny = json!({"before": "allow", "after": "deny", "events": 1});
    assert_eq!((&seen["events"], &seen["outcomes"]), (&json!(2), &json!([deny])));

    // Of what is applied it says what a change would do.
    let asked = json!({"parameters": {"never_above": 200_000}});
    send(&app, Method::POST, "payment_controls/apply", asked).await.expect(201);
    let seen = preview(&app, json!({})).await;
    assert_eq!((&seen["events"], &seen["changed"]), (&json!(5), &json!(0)));
    let seen = preview(&app, json!({"parameters": {"never_above": null}})).await;
    let tighter = json!({"before": "require_approval", "after": "deny", "events": 2});
    assert_eq!((&seen["changed"], &seen["outcomes"]), (&json!(2), &json!([tighter])));
    send(&app, Method::DELETE, "payment_controls", json!({})).await.expect(204);

    for (asked, field) in [
        (json!({"last": 0}), "last"),
        (json!({"last": 10_001}), "last"),
        (json!({"parameters": {"nothing": 1}}), "parameters.nothing"),
    ] {
        send(&app, Method::POST, "payment_controls/preview", asked).await.expect_problem(400, field);
    }
    let after = app.head().await;
    assert_eq!(after.0, before.0.0 + 2, "but for applying and removing it");
    assert_eq!(app.get("/api/v1/policies").await.expect(200), before.1);
}
