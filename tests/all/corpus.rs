//! Every policy that comes with Lictor is free of mistakes, and its tests pass with interpreter and machine code alike.

use std::path::{Path, PathBuf};

use lictor_dsl::Source;
use lictor_dsl::diagnostics::Severity;
use lictor_engine::Generation;
use lictor_engine::trial::run_tests;

use crate::command::ROOT;

/// How clean a file must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Clean {
    /// No errors.
    Usable,
    /// No warnings either.
    Spotless,
}

#[test]
fn the_corpus_passes() {
    passes("tests/corpus", Clean::Usable);
}

#[test]
fn the_policy_templates_pass() {
    passes("policy-templates", Clean::Spotless);
}

#[test]
fn the_policies_for_recorded_agents_pass() {
    passes("tests/real", Clean::Spotless);
}

#[test]
fn the_policies_that_the_documents_use_pass() {
    passes("docs/examples", Clean::Spotless);
}

#[test]
fn the_policy_templates_can_be_active_together() {
    let sources = files("policy-templates").iter().map(|file| source(file)).collect();
    let checked = lictor_dsl::check(sources);
    assert!(!checked.has_errors(), "{:#?}", checked.reports());
    Generation::compile(&checked.set).unwrap();
}

/// Checks each file by itself and runs its tests, all of them before it fails.
fn passes(folder: &str, clean: Clean) {
    let faults: Vec<_> = files(folder).iter().flat_map(|file| faults(file, clean)).collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

fn faults(file: &Path, clean: Clean) -> Vec<String> {
    let checked = lictor_dsl::check(vec![source(file)]);
    let counts = |severity| match clean {
        Clean::Usable => severity == Severity::Error,
        Clean::Spotless => severity != Severity::Note,
    };
    let found = checked.reports().into_iter().filter(|report| counts(report.severity));
    let found: Vec<_> = found
        .map(|report| {
            format!("{}:{}:{}: {} {}", report.file, report.line, report.column, report.code, report.message)
        })
        .collect();
    if checked.has_errors() {
        return found;
    }
    let name = file.display();
    let reports = match run_tests(&checked.set) {
        Ok(reports) if reports.is_empty() => return vec![format!("{name} has no tests")],
        Ok(reports) => reports,
        Err(error) => return vec![format!("{name} can't be compiled: {error}")],
    };
    let failed = reports.iter().flat_map(|report| {
        report.failures.iter().map(|failure| format!("{name}: \"{}\": {failure}", report.test))
    });
    found.into_iter().chain(failed).collect()
}

fn source(file: &Path) -> Source {
    Source::new(file.display().to_string(), std::fs::read_to_string(file).unwrap())
}

/// The policies in a folder of the repository and all below it. There is at least one.
fn files(folder: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![Path::new(ROOT).join(folder)];
    while let Some(folder) = folders.pop() {
        let entries =
            std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "lictor") {
                files.push(path);
            }
        }
    }
    files.sort();
    assert!(!files.is_empty(), "{folder} has no policies");
    files
}
