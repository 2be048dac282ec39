//! What is counted while the server runs, and how Prometheus reads it.
//!
//! Counting is a few atomic additions and allocates nothing. Labels come from the routes and from words of this file,
//! never from a request, so there are only so many series; nothing is counted by org, agent or policy.

mod text;

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use axum::http::{Method, StatusCode};
use lictor_engine::decision::Outcome;

pub use text::Text;

/// Upper bounds of durations, in microseconds.
const DURATIONS_US: [u64; 14] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000,
];
/// Upper bounds of how many entries a batch has.
const BATCHES: [u64; 10] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512];
/// What a request is counted under that no route answers.
const NO_ROUTE: &str = "none";

/// Everything that is counted.
#[derive(Debug)]
pub struct Metrics {
    /// Requests by route.
    pub requests: Requests,
    /// Connections that are open.
    pub connections: AtomicI64,
    /// Connections that were closed at once, as their address has too many.
    pub connections_refused: AtomicU64,
    /// Recorded decisions by outcome.
    pub decisions: Decisions,
    /// Entries of a batch.
    pub batch_entries: Histogram<10>,
    /// How long a batch took to be durable.
    pub commit_time: Histogram<14>,
    /// Batches that could not be recorded.
    pub commits_failed: AtomicU64,
}

impl Metrics {
    /// Nothing happened yet on these routes.
    pub fn new(routes: impl IntoIterator<Item = (Method, String)>) -> Metrics {
        Metrics {
            requests: Requests::new(routes),
            connections: AtomicI64::new(0),
            connections_refused: AtomicU64::new(0),
            decisions: Decisions::default(),
            batch_entries: Histogram::new(BATCHES),
            commit_time: Histogram::new(DURATIONS_US),
            commits_failed: AtomicU64::new(0),
        }
    }

    /// A batch of so many entries became durable with these decisions, or it failed.
    pub fn batch(&self, entries: usize, took: Duration, durable: Option<Outcomes>) {
        self.batch_entries.add(entries as u64);
        self.commit_time.add_time(took);
        match durable {
            Some(outcomes) => self.decisions.add(outcomes),
            None => _ = self.commits_failed.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// All of it, as far as it does not depend on anything else.
    pub fn write(&self, text: &mut Text) {
        self.requests.write(text);
        let connections = self.connections.load(Ordering::Relaxed);
        text.gauge("lictor_http_connections", "Connections that are open.", connections);
        let refused = self.connections_refused.load(Ordering::Relaxed);
        let help = "Connections closed at once, as their address had too many.";
        text.counter("lictor_http_connections_refused_total", help, refused);
        text.family("lictor_decisions_total", "counter", "Recorded decisions by outcome.");
        for (outcome, count) in self.decisions.counts() {
            text.sample("lictor_decisions_total", &[("outcome", outcome)], count);
        }
        let help = "Ledger entries of a batch.";
        text.family("lictor_batch_entries", "histogram", help);
        text.histogram("lictor_batch_entries", &[], &self.batch_entries.read(), 1);
        let help = "How long a batch took to be durable.";
        text.family("lictor_commit_seconds", "histogram", help);
        text.histogram("lictor_commit_seconds", &[], &self.commit_time.read(), MICROS);
        let failed = self.commits_failed.load(Ordering::Relaxed);
        text.counter("lictor_commits_failed_total", "Batches that could not be recorded.", failed);
    }
}

/// Units of a second in which durations are counted.
const MICROS: u64 = 1_000_000;

/// The words for outcomes.
const OUTCOMES: [Outcome; 4] = [Outcome::Allow, Outcome::Warn, Outcome::RequireApproval, Outcome::Deny];

/// How often a batch decided what.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outcomes([u64; 4]);

impl<'a> FromIterator<&'a str> for Outcomes {
    fn from_iter<T: IntoIterator<Item = &'a str>>(outcomes: T) -> Outcomes {
        let mut counts = Outcomes::default();
        for outcome in outcomes {
            let place = OUTCOMES.iter().position(|other| other.name() == outcome);
            if let Some(count) = place.and_then(|place| counts.0.get_mut(place)) {
                *count += 1;
            }
        }
        counts
    }
}

/// How often each outcome was recorded.
#[derive(Debug, Default)]
pub struct Decisions([AtomicU64; 4]);

impl Decisions {
    fn add(&self, Outcomes(outcomes): Outcomes) {
        for (count, more) in self.0.iter().zip(outcomes) {
            count.fetch_add(more, Ordering::Relaxed);
        }
    }

    fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let names = OUTCOMES.map(Outcome::name);
        names.into_iter().zip(&self.0).map(|(name, count)| (name, count.load(Ordering::Relaxed)))
    }
}

/// How many values were at most so large.
#[derive(Debug)]
pub struct Histogram<const N: usize> {
    bounds: [u64; N],
    counts: [AtomicU64; N],
    count: AtomicU64,
    sum: AtomicU64,
}

impl<const N: usize> Histogram<N> {
    fn new(bounds: [u64; N]) -> Histogram<N> {
        let counts = [const { AtomicU64::new(0) }; N];
        Histogram { bounds, counts, count: AtomicU64::new(0), sum: AtomicU64::new(0) }
    }

