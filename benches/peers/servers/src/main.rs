//! The same decisions over HTTP: Lictor's server, Cerbos, and axum with the hand-written rules, in turns.

mod bare;
mod bare_ledger;
#[path = "../../src/by_hand.rs"]
mod by_hand;
#[path = "../../../drawing.rs"]
#[allow(dead_code, reason = "engines have an image too")]
mod drawing;
#[path = "../../src/lictor_text.rs"]
mod lictor_text;
#[path = "../../src/numbers.rs"]
#[allow(dead_code, reason = "engines show multiples")]
mod numbers;
#[path = "../../src/peer.rs"]
#[allow(dead_code, reason = "engines need more of it")]
mod peer;
#[path = "../../src/report.rs"]
#[allow(dead_code, reason = "engines have an image too")]
mod report;
mod servers;
#[path = "../../src/workload.rs"]
#[allow(dead_code, reason = "engines get both shapes")]
mod workload;
mod wrk;

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use by_hand::ByHand;
use numbers::{grouped, time};
use peer::{Peer, Verdict};
use servers::Server;
use workload::Shape;
use wrk::Round;

const RULES: usize = 100;
/// Different bodies that the load goes round in.
const BODIES: usize = 100;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(4);
const CONNECTIONS: usize = 64;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    match arguments.next() {
        Some(command) if command == bare::COMMAND => bare::serve(arguments.next().as_deref()),
        _ => report::write("servers", &run()?, &["axum", "rusqlite", "tokio-postgres"]),
    }
}

/// The table, after every server gave the right answer to every body.
fn run() -> Result<String> {
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
        server.load(folder.path(), Duration::from_secs(1)).with_context(|| server.name.clone())?;
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
            "| {} | {} ({:.2}) | {} | {} | {} |\n",
            server.name,
            grouped(rate as usize),
            rate / first,
            time(median(rounds, |round| round.p50_us) * 1e3),
            time(median(rounds, |round| round.p99_us) * 1e3),
            time(median(rounds, |round| round.cpu_us) * 1e3),
        ));
    }
    text
}

fn median(rounds: &[Round], figure: fn(&Round) -> f64) -> f64 {
    let mut values: Vec<f64> = rounds.iter().map(figure).collect();
    numbers::median(&mut values)
}
