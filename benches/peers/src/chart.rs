//! The figures as a drawing: what a decision costs against the number of rules, both axes logarithmic.

use std::fmt::Write;

use crate::measure::{Entry, Outcome, Suite};
use crate::numbers::{grouped, time};
use crate::workload::Shape;

/// Colours of the lines, by light and by dark; the first one is drawn dashed, the second one bold.
const COLOURS: [(&str, &str); 8] = [
    ("#59636e", "#9198a1"),
    ("#d1242f", "#ff7b72"),
    ("#0969da", "#58a6ff"),
    ("#1a7f37", "#3fb950"),
    ("#9a6700", "#d29922"),
    ("#8250df", "#bc8cff"),
    ("#bf3989", "#f778ba"),
    ("#1b7c83", "#39c5cf"),
];

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 420.0;
const TOP: f64 = 48.0;
const BOTTOM: f64 = 372.0;
const PLOT: f64 = 270.0;
/// Where the plots of the shapes begin.
const LEFT: [f64; 2] = [56.0, 536.0];
/// Powers of ten, in nanoseconds, at the foot and at the head.
const COSTS: (f64, f64) = (1.0, 8.0);

/// Prepared events, a plot for each shape and a line for each engine.
pub fn render(entries: &[Entry], suites: &[Suite]) -> String {
    let mut svg = head(entries);
    for (shape, left) in Shape::ALL.into_iter().zip(LEFT) {
        let suites: Vec<&Suite> = suites.iter().filter(|suite| suite.shape == shape).collect();
        axes(&mut svg, shape, left, &suites);
        lines(&mut svg, left, entries, &suites);
    }
    svg.push_str("</svg>\n");
    svg
}

fn head(entries: &[Entry]) -> String {
    let colours = |pick: fn((&'static str, &'static str)) -> &'static str| -> String {
        (0..entries.len())
            .map(|number| {
                let colour = pick(COLOURS[number % COLOURS.len()]);
                format!("    .l{number} {{ stroke: {colour} }} .t{number} {{ fill: {colour} }}\n")
            })
            .collect()
    };
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" aria-labelledby="t">
  <title id="t">What one decision of a prepared event costs with 10 to 10,000 rules, a line for each engine</title>
  <style>
    text {{ font: 12px system-ui, sans-serif; fill: #1f2328 }}
    .title {{ font-size: 14px; font-weight: 600 }}
    .grid {{ stroke: #d1d9e0; stroke-width: 1 }}
    .line {{ fill: none; stroke-width: 1.5 }}
    .l0 {{ stroke-dasharray: 5 3 }}
    .l1 {{ stroke-width: 3 }}
    .t1 {{ font-weight: 700 }}
    .mid {{ text-anchor: middle }}
    .end {{ text-anchor: end }}
{}    @media (prefers-color-scheme: dark) {{
    text {{ fill: #e6edf3 }}
    .grid {{ stroke: #3d444d }}
{}    }}
  </style>
"#,
        colours(|pair| pair.0),
        colours(|pair| pair.1)
    )
}

fn axes(svg: &mut String, shape: Shape, left: f64, suites: &[&Suite]) {
    let right = left + PLOT;
    put(svg, &format!(r#"<text class="title" x="{left}" y="26">{}</text>"#, shape.name()));
    let mut power = COSTS.0;
    while power <= COSTS.1 {
        let y = height(10f64.powf(power));
        put(svg, &format!(r#"<path class="grid" d="M{left} {y:.1}H{right}"/>"#));
        let label = time(10f64.powf(power)).replace(".0 ", " ");
        put(svg, &format!(r#"<text class="end" x="{}" y="{:.1}">{label}</text>"#, left - 6.0, y + 4.0));
        power += 1.0;
    }
    for suite in suites {
        let x = across(left, suite.rules);
        put(svg, &format!(r#"<path class="grid" d="M{x:.1} {TOP}V{BOTTOM}"/>"#));
        let rules = grouped(suite.rules);
        put(svg, &format!(r#"<text class="mid" x="{x:.1}" y="{}">{rules}</text>"#, BOTTOM + 18.0));
    }
    put(svg, &format!(r#"<text class="mid" x="{}" y="{}">rules</text>"#, left + PLOT / 2.0, BOTTOM + 38.0));
}

fn lines(svg: &mut String, left: f64, entries: &[Entry], suites: &[&Suite]) {
    let mut labels = Vec::new();
    for (number, entry) in entries.iter().enumerate() {
        let points: Vec<(f64, f64)> = suites
            .iter()
            .filter_map(|suite| match &suite.outcomes[number] {
                Outcome::Took(times) => Some((across(left, suite.rules), height(times.prepared))),
                Outcome::Out(_) => None,
            })
            .collect();
        let Some((_, last)) = points.last() else { continue };
        let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
        put(svg, &format!(r#"<path class="line l{number}" d="M{}"/>"#, path.join("L")));
        labels.push((*last, number, entry.name));
    }
    // A name stands where its line ends, or below the one above it.
    labels.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut lowest = f64::MIN;
    for (y, number, name) in labels {
        lowest = (lowest + 14.0).max(y);
        let (x, y) = (left + PLOT + 8.0, lowest + 4.0);
        put(svg, &format!(r#"<text class="t{number}" x="{x}" y="{y:.1}">{name}</text>"#));
    }
}

fn across(left: f64, rules: usize) -> f64 {
    left + PLOT * ((rules as f64).log10() - 1.0) / 3.0
}

fn height(ns: f64) -> f64 {
    BOTTOM - (BOTTOM - TOP) * (ns.log10() - COSTS.0) / (COSTS.1 - COSTS.0)
}

fn put(svg: &mut String, element: &str) {
    writeln!(svg, "  {element}").expect("strings take writes");
}
