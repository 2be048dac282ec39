//! API keys: made on two surfaces, rotated with and without an overlap, and found nowhere afterwards.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lictor_server::accounts::keys::hash;
use lictor_server::db::Database;
use reqwest::Method;
use serde_json::{Value, json};
use tracing_subscriber::fmt::MakeWriter;
use uuid::Uuid;

use crate::app::{TestApp, answer, text};

/// Keys whose traces are searched for.
const ISSUED: usize = 1_000;

/// All that is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Log;

    fn make_writer(&'a self) -> Log {
        self.clone()
    }
}

async fn status(app: &TestApp, key: &str) -> u16 {
    answer(app.request(Method::GET, "/api/v1/agents", Some(key))).await.status.as_u16()
}

#[tokio::test]
async fn a_rotated_key_is_the_same_key_with_another_secret() {
    let app = TestApp::start().await;
    let made = app.post("/v1/keys", json!({"name": "console"})).await.expect(201);
    let (first, path) = (text(&made["key"]), format!("/api/v1/auth/api-keys/{}/rotate", text(&made["id"])));
    assert!(first.starts_with("kz_live_"), "{first}");
    let agent = app.agent(&first, "bot").await;
    for overlap_s in [-1, 2_592_001] {
        app.post(&path, json!({"overlap_s": overlap_s})).await.expect_problem(400, "overlap_s");
    }
    let second = app.post(&path, json!({"overlap_s": 600})).await.expect(200);
    assert_eq!((&second["id"], &second["name"]), (&made["id"], &made["name"]));
    let second = text(&second["key"]);
    assert!(second.starts_with("kz_live_") && second != first);
    assert_eq!((status(&app, &first).await, status(&app, &second).await), (200, 200));
    // The agent is the key's, whatever its secret; and so it is after a restart.
    let listed = app.get("/v1/keys").await.expect(200);
    assert!(listed[0]["old_secret_until"].is_string() && listed.as_array().unwrap().len() == 1, "{listed}");
    let app = app.restart().await;
    assert_eq!((status(&app, &first).await, status(&app, &second).await), (200, 200));
    let third = text(&app.post(&path, json!({})).await.expect(200)["key"]);
    assert_eq!(
        (status(&app, &first).await, status(&app, &second).await, status(&app, &third).await),
        (401, 401, 200)
    );
    let agents = answer(app.request(Method::GET, "/api/v1/agents", Some(&third))).await.expect(200);
    assert_eq!(agents[0]["agent_id"], agent.as_str());
    app.send(Method::DELETE, path.trim_end_matches("/rotate"), Some(&app.token), json!({})).await.expect(204);
    assert_eq!(status(&app, &third).await, 401);
    app.post(&path, json!({})).await.expect_problem(404, "");
    let acts: Vec<_> = app.ledger().await.into_iter().filter(|entry| entry["kind"] == "key").collect();
    let acts: Vec<_> = acts.iter().map(|entry| text(&entry["action"])).collect();
    assert_eq!(acts, ["created", "rotated", "rotated", "revoked"]);
}

#[tokio::test]
async fn a_key_without_check_digits_stays_good() {
    let app = TestApp::start().await;
    let made = app.post("/api/v1/auth/api-keys", json!({"name": "old"})).await.expect(201);
    let home = app.stop().await;
    let old = format!("KvKey-{}", "0123456789abcdef".repeat(4));
    let hash: String = hash(&old).iter().map(|byte| format!("{byte:02x}")).collect();
    let hash = if home.is_on_postgres() { format!("decode('{hash}', 'hex')") } else { format!("X'{hash}'") };
    assert_eq!(home.meddle(&[&format!("UPDATE api_keys SET hash = {hash}")]).await, 1);
    let app = TestApp::start_in(home).await;
    assert_eq!((status(&app, &old).await, status(&app, &text(&made["key"])).await), (200, 401));
}

