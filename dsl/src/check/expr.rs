//! Expressions: names are resolved and every node gets its type.
//!
//! A function that returns `None` has said why in the diagnostics. Both sides of an operator are checked before
//! either failure ends the matter, so that one run finds all mistakes.

use super::scope::{Binding, Named, Scope};
use crate::ast;
use crate::diagnostics::{names, syntax, typing, unknowns};
use crate::events::{self, EventKind};
use crate::hir::*;
use crate::source::Span;
use crate::text::{glob::Glob, lists, moment, pattern};
use crate::types::{Element, Type};

/// The most nodes that one rule may have once its macros are expanded.
const SIZE_LIMIT: usize = 20_000;

/// Checks the expressions of one declaration.
pub(super) struct Checker<'s, 'a> {
    pub scope: &'s mut Scope<'a>,
    /// The kinds of event whose fields may be read.
    pub kinds: &'s [EventKind],
    /// Why `risk` can't be read here, if it can't.
    pub risk_refused: bool,
    bindings: Vec<(String, Binding)>,
    /// Macros being expanded.
    expanding: Vec<String>,
    /// Whether there is a test around this place that `?` could soften.
    lenient_allowed: bool,
    /// Whether the operand just read had a `?`.
    lenient_seen: bool,
    size: usize,
}

type Checked = Option<Expr>;

fn boxed(expr: Expr) -> Box<Expr> {
    Box::new(expr)
}

impl<'s, 'a> Checker<'s, 'a> {
    pub(super) fn new(scope: &'s mut Scope<'a>, kinds: &'s [EventKind]) -> Checker<'s, 'a> {
        Checker {
            scope,
            kinds,
            risk_refused: false,
            bindings: Vec::new(),
            expanding: Vec::new(),
            lenient_allowed: false,
            lenient_seen: false,
            size: 0,
        }
    }

    /// Gives a checked expression a name for what follows.
    pub(super) fn bind(&mut self, name: String, value: Expr) {
        self.bindings.push((name, Binding::Value(value)));
    }

    /// An expression that must be true, false or unknown.
    pub(super) fn condition(&mut self, expr: &ast::Expr) -> Checked {
        let outer = std::mem::replace(&mut self.lenient_allowed, false);
        let checked = self.infer(expr);
        self.lenient_allowed = outer;
        self.as_condition(checked?)
    }

    fn as_condition(&mut self, expr: Expr) -> Checked {
        match expr.ty {
            Type::Bool => Some(expr),
            Type::Json => Some(take(Type::Bool, expr)),
            found => {
                self.scope.report(typing::not_a_condition(expr.span, found));
                None
            }
        }
    }

    /// An expression of this type.
    pub(super) fn typed(&mut self, expr: &ast::Expr, wanted: Type) -> Checked {
        let checked = self.infer(expr)?;
        self.coerce(checked, wanted)
    }

    fn coerce(&mut self, expr: Expr, wanted: Type) -> Checked {
        if expr.ty == wanted {
            return Some(expr);
        }
        let takeable = matches!(wanted, Type::Bool | Type::Number | Type::String | Type::List(Element::Json));
        if expr.ty == Type::Json && takeable {
            return Some(take(wanted, expr));
        }
        let help = match (wanted, expr.ty) {
            (Type::Number, Type::String) => "write numbers without quotes",
            (Type::String, Type::Number) => "write texts in double quotes",
            (Type::Time, _) => "turn a text into a time with `time(…)`",
            (Type::Ip, _) => "turn a text into an address with `ip(…)`",
            (Type::Duration, _) => "write a span of time as `60m`",
            (Type::Bool, _) => "compare it with something",
            _ => "use a value of that type, or convert this one",
        };
        self.scope.report(typing::mismatch(expr.span, &format!("a {wanted}"), expr.ty, help));
        None
    }

