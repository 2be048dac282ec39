//! What proves the ledger to strangers: checkpoints, proofs, keys and the export, over HTTP; and what is never signed.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use lictor_server::Server;
use lictor_server::config::Config;
use lictor_server::db::Database;
use lictor_server::ledger::audit::{Audit, Finding};
use lictor_server::ledger::checkpoint::Checkpoint;
use lictor_server::ledger::note::{Note, PublicKey, Signed};
use lictor_server::ledger::proof::{proves_consistency, proves_inclusion};
use lictor_server::ledger::tree::leaf;
use lictor_server::ledger::{StoredEntry, sha256};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::{TestApp, answer, config, text};
use crate::home::Home;

async fn decide(app: &TestApp, events: usize) {
    let event = json!({"event": "intent", "agent": {"id": "bot"}, "action": "x", "amount": 1});
    app.post("/api/v1/decisions", json!({"events": vec![event; events]})).await.expect(200);
}

/// The latest checkpoint, with its note.
async fn checkpoint(app: &TestApp) -> (Checkpoint, Note) {
    let note = Note::parse(&text(&app.get("/api/v1/ledger/checkpoint").await.expect(200))).unwrap();
    (Checkpoint::of(&note).unwrap(), note)
}

/// A checkpoint of all that is there: asked for a proof past the last checkpoint, the server signs another.
async fn sign(app: &TestApp) -> (Checkpoint, Note) {
    let last = app.head().await.0;
    app.get(&format!("/api/v1/ledger/proof/inclusion?seq={last}")).await.expect(200);
    let (signed, note) = checkpoint(app).await;
    assert_eq!(signed.size as i64, last + 1);
    (signed, note)
}

/// The public keys, the one in use last.
async fn keys(app: &TestApp) -> Vec<PublicKey> {
    let listed = app.get("/api/v1/ledger/keys").await.expect(200);
    let listed = listed.as_array().unwrap();
    let (last, others) = listed.split_last().unwrap();
    assert!(last["in_use"] == true && others.iter().all(|key| key["in_use"] == false));
    listed.iter().map(|key| PublicKey::parse(&text(&key["key"])).unwrap()).collect()
}

fn hash(value: &Value) -> [u8; 32] {
    let digits = text(value);
    assert_eq!(digits.len(), 64);
    let byte = |place: usize| u8::from_str_radix(&digits[2 * place..2 * place + 2], 16).unwrap();
    std::array::from_fn(byte)
}

fn hashes(value: &Value) -> Vec<[u8; 32]> {
    value.as_array().unwrap().iter().map(hash).collect()
}

async fn export(app: &TestApp) -> String {
    let request = app.request(Method::GET, "/api/v1/ledger/export", Some(&app.token));
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    response.text().await.unwrap()
}

fn audit(export: &str, keys: &[PublicKey], notes: &[Note]) -> Finding {
    let mut audit = Audit::new(keys, notes);
    audit.read(export.as_bytes(), || {}).unwrap();
    audit.finish().finding
}

#[tokio::test]
async fn every_entry_is_proved_to_be_in_what_was_signed() {
    let app = TestApp::start().await;
    decide(&app, 300).await;
    let (signed, note) = sign(&app).await;
    let last = signed.size - 1;
    assert_eq!(note.signed_by(&keys(&app).await), Signed::Yes);
    let export = export(&app).await;
    assert_eq!(export.lines().count() as u64, signed.size);
    for (seq, line) in (0..).zip(export.lines()) {
        if seq % 17 != 0 && ![255, 256, 257, last].contains(&seq) {
            continue;
        }
        let record = line.split_once("\"record\":").unwrap().1.strip_suffix('}').unwrap();
        let proof = app.get(&format!("/api/v1/ledger/proof/inclusion?seq={seq}")).await.expect(200);
        let leaf = leaf(record.as_bytes());
        assert_eq!((hash(&proof["leaf_hash"]), hash(&proof["root"])), (leaf, signed.root));
        assert_eq!(text(&proof["checkpoint"]), note.to_string());
        assert!(proves_inclusion(seq, &leaf, signed.size, &signed.root, &hashes(&proof["proof"])), "{seq}");
        // In an earlier ledger, too: it need not have been signed.
        let size = seq + (last - seq) / 2 + 1;
        let proof =
            app.get(&format!("/api/v1/ledger/proof/inclusion?seq={seq}&size={size}")).await.expect(200);
        assert!(proves_inclusion(seq, &leaf, size, &hash(&proof["root"]), &hashes(&proof["proof"])));
        let proof = format!("/api/v1/ledger/proof/consistency?from={size}&to={}", signed.size);
        let proof = app.get(&proof).await.expect(200);
        let (from, to) = (hash(&proof["from_root"]), hash(&proof["to_root"]));
        assert_eq!(to, signed.root);
        assert!(proves_consistency((size, &from), (signed.size, &to), &hashes(&proof["proof"])), "{size}");
    }
}

