//! What the author wrote: names unresolved, a span on every node.

use std::sync::Arc;

use crate::number::Number;
use crate::source::Span;

/// Something with the place where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spanned<T> {
    /// What.
    pub value: T,
    /// Where.
    pub span: Span,
}

/// A name and its place.
pub type Name = Spanned<String>;

/// One file.
#[derive(Debug, Clone, Default)]
pub struct File {
    /// Its declarations, in order. Those that could not be read are missing.
    pub items: Vec<Arc<Item>>,
    /// Every comment, in order: the formatter puts them back.
    pub comments: Vec<Spanned<String>>,
    /// The names of declarations that could not be read.
    pub broken: Vec<String>,
}

/// One declaration.
#[derive(Debug, Clone)]
pub struct Item {
    /// The `///` lines above it.
    pub docs: Vec<String>,
    /// All of it.
    pub span: Span,
    /// What it declares.
    pub kind: ItemKind,
}

/// What a declaration declares.
#[derive(Debug, Clone)]
pub enum ItemKind {
    /// `policy name { … }`
    Header(Header),
    /// `param name: type = value in low..high "help"`
    Param(Param),
    /// `list name: kind = […]`
    List(List),
    /// `def name(arguments) = expression`
    Def(Def),
    /// `default on kinds effect`
    Default(Default),
    /// `rule name on kinds { … }`
    Rule(Rule),
    /// `schema kind "value" { field: type }`
    Schema(Schema),
    /// `exempt rule for condition until time because "…"`
    Exempt(Exempt),
    /// `test "…" { … }`
    Test(Test),
}

/// The header of a policy or a template.
#[derive(Debug, Clone)]
pub struct Header {
    /// Whether it says `template`.
    pub is_template: bool,
    /// Its name.
    pub name: Name,
    /// `extends other`
    pub extends: Vec<Name>,
    /// `title`, `owner`, `controls`, `mode`; a template has more.
    pub settings: Vec<(Name, Value)>,
}

/// A parameter.
#[derive(Debug, Clone)]
pub struct Param {
    /// Its name.
    pub name: Name,
    /// The text of its type.
    pub ty: Name,
    /// What it is unless somebody says otherwise.
    pub default: Value,
    /// The range it must stay in.
    pub range: Option<(Expr, Expr)>,
    /// What it is for.
    pub help: Option<Name>,
}

/// A named list.
#[derive(Debug, Clone)]
pub struct List {
    /// Its name.
    pub name: Name,
    /// `domain`, `glob`, `cidr`, `path`, `string`, `number`.
    pub kind: Option<Name>,
    /// Its values.
    pub values: Vec<Value>,
    /// The bracketed part.
    pub span: Span,
}

/// A macro.
#[derive(Debug, Clone)]
pub struct Def {
    /// Its name.
    pub name: Name,
    /// The names of its arguments.
    pub arguments: Vec<Name>,
    /// What it stands for.
    pub body: Expr,
}

/// What happens where no rule says.
#[derive(Debug, Clone)]
pub struct Default {
    /// The kinds of event.
    pub kinds: Vec<Name>,
    /// The effect.
    pub effect: Spanned<Effect>,
}

/// A rule.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Its name.
    pub name: Name,
    /// The kinds of event that it judges.
    pub kinds: Vec<Name>,
    /// Its clauses, in order.
    pub clauses: Vec<Spanned<Clause>>,
}

/// One clause of a rule.
#[derive(Debug, Clone)]
pub enum Clause {
    /// `let name = expression`
    Let(Name, Expr),
    /// `when condition`
    When(Expr),
    /// `unless condition`
    Unless(Expr),
    /// One of the four effects.
    Effect(Effect),
    /// `score +0.3`
    Score(Number),
    /// `incident severity …`
    Incident(Incident),
    /// `do …`
    Do(Obligation),
    /// `because "…"`
    Because(Expr),
    /// `controls = […]`
    Controls(Vec<Value>),
    /// `applies from DATE until DATE`, as days.
    Applies {
        /// First day.
        from: Option<Name>,
        /// First day on which it no longer applies.
        until: Option<Name>,
    },
    /// `mode shadow`
    Mode(Name),
}

/// One of the four effects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// `deny`
    Deny,
    /// `require approval …`
    RequireApproval {
        /// The group or role that must say yes.
        from: Option<String>,
        /// How many people.
        by: Option<Spanned<Number>>,
        /// How long it may take, in microseconds.
        within_us: Option<i64>,
    },
    /// `warn`
    Warn,
    /// `allow`
    Allow,
}

