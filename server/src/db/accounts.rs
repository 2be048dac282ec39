//! Rows of orgs, users and API keys.

use sqlx::SqliteConnection;
use uuid::Uuid;

use super::StoreError;
use super::sqlite::{Database, bytes32};
use crate::accounts::keys::ApiKey;
use crate::accounts::{Role, User};
use crate::ledger::Head;

pub(super) async fn insert_org(
    connection: &mut SqliteConnection,
    org: Uuid,
    name: &str,
    at_us: i64,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO orgs (org_id, name, created_at) VALUES ($1, $2, $3)")
        .bind(org)
        .bind(name)
        .bind(at_us)
        .execute(&mut *connection)
        .await?;
    sqlx::query("INSERT INTO heads (org_id, next_seq, hash, at) VALUES ($1, $2, $3, $4)")
        .bind(org)
        .bind(Head::EMPTY.next_seq)
        .bind(Head::EMPTY.hash.as_slice())
        .bind(Head::EMPTY.at_us)
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn insert_user(connection: &mut SqliteConnection, user: &User) -> Result<(), StoreError> {
    let sql = "INSERT INTO users (org_id, user_id, email, role, password_hash, created_at) VALUES ($1, $2, $3, $4, $5, $6)";
    sqlx::query(sql)
        .bind(user.org)
        .bind(user.id)
        .bind(&user.email)
        .bind(user.role.name())
        .bind(&user.password_hash)
        .bind(user.created_at_us)
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn insert_key(connection: &mut SqliteConnection, key: &ApiKey) -> Result<(), StoreError> {
    let sql = "INSERT INTO api_keys (org_id, key_id, account_id, name, prefix, agent_id, hash, created_at) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    sqlx::query(sql)
        .bind(key.org)
        .bind(key.id)
        .bind(key.account)
        .bind(&key.name)
        .bind(&key.prefix)
        .bind(key.agent)
        .bind(key.hash.as_slice())
        .bind(key.created_at_us)
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn revoke_key(
    connection: &mut SqliteConnection,
    org: Uuid,
    id: Uuid,
    at_us: i64,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE api_keys SET revoked_at = $1 WHERE org_id = $2 AND key_id = $3")
        .bind(at_us)
        .bind(org)
        .bind(id)
        .execute(connection)
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

impl Database {
    /// The person with this e-mail address, which is in lower case.
    pub async fn user_by_email(&self, email: &str) -> Result<Option<User>, StoreError> {
        let sql =
            "SELECT org_id, user_id, email, role, password_hash, created_at FROM users WHERE email = $1";
        let row: Option<UserRow> = sqlx::query_as(sql).bind(email).fetch_optional(self.readers()).await?;
        row.map(user).transpose()
    }

    /// A person of an org.
    pub async fn user(&self, org: Uuid, id: Uuid) -> Result<Option<User>, StoreError> {
        let sql = "SELECT org_id, user_id, email, role, password_hash, created_at FROM users WHERE org_id = $1 AND user_id = $2";
        let row: Option<UserRow> =
            sqlx::query_as(sql).bind(org).bind(id).fetch_optional(self.readers()).await?;
        row.map(user).transpose()
    }

    /// Every key that was not revoked.
    pub async fn live_keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        let sql = "SELECT org_id, key_id, account_id, name, prefix, agent_id, hash, created_at, last_used_at \
                   FROM api_keys WHERE revoked_at IS NULL";
        let rows: Vec<KeyRow> = sqlx::query_as(sql).fetch_all(self.readers()).await?;
        rows.into_iter()
            .map(|(org, id, account, name, prefix, agent, hash, created_at_us, last_used_us)| {
                let hash = bytes32(&hash, "key hash")?;
                Ok(ApiKey::new(id, org, account, name, prefix, agent, hash, created_at_us, last_used_us))
            })
            .collect()
    }

    /// Writes when keys were last used.
    pub async fn save_key_uses(&self, uses: &[(Uuid, Uuid, i64)]) -> Result<(), StoreError> {
        let mut writer = self.writer().await;
        let mut transaction = sqlx::Connection::begin(&mut *writer).await?;
        for (org, id, at_us) in uses {
            sqlx::query("UPDATE api_keys SET last_used_at = $1 WHERE org_id = $2 AND key_id = $3")
                .bind(at_us)
                .bind(org)
                .bind(id)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(())
    }
}
