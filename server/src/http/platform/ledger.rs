//! `/api/v1/ledger`: the org's entries as they were chained.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use lictor_dsl::number::Number;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use super::super::auth::Human;
use super::super::problem::{Problem, ReadProblems};
use super::super::values::{Decimal, Parameters};
use crate::app::App;
use crate::clock::rfc3339;
use crate::db::EntryRow;
use crate::vault::hex;

/// One entry.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"seq": 7, "entry_id": "0198c0de-0000-7000-8000-000000000000", "hash": "5e88…", "prev_hash": "2c26…",
    "kind": "intent", "source": "/api/v3/intents", "agent_id": "0198c0de-0000-7000-8000-000000000001", "task": null,
    "actor": "key:0198c0de-0000-7000-8000-000000000002", "action": "refund", "outcome": "require_approval", "risk": 0.35,
    "at": "2026-11-21T12:00:00.000Z", "record": {"v": 1, "seq": 7}}))]
pub struct EntryBody {
    /// Its place, counted from 0 without gaps.
    seq: i64,
    /// Also the id of the decision, log step or intent.
    entry_id: Uuid,
    /// SHA-256 of `prev_hash` and the canonical bytes of `record`, in hexadecimal.
    hash: String,
    /// The hash of the entry before; zeros for the first.
    prev_hash: String,
    /// An event's kind, or `policy`, `key`, `ledger_key`, `incident`, `org`, `member`, `login`, `access`, `erasure`.
    kind: String,
    /// The API that took it.
    source: String,
    agent_id: Option<Uuid>,
    task: Option<String>,
    /// `key:…`, `user:…`, `system`, or `nobody` for a failed login.
    actor: String,
    action: Option<String>,
    /// What was decided.
    outcome: Option<String>,
    risk: Option<Decimal>,
    /// The ledger's time, which only goes forward.
    at: String,
    /// What was hashed; its canonical bytes are this as RFC 8785 writes it.
    #[schema(value_type = Object)]
    record: Box<RawValue>,
}

fn body(row: EntryRow) -> Result<EntryBody, Problem> {
    let record = String::from_utf8(row.canonical).ok().and_then(|text| RawValue::from_string(text).ok());
    Ok(EntryBody {
        seq: row.seq,
        entry_id: row.entry_id,
        hash: hex(&row.hash),
        prev_hash: hex(&row.prev_hash),
        kind: row.kind,
        source: row.source,
        agent_id: row.agent_id,
        task: row.task,
        actor: row.actor,
        action: row.action,
        outcome: row.outcome,
        risk: row.risk.map(|risk| Decimal(Number::from_billionths(i128::from(risk)))),
        at: rfc3339(row.at),
        record: record.ok_or_else(Problem::internal)?,
    })
}

/// The entries of the org, in order.
#[utoipa::path(get, path = "/api/v1/ledger", tag = "ledger",
    params(("after" = Option<i64>, Query, description = "Only entries with a higher number; from the first if left out"),
        ("limit" = Option<i64>, Query, description = "1 to 1000, 100 if left out")),
    responses((status = 200, description = "Lowest number first", body = Vec<EntryBody>), ReadProblems))]
pub async fn list_entries(
    State(app): State<Arc<App>>,
    human: Human,
    uri: Uri,
) -> Result<(HeaderMap, axum::Json<Vec<EntryBody>>), Problem> {
    let parameters = Parameters::of(&uri, &["after", "limit"])?;
    let limit = parameters.limit()?;
    let after = parameters
        .read("after", "a whole number from -1 on", |text| {
            text.parse::<i64>().ok().filter(|after| *after >= -1)
        })?
        .unwrap_or(-1);
    let rows = app.database.entries(human.org.view.id, after, limit).await?;
    let page = rows.into_iter().map(body).collect::<Result<Vec<_>, _>>()?;
    let last = page.last().map(|entry| entry.seq.to_string());
    Ok((parameters.next_page("/api/v1/ledger", ("after", last), page.len(), limit), axum::Json(page)))
}
