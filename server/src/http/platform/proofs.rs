//! `/api/v1/ledger/…`: what proves the ledger to strangers: signed checkpoints, proofs, public keys, and all of it.

use std::ops::Range;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::super::auth::Human;
use super::super::problem::{Problem, ReadProblems, WriteProblems};
use super::super::values::Parameters;
use crate::app::App;
use crate::checkpoints::{CheckpointError, KeyError};
use crate::db::{Database, Store, StoreError};
use crate::ledger::export::Line;
use crate::ledger::note::PublicKey;
use crate::vault::{Bytes32, hex};

/// Entries of an export that are read at once.
const ENTRIES_AT_ONCE: i64 = 1_000;

/// A proof that an entry is in the ledger.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"seq": 2, "size": 3, "leaf_hash": "5e88…", "root": "2c26…", "proof": ["6e34…"],
    "checkpoint": "lictor/ledger/0198c0de-0000-7000-8000-000000000000\n3\nLCa0a2j/xo/5m0U8HTBBNBNCLXBkg7+g+YpeiGJm564=\n\n— lictor/ledger/0198c0de-0000-7000-8000-000000000000 x08go/ZJ…\n"}))]
pub struct InclusionBody {
    /// The entry's number.
    seq: u64,
    /// How many entries the ledger had that it is proved to be in.
    size: u64,
    /// SHA-256 of a zero byte and the canonical bytes of the entry's record.
    leaf_hash: String,
    /// The root of the tree over that many entries.
    root: String,
    /// The audit path of RFC 6962, section 2.1.1, lowest first.
    proof: Vec<String>,
    /// The signed checkpoint of that size, if there is one.
    checkpoint: Option<String>,
}

/// A proof that nothing but new entries came to the ledger.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"from": 2, "to": 3, "from_root": "fac5…", "to_root": "2c26…", "proof": ["96a2…"],
    "checkpoint": "lictor/ledger/0198c0de-0000-7000-8000-000000000000\n3\nLCa0a2j/xo/5m0U8HTBBNBNCLXBkg7+g+YpeiGJm564=\n\n— lictor/ledger/0198c0de-0000-7000-8000-000000000000 x08go/ZJ…\n"}))]
pub struct ConsistencyBody {
    /// How many entries the ledger had.
    from: u64,
    /// How many it had later.
    to: u64,
    /// The root of the tree over the first.
    from_root: String,
    /// The root of the tree over all of them.
    to_root: String,
    /// The consistency proof of RFC 6962, section 2.1.2, lowest first.
    proof: Vec<String>,
    /// The signed checkpoint of the later size, if there is one.
    checkpoint: Option<String>,
}

/// A key that checkpoints are signed with.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"key": "lictor/ledger/0198c0de-0000-7000-8000-000000000000+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", "in_use": true}))]
pub struct LedgerKeyBody {
    /// The public key as C2SP writes it: `name+id+key`.
    key: String,
    /// Whether it signs now; the others did before.
    in_use: bool,
}

/// The latest signed checkpoint: what the ledger was when it was last signed. Keep some where nobody here can change them.
#[utoipa::path(get, path = "/api/v1/ledger/checkpoint", tag = "ledger",
    params(("size" = Option<u64>, Query, description = "The checkpoint of exactly so many entries; the latest if left out")),
    responses((status = 200, description = "A signed note (C2SP tlog-checkpoint)", body = String, content_type = "text/plain"), ReadProblems))]
pub async fn checkpoint(human: Human, uri: Uri) -> Result<Response, Problem> {
    let parameters = Parameters::of(&uri, &["size"])?;
    let checkpointer = &human.org.checkpointer;
    let note = match whole(&parameters, "size")? {
        Some(size) => checkpointer.signed(size).await?.ok_or_else(|| Problem::not_found("checkpoint"))?,
        None => checkpointer.latest().await?,
    };
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], note.to_string()).into_response())
}

/// Proof that an entry is in the ledger as it was signed.
#[utoipa::path(get, path = "/api/v1/ledger/proof/inclusion", tag = "ledger",
    params(("seq" = u64, Query, description = "The entry's number"),
        ("size" = Option<u64>, Query, description = "In the ledger of so many entries; of the latest checkpoint if left out")),
    responses((status = 200, description = "The proof", body = InclusionBody), ReadProblems))]
pub async fn prove_inclusion(human: Human, uri: Uri) -> Result<axum::Json<InclusionBody>, Problem> {
    let parameters = Parameters::of(&uri, &["seq", "size"])?;
    let seq = required(&parameters, "seq")?;
    let size = whole(&parameters, "size")?;
    if size.is_some_and(|size| seq >= size) {
        return Err(Problem::field("size", "must be larger than `seq`"));
    }
    let proved = human.org.checkpointer.inclusion(seq, size).await?;
    let proved = proved.ok_or_else(|| Problem::not_found("entry"))?;
    Ok(axum::Json(InclusionBody {
        seq,
        size: proved.size,
        leaf_hash: hex(&proved.leaf),
        root: hex(&proved.root),
        proof: texts(&proved.proof),
        checkpoint: proved.checkpoint.map(|note| note.to_string()),
    }))
}

/// Proof that the ledger of one size begins with the ledger of another.
#[utoipa::path(get, path = "/api/v1/ledger/proof/consistency", tag = "ledger",
    params(("from" = u64, Query, description = "How many entries the earlier ledger had"),
        ("to" = u64, Query, description = "How many the later one has")),
    responses((status = 200, description = "The proof", body = ConsistencyBody), ReadProblems))]
