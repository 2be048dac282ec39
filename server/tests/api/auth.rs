//! Logging in, API keys, and who may call what.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use lictor_server::Server;
use lictor_server::config::Config;
use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::app::{EMAIL, PASSWORD, TestApp, answer, config, text};
use crate::home::Home;

#[tokio::test]
async fn a_wrong_login_is_the_same_for_everybody() {
    let app = TestApp::start().await;
    let login = |email: &str, password: &str| {
        app.send(Method::POST, "/api/v1/auth/login", None, json!({"email": email, "password": password}))
    };
    let mut known = login(EMAIL, "wrong").await.expect_problem(401, "");
    let mut unknown = login("nobody@example.com", PASSWORD).await.expect_problem(401, "");
    for body in [&mut known, &mut unknown] {
        body["request_id"] = Value::Null;
    }
    assert_eq!(known, unknown);
    let token = login("  Owner@Example.COM ", PASSWORD).await.expect(200);
    assert_eq!((&token["token_type"], &token["expires_in"]), (&json!("bearer"), &json!(86400)));
}

#[tokio::test]
async fn ten_wrong_passwords_lock_for_half_an_hour_and_are_recorded() {
    let app = TestApp::start().await;
    let login = |email: &'static str, password: &'static str| {
        app.send(Method::POST, "/api/v1/auth/login", None, json!({"email": email, "password": password}))
    };
    for email in ["nobody@example.com", EMAIL] {
        for _ in 0..10 {
            login(email, "wrong").await.expect(401);
        }
        // The right one does not help any more.
        let answer = login(email, PASSWORD).await;
        let wait: u32 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1_790..=1_800).contains(&wait), "{wait}");
        answer.expect_problem(429, "");
    }
    // Nobody waited for the entries.
    let entries = loop {
        let entries: Vec<_> =
            app.ledger().await.into_iter().filter(|entry| entry["kind"] == "login").collect();
        if entries.len() >= 10 {
            break entries;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let actions: Vec<_> = entries.iter().map(|entry| text(&entry["action"])).collect();
    assert_eq!(actions.iter().filter(|action| *action == "failed").count(), 9);
    assert_eq!(actions.iter().filter(|action| *action == "locked").count(), 1);
    assert!(entries.iter().all(|entry| entry["actor"] == "nobody" && entry["record"]["user"].is_string()));
}

#[tokio::test]
async fn an_unknown_address_takes_as_long_as_a_known_one() {
    let app = TestApp::start().await;
    let login = |email: &'static str, password: &'static str| {
        app.send(Method::POST, "/api/v1/auth/login", None, json!({"email": email, "password": password}))
    };
    // Others use the machine as well: what counts is the shortest that it takes, and it is looked at for longer if need be.
    let mut shortest = [f64::MAX; 2];
    for unknown in ["a@example.com", "b@example.com", "c@example.com", "d@example.com", "e@example.com"] {
        for number in 0..18 {
            let begun = Instant::now();
            login([EMAIL, unknown][number % 2], "wrong").await.expect(401);
            shortest[number % 2] = shortest[number % 2].min(begun.elapsed().as_secs_f64());
        }
        login(EMAIL, PASSWORD).await.expect(200);
        if (0.7..=1.4).contains(&(shortest[0] / shortest[1])) {
            return;
        }
    }
    panic!("known and unknown, in seconds: {shortest:?}");
}

#[tokio::test]
async fn many_good_logins_are_welcome() {
    let app = TestApp::start().await;
    let begun = Instant::now();
    for _ in 0..20 {
        app.send(Method::POST, "/api/v1/auth/login", None, json!({"email": EMAIL, "password": PASSWORD}))
            .await
            .expect(200);
    }
    assert!(begun.elapsed() < Duration::from_secs(60));
}

#[tokio::test]
async fn keys_are_shown_once_listed_and_revoked_at_once() {
    let app = TestApp::start().await;
    let made =
        app.post("/api/v1/auth/api-keys", json!({"name": "bot", "prefix": "ka_live_"})).await.expect(201);
    let (key, id) = (text(&made["key"]), text(&made["id"]));
    assert!(key.starts_with("ka_live_"));
    app.agent(&key, "bot").await;
    let listed = app.get("/api/v1/auth/api-keys").await.expect(200);
    assert_eq!(
        (&listed[0]["name"], &listed[0]["prefix"], &listed[0]["id"]),
        (&json!("bot"), &json!("ka_live_"), &json!(id))
    );
    assert!(listed[0]["last_used_at"].is_string());
    assert!(!listed.to_string().contains(&key));
    answer(app.request(Method::DELETE, &format!("/api/v1/auth/api-keys/{id}"), Some(&app.token)))
        .await
        .expect(204);
    app.send(Method::POST, "/api/v1/agents", Some(&key), json!({"agent_key": "bot"}))
        .await
        .expect_problem(401, "");
    answer(app.request(Method::DELETE, &format!("/api/v1/auth/api-keys/{id}"), Some(&app.token)))
        .await
        .expect_problem(404, "");
    assert_eq!(app.get("/api/v1/auth/api-keys").await.expect(200), json!([]));
}

#[tokio::test]
async fn a_made_up_key_is_refused() {
    let app = TestApp::start().await;
    app.post("/api/v1/auth/api-keys", json!({"name": "a", "prefix": "sk_"}))
        .await
        .expect_problem(400, "prefix");
    app.post("/api/v1/auth/api-keys", json!({"name": "a", "role": "owner"}))
        .await
        .expect_problem(400, "role");
    app.post("/api/v1/auth/api-keys", json!({"name": "a", "agent_id": "nobody"}))
        .await
        .expect_problem(400, "agent_id");
}

#[tokio::test]
async fn every_route_needs_a_credential_of_the_right_kind() {
    let app = TestApp::start().await;
    let key = app.key().await;
    let for_people = [
        (Method::GET, "/api/v1/orgs"),
        (Method::GET, "/api/v1/auth/api-keys"),
        (Method::POST, "/api/v1/auth/api-keys"),
        (Method::DELETE, "/api/v1/auth/api-keys/x"),
        (Method::GET, "/api/v1/policies"),
        (Method::POST, "/api/v1/policies"),
        (Method::POST, "/api/v1/policies/check"),
        (Method::GET, "/api/v1/policies/base"),
        (Method::PUT, "/api/v1/policies/base"),
        (Method::DELETE, "/api/v1/policies/base"),
        (Method::POST, "/api/v1/policies/base/disable"),
        (Method::GET, "/api/v1/policies/base/versions"),
        (Method::GET, "/api/v1/incidents"),
        (Method::POST, "/api/v1/incidents/x/resolve"),
        (Method::GET, "/api/v1/ledger"),
    ];
    let for_agents = [
        (Method::GET, "/api/v1/agents"),
        (Method::GET, "/api/v1/agents/x"),
        (Method::POST, "/api/v1/agents"),
        (Method::POST, "/api/v1/logs"),
        (Method::POST, "/api/v1/decisions"),
        (Method::POST, "/api/v3/intents"),
        (Method::POST, "/api/v3/policy/evaluate"),
    ];
    let before = app.head().await;
    for (method, path) in for_people.iter().chain(&for_agents) {
        for credential in
            [None, Some(""), Some("nonsense"), Some("KvKey-nonsense"), Some("eyJhbGciOiJub25lIn0.e30.")]
        {
            let answer = app.send(method.clone(), path, credential, json!({})).await;
            assert!(answer.headers.contains_key("www-authenticate"), "{method} {path}");
            answer.expect_problem(401, "");
        }
    }
    for (method, path) in &for_people {
        app.send(method.clone(), path, Some(&key), json!({})).await.expect_problem(403, "");
    }
    assert_eq!(app.head().await, before);
}

#[tokio::test]
async fn a_key_sees_and_drives_its_own_agents_only() {
    let app = TestApp::start().await;
    let (one, other) = (app.key().await, app.key().await);
    let agent = app.agent(&one, "mine").await;
    let get = |key: String, path: String| async move { (key, path) };
    let (other_key, path) = get(other.clone(), format!("/api/v1/agents/{agent}")).await;
    answer(app.request(Method::GET, &path, Some(&other_key))).await.expect_problem(404, "");
    answer(app.request(Method::GET, &path, Some(&one))).await.expect(200);
    assert_eq!(answer(app.request(Method::GET, "/api/v1/agents", Some(&other))).await.expect(200), json!([]));
    let before = app.head().await;
    let step = json!({"agent_id": agent, "task_id": "t", "node_type": "TOOL_CALL"});
    app.send(Method::POST, "/api/v1/logs", Some(&other), step).await.expect_problem(403, "agent_id");
    let event = json!({"event": "intent", "agent": {"id": "mine"}, "action": "x"});
    app.send(Method::POST, "/api/v1/decisions", Some(&other), event).await.expect_problem(403, "agent.id");
    app.send(Method::POST, "/api/v1/agents", Some(&other), json!({"agent_key": "mine"}))
        .await
        .expect_problem(409, "");
    app.send_v3("/api/v3/intents", &other, &agent, json!({})).await.expect_problem(403, "x-agent-id");
    assert_eq!(app.head().await, before);
}

#[tokio::test]
async fn wrong_passwords_that_come_at_once_have_no_more_tries() {
    let app = TestApp::start().await;
    let body = json!({"email": EMAIL, "password": "wrong horse"});
    let racing: Vec<_> = (0..40)
        .map(|_| tokio::spawn(answer(app.request(Method::POST, "/api/v1/auth/login", None).json(&body))))
        .collect();
    let mut looked_at = 0;
    for one in racing {
        match one.await.unwrap().status.as_u16() {
            401 => looked_at += 1,
            // Locked, or more than the address may have under way.
            status => assert!([429, 503].contains(&status), "{status}"),
        }
    }
    assert_eq!(looked_at, 10);
}

/// A client that calls from this address.
fn from_address(address: &str) -> Client {
    Client::builder().local_address(address.parse::<IpAddr>().unwrap()).build().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_address_shuts_out_others_from_logging_in() {
    let home = Home::new().await;
    let config = Config { open_registration: true, ..config(&home) };
    let app = TestApp::over(Server::start(&config).await.unwrap(), home).await;
    let (greedy, other) = (from_address("127.0.0.2"), from_address("127.0.0.3"));
    let send = |client: &Client, path: &str, body: Value| {
        let request = client.post(format!("{}{path}", app.base)).json(&body);
        tokio::spawn(answer(request))
    };
    let wrong = |number: u32| json!({"email": format!("p{number}@example.com"), "password": "wrong"});
    // Of a domain that is known, so that no org is made.
    let new = |number: u32| json!({"email": format!("p{number}@example.com"), "name": "E", "password": "long enough"});
    let flood = (0..120).map(|number| match number % 2 {
        0 => send(&greedy, "/api/v1/auth/login", wrong(number)),
        _ => send(&greedy, "/api/v1/auth/register", new(number)),
    });
    let flood: Vec<_> = flood.collect();
    // Somebody else is let in meanwhile.
    let login = send(&other, "/api/v1/auth/login", json!({"email": EMAIL, "password": PASSWORD}));
    login.await.unwrap().expect(200);
    let mut turned_away = [0, 0];
    for (number, one) in flood.into_iter().enumerate() {
        let answer = one.await.unwrap();
        if answer.status == 503 {
            assert!(answer.headers.contains_key("retry-after"));
            turned_away[number % 2] += 1;
        }
    }
    assert!(turned_away.iter().all(|some| *some > 0), "{turned_away:?}");
    // The places are free again.
    send(&greedy, "/api/v1/auth/login", json!({"email": EMAIL, "password": PASSWORD}))
        .await
        .unwrap()
        .expect(200);
}

#[tokio::test]
async fn a_known_domain_is_refused_before_anything_is_hashed() {
    let home = Home::new().await;
    let config = Config { open_registration: true, ..config(&home) };
    let app = TestApp::over(Server::start(&config).await.unwrap(), home).await;
    let took = async |domain: &str| {
        let begun = Instant::now();
        let body = json!({"email": format!("x@{domain}"), "name": "E", "password": "long enough"});
        let status = app.send(Method::POST, "/api/v1/auth/register", None, body).await.status.as_u16();
        (begun.elapsed(), status)
    };
    // Others use the machine as well: the shortest of some.
    let mut refused = Duration::MAX;
    for _ in 0..10 {
        let (elapsed, status) = took("example.com").await;
        assert_eq!(status, 409);
        refused = refused.min(elapsed);
    }
    let (made, status) = took("example.net").await;
    assert_eq!(status, 201);
    assert!(refused < made / 3, "{refused:?} to refuse, {made:?} to make an org");
}
