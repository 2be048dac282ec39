//! An auditor's story: an export, a key and checkpoints that were kept, and a command that needs nothing else.

use std::fs;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lictor_server::agents::Agent;
use lictor_server::canonical::{Object, Value as Canonical};
use lictor_server::db::{Address, Batch, Change, Database, Store, Turn};
use lictor_server::draft::payload;
use lictor_server::ledger::audit::{Audit, Finding};
use lictor_server::ledger::checkpoint::{Checkpoint, origin};
use lictor_server::ledger::export::Line;
use lictor_server::ledger::note::{Note, PublicKey, SigningKey};
use lictor_server::ledger::tree::{Frontier, leaf};
use lictor_server::ledger::{Entry, Head, Index, Record, append, sha256};
use lictor_server::vault::{Vault, hex};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::command::{ROOT, command, file, lictor};
use crate::durability::note;
use crate::home::Home;
use crate::running::{Client, Server, serve, text};

const GUIDE: &str = "docs/ledger.md";

/// The ledger's secret key, which a forger in these tests has as well.
const SECRET: [u8; 32] = [0x11; 32];

/// A server whose checkpoints are signed with [`SECRET`].
fn server(home: &Home, folder: &Path) -> Server {
    let key = file(folder, "ledger.key", &"11".repeat(32));
    #[cfg(unix)]
    fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let mut command = serve(home);
    command.env("LICTOR_LEDGER_KEY_FILE", key);
    Server::start_by(command)
}

fn intent() -> Value {
    json!({"event": "intent", "agent": {"id": "bot"}, "action": "x", "amount": 1})
}

async fn decide(owner: &Client, events: usize) {
    owner.post("/api/v1/decisions", &json!({"events": vec![intent(); events]})).await.expect(200);
}

/// A checkpoint of all that is there.
async fn sign(owner: &Client) -> String {
    let lines = owner.get_text("/api/v1/ledger/export").await.lines().count();
    let path = format!("/api/v1/ledger/proof/inclusion?seq={}", lines - 1);
    text(&owner.get(&path).await.expect(200)["checkpoint"])
}

/// What the command says of an export, after checking its exit code.
#[track_caller]
fn verify(code: i32, export: &str, key: &str, checkpoints: &[&str]) -> Value {
    let checkpoints = checkpoints.iter().flat_map(|file| ["--checkpoint", file]);
    let arguments = ["ledger", "verify", export, "--format", "json", "--key", key];
    lictor(arguments.into_iter().chain(checkpoints)).expect(code).json()
}

/// The lines from this one on with other records, and hashes that are right again.
fn written_anew(lines: &[String], from: usize, change: impl Fn(&str) -> String) -> Vec<String> {
    let mut forged = lines.to_vec();
    let mut prev_hash = match from {
        0 => [0; 32],
        _ => Line::parse(lines[from - 1].as_bytes()).unwrap().hash,
    };
    for line in &mut forged[from..] {
        let entry = Line::parse(line.as_bytes()).unwrap();
        let record = change(str::from_utf8(entry.canonical).unwrap());
        let hash = sha256(&[&prev_hash, record.as_bytes()]);
        let mut bytes = Vec::new();
        Line { seq: entry.seq, hash, prev_hash, canonical: record.as_bytes() }.write(&mut bytes);
        prev_hash = hash;
        *line = String::from_utf8(bytes).unwrap().trim_end().to_owned();
    }
    forged
}

fn signed_by_the_forger(org: Uuid, lines: &[String]) -> String {
    let mut tree = Frontier::default();
    lines.iter().for_each(|line| tree.push(leaf(Line::parse(line.as_bytes()).unwrap().canonical)));
    let checkpoint = Checkpoint { origin: origin(org), size: tree.size(), root: tree.root() };
    checkpoint.sign(&SigningKey::new(origin(org), &SECRET)).to_string()
}

