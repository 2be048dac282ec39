//! What the language reference says is so: its policies are read as it says and their tests pass, its tables are those
//! of the code, its links lead somewhere.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use lictor_dsl::Source;
use lictor_dsl::diagnostics::Severity;
use lictor_dsl::events::{EventKind, Field, Trust, fields_of};
use lictor_engine::event::{Event, Origin};
use lictor_engine::trial::run_tests;
use lictor_engine::{Engine, Generation, Run};

use crate::command::ROOT;

const REFERENCE: &str = "docs/language.md";

/// What stands between the files of one example.
const ANOTHER_FILE: &str = "// another file\n";

fn path(path: &str) -> PathBuf {
    Path::new(ROOT).join(path)
}

fn text(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// One fenced example.
struct Example {
    /// The line of the page that it begins at.
    line: usize,
    /// What stands behind the language: the codes that it gets.
    codes: Vec<String>,
    text: String,
}

/// The fenced examples of a page in one language, in order.
fn examples(page: &str, language: &str) -> Vec<Example> {
    let mut found: Vec<Example> = Vec::new();
    let mut open = false;
    for (number, line) in page.lines().enumerate() {
        match line.strip_prefix("```") {
            Some(_) if open => open = false,
            Some(info) => {
                let mut words = info.split_whitespace();
                open = words.next() == Some(language);
                if open {
                    let codes = words.map(str::to_owned).collect();
                    found.push(Example { line: number + 2, codes, text: String::new() });
                }
            }
            None if open => found.iter_mut().last().unwrap().text.extend([line, "\n"]),
            None => {}
        }
    }
    found
}

impl Example {
    /// The files that it shows, with a line that says so between two. One without a header gets one.
    fn sources(&self) -> Vec<Source> {
        let files = self.text.split(ANOTHER_FILE).map(|file| {
            let whole = file.lines().any(|line| line.starts_with("policy ") || line.starts_with("template "));
            let header = if whole { "" } else { "policy example {}\n" };
            Source::new("example", format!("{header}{file}"))
        });
        files.collect()
    }

    /// What is not as the page says.
    fn faults(&self) -> Vec<String> {
        let checked = lictor_dsl::check(self.sources());
        let told = |report: &&lictor_dsl::diagnostics::Report| {
            report.severity != Severity::Note || self.codes.iter().any(|code| code == report.code)
        };
        let reports = checked.reports();
        let found: Vec<_> = reports.iter().filter(told).collect();
        let mut codes: Vec<&str> = found.iter().map(|report| report.code).collect();
        codes.dedup();
        if codes != self.codes {
            return vec![format!("expected {:?}, but got {found:#?}", self.codes)];
        }
        if checked.has_errors() {
            return Vec::new();
        }
        match run_tests(&checked.set) {
            Err(error) => vec![error.to_string()],
            Ok(reports) => {
                let failed = reports.iter().flat_map(|report| {
                    report.failures.iter().map(|failure| format!("\"{}\": {failure}", report.test))
                });
                failed.collect()
            }
        }
    }
}

#[test]
fn every_example_of_the_language_reference_is_true() {
    let page = text(REFERENCE);
    let examples = examples(&page, "lictor");
    assert!(examples.len() > 50, "{} examples", examples.len());
    let faults: Vec<String> = examples
        .iter()
        .flat_map(|example| {
            example.faults().into_iter().map(|fault| format!("{REFERENCE}:{}: {fault}", example.line))
        })
        .collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// Of the events, each judged by the first policy of the page, come the decisions that the page shows.
#[test]
fn the_decisions_that_are_shown_are_those_that_come_out() {
    let page = text(REFERENCE);
    let policy = examples(&page, "lictor").into_iter().next().unwrap();
    let checked = lictor_dsl::check(policy.sources());
    let generation = Generation::compile(&checked.set).unwrap();
    let shown = examples(&page, "json");
    assert!(!shown.is_empty() && shown.len().is_multiple_of(2), "events and decisions alternate");
    for pair in shown.chunks(2) {
        let [event, decision] = pair else { continue };
        let event = Event::decode(event.text.as_bytes(), Origin::Event).unwrap();
        let decided = Run::new(&generation, Engine::Jit).judge(event);
        let mut decided = serde_json::to_value(&decided).unwrap();
        decided["policy_set"] = "sha256:…".into();
        let shown: serde_json::Value = serde_json::from_str(&decision.text).unwrap();
        assert_eq!(shown, decided, "{REFERENCE}:{}", decision.line);
    }
}

/// The fields of events as the page shows them. What they are is said on the page alone, and kept.
fn tables(shown: &str) -> String {
    let mut out = String::new();
    let mut table = |head: &str, fields: &[&Field]| {
        let first = format!("| {head} | type | who vouches for it | what it is |");
        let known = shown.split_once(&first).map_or("", |(_, rest)| rest.split("\n\n").next().unwrap());
        let _ = writeln!(out, "\n{first}\n| --- | --- | --- | --- |");
        for field in fields {
            let may = if field.optional { ", may be absent" } else { "" };
            let who = match field.trust {
                Trust::Attested => "the server",
                Trust::Claimed => "the agent",
            };
            let row = known.lines().find(|line| line.starts_with(&format!("| `{}` |", field.name)));
            let meaning = row.and_then(|row| row.split(" | ").nth(3)).unwrap_or("(say what it is) |");
            let _ = writeln!(out, "| `{}` | `{}`{may} | {who} | {meaning}", field.name, field.ty);
        }
    };
    let is_shared = |field: &Field| EventKind::ALL.iter().all(|kind| field.belongs_to(*kind));
    let of = |kind, shared: bool| -> Vec<&'static Field> {
        fields_of(kind).map(|field| field.def()).filter(|field| is_shared(field) == shared).collect()
    };
    table("every event", &of(EventKind::Intent, true));
    for kind in EventKind::ALL {
        table(&format!("`{}`", kind.name()), &of(kind, false));
    }
    out
}

/// The page with the tables of the code.
fn with_tables(page: &str) -> String {
    let (begin, end) = ("<!-- fields: written by a test -->\n", "\n<!-- fields: end -->");
    let (before, rest) = page.split_once(begin).unwrap();
    let (shown, after) = rest.split_once(end).unwrap();
    format!("{before}{begin}{}{end}{after}", tables(shown))
}

/// The page with its examples laid out by the formatter, so that readers get used to one form.
fn laid_out(page: &str) -> String {
    let mut wanted = page.to_owned();
    for example in examples(page, "lictor") {
        for file in example.text.split(ANOTHER_FILE) {
            if let Ok(formatted) = lictor_dsl::format(&Source::new("example", file)) {
                wanted = wanted.replacen(file, &formatted, 1);
            }
        }
    }
    wanted
}

#[test]
fn tables_and_layout_are_those_of_the_code() {
    let page = text(REFERENCE);
    let wanted = laid_out(&with_tables(&page));
    assert!(!page.contains("(say what it is)"), "{REFERENCE} does not say what a field is");
    if std::env::var_os("UPDATE_EXPECT").is_some() && wanted != page {
        fs::write(path(REFERENCE), wanted).unwrap();
    } else {
        assert!(wanted == page, "UPDATE_EXPECT=1 brings {REFERENCE} up to date");
    }
}

/// What a section of the page says, without those below it.
fn section<'p>(page: &'p str, heading: &str) -> &'p str {
    let (_, rest) = page.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no {heading}"));
    rest.split("\n## ").next().unwrap()
}

