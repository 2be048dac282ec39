//! One process a file: a lock that lasts as long as whoever took it.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use super::{Address, OpenError};

/// Nobody else uses the file while this is there.
#[derive(Debug)]
#[expect(dead_code, reason = "the open file is the lock")]
pub struct Lock(File);

impl Lock {
    /// Locks a file beside the database. The system lets go of it when the process ends, however it ends. Servers share
    /// a PostgreSQL database.
    pub fn take(database: &Address) -> Result<Option<Lock>, OpenError> {
        let Address::File(database) = database else { return Ok(None) };
        let failed = |source| OpenError::Lock { path: database.to_owned(), source };
        let file = File::options().create(true).append(true).open(beside(database)).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock(file))),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse(database.to_owned())),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }
}

/// The same file whichever name the database goes by.
fn beside(database: &Path) -> PathBuf {
    let mut name = database.canonicalize().unwrap_or_else(|_| database.to_owned()).into_os_string();
    name.push(".lock");
    PathBuf::from(name)
}
