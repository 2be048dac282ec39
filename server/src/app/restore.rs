//! An org made ready to be decided for, from what is stored of it.

use std::collections::HashMap;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, RwLock};

use lictor_engine::memory::Memories;
use serde::Deserialize;
use tokio::sync::Mutex;
use uuid::Uuid;

use super::{App, LoadError};
use crate::agents::Directory;
use crate::db::{Database, OrgRows, Store, StoreError};
use crate::draft::{Draft, Memory, View};
use crate::incidents::Open;
use crate::ledger::{Head, Verified, verify};
use crate::memory::Snapshots;
use crate::policies::{InForce, Policy, TakesPart};
use crate::rollout::{Kept, compile, interpreted};
use crate::sequencer::Compile;

/// How many entries at the end of a ledger are verified before it is served.
const VERIFIED_AT_START: i64 = 16;

/// Compiles what other servers put in force, with what is kept from one set to the next.
pub(super) fn following() -> Compile {
    let kept = Arc::<Mutex<Kept>>::default();
    Box::new(move |policies| {
        let kept = Arc::clone(&kept);
        Box::pin(async move { interpreted(&mut *kept.lock().await, policies).await })
    })
}

/// Rules whose memories were being filled when the server ended decide from now on: all is remembered again. Not if
/// another server moved the ledger meanwhile.
pub(super) async fn activate(view: &View, memory: &mut Memory, app: &App) -> Result<bool, LoadError> {
    if view.in_force().filling.is_empty() {
        return Ok(true);
    }
    let turn = app.database.turn(view.id).await?;
    if turn.head.is_some_and(|head| head != memory.head) {
        return Ok(false);
    }
    let mut draft = Draft::new(view, memory, &app.vault);
    draft.activate(app.clock.now_us(), Memories::default());
    let (batch, new) = draft.finish();
    if let Some(batch) = batch {
        app.database.commit(turn, batch).await?;
    }
    new.publish(view, &app.keys, memory);
    Ok(true)
}

pub(super) async fn restore(rows: OrgRows, snapshots: &Snapshots) -> Result<(View, Memory), LoadError> {
    let policies: Vec<_> = rows.policies.into_iter().map(Arc::new).collect();
    let generation = compile(&policies).map_err(|source| LoadError::Policies { org: rows.id, source })?;
    let generation = Arc::new(generation);
    let memories = if generation.remembers() {
        let restored = snapshots.restore(&generation, rows.head.next_seq).await;
        restored.map_err(|source| LoadError::Memory { org: rows.id, source })?
    } else {
        // What policies ask later has to be filled from the ledger.
        let mut memories = Memories::new(&generation);
        if rows.head != Head::EMPTY {
            memories.pass(rows.head.at_us);
        }
        memories
    };
    let mut incidents = Open::default();
    for incident in rows.incidents {
        incidents.put(Arc::new(incident));
    }
    let view = View {
        id: rows.id,
        name: rows.name,
        created_at_us: rows.created_at_us,
        directory: Directory::new(rows.agents),
        in_force: RwLock::new(Arc::new(InForce::new(Arc::new(policies), generation, rows.filling))),
        next_seq: AtomicI64::new(rows.head.next_seq),
    };
    Ok((view, Memory { head: rows.head, incidents, tasks: HashMap::new(), memories }))
}

/// The last entries must follow from the ones before them, and end where the head says.
pub(super) async fn verify_end(database: &Database, org: Uuid, head: Head) -> Result<(), LoadError> {
    if head == Head::EMPTY {
        return Ok(());
    }
    let first = (head.next_seq - 1 - VERIFIED_AT_START).max(0);
    // One more than there should be, so that an entry behind the head is noticed.
    let stored = database.stored_entries(org, first - 1, VERIFIED_AT_START + 2).await?;
    let mut entries = stored.into_iter();
    let from = match first {
        0 => Some(Head::EMPTY),
        _ => entries.next().filter(|before| before.seq == first).map(|before| Head {
            next_seq: first + 1,
            hash: before.hash,
            at_us: 0,
        }),
    };
    match from.map_or(Verified::GapAt(first), |from| verify(from, entries)) {
        Verified::Ok(found) if found == head => Ok(()),
        found => Err(LoadError::Ledger { org, found }),
    }
}

/// The policies that take part must be those that the ledger says are in force: whatever changed them without an entry
/// is to decide nothing.
pub(super) async fn verify_policies(database: &Database, rows: &OrgRows) -> Result<(), LoadError> {
    let mut said = match database.policies_said(rows.id).await? {
        Some(entry) => {
            serde_json::from_slice::<Said>(&entry).map_err(|_| StoreError::Corrupt("entry"))?.policies
        }
        None => Vec::new(),
    };
    let mut stored: Vec<_> = rows.policies.iter().filter_map(Policy::takes_part).collect();
    // Databases sort names each in their own way.
    stored.sort_unstable();
    said.sort_unstable();
    if stored == said {
        return Ok(());
    }
    Err(LoadError::OtherPolicies { org: rows.id, stored: format!("{stored:?}"), said: format!("{said:?}") })
}

/// What an entry says about the policies that are in force from it on.
#[derive(Deserialize)]
struct Said {
    policies: Vec<TakesPart>,
}
