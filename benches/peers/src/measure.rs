//! One set of rules through all engines: loaded, shown to agree on every event, then timed in turns.

use std::hint::black_box;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::time::{ClockId, clock_gettime};

use crate::numbers::median;
use crate::peer::{Peer, Verdict};
use crate::workload::{self, Rule, Shape};

/// An engine in the list: its name, its crate, and how it takes part.
pub struct Entry {
    pub name: &'static str,
    pub crate_name: &'static str,
    enter: for<'json> fn(&[Rule], &'json [Vec<u8>]) -> Result<Loaded<'json>>,
}

impl Entry {
    pub const fn of<P: Peer + 'static>() -> Entry {
        Entry { name: P::NAME, crate_name: P::CRATE, enter: enter::<P> }
    }
}

/// What became of an engine at one size.
pub enum Outcome {
    Took(Times),
    /// It could not take part, and why.
    Out(String),
}

/// Medians.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    pub load: Duration,
    /// Nanoseconds for a decision of a prepared event.
    pub prepared: f64,
    /// Nanoseconds for one from the bytes of its JSON.
    pub bytes: f64,
}

/// One shape and number of rules.
pub struct Suite {
    pub shape: Shape,
    pub rules: usize,
    /// In the order of the entries.
    pub outcomes: Vec<Outcome>,
    /// How many of the events match no rule, 1 to 3 rules, more.
    pub matches: [usize; 3],
}

const EVENTS: usize = 1_000;
const ROUNDS: usize = 15;
/// How long an engine's turn lasts in each round.
const TURN: Duration = Duration::from_millis(6);
/// Who takes longer for a decision is left out: 1,000 of them would take all the time there is.
const PATIENCE: Duration = Duration::from_millis(50);

/// Runs all entries; the first one is who all others must agree with.
pub fn run(entries: &[Entry], shape: Shape, rules: usize) -> Result<Suite> {
    let json = workload::events(rules, EVENTS);
    let rule_set = workload::rules(shape, rules);
    let mut expected: Vec<Verdict> = Vec::new();
    let mut taking_part = Vec::new();
    let mut outcomes = Vec::new();
    for (number, entry) in entries.iter().enumerate() {
        outcomes.push(Outcome::Out(String::new()));
        match (entry.enter)(&rule_set, &json) {
            Err(error) => outcomes[number] = Outcome::Out(format!("{error:#}")),
            Ok(mut loaded) => {
                let probe = loaded.contestant.prepared(3)? / 3;
                if probe > PATIENCE {
                    outcomes[number] = Outcome::Out(format!("{} ms a decision", probe.as_millis()));
                    continue;
                }
                let verdicts = loaded.contestant.verdicts()?;
                if number == 0 {
                    expected = verdicts;
                } else {
                    agree(entry.name, &expected, &verdicts, &json)
                        .with_context(|| format!("{}, {rules} rules", shape.name()))?;
                }
                taking_part.push(Turns::new(number, loaded)?);
            }
        }
    }
    for _ in 0..ROUNDS {
        for turns in &mut taking_part {
            turns.take_one()?;
        }
    }
    for turns in taking_part {
        let number = turns.number;
        outcomes[number] = Outcome::Took(turns.medians());
    }
    let matched = |low: usize, high: usize| {
        expected.iter().filter(|verdict| (low..=high).contains(&verdict.matched.len())).count()
    };
    let matches = [matched(0, 0), matched(1, 3), matched(4, usize::MAX)];
    ensure!(matches[0] < EVENTS, "rules that never match show nothing");
    Ok(Suite { shape, rules, outcomes, matches })
}

fn agree(name: &str, expected: &[Verdict], verdicts: &[Verdict], json: &[Vec<u8>]) -> Result<()> {
    ensure!(expected.len() == verdicts.len(), "{name} answered {} events", verdicts.len());
    for ((expected, verdict), json) in expected.iter().zip(verdicts).zip(json) {
        ensure!(
            expected == verdict,
            "{name} answers {verdict:?} instead of {expected:?} to {}",
            String::from_utf8_lossy(json)
        );
    }
    Ok(())
}

/// An engine's turns in the rounds, and what they took.
struct Turns<'json> {
    number: usize,
    loaded: Loaded<'json>,
    prepared_times: u32,
    bytes_times: u32,
    prepared: Vec<f64>,
    bytes: Vec<f64>,
}

