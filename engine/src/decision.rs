//! What a policy set answers about one event.

use std::fmt::{self, Write};
use std::sync::Arc;

pub use lictor_dsl::hir::Severity;
use lictor_dsl::number::Number;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

/// What may happen, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It may happen.
    Allow,
    /// It may happen, and somebody should look at it.
    Warn,
    /// It must wait for humans.
    RequireApproval,
    /// It must not happen.
    Deny,
}

impl Outcome {
    /// The word used in decisions and in the ledger.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Allow => "allow",
            Outcome::Warn => "warn",
            Outcome::RequireApproval => "require_approval",
            Outcome::Deny => "deny",
        }
    }
}

/// Why the outcome is what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// A rule or a default allows it.
    Allowed,
    /// A rule forbids it.
    DeniedByRule,
    /// A rule wants it to wait.
    ApprovalRequired,
    /// Nothing allows it.
    NotPermitted,
    /// Only rules that could not be ruled out carry the outcome.
    Undecided,
    /// The event breaks the table or a schema.
    InvalidInput,
    /// The engine could not answer.
    EngineFault,
}

impl Class {
    /// The word used in decisions and in the ledger.
    pub fn name(self) -> &'static str {
        match self {
            Class::Allowed => "allowed",
            Class::DeniedByRule => "denied_by_rule",
            Class::ApprovalRequired => "approval_required",
            Class::NotPermitted => "not_permitted",
            Class::Undecided => "undecided",
            Class::InvalidInput => "invalid_input",
            Class::EngineFault => "engine_fault",
        }
    }
}

/// The whole answer. Members that would be empty are left out of its JSON form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// What may happen.
    pub decision: Outcome,
    /// Why.
    pub class: Class,
    /// The sum of the scores of the matching rules, held to 0..1.
    #[serde(serialize_with = "number")]
    pub risk: Number,
    /// The `because` of the first enforcing rule that carried the outcome, or what was wrong with the input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Every rule that applied or stayed unknown, strongest first, then by name.
    pub rules: Vec<RuleReport>,
    /// What the approval must be, where the outcome is `require_approval`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// Incidents that the matching rules open.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub incidents: Vec<IncidentReport>,
    /// What the caller or the server has to do along with the decision.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub obligations: Vec<Obligation>,
    /// For `not_permitted`: the `allow` rule that came nearest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nearest: Option<Nearest>,
    /// For `invalid_input`: the fields that are wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<crate::event::FieldError>,
    /// The digest of the policy set that decided.
    pub policy_set: Arc<str>,
}

/// One rule's part in a decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleReport {
    /// `policy.rule`.
    pub rule: Arc<str>,
    /// What it asks for; none if it only scores, opens incidents or obliges.
    pub effect: Option<Outcome>,
    /// Whether its condition was true or unknown.
    pub truth: ReportedTruth,
    /// The distinct unknown parts that made the condition unknown, sorted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// Its part of the risk.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "some_number")]
    pub score: Option<Number>,
    /// Its reason, with values filled in. May hold personal data: it is not part of the ledger's hash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// The controls that it serves.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub controls: Arc<[String]>,
    /// `enforce`, or `shadow`: reported, deciding nothing.
    pub mode: Mode,
    /// It asks a memory that is not filled from the ledger yet: until then it is in shadow.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub filling: bool,
    /// An exemption held, so it decided nothing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub exempted: bool,
    /// Why it is exempted, with values filled in. May hold personal data: it is not part of the ledger's hash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exemption: Option<String>,
}

/// What a reported rule's condition was; false ones are not reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReportedTruth {
    /// Certainly true.
    True,
    /// It could not be ruled out.
    Unknown,
}

/// Whether a rule decides or only reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It decides.
    Enforce,
    /// It reports everything and decides nothing.
    Shadow,
}

/// What an approval must be: all rules that ask for one, combined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Approval {
    /// Every group or role that must say yes.
    pub from: Vec<String>,
    /// How many people at least.
    pub count: u32,
    /// How long it may take, in seconds; none if no rule says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within_s: Option<u64>,
}

/// An incident that a matching rule opens, or adds to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IncidentReport {
    /// `policy.rule`.
    pub rule: Arc<str>,
    /// How bad it is.
    #[serde(serialize_with = "severity")]
    pub severity: Severity,
    /// Hits with the same rule and key within the fold time add to one incident. May hold personal data.
    pub key: Vec<String>,
    /// Its title, with values filled in. May hold personal data.
    pub title: String,
    /// The numbers of the earlier events that the rule rests on, the latest hundred of each memory.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub witnesses: Vec<u64>,
    /// How long after the latest hit another one still adds to the open incident, in seconds.
    #[serde(skip)]
    pub fold_s: u64,
    /// A shadow rule's: shown, not opened.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub shadow: bool,
}

/// Something that the enforcer or the server has to do along with the decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Obligation {
    /// `notify`, `pause`, `freeze`, `redact` or `judge`.
    #[serde(rename = "do")]
    pub action: String,
    /// The channel of a `notify`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The path of a `redact`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// A shadow rule's: shown, not carried out.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub shadow: bool,
}

/// The `allow` rule that came nearest, and its first part that did not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Nearest {
    /// `policy.rule`.
    pub rule: Arc<str>,
    /// The part that failed.
    pub failed: String,
}

/// An exact number as a plain JSON number. The text is made on the stack: decisions have several.
pub fn number<S: Serializer>(value: &Number, serializer: S) -> Result<S::Ok, S::Error> {
    let mut digits = Digits { bytes: [0; 41], length: 0 };
    digits.number(*value).map_err(serde::ser::Error::custom)?;
    let raw: &RawValue = serde_json::from_str(digits.text()).map_err(serde::ser::Error::custom)?;
    raw.serialize(serializer)
}

/// Room for the text of any number: a sign, 30 digits, a point and nine decimals.
struct Digits {
    bytes: [u8; 41],
    length: usize,
}

impl Digits {
    fn number(&mut self, value: Number) -> fmt::Result {
        let billionths = value.billionths();
        let (whole, fraction) = (billionths.unsigned_abs() / BILLION, billionths.unsigned_abs() % BILLION);
        if billionths < 0 {
            self.write_char('-')?;
        }
        match u64::try_from(whole) {
            Ok(whole) => write!(self, "{whole}")?,
            Err(_) => write!(self, "{whole}")?,
        }
        if fraction != 0 {
            write!(self, ".{fraction:09}")?;
            self.length = self.text().trim_end_matches('0').len();
        }
        Ok(())
    }

    fn text(&self) -> &str {
        self.bytes.get(..self.length).and_then(|bytes| str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

const BILLION: u128 = 1_000_000_000;

impl fmt::Write for Digits {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

fn some_number<S: Serializer>(value: &Option<Number>, serializer: S) -> Result<S::Ok, S::Error> {
    number(&value.unwrap_or_default(), serializer)
}

fn severity<S: Serializer>(value: &Severity, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(value.name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Serialize)]
    struct One(#[serde(serialize_with = "number")] Number);

    proptest! {
        #[test]
        fn numbers_are_written_as_they_are_shown(billionths: i128, shift in 0..128_u32) {
            let number = Number::from_billionths(billionths >> shift);
            prop_assert_eq!(serde_json::to_string(&One(number)).unwrap(), number.to_string());
        }
    }

    #[test]
    fn the_longest_numbers_have_room() {
        for number in [i128::MIN, i128::MAX, 0, -1, 1, 350_000_000].map(Number::from_billionths) {
            assert_eq!(serde_json::to_string(&One(number)).unwrap(), number.to_string());
        }
    }
}
