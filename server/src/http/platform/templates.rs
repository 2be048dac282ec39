//! `/api/v1/policy-templates`: frameworks that are applied, changed and removed in one operation each.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use lictor_dsl::hir::Param;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use super::super::auth::Human;
use super::super::body::Json;
use super::super::problem::{FieldProblem, PolicyProblems, Problem, ReadProblems};
use super::super::retries::Retry;
use super::super::values::Segment;
use super::template_values::{given, json};
use crate::app::{App, Org};
use crate::retries::Shown;
use crate::rollout::{self, Done, Edit, RolloutError};
use crate::templates::{self, Applied, Template, Values};

/// A template, and what this org made of it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"id": "owasp_agentic", "title": "OWASP Top 10 for Agentic Applications 2026", "owner": "security",
    "framework": "OWASP Top 10 for Agentic Applications 2026", "version": "0.1.0", "source": "OWASP GenAI Security Project",
    "facts_checked_on": "2026-11-21", "controls": ["OWASP-ASI:02"], "rules": 40, "applied": true,
    "policy": {"id": "0198c0de-0000-7000-8000-000000000000", "version": "0.1.0", "mode": "enforce", "policy_set": "sha256:5e88…"},
    "parameters": [{"name": "bulk_records", "type": "number", "default": 1000, "min": 1, "max": 1000000,
        "help": "More records than this in one call wait for a person", "value": 500}]}))]
pub struct TemplateBody {
    /// Its name, and that of the policy that it becomes.
    id: String,
    title: String,
    owner: Option<String>,
    /// The framework whose controls its rules serve.
    framework: String,
    /// The version that comes with the server.
    version: String,
    /// Where the framework can be read.
    source: String,
    /// The day on which its facts were last checked, `YYYY-MM-DD`.
    facts_checked_on: String,
    /// The controls that its rules serve.
    controls: Vec<String>,
    /// How many rules it has.
    rules: usize,
    /// Whether this org applied it.
    applied: bool,
    /// The policy that it became.
    policy: Option<AppliedBody>,
    /// Of an applied template those of the version that was applied.
    parameters: Vec<ParameterBody>,
}

/// The policy that a template became.
#[derive(Debug, Serialize, ToSchema)]
pub struct AppliedBody {
    id: Uuid,
    /// The version of the template that was applied. Where it differs from the one above, `upgrade` brings it.
    version: String,
    /// `enforce`, `shadow` or `disabled`.
    mode: &'static str,
    /// The digest of the policy set in force.
    policy_set: String,
}

/// A parameter of a template.
#[derive(Debug, Serialize, ToSchema)]
pub struct ParameterBody {
    name: String,
    /// `number`, `bool`, `string`, `duration`, or `list<…>` of one of them.
    r#type: String,
    /// What it is unless it is set: durations as texts like `30d`.
    #[schema(value_type = Object)]
    default: Box<RawValue>,
    #[schema(value_type = Option<Object>)]
    min: Option<Box<RawValue>>,
    #[schema(value_type = Option<Object>)]
    max: Option<Box<RawValue>>,
    help: Option<String>,
    /// What it is in this org; the default, where the template is not applied.
    #[schema(value_type = Object)]
    value: Box<RawValue>,
}

/// How a template is applied.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"parameters": {"bulk_records": 500}, "mode": "shadow"}))]
pub struct Apply {
    /// Values by name; the others keep their defaults.
    #[schema(value_type = Option<BTreeMap<String, Object>>)]
    parameters: Option<Box<RawValue>>,
    /// `enforce` (if left out), or `shadow`: it reports and decides nothing.
    mode: Option<String>,
    /// Published clients send it; it says nothing here: `mode` does.
    #[serde(default, rename = "enabled")]
    #[schema(value_type = Option<bool>)]
    _enabled: IgnoredAny,
    /// Published clients send it; it says nothing here: a template holds for the whole org.
    #[serde(default, rename = "agent_id")]
    #[schema(value_type = Option<String>)]
    _agent: IgnoredAny,
}

/// Parameters of an applied template.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"parameters": {"bulk_records": 750, "max_depth": null}}))]
pub struct NewParameters {
    /// Values by name; `null` for the template's default. The others stay as they are.
    #[schema(value_type = BTreeMap<String, Object>)]
    parameters: Box<RawValue>,
}

/// How an applied template is upgraded.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"discard_changes": false}))]
pub struct Upgrade {
    /// Whether what was changed by hand in its policy goes. Without it that is 409.
    #[serde(default)]
    discard_changes: bool,
}

/// The templates that come with the server, and which of them this org applied.
#[utoipa::path(get, path = "/api/v1/policy-templates", tag = "policy-templates",
    responses((status = 200, description = "By name", body = Vec<TemplateBody>), ReadProblems))]
pub async fn list_templates(human: Human) -> Result<axum::Json<Vec<TemplateBody>>, Problem> {
    let bodies =
        slowly(move || templates::all().iter().map(|template| shown(template, &human.org)).collect());
    Ok(axum::Json(bodies.await?))
}

