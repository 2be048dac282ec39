//! The database is gone, in every way that it can be: no caller is allowed anything, all are told soon, and so is whoever
//! asks how the server is; once it is back, the server decides again by itself.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, SqliteConnection};

use crate::answers::{Answered, Ask, Asked, Caller, DECIDING, recorded};
use crate::app::TestApp;
use crate::disk::{Call, Disk, Fault, Wrong};
use crate::home::Home;
use crate::on_disk::{RECOVERED, check, ready, start};
use lictor_server::db::Database;

/// Within this time every caller has an answer; in a debug build on a busy machine, within one second more.
const ANSWERED: Duration = Duration::from_secs(if cfg!(debug_assertions) { 3 } else { 2 });
/// How long somebody else holds the lock, in seconds, unless `LICTOR_LOCKED_S` says otherwise.
const LOCKED_S: u64 = 4;
/// Callers of each kind that ask at the same time.
const TOGETHER: usize = 3;

/// Asks all that decides, several at a time: nobody is allowed anything, and nobody waits for long.
async fn expect_none(caller: &Caller, asks: &[Ask], gone: &str) {
    let all = asks.iter().flat_map(|ask| (0..TOGETHER).map(move |number| (*ask, number)));
    let asked =
        all.map(
            |(ask, number)| async move { (ask, caller.ask(ask, &format!("gone-{number}-{ask:?}"), 1).await) },
        );
    for (ask, Asked { answered, code, allows, took }) in join_all(asked).await {
        assert!(!allows && answered.is_empty(), "{gone}: {ask:?} is answered: {answered:?}");
        assert!(code.is_some(), "{gone}: {ask:?} is answered");
        assert!(took <= ANSWERED, "{gone}: {ask:?} took {took:?}");
    }
}

/// Whoever asks how the server is hears soon that it can't decide.
async fn expect_not_ready(app: &TestApp, gone: &str) {
    let begun = Instant::now();
    let health = app.get("/ready").await;
    assert_eq!(health.status, 503, "{gone}: {health:?}");
    assert!(begun.elapsed() <= ANSWERED, "{gone}: {:?}", begun.elapsed());
}

/// It decides again: what it answers.
async fn expect_back(caller: &Caller, gone: &str) -> Vec<Answered> {
    let begun = Instant::now();
    loop {
        let asked = caller.ask(Ask::Decision, "back", 1).await;
        if asked.allows {
            return asked.answered;
        }
        assert!(begun.elapsed() < RECOVERED, "{gone}: {asked:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails_or_hangs() {
    let disk = Disk::empty();
    let app = start(&disk, true).await;
    let caller = Caller::new(&app).await;
    let mut told = Vec::new();
    let fails = Fault { of: |call| call != Call::Sync, wrong: Wrong::Fails, after: 0, times: u64::MAX };
    // While it hangs, all connections that read are busy, and so is the one that writes.
    let hangs = Fault { of: |_| true, wrong: Wrong::Hangs, after: 0, times: u64::MAX };
    for (gone, fault) in [("it fails", fails), ("it hangs", hangs)] {
        told.extend(caller.ask(Ask::Decision, "well", 1).await.answered);
        disk.set(fault);
        for _ in 0..2 {
            expect_none(&caller, &DECIDING, gone).await;
            expect_not_ready(&app, gone).await;
        }
        disk.mend();
        told.extend(expect_back(&caller, gone).await);
        ready(&app).await;
    }
    app.stop().await;
    check(&disk, &told).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_somebody_else_locks() {
    let app = TestApp::start_in(Home::on_files()).await;
    let caller = Caller::new(&app).await;
    let locked_s = std::env::var("LICTOR_LOCKED_S").map_or(LOCKED_S, |seconds| seconds.parse().unwrap());
    let options = SqliteConnectOptions::new().filename(&app.home.database);
    let mut other = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql("BEGIN EXCLUSIVE").execute(&mut other).await.unwrap();
    let begun = Instant::now();
    // Evaluating writes nothing, so a lock does not keep it from being answered.
    let asks: Vec<_> = DECIDING.into_iter().filter(|ask| *ask != Ask::Evaluation).collect();
    while begun.elapsed() < Duration::from_secs(locked_s) {
        expect_none(&caller, &asks, "locked").await;
        expect_not_ready(&app, "locked").await;
    }
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    let told = expect_back(&caller, "locked").await;
    ready(&app).await;
    other.close().await.unwrap();
    expect_recorded(app, &told).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_are_moved_or_replaced() {
    let app = TestApp::start_in(Home::on_files()).await;
    let caller = Caller::new(&app).await;
    let file = PathBuf::from(&app.home.database);
    let log = PathBuf::from(format!("{}-wal", app.home.database));
    let aside = file.with_extension("aside");
    let mut told = Vec::new();
    for moved in [&file, &log] {
        for is_replaced in [false, true] {
            std::fs::rename(moved, &aside).unwrap();
            if is_replaced {
                std::fs::copy(&aside, moved).unwrap();
            }
            let gone = moved.display().to_string();
            expect_none(&caller, &DECIDING, &gone).await;
            assert_eq!(app.get("/ready").await.expect(503)["database"], "moved");
            std::fs::rename(&aside, moved).unwrap();
            told.extend(expect_back(&caller, &gone).await);
            ready(&app).await;
        }
    }
    expect_recorded(app, &told).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_that_is_stopped() {
    let app = TestApp::start_in(Home::on_postgres_that_may_crash().await).await;
    let caller = Caller::new(&app).await;
    app.home.stop_postgres().await;
    for _ in 0..2 {
        expect_none(&caller, &DECIDING, "stopped").await;
        expect_not_ready(&app, "stopped").await;
    }
    app.home.start_postgres().await;
    let told = expect_back(&caller, "stopped").await;
    ready(&app).await;
    expect_recorded(app, &told).await;
}

/// All that callers were told is there once the server has ended.
async fn expect_recorded(app: TestApp, told: &[Answered]) {
    let home = app.stop().await;
    let database = Database::open(&home.database.parse().unwrap()).await.unwrap();
    recorded(&database, told).await.unwrap();
    database.close().await;
}
