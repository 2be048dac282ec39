//! Rows of policies, their versions, and the sources that both name by digest.

use std::sync::Arc;

use sqlx::FromRow;
use uuid::Uuid;

use super::StoreError;
use super::database::Database;
use super::sql::{Pool, Transaction};
use crate::policies::{Policy, Version, header_says_shadow};
use crate::vault::Bytes32;

pub(super) async fn put(
    transaction: &mut Transaction,
    org: Uuid,
    policy: &Policy,
    new_source_by: Option<&str>,
) -> Result<(), StoreError> {
    let digest = policy.digest();
    let sql = "INSERT INTO policies (org_id, policy_id, name, title, enabled, shadow, version, revision, digest, \
               created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) \
               ON CONFLICT (org_id, policy_id) DO UPDATE SET name = excluded.name, title = excluded.title, \
               enabled = excluded.enabled, shadow = excluded.shadow, version = excluded.version, \
               revision = excluded.revision, digest = excluded.digest, updated_at = excluded.updated_at";
    transaction
        .query(sql)
        .bind(org)
        .bind(policy.id)
        .bind(&policy.name)
        .bind(&policy.title)
        .bind(i64::from(policy.enabled))
        .bind(i64::from(policy.shadow))
        .bind(policy.version)
        .bind(policy.revision)
        .bind(digest.as_slice())
        .bind(policy.created_at_us)
        .bind(policy.updated_at_us)
        .execute()
        .await?;
    let Some(actor) = new_source_by else { return Ok(()) };
    transaction.query("INSERT INTO policy_sources (org_id, digest, source) VALUES ($1, $2, $3) ON CONFLICT (org_id, digest) DO NOTHING")
        .bind(org)
        .bind(digest.as_slice())
        .bind(&*policy.source)
        .execute()
        .await?;
    let sql = "INSERT INTO policy_versions (org_id, policy_id, version, digest, actor, created_at) VALUES ($1, $2, $3, $4, $5, $6)";
    transaction
        .query(sql)
        .bind(org)
        .bind(policy.id)
        .bind(policy.version)
        .bind(digest.as_slice())
        .bind(actor)
        .bind(policy.updated_at_us)
        .execute()
        .await?;
    Ok(())
}

pub(super) async fn remove(transaction: &mut Transaction, org: Uuid, id: Uuid) -> Result<(), StoreError> {
    transaction
        .query("DELETE FROM policies WHERE org_id = $1 AND policy_id = $2")
        .bind(org)
        .bind(id)
        .execute()
        .await?;
    Ok(())
}

#[derive(FromRow)]
struct Row {
    policy_id: Uuid,
    name: String,
    title: String,
    enabled: i64,
    shadow: i64,
    version: i64,
    revision: i64,
    digest: Vec<u8>,
    source: Option<String>,
    created_at: i64,
    updated_at: i64,
}

pub(super) async fn all(pool: &Pool, org: Uuid) -> Result<Vec<Policy>, StoreError> {
    let sql = "SELECT p.policy_id, p.name, p.title, p.enabled, p.shadow, p.version, p.revision, p.digest, s.source, \
               p.created_at, p.updated_at FROM policies p LEFT JOIN policy_sources s ON s.org_id = p.org_id AND s.digest = p.digest \
               WHERE p.org_id = $1 ORDER BY p.name";
    let rows: Vec<Row> = pool.query(sql).bind(org).all().await?;
    rows.into_iter().map(policy).collect()
}

/// A policy that has the source which its row names.
fn policy(row: Row) -> Result<Policy, StoreError> {
    let source = row.source.ok_or(StoreError::Corrupt("policy whose source is missing"))?;
    let policy = Policy {
        id: row.policy_id,
        name: row.name,
        title: row.title,
        enabled: row.enabled != 0,
        shadow: row.shadow != 0,
        shadow_by_header: header_says_shadow(&source),
        version: row.version,
        revision: row.revision,
        source: Arc::from(source),
        created_at_us: row.created_at,
        updated_at_us: row.updated_at,
    };
    match policy.digest()[..] == row.digest[..] {
        true => Ok(policy),
        false => Err(StoreError::Corrupt("policy whose source was changed")),
    }
}

impl Database {
    /// The source with this digest, as entries of the ledger name it.
    pub async fn policy_source(&self, org: Uuid, digest: &Bytes32) -> Result<Option<String>, StoreError> {
        let sql = "SELECT source FROM policy_sources WHERE org_id = $1 AND digest = $2";
        let source: Option<(String,)> =
            self.readers().query(sql).bind(org).bind(digest.as_slice()).optional().await?;
        Ok(source.map(|(source,)| source))
    }

    /// The entry of the ledger that last said which policies are in force.
    pub async fn policies_said(&self, org: Uuid) -> Result<Option<Vec<u8>>, StoreError> {
        let sql = "SELECT canonical FROM entries WHERE org_id = $1 AND kind = 'policy' AND action <> 'activated' \
                   ORDER BY seq DESC LIMIT 1";
        let entry: Option<(Vec<u8>,)> = self.readers().query(sql).bind(org).optional().await?;
        Ok(entry.map(|(canonical,)| canonical))
    }

    /// Every source that a policy had, newest first.
    pub async fn policy_versions(&self, org: Uuid, id: Uuid, limit: i64) -> Result<Vec<Version>, StoreError> {
        let sql = "SELECT v.version, s.source, v.actor, v.created_at FROM policy_versions v \
                   JOIN policy_sources s ON s.org_id = v.org_id AND s.digest = v.digest \
                   WHERE v.org_id = $1 AND v.policy_id = $2 ORDER BY v.version DESC LIMIT $3";
        let rows: Vec<(i64, String, String, i64)> =
            self.readers().query(sql).bind(org).bind(id).bind(limit).all().await?;
        let version =
            |(version, source, actor, created_at_us)| Version { version, source, actor, created_at_us };
        Ok(rows.into_iter().map(version).collect())
    }
}
