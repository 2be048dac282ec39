//! `/api/v1/incidents`: what rules found worth a look.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::super::auth::Human;
use super::super::problem::{Problem, ReadProblems, WriteProblems};
use super::super::retries::Retry;
use super::super::values::{Parameters, Segment, id};
use crate::app::App;
use crate::clock::{micros, rfc3339};
use crate::db::{IncidentFilter, Store};
use crate::draft::Refused;
use crate::incidents::{Incident, Status, Touched, severity_named};
use crate::retries::Shown;

/// What incidents can be searched by.
const PARAMETERS: [&str; 7] = ["status", "severity", "agent_id", "from", "to", "before", "limit"];
/// A status that clients may ask for and that no incident can get yet.
const FALSE_POSITIVE: &str = "false_positive";

/// An incident.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"incident_id": "0198c0de-0000-7000-8000-000000000000", "rule": "payment_controls.refund_burst",
    "severity": "high", "status": "open", "agent_id": "0198c0de-0000-7000-8000-000000000001", "task_id": "t-1",
    "title": "more than 20 refunds in an hour", "key": ["a-1"], "count": 3, "first_seen": "2026-11-21T12:00:00.000Z",
    "last_seen": "2026-11-21T12:05:00.000Z", "witnesses": ["0198c0de-0000-7000-8000-000000000002"], "shadow": false}))]
pub struct IncidentBody {
    incident_id: Uuid,
    /// `policy.rule`.
    rule: String,
    /// `low`, `medium`, `high` or `critical`: the worst of its hits.
    severity: &'static str,
    /// `open`, `acknowledged`, `resolved` or `ignored`.
    status: &'static str,
    agent_id: Uuid,
    task_id: String,
    title: String,
    /// What its hits have in common.
    key: Vec<String>,
    /// How many hits it has.
    count: i64,
    first_seen: String,
    last_seen: String,
    /// The ledger entries behind it, the first ones and the latest: earlier events that its rule rests on, and its hits.
    witnesses: Vec<Uuid>,
    /// Incidents of shadow rules are shown in decisions and not opened, so this is always false.
    shadow: bool,
}

/// The ids of the earlier entries that incidents rest on, by number.
async fn earlier(app: &App, org: Uuid, incidents: &[&Incident]) -> Result<HashMap<i64, Uuid>, Problem> {
    let mut seqs: Vec<i64> = incidents.iter().flat_map(|incident| incident.earlier.iter().copied()).collect();
    seqs.sort_unstable();
    seqs.dedup();
    Ok(app.database.entry_ids(org, &seqs).await?.into_iter().collect())
}

fn body(incident: &Incident, earlier: &HashMap<i64, Uuid>) -> IncidentBody {
    let before = incident.earlier.iter().filter_map(|seq| earlier.get(seq).copied());
    let mut witnesses: Vec<Uuid> = before.filter(|entry| !incident.witnesses.contains(entry)).collect();
    witnesses.extend(&incident.witnesses);
    IncidentBody {
        incident_id: incident.id,
        rule: incident.rule.clone(),
        severity: incident.severity.name(),
        status: incident.status.name(),
        agent_id: incident.agent,
        task_id: incident.task.clone(),
        title: incident.title.clone(),
        key: incident.key.clone(),
        count: incident.count,
        first_seen: rfc3339(incident.first_seen_us),
        last_seen: rfc3339(incident.last_seen_us),
        witnesses,
        shadow: false,
    }
}

/// An incident as one decision touched it.
#[derive(Debug, Serialize, ToSchema)]
pub struct TouchedIncident {
    incident_id: Uuid,
    /// `policy.rule`.
    rule: String,
    severity: &'static str,
    key: Vec<String>,
    title: String,
    /// Whether this decision opened it.
    new: bool,
    /// How many hits it has now.
    count: i64,
}

impl TouchedIncident {
    /// How an answer shows it.
    pub fn new(touched: &Touched) -> TouchedIncident {
        let incident = &touched.incident;
        TouchedIncident {
            incident_id: incident.id,
            rule: incident.rule.clone(),
            severity: incident.severity.name(),
            key: incident.key.clone(),
            title: incident.title.clone(),
            new: touched.new,
            count: incident.count,
        }
    }
}

/// The incidents of the org.
#[utoipa::path(get, path = "/api/v1/incidents", tag = "incidents",
    params(("status" = Option<String>, Query, description = "open, acknowledged, resolved, ignored, or false_positive, which none is yet"),
        ("severity" = Option<String>, Query, description = "low, medium, high or critical"),
        ("from" = Option<String>, Query, description = "Only those that had a hit at this time (RFC 3339) or later"),
        ("to" = Option<String>, Query, description = "Only those that had their first hit before this time (RFC 3339)"),
        ("agent_id" = Option<String>, Query, description = "An agent's id or name"),
        ("before" = Option<String>, Query, description = "Continue after this incident's id"),
        ("limit" = Option<i64>, Query, description = "1 to 1000, 100 if left out")),
    responses((status = 200, description = "Newest first", body = Vec<IncidentBody>), ReadProblems))]
