//! Rows of orgs, users and API keys.

use uuid::Uuid;

use super::StoreError;
use super::database::{Database, bytes32};
use super::sql::{Pool, Transaction};
use crate::accounts::keys::ApiKey;
use crate::accounts::{Role, User};
use crate::ledger::Head;

pub(super) async fn insert_org(
    transaction: &mut Transaction,
    org: Uuid,
    name: &str,
    at_us: i64,
) -> Result<(), StoreError> {
    transaction
        .query("INSERT INTO orgs (org_id, name, created_at) VALUES ($1, $2, $3)")
        .bind(org)
        .bind(name)
        .bind(at_us)
        .execute()
        .await?;
    transaction
        .query("INSERT INTO heads (org_id, next_seq, hash, at) VALUES ($1, $2, $3, $4)")
        .bind(org)
        .bind(Head::EMPTY.next_seq)
        .bind(Head::EMPTY.hash.as_slice())
        .bind(Head::EMPTY.at_us)
        .execute()
        .await?;
    Ok(())
}

pub(super) async fn insert_user(transaction: &mut Transaction, user: &User) -> Result<(), StoreError> {
    let sql = "INSERT INTO users (org_id, user_id, email, role, password_hash, created_at) VALUES ($1, $2, $3, $4, $5, $6)";
    transaction
        .query(sql)
        .bind(user.org)
        .bind(user.id)
        .bind(&user.email)
        .bind(user.role.name())
        .bind(&user.password_hash)
        .bind(user.created_at_us)
        .execute()
        .await?;
    Ok(())
}

pub(super) async fn insert_key(transaction: &mut Transaction, key: &ApiKey) -> Result<(), StoreError> {
    let sql = "INSERT INTO api_keys (org_id, key_id, account_id, name, prefix, agent_id, hash, created_at) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    transaction
        .query(sql)
        .bind(key.org)
        .bind(key.id)
        .bind(key.account)
        .bind(&key.name)
        .bind(&key.prefix)
        .bind(key.agent)
        .bind(key.hash.as_slice())
        .bind(key.created_at_us)
        .execute()
        .await?;
    Ok(())
}

pub(super) async fn revoke_key(
    transaction: &mut Transaction,
    org: Uuid,
    id: Uuid,
    at_us: i64,
) -> Result<(), StoreError> {
    transaction
        .query("UPDATE api_keys SET revoked_at = $1 WHERE org_id = $2 AND key_id = $3")
        .bind(at_us)
        .bind(org)
        .bind(id)
        .execute()
        .await?;
    Ok(())
}

type UserRow = (Uuid, Uuid, String, String, String, i64);

fn user(row: UserRow) -> Result<User, StoreError> {
    let (org, id, email, role, password_hash, created_at_us) = row;
    let role = Role::named(&role).ok_or(StoreError::Corrupt("role"))?;
    Ok(User { id, org, email, role, password_hash, created_at_us })
}

type KeyRow = (Uuid, Uuid, Uuid, String, String, Option<Uuid>, Vec<u8>, i64, Option<i64>);

/// The keys of an org, or of all, that were not revoked.
pub(super) async fn live_keys(pool: &Pool, org: Option<Uuid>) -> Result<Vec<ApiKey>, StoreError> {
    let mut query = pool.query(
        "SELECT org_id, key_id, account_id, name, prefix, agent_id, hash, created_at, last_used_at \
         FROM api_keys WHERE revoked_at IS NULL",
    );
    if let Some(org) = org {
        query = query.push(" AND org_id = ").push_bind(org);
    }
    let rows: Vec<KeyRow> = query.all().await?;
    rows.into_iter()
        .map(|(org, id, account, name, prefix, agent, hash, created_at_us, last_used_us)| {
            let hash = bytes32(&hash, "key hash")?;
            Ok(ApiKey::new(id, org, account, name, prefix, agent, hash, created_at_us, last_used_us))
        })
        .collect()
}

impl Database {
    /// The person with this e-mail address, which is in lower case.
    pub async fn user_by_email(&self, email: &str) -> Result<Option<User>, StoreError> {
        let sql =
            "SELECT org_id, user_id, email, role, password_hash, created_at FROM users WHERE email = $1";
        let row: Option<UserRow> = self.readers().query(sql).bind(email).optional().await?;
        row.map(user).transpose()
    }

    /// A person of an org.
    pub async fn user(&self, org: Uuid, id: Uuid) -> Result<Option<User>, StoreError> {
        let sql = "SELECT org_id, user_id, email, role, password_hash, created_at FROM users WHERE org_id = $1 AND user_id = $2";
        let row: Option<UserRow> = self.readers().query(sql).bind(org).bind(id).optional().await?;
        row.map(user).transpose()
    }

    /// Every key that was not revoked.
    pub async fn live_keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        live_keys(self.readers(), None).await
    }

    /// The keys of an org that were not revoked.
    pub async fn live_keys_of(&self, org: Uuid) -> Result<Vec<ApiKey>, StoreError> {
        live_keys(self.readers(), Some(org)).await
    }

    /// Writes when keys were last used.
    pub async fn save_key_uses(&self, uses: &[(Uuid, Uuid, i64)]) -> Result<(), StoreError> {
        let mut transaction = self.writers().begin().await?;
        for (org, id, at_us) in uses {
            transaction
                .query("UPDATE api_keys SET last_used_at = $1 WHERE org_id = $2 AND key_id = $3")
                .bind(at_us)
                .bind(org)
                .bind(id)
                .execute()
                .await?;
        }
        transaction.commit().await
    }
}
