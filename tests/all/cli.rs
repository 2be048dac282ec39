//! The command on small files: exit codes, what programs read, what a pipe gets.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::command::{command, file, lictor, lictor_reading};

const POLICY: &str = r#"
policy refunds {
  title = "Refunds"
}

param cap: number = 1_000 in 0..10_000 "Largest refund without a human"

default on intent allow

/// Large refunds wait for a human.
rule large on intent {
  when   action == "refund" and amount > cap
  unless agent.tags has "treasury"
  require approval from "finance" within 60m
  score +0.35
  incident high
  because "refund of {amount} is above {cap}"
}

test "a refund above the cap waits" {
  intent { action = "refund", amount = cap + 1 }
  expect require approval by large
}
"#;

/// Free of errors, but a rule without a `when` is worth a warning.
const WARNED: &str = "policy p {}\nrule everything on intent { deny }\n";

/// An unknown field, and a comparison that can never hold.
const BROKEN: &str = "policy p {}\nrule a on intent { when amuont > 1 deny }\nrule b on intent { when amount == \"1\" deny }\n";

const FAILING: &str = "policy p {}\nrule all on intent { when action == \"x\" deny }\n\
                       test \"wrong\" { intent { action = \"x\" } expect allow }\n";

/// A refund below the cap, one above it, and one of unknown size.
const EVENTS: &str = r#"{"event":"intent","at":"2026-01-01T12:00:00Z","org":"acme","agent":{"id":"a"},"action":"refund","amount":5}
{"event":"intent","at":"2026-01-01T12:00:01Z","org":"acme","agent":{"id":"a"},"action":"refund","amount":5000}
{"event":"intent","at":"2026-01-01T12:00:02Z","org":"acme","agent":{"id":"a"},"action":"refund"}
"#;

/// The files of one test.
struct Files {
    folder: TempDir,
    policy: String,
    events: String,
}

fn files() -> Files {
    let folder = tempfile::tempdir().unwrap();
    let policy = file(folder.path(), "refunds.lictor", POLICY);
    let events = file(folder.path(), "events.jsonl", EVENTS);
    Files { folder, policy, events }
}

impl Files {
    fn add(&self, name: &str, text: &str) -> String {
        file(self.folder.path(), name, text)
    }

    fn judge<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        [&["judge", "--policies", &self.policy], more].concat()
    }
}

