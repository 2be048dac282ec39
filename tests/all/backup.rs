//! Backups taken while a server is under load: every one is a whole database.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use lictor_server::db::{CheckpointRow, Database};
use lictor_server::ledger::audit::{Audit, Finding};
use lictor_server::ledger::checkpoint::Checkpoint;
use lictor_server::ledger::export::Line;
use lictor_server::ledger::note::{Note, PublicKey, Signature};
use lictor_server::vault::hex;
use serde_json::{Value, json};

use crate::command::lictor;
use crate::durability::{Caller, load, note};
use crate::home::Home;
use crate::running::{Server, text};

/// Backups, unless `LICTOR_BACKUPS` says otherwise: then there is one each second.
const BACKUPS: usize = 10;
/// How long is waited between two of them.
const PAUSE: Duration = Duration::from_millis(300);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_backup_under_load_is_a_whole_database() {
    let given = std::env::var("LICTOR_BACKUPS").ok().map(|count| count.parse::<usize>().unwrap());
    let (count, pause) = (given.unwrap_or(BACKUPS), given.map_or(PAUSE, |_| Duration::from_secs(1)));
    let home = Home::on_files();
    let server = Server::start(&home);
    let caller = Caller::new(&server).await;
    let owner = server.owner().await;
    let folder = tempfile::tempdir().unwrap();
    let load = load(&server, &caller).await;
    load.at_least(20).await;
    let mut backups = Vec::new();
    for number in 0..count {
        let begun = Instant::now();
        let path = folder.path().join(format!("{number}.db")).display().to_string();
        let arguments = ["backup", &path, "--database", &home.database, "--format", "json"];
        let said = tokio::task::block_in_place(|| lictor(arguments).expect(0).json());
        backups.push((path, said["ledgers"][0].clone()));
        // Half of them lie behind a checkpoint of their own.
        if number % 2 == 0 {
            let entries = said["ledgers"][0]["entries"].as_i64().unwrap();
            owner.get(&format!("/api/v1/ledger/proof/inclusion?seq={}", entries - 1)).await.expect(200);
        }
        tokio::time::sleep(pause.saturating_sub(begun.elapsed())).await;
    }
    let answered = load.answered();
    let exported = owner.get_text("/api/v1/ledger/export").await;
    let listed = owner.get("/api/v1/ledger/keys").await.expect(200);
    drop(server);
    load.ended().await;

    let live: Vec<_> = exported.lines().map(|line| Line::parse(line.as_bytes()).unwrap()).collect();
    let keys = [PublicKey::parse(&text(&listed[0]["key"])).unwrap()];
    let (mut entries, mut signed) = (Vec::new(), 0);
    for (path, said) in &backups {
        let restored = Home::on_files();
        let arguments = ["restore", path, "--database", &restored.database, "--format", "json"];
        let report = lictor(arguments).expect(0).json();
        assert_eq!(report["restored"], true, "{report}");
        let ledger = &report["ledgers"][0];
        assert_eq!((&ledger["entries"], &ledger["hash"]), (&said["entries"], &said["hash"]));
        // It is what the live ledger was, and what was signed of it holds there.
        let count = ledger["entries"].as_u64().unwrap() as usize;
        assert_eq!(ledger["hash"], hex(&live[count - 1].hash));
        let notes = checkpoints(&restored, &keys[0]).await;
        signed += notes.len();
        let mut audit = Audit::new(&keys, &notes);
        live.iter().all(|line| audit.entry(line));
        assert_eq!(audit.finish().finding, Finding::Ok);
        entries.push(count);
    }
    assert!(entries.is_sorted() && entries.first() < entries.last() && signed > 0, "{entries:?}, {signed}");
    // A server goes on from the last one.
    let restored = Home::on_files();
    lictor(["restore", &backups.last().unwrap().0, "--database", &restored.database]).expect(0);
    fs::copy(format!("{}.key", home.database), format!("{}.key", restored.database)).unwrap();
    let server = Server::start(&restored);
    server.healthy().await;
    let event = json!({"event": "intent", "agent": {"id": "bot"}, "action": "x", "amount": 1});
    let decided = server.owner().await.post("/api/v1/decisions", &event).await.expect(200);
    assert!(decided["seq"].as_u64().unwrap() as usize >= *entries.last().unwrap());
    note(&format!(
        "{count} backups of {entries:?} entries beside {answered} answers, {signed} checkpoints in them hold"
    ));
}

