//! Expressions as they are evaluated: patterns compiled, zones looked up, names turned into numbers.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::tz::TimeZone;
use lictor_dsl::events::FieldId;
use lictor_dsl::hir::{
    self, Arithmetic, Comparison, Const, HasTest, PatternKind, Quantifier, TextTest, TimePart,
};
use lictor_dsl::text::glob::Glob;
use lictor_dsl::text::lists::{CidrList, DomainList, GlobList, PathList};
use lictor_dsl::types::Type;
use regex::Regex;

use super::memory::{AskPlan, Memories};

/// One node of an expression.
#[derive(Debug)]
pub(crate) enum Node {
    Const(Const),
    Field(FieldId),
    /// A parameter, by its place in the parameter block.
    Param(usize),
    Risk,
    Var(u32),
    Member(Box<Node>, String),
    Item(Box<Node>, Box<Node>),
    Take(Type, Box<Node>),
    Not(Box<Node>),
    And(Vec<Node>),
    Or(Vec<Node>),
    Compare(Comparison, Box<Node>, Box<Node>),
    Between(Box<Node>, Box<Node>, Box<Node>),
    In(Box<Node>, Box<Node>),
    /// Membership in a constant list of texts.
    InTexts(Box<Node>, Arc<HashSet<String>>),
    InPatterns(Box<Node>, Arc<Patterns>),
    InAs(Box<Node>, Box<Node>, PatternKind),
    Has(HasTest, Box<Node>, Box<Node>),
    TextTest(TextTest, Box<Node>, Box<Node>),
    Like(Box<Node>, Glob),
    Matches(Box<Node>, Regex),
    Present(Box<Node>),
    Otherwise(Box<Node>, Box<Node>),
    Lenient {
        soft: Vec<Node>,
        hard: Vec<Node>,
        test: Box<Node>,
    },
    Quantified(Quantifier, u32, Box<Node>, Box<Node>),
    Negative(Type, Box<Node>),
    Arithmetic(Arithmetic, Box<Node>, Box<Node>),
    If(Box<Node>, Box<Node>, Box<Node>),
    Join(Vec<Part>),
    Lower(Box<Node>),
    Len(Box<Node>),
    Text(Box<Node>),
    Keys(Box<Node>),
    Values(Box<Node>),
    Host(Box<Node>),
    Port(Box<Node>),
    Ip(Box<Node>),
    Time(Box<Node>, Option<String>),
    TimePart(TimePart, Box<Node>, Option<TimeZone>),
    Memory(Box<AskPlan>),
}

/// A piece of a string with interpolations.
#[derive(Debug)]
pub(crate) enum Part {
    Text(String),
    Value(Node),
}

/// A compiled list of patterns.
#[derive(Debug)]
pub(crate) enum Patterns {
    Domain(DomainList),
    Glob(GlobList),
    Cidr(CidrList),
    Path(PathList),
}

impl Patterns {
    /// Compiles a list; the reason if an entry can't be used.
    pub(crate) fn new(kind: PatternKind, entries: &[String]) -> Result<Patterns, String> {
        let compiled = match kind {
            PatternKind::Domain => DomainList::new(entries).map(Patterns::Domain),
            PatternKind::Glob => GlobList::new(entries).map(Patterns::Glob),
            PatternKind::Cidr => CidrList::new(entries).map(Patterns::Cidr),
            PatternKind::Path => PathList::new(entries).map(Patterns::Path),
        };
        compiled.map_err(|(entry, reason)| format!("entry {}: {reason}", entry + 1))
    }

    /// How often looking for a text passes over it.
    pub(crate) fn passes(&self) -> usize {
        match self {
            Patterns::Glob(list) => list.passes(),
            Patterns::Domain(_) | Patterns::Cidr(_) | Patterns::Path(_) => 1,
        }
    }

    /// Whether a text is matched; none if it can't be normalised.
    pub(crate) fn contains(&self, text: &str) -> Option<bool> {
        match self {
            Patterns::Domain(list) => list.contains(text),
            Patterns::Glob(list) => list.contains(text),
            Patterns::Cidr(list) => list.contains(text),
            Patterns::Path(list) => list.contains(text),
        }
    }
}

