//! `/api/v1/policies`: the org's policies. A change is in force when it is answered, or nothing changed.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{ETAG, IF_MATCH};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use lictor_dsl::diagnostics::Report;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::super::auth::Human;
use super::super::body::{Json, POLICY_BYTES};
use super::super::problem::{PolicyProblems, Problem, ReadProblems};
use super::super::retries::Retry;
use super::super::values::{Parameters, Segment, id};
use crate::app::{App, Org};
use crate::clock::rfc3339;
use crate::policies::{InForce, Policy};
use crate::retries::Shown;
use crate::rollout::{self, Done, Edit};

/// A policy's source.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSource {
    /// One policy in the language; its header names it.
    #[schema(
        example = "policy refunds { title = \"Refunds\" }\n\nrule large on intent {\n  when action == \"refund\" and amount > 1_000\n  require approval from \"finance\"\n}\n"
    )]
    source: String,
}

impl NewSource {
    /// The text, which every database can keep.
    fn text(self) -> Result<String, Problem> {
        match self.source.contains('\0') {
            true => Err(Problem::field("source", "must not hold U+0000")),
            false => Ok(self.source),
        }
    }
}

/// A policy.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"id": "0198c0de-0000-7000-8000-000000000000", "name": "refunds", "title": "Refunds", "enabled": true,
    "shadow": false, "mode": "enforce", "state": "live",
    "rules": [{"rule": "refunds.large", "state": "live"}], "version": 1, "source": "policy refunds { title = \"Refunds\" }",
    "policy_set": "sha256:5e88…", "created_at": "2026-11-21T12:00:00.000Z", "updated_at": "2026-11-21T12:00:00.000Z",
    "diagnostics": []}))]
pub struct PolicyBody {
    id: Uuid,
    /// From the header of its source; unique in the org.
    name: String,
    title: String,
    /// Whether it takes part.
    enabled: bool,
    /// Whether it only reports: because of its header, or because somebody said so.
    shadow: bool,
    /// `enforce`, `shadow` or `disabled`.
    mode: &'static str,
    /// `live`: all its rules are in force (or would be, if it were enabled). `filling`: some only report until what
    /// they ask of the past is filled from the ledger.
    state: &'static str,
    /// Its rules, while it is enabled.
    rules: Vec<RuleState>,
    /// Counts its sources.
    version: i64,
    /// Byte for byte as it came.
    source: String,
    /// The digest of the policy set in force.
    policy_set: String,
    created_at: String,
    updated_at: String,
    /// After a change of the source: warnings and notes about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Object>>)]
    diagnostics: Option<Vec<Report>>,
}

/// A rule of a policy that takes part.
#[derive(Debug, Serialize, ToSchema)]
pub struct RuleState {
    /// `policy.rule`.
    rule: String,
    /// `live`, or `filling`: it only reports until what it asks of the past is filled from the ledger.
    state: &'static str,
}

fn state_word(is_filling: bool) -> &'static str {
    if is_filling { "filling" } else { "live" }
}

fn body(policy: &Policy, in_force: &InForce) -> PolicyBody {
    let state =
        |rule: &Arc<str>| RuleState { rule: rule.to_string(), state: state_word(in_force.is_filling(rule)) };
    let rules: Vec<_> = in_force.rules_of(&policy.name).iter().map(state).collect();
    let filling = state_word(true);
    PolicyBody {
        id: policy.id,
        name: policy.name.clone(),
        title: policy.title.clone(),
        enabled: policy.enabled,
        shadow: policy.only_reports(),
        mode: policy.mode(),
        state: state_word(rules.iter().any(|rule| rule.state == filling)),
        rules,
        version: policy.version,
        source: policy.source.to_string(),
        policy_set: in_force.policy_set.to_string(),
        created_at: rfc3339(policy.created_at_us),
        updated_at: rfc3339(policy.updated_at_us),
        diagnostics: None,
    }
}

type Answer = (StatusCode, HeaderMap, axum::Json<PolicyBody>);

fn answer(
    status: StatusCode,
    policy: &Policy,
    in_force: &InForce,
    diagnostics: Option<Vec<Report>>,
) -> Answer {
    let mut headers = HeaderMap::new();
    if let Ok(etag) = HeaderValue::from_str(&format!("\"{}\"", policy.revision)) {
        headers.insert(ETAG, etag);
    }
    (status, headers, axum::Json(PolicyBody { diagnostics, ..body(policy, in_force) }))
}

fn done(status: StatusCode, done: Done) -> Answer {
    answer(status, &done.policy, &done.in_force, Some(done.reports))
}