/// The incident that a rule opens.
#[derive(Debug, Clone)]
pub struct Incident {
    /// The severity's name.
    pub severity: Name,
    /// What keeps one incident from another.
    pub per: Vec<Expr>,
    /// How long hits fold, in microseconds.
    pub within_us: Option<i64>,
    /// Its title.
    pub title: Option<Expr>,
}

/// What the enforcer has to do.
#[derive(Debug, Clone)]
pub enum Obligation {
    /// `do notify "channel"`
    Notify(String),
    /// `do redact path`
    Redact(String),
    /// `do pause`, `do freeze`, `do judge`
    Plain(Name),
}

/// What the payload of some events looks like.
#[derive(Debug, Clone)]
pub struct Schema {
    /// The kind of event.
    pub kind: Name,
    /// The value of the field that selects this schema.
    pub value: Name,
    /// The fields: name, type, and whether it may be left out.
    pub fields: Vec<(Name, Name, bool)>,
}

/// An exemption.
#[derive(Debug, Clone)]
pub struct Exempt {
    /// The rule, with or without its policy.
    pub rule: Name,
    /// For which events.
    pub condition: Expr,
    /// Until when: a date, or a time.
    pub until: Name,
    /// Why.
    pub because: Expr,
}

/// A test.
#[derive(Debug, Clone)]
pub struct Test {
    /// What it shows.
    pub name: Name,
    /// Parameters pinned for this test.
    pub pins: Vec<(Name, Value)>,
    /// What happened before.
    pub history: Vec<History>,
    /// The agent and the event.
    pub given: Vec<(Name, Vec<Member>, Span)>,
    /// What must come out.
    pub expects: Vec<Spanned<Expect>>,
}

/// An event that happened before the one that is judged.
#[derive(Debug, Clone)]
pub struct History {
    /// `denied` or `waiting`; it happened if neither is said.
    pub outcome: Option<Name>,
    /// How long before, in microseconds.
    pub before_us: i64,
    /// Its kind.
    pub kind: Name,
    /// Its members.
    pub members: Vec<Member>,
    /// All of it.
    pub span: Span,
}

/// One member of an object in a test.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its key, split at the dots.
    pub path: Vec<String>,
    /// Where the key stands.
    pub span: Span,
    /// Its value.
    pub value: Value,
}

/// What a test expects.
#[derive(Debug, Clone)]
pub enum Expect {
    /// A decision, possibly by these rules, possibly undecided.
    Decision {
        /// The outcome's name.
        outcome: String,
        /// The rules that must have carried it.
        by: Vec<Name>,
        /// Whether they could only not be ruled out.
        undecided: bool,
    },
    /// No rule applies or stays unknown.
    NoMatch,
    /// An incident of this severity.
    Incident(Name),
    /// The risk, compared with a number.
    Risk(Comparison, Number),
    /// The reason; parameters may be read in it.
    Because(Expr),
    /// Something that the enforcer has to do.
    Do(Obligation),
    /// These rules are reported, and decide nothing because they are in shadow.
    Shadow(Vec<Name>),
    /// These rules are reported, and an exemption holds for each.
    Exempted(Vec<Name>),
}

/// A value in a header, a list, a parameter or a test.
#[derive(Debug, Clone)]
pub enum Value {
    /// `{ key = value }`
    Object(Vec<Member>, Span),
    /// `[a, b]`
    List(Vec<Value>, Span),
    /// Anything else.
    Expr(Expr),
}

impl Value {
    /// Where it stands.
    pub fn span(&self) -> Span {
        match self {
            Value::Object(_, span) | Value::List(_, span) => *span,
            Value::Expr(expr) => expr.span,
        }
    }
}

/// An expression.
#[derive(Debug, Clone)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Where it stands.
    pub span: Span,
}

/// How two values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `~=`: equal after NFKC and case folding.
    Same,
}

impl Comparison {
    /// The comparison that says the same with its sides exchanged.
    pub fn mirrored(self) -> Comparison {
        match self {
            Comparison::Less => Comparison::Greater,
            Comparison::LessOrEqual => Comparison::GreaterOrEqual,
            Comparison::Greater => Comparison::Less,
            Comparison::GreaterOrEqual => Comparison::LessOrEqual,
            same => same,
        }
    }

    /// The operator as written.
    pub fn symbol(self) -> &'static str {
        match self {
            Comparison::Equal => "==",
            Comparison::NotEqual => "!=",
            Comparison::Less => "<",
            Comparison::LessOrEqual => "<=",
            Comparison::Greater => ">",
            Comparison::GreaterOrEqual => ">=",
            Comparison::Same => "~=",
        }
    }
}

