//! Expressions, checked: every name resolved, every node typed.

use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::{Ask, Comparison, Quantifier};
use crate::events::FieldId;
use crate::number::Number;
use crate::source::Span;
use crate::types::Type;

/// A typed expression. Two are equal if they mean the same, wherever they stand.
#[derive(Debug, Clone)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// What it yields.
    pub ty: Type,
    /// Where it stands.
    pub span: Span,
}

impl PartialEq for Expr {
    fn eq(&self, other: &Expr) -> bool {
        self.ty == other.ty && self.kind == other.kind
    }
}

impl Eq for Expr {}

impl Hash for Expr {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.ty.hash(state);
        self.kind.hash(state);
    }
}

/// A constant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "one for each type")]
pub enum Const {
    Bool(bool),
    Number(Number),
    Text(String),
    Time(i64),
    Duration(i64),
    Ip(IpAddr),
    Cidr(IpNet),
    List(Arc<[Const]>),
}

impl Const {
    /// Its type; an empty list has none.
    pub fn ty(&self) -> Option<Type> {
        Some(match self {
            Const::Bool(_) => Type::Bool,
            Const::Number(_) => Type::Number,
            Const::Text(_) => Type::String,
            Const::Time(_) => Type::Time,
            Const::Duration(_) => Type::Duration,
            Const::Ip(_) => Type::Ip,
            Const::Cidr(_) => Type::Cidr,
            Const::List(values) => Type::List(values.first()?.ty()?.as_element()?),
        })
    }
}

/// What a list's entries are matched as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the word that it is written as")]
pub enum PatternKind {
    Domain,
    Glob,
    Cidr,
    Path,
}

impl PatternKind {
    /// The kinds by name.
    pub const NAMES: [(&'static str, PatternKind); 4] = [
        ("domain", PatternKind::Domain),
        ("glob", PatternKind::Glob),
        ("cidr", PatternKind::Cidr),
        ("path", PatternKind::Path),
    ];

    /// The word that it is written as.
    pub fn name(self) -> &'static str {
        PatternKind::NAMES.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }
}

/// A named list whose entries are patterns.
#[derive(Debug)]
pub struct PatternList {
    /// `policy.list`.
    pub name: String,
    /// What the entries are matched as.
    pub kind: PatternKind,
    /// The entries, all valid.
    pub entries: Vec<String>,
}

/// Names are unique within a policy set, so lists of one name are one list.
impl PartialEq for PatternList {
    fn eq(&self, other: &PatternList) -> bool {
        self.name == other.name
    }
}

impl Eq for PatternList {}

impl Hash for PatternList {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

/// A variable of a quantifier: unique within a policy.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Var {
    /// Its number.
    pub number: u32,
    /// Its name.
    pub name: String,
}

/// A test of one text against another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TextTest {
    /// `startswith`
    StartsWith,
    /// `endswith`
    EndsWith,
    /// `contains`
    Contains,
    /// `contains word`
    ContainsWord,
}

impl TextTest {
    /// The operator as written.
    pub fn word(self) -> &'static str {
        match self {
            TextTest::StartsWith => "startswith",
            TextTest::EndsWith => "endswith",
            TextTest::Contains => "contains",
            TextTest::ContainsWord => "contains word",
        }
    }
}

/// How a list is asked for elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HasTest {
    /// `xs has x`
    One,
    /// `xs has any ys`
    Any,
    /// `xs has all ys`
    All,
}

/// An arithmetic operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "named as usual")]
pub enum Arithmetic {
    Plus,
    Minus,
    Times,
    Over,
    Modulo,
}

impl Arithmetic {
    /// The operator as written.
    pub fn sign(self) -> char {
        match self {
            Arithmetic::Plus => '+',
            Arithmetic::Minus => '-',
            Arithmetic::Times => '*',
            Arithmetic::Over => '/',
            Arithmetic::Modulo => '%',
        }
    }
}

/// A part of a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TimePart {
    /// 0 to 23.
    Hour,
    /// `mon` to `sun`.
    Weekday,
}

/// A function of the language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the word that it is written as")]
pub enum Builtin {
    Lower,
    Len,
    Text,
    Keys,
    Values,
    Host,
    Port,
    Ip,
    Time,
}

