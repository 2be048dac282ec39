//! The README keeps its word: its blocks of shell are run in order against a server started as it says, and every
//! answer is the one that it prints.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::command::{ROOT, command};
use crate::running::Server;

/// Stands in the README for what differs each time.
const ANYTHING: char = '…';
/// Where the README's server listens.
const ADDRESS: &str = "http://127.0.0.1:8000";
/// Printed after each block, so that its output can be told from the next one's.
const END_OF_BLOCK: &str = "---- end of block ----";

/// Takes the place of `cargo` in the command that starts the server: what stands behind `--` goes to the built
/// command, which listens on a free port.
const CARGO: &str =
    r#"cargo() { while [ "$1" != -- ]; do shift; done; shift; exec "$BUILT" "$@" --listen 127.0.0.1:0; }"#;

/// A fenced block of the README.
#[derive(Debug)]
struct Block {
    language: String,
    text: String,
}

#[test]
fn every_answer_is_the_one_that_the_readme_prints() {
    let blocks = blocks();
    let (start, rest) = blocks.split_first().unwrap();
    assert!(
        start.text.contains("cargo run --release -- serve"),
        "the first block starts the server: {start:?}"
    );
    let folder = workplace();
    let server = Server::start_by(bash(&format!("{CARGO}\n{}", start.text), folder.path()));

    let session: Vec<_> = rest.iter().filter(|block| block.language == "sh").collect();
    let script: String =
        session.iter().map(|block| format!("{}\necho\necho '{END_OF_BLOCK}'\n", block.text)).collect();
    let script = script.replace(ADDRESS, &server.base);
    let output = bash(&script, folder.path()).stderr(Stdio::piped()).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && errors.is_empty(), "{errors}");
    let output = String::from_utf8(output.stdout).unwrap();
    let mut printed = output.split(END_OF_BLOCK).map(str::trim);

    let mut compared = 0;
    let mut answer = "";
    for block in rest {
        if block.language == "sh" {
            answer = printed.next().unwrap();
            continue;
        }
        let found: Value = serde_json::from_str(answer).unwrap_or_else(|error| panic!("{error}: {answer}"));
        let wanted: Value = serde_json::from_str(&block.text).unwrap();
        assert!(matches(&wanted, &found), "the README prints\n{}\nbut the answer is\n{answer}", block.text);
        compared += 1;
    }
    assert!(compared >= 5, "the README prints only {compared} answers");
}

#[test]
fn the_policy_on_the_first_screen_is_the_one_that_is_used() {
    let readme = readme();
    let shown = readme.split("```lictor\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let used = std::fs::read_to_string(Path::new(ROOT).join("docs/examples/refunds.lictor")).unwrap();
    assert_eq!(shown.trim(), used.trim());
    assert!(readme.lines().take(45).any(|line| line.contains("test \"")), "its test is on the first screen");
}

/// The README's blocks of shell and of answers, in order.
fn blocks() -> Vec<Block> {
    let readme = readme();
    // Every second piece between fences is a block.
    let pieces = readme.split("\n```").skip(1).step_by(2);
    let block = |piece: &str| {
        let (language, text) = piece.split_once('\n').unwrap_or_else(|| panic!("an empty block: {piece}"));
        Block { language: language.to_owned(), text: text.to_owned() }
    };
    pieces.map(block).filter(|block| block.language == "sh" || block.language == "json").collect()
}

fn readme() -> String {
    std::fs::read_to_string(Path::new(ROOT).join("README.md")).unwrap()
}

/// A folder that looks like the repository to the README, but where it may leave files.
fn workplace() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(Path::new(ROOT).join("docs"), folder.path().join("docs")).unwrap();
    folder
}

/// Bash, about to run a script in a folder.
fn bash(script: &str, folder: &Path) -> Command {
    let built = command();
    let mut bash = Command::new("bash");
    bash.args(["-c", script]).current_dir(folder).stdin(Stdio::null());
    bash.env("BUILT", built.get_program());
    for (name, _) in built.get_envs() {
        bash.env_remove(name);
    }
    bash
}

/// Whether an answer is what the README prints. A text matches one with `…` that begins and ends like it.
fn matches(wanted: &Value, found: &Value) -> bool {
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) => {
            let same = |(name, value)| found.get(name).is_some_and(|found| matches(value, found));
            wanted.len() == found.len() && wanted.iter().all(same)
        }
        (Value::Array(wanted), Value::Array(found)) => {
            wanted.len() == found.len()
                && wanted.iter().zip(found).all(|(wanted, found)| matches(wanted, found))
        }
        (Value::String(wanted), Value::String(found)) => match wanted.split_once(ANYTHING) {
            Some((start, end)) => {
                found.len() >= start.len() + end.len() && found.starts_with(start) && found.ends_with(end)
            }
            None => wanted == found,
        },
        _ => wanted == found,
    }
}
