//! `/api/v1/ledger/erasures`: content that goes for good, while every hash and proof stays.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::super::auth::Human;
use super::super::body::Json;
use super::super::problem::{FieldProblem, Problem, WriteProblems};
use crate::app::App;
use crate::db::MAX_EVENTS;
use crate::ledger::erasure::Subject;
use crate::memory::PastError;
use crate::memory::erase::{EraseError, erase};

/// Whose content is to be erased: one of these.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"task": "t-1"}))]
pub struct SubjectBody {
    /// That of these entries, by their ids; at most 500.
    events: Option<Vec<Uuid>>,
    /// That of all events of an agent so far, and what its registration says; by its id or its name.
    agent: Option<String>,
    /// That of all events of a task so far.
    task: Option<String>,
    /// That of all that somebody sent so far, as the ledger names them: `key:…` or `user:…`.
    actor: Option<String>,
}

/// What was erased.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"seq": 42, "entries": 7, "incidents": 1, "agents": 0}))]
pub struct ErasedBody {
    /// The entry of the ledger that says so; none if there was no content any more.
    seq: Option<i64>,
    /// Entries that lost their content.
    entries: usize,
    /// Incidents that lost their title and what their hits have in common.
    incidents: usize,
    /// Agents that lost what their registration said.
    agents: usize,
}

/// Erase content for good. Entries, hashes and proofs stay; decisions of erased events can't be judged again, and rules
/// take what they ask of them for unknown.
#[utoipa::path(post, path = "/api/v1/ledger/erasures", tag = "ledger", request_body = SubjectBody,
    responses((status = 201, description = "Erased, or there was nothing to erase", body = ErasedBody), WriteProblems))]
pub async fn erase_content(
    State(app): State<Arc<App>>,
    human: Human,
    Json(body): Json<SubjectBody>,
) -> Result<(StatusCode, axum::Json<ErasedBody>), Problem> {
    let subject = subject(&app, &human, body).await?;
    let (org, actor) = (Arc::clone(&human.org), human.actor());
    // To the end even if the caller leaves.
    let erasing = async move {
        // What is remembered is made anew for the policies that are in force.
        let _unchanged = org.rollout.lock().await;
        erase(&org.past, &org.queue, &org.view, subject, actor).await
    };
    let erased = tokio::spawn(erasing).await.map_err(|_| Problem::internal())??;
    let body = ErasedBody {
        seq: erased.seq,
        entries: erased.entries,
        incidents: erased.incidents,
        agents: erased.agents,
    };
    Ok((StatusCode::CREATED, axum::Json(body)))
}

async fn subject(app: &App, human: &Human, body: SubjectBody) -> Result<Subject, Problem> {
    let view = &human.org.view;
    match (body.events, body.agent, body.task, body.actor) {
        (Some(ids), None, None, None) => {
            if ids.is_empty() || ids.len() > MAX_EVENTS {
                return Err(Problem::field("events", format!("must have 1 to {MAX_EVENTS} ids")));
            }
            let known = app.database.known_entries(view.id, &ids).await?;
            match ids.iter().find(|id| !known.contains(id)) {
                Some(_) => Err(Problem::not_found("entry")),
                None => Ok(Subject::Events(ids.into_iter().collect())),
            }
        }
        (None, Some(name), None, None) => {
            let agent = view.directory.find(&name).ok_or_else(|| Problem::not_found("agent"))?;
            Ok(Subject::Agent(agent.id))
        }
        (None, None, Some(task), None) => Ok(Subject::Task(task)),
        (None, None, None, Some(actor)) => Ok(Subject::Actor(actor)),
        (events, agent, task, actor) => {
            let given = [events.is_some(), agent.is_some(), task.is_some(), actor.is_some()];
            let detail = "give exactly one of `events`, `agent`, `task` and `actor`";
            let named =
                ["events", "agent", "task", "actor"].into_iter().zip(given).filter(|(_, given)| *given);
            let named: Vec<_> = named.map(|(name, _)| FieldProblem::new(name, detail)).collect();
            Err(match named.is_empty() {
                true => Problem::field("", detail),
                false => Problem::invalid(named),
            })
        }
    }
}

impl From<EraseError> for Problem {
    fn from(error: EraseError) -> Problem {
        match error {
            EraseError::Past(PastError::Store(error)) => error.into(),
            EraseError::Unavailable(error) => error.into(),
            EraseError::Busy => Problem::unavailable("the policies change all the time"),
            EraseError::Past(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "nothing could be erased");
                Problem::internal()
            }
        }
    }
}
