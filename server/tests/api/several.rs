//! Several servers on one PostgreSQL are one system.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use lictor_server::Server;
use lictor_server::ledger::audit::{Audit, Finding};
use lictor_server::ledger::note::{Note, PublicKey};

use crate::app::{TestApp, answer, config, text};
use crate::home::Home;

/// Within this time a server knows what another did.
pub(crate) const KNOWN: Duration = Duration::from_secs(1);

/// Two servers on one database: the second sends what the first would.
pub(crate) async fn two() -> (TestApp, TestApp) {
    let home = Home::on_postgres().await;
    let second = home.same();
    let first = TestApp::start_in(home).await;
    let server = Server::start(&config(&second)).await.unwrap();
    assert!(server.credentials().is_none());
    (first, TestApp::over(server, second).await)
}

fn intent(amount: i64) -> Value {
    json!({"event": "intent", "agent": {"id": "bot"}, "action": "pay", "amount": amount})
}

async fn decide(app: &TestApp, amount: i64) -> Value {
    app.post("/api/v1/decisions", intent(amount)).await.expect(200)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_that_one_server_takes_decides_on_the_other_at_once() {
    let (first, second) = two().await;
    assert_eq!(decide(&second, 500).await["decision"], "allow");
    for round in 0..10 {
        let (one, other) = if round % 2 == 0 { (&first, &second) } else { (&second, &first) };
        let source = format!("policy p {{}}\nrule r on intent {{ when amount > {} deny }}", 100 + round);
        let made = match round {
            0 => one.post("/api/v1/policies", json!({"source": source})).await.expect(201),
            _ => {
                let request = one.request(Method::PUT, "/api/v1/policies/p", Some(&one.token));
                answer(request.json(&json!({"source": source}))).await.expect(200)
            }
        };
        // The ledger comes first: a decision after the change is by the changed set, whoever gives it.
        let denied = decide(other, 101 + round).await;
        assert_eq!((&denied["decision"], &denied["policy_set"]), (&json!("deny"), &made["policy_set"]));
        assert_eq!(decide(other, 100 + round).await["decision"], "allow");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_server_knows_the_other_knows_within_a_second() {
    let (first, second) = two().await;
    let agent = first.post("/api/v1/agents", json!({"agent_key": "billing"})).await.expect(201);
    let key = first.post("/api/v1/auth/api-keys", json!({"name": "k"})).await.expect(201);
    let policy = json!({"source": "policy p {}\nrule r on intent { when amount > 9 deny incident high }"});
    let policy = first.post("/api/v1/policies", policy).await.expect(201);
    let begun = Instant::now();
    loop {
        let found = second.get("/api/v1/agents/billing").await;
        let by_key = answer(second.request(Method::GET, "/api/v1/agents", Some(&text(&key["key"])))).await;
        let listed = second.get(&format!("/api/v1/policies/{}", text(&policy["id"]))).await;
        if found.status == 200 && by_key.status == 200 && listed.status == 200 {
            assert_eq!(found.body["agent_id"], agent["agent_id"]);
            break;
        }
        assert!(begun.elapsed() < KNOWN, "{found:?} {by_key:?} {listed:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    decide(&second, 10).await;
    let opened = second.get("/api/v1/incidents").await.expect(200)[0].clone();
    let path = format!("/api/v1/incidents/{}/acknowledge", text(&opened["incident_id"]));
    assert_eq!(first.post(&path, json!({})).await.expect(200)["status"], "acknowledged");
    // Hits on either side are folded into one.
    decide(&first, 10).await;
    decide(&second, 10).await;
    let folded = first.get("/api/v1/incidents").await.expect(200);
    assert_eq!((folded.as_array().unwrap().len(), &folded[0]["count"]), (1, &json!(3)));
    assert_eq!(folded[0]["status"], "acknowledged");

    let revoke = format!("/api/v1/auth/api-keys/{}", text(&key["id"]));
    first.send(Method::DELETE, &revoke, Some(&first.token), json!({})).await.expect(204);
    let begun = Instant::now();
    while answer(second.request(Method::GET, "/api/v1/agents", Some(&text(&key["key"])))).await.status != 401
    {
        assert!(begun.elapsed() < KNOWN, "a revoked key is still good");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_window_is_never_overrun_and_the_chain_is_one() {
    let (first, second) = two().await;
    let most = 40;
    let source = format!(
        "policy p {{}}\nrule many on intent {{ when count(intent per agent.id within 1h) >= {most} deny }}\n\
         rule steps on log {{ when count(log per task) >= 3 warn }}"
    );
    first.post("/api/v1/policies", json!({"source": source})).await.expect(201);
    let mut callers = Vec::new();
    for number in 0..8 {
        let app = if number % 2 == 0 { &first } else { &second };
        let (client, base, token) = (app.client.clone(), app.base.clone(), app.token.clone());
        callers.push(tokio::spawn(async move {
            let mut allowed = 0;
            for step in 0..15 {
                let url = format!("{base}/api/v1/decisions");
                let decided = answer(client.post(&url).bearer_auth(&token).json(&intent(1))).await.expect(200);
                allowed += usize::from(decided["decision"] == "allow");
                let log = json!({"agent_id": "bot", "task_id": "t", "node_type": "TOOL_CALL", "node_name": step.to_string()});
                answer(client.post(format!("{base}/api/v1/logs")).bearer_auth(&token).json(&log)).await.expect(201);
            }
            allowed
        }));
    }
    let mut allowed = 0;
    for caller in callers {
        allowed += caller.await.unwrap();
    }
    assert_eq!(allowed, most);
    let ledger = first.ledger().await;
    let hashes = |entry: &Value| (text(&entry["prev_hash"]), text(&entry["hash"]));
    for (number, pair) in ledger.windows(2).enumerate() {
        assert_eq!(pair[1]["seq"], number + 1);
        assert_eq!(hashes(&pair[0]).1, hashes(&pair[1]).0);
    }
    let steps =
        ledger.iter().filter(|entry| entry["kind"] == "log").map(|entry| entry["record"]["step"].as_i64());
    assert_eq!(steps.map(Option::unwrap).collect::<Vec<_>>(), (1..=120).collect::<Vec<_>>());
    // A third server remembers the same from the ledger alone.
    let home = first.home.same();
    let third = TestApp::over(Server::start(&config(&home)).await.unwrap(), home).await;
    assert_eq!(decide(&third, 1).await["decision"], "deny");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_and_orgs_that_one_server_makes_are_served_by_the_other() {
    let (first, second) = two().await;
    let made = first.post("/api/v1/auth/api-keys", json!({"name": "k"})).await.expect(201);
    let (old, path) = (text(&made["key"]), format!("/api/v1/auth/api-keys/{}/rotate", text(&made["id"])));
    let token = first.member("ann@example.com", "viewer").await;
    // Roles are read at each call: there is nothing to wait for.
    answer(second.request(Method::GET, "/api/v1/policies", Some(&token))).await.expect(200);
    first.post("/v1/members/role", json!({"email": "ann@example.com", "role": "admin"})).await.expect(200);
    let invited = json!({"email": "bob@example.com", "role": "viewer", "password": "long enough"});
    second.send(Method::POST, "/v1/members/invite", Some(&token), invited).await.expect(201);
    let rotated = text(&first.post(&path, json!({})).await.expect(200)["key"]);
    let other = first.org("Other").await;
    let begun = Instant::now();
    loop {
        let by = |credential: &str, path: &str| answer(second.request(Method::GET, path, Some(credential)));
        let statuses = [
            by(&old, "/api/v1/agents").await.status.as_u16(),
            by(&rotated, "/api/v1/agents").await.status.as_u16(),
            by(&other.token, "/api/v1/policies/base").await.status.as_u16(),
        ];
        if statuses == [401, 200, 200] {
            break;
        }
        assert!(begun.elapsed() < KNOWN, "{statuses:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Both write the new org's ledger.
    for (number, app) in [&first, &second, &first].into_iter().enumerate() {
        let event = json!({"event": "intent", "agent": {"id": "theirs"}, "action": "x"});
        let decided =
            app.send(Method::POST, "/api/v1/decisions", Some(&other.token), event).await.expect(200);
        assert_eq!(decided["decision"], "allow", "{number}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn servers_that_sign_at_once_sign_one_history() {
    let (first, second) = two().await;
    let mut notes = Vec::new();
    for round in 0..6 {
        decide(if round % 2 == 0 { &first } else { &second }, 1).await;
        let last = first.head().await.0;
        let path = format!("/api/v1/ledger/proof/inclusion?seq={last}");
        // Both are asked past the last checkpoint: one signs, the other finds it signed.
        let (one, other) = tokio::join!(first.get(&path), second.get(&path));
        let (one, other) = (one.expect(200), other.expect(200));
        assert_eq!((&one["root"], &one["checkpoint"]), (&other["root"], &other["checkpoint"]));
        notes.push(Note::parse(&text(&one["checkpoint"])).unwrap());
        if round == 3 {
            second.post("/api/v1/ledger/keys", json!({})).await.expect(201);
        }
    }
    let listed = first.get("/api/v1/ledger/keys").await.expect(200);
    let keys: Vec<_> =
        listed.as_array().unwrap().iter().map(|key| PublicKey::parse(&text(&key["key"])).unwrap()).collect();
    assert_eq!(keys.len(), 2);
    let export =
        second.request(Method::GET, "/api/v1/ledger/export", Some(&second.token)).send().await.unwrap();
    let mut audit = Audit::new(&keys, &notes);
    audit.read(export.text().await.unwrap().as_bytes(), || {}).unwrap();
    assert_eq!(audit.finish().finding, Finding::Ok);
}
