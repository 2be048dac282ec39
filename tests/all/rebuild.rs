//! `lictor ledger rebuild --compare`: tables that follow from the ledger, and rows that somebody changed by hand.

use serde_json::{Value, json};

use crate::command::lictor;
use crate::home::Home;
use crate::running::{Server, text};

const POLICY: &str = "policy limits {}
default on intent allow
rule large on intent { when amount > 100 deny incident high per agent.id }
rule burst on intent { when count(intent per agent.id within 1h) >= 3 warn incident low per action }
rule secret on registration { when agent.purpose? == \"spy\" deny }";

/// A server that does something of everything, and ends.
async fn some_of_everything(home: &Home) {
    let mut server = Server::start(home);
    let owner = server.owner().await;
    let policy = owner.post("/api/v1/policies", &json!({"source": POLICY})).await.expect(201);
    let other = json!({"source": "policy other {}\nrule r on intent { when action == \"y\" warn }"});
    let other = owner.post("/api/v1/policies", &other).await.expect(201);
    let path = |policy: &Value, what: &str| format!("/api/v1/policies/{}/{what}", text(&policy["id"]));
    owner.post(&path(&other, "shadow"), &json!({})).await.expect(200);
    owner.post(&path(&other, "disable"), &json!({})).await.expect(200);
    owner.post(&path(&policy, "shadow"), &json!({})).await.expect(200);
    owner.post(&path(&policy, "enable"), &json!({})).await.expect(200);
    let key = owner.key().await;
    let agent = owner.with(&key);
    for body in [
        json!({"agent_key": "bot", "name": "Bot", "purpose": "pays"}),
        json!({"agent_key": "bot", "name": "Bot", "purpose": "spy"}),
        json!({"agent_key": "bot", "name": "Bot", "purpose": "pays", "metadata": {"a": 1}}),
        json!({"agent_key": "spy", "purpose": "spy"}),
    ] {
        agent.post("/api/v1/agents", &body).await;
    }
    let bound =
        owner.post("/api/v1/auth/api-keys", &json!({"name": "b", "agent_id": "bot"})).await.expect(201);
    let bound_path = format!("/api/v1/auth/api-keys/{}", text(&bound["id"]));
    owner
        .with(text(&bound["key"]))
        .post("/api/v1/agents", &json!({"agent_key": "bot", "name": "Bound"}))
        .await
        .expect(200);
    owner.post(&format!("{bound_path}/rotate"), &json!({"overlap_s": 60})).await.expect(200);
    let event =
        |amount: i64| json!({"event": "intent", "agent": {"id": "bot"}, "action": "pay", "amount": amount});
    for amount in [1, 500, 5, 700, 2] {
        agent.post("/api/v1/decisions", &event(amount)).await.expect(200);
    }
    agent.post("/api/v1/decisions", &json!({"events": vec![event(3); 300]})).await.expect(200);
    for _ in 0..3 {
        let step = json!({"agent_id": "bot", "task_id": "t", "node_type": "TOOL_CALL"});
        agent.post("/api/v1/logs", &step).await.expect(201);
    }
    let org = text(&owner.get("/api/v1/orgs").await.expect(200)[0]["id"]);
    let id = text(&owner.get("/api/v1/agents/bot").await.expect(200)["agent_id"]);
    let headers = [("x-org-id", org.as_str()), ("x-agent-id", id.as_str())];
    let intent = json!({"agent_id": id, "org_id": org, "action": "pay", "amount": 7});
    agent.try_send(reqwest::Method::POST, "/api/v3/intents", &headers, &intent).await.unwrap().expect(201);
    let incident = text(&owner.get("/api/v1/incidents").await.expect(200)[0]["incident_id"]);
    owner.post(&format!("/api/v1/incidents/{incident}/acknowledge"), &json!({})).await.expect(200);
    let invited = json!({"email": "ann@example.com", "role": "viewer", "password": "long enough"});
    owner.post("/v1/members/invite", &invited).await.expect(201);
    owner.post("/v1/members/role", &json!({"email": "ann@example.com", "role": "member"})).await.expect(200);
    let login = json!({"email": "ann@example.com", "password": "long enough"});
    server.client().post("/api/v1/auth/login", &login).await.expect(200);
    owner
        .post(
            "/v1/members/invite",
            &json!({"email": "bob@example.com", "role": "viewer", "password": "long enough"}),
        )
        .await
        .expect(201);
    owner
        .try_send(reqwest::Method::DELETE, "/v1/members/bob@example.com", &[], &json!({}))
        .await
        .unwrap()
        .expect(200);
    owner.try_send(reqwest::Method::DELETE, &bound_path, &[], &json!({})).await.unwrap().expect(204);
    owner.post("/api/v1/ledger/keys", &json!({})).await.expect(201);
    owner.post("/api/v1/ledger/erasures", &json!({"agent": "spy"})).await.expect(201);
    assert!(server.terminate().success());
}

fn compare(home: &Home, code: i32) -> Value {
    let mut command = crate::command::command();
    command.args(["ledger", "rebuild", "--compare", "--format", "json", "--database", &home.database]);
    command.envs(home.master_key().map(|key| ("LICTOR_MASTER_KEY", key)));
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(code), "{said}{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&said).unwrap()
}

async fn every_row_is_compared(home: Home) {
    some_of_everything(&home).await;
    let compared = compare(&home, 0);
    assert_eq!(compared["payloads_read"], true);
    let ledger = &compared["ledgers"][0];
    assert!(ledger["differences"] == json!([]) && ledger["entries"].as_i64() > Some(330), "{compared}");
    // One row of each table changed by hand is named, and put back.
    let cases = [
        ("agents", "inactive", "UPDATE agents SET inactive = 'denied' WHERE agent_key = 'bot'"),
        ("agents", "revision", "UPDATE agents SET revision = revision + 1 WHERE agent_key = 'bot'"),
        ("agents", "profile", "UPDATE agents SET profile = '{}' WHERE agent_key = 'bot'"),
        ("agents", "account_id", "UPDATE agents SET account_id = NULL WHERE agent_key = 'bot'"),
        ("incidents", "hits", "UPDATE incidents SET hits = hits - 1"),
        ("incidents", "status", "UPDATE incidents SET status = 'ignored'"),
        ("incidents", "severity", "UPDATE incidents SET severity = 'critical'"),
        ("incidents", "is missing", "DELETE FROM incidents"),
        ("tasks", "steps", "UPDATE tasks SET steps = 2"),
        ("intents", "risk", "UPDATE intents SET risk = risk + 1"),
        ("api_keys", "revoked_at", "UPDATE api_keys SET revoked_at = NULL WHERE revoked_at IS NOT NULL"),
        ("api_keys", "account_id", "UPDATE api_keys SET account_id = org_id"),
        ("members", "role", "UPDATE members SET role = 'owner' WHERE role = 'member'"),
        ("members", "is missing", "DELETE FROM members WHERE role = 'member'"),
        ("policies", "mode", "UPDATE policies SET shadow = 1 WHERE name = 'limits'"),
        ("policies", "nothing in the ledger", "UPDATE policies SET enabled = 1 WHERE name = 'other'"),
        ("policy_sources", "digest", "UPDATE policy_sources SET source = replace(source, 'deny', 'warn')"),
        (
            "filling",
            "memories",
            "INSERT INTO filling (org_id, memories) SELECT org_id, '[[\"x\",[]]]' FROM orgs",
        ),
        (
            "payloads",
            "no erasure says so",
            "DELETE FROM payloads WHERE entry_id = (SELECT entry_id FROM entries WHERE seq = 40)",
        ),
        ("entries", "outcome", "UPDATE entries SET outcome = 'allow' WHERE outcome = 'deny'"),
        ("entries", "actor", "UPDATE entries SET actor = 'nobody' WHERE seq = 9"),
    ];
    for (table, what, sql) in cases {
        let keep = format!("CREATE TABLE kept AS SELECT * FROM {table}");
        home.meddle(&[&keep, sql]).await;
        let found = compare(&home, 1);
        let differences = found["ledgers"][0]["differences"].as_array().unwrap().clone();
        let is_named =
            differences.iter().any(|one| one["table"] == table && text(&one["what"]).contains(what));
        assert!(is_named, "{sql}: {found}");
        let others = differences.iter().filter(|one| one["table"] != table).count();
        // A policy whose text was changed is another than was put in force.
        assert!(others == 0 || table == "policy_sources", "{sql}: {found}");
        let (empty, back) =
            (format!("DELETE FROM {table}"), format!("INSERT INTO {table} SELECT * FROM kept"));
        home.meddle(&[&empty, &back, "DROP TABLE kept"]).await;
    }
    compare(&home, 0);
}

#[tokio::test]
async fn a_row_changed_by_hand_is_named() {
    every_row_is_compared(Home::on_files()).await;
}

#[tokio::test]
async fn a_row_changed_by_hand_is_named_on_postgres() {
    every_row_is_compared(Home::on_postgres().await).await;
}

#[tokio::test]
async fn a_chain_that_breaks_is_said_and_nothing_is_made_where_there_is_no_database() {
    let home = Home::on_files();
    some_of_everything(&home).await;
    let changed = home.replacing_in_entries("\"outcome\":\"deny\"", "\"outcome\":\"allow\"");
    assert!(home.meddle(&[&changed]).await > 0);
    let found = compare(&home, 1);
    assert!(text(&found["ledgers"][0]["differences"][0]["what"]).contains("the chain breaks"), "{found}");
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.db");
    lictor(["ledger", "rebuild", "--compare", "--database", &missing.display().to_string()]).expect(2);
    assert!(!missing.exists());
    lictor(["ledger", "rebuild", "--database", &home.database]).expect(2);
    let text = lictor(["ledger", "rebuild", "--compare", "--database", &home.database]).expect(1).stdout;
    assert!(text.contains("1 differences") && text.contains("entries"), "{text}");
}
