//! What a policy author is told: each `.lictor` under `ui/` is a case, what its author sees stands in the `.expected` beside it.

#![expect(clippy::unwrap_used, reason = "a test that meets what it did not expect should stop right there")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use expect_test::expect_file;
use lictor_dsl::{Checked, Source, check};

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// All policy files below a folder, in order.
fn cases(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(cases(&path));
        } else if path.extension().is_some_and(|extension| extension == "lictor") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Stands between policies of one case that are active together.
const ANOTHER_FILE: &str = "// ---- another file ----\n";

fn check_file(path: &Path) -> Checked {
    let name = path.file_name().unwrap().to_string_lossy();
    let text = fs::read_to_string(path).unwrap();
    let mut files = text.split(ANOTHER_FILE);
    let first = Source::new(name, files.next().unwrap());
    check(std::iter::once(first).chain(files.map(|file| Source::new("another.lictor", file))).collect())
}

fn render(checked: &Checked) -> String {
    let mut out = String::new();
    for (diagnostic, report) in checked.diagnostics.iter().zip(checked.reports()) {
        let severity = format!("{:?}", report.severity).to_lowercase();
        writeln!(
            out,
            "{}:{}:{} {} {severity}: {}",
            report.file, report.line, report.column, report.code, report.message
        )
        .unwrap();
        writeln!(out, "    {}", diagnostic.label).unwrap();
        writeln!(out, "    help: {}", report.help).unwrap();
        for fix in report.fixes {
            writeln!(out, "    fix: {}: `{}`", fix.title, fix.text).unwrap();
        }
    }
    out
}

#[test]
fn each_case_is_told_as_expected() {
    for case in cases(&here("tests/ui")) {
        expect_file![case.with_extension("expected")].assert_eq(&render(&check_file(&case)));
    }
}

#[test]
fn ten_mistakes_get_ten_diagnostics_in_one_run() {
    let checked = check_file(&here("tests/ui/ten_mistakes.lictor"));
    let reports = checked.reports();
    assert_eq!(reports.len(), 10, "{}", render(&checked));
    let codes: BTreeSet<&str> = reports.iter().map(|report| report.code).collect();
    let lines: BTreeSet<usize> = reports.iter().map(|report| report.line).collect();
    assert_eq!((codes.len(), lines.len()), (10, 10), "each has a code and a line of its own");
    assert!(reports.iter().all(|report| !report.help.is_empty()));
}

/// The codes that stand in a text.
fn codes_in(text: &str) -> BTreeSet<String> {
    text.match_indices("L0")
        .filter_map(|(at, _)| text.get(at..at + 5))
        .filter(|code| code.bytes().skip(1).all(|byte| byte.is_ascii_digit()))
        .map(str::to_owned)
        .collect()
}

/// Every code that the checker can give: those in its messages' source.
fn registry() -> BTreeSet<String> {
    let files = fs::read_dir(here("src/diagnostics")).unwrap().map(|entry| entry.unwrap().path());
    files.flat_map(|file| codes_in(&fs::read_to_string(file).unwrap().replace("`L0123`", ""))).collect()
}

#[test]
fn every_code_has_a_case() {
    let mut seen: BTreeSet<String> = cases(&here("tests/ui"))
        .iter()
        .flat_map(|case| codes_in(&fs::read_to_string(case.with_extension("expected")).unwrap_or_default()))
        .collect();
    // Its case would be a megabyte: see `a_file_over_the_limit_is_refused`.
    seen.insert("L0109".to_owned());
    // Nobody knows a case: see `format`, which finds faults of its own with it.
    seen.insert("L0113".to_owned());
    let missing: Vec<_> = registry().difference(&seen).cloned().collect();
    assert!(missing.is_empty(), "no case under tests/ui for {missing:?}");
}

#[test]
fn a_file_over_the_limit_is_refused() {
    let at_most = format!("policy p {{}}\n//{}", "x".repeat((1 << 20) - 14));
    assert_eq!(at_most.len(), 1 << 20);
    assert!(check(vec![Source::new("p.lictor", at_most.clone())]).diagnostics.is_empty());
    let checked = check(vec![Source::new("p.lictor", at_most + "x")]);
    assert_eq!(
        render(&checked),
        "p.lictor:1:1 L0109 error: the file is larger than 1048576 bytes\n    too large\n    help: split it into several policies\n"
    );
}

#[test]
fn two_files_can_not_share_a_name() {
    let source = |name: &str| Source::new(name, "policy p {}\ndefault on intent deny");
    let checked = check(vec![source("one.lictor"), source("two.lictor")]);
    assert!(
        render(&checked).starts_with("two.lictor:1:8 L0110 error: policy `p` is already declared"),
        "{}",
        render(&checked)
    );
}
