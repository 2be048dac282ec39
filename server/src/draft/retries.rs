//! Requests of a batch that may be sent again, each done once.

use super::Draft;
use crate::db::Change;
use crate::retries::{Claim, KeptAnswer, Name, Shown};

impl Draft<'_> {
    /// Takes in what was read from the database for this batch.
    pub fn know_answered(&mut self, answered: Vec<Name>) {
        self.answered.extend(answered);
    }

    /// Whether a request was answered, before this batch or in it.
    pub fn has_answered(&self, name: &Name) -> bool {
        self.answered.contains(name)
    }

    /// The number that the next entry will have.
    pub fn next_seq(&self) -> i64 {
        self.new.head.next_seq
    }

    /// Keeps the answer to a request that left the entries from this one on. Without entries nothing happened, and
    /// there is nothing to keep.
    pub fn keep(&mut self, claim: Claim, answer: Shown, first: i64) {
        let (last, at_us) = (self.new.head.next_seq - 1, self.new.head.at_us);
        if last < first {
            return;
        }
        let name = claim.name.clone();
        // What happened in a new org is no entry of the one that the request acts in.
        let entries = if name.org == self.view.id { (first, last) } else { (-1, -1) };
        match KeptAnswer::seal(self.vault, claim, answer, entries, at_us) {
            Ok(kept) => {
                self.answered.insert(name);
                self.changes.push(Change::Answer(Box::new(kept)));
            }
            Err(error) => tracing::error!(org = %self.view.id, %error, "an answer can't be kept"),
        }
    }
}
