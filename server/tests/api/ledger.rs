//! The ledger: dense, chained, the same after a restart.

use std::sync::Arc;

use lictor_server::canonical::Object;
use lictor_server::clock::{Clock, SystemClock};
use lictor_server::db::{Batch, Database, Store, StoreError, Turn};
use lictor_server::ledger::{Entry, Head, Index, Record, Verified, append, verify};
use lictor_server::vault::Sealed;
use serde_json::json;
use uuid::Uuid;

use crate::app::{TestApp, config};
use lictor_server::{ServeError, Server};

async fn some_traffic(app: &TestApp) {
    let event = json!({"event": "intent", "agent": {"id": "bot"}, "action": "x", "amount": 1});
    for size in [1, 40, 3] {
        app.post("/api/v1/decisions", json!({"events": vec![event.clone(); size]})).await.expect(200);
    }
    app.post("/api/v1/logs", json!({"agent_id": "bot", "task_id": "t", "node_type": "TOOL_CALL"}))
        .await
        .expect(201);
}

#[tokio::test]
async fn the_ledger_survives_a_restart_and_verifies() {
    let app = TestApp::start().await;
    some_traffic(&app).await;
    let before = app.ledger().await;
    let app = app.restart().await;
    assert_eq!(app.ledger().await, before);
    some_traffic(&app).await;
    let after = app.ledger().await;
    assert_eq!(&after[..before.len()], before.as_slice());
    let seqs: Vec<_> = after.iter().map(|entry| entry["seq"].as_i64().unwrap()).collect();
    assert_eq!(seqs, (0..after.len() as i64).collect::<Vec<_>>());
    let (database, org) = (
        Database::open(&app.home.database.parse().unwrap()).await.unwrap(),
        Uuid::parse_str(&app.org).unwrap(),
    );
    let stored = database.stored_entries(org, -1, 1_000).await.unwrap();
    assert_eq!(stored.len(), after.len());
    assert!(matches!(verify(Head::EMPTY, stored), Verified::Ok(head) if head.next_seq == after.len() as i64));
}

#[tokio::test]
async fn a_batch_of_any_size_is_written_whole_or_not_at_all() {
    let app = TestApp::start().await;
    let org = Uuid::parse_str(&app.org).unwrap();
    let home = app.stop().await;
    let database = Database::open(&home.database.parse().unwrap()).await.unwrap();
    let mut head = database.head(org).await.unwrap();
    for (entries, payloads) in [(1, 0), (1, 1), (64, 0), (64, 64), (65, 1), (65, 65), (128, 100), (512, 512)]
    {
        let batch = |before: Head| {
            let mut after = before;
            let record = || Record {
                id: Uuid::now_v7(),
                index: Index {
                    kind: "intent",
                    source: "/test",
                    actor: "test".to_owned(),
                    ..Index::default()
                },
                content: Object::new(),
                step: None,
            };
            let append_one = |_| {
                let at_us = after.at_us + 1;
                append(&mut after, org, at_us, record()).0
            };
            let entries: Vec<_> = (0..entries).map(append_one).collect();
            let sealed = |entry: &Entry| {
                (entry.id, Sealed { digest: [0; 32], wrapped_key: vec![1], ciphertext: vec![2, 3] })
            };
            let payloads = entries.iter().rev().take(payloads).map(sealed).collect();
            Batch { org, before, after, entries, payloads, changes: Vec::new() }
        };
        // Somebody else moved the ledger, and left room for the entries.
        let stale = batch(Head { next_seq: head.next_seq + 1_000, ..head });
        let ids: Vec<_> = stale.entries.iter().map(|entry| entry.id).collect();
        let refused = database.commit(Turn::alone(), stale).await;
        assert!(matches!(refused, Err(StoreError::HeadMoved)), "{entries}, {payloads}: {refused:?}");
        assert_eq!(database.head(org).await.unwrap(), head);
        assert_eq!(database.stored_entries(org, head.next_seq - 1, 1).await.unwrap().len(), 0);
        assert!(database.payload(org, ids[ids.len() - 1]).await.unwrap().is_none());

        let good = batch(head);
        (head, _) = (good.after, database.commit(Turn::alone(), good.clone()).await.unwrap());
        assert_eq!(database.head(org).await.unwrap(), head);
        let stored = database.stored_entries(org, good.before.next_seq - 1, 1_000).await.unwrap();
        assert!(matches!(verify(good.before, stored), Verified::Ok(end) if end == head));
        for (place, entry) in good.entries.iter().rev().enumerate() {
            let payload = database.payload(org, entry.id).await.unwrap();
            assert_eq!(payload.is_some(), place < payloads, "{place} of {entries}, {payloads}");
        }
    }
    database.close().await;
}

#[tokio::test]
async fn a_server_does_not_go_on_from_a_ledger_that_was_changed() {
    let app = TestApp::start().await;
    some_traffic(&app).await;
    let home = app.stop().await;
    let sql = home.replacing_in_entries("\"outcome\":\"allow\"", "\"outcome\":\"deny\"");
    assert!(home.meddle(&[&sql]).await > 0);
    assert!(matches!(Server::start(&config(&home)).await, Err(ServeError::Load(_))));
}

/// A clock that stands still, or jumps back.
#[derive(Debug)]
struct Stopped;

impl Clock for Stopped {
    fn now_us(&self) -> i64 {
        1_000_000
    }
}

#[tokio::test]
async fn ledger_time_moves_on_when_the_clock_goes_back() {
    let app = TestApp::start().await;
    some_traffic(&app).await;
    let before = app.head().await.0;
    let home = app.stop().await;
    let server = Server::start_at(&config(&home), Arc::new(Stopped)).await.unwrap();
    let app = TestApp::over(server, home).await;
    some_traffic(&app).await;
    assert!(app.head().await.0 > before);
    let org = Uuid::parse_str(&app.org).unwrap();
    let stored = Database::open(&app.home.database.parse().unwrap())
        .await
        .unwrap()
        .stored_entries(org, -1, 1_000)
        .await
        .unwrap();
    assert!(
        matches!(verify(Head::EMPTY, stored), Verified::Ok(head) if head.at_us < SystemClock::new().now_us() + 1)
    );
}
