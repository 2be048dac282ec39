//! What an auditor finds who has an export, the log's public keys, and checkpoints that were kept: no database, no
//! server, and no more memory than one entry.

use std::io::{self, BufRead, Read};

use super::Head;
use super::checkpoint::Checkpoint;
use super::export::Line;
use super::note::{Note, PublicKey, Signed};
use super::tree::{Frontier, leaf};
use super::verify::{Verified, follow};
use crate::vault::{Bytes32, hex};

/// Bytes of the longest line that is read; no entry comes near it.
const MAX_LINE: u64 = 16 * 1024 * 1024;

/// What an audit found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// Nothing.
    #[error("the ledger is whole: every entry follows from the one before it, and every checkpoint holds")]
    Ok,
    /// An entry is not what was hashed.
    #[error("entry {0} was changed: it is not what was hashed, or the next one does not follow from it")]
    ChangedAt(i64),
    /// An entry is missing.
    #[error("entry {0} is missing: a later one stands in its place")]
    GapAt(i64),
    /// Time did not move on.
    #[error("time goes back: entry {0} is not later than the one before it")]
    TimeGoesBack(i64),
    /// The end was cut off.
    #[error("the ledger is truncated: a signed checkpoint says {checkpoint} entries, it has {log}")]
    Truncated {
        /// The entries of the largest checkpoint.
        checkpoint: u64,
        /// The entries that there are.
        log: u64,
    },
    /// What was signed is no longer there.
    #[error(
        "the ledger was rewritten: the checkpoint of {checkpoint} entries no longer holds, so one of the entries {good} \
         to {last} is another than when it was signed", last = checkpoint.saturating_sub(1)
    )]
    Rewritten {
        /// The size of the smallest checkpoint that does not hold.
        checkpoint: u64,
        /// The size of the largest one that holds; 0 if none does.
        good: u64,
    },
    /// Two histories were signed.
    #[error(
        "the ledger is forked: checkpoints of {one} and of {other} entries were both signed, and no ledger has both"
    )]
    Forked {
        /// The size of one checkpoint.
        one: u64,
        /// The size of another one.
        other: u64,
    },
    /// Nobody known signed a checkpoint.
    #[error("a bad signature: checkpoint {number} of those given, of {size} entries, is {why}")]
    BadSignature {
        /// Counted from 1, in the order they were given.
        number: usize,
        /// How many entries it speaks of.
        size: u64,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl Finding {
    /// A word for programs.
    pub fn name(&self) -> &'static str {
        match self {
            Finding::Ok => "ok",
            Finding::ChangedAt(_) => "changed",
            Finding::GapAt(_) => "gap",
            Finding::TimeGoesBack(_) => "time_goes_back",
            Finding::Truncated { .. } => "truncated",
            Finding::Rewritten { .. } => "rewritten",
            Finding::Forked { .. } => "forked",
            Finding::BadSignature { .. } => "bad_signature",
        }
    }

    /// The entry that it is about.
    pub fn entry(&self) -> Option<i64> {
        match self {
            Finding::ChangedAt(entry) | Finding::GapAt(entry) | Finding::TimeGoesBack(entry) => Some(*entry),
            _ => None,
        }
    }
}

/// A checkpoint that was signed.
#[derive(Debug, Clone)]
pub struct Checked {
    /// What it says.
    pub checkpoint: Checkpoint,
    /// Whether the ledger is as it says; none if the ledger was not read so far.
    pub holds: Option<bool>,
}

/// A ledger that is being read.
#[derive(Debug, Clone)]
pub struct Audit {
    head: Head,
    tree: Frontier,
    /// By size.
    checkpoints: Vec<Checked>,
    /// The first of them that was not reached.
    next: usize,
    of_other_logs: usize,
    /// Where reading ended.
    broken: Option<Finding>,
}

/// What there is to say in the end.
#[derive(Debug, Clone)]
pub struct Report {
    /// The one thing that counts.
    pub finding: Finding,
    /// Entries that follow from one another.
    pub entries: u64,
    /// The checkpoints of this ledger, by size.
    pub checkpoints: Vec<Checked>,
    /// Checkpoints that are of other ledgers.
    pub of_other_logs: usize,
    head: Head,
    root: Bytes32,
}

impl Report {
    /// The size of the largest checkpoint that holds: what comes after it is held together by the chain alone.
    pub fn signed(&self) -> u64 {
        let held = self.checkpoints.iter().filter(|checked| checked.holds == Some(true));
        held.map(|checked| checked.checkpoint.size).max().unwrap_or(0)
    }

    /// The hash of the last entry that was read, in hexadecimal.
    pub fn hash(&self) -> String {
        hex(&self.head.hash)
    }

    /// The root of the tree over the entries that were read, in hexadecimal.
    pub fn root(&self) -> String {
        hex(&self.root)
    }
}

