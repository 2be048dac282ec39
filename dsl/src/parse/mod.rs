//! Text to syntax tree: pest reads each declaration, and a broken one is skipped so its neighbours are still checked.

mod expected;

use std::num::NonZeroUsize;
use std::sync::{LazyLock, Once};

use pest::Parser;
use pest::iterators::{Pair, Pairs};
use pest::pratt_parser::{Assoc, Op, PrattParser};

use crate::ast::*;
use crate::diagnostics::{Diagnostic, syntax};
use crate::items::{self, RawItem};
use crate::number::Number;
use crate::source::{Source, Span};

#[derive(pest_derive::Parser)]
#[grammar = "grammar.pest"]
#[allow(missing_docs, reason = "generated from the grammar, which has the comments")]
struct Grammar;

/// The largest file that is read, in bytes.
pub(crate) const FILE_LIMIT: usize = 1 << 20;
/// The most operators other than `and` and `or` that one expression may have: each nests one deeper.
const OPERATOR_LIMIT: usize = 200;
/// Steps after which pest gives up, for the whole process. A list of 100,000 values needs a tenth of it.
const CALL_LIMIT: NonZeroUsize = NonZeroUsize::new(100_000_000).expect("not zero");

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

/// Reads one file. What can't be read is missing from the tree and named in the diagnostics.
pub(crate) fn parse(number: u32, source: &Source, diagnostics: &mut Vec<Diagnostic>) -> File {
    static LIMIT: Once = Once::new();
    LIMIT.call_once(|| pest::set_call_limit(Some(CALL_LIMIT)));
    if source.text.len() > FILE_LIMIT {
        let span = Span { source: number, start: 0, end: 1 };
        diagnostics.push(syntax::file_too_large(span, FILE_LIMIT));
        return File::default();
    }
    let split = items::split(number, &source.text);
    diagnostics.extend(split.diagnostics);
    let mut broken = split.broken;
    let mut reader = Reader { source: number, text: &source.text, offset: 0, diagnostics: Vec::new() };
    let mut parsed = Vec::new();
    for raw in split.items {
        match reader.item(&raw) {
            Some(kind) => parsed.push(Item { docs: raw.docs, span: raw.span, kind }),
            None => broken.extend(items::declared_name(&source.text, raw.span.start as usize)),
        }
    }
    diagnostics.append(&mut reader.diagnostics);
    File { items: parsed, comments: split.comments, broken }
}

struct Reader<'a> {
    source: u32,
    text: &'a str,
    /// Where the text that pest sees begins in the file.
    offset: usize,
    diagnostics: Vec<Diagnostic>,
}

type P<'i> = Pair<'i, Rule>;

