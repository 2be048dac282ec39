//! What auditors find: over 20,000 ways to change 1,000 entries, each named right; and what the chain alone misses.

use uuid::Uuid;

use super::super::audit::{Audit, Finding};
use super::super::checkpoint::{Checkpoint, origin};
use super::super::export::Line;
use super::super::note::{Note, PublicKey, SigningKey};
use super::super::tree::{Frontier, leaf};
use super::super::{Head, StoredEntry};
use super::{chain_from, entry};

const ENTRIES: usize = 1_000;
/// Entries between checkpoints.
const STRIDE: usize = 100;

fn key(secret: u8) -> SigningKey {
    SigningKey::new(origin(Uuid::from_u128(9)), &[secret; 32])
}

fn checkpoint(entries: &[StoredEntry]) -> Checkpoint {
    let mut tree = Frontier::default();
    entries.iter().for_each(|entry| tree.push(leaf(&entry.canonical)));
    Checkpoint { origin: origin(Uuid::from_u128(9)), size: tree.size(), root: tree.root() }
}

fn signed(entries: &[StoredEntry]) -> Note {
    checkpoint(entries).sign(&key(1))
}

fn line(entry: &StoredEntry) -> Vec<u8> {
    let mut bytes = Vec::new();
    Line::from(entry).write(&mut bytes);
    bytes.pop();
    bytes
}

/// A ledger, and what auditors have read of it before each of its entries: one with all checkpoints, one without.
struct Audited {
    entries: Vec<StoredEntry>,
    notes: Vec<Note>,
    with_checkpoints: Vec<Audit>,
    by_chain: Vec<Audit>,
    /// Where the ledger stood before each of them.
    heads: Vec<Head>,
}

fn states(audit: Audit, entries: &[StoredEntry]) -> Vec<Audit> {
    let mut states = vec![audit];
    for entry in entries {
        let mut next = states.last().unwrap().clone();
        assert!(next.line(&line(entry)));
        states.push(next);
    }
    states
}

impl Audited {
    fn new() -> Audited {
        let (entries, _) = chain_from(Head::EMPTY, (1..).map(|number| number * 10).take(ENTRIES), "sha256:0");
        let notes: Vec<_> =
            (1..=ENTRIES / STRIDE).map(|number| signed(&entries[..number * STRIDE])).collect();
        let with_checkpoints = states(Audit::new(&keys(), &notes), &entries);
        let by_chain = states(Audit::new(&[], &[]), &entries);
        let behind = entries.iter().map(|entry| Head {
            next_seq: entry.seq + 1,
            hash: entry.hash,
            at_us: (entry.seq + 1) * 10,
        });
        let heads = std::iter::once(Head::EMPTY).chain(behind).collect();
        Audited { entries, notes, with_checkpoints, by_chain, heads }
    }

    /// What both find if these lines stand where this entry stood, and then the entry of this number and all after it.
    fn find(&self, forgery: &Forgery) -> (Finding, Finding) {
        let Forgery { from, instead, then, .. } = forgery;
        let rest = || self.entries[(*then).min(ENTRIES)..].iter().map(line);
        let read = |mut audit: Audit| {
            let _ = instead.iter().cloned().chain(rest()).all(|line| audit.line(&line));
            audit.finish().finding
        };
        (read(self.with_checkpoints[*from].clone()), read(self.by_chain[*from].clone()))
    }

    /// What a verifier finds that believes the hashes: it looks at numbers and times only.
    fn find_without_hashes(&self, forgery: &Forgery) -> (Finding, Finding) {
        let rest = self.entries[forgery.then.min(ENTRIES)..].iter().map(line);
        let mut head = self.heads[forgery.from];
        for line in forgery.instead.iter().cloned().chain(rest) {
            let place = Line::parse(&line).and_then(|line| {
                let at = |text: &str| text.split_once("\"at\":")?.1.split_once(',')?.0.parse::<i64>().ok();
                Some((line.seq, at(std::str::from_utf8(line.canonical).ok()?)?))
            });
            let found = match place {
                None => Finding::ChangedAt(head.next_seq),
                Some((seq, _)) if seq > head.next_seq => Finding::GapAt(head.next_seq),
                Some((seq, _)) if seq < head.next_seq => Finding::ChangedAt(head.next_seq),
                Some((seq, at_us)) if at_us <= head.at_us => Finding::TimeGoesBack(seq),
                Some((seq, at_us)) => {
                    head = Head { next_seq: seq + 1, at_us, ..head };
                    continue;
                }
            };
            return (found.clone(), found);
        }
        (Finding::Ok, Finding::Ok)
    }

