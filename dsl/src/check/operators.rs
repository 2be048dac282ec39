//! Operators: what their operands must be, and which tests `?` softens.

use super::expr::{Checked, Checker, boxed, plain_text, take};
use super::scope::{Binding, Named};
use crate::ast;
use crate::diagnostics::{names, typing};
use crate::hir::*;
use crate::source::Span;
use crate::text::{glob::Glob, moment, pattern};
use crate::types::{Element, Type};

impl Checker<'_, '_> {
    pub(super) fn binary(
        &mut self,
        operator: ast::Operator,
        left: &ast::Expr,
        right: &ast::Expr,
        span: Span,
    ) -> Checked {
        use ast::Operator::*;
        match operator {
            Compare(comparison) => self.compare(comparison, left, right, span),
            In => self.membership(left, right, span),
            StartsWith => self.text_test(TextTest::StartsWith, left, right, span),
            EndsWith => self.text_test(TextTest::EndsWith, left, right, span),
            Contains => self.text_test(TextTest::Contains, left, right, span),
            ContainsWord => self.text_test(TextTest::ContainsWord, left, right, span),
            Like => {
                let operand = self.operand(left)?;
                let Some(pattern) = plain_text(right) else {
                    return self.refuse(typing::literal_only(
                        right.span,
                        "the pattern of `like`",
                        "`name like \"get_*\"`",
                    ));
                };
                if let Err(reason) = Glob::new(&pattern) {
                    return self.refuse(typing::bad_pattern(
                        right.span,
                        "pattern",
                        &reason,
                        "`*` stands for anything, `?` for one character",
                    ));
                }
                let text = (self.coerce(operand.0, Type::String)?, operand.1);
                let kind = ExprKind::Like(boxed(text.0.clone()), pattern);
                self.test(kind, vec![text], span)
            }
            Matches => {
                let operand = self.operand(left)?;
                let ast::ExprKind::Regex(pattern, ignore_case) = &right.kind else {
                    return self.refuse(typing::literal_only(
                        right.span,
                        "what `matches` takes",
                        "`name matches /^get_[a-z]+$/`",
                    ));
                };
                if let Err(reason) = pattern::regex(pattern, *ignore_case) {
                    return self.refuse(typing::bad_pattern(
                        right.span,
                        "regex",
                        &reason,
                        "write a regular expression without look-around or back references",
                    ));
                }
                let text = (self.coerce(operand.0, Type::String)?, operand.1);
                let kind = ExprKind::Matches(boxed(text.0.clone()), pattern.clone(), *ignore_case);
                self.test(kind, vec![text], span)
            }
            Has => self.has(HasTest::One, left, right, span),
            HasAny => self.has(HasTest::Any, left, right, span),
            HasAll => self.has(HasTest::All, left, right, span),
            Range => self.refuse(typing::lone_range(span)),
            Else => {
                let (x, default) = (self.strict(left), self.infer(right));
                let (x, default) = (x?, default?);
                let x = if x.ty == default.ty { x } else { self.coerce(x, default.ty)? };
                let ty = default.ty;
                Some(Expr { kind: ExprKind::Otherwise(boxed(x), boxed(default)), ty, span })
            }
            Plus => self.arithmetic(Arithmetic::Plus, left, right, span),
            Minus => self.arithmetic(Arithmetic::Minus, left, right, span),
            Times => self.arithmetic(Arithmetic::Times, left, right, span),
            Over => self.arithmetic(Arithmetic::Over, left, right, span),
            Modulo => self.arithmetic(Arithmetic::Modulo, left, right, span),
        }
    }

    /// A test; if operands had a `?`, a lenient one.
    fn test(&mut self, kind: ExprKind, operands: Vec<(Expr, bool)>, span: Span) -> Checked {
        let test = Expr { kind, ty: Type::Bool, span };
        if !operands.iter().any(|(_, soft)| *soft) {
            return Some(test);
        }
        let (soft, hard): (Vec<_>, Vec<_>) = operands.into_iter().partition(|(_, soft)| *soft);
        let only = |operands: Vec<(Expr, bool)>| operands.into_iter().map(|(operand, _)| operand).collect();
        Some(Expr {
            kind: ExprKind::Lenient { soft: only(soft), hard: only(hard), test: boxed(test) },
            ty: Type::Bool,
            span,
        })
    }

