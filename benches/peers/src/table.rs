//! The figures as Markdown: a table for each shape and kind of input, and who was left out.

use std::fmt::Write;

use crate::measure::{Entry, Outcome, Suite, Times};
use crate::workload::Shape;

/// All tables. Cells are times, and in brackets multiples of the first row.
pub fn render(entries: &[Entry], suites: &[Suite]) -> String {
    let mut text = String::new();
    for shape in Shape::ALL {
        let suites: Vec<&Suite> = suites.iter().filter(|suite| suite.shape == shape).collect();
        let name = shape.name();
        table(&mut text, &format!("{name}, an event that is prepared"), entries, &suites, |times| {
            times.prepared
        });
        table(&mut text, &format!("{name}, from the bytes of its JSON"), entries, &suites, |times| {
            times.bytes
        });
        table(&mut text, &format!("{name}, loading from text"), entries, &suites, |times| {
            times.load.as_nanos() as f64
        });
    }
    left_out(&mut text, entries, suites);
    text
}

fn table(text: &mut String, title: &str, entries: &[Entry], suites: &[&Suite], figure: fn(&Times) -> f64) {
    let sizes: Vec<String> = suites.iter().map(|suite| format!("{} rules", grouped(suite.rules))).collect();
    let dashes = " --- |".repeat(suites.len());
    line(text, &format!("| {title} | {} |\n| --- |{dashes}", sizes.join(" | ")));
    for (number, entry) in entries.iter().enumerate() {
        let cells: Vec<String> = suites
            .iter()
            .map(|suite| match (&suite.outcomes[number], &suite.outcomes[0]) {
                (Outcome::Took(times), Outcome::Took(first)) => {
                    format!("{} ({})", time(figure(times)), ratio(figure(times) / figure(first)))
                }
                _ => "–".to_owned(),
            })
            .collect();
        line(text, &format!("| {} | {} |", entry.name, cells.join(" | ")));
    }
    line(text, "");
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

/// `123 ns`, `1.2 us`, `12 us`, `1.2 ms`, `1.2 s`.
pub fn time(ns: f64) -> String {
    let (value, unit) = match ns {
        ..1e3 => return format!("{ns:.0} ns"),
        ..1e6 => (ns / 1e3, "us"),
        ..1e9 => (ns / 1e6, "ms"),
        _ => (ns / 1e9, "s"),
    };
    if value < 10.0 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

pub fn ratio(value: f64) -> String {
    if value < 10.0 { format!("{value:.1}") } else { grouped(value.round() as usize) }
}

/// `10,000`.
pub fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
