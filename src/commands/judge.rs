//! `lictor judge`: one decision a line for a file of events.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use clap::{Args, ValueEnum};
use lictor_dsl::hir::PolicySet;
use lictor_dsl::params::value_of;
use lictor_dsl::text::moment;
use lictor_engine::event::{Event, Origin};
use lictor_engine::json::{self, Json};
use lictor_engine::{Engine, Generation, Run};

use crate::progress::{Progress, Steps};
use crate::{Outcome, policies};

/// Judges a file of events.
#[derive(Debug, Args)]
pub(crate) struct Judge {
    /// Files, or folders of .lictor files, that are active together.
    #[arg(long, required = true)]
    policies: Vec<PathBuf>,
    /// What finds the truths of rules; both give the same decisions.
    #[arg(long, value_enum, default_value = "jit")]
    engine: EngineName,
    /// Gives a parameter a value: `policy.name=value`.
    #[arg(long)]
    param: Vec<String>,
    /// Events, one JSON object a line; `-` is standard input.
    #[arg(default_value = "-")]
    events: PathBuf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum EngineName {
    /// Machine code.
    Jit,
    /// The reference interpreter.
    Interpreter,
}

impl Judge {
    pub(crate) fn run(self) -> anyhow::Result<Outcome> {
        let Some(mut checked) = policies::usable(&self.policies)? else { return Ok(Outcome::Findings) };
        set_params(&mut checked.set, &self.param)?;
        let generation = Generation::compile(&checked.set)?;
        let engine = match self.engine {
            EngineName::Jit => Engine::Jit,
            EngineName::Interpreter => Engine::Interpreter,
        };
        let mut out = BufWriter::new(io::stdout().lock());
        let mut run = Run::new(&generation, engine);
        // On a terminal the decisions themselves show how far it is.
        let progress = if io::stdout().is_terminal() {
            Progress::none()
        } else {
            Progress::start("judging", Steps::Some)
        };
        let mut lines = lines(open(&self.events)?);
        while let Some(text) = next_event(&mut lines, &mut run)? {
            progress.step();
            let decision = match Event::decode(text.as_bytes(), Origin::Event) {
                Ok(event) => run.judge(event),
                Err(error) => {
                    run.skip();
                    generation.invalid(error)
                }
            };
            serde_json::to_writer(&mut out, &decision)?;
            out.write_all(b"\n")?;
        }
        out.flush()?;
        Ok(Outcome::Clean)
    }
}

/// One line of a file of events.
pub(super) enum Line {
    Event(String),
    /// `{"approve": N, "at": …}`: the N-th event was approved, and happened then.
    Approval {
        number: u64,
        at_us: i64,
    },
}

/// The next event, once the approvals before it were carried out.
pub(super) fn next_event(
    lines: &mut impl Iterator<Item = anyhow::Result<Line>>,
    run: &mut Run<'_>,
) -> anyhow::Result<Option<String>> {
    for line in lines {
        match line? {
            Line::Event(text) => return Ok(Some(text)),
            Line::Approval { number, at_us } => run.approve(number, at_us),
        }
    }
    Ok(None)
}

/// Opens a file of events, or standard input for `-`.
pub(super) fn open(path: &Path) -> anyhow::Result<Box<dyn BufRead>> {
    if path == Path::new("-") {
        return Ok(Box::new(BufReader::new(io::stdin())));
    }
    let file = File::open(path).with_context(|| format!("can't read {}", path.display()))?;
    if file.metadata()?.is_dir() {
        bail!("{} is a folder, not a file of events", path.display());
    }
    Ok(Box::new(BufReader::new(file)))
}

/// The lines of a file of events. Empty ones are passed over; what is no text becomes an invalid event.
pub(super) fn lines(mut input: Box<dyn BufRead>) -> impl Iterator<Item = anyhow::Result<Line>> {
    std::iter::from_fn(move || {
        loop {
            let mut bytes = Vec::new();
            match input.read_until(b'\n', &mut bytes) {
                Ok(0) => return None,
                Err(error) => return Some(Err(error.into())),
                Ok(_) => {}
            }
            let text = String::from_utf8_lossy(&bytes);
            let text = text.trim();
            if !text.is_empty() {
                return Some(approval(text).unwrap_or_else(|| Ok(Line::Event(text.to_owned()))));
            }
        }
    })
}

/// An approval, if it is one; without a time it happens at the latest one.
fn approval(text: &str) -> Option<anyhow::Result<Line>> {
    let json = json::parse(text.as_bytes()).ok()?;
    let approved = json.get("approve").filter(|_| json.get("event").is_none())?;
    let number = match approved {
        Json::Number(Some(number)) => number.to_whole().and_then(|number| u64::try_from(number).ok()),
        _ => None,
    };
    let at_us = match json.get("at") {
        None => Some(i64::MIN),
        Some(Json::Text(at)) => moment::rfc3339(at),
        Some(_) => None,
    };
    Some(match (number, at_us) {
        (Some(number), Some(at_us)) => Ok(Line::Approval { number, at_us }),
        _ => Err(anyhow!(
            "`{text}` is no approval: write `{{\"approve\": 3, \"at\": \"2026-01-31T12:00:00Z\"}}`"
        )),
    })
}

/// Sets parameters given as `policy.name=value`.
pub(super) fn set_params(set: &mut PolicySet, given: &[String]) -> anyhow::Result<()> {
    for text in given {
        let (name, value) =
            text.split_once('=').with_context(|| format!("`{text}` is not policy.name=value"))?;
        let (policy, param) = name.split_once('.').with_context(|| format!("`{name}` is not policy.name"))?;
        let Some(policy) = set.policies.iter_mut().find(|known| known.name == policy) else {
            bail!("there is no policy `{policy}`");
        };
        let Some(ty) = policy.params.iter().find(|known| known.name == param).map(|known| known.ty) else {
            bail!("policy `{}` has no parameter `{param}`", policy.name);
        };
        let value = value_of(value, ty).with_context(|| format!("`{value}` is no {ty}"))?;
        Arc::make_mut(policy).set_param(param, value).map_err(anyhow::Error::msg)?;
    }
    Ok(())
}
