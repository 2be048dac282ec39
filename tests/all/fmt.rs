//! `lictor fmt` on files and folders, and `lictor completions`.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::command::{ROOT, file, lictor};

const UNTIDY: &str =
    "policy p{}\n// Why.\nrule a on intent{when amount>1 and action==\"x\" deny} // So.\n// The end.";
const TIDY: &str = "policy p {}\n\n// Why.\nrule a on intent {\n  when amount > 1 and action == \"x\"\n  deny\n} // So.\n// The end.\n";
const BROKEN: &str = "policy p{}\nrule a on intent { when amount > deny }\n";

#[test]
fn files_are_changed_in_place() {
    let folder = tempfile::tempdir().unwrap();
    let below = folder.path().join("below");
    fs::create_dir(&below).unwrap();
    let untidy = file(&below, "untidy.lictor", UNTIDY);
    let tidy = file(folder.path(), "tidy.lictor", TIDY);
    let folder = folder.path().to_str().unwrap();

    let ended = lictor(["fmt", folder]).expect(0);
    assert_eq!(ended.stdout, format!("{untidy}\n2 files: 1 changed, 0 can't be read\n"));
    assert_eq!(fs::read_to_string(&untidy).unwrap(), TIDY);
    assert_eq!(fs::read_to_string(&tidy).unwrap(), TIDY);
    assert_eq!(fs::read_dir(below).unwrap().count(), 1, "nothing else is left behind");
    let ended = lictor(["fmt", folder]).expect(0);
    assert_eq!(ended.stdout, "2 files: 0 changed, 0 can't be read\n");
}

#[test]
fn check_changes_nothing_and_names_what_would_change() {
    let folder = tempfile::tempdir().unwrap();
    let untidy = file(folder.path(), "untidy.lictor", UNTIDY);
    let tidy = file(folder.path(), "tidy.lictor", TIDY);
    let ended = lictor(["fmt", "--check", &untidy, &tidy]).expect(1);
    assert_eq!(ended.stdout, format!("{untidy}\n2 files: 1 would change, 0 can't be read\n"));
    assert_eq!(fs::read_to_string(&untidy).unwrap(), UNTIDY);
    lictor(["fmt", "--check", &tidy]).expect(0);
    lictor(["fmt", "--check", "absent.lictor"]).expect(2);
    lictor(["fmt"]).expect(2);
}

#[test]
fn what_cannot_be_read_is_left_alone_and_said() {
    let folder = tempfile::tempdir().unwrap();
    let broken = file(folder.path(), "broken.lictor", BROKEN);
    let untidy = file(folder.path(), "untidy.lictor", UNTIDY);
    let ended = lictor(["fmt", &broken, &untidy]).expect(1);
    assert!(ended.stdout.contains("L0101"), "{}", ended.stdout);
    assert_eq!(fs::read_to_string(&broken).unwrap(), BROKEN);
    assert_eq!(fs::read_to_string(&untidy).unwrap(), TIDY, "its neighbours are formatted all the same");
}

#[test]
fn programs_read_what_changed_and_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let broken = file(folder.path(), "broken.lictor", BROKEN);
    let untidy = file(folder.path(), "untidy.lictor", UNTIDY);
    let told = lictor(["fmt", "--check", "--format", "json", &broken, &untidy]).expect(1).json();
    assert_eq!(told["changed"], json!([untidy]));
    assert_eq!(told["diagnostics"][0]["file"], json!(broken));
    assert_eq!(told["diagnostics"][0]["line"], json!(2));
}

#[cfg(unix)]
#[test]
fn links_and_permissions_stay() {
    use std::os::unix::fs::{PermissionsExt, symlink};

    let folder = tempfile::tempdir().unwrap();
    let untidy = file(folder.path(), "untidy.lictor", UNTIDY);
    fs::set_permissions(&untidy, fs::Permissions::from_mode(0o640)).unwrap();
    let link = folder.path().join("link.lictor");
    symlink(&untidy, &link).unwrap();
    lictor(["fmt", link.to_str().unwrap()]).expect(0);
    assert!(link.is_symlink());
    assert_eq!(fs::read_to_string(&untidy).unwrap(), TIDY);
    assert_eq!(fs::metadata(&untidy).unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn the_policies_of_the_project_are_formatted() {
    let folders = ["docs/examples", "policy-templates", "server/src", "tests/corpus", "tests/real"];
    let paths = folders.map(|folder| Path::new(ROOT).join(folder).display().to_string());
    let arguments = ["fmt", "--check"].into_iter().chain(paths.iter().map(String::as_str));
    lictor(arguments).expect(0);
}

#[test]
fn each_shell_gets_its_completions() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let ended = lictor(["completions", shell]).expect(0);
        for word in ["fmt", "completions", "strict"] {
            assert!(ended.stdout.contains(word), "{shell} does not complete {word}");
        }
    }
    lictor(["completions", "abacus"]).expect(2);
}
