//! The ledger read back: each judged event with the agent as it was, and what became of it.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lictor_dsl::events::EventKind;
use lictor_engine::event::{Event, Origin, Remains};
use lictor_engine::generation::Generation;
use lictor_engine::memory::{Fate, Memories};
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::agents::facts_from_json;
use crate::db::{ErasableRow, JudgedRow, Store, StoreError};
use crate::ledger::erasure::{Named, Subject};
use crate::vault::Vault;

/// Events that are read and folded at once; each may weigh a megabyte.
const PAGE: usize = 250;
/// Events that are folded faster than another thread takes them over.
const FEW: usize = 64;
/// How often a long fold says how far it is.
const SAY_EVERY: Duration = Duration::from_secs(5);

/// Why the past can't be had.
#[derive(Debug, thiserror::Error)]
pub enum PastError {
    /// The ledger can't be read.
    #[error("the ledger can't be read")]
    Store(#[from] StoreError),
    /// An entry does not say what was judged and what came of it.
    #[error("entry {seq} of the ledger can't be read back: {what}")]
    Unreadable {
        /// Its place.
        seq: i64,
        /// What is wrong.
        what: &'static str,
    },
    /// The thread that folds died.
    #[error("folding the ledger stopped")]
    Crashed,
}

/// One judged event of the ledger.
#[derive(Debug)]
pub struct Recorded {
    /// Its place.
    pub seq: i64,
    /// The event at its ledger time, with the agent as it was.
    pub event: Event,
    /// What became of it; none if it broke a schema, and so is not remembered.
    pub fate: Option<Fate>,
    /// Whether its content was erased: the event has no more than its entry says.
    pub erased: bool,
}

/// The ledger of an org, as far as it is stored.
#[derive(Clone)]
pub struct Past {
    store: Arc<dyn Store>,
    vault: Arc<Vault>,
    org: Uuid,
    /// What is read as if it had been erased.
    without: Option<Arc<Subject>>,
}

impl std::fmt::Debug for Past {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Past of {}", self.org)
    }
}

impl Past {
    /// The past of an org.
    pub fn new(store: Arc<dyn Store>, vault: Arc<Vault>, org: Uuid) -> Past {
        Past { store, vault, org, without: None }
    }

    /// The same as it will be once the content of this subject is erased.
    pub fn without(&self, subject: Arc<Subject>) -> Past {
        Past { without: Some(subject), ..self.clone() }
    }

    /// Whose it is.
    pub fn org(&self) -> Uuid {
        self.org
    }

    /// The judged events among these entries, at most so many. Those without a payload were erased.
    pub async fn read(&self, entries: Range<i64>, limit: usize) -> Result<Vec<JudgedRow>, PastError> {
        let mut rows = self.store.judged(self.org, entries, limit).await?;
        if let Some(subject) = &self.without {
            for row in &mut rows {
                if subject.covers(&named(row)?) {
                    (row.wrapped_key, row.ciphertext) = (None, None);
                }
            }
        }
        let is_gone = |row: &JudgedRow| row.wrapped_key.is_none() || row.ciphertext.is_none();
        if rows.iter().any(is_gone) {
            let erasures = self.store.erasures(self.org).await?;
            for row in rows.iter().filter(|row| is_gone(row)) {
                let named = named(row)?;
                let is_erased = self.without.as_ref().is_some_and(|subject| subject.covers(&named))
                    || erasures.iter().any(|erasure| erasure.covers(row.seq, &named));
                if !is_erased {
                    let what = "its payload is missing, and no erasure says so";
                    return Err(PastError::Unreadable { seq: row.seq, what });
                }
            }
        }
        Ok(rows)
    }

    /// Those of these entries that have content of this subject, in order, at most so many.
    pub async fn erasable(
        &self,
        subject: &Subject,
        entries: Range<i64>,
        limit: i64,
    ) -> Result<Vec<ErasableRow>, PastError> {
        Ok(self.store.erasable(self.org, subject, entries, limit).await?)
    }

    /// The number that the next entry will have.
    pub async fn next_seq(&self) -> Result<i64, PastError> {
        Ok(self.store.next_seq(self.org).await?)
    }

    /// Remembers what became of all events among these entries.
    pub async fn fold(
        &self,
        generation: &Arc<Generation>,
        mut memories: Memories,
        entries: Range<i64>,
    ) -> Result<Memories, PastError> {
        let (begun, mut said) = (Instant::now(), Instant::now());
        let (mut next, mut count) = (entries.start, 0);
        loop {
            let rows = self.read(next..entries.end, PAGE).await?;
            let is_last = rows.len() < PAGE;
            count += rows.len();
            if let Some(last) = rows.last() {
                next = last.seq + 1;
                memories = self.remember(generation, memories, rows).await?;
            }
            if said.elapsed() > SAY_EVERY {
                said = Instant::now();
                tracing::info!(org = %self.org, events = count, next_seq = next, "remembering the ledger");
            }
            if is_last {
                let ms = begun.elapsed().as_millis();
                tracing::debug!(org = %self.org, events = count, ms, "the ledger is remembered");
                return Ok(memories);
            }
        }
    }

