//! Which conditions can become unknown, and whether that is guarded.
//!
//! `has x and x > 10` can't be unknown for lack of `x`: where it is absent the guard is false, and false wins. The
//! analysis follows `and`, `or` and `not` with what each part's neighbours rule out.

use std::collections::{BTreeMap, HashSet};

use super::schema::{self, Schemas};
use crate::hir::*;
use crate::source::Span;
use crate::types::Type;

/// What in a condition can be unknown.
#[derive(Debug, Default)]
pub(super) struct Unknowns {
    /// Parts that are unknown where something is absent, by how they are written: where, and whether a `?` would
    /// mend it.
    pub absent: BTreeMap<String, (Span, bool)>,
    /// Parts that can be unknown for another reason.
    pub other: BTreeMap<String, Span>,
    /// Tests with `?` under a `not`.
    pub lenient_under_not: Vec<Span>,
}

/// What a condition's truth says is there.
type Facts = HashSet<Expr>;

/// What a part of a condition does to the whole: the whole becomes true with it, with its opposite, or who knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Polarity {
    Positive,
    Negative,
    Both,
}

impl Polarity {
    fn opposite(self) -> Polarity {
        match self {
            Polarity::Positive => Polarity::Negative,
            Polarity::Negative => Polarity::Positive,
            Polarity::Both => Polarity::Both,
        }
    }
}

/// Finds the unguarded unknowns of a condition.
pub(super) fn of(condition: &Expr, schemas: &Schemas) -> Unknowns {
    let mut walk = Walk { schemas, found: Unknowns::default(), polarity: Polarity::Positive, in_list: false };
    walk.truth(condition, &Facts::new(), Polarity::Positive);
    walk.found
}

/// The walk over one condition.
struct Walk<'s> {
    schemas: &'s Schemas,
    found: Unknowns,
    /// Of the test that is being walked.
    polarity: Polarity,
    /// Inside the list of a quantifier, where there is no test for `?` to soften.
    in_list: bool,
}

/// An expression without the conversions that the checker put around it.
fn strip(expr: &Expr) -> &Expr {
    match &expr.kind {
        ExprKind::Take(inner) => strip(inner),
        _ => expr,
    }
}

