//! Others write to the file all the time, many at once: every caller gets an answer, and soon.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use lictor_server::db::Database;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, SqliteConnection};
use tokio::task::JoinSet;

use crate::answers::{Ask, Caller, recorded};
use crate::app::TestApp;
use crate::home::Home;

/// Who else writes.
const WRITERS: usize = 64;
/// Callers of the server.
const CALLERS: usize = 12;
/// What each of them asks.
const ASKS: usize = 12;
/// Within this time every caller has an answer.
const ANSWERED: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beside_a_storm_of_writers_every_caller_has_an_answer() {
    let app = TestApp::start_in(Home::on_files()).await;
    let caller = Caller::new(&app).await;
    app.home.meddle(&["CREATE TABLE others (number INTEGER)"]).await;
    let (calm, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        let options = SqliteConnectOptions::new().filename(&app.home.database).busy_timeout(Duration::ZERO);
        let (calm, written) = (Arc::clone(&calm), Arc::clone(&written));
        writers.spawn(async move {
            let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
            while !calm.load(Ordering::Relaxed) {
                // Whoever finds it locked tries again at once.
                let sql = "BEGIN IMMEDIATE; INSERT INTO others VALUES (1); COMMIT";
                if sqlx::raw_sql(sql).execute(&mut connection).await.is_ok() {
                    written.fetch_add(1, Ordering::Relaxed);
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            connection.close().await.unwrap();
        });
    }
    let mut callers = JoinSet::new();
    for number in 0..CALLERS {
        let caller = caller.clone();
        callers.spawn(async move {
            let mut all = Vec::new();
            for turn in 0..ASKS {
                let ask = [Ask::Decision, Ask::LogStep, Ask::Batch, Ask::Intent][turn % 4];
                all.push(caller.ask(ask, &format!("storm-{number}-{turn}"), 1).await);
            }
            all
        });
    }
    let (mut told, mut refused) = (Vec::new(), 0);
    while let Some(asked) = callers.join_next().await {
        for asked in asked.unwrap() {
            assert!(asked.took <= ANSWERED, "{asked:?}");
            refused += usize::from(asked.code.is_some());
            told.extend(asked.answered);
        }
    }
    calm.store(true, Ordering::Relaxed);
    while let Some(ended) = writers.join_next().await {
        ended.unwrap();
    }
    assert!(written.load(Ordering::Relaxed) > WRITERS as u64 && !told.is_empty());
    note(&format!(
        "{} others' writes, {} answers, {refused} refused",
        written.load(Ordering::Relaxed),
        told.len()
    ));
    let asked = caller.ask(Ask::Decision, "calm", 1).await;
    assert!(asked.allows);
    let home = app.stop().await;
    let database = Database::open(&home.database.parse().unwrap()).await.unwrap();
    recorded(&database, &told).await.unwrap();
    database.close().await;
}

#[expect(clippy::print_stderr, reason = "what was measured")]
fn note(text: &str) {
    eprintln!("{text}");
}
