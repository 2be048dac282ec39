//! Expressions: names are resolved and every node gets its type.
//!
//! A function that returns `None` has said why in the diagnostics. Both sides of an operator are checked before
//! either failure ends the matter, so that one run finds all mistakes.

use super::scope::{Binding, Scope};
use crate::ast;
use crate::diagnostics::{syntax, typing, unknowns};
use crate::events::EventKind;
use crate::hir::*;
use crate::items::NESTING_LIMIT;
use crate::source::Span;
use crate::text::{lists, moment};
use crate::types::{Element, Type};

/// The most nodes that one rule may have once its macros are expanded.
pub(super) const SIZE_LIMIT: usize = 20_000;

/// Checks the expressions of one declaration.
pub(super) struct Checker<'s, 'a> {
    pub scope: &'s mut Scope<'a>,
    /// The kinds of event whose fields may be read.
    pub kinds: Vec<EventKind>,
    /// Why `risk` can't be read here, if it can't.
    pub risk_refused: bool,
    pub(super) bindings: Vec<(String, Binding)>,
    /// Inside of what is computed from an earlier event: the number of bindings that are about the present one.
    pub(super) remembered: Option<usize>,
    /// How many memories were asked so far.
    pub(super) memories: usize,
    /// Macros being expanded.
    pub(super) expanding: Vec<String>,
    /// Whether there is a test around this place that `?` could soften.
    lenient_allowed: bool,
    /// Whether the operand just read had a `?`.
    lenient_seen: bool,
    pub(super) size: usize,
    /// How many expressions the one being read is inside of.
    depth: usize,
    /// Whether this declaration is too large or too deep, and that has been said.
    overgrown: bool,
}

pub(super) type Checked = Option<Expr>;

pub(super) fn boxed(expr: Expr) -> Box<Expr> {
    Box::new(expr)
}

impl<'s, 'a> Checker<'s, 'a> {
    pub(super) fn new(scope: &'s mut Scope<'a>, kinds: &[EventKind]) -> Checker<'s, 'a> {
        Checker {
            scope,
            kinds: kinds.to_vec(),
            risk_refused: false,
            bindings: Vec::new(),
            remembered: None,
            memories: 0,
            expanding: Vec::new(),
            lenient_allowed: false,
            lenient_seen: false,
            size: 0,
            depth: 0,
            overgrown: false,
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

    pub(super) fn coerce(&mut self, expr: Expr, wanted: Type) -> Checked {
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
        self.depth += 1;
        let goes_on = !self.scope.is_full() && self.may_grow(expr.span, 0);
        let checked = if goes_on { self.infer_node(expr) } else { None };
        self.depth -= 1;
        checked
    }

    /// Whether an expression this deep may still be added. What is refused is said once: it must not pass unnoticed.
    pub(super) fn may_grow(&mut self, span: Span, deeper: usize) -> bool {
        if self.size <= SIZE_LIMIT && self.depth + deeper <= NESTING_LIMIT {
            return true;
        }
        if !std::mem::replace(&mut self.overgrown, true) {
            let what = "this declaration, its macros expanded,";
            self.scope.report(if self.size > SIZE_LIMIT {
                syntax::too_large(span, what, SIZE_LIMIT)
            } else {
                syntax::too_deep(span)
            });
        }
        false
    }

    fn infer_node(&mut self, expr: &ast::Expr) -> Checked {
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
            ast::ExprKind::Memory(memory) => self.memory(memory, span),
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
                self.may_be_absent(&inner)?;
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

    pub(super) fn refuse(&mut self, diagnostic: crate::diagnostics::Diagnostic) -> Checked {
        self.scope.report(diagnostic);
        None
    }

    fn conditions(&mut self, parts: &[ast::Expr]) -> Option<Vec<Expr>> {
        let checked: Vec<Checked> = parts.iter().map(|part| self.condition(part)).collect();
        checked.into_iter().collect()
    }

    /// An expression in which `?` has nothing to soften.
    pub(super) fn strict(&mut self, expr: &ast::Expr) -> Checked {
        let outer = std::mem::replace(&mut self.lenient_allowed, false);
        let checked = self.infer(expr);
        self.lenient_allowed = outer;
        checked
    }

    /// An operand of a test, and whether it had a `?`.
    pub(super) fn operand(&mut self, expr: &ast::Expr) -> Option<(Expr, bool)> {
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
        Some(Expr { kind: ExprKind::Const(Const::List(values.into())), ty: Type::List(element), span })
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
}

/// A json value as a value of this type; unknown if it is of another.
pub(super) fn take(ty: Type, expr: Expr) -> Expr {
    let span = expr.span;
    Expr { kind: ExprKind::Take(Box::new(expr)), ty, span }
}

/// How many expressions stand inside this one, itself included, and how deep.
pub(super) fn extent(expr: &Expr) -> (usize, usize) {
    let inside = expr.children().into_iter().map(extent);
    let (size, depth) = inside.fold((0, 0), |(size, depth), (more, deeper)| (size + more, depth.max(deeper)));
    (size + 1, depth + 1)
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
