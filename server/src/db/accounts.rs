//! Rows of orgs, users and API keys.

use std::collections::HashMap;

use sqlx::FromRow;
use uuid::Uuid;

use super::StoreError;
use super::database::{Database, bytes32, soon};
use super::sql::{Pool, Transaction};
use crate::accounts::keys::{ApiKey, OldSecret};
use crate::accounts::{Joining, Member, Membership, Role, User};
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
    let sql = "INSERT INTO users (org_id, user_id, email, password_hash, one_time, created_at) VALUES ($1, $2, $3, $4, $5, $6)";
    transaction
        .query(sql)
        .bind(user.org)
        .bind(user.id)
        .bind(&user.email)
        .bind(&user.password_hash)
        .bind(i64::from(user.one_time))
        .bind(user.created_at_us)
        .execute()
        .await?;
    Ok(())
}

/// Sets a person's own password.
pub(super) async fn set_password(
    transaction: &mut Transaction,
    user: Uuid,
    password_hash: &str,
) -> Result<(), StoreError> {
    let sql = "UPDATE users SET password_hash = $1, one_time = 0 WHERE user_id = $2";
    transaction.query(sql).bind(password_hash).bind(user).execute().await?;
    Ok(())
}

/// Makes a password worthless that was good for one login, if it still is the one that was used.
pub(super) async fn spend_password(
    transaction: &mut Transaction,
    user: Uuid,
    password_hash: &str,
) -> Result<(), StoreError> {
    let sql = "UPDATE users SET password_hash = '', one_time = 0 WHERE user_id = $1 AND password_hash = $2";
    match transaction.query(sql).bind(user).bind(password_hash).execute().await? {
        1 => Ok(()),
        _ => Err(StoreError::Overtaken("password")),
    }
}

/// Gives another password for the first login to somebody who never logged in. The other orgs that invited them don't know
/// who has it, so that it accepts none of these invitations.
pub(super) async fn issue_password(
    transaction: &mut Transaction,
    org: Uuid,
    user: Uuid,
    password_hash: &str,
) -> Result<(), StoreError> {
    let sql = "UPDATE users SET password_hash = $1, org_id = $2 WHERE user_id = $3 AND one_time = 1";
    if transaction.query(sql).bind(password_hash).bind(org).bind(user).execute().await? != 1 {
        return Err(StoreError::Overtaken("password"));
    }
    let sql = "UPDATE members SET outdated = CASE WHEN org_id = $1 THEN 0 ELSE 1 END WHERE user_id = $2";
    transaction.query(sql).bind(org).bind(user).execute().await?;
    Ok(())
}

/// Changes nothing, but holds the row of a person, which everybody takes before those of their memberships. Says whether
/// there is one.
async fn hold_user(transaction: &mut Transaction, user: Uuid) -> Result<bool, StoreError> {
    let sql = "UPDATE users SET created_at = created_at WHERE user_id = $1";
    Ok(transaction.query(sql).bind(user).execute().await? == 1)
}

pub(super) async fn put_member(
    transaction: &mut Transaction,
    org: Uuid,
    member: &Member,
) -> Result<(), StoreError> {
    // Another org may have removed them, and with them the person who belonged to nobody else.
    if !hold_user(transaction, member.user).await? {
        return Err(StoreError::Overtaken("person"));
    }
    let sql = "INSERT INTO members (org_id, user_id, role, invited_at, accepted_at, group_names) \
               VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (org_id, user_id) DO UPDATE \
               SET role = excluded.role, accepted_at = excluded.accepted_at, group_names = excluded.group_names";
    let groups = serde_json::to_string(&member.groups).map_err(|_| StoreError::Corrupt("group"))?;
    transaction
        .query(sql)
        .bind(org)
        .bind(member.user)
        .bind(member.role.name())
        .bind(member.invited_at_us)
        .bind(member.accepted_at_us)
        .bind(groups)
        .execute()
        .await?;
    Ok(())
}

