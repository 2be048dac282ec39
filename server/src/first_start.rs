//! The first start: one org, its owner, and, if nobody said who owns it, credentials to print.

use std::sync::Arc;

use uuid::Uuid;

use crate::accounts::keys::{self, ApiKey};
use crate::accounts::{User, passwords};
use crate::clock::Clock;
use crate::db::Database;
use crate::draft::SYSTEM;
use crate::founding::{FoundingError, NewOrg, Standing, found};
use crate::vault::{self, Vault};

/// The owner's address when nobody named one.
const DEFAULT_EMAIL: &str = "owner@localhost";

/// What was made up, to be printed once.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The owner's e-mail address.
    pub email: String,
    /// The owner's password.
    pub password: String,
    /// An API key of the owner's account.
    pub api_key: String,
}

/// Why the first start failed. Nothing was stored.
#[derive(Debug, thiserror::Error)]
pub enum FirstStartError {
    /// No org.
    #[error("the first org can't be made")]
    Founding(#[from] FoundingError),
    /// No password hash.
    #[error(transparent)]
    Password(#[from] passwords::HashError),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] vault::OpenError),
}

/// Makes the first org in an empty database, in one transaction.
pub async fn first_start(
    database: &Database,
    vault: &Vault,
    clock: &dyn Clock,
    owner: Option<(String, String)>,
) -> Result<Option<Credentials>, FirstStartError> {
    let now_us = clock.now_us();
    let made_up = owner.is_none();
    let (email, password) = match owner {
        Some(owner) => owner,
        None => (DEFAULT_EMAIL.to_owned(), passwords::made_up()?),
    };
    let (org, user) = (Uuid::now_v7(), Uuid::now_v7());
    let (key, credentials) = if made_up {
        let (secret, hash) = keys::generate("KvKey-")?;
        let (id, prefix, label) = (Uuid::now_v7(), "KvKey-".to_owned(), "first start".to_owned());
        let key = ApiKey::new(id, org, user, label, prefix, None, hash, now_us, None);
        let (email, password) = (email.clone(), password.clone());
        (Some(key), Some(Credentials { email, password, api_key: secret }))
    } else {
        (None, None)
    };
    let owner = User {
        id: user,
        org,
        email,
        password_hash: passwords::hash(&password)?,
        one_time: false,
        created_at_us: now_us,
    };
    let new = NewOrg {
        id: org,
        name: "default".to_owned(),
        owner: Arc::new(owner),
        standing: Standing::New,
        key,
        actor: SYSTEM.to_owned(),
        answer: None,
    };
    found(database, vault, now_us, new).await?;
    Ok(credentials)
}
