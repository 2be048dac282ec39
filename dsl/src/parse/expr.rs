//! Expressions and literals: pest's flat sequence of operands and operators becomes a tree by precedence.

use std::sync::LazyLock;

use pest::Parser;
use pest::iterators::Pairs;
use pest::pratt_parser::{Assoc, Op, PrattParser};

use super::{Grammar, P, Reader, Rule, comparison, words};
use crate::ast::{Expr, ExprKind, Operator, Piece, Quantifier, Spanned};
use crate::diagnostics::syntax;
use crate::items::NESTING_LIMIT;
use crate::number::Number;
use crate::source::Span;

static PRECEDENCE: LazyLock<PrattParser<Rule>> = LazyLock::new(|| {
    let left = |rule| Op::infix(rule, Assoc::Left);
    PrattParser::new()
        .op(left(Rule::or))
        .op(left(Rule::and))
        .op(Op::prefix(Rule::not))
        .op(left(Rule::comparison)
            | left(Rule::r#in)
            | left(Rule::starts)
            | left(Rule::ends)
            | left(Rule::contains_word)
            | left(Rule::contains)
            | left(Rule::like)
            | left(Rule::matches)
            | left(Rule::has_any)
            | left(Rule::has_all)
            | left(Rule::has_item))
        .op(left(Rule::to))
        .op(left(Rule::otherwise))
        .op(left(Rule::plus) | left(Rule::less))
        .op(left(Rule::times) | left(Rule::over) | left(Rule::modulo))
        .op(Op::prefix(Rule::minus))
        .op(Op::prefix(Rule::present))
        .op(Op::postfix(Rule::member_of)
            | Op::postfix(Rule::item_of)
            | Op::postfix(Rule::lenient)
            | Op::postfix(Rule::matched_as))
});

impl Reader<'_> {
    pub(super) fn expr(&mut self, pair: P) -> Option<Expr> {
        let span = self.span(pair.as_span());
        let deeper = nesting(pair.clone().into_inner());
        self.depth += deeper;
        let expr = if self.depth > NESTING_LIMIT {
            self.diagnostics.push(syntax::too_deep(span));
            None
        } else {
            self.pratt(pair.into_inner())
        };
        self.depth -= deeper;
        expr
    }

    pub(super) fn pratt(&mut self, pairs: Pairs<Rule>) -> Option<Expr> {
        // The closures of the precedence parser can't share `&mut self`, so operands are read first.
        let mut operands = Vec::new();
        for pair in pairs.clone() {
            if !is_operator(pair.as_rule()) {
                operands.push(self.primary(pair)?);
            }
        }
        let mut operands = operands.into_iter();
        let cell = std::cell::RefCell::new(self);
        PRECEDENCE
            .map_primary(|_| operands.next())
            .map_prefix(|operator, operand| {
                let operand = operand?;
                let span = cell.borrow().span(operator.as_span()).to(operand.span);
                let kind = match operator.as_rule() {
                    Rule::not => ExprKind::Not(Box::new(operand)),
                    Rule::minus => ExprKind::Negative(Box::new(operand)),
                    _ => ExprKind::Present(Box::new(operand)),
                };
                Some(Expr { kind, span })
            })
            .map_postfix(|operand, operator| {
                let operand = operand?;
                let span = operand.span.to(cell.borrow().span(operator.as_span()));
                let base = Box::new(operand);
                let rule = operator.as_rule();
                let kind = match (rule, words(operator).next()) {
                    (Rule::member_of, Some(word)) => ExprKind::Member(base, cell.borrow().name(&word)),
                    (Rule::item_of, Some(index)) => {
                        ExprKind::Item(base, Box::new(cell.borrow_mut().expr(index)?))
                    }
                    (Rule::matched_as, Some(word)) => ExprKind::As(base, cell.borrow().name(&word)),
                    _ => ExprKind::Lenient(base),
                };
                Some(Expr { kind, span })
            })
            .map_infix(|left, operator, right| {
                let (left, right) = (left?, right?);
                let span = left.span.to(right.span);
                let kind = match operator.as_rule() {
                    Rule::and => chain(true, left, right),
                    Rule::or => chain(false, left, right),
                    _ => ExprKind::Binary(infix(&operator), Box::new(left), Box::new(right)),
                };
                Some(Expr { kind, span })
            })
            .parse(pairs)
    }

    pub(super) fn primary(&mut self, pair: P) -> Option<Expr> {
        let span = self.span(pair.as_span());
        let kind = match pair.as_rule() {
            Rule::group => return self.expr(pair.into_inner().next()?),
            Rule::string => return self.string(&pair),
            Rule::list_literal => {
                ExprKind::List(pair.into_inner().map(|value| self.expr(value)).collect::<Option<_>>()?)
            }
            Rule::regex => {
                let (body, flags) = pair.as_str().rsplit_once('/')?;
                ExprKind::Regex(body.get(1..)?.replace("\\/", "/"), flags == "i")
            }
            Rule::date => ExprKind::Date(pair.as_str().to_owned()),
            Rule::duration => ExprKind::Duration(self.duration(&pair)?),
            Rule::number => ExprKind::Number(self.signed_number(&pair)?),
            Rule::truth => ExprKind::Bool(pair.as_str() == "true"),
            Rule::conditional => {
                let mut parts = words(pair);
                let condition = Box::new(self.expr(parts.next()?)?);
                let then = Box::new(self.expr(parts.next()?)?);
                ExprKind::If(condition, then, Box::new(self.expr(parts.next()?)?))
            }
            Rule::quantified => {
                let mut parts = words(pair);
                let quantifier = match parts.next()?.as_str() {
                    "any" => Quantifier::Any,
                    "all" => Quantifier::All,
                    _ => Quantifier::Count,
                };
                let variable = self.name(&parts.next()?);
                let list = Box::new(self.expr(parts.next()?)?);
                ExprKind::Quantified(quantifier, variable, list, Box::new(self.expr(parts.next()?)?))
            }
            Rule::zoned => {
                let zone = words(pair).next()?;
                ExprKind::Zone(Spanned { span: self.span(zone.as_span()), value: self.plain_string(&zone)? })
            }
            Rule::memory => ExprKind::Memory(Box::new(self.memory(pair)?)),
            Rule::call => {
                let mut parts = pair.into_inner();
                let name = self.name(&parts.next()?);
                match parts.next() {
                    None => ExprKind::Name(name.value),
                    Some(list) => {
                        let arguments =
                            list.into_inner().map(|value| self.expr(value)).collect::<Option<_>>()?;
                        ExprKind::Call(name, arguments)
                    }
                }
            }
            _ => return None,
        };
        Some(Expr { kind, span })
    }

    // ---- literals ----

    pub(super) fn signed_number(&mut self, pair: &P) -> Option<Number> {
        let text = pair.as_str();
        let digits = text.trim_start_matches(['+', '-']);
        match Number::from_literal(digits) {
            Ok(number) => Some(if text.starts_with('-') { number.negated() } else { number }),
            Err(error) => {
                let help = "numbers have at most nine decimal digits and are below 1.7e29";
                self.diagnostics.push(syntax::bad_literal(
                    self.span(pair.as_span()),
                    format!("`{text}` is {error}"),
                    help,
                ));
                None
            }
        }
    }

    /// A span of time in microseconds.
    pub(super) fn duration(&mut self, pair: &P) -> Option<i64> {
        let text = pair.as_str();
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit: i64 = match text.get(digits.len()..)? {
            "ms" => 1_000,
            "s" => 1_000_000,
            "m" => 60_000_000,
            "h" => 3_600_000_000,
            "d" => 86_400_000_000,
            _ => 604_800_000_000,
        };
        let micros = Number::from_literal(digits).ok().and_then(|n| n.times(Number::whole(unit)).to_whole());
        if micros.is_none() {
            let message = format!("`{text}` is not a whole number of microseconds that fits");
            let help = "write a duration as `500ms`, `10s`, `60m`, `24h`, `7d` or `2w`";
            self.diagnostics.push(syntax::bad_literal(self.span(pair.as_span()), message, help));
        }
        micros
    }

    /// A string that must not interpolate.
    pub(super) fn plain_string(&mut self, pair: &P) -> Option<String> {
        let expr = self.string(pair)?;
        match expr.kind {
            ExprKind::String(pieces) => {
                let mut text = String::new();
                for piece in pieces {
                    match piece {
                        Piece::Text(part) => text.push_str(&part),
                        Piece::Value(value) => {
                            let help = "write `{{` and `}}` for braces";
                            let message = "this string can't take values of an event";
                            self.diagnostics.push(syntax::bad_literal(value.span, message, help));
                            return None;
                        }
                    }
                }
                Some(text)
            }
            _ => None,
        }
    }

    pub(super) fn string(&mut self, pair: &P) -> Option<Expr> {
        let span = self.span(pair.as_span());
        let raw = pair.as_str();
        let body = raw.get(1..raw.len().checked_sub(1)?)?;
        let base = pair.as_span().start() + 1;
        let mut pieces = Vec::new();
        let mut text = String::new();
        let mut chars = body.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => text.push(self.escape(base + at, &mut chars)?),
                '{' if chars.next_if(|(_, next)| *next == '{').is_some() => text.push('{'),
                '}' => {
                    if chars.next_if(|(_, next)| *next == '}').is_none() {
                        return self.string_error(
                            base + at,
                            "this `}` closes nothing",
                            "write `}}` for a brace",
                        );
                    }
                    text.push('}');
                }
                '{' => {
                    let rest = body.get(at + 1..)?;
                    let Some(length) = rest.find('}') else {
                        return self.string_error(
                            base + at,
                            "this `{` is never closed",
                            "write `{{` for a brace, or `{name}` for a value",
                        );
                    };
                    if !text.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut text)));
                    }
                    pieces.push(Piece::Value(self.interpolation(base + at + 1, rest.get(..length)?)?));
                    while chars.next_if(|(next, _)| *next <= at + 1 + length).is_some() {}
                }
                _ => text.push(c),
            }
        }
        if !text.is_empty() || pieces.is_empty() {
            pieces.push(Piece::Text(text));
        }
        Some(Expr { kind: ExprKind::String(pieces), span })
    }

    fn interpolation(&mut self, start: usize, text: &str) -> Option<Expr> {
        let outer = self.offset;
        self.offset += start;
        let expr = match Grammar::parse(Rule::interpolation, text) {
            Ok(mut pairs) => pairs.next().and_then(|pair| self.expr(pair)),
            Err(error) => {
                self.syntax_error(&error, text);
                None
            }
        };
        self.offset = outer;
        expr
    }

    fn escape(&mut self, at: usize, chars: &mut std::iter::Peekable<std::str::CharIndices>) -> Option<char> {
        let (_, c) = chars.next()?;
        let help = r#"the escapes are `\"`, `\\`, `\n`, `\t` and `\u{…}`"#;
        Some(match c {
            '"' | '\\' => c,
            'n' => '\n',
            't' => '\t',
            'u' => {
                let mut digits = String::new();
                if chars.next_if(|(_, c)| *c == '{').is_some() {
                    while let Some((_, digit)) = chars.next_if(|(_, c)| c.is_ascii_hexdigit()) {
                        digits.push(digit);
                    }
                }
                let closed = chars.next_if(|(_, c)| *c == '}').is_some();
                let code = u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32);
                match code {
                    Some(code) if closed => code,
                    _ => return self.string_error(at, "this is no Unicode character", help),
                }
            }
            _ => return self.string_error(at, &format!("`\\{c}` is no escape"), help),
        })
    }

    fn string_error<T>(&mut self, at: usize, message: &str, help: &str) -> Option<T> {
        let start = (self.offset + at) as u32;
        let span = Span { source: self.source, start, end: start + 1 };
        self.diagnostics.push(syntax::bad_literal(span, message, help));
        None
    }
}