/// An operator between two expressions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the word or sign that it is written as")]
pub enum Operator {
    Compare(Comparison),
    In,
    StartsWith,
    EndsWith,
    Contains,
    ContainsWord,
    Like,
    Matches,
    HasAny,
    HasAll,
    Has,
    Range,
    Else,
    Plus,
    Minus,
    Times,
    Over,
    Modulo,
}

/// `any`, `all` or `count`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Quantifier {
    /// True for at least one element.
    Any,
    /// True for every element.
    All,
    /// How many it is true for.
    Count,
}

impl Quantifier {
    /// The word as written.
    pub fn word(self) -> &'static str {
        match self {
            Quantifier::Any => "any",
            Quantifier::All => "all",
            Quantifier::Count => "count",
        }
    }
}

/// A piece of a string with interpolations.
#[derive(Debug, Clone)]
pub enum Piece {
    /// As it stands.
    Text(String),
    /// `{expression}`
    Value(Expr),
}

/// What an expression is.
#[derive(Debug, Clone)]
pub enum ExprKind {
    /// `true`, `false`
    Bool(bool),
    /// A number.
    Number(Number),
    /// A span of time in microseconds.
    Duration(i64),
    /// A date, as written.
    Date(String),
    /// A string, with its interpolations.
    String(Vec<Piece>),
    /// `/regex/` and whether it ignores case.
    Regex(String, bool),
    /// `[a, b]`
    List(Vec<Expr>),
    /// A name alone.
    Name(String),
    /// `name(arguments)`
    Call(Name, Vec<Expr>),
    /// `base.word`
    Member(Box<Expr>, Name),
    /// `base[index]`
    Item(Box<Expr>, Box<Expr>),
    /// `base?`
    Lenient(Box<Expr>),
    /// `base as kind`
    As(Box<Expr>, Name),
    /// `not x`
    Not(Box<Expr>),
    /// `-x`
    Negative(Box<Expr>),
    /// `has x`
    Present(Box<Expr>),
    /// `a and b and …`
    And(Vec<Expr>),
    /// `a or b or …`
    Or(Vec<Expr>),
    /// `a operator b`
    Binary(Operator, Box<Expr>, Box<Expr>),
    /// `if c then a else b`
    If(Box<Expr>, Box<Expr>, Box<Expr>),
    /// `any x in xs: body`
    Quantified(Quantifier, Name, Box<Expr>, Box<Expr>),
    /// `tz "zone"`
    Zone(Name),
    /// `count(intent where … per … within …)` and its like.
    Memory(Box<Memory>),
}

/// A question about earlier events.
#[derive(Debug, Clone)]
pub struct Memory {
    /// `count`, `sum`, …
    pub operator: Name,
    /// What is remembered: several parts only for `sequence(a then b)`.
    pub parts: Vec<MemoryPart>,
    /// `since b`
    pub since: Option<MemoryPart>,
    /// `until u`
    pub until: Option<MemoryPart>,
    /// `per a, b = c`; none if it is not said.
    pub per: Option<Vec<MemoryKey>>,
    /// `within 1h`
    pub within: Option<Spanned<Within>>,
    /// `resolution 1m`, in microseconds.
    pub resolution_us: Option<Spanned<i64>>,
}

/// Some of the earlier events.
#[derive(Debug, Clone)]
pub struct MemoryPart {
    /// `attempted` or `denied`.
    pub outcome: Option<Name>,
    /// Their kinds.
    pub kinds: Vec<Name>,
    /// `kind.field.member`: the path behind the kind, as an expression over the remembered event.
    pub value: Option<Expr>,
    /// `where condition`, over the remembered event.
    pub filter: Option<Expr>,
    /// All of it.
    pub span: Span,
}

/// One of the keys that keep memories apart.
#[derive(Debug, Clone)]
pub struct MemoryKey {
    /// Whether a remembered list gives one key for each of its values.
    pub each: bool,
    /// Over the remembered event.
    pub remembered: Expr,
    /// Over the event being judged; the same as the remembered one if it is not said.
    pub asked: Option<Expr>,
    /// All of it.
    pub span: Span,
}

/// How far a memory reaches back.
#[derive(Debug, Clone)]
pub enum Within {
    /// `within 1h`, in microseconds.
    Time(i64),
    /// `within 20 events`
    Events(Number),
    /// `within window`: a parameter.
    Param(String),
}