pub async fn prove_consistency(human: Human, uri: Uri) -> Result<axum::Json<ConsistencyBody>, Problem> {
    let parameters = Parameters::of(&uri, &["from", "to"])?;
    let (from, to) = (required(&parameters, "from")?, required(&parameters, "to")?);
    if from > to {
        return Err(Problem::field("from", "must not be larger than `to`"));
    }
    let proved = human.org.checkpointer.consistency(from, to).await?;
    let proved = proved.ok_or_else(|| Problem::not_found("entry"))?;
    Ok(axum::Json(ConsistencyBody {
        from,
        to,
        from_root: hex(&proved.from_root),
        to_root: hex(&proved.to_root),
        proof: texts(&proved.proof),
        checkpoint: proved.checkpoint.map(|note| note.to_string()),
    }))
}

/// The public keys of the ledger, those that no longer sign with them.
#[utoipa::path(get, path = "/api/v1/ledger/keys", tag = "ledger",
    responses((status = 200, description = "Oldest first", body = Vec<LedgerKeyBody>), ReadProblems))]
pub async fn list_ledger_keys(human: Human) -> Result<axum::Json<Vec<LedgerKeyBody>>, Problem> {
    let keys = human.org.checkpointer.keys().await?;
    let last = keys.len().saturating_sub(1);
    let listed = keys.iter().enumerate().map(|(place, key)| key_body(key, place == last));
    Ok(axum::Json(listed.collect()))
}

/// Replace the key that signs checkpoints. The old key signs the ledger's entry that names the new one.
#[utoipa::path(post, path = "/api/v1/ledger/keys", tag = "ledger",
    responses((status = 201, description = "The new key", body = LedgerKeyBody), WriteProblems))]
pub async fn rotate_ledger_key(human: Human) -> Result<(StatusCode, axum::Json<LedgerKeyBody>), Problem> {
    let key = human.org.checkpointer.rotate(human.actor()).await?;
    Ok((StatusCode::CREATED, axum::Json(key_body(&key, true))))
}

/// The whole ledger, as `lictor ledger verify` reads it. Ask for the checkpoint first: the export has its entries then.
#[utoipa::path(get, path = "/api/v1/ledger/export", tag = "ledger",
    responses((status = 200, description = "One entry a line: `{\"seq\":…,\"hash\":…,\"prev_hash\":…,\"record\":{…}}`, the record byte for byte as it was hashed",
        body = String, content_type = "application/x-ndjson"), ReadProblems))]
pub async fn export(State(app): State<Arc<App>>, human: Human) -> Result<Response, Problem> {
    let org = human.org.view.id;
    let all = 0..app.database.next_seq(org).await?;
    let database = Arc::clone(&app.database);
    let chunks = stream::try_unfold(all, move |left| next_lines(Arc::clone(&database), org, left));
    let headers = [
        (header::CONTENT_TYPE, "application/x-ndjson".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"ledger-{org}.jsonl\"")),
    ];
    Ok((headers, Body::from_stream(chunks)).into_response())
}

/// The lines of the next entries, and what is left.
async fn next_lines(
    database: Arc<Database>,
    org: Uuid,
    left: Range<i64>,
) -> Result<Option<(Vec<u8>, Range<i64>)>, StoreError> {
    let limit = ENTRIES_AT_ONCE.min(left.end - left.start);
    if limit <= 0 {
        return Ok(None);
    }
    let entries = database.stored_entries(org, left.start - 1, limit).await?;
    let Some(last) = entries.last().map(|entry| entry.seq) else { return Ok(None) };
    let mut lines = Vec::new();
    entries.iter().for_each(|entry| Line::from(entry).write(&mut lines));
    Ok(Some((lines, last + 1..left.end)))
}

fn key_body(key: &PublicKey, in_use: bool) -> LedgerKeyBody {
    LedgerKeyBody { key: key.to_string(), in_use }
}

fn texts(hashes: &[Bytes32]) -> Vec<String> {
    hashes.iter().map(|hash| hex(hash)).collect()
}

fn whole(parameters: &Parameters, name: &str) -> Result<Option<u64>, Problem> {
    let in_range = |text: &str| text.parse::<u64>().ok().filter(|number| i64::try_from(*number).is_ok());
    parameters.read(name, "a whole number", in_range)
}

fn required(parameters: &Parameters, name: &str) -> Result<u64, Problem> {
    whole(parameters, name)?.ok_or_else(|| Problem::field(name, "is required"))
}

impl From<CheckpointError> for Problem {
    fn from(error: CheckpointError) -> Problem {
        match error {
            CheckpointError::Store(error) => error.into(),
            CheckpointError::Unavailable(error) => error.into(),
            CheckpointError::Key(KeyError::FromFile) => Problem::conflict(KeyError::FromFile.to_string()),
            CheckpointError::Key(
                error @ (KeyError::Absent(_) | KeyError::OtherMaster(_) | KeyError::Outdated(_)),
            ) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the ledger can't be signed here");
                Problem::unavailable("this server does not have the key that signs the ledger")
            }
            CheckpointError::Key(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the key of a ledger can't be had");
                Problem::internal()
            }
            // Its checkpointer has said what is wrong with it.
            CheckpointError::Unsound(_) => Problem::unavailable(
                "the ledger is not what was signed; nothing is signed or proved until it is",
            ),
            CheckpointError::Busy => Problem::unavailable("other servers make checkpoints all the time"),
        }
    }
}
