//! Requests with an `Idempotency-Key`: sent again, they do nothing more and get the answer of the first time.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use lictor_server::http::access::ACCESS;
use lictor_server::http::retries::{ANY_NUMBER_OF_TIMES, ONCE};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};

use crate::app::{PASSWORD, TestApp, answer, text};
use crate::several::two;

/// Requests that come at once.
const AT_ONCE: usize = 200;

/// An answer, byte for byte.
#[derive(Debug, Clone, PartialEq)]
struct Heard {
    status: u16,
    etag: Option<String>,
    body: String,
    is_replay: bool,
}

impl Heard {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    #[track_caller]
    fn expect_first(&self) -> Value {
        assert!((200..300).contains(&self.status) && !self.is_replay, "{self:?}");
        self.json()
    }

    #[track_caller]
    fn expect_too_large(&self) {
        assert_eq!(self.status, 413, "{self:?}");
    }

    #[track_caller]
    fn expect_again(&self, first: &Heard) {
        assert_eq!(self, &Heard { is_replay: true, ..first.clone() });
    }
}

async fn heard(request: RequestBuilder) -> Heard {
    let response = request.send().await.unwrap();
    let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let (etag, is_replay) = (header("etag"), header("idempotency-replayed").as_deref() == Some("true"));
    let status = response.status().as_u16();
    Heard { status, etag, is_replay, body: response.text().await.unwrap() }
}

fn with_key(app: &TestApp, path: &str, credential: &str, key: &str, body: &Value) -> RequestBuilder {
    let request = app.request(Method::POST, path, Some(credential));
    request.header("idempotency-key", key).json(body)
}

async fn once(app: &TestApp, path: &str, key: &str, body: &Value) -> Heard {
    heard(with_key(app, path, &app.token, key, body)).await
}