pub(super) async fn remove_member(
    transaction: &mut Transaction,
    org: Uuid,
    user: Uuid,
) -> Result<(), StoreError> {
    hold_user(transaction, user).await?;
    let sql = "DELETE FROM members WHERE org_id = $1 AND user_id = $2";
    transaction.query(sql).bind(org).bind(user).execute().await?;
    // Who has no password of their own and belongs to nobody would be locked out for ever: their address is free again.
    let sql = "DELETE FROM users WHERE user_id = $1 AND (one_time = 1 OR password_hash = '') \
               AND NOT EXISTS (SELECT 1 FROM members WHERE user_id = $1)";
    transaction.query(sql).bind(user).execute().await?;
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

pub(super) async fn rotate_key(transaction: &mut Transaction, key: &ApiKey) -> Result<(), StoreError> {
    let sql =
        "UPDATE api_keys SET hash = $1, old_hash = $2, old_until = $3 WHERE org_id = $4 AND key_id = $5";
    transaction
        .query(sql)
        .bind(key.hash.as_slice())
        .bind(key.old.map(|old| old.hash.to_vec()))
        .bind(key.old.map(|old| old.until_us))
        .bind(key.org)
        .bind(key.id)
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

type UserRow = (Uuid, Uuid, String, String, i64, i64);

#[derive(FromRow)]
struct MemberRow {
    user_id: Uuid,
    email: String,
    role: String,
    invited_at: i64,
    accepted_at: Option<i64>,
    outdated: i64,
    group_names: String,
    one_time: i64,
}

fn user(row: UserRow) -> User {
    let (org, id, email, password_hash, one_time, created_at_us) = row;
    User { id, org, email, password_hash, one_time: one_time != 0, created_at_us }
}

/// Everybody who belongs to an org or may join it, first come first.
pub(super) async fn members(pool: &Pool, org: Uuid) -> Result<Vec<Member>, StoreError> {
    let sql = "SELECT m.user_id, u.email, m.role, m.invited_at, m.accepted_at, m.outdated, m.group_names, u.one_time \
               FROM members m JOIN users u ON u.user_id = m.user_id WHERE m.org_id = $1 ORDER BY m.invited_at, m.user_id";
    let rows: Vec<MemberRow> = pool.query(sql).bind(org).all().await?;
    rows.into_iter().map(member).collect()
}

fn member(row: MemberRow) -> Result<Member, StoreError> {
    Ok(Member {
        user: row.user_id,
        email: row.email,
        role: named(&row.role)?,
        invited_at_us: row.invited_at,
        accepted_at_us: row.accepted_at,
        one_time: row.one_time != 0,
        is_outdated: row.outdated != 0,
        groups: serde_json::from_str(&row.group_names).map_err(|_| StoreError::Corrupt("group"))?,
    })
}

/// Whether somebody belongs to an org.
pub(super) async fn belongs(pool: &Pool, org: Uuid, user: Uuid) -> Result<bool, StoreError> {
    let sql = "SELECT user_id FROM members WHERE org_id = $1 AND user_id = $2 AND accepted_at IS NOT NULL";
    let row: Option<(Uuid,)> = pool.query(sql).bind(org).bind(user).optional().await?;
    Ok(row.is_some())
}

fn named(role: &str) -> Result<Role, StoreError> {
    Role::named(role).ok_or(StoreError::Corrupt("role"))
}

#[derive(FromRow)]
struct KeyRow {
    org_id: Uuid,
    key_id: Uuid,
    account_id: Uuid,
    name: String,
    prefix: String,
    agent_id: Option<Uuid>,
    hash: Vec<u8>,
    old_hash: Option<Vec<u8>>,
    old_until: Option<i64>,
    created_at: i64,
    last_used_at: Option<i64>,
}

fn key(row: KeyRow) -> Result<ApiKey, StoreError> {
    let hash = bytes32(&row.hash, "key hash")?;
    let old = match row.old_hash.zip(row.old_until) {
        Some((hash, until_us)) => Some(OldSecret { hash: bytes32(&hash, "key hash")?, until_us }),
        None => None,
    };
    let KeyRow { org_id, key_id, account_id, name, prefix, agent_id, created_at, last_used_at, .. } = row;
    let key = ApiKey::new(key_id, org_id, account_id, name, prefix, agent_id, hash, created_at, last_used_at);
    Ok(key.with_old(old))
}

/// The keys of an org, or of all, that were not revoked.
pub(super) async fn live_keys(pool: &Pool, org: Option<Uuid>) -> Result<Vec<ApiKey>, StoreError> {
    let mut query = pool.query(
        "SELECT org_id, key_id, account_id, name, prefix, agent_id, hash, old_hash, old_until, created_at, last_used_at \
         FROM api_keys WHERE revoked_at IS NULL",
    );
    if let Some(org) = org {
        query = query.push(" AND org_id = ").push_bind(org);
    }
    let rows: Vec<KeyRow> = query.all().await?;
    rows.into_iter().map(key).collect()
}

impl Database {
    /// The person with this e-mail address, which is in lower case.
    pub async fn user_by_email(&self, email: &str) -> Result<Option<User>, StoreError> {
        let sql =
            "SELECT org_id, user_id, email, password_hash, one_time, created_at FROM users WHERE email = $1";
        let row: Option<UserRow> = soon(self.readers().query(sql).bind(email).optional()).await?;
        Ok(row.map(user))
    }

    /// A person.
    pub async fn user(&self, id: Uuid) -> Result<Option<User>, StoreError> {
        let sql = "SELECT org_id, user_id, email, password_hash, one_time, created_at FROM users WHERE user_id = $1";
        let row: Option<UserRow> = soon(self.readers().query(sql).bind(id).optional()).await?;
        Ok(row.map(user))
    }

    /// Whether somebody has an e-mail address of this domain.
    pub async fn knows_domain(&self, domain: &str) -> Result<bool, StoreError> {
        let escaped = domain.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
        let sql = "SELECT user_id FROM users WHERE email LIKE $1 ESCAPE '\\' LIMIT 1";
        let row: Option<(Uuid,)> = self.readers().query(sql).bind(format!("%@{escaped}")).optional().await?;
        Ok(row.is_some())
    }

    /// The orgs that a person belongs to, in the order in which they joined.
    pub async fn memberships(&self, user: Uuid) -> Result<Vec<Membership>, StoreError> {
        let sql = "SELECT org_id, role FROM members WHERE user_id = $1 AND accepted_at IS NOT NULL \
                   ORDER BY accepted_at, org_id";
        let rows: Vec<(Uuid, String)> = soon(self.readers().query(sql).bind(user).all()).await?;
        rows.into_iter().map(|(org, role)| Ok(Membership { org, role: named(&role)? })).collect()
    }

    /// The orgs that a person belongs to or is invited to.
    pub async fn joinings(&self, user: Uuid) -> Result<Vec<Joining>, StoreError> {
        let sql = "SELECT org_id, accepted_at, outdated FROM members WHERE user_id = $1 ORDER BY invited_at, org_id";
        let rows: Vec<(Uuid, Option<i64>, i64)> = soon(self.readers().query(sql).bind(user).all()).await?;
        let joining = |(org, accepted_at, outdated): (Uuid, Option<i64>, i64)| Joining {
            org,
            has_accepted: accepted_at.is_some(),
            is_outdated: outdated != 0,
        };
        Ok(rows.into_iter().map(joining).collect())
    }

    /// Every key that was not revoked.
    pub async fn live_keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        live_keys(self.readers(), None).await
    }

    /// The keys of an org that were not revoked.
    pub async fn live_keys_of(&self, org: Uuid) -> Result<Vec<ApiKey>, StoreError> {
        live_keys(self.readers(), Some(org)).await
    }

    /// When the keys of an org were last used, as any server wrote it down.
    pub async fn key_uses(&self, org: Uuid) -> Result<HashMap<Uuid, i64>, StoreError> {
        let sql = "SELECT key_id, last_used_at FROM api_keys \
                   WHERE org_id = $1 AND revoked_at IS NULL AND last_used_at IS NOT NULL";
        let rows: Vec<(Uuid, i64)> = self.readers().query(sql).bind(org).all().await?;
        Ok(rows.into_iter().collect())
    }

    /// Writes when keys were last used, unless a later use was written. They come in the order of their ids, so that two
    /// servers don't wait for one another.
    pub async fn save_key_uses(&self, uses: &[(Uuid, Uuid, i64)]) -> Result<(), StoreError> {
        let mut transaction = self.writers().begin().await?;
        for (org, id, at_us) in uses {
            let sql = "UPDATE api_keys SET last_used_at = $1 WHERE org_id = $2 AND key_id = $3 \
                       AND (last_used_at IS NULL OR last_used_at < $1)";
            transaction.query(sql).bind(at_us).bind(org).bind(id).execute().await?;
        }
        transaction.commit().await
    }
}
