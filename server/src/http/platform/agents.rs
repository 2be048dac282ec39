//! `/api/v1/agents`: registering agents, and looking at them.

use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode, Uri};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use super::super::auth::Actor;
use super::super::body::Json;
use super::super::problem::{FieldProblem, Problem, ReadProblems, WriteProblems};
use super::super::retries::Retry;
use super::super::values::{Parameters, Segment};
use super::incidents::TouchedIncident;
use crate::accounts::Caller;
use crate::agents::{Agent, Inactive, Profile};
use crate::clock::rfc3339;
use crate::draft::Refused;
use crate::pdp::MAX_FIELD_BYTES;
use crate::registration::{Registered, Registration};
use crate::retries::Shown;

const RISK_CLASSES: [&str; 5] = ["high", "limited", "minimal", "unacceptable", "unclassified"];
const ENVIRONMENTS: [&str; 4] = ["development", "qa", "staging", "production"];
/// The most names in a list of tools or tags.
const MAX_NAMES: usize = 1_000;
/// The longest of these names, in bytes.
const MAX_NAME_BYTES: usize = 255;
/// The longest other text, in bytes.
const MAX_TEXT_BYTES: usize = 4 * 1024;

/// A registration. Members that are not listed are ignored.
#[derive(Debug, Deserialize, ToSchema)]
pub struct NewAgent {
    /// The name its developer chose: `A-Z a-z 0-9 . _ : -`, at most 255 of them, and no UUID.
    #[schema(example = "support-bot")]
    agent_key: String,
    /// A name for people.
    #[schema(example = "Support bot")]
    name: Option<String>,
    description: Option<String>,
    /// What it is for.
    #[schema(example = "answers customers, refunds small orders")]
    purpose: Option<String>,
    owner_id: Option<String>,
    maintainer_id: Option<String>,
    /// `high`, `limited`, `minimal`, `unacceptable` or `unclassified`.
    risk_classification: Option<String>,
    /// `development`, `qa`, `staging` or `production`.
    #[schema(example = "production")]
    environment: Option<String>,
    /// The tools that it says it uses.
    declared_tools: Option<Vec<String>>,
    /// Tags that policies read. Only a person sets them.
    tags: Option<Vec<String>>,
    /// Anything else about it.
    #[schema(value_type = Option<Object>)]
    metadata: Option<Box<RawValue>>,
}

/// An agent.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"agent_id": "0198c0de-0000-7000-8000-000000000000", "agent_key": "support-bot",
    "registration_status": "created", "is_active": true, "declared": true, "name": "Support bot",
    "declared_tools": ["get_order"], "tags": [], "created_at": "2026-11-21T12:00:00.000Z",
    "updated_at": "2026-11-21T12:00:00.000Z", "incidents": []}))]
pub struct AgentBody {
    /// Its id.
    agent_id: Uuid,
    /// Its name, chosen by its developer.
    agent_key: String,
    /// After a registration: `created` or `updated`.
    #[serde(skip_serializing_if = "Option::is_none")]
    registration_status: Option<&'static str>,
    /// Whether it may act.
    is_active: bool,
    /// Why it may not.
    #[serde(skip_serializing_if = "Option::is_none")]
    inactive_cause: Option<&'static str>,
    /// What the policy said.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Whether it was registered, or only seen.
    declared: bool,
    #[serde(flatten)]
    #[schema(value_type = Object)]
    profile: Profile,
    created_at: String,
    updated_at: String,
    /// After a registration: the incidents that it opened or added to.
    #[serde(skip_serializing_if = "Option::is_none")]
    incidents: Option<Vec<TouchedIncident>>,
}

fn body(agent: &Agent) -> AgentBody {
    AgentBody {
        agent_id: agent.id,
        agent_key: agent.key.clone(),
        registration_status: None,
        is_active: agent.inactive.is_none(),
        inactive_cause: agent.inactive.map(Inactive::name),
        reason: agent.reason.clone(),
        declared: agent.declared,
        profile: agent.profile.clone(),
        created_at: rfc3339(agent.registered_at_us),
        updated_at: rfc3339(agent.updated_at_us),
        incidents: None,
    }
}

