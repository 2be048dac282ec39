//! Whether a database can still be believed.
//!
//! After a sync that failed nobody knows what is on the disk: the system may have dropped what it could not write, and
//! the next sync says that all is well. So nothing is asked of such a database any more, and the server ends.

use std::sync::Arc;

use tokio::sync::watch;

use super::StoreError;

/// What SQLite says when a file (`SQLITE_IOERR_FSYNC`) or a folder (`SQLITE_IOERR_DIR_FSYNC`) could not be synced.
/// PostgreSQL ends by itself.
const FAILED_SYNCS: [&str; 2] = ["1034", "1290"];

/// Whether the database can be believed. What is cloned stays one.
#[derive(Debug, Clone, Default)]
pub(super) struct Trust(Arc<watch::Sender<bool>>);

impl Trust {
    /// Nothing is begun on a database that can't be believed.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        if *self.0.borrow() { Err(StoreError::Untrusted) } else { Ok(()) }
    }

    /// What came of a call, which may be the end of trust.
    pub(super) fn after<T>(&self, done: Result<T, sqlx::Error>) -> Result<T, StoreError> {
        done.map_err(|error| match code(&error) {
            Some(code) if FAILED_SYNCS.contains(&&*code) => {
                if !self.0.send_replace(true) {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(error, "the database could not be synced to its disk: the server ends");
                }
                StoreError::Untrusted
            }
            _ => StoreError::from(error),
        })
    }

    /// Waits until the database can't be believed any more.
    pub(super) async fn lost(&self) {
        // The sender is held here, so the wait can't end otherwise.
        let _ = self.0.subscribe().wait_for(|lost| *lost).await;
    }
}

/// What the database calls an error.
pub(super) fn code(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}