    /// The checkpoint that no longer holds if entries from this one on are others.
    fn rewritten(from: usize) -> Finding {
        let good = from / STRIDE * STRIDE;
        Finding::Rewritten { checkpoint: (good + STRIDE) as u64, good: good as u64 }
    }
}

fn keys() -> [PublicKey; 1] {
    [key(1).public()]
}

/// Numbers that are different enough, and the same in each run.
fn random(state: &mut u64) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as usize
}

/// Where each member of a line begins.
fn members(line: &[u8]) -> Vec<usize> {
    let mut places: Vec<_> =
        (1..line.len()).filter(|at| line[*at] == b'"' && b",{".contains(&line[at - 1])).collect();
    places.insert(0, 0);
    places
}

/// A way to change the ledger, and what has to be found: with all checkpoints, and by the chain alone.
struct Forgery {
    what: &'static str,
    /// These lines stand where this entry stood, and then comes the entry of the other number.
    from: usize,
    instead: Vec<Vec<u8>>,
    then: usize,
    want: (Finding, Finding),
}

/// Every way to change the ledger.
fn forgeries(audited: &Audited, mut each: impl FnMut(Forgery)) {
    let mut seed = 1;
    let both = |finding: Finding| (finding.clone(), finding);
    for number in 0..ENTRIES {
        let at = number as i64;
        let good = line(&audited.entries[number]);
        let mut forge = |what, instead: &[&Vec<u8>], then, want| {
            let instead = instead.iter().map(|line| (*line).clone()).collect();
            each(Forgery { what, from: number, instead, then, want });
        };
        // A byte of each member, its name or its value.
        let starts = members(&good);
        for (place, start) in starts.iter().enumerate() {
            let end = starts.get(place + 1).copied().unwrap_or(good.len());
            let mut bad = good.clone();
            bad[start + random(&mut seed) % (end - start)] ^= (1 + random(&mut seed) % 255) as u8;
            forge("byte", &[&bad], number + 1, both(Finding::ChangedAt(at)));
        }
        let before = audited.heads[number];
        let time = |at_us| line(&entry(before, at_us, "sha256:1").0);
        // Written anew, with a right hash: the next one does not follow; where there is none, a checkpoint does not hold.
        let want = match number + 1 < ENTRIES {
            true if (number + 1) % STRIDE != 0 => both(Finding::ChangedAt(at)),
            true => (Audited::rewritten(number), Finding::ChangedAt(at)),
            false => (Audited::rewritten(number), Finding::Ok),
        };
        forge("written anew", &[&time(before.at_us + 10)], number + 1, want);
        // Not later than the one before it, though all hashes are right.
        forge("too early", &[&time(before.at_us)], number + 1, both(Finding::TimeGoesBack(at)));
        // Twice. A repeated last entry stands where one more would.
        forge("twice", &[&good, &good], number + 1, both(Finding::ChangedAt(at + 1)));
        // One of a number that there is not yet, in front of it.
        let other = line(&entry(Head { next_seq: at + 5, ..before }, before.at_us + 5, "sha256:1").0);
        forge("inserted", &[&other, &good], number + 1, both(Finding::GapAt(at)));
        if let Some(next) = audited.entries.get(number + 1).map(line) {
            forge("deleted", &[], number + 1, both(Finding::GapAt(at)));
            forge("swapped", &[&next, &good], number + 2, both(Finding::GapAt(at)));
        }
        // The end cut off: the chain alone can't know. This is why there are checkpoints.
        let cut = Finding::Truncated { checkpoint: ENTRIES as u64, log: number as u64 };
        forge("cut", &[], ENTRIES, (cut, Finding::Ok));
        // All written anew from here on, with right hashes: the same.
        if number % 7 == 0 {
            let times = (at + 1..=ENTRIES as i64).map(|at| at * 10);
            let forged: Vec<_> = chain_from(before, times, "sha256:2").0.iter().map(line).collect();
            let want = (Audited::rewritten(number), Finding::Ok);
            forge("rewritten", &forged.iter().collect::<Vec<_>>(), ENTRIES, want);
        }
    }
}

