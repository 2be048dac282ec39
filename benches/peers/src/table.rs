//! The figures as Markdown: a table for each shape and kind of input, and who was left out.

use std::fmt::Write;

use crate::measure::{Entry, Outcome, Suite, Times};
use crate::numbers::{grouped, ratio, time};
use crate::workload::Shape;

/// All tables.
pub fn render(entries: &[Entry], suites: &[Suite]) -> String {
    let mut text = String::new();
    for shape in Shape::ALL {
        let suites: Vec<&Suite> = suites.iter().filter(|suite| suite.shape == shape).collect();
        table(&mut text, "an event that is prepared", entries, &suites, |took, first| {
            compared(took.prepared, first.prepared)
        });
        table(&mut text, "from the bytes of its JSON", entries, &suites, |took, first| {
            compared(took.bytes, first.bytes)
        });
        table(&mut text, "loading from text", entries, &suites, |took, _| time(took.load.as_nanos() as f64));
    }
    left_out(&mut text, entries, suites);
    text
}

/// A table of one shape; `cell` gets what an engine took and what the first one did.
fn table(
    text: &mut String,
    title: &str,
    entries: &[Entry],
    suites: &[&Suite],
    cell: fn(&Times, &Times) -> String,
) {
    let Some(shape) = suites.first().map(|suite| suite.shape.name()) else { return };
    let sizes: Vec<String> = suites.iter().map(|suite| format!("{} rules", grouped(suite.rules))).collect();
    let dashes = " --- |".repeat(suites.len());
    line(text, &format!("| {shape}, {title} | {} |\n| --- |{dashes}", sizes.join(" | ")));
    for (number, entry) in entries.iter().enumerate() {
        let cells: Vec<String> = suites
            .iter()
            .map(|suite| match (&suite.outcomes[number], &suite.outcomes[0]) {
                (Outcome::Took(took), Outcome::Took(first)) => cell(took, first),
                _ => "–".to_owned(),
            })
            .collect();
        line(text, &format!("| {} | {} |", entry.name, cells.join(" | ")));
    }
    line(text, "");
}

fn compared(took: f64, first: f64) -> String {
    format!("{} ({})", time(took), ratio(took / first))
}

fn left_out(text: &mut String, entries: &[Entry], suites: &[Suite]) {
    for suite in suites {
        for (entry, outcome) in entries.iter().zip(&suite.outcomes) {
            if let Outcome::Out(why) = outcome {
                let (shape, rules) = (suite.shape.name(), grouped(suite.rules));
                line(text, &format!("- {} is left out of {shape} with {rules} rules: {why}.", entry.name));
            }
        }
    }
}

fn line(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("strings take writes");
}