/// Where each bound stands in the code, and how the page says it.
const BOUNDS: [(&str, &str, &str); 24] = [
    ("dsl/src/parse/mod.rs", "FILE_LIMIT: usize = 1 << 20;", "1 MiB"),
    ("dsl/src/items.rs", "NESTING_LIMIT: usize = 128;", "128"),
    ("dsl/src/check/expr.rs", "SIZE_LIMIT: usize = 20_000;", "20,000 parts"),
    ("dsl/src/hir/mod.rs", "LIST_LIMIT: usize = 100_000;", "100,000 values"),
    ("dsl/src/text/mod.rs", "COMPILED_LIMIT: usize = 1 << 20;", "1 MiB, compiled"),
    ("dsl/src/parse/mod.rs", "DIAGNOSTICS_LIMIT: usize = 500;", "500 errors"),
    ("dsl/src/check/memory.rs", "LONGEST_WINDOW_US: i64 = 400 * DAY_US;", "400 days"),
    ("dsl/src/check/memory.rs", "MOST_EVENTS: i64 = 1_000;", "1,000 events"),
    ("dsl/src/check/memory.rs", "MOST_KEPT: i64 = 10_000;", "9,999"),
    ("dsl/src/check/memory.rs", "MOST_PARTS: usize = 16;", "2 to 16 parts"),
    ("dsl/src/check/memory.rs", "MOST_STEPS: i64 = 1_500;", "1,500 steps"),
    ("dsl/src/check/memory.rs", "USUAL_STEPS: i64 = 100;", "100 steps"),
    ("dsl/src/check/rule.rs", "(1..=100).contains(count)", "1 to 100 people"),
    ("engine/src/memory/key.rs", "MOST_EACH: usize = 100;", "100 keys"),
    ("engine/src/interpret/recall.rs", "WITNESSES: usize = 100;", "100 witnesses"),
    ("engine/src/memory/store.rs", "MemoryLimits { keys: 4_000_000 }", "4,000,000 keys"),
    ("engine/src/memory/store.rs", "LOST: usize = 100_000;", "100,000 keys"),
    ("engine/src/event/field.rs", "PAYLOAD_LIMIT: usize = 64 * 1024;", "64 KiB"),
    ("engine/src/event/field.rs", "TEXT_LIMIT: usize = 8 * 1024;", "8 KiB"),
    ("engine/src/event/field.rs", "TASK_LIMIT: usize = 255;", "255 bytes"),
    ("engine/src/limits.rs", "STEPS: u32 = 1_000_000;", "1,000,000 steps"),
    ("engine/src/limits.rs", "BYTES_A_STEP: usize = 64;", "64 bytes"),
    ("engine/src/limits.rs", "PATTERN_STEPS: usize = 1_000;", "1,000 steps"),
    ("engine/src/interpret/expr.rs", "SHOWN: usize = 256;", "256 characters"),
];

