//! The arrows of ARCHITECTURE.md are true: `lictor -> server -> engine -> dsl`, and never back.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

use crate::command::ROOT;

/// Each package with what it may depend on, from left to right.
const LAYERS: [(&str, &[&str]); 4] = [
    ("lictor-dsl", &[]),
    ("lictor-engine", &["lictor-dsl"]),
    ("lictor-server", &["lictor-dsl", "lictor-engine"]),
    ("lictor", &["lictor-dsl", "lictor-engine", "lictor-server"]),
];

/// What the pure layers never use: async, the network, a database.
const IMPURE: [&str; 6] = ["tokio", "axum", "hyper", "sqlx", "reqwest", "async-trait"];

#[test]
fn dependencies_point_one_way() {
    let packages = packages();
    let names: Vec<_> = packages.keys().map(String::as_str).collect();
    let mut known: Vec<_> = LAYERS.iter().map(|(name, _)| *name).collect();
    known.sort_unstable();
    assert_eq!(names, known, "every package of the workspace has its place in LAYERS");
    for (package, may) in LAYERS {
        for dependency in packages[package].iter().filter(|name| packages.contains_key(*name)) {
            assert!(may.contains(&dependency.as_str()), "{package} must not depend on {dependency}");
        }
    }
}

#[test]
fn language_and_engine_are_pure() {
    let packages = packages();
    for package in ["lictor-dsl", "lictor-engine"] {
        for name in IMPURE {
            assert!(
                !packages[package].iter().any(|used| used == name),
                "{package} must not depend on {name}"
            );
        }
    }
}

/// The packages of the workspace with all that they depend on, their tests included.
fn packages() -> BTreeMap<String, Vec<String>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = ["metadata", "--format-version", "1", "--no-deps", "--offline"];
    let output = Command::new(cargo).args(arguments).current_dir(ROOT).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let name = |value: &Value| value["name"].as_str().unwrap().to_owned();
    let dependencies =
        |package: &Value| package["dependencies"].as_array().unwrap().iter().map(name).collect();
    let packages = metadata["packages"].as_array().unwrap();
    packages.iter().map(|package| (name(package), dependencies(package))).collect()
}
