//! Operators over earlier events: what is remembered, by which keys, for how long.

use super::expr::{Checked, Checker, take};
use super::rule;
use super::scope::Named;
use crate::ast;
use crate::diagnostics::{Diagnostic, memory as report};
use crate::events::{self, EventKind};
use crate::hir::*;
use crate::source::Span;
use crate::types::{Element, Type};

/// The longest window, in microseconds: 400 days. A key that is untouched for so long dies.
const LONGEST_WINDOW_US: i64 = 400 * DAY_US;
/// The most events that `within N events` may name.
const MOST_EVENTS: i64 = 1_000;
/// The most entries that are kept for one key of one memory.
const MOST_KEPT: i64 = 10_000;
/// The most parts of a sequence.
const MOST_PARTS: usize = 16;
/// The most keys that tell one memory from another.
const MOST_KEYS: usize = 16;
/// The most memories that one declaration may ask, its macros expanded: each is looked up for every event, and takes room
/// for every key.
const MOST_MEMORIES: usize = 64;
/// The most steps that a window may have.
const MOST_STEPS: i64 = 1_500;
/// About how many steps a window has if nobody says.
const USUAL_STEPS: i64 = 100;

const SECOND_US: i64 = 1_000_000;
const MINUTE_US: i64 = 60 * SECOND_US;
const HOUR_US: i64 = 60 * MINUTE_US;
const DAY_US: i64 = 24 * HOUR_US;

/// Steps that people think in.
const STEPS_US: [i64; 16] = [
    SECOND_US,
    5 * SECOND_US,
    15 * SECOND_US,
    30 * SECOND_US,
    MINUTE_US,
    5 * MINUTE_US,
    10 * MINUTE_US,
    15 * MINUTE_US,
    30 * MINUTE_US,
    HOUR_US,
    2 * HOUR_US,
    4 * HOUR_US,
    8 * HOUR_US,
    12 * HOUR_US,
    DAY_US,
    5 * DAY_US,
];

impl Checker<'_, '_> {
    pub(super) fn memory(&mut self, written: &ast::Memory, span: Span) -> Checked {
        if self.remembered.is_some() {
            return self.refuse(report::not_remembered(span, "a memory inside of a memory"));
        }
        self.memories += 1;
        if self.memories > MOST_MEMORIES {
            // What is refused is said once; the rest would only repeat it.
            if self.memories == MOST_MEMORIES + 1 {
                self.scope.report(report::too_many(span, MOST_MEMORIES));
            }
            return None;
        }
        let (_, operator) =
            MemoryOperator::NAMES.into_iter().find(|(name, _)| *name == written.operator.value)?;
        let mut sound = self.shape(operator, written);
        let parts: Vec<Option<MemoryPart>> =
            written.parts.iter().map(|part| self.part(operator, part)).collect();
        let since = written.since.as_ref().map(|part| self.part(MemoryOperator::Seen, part));
        let until = written.until.as_ref().map(|part| self.part(MemoryOperator::Seen, part));
        let has_since = written.since.is_some();
        let within = written.within.as_ref().map(|within| self.within(operator, has_since, within));
        let parts: Vec<MemoryPart> = parts.into_iter().collect::<Option<_>>()?;
        let since = since.map_or(Some(None), |part| part.map(Some))?;
        let until = until.map_or(Some(None), |part| part.map(Some))?;
        let kinds = kinds_of(parts.iter().chain(&since).chain(&until));
        let keys = self.keys(written, &kinds, span);
        let within = within.map_or(Some(None), |within| within.map(Some))?;
        let resolution_us = self.resolution(operator, written, within.as_ref());
        let (keys, resolution_us) = (keys?, resolution_us?);
        let value = parts.first().and_then(|part| part.value.as_ref()).map(|value| value.ty);
        let ty = match operator {
            MemoryOperator::Count
            | MemoryOperator::Sum
            | MemoryOperator::Distinct
            | MemoryOperator::Streak => Type::Number,
            MemoryOperator::Seen | MemoryOperator::Sequence => Type::Bool,
            MemoryOperator::Age => Type::Duration,
            MemoryOperator::Max | MemoryOperator::Min | MemoryOperator::Last => match value {
                Some(ty) => ty,
                None => {
                    sound = false;
                    Type::Json
                }
            },
        };
        let (keys, asked) = keys.into_iter().unzip();
        let memory = Memory { operator, parts, since, until, keys, within, resolution_us };
        let kind = ExprKind::Memory(Box::new(Ask { memory, keys: asked, bound: None }));
        sound.then_some(Expr { kind, ty, span })
    }