/// Register an agent, or change its registration.
///
/// It is judged as a `registration` event. If a policy denies it, the agent is registered as inactive, with the reason.
#[utoipa::path(post, path = "/api/v1/agents", tag = "agents", request_body = NewAgent,
    responses((status = 201, description = "Registered", body = AgentBody),
        (status = 200, description = "The registration was changed", body = AgentBody), WriteProblems))]
pub async fn register_agent(
    actor: Actor,
    retry: Retry,
    Json(new): Json<NewAgent>,
) -> Result<(StatusCode, axum::Json<AgentBody>), Problem> {
    let (key, profile) = checked(new, &actor.caller)?;
    if let Caller::Key(api_key) = &actor.caller
        && let Some(bound) = api_key.agent
        && actor.org.view.directory.find(&key).map(|agent| agent.id) != Some(bound)
    {
        return Err(Problem::contradicts("agent_key", "this API key acts for another agent only"));
    }
    let Actor { caller, org } = actor;
    let registration = Registration { key, profile, declared: true, caller, source: "/api/v1/agents" };
    let keep = retry.keep(|registered: &Result<Registered, Refused>| {
        let (status, body) = shown(registered.as_ref().ok()?);
        Shown::new(status.as_u16(), &body)
    });
    let (status, body) = shown(&org.queue.register(registration).keeping(keep).await??);
    Ok((status, axum::Json(body)))
}

/// What is said of a registration.
fn shown(registered: &Registered) -> (StatusCode, AgentBody) {
    let (status, word) = match registered.created {
        true => (StatusCode::CREATED, "created"),
        false => (StatusCode::OK, "updated"),
    };
    let touched = registered.judged.iter().flat_map(|judged| &judged.incidents);
    let incidents = touched.map(TouchedIncident::new).collect();
    let body =
        AgentBody { registration_status: Some(word), incidents: Some(incidents), ..body(&registered.agent) };
    (status, body)
}

fn checked(new: NewAgent, caller: &Caller) -> Result<(String, Profile), Problem> {
    let mut errors = Vec::new();
    let mut wrong = |field: &str, detail: &str| errors.push(FieldProblem::new(field, detail));
    if let Err(detail) = check_agent_key(&new.agent_key) {
        wrong("agent_key", detail);
    }
    if new.risk_classification.as_deref().is_some_and(|class| !RISK_CLASSES.contains(&class)) {
        wrong("risk_classification", "must be one of high, limited, minimal, unacceptable, unclassified");
    }
    if new.environment.as_deref().is_some_and(|environment| !ENVIRONMENTS.contains(&environment)) {
        wrong("environment", "must be one of development, qa, staging, production");
    }
    for (field, names) in [("declared_tools", &new.declared_tools), ("tags", &new.tags)] {
        if names.as_ref().is_some_and(|names| names.len() > MAX_NAMES) {
            wrong(field, "has more than 1000 items");
        }
        let too_long = |name: &String| name.len() > MAX_NAME_BYTES;
        if let Some(place) = names.as_ref().and_then(|names| names.iter().position(too_long)) {
            wrong(&format!("{field}.{place}"), "is longer than 255 bytes");
        }
    }
    let texts = [
        ("name", &new.name),
        ("description", &new.description),
        ("purpose", &new.purpose),
        ("owner_id", &new.owner_id),
        ("maintainer_id", &new.maintainer_id),
    ];
    for (field, text) in texts {
        if text.as_ref().is_some_and(|text| text.len() > MAX_TEXT_BYTES) {
            wrong(field, "is longer than 4 KiB");
        }
    }
    if let Some(metadata) = &new.metadata {
        if !metadata.get().starts_with('{') {
            wrong("metadata", "must be an object");
        } else if metadata.get().len() > MAX_FIELD_BYTES {
            wrong("metadata", "is longer than 64 KiB");
        }
    }
    if !errors.is_empty() {
        return Err(Problem::invalid(errors));
    }
    let tags = match caller {
        Caller::Person(_) => new.tags.unwrap_or_default(),
        Caller::Key(_) => Vec::new(),
    };
    let profile = Profile {
        name: new.name,
        description: new.description,
        purpose: new.purpose,
        owner_id: new.owner_id,
        maintainer_id: new.maintainer_id,
        risk_classification: new.risk_classification,
        environment: new.environment,
        declared_tools: new.declared_tools.unwrap_or_default(),
        tags,
        metadata: new.metadata,
    };
    Ok((new.agent_key, profile))
}