/// A list of patterns, and what it was compiled to.
pub(crate) type Compiled = (Arc<hir::PatternList>, Arc<Patterns>);
/// Compiled lists by name.
pub(crate) type PatternLists = HashMap<String, Compiled>;

/// What lowering needs to know, and what its results share.
pub(crate) struct Lowering<'p> {
    /// Finds a parameter's place by its full name.
    param: &'p dyn Fn(&str) -> usize,
    /// The values of the parameters.
    values: &'p [Const],
    /// The memories that are asked for.
    memories: &'p Memories,
    /// Compiled lists by name: a list of 20,000 entries is compiled once, however many rules use it.
    patterns: RefCell<PatternLists>,
    /// Sets of texts, by where the list stands in memory: it stays there as long as the policies that are lowered.
    texts: RefCell<HashMap<usize, Arc<HashSet<String>>>>,
}

impl<'p> Lowering<'p> {
    pub(crate) fn new(
        param: &'p dyn Fn(&str) -> usize,
        values: &'p [Const],
        memories: &'p Memories,
    ) -> Lowering<'p> {
        Lowering { param, values, memories, patterns: RefCell::default(), texts: RefCell::default() }
    }

    /// The same with lists that were compiled before.
    pub(crate) fn knowing(self, patterns: PatternLists) -> Lowering<'p> {
        Lowering { patterns: RefCell::new(patterns), ..self }
    }

    /// The lists that were compiled.
    pub(crate) fn into_patterns(self) -> PatternLists {
        self.patterns.into_inner()
    }

    /// The place of a parameter.
    pub(crate) fn place(&self, name: &str) -> usize {
        (self.param)(name)
    }

    /// The number of the memory that is asked.
    pub(crate) fn number(&self, ask: &hir::Ask) -> Option<usize> {
        self.memories.number(ask, self)
    }

    /// A question to a memory as it is evaluated.
    pub(crate) fn ask(&self, ask: &hir::Ask) -> Result<AskPlan, String> {
        self.memories.ask(ask, self)
    }

    /// The value of a parameter.
    pub(crate) fn value(&self, name: &str) -> Option<&'p Const> {
        self.values.get(self.place(name))
    }

    fn patterns(&self, list: &Arc<hir::PatternList>) -> Result<Arc<Patterns>, String> {
        if let Some((_, known)) = self.patterns.borrow().get(&list.name) {
            return Ok(Arc::clone(known));
        }
        let compiled = Arc::new(Patterns::new(list.kind, &list.entries)?);
        let kept = (Arc::clone(list), Arc::clone(&compiled));
        self.patterns.borrow_mut().insert(list.name.clone(), kept);
        Ok(compiled)
    }

    fn texts(&self, values: &Arc<[Const]>) -> Arc<HashSet<String>> {
        let place = Arc::as_ptr(values).cast::<Const>() as usize;
        let collect = || {
            let texts = values.iter().filter_map(|value| match value {
                Const::Text(text) => Some(text.clone()),
                _ => None,
            });
            Arc::new(texts.collect())
        };
        Arc::clone(self.texts.borrow_mut().entry(place).or_insert_with(collect))
    }
}

