//! The checked form: names resolved, every expression typed. What the engine consumes.

use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

pub use crate::ast::{Comparison, Quantifier};
use crate::events::{EventKind, FieldId};
use crate::number::Number;
use crate::source::Span;
use crate::types::Type;

/// The most values that a list may have.
pub const LIST_LIMIT: usize = 100_000;

/// All policies that are active together.
#[derive(Debug, Clone, Default)]
pub struct PolicySet {
    /// The policies, in the order of their sources.
    pub policies: Vec<Policy>,
}

/// One checked policy.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// The name in its header.
    pub name: String,
    /// Its title, or its name.
    pub title: String,
    /// Who answers for it.
    pub owner: Option<String>,
    /// The controls that all its rules serve.
    pub controls: Vec<String>,
    /// Where it comes from, if it is a template.
    pub template: Option<Template>,
    /// The policy or template of the set that it adds to.
    pub extends: Option<String>,
    /// Decides nothing, reports everything (`mode = "shadow"` in the header). The server may set it.
    pub shadow: bool,
    /// SHA-256 of its source text, in hex.
    pub source_digest: String,
    /// Its parameters, with the values in force.
    pub params: Vec<Param>,
    /// What happens where no rule says.
    pub defaults: Vec<Default>,
    /// Its rules.
    pub rules: Vec<Rule>,
    /// What it says of payloads. Holds for the whole policy set.
    pub schemas: Vec<Schema>,
    /// Its exemptions.
    pub exemptions: Vec<Exemption>,
    /// Its tests.
    pub tests: Vec<Test>,
}

impl Policy {
    /// Gives a parameter another value; says why not if it can't have that one.
    pub fn set_param(&mut self, name: &str, value: Const) -> Result<(), String> {
        let policy = &self.name;
        let param = self
            .params
            .iter_mut()
            .find(|param| param.name == name)
            .ok_or_else(|| format!("policy `{policy}` has no parameter `{name}`"))?;
        param.accepts(&value)?;
        param.value = value;
        Ok(())
    }
}

/// Where the rules of a template come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// The framework whose controls its rules serve.
    pub framework: String,
    /// The template's own version.
    pub version: String,
    /// Where the framework can be read.
    pub source: String,
    /// The day on which its facts were last checked, `YYYY-MM-DD`.
    pub facts_checked_on: String,
}

/// A parameter.
#[derive(Debug, Clone)]
pub struct Param {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: Type,
    /// What it is unless somebody says otherwise.
    pub default: Const,
    /// The range it must stay in.
    pub range: Option<(Const, Const)>,
    /// What it is for.
    pub help: Option<String>,
    /// What it is.
    pub value: Const,
}

impl Param {
    /// Whether it may have this value; if not, why.
    pub fn accepts(&self, value: &Const) -> Result<(), String> {
        let fits = match (value, self.ty) {
            (Const::List(values), Type::List(element)) => {
                if values.len() > LIST_LIMIT {
                    return Err(format!("`{}` can't have more than {LIST_LIMIT} values", self.name));
                }
                values.iter().all(|value| value.ty() == Some(element.ty()))
            }
            _ => value.ty() == Some(self.ty),
        };
        if !fits {
            return Err(format!("`{}` takes a {}, not `{value}`", self.name, self.ty));
        }
        match &self.range {
            Some((low, high)) if value < low || value > high => {
                Err(format!("`{}` must be in {low}..{high}, and {value} is not", self.name))
            }
            _ => Ok(()),
        }
    }
}

/// What happens to events of these kinds where no rule says.
#[derive(Debug, Clone)]
pub struct Default {
    /// The kinds.
    pub kinds: Vec<EventKind>,
    /// The effect.
    pub effect: Effect,
}

