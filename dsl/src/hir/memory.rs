//! Questions about earlier events, checked: what is remembered, by which keys, for how long.

use super::Expr;
use crate::events::EventKind;

/// How earlier events are summed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is the word that it is written as")]
pub enum MemoryOperator {
    Count,
    Sum,
    Max,
    Min,
    Distinct,
    Seen,
    Last,
    Streak,
    Sequence,
    Age,
}

impl MemoryOperator {
    /// The operators by name.
    pub const NAMES: [(&'static str, MemoryOperator); 10] = [
        ("count", MemoryOperator::Count),
        ("sum", MemoryOperator::Sum),
        ("max", MemoryOperator::Max),
        ("min", MemoryOperator::Min),
        ("distinct", MemoryOperator::Distinct),
        ("seen", MemoryOperator::Seen),
        ("last", MemoryOperator::Last),
        ("streak", MemoryOperator::Streak),
        ("sequence", MemoryOperator::Sequence),
        ("age", MemoryOperator::Age),
    ];

    /// The word that it is written as.
    pub fn name(self) -> &'static str {
        MemoryOperator::NAMES.iter().find(|(_, operator)| *operator == self).map_or("", |(name, _)| name)
    }
}

/// Which of the events of a kind are remembered, by what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Became {
    /// Those that happened: not denied, and not waiting for an approval.
    Happened,
    /// `attempted`: all.
    Attempted,
    /// `denied`: those refused.
    Denied,
}

impl Became {
    /// The word before the kind, with a blank; empty for what happened.
    pub fn prefix(self) -> &'static str {
        match self {
            Became::Happened => "",
            Became::Attempted => "attempted ",
            Became::Denied => "denied ",
        }
    }
}

/// Some of the earlier events. Its expressions are over the remembered event.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MemoryPart {
    /// What became of them.
    pub became: Became,
    /// Their kinds.
    pub kinds: Vec<EventKind>,
    /// The value that is remembered of each.
    pub value: Option<Expr>,
    /// `where`
    pub filter: Option<Expr>,
}

/// One of the keys that keep memories apart, computed from the remembered event.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MemoryKey {
    /// Whether a list gives one key for each of its values.
    pub each: bool,
    /// The key.
    pub expr: Expr,
}

/// How far a memory reaches back.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Within {
    /// So many microseconds.
    Time(i64),
    /// A parameter: its full name, and the most microseconds that it can be.
    Param(String, i64),
    /// The last so many events of those kinds and that key.
    Events(u32),
}

impl Within {
    /// The longest that it can be, in microseconds; none if it counts events.
    pub fn longest_us(&self) -> Option<i64> {
        match self {
            Within::Time(micros) | Within::Param(_, micros) => Some(*micros),
            Within::Events(_) => None,
        }
    }
}

/// What is remembered, wherever it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Memory {
    /// How events are summed up.
    pub operator: MemoryOperator,
    /// Which events: several parts only for a sequence.
    pub parts: Vec<MemoryPart>,
    /// `since`: what ends a `seen`.
    pub since: Option<MemoryPart>,
    /// `until`: what resets a sequence.
    pub until: Option<MemoryPart>,
    /// What keeps memories apart, besides the org.
    pub keys: Vec<MemoryKey>,
    /// How far it reaches back; for ever if none.
    pub within: Option<Within>,
    /// How finely sums and free counts are kept, in microseconds, where there is a window of time.
    pub resolution_us: Option<i64>,
}

impl Memory {
    /// All parts, those after `since` and `until` too.
    pub fn all_parts(&self) -> impl Iterator<Item = &MemoryPart> {
        self.parts.iter().chain(&self.since).chain(&self.until)
    }

    /// The expressions over remembered events.
    pub fn remembered(&self) -> impl Iterator<Item = &Expr> {
        let of_parts = self.all_parts().flat_map(|part| part.value.iter().chain(&part.filter));
        of_parts.chain(self.keys.iter().map(|key| &key.expr))
    }

    /// Changes the expressions over remembered events, the lowest first.
    pub fn each_remembered_mut(&mut self, change: &mut impl FnMut(&mut Expr)) {
        for part in self.parts.iter_mut().chain(&mut self.since).chain(&mut self.until) {
            part.value.iter_mut().chain(&mut part.filter).for_each(|expr| expr.each_mut(change));
        }
        self.keys.iter_mut().for_each(|key| key.expr.each_mut(change));
    }
}

/// A question to a memory.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ask {
    /// What is remembered.
    pub memory: Memory,
    /// The keys, computed from the event being judged.
    pub keys: Vec<Expr>,
    /// The answer may stop here: only whether it is less, that, or more is asked. For `count` and `distinct`.
    pub bound: Option<u32>,
}
