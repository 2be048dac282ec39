//! Lictor: policies of a thousand rules each.

use std::fmt::Write;

use anyhow::Result;
use lictor_dsl::Source;
use lictor_engine::Generation;
use lictor_engine::decision::{Decision, Outcome};
use lictor_engine::event::{self, Origin};

use crate::peer::{Peer, Verdict};
use crate::workload::{Place, Rule};

pub struct Lictor(Generation);

impl Peer for Lictor {
    const NAME: &'static str = "Lictor";
    const CRATE: &'static str = "lictor-engine";
    type Event<'json> = event::Event;
    type Answer<'peer> = Decision;

    fn text(rules: &[Rule]) -> Vec<String> {
        rules
            .chunks(1_000)
            .map(|rules| {
                let policy =
                    rules.first().and_then(|rule| rule.name.split_once('.')).map_or("p", |name| name.0);
                let mut text = format!("policy {policy} {{}}\ndefault on action allow\n");
                for rule in rules {
                    write_rule(&mut text, rule).expect("strings take writes");
                }
                text
            })
            .collect()
    }

    fn load(text: Vec<String>, _: &[Rule]) -> Result<Lictor> {
        let sources: Vec<Source> =
            (0..).zip(text).map(|(number, text)| Source::new(format!("p{number}.lictor"), text)).collect();
        let set = lictor_dsl::check(sources).into_set().map_err(|reports| anyhow::anyhow!("{reports:?}"))?;
        let generation = Generation::compile(&set)?;
        anyhow::ensure!(generation.no_code().is_none(), "machine code: {:?}", generation.no_code());
        Ok(Lictor(generation))
    }

    fn prepare<'json>(&self, json: &'json [u8]) -> Result<event::Event> {
        event::Event::decode(json, Origin::Event).map_err(|invalid| anyhow::anyhow!("{invalid:?}"))
    }

    fn decide<'peer>(&'peer mut self, event: &event::Event) -> Result<Decision> {
        Ok(self.0.judge(event))
    }

    fn verdict(answer: Decision) -> Verdict {
        Verdict {
            allowed: answer.decision == Outcome::Allow,
            matched: answer.rules.iter().map(|rule| rule.rule.to_string()).collect(),
        }
    }
}

fn write_rule(text: &mut String, rule: &Rule) -> std::fmt::Result {
    let name = rule.name.split_once('.').map_or(rule.name.as_str(), |name| name.1);
    if let Place::Network(network) = &rule.place {
        writeln!(text, "list net_{name}: cidr = [\"{network}0/24\"]")?;
    }
    write!(text, "rule {name} on action {{ when ")?;
    if let Some(tool) = &rule.tool {
        write!(text, "tool == \"{tool}\" and ")?;
    }
    write!(text, "metadata.amount > {}", rule.amount)?;
    if let Some(trust) = rule.trust {
        write!(text, " and agent.trust < 0.{trust:02}")?;
    }
    match &rule.place {
        Place::Suffix(suffix) => write!(text, " and target endswith \"{suffix}\"")?,
        Place::Contains(part) => write!(text, " and metadata.path contains \"{part}\"")?,
        Place::Regex { prefix, suffix } => {
            let (prefix, suffix) = (prefix.replace('/', "\\/"), suffix.replace('.', "\\."));
            write!(text, " and metadata.path matches /^{prefix}.*{suffix}$/")?;
        }
        Place::Network(_) => write!(text, " and metadata.ip in net_{name}")?,
    }
    let [first, second, third] = &rule.tags;
    writeln!(text, " and agent.tags has any [\"{first}\", \"{second}\", \"{third}\"] deny }}")
}