#[test]
fn every_change_is_named_right() {
    let audited = Audited::new();
    let nothing =
        Forgery { what: "nothing", from: 0, instead: Vec::new(), then: 0, want: (Finding::Ok, Finding::Ok) };
    assert_eq!(audited.find(&nothing), nothing.want);
    assert_eq!(audited.find_without_hashes(&nothing), nothing.want);
    let (mut mutations, mut missed) = (0, std::collections::BTreeMap::new());
    forgeries(&audited, |forgery| {
        assert_eq!(audited.find(&forgery), forgery.want, "{} {}", forgery.what, forgery.from);
        mutations += 1;
        // A verifier that believes hashes does not stand this test: it lets through what only they show. It reads every
        // line to the end, so some are enough.
        if forgery.from.is_multiple_of(50) && audited.find_without_hashes(&forgery).0 == Finding::Ok {
            *missed.entry(forgery.what).or_insert(0) += 1;
        }
    });
    assert!(mutations >= 20_000, "{mutations} mutations were tried");
    let missed = |what| missed.get(what).copied().unwrap_or(0);
    for (what, least) in [("byte", 100), ("written anew", 20), ("cut", 20), ("rewritten", 3)] {
        assert!(missed(what) >= least, "{} of {what} were let through", missed(what));
    }
}

#[test]
fn a_fork_is_found_by_two_checkpoints() {
    let audited = Audited::new();
    for shared in [0, 1, 99, 100, 457, 998] {
        let times = (shared as i64 + 1..=ENTRIES as i64).map(|at| at * 10);
        let (branch, _) = chain_from(audited.heads[shared], times, "sha256:2");
        let other = [&audited.entries[..shared], &branch].concat();
        let read = |entries: &[StoredEntry], notes: &[Note]| {
            let mut audit = Audit::new(&keys(), notes);
            let _ = entries.iter().all(|entry| audit.line(&line(entry)));
            audit.finish().finding
        };
        let size = shared + 1;
        let (size, all) = (size as u64, ENTRIES as u64);
        let theirs = signed(&other[..shared + 1]);
        let ours = [theirs.clone(), audited.notes.last().unwrap().clone()];
        // Their checkpoint does not hold here, though a later one does: both were signed.
        assert_eq!(read(&audited.entries, &ours), Finding::Forked { one: size, other: all });
        // On their branch it holds, and the later one does not: that alone could be a rewrite.
        assert_eq!(read(&other, &ours), Finding::Rewritten { checkpoint: all, good: size });
        // Two of one size need no ledger at all.
        let twins = [theirs, signed(&audited.entries[..shared + 1])];
        assert_eq!(read(&[], &twins), Finding::Forked { one: size, other: size });
    }
}

#[test]
fn who_may_sign_is_what_the_auditor_says() {
    let (old, new) = (key(1), key(2));
    let (entries, _) = chain_from(Head::EMPTY, [10, 20, 30], "");
    let before = checkpoint(&entries[..2]);
    let after = checkpoint(&entries);
    let read = |keys: &[&SigningKey], notes: &[Note]| {
        let keys: Vec<_> = keys.iter().map(|key| key.public()).collect();
        let mut audit = Audit::new(&keys, notes);
        let _ = entries.iter().all(|entry| audit.line(&line(entry)));
        audit.finish().finding
    };
    let bad = |number, size, why| Finding::BadSignature { number, size, why };
    // A rotation: the new key signs the old key's checkpoint too.
    let mut both = before.sign(&old);
    both.signatures.extend(before.sign(&new).signatures);
    for keys in [&[&old][..], &[&new], &[&old, &new]] {
        assert_eq!(read(keys, std::slice::from_ref(&both)), Finding::Ok);
    }
    // The old key was lost: who knows both keys sees one ledger; who knows the old one only can't say.
    let notes = [before.sign(&old), after.sign(&new)];
    assert_eq!(read(&[&old, &new], &notes), Finding::Ok);
    let unknown = "not signed by any of the given keys";
    assert_eq!(read(&[&old], &notes), bad(2, 3, unknown));
    assert_eq!(read(&[&key(3)], &notes), bad(1, 2, unknown));
    // A signature under a known name that this key did not make.
    let mut forged = before.sign(&old);
    forged.text = after.text();
    assert_eq!(read(&[&old], &[forged]), bad(1, 3, "not what the key signed"));
    // Checkpoints of other ledgers are passed over, unless there is nothing else.
    let elsewhere = Checkpoint { origin: "lictor/ledger/other".to_owned(), ..before.clone() };
    let elsewhere = elsewhere.sign(&SigningKey::new("lictor/ledger/other", &[1; 32]));
    assert_eq!(read(&[&old], &[elsewhere.clone(), before.sign(&old)]), Finding::Ok);
    assert!(matches!(read(&[&old], &[elsewhere]), Finding::BadSignature { number: 1, .. }));
    // A checkpoint under the right name of a key with another name counts for nothing.
    let stranger = SigningKey::new("somebody", &[1; 32]);
    assert!(matches!(read(&[&stranger], &[before.sign(&stranger)]), Finding::BadSignature { .. }));
}
