//! What other policies would have decided: recent events of the ledger, judged anew by the policies in force and by those
//! that might be.
//!
//! Both begin to remember with the first of these events, and remember what each of them would have decided.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use lictor_engine::decision::{Class, Decision, Outcome, ReportedTruth};
use lictor_engine::event::Event;
use lictor_engine::generation::{Engine, Generation};
use lictor_engine::memory::{Fate, Memories};
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::memory::{Past, PastError, Recorded};

/// Events that are read and judged at once; each may weigh a megabyte.
const PAGE: usize = 250;
/// Events whose outcome would change that are named.
const EXAMPLES: usize = 20;

/// Bounds how many previews are made at once: each takes a thread for seconds.
static AT_ONCE: Semaphore = Semaphore::const_new(1);

/// What would have been decided otherwise.
#[derive(Debug, Default)]
pub struct Preview {
    /// Events that were judged anew.
    pub events: u64,
    /// Events that can't be: their content was erased.
    pub erased: u64,
    /// How many have so far these outcomes, and would have those, where they differ.
    pub changed: BTreeMap<(Outcome, Outcome), u64>,
    /// Each rule of the policy, by its full name.
    pub rules: BTreeMap<Arc<str>, Counts>,
    /// The first events of which the outcome would change.
    pub examples: Vec<Example>,
}

/// How often a rule would have spoken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Its condition was true.
    pub matched: u64,
    /// Its condition could not be ruled out.
    pub undecided: u64,
    /// It was one of these for an event of which the outcome would change.
    pub changed: u64,
}

/// An event of which the outcome would change.
#[derive(Debug)]
pub struct Example {
    /// Its place in the ledger.
    pub seq: i64,
    /// The id of its decision.
    pub decision: Uuid,
    /// What the policies in force decide.
    pub before: Outcome,
    /// What would be decided.
    pub after: Outcome,
    /// The rules of the policy that say so.
    pub rules: Vec<Arc<str>>,
}

/// Judges the events among these entries by what is in force and by what might be. `policy` is the one that is new.
pub async fn preview(
    past: &Past,
    in_force: Arc<Generation>,
    instead: Arc<Generation>,
    policy: &str,
    entries: Range<i64>,
) -> Result<Preview, PastError> {
    let _turn = AT_ONCE.acquire().await.map_err(|_| PastError::Crashed)?;
    let mut replay = Replay::new(in_force, instead, policy);
    let mut next = entries.start;
    loop {
        let rows = past.read(next..entries.end, PAGE).await?;
        let Some(last) = rows.last() else { return Ok(replay.preview) };
        next = last.seq + 1;
        let past = past.clone();
        let judge = move || {
            for row in rows {
                replay.take(row.entry_id, past.recorded(&row)?);
            }
            Ok(replay)
        };
        replay = tokio::task::spawn_blocking(judge).await.unwrap_or(Err(PastError::Crashed))?;
    }
}

/// A policy set and what it remembers.
struct World {
    generation: Arc<Generation>,
    memories: Memories,
}

impl World {
    fn new(generation: Arc<Generation>) -> World {
        World { memories: Memories::new(&generation), generation }
    }

    fn judge(&mut self, event: &Event, number: u64) -> Decision {
        let decision = self.generation.judge_with(event, &self.memories, Engine::Jit);
        match decision.class {
            Class::InvalidInput => self.memories.pass(event.at()),
            _ => {
                let fate = Fate::of(decision.decision);
                self.memories.remember(&self.generation, event, fate, number, event.at());
            }
        }
        decision
    }
}

struct Replay {
    in_force: World,
    instead: World,
    preview: Preview,
}

impl Replay {
    fn new(in_force: Arc<Generation>, instead: Arc<Generation>, policy: &str) -> Replay {
        let of_policy =
            |rule: &&Arc<str>| rule.strip_prefix(policy).is_some_and(|rest| rest.starts_with('.'));
        let rules = instead.rules().filter(of_policy).map(|rule| (Arc::clone(rule), Counts::default()));
        let preview = Preview { rules: rules.collect(), ..Preview::default() };
        Replay { in_force: World::new(in_force), instead: World::new(instead), preview }
    }

    fn take(&mut self, decision: Uuid, recorded: Recorded) {
        let Recorded { seq, event, fate, erased } = recorded;
        let number = u64::try_from(seq).unwrap_or_default();
        // One that broke a schema was not judged, and would not be.
        let Some(fate) = fate else {
            for world in [&mut self.in_force, &mut self.instead] {
                world.memories.pass(event.at());
            }
            return;
        };
        if erased {
            self.preview.erased += 1;
            for World { generation, memories } in [&mut self.in_force, &mut self.instead] {
                memories.remember_erased(generation, &event, fate, number, event.at());
            }
            return;
        }
        let (before, after) = (self.in_force.judge(&event, number), self.instead.judge(&event, number));
        self.count(seq, decision, before.decision, &after);
    }

    fn count(&mut self, seq: i64, decision: Uuid, before: Outcome, would: &Decision) {
        let preview = &mut self.preview;
        let (after, changes) = (would.decision, before != would.decision);
        preview.events += 1;
        let mut spoke = Vec::new();
        for report in would.rules.iter().filter(|report| !report.exempted) {
            let Some(counts) = preview.rules.get_mut(&report.rule) else { continue };
            match report.truth {
                ReportedTruth::True => counts.matched += 1,
                ReportedTruth::Unknown => counts.undecided += 1,
            }
            counts.changed += u64::from(changes);
            spoke.push(Arc::clone(&report.rule));
        }
        if changes {
            *preview.changed.entry((before, after)).or_default() += 1;
            if preview.examples.len() < EXAMPLES {
                preview.examples.push(Example { seq, decision, before, after, rules: spoke });
            }
        }
    }
}
