//! Operators over earlier events: `count(intent where … per … within …)` and its like.

use super::{P, Reader, Rule, words};
use crate::ast::{Expr, ExprKind, Memory, MemoryKey, MemoryPart, Spanned, Within};
use crate::diagnostics::typing;

impl Reader<'_> {
    pub(super) fn memory(&mut self, pair: P) -> Option<Memory> {
        let mut inner = pair.into_inner();
        let mut memory = Memory {
            operator: self.name(&inner.next()?),
            parts: Vec::new(),
            since: None,
            until: None,
            per: None,
            within: None,
            resolution_us: None,
        };
        for part in words(inner.next()?) {
            let span = self.span(part.as_span());
            let rule = part.as_rule();
            let repeated = match rule {
                Rule::memory_part => {
                    memory.parts.push(self.memory_part(part)?);
                    false
                }
                Rule::then_part => {
                    memory.parts.push(self.memory_part(words(part).next()?)?);
                    false
                }
                Rule::since_part => {
                    let part = self.memory_part(words(part).next()?)?;
                    memory.since.replace(part).is_some()
                }
                Rule::memory_until => {
                    let part = self.memory_part(words(part).next()?)?;
                    memory.until.replace(part).is_some()
                }
                Rule::memory_per => {
                    let keys = words(part).map(|key| self.memory_key(key)).collect::<Option<_>>()?;
                    memory.per.replace(keys).is_some()
                }
                Rule::memory_within => {
                    let value = self.within(words(part).next()?)?;
                    memory.within.replace(Spanned { value, span }).is_some()
                }
                _ => {
                    let value = self.duration(&words(part).next()?)?;
                    memory.resolution_us.replace(Spanned { value, span }).is_some()
                }
            };
            if repeated {
                let help = "say it once";
                self.diagnostics.push(typing::misplaced(span, "this, a second time,", help));
                return None;
            }
        }
        Some(memory)
    }

    fn memory_part(&mut self, pair: P) -> Option<MemoryPart> {
        let span = self.span(pair.as_span());
        let mut part = MemoryPart { outcome: None, kinds: Vec::new(), value: None, filter: None, span };
        for piece in pair.into_inner() {
            match piece.as_rule() {
                Rule::memory_outcome => part.outcome = Some(self.name(&piece)),
                Rule::memory_kinds => part.kinds = self.kinds(piece),
                Rule::memory_value => part.value = Some(self.memory_value(piece)?),
                _ => part.filter = Some(self.expr(words(piece).next()?)?),
            }
        }
        Some(part)
    }

    /// `.amount`, `.output.status`, `.metadata["x"][0]`: a path whose first word is a field.
    fn memory_value(&mut self, pair: P) -> Option<Expr> {
        let mut path: Option<Expr> = None;
        for step in pair.into_inner() {
            let span = self.span(step.as_span());
            let rule = step.as_rule();
            let inner = words(step).next()?;
            let kind = match (path.take(), rule) {
                (None, Rule::member_of) => ExprKind::Name(inner.as_str().to_owned()),
                (Some(base), Rule::member_of) => ExprKind::Member(Box::new(base), self.name(&inner)),
                (Some(base), _) => ExprKind::Item(Box::new(base), Box::new(self.expr(inner.clone())?)),
                (None, _) => {
                    let help = "name a field of the event: `intent.amount`";
                    self.diagnostics.push(typing::misplaced(span, "an index", help));
                    return None;
                }
            };
            let start = match &kind {
                ExprKind::Member(base, _) | ExprKind::Item(base, _) => base.span,
                _ => self.span(inner.as_span()),
            };
            path = Some(Expr { kind, span: start.to(span) });
        }
        path
    }

    fn memory_key(&mut self, pair: P) -> Option<MemoryKey> {
        let span = self.span(pair.as_span());
        let mut key_each = false;
        let mut sides = Vec::new();
        for piece in pair.into_inner() {
            match piece.as_rule() {
                Rule::key_each => key_each = true,
                Rule::key_equals => {}
                _ => sides.push(self.expr(piece)?),
            }
        }
        let mut sides = sides.into_iter();
        Some(MemoryKey { each: key_each, remembered: sides.next()?, asked: sides.next(), span })
    }

    fn within(&mut self, pair: P) -> Option<Within> {
        Some(match pair.as_rule() {
            Rule::duration => Within::Time(self.duration(&pair)?),
            Rule::events_window => Within::Events(self.signed_number(&words(pair).next()?)?),
            _ => Within::Param(pair.as_str().to_owned()),
        })
    }
}