    fn add(&self, value: u64) {
        let place = self.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get(place) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    fn add_time(&self, time: Duration) {
        self.add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    fn read(&self) -> Reading {
        let mut below = 0;
        let buckets = self.bounds.iter().zip(&self.counts).map(|(bound, count)| {
            below += count.load(Ordering::Relaxed);
            (*bound, below)
        });
        let buckets = buckets.collect();
        // Whoever counts adds to the bucket first, so that no bucket has more than there are.
        let count = self.count.load(Ordering::Relaxed).max(below);
        Reading { buckets, count, sum: self.sum.load(Ordering::Relaxed) }
    }
}

/// A histogram as it was at a time.
#[derive(Debug, PartialEq, Eq)]
pub struct Reading {
    /// Each bound, with how many values were at most that.
    buckets: Vec<(u64, u64)>,
    count: u64,
    sum: u64,
}

/// Requests by method, route and kind of answer.
#[derive(Debug)]
pub struct Requests {
    routes: HashMap<String, Vec<(Method, Route)>>,
    none: Route,
}

/// What one method of one path was asked.
#[derive(Debug)]
pub struct Route {
    /// From 1xx to 5xx.
    classes: [AtomicU64; 5],
    time: Histogram<14>,
}

impl Default for Route {
    fn default() -> Route {
        Route { classes: Default::default(), time: Histogram::new(DURATIONS_US) }
    }
}

impl Route {
    /// A request was answered.
    pub fn add(&self, status: StatusCode, took: Duration) {
        let class = usize::from(status.as_u16() / 100).checked_sub(1);
        if let Some(count) = class.and_then(|class| self.classes.get(class)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.time.add_time(took);
    }
}

impl Requests {
    fn new(routes: impl IntoIterator<Item = (Method, String)>) -> Requests {
        let mut by_path: HashMap<String, Vec<(Method, Route)>> = HashMap::new();
        for (method, path) in routes {
            by_path.entry(path).or_default().push((method, Route::default()));
        }
        Requests { routes: by_path, none: Route::default() }
    }

    /// Where requests of this method to this route are counted.
    pub fn of(&self, method: &Method, path: Option<&str>) -> &Route {
        let methods = path.and_then(|path| self.routes.get(path));
        let route = methods.and_then(|methods| methods.iter().find(|(other, _)| other == method));
        route.map_or(&self.none, |(_, route)| route)
    }

    /// Those that were asked at least once.
    fn asked(&self) -> Vec<(&str, &str, &Route, Reading)> {
        let known = self.routes.iter().flat_map(|(path, methods)| {
            methods.iter().map(move |(method, route)| (method.as_str(), path.as_str(), route))
        });
        let all = known.chain([(NO_ROUTE, NO_ROUTE, &self.none)]);
        let mut asked: Vec<_> = all
            .map(|(method, path, route)| (method, path, route, route.time.read()))
            .filter(|(.., reading)| reading.count > 0)
            .collect();
        asked.sort_unstable_by_key(|(method, path, ..)| (*path, *method));
        asked
    }

    fn write(&self, text: &mut Text) {
        const REQUESTS: &str = "lictor_http_requests_total";
        const TIME: &str = "lictor_http_request_seconds";
        let asked = self.asked();
        text.family(REQUESTS, "counter", "Answered requests by method, route and class of status.");
        for (method, route, counts, _) in &asked {
            for (class, count) in ["1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().zip(&counts.classes) {
                let count = count.load(Ordering::Relaxed);
                if count > 0 {
                    let labels = [("method", *method), ("route", *route), ("status", class)];
                    text.sample(REQUESTS, &labels, count);
                }
            }
        }
        text.family(TIME, "histogram", "From the head of a request to its answer, its body included.");
        for (method, route, _, reading) in &asked {
            text.histogram(TIME, &[("method", method), ("route", route)], reading, MICROS);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_in_the_first_bucket_that_holds_it() {
        let histogram = Histogram::new([1, 10]);
        for value in [0, 1, 2, 10, 11, 1_000] {
            histogram.add(value);
        }
        let want = Reading { buckets: vec![(1, 2), (10, 4)], count: 6, sum: 1_024 };
        assert_eq!(histogram.read(), want);
    }

    #[test]
    fn a_request_counts_under_its_route_and_nothing_that_it_says() {
        let metrics = Metrics::new([(Method::GET, "/a/{id}".to_owned())]);
        let took = Duration::from_micros(300);
        metrics.requests.of(&Method::GET, Some("/a/{id}")).add(StatusCode::OK, took);
        let odd = Method::from_bytes(b"ODD").unwrap();
        metrics.requests.of(&odd, Some("/a/{id}")).add(StatusCode::METHOD_NOT_ALLOWED, took);
        metrics.requests.of(&Method::GET, Some("/a/7")).add(StatusCode::NOT_FOUND, took);
        metrics.batch(3, took, Some(["deny", "deny", "allow"].into_iter().collect()));
        metrics.batch(1, took, None);
        let mut text = Text::default();
        metrics.write(&mut text);
        let text = text.into_string();
        for line in [
            r#"lictor_http_requests_total{method="GET",route="/a/{id}",status="2xx"} 1"#,
            r#"lictor_http_requests_total{method="none",route="none",status="4xx"} 2"#,
            r#"lictor_http_request_seconds_bucket{method="GET",route="/a/{id}",le="0.00025"} 0"#,
            r#"lictor_http_request_seconds_bucket{method="GET",route="/a/{id}",le="0.0005"} 1"#,
            r#"lictor_http_request_seconds_bucket{method="GET",route="/a/{id}",le="+Inf"} 1"#,
            r#"lictor_http_request_seconds_sum{method="GET",route="/a/{id}"} 0.0003"#,
            r#"lictor_decisions_total{outcome="deny"} 2"#,
            r#"lictor_decisions_total{outcome="warn"} 0"#,
            r#"lictor_batch_entries_bucket{le="4"} 2"#,
            "lictor_batch_entries_sum 4",
            "lictor_commits_failed_total 1",
            "# TYPE lictor_http_connections gauge",
        ] {
            assert!(text.lines().any(|other| other == line), "no {line} in\n{text}");
        }
        assert!(!text.contains("ODD"));
    }
}
