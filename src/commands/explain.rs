//! `lictor explain`: how one event of a file is judged.

use std::io;
use std::path::PathBuf;

use clap::Args;
use lictor_engine::event::{Event, InvalidEvent, Origin};
use lictor_engine::explain::{Explanation, RuleExplanation};
use lictor_engine::{Engine, Generation, Run};

use super::judge::{lines, next_event, open};
use crate::{Outcome, policies, print};

/// Shows how one event of a file is judged.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// Files, or folders of .lictor files, that are active together.
    #[arg(long, required = true)]
    policies: Vec<PathBuf>,
    /// Gives a parameter a value: `policy.name=value`.
    #[arg(long)]
    param: Vec<String>,
    /// Events, one JSON object a line; `-` is standard input.
    events: PathBuf,
    /// Which event; the first is 1.
    #[arg(long)]
    at: usize,
    /// Who reads the output.
    #[arg(long, value_enum, default_value = "text")]
    format: print::Format,
}

impl Explain {
    pub(crate) fn run(self) -> anyhow::Result<Outcome> {
        let Some(mut checked) = policies::usable(&self.policies)? else { return Ok(Outcome::Findings) };
        super::judge::set_params(&mut checked.set, &self.param)?;
        let generation = Generation::compile(&checked.set)?;
        let explanation = match self.explanation(&generation)? {
            None => anyhow::bail!("there is no event {}; the first is --at 1", self.at),
            Some(Ok(explanation)) => explanation,
            Some(Err(error)) => {
                print::json(&generation.invalid(error))?;
                return Ok(Outcome::Findings);
            }
        };
        if self.format == print::Format::Json {
            print::json(&explanation)?;
            return Ok(Outcome::Clean);
        }
        for rule in &explanation.rules {
            show_rule(rule, "")?;
        }
        let decision = &explanation.decision;
        let reason = decision.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let summary = format!(
            "{} ({}), risk {}{reason}",
            decision.decision.name(),
            decision.class.name(),
            decision.risk
        );
        print::line(print::bold(&summary))?;
        if let Some(nearest) = &decision.nearest {
            print::line(format!("nearest allow: {}, but not {}", nearest.rule, nearest.failed))?;
        }
        Ok(Outcome::Clean)
    }
}

impl Explain {
    /// How the event that is asked for is judged, after those before it.
    fn explanation(
        &self,
        generation: &Generation,
    ) -> anyhow::Result<Option<Result<Explanation, InvalidEvent>>> {
        let mut run = Run::new(generation, Engine::Jit);
        let mut number = 0;
        let mut lines = lines(open(&self.events)?);
        while let Some(text) = next_event(&mut lines, &mut run)? {
            number += 1;
            match Event::decode(text.as_bytes(), Origin::Event) {
                Ok(event) if number == self.at => return Ok(Some(Ok(run.explain(event)))),
                Err(error) if number == self.at => return Ok(Some(Err(error))),
                Ok(event) => {
                    run.judge(event);
                }
                Err(_) => run.skip(),
            }
        }
        Ok(None)
    }
}

/// One rule: its truth, and each part of its condition with the values that it read.
pub(super) fn show_rule(rule: &RuleExplanation, indent: &str) -> io::Result<()> {
    let effect = rule.effect.map_or("no effect", |effect| effect.name());
    let note = match (rule.out_of_force, rule.applies) {
        (true, _) => ", not in force at this time",
        (false, true) => ", applies",
        (false, false) => "",
    };
    print::line(format!("{indent}{} ({effect}): {}{note}", print::bold(&rule.rule), rule.truth))?;
    for part in &rule.parts {
        print::line(format!("{indent}  {:<8}{}", part.truth, part.text))?;
        for (name, value) in &part.values {
            let value = value.as_deref().unwrap_or("unknown");
            print::line(format!("{indent}            {name} = {value}"))?;
        }
        for memory in &part.memories {
            let (keys, value) = (memory.keys.join(", "), memory.value.as_deref().unwrap_or("unknown"));
            let events: Vec<String> = memory.events.iter().map(|event| format!("#{event}")).collect();
            let events =
                if events.is_empty() { String::new() } else { format!(" from {}", events.join(" ")) };
            print::line(format!("{indent}            remembered for {keys}: {value}{events}"))?;
        }
    }
    Ok(())
}