impl Walk<'_> {
    /// What is known to be there when the condition is this.
    fn facts(&self, expr: &Expr, when: bool) -> Facts {
        match (&expr.kind, when) {
            (ExprKind::Present(inner), true) => Facts::from([strip(inner).clone()]),
            (ExprKind::Lenient { soft, .. }, true) => {
                soft.iter().map(|operand| strip(operand).clone()).collect()
            }
            (ExprKind::Not(inner), _) => self.facts(inner, !when),
            (ExprKind::And(parts), true) | (ExprKind::Or(parts), false) => {
                parts.iter().flat_map(|part| self.facts(part, when)).collect()
            }
            (ExprKind::Compare(Comparison::Equal, left, right), true) => match (&left.kind, &right.kind) {
                (ExprKind::Field(selector), ExprKind::Const(Const::Text(value)))
                | (ExprKind::Const(Const::Text(value)), ExprKind::Field(selector)) => {
                    schema::promised(self.schemas, *selector, value)
                }
                _ => Facts::new(),
            },
            _ => Facts::new(),
        }
    }

    fn absent(&mut self, expr: &Expr) {
        let mendable = self.polarity == Polarity::Positive && !self.in_list;
        self.found.absent.entry(expr.to_string()).or_insert((expr.span, mendable));
    }

    fn truth(&mut self, expr: &Expr, known: &Facts, polarity: Polarity) {
        let outer = std::mem::replace(&mut self.polarity, polarity);
        self.part(expr, known, polarity);
        self.polarity = outer;
    }

    fn part(&mut self, expr: &Expr, known: &Facts, polarity: Polarity) {
        match &expr.kind {
            ExprKind::Not(inner) => self.truth(inner, known, polarity.opposite()),
            ExprKind::And(parts) | ExprKind::Or(parts) => {
                let is_and = matches!(expr.kind, ExprKind::And(_));
                // A part's own facts are harmless to it: they come from a `has` inside, which guards its neighbours only.
                let mut known = known.clone();
                known.extend(parts.iter().flat_map(|part| self.facts(part, is_and)));
                for part in parts {
                    self.truth(part, &known, polarity);
                }
            }
            ExprKind::Lenient { soft, hard, test } => {
                if polarity != Polarity::Positive {
                    self.found.lenient_under_not.push(test.span);
                }
                for operand in hard {
                    self.value(operand, known);
                }
                // What `?` softens can't make the test unknown; what is inside the soft operand's own tests can.
                for operand in soft {
                    self.doubt(operand, known);
                    self.nested(operand, known);
                }
            }
            ExprKind::Present(inner) => self.presence(inner, known),
            ExprKind::If(condition, then, otherwise) if expr.ty == Type::Bool => {
                self.truth(condition, known, Polarity::Both);
                for (branch, when) in [(then, true), (otherwise, false)] {
                    let mut known = known.clone();
                    known.extend(self.facts(condition, when));
                    self.truth(branch, &known, polarity);
                }
            }
            ExprKind::Quantified(quantifier, _, list, body) => {
                let outer = std::mem::replace(&mut self.in_list, true);
                self.value(list, known);
                self.in_list = outer;
                let counted = *quantifier == Quantifier::Count;
                self.truth(body, known, if counted { Polarity::Both } else { polarity });
            }
            _ => self.value(expr, known),
        }
    }

    /// Tests inside a soft operand (a quantifier, an `if`).
    fn nested(&mut self, expr: &Expr, known: &Facts) {
        for child in expr.children() {
            if let ExprKind::Memory(ask) = &child.kind {
                self.memory(child, ask, known);
            } else if child.ty == Type::Bool {
                self.truth(child, known, Polarity::Both)
            } else {
                self.nested(child, known)
            }
        }
    }

    /// `has x` is unknown only where an index inside of x is.
    fn presence(&mut self, expr: &Expr, known: &Facts) {
        match &strip(expr).kind {
            ExprKind::Field(_) => {}
            ExprKind::Memory(ask) => self.memory(expr, ask, known),
            ExprKind::Member(base, _) => self.presence(base, known),
            ExprKind::Item(base, index) => {
                self.presence(base, known);
                self.value(index, known);
            }
            _ => self.value(expr, known),
        }
    }

    fn value(&mut self, expr: &Expr, known: &Facts) {
        match &expr.kind {
            ExprKind::Const(_) | ExprKind::Param(_) | ExprKind::Risk | ExprKind::Var(_) => {}
            ExprKind::Field(field) => {
                if field.def().optional && !known.contains(expr) {
                    self.absent(expr);
                }
            }
            ExprKind::Member(base, _) => {
                if !known.contains(expr) {
                    // Naming the whole path is enough: a guard for it covers what is above it.
                    self.absent(expr);
                    self.index_only(base, known);
                }
            }
            ExprKind::Item(base, index) => {
                if !known.contains(expr) {
                    self.absent(expr);
                }
                self.index_only(base, known);
                self.value(index, known);
            }
            ExprKind::Otherwise(x, default) => {
                // A default stands in for what is absent, not for a memory in doubt.
                self.doubt(x, known);
                self.value(default, known);
            }
            ExprKind::Memory(ask) => {
                use MemoryOperator::*;
                if matches!(ask.memory.operator, Last | Max | Min | Age) && !known.contains(expr) {
                    self.absent(expr);
                }
                self.memory(expr, ask, known);
            }
            ExprKind::Arithmetic(Arithmetic::Over | Arithmetic::Modulo, left, right) => {
                let never_zero = matches!(&right.kind, ExprKind::Const(Const::Number(number)) if *number != crate::number::Number::ZERO);
                if !never_zero {
                    self.found.other.entry(expr.to_string()).or_insert(expr.span);
                }
                self.value(left, known);
                self.value(right, known);
            }
            ExprKind::Call(Builtin::Host | Builtin::Port | Builtin::Ip | Builtin::Time, arguments) => {
                self.found.other.entry(expr.to_string()).or_insert(expr.span);
                for argument in arguments {
                    self.value(argument, known);
                }
            }
            ExprKind::InPatterns(x, patterns) => {
                if patterns.kind != PatternKind::Glob && x.ty != Type::Ip {
                    self.found.other.entry(expr.to_string()).or_insert(expr.span);
                }
                self.value(x, known);
            }
            ExprKind::InAs(x, xs, _) => {
                self.found.other.entry(expr.to_string()).or_insert(expr.span);
                self.value(x, known);
                self.value(xs, known);
            }
            ExprKind::Not(_)
            | ExprKind::And(_)
            | ExprKind::Or(_)
            | ExprKind::Lenient { .. }
            | ExprKind::Present(_)
            | ExprKind::Quantified(..) => self.truth(expr, known, Polarity::Both),
            ExprKind::If(condition, then, otherwise) => {
                self.truth(condition, known, Polarity::Both);
                for (branch, when) in [(then, true), (otherwise, false)] {
                    let mut known = known.clone();
                    known.extend(self.facts(condition, when));
                    self.value(branch, &known);
                }
            }
            _ => {
                for child in expr.children() {
                    self.value(child, known);
                }
            }
        }
    }

    /// Memories inside an expression that can be in doubt.
    fn doubt(&mut self, expr: &Expr, known: &Facts) {
        let mut asks = Vec::new();
        expr.any(&mut |part| {
            if let ExprKind::Memory(ask) = &part.kind {
                asks.push((part.clone(), ask.clone()));
            }
            false
        });
        for (expr, ask) in asks {
            self.memory(&expr, &ask, known);
        }
    }

    /// What can be unknown about a memory, besides that there is nothing in it.
    fn memory(&mut self, expr: &Expr, ask: &Ask, known: &Facts) {
        for key in &ask.keys {
            self.value(key, known);
        }
        let sums_up = matches!(
            ask.memory.operator,
            MemoryOperator::Sum | MemoryOperator::Max | MemoryOperator::Min | MemoryOperator::Distinct
        );
        let doubtful = |found: Unknowns| !found.absent.is_empty() || !found.other.is_empty();
        let in_doubt = ask.memory.all_parts().any(|part| {
            let filter = part.filter.as_ref().is_some_and(|filter| doubtful(of(filter, self.schemas)));
            // Where the filter says that the value is there, it is.
            let value = part.value.as_ref().filter(|_| sums_up).is_some_and(|value| {
                let known = part.filter.as_ref().map_or_else(Facts::new, |filter| self.facts(filter, true));
                let mut walk = Walk {
                    schemas: self.schemas,
                    found: Unknowns::default(),
                    polarity: Polarity::Positive,
                    in_list: false,
                };
                walk.value(value, &known);
                doubtful(walk.found)
            });
            filter || value
        });
        if in_doubt {
            self.found.other.entry(expr.to_string()).or_insert(expr.span);
        }
    }

    /// The indexes inside a path whose absence is already reported.
    fn index_only(&mut self, expr: &Expr, known: &Facts) {
        match &expr.kind {
            ExprKind::Member(base, _) => self.index_only(base, known),
            ExprKind::Item(base, index) => {
                self.index_only(base, known);
                self.value(index, known);
            }
            ExprKind::Field(_) | ExprKind::Var(_) | ExprKind::Take(_) => {}
            ExprKind::Memory(ask) => self.memory(expr, ask, known),
            _ => self.value(expr, known),
        }
    }
}
