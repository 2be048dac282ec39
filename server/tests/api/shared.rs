//! What several servers on one PostgreSQL count, lock and sign together, so that asking another one helps nobody.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use lictor_server::Server;
use lictor_server::config::Config;
use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{Answer, EMAIL, PASSWORD, TestApp, answer, config, text};
use crate::home::Home;
use crate::several::{KNOWN, two};

async fn login(app: &TestApp, email: &str, password: &str) -> Answer {
    let body = json!({"email": email, "password": password});
    app.send(Method::POST, "/api/v1/auth/login", None, body).await
}

/// A server with these settings on this database.
async fn start(home: Home, settings: impl FnOnce(&mut Config)) -> TestApp {
    let mut config = config(&home);
    settings(&mut config);
    TestApp::over(Server::start(&config).await.unwrap(), home).await
}

/// Why a server with these settings does not start on this database.
async fn refused(home: &Home, settings: impl FnOnce(&mut Config)) -> String {
    let mut config = config(home);
    settings(&mut config);
    Server::start(&config).await.unwrap_err().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_passwords_lock_whichever_server_was_asked() {
    let (first, second) = two().await;
    // One after the other on both, for somebody and for nobody.
    for email in [EMAIL, "nobody@example.com"] {
        for number in 0..10 {
            let app = if number % 2 == 0 { &first } else { &second };
            login(app, email, "wrong").await.expect_problem(401, "");
        }
        for app in [&first, &second] {
            let locked = login(app, email, PASSWORD).await;
            let wait: u32 = locked.headers["retry-after"].to_str().unwrap().parse().unwrap();
            assert!((1_790..=1_800).contains(&wait), "{wait}");
            locked.expect_problem(429, "");
        }
    }
    // All at once.
    let body = json!({"email": "other@example.com", "password": "wrong"});
    let racing: Vec<_> = (0..30)
        .map(|number| if number % 2 == 0 { &first } else { &second })
        .map(|app| app.request(Method::POST, "/api/v1/auth/login", None).json(&body))
        .map(|request| tokio::spawn(answer(request)))
        .collect();
    let mut looked_at = 0;
    for one in racing {
        match one.await.unwrap().status.as_u16() {
            401 => looked_at += 1,
            status => assert_eq!(status, 429),
        }
    }
    assert_eq!(looked_at, 10);
    // A restart forgives nobody.
    let home = first.stop().await;
    let server = Server::start(&config(&home)).await.unwrap();
    let url = format!("http://{}/api/v1/auth/login", server.address());
    let body = json!({"email": EMAIL, "password": PASSWORD});
    assert_eq!(answer(second.client.post(url).json(&body)).await.status, 429);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_password_on_one_server_counts_on_the_other() {
    let (first, second) = two().await;
    for _ in 0..2 {
        for _ in 0..9 {
            login(&second, EMAIL, "wrong").await.expect_problem(401, "");
        }
        login(&first, EMAIL, PASSWORD).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_has_so_many_intents_whichever_server_is_asked() {
    const A_DAY: usize = 20;
    let limited = |config: &mut Config| config.intents_per_day = u32::try_from(A_DAY).ok();
    let home = Home::on_postgres().await;
    let other = home.same();
    let first = start(home, limited).await;
    let second = start(other, limited).await;
    let key = first.key().await;
    let agent = first.agent(&key, "bot").await;
    let body = json!({"agent_id": agent, "org_id": first.org, "action": "refund"});
    let declare = |app: &TestApp| {
        let request = app.request(Method::POST, "/api/v3/intents", Some(&key));
        answer(request.header("x-org-id", &first.org).header("x-agent-id", &agent).json(&body))
    };
    let begun = Instant::now();
    while declare(&second).await.status == 401 {
        assert!(begun.elapsed() < KNOWN, "the other server does not know the key");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // What was asked for meanwhile may have been the first.
    let racing: Vec<_> =
        (0..40).map(|number| tokio::spawn(declare(if number % 2 == 0 { &first } else { &second }))).collect();
    let mut declared = 1;
    for one in racing {
        match one.await.unwrap().status.as_u16() {
            201 => declared += 1,
            status => assert_eq!(status, 429),
        }
    }
    assert_eq!(declared, A_DAY);
    let home = first.home.same();
    let third = start(home, limited).await;
    declare(&third).await.expect_problem(429, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_end_with_a_membership_end_on_every_server() {
    let (first, second) = two().await;
    let ann = first.member("ann@example.com", "member").await;
    let mut keys = Vec::new();
    for number in 0..3 {
        let body = json!({"name": number.to_string()});
        let made = second.send(Method::POST, "/api/v1/auth/api-keys", Some(&ann), body).await.expect(201);
        keys.push(text(&made["key"]));
    }
    let path = "/v1/members/ann@example.com";
    let gone = first.send(Method::DELETE, path, Some(&first.token), json!({})).await.expect(200);
    assert_eq!(gone["api_keys"].as_array().unwrap().len(), 3);
    let begun = Instant::now();
    for key in &keys {
        for app in [&first, &second] {
            while answer(app.request(Method::GET, "/api/v1/agents", Some(key))).await.status != 401 {
                assert!(begun.elapsed() < KNOWN, "the key of somebody who is gone is still good");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_use_on_one_server_is_listed_by_the_other() {
    let (first, second) = two().await;
    let key = first.key().await;
    let begun = Instant::now();
    while answer(second.request(Method::GET, "/api/v1/agents", Some(&key))).await.status != 200 {
        assert!(begun.elapsed() < KNOWN, "the other server does not know the key");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Written every ten seconds.
    loop {
        let listed = first.get("/v1/keys").await.expect(200);
        if listed[0]["last_used_at"].is_string() {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(25), "{listed}");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

fn private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    #[cfg(unix)]
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}

/// The keys that sign the ledger, and how often the ledger names a new one.
async fn signing(app: &TestApp) -> (Vec<Value>, usize) {
    let keys = app.get("/api/v1/ledger/keys").await.expect(200);
    let named = app.ledger().await.iter().filter(|entry| entry["kind"] == "ledger_key").count();
    (keys.as_array().unwrap().clone(), named)
}

/// Asks for a proof of the last entry, which takes a checkpoint of it.
async fn sign(app: &TestApp) -> Answer {
    let (last, _) = app.head().await;
    app.get(&format!("/api/v1/ledger/proof/inclusion?seq={last}")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_another_key_does_not_replace_the_one_that_signs() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, keys: &[&str]| {
        let path = folder.path().join(name);
        private(&path, &keys.iter().map(|key| key.repeat(32)).collect::<Vec<_>>().join("\n"));
        path
    };
    let with = |path: &Path| {
        let path = path.to_owned();
        move |config: &mut Config| config.ledger_key_file = Some(path)
    };
    let (ours, theirs) = (file("ours", &["11"]), file("theirs", &["22"]));
    let first = start(Home::on_postgres().await, with(&ours)).await;
    sign(&first).await.expect(200);
    let before = signing(&first).await;
    let key = text(&before.0[0]["key"]);
    // With another file, or with none: one clear line, and nothing changes.
    for refusal in
        [refused(&first.home.same(), with(&theirs)).await, refused(&first.home.same(), |_| {}).await]
    {
        assert!(
            refusal.contains("does not have the key that signs the ledger") && refusal.contains(&key),
            "{refusal}"
        );
        assert!(!refusal.contains('\n'), "{refusal}");
    }
    assert_eq!(signing(&first).await, before);
    // A rotation that is meant: a new key before the one in use. A server that has the old file signs nothing from then on.
    let rotated = file("rotated", &["33", "11"]);
    let second = start(first.home.same(), with(&rotated)).await;
    sign(&second).await.expect(200);
    let after = signing(&second).await;
    assert_eq!((after.0.len(), after.1), (2, 1));
    first.post("/api/v1/auth/api-keys", json!({"name": "k"})).await.expect(201);
    sign(&first).await.expect_problem(503, "");
    sign(&second).await.expect(200);
    assert_eq!(signing(&second).await, after);
    let refusal = refused(&first.home.same(), with(&ours)).await;
    assert!(refusal.contains("does not have the key"), "{refusal}");
    // One that would go back to a key that was replaced does not either.
    let back = file("back", &["11", "33"]);
    let refusal = refused(&first.home.same(), with(&back)).await;
    assert!(refusal.contains("begins with a key that was replaced"), "{refusal}");
    // With the new file it goes on.
    let first = start(first.stop().await, with(&rotated)).await;
    sign(&first).await.expect(200);
    assert_eq!(signing(&first).await, after);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_another_master_key_does_not_start() {
    let first = start(Home::on_postgres().await, |_| {}).await;
    sign(&first).await.expect(200);
    let before = signing(&first).await;
    let other = |config: &mut Config| config.master_key = Some("77".repeat(32));
    let refusal = refused(&first.home.same(), other).await;
    assert!(refusal.contains("master key") && refusal.contains(&text(&before.0[0]["key"])), "{refusal}");
    assert_eq!(signing(&first).await, before);
    // Whoever rotates by the route, on any server, does it for all.
    let second = start(first.home.same(), |_| {}).await;
    second.post("/api/v1/ledger/keys", json!({})).await.expect(201);
    sign(&first).await.expect(200);
    assert_eq!(signing(&first).await.0.len(), 2);
}