    fn compare(
        &mut self,
        comparison: Comparison,
        left: &ast::Expr,
        right: &ast::Expr,
        span: Span,
    ) -> Checked {
        let (left, right) = (self.operand(left), self.operand(right));
        let ((left, left_soft), (right, right_soft)) = (left?, right?);
        let (left, right) = if comparison == Comparison::Same {
            let (left, right) = (self.coerce(left, Type::String), self.coerce(right, Type::String));
            (left?, right?)
        } else {
            let (left, right) = self.comparable(left, right, span)?;
            let left = self.bounded(left, &[&right]);
            let right = self.bounded(right, &[&left]);
            (left, right)
        };
        let ordered =
            matches!(left.ty, Type::Number | Type::String | Type::Time | Type::Duration | Type::Json);
        let equality = matches!(comparison, Comparison::Equal | Comparison::NotEqual | Comparison::Same);
        if !ordered && !equality {
            return self.refuse(typing::unordered(span, left.ty));
        }
        let kind = ExprKind::Compare(comparison, boxed(left.clone()), boxed(right.clone()));
        self.test(kind, vec![(left, left_soft), (right, right_soft)], span)
    }

    /// Both sides as values that can be equal. A json value takes the type of the other side.
    fn comparable(&mut self, left: Expr, right: Expr, span: Span) -> Option<(Expr, Expr)> {
        match (left.ty, right.ty) {
            (a, b) if a == b => Some((left, right)),
            (Type::Json, Type::List(_)) | (Type::List(_), Type::Json) => Some((left, right)),
            (Type::List(_), Type::List(_)) if is_empty_list(&left) || is_empty_list(&right) => {
                Some((left, right))
            }
            (Type::Json, wanted @ (Type::Bool | Type::Number | Type::String)) => {
                Some((take(wanted, left), right))
            }
            (wanted @ (Type::Bool | Type::Number | Type::String), Type::Json) => {
                Some((left, take(wanted, right)))
            }
            (a, b) => {
                self.scope.report(typing::incomparable(span, a, b));
                None
            }
        }
    }

    pub(super) fn unify(&mut self, left: Expr, right: Expr) -> Option<(Expr, Expr)> {
        match (left.ty, right.ty) {
            (a, b) if a == b => Some((left, right)),
            (Type::Json, wanted) => Some((self.coerce(left, wanted)?, right)),
            (wanted, _) => Some((left, self.coerce(right, wanted)?)),
        }
    }

    fn membership(&mut self, left: &ast::Expr, right: &ast::Expr, span: Span) -> Checked {
        match &right.kind {
            ast::ExprKind::Zone(zone) => {
                let time = self.typed(left, Type::Time)?;
                if moment::zone(&zone.value).is_none() {
                    return self.refuse(names::unknown_zone(zone.span, &zone.value));
                }
                Some(Expr { kind: ExprKind::Zoned(boxed(time), zone.value.clone()), ty: Type::Time, span })
            }
            ast::ExprKind::Binary(ast::Operator::Range, low, high) => {
                let (x, low, high) = (self.operand(left), self.operand(low), self.operand(high));
                let (x, low, high) = (x?, low?, high?);
                let wanted = if low.0.ty == Type::Json { high.0.ty } else { low.0.ty };
                if !matches!(wanted, Type::Number | Type::String | Type::Time | Type::Duration) {
                    return self.refuse(typing::unordered(span, wanted));
                }
                let (x, low, high) = (
                    (self.coerce(x.0, wanted), x.1),
                    (self.coerce(low.0, wanted), low.1),
                    (self.coerce(high.0, wanted), high.1),
                );
                let (x, low, high) = ((x.0?, x.1), (low.0?, low.1), (high.0?, high.1));
                let x = (self.bounded(x.0, &[&low.0, &high.0]), x.1);
                let kind = ExprKind::Between(boxed(x.0.clone()), boxed(low.0.clone()), boxed(high.0.clone()));
                self.test(kind, vec![x, low, high], span)
            }
            ast::ExprKind::As(list, kind) => {
                let Some((_, pattern)) = PatternKind::NAMES.iter().find(|(name, _)| *name == kind.value)
                else {
                    let known = PatternKind::NAMES.iter().map(|(name, _)| *name);
                    return self.refuse(names::unknown_word(kind.span, "kind of list", &kind.value, known));
                };
                let (x, list) = (self.operand(left), self.operand(list));
                let (x, list) = (x?, list?);
                let x = (self.pattern_operand(x.0, *pattern)?, x.1);
                let list = match list.0.ty {
                    Type::List(Element::String) => list,
                    Type::Json => (take(Type::List(Element::Json), list.0), list.1),
                    found => {
                        return self.refuse(typing::mismatch(
                            list.0.span,
                            "a list of strings",
                            found,
                            "name a list of texts",
                        ));
                    }
                };
                let kind = ExprKind::InAs(boxed(x.0.clone()), boxed(list.0.clone()), *pattern);
                self.test(kind, vec![x, list], span)
            }
            ast::ExprKind::Name(name) if !self.bindings.iter().any(|(bound, _)| bound == name) => {
                match self.scope.peek(name) {
                    Some(Named::Patterns(patterns)) => {
                        self.scope.named(name);
                        let x = self.operand(left)?;
                        let x = (self.pattern_operand(x.0, patterns.kind)?, x.1);
                        let kind = ExprKind::InPatterns(boxed(x.0.clone()), patterns);
                        self.test(kind, vec![x], span)
                    }
                    _ => self.plain_membership(left, right, span),
                }
            }
            ast::ExprKind::List(items) if items.iter().any(|item| !is_literal(item)) => {
                self.membership_of_values(left, items, span)
            }
            _ => self.plain_membership(left, right, span),
        }
    }

