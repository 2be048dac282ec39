//! Rows of incidents.

use sqlx::FromRow;
use uuid::Uuid;

use super::StoreError;
use super::database::Database;
use super::sql::{Insert, KEYS_AT_ONCE, Pool, ROWS_AT_ONCE, Transaction, shown};
use crate::incidents::{Incident, Status, severity_named};
use lictor_engine::decision::Severity;

const COLUMNS: &str = "incident_id, rule, fold_key, severity, status, agent_id, task, title, hits, first_seen, last_seen, \
                       fold_until, witnesses, earlier";

static PUT: Insert = Insert::new(
    "INSERT INTO incidents (org_id, incident_id, rule, fold_key, severity, status, agent_id, task, title, hits, \
     first_seen, last_seen, fold_until, witnesses, earlier) VALUES",
    15,
    "ON CONFLICT (org_id, incident_id) DO UPDATE SET fold_key = excluded.fold_key, severity = excluded.severity, status = excluded.status, \
     title = excluded.title, hits = excluded.hits, last_seen = excluded.last_seen, fold_until = excluded.fold_until, \
     witnesses = excluded.witnesses, earlier = excluded.earlier",
);

/// Writes incidents, each of them once.
pub(super) async fn put(
    transaction: &mut Transaction,
    org: Uuid,
    incidents: &[&Incident],
) -> Result<(), StoreError> {
    let json = |value: serde_json::Result<String>| value.map_err(|_| StoreError::Corrupt("incident"));
    for some in incidents.chunks(ROWS_AT_ONCE) {
        let mut query = transaction.insert(&PUT, some.len());
        for incident in some {
            query = query
                .bind(org)
                .bind(incident.id)
                .bind(&incident.rule)
                .bind(json(serde_json::to_string(&incident.key))?)
                .bind(incident.severity.name())
                .bind(incident.status.name())
                .bind(incident.agent)
                .bind(&incident.task)
                .bind(shown(&incident.title))
                .bind(incident.count)
                .bind(incident.first_seen_us)
                .bind(incident.last_seen_us)
                .bind(incident.fold_until_us)
                .bind(json(serde_json::to_string(&incident.witnesses))?)
                .bind(json(serde_json::to_string(&incident.earlier))?);
        }
        query.execute().await?;
    }
    Ok(())
}

#[derive(FromRow)]
struct Row {
    incident_id: Uuid,
    rule: String,
    fold_key: String,
    severity: String,
    status: String,
    agent_id: Uuid,
    task: String,
    title: String,
    hits: i64,
    first_seen: i64,
    last_seen: i64,
    fold_until: i64,
    witnesses: String,
    earlier: String,
}

fn incident(row: Row) -> Result<Incident, StoreError> {
    let corrupt = || StoreError::Corrupt("incident");
    Ok(Incident {
        id: row.incident_id,
        rule: row.rule,
        key: serde_json::from_str(&row.fold_key).map_err(|_| corrupt())?,
        severity: severity_named(&row.severity).ok_or_else(corrupt)?,
        status: Status::named(&row.status).ok_or_else(corrupt)?,
        agent: row.agent_id,
        task: row.task,
        title: row.title,
        count: row.hits,
        first_seen_us: row.first_seen,
        last_seen_us: row.last_seen,
        fold_until_us: row.fold_until,
        witnesses: serde_json::from_str(&row.witnesses).map_err(|_| corrupt())?,
        earlier: serde_json::from_str(&row.earlier).map_err(|_| corrupt())?,
    })
}

/// The incidents with these ids.
pub(super) async fn some(pool: &Pool, org: Uuid, ids: &[Uuid]) -> Result<Vec<Incident>, StoreError> {
    let mut incidents = Vec::with_capacity(ids.len());
    for some in ids.chunks(KEYS_AT_ONCE) {
        let query =
            pool.query("SELECT ").push(COLUMNS).push(" FROM incidents WHERE org_id = ").push_bind(org);
        let rows: Vec<Row> = query.push(" AND incident_id IN ").push_list(some.iter().copied()).all().await?;
        incidents.extend(rows.into_iter().map(incident).collect::<Result<Vec<_>, _>>()?);
    }
    Ok(incidents)
}

/// Every incident of an org.
pub(super) async fn all(pool: &Pool, org: Uuid) -> Result<Vec<Incident>, StoreError> {
    let query = pool.query("SELECT ").push(COLUMNS).push(" FROM incidents WHERE org_id = ").push_bind(org);
    let rows: Vec<Row> = query.all().await?;
    rows.into_iter().map(incident).collect()
}

pub(super) async fn foldable(pool: &Pool, org: Uuid, now_us: i64) -> Result<Vec<Incident>, StoreError> {
    let query = pool.query("SELECT ").push(COLUMNS).push(" FROM incidents WHERE org_id = ").push_bind(org);
    let query = query.push(" AND fold_until > ").push_bind(now_us);
    let rows: Vec<Row> =
        query.push(" AND status IN ('open', 'acknowledged') ORDER BY last_seen").all().await?;
    rows.into_iter().map(incident).collect()
}

/// Which incidents are asked for.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "named like the parameters of the query")]
pub struct Filter {
    pub status: Option<Status>,
    pub severity: Option<Severity>,
    pub agent: Option<Uuid>,
    pub from_us: Option<i64>,
    pub to_us: Option<i64>,
    pub before: Option<Uuid>,
    pub limit: i64,
}

impl Database {
    /// Incidents, newest first.
    pub async fn incidents(&self, org: Uuid, filter: &Filter) -> Result<Vec<Incident>, StoreError> {
        let mut query = self
            .readers()
            .query("SELECT ")
            .push(COLUMNS)
            .push(" FROM incidents WHERE org_id = ")
            .push_bind(org);
        if let Some(status) = filter.status {
            query = query.push(" AND status = ").push_bind(status.name());
        }
        if let Some(severity) = filter.severity {
            query = query.push(" AND severity = ").push_bind(severity.name());
        }
        if let Some(agent) = filter.agent {
            query = query.push(" AND agent_id = ").push_bind(agent);
        }
        if let Some(from_us) = filter.from_us {
            query = query.push(" AND last_seen >= ").push_bind(from_us);
        }
        if let Some(to_us) = filter.to_us {
            query = query.push(" AND first_seen < ").push_bind(to_us);
        }
        if let Some(before) = filter.before {
            query = query.push(" AND incident_id < ").push_bind(before);
        }
        query = query.push(" ORDER BY incident_id DESC LIMIT ").push_bind(filter.limit);
        let rows: Vec<Row> = query.all().await?;
        rows.into_iter().map(incident).collect()
    }
}
