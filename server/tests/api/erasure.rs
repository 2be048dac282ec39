//! Content that is erased: gone from every table, while every entry, hash and proof stays.

use lictor_server::Server;
use lictor_server::db::Database;
use lictor_server::ledger::audit::{Audit, Finding};
use lictor_server::ledger::note::{Note, PublicKey};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::{TestApp, answer, config, text};
use crate::home::Home;

/// What must be gone.
const CANARY: &str = "canary-7f3a91";

/// Its incident, memories and registration all hold what agents say.
const POLICY: &str = "policy watch {}
default on intent allow
rule paid on intent { when currency like \"canary*\" warn incident high per currency title \"paid in {currency}\" }
rule twice on intent { when count(intent where amount > 1 per agent.id within 1h) >= 2 require approval from \"ops\" }
rule again on intent { when last(intent.currency per agent.id) == currency score +0.1 }
rule known on registration { when agent.purpose? like \"canary*\" deny because \"no {agent.purpose}\" }";

fn intent(agent: &str, currency: &str) -> Value {
    json!({"event": "intent", "agent": {"id": agent}, "action": "pay", "amount": 5, "currency": currency,
           "payload": {"note": CANARY}})
}

async fn decide(app: &TestApp, agent: &str, currency: &str) -> Value {
    app.post("/api/v1/decisions", intent(agent, currency)).await.expect(200)
}

/// What would be decided of an agent now.
async fn asked(app: &TestApp, agent: &str) -> Value {
    let mut event = intent(agent, "EUR");
    event["dry_run"] = json!(true);
    let decided = app.post("/api/v1/decisions", event).await.expect(200);
    let rules = decided["rules"].as_array().unwrap().iter();
    let rules = rules.map(|rule| json!([rule["rule"], rule["truth"]])).collect::<Vec<_>>();
    json!([decided["decision"], decided["risk"], rules])
}

async fn erase(app: &TestApp, body: Value) -> Value {
    app.post("/api/v1/ledger/erasures", body).await.expect(201)
}

/// A server on which two agents did the same, one of them about the canary.
async fn some_traffic() -> (TestApp, String) {
    let app = TestApp::start().await;
    app.post("/api/v1/policies", json!({"source": POLICY})).await.expect(201);
    let key = app.key().await;
    let body =
        json!({"agent_key": "subject", "description": CANARY, "purpose": CANARY, "metadata": {"of": CANARY}});
    let agent = app.send(Method::POST, "/api/v1/agents", Some(&key), body).await.expect(201);
    assert_eq!(agent["is_active"], false, "{agent}");
    let body = json!({"agent_key": "subject", "description": CANARY, "metadata": {"of": CANARY}});
    app.send(Method::POST, "/api/v1/agents", Some(&key), body).await.expect(200);
    app.agent(&key, "bystander").await;
    for _ in 0..3 {
        decide(&app, "subject", CANARY).await;
        decide(&app, "bystander", "EUR").await;
    }
    let step = json!({"agent_id": "subject", "task_id": "t", "node_type": "TOOL_CALL", "properties": {"of": CANARY}});
    app.send(Method::POST, "/api/v1/logs", Some(&key), step).await.expect(201);
    // A restart from a snapshot, so that there is one.
    (app.restart().await, key)
}

/// A checkpoint of all that is there.
async fn sign(app: &TestApp) -> Note {
    let path = format!("/api/v1/ledger/proof/inclusion?seq={}", app.head().await.0);
    Note::parse(&text(&app.get(&path).await.expect(200)["checkpoint"])).unwrap()
}

async fn audited(app: &TestApp, notes: &[Note]) -> Finding {
    let listed = app.get("/api/v1/ledger/keys").await.expect(200);
    let keys = listed.as_array().unwrap().iter().map(|key| PublicKey::parse(&text(&key["key"])).unwrap());
    let export = app.request(Method::GET, "/api/v1/ledger/export", Some(&app.token)).send().await.unwrap();
    let mut audit = Audit::new(&keys.collect::<Vec<_>>(), notes);
    audit.read(export.text().await.unwrap().as_bytes(), || {}).unwrap();
    audit.finish().finding
}

async fn holds_the_canary(home: &Home) -> bool {
    home.dump().await.windows(CANARY.len()).any(|bytes| bytes == CANARY.as_bytes())
}

async fn payloads(app: &TestApp, ledger: &[Value]) -> Vec<bool> {
    let database = Database::open(&app.home.database.parse().unwrap()).await.unwrap();
    let org: Uuid = app.org.parse().unwrap();
    let mut there = Vec::new();
    for entry in ledger {
        let id = text(&entry["entry_id"]).parse().unwrap();
        there.push(database.payload(org, id).await.unwrap().is_some());
    }
    database.close().await;
    there
}

#[tokio::test]
async fn what_is_erased_is_gone_everywhere_and_every_proof_stays() {
    let (app, key) = some_traffic().await;
    let (before, signed) = (app.ledger().await, sign(&app).await);
    let subject = text(&app.get("/api/v1/agents/subject").await.expect(200)["agent_id"]);
    let of_subject = |entry: &Value| entry["agent_id"] == json!(subject) && !entry["outcome"].is_null();
    let count = before.iter().filter(|entry| of_subject(entry)).count();
    assert!(holds_the_canary(&app.home).await, "nothing would be tested");
    let erased = erase(&app, json!({"agent": "subject"})).await;
    let seq = erased["seq"].as_i64().unwrap();
    assert_eq!(erased, json!({"seq": before.len(), "entries": count, "incidents": 1, "agents": 1}));

    // The entry names what and by whom, and nothing that was in it.
    let after = app.ledger().await;
    assert_eq!(&after[..before.len()], before.as_slice(), "no entry changes");
    let entry = &after[before.len()];
    assert_eq!(
        (&entry["kind"], &entry["record"]["subject"]),
        (&json!("erasure"), &json!({"agent": subject}))
    );
    assert!(text(&entry["actor"]).starts_with("user:") && !entry.to_string().contains(CANARY));
    // Content of nobody else went.
    let there = payloads(&app, &before).await;
    for (entry, there) in before.iter().zip(there) {
        assert_eq!(there, !entry["outcome"].is_null() && !of_subject(entry), "{entry}");
    }
    let incidents = app.get("/api/v1/incidents").await.expect(200);
    assert_eq!((&incidents[0]["title"], &incidents[0]["key"]), (&json!("erased"), &json!([])));
    assert_eq!(incidents[0]["count"], 3);
    let agent = app.get("/api/v1/agents/subject").await.expect(200);
    assert!(agent["description"].is_null() && agent["metadata"].is_null(), "{agent}");
    // Nothing is left to erase.
    let nothing = json!({"seq": null, "entries": 0, "incidents": 0, "agents": 0});
    assert_eq!(erase(&app, json!({"agent": "subject"})).await, nothing);

    // What rules ask of it is unknown, so that restrictions apply; of others all is known.
    let (of_subject, of_other) = (asked(&app, "subject").await, asked(&app, "bystander").await);
    assert_eq!(of_subject[0], "require_approval", "{of_subject}");
    assert!(of_subject.to_string().contains(r#"["watch.twice","unknown"]"#), "{of_subject}");
    assert!(of_other.to_string().contains(r#"["watch.again","true"]"#), "{of_other}");
    // A hit with the same key opens an incident of its own: the old one has none any more.
    app.agent(&key, "third").await;
    let paid = app.send(Method::POST, "/api/v1/decisions", Some(&key), intent("third", "canary-other")).await;
    assert_eq!(paid.expect(200)["decision"], "warn");
    assert_eq!(app.get("/api/v1/incidents").await.expect(200).as_array().unwrap().len(), 2);

    let notes = [signed, sign(&app).await];
    assert_eq!(audited(&app, &notes).await, Finding::Ok);
    let from = Note::parse(&notes[0].to_string()).unwrap().text.lines().nth(1).unwrap().to_owned();
    let path = format!("/api/v1/ledger/proof/consistency?from={from}&to={}", seq + 1);
    app.get(&path).await.expect(200);

    // The same after a restart, which has nothing but the ledger to remember from.
    let home = app.stop().await;
    if !home.is_on_postgres() {
        home.meddle(&["VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"]).await;
    }
    assert!(!holds_the_canary(&home).await);
    let app = TestApp::start_in(home).await;
    assert_eq!((asked(&app, "subject").await, asked(&app, "bystander").await), (of_subject, of_other));
    assert_eq!(audited(&app, &notes).await, Finding::Ok);
    assert!(!holds_the_canary(&app.home).await);
}

#[tokio::test]
async fn content_is_erased_by_entry_by_task_and_by_who_sent_it() {
    let (app, key) = some_traffic().await;
    let ledger = app.ledger().await;
    let last = |kind: &str| ledger.iter().rev().find(|entry| entry["kind"] == kind).unwrap();
    let one = text(&last("intent")["entry_id"]);
    assert_eq!(erase(&app, json!({"events": [one, one]})).await["entries"], 1);
    assert_eq!(erase(&app, json!({"task": "t"})).await["entries"], 1);
    assert_eq!(erase(&app, json!({"task": "T"})).await["entries"], 0);
    let actor = text(&last("log")["actor"]);
    assert!(actor.starts_with("key:"));
    let erased = erase(&app, json!({"actor": actor})).await;
    // Two registrations of one agent, and one of the other; the step of the task has gone already.
    assert_eq!((&erased["entries"], &erased["agents"]), (&json!(3), &json!(2)), "{erased}");
    // What was said about an agent since its registration was erased stays.
    let described = json!({"agent_key": "subject", "description": "new"});
    app.send(Method::POST, "/api/v1/agents", Some(&key), described).await.expect(200);
    let first = text(&ledger.iter().find(|entry| entry["kind"] == "registration").unwrap()["entry_id"]);
    assert_eq!(erase(&app, json!({"events": [first]})).await["agents"], 0);
    assert_eq!(app.get("/api/v1/agents/subject").await.expect(200)["description"], "new");
    let app = app.restart().await;
    assert_eq!(asked(&app, "bystander").await[0], "require_approval");

    for (body, status, field) in [
        (json!({}), 400, ""),
        (json!({"events": []}), 400, "events"),
        (json!({"events": vec![one.clone(); 501]}), 400, "events"),
        (json!({"events": ["x"]}), 400, "events.0"),
        (json!({"task": "t", "actor": "a"}), 400, "task"),
        (json!({"tasks": "t"}), 400, "tasks"),
        (json!({"agent": "nobody"}), 404, ""),
        (json!({"events": [app.org]}), 404, ""),
    ] {
        app.post("/api/v1/ledger/erasures", body).await.expect_problem(status, field);
    }
}

#[tokio::test]
async fn content_that_is_missing_without_an_erasure_is_a_fault() {
    let (app, _) = some_traffic().await;
    let home = app.stop().await;
    assert!(home.meddle(&["DELETE FROM memory_snapshots", "DELETE FROM payloads"]).await > 0);
    let error = Server::start(&config(&home)).await.map(|_| ()).unwrap_err();
    let chain = format!("{error} {error:?}");
    assert!(chain.contains("no erasure says so"), "{chain}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn decisions_go_on_while_content_is_erased() {
    let (app, _) = some_traffic().await;
    let (client, base, token) = (app.client.clone(), app.base.clone(), app.token.clone());
    let load = tokio::spawn(async move {
        for _ in 0..60 {
            let request = client.post(format!("{base}/api/v1/decisions")).bearer_auth(&token);
            answer(request.json(&intent("bystander", "EUR"))).await.expect(200);
        }
    });
    let mut entries = 0;
    while !load.is_finished() {
        entries += erase(&app, json!({"agent": "bystander"})).await["entries"].as_i64().unwrap();
    }
    load.await.unwrap();
    entries += erase(&app, json!({"agent": "bystander"})).await["entries"].as_i64().unwrap();
    // Its registration, three intents before, and those that came meanwhile.
    assert_eq!(entries, 64);
    let live = asked(&app, "bystander").await;
    let app = app.restart().await;
    assert_eq!(asked(&app, "bystander").await, live);
}

/// A snapshot of a ledger that was wound back and went on otherwise is not used, though it is whole and of as many entries.
#[tokio::test]
async fn a_snapshot_of_another_ledger_is_not_used() {
    let app = TestApp::start().await;
    let source = "policy p {}\nrule third on intent { when count(intent per agent.id within 1h) >= 2 deny }";
    app.post("/api/v1/policies", json!({"source": source})).await.expect(201);
    let decide = async |app: &TestApp, agent: &str| {
        let event = json!({"event": "intent", "agent": {"id": agent}, "action": "x"});
        text(&app.post("/api/v1/decisions", event).await.expect(200)["decision"])
    };
    for agent in ["one", "other", "one"] {
        assert_eq!(decide(&app, agent).await, "allow");
    }
    // Of registrations of those that were only seen, and of intents, the last entry.
    let (last, _) = app.head().await;
    let home = app.stop().await;
    let back = [
        "CREATE TABLE kept AS SELECT * FROM memory_snapshots".to_owned(),
        format!("DELETE FROM payloads WHERE entry_id IN (SELECT entry_id FROM entries WHERE seq = {last})"),
        format!("DELETE FROM entries WHERE seq = {last}"),
        "DELETE FROM ledger_checkpoints".to_owned(),
        format!(
            "UPDATE heads SET next_seq = {last}, hash = (SELECT hash FROM entries WHERE seq = {0}),
                 at = (SELECT at FROM entries WHERE seq = {0})",
            last - 1
        ),
    ];
    home.meddle(&back.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let app = TestApp::start_in(home).await;
    assert_eq!(decide(&app, "other").await, "allow");
    assert_eq!(app.head().await.0, last);
    let home = app.stop().await;
    let forged = ["DELETE FROM memory_snapshots", "INSERT INTO memory_snapshots SELECT * FROM kept"];
    assert!(home.meddle(&forged).await > 0);
    let app = TestApp::start_in(home).await;
    assert_eq!((decide(&app, "one").await.as_str(), decide(&app, "other").await.as_str()), ("allow", "deny"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_server_erases_the_others_forget() {
    let home = Home::on_postgres().await;
    let second = home.same();
    let first = TestApp::start_in(home).await;
    let second = TestApp::over(Server::start(&config(&second)).await.unwrap(), second).await;
    first.post("/api/v1/policies", json!({"source": POLICY})).await.expect(201);
    let truths = |decided: &Value| {
        let rules = decided["rules"].as_array().unwrap().iter();
        rules.map(|rule| json!([rule["rule"], rule["truth"]])).collect::<Vec<_>>()
    };
    for app in [&first, &second, &first] {
        decide(app, "subject", CANARY).await;
        decide(app, "bystander", CANARY).await;
    }
    let certain = decide(&second, "bystander", CANARY).await;
    assert_eq!(truths(&decide(&second, "subject", CANARY).await), truths(&certain));
    erase(&first, json!({"agent": "subject"})).await;
    // The first decision of the other server after that rests on nothing that was erased.
    let decided = decide(&second, "subject", CANARY).await;
    assert!(truths(&decided).contains(&json!(["watch.twice", "unknown"])), "{decided}");
    assert!(truths(&decide(&second, "bystander", CANARY).await).contains(&json!(["watch.twice", "true"])));
    let decided = decide(&first, "subject", CANARY).await;
    assert!(truths(&decided).contains(&json!(["watch.twice", "unknown"])), "{decided}");
    // A policy whose memories the other server fills now is filled without it.
    let source = "policy more {}\nrule large on intent { when count(attempted intent where amount > 4 per agent.id within 2h) >= 6 deny }";
    let made = second.post("/api/v1/policies", json!({"source": source})).await.expect(201);
    assert_eq!(made["state"], "live", "{made}");
    for app in [&first, &second] {
        let decided = decide(app, "subject", CANARY).await;
        assert!(truths(&decided).contains(&json!(["more.large", "unknown"])), "{decided}");
    }
}

#[tokio::test]
async fn a_snapshot_from_before_an_erasure_is_not_used() {
    let (app, _) = some_traffic().await;
    let home = app.stop().await;
    home.meddle(&["CREATE TABLE kept AS SELECT * FROM memory_snapshots"]).await;
    let app = TestApp::start_in(home).await;
    let before = asked(&app, "subject").await;
    erase(&app, json!({"agent": "subject"})).await;
    let live = asked(&app, "subject").await;
    assert_ne!(live, before);
    let home = app.stop().await;
    let forged = ["DELETE FROM memory_snapshots", "INSERT INTO memory_snapshots SELECT * FROM kept"];
    assert!(home.meddle(&forged).await > 0);
    let app = TestApp::start_in(home).await;
    assert_eq!(asked(&app, "subject").await, live);
}

/// An answer that was kept for a request that may come again holds what was decided, so it goes as well.
#[tokio::test]
async fn answers_that_were_kept_go_with_what_they_tell_of() {
    let (app, _) = some_traffic().await;
    let send = async |key: &str, agent: &str| {
        let request = app.request(Method::POST, "/api/v1/decisions", Some(&app.token));
        let request = request.header("idempotency-key", key).json(&intent(agent, CANARY));
        text(&answer(request).await.expect(200)["decision_id"])
    };
    let (one, other) = (send("one", "subject").await, send("other", "bystander").await);
    assert_eq!(
        (send("one", "subject").await, send("other", "bystander").await),
        (one.clone(), other.clone())
    );
    erase(&app, json!({"agent": "subject"})).await;
    assert_ne!(send("one", "subject").await, one);
    assert_eq!(send("other", "bystander").await, other);
}

#[tokio::test]
async fn no_answer_that_quotes_it_is_repeated() {
    let (app, key) = some_traffic().await;
    let incident = text(&app.get("/api/v1/incidents").await.expect(200)[0]["incident_id"]);
    let paths = [
        (format!("/api/v1/incidents/{incident}/acknowledge"), &app.token, json!({})),
        ("/api/v1/decisions".to_owned(), &key, intent("subject", CANARY)),
    ];
    for (path, credential, body) in &paths {
        let ask =
            || app.request(Method::POST, path, Some(credential)).header("idempotency-key", "k").json(body);
        let said = ask().send().await.unwrap().text().await.unwrap();
        assert!(said.contains("watch.paid"), "{said}");
        let again = ask().send().await.unwrap();
        assert_eq!(again.headers()["idempotency-replayed"], "true");
    }
    erase(&app, json!({"agent": "subject"})).await;
    let (path, credential, body) = &paths[0];
    let again = app.request(Method::POST, path, Some(credential)).header("idempotency-key", "k").json(body);
    let again = again.send().await.unwrap();
    assert!(!again.headers().contains_key("idempotency-replayed"));
    let said = again.text().await.unwrap();
    assert!(!said.contains(CANARY), "{said}");
}
