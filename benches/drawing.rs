//! Figures as a drawing: what something costs against how much there is, both axes logarithmic, as SVG that reads in
//! light and in dark.

#![allow(dead_code, reason = "each bench uses a part of it")]

use std::fmt::Write;

/// Plots side by side, over the same costs.
pub struct Drawing<'d> {
    /// What is drawn, for those who don't see it.
    pub title: &'d str,
    /// What there is more of from left to right.
    pub across: &'d str,
    pub plots: Vec<Plot<'d>>,
}

pub struct Plot<'d> {
    pub name: &'d str,
    pub lines: Vec<Line<'d>>,
}

/// Of the lines of a plot the first one is drawn dashed, the second one bold; its number gives a line its colour.
pub struct Line<'d> {
    pub name: &'d str,
    pub number: usize,
    /// How much there is, and the nanoseconds that it costs.
    pub points: Vec<(usize, f64)>,
}

/// Colours of the lines, by light and by dark.
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

/// How wide a plot is with what stands beside it, and without.
const WHOLE: f64 = 480.0;
const PLOT: f64 = 270.0;
const HEIGHT: f64 = 420.0;
const TOP: f64 = 48.0;
const BOTTOM: f64 = 372.0;

/// What the axes span.
struct Axes {
    /// Powers of ten, in nanoseconds, at the foot and at the head.
    costs: (f64, f64),
    /// Powers of ten at the left and at the right.
    amounts: (f64, f64),
}

impl Drawing<'_> {
    pub fn svg(&self) -> String {
        let axes = self.axes();
        let mut svg = self.head();
        for (number, plot) in self.plots.iter().enumerate() {
            let left = 56.0 + WHOLE * number as f64;
            self.frame(&mut svg, &axes, left, plot);
            lines(&mut svg, &axes, left, plot);
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn axes(&self) -> Axes {
        let points = || self.plots.iter().flat_map(|plot| &plot.lines).flat_map(|line| &line.points);
        let (mut costs, mut amounts) = ((f64::MAX, f64::MIN), (f64::MAX, f64::MIN));
        let widen = |span: &mut (f64, f64), power: f64| *span = (span.0.min(power), span.1.max(power));
        for (amount, ns) in points() {
            widen(&mut costs, ns.log10().floor());
            widen(&mut costs, ns.log10().ceil());
            widen(&mut amounts, (*amount as f64).log10());
        }
        Axes { costs, amounts }
    }

    fn head(&self) -> String {
        let width = WHOLE * self.plots.len() as f64;
        let colours = |pick: fn((&'static str, &'static str)) -> &'static str| -> String {
            (0..COLOURS.len())
                .map(|number| {
                    let colour = pick(COLOURS[number]);
                    format!("    .l{number} {{ stroke: {colour} }} .t{number} {{ fill: {colour} }}\n")
                })
                .collect()
        };
        format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" width="{width}" height="{HEIGHT}" role="img" aria-labelledby="t">
  <title id="t">{}</title>
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
            self.title,
            colours(|pair| pair.0),
            colours(|pair| pair.1)
        )
    }

    fn frame(&self, svg: &mut String, axes: &Axes, left: f64, plot: &Plot<'_>) {
        let right = left + PLOT;
        put(svg, &format!(r#"<text class="title" x="{left}" y="26">{}</text>"#, plot.name));
        let mut power = axes.costs.0;
        while power <= axes.costs.1 {
            let y = axes.height(10f64.powf(power));
            put(svg, &format!(r#"<path class="grid" d="M{left} {y:.1}H{right}"/>"#));
            let label = time(10f64.powf(power)).replace(".0 ", " ");
            put(svg, &format!(r#"<text class="end" x="{}" y="{:.1}">{label}</text>"#, left - 6.0, y + 4.0));
            power += 1.0;
        }
        let mut amounts: Vec<usize> = Vec::new();
        plot.lines.iter().for_each(|line| amounts.extend(line.points.iter().map(|(amount, _)| amount)));
        amounts.sort_unstable();
        amounts.dedup();
        for amount in amounts {
            let x = axes.across(left, amount);
            put(svg, &format!(r#"<path class="grid" d="M{x:.1} {TOP}V{BOTTOM}"/>"#));
            let shown = short(amount);
            put(svg, &format!(r#"<text class="mid" x="{x:.1}" y="{}">{shown}</text>"#, BOTTOM + 18.0));
        }
        let (x, y) = (left + PLOT / 2.0, BOTTOM + 38.0);
        put(svg, &format!(r#"<text class="mid" x="{x}" y="{y}">{}</text>"#, self.across));
    }
}

fn lines(svg: &mut String, axes: &Axes, left: f64, plot: &Plot<'_>) {
    let mut labels = Vec::new();
    for line in &plot.lines {
        let number = line.number % COLOURS.len();
        let place = |(amount, ns): &(usize, f64)| (axes.across(left, *amount), axes.height(*ns));
        let points: Vec<(f64, f64)> = line.points.iter().map(place).collect();
        let Some((_, last)) = points.last() else { continue };
        let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
        put(svg, &format!(r#"<path class="line l{number}" d="M{}"/>"#, path.join("L")));
        labels.push((*last, number, line.name));
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

impl Axes {
    fn across(&self, left: f64, amount: usize) -> f64 {
        let (from, to) = self.amounts;
        left + PLOT * ((amount as f64).log10() - from) / (to - from)
    }

    fn height(&self, ns: f64) -> f64 {
        let (foot, head) = self.costs;
        BOTTOM - (BOTTOM - TOP) * (ns.log10() - foot) / (head - foot)
    }
}

fn put(svg: &mut String, element: &str) {
    writeln!(svg, "  {element}").expect("strings take writes");
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

/// Millions are too wide for an axis.
fn short(number: usize) -> String {
    match number {
        1_000_000.. => format!("{} M", grouped(number / 1_000_000)),
        _ => grouped(number),
    }
}

/// Writes a drawing where the pages look for it.
pub fn publish(name: &str, drawing: &Drawing<'_>) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/images").join(name);
    std::fs::write(path, drawing.svg()).expect("an image can be written");
}

/// Whether the whole bench was asked for, or the drawing by its name: `cargo bench --bench decide -- drawing`.
pub fn is_wanted() -> bool {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench").peekable();
    arguments.peek().is_none() || arguments.any(|argument| argument == "drawing")
}
