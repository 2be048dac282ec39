//! The first start: one org, its owner, the policy `base`, and, if nobody said who owns it, credentials to print.

use std::collections::HashMap;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, RwLock};

use lictor_engine::memory::Memories;
use uuid::Uuid;

use crate::accounts::keys::{self, ApiKey};
use crate::accounts::{Role, User, passwords};
use crate::agents::Directory;
use crate::canonical::Object;
use crate::clock::Clock;
use crate::db::{Change, Database, Store, StoreError, Turn};
use crate::draft::{Draft, Memory, PolicyChange, Refused, SYSTEM, View};
use crate::incidents::Open;
use crate::ledger::Head;
use crate::policies::{BASE, InForce, Policy};
use crate::rollout::{RolloutError, compile};
use crate::vault::{self, Vault, hex};

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
    /// The database did not take it.
    #[error("the first org can't be stored")]
    Store(#[from] StoreError),
    /// The policy `base` can't be used.
    #[error("the policy `base` can't be used")]
    Base(#[from] RolloutError),
    /// The policy `base` can't be put in force.
    #[error("the policy `base` can't be put in force")]
    Refused(#[from] Refused),
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
        None => (DEFAULT_EMAIL.to_owned(), hex(&vault::random()?).chars().take(24).collect()),
    };
    let org = Uuid::now_v7();
    let user = User {
        id: Uuid::now_v7(),
        org,
        email: email.clone(),
        role: Role::Owner,
        password_hash: passwords::hash(&password)?,
        created_at_us: now_us,
    };
    let base = base_policy(now_us);
    let policies = Arc::new(vec![Arc::clone(&base)]);
    let generation = Arc::new(compile(&policies)?);
    let view = View {
        id: org,
        name: "default".to_owned(),
        created_at_us: now_us,
        directory: Directory::default(),
        in_force: RwLock::new(Arc::new(InForce::new(Arc::default(), Arc::new(compile(&[])?), Vec::new()))),
        next_seq: AtomicI64::new(0),
    };
    let mut memory = Memory {
        head: Head::EMPTY,
        incidents: Open::default(),
        tasks: HashMap::new(),
        memories: Memories::default(),
    };
    let mut draft = Draft::new(&view, &mut memory, vault);
    draft.also(Change::Org { name: view.name.clone(), created_at_us: now_us });
    draft.note(
        now_us,
        "org",
        "server",
        "created",
        SYSTEM.to_owned(),
        Object::new().text("owner", user.id.to_string()),
    );
    let (name, change) =
        (base.name.clone(), Change::Policy { policy: base, new_source_by: Some(SYSTEM.to_owned()) });
    let (what, based_on) = ("created", view.policies());
    let change = PolicyChange { what, name, based_on, policies, generation, change, filled: None };
    draft.change_policies(now_us, change, SYSTEM.to_owned())?;
    let credentials = if made_up {
        let (secret, hash) = keys::generate("KvKey-")?;
        let (id, prefix, label) = (Uuid::now_v7(), "KvKey-".to_owned(), "first start".to_owned());
        let key = ApiKey::new(id, org, user.id, label, prefix, None, hash, now_us, None);
        draft.add_key(now_us, Arc::new(key), SYSTEM.to_owned());
        Some(Credentials { email, password, api_key: secret })
    } else {
        None
    };
    draft.also(Change::User(Arc::new(user)));
    if let (Some(batch), _) = draft.finish() {
        database.commit(Turn::alone(), batch).await?;
    }
    Ok(credentials)
}

fn base_policy(now_us: i64) -> Arc<Policy> {
    Arc::new(Policy {
        id: Uuid::now_v7(),
        name: "base".to_owned(),
        title: "Base".to_owned(),
        enabled: true,
        shadow: false,
        shadow_by_header: false,
        version: 1,
        revision: 1,
        source: Arc::from(BASE),
        created_at_us: now_us,
        updated_at_us: now_us,
    })
}
