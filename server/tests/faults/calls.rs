//! Calls of the storage go wrong, the first, the second, the third, until one gets through all without meeting the fault:
//! nobody is told what is not so, nothing is done by half, and the server goes on, or ends where it must.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lictor_server::ServeError;
use serde_json::json;
use tokio::time::timeout;

use crate::answers::{Answered, Ask, Caller};
use crate::app::TestApp;
use crate::cuts::Platter;
use crate::disk::{Call, Disk, Fault, Files, Wrong};
use crate::on_disk::{check, ready, start, try_start};
use crate::random::Random;

/// What is asked while a call goes wrong.
const ASKED: [Ask; 5] = [Ask::Decision, Ask::LogStep, Ask::Batch, Ask::Intent, Ask::Key];
/// Nobody has more calls than this.
const MOST: u64 = 2_000;

/// Every kind of call but those on locks in memory, which the system never sees, and syncs.
fn any(call: Call) -> bool {
    !matches!(call, Call::LockMemory | Call::Sync)
}

fn writes(call: Call) -> bool {
    call == Call::Write
}

fn syncs(call: Call) -> bool {
    call == Call::Sync
}

/// A server on a disk, and all that callers were told and refused.
struct World {
    disk: Arc<Disk>,
    app: TestApp,
    caller: Caller,
    /// What the disk held when the server started.
    files: Files,
    told: Vec<Answered>,
    /// What was asked for and refused, by what it was called.
    refused: Vec<String>,
}

impl World {
    async fn new() -> World {
        let disk = Disk::empty();
        let app = start(&disk, true).await;
        let caller = Caller::new(&app).await;
        World { disk, app, caller, files: Files::new(), told: Vec::new(), refused: Vec::new() }
    }

    /// Asks everything while calls go wrong: how many did, and the codes of the answers that say so.
    async fn ask_with(&mut self, fault: Fault, name: &str) -> (u64, Vec<String>) {
        self.disk.set(fault);
        let mut codes = Vec::new();
        for ask in ASKED {
            let action = format!("{name}-{ask:?}");
            let asked = self.caller.ask(ask, &action, 1).await;
            self.told.extend(asked.answered);
            if let Some(code) = asked.code {
                self.refused.push(action);
                codes.push(code);
            }
        }
        (self.disk.mend(), codes)
    }

    /// All that was told is there, nothing that was refused is, and nothing by half.
    async fn expect_whole(self) {
        let World { disk, app, told, refused, .. } = self;
        app.stop().await;
        let actions = check(&disk, &told).await.unwrap();
        let done: Vec<_> = refused.iter().filter(|refused| actions.contains(refused)).collect();
        assert!(done.is_empty(), "refused, and in the ledger: {done:?}");
        assert_eq!(panics(), 0);
    }
}

