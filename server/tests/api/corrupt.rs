//! Policies that were changed in the database and not by the server: nothing is decided by them.

use lictor_server::{ServeError, Server};
use serde_json::json;

use crate::app::{TestApp, config};
use crate::home::Home;

/// A database with a policy that decides and one that does not. No server runs on it.
async fn with_policies() -> Home {
    let app = TestApp::start().await;
    for (name, effect) in [("strict", "deny"), ("lax", "warn")] {
        let source = format!("policy {name} {{}}\nrule r on intent {{ when amount > 5 {effect} }}");
        app.post("/api/v1/policies", json!({"source": source})).await.expect(201);
    }
    app.post("/api/v1/policies/lax/disable", json!({})).await.expect(200);
    app.stop().await
}

#[tokio::test]
async fn a_server_does_not_start_with_other_policies_than_its_ledger_says() {
    let app = TestApp::start_in(with_policies().await).await;
    let event = json!({"event": "intent", "agent": {"id": "bot"}, "action": "pay", "amount": 6});
    assert_eq!(app.post("/api/v1/decisions", event).await.expect(200)["decision"], "deny");

    let (missing, changed) = ("source is missing", "source was changed");
    let other = "not those that its ledger says are in force";
    let source = "policy_sources WHERE source LIKE '%strict%'";
    for (why, meddling) in [
        (changed, "UPDATE policy_sources SET source = replace(source, 'deny', 'allow')".to_owned()),
        (changed, "UPDATE policy_sources SET source = '{' WHERE source LIKE '%strict%'".to_owned()),
        (missing, format!("DELETE FROM {source}")),
        (missing, "UPDATE policies SET digest = (SELECT hash FROM heads) WHERE name = 'strict'".to_owned()),
        (
            other,
            "UPDATE policies SET digest = (SELECT digest FROM policies WHERE name = 'lax') WHERE name = 'strict'"
                .to_owned(),
        ),
        (other, "UPDATE policies SET enabled = 0 WHERE name = 'strict'".to_owned()),
        (other, "UPDATE policies SET enabled = 1 WHERE name = 'lax'".to_owned()),
        (other, "UPDATE policies SET shadow = 1 WHERE name = 'strict'".to_owned()),
        (other, "UPDATE policies SET name = 'other' WHERE name = 'strict'".to_owned()),
        (other, "DELETE FROM policies WHERE name = 'strict'".to_owned()),
        (other, "DELETE FROM policies".to_owned()),
    ] {
        let home = with_policies().await;
        assert!(home.meddle(&[&meddling]).await > 0, "{meddling}");
        let refused = Server::start(&config(&home)).await.unwrap_err();
        let ServeError::Load(error) = &refused else { panic!("{meddling}: {refused:?}") };
        let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
        let said = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
        assert!(said.contains(why), "{meddling}: {said}");
    }
}