    /// Remembers what became of these events; of many, on a thread that serves nobody.
    pub async fn remember(
        &self,
        generation: &Arc<Generation>,
        mut memories: Memories,
        rows: Vec<JudgedRow>,
    ) -> Result<Memories, PastError> {
        let (past, generation) = (self.clone(), Arc::clone(generation));
        let few = rows.len() <= FEW;
        let fold = move || {
            for row in rows {
                let Recorded { seq, event, fate, erased } = past.recorded(&row)?;
                let number = u64::try_from(seq).unwrap_or_default();
                match fate {
                    Some(fate) if erased => {
                        memories.remember_erased(&generation, &event, fate, number, event.at());
                    }
                    Some(fate) => memories.remember(&generation, &event, fate, number, event.at()),
                    None => memories.pass(event.at()),
                }
            }
            Ok(memories)
        };
        match few {
            true => fold(),
            false => tokio::task::spawn_blocking(fold).await.unwrap_or(Err(PastError::Crashed)),
        }
    }

    /// What an entry says that [`Past::read`] gave: the event from its payload, all else from what was hashed.
    pub fn recorded(&self, row: &JudgedRow) -> Result<Recorded, PastError> {
        let unreadable = |what| PastError::Unreadable { seq: row.seq, what };
        let record: Record =
            serde_json::from_slice(&row.canonical).map_err(|_| unreadable("its record is malformed"))?;
        let fate = record.decision.fate().ok_or_else(|| unreadable("its outcome is unknown"))?;
        let (Some(key), Some(ciphertext)) = (&row.wrapped_key, &row.ciphertext) else {
            let event = record.remains(self.org).ok_or_else(|| unreadable("its kind is unknown"))?;
            return Ok(Recorded { seq: row.seq, event, fate, erased: true });
        };
        let payload = self.vault.unseal(self.org, row.entry_id, key, ciphertext);
        let payload =
            payload.map_err(|_| unreadable("its payload does not open: is the master key the right one?"))?;
        let payload: Payload<'_> =
            serde_json::from_slice(&payload).map_err(|_| unreadable("its payload is malformed"))?;
        let agent =
            facts_from_json(payload.agent.get()).map_err(|_| unreadable("its agent can't be read"))?;
        let org = self.org.to_string();
        let origin = Origin::Server { org: &org, source: &record.source, agent: &agent };
        let mut event = Event::decode(payload.event.get().as_bytes(), origin)
            .map_err(|_| unreadable("its payload is no event"))?;
        event.set_at(record.at);
        Ok(Recorded { seq: row.seq, event, fate, erased: false })
    }
}

/// The members of a record that say what was judged.
#[derive(Deserialize)]
struct Record {
    at: i64,
    kind: String,
    source: String,
    agent: Option<Uuid>,
    task: Option<String>,
    action: Option<String>,
    decision: Decided,
}

impl Record {
    /// The event without its content.
    fn remains(&self, org: Uuid) -> Option<Event> {
        let agent = self.agent.map(|id| id.to_string()).unwrap_or_default();
        Some(Event::erased(Remains {
            kind: EventKind::named(&self.kind)?,
            org: &org.to_string(),
            source: &self.source,
            agent: &agent,
            task: self.task.as_deref().unwrap_or_default(),
            about: self.action.as_deref().unwrap_or_default(),
            at_us: self.at,
        }))
    }
}

/// What of an entry says whether an erasure covers it.
fn named(row: &JudgedRow) -> Result<Named, PastError> {
    let what = "its record is malformed";
    serde_json::from_slice(&row.canonical).map_err(|_| PastError::Unreadable { seq: row.seq, what })
}

#[derive(Deserialize)]
struct Decided {
    outcome: String,
    class: String,
}

impl Decided {
    fn fate(&self) -> Option<Option<Fate>> {
        let fate = match self.outcome.as_str() {
            "allow" | "warn" => Fate::Happened,
            "require_approval" => Fate::Waiting,
            "deny" => Fate::Denied,
            _ => return None,
        };
        Some((self.class != "invalid_input").then_some(fate))
    }
}

/// What is kept, encrypted, of a judged event.
#[derive(Deserialize)]
struct Payload<'a> {
    #[serde(borrow)]
    agent: &'a RawValue,
    #[serde(borrow)]
    event: &'a RawValue,
}