#[tokio::test]
async fn later_checkpoints_begin_with_earlier_ones_across_restarts() {
    let mut app = TestApp::start().await;
    let mut kept = vec![checkpoint(&app).await];
    for events in [1, 400, 7, 256] {
        decide(&app, events).await;
        // Whoever stops a server leaves a signed ledger.
        app = app.restart().await;
        let (later, note) = checkpoint(&app).await;
        assert_eq!(later.size as i64, app.head().await.0 + 1);
        for (earlier, _) in &kept {
            let path = format!("/api/v1/ledger/proof/consistency?from={}&to={}", earlier.size, later.size);
            let proof = hashes(&app.get(&path).await.expect(200)["proof"]);
            assert!(proves_consistency((earlier.size, &earlier.root), (later.size, &later.root), &proof));
        }
        kept.push((later, note));
    }
    let notes: Vec<_> = kept.iter().map(|(_, note)| note.clone()).collect();
    assert_eq!(audit(&export(&app).await, &keys(&app).await, &notes), Finding::Ok);
    // Old ones are there still.
    for (earlier, note) in kept {
        let path = format!("/api/v1/ledger/checkpoint?size={}", earlier.size);
        assert_eq!(text(&app.get(&path).await.expect(200)), note.to_string());
    }
}

#[tokio::test]
async fn what_can_not_be_proved_is_refused() {
    let app = TestApp::start().await;
    let size = app.head().await.0 + 1;
    let get = async |path: &str| app.get(&format!("/api/v1/ledger/{path}")).await;
    get("proof/inclusion").await.expect_problem(400, "seq");
    get("proof/inclusion?seq=-1").await.expect_problem(400, "seq");
    get("proof/inclusion?seq=9223372036854775808").await.expect_problem(400, "seq");
    get("proof/inclusion?seq=1&size=1").await.expect_problem(400, "size");
    get("proof/inclusion?seq=1&sise=1").await.expect_problem(400, "sise");
    get(&format!("proof/inclusion?seq={size}")).await.expect_problem(404, "");
    get(&format!("proof/inclusion?seq=0&size={}", size + 1)).await.expect_problem(404, "");
    get("proof/inclusion?seq=9223372036854775807").await.expect_problem(404, "");
    get("proof/consistency?from=1").await.expect_problem(400, "to");
    get("proof/consistency?from=2&to=1").await.expect_problem(400, "from");
    get(&format!("proof/consistency?from=1&to={}", size + 1)).await.expect_problem(404, "");
    get("checkpoint?size=999").await.expect_problem(404, "");
    get("checkpoint?size=x").await.expect_problem(400, "size");
    get("proof/consistency?from=0&to=0").await.expect(200);
    // As for the ledger itself: people, not keys.
    let key = app.key().await;
    for path in ["checkpoint", "keys", "export", "proof/inclusion?seq=0", "proof/consistency?from=0&to=1"] {
        let path = format!("/api/v1/ledger/{path}");
        answer(app.request(Method::GET, &path, Some(&key))).await.expect_problem(403, "");
        answer(app.request(Method::GET, &path, None)).await.expect_problem(401, "");
    }
    app.send(Method::POST, "/api/v1/ledger/keys", Some(&key), json!({})).await.expect_problem(403, "");
}