/// One template.
#[utoipa::path(get, path = "/api/v1/policy-templates/{template}", tag = "policy-templates",
    params(("template" = String, Path, description = "The template's name")),
    responses((status = 200, description = "The template", body = TemplateBody), ReadProblems))]
pub async fn get_template(human: Human, Segment(name): Segment) -> Result<axum::Json<TemplateBody>, Problem> {
    now(named(&name)?, human.org).await
}

/// Apply a template: all its rules are in force when this is answered, or none.
#[utoipa::path(post, path = "/api/v1/policy-templates/{template}/apply", tag = "policy-templates", request_body = Apply,
    params(("template" = String, Path, description = "The template's name")),
    responses((status = 201, description = "It is in force from now on, as the policy of its name", body = TemplateBody), PolicyProblems))]
pub async fn apply_template(
    State(app): State<Arc<App>>,
    human: Human,
    Segment(name): Segment,
    retry: Retry,
    Json(asked): Json<Apply>,
) -> Result<(StatusCode, axum::Json<TemplateBody>), Problem> {
    let template = named(&name)?;
    let shadow = match asked.mode.as_deref() {
        None | Some("enforce") => false,
        Some("shadow") => true,
        Some(_) => return Err(Problem::field("mode", "must be `enforce` or `shadow`")),
    };
    let values = given(template, &template.policy.params, asked.parameters.as_deref())?;
    let source = template.with(&values);
    let made = values.clone();
    let keep = retry.keep(move |done: &Done| {
        Shown::new(StatusCode::CREATED.as_u16(), &applied_as(template, &made, done))
    });
    let (now_us, actor) = (app.clock.now_us(), human.actor());
    match rollout::create(&human.org, source, shadow, actor, now_us, keep).await {
        Ok(done) => Ok((StatusCode::CREATED, axum::Json(applied_as(template, &values, &done)))),
        Err(RolloutError::NameTaken(name)) => {
            // If it is not applied, that says what stands in its place.
            applied(template, &human.org).await?;
            Err(Problem::conflict(format!("`{name}` is applied: `PUT …/parameters` changes its parameters")))
        }
        Err(error) => Err(error.into()),
    }
}

/// Change parameters of an applied template.
#[utoipa::path(put, path = "/api/v1/policy-templates/{template}/parameters", tag = "policy-templates",
    request_body = NewParameters,
    params(("template" = String, Path, description = "The template's name")),
    responses((status = 200, description = "They are in force from now on", body = TemplateBody), PolicyProblems))]
pub async fn set_template_parameters(
    State(app): State<Arc<App>>,
    human: Human,
    Segment(name): Segment,
    Json(asked): Json<NewParameters>,
) -> Result<axum::Json<TemplateBody>, Problem> {
    let template = named(&name)?;
    let applied = applied(template, &human.org).await?;
    let values = given(template, &applied.params, Some(&asked.parameters))?;
    let source = applied.with(&values);
    change(&app, human, template, &applied, source).await
}

/// Bring an applied template to the version that comes with the server. Every value that is in force stays. What was
/// changed by hand in its policy is not lost unawares.
#[utoipa::path(post, path = "/api/v1/policy-templates/{template}/upgrade", tag = "policy-templates",
    request_body = Upgrade, params(("template" = String, Path, description = "The template's name")),
    responses((status = 200, description = "It is in force from now on", body = TemplateBody), PolicyProblems))]
pub async fn upgrade_template(
    State(app): State<Arc<App>>,
    human: Human,
    Segment(name): Segment,
    Json(asked): Json<Upgrade>,
) -> Result<axum::Json<TemplateBody>, Problem> {
    let template = named(&name)?;
    let applied = applied(template, &human.org).await?;
    if !asked.discard_changes && !template.is_released(&applied) {
        let name = &template.policy.name;
        return Err(Problem::conflict(format!(
            "the policy `{name}` is not the template as it was released: `discard_changes` puts the template in its place, \
             and `GET /api/v1/policies/{name}/versions` keeps it"
        )));
    }
    let values = values_in_force(template, &applied)?;
    change(&app, human, template, &applied, template.with(&values)).await
}

/// What the parameters of a template are in force, where that is not the default of the version that comes with the server.
pub(super) fn values_in_force(template: &Template, applied: &Applied) -> Result<Values, Problem> {
    let (mut values, mut errors) = (Values::new(), Vec::new());
    for param in &template.policy.params {
        let Some(before) = applied.params.iter().find(|before| before.name == param.name) else { continue };
        match param.accepts(&before.value) {
            Ok(()) if before.value == param.default => {}
            Ok(()) => drop(values.insert(param.name.clone(), before.value.clone())),
            Err(why) => errors.push(FieldProblem::new(format!("parameters.{}", param.name), why)),
        }
    }
    if errors.is_empty() { Ok(values) } else { Err(Problem::invalid(errors)) }
}

/// Remove an applied template: exactly its own rules decide nothing any more when this is answered.
#[utoipa::path(delete, path = "/api/v1/policy-templates/{template}", tag = "policy-templates",
    params(("template" = String, Path, description = "The template's name")),
    responses((status = 204, description = "Removed"), PolicyProblems))]