pub async fn list_incidents(
    State(app): State<Arc<App>>,
    human: Human,
    uri: Uri,
) -> Result<(HeaderMap, axum::Json<Vec<IncidentBody>>), Problem> {
    let parameters = Parameters::of(&uri, &PARAMETERS)?;
    let limit = parameters.limit()?;
    let time = |name| parameters.read(name, "a time in RFC 3339, as 2026-01-31T12:00:00Z", micros);
    let status = |name: &str| match name {
        FALSE_POSITIVE => Some(None),
        name => Status::named(name).map(Some),
    };
    let status =
        parameters.read("status", "open, acknowledged, resolved, ignored or false_positive", status)?;
    let filter = IncidentFilter {
        status: status.flatten(),
        from_us: time("from")?,
        to_us: time("to")?,
        severity: parameters.read("severity", "low, medium, high or critical", severity_named)?,
        agent: match parameters.text("agent_id") {
            None => None,
            Some(name) => match human.org.view.directory.find(name) {
                Some(agent) => Some(agent.id),
                None => return Ok((HeaderMap::new(), axum::Json(Vec::new()))),
            },
        },
        before: parameters.read("before", "an incident's id", |text| Uuid::parse_str(text).ok())?,
        limit,
    };
    if status == Some(None) {
        return Ok((HeaderMap::new(), axum::Json(Vec::new())));
    }
    let org = human.org.view.id;
    if let Some(before) = filter.before
        && app.database.incidents_by_id(org, vec![before]).await?.is_empty()
    {
        return Err(Problem::field("before", "must be the id of an incident of this org"));
    }
    let incidents = app.database.incidents(org, &filter).await?;
    let earlier = earlier(&app, org, &incidents.iter().collect::<Vec<_>>()).await?;
    let page: Vec<_> = incidents.iter().map(|incident| body(incident, &earlier)).collect();
    let last = page.last().map(|incident| incident.incident_id.to_string());
    Ok((parameters.next_page("/api/v1/incidents", ("before", last), page.len(), limit), axum::Json(page)))
}

macro_rules! transition {
    ($name:ident, $path:literal, $to:expr, $doc:literal) => {
        #[doc = $doc]
        #[utoipa::path(method(post, put), path = $path, tag = "incidents",
            params(("id" = String, Path, description = "The incident's id")),
            responses((status = 200, description = "The incident as it is now", body = IncidentBody), WriteProblems))]
        pub async fn $name(
            State(app): State<Arc<App>>,
            human: Human,
            retry: Retry,
            Segment(incident): Segment,
        ) -> Result<axum::Json<IncidentBody>, Problem> {
            change(&app, human, &incident, $to, retry).await
        }
    };
}

transition!(
    acknowledge,
    "/api/v1/incidents/{id}/acknowledge",
    Status::Acknowledged,
    "Somebody is looking at it."
);
transition!(
    resolve,
    "/api/v1/incidents/{id}/resolve",
    Status::Resolved,
    "It is over. Another hit opens a new one."
);
transition!(
    ignore,
    "/api/v1/incidents/{id}/ignore",
    Status::Ignored,
    "It does not matter. Another hit opens a new one."
);
transition!(reactivate, "/api/v1/incidents/{id}/reactivate", Status::Open, "It is open again.");

async fn change(
    app: &App,
    human: Human,
    incident: &str,
    to: Status,
    retry: Retry,
) -> Result<axum::Json<IncidentBody>, Problem> {
    let (id, org) = (id(incident, "incident")?, human.org.view.id);
    // For an answer that is kept, what it rests on has to be known before.
    let before = match retry.0 {
        None => None,
        Some(_) => {
            let incident = app.database.incidents_by_id(org, vec![id]).await?;
            Some(earlier(app, org, &incident.iter().collect::<Vec<_>>()).await?)
        }
    };
    let known = before.clone().unwrap_or_default();
    let keep = retry.keep(move |changed: &Result<Arc<Incident>, Refused>| {
        Shown::new(StatusCode::OK.as_u16(), &body(changed.as_ref().ok()?, &known))
    });
    let changed = human.org.queue.change_incident(id, to, human.actor()).keeping(keep).await?;
    let incident = changed.map_err(|refused| match refused {
        Refused::NotFound => Problem::not_found("incident"),
        other => other.into(),
    })?;
    let earlier = match before {
        Some(before) => before,
        None => earlier(app, org, &[&incident]).await?,
    };
    Ok(axum::Json(body(&incident, &earlier)))
}