    /// Any expression.
    pub(super) fn infer(&mut self, expr: &ast::Expr) -> Checked {
        self.size += 1;
        if self.size > SIZE_LIMIT {
            if self.size == SIZE_LIMIT + 1 {
                self.scope.report(syntax::too_large(
                    expr.span,
                    "this rule, its macros expanded,",
                    SIZE_LIMIT,
                ));
            }
            return None;
        }
        let span = expr.span;
        let make = |kind, ty| Some(Expr { kind, ty, span });
        let constant = |value: Const, ty| Some(Expr { kind: ExprKind::Const(value), ty, span });
        match &expr.kind {
            ast::ExprKind::Bool(value) => constant(Const::Bool(*value), Type::Bool),
            ast::ExprKind::Number(value) => constant(Const::Number(*value), Type::Number),
            ast::ExprKind::Duration(micros) => constant(Const::Duration(*micros), Type::Duration),
            ast::ExprKind::Date(text) => match moment::date(text) {
                Some(micros) => constant(Const::Time(micros), Type::Time),
                None => {
                    self.scope.report(crate::diagnostics::effects::bad_date(span, text));
                    None
                }
            },
            ast::ExprKind::String(pieces) => self.string(pieces, span),
            ast::ExprKind::Regex(..) => {
                self.refuse(typing::misplaced(span, "a regex", "write `text matches /regex/`"))
            }
            ast::ExprKind::Zone(_) => self.refuse(typing::misplaced(
                span,
                "a time zone",
                "write `(at in tz \"Europe/Amsterdam\").hour`",
            )),
            ast::ExprKind::As(..) => self.refuse(typing::misplaced(
                span,
                "`as`",
                "write `x in agent.manifest.destinations as domain`",
            )),
            ast::ExprKind::List(items) => self.list(items, span),
            ast::ExprKind::Name(name) => self.name(name, span),
            ast::ExprKind::Call(name, arguments) => self.call(name, arguments, span),
            ast::ExprKind::Member(base, word) => self.member(expr, base, word),
            ast::ExprKind::Item(base, index) => self.item(base, index, span),
            ast::ExprKind::Lenient(base) => {
                if !self.lenient_allowed {
                    return self.refuse(unknowns::lone_lenient(span));
                }
                self.lenient_seen = true;
                self.infer(base)
            }
            ast::ExprKind::Not(inner) => make(ExprKind::Not(boxed(self.condition(inner)?)), Type::Bool),
            ast::ExprKind::And(parts) => make(ExprKind::And(self.conditions(parts)?), Type::Bool),
            ast::ExprKind::Or(parts) => make(ExprKind::Or(self.conditions(parts)?), Type::Bool),
            ast::ExprKind::Present(inner) => {
                let inner = self.strict(inner)?;
                make(ExprKind::Present(boxed(inner)), Type::Bool)
            }
            ast::ExprKind::Negative(inner) => self.negative(inner, span),
            ast::ExprKind::Binary(operator, left, right) => self.binary(*operator, left, right, span),
            ast::ExprKind::If(condition, then, otherwise) => {
                let condition = self.condition(condition);
                let (then, otherwise) = (self.infer(then), self.infer(otherwise));
                let (condition, then, otherwise) = (condition?, then?, otherwise?);
                let (then, otherwise) = self.unify(then, otherwise)?;
                let ty = then.ty;
                make(ExprKind::If(boxed(condition), boxed(then), boxed(otherwise)), ty)
            }
            ast::ExprKind::Quantified(quantifier, variable, xs, body) => {
                self.quantified(*quantifier, variable, xs, body, span)
            }
        }
    }

    fn refuse(&mut self, diagnostic: crate::diagnostics::Diagnostic) -> Checked {
        self.scope.report(diagnostic);
        None
    }

    fn conditions(&mut self, parts: &[ast::Expr]) -> Option<Vec<Expr>> {
        let checked: Vec<Checked> = parts.iter().map(|part| self.condition(part)).collect();
        checked.into_iter().collect()
    }

    /// An expression in which `?` has nothing to soften.
    fn strict(&mut self, expr: &ast::Expr) -> Checked {
        let outer = std::mem::replace(&mut self.lenient_allowed, false);
        let checked = self.infer(expr);
        self.lenient_allowed = outer;
        checked
    }

    /// An operand of a test, and whether it had a `?`.
    fn operand(&mut self, expr: &ast::Expr) -> Option<(Expr, bool)> {
        let outer = (
            std::mem::replace(&mut self.lenient_allowed, true),
            std::mem::replace(&mut self.lenient_seen, false),
        );
        let checked = self.infer(expr);
        let soft = self.lenient_seen;
        (self.lenient_allowed, self.lenient_seen) = outer;
        checked.map(|checked| (checked, soft))
    }

    // ---- literals ----