impl Audit {
    /// Begins, with notes that each have to be signed by one of these keys. Those of other logs than the keys' don't
    /// count, but not all may be.
    pub fn new(keys: &[PublicKey], notes: &[Note]) -> Audit {
        let mut audit = Audit {
            head: Head::EMPTY,
            tree: Frontier::default(),
            checkpoints: Vec::new(),
            next: 0,
            of_other_logs: 0,
            broken: None,
        };
        for (number, note) in (1..).zip(notes) {
            let bad = |size, why| Some(Finding::BadSignature { number, size, why });
            let Ok(checkpoint) = Checkpoint::of(note) else {
                audit.broken = audit.broken.or(bad(0, "no checkpoint at all"));
                continue;
            };
            let size = checkpoint.size;
            let of_log: Vec<_> = keys.iter().filter(|key| key.name() == checkpoint.origin).cloned().collect();
            match note.signed_by(&of_log) {
                _ if of_log.is_empty() => audit.of_other_logs += 1,
                Signed::Yes => audit.checkpoints.push(Checked { checkpoint, holds: None }),
                Signed::Unknown => {
                    audit.broken = audit.broken.or(bad(size, "not signed by any of the given keys"))
                }
                Signed::Wrong => audit.broken = audit.broken.or(bad(size, "not what the key signed")),
            }
        }
        if !notes.is_empty() && audit.of_other_logs == notes.len() {
            let why = "of another log than the given keys, as all of them are";
            audit.broken = Some(Finding::BadSignature { number: 1, size: 0, why });
        }
        audit.checkpoints.sort_by_key(|checked| checked.checkpoint.size);
        let twins = audit.checkpoints.windows(2).find_map(|pair| match pair {
            [one, other]
                if one.checkpoint.size == other.checkpoint.size
                    && one.checkpoint.root != other.checkpoint.root =>
            {
                Some(Finding::Forked { one: one.checkpoint.size, other: other.checkpoint.size })
            }
            _ => None,
        });
        audit.broken = audit.broken.or(twins);
        audit.compare();
        audit
    }

    /// Where the ledger stands behind what was read.
    pub fn head(&self) -> Head {
        self.head
    }

    /// Reads the next entry. False if there is no use in going on.
    pub fn entry(&mut self, entry: &Line<'_>) -> bool {
        if self.broken.is_some() {
            return false;
        }
        self.broken = match follow(self.head, entry) {
            Verified::Ok(head) => {
                self.head = head;
                self.tree.push(leaf(entry.canonical));
                self.compare();
                return true;
            }
            Verified::ChangedAt(entry) => Some(Finding::ChangedAt(entry)),
            Verified::GapAt(entry) => Some(Finding::GapAt(entry)),
            Verified::TimeGoesBack(entry) => Some(Finding::TimeGoesBack(entry)),
        };
        false
    }

    /// Reads a line of an export. False if there is no use in going on.
    pub fn line(&mut self, line: &[u8]) -> bool {
        match Line::parse(line) {
            Some(entry) => self.entry(&entry),
            None => {
                self.broken = self.broken.take().or(Some(Finding::ChangedAt(self.head.next_seq)));
                false
            }
        }
    }

    /// Reads an export to its end, or to where there is no use in going on.
    pub fn read(&mut self, mut export: impl BufRead, mut step: impl FnMut()) -> io::Result<()> {
        let mut line = Vec::new();
        loop {
            line.clear();
            export.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)?;
            if line.is_empty() || !self.line(line.strip_suffix(b"\n").unwrap_or(&line)) {
                return Ok(());
            }
            step();
        }
    }

    /// Compares the checkpoints of as many entries as were read.
    fn compare(&mut self) {
        let size = self.tree.size();
        while let Some(checked) =
            self.checkpoints.get_mut(self.next).filter(|one| one.checkpoint.size == size)
        {
            checked.holds = Some(checked.checkpoint.root == self.tree.root());
            self.next += 1;
        }
    }

    /// What was found.
    pub fn finish(self) -> Report {
        let finding = self.finding();
        let Audit { head, tree, checkpoints, of_other_logs, .. } = self;
        Report { finding, entries: tree.size(), checkpoints, of_other_logs, head, root: tree.root() }
    }

    fn finding(&self) -> Finding {
        let sizes = |holds: Option<bool>| {
            let checked = self.checkpoints.iter().filter(move |checked| checked.holds == holds);
            checked.map(|checked| checked.checkpoint.size)
        };
        let forged = matches!(self.broken, Some(Finding::BadSignature { .. } | Finding::Forked { .. }));
        if let Some(failed) = sizes(Some(false)).next().filter(|_| !forged) {
            return match sizes(Some(true)).find(|held| *held > failed) {
                // Who signed both said of one ledger that it begins in two ways.
                Some(other) => Finding::Forked { one: failed, other },
                None => Finding::Rewritten {
                    checkpoint: failed,
                    good: sizes(Some(true)).next_back().unwrap_or(0),
                },
            };
        }
        match (&self.broken, sizes(None).next_back()) {
            (Some(broken), _) => broken.clone(),
            (None, Some(checkpoint)) => Finding::Truncated { checkpoint, log: self.tree.size() },
            (None, None) => Finding::Ok,
        }
    }
}
