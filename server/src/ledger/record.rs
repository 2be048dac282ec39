//! What the entry of a judged event says: the decision as it was made, without texts that may be personal.

use lictor_engine::decision::{Approval, Decision, Obligation, ReportedTruth, RuleReport};

use crate::canonical::{MAX_INTEGER, Object, Value};
use crate::vault::{Bytes32, hex};

/// Room for the members of the entry of a judged event.
const MEMBERS: usize = 18;

/// The content of an entry for a judged event: the decision as it was made, without texts that may be personal.
pub fn judged<'a>(decision: &'a Decision, agent_revision: i64, payload: &Bytes32) -> Object<'a> {
    let rules = decision.rules.iter().map(|rule| Value::Object(rule_record(rule))).collect();
    let mut outcome = Object::new()
        .text("outcome", decision.decision.name())
        .text("class", decision.class.name())
        .text("risk", decision.risk.to_string())
        .value("rules", Value::List(rules));
    if let Some(approval) = &decision.approval {
        outcome = outcome.value("approval", Value::Object(approval_record(approval)));
    }
    if !decision.obligations.is_empty() {
        let obligations = decision.obligations.iter().map(|one| Value::Object(obligation_record(one)));
        outcome = outcome.value("obligations", Value::List(obligations.collect()));
    }
    Object::with_room(MEMBERS)
        .value("decision", Value::Object(outcome))
        .text("policy_set", &*decision.policy_set)
        .integer("agent_revision", agent_revision)
        .text("payload", format!("hmac-sha256:{}", hex(payload)))
}

fn approval_record(approval: &Approval) -> Object<'_> {
    let object =
        Object::new().value("from", texts(&approval.from)).integer("count", i64::from(approval.count));
    match approval.within_s {
        Some(seconds) => {
            object.integer("within_s", i64::try_from(seconds).map_or(MAX_INTEGER, |s| s.min(MAX_INTEGER)))
        }
        None => object,
    }
}

fn obligation_record(obligation: &Obligation) -> Object<'_> {
    let object = Object::new()
        .text("do", &*obligation.action)
        .optional_text("to", obligation.to.as_deref())
        .optional_text("path", obligation.path.as_deref());
    if obligation.shadow { object.integer("shadow", 1) } else { object }
}

fn texts(texts: &[String]) -> Value<'_> {
    Value::List(texts.iter().map(|text| Value::Text(text.as_str().into())).collect())
}

fn rule_record(rule: &RuleReport) -> Object<'_> {
    let truth = match rule.truth {
        ReportedTruth::True => "true",
        ReportedTruth::Unknown => "unknown",
    };
    let mode = match rule.mode {
        lictor_engine::decision::Mode::Enforce => "enforce",
        lictor_engine::decision::Mode::Shadow => "shadow",
    };
    let object = Object::new()
        .text("rule", &*rule.rule)
        .optional_text("effect", rule.effect.map(|effect| effect.name()))
        .text("truth", truth)
        .text("mode", mode)
        .optional_text("score", rule.score.map(|score| score.to_string()));
    let object = if rule.missing.is_empty() { object } else { object.value("missing", texts(&rule.missing)) };
    let object = if rule.filling { object.integer("filling", 1) } else { object };
    if rule.exempted { object.integer("exempted", 1) } else { object }
}