    /// Whether an operator is given what it takes.
    fn shape(&mut self, operator: MemoryOperator, written: &ast::Memory) -> bool {
        use MemoryOperator::*;
        let name = operator.name();
        let mut sound = true;
        let mut refuse = |span: Span, message: String, help: &str| {
            self.scope.report(report::shape(span, message, help));
            sound = false;
        };
        let takes_value = matches!(operator, Sum | Max | Min | Distinct | Last);
        for part in written.all_parts() {
            match (&part.value, takes_value) {
                (None, true) => refuse(
                    part.span,
                    format!("`{name}` needs a field of the earlier events"),
                    "name it behind the kind: `intent.amount`",
                ),
                (Some(value), false) => refuse(
                    value.span,
                    format!("`{name}` is about events, not about a field of them"),
                    "leave the field out, and say `where has field` if it must be there",
                ),
                _ => {}
            }
        }
        let several = written.parts.len() > 1;
        if several != (operator == Sequence) || written.parts.len() > MOST_PARTS {
            refuse(
                written.operator.span,
                if operator == Sequence {
                    format!("a `sequence` has 2 to {MOST_PARTS} parts")
                } else {
                    format!("`{name}` is about one thing, not about several in order")
                },
                "`sequence(log where … then action where … per task)` asks for an order",
            );
        }
        if let (Some(since), true) = (&written.since, operator != Seen) {
            refuse(since.span, format!("`{name}` takes no `since`"), "only `seen(a since b)` does");
        }
        if let (Some(until), true) = (&written.until, operator != Sequence) {
            refuse(
                until.span,
                format!("`{name}` takes no `until`"),
                "only `sequence(a then b until c)` does",
            );
        }
        if operator == Streak && written.parts.iter().any(|part| part.filter.is_none()) {
            refuse(
                written.operator.span,
                "a `streak` without a `where` would never be broken".to_owned(),
                "say which events count, and which break it: `streak(log where status == \"failed\")`",
            );
        }
        sound
    }

    fn part(&mut self, operator: MemoryOperator, written: &ast::MemoryPart) -> Option<MemoryPart> {
        let kinds = rule::kinds(self.scope, &written.kinds)?;
        let became = match written.outcome.as_ref().map(|word| word.value.as_str()) {
            None => Became::Happened,
            Some("attempted") => Became::Attempted,
            Some(_) => Became::Denied,
        };
        self.of_earlier(&kinds, |this| {
            let value = written.value.as_ref().map(|value| this.remembered_value(operator, value));
            let filter = written.filter.as_ref().map(|filter| this.condition(filter));
            let value = value.map_or(Some(None), |value| value.map(Some));
            let filter = filter.map_or(Some(None), |filter| filter.map(Some));
            Some(MemoryPart { became, kinds: kinds.clone(), value: value?, filter: filter? })
        })
    }

    fn remembered_value(&mut self, operator: MemoryOperator, written: &ast::Expr) -> Checked {
        let value = self.strict(written)?;
        match (operator, value.ty) {
            (MemoryOperator::Sum, _) => self.coerce(value, Type::Number),
            (MemoryOperator::Max | MemoryOperator::Min, Type::Number | Type::Time | Type::Duration) => {
                Some(value)
            }
            (MemoryOperator::Max | MemoryOperator::Min, _) => self.coerce(value, Type::Number),
            _ => Some(value),
        }
    }

    /// Checks what is computed from an earlier event of these kinds.
    fn of_earlier<T>(&mut self, kinds: &[EventKind], check: impl FnOnce(&mut Self) -> T) -> T {
        let outer = std::mem::replace(&mut self.kinds, kinds.to_vec());
        self.remembered = Some(self.bindings.len());
        let checked = check(self);
        self.remembered = None;
        self.kinds = outer;
        checked
    }