#[tokio::test]
async fn rotations_that_race_leave_one_secret() {
    let app = TestApp::start().await;
    let made = app.post("/api/v1/auth/api-keys", json!({"name": "k"})).await.expect(201);
    let path = format!("/api/v1/auth/api-keys/{}/rotate", text(&made["id"]));
    let racing: Vec<_> = (0..20)
        .map(|_| tokio::spawn(answer(app.request(Method::POST, &path, Some(&app.token)).json(&json!({})))))
        .collect();
    let mut good = 0;
    for one in racing {
        let secret = text(&one.await.unwrap().expect(200)["key"]);
        good += usize::from(status(&app, &secret).await == 200);
    }
    // Some were good when they were asked and are replaced by now; one stays.
    assert!(good >= 1);
    assert_eq!(status(&app, &text(&made["key"])).await, 401);
    assert_eq!(app.get("/api/v1/auth/api-keys").await.expect(200).as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn the_last_use_is_written_every_ten_seconds_and_stays_the_last() {
    let app = TestApp::start().await;
    let key = app.key().await;
    assert_eq!(status(&app, &key).await, 200);
    let (org, begun) = (Uuid::parse_str(&app.org).unwrap(), Instant::now());
    let database = Database::open(&app.home.database.parse().unwrap()).await.unwrap();
    let written = async || database.key_uses(org).await.unwrap().into_values().next();
    let first = loop {
        if let Some(at_us) = written().await {
            break at_us;
        }
        assert!(begun.elapsed() < Duration::from_secs(25), "the last use was not written");
        tokio::time::sleep(Duration::from_millis(250)).await;
    };
    // An earlier use, which another server knows of, comes too late.
    let id = Uuid::parse_str(&text(&app.get("/v1/keys").await.expect(200)[0]["id"])).unwrap();
    for (at_us, last) in [(first - 1, first), (first + 1, first + 1)] {
        database.save_key_uses(&[(org, id, at_us)]).await.unwrap();
        assert_eq!(written().await, Some(last));
    }
    database.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_issued_key_is_in_the_database_or_in_a_log() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone());
    subscriber.try_init().unwrap();
    let app = TestApp::start().await;
    let mut keys = Vec::new();
    for round in 0..ISSUED / 20 {
        let making = (0..20).map(|number| {
            let body = json!({"name": format!("key {round} {number}")});
            let request = app.request(Method::POST, "/api/v1/auth/api-keys", Some(&app.token)).json(&body);
            tokio::spawn(answer(request))
        });
        for made in making.collect::<Vec<_>>() {
            keys.push(text(&made.await.unwrap().expect(201)["key"]));
        }
    }
    // Each is used: well, in a wrong place, and where it leads to an error.
    for (number, key) in keys.iter().enumerate() {
        match number % 3 {
            0 => app
                .send(Method::POST, "/api/v1/agents", Some(key), json!({"agent_key": format!("a{number}")}))
                .await
                .expect(201),
            1 => app
                .send(Method::POST, "/api/v1/policies", Some(key), Value::Null)
                .await
                .expect_problem(403, ""),
            _ => app
                .send(Method::POST, "/api/v1/decisions", Some(key), json!({"event": "?"}))
                .await
                .expect_problem(400, "event"),
        };
    }
    // Something that looks like a key is put where keys must not be, so that it is known what the search finds.
    let canary = format!("KvKey-{}", "c0ffee99".repeat(8));
    app.post("/api/v1/auth/api-keys", json!({"name": canary})).await.expect(201);
    tracing::trace!(canary);
    let home = app.stop().await;
    let (dump, log) = (home.dump().await, log.0.lock().unwrap().clone());
    for (what, bytes) in [("the database", &dump), ("the log", &log)] {
        assert_eq!(found(bytes, std::slice::from_ref(&canary)), [canary.as_str()], "in {what}");
        assert_eq!(found(bytes, &keys), Vec::<&str>::new(), "in {what}");
    }
}

/// The keys of which the bytes hold the beginning of what is random in them: as it is, or its bytes in hexadecimal.
fn found<'a>(bytes: &[u8], keys: &'a [String]) -> Vec<&'a str> {
    const WINDOW: usize = 16;
    let mut needles = HashMap::new();
    for key in keys {
        // The prefixes end with `-` or `_`, and neither is a digit.
        let random = key.rsplit(['-', '_']).next().unwrap().as_bytes();
        let hex: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        for needle in [random, hex.as_bytes()] {
            needles.insert(needle[..WINDOW].to_vec(), key.as_str());
        }
    }
    let runs = bytes.split(|byte| !byte.is_ascii_hexdigit()).filter(|run| run.len() >= WINDOW);
    let hits = runs.flat_map(|run| run.windows(WINDOW)).filter_map(|window| needles.get(window).copied());
    hits.collect::<BTreeSet<_>>().into_iter().collect()
}
