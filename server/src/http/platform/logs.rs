//! `/api/v1/logs`: one executed step of an agent's task. It happened, so it is never refused.

use std::collections::HashSet;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use super::super::acting::Acting;
use super::super::auth::Actor;
use super::super::body::{Json, without_place};
use super::super::members::members;
use super::super::problem::{FieldProblem, Problem, WriteProblems};
use super::super::retries::Retry;
use super::super::values::Decimal;
use super::incidents::TouchedIncident;
use crate::app::App;
use crate::draft::{Answer, Refused};
use crate::pdp::{Incoming, MAX_FIELD_BYTES, decide_once, decode, prepare};
use crate::retries::Shown;
use crate::vault::hex;

const SOURCE: &str = "/api/v1/logs";
const MAX_TASK_BYTES: usize = 255;

/// What the fields of a log event are called here.
const NAMES: [(&str, &str); 6] = [
    ("task", "task_id"),
    ("step_type", "node_type"),
    ("name", "node_name"),
    ("input", "input_data"),
    ("output", "output_data"),
    ("duration_ms", "execution_time_ms"),
];

/// One step. Members that are not listed are ignored.
#[derive(Debug, Deserialize, ToSchema)]
pub struct NewLog {
    /// The agent's id or name. An unknown name registers the agent as one that nobody declared.
    #[schema(example = "support-bot")]
    agent_id: String,
    /// The run that this is a step of.
    #[schema(example = "run-17")]
    task_id: String,
    /// `START_NODE`, `END_NODE`, `LLM_CALL`, `TOOL_CALL`, `MEMORY_CALL`, `HUMAN_APPROVAL`, `PII_CHECK`, `DECISION`, `ERROR`,
    /// or a newer kind of step such as `step.resource`.
    #[schema(example = "TOOL_CALL")]
    node_type: String,
    /// What was called.
    #[schema(example = "get_order")]
    node_name: Option<String>,
    /// What went in: any JSON.
    #[schema(value_type = Option<Object>, example = json!({"order_id": "o-1"}))]
    input_data: Option<Box<RawValue>>,
    /// What came out: any JSON.
    #[schema(value_type = Option<Object>, example = json!({"status": "shipped"}))]
    output_data: Option<Box<RawValue>>,
    /// How long it took, in milliseconds.
    #[schema(value_type = Option<f64>, example = 42)]
    execution_time_ms: Option<Box<RawValue>>,
    /// `GET`, `POST`, `PATCH` or `DELETE`, where the step has one.
    verb: Option<String>,
    status: Option<String>,
    /// Anything that rules read as `properties`.
    #[schema(value_type = Option<Object>)]
    properties: Option<Box<RawValue>>,
    /// Added to `properties`, where those do not have it.
    #[schema(value_type = Option<Object>)]
    metadata: Option<Box<RawValue>>,
}

/// A recorded step.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"log_id": "0198c0de-0000-7000-8000-000000000000", "task_id": "run-17", "step_number": 1,
    "hash": "5e88…", "previous_hash": "0000…", "incidents": [], "action": "allow", "risk_score": 0}))]
pub struct LogBody {
    /// The id of its ledger entry.
    log_id: Uuid,
    task_id: String,
    /// Its place in the task, counted from 1.
    step_number: i64,
    /// The task's hash after this step.
    hash: String,
    /// The task's hash before it; zeros for the first.
    previous_hash: String,
    /// The incidents that it opened or added to.
    incidents: Vec<TouchedIncident>,
    /// What the policies say about it: `allow`, `warn`, `require_approval` or `deny`.
    action: &'static str,
    risk_score: Decimal,
}

/// Log one step.
///
/// It is judged as a `log` event; a denial opens an incident.
#[utoipa::path(post, path = "/api/v1/logs", tag = "logs", request_body = NewLog,
    responses((status = 201, description = "Recorded and judged", body = LogBody), WriteProblems))]
pub async fn log_step(
    State(app): State<Arc<App>>,
    actor: Actor,
    retry: Retry,
    Json(log): Json<NewLog>,
) -> Result<(StatusCode, axum::Json<LogBody>), Problem> {
    let json = event(&log)?;
    let (org, caller) = (&actor.org, &actor.caller);
    let incoming = Incoming { caller, source: SOURCE, json: json.as_bytes() };
    let acting = Acting::find(org, caller, "agent_id", &log.agent_id)?;
    let named_as_here = |refused| Problem::from(refused).renamed(&NAMES);
    decode(org, incoming, acting.agent()).map_err(named_as_here)?;
    let agent = acting.settle(org, caller, SOURCE, "agent_id").await?;
    let prepared = prepare(&app, org, incoming, &agent, None).map_err(named_as_here)?;
    let task = log.task_id.clone();
    let keep = retry.keep(move |judged: &Vec<Result<Answer, Refused>>| {
        let answer = judged.first()?.as_ref().ok()?;
        Shown::new(StatusCode::CREATED.as_u16(), &body(task, answer)?)
    });
    let answer = decide_once(org, prepared, keep).await?;
    let body = body(log.task_id, &answer).ok_or_else(Problem::internal)?;
    Ok((StatusCode::CREATED, axum::Json(body)))
}

/// What is said of a step that was judged.
fn body(task_id: String, answer: &Answer) -> Option<LogBody> {
    let Answer::Judged(judged) = answer else { return None };
    let step = judged.step?;
    Some(LogBody {
        log_id: judged.id,
        task_id,
        step_number: step.number,
        hash: hex(&step.hash),
        previous_hash: hex(&step.previous),
        incidents: judged.incidents.iter().map(TouchedIncident::new).collect(),
        action: judged.decision.decision.name(),
        risk_score: Decimal(judged.decision.risk),
    })
}

