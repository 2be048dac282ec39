//! Which predicates machine code answers itself: comparisons of a field, or of a memory's answer, with what is fixed.

use std::sync::Arc;

use ipnet::IpNet;
use lictor_dsl::events::FieldId;
use lictor_dsl::hir::{Ask, Builtin, Comparison, Const, Expr, ExprKind, HasTest, PatternKind, TextTest};
use lictor_dsl::number::Number;
use lictor_dsl::text::lists::network;
use lictor_dsl::text::pattern::required;
use lictor_dsl::types::Type;

use super::lower::Builder;
use super::memory::AskPlan;
use super::{Cond, Operand, Plan, RISK_SLOT, SLOTS, Shape, Sought, Taken};
use crate::limits::{INDEXED_NETS, INLINE_TEXTS};
use crate::truth::Truth;

impl Builder<'_> {
    /// How machine code answers this; `absent` is the truth where the field is absent.
    pub(super) fn shape(&mut self, expr: &Expr, absent: Truth) -> Shape {
        match &expr.kind {
            ExprKind::Lenient { soft, test, .. }
                if soft.iter().all(|operand| self.slot(operand).is_some()) =>
            {
                self.shape(test, Truth::False)
            }
            ExprKind::Field(_) | ExprKind::Take(_) if expr.ty == Type::Bool => match self.slot(expr) {
                Some(slot) => Shape::Bool { slot, wanted: true, absent },
                None => Shape::Called,
            },
            ExprKind::TextTest(test, text, part) => match (test, &part.kind) {
                (
                    TextTest::StartsWith | TextTest::EndsWith | TextTest::Contains,
                    ExprKind::Const(Const::Text(part)),
                ) => self.slot(text).map_or(Shape::Called, |slot| {
                    self.searched(slot);
                    Shape::Part { slot, test: *test, part: part.clone(), absent }
                }),
                _ => Shape::Called,
            },
            ExprKind::Present(inner) => match &inner.kind {
                ExprKind::Field(field) if inner.ty != Type::Json => {
                    Shape::Present { slot: usize::from(field.0) }
                }
                _ => Shape::Called,
            },
            ExprKind::In(x, xs) => match (self.slot(x), &xs.kind) {
                (Some(slot), ExprKind::Const(Const::List(values)))
                    if x.ty == Type::String && values.len() <= INLINE_TEXTS =>
                {
                    let mut texts: Vec<u32> = values.iter().filter_map(|value| self.text(value)).collect();
                    texts.sort_unstable();
                    texts.dedup();
                    Shape::Texts {
                        slot,
                        texts,
                        absent: if values.is_empty() { Truth::False } else { absent },
                    }
                }
                _ => Shape::Called,
            },
            ExprKind::Has(test, xs, x) => match (&xs.kind, &x.kind) {
                (ExprKind::Field(field), ExprKind::Const(wanted))
                    if xs.ty == Type::STRINGS && !field.def().optional =>
                {
                    self.mask(*field, *test, wanted).unwrap_or(Shape::Called)
                }
                _ => Shape::Called,
            },
            ExprKind::Compare(comparison, left, right) => match (self.slot(left), self.slot(right)) {
                (Some(slot), None) => self.comparison(slot, left.ty, *comparison, right, absent),
                (None, Some(slot)) => self.comparison(slot, right.ty, comparison.mirrored(), left, absent),
                _ if absent != Truth::Unknown => Shape::Called,
                _ => match (&left.kind, &right.kind) {
                    (ExprKind::Memory(ask), _) => self.answer(ask, *comparison, right),
                    (_, ExprKind::Memory(ask)) => self.answer(ask, comparison.mirrored(), left),
                    _ => Shape::Called,
                },
            },
            ExprKind::Memory(ask) if expr.ty == Type::Bool && absent == Truth::Unknown => {
                self.question(ask).map_or(Shape::Called, |question| Shape::Happened { question })
            }
            _ => Shape::Called,
        }
    }

    /// The slot that holds this expression, if it is a field, the risk, or a value inside json.
    pub(super) fn slot(&mut self, expr: &Expr) -> Option<usize> {
        match &expr.kind {
            ExprKind::Field(field)
                if matches!(expr.ty, Type::Bool | Type::Number | Type::String | Type::Time) =>
            {
                Some(usize::from(field.0))
            }
            ExprKind::Risk => Some(RISK_SLOT),
            ExprKind::Take(inner)
                if matches!(expr.ty, Type::Bool | Type::Number | Type::String) && is_member(inner) =>
            {
                if let Some(known) = self.tables.taken.get(expr) {
                    return Some(*known);
                }
                let slot = SLOTS + self.plan.taken.len();
                let node = self.lower(expr).ok()?;
                self.plan.taken.push(Taken { expr: expr.clone(), node: Arc::new(node), searched: false });
                self.tables.taken.insert(expr.clone(), slot);
                Some(slot)
            }
            _ => None,
        }
    }

    /// Notes that somebody looks into the text in a slot.
    fn searched(&mut self, slot: usize) {
        if let Some(taken) = slot.checked_sub(SLOTS).and_then(|place| self.plan.taken.get_mut(place)) {
            taken.searched = true;
        }
    }

    /// What a slot has to have where this is not false, if its shape does not say. It does not depend on the risk, which is no text.
    pub(super) fn sought(&mut self, expr: &Expr) -> Option<Sought> {
        let (text, part) = match &expr.kind {
            ExprKind::Like(text, pattern) => (text, longest_part(pattern)?.to_owned()),
            ExprKind::Matches(text, pattern, false) => (text, required(pattern)?),
            // What is absent makes this false: less is possible, not more.
            ExprKind::Lenient { test, .. } => return self.sought(test),
            ExprKind::InPatterns(x, list) if list.kind == PatternKind::Cidr => {
                let slot = self.address(x).filter(|_| list.entries.len() <= INDEXED_NETS)?;
                let nets: Option<Vec<IpNet>> = list.entries.iter().map(|entry| network(entry)).collect();
                return Some(Sought::Nets { slot, nets: nets? });
            }
            _ => return None,
        };
        let slot = self.slot(text)?;
        self.searched(slot);
        Some(Sought::Part { slot, part })
    }

    /// The slot of an address, or of a text that names one.
    fn address(&mut self, expr: &Expr) -> Option<usize> {
        match &expr.kind {
            ExprKind::Field(field) if expr.ty == Type::Ip => Some(usize::from(field.0)),
            ExprKind::Call(Builtin::Ip, arguments) => self.address(arguments.first()?),
            _ if expr.ty == Type::String => {
                let slot = self.slot(expr)?;
                self.searched(slot);
                Some(slot)
            }
            _ => None,
        }
    }

    /// A memory's answer compared with what is fixed.
    fn answer(&mut self, ask: &Ask, comparison: Comparison, other: &Expr) -> Shape {
        let Some(operand) = self.operand(other) else { return Shape::Called };
        // What is asked here may stop at a bound; machine code sees all of the answer. Both tell the same where the
        // bound settles the comparison.
        let fixed = match operand {
            Operand::Const(value) => Some(value),
            Operand::Param(place) => self.plan.values.get(place).and_then(fixed),
        };
        let bound = ask.bound.map(|bound| Number::whole(i64::from(bound)).billionths());
        let settles = |bound: i128| match comparison {
            Comparison::GreaterOrEqual | Comparison::Less => fixed.is_some_and(|fixed| bound >= fixed),
            _ => fixed.is_some_and(|fixed| bound > fixed),
        };
        if comparison == Comparison::Same || !bound.is_none_or(settles) {
            return Shape::Called;
        }
        self.question(ask).map_or(Shape::Called, |question| Shape::Answer { question, comparison, operand })
    }

    /// What a comparison holds a value against, if that is the same for every event.
    fn operand(&self, expr: &Expr) -> Option<Operand> {
        match &expr.kind {
            ExprKind::Const(value) => fixed(value).map(Operand::Const),
            ExprKind::Param(name) => {
                let place = *self.places.get(name)?;
                self.plan.values.get(place).and_then(fixed)?;
                Some(Operand::Param(place))
            }
            _ => None,
        }
    }

    /// The number of a question to a memory; none if it depends on more than the event.
    fn question(&mut self, ask: &Ask) -> Option<usize> {
        let asked = self.lowering.ask(ask).ok()?;
        let same = (asked.memory, asked.list?, asked.window);
        let next = self.plan.questions.len();
        let number = *self.tables.questions.entry(same).or_insert(next);
        if number == next {
            self.plan.questions.push(Arc::new(AskPlan { bound: None, ..asked }));
        }
        Some(number)
    }

    fn comparison(
        &mut self,
        slot: usize,
        ty: Type,
        comparison: Comparison,
        other: &Expr,
        absent: Truth,
    ) -> Shape {
        match (ty, &other.kind, comparison) {
            (Type::String, ExprKind::Const(value), Comparison::Equal) => {
                Shape::Texts { slot, texts: self.text(value).into_iter().collect(), absent }
            }
            (Type::Bool, ExprKind::Const(Const::Bool(wanted)), Comparison::Equal) => {
                Shape::Bool { slot, wanted: *wanted, absent }
            }
            (Type::Number | Type::Time, ..) if comparison != Comparison::Same => match self.operand(other) {
                Some(operand) => Shape::Number { slot, comparison, operand, absent },
                None => Shape::Called,
            },
            _ => Shape::Called,
        }
    }

    /// Gives each text that is asked of a list field a bit; none where the bits run out.
    fn mask(&mut self, field: FieldId, test: HasTest, wanted: &Const) -> Option<Shape> {
        let wanted = match (test, wanted) {
            (HasTest::One, one) => std::slice::from_ref(one),
            (_, Const::List(wanted)) => wanted,
            _ => return None,
        };
        let bits = self.plan.bits.entry(field).or_default();
        let mut mask = 0i128;
        for text in wanted {
            let Const::Text(text) = text else { return None };
            let next = u32::try_from(bits.len()).ok()?;
            let bit = bits.get(text).copied().or_else(|| (next < i128::BITS).then_some(next))?;
            bits.entry(text.clone()).or_insert(bit);
            mask |= 1 << bit;
        }
        Some(Shape::Mask { slot: usize::from(field.0), mask, all: test == HasTest::All })
    }

    /// The bit of the first text that is asked of a list: which it is must not depend on what was planned before.
    pub(super) fn first_bit(&self, expr: &Expr) -> Option<u32> {
        let ExprKind::Has(_, xs, x) = &expr.kind else { return None };
        let (ExprKind::Field(field), ExprKind::Const(wanted)) = (&xs.kind, &x.kind) else { return None };
        let first = match wanted {
            Const::List(wanted) => wanted.first()?,
            one => one,
        };
        let Const::Text(text) = first else { return None };
        self.plan.bits.get(field)?.get(text).copied()
    }

    fn text(&mut self, value: &Const) -> Option<u32> {
        let Const::Text(text) = value else { return None };
        if let Some(known) = self.plan.texts.get(text) {
            return Some(*known);
        }
        let next = u32::try_from(self.plan.texts.len() + 1).ok()?;
        Arc::make_mut(&mut self.plan.texts).insert(text.clone(), next);
        Some(next)
    }
}