fn is_operator(rule: Rule) -> bool {
    matches!(rule, Rule::and | Rule::or) || is_nesting(rule)
}

/// How much deeper a sequence of operands and operators makes the tree, at most. `and` and `or` stay flat, so what
/// counts is the longest stretch between two of them.
fn nesting(parts: Pairs<Rule>) -> usize {
    let (mut longest, mut stretch) = (0, 0);
    for part in parts {
        match part.as_rule() {
            Rule::and | Rule::or => stretch = 0,
            Rule::quantified | Rule::conditional | Rule::memory => stretch += 1,
            rule if is_nesting(rule) => stretch += 1,
            _ => {}
        }
        longest = longest.max(stretch);
    }
    longest
}

/// Operators that make the tree one deeper each (`and` and `or` do not: they are kept flat).
fn is_nesting(rule: Rule) -> bool {
    matches!(
        rule,
        Rule::not
            | Rule::minus
            | Rule::present
            | Rule::member_of
            | Rule::item_of
            | Rule::lenient
            | Rule::matched_as
            | Rule::otherwise
            | Rule::comparison
            | Rule::r#in
            | Rule::starts
            | Rule::ends
            | Rule::contains_word
            | Rule::contains
            | Rule::like
            | Rule::matches
            | Rule::has_any
            | Rule::has_all
            | Rule::has_item
            | Rule::to
            | Rule::plus
            | Rule::less
            | Rule::times
            | Rule::over
            | Rule::modulo
    )
}

