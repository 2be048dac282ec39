//! The text that Prometheus reads (version 0.0.4 of its format).

use std::fmt::{Display, Write as _};

use super::Reading;

/// Lines of samples.
#[derive(Debug, Default)]
pub struct Text(String);

impl Text {
    /// The content type that names the format.
    pub const CONTENT_TYPE: &'static str = "text/plain; version=0.0.4; charset=utf-8";

    /// What the samples that follow are.
    pub fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
    }

    /// One sample. Labels are words of ours and routes, so nothing in them needs escaping.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels = written(labels);
        self.line(format_args!("{name}{labels} {value}"));
    }

    /// A number that only grows.
    pub fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, "counter", help);
        self.sample(name, &[], value);
    }

    /// A number that comes and goes.
    pub fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "gauge", help);
        self.sample(name, &[], value);
    }

    /// A histogram whose values are counted in `parts` of the unit.
    pub(super) fn histogram(&mut self, name: &str, labels: &[(&str, &str)], reading: &Reading, parts: u64) {
        let Reading { buckets, count, sum } = reading;
        let bucket = format!("{name}_bucket");
        for (bound, below) in buckets {
            let bound = decimal(*bound, parts);
            self.sample(&bucket, &[labels, &[("le", &bound)]].concat(), below);
        }
        self.sample(&bucket, &[labels, &[("le", "+Inf")]].concat(), count);
        self.sample(&format!("{name}_sum"), labels, decimal(*sum, parts));
        self.sample(&format!("{name}_count"), labels, count);
    }

    /// All lines.
    pub fn into_string(self) -> String {
        self.0
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Text takes all that is written to it.
        let _ = writeln!(self.0, "{line}");
    }
}

fn written(labels: &[(&str, &str)]) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    format!("{{{}}}", labels.join(","))
}

/// So many of so small a part of one, in decimals.
fn decimal(value: u64, parts: u64) -> String {
    let places = usize::try_from(parts.ilog10()).unwrap_or_default();
    let text = format!("{}.{:0places$}", value / parts, value % parts);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