/// Turns a checked expression into nodes.
pub(crate) fn lower(expr: &hir::Expr, with: &Lowering<'_>) -> Result<Node, String> {
    use hir::ExprKind;
    let go = |expr: &hir::Expr| lower(expr, with);
    let boxed = |expr: &hir::Expr| lower(expr, with).map(Box::new);
    let all = |exprs: &[hir::Expr]| exprs.iter().map(go).collect::<Result<Vec<_>, _>>();
    Ok(match &expr.kind {
        ExprKind::Const(value) => Node::Const(value.clone()),
        ExprKind::Field(field) => Node::Field(*field),
        ExprKind::Param(name) => Node::Param((with.param)(name)),
        ExprKind::Risk => Node::Risk,
        ExprKind::Var(var) => Node::Var(var.number),
        ExprKind::Member(base, name) => Node::Member(boxed(base)?, name.clone()),
        ExprKind::Item(base, index) => Node::Item(boxed(base)?, boxed(index)?),
        ExprKind::Take(inner) => Node::Take(expr.ty, boxed(inner)?),
        ExprKind::Not(inner) => Node::Not(boxed(inner)?),
        ExprKind::And(parts) => Node::And(all(parts)?),
        ExprKind::Or(parts) => Node::Or(all(parts)?),
        ExprKind::Compare(comparison, left, right) => Node::Compare(*comparison, boxed(left)?, boxed(right)?),
        ExprKind::Between(x, low, high) => Node::Between(boxed(x)?, boxed(low)?, boxed(high)?),
        ExprKind::In(x, xs) => match &xs.kind {
            ExprKind::Const(Const::List(values)) if xs.ty == Type::STRINGS => {
                Node::InTexts(boxed(x)?, with.texts(values))
            }
            _ => Node::In(boxed(x)?, boxed(xs)?),
        },
        ExprKind::InPatterns(x, list) => Node::InPatterns(boxed(x)?, with.patterns(list)?),
        ExprKind::InAs(x, xs, kind) => Node::InAs(boxed(x)?, boxed(xs)?, *kind),
        ExprKind::Has(test, xs, x) => Node::Has(*test, boxed(xs)?, boxed(x)?),
        ExprKind::TextTest(test, left, right) => Node::TextTest(*test, boxed(left)?, boxed(right)?),
        ExprKind::Like(x, pattern) => Node::Like(boxed(x)?, Glob::new(pattern)?),
        ExprKind::Matches(x, pattern, ignore_case) => {
            Node::Matches(boxed(x)?, lictor_dsl::text::pattern::regex(pattern, *ignore_case)?)
        }
        ExprKind::Present(inner) => Node::Present(boxed(inner)?),
        ExprKind::Otherwise(x, default) => Node::Otherwise(boxed(x)?, boxed(default)?),
        ExprKind::Lenient { soft, hard, test } => {
            Node::Lenient { soft: all(soft)?, hard: all(hard)?, test: boxed(test)? }
        }
        ExprKind::Quantified(quantifier, var, xs, body) => {
            Node::Quantified(*quantifier, var.number, boxed(xs)?, boxed(body)?)
        }
        ExprKind::Negative(inner) => Node::Negative(expr.ty, boxed(inner)?),
        ExprKind::Arithmetic(operator, left, right) => {
            Node::Arithmetic(*operator, boxed(left)?, boxed(right)?)
        }
        ExprKind::If(condition, then, otherwise) => {
            Node::If(boxed(condition)?, boxed(then)?, boxed(otherwise)?)
        }
        ExprKind::Join(pieces) => Node::Join(
            pieces
                .iter()
                .map(|piece| match piece {
                    hir::Piece::Text(text) => Ok(Part::Text(text.clone())),
                    hir::Piece::Value(value) => go(value).map(Part::Value),
                })
                .collect::<Result<_, String>>()?,
        ),
        ExprKind::Call(builtin, arguments) => {
            let [first, rest @ ..] = arguments.as_slice() else {
                return Err("a function without arguments".to_owned());
            };
            let x = boxed(first)?;
            match builtin {
                hir::Builtin::Lower => Node::Lower(x),
                hir::Builtin::Len => Node::Len(x),
                hir::Builtin::Text => Node::Text(x),
                hir::Builtin::Keys => Node::Keys(x),
                hir::Builtin::Values => Node::Values(x),
                hir::Builtin::Host => Node::Host(x),
                hir::Builtin::Port => Node::Port(x),
                hir::Builtin::Ip => Node::Ip(x),
                hir::Builtin::Time => {
                    let zone = rest.first().and_then(|zone| match &zone.kind {
                        ExprKind::Const(Const::Text(name)) => Some(name.clone()),
                        _ => None,
                    });
                    Node::Time(x, zone)
                }
            }
        }
        ExprKind::Memory(ask) => Node::Memory(Box::new(with.ask(ask)?)),
        // The zone only matters to the parts of a time, which hold it themselves.
        ExprKind::Zoned(time, _) => go(time)?,
        ExprKind::TimePart(part, time, zone) => {
            let zone = match zone {
                Some(name) => Some(
                    lictor_dsl::text::moment::zone(name)
                        .ok_or_else(|| format!("there is no time zone `{name}`"))?,
                ),
                None => None,
            };
            Node::TimePart(*part, boxed(time)?, zone)
        }
    })
}
