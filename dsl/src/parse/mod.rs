//! Text to syntax tree: pest reads each declaration, and a broken one is skipped so its neighbours are still checked.

mod expected;
mod expr;
mod memory;

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Once};

use pest::Parser;
use pest::iterators::Pair;

use crate::ast::*;
use crate::diagnostics::{Diagnostic, Severity, syntax};
use crate::items::{self, RawItem};
use crate::source::{Source, Span};

#[derive(pest_derive::Parser)]
#[grammar = "grammar.pest"]
#[allow(missing_docs, reason = "generated from the grammar, which has the comments")]
pub(crate) struct Grammar;

/// The most diagnostics that one file gets.
pub(crate) const DIAGNOSTICS_LIMIT: usize = 500;
/// The largest file that is read, in bytes.
pub(crate) const FILE_LIMIT: usize = 1 << 20;
/// Steps after which pest gives up, for the whole process. A list of 100,000 values needs a tenth of it.
const CALL_LIMIT: NonZeroUsize = NonZeroUsize::new(100_000_000).expect("not zero");

/// Reads one file. What can't be read is missing from the tree and named in the diagnostics.
pub(crate) fn parse(number: u32, source: &Source, diagnostics: &mut Vec<Diagnostic>) -> File {
    if source.text.len() > FILE_LIMIT {
        let span = Span { source: number, start: 0, end: 1 };
        diagnostics.push(syntax::file_too_large(span, FILE_LIMIT));
        return File::default();
    }
    let split = items::split(number, &source.text);
    diagnostics.extend(split.diagnostics);
    let mut broken = split.broken;
    let mut reader = Reader::new(number, &source.text);
    let mut parsed = Vec::new();
    for raw in split.items {
        // Nobody mends more at once, and reading on would only take time.
        if reader.diagnostics.len() > DIAGNOSTICS_LIMIT {
            break;
        }
        let start = raw.span.start as usize;
        match reader.item(raw) {
            Some(item) => parsed.push(Arc::new(item)),
            None => broken.extend(items::declared_name(&source.text, start)),
        }
    }
    diagnostics.append(&mut reader.diagnostics);
    File { items: parsed, comments: split.comments, broken }
}

/// Reads a file of which some declarations are known by their text; none if anything is wrong with it. Also tells where
/// each declaration stands: the places in those that were known are of the text that they were read from.
pub(crate) fn parse_again(
    number: u32,
    text: &str,
    known: &HashMap<&str, &Arc<Item>>,
) -> Option<(File, Vec<Span>)> {
    if text.len() > FILE_LIMIT {
        return None;
    }
    let split = items::split(number, text);
    let mut reader = Reader::new(number, text);
    let (mut parsed, mut spans) = (Vec::new(), Vec::new());
    for raw in split.items {
        spans.push(raw.span);
        let known = known.get(raw.span.of(text)).filter(|item| item.docs == raw.docs);
        parsed.push(match known {
            Some(item) => Arc::clone(item),
            None => Arc::new(reader.item(raw)?),
        });
    }
    let mut found = split.diagnostics.iter().chain(&reader.diagnostics);
    let sound = found.all(|diagnostic| diagnostic.severity != Severity::Error);
    sound.then_some((File { items: parsed, comments: Vec::new(), broken: Vec::new() }, spans))
}

struct Reader<'a> {
    source: u32,
    text: &'a str,
    /// Where the text that pest sees begins in the file.
    offset: usize,
    /// How deep the expression being read is nested by operators, quantifiers and `if`s.
    depth: usize,
    diagnostics: Vec<Diagnostic>,
}

type P<'i> = Pair<'i, Rule>;

impl<'a> Reader<'a> {
    fn new(source: u32, text: &'a str) -> Reader<'a> {
        static LIMIT: Once = Once::new();
        LIMIT.call_once(|| pest::set_call_limit(Some(CALL_LIMIT)));
        Reader { source, text, offset: 0, depth: 0, diagnostics: Vec::new() }
    }

    fn item(&mut self, raw: RawItem) -> Option<Item> {
        let kind = self.kind(&raw)?;
        Some(Item { docs: raw.docs, span: raw.span, kind })
    }

    fn kind(&mut self, raw: &RawItem) -> Option<ItemKind> {
        let text = raw.span.of(self.text);
        self.offset = raw.span.start as usize;
        let rule = match raw.keyword {
            "policy" | "template" => Rule::header,
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
                self.diagnostics.push(match message.as_str() {
                    "stack limit reached" => syntax::too_deep(span),
                    _ => syntax::too_large(span, "this declaration", CALL_LIMIT.get()),
                });
            }
        }
    }

    // ---- declarations ----

    fn header(&mut self, pair: P) -> Option<Header> {
        let mut inner = words(pair);
        let is_template = inner.next()?.as_rule() == Rule::header_of_template;
        let name = self.name(&inner.next()?);
        let (mut extends, mut settings) = (Vec::new(), Vec::new());
        for part in inner {
            if part.as_rule() == Rule::extends {
                extends.push(self.name(&words(part).next()?));
                continue;
            }
            let mut parts = part.into_inner();
            let key = self.name(&parts.next()?);
            settings.push((key, self.value(parts.next()?)?));
        }
        Some(Header { is_template, name, extends, settings })
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
        let mut test =
            Test { name, pins: Vec::new(), history: Vec::new(), given: Vec::new(), expects: Vec::new() };
        for part in inner {
            let span = self.span(part.as_span());
            let rule = part.as_rule();
            let mut inner = words(part);
            match rule {
                Rule::pin => test.pins.push((self.name(&inner.next()?), self.value(inner.next()?)?)),
                Rule::history => {
                    let first = inner.next()?;
                    let (outcome, before) = match first.as_rule() {
                        Rule::history_outcome => (Some(self.name(&first)), inner.next()?),
                        _ => (None, first),
                    };
                    test.history.push(History {
                        outcome,
                        before_us: self.duration(&before)?,
                        kind: self.name(&inner.next()?),
                        members: self.members(inner.next()?)?,
                        span,
                    });
                }
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
            Rule::expect_do => match self.obligation(words(inner.next()?).next()?)? {
                Clause::Do(obligation) => Expect::Do(obligation),
                _ => return None,
            },
            Rule::expect_shadow => Expect::Shadow(inner.map(|name| self.name(&name)).collect()),
            Rule::expect_exempted => Expect::Exempted(inner.map(|name| self.name(&name)).collect()),
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
            | Rule::kw_shadow
            | Rule::kw_exempted
            | Rule::kw_if
            | Rule::kw_then
            | Rule::kw_else
            | Rule::kw_tz
            | Rule::kw_template
            | Rule::kw_extends
            | Rule::kw_before
            | Rule::kw_where
            | Rule::kw_since
            | Rule::kw_events
            | Rule::kw_resolution
            | Rule::kw_as
            | Rule::EOI
    )
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
