//! Recorded conversations of an airline's desk: interpreter, machine code and a running server name exactly the
//! actions that break its rules.
//!
//! The recordings are not part of the project. `LICTOR_TRACES` names the folder that has them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::command::{ROOT, file, lictor};
use crate::home::Home;
use crate::running::Server;

const POLICY: &str = "tests/real/airline.lictor";
/// Events of one request.
const BATCH: usize = 250;

/// On how many actions each rule is expected, and no others on any.
const EXPECTED: [(&str, usize); 5] = [
    ("basic_economy_flights", 17),
    ("certificate_needs_human", 1),
    ("too_many_payment_methods", 6),
    ("unconfirmed_write", 61),
    ("unread_reservation", 3),
];
/// What comes of it.
const OUTCOMES: [(&str, usize); 3] = [("allow", 550), ("deny", 26), ("require_approval", 45)];

/// Names of rules, without that of their policy.
type Names = BTreeSet<String>;

#[test]
fn both_engines_name_exactly_the_actions_that_break_the_rules() {
    let Some(events) = events() else { return };
    let (jit, interpreter) = (judge(&events, "jit"), judge(&events, "interpreter"));
    assert!(jit == interpreter, "the engines print different bytes");
    let decisions: Vec<Value> = jit.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    are_as_expected(&events, &decisions);
}

#[tokio::test]
async fn a_running_server_answers_as_expected() {
    let Some(events) = events() else { return };
    let home = Home::on_files();
    let server = Server::start(&home);
    let owner = server.owner().await;
    let source = std::fs::read_to_string(policy()).unwrap();
    owner.post("/api/v1/policies", &json!({"source": source})).await.expect(201);
    let agent = owner.with(owner.key().await);
    let mut decisions = Vec::new();
    for batch in events.chunks(BATCH) {
        // What is in `at`, `org` and most of `agent` is the server's to say: it takes no agent's word for it.
        let batch: Vec<Value> = batch.iter().map(|event| serde_json::from_str(event).unwrap()).collect();
        let answer = agent.post("/api/v1/decisions", &json!({"events": batch})).await.expect(200);
        decisions.extend(answer["decisions"].as_array().unwrap().iter().cloned());
    }
    are_as_expected(&events, &decisions);
}

/// Each action is reported under exactly the rules that it certainly breaks, and decided by them.
fn are_as_expected(events: &[String], decisions: &[Value]) {
    assert_eq!(decisions.len(), events.len());
    let mut desks: BTreeMap<String, Desk> = BTreeMap::new();
    let (mut rules, mut outcomes) = (BTreeMap::new(), BTreeMap::new());
    for (number, (event, decision)) in events.iter().zip(decisions).enumerate() {
        let event: Value = serde_json::from_str(event).unwrap();
        let desk = desks.entry(text(&event["task"])).or_default();
        if event["event"] == "log" {
            desk.hear(&event);
            assert_eq!(decision["decision"], "allow", "event {}: {event}", number + 1);
            continue;
        }
        let wanted = desk.broken_by(&event);
        assert_eq!(certain(decision), wanted, "event {}: {event}", number + 1);
        let outcome = match wanted.iter().partition::<Vec<_>, _>(|name| HOLDS.contains(&name.as_str())) {
            (_, denies) if !denies.is_empty() => "deny",
            (holds, _) if !holds.is_empty() => "require_approval",
            _ => "allow",
        };
        assert_eq!(decision["decision"], outcome, "event {}: {event}", number + 1);
        *outcomes.entry(outcome).or_default() += 1;
        for name in wanted {
            *rules.entry(name).or_default() += 1;
        }
    }
    assert_eq!(outcomes, BTreeMap::from(OUTCOMES));
    assert_eq!(rules, EXPECTED.map(|(name, count)| (name.to_owned(), count)).into());
}

