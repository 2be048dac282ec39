//! Databases of earlier versions: whatever wrote them, this version goes on from them.
//!
//! `tests/fixtures/N` is what the version wrote whose last migration was `N`: two agents, a policy with a memory, six
//! decisions of which three were denied, three steps of a task, an intent and an acknowledged incident.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use lictor_server::canonical::Object;
use lictor_server::ledger::{Head, Index, Record, append};
use serde_json::json;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection, SqliteConnection};
use uuid::Uuid;

use crate::durability::note;
use crate::home::Home;
use crate::running::{Server, serve, text};

/// The API key that the fixtures know.
const KEY: &str = "KvKey-a7d2fb4bace5a0eb58e0a81075fd0c29464d230e0bce4b31689338d47d24a0f7";
/// How long a server runs before it is killed while it brings a database up to date.
const PAUSES_MS: [u64; 8] = [0, 2, 5, 10, 20, 40, 80, 160];

/// A copy of a fixture.
fn copy(fixture: &Path) -> Home {
    let home = Home::on_files();
    for name in ["lictor.db", "lictor.db.key"] {
        let place = Path::new(&home.database).with_file_name(name);
        fs::copy(fixture.join(name), &place).unwrap();
    }
    let key = format!("{}.key", home.database);
    fs::set_permissions(key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    home
}

#[tokio::test]
async fn a_database_of_an_earlier_version_is_served() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut served = 0;
    for fixture in fs::read_dir(fixtures).unwrap() {
        let fixture = fixture.unwrap().path();
        let home = copy(&fixture);
        // Killed while it brings the tables up to date, again and again: they are the old ones or the new ones.
        for pause in PAUSES_MS {
            let mut process = serve(&home).stdout(Stdio::null()).spawn().unwrap();
            tokio::time::sleep(Duration::from_millis(pause)).await;
            process.kill().unwrap();
            process.wait().unwrap();
        }
        let server = Server::start(&home);
        let owner = server.owner().await;
        let ledger = owner.get("/api/v1/ledger?limit=1000").await.expect(200);
        assert!(ledger.as_array().unwrap().len() >= 17, "{}: {ledger}", fixture.display());
        let policy = owner.get("/api/v1/policies/limits").await.expect(200);
        assert_eq!((&policy["state"], &policy["version"]), (&json!("live"), &json!(1)));
        let incidents = owner.get("/api/v1/incidents?status=acknowledged").await.expect(200);
        assert_eq!(incidents[0]["rule"], "limits.steps");
        // What was counted goes on.
        let agent = owner.with(KEY);
        let step = json!({"agent_id": "bot", "task_id": "t", "node_type": "TOOL_CALL"});
        assert_eq!(agent.post("/api/v1/logs", &step).await.expect(201)["step_number"], 4);
        let event = json!({"event": "intent", "agent": {"id": "other"}, "action": "pay", "amount": 1});
        let decided = agent.post("/api/v1/decisions", &event).await.expect(200);
        assert_eq!(text(&decided["decision"]), "allow", "{decided}");
        served += 1;
    }
    assert!(served > 0);
}

/// Rows of the database that is brought up to date, unless `LICTOR_UPGRADE_ROWS` says otherwise.
const ROWS: i64 = 5_000;
/// How often that is cut off.
const CUTS: u32 = 12;

#[tokio::test]
async fn a_large_database_that_is_cut_off_on_its_way_is_of_one_version_or_another() {
    let rows = std::env::var("LICTOR_UPGRADE_ROWS").map_or(ROWS, |rows| rows.parse().unwrap());
    let large = copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/0002"));
    let (entries, users) = grow(&large, rows).await;
    let schemas = schemas().await;
    // How long it takes uncut, without what the server does afterwards.
    let again = same(&large);
    let latest = schemas.keys().next_back();
    let (mut process, begun) = (serve(&again).stdout(Stdio::null()).spawn().unwrap(), Instant::now());
    let mut connection = open(&again.database).await;
    while reached(&mut connection).await.as_ref() != latest {
        assert!(begun.elapsed() < Duration::from_secs(120), "it is not brought up to date");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let whole = begun.elapsed();
    connection.close().await.unwrap();
    process.kill().unwrap();
    process.wait().unwrap();
    let mut seed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().subsec_nanos();
    let mut ended = BTreeMap::new();
    for cut in 1..=CUTS {
        let cut_off = same(&large);
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // Spread over all of it, at random.
        let pause = whole * (cut - 1) / CUTS + whole / CUTS * (seed >> 16) / 65_536;
        let mut process = serve(&cut_off).stdout(Stdio::null()).spawn().unwrap();
        tokio::time::sleep(pause).await;
        process.kill().unwrap();
        process.wait().unwrap();
        let mut connection = open(&cut_off.database).await;
        let (version, schema) = (version(&mut connection).await, schema(&mut connection).await);
        assert_eq!(Some(&schema), schemas.get(&version), "cut off after {pause:?}, at {version}");
        if version >= 5 {
            let sql = "SELECT (SELECT COUNT(*) FROM members), (SELECT COUNT(*) FROM users)";
            let (members, found): (i64, i64) = sqlx::query_as(sql).fetch_one(&mut connection).await.unwrap();
            assert_eq!((members, found), (users, users));
        }
        connection.close().await.unwrap();
        *ended.entry(version).or_insert(0) += 1;
        // It goes on from there.
        if cut % 4 == 0 {
            let server = Server::start(&cut_off);
            let last =
                server.owner().await.get(&format!("/api/v1/ledger?after={}", entries - 2)).await.expect(200);
            assert_eq!(last[0]["seq"], entries - 1);
        }
    }
    note(&format!("{rows} rows brought up to date in {whole:.1?}; cut off {CUTS} times it was of {ended:?}"));
}

/// A copy of a database that nobody uses.
fn same(home: &Home) -> Home {
    copy(Path::new(&home.database).parent().unwrap())
}

async fn open(path: &str) -> SqliteConnection {
    SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(path)).await.unwrap()
}

