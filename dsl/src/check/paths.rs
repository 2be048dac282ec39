//! Names and paths in expressions: fields, parameters, lists, variables, members.

use super::expr::{Checked, Checker, boxed, extent, kind_list};
use super::scope::{Binding, Named};
use crate::ast;
use crate::diagnostics::{memory, names, typing};
use crate::events::{self, EventKind};
use crate::hir::*;
use crate::source::Span;
use crate::types::Type;

impl Checker<'_, '_> {
    pub(super) fn name(&mut self, name: &str, span: Span) -> Checked {
        if let Some((place, (_, binding))) =
            self.bindings.iter().enumerate().rev().find(|(_, (bound, _))| bound == name)
        {
            let present = self.remembered.is_some_and(|present| place < present);
            let expr = match binding {
                Binding::Value(value) if present && value.any(&mut reads_event) => {
                    return self.refuse(memory::not_remembered(span, &format!("`{name}`")));
                }
                Binding::Variable(..) if present => {
                    return self.refuse(memory::not_remembered(span, &format!("`{name}`")));
                }
                Binding::Value(value) => Expr { span, ..value.clone() },
                Binding::Variable(var, ty) => Expr { kind: ExprKind::Var(var.clone()), ty: *ty, span },
            };
            let (size, depth) = extent(&expr);
            self.size += size;
            return self.may_grow(span, depth).then_some(expr);
        }
        if let Some(field) = self.field(name, span) {
            return field;
        }
        if name == "risk" && !self.kinds.is_empty() {
            if self.remembered.is_some() {
                return self.refuse(memory::not_remembered(span, "`risk`"));
            }
            if self.risk_refused {
                return self.refuse(crate::diagnostics::effects::risk_in_scored_rule(span));
            }
            return Some(Expr { kind: ExprKind::Risk, ty: Type::Number, span });
        }
        match self.scope.named(name) {
            Some(Named::Param { full, ty, .. }) => Some(Expr { kind: ExprKind::Param(full), ty, span }),
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
                    let kinds = kind_list(&self.kinds);
                    let known = self.known_names();
                    names::unknown_name(span, name, known.iter().map(String::as_str), &kinds)
                };
                self.scope.report_unknown(name, diagnostic);
                None
            }
        }
    }

    pub(super) fn known_names(&self) -> Vec<String> {
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

    pub(super) fn member(&mut self, whole: &ast::Expr, base: &ast::Expr, word: &ast::Name) -> Checked {
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
                    let kinds = kind_list(&self.kinds);
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

    pub(super) fn item(&mut self, base: &ast::Expr, index: &ast::Expr, span: Span) -> Checked {
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
}

/// Whether an expression depends on the event at all.
fn reads_event(expr: &Expr) -> bool {
    matches!(expr.kind, ExprKind::Field(_) | ExprKind::Risk | ExprKind::Var(_) | ExprKind::Memory(_))
}

/// `a.b.c`, if it is nothing but names.
fn dotted(expr: &ast::Expr) -> Option<String> {
    match &expr.kind {
        ast::ExprKind::Name(name) => Some(name.clone()),
        ast::ExprKind::Member(base, word) => Some(format!("{}.{}", dotted(base)?, word.value)),
        _ => None,
    }
}