/// Counts panics from the first time it is asked.
fn panics() -> usize {
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    static HOOKED: std::sync::Once = std::sync::Once::new();
    HOOKED.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS.fetch_add(1, Ordering::SeqCst);
            before(panic);
        }));
    });
    PANICS.load(Ordering::SeqCst)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whichever_call_fails_nothing_is_done_by_half_and_the_server_goes_on() {
    panics();
    for (of, wrong, code) in [
        (any as fn(Call) -> bool, Wrong::Fails, None),
        (writes as fn(Call) -> bool, Wrong::Full, Some("storage_full")),
    ] {
        let mut world = World::new().await;
        let mut met = 0;
        for after in 0..MOST {
            let fault = Fault { of, wrong, after, times: 1 };
            let (hits, codes) = world.ask_with(fault, &format!("{wrong:?}-{after}")).await;
            let wanted = |found: &String| code.is_none_or(|wanted| found == wanted);
            assert!(codes.iter().all(wanted), "call {after}: {codes:?}");
            met += codes.len();
            ready(&world.app).await;
            if hits == 0 {
                break;
            }
            assert!(after + 1 < MOST, "it never ends");
        }
        assert!(met > 10, "hardly a caller met a fault: {met}");
        // What happened while nothing could be recorded is told afterwards.
        let incidents = world.app.get("/api/v1/incidents?limit=100").await.expect(200);
        let told = |incident: &serde_json::Value| incident["rule"] == "engine.ledger";
        assert!(incidents.as_array().unwrap().iter().any(told), "{incidents}");
        world.expect_whole().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whichever_sync_fails_the_server_ends_and_nothing_acknowledged_is_lost() {
    panics();
    let mut random = Random(7);
    let mut world = World::new().await;
    for after in 0..MOST {
        let fault = Fault { of: syncs, wrong: Wrong::Fails, after, times: 1 };
        let (hits, _) = world.ask_with(fault, &format!("sync-{after}")).await;
        if hits == 0 {
            assert!(after >= ASKED.len() as u64, "there is a sync for each answer");
            break;
        }
        let lost = world.app.server.as_ref().unwrap().lost();
        timeout(Duration::from_secs(1), lost).await.expect("it goes on after a sync that failed");
        // Until the process is gone it decides nothing, and says so.
        let asked = world.caller.ask(Ask::Decision, "afterwards", 1).await;
        assert!(asked.code.is_some(), "{asked:?}");
        assert_eq!(world.app.get("/ready").await.status, 503);
        // The power goes as well, to be sure.
        let happened = world.disk.happened();
        let mut platter = Platter::new(std::mem::take(&mut world.files), &happened);
        platter.go_to(happened.len(), &mut random);
        world.files = platter.cut(&mut random);
        world.disk = Disk::holding(world.files.clone());
        check(&world.disk, &world.told).await.unwrap();
        world.app = start(&world.disk, true).await;
        world.caller = world.caller.at(&world.app.base);
    }
    // What was refused because its sync failed may be in the ledger: nobody knows.
    world.refused.clear();
    world.expect_whole().await;
}

/// What the command does: it ends with an error, whoever still asks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_that_fails_ends_the_command() {
    let World { disk, app, caller, .. } = World::new().await;
    app.stop().await;
    let (server, _home) = try_start(&disk, true).await.unwrap();
    let caller = caller.at(&format!("http://{}", server.address()));
    let running = tokio::spawn(async move {
        let mut out = Vec::new();
        lictor_server::run(server, std::future::pending(), &mut out).await
    });
    assert!(caller.ask(Ask::Decision, "well", 1).await.allows);
    assert!(!running.is_finished());
    disk.set(Fault { of: syncs, wrong: Wrong::Fails, after: 0, times: 1 });
    assert!(caller.ask(Ask::Decision, "unsynced", 1).await.code.is_some());
    let ended = timeout(Duration::from_secs(1), running).await.unwrap().unwrap();
    assert!(matches!(ended, Err(ServeError::Untrusted)), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whichever_call_fails_at_the_start_the_next_start_is_well() {
    panics();
    let mut world = World::new().await;
    let fault = Fault { of: |_| false, wrong: Wrong::Fails, after: 0, times: 0 };
    world.ask_with(fault, "before").await;
    let World { disk, app, told, .. } = world;
    app.stop().await;
    let files = disk.files();
    let (mut after, mut failed) = (0, 0);
    loop {
        let disk = Disk::holding(files.clone());
        disk.set(Fault { of: |call| call != Call::LockMemory, wrong: Wrong::Fails, after, times: 1 });
        match try_start(&disk, true).await {
            Ok((server, _home)) => server.stop().await,
            Err(ServeError::Database(_) | ServeError::Store(_) | ServeError::Load(_)) => failed += 1,
            Err(error) => panic!("call {after}: {error:?}"),
        }
        let hits = disk.mend();
        check(&disk, &told).await.unwrap_or_else(|broken| panic!("call {after}: {broken}"));
        if hits == 0 {
            break;
        }
        // The first calls are all different, later ones resemble each other.
        after += if after < 10 { 1 } else { 7 };
    }
    assert!(failed > 5, "{failed}");
    assert_eq!(panics(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_disk_what_is_there_can_be_read_and_room_is_enough_to_go_on() {
    let mut world = World::new().await;
    let full = Fault { of: writes, wrong: Wrong::Full, after: 0, times: u64::MAX };
    world.disk.set(full);
    for turn in 0..3 {
        for ask in ASKED {
            let asked = world.caller.ask(ask, &format!("full-{turn}-{ask:?}"), 1).await;
            assert_eq!(asked.code.as_deref(), Some("storage_full"), "{ask:?}");
            world.refused.push(format!("full-{turn}-{ask:?}"));
        }
    }
    assert!(!world.app.ledger().await.is_empty());
    world.app.get("/api/v1/agents").await.expect(200);
    assert_eq!(world.app.get("/ready").await.expect(503)["database"], json!("full"));
    world.disk.mend();
    ready(&world.app).await;
    let asked = world.caller.ask(Ask::Decision, "room", 1).await;
    assert!(asked.allows);
    world.told.extend(asked.answered);
    world.expect_whole().await;
}