/// Adds rows: half of them entries that go on from the ledger's last, and people and keys. How many entries and people there
/// are then.
async fn grow(home: &Home, rows: i64) -> (i64, i64) {
    let mut connection = open(&home.database).await;
    let sql = "SELECT org_id, next_seq, hash, at FROM heads";
    let (org, next_seq, hash, at_us): (Uuid, i64, Vec<u8>, i64) =
        sqlx::query_as(sql).fetch_one(&mut connection).await.unwrap();
    let mut head = Head { next_seq, hash: hash.try_into().unwrap(), at_us };
    let mut transaction = connection.begin().await.unwrap();
    for _ in 0..rows / 2 {
        let index = Index { kind: "login", source: "test", actor: "nobody".to_owned(), ..Index::default() };
        let record = Record { id: Uuid::now_v7(), index, content: Object::new(), step: None };
        let at_us = head.at_us + 1;
        let (entry, _) = append(&mut head, org, at_us, record);
        let sql = "INSERT INTO entries (org_id, seq, entry_id, canonical, hash, prev_hash, kind, source, actor, at) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
        let query = sqlx::query(sql).bind(org).bind(entry.seq).bind(entry.id).bind(entry.canonical);
        let query = query.bind(entry.hash.to_vec()).bind(entry.prev_hash.to_vec()).bind(entry.index.kind);
        let query = query.bind(entry.index.source).bind(entry.index.actor).bind(entry.at_us);
        query.execute(&mut *transaction).await.unwrap();
    }
    let sql = "UPDATE heads SET next_seq = $1, hash = $2, at = $3";
    let query = sqlx::query(sql).bind(head.next_seq).bind(head.hash.to_vec()).bind(head.at_us);
    query.execute(&mut *transaction).await.unwrap();
    let numbers = "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < $1)";
    for insert in [
        "INSERT INTO users (org_id, user_id, email, role, password_hash, created_at) \
         SELECT org_id, randomblob(16), n || '@example.com', 'viewer', '', n FROM numbers, orgs",
        "INSERT INTO api_keys (org_id, key_id, account_id, name, prefix, hash, created_at) \
         SELECT org_id, randomblob(16), org_id, n, 'KvKey-', randomblob(32), n FROM numbers, orgs",
    ] {
        let sql = AssertSqlSafe(format!("{numbers} {insert}"));
        sqlx::query(sql).bind(rows / 4).execute(&mut *transaction).await.unwrap();
    }
    transaction.commit().await.unwrap();
    let users: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM users").fetch_one(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    (head.next_seq, users)
}

/// What the tables are after each version.
async fn schemas() -> BTreeMap<i64, Vec<(String, String)>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("server/migrations/sqlite");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let mut connection = open(":memory:").await;
    let mut schemas = BTreeMap::new();
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let sql = AssertSqlSafe(fs::read_to_string(&file).unwrap());
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        schemas.insert(name[..4].parse().unwrap(), schema(&mut connection).await);
    }
    schemas
}

async fn schema(connection: &mut SqliteConnection) -> Vec<(String, String)> {
    let sql = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE '\\_sqlx%' ESCAPE '\\' ORDER BY name";
    sqlx::query_as(sql).fetch_all(connection).await.unwrap()
}

/// The version that a database is of, if it can be read now.
async fn reached(connection: &mut SqliteConnection) -> Option<i64> {
    let sql = "SELECT MAX(version) FROM _sqlx_migrations";
    sqlx::query_scalar(sql).fetch_one(connection).await.ok()
}

/// The version that a database is of, all of which was brought to an end.
async fn version(connection: &mut SqliteConnection) -> i64 {
    let sql = "SELECT MAX(version), MIN(success) FROM _sqlx_migrations";
    let (version, ended): (i64, bool) = sqlx::query_as(sql).fetch_one(connection).await.unwrap();
    assert!(ended, "version {version} was begun and not ended");
    version
}