/// The newer kind of step that an older node type is; unknown ones pass as they are.
fn step_type(node_type: &str) -> &str {
    match node_type {
        "START_NODE" => "task.start",
        "END_NODE" => "task.end",
        "ERROR" => "task.error",
        "LLM_CALL" => "step.model",
        "TOOL_CALL" => "step.resource",
        "MEMORY_CALL" => "step.self",
        "HUMAN_APPROVAL" | "PII_CHECK" => "step.gate",
        "DECISION" => "step.unknown",
        other => other,
    }
}

/// The kind of gate that an older node type stands for.
fn gate_kind(node_type: &str) -> Option<&'static str> {
    match node_type {
        "HUMAN_APPROVAL" => Some("human"),
        "PII_CHECK" => Some("guardrail"),
        _ => None,
    }
}

/// The event that a log is.
fn event(log: &NewLog) -> Result<String, Problem> {
    #[derive(Serialize)]
    struct Shape<'a> {
        event: &'static str,
        task: &'a str,
        step_type: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        verb: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        status: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        duration_ms: Option<&'a RawValue>,
        #[serde(skip_serializing_if = "Option::is_none")]
        input: Option<&'a RawValue>,
        #[serde(skip_serializing_if = "Option::is_none")]
        output: Option<&'a RawValue>,
        properties: &'a RawValue,
    }
    let mut errors = Vec::new();
    let mut wrong = |field: &str, detail: &str| errors.push(FieldProblem::new(field, detail));
    if log.task_id.is_empty() || log.task_id.len() > MAX_TASK_BYTES || log.task_id.contains(char::is_control)
    {
        wrong("task_id", "must have 1 to 255 bytes and no control characters");
    }
    if log.node_type.is_empty() {
        wrong("node_type", "must not be empty");
    }
    let texts = [
        ("input_data", &log.input_data),
        ("output_data", &log.output_data),
        ("properties", &log.properties),
        ("metadata", &log.metadata),
    ];
    for (field, text) in texts {
        if text.as_ref().is_some_and(|text| text.get().len() > MAX_FIELD_BYTES) {
            wrong(field, "is longer than 64 KiB");
        }
    }
    if !errors.is_empty() {
        return Err(Problem::invalid(errors));
    }
    let shape = Shape {
        event: "log",
        task: &log.task_id,
        step_type: step_type(&log.node_type),
        name: log.node_name.as_deref(),
        verb: log.verb.as_deref(),
        status: log.status.as_deref(),
        duration_ms: log.execution_time_ms.as_deref(),
        input: log.input_data.as_deref(),
        output: log.output_data.as_deref(),
        properties: &properties(log)?,
    };
    serde_json::to_string(&shape).map_err(|_| Problem::internal())
}

/// `properties` and `metadata` in one object, with the node type as it came.
fn properties(log: &NewLog) -> Result<Box<RawValue>, Problem> {
    let node_type = serde_json::to_string(&log.node_type).map_err(|_| Problem::internal())?;
    let mut out = format!("{{\"node_type\":{node_type}");
    let mut taken = HashSet::from(["node_type".to_owned()]);
    for (field, object) in [("properties", &log.properties), ("metadata", &log.metadata)] {
        let Some(object) = object.as_ref().filter(|object| object.get() != "null") else { continue };
        let members =
            members(object).map_err(|error| Problem::field(field, without_place(&error.to_string())))?;
        for (name, value) in members {
            if !taken.contains(name.as_ref()) {
                let quoted = serde_json::to_string(&name).map_err(|_| Problem::internal())?;
                out.push_str(&format!(",{quoted}:{}", value.get()));
                taken.insert(name.into_owned());
            }
        }
    }
    if let Some(kind) = gate_kind(&log.node_type).filter(|_| !taken.contains("kind")) {
        out.push_str(&format!(",\"kind\":\"{kind}\""));
    }
    out.push('}');
    RawValue::from_string(out).map_err(|_| Problem::internal())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(json: &str) -> NewLog {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn an_older_log_is_a_newer_event() {
        let log = log(
            r#"{"agent_id":"a","task_id":"t","node_type":"PII_CHECK","node_name":"scan","input_data":{"n":1.50},
            "execution_time_ms":3,"properties":{"a":1,"node_type":"X"},"metadata":{"a":2,"b":3}}"#,
        );
        let want = r#"{"event":"log","task":"t","step_type":"step.gate","name":"scan","duration_ms":3,"input":{"n":1.50},"properties":{"node_type":"PII_CHECK","a":1,"b":3,"kind":"guardrail"}}"#;
        assert_eq!(event(&log).unwrap(), want);
    }

    #[test]
    fn a_newer_kind_of_step_passes_as_it_is() {
        assert_eq!(step_type("step.exec"), "step.exec");
        assert_eq!(step_type("TOOL_CALL"), "step.resource");
    }

    #[test]
    fn every_wrong_field_is_named() {
        let long = "x".repeat(MAX_FIELD_BYTES);
        let log = log(&format!(r#"{{"agent_id":"a","task_id":"","node_type":"","input_data":"{long}"}}"#));
        let problem = event(&log).unwrap_err().body("r");
        let fields: Vec<_> =
            problem["errors"].as_array().unwrap().iter().map(|e| e["field"].clone()).collect();
        assert_eq!(fields, ["task_id", "node_type", "input_data"]);
    }
}