/// A number, a time or a span of time as one integer, as slots and answers hold it.
pub(crate) fn fixed(value: &Const) -> Option<i128> {
    match value {
        Const::Number(number) => Some(number.billionths()),
        Const::Time(micros) | Const::Duration(micros) => Some(i128::from(*micros)),
        _ => None,
    }
}

/// The slots that these conditions read in machine code, each once.
pub(super) fn slots_of<'c>(plan: &Plan, conditions: impl IntoIterator<Item = &'c Cond>) -> Vec<usize> {
    let mut slots = Vec::new();
    conditions.into_iter().for_each(|condition| add_slots(plan, condition, &mut slots));
    slots.sort_unstable();
    slots.dedup();
    slots
}

fn add_slots(plan: &Plan, condition: &Cond, slots: &mut Vec<usize>) {
    match condition {
        Cond::Const(_) => {}
        Cond::Predicate(number) => match plan.predicate(*number).map(|predicate| &predicate.shape) {
            Some(
                Shape::Texts { slot, .. }
                | Shape::Number { slot, .. }
                | Shape::Bool { slot, .. }
                | Shape::Mask { slot, .. }
                | Shape::Present { slot },
            ) => slots.push(*slot),
            // The texts of parts are looked at when they are searched.
            Some(Shape::Part { .. } | Shape::Answer { .. } | Shape::Happened { .. } | Shape::Called) => {}
            None => {}
        },
        Cond::Not(inner) => add_slots(plan, inner, slots),
        Cond::And(parts) | Cond::Or(parts) => parts.iter().for_each(|part| add_slots(plan, part, slots)),
    }
}

/// A member of a json field, or of one of its members.
fn is_member(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Member(base, _) => is_member(base) || matches!(base.kind, ExprKind::Field(_)),
        _ => false,
    }
}

/// The part of a text that a pattern with `*` and `?` needs at least.
fn longest_part(pattern: &str) -> Option<&str> {
    pattern.split(['*', '?']).max_by_key(|part| part.len())
}
