//! `/api/v1/policy-templates/{template}/preview`: what a template would have decided otherwise, before it decides anything.

use std::sync::Arc;

use axum::extract::State;
use lictor_engine::decision::Outcome;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use super::super::auth::Human;
use super::super::body::Json;
use super::super::problem::{PolicyProblems, Problem, logged};
use super::super::values::Segment;
use super::template_values::given;
use super::templates::{named, slowly, values_in_force};
use crate::app::App;
use crate::preview::{Preview, preview};
use crate::rollout;

/// Entries that are looked through unless the caller says.
const DEFAULT_LAST: i64 = 1_000;
/// Entries that are looked through at most.
const MAX_LAST: i64 = 10_000;

/// What is to be previewed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"parameters": {"bulk_records": 500}, "last": 1000}))]
pub struct AskedPreview {
    /// Values by name. The others are as in force, or the defaults where the template is not applied.
    #[schema(value_type = Option<BTreeMap<String, Object>>)]
    parameters: Option<Box<RawValue>>,
    /// How many of the ledger's latest entries are looked through for judged events: 1 to 10,000; 1,000 if left out.
    #[schema(minimum = 1, maximum = 10_000)]
    last: Option<i64>,
}

/// What would have been decided otherwise. Rules that look back begin to remember with the first of these events.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"events": 812, "erased": 0, "changed": 3,
    "outcomes": [{"before": "allow", "after": "deny", "events": 3}],
    "rules": [{"rule": "owasp_agentic.undeclared_tool", "matched": 3, "undecided": 0, "changed": 3}],
    "examples": [{"seq": 41, "decision_id": "0198c0de-0000-7000-8000-000000000000", "before": "allow", "after": "deny",
        "rules": ["owasp_agentic.undeclared_tool"]}]}))]
pub struct PreviewBody {
    /// Events that were judged anew, by the policies in force and by those with the template.
    events: u64,
    /// Events that could not be, because their content was erased.
    erased: u64,
    /// Events that would have another outcome.
    changed: u64,
    /// The same by what they have and would have.
    outcomes: Vec<OutcomeBody>,
    /// Each rule of the template.
    rules: Vec<RuleBody>,
    /// Up to 20 events that would have another outcome.
    examples: Vec<ExampleBody>,
}

/// Events that would have another outcome.
#[derive(Debug, Serialize, ToSchema)]
pub struct OutcomeBody {
    #[schema(value_type = String)]
    before: Outcome,
    #[schema(value_type = String)]
    after: Outcome,
    events: u64,
}

/// What a rule would have said.
#[derive(Debug, Serialize, ToSchema)]
pub struct RuleBody {
    #[schema(value_type = String)]
    rule: Arc<str>,
    /// Events for which its condition was true.
    matched: u64,
    /// Events for which it could not be ruled out.
    undecided: u64,
    /// Of both, events that would have another outcome.
    changed: u64,
}

/// An event that would have another outcome.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExampleBody {
    seq: i64,
    decision_id: Uuid,
    #[schema(value_type = String)]
    before: Outcome,
    #[schema(value_type = String)]
    after: Outcome,
    /// The rules of the template that spoke.
    #[schema(value_type = Vec<String>)]
    rules: Vec<Arc<str>>,
}

/// See what a template would change: recent events are judged anew by the policies in force, and by the same with the
/// template as it would be after `apply`; of an applied one, after `upgrade` and a change of these parameters.
#[utoipa::path(post, path = "/api/v1/policy-templates/{template}/preview", tag = "policy-templates",
    request_body = AskedPreview, params(("template" = String, Path, description = "The template's name")),
    responses((status = 200, description = "What would have been decided otherwise; nothing changes", body = PreviewBody), PolicyProblems))]
pub async fn preview_template(
    State(app): State<Arc<App>>,
    human: Human,
    Segment(name): Segment,
    Json(asked): Json<AskedPreview>,
) -> Result<axum::Json<PreviewBody>, Problem> {
    let template = named(&name)?;
    let last = asked.last.unwrap_or(DEFAULT_LAST);
    if !(1..=MAX_LAST).contains(&last) {
        return Err(Problem::field("last", format!("must be 1 to {MAX_LAST}")));
    }
    let (org, in_force) = (&human.org, human.org.view.in_force());
    let policies = Arc::clone(&in_force.policies);
    let applied = slowly(move || template.applied(&policies)).await?;
    let mut values =
        applied.as_ref().map(|applied| values_in_force(template, applied)).transpose()?.unwrap_or_default();
    values.extend(given(template, &template.policy.params, asked.parameters.as_deref())?);
    let replaces = applied.map(|applied| applied.policy.id);
    let instead = rollout::would_be(&in_force.policies, replaces, template.with(&values)).await?;
    let next_seq = app.database.head(org.view.id).await?.next_seq;
    let entries = (next_seq - last).max(0)..next_seq;
    let now = Arc::clone(&in_force.generation);
    let seen = preview(&org.past, now, Arc::new(instead), &template.policy.name, entries).await;
    Ok(axum::Json(body(seen.map_err(|error| logged(&error, Problem::internal()))?)))
}

fn body(seen: Preview) -> PreviewBody {
    let outcomes = seen.changed.iter().map(|((before, after), events)| OutcomeBody {
        before: *before,
        after: *after,
        events: *events,
    });
    let rules = seen.rules.into_iter().map(|(rule, counts)| RuleBody {
        rule,
        matched: counts.matched,
        undecided: counts.undecided,
        changed: counts.changed,
    });
    let examples = seen.examples.into_iter().map(|example| ExampleBody {
        seq: example.seq,
        decision_id: example.decision,
        before: example.before,
        after: example.after,
        rules: example.rules,
    });
    PreviewBody {
        events: seen.events,
        erased: seen.erased,
        changed: seen.changed.values().sum(),
        outcomes: outcomes.collect(),
        rules: rules.collect(),
        examples: examples.collect(),
    }
}
