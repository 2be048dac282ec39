//! Recorded conversations of an airline's desk: interpreter, machine code and a running server name exactly the
//! actions that break its stateless rules.
//!
//! The recordings are not part of the project. `LICTOR_TRACES` names the folder that has them.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::command::{ROOT, file, lictor};
use crate::running::Server;

const POLICY: &str = "tests/real/airline.lictor";
/// Events of one request.
const BATCH: usize = 250;

const TOO_MANY_PAYMENTS: &str = "airline.too_many_payment_methods";
const TOO_MANY_PASSENGERS: &str = "airline.too_many_passengers";
const CERTIFICATE: &str = "airline.certificate_needs_human";

/// A rule with its truth, as a decision reports it.
type Reported = BTreeSet<(String, String)>;

#[test]
fn both_engines_name_exactly_the_actions_that_break_the_rules() {
    let Some(events) = events() else { return };
    let (jit, interpreter) = (judge(&events, "jit"), judge(&events, "interpreter"));
    assert!(jit == interpreter, "the engines print different bytes");
    let decisions: Vec<Value> = jit.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(decisions.len(), events.len());

    let values: Vec<Value> = events.iter().map(|event| serde_json::from_str(event).unwrap()).collect();
    let (mut payments, mut passengers, mut certificates) = (0, 0, 0);
    for (number, (event, decision)) in values.iter().zip(&decisions).enumerate() {
        let mut want = Reported::new();
        let mut expect = |rule: &str, count: &mut usize| {
            want.insert((rule.to_owned(), "true".to_owned()));
            *count += 1;
        };
        if has_too_many_payment_methods(event) {
            expect(TOO_MANY_PAYMENTS, &mut payments);
        }
        if has_too_many_passengers(event) {
            expect(TOO_MANY_PASSENGERS, &mut passengers);
        }
        if is_call(event, "send_certificate") {
            expect(CERTIFICATE, &mut certificates);
        }
        assert_eq!(reported(decision), want, "event {}: {event}", number + 1);
        let outcome = match want.first() {
            Some((rule, _)) if rule == CERTIFICATE => "require_approval",
            Some(_) => "deny",
            None => "allow",
        };
        assert_eq!(decision["decision"], outcome, "event {}: {event}", number + 1);
    }
    assert_eq!((payments, passengers, certificates), (6, 0, 1));
}

#[tokio::test]
async fn a_running_server_answers_as_the_command_does() {
    let Some(events) = events() else { return };
    let judged = judge(&events, "jit");
    let judged = judged.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());

    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("lictor.db"));
    let owner = server.owner().await;
    let source = std::fs::read_to_string(policy()).unwrap();
    owner.post("/api/v1/policies", &json!({"source": source})).await.expect(201);
    let agent = owner.with(owner.key().await);
    let mut answered = Vec::new();
    for batch in events.chunks(BATCH) {
        // What is in `at`, `org` and most of `agent` is the server's to say: it takes no agent's word for it.
        let batch: Vec<Value> = batch.iter().map(|event| serde_json::from_str(event).unwrap()).collect();
        let answer = agent.post("/api/v1/decisions", &json!({"events": batch})).await.expect(200);
        answered.extend(answer["decisions"].as_array().unwrap().iter().cloned());
    }

    assert_eq!(answered.len(), events.len());
    for (number, (judged, answered)) in judged.zip(&answered).enumerate() {
        assert_eq!(reported(answered), reported(&judged), "event {}: {answered}", number + 1);
        assert_eq!(answered["decision"], judged["decision"], "event {}: {answered}", number + 1);
    }
    let named = |rule: &str| {
        let wanted = (rule.to_owned(), "true".to_owned());
        answered.iter().filter(|decision| reported(decision).contains(&wanted)).count()
    };
    assert_eq!((named(TOO_MANY_PAYMENTS), named(TOO_MANY_PASSENGERS), named(CERTIFICATE)), (6, 0, 1));
}

/// The events of all conversations in order, as they were written. Nothing that says what is expected is read.
fn events() -> Option<Vec<String>> {
    #[derive(Deserialize)]
    struct Conversation {
        events: Vec<Box<RawValue>>,
    }
    let Some(folder) = std::env::var_os("LICTOR_TRACES") else {
        note("skipped: LICTOR_TRACES does not name the folder with airline-conversations.jsonl.gz");
        return None;
    };
    let path = Path::new(&folder).join("airline-conversations.jsonl.gz");
    let lines = BufReader::new(GzDecoder::new(File::open(path).unwrap())).lines();
    let conversation = |line: String| serde_json::from_str::<Conversation>(&line).unwrap().events;
    let events: Vec<_> =
        lines.flat_map(|line| conversation(line.unwrap())).map(|event| event.get().to_owned()).collect();
    assert!(!events.is_empty());
    Some(events)
}

#[expect(clippy::print_stderr, reason = "whoever runs the tests should know what was not run")]
fn note(text: &str) {
    eprintln!("{text}");
}

fn policy() -> PathBuf {
    Path::new(ROOT).join(POLICY)
}

/// What `lictor judge` prints about these events.
fn judge(events: &[String], engine: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let events = file(folder.path(), "events.jsonl", &events.join("\n"));
    let policy = policy().display().to_string();
    lictor(["judge", "--policies", &policy, "--engine", engine, &events]).expect(0).stdout
}

fn reported(decision: &Value) -> Reported {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let rules = decision["rules"].as_array().unwrap_or_else(|| panic!("no decision: {decision}"));
    rules.iter().map(|rule| (text(&rule["rule"]), text(&rule["truth"]))).collect()
}

fn is_call(event: &Value, tool: &str) -> bool {
    event["event"] == "action" && event["tool"] == tool
}

/// More than one certificate, more than one credit card or more than three gift cards: counted here by hand, so that
/// the policy is held against something else than itself.
fn has_too_many_payment_methods(event: &Value) -> bool {
    let methods = event["metadata"]["args"]["payment_methods"].as_array().map_or(&[][..], Vec::as_slice);
    let count = |prefix: &str| {
        methods
            .iter()
            .filter(|method| method["payment_id"].as_str().is_some_and(|id| id.starts_with(prefix)))
            .count()
    };
    is_call(event, "book_reservation")
        && (count("certificate_") > 1 || count("credit_card_") > 1 || count("gift_card_") > 3)
}

fn has_too_many_passengers(event: &Value) -> bool {
    let passengers = event["metadata"]["args"]["passengers"].as_array().map_or(0, Vec::len);
    is_call(event, "book_reservation") && passengers > 5
}
