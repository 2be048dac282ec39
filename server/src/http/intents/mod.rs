//! Governed execution, `/api/v3`: an agent says what it wants to do before it does it.

use std::sync::Arc;

use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use lictor_dsl::number::Number;
use lictor_engine::decision::{Class, Decision, Mode, Outcome, ReportedTruth, RuleReport};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use super::auth::Actor;
use super::body::{Json, without_place};
use super::members::canonical;
use super::problem::{FieldProblem, LimitedProblems, Problem};
use super::retries::Retry;
use super::values::Decimal;
use crate::accounts::Caller;
use crate::agents::Known;
use crate::app::{App, Org};
use crate::clock::rfc3339;
use crate::draft::{Answer, Refused};
use crate::intents::{Declaration, Intent, PENDING};
use crate::ledger::sha256;
use crate::pdp::{Incoming, MAX_FIELD_BYTES, decide_once, decode, dry_run, prepare};
use crate::retries::Shown;

const SOURCE: &str = "/api/v3/intents";
const MAX_ACTION_CHARACTERS: usize = 200;
const MAX_KEY_BYTES: usize = 255;

/// The caller with the org and the agent that its headers name.
#[derive(Debug)]
pub struct Named {
    caller: Caller,
    org: Arc<Org>,
    agent: Arc<Known>,
}

impl FromRequestParts<Arc<App>> for Named {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Named, Problem> {
        let Actor { caller, org } = Actor::from_request_parts(parts, app).await?;
        let header =
            |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap_or_default().trim());
        let (org_id, agent_id) = (header("x-org-id"), header("x-agent-id"));
        let missing =
            [("x-org-id", org_id), ("x-agent-id", agent_id)].into_iter().filter(|(_, value)| value.is_none());
        let missing: Vec<_> =
            missing.map(|(name, _)| FieldProblem::new(name, "is a required header")).collect();
        // That the org is the caller's was seen when the caller was.
        let (Some(_), Some(agent_id)) = (org_id, agent_id) else {
            return Err(Problem::invalid(missing));
        };
        let agent = org.view.directory.find(agent_id).filter(|agent| agent.obeys(&caller));
        let agent = agent.ok_or_else(|| {
            Problem::contradicts("x-agent-id", "this credential does not act for that agent")
        })?;
        Ok(Named { caller, org, agent })
    }
}

impl Named {
    fn agree(&self, org_id: &str, agent_id: Option<&str>) -> Result<(), Problem> {
        if Uuid::parse_str(org_id).ok() != Some(self.org.view.id) {
            return Err(Problem::contradicts("org_id", "differs from the header x-org-id"));
        }
        let same =
            |name: &str| self.org.view.directory.find(name).is_some_and(|agent| agent.id == self.agent.id);
        match agent_id {
            Some(name) if !same(name) => {
                Err(Problem::contradicts("agent_id", "differs from the header x-agent-id"))
            }
            _ => Ok(()),
        }
    }
}

/// An intent. Members that are not listed are ignored.
#[derive(Debug, Deserialize, ToSchema)]
pub struct NewIntent {
    /// Who wants to act; as in the header `x-agent-id`.
    #[schema(example = "0198c0de-0000-7000-8000-000000000001")]
    agent_id: String,
    /// The org; as in the header `x-org-id`.
    #[schema(example = "0198c0de-0000-7000-8000-000000000000")]
    org_id: String,
    /// What is to be done, in at most 200 characters.
    #[schema(example = "refund")]
    action: String,
    /// What it is to be done with: an object of at most 64 KiB.
    #[schema(value_type = Option<Object>, example = json!({"order_id": "o-1"}))]
    payload: Option<Box<RawValue>>,
    /// What it costs: an exact number, also as a string.
    #[schema(value_type = Option<f64>, example = 5000)]
    amount: Option<Box<RawValue>>,
    currency: Option<String>,
    /// What it is to be done to.
    #[schema(value_type = Option<Object>)]
    target: Option<Box<RawValue>>,
    /// The same key with the same request declares nothing twice; with another request it is a 409.
    #[schema(example = "order-17-refund")]
    idempotency_key: Option<String>,
}

