//! Where checkpoints go so that they are not in the database alone: a file, to which each is appended and made durable.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

use crate::ledger::checkpoint::{Checkpoint, origin};
use crate::ledger::note::Note;

/// What may stand behind the last whole note of a file: one that was not written to its end.
const TORN: usize = 1_024;

/// Why the file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// It can't be read or written.
    #[error("LICTOR_CHECKPOINT_FILE {path} can't be used")]
    File {
        /// Which file.
        path: PathBuf,
        /// What happened.
        #[source]
        source: io::Error,
    },
    /// It is a file of something else.
    #[error("LICTOR_CHECKPOINT_FILE {0} holds something else than checkpoints")]
    Other(PathBuf),
}

/// The file, if there is one. Each note stands in it once, with an empty line behind it.
#[derive(Debug)]
pub struct Sink(Option<Arc<Open>>);

#[derive(Debug)]
struct Open {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: File,
    /// How long it is.
    length: u64,
    /// The latest note of each ledger, by its name.
    last: HashMap<String, Last>,
}

/// The latest note of a ledger.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Last {
    pub(super) size: u64,
    pub(super) note: String,
}

impl Sink {
    /// Opens the file, or makes it, and reads what was sent already.
    pub fn open(path: Option<&Path>) -> Result<Sink, SinkError> {
        let Some(path) = path else { return Ok(Sink(None)) };
        let failed = |source| SinkError::File { path: path.to_owned(), source };
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(failed)?;
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(failed)?;
        let mut last = HashMap::new();
        let mut rest = text.as_str();
        while let Some((note, others)) = Note::parse_first(rest) {
            let checkpoint = Checkpoint::of(&note).map_err(|_| SinkError::Other(path.to_owned()))?;
            last.insert(checkpoint.origin, Last { size: checkpoint.size, note: note.to_string() });
            rest = others;
        }
        if rest.len() > TORN || (last.is_empty() && !rest.trim().is_empty()) {
            return Err(SinkError::Other(path.to_owned()));
        }
        // What was not written to its end is sent again.
        let whole = u64::try_from(text.len() - rest.len()).unwrap_or(u64::MAX);
        file.set_len(whole).and_then(|()| file.sync_all()).map_err(failed)?;
        Ok(Sink(Some(Arc::new(Open {
            path: path.to_owned(),
            state: Mutex::new(State { file, length: whole, last }),
        }))))
    }

    /// The note of this ledger that was sent last; none if nothing is sent anywhere.
    pub(super) fn last(&self, org: Uuid) -> Option<Last> {
        let open = self.0.as_ref()?;
        let state = open.state.lock().unwrap_or_else(PoisonError::into_inner);
        Some(state.last.get(&origin(org)).cloned().unwrap_or_default())
    }

    /// Sends a note, and comes back when it is durable.
    pub(super) async fn append(&self, org: Uuid, sent: Last) -> Result<(), SinkError> {
        let Some(open) = self.0.clone() else { return Ok(()) };
        let path = open.path.clone();
        let write = move || {
            let mut state = open.state.lock().unwrap_or_else(PoisonError::into_inner);
            let bytes = format!("{}\n", sent.note).into_bytes();
            let written = state.file.write_all(&bytes).and_then(|()| state.file.sync_data());
            if let Err(error) = written {
                // Half a note must not stand in front of the next.
                state.file.set_len(state.length)?;
                return Err(error);
            }
            state.length += u64::try_from(bytes.len()).unwrap_or(0);
            state.last.insert(origin(org), sent);
            Ok(())
        };
        let written =
            tokio::task::spawn_blocking(write).await.unwrap_or_else(|panic| Err(io::Error::other(panic)));
        written.map_err(|source| SinkError::File { path, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::note::SigningKey;

    fn note(org: Uuid, size: u64) -> Last {
        let checkpoint = Checkpoint { origin: origin(org), size, root: [size as u8; 32] };
        let key = SigningKey::new(checkpoint.origin.as_str(), &[1; 32]);
        Last { size, note: checkpoint.sign(&key).to_string() }
    }

    #[tokio::test]
    async fn what_was_sent_is_known_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoints");
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let sink = Sink::open(Some(&path)).unwrap();
        assert_eq!(sink.last(one), Some(Last::default()));
        for (org, size) in [(one, 3), (other, 1), (one, 5)] {
            sink.append(org, note(org, size)).await.unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap();
        assert_eq!(Note::parse_all(&written).unwrap().len(), 3);
        // One that was not written to its end is cut off, to be sent again.
        std::fs::write(&path, format!("{written}{}", &note(one, 9).note[..60])).unwrap();
        let sink = Sink::open(Some(&path)).unwrap();
        assert_eq!((sink.last(one), sink.last(other)), (Some(note(one, 5)), Some(note(other, 1))));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), written);
    }

    #[test]
    fn a_file_of_something_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("letter");
        std::fs::write(&path, "Dear Anna,\n").unwrap();
        assert!(matches!(Sink::open(Some(&path)), Err(SinkError::Other(_))));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "Dear Anna,\n");
        assert_eq!(Sink::open(None).unwrap().last(Uuid::nil()), None);
    }
}