/// The same, as it is kept.
fn kept(status: StatusCode, done: &Done) -> Option<Shown> {
    let Done { policy, in_force, reports } = done;
    let (_, headers, axum::Json(body)) = answer(status, policy, in_force, Some(reports.clone()));
    let etag = headers.get(ETAG).and_then(|etag| etag.to_str().ok()).map(str::to_owned);
    Some(Shown { etag, ..Shown::new(status.as_u16(), &body)? })
}

/// The revision that the caller read, if it says so.
fn if_match(headers: &HeaderMap) -> Result<Option<i64>, Problem> {
    let Some(value) = headers.get(IF_MATCH) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(None);
    }
    let revision = text.strip_prefix("W/").unwrap_or(text).trim_matches('"').parse();
    revision.map(Some).map_err(|_| Problem::stale("`If-Match` names no revision of this policy"))
}

/// Add a policy and put it in force.
#[utoipa::path(post, path = "/api/v1/policies", tag = "policies", request_body = NewSource,
    responses((status = 201, description = "It is in force from now on; `rules` says which of its rules only report until what they ask of the past is filled", body = PolicyBody), PolicyProblems))]
pub async fn create_policy(
    State(app): State<Arc<App>>,
    human: Human,
    retry: Retry,
    Json(new): Json<NewSource, POLICY_BYTES>,
) -> Result<Answer, Problem> {
    let (now_us, keep) = (app.clock.now_us(), retry.keep(|done: &Done| kept(StatusCode::CREATED, done)));
    let created = rollout::create(&human.org, new.text()?, false, human.actor(), now_us, keep).await?;
    Ok(done(StatusCode::CREATED, created))
}

/// The policies of the org.
#[utoipa::path(get, path = "/api/v1/policies", tag = "policies",
    params(("after" = Option<String>, Query, description = "Continue after this name"),
        ("limit" = Option<i64>, Query, description = "1 to 1000, 100 if left out")),
    responses((status = 200, description = "By name", body = Vec<PolicyBody>), ReadProblems))]
pub async fn list_policies(
    human: Human,
    uri: Uri,
) -> Result<(HeaderMap, axum::Json<Vec<PolicyBody>>), Problem> {
    let parameters = Parameters::of(&uri, &["after", "limit"])?;
    let limit = parameters.limit()?;
    let in_force = human.org.view.in_force();
    let own =
        |name: &str| in_force.policies.iter().any(|policy| policy.name == name).then(|| name.to_owned());
    let after = parameters.read("after", "the name of a policy of this org", own)?.unwrap_or_default();
    let wanted = in_force.policies.iter().filter(|policy| policy.name > after);
    let page: Vec<_> =
        wanted.take(usize::try_from(limit).unwrap_or(1)).map(|policy| body(policy, &in_force)).collect();
    let last = page.last().map(|policy| policy.name.clone());
    Ok((parameters.next_page("/api/v1/policies", ("after", last), page.len(), limit), axum::Json(page)))
}

/// One policy, by id or name.
#[utoipa::path(get, path = "/api/v1/policies/{id}", tag = "policies",
    params(("id" = String, Path, description = "The policy's id or name")),
    responses((status = 200, description = "The policy; `ETag` names its revision", body = PolicyBody), ReadProblems))]
pub async fn get_policy(human: Human, Segment(policy): Segment) -> Result<Answer, Problem> {
    let in_force = human.org.view.in_force();
    let id = named(&human.org, &policy)?;
    let policy = in_force
        .policies
        .iter()
        .find(|policy| policy.id == id)
        .ok_or_else(|| Problem::not_found("policy"))?;
    Ok(answer(StatusCode::OK, policy, &in_force, None))
}

/// Give a policy another source.
#[utoipa::path(put, path = "/api/v1/policies/{id}", tag = "policies", request_body = NewSource,
    params(("id" = String, Path, description = "The policy's id or name"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read: 412 if it was changed since")),
    responses((status = 200, description = "It is in force from now on; `rules` says which of its rules only report until what they ask of the past is filled", body = PolicyBody), PolicyProblems))]
pub async fn update_policy(
    State(app): State<Arc<App>>,
    human: Human,
    Segment(policy): Segment,
    headers: HeaderMap,
    Json(new): Json<NewSource, POLICY_BYTES>,
) -> Result<Answer, Problem> {
    change(&app, human, &policy, &headers, Edit::Source(new.text()?), Retry(None)).await
}

/// Remove a policy. Its rules decide nothing any more when this is answered.
#[utoipa::path(delete, path = "/api/v1/policies/{id}", tag = "policies",
    params(("id" = String, Path, description = "The policy's id or name"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read: 412 if it was changed since")),
    responses((status = 204, description = "Removed"), PolicyProblems))]
