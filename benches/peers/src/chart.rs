//! The figures as a drawing: what a decision costs against the number of rules.

use crate::drawing::{Drawing, Line, Plot};
use crate::measure::{Entry, Outcome, Suite};
use crate::workload::Shape;

/// Prepared events, a plot for each shape and a line for each engine.
pub fn render(entries: &[Entry], suites: &[Suite]) -> String {
    let of = |shape: Shape, number: usize| {
        let suites = suites.iter().filter(move |suite| suite.shape == shape);
        suites.filter_map(move |suite| match &suite.outcomes[number] {
            Outcome::Took(times) => Some((suite.rules, times.prepared)),
            Outcome::Out(_) => None,
        })
    };
    let plots = Shape::ALL.into_iter().map(|shape| Plot {
        name: shape.name(),
        lines: (entries.iter().enumerate())
            .map(|(number, entry)| Line { name: entry.name, number, points: of(shape, number).collect() })
            .collect(),
    });
    Drawing {
        title: "What one decision of a prepared event costs with 10 to 10,000 rules, a line for each engine",
        across: "rules",
        plots: plots.collect(),
    }
    .svg()
}
