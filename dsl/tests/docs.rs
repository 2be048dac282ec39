//! What the documentation shows is true: its policies are read as it says.

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
    let files = policy.split("// ---- another file ----\n");
    check(files.map(|file| Source::new("example", format!("{header}{file}\n"))).collect()).reports()
}

fn complaints(policy: &str) -> Vec<String> {
    let found = reports(policy).into_iter().filter(|report| report.severity != Severity::Note);
    found
        .map(|report| format!("{}:{} {} {}", report.line, report.column, report.code, report.message))
        .collect()
}

/// The sections of the reference: code and text.
fn sections(page: &str) -> Vec<(&str, &str)> {
    page.split("\n## ").skip(1).map(|section| (section.get(..5).unwrap(), section)).collect()
}

/// What can't be shown on a page: it would have to be very large, or nobody knows a policy that triggers it.
const NOT_SHOWN: [&str; 4] = ["L0105", "L0109", "L0111", "L0113"];

#[test]
fn every_code_has_a_section() {
    let page = text("docs/diagnostics.md");
    let described: BTreeSet<&str> = sections(&page).into_iter().map(|(code, _)| code).collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/diagnostics");
    for file in fs::read_dir(folder).unwrap() {
        let source = fs::read_to_string(file.unwrap().path()).unwrap();
        for (at, _) in source.match_indices("\"L0") {
            let code = source.get(at + 1..at + 6).unwrap();
            assert!(described.contains(code), "docs/diagnostics.md has no section {code}");
        }
    }
}

#[test]
fn each_section_shows_the_mistake_and_mends_it() {
    let page = text("docs/diagnostics.md");
    for (code, section) in sections(&page) {
        if NOT_SHOWN.contains(&code) {
            continue;
        }
        let shown = policies(section);
        let [wrong, right] = shown.as_slice() else { panic!("{code} shows {} policies", shown.len()) };
        let found = reports(wrong);
        assert!(
            found.iter().any(|report| report.code == code),
            "{code} is not what its example gets: {found:#?}"
        );
        let errors = found.iter().filter(|report| report.severity == Severity::Error && report.code != code);
        assert_eq!(errors.count(), 0, "{code}: {found:#?}");
        let found = reports(right);
        let left: Vec<_> =
            found.iter().filter(|report| report.severity == Severity::Error || report.code == code).collect();
        assert!(left.is_empty(), "{code} is not mended: {left:#?}");
    }
}

#[test]
fn the_language_reference_shows_policies_that_can_be_used() {
    let page = text("docs/language.md");
    let shown = policies(&page);
    assert!(shown.len() > 15);
    for policy in shown {
        let complaints = complaints(policy);
        assert!(complaints.is_empty(), "{complaints:#?} in\n{policy}");
    }
}

#[test]
fn the_readme_shows_the_policy_that_it_installs() {
    let readme = text("README.md");
    assert_eq!(policies(&readme).join("\n").trim_end(), text("docs/examples/refunds.lictor").trim_end());
}