    fn string(&mut self, pieces: &[ast::Piece], span: Span) -> Checked {
        if let [ast::Piece::Text(text)] = pieces {
            return Some(Expr { kind: ExprKind::Const(Const::Text(text.clone())), ty: Type::String, span });
        }
        let mut checked = Vec::new();
        for piece in pieces {
            checked.push(match piece {
                ast::Piece::Text(text) => Some(Piece::Text(text.clone())),
                ast::Piece::Value(value) => self.infer(value).map(Piece::Value),
            });
        }
        let pieces = checked.into_iter().collect::<Option<_>>()?;
        Some(Expr { kind: ExprKind::Join(pieces), ty: Type::String, span })
    }

    /// A list of constants. (A list of anything else is only taken apart by `in`.)
    fn list(&mut self, items: &[ast::Expr], span: Span) -> Checked {
        let items: Vec<Checked> = items.iter().map(|item| self.infer(item)).collect();
        let items: Vec<Expr> = items.into_iter().collect::<Option<_>>()?;
        let mut values = Vec::new();
        let mut element = Element::String;
        for (number, item) in items.iter().enumerate() {
            match (item.ty.as_element(), &item.kind) {
                (Some(this), ExprKind::Const(value)) => {
                    if number == 0 {
                        element = this;
                    } else if this != element {
                        return self.refuse(typing::mixed_list(item.span, element.ty(), this.ty()));
                    }
                    values.push(value.clone());
                }
                _ => {
                    return self.refuse(typing::literal_only(
                        item.span,
                        "what stands in a list here",
                        "`[\"a\", \"b\"]`",
                    ));
                }
            }
        }
        Some(Expr { kind: ExprKind::Const(Const::List(values)), ty: Type::List(element), span })
    }

    fn negative(&mut self, inner: &ast::Expr, span: Span) -> Checked {
        let inner = self.infer(inner)?;
        if inner.ty == Type::Duration {
            return Some(Expr { kind: ExprKind::Negative(boxed(inner)), ty: Type::Duration, span });
        }
        let inner = self.coerce(inner, Type::Number)?;
        let kind = match inner.kind {
            ExprKind::Const(Const::Number(number)) => ExprKind::Const(Const::Number(number.negated())),
            kind => ExprKind::Negative(boxed(Expr { kind, ..inner })),
        };
        Some(Expr { kind, ty: Type::Number, span })
    }

    // ---- names ----

    fn name(&mut self, name: &str, span: Span) -> Checked {
        if let Some((_, binding)) = self.bindings.iter().rev().find(|(bound, _)| bound == name) {
            return Some(match binding {
                Binding::Value(value) => {
                    self.size += size(value);
                    Expr { span, ..value.clone() }
                }
                Binding::Variable(var, ty) => Expr { kind: ExprKind::Var(var.clone()), ty: *ty, span },
            });
        }
        if let Some(field) = self.field(name, span) {
            return field;
        }
        if name == "risk" && !self.kinds.is_empty() {
            if self.risk_refused {
                return self.refuse(crate::diagnostics::effects::risk_in_scored_rule(span));
            }
            return Some(Expr { kind: ExprKind::Risk, ty: Type::Number, span });
        }
        match self.scope.named(name) {
            Some(Named::Param(full, ty)) => Some(Expr { kind: ExprKind::Param(full), ty, span }),
            Some(Named::Values(values, ty)) => Some(Expr { kind: ExprKind::Const(values), ty, span }),
            Some(Named::Patterns(patterns)) => {
                let help = format!("ask whether something is in it: `x in {}`", name);
                self.refuse(typing::misplaced(span, &format!("a list of {}s", patterns.kind.name()), &help))
            }
            Some(Named::Macro) => self.refuse(typing::misplaced(
                span,
                "a macro without arguments",
                &format!("write `{name}()`"),
            )),
            None => {
                let diagnostic = if self.kinds.is_empty() {
                    names::unknown_name(span, name, self.scope.names(), "no event here")
                } else {
                    let kinds = kind_list(self.kinds);
                    let known = self.known_names();
                    names::unknown_name(span, name, known.iter().map(String::as_str), &kinds)
                };
                self.scope.report_unknown(name, diagnostic);
                None
            }
        }
    }

    fn known_names(&self) -> Vec<String> {
        let fields = self
            .kinds
            .iter()
            .flat_map(|kind| events::fields_of(*kind))
            .map(|field| field.def().name.to_owned());
        let bound = self.bindings.iter().map(|(name, _)| name.clone());
        fields.chain(bound).chain(self.scope.names().map(str::to_owned)).collect()
    }

