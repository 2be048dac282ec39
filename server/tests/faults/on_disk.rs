//! A server whose database is on a disk of ours, and what is on that disk.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lictor_server::app::Given;
use lictor_server::clock::SystemClock;
use lictor_server::config::Config;
use lictor_server::db::{Address, Database, OnVfs};
use lictor_server::{ServeError, Server};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, SqliteConnection};

use crate::answers::{Answered, recorded};
use crate::app::{TestApp, config};
use crate::disk::Disk;
use crate::home::Home;
use crate::vfs;

/// Within this time a server decides again once its storage is well.
pub(crate) const RECOVERED: Duration = Duration::from_secs(5);

fn on_vfs(disk: &Disk, is_synced: bool) -> OnVfs {
    vfs::register();
    OnVfs { path: disk.path.clone(), vfs: vfs::NAME.into(), is_synced }
}

/// Starts a server; if its commits are not synced, it may lose what it acknowledges.
pub(crate) async fn try_start(disk: &Arc<Disk>, is_synced: bool) -> Result<(Server, Home), ServeError> {
    let home = Home::on_files();
    // Each intent is counted first, in the database. There are enough of them.
    let intents_per_day = Some(1_000_000);
    let config = Config { master_key: Some("5a".repeat(32)), intents_per_day, ..config(&home) };
    let opening = Database::open_on_vfs(on_vfs(disk, is_synced));
    let address: Address = home.database.parse().unwrap();
    let given = Given { clock: Arc::new(SystemClock::new()), checks: None };
    let server = Server::start_on(&address, opening, &config, given).await?;
    Ok((server, home))
}

pub(crate) async fn start(disk: &Arc<Disk>, is_synced: bool) -> TestApp {
    let (server, home) = try_start(disk, is_synced).await.unwrap();
    TestApp::over(server, home).await
}

/// Whether all that callers were told is on the disk, and nothing is broken: the names of what was done, or what is wrong.
pub(crate) async fn check<'a>(
    disk: &Arc<Disk>,
    answers: impl IntoIterator<Item = &'a Answered>,
) -> Result<Vec<String>, String> {
    let opened = Database::open_on_vfs(on_vfs(disk, true)).await;
    let database = opened.map_err(|error| format!("it can't be opened: {error:?}"))?;
    let checked = recorded(&database, answers).await;
    let whole = is_whole(disk).await;
    database.close().await;
    whole?;
    checked
}

/// Asks SQLite whether its file is whole, and whether each judged event has its payload.
async fn is_whole(disk: &Disk) -> Result<(), String> {
    let options = SqliteConnectOptions::new().filename(&disk.path).vfs(vfs::NAME);
    let mut connection = SqliteConnection::connect_with(&options).await.map_err(|error| error.to_string())?;
    let found: Result<Vec<String>, _> =
        sqlx::query_scalar("PRAGMA integrity_check").fetch_all(&mut connection).await;
    let half = "SELECT COUNT(*) FROM entries WHERE outcome IS NOT NULL \
                AND entry_id NOT IN (SELECT entry_id FROM payloads)";
    let half: Result<i64, _> = sqlx::query_scalar(half).fetch_one(&mut connection).await;
    connection.close().await.map_err(|error| error.to_string())?;
    match (found.map_err(|error| error.to_string())?.as_slice(), half) {
        ([ok], Ok(0)) if ok == "ok" => Ok(()),
        (found, half) => Err(format!("the file is broken: {found:?}, {half:?}")),
    }
}

/// Waits until a server can decide.
pub(crate) async fn ready(app: &TestApp) -> Duration {
    let begun = Instant::now();
    loop {
        let health = app.get("/ready").await;
        if health.status == 200 {
            return begun.elapsed();
        }
        assert!(begun.elapsed() < RECOVERED, "{health:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