/// A declared intent.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"intent_id": "0198c0de-0000-7000-8000-000000000002", "status": "pending", "risk_score": 0.45,
    "created_at": "2026-04-05T12:00:00.000Z"}))]
pub struct IntentBody {
    intent_id: Uuid,
    /// `pending`: nothing is done yet.
    status: &'static str,
    /// What the policies think of it, from 0 to 1.
    risk_score: Decimal,
    created_at: String,
}

/// Declare an intent.
///
/// It is judged, scored and stored; `policy/evaluate` tells the decision.
#[utoipa::path(post, path = "/api/v3/intents", tag = "intents", request_body = NewIntent,
    params(("x-org-id" = String, Header, description = "The org"), ("x-agent-id" = String, Header, description = "The agent")),
    responses((status = 201, description = "Declared; or the answer of the first time", body = IntentBody), LimitedProblems))]
pub async fn declare_intent(
    State(app): State<Arc<App>>,
    named: Named,
    retry: Retry,
    Json(new): Json<NewIntent>,
) -> Result<(StatusCode, axum::Json<IntentBody>), Problem> {
    let json = event(&new)?;
    named.agree(&new.org_id, Some(&new.agent_id))?;
    let incoming = Incoming { caller: &named.caller, source: SOURCE, json: json.as_bytes() };
    let request = serde_json::from_str(&json).and_then(canonical);
    let request = request.map_err(|error| Problem::field("", without_place(&error.to_string())))?;
    let declaration = Declaration {
        request_digest: sha256(&[named.agent.id.as_bytes(), request.as_bytes()]),
        idempotency_key: new.idempotency_key,
    };
    let prepared = prepare(&app, &named.org, incoming, &named.agent, Some(declaration))?;
    let spent = app.quota.take_intent(&app.database, named.org.view.id, app.clock.now_us()).await?;
    if let Some(spent) = spent.filter(|spent| !spent.is_within) {
        return Err(Problem::too_many(&format!("{} intents a day", spent.limit), spent.resets_s));
    }
    let keep = retry.keep(|judged: &Vec<Result<Answer, Refused>>| {
        let intent = declared(judged.first()?.as_ref().ok()?)?;
        Shown::new(StatusCode::CREATED.as_u16(), &body(intent))
    });
    let answer = decide_once(&named.org, prepared, keep).await?;
    let intent = declared(&answer).ok_or_else(Problem::internal)?;
    Ok((StatusCode::CREATED, axum::Json(body(intent))))
}

fn declared(answer: &Answer) -> Option<&Intent> {
    match answer {
        Answer::Judged(judged) => judged.intent.as_deref(),
        Answer::DeclaredBefore(intent) => Some(intent),
    }
}

fn body(intent: &Intent) -> IntentBody {
    IntentBody {
        intent_id: intent.id,
        status: PENDING,
        risk_score: Decimal(intent.risk),
        created_at: rfc3339(intent.created_at_us),
    }
}