fn infix(operator: &P) -> Operator {
    match operator.as_rule() {
        Rule::comparison => Operator::Compare(comparison(operator.as_str())),
        Rule::r#in => Operator::In,
        Rule::starts => Operator::StartsWith,
        Rule::ends => Operator::EndsWith,
        Rule::contains_word => Operator::ContainsWord,
        Rule::contains => Operator::Contains,
        Rule::like => Operator::Like,
        Rule::matches => Operator::Matches,
        Rule::has_any => Operator::HasAny,
        Rule::has_all => Operator::HasAll,
        Rule::has_item => Operator::Has,
        Rule::to => Operator::Range,
        Rule::otherwise => Operator::Else,
        Rule::plus => Operator::Plus,
        Rule::less => Operator::Minus,
        Rule::times => Operator::Times,
        Rule::over => Operator::Over,
        _ => Operator::Modulo,
    }
}

/// `a and b and c` as one flat node, so that a long chain is not a deep tree.
fn chain(is_and: bool, left: Expr, right: Expr) -> ExprKind {
    let mut parts = match (is_and, left.kind) {
        (true, ExprKind::And(parts)) | (false, ExprKind::Or(parts)) => parts,
        (_, kind) => vec![Expr { kind, span: left.span }],
    };
    parts.push(right);
    if is_and { ExprKind::And(parts) } else { ExprKind::Or(parts) }
}