pub async fn delete_template(human: Human, Segment(name): Segment) -> Result<StatusCode, Problem> {
    let applied = applied(named(&name)?, &human.org).await?;
    let removed = rollout::remove(&human.org, applied.policy.id, None, human.actor()).await;
    removed.map_err(overtaken)?;
    Ok(StatusCode::NO_CONTENT)
}

/// The same as `DELETE`.
#[utoipa::path(post, path = "/api/v1/policy-templates/{template}/remove", tag = "policy-templates",
    params(("template" = String, Path, description = "The template's name")),
    responses((status = 204, description = "Removed"), PolicyProblems))]
pub async fn remove_template(human: Human, name: Segment) -> Result<StatusCode, Problem> {
    delete_template(human, name).await
}

/// Gives the policy of an applied template this source, if it is another.
async fn change(
    app: &App,
    human: Human,
    template: &'static Template,
    applied: &Applied,
    source: String,
) -> Result<axum::Json<TemplateBody>, Problem> {
    if *source != *applied.policy.source {
        let (id, revision, edit) = (applied.policy.id, applied.policy.revision, Edit::Source(source));
        let (actor, now_us) = (human.actor(), app.clock.now_us());
        let edited = rollout::edit(&human.org, id, edit, Some(revision), actor, now_us, None).await;
        edited.map_err(overtaken)?;
    }
    now(template, human.org).await
}

/// Somebody else changed or removed the policy of a template since it was read.
fn overtaken(error: RolloutError) -> Problem {
    match error {
        RolloutError::Stale(_) | RolloutError::NotFound => {
            Problem::conflict("somebody else just changed the template: ask again")
        }
        error => error.into(),
    }
}

pub(super) fn named(name: &str) -> Result<&'static Template, Problem> {
    templates::named(name).ok_or_else(|| Problem::not_found("template"))
}

async fn applied(template: &'static Template, org: &Arc<Org>) -> Result<Applied, Problem> {
    let policies = org.view.policies();
    let name = &template.policy.name;
    let is_there = policies.iter().any(|policy| policy.name == *name);
    let applied = slowly(move || template.applied(&policies)).await?;
    applied.ok_or_else(|| match is_there {
        false => Problem::conflict("the template is not applied: `POST …/apply` applies it"),
        true => Problem::conflict(format!(
            "the policy `{name}` is no template: `PUT /api/v1/policies/{name}` gives it another name or the template's text"
        )),
    })
}

/// A template as it is now.
async fn now(template: &'static Template, org: Arc<Org>) -> Result<axum::Json<TemplateBody>, Problem> {
    Ok(axum::Json(slowly(move || shown(template, &org)).await?))
}

/// What reads whole policies is done beside the threads that serve requests, where such work is bounded.
pub(super) async fn slowly<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    Ok(rollout::slowly(work).await?)
}

fn shown(template: &Template, org: &Org) -> TemplateBody {
    let in_force = org.view.in_force();
    body(template, template.applied(&in_force.policies), &in_force.policy_set)
}

/// A template that was just applied with these values.
fn applied_as(template: &Template, values: &Values, done: &Done) -> TemplateBody {
    let params = template.policy.params.iter().map(|param| {
        let value = values.get(&param.name).unwrap_or(&param.value).clone();
        Param { value, ..param.clone() }
    });
    let (policy, version, params) =
        (Arc::clone(&done.policy), template.origin.version.clone(), params.collect());
    body(template, Some(Applied { policy, version, params }), &done.in_force.policy_set)
}

fn body(template: &Template, applied: Option<Applied>, policy_set: &str) -> TemplateBody {
    let Template { policy, origin, .. } = template;
    let params = applied.as_ref().map_or(&policy.params, |applied| &applied.params);
    let parameters = params.iter().map(|param| {
        // The text of an applied one has the value in the place of the default.
        let own = policy.params.iter().find(|own| own.name == param.name).unwrap_or(param);
        let (min, max) = param.range.as_ref().map(|(low, high)| (json(low), json(high))).unzip();
        ParameterBody {
            name: param.name.clone(),
            r#type: param.ty.to_string(),
            default: json(&own.default),
            min,
            max,
            help: param.help.clone(),
            value: json(&param.value),
        }
    });
    let controls = policy.rules.iter().flat_map(|rule| &rule.controls).chain(&policy.controls);
    TemplateBody {
        id: policy.name.clone(),
        title: policy.title.clone(),
        owner: policy.owner.clone(),
        framework: origin.framework.clone(),
        version: origin.version.clone(),
        source: origin.source.clone(),
        facts_checked_on: origin.facts_checked_on.clone(),
        controls: controls.cloned().collect::<BTreeSet<_>>().into_iter().collect(),
        rules: policy.rules.len(),
        parameters: parameters.collect(),
        applied: applied.is_some(),
        policy: applied.map(|Applied { policy, version, .. }| AppliedBody {
            id: policy.id,
            version,
            mode: policy.mode(),
            policy_set: policy_set.to_owned(),
        }),
    }
}