#[tokio::test]
async fn an_auditor_finds_every_kind_of_forgery() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::on_files();
    let server = server(&home, folder.path());
    let owner = server.owner().await;
    let save = |name: &str, text: &str| file(folder.path(), name, text);
    decide(&owner, 30).await;
    let old = sign(&owner).await;
    decide(&owner, 30).await;
    let new = sign(&owner).await;
    let exported = owner.get_text("/api/v1/ledger/export").await;
    let key = text(&owner.get("/api/v1/ledger/keys").await.expect(200)[0]["key"]);
    let (old_file, new_file) = (save("old", &old), save("new", &new));
    let kept = [old_file.as_str(), &new_file];
    let lines: Vec<_> = exported.lines().map(str::to_owned).collect();
    let (signed, all) = (Checkpoint::of(&Note::parse(&old).unwrap()).unwrap(), lines.len());
    let size = signed.size as usize;
    let joined = |lines: &[String]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    let found = |code: i32, name: &str, lines: &[String], checkpoints: &[&str]| {
        let report = verify(code, &save(name, &joined(lines)), &key, checkpoints);
        assert_eq!(report["result"], name, "{report}");
        report
    };

    // Nothing is wrong, and everything is signed.
    let report = found(0, "ok", &lines, &kept);
    assert_eq!((&report["entries"], &report["signed_entries"]), (&json!(all), &json!(all)));
    // An amount more, an entry less, an entry before its time.
    let mut changed = lines.clone();
    changed[33] = changed[33].replace("\"allow\"", "\"deny\"");
    assert_eq!(found(3, "changed", &changed, &kept)["entry"], 33);
    let mut without = lines.clone();
    without.remove(20);
    assert_eq!(found(4, "gap", &without, &kept)["entry"], 20);
    let earlier = |record: &str| {
        let (before, rest) = record.split_once("\"at\":").unwrap();
        format!("{before}\"at\":1{}", rest.trim_start_matches(|c: char| c.is_ascii_digit()))
    };
    assert_eq!(found(5, "time_goes_back", &written_anew(&lines, 5, earlier), &kept)["entry"], 5);
    // The end cut off: only the kept checkpoint knows.
    let cut = found(6, "truncated", &lines[..all - 3], &kept);
    assert!(
        cut["message"].as_str().unwrap().contains(&format!("says {all} entries, it has {}", all - 3)),
        "{cut}"
    );
    verify(0, &save("cut", &joined(&lines[..all - 3])), &key, &[&old_file]);
    // Written anew from an entry on, with right hashes: the same.
    let forged = written_anew(&lines, size - 2, |record| record.replace("\"allow\"", "\"deny\""));
    let report = found(7, "rewritten", &forged, &[&old_file]);
    assert_eq!(report["checkpoints"], json!([{"size": size, "holds": false}]));
    let without = ["ledger", "verify", &save("forged", &joined(&forged)), "--format", "json"];
    assert_eq!(lictor(without).expect(0).json()["signed_entries"], 0);
    // Signed anew as well: two histories with one signature.
    let org = Uuid::parse_str(&text(&owner.get("/api/v1/orgs").await.expect(200)[0]["id"])).unwrap();
    let theirs = save("theirs", &signed_by_the_forger(org, &forged));
    found(8, "forked", &forged, &[&old_file, &theirs]);
    // A checkpoint that was tampered with, and one by a stranger's key.
    let tampered = save("tampered", &new.replacen(&format!("\n{all}\n"), &format!("\n{}\n", all - 1), 1));
    found(9, "bad_signature", &lines, &[&tampered]);
    let stranger = SigningKey::new(origin(org), &[0x22; 32]).public().to_string();
    assert_eq!(verify(9, &save("ok", &exported), &stranger, &kept)["result"], "bad_signature");
    // Text for people says the same.
    let said = lictor(["ledger", "verify", &save("changed", &joined(&changed))]).expect(3).stdout;
    assert!(said.starts_with("changed: entry 33 was changed"), "{said}");
    // Misuse.
    lictor(["ledger", "verify", "nowhere"]).expect(2);
    lictor(["ledger", "verify", "x", "--key", "no key"]).expect(2);
    lictor(["ledger", "verify", "x", "--checkpoint", &old_file]).expect(2);
    lictor(["ledger", "verify", "x", "--key", &key, "--checkpoint", &save("empty", "")]).expect(2);

    // From the database the same bytes come, while the server runs.
    let output = folder.path().join("from-database").display().to_string();
    lictor(["ledger", "export", "--database", &home.database, "--output", &output]).expect(0);
    assert_eq!(fs::read_to_string(&output).unwrap(), exported);
    assert_eq!(lictor(["ledger", "export", "--database", &home.database]).expect(0).stdout, exported);
    let stranger = Uuid::nil().to_string();
    lictor(["ledger", "export", "--database", &home.database, "--org", &stranger]).expect(2);
    let missing = folder.path().join("missing.db");
    lictor(["ledger", "export", "--database", &missing.display().to_string()]).expect(2);
    assert!(!missing.exists(), "looking for a database makes none");
}

