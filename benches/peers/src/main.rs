//! The same rules and events through Lictor, other engines and hand-written Rust.
//!
//! All must give the same decision and the same names for 1,000 random events of each rule set: a wrong answer
//! ends the run.
//!
//! - without arguments: tables into `benches/README.md`, the chart into `docs/images/peers.svg`
//! - with numbers of rules: these only, and nothing is written

mod by_hand;
mod cedar;
mod cel_rust;
mod chart;
#[path = "../../drawing.rs"]
mod drawing;
mod lictor;
mod lictor_text;
mod measure;
mod numbers;
mod peer;
mod rego;
mod report;
mod table;
mod wirefilter_engine;
mod workload;
mod zen;

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
    Entry::of::<cedar::Cedar>(),
    Entry::of::<rego::Machine>(),
    Entry::of::<rego::Interpreter>(),
];

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => {
            let suites = run(&[10, 100, 1_000, 10_000])?;
            let mut crates = ENTRIES.map(|entry| entry.crate_name).to_vec();
            crates.dedup();
            report::write("engines", &table::render(&ENTRIES, &suites), &crates)?;
            report::write_image("peers.svg", &chart::render(&ENTRIES, &suites))
        }
        ref sizes => {
            let sizes = sizes.iter().map(|size| size.parse().context("a number of rules"));
            print!("{}", table::render(&ENTRIES, &run(&sizes.collect::<Result<Vec<usize>>>()?)?));
            Ok(())
        }
    }
}

fn run(sizes: &[usize]) -> Result<Vec<measure::Suite>> {
    let start = Instant::now();
    let mut suites = Vec::new();
    for shape in Shape::ALL {
        for rules in sizes {
            let suite = measure::run(&ENTRIES, shape, *rules)?;
            let [none, few, many] = suite.matches;
            eprintln!(
                "{}, {rules} rules: all agree; {none} events match no rule, {few} 1 to 3, {many} more ({:.0} s)",
                shape.name(),
                start.elapsed().as_secs_f64()
            );
            suites.push(suite);
        }
    }
    Ok(suites)
}
