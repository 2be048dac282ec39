//! Content that is erased while a server is at work: no file has it, and judging the ledger again says what is gone.

use std::fs::{self, File};
use std::time::Duration;

use serde_json::{Value, json};

use crate::command::{file, lictor};
use crate::durability::{Caller, load_edited_every, note};
use crate::home::Home;
use crate::replay;
use crate::running::{Server, serve, text};

/// What must be gone.
const CANARY: &str = "canary-51c0de";

fn holds_the_canary(bytes: &[u8]) -> bool {
    bytes.windows(CANARY.len()).any(|some| some == CANARY.as_bytes())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn judging_again_says_what_was_erased_and_all_else_is_the_same() {
    let home = Home::on_files();
    let mut server = Server::start(&home);
    let caller = Caller::new(&server).await;
    let owner = server.owner().await;
    // To judge again takes as long for each edit as for all events before it.
    let load = load_edited_every(Duration::from_millis(400), &server, &caller).await;
    load.at_least(80).await;
    // Every other event so far, the latest ones first, and a whole task.
    let mut judged: Vec<_> = Vec::new();
    let mut after = -1;
    loop {
        let page = owner.get(&format!("/api/v1/ledger?limit=1000&after={after}")).await.expect(200);
        let Some(last) = page.as_array().unwrap().last() else { break };
        after = last["seq"].as_i64().unwrap();
        let events = page.as_array().unwrap().iter().filter(|entry| !entry["outcome"].is_null());
        judged.extend(events.map(|entry| text(&entry["entry_id"])));
    }
    let some: Vec<_> = judged.iter().rev().step_by(2).take(200).collect();
    let erased = owner.post("/api/v1/ledger/erasures", &json!({"events": some})).await.expect(201);
    assert_eq!(erased["entries"], some.len());
    let of_task = owner.post("/api/v1/ledger/erasures", &json!({"task": "t-8"})).await.expect(201);
    let count = |erased: &Value| erased["entries"].as_u64().unwrap() as usize;
    assert!(count(&of_task) > 0, "{of_task}");
    let answered = load.answered();
    load.at_least(answered + 60).await;
    server.kill();
    load.ended().await;
    // What was remembered when it ended is what the ledger alone gives.
    let mut server = Server::start(&home);
    server.healthy().await;
    assert!(server.terminate().success());
    let replayed = replay::same_decisions(&home, &caller.org).await;
    assert_eq!(replayed.erased, count(&erased) + count(&of_task));
    assert!(replayed.same > replayed.rest_on_erased, "{replayed:?}");
    note(&format!("{replayed:?}"));
    let arguments = ["ledger", "rebuild", "--compare", "--database", &home.database, "--format", "json"];
    let compared = lictor(arguments).expect(0).json();
    assert_eq!(
        (&compared["ledgers"][0]["differences"], &compared["payloads_read"]),
        (&json!([]), &json!(true))
    );
}

#[tokio::test]
async fn neither_a_file_nor_a_backup_nor_a_log_has_what_was_erased() {
    let home = Home::on_files();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let mut command = serve(&home);
    command.env("LICTOR_LOG", "debug").stderr(File::create(&log).unwrap());
    let mut server = Server::start_by(command);
    let owner = server.owner().await;
    let source = "policy watch {}\ndefault on intent allow\n\
                  rule paid on intent { when amount > 1 warn incident high per currency title \"in {currency}\" }";
    owner.post("/api/v1/policies", &json!({"source": source})).await.expect(201);
    let key = owner.key().await;
    let event = json!({"event": "intent", "agent": {"id": "bot"}, "action": "pay", "amount": 5, "task": "t",
                       "currency": CANARY, "payload": {"to": CANARY}});
    for _ in 0..20 {
        owner.with(&key).post("/api/v1/decisions", &event).await.expect(200);
    }
    let last = owner.get("/api/v1/ledger?limit=1000").await.expect(200).as_array().unwrap().len() - 1;
    let proof = format!("/api/v1/ledger/proof/inclusion?seq={last}");
    let before = owner.get(&proof).await.expect(200);
    let (kept, trusted) = (
        file(folder.path(), "checkpoint", &text(&before["checkpoint"])),
        text(&owner.get("/api/v1/ledger/keys").await.expect(200)[0]["key"]),
    );
    assert_eq!(owner.post("/api/v1/ledger/erasures", &json!({"task": "t"})).await.expect(201)["entries"], 20);
    let after = owner.get(&format!("{proof}&size={}", last + 1)).await.expect(200);
    assert_eq!((&after["root"], &after["proof"]), (&before["root"], &before["proof"]));
    // A copy has nothing that was deleted, and a database made of it neither.
    let backup = folder.path().join("backup.db").display().to_string();
    lictor(["backup", &backup, "--database", &home.database]).expect(0);
    assert!(!holds_the_canary(&fs::read(&backup).unwrap()));
    assert!(server.terminate().success());
    let log = fs::read(&log).unwrap();
    assert!(!log.is_empty() && !holds_the_canary(&log), "{}", String::from_utf8_lossy(&log));
    let restored = Home::on_files();
    lictor(["restore", &backup, "--database", &restored.database]).expect(0);
    fs::copy(format!("{}.key", home.database), format!("{}.key", restored.database)).unwrap();
    let server = Server::start(&restored);
    let incidents = server.owner().await.get("/api/v1/incidents").await.expect(200);
    assert_eq!((&incidents[0]["title"], &incidents[0]["count"]), (&json!("erased"), &json!(20)));
    drop(server);
    assert!(!holds_the_canary(&restored.dump().await));
    // Who kept a checkpoint from before verifies all of it.
    let export = folder.path().join("export").display().to_string();
    lictor(["ledger", "export", "--database", &restored.database, "--output", &export]).expect(0);
    lictor(["ledger", "verify", &export, "--key", &trusted, "--checkpoint", &kept]).expect(0);
}