#[test]
fn the_bounds_are_those_of_the_code() {
    let page = text(REFERENCE);
    let bounds = section(&page, "## 11. Bounds");
    for (file, written, said) in BOUNDS {
        assert!(text(file).contains(written), "{file} no longer says {written}: mend the bounds on the page");
        assert!(bounds.contains(said), "the bounds don't say {said} ({file})");
    }
}

/// Memories of each sort, as the page's table of what is kept names them.
const MEMORIES: &str = r#"policy example {}
rule r on intent {
  when seen(intent per org)
    or seen(log where name == "a" since log where name == "b")
    or streak(log where status == "error") > 2
    or last(intent.amount) > 1
    or count(intent within 1h) >= 20
    or distinct(intent.currency) >= 5
    or sequence(log then log)
    or sum(intent.amount within 24h) > 1
    or sum(intent.amount) > 1
    or count(log within 20 events) > 1
  deny
}
"#;

#[test]
fn what_memories_keep_is_what_the_plan_says() {
    let checked = lictor_dsl::check(vec![Source::new("example", MEMORIES)]);
    assert!(!checked.has_errors(), "{:#?}", checked.reports());
    let plan = lictor_engine::plan::Plan::new(&checked.set).unwrap().to_json();
    let page = text(REFERENCE);
    let (_, table) = page.split_once("| | kept for each key | bytes, about |\n").unwrap();
    let rows: Vec<&str> = table.lines().take_while(|line| line.starts_with('|')).collect();
    for memory in plan["memories"].as_array().unwrap() {
        let (keeps, bytes) = (memory["keeps"].as_str().unwrap(), memory["bytes_per_key"].as_u64().unwrap());
        let row = rows.iter().find(|row| row.contains(&format!("| {keeps} |")));
        let row = row.unwrap_or_else(|| panic!("no row says {keeps}"));
        let said = row.split('|').nth(3).unwrap().split(", and").next().unwrap().replace(',', "");
        let said: u64 = said.trim().parse().unwrap();
        assert!(said.abs_diff(bytes) * 20 <= bytes, "{keeps}: about {said} bytes? It is {bytes}");
    }
}