fn intent(amount: i64) -> Value {
    json!({"event": "intent", "agent": {"id": "bot"}, "action": "pay", "amount": amount})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_that_makes_or_judges_something_does_it_once() {
    let app = TestApp::start().await;
    let key = app.key().await;
    let agent = app.agent(&key, "bot").await;
    let rotated = app.post("/api/v1/auth/api-keys", json!({"name": "r"})).await.expect(201);
    let source = "policy p {}\nrule r on intent { when amount > 9 deny incident high }";
    app.post("/api/v1/policies", json!({"source": source})).await.expect(201);
    app.post("/api/v1/decisions", intent(10)).await.expect(200);
    let incident = text(&app.get("/api/v1/incidents").await.expect(200)[0]["incident_id"]);
    let incident = |what: &str| (format!("/api/v1/incidents/{incident}/{what}"), json!({}));
    let rotate = format!("/api/v1/auth/api-keys/{}/rotate", text(&rotated["id"]));
    let log = json!({"agent_id": "bot", "task_id": "t", "node_type": "TOOL_CALL"});
    let declared = json!({"agent_id": agent, "org_id": app.org, "action": "refund"});
    // What an agent asks comes with its key, all else from a person.
    let asked = [
        ("/api/v1/decisions".to_owned(), intent(10)),
        ("/api/v1/decisions".to_owned(), json!({"events": [intent(1), {"event": "intent"}, intent(10)]})),
        ("/api/v1/logs".to_owned(), log),
        ("/api/v1/logs".to_owned(), json!({"agent_id": "new", "task_id": "t", "node_type": "TOOL_CALL"})),
        ("/api/v1/agents".to_owned(), json!({"agent_key": "other", "purpose": "x"})),
        ("/api/v3/intents".to_owned(), declared),
        incident("acknowledge"),
        incident("resolve"),
        incident("reactivate"),
        incident("ignore"),
        ("/api/v1/auth/api-keys".to_owned(), json!({"name": "k"})),
        ("/v1/keys".to_owned(), json!({"name": "k"})),
        (rotate, json!({"overlap_s": 60})),
        (
            "/api/v1/policies".to_owned(),
            json!({"source": "policy q {}\nrule r on intent { when amount > 5 warn }"}),
        ),
        ("/api/v1/policies/q/shadow".to_owned(), json!({})),
        ("/api/v1/policies/q/disable".to_owned(), json!({})),
        ("/api/v1/policies/q/enable".to_owned(), json!({})),
        (
            "/api/v1/policy-templates/payment_controls/apply".to_owned(),
            json!({"parameters": {"never_above": 0.5, "currencies": ["CHF"]}, "mode": "shadow"}),
        ),
        ("/api/v1/orgs".to_owned(), json!({"name": "Other"})),
        ("/api/v1/auth/password".to_owned(), json!({"password": PASSWORD, "new_password": "another one"})),
    ];
    let mut routes = BTreeSet::new();
    for (number, (path, body)) in asked.iter().enumerate() {
        let agents = ["/api/v1/decisions", "/api/v1/logs", "/api/v1/agents", "/api/v3/intents"];
        let credential = if agents.contains(&path.as_str()) { &key } else { &app.token };
        let request = || {
            let request = with_key(&app, path, credential, &format!("request {number}"), body);
            match path.starts_with("/api/v3") {
                true => request.header("x-org-id", &app.org).header("x-agent-id", &agent),
                false => request,
            }
        };
        let before = app.head().await.0;
        let mut first = heard(request()).await;
        assert!((200..300).contains(&first.status) && !first.is_replay, "{path}: {first:?}");
        let after = app.head().await.0;
        assert!(after > before || path == "/api/v1/orgs", "{path}: nothing happened");
        // What is shown once is not kept.
        if let Ok(Value::Object(members)) = serde_json::from_str::<Value>(&first.body)
            && members.contains_key("key")
            && members["key"].is_string()
        {
            first.body = first.body.replace(&format!("\"{}\"", text(&members["key"])), "null");
        }
        for _ in 0..2 {
            heard(request()).await.expect_again(&first);
        }
        assert_eq!(app.head().await.0, after, "{path}: it was done again");
        routes.insert(ONCE.iter().find(|route| is_of(path, route)).unwrap());
    }
    assert_eq!(app.get("/api/v1/orgs").await.expect(200).as_array().unwrap().len(), 2);
    assert_eq!(routes.len(), ONCE.len(), "{routes:?}");
}

/// Whether a path is one of a route.
fn is_of(path: &str, route: &str) -> bool {
    let (path, route): (Vec<_>, Vec<_>) = (path.split('/').collect(), route.split('/').collect());
    path.len() == route.len() && path.iter().zip(route).all(|(part, of)| *part == of || of.starts_with('{'))
}

#[test]
fn every_route_that_is_posted_to_says_how_often_it_does_what_it_is_asked() {
    let said: Vec<_> = ONCE.iter().chain(ANY_NUMBER_OF_TIMES).collect();
    for (method, path, _) in ACCESS {
        let count = said.iter().filter(|route| **route == path).count();
        assert_eq!(count, usize::from(*method == "POST" || said.contains(&path)), "{method} {path}");
    }
    for route in said {
        assert!(ACCESS.iter().any(|(method, path, _)| *method == "POST" && path == route), "{route}");
    }
}

#[tokio::test]
async fn the_documentation_names_the_header_where_it_counts() {
    let app = TestApp::start().await;
    let document = app.get("/openapi.json").await.expect(200);
    let mut documented = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            if parameters.into_iter().any(|parameter| parameter["name"] == "Idempotency-Key") {
                assert_eq!(method, "post");
                documented.insert(path.as_str());
            }
        }
    }
    assert_eq!(documented, ONCE.iter().copied().collect());
}

/// Sends the same request so many times at once, and gives the answers.
async fn at_once(requests: impl Iterator<Item = RequestBuilder>) -> Vec<Heard> {
    let sent: Vec<_> = requests.map(|request| tokio::spawn(heard(request))).collect();
    let mut answers = Vec::new();
    for answer in sent {
        answers.push(answer.await.unwrap());
    }
    answers
}