/// A checked rule.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Its name, unique within its policy.
    pub name: String,
    /// The `///` lines above it.
    pub docs: Vec<String>,
    /// The kinds of event that it judges.
    pub kinds: Vec<EventKind>,
    /// `when` and not `unless`.
    pub condition: Expr,
    /// One of the four effects.
    pub effect: Option<Effect>,
    /// Its part of the risk.
    pub score: Option<Number>,
    /// The incident that it opens.
    pub incident: Option<Incident>,
    /// What the enforcer has to do.
    pub obligations: Vec<Obligation>,
    /// Its reason, a string.
    pub because: Option<Expr>,
    /// The controls that it serves.
    pub controls: Vec<String>,
    /// It applies from this time on.
    pub from_us: Option<i64>,
    /// It no longer applies from this time on.
    pub until_us: Option<i64>,
    /// Reports and decides nothing.
    pub shadow: bool,
    /// Where its name stands.
    pub span: Span,
}

/// What a rule or a default asks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Effect {
    /// It may happen.
    Allow,
    /// It may happen, named in the decision.
    Warn,
    /// It must wait for humans.
    RequireApproval {
        /// The group or role that must say yes.
        from: Option<String>,
        /// How many people.
        by: u32,
        /// How long it may take, in seconds.
        within_s: Option<u64>,
    },
    /// It must not happen.
    Deny,
}

impl Effect {
    /// The word used in decisions.
    pub fn name(&self) -> &'static str {
        match self {
            Effect::Allow => "allow",
            Effect::Warn => "warn",
            Effect::RequireApproval { .. } => "require_approval",
            Effect::Deny => "deny",
        }
    }

    /// Whether it restricts: then what is unknown can't be ruled out, and the rule applies.
    pub fn restricts(&self) -> bool {
        matches!(self, Effect::Deny | Effect::RequireApproval { .. })
    }
}

/// How bad an incident is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is the word that it is written as")]
pub enum Severity {
    Low,
    Medium,
    High,
    Critical,
}

impl Severity {
    /// The severities by name.
    pub const NAMES: [(&'static str, Severity); 4] = [
        ("low", Severity::Low),
        ("medium", Severity::Medium),
        ("high", Severity::High),
        ("critical", Severity::Critical),
    ];

    /// The word that it is written as.
    pub fn name(self) -> &'static str {
        Severity::NAMES.iter().find(|(_, severity)| *severity == self).map_or("", |(name, _)| name)
    }
}

/// The incident that a rule opens.
#[derive(Debug, Clone)]
pub struct Incident {
    /// How bad it is.
    pub severity: Severity,
    /// What keeps one incident from another; `agent.id` if empty.
    pub per: Vec<Expr>,
    /// How long after the latest hit another one adds to it, in seconds.
    pub fold_s: u64,
    /// Its title, a string.
    pub title: Option<Expr>,
}

/// What the enforcer or the server has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obligation {
    /// Tell this channel.
    Notify(String),
    /// Blank this path before it is shown or passed on.
    Redact(String),
    /// Stop taking new work from the agent.
    Pause,
    /// Stop the agent.
    Freeze,
    /// Ask the org's reasoning model.
    Judge,
}

/// What the payload of some events looks like. An event that breaks it is denied as `invalid_input`.
#[derive(Debug, Clone)]
pub struct Schema {
    /// The kind of event.
    pub kind: EventKind,
    /// The value of the field that selects it (see [`EventKind::payload`]).
    pub value: String,
    /// Its fields. Others are allowed.
    pub fields: Vec<SchemaField>,
}

/// One field of a schema.
#[derive(Debug, Clone)]
pub struct SchemaField {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: Type,
    /// Whether it may be left out.
    pub optional: bool,
}

/// A bounded loosening of one rule.
#[derive(Debug, Clone)]
pub struct Exemption {
    /// `policy.rule`.
    pub rule: String,
    /// For which events.
    pub condition: Expr,
    /// Until when.
    pub until_us: i64,
    /// Why, a string.
    pub because: Expr,
}

/// A checked test.
#[derive(Debug, Clone)]
pub struct Test {
    /// What it shows.
    pub name: String,
    /// Parameters pinned for it, as `policy.param`, and their values.
    pub pins: Vec<(String, Const)>,
    /// What happened before, as written.
    pub history: Vec<History>,
    /// The kind of event that is judged.
    pub kind: EventKind,
    /// The members of the agent.
    pub agent: Vec<(Vec<String>, TestValue)>,
    /// The members of the event.
    pub event: Vec<(Vec<String>, TestValue)>,
    /// What must come out.
    pub expects: Vec<Expect>,
    /// Where its name stands.
    pub span: Span,
}

