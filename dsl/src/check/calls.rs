//! Functions and macros.

use super::expr::{Checked, Checker};
use super::scope::Binding;
use crate::ast;
use crate::diagnostics::{names, typing};
use crate::hir::*;
use crate::source::Span;
use crate::text::moment;
use crate::types::{Element, Type};

impl<'a> Checker<'_, 'a> {
    pub(super) fn call(&mut self, name: &ast::Name, arguments: &[ast::Expr], span: Span) -> Checked {
        if let Some(def) = self.scope.def(&name.value) {
            return self.expand(name, def, arguments, span);
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
        // Arguments belong to the event that they were given for: inside a memory that is the earlier one.
        let present = self.remembered;
        self.remembered = present.map(|_| 0);
        self.expanding.push(name.value.clone());
        let body = self.infer(&def.body);
        self.expanding.pop();
        self.remembered = present;
        self.bindings = outer;
        body
    }
}
