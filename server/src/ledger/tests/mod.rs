//! Tests of the ledger: the chain here, then the tree and its proofs, then what auditors find.

mod audits;
mod trees;

use super::*;

/// An entry with this number and time behind this hash, that says something.
fn entry(before: Head, at_us: i64, says: &str) -> (StoredEntry, Head) {
    let index = Index {
        kind: "intent",
        source: "/api/v3/intents",
        agent: Some(Uuid::from_u128(3)),
        task: Some("task-7".to_owned()),
        actor: "key:0198c0de-0000-7000-8000-000000000002".to_owned(),
        action: Some("refund".to_owned()),
        ..Index::default()
    };
    let content = Object::new().text("policy_set", says).integer("agent_revision", 1);
    let record = Record { id: Uuid::from_u128(1), index, content, step: None };
    let mut head = before;
    let (entry, _) = append(&mut head, Uuid::from_u128(9), at_us, record);
    let Entry { seq, canonical, hash, prev_hash, .. } = entry;
    (StoredEntry { seq, canonical, hash, prev_hash }, head)
}

/// The entries that follow here at these times.
fn chain_from(mut head: Head, times: impl IntoIterator<Item = i64>, says: &str) -> (Vec<StoredEntry>, Head) {
    let mut entries = Vec::new();
    for at_us in times {
        let (entry, next) = entry(head, at_us, says);
        entries.push(entry);
        head = next;
    }
    (entries, head)
}

fn chain(times: &[i64]) -> (Vec<StoredEntry>, Head) {
    chain_from(Head::EMPTY, times.iter().copied(), "")
}

#[test]
fn a_whole_chain_verifies_and_gives_its_head() {
    let (entries, head) = chain(&[10, 20, 30]);
    assert_eq!(verify(Head::EMPTY, entries), Verified::Ok(head));
    assert_eq!(head.next_seq, 3);
}

#[test]
fn every_changed_byte_is_found() {
    let (entries, _) = chain(&[10, 20, 30]);
    for place in 0..entries[1].canonical.len() {
        let mut changed = entries.clone();
        changed[1].canonical[place] ^= 1;
        assert_eq!(verify(Head::EMPTY, changed), Verified::ChangedAt(1), "byte {place}");
    }
    for place in 0..32 {
        let mut changed = entries.clone();
        changed[1].hash[place] ^= 1;
        assert_eq!(verify(Head::EMPTY, changed), Verified::ChangedAt(1));
        let mut changed = entries.clone();
        changed[2].prev_hash[place] ^= 1;
        assert_eq!(verify(Head::EMPTY, changed), Verified::ChangedAt(2));
    }
}

#[test]
fn missing_swapped_and_repeated_entries_are_found() {
    let (entries, _) = chain(&[10, 20, 30]);
    let pick = |places: &[usize]| places.iter().map(|place| entries[*place].clone()).collect::<Vec<_>>();
    assert_eq!(verify(Head::EMPTY, pick(&[0, 2])), Verified::GapAt(1));
    assert_eq!(verify(Head::EMPTY, pick(&[1, 2])), Verified::GapAt(0));
    assert_eq!(verify(Head::EMPTY, pick(&[0, 2, 1])), Verified::GapAt(1));
    assert_eq!(verify(Head::EMPTY, pick(&[0, 1, 1, 2])), Verified::ChangedAt(2));
}

#[test]
fn time_that_goes_back_is_found() {
    let (entries, _) = chain(&[10, 20, 15]);
    assert_eq!(verify(Head::EMPTY, entries), Verified::TimeGoesBack(2));
}

#[test]
fn a_step_chains_its_task() {
    let mut head = Head::EMPTY;
    let mut before = StepBefore::START;
    let mut steps = Vec::new();
    for at in [1, 2] {
        let index = Index { kind: "log", source: "test", actor: "test".to_owned(), ..Index::default() };
        let record = Record { id: Uuid::from_u128(1), index, content: Object::new(), step: Some(before) };
        let (entry, step) = append(&mut head, Uuid::from_u128(9), at, record);
        let step = step.unwrap();
        assert!(String::from_utf8(entry.canonical).unwrap().contains(&hex(&step.hash)));
        before = StepBefore { steps: step.number, hash: step.hash };
        steps.push(step);
    }
    assert_eq!((steps[0].number, steps[0].previous), (1, [0; 32]));
    assert_eq!((steps[1].number, steps[1].previous), (2, steps[0].hash));
}

#[test]
fn an_entry_that_was_written_anew_is_found_by_the_next_one() {
    let (mut entries, _) = chain(&[10, 20, 30]);
    let before = Head { next_seq: 1, hash: entries[0].hash, at_us: 10 };
    entries[1] = entry(before, 20, "something else").0;
    assert_eq!(verify(Head::EMPTY, entries), Verified::ChangedAt(1));
}
