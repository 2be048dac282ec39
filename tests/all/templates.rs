//! `lictor template` and `lictor test --coverage`, from outside.

use std::path::Path;

use serde_json::{Value, json};

use crate::command::{ROOT, command, file, lictor};

const BASE: &str = r#"template base {
  title = "Base"
  framework = "Framework"
  version = "1.2.0"
  source = "A book"
  facts_checked_on = 2026-11-21
  controls = ["SOC2:1"]
}

param cap: number = 10 in 0..100 "The most"

/// Large ones.
rule large on intent {
  when amount? > cap
  deny
  controls = ["SOC2:2"]
}

test "above" { intent { amount = cap + 1 } expect deny by large }
test "not above" { intent { amount = cap } expect no match }
"#;

const TIGHTER: &str = r#"template tighter {
  extends base
  framework = "Framework"
  version = "2.0.0"
  source = "Another book"
  facts_checked_on = "2026-11-21"
}

rule half on intent { when amount? > cap / 2 require approval }

test "between" { with cap = 10 intent { amount = 6 } expect require approval by half }
test "small" { intent { amount = cap / 2 } expect no match }
"#;

/// A folder with a template and another that extends it.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    file(folder.path(), "base.lictor", BASE);
    file(folder.path(), "tighter.lictor", TIGHTER);
    folder
}

fn path(folder: &Path, name: &str) -> String {
    folder.join(name).to_str().unwrap().to_owned()
}

#[test]
fn templates_are_listed_and_shown() {
    let folder = folder();
    file(folder.path(), "plain.lictor", "policy plain {}\ndefault on intent deny");
    let listed =
        lictor(["template", "list", folder.path().to_str().unwrap(), "--format", "json"]).expect(0).json();
    let names: Vec<&Value> =
        listed.as_array().unwrap().iter().map(|template| &template["template"]).collect();
    assert_eq!(names, ["base", "tighter"]);
    assert_eq!(listed[1]["extends"], "base");
    assert_eq!(
        listed[0]["params"],
        json!([{"param": "cap", "type": "number", "default": "10", "range": ["0", "100"], "help": "The most"}])
    );
    let shown = lictor(["template", "show", &path(folder.path(), "base.lictor"), "--format", "json"])
        .expect(0)
        .json();
    assert_eq!(shown["facts_checked_on"], "2026-11-21");
    assert_eq!(
        shown["rules"],
        json!([{"rule": "large", "docs": ["Large ones."], "effect": "deny", "on": ["intent"], "controls": ["SOC2:2", "SOC2:1"]}])
    );
    let text = lictor(["template", "show", &path(folder.path(), "tighter.lictor")]).expect(0).stdout;
    assert!(
        text.contains("extends           base") && text.contains("half on intent: require approval"),
        "{text}"
    );
    lictor(["template", "show", &path(folder.path(), "plain.lictor")]).expect(2);
    lictor(["template", "show", &path(folder.path(), "absent")]).expect(2);
}

#[test]
fn checking_one_takes_what_it_extends_along() {
    let folder = folder();
    let tighter = path(folder.path(), "tighter.lictor");
    let found = lictor(["template", "check", &tighter, "--format", "json"]).expect(0).json();
    assert_eq!(found["tests"].as_array().unwrap().len(), 4, "those of the base too");
    std::fs::remove_file(folder.path().join("base.lictor")).unwrap();
    let found = lictor(["template", "check", &tighter, "--format", "json"]).expect(1).json();
    assert_eq!(found["diagnostics"][0]["code"], "L0213");
    let warned = format!("{BASE}\nlist unused = [\"a\"]\n");
    let warned = file(folder.path(), "warned.lictor", &warned);
    lictor(["check", &warned]).expect(0);
    lictor(["template", "check", &warned]).expect(1);
    let failing =
        file(folder.path(), "failing.lictor", &BASE.replace("expect no match", "expect deny by large"));
    lictor(["template", "check", &failing]).expect(1);
}

#[test]
fn a_template_is_found_by_its_name() {
    let ended = command().args(["template", "check", "owasp_agentic"]).current_dir(ROOT).output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stdout));
}

#[test]
fn coverage_says_where_something_is_left() {
    let folder = folder();
    let only = file(
        folder.path(),
        "only.lictor",
        "policy only {}\ndef is_large(x) =\n  x > 10\nrule r on intent {\n  when is_large(amount) and action == \"a\"\n  deny\n}\n\
         test \"one\" { intent { action = \"a\", amount = 11 } expect deny by r }\n",
    );
    let text = lictor(["test", "--coverage", &only]).expect(0).stdout;
    for part in [
        "42 % covered (3 of 7)",
        "r: never not matched",
        "3 | x > 10",
        "`amount > 10` was never false or unknown",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let json = lictor(["test", "--coverage", "--format", "json", &only]).expect(0).json();
    let rule = &json["coverage"][0]["rules"][0];
    assert_eq!(
        (&rule["matched"], &rule["not_matched"], &rule["line"]),
        (&json!(true), &json!(false), &json!(4))
    );
    assert_eq!(rule["parts"][0]["missing"], json!(["false", "unknown"]));
    assert_eq!(rule["parts"][1]["met"], json!(["true"]));
    assert_eq!(json["tests"][0]["runs"], 1);
}