    fn keys(
        &mut self,
        written: &ast::Memory,
        kinds: &[EventKind],
        span: Span,
    ) -> Option<Vec<(MemoryKey, Expr)>> {
        let Some(written) = &written.per else {
            let agent = events::field(EventKind::Intent, "agent.id")?;
            let expr = Expr { kind: ExprKind::Field(agent), ty: agent.def().ty, span };
            return Some(vec![(MemoryKey { each: false, expr: expr.clone() }, expr)]);
        };
        if let Some(first_too_many) = written.get(MOST_KEYS) {
            let message = format!("this is key number {}: a memory has at most {MOST_KEYS}", MOST_KEYS + 1);
            let help = "keep those that tell one memory from another";
            self.scope.report(report::key(first_too_many.span, message, help));
            return None;
        }
        let keys: Vec<Option<(MemoryKey, Expr)>> = written.iter().map(|key| self.key(key, kinds)).collect();
        keys.into_iter().collect()
    }

    fn key(&mut self, written: &ast::MemoryKey, kinds: &[EventKind]) -> Option<(MemoryKey, Expr)> {
        let remembered = self.of_earlier(kinds, |this| this.strict(&written.remembered));
        let (remembered, element) = match (remembered?, written.each) {
            (key, false) => {
                let ty = key.ty;
                (key, ty)
            }
            (key, true) => match key.ty {
                Type::List(element) => (key, element.ty()),
                Type::Json => (take(Type::List(Element::Json), key), Type::Json),
                found => {
                    let help = "`each` gives one key for each value of a list; leave it out here";
                    self.scope.report(report::key(written.span, format!("this key is a {found}"), help));
                    return None;
                }
            },
        };
        let asked = match (&written.asked, written.each) {
            (Some(asked), _) => self.strict(asked)?,
            (None, false) => self.strict(&written.remembered)?,
            (None, true) => {
                let help = "say what is looked for: `each metadata.args.recipients = r`";
                self.scope.report(report::key(
                    written.span,
                    "`each` needs the value that is asked for",
                    help,
                ));
                return None;
            }
        };
        for (ty, span) in [(element, remembered.span), (asked.ty, asked.span)] {
            if matches!(ty, Type::List(_)) {
                let help =
                    "write `each` before the earlier event's list, and ask for one value of this event's";
                self.scope.report(report::key(span, "a list is no key", help));
                return None;
            }
        }
        let (remembered, asked) = match (element, asked.ty) {
            (a, b) if a == b => (remembered, asked),
            (Type::Json, wanted @ (Type::Bool | Type::Number | Type::String)) if !written.each => {
                (take(wanted, remembered), asked)
            }
            // The elements of a json list are compared by what they are.
            (Type::Json, Type::Bool | Type::Number | Type::String) => (remembered, asked),
            (wanted @ (Type::Bool | Type::Number | Type::String), Type::Json) => {
                (remembered, take(wanted, asked))
            }
            (a, b) => {
                self.scope.report(report::key_types(written.span, a, b));
                return None;
            }
        };
        Some((MemoryKey { each: written.each, expr: remembered }, asked))
    }