/// The event that an intent is.
fn event(new: &NewIntent) -> Result<String, Problem> {
    #[derive(Serialize)]
    struct Shape<'a> {
        event: &'static str,
        action: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        amount: Option<Box<RawValue>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        currency: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        target: Option<&'a RawValue>,
        #[serde(skip_serializing_if = "Option::is_none")]
        payload: Option<&'a RawValue>,
    }
    let mut errors = Vec::new();
    let mut wrong = |field: &str, detail: &str| errors.push(FieldProblem::new(field, detail));
    if new.action.is_empty() || new.action.chars().count() > MAX_ACTION_CHARACTERS {
        wrong("action", "must have 1 to 200 characters");
    }
    let key_is_wrong = |key: &String| key.is_empty() || key.len() > MAX_KEY_BYTES || key.contains('\0');
    if new.idempotency_key.as_ref().is_some_and(key_is_wrong) {
        wrong("idempotency_key", "must have 1 to 255 bytes, none of them 0");
    }
    for (field, value) in [("payload", &new.payload), ("target", &new.target)] {
        let Some(value) = value else { continue };
        if !value.get().starts_with('{') {
            wrong(field, "must be an object");
        } else if value.get().len() > MAX_FIELD_BYTES {
            wrong(field, "is longer than 64 KiB");
        }
    }
    let amount = match new.amount.as_deref().map(amount).transpose() {
        Ok(amount) => amount.flatten(),
        Err(detail) => {
            wrong("amount", &detail);
            None
        }
    };
    if !errors.is_empty() {
        return Err(Problem::invalid(errors));
    }
    let shape = Shape {
        event: "intent",
        action: &new.action,
        amount,
        currency: new.currency.as_deref(),
        target: new.target.as_deref(),
        payload: new.payload.as_deref(),
    };
    serde_json::to_string(&shape).map_err(|_| Problem::internal())
}

/// An exact number from a JSON number or string.
fn amount(value: &RawValue) -> Result<Option<Box<RawValue>>, String> {
    let json = value.get();
    let text = match json.starts_with('"') {
        true => serde_json::from_str::<String>(json).map_err(|_| "must be a number".to_owned())?,
        false if json == "null" => return Ok(None),
        false => json.to_owned(),
    };
    let number: Number = text.trim().parse().map_err(|error| format!("must be a number: {error}"))?;
    RawValue::from_string(number.to_string()).map(Some).map_err(|_| "must be a number".to_owned())
}

/// An intent to evaluate. Members that are not listed are ignored.
#[derive(Debug, Deserialize, ToSchema)]
pub struct Evaluate {
    /// The intent.
    #[schema(example = "0198c0de-0000-7000-8000-000000000002")]
    intent_id: String,
    /// The org; as in the header `x-org-id`.
    #[schema(example = "0198c0de-0000-7000-8000-000000000000")]
    org_id: String,
}

/// What the policies say about an intent.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"decision": "require_approval", "risk_score": 0.72, "reason": "Amount exceeds $1,000 threshold",
    "matched_rules": ["budget_threshold", "high_risk_action"]}))]
pub struct EvaluationBody {
    /// `allow`, `require_approval` or `deny`.
    decision: &'static str,
    risk_score: Decimal,
    reason: String,
    /// The names of the rules that applied, strongest first.
    matched_rules: Vec<String>,
}

/// Evaluate the policies in force against a declared intent. Nothing is changed or executed.
#[utoipa::path(post, path = "/api/v3/policy/evaluate", tag = "intents", request_body = Evaluate,
    params(("x-org-id" = String, Header, description = "The org"), ("x-agent-id" = String, Header, description = "The agent")),
    responses((status = 200, description = "The decision", body = EvaluationBody), LimitedProblems))]
pub async fn evaluate_intent(
    State(app): State<Arc<App>>,
    named: Named,
    Json(asked): Json<Evaluate>,
) -> Result<axum::Json<EvaluationBody>, Problem> {
    let id = Uuid::parse_str(&asked.intent_id).map_err(|_| Problem::field("intent_id", "must be an id"))?;
    named.agree(&asked.org_id, None)?;
    let org = named.org.view.id;
    let intent = app.database.intent(org, id).await?.filter(|intent| intent.agent == named.agent.id);
    let intent = intent.ok_or_else(|| Problem::not_found("intent"))?;
    if named.agent.inactive.is_some() {
        return Err(Refused::Inactive { reason: named.agent.reason.clone() }.into());
    }
    let json = declared_event(&app, org, intent.id).await?;
    let incoming = Incoming { caller: &named.caller, source: SOURCE, json: json.get().as_bytes() };
    let event = decode(&named.org, incoming, &named.agent)?;
    let decision = dry_run(&named.org, event, Some(app.clock.now_us())).await?;
    Ok(axum::Json(evaluation(&decision)))
}

