//! Content erased: what is remembered is made anew without it, beside the sequencer, while the org goes on deciding.

use std::sync::Arc;

use lictor_engine::memory::Memories;

use super::fill::NEAR;
use super::past::{Past, PastError};
use crate::draft::{Erased, Erasing, Found, View};
use crate::ledger::erasure::Subject;
use crate::sequencer::{Attempt, Queue, Unavailable};

/// Entries that are looked at together.
const PAGE: i64 = 1_000;
/// How often it is begun anew because policies changed meanwhile.
const TRIES: usize = 8;

/// Why nothing was erased.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    /// The ledger can't be read.
    #[error(transparent)]
    Past(#[from] PastError),
    /// The sequencer did not answer.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// Policies changed again and again.
    #[error("the policies change all the time")]
    Busy,
}

/// Erases the content of a subject everywhere.
pub async fn erase(
    past: &Past,
    queue: &Queue,
    view: &View,
    subject: Subject,
    actor: String,
) -> Result<Erased, EraseError> {
    let subject = Arc::new(subject);
    for _ in 0..TRIES {
        let mut erasing = begin(view, Arc::clone(&subject), actor.clone());
        loop {
            bring_on(past, &mut erasing).await?;
            match queue.erase(erasing).await? {
                Attempt::Done(erased) => return Ok(erased),
                Attempt::NotYet(further) => erasing = further,
                Attempt::Anew => break,
            }
        }
    }
    Err(EraseError::Busy)
}

fn begin(view: &View, subject: Arc<Subject>, actor: String) -> Box<Erasing> {
    let in_force = view.in_force();
    let (generation, filling) = (Arc::clone(&in_force.generation), in_force.filling.clone());
    let memories = generation.remembers().then(|| {
        let mut memories = Memories::new(&generation);
        memories.leave(&generation, &filling);
        memories
    });
    Box::new(Erasing { subject, actor, generation, filling, memories, found: Found::default() })
}

/// Goes on until little happened meanwhile.
async fn bring_on(past: &Past, erasing: &mut Erasing) -> Result<(), PastError> {
    let Erasing { subject, generation, memories, found, .. } = erasing;
    let after = past.without(Arc::clone(subject));
    loop {
        let (from, next_seq) = (found.next_seq, past.next_seq().await?);
        find(past, subject, found, next_seq).await?;
        if let Some(remembered) = memories.take() {
            *memories = Some(after.fold(generation, remembered, from..next_seq).await?);
        }
        if next_seq - from < NEAR {
            return Ok(());
        }
    }
}

/// Finds what there is to erase up to this entry.
pub async fn find(past: &Past, subject: &Subject, found: &mut Found, to: i64) -> Result<(), PastError> {
    while found.next_seq < to {
        let rows = past.erasable(subject, found.next_seq..to, PAGE).await?;
        found.add(&rows)?;
        found.next_seq = match rows.last() {
            Some(last) if i64::try_from(rows.len()) == Ok(PAGE) => last.seq + 1,
            _ => to,
        };
    }
    Ok(())
}
