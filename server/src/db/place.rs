//! The files of a SQLite database as they were when it was opened: others in their place, or none, are noticed.
//!
//! SQLite goes on writing to the files that it opened, wherever they were moved to. Whoever moved them would not find
//! there what was decided since, or nobody would, if they were removed.

use std::io;
use std::path::{Path, PathBuf};

use super::StoreError;

/// Files, each with what tells it from others.
#[derive(Debug)]
pub(super) struct Place(Vec<(PathBuf, Identity)>);

/// Device and number of a file.
type Identity = (u64, u64);

impl Place {
    /// Where an open database is: its file, and the log beside it.
    pub(super) fn of(database: &Path) -> io::Result<Place> {
        // SQLite puts the log beside the file itself, whatever links lead to it.
        let mut log = database.canonicalize()?.into_os_string();
        log.push("-wal");
        let files = [database.to_owned(), PathBuf::from(log)];
        let known = files.into_iter().map(|file| identity(&file).map(|identity| (file, identity)));
        Ok(Place(known.collect::<io::Result<_>>()?))
    }

    /// Whether they are still there.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        match self.0.iter().find(|(file, known)| identity(file).ok() != Some(*known)) {
            Some((file, _)) => Err(StoreError::Moved(file.clone())),
            None => Ok(()),
        }
    }
}

#[cfg(unix)]
fn identity(file: &Path) -> io::Result<Identity> {
    use std::os::unix::fs::MetadataExt;
    let metadata = file.metadata()?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Elsewhere a file that is open can't be moved.
#[cfg(not(unix))]
fn identity(file: &Path) -> io::Result<Identity> {
    file.metadata().map(|_| (0, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_were_moved_or_replaced_are_noticed_until_they_are_back() {
        let folder = tempfile::tempdir().unwrap();
        let (file, aside) = (folder.path().join("a.db"), folder.path().join("aside"));
        let log = folder.path().join("a.db-wal");
        std::fs::write(&file, "a").unwrap();
        std::fs::write(&log, "b").unwrap();
        let place = Place::of(&file).unwrap();
        for moved in [&file, &log] {
            place.check().unwrap();
            std::fs::rename(moved, &aside).unwrap();
            assert!(
                matches!(place.check(), Err(StoreError::Moved(path)) if path.file_name() == moved.file_name())
            );
            std::fs::copy(&aside, moved).unwrap();
            assert!(place.check().is_err(), "the same bytes are not the same file");
            std::fs::rename(&aside, moved).unwrap();
        }
        place.check().unwrap();
    }
}
