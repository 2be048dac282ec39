//! The same rules and events through Lictor, other engines and hand-written Rust.
//!
//! All must give the same decision and the same names for 1,000 random events of each rule set: a wrong answer
//! ends the run. Without arguments, the tables and the chart are written into `benches/README.md` and
//! `docs/images/peers.svg`; with some, these are the numbers of rules, and nothing is written.

mod by_hand;
mod cedar;
mod cel_rust;
mod chart;
mod lictor;
mod measure;
mod peer;
mod rego;
mod table;
mod wirefilter_engine;
mod workload;
mod zen;

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};
use measure::Entry;
use workload::Shape;

/// The first one is the measure of all others.
const ENTRIES: [Entry; 8] = [
    Entry::of::<by_hand::ByHand>(),
    Entry::of::<lictor::Lictor>(),
    Entry::of::<wirefilter_engine::Wirefilter>(),
    Entry::of::<zen::Zen>(),
    Entry::of::<cel_rust::Cel>(),
    Entry::of::<rego::Machine>(),
    Entry::of::<cedar::Cedar>(),
    Entry::of::<rego::Interpreter>(),
];

fn main() -> Result<()> {
    let start = Instant::now();
    let asked: Vec<usize> = std::env::args()
        .skip(1)
        .map(|size| size.parse().context("a number of rules"))
        .collect::<Result<_>>()?;
    let sizes = if asked.is_empty() { vec![10, 100, 1_000, 10_000] } else { asked.clone() };
    let mut suites = Vec::new();
    for shape in Shape::ALL {
        for rules in &sizes {
            let suite = measure::run(&ENTRIES, shape, *rules)?;
            let [none, few, many] = suite.matches;
            eprintln!(
                "{}, {rules} rules: all agree; of the events {none} match no rule, {few} 1 to 3, {many} more ({:.0} s)",
                shape.name(),
                start.elapsed().as_secs_f64()
            );
            suites.push(suite);
        }
    }
    let text = format!("{}\n{}", circumstances(), table::render(&ENTRIES, &suites));
    println!("{text}");
    if asked.is_empty() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        std::fs::write(root.join("docs/images/peers.svg"), chart::render(&ENTRIES, &suites))?;
        write_between_marks(&root.join("benches/README.md"), &text)?;
    }
    Ok(())
}

/// What the figures depend on: the machine, the compiler, the engines' versions.
fn circumstances() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("?", |line| line.1);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let rustc =
        Command::new("rustc").arg("--version").output().map(|output| output.stdout).unwrap_or_default();
    let rustc = String::from_utf8_lossy(&rustc);
    let mut versions: Vec<String> =
        ENTRIES.iter().map(|entry| format!("{} {}", entry.crate_name, locked(entry.crate_name))).collect();
    versions.dedup();
    format!("{cpu}, {cores} cores; {}; {}.\n", rustc.trim(), versions.join(", "))
}

/// The version that `Cargo.lock` names.
fn locked(name: &str) -> &'static str {
    let package = format!("name = \"{name}\"\nversion = \"");
    let (_, rest) = include_str!("../Cargo.lock").split_once(&package).unwrap_or_default();
    rest.split('"').next().unwrap_or_default()
}

fn write_between_marks(path: &Path, text: &str) -> Result<()> {
    let page = std::fs::read_to_string(path)?;
    let (before, rest) = page.split_once(BEGIN).context("benches/README.md has no mark to write behind")?;
    let (_, after) = rest.split_once(END).context("benches/README.md has no mark to write up to")?;
    Ok(std::fs::write(path, format!("{before}{BEGIN}\n\n{text}\n{END}{after}"))?)
}

const BEGIN: &str = "<!-- peers: written by make bench-peers -->";
const END: &str = "<!-- peers: end -->";
