//! Policies are swapped under load: every answer agrees with the policy set that it names.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::app::{TestApp, answer, text};

const THREADS: usize = 8;
const ANSWERS: usize = 200_000;
const BATCH: usize = 250;
/// Times that a batch is sent before nobody can be said to decide.
const BUSY: usize = 10;

/// What matters of the answer to a batch.
#[derive(Deserialize)]
struct Answers<'a> {
    #[serde(borrow)]
    decisions: Vec<Answer<'a>>,
}

#[derive(Deserialize)]
struct Answer<'a> {
    policy_set: &'a str,
    decision: &'a str,
}

fn source(effect: &str) -> Value {
    json!({"source": format!(
        "policy switch {{}}
         rule all on intent {{ when action == \"x\" {effect} }}
         rule many on intent {{ when count(intent per agent.id within 1h) >= 5 score +0.1 }}"
    )})
}

/// The answer to a batch. A machine that is busy with other tests may make a server say that it can't decide now.
async fn decide(app: &TestApp, key: &str, batch: &str) -> String {
    for _ in 0..BUSY {
        let request = app.request(Method::POST, "/api/v1/decisions", Some(key)).body(batch.to_owned());
        let response = request.send().await.unwrap();
        if response.status() != StatusCode::SERVICE_UNAVAILABLE {
            return response.error_for_status().unwrap().text().await.unwrap();
        }
    }
    panic!("no decision after {BUSY} requests");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_answer_agrees_with_the_generation_that_it_names() {
    let app = Arc::new(TestApp::start().await);
    let key = app.key().await;
    app.agent(&key, "bot").await;
    let path = text(&app.post("/api/v1/policies", source("deny")).await.expect(201)["id"]);
    let path = format!("/api/v1/policies/{path}");
    let event = json!({"event": "intent", "agent": {"id": "bot"}, "action": "x"});
    let batch = Arc::new(json!({"events": vec![event; BATCH]}).to_string());
    let (left, done) = (Arc::new(AtomicUsize::new(ANSWERS)), Arc::new(AtomicBool::new(false)));
    let mut readers = Vec::new();
    for _ in 0..THREADS {
        let (app, key, batch, left) = (Arc::clone(&app), key.clone(), Arc::clone(&batch), Arc::clone(&left));
        readers.push(tokio::spawn(async move {
            let mut seen: HashMap<(String, String), usize> = HashMap::new();
            while left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(BATCH))
                .is_ok()
            {
                let body = decide(&app, &key, &batch).await;
                let Answers { decisions } = serde_json::from_str(&body).unwrap();
                assert_eq!(decisions.len(), BATCH);
                for Answer { policy_set, decision } in decisions {
                    *seen.entry((policy_set.to_owned(), decision.to_owned())).or_default() += 1;
                }
            }
            seen
        }));
    }
    let swapper = {
        let (app, done) = (Arc::clone(&app), Arc::clone(&done));
        tokio::spawn(async move {
            let mut outcomes = HashMap::new();
            let mut swaps = 0;
            let mut ticks = tokio::time::interval(Duration::from_millis(50));
            for effect in ["allow", "deny"].into_iter().cycle() {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                ticks.tick().await;
                let put = app.request(Method::PUT, &path, Some(&app.token)).json(&source(effect));
                outcomes.insert(text(&answer(put).await.expect(200)["policy_set"]), effect);
                swaps += 1;
            }
            (outcomes, swaps)
        })
    };
    let mut answers: HashMap<(String, String), usize> = HashMap::new();
    for reader in readers {
        for (answer, count) in reader.await.unwrap() {
            *answers.entry(answer).or_default() += count;
        }
    }
    done.store(true, Ordering::Relaxed);
    let (outcomes, swaps) = swapper.await.unwrap();
    assert_eq!(answers.values().sum::<usize>(), ANSWERS);
    assert_eq!(answers.len(), 2, "each set answered, and one way only: {answers:?}");
    for ((policy_set, decision), _) in answers {
        assert_eq!(outcomes.get(&policy_set), Some(&decision.as_str()), "{policy_set}");
    }
    assert!(swaps >= 20, "only {swaps} swaps");
}