/// Of answers to one request, one is the first and all others are the same.
#[track_caller]
fn expect_one(answers: &[Heard]) -> Heard {
    let first: Vec<_> = answers.iter().filter(|answer| !answer.is_replay).collect();
    assert_eq!(first.len(), 1, "{first:?}");
    answers.iter().filter(|answer| answer.is_replay).for_each(|answer| answer.expect_again(first[0]));
    first[0].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_hundred_at_once_one_is_done_and_all_hear_of_it() {
    let app = TestApp::start().await;
    let key = app.key().await;
    app.agent(&key, "bot").await;
    let before = app.head().await.0;
    let same = || with_key(&app, "/api/v1/decisions", &key, "same", &intent(1));
    let first = expect_one(&at_once((0..AT_ONCE).map(|_| same())).await);
    assert_eq!(app.head().await.0, before + 1);
    assert_eq!(first.json()["seq"], before + 1);

    let log = json!({"agent_id": "bot", "task_id": "t", "node_type": "TOOL_CALL"});
    let steps = at_once((0..AT_ONCE).map(|_| with_key(&app, "/api/v1/logs", &key, "same", &log))).await;
    assert_eq!(expect_one(&steps).json()["step_number"], 1);
    assert_eq!(app.head().await.0, before + 2);

    // Where more than the ledger would tell that it was done before.
    let policy = json!({"source": "policy p {}\nrule r on intent { when amount > 5 warn }"});
    for (path, body) in [("/api/v1/policies", policy), ("/api/v1/orgs", json!({"name": "Other"}))] {
        let answers = at_once((0..8).map(|_| with_key(&app, path, &app.token, "same", &body))).await;
        assert_eq!(expect_one(&answers).status, 201);
    }
    assert_eq!(app.head().await.0, before + 3);
    assert_eq!(app.get("/api/v1/orgs").await.expect(200).as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_key_names_one_request_of_one_account() {
    let app = TestApp::start().await;
    let path = "/api/v1/decisions";
    let first = once(&app, path, "k", &intent(1)).await;
    first.expect_first();
    // However it is spelled, it is the same.
    let spelled = r#" {"amount": 1.0, "action":"pay","agent":{"id":"b\u006ft"}, "event":"intent"} "#;
    let request = app.request(Method::POST, path, Some(&app.token)).header("idempotency-key", "k");
    heard(request.body(spelled)).await.expect_again(&first);
    let other = answer(with_key(&app, path, &app.token, "k", &intent(2))).await.expect_problem(409, "");
    assert_eq!(other["code"], "idempotency_key_reused");
    // Of another route, another account, another org it is another key.
    let log = json!({"agent_id": "bot", "task_id": "t", "node_type": "TOOL_CALL"});
    once(&app, "/api/v1/logs", "k", &log).await.expect_first();
    let ann = app.member("ann@example.com", "member").await;
    heard(with_key(&app, path, &ann, "k", &intent(2))).await.expect_first();
    let theirs = app.org("Theirs").await;
    heard(with_key(&app, path, &theirs.token, "k", &intent(3))).await.expect_first();
    let mine = text(&app.post("/api/v1/orgs", json!({"name": "Mine"})).await.expect(201)["id"]);
    let in_mine = || with_key(&app, path, &app.token, "k", &intent(4)).header("x-org-id", &mine);
    let there = heard(in_mine()).await;
    there.expect_first();
    heard(in_mine()).await.expect_again(&there);
    heard(with_key(&app, path, &app.token, "k", &intent(1))).await.expect_again(&first);
}

#[tokio::test]
async fn a_key_is_one_printable_text_of_at_most_255_characters() {
    let app = TestApp::start().await;
    let path = "/api/v1/decisions";
    once(&app, path, &"k".repeat(255), &intent(1)).await.expect_first();
    once(&app, path, "a key: with \"quotes\", spaces and ~", &intent(1)).await.expect_first();
    let before = app.head().await;
    for key in [&"k".repeat(256)[..], "", "tab\there", "é"] {
        let request = app.request(Method::POST, path, Some(&app.token)).json(&intent(1));
        answer(request.header("idempotency-key", key)).await.expect_problem(400, "Idempotency-Key");
    }
    let twice = with_key(&app, path, &app.token, "a", &intent(1)).header("idempotency-key", "b");
    answer(twice).await.expect_problem(400, "Idempotency-Key");
    assert_eq!(app.head().await, before);
}

#[tokio::test]
async fn a_key_makes_no_body_dearer() {
    let app = TestApp::start().await;
    app.agent(&app.token, "bot").await;
    let mut long = intent(1);
    long["payload"] = json!("x".repeat(2 << 20));
    once(&app, "/api/v1/logs", "k", &long).await.expect_too_large();
    // Deep and long at once: spelling it anew would copy it for each level.
    let deep = format!("{}{}{}", "[".repeat(120), "0,".repeat(1 << 19) + "0", "]".repeat(120));
    let request = app.request(Method::POST, "/api/v1/decisions", Some(&app.token));
    let request = request.header("content-type", "application/json").header("idempotency-key", "deep");
    let begun = Instant::now();
    let decided = answer(request.body(format!("{{\"events\": {deep}}}"))).await.expect(200);
    assert_eq!(decided["decisions"][0]["status"], 400, "{decided}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn what_failed_may_be_tried_again_with_the_same_key() {
    let app = TestApp::start().await;
    let path = "/api/v1/policies/p/disable";
    assert_eq!(once(&app, path, "k", &json!({})).await.status, 404);
    let source = json!({"source": "policy p {}\nrule r on intent { when amount > 5 warn }"});
    let wrong = json!({"source": "policy p {"});
    assert_eq!(once(&app, "/api/v1/policies", "k", &wrong).await.status, 422);
    once(&app, "/api/v1/policies", "k", &source).await.expect_first();
    once(&app, path, "k", &json!({})).await.expect_first();
    // A batch is judged together or not at all, so it may not be long.
    let path = "/api/v1/decisions";
    let many = |count| json!({"events": vec![intent(1); count]});
    answer(with_key(&app, path, &app.token, "m", &many(257))).await.expect_problem(400, "events");
    once(&app, path, "m", &many(256)).await.expect_first();
}

#[tokio::test]
async fn what_records_nothing_is_not_kept() {
    let app = TestApp::start().await;
    let mut dry = intent(1);
    dry["dry_run"] = json!(true);
    for _ in 0..2 {
        assert_eq!(once(&app, "/api/v1/decisions", "k", &dry).await.expect_first()["dry_run"], true);
    }
    let first = once(&app, "/api/v1/decisions", "k", &intent(1)).await;
    first.expect_first();
    once(&app, "/api/v1/decisions", "k", &dry).await.expect_first();
    once(&app, "/api/v1/decisions", "k", &intent(1)).await.expect_again(&first);
    let check = json!({"source": "policy p {}"});
    for _ in 0..2 {
        assert!(!once(&app, "/api/v1/policies/check", "k", &check).await.is_replay);
    }
}

#[tokio::test]
async fn an_answer_outlives_the_server_and_no_secret_is_in_it() {
    let app = TestApp::start().await;
    let key = app.key().await;
    app.agent(&key, "bot").await;
    let decided = heard(with_key(&app, "/api/v1/decisions", &key, "d", &intent(1))).await;
    decided.expect_first();
    let made = once(&app, "/api/v1/auth/api-keys", "k", &json!({"name": "k"})).await.expect_first();
    assert!(made["key"].is_string());
    let app = app.restart().await;
    heard(with_key(&app, "/api/v1/decisions", &key, "d", &intent(1))).await.expect_again(&decided);
    let again = once(&app, "/api/v1/auth/api-keys", "k", &json!({"name": "k"})).await;
    assert!(again.is_replay);
    assert_eq!(again.json(), json!({"key": null, "id": made["id"], "name": "k", "prefix": made["prefix"]}));
    // It is no key to what others asked.
    let revoke = format!("/api/v1/auth/api-keys/{}", text(&made["id"]));
    let by_made = with_key(&app, "/api/v1/decisions", &text(&made["key"]), "d", &intent(1));
    assert_eq!(heard(by_made.try_clone().unwrap()).await.status, 200);
    app.send(Method::DELETE, &revoke, Some(&app.token), json!({})).await.expect(204);
    assert_eq!(heard(by_made).await.status, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_servers_that_are_asked_at_once_do_it_once() {
    let (first, second) = two().await;
    let client = Client::new();
    let request = |base: &str, path: &str, key: &str, body: &Value| {
        let request = client.post(format!("{base}{path}")).bearer_auth(&first.token);
        request.header("idempotency-key", key).json(body)
    };
    first.post("/api/v1/decisions", intent(1)).await.expect(200);
    let before = first.head().await.0;
    let policy = json!({"source": "policy p {}\nrule r on intent { when amount > 5 warn }"});
    for (path, body, entries, count) in [
        ("/api/v1/decisions", intent(7), 1, AT_ONCE),
        ("/api/v1/policies", policy, 2, 8),
        ("/api/v1/auth/api-keys", json!({"name": "k"}), 3, 8),
        ("/api/v1/orgs", json!({"name": "Other"}), 3, 8),
    ] {
        let bases = [&first.base, &second.base].into_iter().cycle().take(count);
        let mut answers = at_once(bases.map(|base| request(base, path, "same", &body))).await;
        for answer in &mut answers {
            if let Some(key) = answer.json()["key"].as_str() {
                answer.body = answer.body.replace(&format!("\"{key}\""), "null");
            }
        }
        expect_one(&answers);
        assert_eq!(first.head().await.0, before + entries, "{path}");
    }
    // Whichever made it, the other knows it within a second.
    let begun = Instant::now();
    while first.get("/api/v1/orgs").await.expect(200).as_array().unwrap().len() != 2 {
        assert!(begun.elapsed() < Duration::from_secs(1), "the org is not known");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
