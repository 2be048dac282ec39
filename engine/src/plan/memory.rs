//! Memories of a policy set: each once, identified by what it means, with what it has to keep.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};

use lictor_dsl::events::EventKind;
use lictor_dsl::hir::{self, Ask, Became, Const, Expr, ExprKind, MemoryOperator, Var, Within};
use lictor_dsl::types::Type;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::node::{Lowering, Node, lower};
use super::{Cond, Plan};

/// How long a key without a window is kept after it was last touched, in microseconds: 400 days.
const FOR_EVER_US: i64 = 400 * 24 * 3600 * 1_000_000;

/// One memory: what is remembered of earlier events, whoever asks.
#[derive(Debug)]
pub(crate) struct MemoryPlan {
    /// As an author would write it, without its window.
    pub text: String,
    /// SHA-256 of what it means: equal in two generations if both remember the same.
    pub identity: [u8; 32],
    pub operator: MemoryOperator,
    /// What it looks for: several only for a sequence.
    pub parts: Vec<PartPlan>,
    pub since: Option<PartPlan>,
    pub until: Option<PartPlan>,
    /// The keys, by their place in [`Memories::groups`].
    pub group: usize,
    pub keep: Keep,
    /// The type of the value that is remembered.
    pub value_ty: Option<Type>,
    /// How long an event can matter, in microseconds.
    pub horizon_us: i64,
}

/// Which events, and what of them.
#[derive(Debug)]
pub(crate) struct PartPlan {
    pub became: Became,
    pub kinds: Vec<EventKind>,
    pub value: Option<Node>,
    pub filter: Cond,
}

/// What is kept for one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Keep {
    /// The latest time.
    Mark,
    /// So many of the latest times.
    Ring(usize),
    /// So many of the latest distinct values.
    Values(usize),
    /// Sums by steps of time: how long one is, in microseconds (one for ever if none), and how many there are.
    Steps(Option<i64>, usize),
    /// The latest value.
    Value,
    /// How many in a row.
    Streak,
    /// For each part of a sequence the times that led there.
    Stages(usize),
    /// What came since.
    Since,
    /// So many of the latest events.
    Events(usize),
}

impl Keep {
    /// Whether a memory that keeps this can stand for one that would keep the other.
    pub(crate) fn covers(self, other: Keep) -> bool {
        match (self, other) {
            (Keep::Ring(a), Keep::Ring(b))
            | (Keep::Values(a), Keep::Values(b))
            | (Keep::Events(a), Keep::Events(b)) => a >= b,
            (Keep::Steps(a, many), Keep::Steps(b, few)) => a == b && many >= few,
            (a, b) => a == b,
        }
    }

    /// How many entries an answer may have to look at.
    pub(crate) fn entries(self) -> usize {
        match self {
            Keep::Values(count) | Keep::Events(count) | Keep::Steps(_, count) => count,
            _ => 1,
        }
    }

    fn or_larger(self, other: Keep) -> Keep {
        match (self, other) {
            (Keep::Ring(a), Keep::Ring(b)) => Keep::Ring(a.max(b)),
            (Keep::Values(a), Keep::Values(b)) => Keep::Values(a.max(b)),
            (Keep::Events(a), Keep::Events(b)) => Keep::Events(a.max(b)),
            (Keep::Steps(step, a), Keep::Steps(_, b)) => Keep::Steps(step, a.max(b)),
            (kept, _) => kept,
        }
    }
}

/// The keys that several memories share.
#[derive(Debug)]
pub(crate) struct GroupPlan {
    /// SHA-256 of what the keys mean.
    pub identity: [u8; 32],
    pub keys: Vec<KeyPlan>,
}

/// One key, computed from the remembered event.
#[derive(Debug)]
pub(crate) struct KeyPlan {
    /// Whether a list gives one key for each of its values.
    pub each: bool,
    pub node: Node,
}

/// All memories of a policy set.
#[derive(Debug, Default)]
pub(crate) struct Memories {
    pub all: Vec<MemoryPlan>,
    pub groups: Vec<GroupPlan>,
    known: HashMap<Meaning, usize>,
    /// Lists of keys that are the same for all of an event, so that each is worked out once.
    asked: HashMap<Vec<Expr>, usize>,
}

/// The conditions of the parts of memories, by the number of the memory.
pub(super) type Filters = HashMap<usize, Vec<Cond>>;

/// A question to a memory, as it is evaluated.
#[derive(Debug)]
pub(crate) struct AskPlan {
    /// Which memory.
    pub memory: usize,
    /// The keys, computed from the event being judged.
    pub keys: Vec<Node>,
    /// The number of this list of keys, if it depends on nothing but the event.
    pub list: Option<usize>,
    pub window: Window,
    /// The answer stops here.
    pub bound: Option<u32>,
}

/// How far back is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Window {
    Always,
    /// So many microseconds.
    Time(i64),
    /// As many microseconds as this parameter says.
    Param(usize),
    Events(u32),
}

/// A memory without what belongs to its askers alone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Meaning {
    /// Parameters replaced by their values, variables numbered in order, windows left out.
    memory: hir::Memory,
    /// Whether all of it is asked for, not only whether it reaches a bound.
    free: bool,
}

