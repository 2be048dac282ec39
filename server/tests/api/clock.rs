//! Clocks that jump: ledger time never goes back, windows are never negative, tokens don't live longer, and a machine
//! whose clock was moved says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use lictor_server::Server;
use lictor_server::clock::{Clock, micros};
use reqwest::Method;
use serde_json::json;

use crate::app::{EMAIL, PASSWORD, TestApp, config, text};
use crate::home::Home;

const SECOND_US: i64 = 1_000_000;
const HOUR_US: i64 = 3_600 * SECOND_US;
const TEN_YEARS_US: i64 = 3_652 * 24 * HOUR_US;

/// A clock that is set by hand, of a machine whose own clock is as well.
#[derive(Debug)]
struct Hand {
    now_us: AtomicI64,
    moved_us: AtomicI64,
}

impl Hand {
    fn at(time: &str) -> Arc<Hand> {
        Arc::new(Hand { now_us: micros(time).unwrap().into(), moved_us: 0.into() })
    }
}

impl Clock for Hand {
    fn now_us(&self) -> i64 {
        self.now_us.load(Ordering::SeqCst)
    }

    fn moved_us(&self) -> i64 {
        self.moved_us.load(Ordering::SeqCst)
    }
}

async fn start(clock: &Arc<Hand>) -> TestApp {
    start_in(Home::new().await, clock).await
}

async fn start_in(home: Home, clock: &Arc<Hand>) -> TestApp {
    let server = Server::start_at(&config(&home), Arc::clone(clock) as Arc<dyn Clock>).await.unwrap();
    TestApp::over(server, home).await
}

/// The clock jumps, and the owner logs in again: no token is good before it was issued.
async fn jump(app: &mut TestApp, clock: &Hand, by_us: i64) {
    clock.now_us.fetch_add(by_us, Ordering::SeqCst);
    app.token = app.token_of(EMAIL, PASSWORD).await;
}

/// Allows three in an hour.
async fn limit(app: &TestApp) {
    let source = "policy p {}\nrule many on intent { when count(intent per agent.id within 1h) >= 3 deny }";
    app.post("/api/v1/policies", json!({"source": source})).await.expect(201);
}

async fn expect(app: &TestApp, decisions: &[&str]) {
    for (number, want) in decisions.iter().enumerate() {
        let event = json!({"event": "intent", "agent": {"id": "bot"}, "action": "pay"});
        let decided = app.post("/api/v1/decisions", event).await.expect(200);
        assert_eq!(decided["decision"], *want, "{number} of {decisions:?}");
    }
}

/// Ledger time only goes forward, and never twice the same.
async fn expect_forward(app: &TestApp) -> Vec<i64> {
    let times: Vec<_> =
        app.ledger().await.iter().map(|entry| entry["record"]["at"].as_i64().unwrap()).collect();
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
    times
}

#[tokio::test]
async fn a_jump_in_the_middle_of_a_window_opens_it_for_nobody() {
    let clock = Hand::at("2026-11-21T12:00:00Z");
    let mut app = start(&clock).await;
    limit(&app).await;
    expect(&app, &["allow", "allow"]).await;
    // Back, by any span: what happened is as near as it was.
    jump(&mut app, &clock, -HOUR_US).await;
    expect(&app, &["allow", "deny"]).await;
    jump(&mut app, &clock, -TEN_YEARS_US).await;
    expect(&app, &["deny"]).await;
    // To where it was, and a little: less than an hour passed.
    jump(&mut app, &clock, TEN_YEARS_US + HOUR_US + SECOND_US).await;
    expect(&app, &["deny"]).await;
    // An hour on: what fills the window is the one that was denied just before, which counts for nothing.
    jump(&mut app, &clock, HOUR_US).await;
    expect(&app, &["allow", "allow", "allow", "deny"]).await;
    jump(&mut app, &clock, TEN_YEARS_US).await;
    expect(&app, &["allow", "allow", "allow", "deny"]).await;
    // Ten years too far, and set right: nothing opens until ledger time is reached again, also after a restart.
    jump(&mut app, &clock, -TEN_YEARS_US).await;
    expect(&app, &["deny"]).await;
    let app = start_in(app.stop().await, &clock).await;
    expect(&app, &["deny"]).await;
    let times = expect_forward(&app).await;
    let span = times[times.len() - 1] - times[0];
    let passed = TEN_YEARS_US + HOUR_US + SECOND_US;
    assert!((passed..passed + SECOND_US).contains(&span), "ledger time went on by {span} us");
}

#[tokio::test]
async fn a_second_that_comes_twice_is_passed_once() {
    let clock = Hand::at("2016-12-31T23:59:59.500Z");
    let mut app = start(&clock).await;
    limit(&app).await;
    expect(&app, &["allow"]).await;
    // A leap second on a machine that repeats the second before it, again and again.
    for _ in 0..3 {
        jump(&mut app, &clock, SECOND_US / 2).await;
        jump(&mut app, &clock, -SECOND_US / 2).await;
        expect_forward(&app).await;
    }
    expect(&app, &["allow", "allow", "deny"]).await;
    let times = expect_forward(&app).await;
    assert!(times[times.len() - 1] - times[0] < SECOND_US, "{times:?}");
}

#[tokio::test]
async fn a_token_lives_no_longer_than_its_span() {
    let clock = Hand::at("2026-11-21T12:00:00Z");
    let app = start(&clock).await;
    let status = async || app.get("/api/v1/orgs").await.status.as_u16();
    let go = |by_us| clock.now_us.fetch_add(by_us, Ordering::SeqCst);
    assert_eq!(status().await, 200);
    go(23 * HOUR_US);
    assert_eq!(status().await, 200);
    // Before it was issued it is as bad as after its end.
    go(-24 * HOUR_US);
    assert_eq!(status().await, 401);
    go(25 * HOUR_US);
    assert_eq!(status().await, 401);
    go(TEN_YEARS_US);
    assert_eq!(status().await, 401);
}

#[tokio::test]
async fn a_machine_whose_clock_was_moved_is_not_ready_and_says_so() {
    let clock = Hand::at("2026-11-21T12:00:00Z");
    let app = start(&clock).await;
    let other = app.org("Other").await;
    app.get("/ready").await.expect(200);
    for moved_us in [60 * SECOND_US, -60 * SECOND_US] {
        clock.moved_us.store(moved_us, Ordering::SeqCst);
        app.get("/ready").await.expect(200);
    }
    clock.moved_us.store(-61 * SECOND_US, Ordering::SeqCst);
    assert_eq!(app.get("/ready").await.expect(503)["status"], "clock_moved");
    // It decides all the same, by a time that was not moved.
    expect(&app, &["allow"]).await;
    for token in [&app.token, &other.token] {
        let begun = Instant::now();
        let incident = loop {
            let incidents =
                app.send(Method::GET, "/api/v1/incidents", Some(token), json!({})).await.expect(200);
            match incidents.as_array().unwrap().first() {
                Some(incident) => break incident.clone(),
                None => assert!(begun.elapsed() < Duration::from_secs(10), "nobody is told"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        assert_eq!((&incident["rule"], &incident["severity"]), (&json!("server.clock"), &json!("high")));
        assert!(text(&incident["title"]).contains("-61 s"), "{incident}");
    }
    clock.moved_us.store(0, Ordering::SeqCst);
    app.get("/ready").await.expect(200);
}
