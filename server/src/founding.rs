//! A new org: what its ledger begins with, who owns it, and the policy `base`.

use std::collections::HashMap;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, RwLock};

use lictor_engine::memory::Memories;
use uuid::Uuid;

use crate::accounts::keys::ApiKey;
use crate::accounts::{Member, Role, User};
use crate::agents::Directory;
use crate::canonical::Object;
use crate::db::{Change, Database, Store, StoreError, Turn};
use crate::draft::{Draft, Memory, PolicyChange, Refused, SYSTEM, View};
use crate::incidents::Open;
use crate::ledger::Head;
use crate::policies::{BASE, InForce, Policy};
use crate::retries::{Claim, Shown};
use crate::rollout::{RolloutError, compile};
use crate::vault::Vault;

/// An org that is to be.
#[derive(Debug)]
pub struct NewOrg {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// Who is going to own it.
    pub owner: Arc<User>,
    /// How well the owner is known.
    pub standing: Standing,
    /// Its first API key, if there is one.
    pub key: Option<ApiKey>,
    /// Who makes it, as the ledger names them.
    pub actor: String,
    /// The request that asks for it, if it may be sent again, and what it is answered.
    pub answer: Option<(Claim, Shown)>,
}

/// How well the owner of a new org is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nobody knew them before.
    New,
    /// They are known, and asked for it.
    Asked,
    /// They are known, and have to accept by logging in.
    Invited,
}

/// Why an org was not made. Nothing was stored.
#[derive(Debug, thiserror::Error)]
pub enum FoundingError {
    /// The database did not take it.
    #[error("the org can't be stored")]
    Store(#[from] StoreError),
    /// The policy `base` can't be used.
    #[error("the policy `base` can't be used")]
    Base(#[from] RolloutError),
    /// The policy `base` can't be put in force.
    #[error("the policy `base` can't be put in force")]
    Refused(#[from] Refused),
}

/// Makes an org, in one transaction.
pub async fn found(
    database: &Database,
    vault: &Vault,
    now_us: i64,
    new: NewOrg,
) -> Result<(), FoundingError> {
    let NewOrg { id, name, owner, standing, key, actor, answer } = new;
    let base = base_policy(now_us);
    let policies = Arc::new(vec![Arc::clone(&base)]);
    let generation = Arc::new(compile(&policies)?);
    let view = View {
        id,
        name,
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
    let content = Object::new().text("owner", owner.id.to_string());
    draft.note(now_us, "org", "server", "created", actor.clone(), content);
    let (name, change) =
        (base.name.clone(), Change::Policy { policy: base, new_source_by: Some(SYSTEM.to_owned()) });
    let (what, based_on) = ("created", view.policies());
    let change = PolicyChange { what, name, based_on, policies, generation, change, filled: None };
    draft.change_policies(now_us, change, SYSTEM.to_owned())?;
    if let Some(key) = key {
        draft.add_key(now_us, Arc::new(key), actor)?;
    }
    if standing == Standing::New {
        draft.also(Change::User(Arc::clone(&owner)));
    }
    draft.also(Change::Member(Member {
        user: owner.id,
        email: owner.email.clone(),
        role: Role::Owner,
        invited_at_us: now_us,
        accepted_at_us: (standing != Standing::Invited).then_some(now_us),
        one_time: owner.one_time,
        is_outdated: false,
        groups: Vec::new(),
    }));
    if let Some((claim, answer)) = answer {
        draft.keep(claim, answer, 0);
    }
    if let (Some(batch), _) = draft.finish() {
        database.commit(Turn::alone(), batch).await?;
    }
    Ok(())
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