impl Meaning {
    fn new(ask: &Ask, with: &Lowering<'_>) -> Meaning {
        let mut memory = ask.memory.clone();
        memory.within = match memory.within {
            Some(Within::Events(_)) => Some(Within::Events(0)),
            _ => None,
        };
        let mut variables: Vec<u32> = Vec::new();
        let mut number = |var: &mut Var| {
            let place = variables.iter().position(|known| *known == var.number).unwrap_or_else(|| {
                variables.push(var.number);
                variables.len() - 1
            });
            *var = Var { number: place as u32, name: format!("v{place}") };
        };
        memory.each_remembered_mut(&mut |expr| match &mut expr.kind {
            ExprKind::Param(name) => {
                if let Some(value) = with.value(name) {
                    expr.kind = ExprKind::Const(value.clone());
                }
            }
            ExprKind::Var(var) | ExprKind::Quantified(_, var, ..) => number(var),
            _ => {}
        });
        Meaning { memory, free: ask.bound.is_none() }
    }

    fn identity(&self) -> [u8; 32] {
        let mut hash = Sha(Sha256::new());
        self.hash(&mut hash);
        for expr in self.memory.remembered() {
            lists(expr, &mut hash);
        }
        hash.0.finalize().into()
    }
}

/// Lists are equal by name within a set; between two sets their entries count.
fn lists(expr: &Expr, hash: &mut Sha) {
    expr.any(&mut |expr| {
        if let ExprKind::InPatterns(_, list) = &expr.kind {
            list.kind.hash(hash);
            list.entries.hash(hash);
        }
        false
    });
}

/// SHA-256 as what a structure is hashed into.
struct Sha(Sha256);

impl Hasher for Sha {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}

impl Memories {
    /// Takes in a memory that is asked for, before any expression is lowered.
    pub(super) fn register(&mut self, ask: &Ask, with: &Lowering<'_>) -> Result<(), String> {
        let meaning = Meaning::new(ask, with);
        if !ask.keys.iter().any(|key| key.any(&mut |expr| matches!(expr.kind, ExprKind::Var(_)))) {
            let next = self.asked.len();
            self.asked.entry(ask.keys.clone()).or_insert(next);
        }
        let keep = keep(ask);
        let horizon_us = match &ask.memory.within {
            // A window that is kept in steps reaches one step further.
            Some(Within::Time(micros) | Within::Param(_, micros)) => {
                micros.saturating_add(ask.memory.resolution_us.unwrap_or(0))
            }
            _ => FOR_EVER_US,
        };
        if let Some(known) = self.known.get(&meaning).and_then(|number| self.all.get_mut(*number)) {
            known.keep = known.keep.or_larger(keep);
            known.horizon_us = known.horizon_us.max(horizon_us);
            return Ok(());
        }
        let memory = &meaning.memory;
        let part = |part: &hir::MemoryPart| -> Result<PartPlan, String> {
            let value = part.value.as_ref().map(|value| lower(value, with)).transpose()?;
            // Conditions follow once all memories are known.
            Ok(PartPlan { became: part.became, kinds: part.kinds.clone(), value, filter: Cond::Const(true) })
        };
        let planned = MemoryPlan {
            text: text(ask),
            identity: meaning.identity(),
            operator: memory.operator,
            parts: memory.parts.iter().map(part).collect::<Result<_, _>>()?,
            since: memory.since.as_ref().map(part).transpose()?,
            until: memory.until.as_ref().map(part).transpose()?,
            group: self.group(&memory.keys, with)?,
            keep,
            value_ty: memory.parts.first().and_then(|part| part.value.as_ref()).map(|value| value.ty),
            horizon_us,
        };
        self.known.insert(meaning, self.all.len());
        self.all.push(planned);
        Ok(())
    }

    fn group(&mut self, keys: &[hir::MemoryKey], with: &Lowering<'_>) -> Result<usize, String> {
        let mut hash = Sha(Sha256::new());
        keys.hash(&mut hash);
        keys.iter().for_each(|key| lists(&key.expr, &mut hash));
        let identity: [u8; 32] = hash.0.finalize().into();
        if let Some(place) = self.groups.iter().position(|group| group.identity == identity) {
            return Ok(place);
        }
        let keys = keys
            .iter()
            .map(|key| Ok(KeyPlan { each: key.each, node: lower(&key.expr, with)? }))
            .collect::<Result<_, String>>()?;
        self.groups.push(GroupPlan { identity, keys });
        Ok(self.groups.len() - 1)
    }

    /// The conditions of the parts of each memory, as they are to be lowered: by number of the memory.
    pub(super) fn filters(&self) -> Vec<(usize, hir::Memory)> {
        self.known.iter().map(|(meaning, number)| (*number, meaning.memory.clone())).collect()
    }

    /// These memories with the conditions of their parts.
    pub(super) fn filtered(mut self, mut filters: Filters) -> Memories {
        for (number, memory) in self.all.iter_mut().enumerate() {
            let conditions = filters.remove(&number).unwrap_or_default();
            let parts = memory.parts.iter_mut().chain(&mut memory.since).chain(&mut memory.until);
            for (part, condition) in parts.zip(conditions) {
                part.filter = condition;
            }
        }
        self
    }