    fn pattern_operand(&mut self, x: Expr, kind: PatternKind) -> Checked {
        if kind == PatternKind::Cidr && x.ty == Type::Ip { Some(x) } else { self.coerce(x, Type::String) }
    }

    /// `x in [a, b]` with values that are not constant: `x == a or x == b`.
    fn membership_of_values(&mut self, left: &ast::Expr, items: &[ast::Expr], span: Span) -> Checked {
        let equals: Vec<Checked> =
            items.iter().map(|item| self.compare(Comparison::Equal, left, item, span)).collect();
        let parts = equals.into_iter().collect::<Option<_>>()?;
        Some(Expr { kind: ExprKind::Or(parts), ty: Type::Bool, span })
    }

    fn plain_membership(&mut self, left: &ast::Expr, right: &ast::Expr, span: Span) -> Checked {
        let (x, xs) = (self.operand(left), self.operand(right));
        let (x, xs) = (x?, xs?);
        let (xs, x) = self.list_and_element(xs, x)?;
        let x = (self.bounded(x.0, &[&xs.0]), x.1);
        let kind = ExprKind::In(boxed(x.0.clone()), boxed(xs.0.clone()));
        self.test(kind, vec![x, xs], span)
    }

    /// A list and something that could be in it.
    fn list_and_element(
        &mut self,
        xs: (Expr, bool),
        x: (Expr, bool),
    ) -> Option<((Expr, bool), (Expr, bool))> {
        let xs = match xs.0.ty {
            Type::List(_) => xs,
            Type::Json => (take(Type::List(Element::Json), xs.0), xs.1),
            found => {
                let help = if found == Type::String {
                    "for texts inside texts write `… contains \"…\"`"
                } else {
                    "use a list: `[1, 2, 3]`, or a range: `1..3`"
                };
                self.scope.report(typing::mismatch(xs.0.span, "a list", found, help));
                return None;
            }
        };
        let Type::List(element) = xs.0.ty else { return None };
        let x = match (element, x.0.ty) {
            (Element::Json, _) => x,
            (element, found) if element.ty() == found || is_empty_list(&xs.0) => x,
            (element, Type::Json) => (self.coerce(x.0, element.ty())?, x.1),
            (element, found) => {
                self.scope.report(typing::incomparable(x.0.span.to(xs.0.span), found, element.ty()));
                return None;
            }
        };
        Some((xs, x))
    }

    fn has(&mut self, test: HasTest, left: &ast::Expr, right: &ast::Expr, span: Span) -> Checked {
        let (xs, right) = (self.operand(left), self.operand(right));
        let (xs, right) = (xs?, right?);
        if test == HasTest::One {
            let (xs, x) = self.list_and_element(xs, right)?;
            let kind = ExprKind::Has(test, boxed(xs.0.clone()), boxed(x.0.clone()));
            return self.test(kind, vec![xs, x], span);
        }
        let as_list = |this: &mut Self, (list, soft): (Expr, bool)| match list.ty {
            Type::List(_) => Some((list, soft)),
            Type::Json => Some((take(Type::List(Element::Json), list), soft)),
            found => {
                this.scope.report(typing::mismatch(
                    list.span,
                    "a list",
                    found,
                    "write a list: `[\"a\", \"b\"]`; for one element use `has`",
                ));
                None
            }
        };
        let (xs, ys) = (as_list(self, xs), as_list(self, right));
        let (xs, ys) = (xs?, ys?);
        let elements = (xs.0.ty, ys.0.ty);
        let json = Type::List(Element::Json);
        if elements.0 != elements.1
            && elements.0 != json
            && elements.1 != json
            && !is_empty_list(&xs.0)
            && !is_empty_list(&ys.0)
        {
            return self.refuse(typing::incomparable(span, elements.0, elements.1));
        }
        let kind = ExprKind::Has(test, boxed(xs.0.clone()), boxed(ys.0.clone()));
        self.test(kind, vec![xs, ys], span)
    }