#[test]
fn the_exit_code_is_0_clean_1_findings_2_misuse() {
    let files = files();
    let (policy, events) = (files.policy.as_str(), files.events.as_str());
    let warned = &*files.add("warned.lictor", WARNED);
    let broken = &*files.add("broken.lictor", BROKEN);
    let failing = &*files.add("failing.lictor", FAILING);
    let empty = files.folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let (empty, absent) = (empty.to_str().unwrap(), "absent.lictor");
    let cases: &[(i32, &[&str])] = &[
        (0, &["--help"]),
        (0, &["--version"]),
        (2, &[]),
        (2, &["conquer"]),
        (0, &["check", policy]),
        (0, &["check", "--strict", policy]),
        (0, &["check", warned]),
        (1, &["check", "--strict", warned]),
        (1, &["check", broken]),
        (1, &["check", policy, broken]),
        (2, &["check"]),
        (2, &["check", absent]),
        (2, &["check", policy, absent]),
        (2, &["check", empty]),
        (2, &["check", "--format", "yaml", policy]),
        (0, &["test", policy]),
        (1, &["test", failing]),
        (1, &["test", policy, failing]),
        (1, &["test", broken]),
        (2, &["test", absent]),
        (0, &["judge", "--policies", policy, events]),
        (1, &["judge", "--policies", broken, events]),
        (2, &["judge", events]),
        (2, &["judge", "--policies", policy, absent]),
        (2, &["judge", "--policies", absent, events]),
        (2, &["judge", "--policies", policy, "--engine", "steam", events]),
        (2, &["judge", "--policies", policy, "--param", "cap=1", events]),
        (2, &["judge", "--policies", policy, "--param", "refunds.cup=1", events]),
        (2, &["judge", "--policies", policy, "--param", "other.cap=1", events]),
        (2, &["judge", "--policies", policy, "--param", "refunds.cap=many", events]),
        (2, &["judge", "--policies", policy, "--param", "refunds.cap=10001", events]),
        (0, &["explain", "--policies", policy, events, "--at", "1"]),
        (0, &["explain", "--policies", policy, events, "--at", "3"]),
        (1, &["explain", "--policies", broken, events, "--at", "1"]),
        (2, &["explain", "--policies", policy, events]),
        (2, &["explain", "--policies", policy, events, "--at", "0"]),
        (2, &["explain", "--policies", policy, events, "--at", "4"]),
        (2, &["explain", "--policies", policy, absent, "--at", "1"]),
        (0, &["plan", policy]),
        (1, &["plan", broken]),
        (2, &["plan", absent]),
    ];
    let wrong: Vec<_> = cases
        .iter()
        .map(|(want, arguments)| (want, arguments, lictor(*arguments)))
        .filter(|(want, _, ended)| ended.code != Some(**want))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn misuse_is_explained_on_standard_error() {
    let ended = lictor(["check", "absent.lictor"]).expect(2);
    assert_eq!(ended.stdout, "");
    assert!(ended.stderr.contains("absent.lictor"), "{}", ended.stderr);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
}

#[test]
fn a_folder_means_all_policies_below_it() {
    let files = files();
    let below = files.folder.path().join("a/b");
    std::fs::create_dir_all(&below).unwrap();
    file(&below, "broken.lictor", BROKEN);
    file(&below, "notes.txt", "not a policy");
    let folder = files.folder.path().to_str().unwrap();
    let found = lictor(["check", "--format", "json", folder]).expect(1).json();
    let errors = found.as_array().unwrap().iter().filter(|found| found["severity"] == "error");
    let about: BTreeSet<_> = errors.map(|found| found["file"].as_str().unwrap()).collect();
    assert_eq!(about, BTreeSet::from([below.join("broken.lictor").to_str().unwrap()]));
}

#[test]
fn check_tells_programs_code_place_and_help() {
    let files = files();
    let broken = files.add("broken.lictor", BROKEN);
    let found = lictor(["check", "--format", "json", &broken]).expect(1).json();
    let errors: Vec<_> =
        found.as_array().unwrap().iter().filter(|found| found["severity"] == "error").collect();
    assert_eq!(errors.len(), 2, "{found:#}");
    for error in &errors {
        let want = [
            "code",
            "severity",
            "message",
            "file",
            "line",
            "column",
            "end_line",
            "end_column",
            "help",
            "fixes",
        ];
        assert_eq!(members(error), BTreeSet::from(want));
        assert!(error["code"].as_str().unwrap().starts_with('L'), "{error}");
        assert!(!error["help"].as_str().unwrap().is_empty(), "{error}");
        assert_eq!(error["file"], *broken);
    }
    assert_eq!((&errors[0]["line"], &errors[0]["column"]), (&json!(2), &json!(25)));
    assert_eq!((&errors[0]["end_line"], &errors[0]["end_column"]), (&json!(2), &json!(31)));
    assert!(errors[0].to_string().contains("amount"), "the nearest name is offered: {}", errors[0]);
    assert_eq!(errors[1]["line"], 3);
    let notes = lictor(["check", "--format", "json", &files.policy]).expect(0).json();
    assert!(notes.as_array().unwrap().iter().all(|note| note["severity"] == "note"), "{notes:#}");
}

#[test]
fn test_tells_programs_what_failed() {
    let files = files();
    let failing = files.add("failing.lictor", FAILING);
    let reports = lictor(["test", "--format", "json", &files.policy, &failing]).expect(1).json();
    let reports = reports.as_array().unwrap();
    let passed: Vec<_> =
        reports.iter().map(|report| report["failures"].as_array().unwrap().is_empty()).collect();
    assert_eq!(reports.len(), 2);
    for (report, passed) in reports.iter().zip(passed) {
        assert_eq!(passed, report["policy"] == "refunds", "{report}");
        assert!(report["test"].is_string(), "{report}");
    }
    let text = lictor(["test", &failing]).expect(1).stdout;
    assert!(text.contains("wrong") && text.contains("action == \"x\""), "{text}");
}

#[test]
fn judge_prints_one_decision_a_line() {
    let files = files();
    let lines = lictor(files.judge(&[&files.events])).expect(0).json_lines();
    let shown: Vec<_> =
        lines.iter().map(|line| (line["decision"].as_str(), line["class"].as_str())).collect();
    let want = [
        (Some("allow"), Some("allowed")),
        (Some("require_approval"), Some("approval_required")),
        (Some("require_approval"), Some("undecided")),
    ];
    assert_eq!(shown, want);
    for line in &lines {
        let members = members(line);
        for member in ["decision", "class", "risk", "rules", "policy_set"] {
            assert!(members.contains(member), "no {member} in {line}");
        }
        assert!(line["policy_set"].as_str().unwrap().starts_with("sha256:"));
    }
    let large = &lines[1];
    assert_eq!(large["risk"], json!(0.35));
    assert_eq!(large["reason"], "refund of 5000 is above 1000");
    assert_eq!(large["approval"], json!({"from": ["finance"], "count": 1, "within_s": 3600}));
    let rule = &large["rules"][0];
    assert_eq!((&rule["rule"], &rule["effect"]), (&json!("refunds.large"), &json!("require_approval")));
    assert_eq!((&rule["truth"], &rule["mode"]), (&json!("true"), &json!("enforce")));
    let incident = &large["incidents"][0];
    assert_eq!((&incident["rule"], &incident["severity"]), (&json!("refunds.large"), &json!("high")));
    assert_eq!(incident["key"], json!(["a"]));
    let unknown = &lines[2]["rules"][0];
    assert_eq!((&unknown["truth"], &unknown["missing"]), (&json!("unknown"), &json!(["amount"])));
}

#[test]
fn judge_reads_standard_input() {
    let files = files();
    let want = lictor(files.judge(&[&files.events])).expect(0).stdout;
    assert_eq!(lictor_reading(files.judge(&[]), EVENTS).expect(0).stdout, want);
    assert_eq!(lictor_reading(files.judge(&["-"]), EVENTS).expect(0).stdout, want);
    assert_eq!(lictor_reading(files.judge(&[]), EVENTS.trim_end()).expect(0).stdout, want);
    assert_eq!(lictor_reading(files.judge(&[]), &EVENTS.replace('\n', "\r\n\r\n")).expect(0).stdout, want);
    assert_eq!(lictor_reading(files.judge(&[]), "").expect(0).stdout, "");
}

#[test]
fn both_engines_print_the_same_bytes() {
    let files = files();
    let events = format!("{EVENTS}no event\n{EVENTS}");
    let jit = lictor_reading(files.judge(&["--engine", "jit"]), &events).expect(0).stdout;
    assert_eq!(jit.lines().count(), 7);
    assert_eq!(lictor_reading(files.judge(&["--engine", "interpreter"]), &events).expect(0).stdout, jit);
    assert_eq!(lictor_reading(files.judge(&[]), &events).expect(0).stdout, jit);
}

#[test]
fn an_invalid_event_gets_its_line_and_the_run_goes_on() {
    let files = files();
    let good = EVENTS.lines().next().unwrap();
    let cases = [
        ("no json", None),
        ("[]", None),
        ("{}", Some("event")),
        (r#"{"event":"intent","at":"2026-01-01T12:00:00Z","org":"acme","agent":{"id":"a"}}"#, Some("action")),
        (r#"{"event":"intent","at":"yesterday","org":"acme","agent":{"id":"a"},"action":"x"}"#, Some("at")),
        (
            r#"{"event":"intent","at":"2026-01-01T12:00:00Z","org":"acme","agent":{},"action":"x"}"#,
            Some("agent.id"),
        ),
        (
            r#"{"event":"intent","at":"2026-01-01T12:00:00Z","org":"acme","agent":{"id":"a"},"action":"x","amount":"5"}"#,
            Some("amount"),
        ),
    ];
    for (bad, field) in cases {
        let lines =
            lictor_reading(files.judge(&[]), &format!("{good}\n{bad}\n{good}\n")).expect(0).json_lines();
        assert_eq!(lines.len(), 3, "{bad}");
        assert_eq!((&lines[0]["class"], &lines[2]), (&json!("allowed"), &lines[0]), "{bad}");
        assert_eq!(
            (&lines[1]["decision"], &lines[1]["class"]),
            (&json!("deny"), &json!("invalid_input")),
            "{bad}"
        );
        assert_eq!((&lines[1]["risk"], &lines[1]["rules"]), (&json!(0), &json!([])), "{bad}");
        if let Some(field) = field {
            assert!(lines[1]["reason"].as_str().unwrap().contains(field), "{bad}: {}", lines[1]);
        }
    }
    let bytes = b"\xff\xfe\x00\n".to_vec();
    let path = files.folder.path().join("binary.jsonl");
    std::fs::write(&path, [good.as_bytes(), b"\n", &bytes, good.as_bytes()].concat()).unwrap();
    let lines = lictor(files.judge(&[path.to_str().unwrap()])).expect(0).json_lines();
    let classes: Vec<_> = lines.iter().map(|line| line["class"].as_str().unwrap()).collect();
    assert_eq!(classes, ["allowed", "invalid_input", "allowed"]);
}

#[test]
fn approvals_are_no_events() {
    let files = files();
    let with_approval = EVENTS.replacen('\n', "\n{\"approve\": 1, \"at\": \"2026-01-01T12:00:00Z\"}\n", 2);
    let want = lictor(files.judge(&[&files.events])).expect(0).stdout;
    assert_eq!(lictor_reading(files.judge(&[]), &with_approval).expect(0).stdout, want);
    let path = files.add("approved.jsonl", &with_approval);
    let third = lictor(["explain", "--policies", &files.policy, &path, "--at", "3", "--format", "json"]);
    assert_eq!(third.expect(0).json()["decision"]["class"], "undecided");
}

#[test]
fn a_parameter_can_be_given() {
    let files = files();
    let decisions = |param: &str| -> Vec<String> {
        let lines = lictor(files.judge(&["--param", param, &files.events])).expect(0).json_lines();
        lines.iter().map(|line| line["decision"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(decisions("refunds.cap=4.9"), ["require_approval"; 3]);
    assert_eq!(decisions("refunds.cap=5"), ["allow", "require_approval", "require_approval"]);
    assert_eq!(decisions("refunds.cap=10_000"), ["allow", "allow", "require_approval"]);
}

#[test]
fn explain_shows_each_part_with_its_values() {
    let files = files();
    let arguments = |at| ["explain", "--policies", &files.policy, &files.events, "--at", at];
    let explained = lictor([&arguments("2")[..], &["--format", "json"]].concat()).expect(0).json();
    assert_eq!(explained["decision"]["decision"], "require_approval");
    let rule = &explained["rules"][0];
    assert_eq!((&rule["rule"], &rule["truth"]), (&json!("refunds.large"), &json!("true")));
    let parts: Vec<_> =
        rule["parts"].as_array().unwrap().iter().map(|part| (&part["text"], &part["truth"])).collect();
    assert!(parts.contains(&(&json!("amount > cap"), &json!("true"))), "{rule:#}");
    assert!(rule.to_string().contains("5000"), "{rule:#}");
    let text = lictor(arguments("3")).expect(0).stdout;
    assert!(text.contains("refunds.large") && text.contains("unknown"), "{text}");
}

#[test]
fn plan_shows_fields_predicates_rules_and_index() {
    let files = files();
    let plan = lictor(["plan", "--format", "json", &files.policy]).expect(0).json();
    assert_eq!(plan["fields"], json!(["agent.tags", "action", "amount"]), "{plan:#}");
    for member in ["policy_set", "params", "predicates", "memories", "rules", "kinds"] {
        assert!(members(&plan).contains(member), "no {member} in {plan:#}");
    }
    assert_eq!(plan["rules"][0]["rule"], "refunds.large");
    assert_eq!(plan["predicates"].as_array().unwrap().len(), 3, "{plan:#}");
    let judged = lictor(files.judge(&[&files.events])).expect(0).json_lines();
    assert_eq!(judged[0]["policy_set"], plan["policy_set"], "one digest names the set everywhere");
    let intent = plan["kinds"].as_array().unwrap().iter().find(|kind| kind["kind"] == "intent").unwrap();
    assert_eq!(intent["at_most"]["predicates"], 0, "{plan:#}");
    let shown = lictor(["plan", &files.policy]).expect(0).stdout;
    assert!(shown.contains("refunds.large on intent") && shown.contains("rules looked at"), "{shown}");
}

#[test]
fn a_reader_that_has_had_enough_is_no_fault() {
    let files = files();
    let events = files.add("many.jsonl", &EVENTS.repeat(2_000));
    for arguments in [files.judge(&[&events]), files.judge(&["--engine", "interpreter", &events])] {
        let mut process =
            command().args(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = String::new();
        // The reader goes after one line, with everything else unread.
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut first).unwrap();
        assert!(serde_json::from_str::<Value>(&first).is_ok(), "{first}");
        let output = process.wait_with_output().unwrap();
        assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
    }
}

#[test]
fn a_pipe_gets_no_colour() {
    let files = files();
    let broken = files.add("broken.lictor", BROKEN);
    let failing = files.add("failing.lictor", FAILING);
    let (policy, events) = (files.policy.as_str(), files.events.as_str());
    let cases: &[&[&str]] = &[
        &["check", &broken],
        &["check", policy],
        &["test", &failing],
        &["judge", "--policies", &broken, events],
        &["explain", "--policies", policy, events, "--at", "2"],
        &["plan", policy],
        &["check", "absent.lictor"],
        &["conquer"],
        &["--help"],
    ];
    for arguments in cases {
        let ended = lictor(*arguments);
        assert!(!format!("{}{}", ended.stdout, ended.stderr).contains('\u{1b}'), "{arguments:?}: {ended:?}");
    }
}

#[test]
fn serve_refuses_what_it_cannot_use() {
    let folder = tempfile::tempdir().unwrap();
    let below_a_file = Path::new(&file(folder.path(), "file", "")).join("lictor.db");
    let below_a_file = below_a_file.to_str().unwrap();
    for database in ["postgres://host/lictor", below_a_file] {
        let ended = lictor(["serve", "--listen", "127.0.0.1:0", "--database", database]).expect(2);
        assert!(!ended.stderr.is_empty() && !ended.stderr.contains("panicked"), "{}", ended.stderr);
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let database = folder.path().join("lictor.db").display().to_string();
    let ended = lictor(["serve", "--listen", &address, "--database", &database]).expect(2);
    assert!(ended.stderr.contains(&address), "{}", ended.stderr);
}

/// The names of an object's members.
fn members(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}
