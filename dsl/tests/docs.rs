//! What the documentation says of mistakes is true. (The language reference has a test of its own, which also runs its policies.)

#![expect(clippy::unwrap_used, reason = "a test that meets what it did not expect should stop right there")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use lictor_dsl::diagnostics::{Report, Severity};
use lictor_dsl::{Source, check};

fn text(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).unwrap()
}

/// The fenced policies of a page, in order.
fn policies(page: &str) -> Vec<&str> {
    page.split("```lictor\n").skip(1).map(|rest| rest.split("\n```").next().unwrap()).collect()
}

/// What is said about a policy; one without a header gets one.
fn reports(policy: &str) -> Vec<Report> {
    let begins = |word: &str| policy.lines().any(|line| line.starts_with(word));
    let whole = begins("policy ") || begins("polcy ") || begins("template ");
    let header = if whole { "" } else { "policy example {}\n" };
    let text = format!("{header}{policy}\n");
    check(text.split("// another file\n").map(|text| Source::new("example", text)).collect()).reports()
}

/// The sections of the reference: code and text.
fn sections(page: &str) -> Vec<(&str, &str)> {
    page.split("\n## ").skip(1).map(|section| (section.get(..5).unwrap(), section)).collect()
}

/// What can't be shown on a page: it would have to be very large, or nobody knows a policy that triggers it.
const NOT_SHOWN: [&str; 4] = ["L0105", "L0109", "L0111", "L0113"];

/// Every code that the checker can give: those in its messages' source.
fn registry() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/diagnostics");
    let files = fs::read_dir(folder).unwrap().map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
    let codes = |source: String| -> Vec<String> {
        source.match_indices("\"L0").map(|(at, _)| source.get(at + 1..at + 6).unwrap().to_owned()).collect()
    };
    files.flat_map(codes).collect()
}

#[test]
fn every_code_has_one_section_and_every_section_a_code() {
    let page = text("docs/diagnostics.md");
    let described: Vec<String> = sections(&page).into_iter().map(|(code, _)| code.to_owned()).collect();
    let mut sorted = described.clone();
    sorted.sort();
    assert_eq!(described, sorted, "sections stand in order");
    assert_eq!(described, registry().into_iter().collect::<Vec<_>>());
}

/// What is said about a policy, but for notes on the side.
fn codes_beside_notes(found: &[Report], code: &str) -> BTreeSet<&'static str> {
    let counts = found.iter().filter(|report| report.severity != Severity::Note || report.code == code);
    counts.map(|report| report.code).collect()
}

#[test]
fn each_section_shows_the_mistake_and_mends_it() {
    let page = text("docs/diagnostics.md");
    let mut faults = Vec::new();
    for (code, section) in sections(&page) {
        let shown = policies(section);
        if NOT_SHOWN.contains(&code) {
            assert!(shown.is_empty(), "{code} is said not to be shown");
            continue;
        }
        let [wrong, right] = shown.as_slice() else { panic!("{code} shows {} policies", shown.len()) };
        let (before, after) = (reports(wrong), reports(right));
        if codes_beside_notes(&before, code).into_iter().ne([code]) {
            faults.push(format!("{code} is not all that its example gets: {before:#?}"));
        }
        if !codes_beside_notes(&after, code).is_empty() {
            faults.push(format!("{code} is not mended: {after:#?}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_readme_shows_the_policy_that_it_installs() {
    let readme = text("README.md");
    assert_eq!(policies(&readme).join("\n").trim_end(), text("docs/examples/refunds.lictor").trim_end());
}