/// Whether a text can be an agent's name.
pub fn check_agent_key(key: &str) -> Result<(), &'static str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    if key.is_empty() || key.len() > 255 || !key.bytes().all(allowed) {
        return Err("must be 1 to 255 of A-Z a-z 0-9 . _ : -");
    }
    if Uuid::parse_str(key).is_ok() {
        return Err("must not look like an id");
    }
    Ok(())
}

/// The agents of the org; with an API key, those that it may act for.
#[utoipa::path(get, path = "/api/v1/agents", tag = "agents",
    params(("environment" = Option<String>, Query, description = "Only those of this environment"),
        ("include_inactive" = Option<bool>, Query, description = "Also those that may not act"),
        ("after" = Option<String>, Query, description = "Continue after this agent's id"),
        ("limit" = Option<i64>, Query, description = "1 to 1000, 100 if left out")),
    responses((status = 200, description = "Oldest first", body = Vec<AgentBody>), ReadProblems))]
pub async fn list_agents(actor: Actor, uri: Uri) -> Result<(HeaderMap, axum::Json<Vec<AgentBody>>), Problem> {
    let parameters = Parameters::of(&uri, &["environment", "include_inactive", "after", "limit"])?;
    let limit = parameters.limit()?;
    let inactive = parameters.read("include_inactive", "true or false", |text| text.parse::<bool>().ok())?;
    let directory = &actor.org.view.directory;
    let own = |text: &str| {
        let agent = Uuid::parse_str(text).ok().and_then(|_| directory.find(text))?;
        agent.obeys(&actor.caller).then_some(agent.id)
    };
    let after = parameters.read("after", "the id of an agent of yours", own)?;
    let environment = parameters.text("environment");
    let wanted = |agent: &&Arc<Agent>| {
        agent.obeys(&actor.caller)
            && (agent.inactive.is_none() || inactive == Some(true))
            && environment.is_none_or(|environment| agent.profile.environment.as_deref() == Some(environment))
            && after.is_none_or(|after| agent.id > after)
    };
    let agents = directory.all();
    let page: Vec<_> = agents
        .iter()
        .filter(wanted)
        .take(usize::try_from(limit).unwrap_or(1))
        .map(|agent| body(agent))
        .collect();
    let last = page.last().map(|agent| agent.agent_id.to_string());
    Ok((parameters.next_page("/api/v1/agents", ("after", last), page.len(), limit), axum::Json(page)))
}

/// One agent, by id or name.
#[utoipa::path(get, path = "/api/v1/agents/{agent}", tag = "agents",
    params(("agent" = String, Path, description = "The agent's id or name")),
    responses((status = 200, description = "The agent", body = AgentBody), ReadProblems))]
pub async fn get_agent(actor: Actor, Segment(name): Segment) -> Result<axum::Json<AgentBody>, Problem> {
    let found = actor.org.view.directory.find(&name).filter(|agent| agent.obeys(&actor.caller));
    let agent = found.ok_or_else(|| Problem::not_found("agent"))?;
    Ok(axum::Json(body(&agent)))
}