#[tokio::test]
async fn a_new_key_is_named_in_the_ledger_and_signs_what_the_old_one_signed() {
    let app = TestApp::start().await;
    let (_, before) = checkpoint(&app).await;
    let old = keys(&app).await;
    let made = app.post("/api/v1/ledger/keys", json!({})).await.expect(201);
    let new = PublicKey::parse(&text(&made["key"])).unwrap();
    assert_eq!(keys(&app).await, [old.as_slice(), std::slice::from_ref(&new)].concat());
    // The old key signed the entry that names the new one.
    let entry = app.ledger().await.pop().unwrap();
    assert_eq!((&entry["kind"], &entry["record"]["ledger_key"]), (&json!("ledger_key"), &made["key"]));
    let (both, note) = checkpoint(&app).await;
    assert_eq!(both.size as i64, entry["seq"].as_i64().unwrap() + 1);
    assert_eq!(
        (note.signed_by(&old), note.signed_by(std::slice::from_ref(&new))),
        (Signed::Yes, Signed::Yes)
    );
    assert_eq!(note.signatures.len(), 2);
    decide(&app, 3).await;
    let app = app.restart().await;
    let (_, after) = checkpoint(&app).await;
    assert_eq!(
        (after.signed_by(&old), after.signed_by(std::slice::from_ref(&new))),
        (Signed::Unknown, Signed::Yes)
    );
    let export = export(&app).await;
    let all = keys(&app).await;
    assert_eq!(audit(&export, &all, &[before, note, after.clone()]), Finding::Ok);
    assert!(matches!(audit(&export, &old, &[after]), Finding::BadSignature { .. }));
}

