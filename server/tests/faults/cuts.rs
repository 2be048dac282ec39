//! What is on the platter when the power is cut: all that was synced, and of the rest whatever the disk got to.
//!
//! Writes reach the platter by sectors, in any order, also between files, until a sync of their file has ended. A file is
//! there once it was made, and gone once it was deleted: SQLite syncs folders where that matters.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::disk::{Files, Happened, put};
use crate::random::Random;

/// What is written whole or not at all, in bytes.
pub(crate) const SECTOR: usize = 512;

/// What happens to that which was not synced.
#[derive(Debug, Clone, Copy)]
enum Luck {
    Nothing,
    Everything,
    /// Each write is there or not.
    SomeWrites,
    /// Each sector of each write is there or not.
    SomeSectors,
    /// What came before some moment, and of the last write some sectors.
    InOrder,
    /// All of some files, nothing of others.
    SomeFiles,
}

const LUCK: [Luck; 6] =
    [Luck::Nothing, Luck::Everything, Luck::SomeWrites, Luck::SomeSectors, Luck::InOrder, Luck::SomeFiles];

/// The platter, as of a moment that moves on.
pub(crate) struct Platter<'h> {
    /// What is sure to be there.
    files: Files,
    /// What was not synced, of each file in order.
    pending: BTreeMap<Arc<str>, Vec<&'h Happened>>,
    happened: &'h [Happened],
    at: usize,
}

impl<'h> Platter<'h> {
    /// It held these files before all that happened.
    pub(crate) fn new(files: Files, happened: &'h [Happened]) -> Platter<'h> {
        Platter { files, pending: BTreeMap::new(), happened, at: 0 }
    }

    /// Moves on to right before this moment.
    pub(crate) fn go_to(&mut self, moment: usize, random: &mut Random) {
        while self.at < moment {
            let happened = &self.happened[self.at];
            self.at += 1;
            match happened {
                Happened::Write { file, .. } | Happened::Truncate { file, .. } => {
                    self.pending.entry(Arc::clone(file)).or_default().push(happened);
                }
                Happened::Sync { file } => {
                    let writes = self.pending.remove(file).unwrap_or_default();
                    let bytes = self.files.entry(Arc::clone(file)).or_default();
                    writes.into_iter().for_each(|write| apply(bytes, write, |_| true));
                }
                Happened::FailedSync { file } => {
                    let writes = self.pending.remove(file).unwrap_or_default();
                    let bytes = self.files.entry(Arc::clone(file)).or_default();
                    writes.into_iter().for_each(|write| apply(bytes, write, |_| random.coin()));
                }
                Happened::Delete { file } => {
                    self.pending.remove(file);
                    self.files.remove(file);
                }
                Happened::Answered(_) => {}
            }
        }
    }

    /// What is there if the power is cut now.
    pub(crate) fn cut(&self, random: &mut Random) -> Files {
        let luck = LUCK[random.below(LUCK.len())];
        let mut files = self.files.clone();
        let count: usize = self.pending.values().map(Vec::len).sum();
        let mut left = random.below(count + 1);
        for (name, writes) in &self.pending {
            let bytes = files.entry(Arc::clone(name)).or_default();
            let is_lucky = random.coin();
            for write in writes {
                let is_there = random.coin();
                let kept = left > 0;
                left = left.saturating_sub(1);
                apply(bytes, write, |_| match luck {
                    Luck::Nothing => false,
                    Luck::Everything => true,
                    Luck::SomeWrites => is_there,
                    Luck::SomeSectors => random.coin(),
                    Luck::InOrder => kept && (left > 0 || random.coin()),
                    Luck::SomeFiles => is_lucky,
                });
            }
        }
        files
    }
}

/// Applies a write, or those of its sectors that are kept.
fn apply(file: &mut Vec<u8>, write: &Happened, mut is_kept: impl FnMut(usize) -> bool) {
    match write {
        Happened::Write { at, bytes, .. } => {
            let mut from = 0;
            while from < bytes.len() {
                let sector = (at + from) / SECTOR;
                let to = ((sector + 1) * SECTOR - at).min(bytes.len());
                if is_kept(sector) {
                    put(file, at + from, &bytes[from..to]);
                }
                from = to;
            }
        }
        Happened::Truncate { len, .. } if is_kept(0) => file.resize(*len, 0),
        _ => {}
    }
}