    /// A field of this name, or of a name above fields: `None` if it is neither.
    fn field(&mut self, name: &str, span: Span) -> Option<Checked> {
        let found: Vec<_> = self.kinds.iter().map(|kind| (*kind, events::field(*kind, name))).collect();
        let mut ids: Vec<_> = found.iter().filter_map(|(_, id)| *id).collect();
        if let Some(first) = ids.first().copied() {
            if ids.len() < found.len() {
                let of = |has: bool| {
                    found
                        .iter()
                        .filter(|(_, id)| id.is_some() == has)
                        .map(|(kind, _)| kind.name())
                        .collect::<Vec<_>>()
                };
                return Some(self.refuse(names::field_of_another_kind(span, name, &of(true), &of(false))));
            }
            ids.dedup();
            if ids.len() > 1 {
                return Some(self.refuse(names::field_differs(span, name)));
            }
            return Some(Some(Expr { kind: ExprKind::Field(first), ty: first.def().ty, span }));
        }
        if self.kinds.iter().any(|kind| events::is_group(*kind, name)) {
            let members: Vec<&str> = self
                .kinds
                .iter()
                .take(1)
                .flat_map(|kind| events::fields_of(*kind))
                .map(|field| field.def().name)
                .filter(|field| field.starts_with(&format!("{name}.")))
                .collect();
            return Some(self.refuse(names::group(span, name, &members)));
        }
        let elsewhere: Vec<&str> = EventKind::ALL
            .into_iter()
            .filter(|kind| events::field(*kind, name).is_some())
            .map(EventKind::name)
            .collect();
        if !elsewhere.is_empty() && !self.kinds.is_empty() && self.scope.peek(name).is_none() {
            let lacks: Vec<&str> = self.kinds.iter().map(|kind| kind.name()).collect();
            return Some(self.refuse(names::field_of_another_kind(span, name, &elsewhere, &lacks)));
        }
        None
    }

    fn member(&mut self, whole: &ast::Expr, base: &ast::Expr, word: &ast::Name) -> Checked {
        if let Some(path) = dotted(whole) {
            let root = path.split('.').next().unwrap_or_default();
            let bound = self.bindings.iter().any(|(name, _)| name == root);
            if !bound {
                if let Some(field) = self.exact_field(&path) {
                    return field
                        .map(|field| Expr { span: whole.span, ..field })
                        .or_else(|| self.field(&path, whole.span).flatten());
                }
                let parent = path.rsplit_once('.').map_or("", |(parent, _)| parent);
                if self.kinds.iter().any(|kind| events::is_group(*kind, parent)) {
                    if self.kinds.iter().any(|kind| events::is_group(*kind, &path)) {
                        return self.field(&path, whole.span).flatten();
                    }
                    let kinds = kind_list(self.kinds);
                    let known = self.known_names();
                    return self.refuse(names::unknown_name(
                        whole.span,
                        &path,
                        known.iter().map(String::as_str),
                        &kinds,
                    ));
                }
            }
        }
        let base = self.infer(base)?;
        match (base.ty, word.value.as_str()) {
            (Type::Json, _) => Some(Expr {
                kind: ExprKind::Member(boxed(base), word.value.clone()),
                ty: Type::Json,
                span: whole.span,
            }),
            (Type::Time, "hour" | "weekday") => {
                let (part, ty) = if word.value == "hour" {
                    (TimePart::Hour, Type::Number)
                } else {
                    (TimePart::Weekday, Type::String)
                };
                let (time, zone) = match base.kind {
                    ExprKind::Zoned(time, zone) => (time, Some(zone)),
                    kind => (boxed(Expr { kind, ..base }), None),
                };
                Some(Expr { kind: ExprKind::TimePart(part, time, zone), ty, span: whole.span })
            }
            (ty, name) => self.refuse(typing::no_member(word.span, ty, name)),
        }
    }

    /// `Some(Some(field))` if all kinds have it, `Some(None)` if only some do, `None` if none does.
    fn exact_field(&self, path: &str) -> Option<Checked> {
        let ids: Vec<_> = self.kinds.iter().filter_map(|kind| events::field(*kind, path)).collect();
        let first = ids.first().copied()?;
        let all_same = ids.len() == self.kinds.len() && ids.iter().all(|id| *id == first);
        Some(all_same.then(|| Expr {
            kind: ExprKind::Field(first),
            ty: first.def().ty,
            span: Span::default(),
        }))
    }

