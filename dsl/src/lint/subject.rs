//! What tests ask about: which values it can have, and whether it can have none.

use super::formula::both_certain;
use crate::hir::*;
use crate::number::Number;
use crate::types::Type;

/// Something that tests ask about.
#[derive(Debug)]
pub(super) struct Subject {
    /// What it is, but for how two things compare.
    pub expr: Option<Expr>,
    /// Its type. How two things compare is less, equal or more than zero.
    pub ty: Type,
    /// It may be absent, and that can be asked.
    pub absent: bool,
    /// It may have no value although nobody can say that it is absent.
    pub hidden: bool,
    /// It is absent from some events, whatever else they hold.
    pub optional: bool,
    /// It may lie between two bounds.
    pub bounds: bool,
    /// The least and the greatest that it can be.
    pub least: Option<Const>,
    /// The greatest.
    pub most: Option<Const>,
    /// It has no fractions.
    pub whole: bool,
    /// The only texts that it can be.
    pub texts: &'static [&'static str],
}

const WEEKDAYS: [&str; 7] = ["fri", "mon", "sat", "sun", "thu", "tue", "wed"];

/// Whether an expression has a value on every event.
pub(super) fn certain(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Const(_) | ExprKind::Param(_) | ExprKind::Risk => true,
        ExprKind::Field(field) => !field.def().optional && expr.ty != Type::Json,
        ExprKind::Call(Builtin::Lower | Builtin::Len, arguments) => {
            arguments.iter().all(|argument| argument.ty != Type::Json && certain(argument))
        }
        ExprKind::Arithmetic(Arithmetic::Plus | Arithmetic::Minus | Arithmetic::Times, left, right) => {
            both_certain(left, right)
        }
        ExprKind::Negative(inner) | ExprKind::Zoned(inner, _) | ExprKind::TimePart(_, inner, _) => {
            certain(inner)
        }
        ExprKind::Otherwise(_, default) => certain(default),
        // The list holds texts of the event; those are known.
        ExprKind::Has(HasTest::One, xs, x) => certain(xs) && xs.ty == Type::STRINGS && certain(x),
        _ => false,
    }
}

impl Subject {
    fn plain(ty: Type) -> Subject {
        Subject {
            expr: None,
            ty,
            absent: false,
            hidden: false,
            optional: false,
            bounds: false,
            least: None,
            most: None,
            whole: false,
            texts: &[],
        }
    }

    /// How two things compare.
    pub(super) fn order(left: &Expr, right: &Expr) -> Subject {
        let same = (left == right).then_some(Const::Number(Number::ZERO));
        Subject {
            hidden: !both_certain(left, right),
            least: same.clone(),
            most: same,
            ..Subject::plain(Type::Number)
        }
    }

    /// The subject that an expression is. A parameter may have a range.
    pub(super) fn of(expr: &Expr, range: Option<(Const, Const)>, bounds: bool) -> Subject {
        let known = certain(expr);
        let optional =
            matches!(&expr.kind, ExprKind::Field(_) | ExprKind::Member(..) | ExprKind::Item(..)) && !known;
        let field = matches!(expr.kind, ExprKind::Field(_));
        let mut subject = Subject {
            expr: Some(expr.clone()),
            absent: optional,
            hidden: !(known || field && optional),
            optional,
            bounds,
            ..Subject::plain(expr.ty)
        };
        subject.limit(expr);
        if let Some((low, high)) = range {
            (subject.least, subject.most) = (Some(low), Some(high));
        }
        subject
    }

    /// What is known of the values of some expressions.
    fn limit(&mut self, expr: &Expr) {
        let whole = |number| Some(Const::Number(Number::whole(number)));
        match &expr.kind {
            ExprKind::Risk => (self.least, self.most) = (whole(0), whole(1)),
            ExprKind::Field(field) if field.def().name == "agent.trust" => {
                (self.least, self.most) = (whole(0), whole(1));
            }
            ExprKind::Call(Builtin::Len, _) | ExprKind::Quantified(Quantifier::Count, ..) => {
                (self.least, self.whole) = (whole(0), true);
            }
            ExprKind::Call(Builtin::Port, _) => {
                (self.least, self.most, self.whole) = (whole(0), whole(65_535), true);
            }
            ExprKind::TimePart(TimePart::Hour, ..) => {
                (self.least, self.most, self.whole) = (whole(0), whole(23), true);
            }
            ExprKind::TimePart(TimePart::Weekday, ..) => self.texts = &WEEKDAYS,
            ExprKind::Memory(ask) => match ask.memory.operator {
                MemoryOperator::Count | MemoryOperator::Distinct | MemoryOperator::Streak => {
                    (self.least, self.whole) = (whole(0), true);
                    if let Some(Within::Events(events)) = ask.memory.within {
                        self.most = whole(i64::from(events));
                    }
                }
                MemoryOperator::Age => {
                    self.least = Some(Const::Duration(0));
                    // What is as old as the window is outside.
                    let window = ask.memory.within.as_ref().and_then(Within::longest_us);
                    self.most = window.map(|window| Const::Duration(window.saturating_sub(1)));
                }
                _ => {}
            },
            _ => {}
        }
    }
}