/// The checkpoints in a database, as this key signed them.
async fn checkpoints(home: &Home, key: &PublicKey) -> Vec<Note> {
    let database = Database::open(&home.database.parse().unwrap()).await.unwrap();
    let org = database.org_ids().await.unwrap()[0];
    let rows = database.checkpoints_from(org, 0).await.unwrap();
    database.close().await;
    let note = |row: CheckpointRow| {
        let text = Checkpoint { origin: key.name().to_owned(), size: row.size, root: row.root }.text();
        let signatures = row.signatures.into_iter().map(|one| Signature::of(key, one.bytes)).collect();
        Note { text, signatures }
    };
    rows.into_iter().map(note).collect()
}

/// A database with some entries, and where it is.
async fn some_database() -> Home {
    let home = Home::on_files();
    let mut server = Server::start(&home);
    let owner = server.owner().await;
    let event = json!({"event": "intent", "agent": {"id": "bot"}, "action": "x", "amount": 1});
    owner.post("/api/v1/decisions", &json!({"events": vec![event; 300]})).await.expect(200);
    assert!(server.terminate().success());
    home
}

#[tokio::test]
async fn a_damaged_backup_is_named_and_nothing_is_overwritten() {
    let home = some_database().await;
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name).display().to_string();
    let backup = place("backup.db");
    let backed_up = lictor(["backup", &backup, "--database", &home.database]).expect(0).stdout;
    assert!(
        backed_up.contains(" entries\n") && backed_up.contains("The master key is not in it"),
        "{backed_up}"
    );
    // Nothing is overwritten, and nothing is made where there is no database.
    lictor(["backup", &backup, "--database", &home.database]).expect(2);
    lictor(["backup", &place("other.db"), "--database", &place("missing.db")]).expect(2);
    assert!(!Path::new(&place("missing.db")).exists() && !Path::new(&place("other.db")).exists());
    let refused = lictor(["restore", &backup, "--database", &home.database]).expect(2).stderr;
    assert!(refused.contains("is there already"), "{refused}");
    for command in ["backup", "restore"] {
        let refused = lictor([command, &backup, "--database", "postgres://nobody@localhost/none"]).expect(2);
        assert!(refused.stderr.contains("its own tools"), "{}", refused.stderr);
    }
    lictor(["restore", &place("nowhere"), "--database", &place("new.db")]).expect(2);
    fs::write(place("text"), "not a database").unwrap();
    let refused = lictor(["restore", &place("text"), "--database", &place("new.db")]).expect(2).stderr;
    assert!(refused.contains("not a SQLite file"), "{refused}");

    let damaged = async |statements: &[&str], code: i32| -> Value {
        let copy = Home::on_files();
        fs::copy(&backup, &copy.database).unwrap();
        assert!(copy.meddle(statements).await > 0);
        let new = place("new.db");
        let arguments = ["restore", &copy.database, "--database", &new, "--format", "json"];
        let report = lictor(arguments).expect(code).json();
        assert_eq!(report["restored"], false);
        assert!(!Path::new(&new).exists(), "{statements:?}");
        report
    };
    let changed = home.replacing_in_entries("\"outcome\":\"allow\"", "\"outcome\":\"deny\"");
    assert_eq!(damaged(&[&changed], 3).await["ledgers"][0]["result"], "changed");
    let gap = "DELETE FROM entries WHERE seq = 7";
    assert_eq!(damaged(&["DELETE FROM payloads", gap], 4).await["ledgers"][0]["result"], "gap");
    let cut = "DELETE FROM entries WHERE seq > 200";
    assert_eq!(damaged(&["DELETE FROM payloads", cut], 6).await["ledgers"][0]["result"], "truncated");
    let root = "UPDATE ledger_checkpoints SET signature = zeroblob(length(signature))";
    assert_eq!(damaged(&[root], 9).await["ledgers"][0]["result"], "bad_signature");
    let head = "UPDATE heads SET next_seq = next_seq + 1";
    let report = damaged(&[head], 1).await;
    assert_eq!(
        (&report["ledgers"][0]["result"], &report["ledgers"][0]["ends_at_head"]),
        (&json!("ok"), &json!(false))
    );
    // Bytes of the file itself.
    let mut bytes = fs::read(&backup).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 8_192].fill(0xff);
    fs::write(place("bytes.db"), bytes).unwrap();
    let ended = lictor(["restore", &place("bytes.db"), "--database", &place("new.db")]);
    assert_ne!(ended.code, Some(0), "{}", ended.stdout);
    assert!(!Path::new(&place("new.db")).exists());
    lictor(["restore", &backup, "--database", &place("new.db")]).expect(0);
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("restoring")), "{left:?}");
}