/// The event as it was declared, from its encrypted payload.
async fn declared_event(app: &App, org: Uuid, intent: Uuid) -> Result<Box<RawValue>, Problem> {
    #[derive(Deserialize)]
    struct Payload {
        event: Box<RawValue>,
    }
    let row = app.database.payload(org, intent).await?.ok_or_else(|| Problem::not_found("intent"))?;
    let bytes = app.vault.unseal(org, intent, &row.wrapped_key, &row.ciphertext).map_err(|error| {
        tracing::error!(%error, %intent, "the payload of an intent can't be opened");
        Problem::internal()
    })?;
    let payload: Payload = serde_json::from_slice(&bytes).map_err(|_| Problem::internal())?;
    Ok(payload.event)
}

fn evaluation(decision: &Decision) -> EvaluationBody {
    let outcome = match decision.decision {
        Outcome::Warn => Outcome::Allow,
        other => other,
    };
    let reason = decision.reason.clone().unwrap_or_else(|| default_reason(decision.class).to_owned());
    let matched =
        decision.rules.iter().filter(|rule| applies(rule)).map(|rule| without_policy(&rule.rule)).collect();
    EvaluationBody {
        decision: outcome.name(),
        risk_score: Decimal(decision.risk),
        reason,
        matched_rules: matched,
    }
}

/// A rule that matched, or could not be ruled out and restricts.
fn applies(rule: &RuleReport) -> bool {
    let restricts = matches!(rule.effect, Some(Outcome::Deny | Outcome::RequireApproval));
    let certain = rule.truth == ReportedTruth::True;
    rule.mode == Mode::Enforce && !rule.exempted && (certain || restricts)
}

fn without_policy(rule: &str) -> String {
    rule.split_once('.').map_or(rule, |(_, name)| name).to_owned()
}

/// A reason where no rule gives one.
fn default_reason(class: Class) -> &'static str {
    match class {
        Class::Allowed => "the policies allow it",
        Class::DeniedByRule => "a rule forbids it",
        Class::ApprovalRequired => "a rule wants it to wait for approval",
        Class::NotPermitted => "nothing allows it",
        Class::Undecided => "it could not be ruled out that it is forbidden",
        Class::InvalidInput => "the intent breaks its schema",
        Class::EngineFault => "the engine could not answer",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intent(more: &str) -> Result<String, Problem> {
        event(
            &serde_json::from_str(&format!(r#"{{"agent_id":"a","org_id":"o","action":"refund"{more}}}"#))
                .unwrap(),
        )
    }

    #[test]
    fn amounts_stay_exact_as_numbers_and_strings() {
        let want = r#"{"event":"intent","action":"refund","amount":9007199254740993.1}"#;
        assert_eq!(intent(r#","amount":9007199254740993.1"#).unwrap(), want);
        assert_eq!(intent(r#","amount":"9007199254740993.10""#).unwrap(), want);
        assert_eq!(intent(r#","amount":null"#).unwrap(), r#"{"event":"intent","action":"refund"}"#);
    }

    #[test]
    fn wrong_fields_are_all_named() {
        let long = "x".repeat(MAX_FIELD_BYTES);
        let problem = intent(&format!(
            r#","amount":"a lot","payload":{{"x":"{long}"}},"target":[],"idempotency_key":"""#
        ));
        let problem = problem.unwrap_err().body("r");
        let fields: Vec<_> =
            problem["errors"].as_array().unwrap().iter().map(|e| e["field"].clone()).collect();
        assert_eq!(fields, ["idempotency_key", "payload", "target", "amount"]);
    }
}