/// The guide's blocks of shell, in order, by an auditor who has a token and the server's address.
#[tokio::test]
async fn the_guide_for_auditors_works_as_written() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::on_files();
    let server = server(&home, folder.path());
    let owner = server.owner().await;
    decide(&owner, 300).await;
    sign(&owner).await;
    let page = fs::read_to_string(Path::new(ROOT).join(GUIDE)).unwrap();
    let blocks: Vec<_> =
        page.split("\n```sh\n").skip(1).filter_map(|rest| rest.split("\n```").next()).collect();
    assert!(blocks.len() >= 3, "{} blocks", blocks.len());
    let script = format!("set -euo pipefail\nlictor() {{ \"$BUILT\" \"$@\"; }}\n{}", blocks.join("\n"));
    let mut bash = Command::new("bash");
    bash.args(["-c", &script]).current_dir(folder.path()).env("BUILT", command().get_program());
    bash.env("SERVER", &server.base).env("TOKEN", owner.credential());
    let output = bash.output().unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    assert!(said.contains("ok: the ledger is whole"), "{said}");
    assert_eq!(said.matches("the same").count(), 2, "{said}");
}

/// Who writes at once, how many entries each, and how many of them by one request.
const WRITERS: usize = 16;
const WRITTEN: usize = 400;
const BATCH: usize = 25;
/// Entries a second that they make at least, unless `LICTOR_LEDGER_RATE` says otherwise: a debug build beside other tests.
const RATE: f64 = 400.0;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_writers_make_one_dense_chain() {
    let home = Home::on_files();
    writers_make_one_dense_chain(&[Server::start(&home)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_writers_of_two_servers_make_one_dense_chain() {
    let home = Home::on_postgres().await;
    writers_make_one_dense_chain(&[Server::start(&home), Server::start(&home)]).await;
}

async fn writers_make_one_dense_chain(servers: &[Server]) {
    let rate = std::env::var("LICTOR_LEDGER_RATE").map_or(RATE, |rate| rate.parse().unwrap());
    let owner = servers[0].owner().await;
    let before = owner.get_text("/api/v1/ledger/export").await.lines().count();
    decide(&owner, 1).await;
    let begun = Instant::now();
    let writers = (0..WRITERS).map(|number| {
        let writer = servers[number % servers.len()].client().with(owner.credential());
        tokio::spawn(async move {
            let batch = json!({"events": vec![intent(); BATCH]});
            for _ in 0..WRITTEN / BATCH {
                // On a busy machine the queue can be full: nothing of the batch was recorded then.
                while writer.post("/api/v1/decisions", &batch).await.status == 503 {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let (written, took) = (WRITERS * WRITTEN, begun.elapsed());
    let measured = written as f64 / took.as_secs_f64();
    note(&format!("{written} entries by {WRITERS} writers over {} servers: {measured:.0}/s", servers.len()));
    // One entry for each, and the one that says that the agent was seen.
    let last = servers[servers.len() - 1].client().with(owner.credential());
    let signed = Note::parse(&sign(&last).await).unwrap();
    let key = PublicKey::parse(&text(&last.get("/api/v1/ledger/keys").await.expect(200)[0]["key"])).unwrap();
    let exported = last.get_text("/api/v1/ledger/export").await;
    let mut audit = Audit::new(&[key], &[signed]);
    audit.read(exported.as_bytes(), || {}).unwrap();
    let report = audit.finish();
    assert_eq!(report.finding, Finding::Ok);
    assert_eq!((report.entries, report.signed()), ((before + written + 2) as u64, report.entries));
    assert!(measured >= rate, "{measured:.0} entries/s, at least {rate} wanted");
}

/// How soon a server is up, however long its ledger.
const STARTED: Duration = Duration::from_secs(5);
/// Entries of the ledger that a server starts on, unless the environment says.
const STARTED_ON: u64 = 5_000;

#[tokio::test]
async fn a_server_is_soon_up_on_a_long_ledger() {
    let entries = std::env::var("LICTOR_LEDGER_ENTRIES").map_or(STARTED_ON, |count| count.parse().unwrap());
    let home = Home::on_files();
    let mut server = Server::start(&home);
    let owner = server.owner().await;
    let source = "policy p {}\nrule many on intent { when count(intent per agent.id within 30d) >= 3 deny }";
    owner.post("/api/v1/policies", &json!({"source": source})).await.expect(201);
    assert!(server.terminate().success());
    long_ledger(&home, entries).await;
    // What is remembered is folded once, and kept, however soon the server is gone.
    let begun = Instant::now();
    let mut server = Server::start(&home);
    server.healthy().await;
    let folded = begun.elapsed();
    server.kill();
    let kept = "UPDATE memory_snapshots SET parts = parts WHERE next_seq = (SELECT MAX(next_seq) FROM heads)";
    assert!(home.meddle(&[kept]).await > 0, "it remembered {entries} entries and kept nothing");
    let begun = Instant::now();
    let server = Server::start(&home);
    server.healthy().await;
    let took = begun.elapsed();
    note(&format!("up after {took:.2?} on {entries} entries, {folded:.1?} without a snapshot"));
    let event = json!({"event": "intent", "agent": {"id": "bot"}, "action": "x", "amount": 1});
    let decided = server.owner().await.post("/api/v1/decisions", &event).await.expect(200);
    assert_eq!(decided["decision"], "deny", "what happened is remembered: {decided}");
    assert!(took < STARTED, "{took:?}");
}

/// Adds judged intents of an agent to a ledger, as a server would.
async fn long_ledger(home: &Home, entries: u64) {
    let address: Address = home.database.parse().unwrap();
    let (database, vault) =
        (Database::open(&address).await.unwrap(), Vault::open(None, address.key_file().as_deref()).unwrap());
    let org = database.org_ids().await.unwrap()[0];
    let mut head = database.head(org).await.unwrap();
    let agent = Agent { registered_at_us: head.at_us, ..Agent::undeclared(Uuid::now_v7(), "bot") };
    let event = br#"{"event":"intent","agent":{"id":"bot"},"action":"refund","amount":5}"#;
    let payload = payload(&agent.to_json().unwrap(), event);
    let mut changes = vec![Change::Agent(Arc::new(agent.clone()))];
    let mut left = entries;
    while left > 0 {
        let (before, count) = (head, left.min(1_000));
        left -= count;
        let (mut rows, mut payloads) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let id = Uuid::now_v7();
            let sealed = vault.seal(org, id, &payload).unwrap();
            let record =
                Record { id, index: intent_of(agent.id), content: allowed(&sealed.digest), step: None };
            let at_us = head.at_us + 10;
            rows.push(append(&mut head, org, at_us, record).0);
            payloads.push((id, sealed));
        }
        let changes = std::mem::take(&mut changes);
        let batch = Batch { org, before, after: head, entries: rows, payloads, changes };
        database.commit(Turn::alone(), batch).await.unwrap();
    }
    database.close().await;
}

fn intent_of(agent: Uuid) -> Index {
    Index {
        kind: "intent",
        source: "/api/v1/decisions",
        agent: Some(agent),
        actor: "key:0198c0de-0000-7000-8000-000000000002".to_owned(),
        action: Some("refund".to_owned()),
        outcome: Some("allow"),
        ..Index::default()
    }
}

/// What an entry says of an intent that was allowed.
fn allowed(payload: &[u8; 32]) -> Object<'static> {
    let rule = Object::new().text("rule", "refunds.large").text("truth", "true").text("mode", "enforce");
    let decision = Object::new()
        .text("outcome", "allow")
        .text("class", "ok")
        .text("risk", "0.35")
        .value("rules", Canonical::List(vec![Canonical::Object(rule)]));
    Object::new()
        .value("decision", Canonical::Object(decision))
        .text("policy_set", format!("sha256:{}", "ab".repeat(32)))
        .integer("agent_revision", 1)
        .text("payload", format!("hmac-sha256:{}", hex(payload)))
}

/// How many entries are verified, unless the environment says.
const ENTRIES: u64 = 100_000;
/// What verifying may take of memory, however many entries there are.
const MEMORY_KIB: u64 = 100 * 1024;

#[test]
fn a_long_ledger_is_verified_as_it_is_read() {
    let entries = std::env::var("LICTOR_LEDGER_ENTRIES").map_or(ENTRIES, |count| count.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.jsonl");
    let checkpoint = long_export(&path, entries);
    let key = SigningKey::new(checkpoint.origin.as_str(), &SECRET);
    let note = file(folder.path(), "checkpoint", &checkpoint.sign(&key).to_string());
    let key = key.public().to_string();
    let begun = Instant::now();
    let mut verify = command();
    verify.args(["ledger", "verify", "--key", &key, "--checkpoint", &note]).arg(&path);
    let mut verifying = verify.stdout(Stdio::piped()).spawn().unwrap();
    let mut peak_kib = 0;
    while verifying.try_wait().unwrap().is_none() {
        let status = fs::read_to_string(format!("/proc/{}/status", verifying.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
        peak_kib = peak_kib.max(kib.unwrap_or(0));
        std::thread::sleep(Duration::from_millis(5));
    }
    let took = begun.elapsed();
    let output = verifying.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.starts_with("ok: ") && said.contains(&format!("entries read    {entries}\n")), "{said}");
    let bytes = fs::metadata(&path).unwrap().len();
    eprintln!("{entries} entries of {} bytes: {took:.1?}, {peak_kib} KiB", bytes / entries);
    assert!(peak_kib < MEMORY_KIB, "{peak_kib} KiB");
    // The figure is that of a release; a debug build is not held to it.
    if !cfg!(debug_assertions) {
        assert!(took.as_secs_f64() * 1e6 / (entries as f64) < 10.0, "{took:?}");
    }
}

/// Writes the export of a ledger as it comes of judged intents, and gives the checkpoint of it.
fn long_export(path: &Path, entries: u64) -> Checkpoint {
    let (org, mut head, mut tree) = (Uuid::now_v7(), Head::EMPTY, Frontier::default());
    let mut out = BufWriter::new(fs::File::create(path).unwrap());
    let mut line = Vec::new();
    for number in 0..entries {
        let index = intent_of(Uuid::from_u128(u128::from(number % 997)));
        let content = allowed(&[0xcd; 32]);
        let record = Record { id: Uuid::from_u128(u128::from(number)), index, content, step: None };
        let (Entry { seq, canonical, hash, prev_hash, .. }, _) =
            append(&mut head, org, number as i64 * 10 + 1, record);
        tree.push(leaf(&canonical));
        line.clear();
        Line { seq, hash, prev_hash, canonical: &canonical }.write(&mut line);
        out.write_all(&line).unwrap();
    }
    out.flush().unwrap();
    Checkpoint { origin: origin(org), size: tree.size(), root: tree.root() }
}