/// Waits until the server is ready, or is not any more.
async fn health(app: &TestApp, status: u16) {
    let begun = Instant::now();
    while app.get("/health").await.status != status {
        assert!(begun.elapsed() < Duration::from_secs(30), "the server's health is not {status}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn bytes(home: &Home, bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    if home.is_on_postgres() { format!("'\\x{digits}'") } else { format!("X'{digits}'") }
}

#[tokio::test]
async fn a_ledger_whose_end_was_cut_off_is_not_signed() {
    let app = TestApp::start().await;
    decide(&app, 20).await;
    let (signed, _) = sign(&app).await;
    let last = app.ledger().await.swap_remove(signed.size as usize - 6);
    let (seq, home) = (last["seq"].as_i64().unwrap(), app.stop().await);
    let cut = format!("DELETE FROM entries WHERE seq > {seq}");
    let hash = bytes(&home, &hash(&last["hash"]));
    let moved =
        format!("UPDATE heads SET next_seq = {}, hash = {hash}, at = (SELECT MAX(at) FROM entries)", seq + 1);
    home.meddle(&[&cut, &moved]).await;
    let app = TestApp::start_in(home).await;
    health(&app, 503).await;
    app.get("/api/v1/ledger/proof/inclusion?seq=999").await.expect_problem(503, "");
    // Even when as many entries came since.
    decide(&app, 40).await;
    app.get(&format!("/api/v1/ledger/proof/inclusion?seq={}", seq + 30)).await.expect_problem(503, "");
    let (still, _) = checkpoint(&app).await;
    assert_eq!(still, signed);
}

#[tokio::test]
async fn a_ledger_that_was_written_anew_is_not_signed() {
    let app = TestApp::start().await;
    decide(&app, 20).await;
    let (signed, _) = sign(&app).await;
    let org = Uuid::parse_str(&app.org).unwrap();
    let home = app.stop().await;
    let database = Database::open(&home.database.parse().unwrap()).await.unwrap();
    let entries = database.stored_entries(org, -1, 1_000).await.unwrap();
    database.close().await;
    // The last ten entries say something else, with right hashes.
    let (kept, others) = entries.split_at(entries.len() - 10);
    let mut prev_hash = kept.last().unwrap().hash;
    let (mut forged, mut original) = (Vec::new(), Vec::new());
    let update = |entry: &StoredEntry| {
        let StoredEntry { seq, canonical, hash, prev_hash } = entry;
        let (canonical, hash, prev_hash) =
            (bytes(&home, canonical), bytes(&home, hash), bytes(&home, prev_hash));
        format!(
            "UPDATE entries SET canonical = {canonical}, hash = {hash}, prev_hash = {prev_hash} WHERE seq = {seq}"
        )
    };
    for entry in others {
        let canonical = String::from_utf8(entry.canonical.clone()).unwrap().replace("\"allow\"", "\"deny\"");
        let canonical = canonical.into_bytes();
        let hash = sha256(&[&prev_hash, &canonical]);
        forged.push(update(&StoredEntry { seq: entry.seq, canonical, hash, prev_hash }));
        original.push(update(entry));
        prev_hash = hash;
    }
    let head = |hash: &[u8]| format!("UPDATE heads SET hash = {}", bytes(&home, hash));
    forged.push(head(&prev_hash));
    original.push(head(&others.last().unwrap().hash));
    home.meddle(&forged.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let app = TestApp::start_in(home).await;
    health(&app, 503).await;
    decide(&app, 1).await;
    app.get(&format!("/api/v1/ledger/proof/inclusion?seq={}", signed.size)).await.expect_problem(503, "");
    // What was there is put back: all is well again.
    let home = app.stop().await;
    let rest = format!("DELETE FROM entries WHERE seq >= {}", signed.size);
    let moved = format!("UPDATE heads SET next_seq = {}, at = (SELECT MAX(at) FROM entries)", signed.size);
    original.extend([rest, moved]);
    home.meddle(&original.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let app = TestApp::start_in(home).await;
    health(&app, 200).await;
    decide(&app, 1).await;
    app.get(&format!("/api/v1/ledger/proof/inclusion?seq={}", signed.size)).await.expect(200);
}

#[tokio::test]
async fn a_checkpoint_that_the_key_did_not_sign_is_not_built_upon() {
    let app = TestApp::start().await;
    decide(&app, 5).await;
    let (signed, _) = sign(&app).await;
    let home = app.stop().await;
    let forged = format!("UPDATE ledger_checkpoints SET root = {}", bytes(&home, &[7; 32]));
    home.meddle(&[&forged]).await;
    let app = TestApp::start_in(home).await;
    health(&app, 503).await;
    app.get(&format!("/api/v1/ledger/proof/inclusion?seq={}", signed.size + 9)).await.expect_problem(503, "");
}

#[tokio::test]
async fn tiles_that_are_gone_are_made_again() {
    let app = TestApp::start().await;
    decide(&app, 300).await;
    let (signed, _) = sign(&app).await;
    let home = app.stop().await;
    assert_eq!(home.meddle(&["DELETE FROM ledger_tiles"]).await, 1);
    let app = TestApp::start_in(home).await;
    let proof = app.get("/api/v1/ledger/proof/inclusion?seq=7").await.expect(200);
    assert_eq!(hash(&proof["root"]), checkpoint(&app).await.0.root);
    health(&app, 200).await;
    assert!(checkpoint(&app).await.0.size >= signed.size);
}

/// A server with these settings on this database.
async fn start(home: Home, settings: impl FnOnce(&mut Config)) -> TestApp {
    let mut config = config(&home);
    settings(&mut config);
    TestApp::over(Server::start(&config).await.unwrap(), home).await
}

fn private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    #[cfg(unix)]
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}

#[tokio::test]
async fn keys_of_a_file_change_with_the_file_and_a_lost_one_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ledger.key");
    let (first, second) = ("11".repeat(32), "22".repeat(32));
    private(&file, &format!("{first}\n"));
    let with_file = |config: &mut Config| config.ledger_key_file = Some(file.clone());
    let app = start(Home::new().await, with_file).await;
    checkpoint(&app).await;
    let old = keys(&app).await;
    app.post("/api/v1/ledger/keys", json!({})).await.expect_problem(409, "");
    // A new one on the first line, and the old one behind it: both sign.
    private(&file, &format!("{second}\n{first}\n"));
    let app = start(app.stop().await, with_file).await;
    app.get("/api/v1/ledger/proof/inclusion?seq=0").await.expect(200);
    let two = keys(&app).await;
    let rotated = checkpoint(&app).await.1;
    assert_eq!((two.len(), &two[..1]), (2, old.as_slice()));
    assert_eq!((rotated.signed_by(&old), rotated.signed_by(&two[1..])), (Signed::Yes, Signed::Yes));
    // Without the file the key is not there. Said to be lost, it is replaced by one that takes over what it signed last.
    let home = app.stop().await;
    let lost = two[1].to_string();
    for wrong in [None, Some(two[0].to_string())] {
        let config = Config { ledger_key_lost: wrong, ..config(&home) };
        let refusal = Server::start(&config).await.unwrap_err().to_string();
        assert!(refusal.contains(&format!("LICTOR_LEDGER_KEY_LOST={lost}")), "{refusal}");
    }
    let config = Config { ledger_key_lost: Some("a key".to_owned()), ..config(&home) };
    assert!(Server::start(&config).await.unwrap_err().to_string().contains("LICTOR_LEDGER_KEY_LOST `a key`"));
    let app = start(home, |config| config.ledger_key_lost = Some(lost)).await;
    app.get("/api/v1/ledger/proof/inclusion?seq=0").await.expect(200);
    let three = keys(&app).await;
    assert_eq!((three.len(), &three[..2]), (3, two.as_slice()));
    assert_eq!(app.ledger().await.pop().unwrap()["record"]["ledger_key"], json!(three[2].to_string()));
    let path = format!("/api/v1/ledger/checkpoint?size={}", Checkpoint::of(&rotated).unwrap().size);
    let taken_over = app.get(&path).await.expect(200);
    let taken_over = Note::parse(&text(&taken_over)).unwrap();
    assert_eq!((taken_over.text, taken_over.signatures.len()), (rotated.text, 3));
    let (_, last) = checkpoint(&app).await;
    assert_eq!((last.signed_by(&two), last.signed_by(&three)), (Signed::Unknown, Signed::Yes));
}

#[tokio::test]
async fn what_is_no_key_file_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ledger.key");
    let home = Home::new().await;
    let refused = async |home: &Home| {
        let config = Config { ledger_key_file: Some(file.clone()), ..config(home) };
        Server::start(&config).await.unwrap_err().to_string()
    };
    assert!(refused(&home).await.contains("can't be read"));
    for text in ["", "11", &format!("{}\nx", "11".repeat(32))] {
        private(&file, text);
        assert!(refused(&home).await.contains("64 hexadecimal digits"), "{text}");
    }
    #[cfg(unix)]
    {
        fs::write(&file, "11".repeat(32)).unwrap();
        fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        assert!(refused(&home).await.contains("0600"));
    }
}

#[tokio::test]
async fn every_checkpoint_is_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("checkpoints");
    let with_file = |config: &mut Config| config.checkpoint_file = Some(file.clone());
    let mut app = start(Home::new().await, with_file).await;
    for _ in 0..3 {
        decide(&app, 2).await;
        app = start(app.stop().await, with_file).await;
    }
    // What was signed without the file is in it later.
    app = start(app.stop().await, |_| {}).await;
    decide(&app, 2).await;
    app.post("/api/v1/ledger/keys", json!({})).await.expect(201);
    app = start(app.stop().await, with_file).await;
    decide(&app, 2).await;
    sign(&app).await;
    let notes = Note::parse_all(&fs::read_to_string(&file).unwrap()).unwrap();
    let sizes: Vec<_> = notes.iter().map(|note| Checkpoint::of(note).unwrap().size).collect();
    assert!(sizes.len() >= 6 && sizes.is_sorted_by(|one, other| one < other), "{sizes:?}");
    assert_eq!(notes.last(), Some(&checkpoint(&app).await.1));
    assert_eq!(audit(&export(&app).await, &keys(&app).await, &notes), Finding::Ok);
}