impl Reader<'_> {
    fn item(&mut self, raw: &RawItem) -> Option<ItemKind> {
        if raw.keyword == "template" {
            self.diagnostics.push(syntax::not_available(
                raw.span,
                "templates",
                "write a `policy` with `param`s instead",
            ));
            return None;
        }
        let text = self.text.get(raw.span.start as usize..raw.span.end as usize)?;
        self.offset = raw.span.start as usize;
        let rule = match raw.keyword {
            "policy" => Rule::header,
            "param" => Rule::param,
            "list" => Rule::list,
            "def" => Rule::def,
            "default" => Rule::default_for,
            "rule" => Rule::rule_item,
            "schema" => Rule::schema,
            "exempt" => Rule::exempt,
            _ => Rule::test,
        };
        let pairs = Grammar::parse(Rule::declaration, text).map_err(|error| {
            // The whole-declaration rule knows all alternatives; the single one says more precisely what was expected.
            Grammar::parse(rule, text).err().unwrap_or(error)
        });
        match pairs {
            Ok(mut pairs) => self.declaration(pairs.next()?),
            Err(error) => {
                self.syntax_error(&error, text);
                None
            }
        }
    }

    fn declaration(&mut self, pair: P) -> Option<ItemKind> {
        Some(match pair.as_rule() {
            Rule::header => ItemKind::Header(self.header(pair)?),
            Rule::param => ItemKind::Param(self.param(pair)?),
            Rule::list => ItemKind::List(self.list(pair)?),
            Rule::def => ItemKind::Def(self.def(pair)?),
            Rule::default_for => ItemKind::Default(self.default_for(pair)?),
            Rule::rule_item => ItemKind::Rule(self.rule(pair)?),
            Rule::schema => ItemKind::Schema(self.schema(pair)?),
            Rule::exempt => ItemKind::Exempt(self.exempt(pair)?),
            Rule::test => ItemKind::Test(self.test(pair)?),
            _ => return None,
        })
    }

    fn span(&self, span: pest::Span) -> Span {
        let start = (self.offset + span.start()) as u32;
        Span { source: self.source, start, end: (self.offset + span.end()) as u32 }
    }

    fn name(&self, pair: &P) -> Name {
        Spanned { value: pair.as_str().to_owned(), span: self.span(pair.as_span()) }
    }

    fn syntax_error(&mut self, error: &pest::error::Error<Rule>, text: &str) {
        use pest::error::{ErrorVariant, InputLocation};
        let at = match error.location {
            InputLocation::Pos(at) | InputLocation::Span((at, _)) => at,
        };
        let rest = text.get(at..).unwrap_or_default();
        let word = rest.find(|c: char| c != '_' && !c.is_alphanumeric()).filter(|length| *length > 0);
        let first = rest.chars().next().map_or(0, char::len_utf8);
        let found =
            rest.get(..word.unwrap_or(if rest.is_empty() { 0 } else { first.max(1) })).unwrap_or_default();
        let start = (self.offset + at) as u32;
        let span = Span { source: self.source, start, end: start + found.len().max(1) as u32 };
        match &error.variant {
            ErrorVariant::ParsingError { positives, .. } => {
                let expected = expected::describe(positives);
                let help = expected::help(found, positives);
                self.diagnostics.push(syntax::unexpected(span, found, &expected, &help));
            }
            ErrorVariant::CustomError { message } => {
                self.diagnostics.push(syntax::too_large(
                    span,
                    &format!("this declaration ({message})"),
                    CALL_LIMIT.get(),
                ));
            }
        }
    }

    // ---- declarations ----

    fn header(&mut self, pair: P) -> Option<Header> {
        let mut inner = words(pair);
        let name = self.name(&inner.next()?);
        let mut settings = Vec::new();
        for setting in inner {
            let mut parts = setting.into_inner();
            let key = self.name(&parts.next()?);
            settings.push((key, self.value(parts.next()?)?));
        }
        Some(Header { name, settings })
    }

    fn param(&mut self, pair: P) -> Option<Param> {
        let mut inner = words(pair);
        let name = self.name(&inner.next()?);
        let ty = self.name(&inner.next()?);
        let written = inner.next()?;
        let default = match written.as_rule() {
            Rule::value_list => Value::List(self.values(written.clone())?, self.span(written.as_span())),
            _ => Value::Expr(self.pratt(written.into_inner())?),
        };
        let (mut range, mut help) = (None, None);
        for part in inner {
            if part.as_rule() == Rule::range {
                let mut bounds = part.into_inner();
                range = Some((
                    self.pratt(bounds.next()?.into_inner())?,
                    self.pratt(bounds.next()?.into_inner())?,
                ));
            } else {
                help = Some(Spanned { span: self.span(part.as_span()), value: self.plain_string(&part)? });
            }
        }
        Some(Param { name, ty, default, range, help })
    }

    fn list(&mut self, pair: P) -> Option<List> {
        let mut inner = words(pair).peekable();
        let name = self.name(&inner.next()?);
        let kind = inner.next_if(|part| part.as_rule() == Rule::list_kind).map(|part| self.name(&part));
        let list = inner.next()?;
        let span = self.span(list.as_span());
        Some(List { name, kind, values: self.values(list)?, span })
    }

    fn def(&mut self, pair: P) -> Option<Def> {
        let mut inner = words(pair);
        let name = self.name(&inner.next()?);
        let mut arguments = Vec::new();
        for part in inner {
            if part.as_rule() == Rule::expr {
                return Some(Def { name, arguments, body: self.expr(part)? });
            }
            arguments.push(self.name(&part));
        }
        None
    }

    fn default_for(&mut self, pair: P) -> Option<Default> {
        let mut inner = words(pair);
        let kinds = self.kinds(inner.next()?);
        let effect = inner.next()?;
        let span = self.span(effect.as_span());
        Some(Default { kinds, effect: Spanned { value: self.effect(effect)?, span } })
    }

    fn kinds(&self, pair: P) -> Vec<Name> {
        pair.into_inner().map(|kind| self.name(&kind)).collect()
    }

    fn rule(&mut self, pair: P) -> Option<crate::ast::Rule> {
        let mut inner = words(pair);
        let name = self.name(&inner.next()?);
        let kinds = self.kinds(inner.next()?);
        let mut clauses = Vec::new();
        for part in inner {
            let span = self.span(part.as_span());
            clauses.push(Spanned { value: self.clause(part)?, span });
        }
        Some(crate::ast::Rule { name, kinds, clauses })
    }

    fn schema(&mut self, pair: P) -> Option<Schema> {
        let mut inner = words(pair);
        let kind = self.name(&inner.next()?);
        let value = inner.next()?;
        let value = Spanned { span: self.span(value.as_span()), value: self.plain_string(&value)? };
        let mut fields = Vec::new();
        for field in inner {
            let mut parts = field.into_inner();
            let name = parts.next()?;
            let span = self.span(name.as_span());
            let name = match name.as_rule() {
                Rule::string => Spanned { span, value: self.plain_string(&name)? },
                _ => self.name(&name),
            };
            fields.push((name, self.name(&parts.next()?), parts.next().is_some()));
        }
        Some(Schema { kind, value, fields })
    }

    fn exempt(&mut self, pair: P) -> Option<Exempt> {
        let mut inner = words(pair);
        let rule = self.name(&inner.next()?);
        let condition = self.expr(inner.next()?)?;
        let until = inner.next()?;
        let span = self.span(until.as_span());
        let value = match until.as_rule() {
            Rule::string => self.plain_string(&until)?,
            _ => until.as_str().to_owned(),
        };
        Some(Exempt {
            rule,
            condition,
            until: Spanned { value, span },
            because: self.string(&inner.next()?)?,
        })
    }

    // ---- clauses ----

    fn clause(&mut self, pair: P) -> Option<Clause> {
        let rule = pair.as_rule();
        if rule == Rule::effect {
            return Some(Clause::Effect(self.effect(pair)?));
        }
        let mut inner = words(pair);
        Some(match rule {
            Rule::let_in => Clause::Let(self.name(&inner.next()?), self.expr(inner.next()?)?),
            Rule::when => Clause::When(self.expr(inner.next()?)?),
            Rule::unless => Clause::Unless(self.expr(inner.next()?)?),
            Rule::score => Clause::Score(self.signed_number(&inner.next()?)?),
            Rule::incident => Clause::Incident(self.incident(inner)?),
            Rule::obligation => self.obligation(inner.next()?)?,
            Rule::because => Clause::Because(self.string(&inner.next()?)?),
            Rule::controls => Clause::Controls(self.values(inner.next()?)?),
            Rule::mode => Clause::Mode(self.name(&inner.next()?)),
            Rule::applies => {
                let (mut from, mut until) = (None, None);
                for part in inner {
                    let which = part.as_rule();
                    let day = self.name(&words(part).next()?);
                    *(if which == Rule::applies_from { &mut from } else { &mut until }) = Some(day);
                }
                Clause::Applies { from, until }
            }
            _ => return None,
        })
    }

    fn effect(&mut self, pair: P) -> Option<Effect> {
        let effect = pair.into_inner().next()?;
        Some(match effect.as_rule() {
            Rule::deny => Effect::Deny,
            Rule::warn => Effect::Warn,
            Rule::allow => Effect::Allow,
            _ => {
                let (mut from, mut by, mut within_us) = (None, None, None);
                for part in words(effect) {
                    let rule = part.as_rule();
                    let value = words(part).next()?;
                    let span = self.span(value.as_span());
                    match rule {
                        Rule::approval_from => from = Some(self.plain_string(&value)?),
                        Rule::approval_by => by = Some(Spanned { value: self.signed_number(&value)?, span }),
                        _ => within_us = Some(self.duration(&value)?),
                    }
                }
                Effect::RequireApproval { from, by, within_us }
            }
        })
    }

    fn incident<'i>(&mut self, mut inner: impl Iterator<Item = P<'i>>) -> Option<Incident> {
        let severity = self.name(&inner.next()?);
        let mut incident = Incident { severity, per: Vec::new(), within_us: None, title: None };
        for part in inner {
            let rule = part.as_rule();
            for value in words(part) {
                match rule {
                    Rule::incident_per => incident.per.push(self.expr(value.into_inner().next()?)?),
                    Rule::incident_within => incident.within_us = Some(self.duration(&value)?),
                    _ => incident.title = Some(self.string(&value)?),
                }
            }
        }
        Some(incident)
    }

    fn obligation(&mut self, pair: P) -> Option<Clause> {
        let rule = pair.as_rule();
        let plain = self.name(&pair);
        Some(Clause::Do(match rule {
            Rule::do_notify => Obligation::Notify(self.plain_string(&words(pair).next()?)?),
            Rule::do_redact => Obligation::Redact(words(pair).next()?.as_str().to_owned()),
            _ => Obligation::Plain(plain),
        }))
    }

    // ---- tests ----

    fn test(&mut self, pair: P) -> Option<Test> {
        let mut inner = words(pair);
        let title = inner.next()?;
        let name = Spanned { span: self.span(title.as_span()), value: self.plain_string(&title)? };
        let mut test = Test { name, pins: Vec::new(), given: Vec::new(), expects: Vec::new() };
        for part in inner {
            let span = self.span(part.as_span());
            let rule = part.as_rule();
            let mut inner = words(part);
            match rule {
                Rule::pin => test.pins.push((self.name(&inner.next()?), self.value(inner.next()?)?)),
                Rule::given => {
                    let kind = self.name(&inner.next()?);
                    test.given.push((kind, self.members(inner.next()?)?, span));
                }
                _ => test.expects.push(Spanned { value: self.expect(inner.next()?)?, span }),
            }
        }
        Some(test)
    }

    fn expect(&mut self, pair: P) -> Option<Expect> {
        let rule = pair.as_rule();
        let mut inner = words(pair);
        Some(match rule {
            Rule::expect_none => Expect::NoMatch,
            Rule::expect_incident => Expect::Incident(self.name(&inner.next()?)),
            Rule::expect_risk => {
                let comparison = comparison(inner.next()?.as_str());
                Expect::Risk(comparison, self.signed_number(&inner.next()?)?)
            }
            Rule::expect_because => Expect::Because(self.string(&inner.next()?)?),
            _ => {
                let outcome = inner.next()?.as_str().split_whitespace().collect::<Vec<_>>().join("_");
                let (mut by, mut undecided) = (Vec::new(), false);
                for part in inner {
                    match part.as_rule() {
                        Rule::undecided => undecided = true,
                        _ => by.push(self.name(&part)),
                    }
                }
                Expect::Decision { outcome, by, undecided }
            }
        })
    }

    fn members(&mut self, object: P) -> Option<Vec<Member>> {
        let mut members = Vec::new();
        for member in object.into_inner() {
            let mut parts = member.into_inner();
            let key = parts.next()?;
            let span = self.span(key.as_span());
            let key = key.into_inner().next()?;
            let path = match key.as_rule() {
                Rule::string => vec![self.plain_string(&key)?],
                _ => key.as_str().split('.').map(str::to_owned).collect(),
            };
            members.push(Member { path, span, value: self.value(parts.next()?)? });
        }
        Some(members)
    }

    fn value(&mut self, pair: P) -> Option<Value> {
        let inner = pair.into_inner().next()?;
        let span = self.span(inner.as_span());
        Some(match inner.as_rule() {
            Rule::object => Value::Object(self.members(inner)?, span),
            Rule::value_list => Value::List(self.values(inner)?, span),
            _ => Value::Expr(self.expr(inner)?),
        })
    }

    fn values(&mut self, list: P) -> Option<Vec<Value>> {
        list.into_inner().map(|value| self.value(value)).collect()
    }

    // ---- expressions ----

    fn expr(&mut self, pair: P) -> Option<Expr> {
        let span = self.span(pair.as_span());
        let operators = pair.clone().into_inner().filter(|part| is_nesting(part.as_rule())).count();
        if operators > OPERATOR_LIMIT {
            self.diagnostics.push(syntax::too_large(span, "this expression", OPERATOR_LIMIT));
            return None;
        }
        self.pratt(pair.into_inner())
    }

    fn pratt(&mut self, pairs: Pairs<Rule>) -> Option<Expr> {
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

    fn primary(&mut self, pair: P) -> Option<Expr> {
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

    fn signed_number(&mut self, pair: &P) -> Option<Number> {
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
    fn duration(&mut self, pair: &P) -> Option<i64> {
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
    fn plain_string(&mut self, pair: &P) -> Option<String> {
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

    fn string(&mut self, pair: &P) -> Option<Expr> {
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

/// The parts of a pair that are no keywords.
fn words(pair: P) -> impl Iterator<Item = P> {
    pair.into_inner().filter(|part| !is_keyword(part.as_rule()))
}

fn is_keyword(rule: Rule) -> bool {
    matches!(
        rule,
        Rule::kw_policy
            | Rule::kw_param
            | Rule::kw_list
            | Rule::kw_def
            | Rule::kw_default
            | Rule::kw_rule
            | Rule::kw_schema
            | Rule::kw_exempt
            | Rule::kw_test
            | Rule::kw_on
            | Rule::kw_in
            | Rule::kw_let
            | Rule::kw_when
            | Rule::kw_unless
            | Rule::kw_require
            | Rule::kw_approval
            | Rule::kw_from
            | Rule::kw_by
            | Rule::kw_within
            | Rule::kw_score
            | Rule::kw_incident
            | Rule::kw_per
            | Rule::kw_title
            | Rule::kw_do
            | Rule::kw_notify
            | Rule::kw_redact
            | Rule::kw_because
            | Rule::kw_controls
            | Rule::kw_applies
            | Rule::kw_until
            | Rule::kw_mode
            | Rule::kw_for
            | Rule::kw_with
            | Rule::kw_expect
            | Rule::kw_no
            | Rule::kw_match
            | Rule::kw_risk
            | Rule::kw_if
            | Rule::kw_then
            | Rule::kw_else
            | Rule::kw_tz
            | Rule::kw_as
            | Rule::EOI
    )
}

fn is_operator(rule: Rule) -> bool {
    matches!(rule, Rule::and | Rule::or) || is_nesting(rule)
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

fn comparison(text: &str) -> Comparison {
    match text {
        "==" => Comparison::Equal,
        "!=" => Comparison::NotEqual,
        "<" => Comparison::Less,
        "<=" => Comparison::LessOrEqual,
        ">" => Comparison::Greater,
        ">=" => Comparison::GreaterOrEqual,
        _ => Comparison::Same,
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
