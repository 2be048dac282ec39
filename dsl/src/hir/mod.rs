//! The checked form: names resolved, every expression typed. What the engine consumes.

mod expr;
mod memory;

use std::sync::Arc;

pub use crate::ast::{Comparison, Quantifier};
use crate::events::EventKind;
use crate::number::Number;
use crate::source::Span;
use crate::types::Type;
pub use expr::*;
pub use memory::*;

/// The most values that a list may have.
pub const LIST_LIMIT: usize = 100_000;

/// All policies that are active together.
#[derive(Debug, Clone, Default)]
pub struct PolicySet {
    /// The policies, in the order of their sources. Shared with other sets in which they are the same.
    pub policies: Vec<Arc<Policy>>,
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
    /// Its rules. Shared with earlier versions of the policy in which they are the same.
    pub rules: Vec<Arc<Rule>>,
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