/// An event before the one that a test judges. Its agent, org and task are those of that one unless it says otherwise.
#[derive(Debug, Clone)]
pub struct History {
    /// What became of it.
    pub outcome: PastOutcome,
    /// How long before, in microseconds.
    pub before_us: i64,
    /// Its kind.
    pub kind: EventKind,
    /// Its members.
    pub members: Vec<(Vec<String>, TestValue)>,
    /// All of it.
    pub span: Span,
}

/// What became of an earlier event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PastOutcome {
    /// `before 10m:`
    Happened,
    /// `denied before 10m:`
    Denied,
    /// `waiting before 10m:`: for an approval that has not come.
    Waiting,
}

/// A value in a test.
#[derive(Debug, Clone)]
pub enum TestValue {
    /// `{ key = value }`
    Object(Vec<(Vec<String>, TestValue)>),
    /// `[a, b]`
    List(Vec<TestValue>),
    /// A constant expression, which may read parameters.
    Expr(Expr),
    /// `null`: absent.
    Null,
}

/// What a test expects.
#[derive(Debug, Clone)]
pub enum Expect {
    /// A decision.
    Decision {
        /// `allow`, `warn`, `require_approval` or `deny`.
        outcome: String,
        /// The rules that must be reported with that effect, as `policy.rule`.
        by: Vec<String>,
        /// Whether those rules must be unknown.
        undecided: bool,
    },
    /// No rule is reported.
    NoMatch,
    /// An incident of this severity.
    Incident(Severity),
    /// The risk, compared with a number.
    Risk(Comparison, Number),
    /// The reason, a string that may read parameters.
    Because(Expr),
    /// Something that the enforcer has to do.
    Do(Obligation),
    /// These rules are reported as shadow, as `policy.rule`.
    Shadow(Vec<String>),
    /// These rules are reported as exempted, as `policy.rule`.
    Exempted(Vec<String>),
}

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

/// How earlier events are summed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is the word that it is written as")]
pub enum MemoryOperator {
    Count,
    Sum,
    Max,
    Min,
    Distinct,
    Seen,
    Last,
    Streak,
    Sequence,
    Age,
}

impl MemoryOperator {
    /// The operators by name.
    pub const NAMES: [(&'static str, MemoryOperator); 10] = [
        ("count", MemoryOperator::Count),
        ("sum", MemoryOperator::Sum),
        ("max", MemoryOperator::Max),
        ("min", MemoryOperator::Min),
        ("distinct", MemoryOperator::Distinct),
        ("seen", MemoryOperator::Seen),
        ("last", MemoryOperator::Last),
        ("streak", MemoryOperator::Streak),
        ("sequence", MemoryOperator::Sequence),
        ("age", MemoryOperator::Age),
    ];

    /// The word that it is written as.
    pub fn name(self) -> &'static str {
        MemoryOperator::NAMES.iter().find(|(_, operator)| *operator == self).map_or("", |(name, _)| name)
    }
}

/// Which of the events of a kind are remembered, by what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Became {
    /// Those that happened: not denied, and not waiting for an approval.
    Happened,
    /// `attempted`: all.
    Attempted,
    /// `denied`: those refused.
    Denied,
}

impl Became {
    /// The word before the kind, with a blank; empty for what happened.
    pub fn prefix(self) -> &'static str {
        match self {
            Became::Happened => "",
            Became::Attempted => "attempted ",
            Became::Denied => "denied ",
        }
    }
}

/// Some of the earlier events. Its expressions are over the remembered event.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MemoryPart {
    /// What became of them.
    pub became: Became,
    /// Their kinds.
    pub kinds: Vec<EventKind>,
    /// The value that is remembered of each.
    pub value: Option<Expr>,
    /// `where`
    pub filter: Option<Expr>,
}

/// One of the keys that keep memories apart, computed from the remembered event.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MemoryKey {
    /// Whether a list gives one key for each of its values.
    pub each: bool,
    /// The key.
    pub expr: Expr,
}