    fn within(
        &mut self,
        operator: MemoryOperator,
        has_since: bool,
        written: &ast::Spanned<ast::Within>,
    ) -> Option<Within> {
        let span = written.span;
        if operator == MemoryOperator::Streak {
            let help = "it counts from the latest event back to the first that breaks it: leave `within` out";
            self.scope.report(report::window(span, "a `streak` has no window", help));
            return None;
        }
        let help = "a window is longer than nothing and up to 400 days: `within 24h`";
        match &written.value {
            ast::Within::Time(micros) if (1..=LONGEST_WINDOW_US).contains(micros) => {
                Some(Within::Time(*micros))
            }
            ast::Within::Time(_) => {
                self.scope.report(report::window(span, "this window is out of range", help));
                None
            }
            ast::Within::Param(name) => match self.scope.named(name) {
                Some(Named::Param { full, ty: Type::Duration, range }) => match range {
                    Some((Const::Duration(low), Const::Duration(high)))
                        if low > 0 && high <= LONGEST_WINDOW_US =>
                    {
                        Some(Within::Param(full, high))
                    }
                    _ => {
                        let help = "give the parameter a range, since its maximum sizes the memory: `param window: duration = 1h in 1m..24h`";
                        self.scope.report(report::window(
                            span,
                            format!("`{name}` has no range between nothing and 400 days"),
                            help,
                        ));
                        None
                    }
                },
                _ => {
                    let help = "write `within 1h`, `within 20 events`, or name a parameter of type duration";
                    self.scope.report(report::window(span, format!("`{name}` is no span of time"), help));
                    None
                }
            },
            ast::Within::Events(number) => {
                if matches!(operator, MemoryOperator::Sequence) {
                    let help = "say how long the whole may take: `within 1h`, or leave it out";
                    self.scope.report(report::window(span, "a `sequence` has a window of time", help));
                    return None;
                }
                if has_since {
                    let help = "say how long ago it may be: `within 1h`, or leave it out";
                    self.scope.report(report::window(span, "`since` has a window of time", help));
                    return None;
                }
                let count = number.to_whole().filter(|count| (1..=MOST_EVENTS).contains(count));
                if count.is_none() {
                    let help = "name 1 to 1,000 events, or a span of time";
                    self.scope.report(report::window(span, "this is not a number of events", help));
                }
                count.and_then(|count| u32::try_from(count).ok()).map(Within::Events)
            }
        }
    }

    /// How finely sums are kept; `Some(None)` where there are no steps.
    fn resolution(
        &mut self,
        operator: MemoryOperator,
        written: &ast::Memory,
        within: Option<&Within>,
    ) -> Option<Option<i64>> {
        let window = within.and_then(Within::longest_us);
        let in_steps = matches!(
            operator,
            MemoryOperator::Sum | MemoryOperator::Max | MemoryOperator::Min | MemoryOperator::Count
        );
        match (&written.resolution_us, window.filter(|_| in_steps)) {
            (None, None) => Some(None),
            (None, Some(window)) => Some(Some(usual_resolution(window))),
            (Some(steps), Some(window))
                if steps.value > 0 && steps.value <= window && window / steps.value <= MOST_STEPS =>
            {
                Some(Some(steps.value))
            }
            (Some(steps), Some(_)) => {
                let help = "take a step no longer than the window, and at most 1,500 of them";
                self.scope.report(report::window(
                    steps.span,
                    "this resolution does not fit the window",
                    help,
                ));
                None
            }
            (Some(steps), None) => {
                let help = "only `sum`, `max`, `min` and `count` within a span of time are kept in steps";
                self.scope.report(report::window(steps.span, "there are no steps here", help));
                None
            }
        }
    }

    /// Tells a `count` or `distinct` what it is compared with, so that it need not remember more.
    pub(super) fn bounded(&mut self, mut expr: Expr, others: &[&Expr]) -> Expr {
        let ExprKind::Memory(ask) = &mut expr.kind else { return expr };
        if !matches!(ask.memory.operator, MemoryOperator::Count | MemoryOperator::Distinct) {
            return expr;
        }
        let bounds: Option<Vec<i64>> = others.iter().map(|other| self.at_most(other)).collect();
        // One more tells "more than" from "as many as".
        let bound =
            bounds.and_then(|bounds| bounds.into_iter().max()).map(|most| most.max(0).saturating_add(1));
        ask.bound = bound.filter(|bound| *bound <= MOST_KEPT).and_then(|bound| u32::try_from(bound).ok());
        if ask.bound.is_some() && ask.memory.operator == MemoryOperator::Count {
            ask.memory.resolution_us = None;
        }
        expr
    }

