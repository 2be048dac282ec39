//! What a policy author is told: each `.lictor` under `ui/` is a case, what its author sees stands in the `.expected` beside it.

#![expect(clippy::unwrap_used, reason = "a test that meets what it did not expect should stop right there")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use expect_test::expect_file;
use lictor_dsl::diagnostics::{Diagnostic, Fix, Severity};
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

/// Stands between the files of a case that has several.
const ANOTHER_FILE: &str = "// another file\n";

fn check_file(path: &Path) -> Checked {
    let text = fs::read_to_string(path).unwrap();
    let name = path.file_name().unwrap().to_string_lossy();
    let named = |(number, text): (usize, &str)| {
        Source::new(if number == 0 { name.to_string() } else { format!("{}_{name}", number + 1) }, text)
    };
    check(text.split(ANOTHER_FILE).enumerate().map(named).collect())
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

/// Each mistake is named in one run, with a code, a line and a help of its own.
fn all_are_named(case: &str, mistakes: usize) {
    let checked = check_file(&here(case));
    let reports = checked.reports();
    assert_eq!(reports.len(), mistakes, "{}", render(&checked));
    let codes: BTreeSet<&str> = reports.iter().map(|report| report.code).collect();
    let lines: BTreeSet<usize> = reports.iter().map(|report| report.line).collect();
    assert_eq!((codes.len(), lines.len()), (mistakes, mistakes), "each has a code and a line of its own");
    assert!(reports.iter().all(|report| !report.help.is_empty()));
}

#[test]
fn ten_mistakes_get_ten_diagnostics_in_one_run() {
    all_are_named("tests/ui/ten_mistakes.lictor", 10);
}

#[test]
fn twenty_mistakes_get_twenty_diagnostics_in_one_run() {
    all_are_named("tests/ui/twenty_mistakes.lictor", 20);
}

/// The sources of a case with one replacement made.
fn applied(sources: &[Source], fix: &Fix) -> Vec<Source> {
    let mut sources = sources.to_vec();
    let text = &mut sources.get_mut(fix.span.source as usize).unwrap().text;
    text.replace_range(fix.span.start as usize..fix.span.end as usize, &fix.text);
    sources
}

#[test]
fn every_fix_mends_what_it_is_offered_for() {
    let mut fixes = 0;
    for case in cases(&here("tests/ui")) {
        let before = check_file(&case);
        for diagnostic in &before.diagnostics {
            for fix in &diagnostic.fixes {
                fixes += 1;
                let after = check(applied(&before.sources, fix));
                let place = format!("{}: {} of {}", case.display(), fix.title, diagnostic.message);
                let still = |d: &Diagnostic| d.code == diagnostic.code && d.message == diagnostic.message;
                let count = |checked: &Checked| checked.diagnostics.iter().filter(|d| still(d)).count();
                assert!(count(&after) < count(&before), "{place} mends nothing:\n{}", render(&after));
                let errors = |checked: &Checked| {
                    let errors = checked.diagnostics.iter().filter(|d| d.severity == Severity::Error);
                    errors.map(|d| (d.code, d.message.clone())).collect::<BTreeSet<_>>()
                };
                let added: Vec<_> = errors(&after).difference(&errors(&before)).cloned().collect();
                assert!(added.is_empty(), "{place} adds {added:?}");
            }
        }
    }
    assert!(fixes >= 20, "only {fixes} fixes are offered in all cases");
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
