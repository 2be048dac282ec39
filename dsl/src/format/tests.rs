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
        let (mut text, mut met) = (SAMPLE.concat(), 0);
        for at in gaps(&text).into_iter().rev() {
            let changed = with(&text, at, comment);
            if comments(&changed) == Some(met + 1) {
                met += 1;
                text = changed;
            }
        }
        assert!(met > 300, "{met}");
        assert_eq!(settled(&text).matches("// kept\n").count(), met, "{text}");
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