    fn item(&mut self, base: &ast::Expr, index: &ast::Expr, span: Span) -> Checked {
        let (base, index) = (self.infer(base), self.infer(index));
        let (base, index) = (base?, index?);
        if base.ty == Type::Json
            && let ExprKind::Const(Const::Text(name)) = &index.kind
        {
            return Some(Expr { kind: ExprKind::Member(boxed(base), name.clone()), ty: Type::Json, span });
        }
        let ty = match base.ty {
            Type::Json => Type::Json,
            Type::List(element) => element.ty(),
            found => {
                let help = "only json values and lists have elements";
                return self.refuse(typing::mismatch(base.span, "a json value or a list", found, help));
            }
        };
        let index = match (base.ty, index.ty) {
            (Type::Json, Type::String | Type::Number | Type::Json) => index,
            _ => self.coerce(index, Type::Number)?,
        };
        Some(Expr { kind: ExprKind::Item(boxed(base), boxed(index)), ty, span })
    }

    // ---- operators ----

    fn binary(
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
            self.comparable(left, right, span)?
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

    fn unify(&mut self, left: Expr, right: Expr) -> Option<(Expr, Expr)> {
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

    fn quantified(
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

    // ---- functions and macros ----

    fn call(&mut self, name: &ast::Name, arguments: &[ast::Expr], span: Span) -> Checked {
        if let Some(def) = self.scope.def(&name.value) {
            return self.expand(name, def, arguments, span);
        }
        if matches!(
            name.value.as_str(),
            "sum" | "seen" | "last" | "distinct" | "streak" | "sequence" | "age" | "max" | "min" | "count"
        ) {
            let help = "rules of this version look at one event at a time";
            return self.refuse(syntax::not_available(span, "operators over earlier events", help));
        }
        let Some((_, builtin)) = Builtin::NAMES.iter().find(|(known, _)| *known == name.value) else {
            let known = Builtin::NAMES.iter().map(|(name, _)| *name);
            let known: Vec<&str> = known.chain(self.scope.macros()).collect();
            let diagnostic = names::unknown_function(name.span, &name.value, known.into_iter());
            self.scope.report_unknown(&name.value, diagnostic);
            return None;
        };
        self.builtin(*builtin, arguments, span)
    }

    fn builtin(&mut self, builtin: Builtin, arguments: &[ast::Expr], span: Span) -> Checked {
        let checked: Vec<Checked> = arguments.iter().map(|argument| self.infer(argument)).collect();
        let mut checked: Vec<Expr> = checked.into_iter().collect::<Option<_>>()?;
        let most = if builtin == Builtin::Time { 2 } else { 1 };
        if checked.is_empty() || checked.len() > most {
            let wanted = if most == 2 { "one or two arguments" } else { "one argument" };
            return self.refuse(typing::arguments(span, builtin.name(), wanted, checked.len()));
        }
        let first = checked.remove(0);
        let (first, ty) = match builtin {
            Builtin::Lower => (self.coerce(first, Type::String)?, Type::String),
            Builtin::Host => (self.coerce(first, Type::String)?, Type::String),
            Builtin::Port => (self.coerce(first, Type::String)?, Type::Number),
            Builtin::Ip => (self.coerce(first, Type::String)?, Type::Ip),
            Builtin::Time => (self.coerce(first, Type::String)?, Type::Time),
            Builtin::Len if matches!(first.ty, Type::String | Type::List(_) | Type::Json) => {
                (first, Type::Number)
            }
            Builtin::Len => {
                let help = "`len` counts the characters of a text or the elements of a list";
                return self.refuse(typing::mismatch(first.span, "a string or a list", first.ty, help));
            }
            Builtin::Text => (self.json(first)?, Type::String),
            Builtin::Keys => (self.json(first)?, Type::STRINGS),
            Builtin::Values => (self.json(first)?, Type::List(Element::Json)),
        };
        let mut all = vec![first];
        if let Some(zone) = checked.pop() {
            match &zone.kind {
                ExprKind::Const(Const::Text(name)) if moment::zone(name).is_some() => all.push(zone),
                ExprKind::Const(Const::Text(name)) => {
                    return self.refuse(names::unknown_zone(zone.span, name));
                }
                _ => {
                    return self.refuse(typing::literal_only(
                        zone.span,
                        "a time zone",
                        "`time(x, \"America/New_York\")`",
                    ));
                }
            }
        }
        if let Some(literal) = self.fold_literal(builtin, &all, span) {
            return literal;
        }
        Some(Expr { kind: ExprKind::Call(builtin, all), ty, span })
    }

    /// `time("…")` and `ip("…")` of literals are worked out, and refused, here.
    fn fold_literal(&mut self, builtin: Builtin, arguments: &[Expr], span: Span) -> Option<Checked> {
        let text = |index: usize| match arguments.get(index).map(|argument| &argument.kind) {
            Some(ExprKind::Const(Const::Text(text))) => Some(text.as_str()),
            _ => None,
        };
        let literal = text(0)?;
        let (value, ty, help) = match (builtin, text(1)) {
            (Builtin::Time, None) => (
                moment::rfc3339(literal).map(Const::Time),
                Type::Time,
                "write it as in \"2026-01-31T12:00:00Z\"",
            ),
            (Builtin::Time, Some(zone)) => (
                moment::in_zone(literal, zone).map(Const::Time),
                Type::Time,
                "write it as in \"2026-01-31T12:00:00\"",
            ),
            (Builtin::Ip, _) => (
                crate::text::host::address(literal).map(Const::Ip),
                Type::Ip,
                "write it as in \"192.0.2.1\" or \"2001:db8::1\"",
            ),
            _ => return None,
        };
        Some(match value {
            Some(value) => Some(Expr { kind: ExprKind::Const(value), ty, span }),
            None => {
                self.refuse(typing::bad_pattern(span, &ty.to_string(), &format!("`{literal}` is none"), help))
            }
        })
    }

    fn json(&mut self, expr: Expr) -> Checked {
        if expr.ty == Type::Json {
            return Some(expr);
        }
        let help = "it works on json values such as `payload`, `metadata` or `properties`";
        self.refuse(typing::mismatch(expr.span, "a json value", expr.ty, help))
    }

    fn expand(
        &mut self,
        name: &ast::Name,
        def: &'a ast::Def,
        arguments: &[ast::Expr],
        span: Span,
    ) -> Checked {
        if self.expanding.contains(&name.value) {
            return self.refuse(names::recursion(name.span, &name.value));
        }
        let checked: Vec<Checked> = arguments.iter().map(|argument| self.strict(argument)).collect();
        let checked: Vec<Expr> = checked.into_iter().collect::<Option<_>>()?;
        if checked.len() != def.arguments.len() {
            let wanted = match def.arguments.len() {
                0 => "no arguments".to_owned(),
                1 => "one argument".to_owned(),
                count => format!("{count} arguments"),
            };
            return self.refuse(typing::arguments(span, &name.value, &wanted, checked.len()));
        }
        let outer = std::mem::take(&mut self.bindings);
        self.bindings = def
            .arguments
            .iter()
            .zip(checked)
            .map(|(name, value)| (name.value.clone(), Binding::Value(value)))
            .collect();
        self.expanding.push(name.value.clone());
        let body = self.infer(&def.body);
        self.expanding.pop();
        self.bindings = outer;
        body
    }
}

/// A json value as a value of this type; unknown if it is of another.
fn take(ty: Type, expr: Expr) -> Expr {
    let span = expr.span;
    Expr { kind: ExprKind::Take(Box::new(expr)), ty, span }
}

fn size(expr: &Expr) -> usize {
    1 + expr.children().into_iter().map(size).sum::<usize>()
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

/// The text of a string literal without interpolations.
pub(super) fn plain_text(expr: &ast::Expr) -> Option<String> {
    match &expr.kind {
        ast::ExprKind::String(pieces) => match pieces.as_slice() {
            [ast::Piece::Text(text)] => Some(text.clone()),
            _ => None,
        },
        _ => None,
    }
}

/// `a.b.c`, if it is nothing but names.
fn dotted(expr: &ast::Expr) -> Option<String> {
    match &expr.kind {
        ast::ExprKind::Name(name) => Some(name.clone()),
        ast::ExprKind::Member(base, word) => Some(format!("{}.{}", dotted(base)?, word.value)),
        _ => None,
    }
}

/// Kinds of event, for a message.
pub(super) fn kind_list(kinds: &[EventKind]) -> String {
    kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ")
}

/// The entries of a pattern list that can't be used: which, and why.
pub(super) fn bad_entry(kind: PatternKind, entries: &[String]) -> Option<(usize, String)> {
    match kind {
        PatternKind::Domain => lists::DomainList::new(entries).err(),
        PatternKind::Glob => lists::GlobList::new(entries).err(),
        PatternKind::Cidr => lists::CidrList::new(entries).err(),
        PatternKind::Path => lists::PathList::new(entries).err(),
    }
}