/// The rules of a decision that are certainly true.
fn certain(decision: &Value) -> Names {
    let rules = decision["rules"].as_array().unwrap_or_else(|| panic!("no decision: {decision}"));
    let certain = rules.iter().filter(|rule| rule["truth"] == "true");
    certain.map(|rule| text(&rule["rule"]).trim_start_matches("airline.").to_owned()).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
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

/// The rules that hold a call up; the others deny it.
const HOLDS: [&str; 2] = ["certificate_needs_human", "unconfirmed_write"];
/// Calls that change something.
const WRITES: [&str; 6] = [
    "book_reservation",
    "cancel_reservation",
    "update_reservation_flights",
    "update_reservation_baggages",
    "update_reservation_passengers",
    "send_certificate",
];

/// What one conversation has read and heard, kept here by hand, so that the policy is held against something else than
/// itself.
#[derive(Default)]
struct Desk {
    reservations: BTreeMap<String, Value>,
    users: BTreeMap<String, Value>,
    said: String,
}

impl Desk {
    fn hear(&mut self, event: &Value) {
        let properties = &event["properties"];
        let result = &properties["result"];
        let (store, id) = match event["name"].as_str() {
            Some("get_reservation_details") => {
                (&mut self.reservations, &properties["args"]["reservation_id"])
            }
            Some("get_user_details") => (&mut self.users, &properties["args"]["user_id"]),
            _ if event["step_type"] == "user_message" => {
                self.said = text(&properties["text"]);
                return;
            }
            _ => return,
        };
        if event["status"] == "ok" && result.is_object() {
            store.insert(text(id), result.clone());
        }
    }

    fn broken_by(&self, event: &Value) -> Names {
        let (tool, args) = (text(&event["tool"]), &event["metadata"]["args"]);
        if !WRITES.contains(&tool.as_str()) {
            return Names::new();
        }
        let read = |store: &BTreeMap<String, Value>, name: &str| {
            args[name].as_str().map(|id| store.get(id).cloned())
        };
        let reservation = read(&self.reservations, "reservation_id");
        let user = read(&self.users, "user_id");
        let mut broken = Names::new();
        let mut rule = |name: &str, applies: bool| {
            if applies {
                broken.insert(name.to_owned());
            }
        };
        rule("unread_reservation", reservation == Some(None));
        rule("unknown_user", user == Some(None));
        rule("unconfirmed_write", !self.said.to_lowercase().contains("yes"));
        rule("certificate_needs_human", tool == "send_certificate");
        if let Some(reservation) = reservation.flatten() {
            changes(&tool, args, &reservation, &mut rule);
        }
        if tool == "book_reservation" {
            books(args, user.flatten().as_ref(), &mut rule);
        }
        broken
    }
}

fn changes(tool: &str, args: &Value, reservation: &Value, rule: &mut impl FnMut(&str, bool)) {
    match tool {
        "cancel_reservation" => {
            let is_old = text(&reservation["created_at"]).as_str() < "2024-05-14T15:00:00";
            let is_safe = reservation["cabin"] == "business" || reservation["insurance"] == "yes";
            rule("cancel_not_allowed", is_old && !is_safe);
        }
        "update_reservation_flights" => {
            let flights = |of: &Value| -> BTreeSet<_> {
                list(of, "flights")
                    .map(|flight| (text(&flight["flight_number"]), text(&flight["date"])))
                    .collect()
            };
            let is_basic = reservation["cabin"] == "basic_economy";
            rule("basic_economy_flights", is_basic && !flights(args).is_subset(&flights(reservation)));
        }
        "update_reservation_baggages" => {
            let bags = |of: &Value| of["total_baggages"].as_i64().unwrap();
            rule("baggage_removed", bags(args) < bags(reservation));
        }
        _ => {
            let people = |of: &Value| list(of, "passengers").count();
            rule("passenger_count", people(args) != people(reservation));
        }
    }
}

fn books(args: &Value, user: Option<&Value>, rule: &mut impl FnMut(&str, bool)) {
    let ids: Vec<_> = list(args, "payment_methods").map(|method| text(&method["payment_id"])).collect();
    let count = |sort: &str| ids.iter().filter(|id| id.starts_with(sort)).count();
    rule("too_many_passengers", list(args, "passengers").count() > 5);
    rule(
        "too_many_payment_methods",
        count("certificate_") > 1 || count("credit_card_") > 1 || count("gift_card_") > 3,
    );
    let is_own = |id: &String, user: &Value| user["payment_methods"].get(id).is_some();
    rule("foreign_payment_method", user.is_some_and(|user| ids.iter().any(|id| !is_own(id, user))));
}

fn list<'a>(of: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    of[name].as_array().unwrap().iter()
}
