//! What callers are told when the database fails: 503, and by its code why.

use super::problem::{Problem, logged};
use crate::db::StoreError;
use crate::sequencer::Unavailable;

impl From<Unavailable> for Problem {
    fn from(unavailable: Unavailable) -> Problem {
        let detail = unavailable.to_string();
        match unavailable {
            Unavailable::Busy | Unavailable::Stopping => Problem::unavailable(detail),
            Unavailable::AnsweredBefore => Problem::answered_before(detail),
            Unavailable::Revoked => Problem::unauthenticated(),
            Unavailable::NotDurable | Unavailable::Late => {
                Problem::cannot("audit_unavailable", "Can't record a decision now", detail)
            }
            Unavailable::NoRoom => Problem::cannot("storage_full", "There is no room left", detail),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Problem {
        let answer = match error {
            StoreError::Full(_) => Unavailable::NoRoom.into(),
            // Nothing is wrong.
            StoreError::AnsweredBefore => return Unavailable::AnsweredBefore.into(),
            _ => Problem::unavailable("the database does not answer"),
        };
        logged(&error, answer)
    }
}