impl Builtin {
    /// The functions by name.
    pub const NAMES: [(&'static str, Builtin); 9] = [
        ("lower", Builtin::Lower),
        ("len", Builtin::Len),
        ("text", Builtin::Text),
        ("keys", Builtin::Keys),
        ("values", Builtin::Values),
        ("host", Builtin::Host),
        ("port", Builtin::Port),
        ("ip", Builtin::Ip),
        ("time", Builtin::Time),
    ];

    /// The word that it is written as.
    pub fn name(self) -> &'static str {
        Builtin::NAMES.iter().find(|(_, builtin)| *builtin == self).map_or("", |(name, _)| name)
    }
}

/// A piece of a string with interpolations.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Piece {
    /// As it stands.
    Text(String),
    /// `{expression}`
    Value(Expr),
}

/// What a typed expression is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ExprKind {
    /// A constant.
    Const(Const),
    /// A field of the event.
    Field(FieldId),
    /// A parameter, as `policy.param`.
    Param(String),
    /// The risk of the decision being made.
    Risk,
    /// A variable of a quantifier.
    Var(Var),
    /// A member of a json object.
    Member(Box<Expr>, String),
    /// A member or an element of a json value or a list.
    Item(Box<Expr>, Box<Expr>),
    /// A json value taken as this type; unknown if it is of another.
    Take(Box<Expr>),
    /// Kleene's not.
    Not(Box<Expr>),
    /// Kleene's and.
    And(Vec<Expr>),
    /// Kleene's or.
    Or(Vec<Expr>),
    /// A comparison.
    Compare(Comparison, Box<Expr>, Box<Expr>),
    /// `x in low..high`, both inclusive.
    Between(Box<Expr>, Box<Expr>, Box<Expr>),
    /// `x in xs`: Kleene over `==`.
    In(Box<Expr>, Box<Expr>),
    /// `x in names`, where the list's entries are patterns.
    InPatterns(Box<Expr>, Arc<PatternList>),
    /// `x in xs as domain`
    InAs(Box<Expr>, Box<Expr>, PatternKind),
    /// `xs has x`, `xs has any ys`, `xs has all ys`
    Has(HasTest, Box<Expr>, Box<Expr>),
    /// `startswith` and its like.
    TextTest(TextTest, Box<Expr>, Box<Expr>),
    /// `x like "glob*"`
    Like(Box<Expr>, String),
    /// `x matches /regex/i`
    Matches(Box<Expr>, String, bool),
    /// `has x`: is there anything?
    Present(Box<Expr>),
    /// `x else d`
    Otherwise(Box<Expr>, Box<Expr>),
    /// A test with `?` in it: false where a soft operand is unknown, or where the test is and the hard ones are not.
    Lenient {
        /// The operands with a `?`.
        soft: Vec<Expr>,
        /// The operands without one.
        hard: Vec<Expr>,
        /// The test.
        test: Box<Expr>,
    },
    /// `any x in xs: body`
    Quantified(Quantifier, Var, Box<Expr>, Box<Expr>),
    /// `-x`
    Negative(Box<Expr>),
    /// `a + b` and its like.
    Arithmetic(Arithmetic, Box<Expr>, Box<Expr>),
    /// `if c then a else b`
    If(Box<Expr>, Box<Expr>, Box<Expr>),
    /// A string with interpolations.
    Join(Vec<Piece>),
    /// A function.
    Call(Builtin, Vec<Expr>),
    /// A time to be read in a zone.
    Zoned(Box<Expr>, String),
    /// The hour or weekday of a time, in a zone or in UTC.
    TimePart(TimePart, Box<Expr>, Option<String>),
    /// `count(intent where … per … within …)` and its like.
    Memory(Box<Ask>),
}

impl Expr {
    /// The expressions directly below this one, all over the event being judged.
    pub fn children(&self) -> Vec<&Expr> {
        let mut children = Vec::new();
        self.any_child(&mut |child| {
            children.push(child);
            false
        });
        children
    }

