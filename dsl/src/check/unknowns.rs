//! Which conditions can become unknown, and whether that is guarded.
//!
//! `has x and x > 10` can't be unknown for lack of `x`: where it is absent the guard is false, and false wins. The
//! analysis follows `and`, `or` and `not` with what each part's neighbours rule out.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use crate::hir::*;
use crate::source::Span;
use crate::types::Type;

/// What in a condition can be unknown.
#[derive(Debug, Default)]
pub(super) struct Unknowns {
    /// Parts that are unknown where something is absent, by how they are written.
    pub absent: BTreeMap<String, Span>,
    /// Parts that can be unknown for another reason.
    pub other: BTreeMap<String, Span>,
    /// Tests with `?` under a `not`.
    pub lenient_under_not: Vec<Span>,
}

/// What a condition's truth says is there: the keys of expressions.
type Facts = BTreeSet<String>;

/// Finds the unguarded unknowns of a condition.
pub(super) fn of(condition: &Expr) -> Unknowns {
    let mut found = Unknowns::default();
    truth(condition, &Facts::new(), false, &mut found);
    found
}

fn key(expr: &Expr) -> String {
    format!("{expr:#}")
}

/// What is known to be there when the condition is this.
fn facts(expr: &Expr, when: bool) -> Facts {
    match (&expr.kind, when) {
        (ExprKind::Present(inner), true) => Facts::from([key(strip(inner))]),
        (ExprKind::Not(inner), _) => facts(inner, !when),
        (ExprKind::And(parts), true) | (ExprKind::Or(parts), false) => parts.iter().flat_map(|part| facts(part, when)).collect(),
        _ => Facts::new(),
    }
}

/// An expression without the conversions that the checker put around it.
fn strip(expr: &Expr) -> &Expr {
    match &expr.kind {
        ExprKind::Take(inner) => strip(inner),
        _ => expr,
    }
}

fn truth(expr: &Expr, known: &Facts, negated: bool, found: &mut Unknowns) {
    match &expr.kind {
        ExprKind::Not(inner) => truth(inner, known, !negated, found),
        ExprKind::And(parts) | ExprKind::Or(parts) => {
            let is_and = matches!(expr.kind, ExprKind::And(_));
            for (number, part) in parts.iter().enumerate() {
                let others = parts.iter().enumerate().filter(|(other, _)| *other != number);
                let mut known = known.clone();
                known.extend(others.flat_map(|(_, other)| facts(other, is_and)));
                truth(part, &known, negated, found);
            }
        }
        ExprKind::Lenient { soft, hard, test } => {
            if negated {
                found.lenient_under_not.push(test.span);
            }
            for operand in hard {
                value(operand, known, found);
            }
            // What `?` softens can't make the test unknown; what is inside the soft operand's own tests can.
            for operand in soft {
                nested(operand, known, found);
            }
        }
        ExprKind::Present(inner) => presence(inner, known, found),
        ExprKind::If(condition, then, otherwise) if expr.ty == Type::Bool => {
            truth(condition, known, negated, found);
            for (branch, when) in [(then, true), (otherwise, false)] {
                let mut known = known.clone();
                known.extend(facts(condition, when));
                truth(branch, &known, negated, found);
            }
        }
        ExprKind::Quantified(_, _, list, body) => {
            value(list, known, found);
            truth(body, known, negated, found);
        }
        _ => value(expr, known, found),
    }
}

/// Tests inside a soft operand (a quantifier, an `if`).
fn nested(expr: &Expr, known: &Facts, found: &mut Unknowns) {
    for child in expr.children() {
        if child.ty == Type::Bool { truth(child, known, false, found) } else { nested(child, known, found) }
    }
}

/// `has x` is unknown only where an index inside of x is.
fn presence(expr: &Expr, known: &Facts, found: &mut Unknowns) {
    match &strip(expr).kind {
        ExprKind::Field(_) => {}
        ExprKind::Member(base, _) => presence(base, known, found),
        ExprKind::Item(base, index) => {
            presence(base, known, found);
            value(index, known, found);
        }
        _ => value(expr, known, found),
    }
}

fn value(expr: &Expr, known: &Facts, found: &mut Unknowns) {
    let absent = |found: &mut Unknowns| {
        found.absent.entry(expr.to_string()).or_insert(expr.span);
    };
    match &expr.kind {
        ExprKind::Const(_) | ExprKind::Param(_) | ExprKind::Risk | ExprKind::Var(_) => {}
        ExprKind::Field(field) => {
            if field.def().optional && !known.contains(&key(expr)) {
                absent(found);
            }
        }
        ExprKind::Member(base, _) => {
            if !known.contains(&key(expr)) {
                // Naming the whole path is enough: a guard for it covers what is above it.
                absent(found);
                index_only(base, known, found);
            }
        }
        ExprKind::Item(base, index) => {
            if !known.contains(&key(expr)) {
                absent(found);
            }
            index_only(base, known, found);
            value(index, known, found);
        }
        ExprKind::Otherwise(_, default) => value(default, known, found),
        ExprKind::Arithmetic(Arithmetic::Over | Arithmetic::Modulo, left, right) => {
            let never_zero = matches!(&right.kind, ExprKind::Const(Const::Number(number)) if *number != crate::number::Number::ZERO);
            if !never_zero {
                found.other.entry(expr.to_string()).or_insert(expr.span);
            }
            value(left, known, found);
            value(right, known, found);
        }
        ExprKind::Call(Builtin::Host | Builtin::Port | Builtin::Ip | Builtin::Time, arguments) => {
            found.other.entry(expr.to_string()).or_insert(expr.span);
            for argument in arguments {
                value(argument, known, found);
            }
        }
        ExprKind::InPatterns(x, patterns) => {
            if patterns.kind != PatternKind::Glob && x.ty != Type::Ip {
                found.other.entry(expr.to_string()).or_insert(expr.span);
            }
            value(x, known, found);
        }
        ExprKind::InAs(x, xs, _) => {
            found.other.entry(expr.to_string()).or_insert(expr.span);
            value(x, known, found);
            value(xs, known, found);
        }
        ExprKind::Not(_)
        | ExprKind::And(_)
        | ExprKind::Or(_)
        | ExprKind::Lenient { .. }
        | ExprKind::Present(_)
        | ExprKind::Quantified(..) => truth(expr, known, false, found),
        ExprKind::If(condition, then, otherwise) => {
            truth(condition, known, false, found);
            for (branch, when) in [(then, true), (otherwise, false)] {
                let mut known = known.clone();
                known.extend(facts(condition, when));
                value(branch, &known, found);
            }
        }
        _ => {
            for child in expr.children() {
                value(child, known, found);
            }
        }
    }
}

/// The indexes inside a path whose absence is already reported.
fn index_only(expr: &Expr, known: &Facts, found: &mut Unknowns) {
    match &expr.kind {
        ExprKind::Member(base, _) => index_only(base, known, found),
        ExprKind::Item(base, index) => {
            index_only(base, known, found);
            value(index, known, found);
        }
        ExprKind::Field(_) | ExprKind::Var(_) | ExprKind::Take(_) => {}
        _ => value(expr, known, found),
    }
}