    /// The greatest whole number that a constant or a parameter can be.
    fn at_most(&self, expr: &Expr) -> Option<i64> {
        let whole = |value: &Const| match value {
            Const::Number(number) => number.floor().to_whole(),
            _ => None,
        };
        match &expr.kind {
            ExprKind::Const(Const::List(values)) => {
                values.iter().map(whole).collect::<Option<Vec<_>>>()?.into_iter().max()
            }
            ExprKind::Const(value) => whole(value),
            ExprKind::Param(name) => match self.scope.peek(name.rsplit('.').next()?)? {
                Named::Param { range: Some((_, high)), .. } => whole(&high),
                _ => None,
            },
            _ => None,
        }
    }

    /// Refuses `has` of what is always there.
    pub(super) fn may_be_absent(&mut self, expr: &Expr) -> Option<()> {
        use MemoryOperator::*;
        let ExprKind::Memory(ask) = &expr.kind else { return Some(()) };
        if matches!(ask.memory.operator, Last | Max | Min | Age) {
            return Some(());
        }
        let name = ask.memory.operator.name();
        let help = "compare it with nought, or ask `seen(…)`";
        self.scope.report(report::shape(expr.span, format!("`{name}` always has a value"), help));
        None
    }
}

impl ast::Memory {
    fn all_parts(&self) -> impl Iterator<Item = &ast::MemoryPart> {
        self.parts.iter().chain(&self.since).chain(&self.until)
    }
}

fn kinds_of<'p>(parts: impl Iterator<Item = &'p MemoryPart>) -> Vec<EventKind> {
    let mut kinds: Vec<EventKind> = parts.flat_map(|part| part.kinds.iter().copied()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

/// The finest of the usual steps that cuts a window into about a hundred.
fn usual_resolution(window_us: i64) -> i64 {
    let fits = |step: &i64| window_us / *step <= USUAL_STEPS;
    STEPS_US.into_iter().find(fits).unwrap_or(DAY_US).min(window_us)
}

/// Reports memories of a rule that nothing bounds, and how exactly the others are kept. What is only shown takes the
/// bound of an equal memory that decides.
pub(super) fn settle(deciding: &mut [&mut Expr], shown: &mut [&mut Expr], out: &mut Vec<Diagnostic>) {
    let mut bounds: Vec<(Memory, u32)> = Vec::new();
    for expr in deciding.iter() {
        expr.any(&mut |expr| {
            if let ExprKind::Memory(ask) = &expr.kind
                && let Some(bound) = ask.bound
            {
                bounds.push((without_steps(&ask.memory), bound));
            }
            false
        });
    }
    for expr in shown.iter_mut() {
        expr.each_mut(&mut |expr| {
            let ExprKind::Memory(ask) = &mut expr.kind else { return };
            let plain = without_steps(&ask.memory);
            let of_equal = bounds.iter().filter(|(memory, _)| *memory == plain);
            if let Some(bound) = of_equal.map(|(_, bound)| *bound).max() {
                ask.bound = Some(bound);
                ask.memory.resolution_us = None;
            }
        });
    }
    for expr in deciding.iter().chain(shown.iter()) {
        expr.any(&mut |expr| {
            let ExprKind::Memory(ask) = &expr.kind else { return false };
            let in_events = matches!(ask.memory.within, Some(Within::Events(_)));
            if ask.memory.operator == MemoryOperator::Distinct && ask.bound.is_none() && !in_events {
                out.push(report::unbounded(expr.span, "distinct"));
            }
            if let (Some(resolution), Some(window)) =
                (ask.memory.resolution_us, ask.memory.within.as_ref().and_then(Within::longest_us))
            {
                let steps = usize::try_from(window / resolution + 2).unwrap_or(usize::MAX);
                let resolution = Const::Duration(resolution).to_string();
                let bytes =
                    steps.next_power_of_two().max(4).saturating_mul(STEP_BYTES).saturating_add(KEY_BYTES);
                out.push(report::granularity(expr.span, ask.memory.operator.name(), &resolution, bytes));
            }
            false
        });
    }
}

/// What one step of a window takes, in bytes; room for them grows by doubling. As `plan` says it.
const STEP_BYTES: usize = 48;
/// What a key takes besides, in bytes; steps that are summed up among it.
const KEY_BYTES: usize = 304;

fn without_steps(memory: &Memory) -> Memory {
    Memory { resolution_us: None, ..memory.clone() }
}