impl<'json> Turns<'json> {
    fn new(number: usize, mut loaded: Loaded<'json>) -> Result<Turns<'json>> {
        let prepared_times = fill(|times| loaded.contestant.prepared(times))?;
        let bytes_times = fill(|times| loaded.contestant.bytes(times))?;
        Ok(Turns { number, loaded, prepared_times, bytes_times, prepared: Vec::new(), bytes: Vec::new() })
    }

    fn take_one(&mut self) -> Result<()> {
        let each = |took: Duration, times: u32| took.as_nanos() as f64 / f64::from(times);
        let contestant = &mut self.loaded.contestant;
        self.prepared.push(each(contestant.prepared(self.prepared_times)?, self.prepared_times));
        self.bytes.push(each(contestant.bytes(self.bytes_times)?, self.bytes_times));
        Ok(())
    }

    fn medians(mut self) -> Times {
        Times { load: self.loaded.load, prepared: median(&mut self.prepared), bytes: median(&mut self.bytes) }
    }
}

/// How many decisions fill a turn.
fn fill(mut decide: impl FnMut(u32) -> Result<Duration>) -> Result<u32> {
    let mut times = 1;
    loop {
        let took = decide(times)?;
        if took * 2 > TURN {
            return Ok((f64::from(times) * TURN.as_secs_f64() / took.as_secs_f64()).ceil() as u32);
        }
        times *= 2;
    }
}

/// The time that this thread had a processor for: on a busy machine the clock on the wall says little.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// An engine with its rules and events.
struct Loaded<'json> {
    load: Duration,
    contestant: Box<dyn Contestant + 'json>,
}

/// What the rounds need of an engine, whatever its types are.
trait Contestant {
    fn prepared(&mut self, times: u32) -> Result<Duration>;
    fn bytes(&mut self, times: u32) -> Result<Duration>;
    fn verdicts(&mut self) -> Result<Vec<Verdict>>;
}

struct Ready<'json, P: Peer> {
    peer: P,
    json: &'json [Vec<u8>],
    events: Vec<P::Event<'json>>,
    next: usize,
}

/// Loads an engine, three times if that is quick: the median counts.
fn enter<'json, P: Peer + 'static>(rules: &[Rule], json: &'json [Vec<u8>]) -> Result<Loaded<'json>> {
    let mut loads = Vec::new();
    let peer = loop {
        let text = P::text(rules);
        let start = cpu_time();
        let peer = P::load(text, rules)?;
        loads.push(cpu_time() - start);
        if loads.len() == 3 || loads.iter().sum::<Duration>() > Duration::from_millis(500) {
            break peer;
        }
    };
    loads.sort();
    let events = json.iter().map(|json| peer.prepare(json)).collect::<Result<_>>()?;
    let contestant = Box::new(Ready::<P> { peer, json, events, next: 0 });
    Ok(Loaded { load: loads[loads.len() / 2], contestant })
}

impl<P: Peer> Ready<'_, P> {
    fn turn(&mut self) -> usize {
        self.next = (self.next + 1) % self.json.len();
        self.next
    }
}

impl<P: Peer> Contestant for Ready<'_, P> {
    fn prepared(&mut self, times: u32) -> Result<Duration> {
        let start = cpu_time();
        for _ in 0..times {
            let event = self.turn();
            black_box(self.peer.decide(black_box(&self.events[event]))?);
        }
        Ok(cpu_time() - start)
    }

    fn bytes(&mut self, times: u32) -> Result<Duration> {
        let start = cpu_time();
        for _ in 0..times {
            let event = self.turn();
            let event = self.peer.prepare(black_box(&self.json[event]))?;
            black_box(self.peer.decide(&event)?);
        }
        Ok(cpu_time() - start)
    }

    fn verdicts(&mut self) -> Result<Vec<Verdict>> {
        let mut verdicts = Vec::new();
        for event in &self.events {
            let mut verdict = P::verdict(self.peer.decide(event)?);
            verdict.matched.sort_unstable();
            verdicts.push(verdict);
        }
        Ok(verdicts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_answer_is_found() {
        let verdict = |allowed, matched: &[&str]| Verdict {
            allowed,
            matched: matched.iter().map(|name| (*name).to_owned()).collect(),
        };
        let json = [b"{}".to_vec(), b"{}".to_vec()];
        let right = [verdict(true, &[]), verdict(false, &["p0.r1", "p0.r2"])];
        assert!(
            agree("it", &right, &[verdict(true, &[]), verdict(false, &["p0.r1", "p0.r2"])], &json).is_ok()
        );
        assert!(
            agree("a name less", &right, &[verdict(true, &[]), verdict(false, &["p0.r1"])], &json).is_err()
        );
        assert!(
            agree("allows", &right, &[verdict(true, &[]), verdict(true, &["p0.r1", "p0.r2"])], &json)
                .is_err()
        );
        assert!(agree("an event less", &right, &[verdict(true, &[])], &json).is_err());
    }
}
