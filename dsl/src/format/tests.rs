//! The formatter on all policies of the project, and on comments wherever they may stand.

use std::fs;
use std::path::{Path, PathBuf};

use super::tree;
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
