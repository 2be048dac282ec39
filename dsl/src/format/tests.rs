//! The formatter on all policies of the project, and on comments wherever they may stand.

use std::fs;
use std::path::{Path, PathBuf};

use expect_test::{Expect, expect};

use crate::format;
use crate::parse::parse;
use crate::source::Source;

fn formatted(text: &str) -> String {
    format(&Source::new("p.lictor", text)).unwrap_or_else(|found| panic!("{found:#?}\n{text}"))
}

/// Formats a text and checks that doing so again changes nothing.
fn settled(text: &str) -> String {
    let once = formatted(text);
    assert_eq!(formatted(&once), once, "from:\n{text}");
    once
}

/// All policy files of the project.
fn project() -> Vec<(PathBuf, String)> {
    fn search(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                search(&path, found);
            } else if name.ends_with(".lictor") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    search(&Path::new(env!("CARGO_MANIFEST_DIR")).join(".."), &mut found);
    assert!(found.len() > 50);
    found.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

fn reads(text: &str) -> bool {
    let mut diagnostics = Vec::new();
    parse(0, &Source::new("p.lictor", text), &mut diagnostics);
    diagnostics.is_empty()
}

#[test]
fn each_policy_of_the_project_settles_at_once() {
    for (path, text) in project().into_iter().filter(|(_, text)| reads(text)) {
        let once = settled(&text);
        let comments = |text: &str| text.matches("//").count();
        assert_eq!(comments(&once), comments(&text), "{}", path.display());
        for line in once.lines() {
            assert!(!line.ends_with(' '), "{}: {line}", path.display());
        }
    }
}

/// A bit of everything.
const SAMPLE: [&str; 9] = [
    "template t { extends base title = \"T\" controls = [\"A:1\", \"B:2\"], owner = \"o\" }\n",
    "param cap: number = -1_000 in 0..10 \"Help\"\nparam names: list<string> = []\n",
    "list hosts: domain = [\"a.example\", \"b.example\",]\n",
    "def f(x, y) = (x + 1) * -y else 60m .. 5\n",
    "default on intent, log require approval from \"x\" by 2 within 1h\n",
    r#"
rule r on intent, log {
  let a = if not has agent.tags[0] then payload["k"]?.b else 2026-01-01
  when any v in keys(payload): v has any ["x"] and not f(v, 1) or v matches /a\/"b/i
  unless count(attempted intent|log.amount[0] where a == "x" per agent.id, each b.c = d within 20 events) >= 2
  score +0.5 incident high per agent.id, host(x) within 1h title "{a}-{b}"
  do notify "x" do redact a.b[0] because "why" controls = [] applies from 2025-01-01 until 2026-01-01 mode shadow
}
"#,
    "schema intent \"x\" { a: number, \"b c\": list<string>? }\n",
    "exempt t.r for x in tags as domain until 2027-01-31 because \"x\"\n",
    r#"
test "t" {
  with cap = 5 denied before 10m: log { a.b = { "c" = [1, { d = 2 }] } }
  agent { } intent { at = tz "UTC", x = [] }
  expect no match expect risk >= 0.5 expect deny by r, t.r undecided
}
"#,
];

/// The places between the tokens of a text.
fn gaps(text: &str) -> Vec<usize> {
    let in_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let at_gap = |at: &usize| {
        let (before, after) = text.split_at(*at);
        !(in_word(before.chars().next_back()) && in_word(after.chars().next()))
    };
    (0..=text.len()).filter(|at| text.is_char_boundary(*at)).filter(at_gap).collect()
}

/// How many comments stand in a text, if it reads without mistakes.
fn comments(text: &str) -> Option<usize> {
    let mut diagnostics = Vec::new();
    let file = parse(0, &Source::new("p.lictor", text), &mut diagnostics);
    diagnostics.is_empty().then_some(file.comments.len())
}

/// The text with comments at a place.
fn with(text: &str, at: usize, comments: &str) -> String {
    let (before, after) = text.split_at(at);
    format!("{before}{comments}{after}")
}

#[test]
fn a_comment_survives_between_any_two_tokens() {
    let mut met = 0;
    for (sample, at) in SAMPLE.iter().flat_map(|sample| gaps(sample).into_iter().map(move |at| (sample, at)))
    {
        let changed = with(sample, at, " // kept \n\n\n\t// kept\n\n\n");
        if comments(&changed) == Some(2) {
            met += 1;
            assert_eq!(settled(&changed).matches("// kept\n").count(), 2, "{changed}");
        }
    }
    assert!(met > 300, "{met}");
}

#[test]
fn comments_survive_between_all_tokens_at_once() {
    for comment in [" // kept\n", "\n// kept\n"] {
        let (mut all, mut total) = (String::new(), 0);
        for sample in SAMPLE {
            let (mut text, mut met) = (sample.to_owned(), 0);
            for at in gaps(sample).into_iter().rev() {
                let changed = with(&text, at, comment);
                if comments(&changed) == Some(met + 1) {
                    met += 1;
                    text = changed;
                }
            }
            total += met;
            all.push_str(&text);
        }
        assert!(total > 300, "{total}");
        assert_eq!(settled(&all).matches("// kept\n").count(), total, "{all}");
    }
}

#[test]
fn what_a_text_says_does_not_depend_on_its_layout() {
    let sample = SAMPLE.concat();
    let expected = settled(&sample);
    assert_eq!(formatted(&sample.replace('\n', "\r\n")), expected);
    assert_eq!(
        formatted(&format!("\u{feff}{}", sample.replace(" {", "\t\n{").replace(" = ", "="))),
        expected
    );
}

fn laid_out(text: &str, expected: Expect) {
    expected.assert_eq(&settled(text));
}

#[test]
fn long_conditions_break_before_the_loosest_operators() {
    laid_out(
        "rule r on action {
  when connects() and lower(target) startswith \"http://\" and not (target in approved_hosts) and amount > 100
  when tool in [\"send_email\", \"send_message\", \"post_message\", \"share_file\", \"create_ticket\", \"upload\"]
  unless is_payment() and (amount? <= 0 or amount? % 0.01 != 0 or currency? in whole_currencies and amount? % 1 != 0)
  unless agent.environment == \"production\" and agent.trust < 0.5 or agent.environment == \"staging\" or agent.paused
  let x = if agent.environment == \"production\" then \"the production environment\" else \"some other environment\"
  because \"short\"
}",
        expect![[r#"
            rule r on action {
              when connects()
                and lower(target) startswith "http://"
                and not (target in approved_hosts)
                and amount > 100
              when tool in [
                "send_email",
                "send_message",
                "post_message",
                "share_file",
                "create_ticket",
                "upload",
              ]
              unless is_payment()
                and (amount? <= 0 or amount? % 0.01 != 0 or currency? in whole_currencies and amount? % 1 != 0)
              unless agent.environment == "production" and agent.trust < 0.5
                or agent.environment == "staging"
                or agent.paused
              let x = if agent.environment == "production"
                then "the production environment"
                else "some other environment"
              because "short"
            }
        "#]],
    );
}

#[test]
fn memories_break_before_their_keys_and_windows() {
    laid_out(
        "rule r on intent {
  when count(intent where action == \"refund\" per agent.id within 1h) >= 20
  when sum(intent.amount where action == \"refund\" and amount > 10 per agent.id, payload.customer within 24h resolution 1m) >= 20
  when not sequence(log where name == \"read\" then log where name == \"pack\" then action where kind == \"http\" within 1h)
}",
        expect![[r#"
            rule r on intent {
              when count(intent where action == "refund" per agent.id within 1h) >= 20
              when sum(
                intent.amount where action == "refund" and amount > 10
                per agent.id, payload.customer
                within 24h
                resolution 1m
              ) >= 20
              when not sequence(
                log where name == "read"
                then log where name == "pack"
                then action where kind == "http"
                within 1h
              )
            }
        "#]],
    );
}

#[test]
fn neighbours_are_aligned() {
    laid_out(
        "policy p { title = \"T\" controls = [\"A:1\"] }
param cap: number = 1_000 in 0..10_000 \"Largest refund without a human\"
param names: list<string> = [] \"Who\"
param many: duration = 1h

param many_more_names: list<string> = [\"one name\", \"another name\"] \"Those who are so many that there is no room\"
param many: list<string> = [\"payment\", \"payout\", \"transfer\", \"refund\", \"wire\", \"pay_invoice\", \"pay\"] \"All\"

def a() = true
def longer(x, y) = x
// A comment parts them.
def b() = true
test \"t\" { agent {} intent { action = \"x\" } log { a = { b = [1, 2] } } expect deny }",
        expect![[r#"
            policy p {
              title    = "T"
              controls = ["A:1"]
            }

            param cap:   number       = 1_000 in 0..10_000 "Largest refund without a human"
            param names: list<string> = []                 "Who"
            param many:  duration     = 1h

            param many_more_names: list<string> = ["one name", "another name"]
              "Those who are so many that there is no room"
            param many: list<string> = ["payment", "payout", "transfer", "refund", "wire", "pay_invoice", "pay"]
              "All"

            def a()          = true
            def longer(x, y) = x
            // A comment parts them.
            def b() = true

            test "t" {
              agent  {}
              intent { action = "x" }
              log    { a = { b = [1, 2] } }
              expect deny
            }
        "#]],
    );
}

#[test]
fn at_most_one_empty_line_is_kept() {
    laid_out(
        "\n\n// First.\n\n\n\n// Second.\npolicy p {\n\n  title = \"T\"\n\n\n  owner = \"o\"\n\n  // Last.\n\n}\nlist a = [\n\n  // Inside.\n  1, 2 // Two.\n\n  , 3\n]\n\n\ndef f() = 1\n\n\n// End.\n\n",
        expect![[r#"
            // First.

            // Second.
            policy p {
              title = "T"

              owner = "o"

              // Last.
            }

            list a = [
              // Inside.
              1,
              2, // Two.
              3,
            ]

            def f() = 1

            // End.
        "#]],
    );
}

#[test]
fn what_has_nothing_in_it_stays_so() {
    assert_eq!(settled(""), "");
    assert_eq!(settled("\n \n"), "");
    assert_eq!(settled("\n // Alone.  "), "// Alone.\n");
}

#[test]
fn what_does_not_read_is_said() {
    let found = format(&Source::new("p.lictor", "policy p {\n")).unwrap_err();
    assert_eq!(found.iter().map(|diagnostic| diagnostic.code).collect::<Vec<_>>(), ["L0103"]);
}

/// A file near the limits ends soon on a stack as small as a server's worker has.
#[test]
fn large_and_deep_files_are_formatted_soon() {
    let deep = |open: &str, inner: &str, close: &str| {
        let deepest = format!("{}{inner}{}", open.repeat(120), close.repeat(120));
        format!("policy p {{}}\nrule r on intent {{ when {deepest} deny }}\n")
    };
    let cases = [
        format!("list xs = [{}]", "1, ".repeat(10_000)),
        format!("def f() = {}true", "amount > 1 and ".repeat(10_000)),
        "// comment\n".repeat(80_000),
        "rule r on intent { deny }".repeat(5_000),
        deep("(true and ", "true", ")"),
        deep("not ", "true", ""),
        deep("if true then 1 else ", "2", ""),
        deep("any x in xs: ", "true", ""),
        deep("f(", "1", ")"),
        deep("1 + (", "1", ")"),
    ];
    let work = move || {
        for text in cases {
            let start = std::time::Instant::now();
            let shown: String = text.chars().take(40).collect();
            settled(&text);
            assert!(start.elapsed().as_secs() < 30, "{shown} took {:?}", start.elapsed());
        }
    };
    std::thread::Builder::new().stack_size(2 << 20).spawn(work).unwrap().join().unwrap();
}