/// How far a memory reaches back.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Within {
    /// So many microseconds.
    Time(i64),
    /// A parameter: its full name, and the most microseconds that it can be.
    Param(String, i64),
    /// The last so many events of those kinds and that key.
    Events(u32),
}

impl Within {
    /// The longest that it can be, in microseconds; none if it counts events.
    pub fn longest_us(&self) -> Option<i64> {
        match self {
            Within::Time(micros) | Within::Param(_, micros) => Some(*micros),
            Within::Events(_) => None,
        }
    }
}

/// What is remembered, wherever it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Memory {
    /// How events are summed up.
    pub operator: MemoryOperator,
    /// Which events: several parts only for a sequence.
    pub parts: Vec<MemoryPart>,
    /// `since`: what ends a `seen`.
    pub since: Option<MemoryPart>,
    /// `until`: what resets a sequence.
    pub until: Option<MemoryPart>,
    /// What keeps memories apart, besides the org.
    pub keys: Vec<MemoryKey>,
    /// How far it reaches back; for ever if none.
    pub within: Option<Within>,
    /// How finely sums and free counts are kept, in microseconds, where there is a window of time.
    pub resolution_us: Option<i64>,
}

impl Memory {
    /// All parts, those after `since` and `until` too.
    pub fn all_parts(&self) -> impl Iterator<Item = &MemoryPart> {
        self.parts.iter().chain(&self.since).chain(&self.until)
    }

    /// The expressions over remembered events.
    pub fn remembered(&self) -> impl Iterator<Item = &Expr> {
        let of_parts = self.all_parts().flat_map(|part| part.value.iter().chain(&part.filter));
        of_parts.chain(self.keys.iter().map(|key| &key.expr))
    }

    /// Changes the expressions over remembered events, the lowest first.
    pub fn each_remembered_mut(&mut self, change: &mut impl FnMut(&mut Expr)) {
        for part in self.parts.iter_mut().chain(&mut self.since).chain(&mut self.until) {
            part.value.iter_mut().chain(&mut part.filter).for_each(|expr| expr.each_mut(change));
        }
        self.keys.iter_mut().for_each(|key| key.expr.each_mut(change));
    }
}

/// A question to a memory.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ask {
    /// What is remembered.
    pub memory: Memory,
    /// The keys, computed from the event being judged.
    pub keys: Vec<Expr>,
    /// The answer may stop here: only whether it is less, that, or more is asked. For `count` and `distinct`.
    pub bound: Option<u32>,
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
        match &self.kind {
            ExprKind::Const(_)
            | ExprKind::Field(_)
            | ExprKind::Param(_)
            | ExprKind::Risk
            | ExprKind::Var(_) => Vec::new(),
            ExprKind::Member(a, _)
            | ExprKind::Take(a)
            | ExprKind::Not(a)
            | ExprKind::InPatterns(a, _)
            | ExprKind::Like(a, _)
            | ExprKind::Matches(a, ..)
            | ExprKind::Present(a)
            | ExprKind::Negative(a)
            | ExprKind::Zoned(a, _)
            | ExprKind::TimePart(_, a, _) => vec![a],
            ExprKind::Item(a, b)
            | ExprKind::Compare(_, a, b)
            | ExprKind::In(a, b)
            | ExprKind::InAs(a, b, _)
            | ExprKind::Has(_, a, b)
            | ExprKind::TextTest(_, a, b)
            | ExprKind::Otherwise(a, b)
            | ExprKind::Quantified(_, _, a, b)
            | ExprKind::Arithmetic(_, a, b) => vec![a, b],
            ExprKind::Between(a, b, c) | ExprKind::If(a, b, c) => vec![a, b, c],
            ExprKind::And(parts) | ExprKind::Or(parts) | ExprKind::Call(_, parts) => parts.iter().collect(),
            ExprKind::Memory(ask) => ask.keys.iter().collect(),
            // The operands stand in the test as well.
            ExprKind::Lenient { test, .. } => vec![test],
            ExprKind::Join(pieces) => pieces
                .iter()
                .filter_map(|piece| match piece {
                    Piece::Text(_) => None,
                    Piece::Value(value) => Some(value),
                })
                .collect(),
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
        found(self) || self.children().into_iter().any(|child| child.any(found))
    }
}