/// The words that the grammar reads: literals of letters alone.
fn words(grammar: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut literal: Option<String> = None;
    for line in grammar.lines().filter(|line| !line.trim_start().starts_with("//")) {
        let mut signs = line.chars();
        while let Some(sign) = signs.next() {
            literal = match (literal, sign) {
                (None, '"') => Some(String::new()),
                (Some(word), '"') => {
                    words.push(word);
                    None
                }
                (Some(word), '\\') => signs.next().map(|escaped| format!("{word}\\{escaped}")),
                (Some(word), letter) => Some(format!("{word}{letter}")),
                (None, _) => None,
            };
        }
    }
    words.retain(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase()));
    words
}

#[test]
fn every_word_of_the_grammar_is_in_the_one_that_is_shown() {
    let page = text(REFERENCE);
    let shown = section(&page, "## 13. Grammar");
    let words = words(&text("dsl/src/grammar.pest"));
    assert!(words.len() > 100);
    let missing: Vec<_> = words.iter().filter(|word| !shown.contains(&format!("\"{word}\""))).collect();
    assert!(missing.is_empty(), "the grammar of {REFERENCE} lacks {missing:?}");
}

/// The name by which a heading is linked to.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

#[test]
fn links_and_pictures_lead_somewhere() {
    let page = text(REFERENCE);
    let mut faults = Vec::new();
    for target in page.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
        let (file, place) = target.split_once('#').unwrap_or((target, ""));
        let file = if file.is_empty() { REFERENCE.to_owned() } else { format!("docs/{file}") };
        let Ok(text) = fs::read_to_string(path(&file)) else {
            if !path(&file).exists() {
                faults.push(target);
            }
            continue;
        };
        let mut headings = text.lines().filter(|line| line.starts_with('#'));
        if !place.is_empty() && !headings.any(|line| anchor(line.trim_start_matches(['#', ' '])) == place) {
            faults.push(target);
        }
    }
    assert!(faults.is_empty(), "{REFERENCE} links to {faults:?}");
}

/// The settings that the server reads and the series that it counts are those of the page about running it.
#[test]
fn the_page_about_running_has_every_setting_and_every_series() {
    let page = text("docs/operations.md");
    let words = |text: &str, begin: &str| -> BTreeSet<String> {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let words = text.split(|c: char| !is_word(c)).filter(|word| word.starts_with(begin));
        words.map(str::to_owned).collect()
    };
    let settings = words(&(text("server/src/config.rs") + &text("server/src/logging.rs")), "LICTOR_");
    assert_eq!(settings, words(&page, "LICTOR_"));
    let counted = text("server/src/metrics/mod.rs") + &text("server/src/http/operations.rs");
    let mut series = words(&counted, "lictor_");
    series.retain(|name| !["lictor_engine", "lictor_server"].contains(&name.as_str()));
    for name in &series {
        let is_part = ["_bucket", "_sum", "_count"].iter().any(|part| name.ends_with(part));
        assert!(is_part || page.contains(&format!("`{name}")), "{name} is not on the page");
    }
}
