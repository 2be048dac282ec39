//! Lictor: machine code, from policies of a thousand rules each.

use anyhow::Result;
use lictor_dsl::Source;
use lictor_engine::Generation;
use lictor_engine::decision::{Decision, Outcome};
use lictor_engine::event::{self, Origin};

use crate::lictor_text;
use crate::peer::{Peer, Verdict};
use crate::workload::Rule;

pub struct Lictor(Generation);

impl Peer for Lictor {
    const NAME: &'static str = "Lictor";
    const CRATE: &'static str = "lictor-engine";
    type Event<'json> = event::Event;
    type Answer<'peer> = Decision;

    fn text(rules: &[Rule]) -> Vec<String> {
        lictor_text::policies(rules)
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