pub async fn delete_policy(
    human: Human,
    Segment(policy): Segment,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let id = named(&human.org, &policy)?;
    rollout::remove(&human.org, id, if_match(&headers)?, human.actor()).await?;
    Ok(StatusCode::NO_CONTENT)
}

macro_rules! mode {
    ($name:ident, $path:literal, $edit:expr, $doc:literal) => {
        #[doc = $doc]
        #[utoipa::path(post, path = $path, tag = "policies",
            params(("id" = String, Path, description = "The policy's id or name"),
                ("If-Match" = Option<String>, Header, description = "The `ETag` that was read: 412 if it was changed since")),
            responses((status = 200, description = "The policy as it is now", body = PolicyBody), PolicyProblems))]
        pub async fn $name(
            State(app): State<Arc<App>>,
            human: Human,
            Segment(policy): Segment,
            headers: HeaderMap,
            retry: Retry,
        ) -> Result<Answer, Problem> {
            change(&app, human, &policy, &headers, $edit, retry).await
        }
    };
}

mode!(
    enable_policy,
    "/api/v1/policies/{id}/enable",
    Edit::Enable,
    "Let a policy decide. 409 if its header says `mode = \"shadow\"`."
);
mode!(disable_policy, "/api/v1/policies/{id}/disable", Edit::Disable, "Leave a policy out.");
mode!(
    shadow_policy,
    "/api/v1/policies/{id}/shadow",
    Edit::Shadow,
    "Let a policy report everything and decide nothing."
);

async fn change(
    app: &App,
    human: Human,
    policy: &str,
    headers: &HeaderMap,
    edit: Edit,
    retry: Retry,
) -> Result<Answer, Problem> {
    let (id, revision) = (named(&human.org, policy)?, if_match(headers)?);
    let (now_us, keep) = (app.clock.now_us(), retry.keep(|done: &Done| kept(StatusCode::OK, done)));
    let edited = rollout::edit(&human.org, id, edit, revision, human.actor(), now_us, keep).await?;
    Ok(done(StatusCode::OK, edited))
}

/// The id of the policy with this id or name.
fn named(org: &Org, policy: &str) -> Result<Uuid, Problem> {
    match org.view.policies().iter().find(|other| other.name == policy) {
        Some(policy) => Ok(policy.id),
        None => id(policy, "policy"),
    }
}

/// What checking found.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"valid": true, "name": "refunds", "title": "Refunds", "diagnostics": []}))]
pub struct CheckBody {
    /// Always true: a source with errors is a 422.
    valid: bool,
    name: String,
    title: String,
    /// Warnings and notes.
    #[schema(value_type = Vec<Object>)]
    diagnostics: Vec<Report>,
}

/// Check a source beside the policies of the org, and save nothing.
#[utoipa::path(post, path = "/api/v1/policies/check", tag = "policies", request_body = NewSource,
    responses((status = 200, description = "It could be put in force", body = CheckBody), PolicyProblems))]
pub async fn check_policy(
    human: Human,
    Json(new): Json<NewSource, POLICY_BYTES>,
) -> Result<axum::Json<CheckBody>, Problem> {
    let (header, diagnostics) = rollout::inspect(&human.org.view.policies(), new.source).await?;
    Ok(axum::Json(CheckBody { valid: true, name: header.name, title: header.title, diagnostics }))
}

/// An earlier or present source of a policy.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"version": 1, "source": "policy refunds { title = \"Refunds\" }",
    "actor": "user:0198c0de-0000-7000-8000-000000000000", "created_at": "2026-11-21T12:00:00.000Z"}))]
pub struct VersionBody {
    version: i64,
    source: String,
    /// Who saved it.
    actor: String,
    created_at: String,
}

/// Every source that a policy had.
#[utoipa::path(get, path = "/api/v1/policies/{id}/versions", tag = "policies",
    params(("id" = String, Path, description = "The policy's id or name"),
        ("limit" = Option<i64>, Query, description = "1 to 1000, 100 if left out")),
    responses((status = 200, description = "Newest first", body = Vec<VersionBody>), ReadProblems))]
pub async fn list_versions(
    State(app): State<Arc<App>>,
    human: Human,
    Segment(policy): Segment,
    uri: Uri,
) -> Result<axum::Json<Vec<VersionBody>>, Problem> {
    let limit = Parameters::of(&uri, &["limit"])?.limit()?;
    let id = named(&human.org, &policy)?;
    if !human.org.view.policies().iter().any(|policy| policy.id == id) {
        return Err(Problem::not_found("policy"));
    }
    let versions = app.database.policy_versions(human.org.view.id, id, limit).await?;
    let body = versions.into_iter().map(|version| VersionBody {
        version: version.version,
        source: version.source,
        actor: version.actor,
        created_at: rfc3339(version.created_at_us),
    });
    Ok(axum::Json(body.collect()))
}
