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
    fn find(&self, from: usize, instead: &[Vec<u8>], then: usize) -> (Finding, Finding) {
        let rest = || self.entries[then.min(ENTRIES)..].iter().map(line);
        let read = |mut audit: Audit| {
            let _ = instead.iter().cloned().chain(rest()).all(|line| audit.line(&line));
            audit.finish().finding
        };
        (read(self.with_checkpoints[from].clone()), read(self.by_chain[from].clone()))
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

#[test]
fn every_change_is_named_right() {
    let audited = Audited::new();
    assert_eq!(audited.find(0, &[], 0), (Finding::Ok, Finding::Ok));
    let (mut mutations, mut seed) = (0, 1);
    let mut expect = |found: (Finding, Finding), want: (Finding, Finding), what: &str, number: usize| {
        assert_eq!(found, want, "{what} {number}");
        mutations += 1;
    };
    let both = |finding: Finding| (finding.clone(), finding);
    for number in 0..ENTRIES {
        let at = number as i64;
        let good = line(&audited.entries[number]);
        // A byte of each member, its name or its value.
        let starts = members(&good);
        for (place, start) in starts.iter().enumerate() {
            let end = starts.get(place + 1).copied().unwrap_or(good.len());
            let mut bad = good.clone();
            bad[start + random(&mut seed) % (end - start)] ^= (1 + random(&mut seed) % 255) as u8;
            expect(audited.find(number, &[bad], number + 1), both(Finding::ChangedAt(at)), "byte of", number);
        }
        let before = audited.heads[number];
        let time = |at_us| entry(before, at_us, "sha256:1").0;
        // Written anew, with a right hash: the next one does not follow; where there is none, a checkpoint does not hold.
        let anew = line(&time(before.at_us + 10));
        let want = match number + 1 < ENTRIES {
            true if (number + 1) % STRIDE != 0 => both(Finding::ChangedAt(at)),
            true => (Audited::rewritten(number), Finding::ChangedAt(at)),
            false => (Audited::rewritten(number), Finding::Ok),
        };
        expect(audited.find(number, &[anew], number + 1), want, "written anew", number);
        // Not later than the one before it, though all hashes are right.
        let early = line(&time(before.at_us));
        expect(
            audited.find(number, &[early], number + 1),
            both(Finding::TimeGoesBack(at)),
            "too early",
            number,
        );
        // Twice. A repeated last entry stands where one more would.
        let twice = [good.clone(), good.clone()];
        expect(audited.find(number, &twice, number + 1), both(Finding::ChangedAt(at + 1)), "twice", number);
        // One of a number that there is not yet, in front of it.
        let other = entry(Head { next_seq: at + 5, ..before }, before.at_us + 5, "sha256:1").0;
        expect(
            audited.find(number, &[line(&other), good], number + 1),
            both(Finding::GapAt(at)),
            "inserted",
            number,
        );
        if number + 1 < ENTRIES {
            expect(audited.find(number, &[], number + 1), both(Finding::GapAt(at)), "deleted", number);
            let swapped = [line(&audited.entries[number + 1]), line(&audited.entries[number])];
            expect(audited.find(number, &swapped, number + 2), both(Finding::GapAt(at)), "swapped", number);
        }
        // The end cut off: the chain alone can't know. This is why there are checkpoints.
        let cut = Finding::Truncated { checkpoint: ENTRIES as u64, log: number as u64 };
        expect(audited.find(number, &[], ENTRIES), (cut, Finding::Ok), "cut at", number);
        // All written anew from here on, with right hashes: the same.
        if number % 7 == 0 {
            let (forged, _) =
                chain_from(before, (number as i64 + 1..=ENTRIES as i64).map(|at| at * 10), "sha256:2");
            let forged: Vec<_> = forged.iter().map(line).collect();
            let want = (Audited::rewritten(number), Finding::Ok);
            expect(audited.find(number, &forged, ENTRIES), want, "rewritten from", number);
        }
    }
    assert!(mutations >= 20_000, "{mutations} mutations were tried");
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