    fn text_test(&mut self, test: TextTest, left: &ast::Expr, right: &ast::Expr, span: Span) -> Checked {
        let (left, right) = (self.operand(left), self.operand(right));
        let (left, right) = (left?, right?);
        if let Type::List(_) = left.0.ty {
            let help =
                "ask what is in a list with `has`, or look at each element: `any x in …: x contains \"…\"`";
            return self.refuse(typing::mismatch(left.0.span, "a string", left.0.ty, help));
        }
        let (left, right) =
            ((self.coerce(left.0, Type::String), left.1), (self.coerce(right.0, Type::String), right.1));
        let (left, right) = ((left.0?, left.1), (right.0?, right.1));
        let kind = ExprKind::TextTest(test, boxed(left.0.clone()), boxed(right.0.clone()));
        self.test(kind, vec![left, right], span)
    }

    fn arithmetic(
        &mut self,
        operator: Arithmetic,
        left: &ast::Expr,
        right: &ast::Expr,
        span: Span,
    ) -> Checked {
        use Arithmetic::*;
        let (left, right) = (self.infer(left), self.infer(right));
        let (left, right) = (left?, right?);
        let number = |expr: Expr| if expr.ty == Type::Json { take(Type::Number, expr) } else { expr };
        let (left, right) = match (left.ty, right.ty) {
            (Type::Time | Type::Duration, _) | (_, Type::Duration) => (left, right),
            _ => (number(left), number(right)),
        };
        let ty = match (left.ty, operator, right.ty) {
            (Type::Number, _, Type::Number) => Type::Number,
            (Type::Time, Minus, Type::Time) => Type::Duration,
            (Type::Time, Plus | Minus, Type::Duration) => Type::Time,
            (Type::Duration, Plus | Minus, Type::Duration) => Type::Duration,
            (left_ty, _, right_ty) => {
                return self.refuse(typing::no_arithmetic(span, left_ty, operator.sign(), right_ty));
            }
        };
        Some(Expr { kind: ExprKind::Arithmetic(operator, boxed(left), boxed(right)), ty, span })
    }

    pub(super) fn quantified(
        &mut self,
        quantifier: Quantifier,
        variable: &ast::Name,
        xs: &ast::Expr,
        body: &ast::Expr,
        span: Span,
    ) -> Checked {
        let xs = self.strict(xs)?;
        let (xs, element) = match xs.ty {
            Type::List(element) => (xs, element.ty()),
            Type::Json => (take(Type::List(Element::Json), xs), Type::Json),
            found => {
                let help =
                    "name a list; for the values of a json object write `values(…)`, for its keys `keys(…)`";
                return self.refuse(typing::mismatch(xs.span, "a list", found, help));
            }
        };
        let var = Var { number: self.scope.next_variable(), name: variable.value.clone() };
        self.bindings.push((variable.value.clone(), Binding::Variable(var.clone(), element)));
        let body = self.condition(body);
        self.bindings.pop();
        let ty = if quantifier == Quantifier::Count { Type::Number } else { Type::Bool };
        Some(Expr { kind: ExprKind::Quantified(quantifier, var, boxed(xs), boxed(body?)), ty, span })
    }
}

fn is_empty_list(expr: &Expr) -> bool {
    matches!(&expr.kind, ExprKind::Const(Const::List(values)) if values.is_empty())
}

fn is_literal(expr: &ast::Expr) -> bool {
    match &expr.kind {
        ast::ExprKind::Bool(_)
        | ast::ExprKind::Number(_)
        | ast::ExprKind::Duration(_)
        | ast::ExprKind::Date(_) => true,
        ast::ExprKind::Negative(inner) => is_literal(inner),
        ast::ExprKind::Call(name, _) => matches!(name.value.as_str(), "time" | "ip"),
        ast::ExprKind::String(_) => plain_text(expr).is_some(),
        _ => false,
    }
}
