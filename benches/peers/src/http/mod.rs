//! The same decisions over HTTP: Lictor's server, Cerbos, and axum with the hand-written rules, in turns.

pub mod bare;
mod servers;
mod wrk;

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::by_hand::ByHand;
use crate::peer::{Peer, Verdict};
use crate::table::{grouped, ratio, time};
use crate::workload::{self, Shape};
use servers::Server;
use wrk::Round;

const RULES: usize = 100;
/// Different bodies that the load goes round in.
const BODIES: usize = 100;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(4);
const CONNECTIONS: usize = 32;

/// The table, after every server gave the right answer to every body.
pub fn run() -> Result<String> {
    let rules = workload::rules(Shape::Indexable, RULES);
    let events = workload::events(RULES, BODIES);
    let folder = tempfile::tempdir()?;
    let mut by_hand = ByHand::load(Vec::new(), &rules)?;
    let expected: Vec<Verdict> = events
        .iter()
        .map(|json| {
            let event = by_hand.prepare(json)?;
            Ok(ByHand::verdict(by_hand.decide(&event)?))
        })
        .collect::<Result<_>>()?;
    let servers = servers::start(folder.path(), &rules, &events)?;
    let mut rounds: Vec<Vec<Round>> = Vec::new();
    for server in &servers {
        for (expected, body) in expected.iter().zip(&server.bodies) {
            let allowed = server.ask(body)?;
            ensure!(allowed == expected.allowed, "{} says {allowed} to {body}", server.name);
        }
        server.load(folder.path(), Duration::from_secs(1)).with_context(|| server.name)?;
        rounds.push(Vec::new());
    }
    for _ in 0..ROUNDS {
        for (server, rounds) in servers.iter().zip(&mut rounds) {
            rounds.push(server.load(folder.path(), ROUND)?);
        }
    }
    Ok(table(&servers, &rounds))
}

fn table(servers: &[Server], rounds: &[Vec<Round>]) -> String {
    let first = rounds.first().map_or(f64::NAN, |rounds| median(rounds, |round| round.rate));
    let mut text = format!(
        "| {RULES} rules, {CONNECTIONS} connections | requests a second | p50 | p99 | server's CPU a request |\n\
         | --- | --- | --- | --- | --- |\n"
    );
    for (server, rounds) in servers.iter().zip(rounds) {
        let rate = median(rounds, |round| round.rate);
        text.push_str(&format!(
            "| {} | {} ({}) | {} | {} | {} |\n",
            server.name,
            grouped(rate as usize),
            ratio(rate / first),
            time(median(rounds, |round| round.p50_us) * 1e3),
            time(median(rounds, |round| round.p99_us) * 1e3),
            time(median(rounds, |round| round.cpu_us) * 1e3),
        ));
    }
    text
}

fn median(rounds: &[Round], figure: fn(&Round) -> f64) -> f64 {
    let mut values: Vec<f64> = rounds.iter().map(figure).collect();
    crate::measure::median(&mut values)
}