    /// The number of the memory that is asked.
    pub(super) fn number(&self, ask: &Ask, with: &Lowering<'_>) -> Option<usize> {
        self.known.get(&Meaning::new(ask, with)).copied()
    }

    /// A question as it is evaluated; its memory has been registered.
    pub(super) fn ask(&self, ask: &Ask, with: &Lowering<'_>) -> Result<AskPlan, String> {
        let memory = self.number(ask, with).ok_or("it asks a memory that nothing registered")?;
        Ok(AskPlan {
            memory,
            keys: ask.keys.iter().map(|key| lower(key, with)).collect::<Result<_, _>>()?,
            list: self.asked.get(&ask.keys).copied(),
            window: match &ask.memory.within {
                None => Window::Always,
                Some(Within::Time(micros)) => Window::Time(*micros),
                Some(Within::Param(name, _)) => Window::Param(with.place(name)),
                Some(Within::Events(count)) => Window::Events(*count),
            },
            bound: ask.bound,
        })
    }
}

/// What has to be kept to answer this.
fn keep(ask: &Ask) -> Keep {
    use MemoryOperator::*;
    let memory = &ask.memory;
    if let Some(Within::Events(count)) = memory.within {
        return Keep::Events(count as usize);
    }
    let steps = || match (memory.resolution_us, memory.within.as_ref().and_then(Within::longest_us)) {
        (Some(step), Some(window)) => {
            Keep::Steps(Some(step), usize::try_from(window / step + 2).unwrap_or(usize::MAX))
        }
        _ => Keep::Steps(None, 1),
    };
    match (memory.operator, ask.bound) {
        (Count, Some(bound)) => Keep::Ring(bound as usize),
        (Distinct, bound) => Keep::Values(bound.unwrap_or(1) as usize),
        (Count, None) | (Sum | Max | Min, _) => steps(),
        (Seen, _) if memory.since.is_some() => Keep::Since,
        (Seen | Age, _) => Keep::Mark,
        (Last, _) => Keep::Value,
        (Streak, _) => Keep::Streak,
        (Sequence, _) => Keep::Stages(memory.parts.len()),
    }
}

/// A memory as an author would write it, without its window.
fn text(ask: &Ask) -> String {
    let mut memory = ask.memory.clone();
    memory.within = None;
    let keys = memory.keys.iter().map(|key| key.expr.clone()).collect();
    let kind = ExprKind::Memory(Box::new(Ask { memory, keys, bound: None }));
    Expr { kind, ty: Type::Bool, span: lictor_dsl::source::Span::default() }.to_string()
}

impl MemoryPlan {
    /// All parts, those after `since` and `until` too.
    pub(crate) fn all_parts(&self) -> impl Iterator<Item = &PartPlan> {
        self.parts.iter().chain(&self.since).chain(&self.until)
    }

    /// A condition that every event meets that changes this memory, of those of this kind.
    pub(super) fn concerns(&self, kind: EventKind) -> Option<Cond> {
        let parts: Vec<&PartPlan> = self.all_parts().filter(|part| part.kinds.contains(&kind)).collect();
        if parts.is_empty() {
            return None;
        }
        // These also count the events that don't match.
        if matches!(self.keep, Keep::Events(_) | Keep::Streak) {
            return Some(Cond::Const(true));
        }
        Some(match parts.as_slice() {
            [only] => only.filter.clone(),
            several => Cond::Or(several.iter().map(|part| part.filter.clone()).collect()),
        })
    }

    /// About how many bytes one key takes at most, but for values that are texts or json.
    pub(crate) fn bytes_per_key(&self) -> usize {
        crate::memory::bytes_per_key(self)
    }

    pub(crate) fn to_json(&self, number: usize, plan: &Plan) -> Value {
        let asked_by = plan.rules.iter().filter(|rule| rule.memories.contains(&number));
        json!({
            "memory": number,
            "text": self.text,
            "keeps": self.keep.describe(),
            "bytes_per_key": self.bytes_per_key(),
            "longest": Const::Duration(self.horizon_us).to_string(),
            "key_group": self.group,
            "rules": asked_by.map(|rule| &*rule.name).collect::<Vec<_>>(),
        })
    }
}

impl Keep {
    fn describe(self) -> String {
        match self {
            Keep::Mark => "the latest time".to_owned(),
            Keep::Ring(count) => format!("the latest {count} times"),
            Keep::Values(count) => format!("the latest {count} distinct values"),
            Keep::Steps(None, _) => "one total".to_owned(),
            Keep::Steps(Some(step), count) => {
                format!("totals of up to {count} steps of {}", Const::Duration(step))
            }
            Keep::Value => "the latest value".to_owned(),
            Keep::Streak => "one number".to_owned(),
            Keep::Stages(count) => format!("the times of up to {count} parts"),
            Keep::Since => "the latest time since".to_owned(),
            Keep::Events(count) => format!("the latest {count} events"),
        }
    }
}