    /// Whether one of the expressions directly below this one is such a one.
    fn any_child<'e>(&'e self, found: &mut impl FnMut(&'e Expr) -> bool) -> bool {
        match &self.kind {
            ExprKind::Const(_)
            | ExprKind::Field(_)
            | ExprKind::Param(_)
            | ExprKind::Risk
            | ExprKind::Var(_) => false,
            ExprKind::Member(a, _)
            | ExprKind::Take(a)
            | ExprKind::Not(a)
            | ExprKind::InPatterns(a, _)
            | ExprKind::Like(a, _)
            | ExprKind::Matches(a, ..)
            | ExprKind::Present(a)
            | ExprKind::Negative(a)
            | ExprKind::Zoned(a, _)
            | ExprKind::TimePart(_, a, _) => found(a),
            ExprKind::Item(a, b)
            | ExprKind::Compare(_, a, b)
            | ExprKind::In(a, b)
            | ExprKind::InAs(a, b, _)
            | ExprKind::Has(_, a, b)
            | ExprKind::TextTest(_, a, b)
            | ExprKind::Otherwise(a, b)
            | ExprKind::Quantified(_, _, a, b)
            | ExprKind::Arithmetic(_, a, b) => found(a) || found(b),
            ExprKind::Between(a, b, c) | ExprKind::If(a, b, c) => found(a) || found(b) || found(c),
            ExprKind::And(parts) | ExprKind::Or(parts) | ExprKind::Call(_, parts) => parts.iter().any(found),
            ExprKind::Memory(ask) => ask.keys.iter().any(found),
            // The operands stand in the test as well.
            ExprKind::Lenient { test, .. } => found(test),
            ExprKind::Join(pieces) => pieces.iter().any(|piece| match piece {
                Piece::Text(_) => false,
                Piece::Value(value) => found(value),
            }),
        }
    }

    /// Changes this expression and those below it, the lowest first.
    pub fn each_mut(&mut self, change: &mut impl FnMut(&mut Expr)) {
        match &mut self.kind {
            ExprKind::Const(_)
            | ExprKind::Field(_)
            | ExprKind::Param(_)
            | ExprKind::Risk
            | ExprKind::Var(_) => {}
            ExprKind::Member(a, _)
            | ExprKind::Take(a)
            | ExprKind::Not(a)
            | ExprKind::InPatterns(a, _)
            | ExprKind::Like(a, _)
            | ExprKind::Matches(a, ..)
            | ExprKind::Present(a)
            | ExprKind::Negative(a)
            | ExprKind::Zoned(a, _)
            | ExprKind::TimePart(_, a, _) => a.each_mut(change),
            ExprKind::Item(a, b)
            | ExprKind::Compare(_, a, b)
            | ExprKind::In(a, b)
            | ExprKind::InAs(a, b, _)
            | ExprKind::Has(_, a, b)
            | ExprKind::TextTest(_, a, b)
            | ExprKind::Otherwise(a, b)
            | ExprKind::Quantified(_, _, a, b)
            | ExprKind::Arithmetic(_, a, b) => [a, b].into_iter().for_each(|expr| expr.each_mut(change)),
            ExprKind::Between(a, b, c) | ExprKind::If(a, b, c) => {
                [a, b, c].into_iter().for_each(|expr| expr.each_mut(change));
            }
            ExprKind::And(parts) | ExprKind::Or(parts) | ExprKind::Call(_, parts) => {
                parts.iter_mut().for_each(|part| part.each_mut(change));
            }
            ExprKind::Memory(ask) => ask.keys.iter_mut().for_each(|key| key.each_mut(change)),
            ExprKind::Lenient { soft, hard, test } => {
                soft.iter_mut().chain(hard).for_each(|operand| operand.each_mut(change));
                test.each_mut(change);
            }
            ExprKind::Join(pieces) => {
                for piece in pieces {
                    if let Piece::Value(value) = piece {
                        value.each_mut(change);
                    }
                }
            }
        }
        change(self);
    }

    /// Whether this expression, or one below it, is such a one.
    pub fn any(&self, found: &mut impl FnMut(&Expr) -> bool) -> bool {
        found(self) || self.any_child(&mut |child| child.any(found))
    }
}
