//! What is remembered in a batch, undone with it, filled, and asked about.

use super::super::activation::CATCH_UP_ENTRIES;
use super::*;
use crate::draft::Filled;
use crate::memory::fill::{fill, fill_and_activate};

/// The third intent in an hour is denied.
fn counting(most: usize) -> String {
    format!(
        "policy p {{}}\ndefault on intent allow\n\
         rule many on intent {{ when count(intent per agent.id within 1h) >= {most} deny incident high }}"
    )
}

fn remembering(most: usize) -> Bench {
    bench_of(TestStore::new(true), &counting(most), MemoryLimits::default())
}

#[tokio::test]
async fn a_batch_that_fails_is_not_remembered() {
    let bench = remembering(2);
    assert_eq!(bench.judge(bench.intent()).await.unwrap().decision.decision, Outcome::Allow);
    bench.store.fail(true);
    for _ in 0..3 {
        let batch = vec![bench.intent(), bench.intent()];
        assert_eq!(bench.queue.judge(batch).await.unwrap_err(), Unavailable::NotDurable);
    }
    bench.store.fail(false);
    assert_eq!(bench.judge(bench.intent()).await.unwrap().decision.decision, Outcome::Allow);
    let denied = bench.judge(bench.intent()).await.unwrap();
    // Entry 2 says that something could not be recorded.
    assert_eq!((denied.seq, denied.decision.decision), (3, Outcome::Deny));
    assert_eq!(denied.incidents[0].rests_on, [0, 1]);
    assert_eq!(denied.incidents[0].incident.earlier, [0, 1]);
}

#[tokio::test]
async fn events_of_one_batch_see_each_other_and_questions_leave_nothing() {
    let bench = remembering(2);
    for _ in 0..5 {
        let asked = vec![(bench.intent().event, Some(1)), (bench.intent().event, Some(1))];
        let would = bench.queue.would_decide(asked).await.unwrap();
        assert!(would.iter().all(|decision| decision.decision == Outcome::Allow));
    }
    let batch = (0..3).map(|_| bench.intent()).collect();
    let outcomes: Vec<_> = bench.queue.judge(batch).await.unwrap().into_iter().map(outcome).collect();
    assert_eq!(outcomes, [Outcome::Allow, Outcome::Allow, Outcome::Deny]);
    let would = bench.queue.would_decide(vec![(bench.intent().event, Some(1))]).await.unwrap();
    assert_eq!(would[0].decision, Outcome::Deny);
}

fn outcome(answer: Result<Answer, Refused>) -> Outcome {
    match answer {
        Ok(Answer::Judged(judged)) => judged.decision.decision,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_a_new_rule_asks_is_filled_before_it_decides() {
    let bench = bench(TestStore::new(true));
    for _ in 0..3 {
        bench.judge(bench.intent()).await.unwrap();
    }
    let in_shadow = bench.change(&counting(4));
    let generation = Arc::clone(&in_shadow.generation);
    let changed = bench.queue.change_policies(in_shadow, "test".to_owned()).await.unwrap().unwrap();
    assert!(changed.is_filling("p.many"));
    assert_ne!(&*changed.policy_set, generation.digest());
    let judged = bench.judge(bench.intent()).await.unwrap();
    assert_eq!(judged.decision.policy_set, changed.policy_set);
    let [rule] = judged.decision.rules.as_slice() else { panic!("{:?}", judged.decision.rules) };
    assert_eq!((rule.mode, rule.filling), (Mode::Shadow, true));

    let past = bench.past();
    let filled = fill(&past, &bench.queue, &generation).await.unwrap().unwrap();
    // What happens between the fill and its turn is caught up with.
    assert_eq!(bench.judge(bench.intent()).await.unwrap().decision.decision, Outcome::Allow);
    bench.store.fail(true);
    let not_recorded = fill(&past, &bench.queue, &generation).await.unwrap().unwrap();
    assert!(matches!(bench.queue.activate(not_recorded).await, Activated::Dropped));
    bench.store.fail(false);
    assert!(matches!(bench.queue.activate(filled).await, Activated::Live));
    let live = bench.view.in_force();
    assert_eq!((live.filling.len(), &*live.policy_set), (0, generation.digest()));
    let denied = bench.judge(bench.intent()).await.unwrap();
    assert_eq!(denied.decision.decision, Outcome::Deny);
    assert_eq!(denied.decision.policy_set, live.policy_set);
    assert_eq!(denied.incidents[0].rests_on, [0, 1, 2, 4, 5]);
    assert!(fill(&past, &bench.queue, &generation).await.unwrap().is_none());
}

#[tokio::test]
async fn a_change_that_is_filled_already_decides_at_once_and_a_lower_threshold_keeps_its_history() {
    let bench = bench(TestStore::new(true));
    for _ in 0..3 {
        bench.judge(bench.intent()).await.unwrap();
    }
    let past = bench.past();
    let mut change = bench.change(&counting(5));
    change.filled = fill(&past, &bench.queue, &change.generation).await.unwrap().map(|filled| *filled);
    bench.judge(bench.intent()).await.unwrap();
    let changed = bench.queue.change_policies(change, "test".to_owned()).await.unwrap().unwrap();
    assert!(changed.filling.is_empty());
    assert_eq!(bench.judge(bench.intent()).await.unwrap().decision.decision, Outcome::Allow);
    assert_eq!(bench.judge(bench.intent()).await.unwrap().decision.decision, Outcome::Deny);

    let lower = bench.change(&counting(3));
    assert!(fill(&past, &bench.queue, &lower.generation).await.unwrap().is_none());
    let changed = bench.queue.change_policies(lower, "test".to_owned()).await.unwrap().unwrap();
    assert!(changed.filling.is_empty());
    assert_eq!(bench.judge(bench.intent()).await.unwrap().decision.decision, Outcome::Deny);
}

#[tokio::test]
async fn a_fill_for_policies_that_are_gone_is_dropped() {
    let bench = bench(TestStore::new(true));
    bench.judge(bench.intent()).await.unwrap();
    let past = bench.past();
    let first = bench.change(&counting(2));
    let generation = Arc::clone(&first.generation);
    bench.queue.change_policies(first, "test".to_owned()).await.unwrap().unwrap();
    let filled = fill(&past, &bench.queue, &generation).await.unwrap().unwrap();
    bench.queue.change_policies(bench.change(SOURCE), "test".to_owned()).await.unwrap().unwrap();
    assert!(matches!(bench.queue.activate(filled).await, Activated::Dropped));
    // And what was remembered for them has to be filled again.
    let again = bench.change(&counting(2));
    assert!(fill(&past, &bench.queue, &again.generation).await.unwrap().is_some());
}

/// Puts a source in force, and lets its memories be filled.
async fn put(bench: &Bench, source: &str) -> tokio::task::JoinHandle<()> {
    let change = bench.change(source);
    let generation = Arc::clone(&change.generation);
    bench.queue.change_policies(change, "test".to_owned()).await.unwrap().unwrap();
    let (past, queue, view) = (bench.past(), Arc::clone(&bench.queue), Arc::clone(&bench.view));
    tokio::spawn(async move {
        let begun = fill(&past, &queue, &generation).await;
        fill_and_activate(past.clone(), Arc::clone(&queue), view, generation, async { begun }).await;
    })
}

#[tokio::test]
async fn changes_during_a_fill_lose_none() {
    let bench = bench(TestStore::new(true));
    for _ in 0..3 {
        bench.judge(bench.intent()).await.unwrap();
    }
    let open = bench.store.reading.forget_permits(Semaphore::MAX_PERMITS);
    let first = put(&bench, &counting(2)).await;
    let another =
        "rule streak on intent { when streak(intent where action == \"x\" per agent.id) >= 3 deny }";
    let second = put(&bench, &format!("{}\n{another}", counting(9))).await;
    tokio::task::yield_now().await;
    let waiting = bench.judge(bench.intent()).await.unwrap();
    assert_eq!(waiting.decision.decision, Outcome::Allow);
    assert!(waiting.decision.rules.iter().all(|rule| rule.filling && rule.mode == Mode::Shadow));
    assert_eq!(waiting.decision.rules.len(), 2);
    bench.store.reading.add_permits(open);
    first.await.unwrap();
    second.await.unwrap();
    assert!(bench.view.in_force().filling.is_empty());
    let denied = bench.judge(bench.intent()).await.unwrap();
    assert_eq!(&*denied.decision.rules[0].rule, "p.streak");
    assert_eq!(denied.decision.decision, Outcome::Deny);

    // What is removed while it is filled is not waited for.
    bench.store.reading.forget_permits(Semaphore::MAX_PERMITS);
    let removed = put(&bench, &counting(3).replace("within 1h", "within 2h")).await;
    let left = put(&bench, SOURCE).await;
    left.await.unwrap();
    assert_eq!(bench.judge(bench.intent()).await.unwrap().decision.decision, Outcome::Allow);
    bench.store.reading.add_permits(open);
    removed.await.unwrap();
    assert!(matches!(bench.store.verified(), Verified::Ok(_)));
}

#[tokio::test]
async fn memories_far_behind_are_given_back_to_be_filled_further() {
    let bench = bench(TestStore::new(true));
    bench.judge(bench.intent()).await.unwrap();
    let past = bench.past();
    let change = bench.change(&counting(2));
    let generation = Arc::clone(&change.generation);
    bench.queue.change_policies(change, "test".to_owned()).await.unwrap().unwrap();
    let filled = fill(&past, &bench.queue, &generation).await.unwrap().unwrap();
    for _ in 0..=CATCH_UP_ENTRIES as usize / BATCH_EVENTS {
        let batch = (0..BATCH_EVENTS).map(|_| bench.intent()).collect();
        bench.queue.judge(batch).await.unwrap();
    }
    let Activated::NotYet(filled) = bench.queue.activate(filled).await else { panic!("it was far behind") };
    let next_seq = past.next_seq().await.unwrap();
    let memories = past.fold(&generation, filled.memories, filled.next_seq..next_seq).await.unwrap();
    let filled = Box::new(Filled { generation, memories, next_seq, begun: next_seq });
    assert!(matches!(bench.queue.activate(filled).await, Activated::Live));
    assert_eq!(bench.judge(bench.intent()).await.unwrap().decision.decision, Outcome::Deny);
}

#[tokio::test]
async fn keys_that_had_to_go_while_they_mattered_open_one_incident() {
    let source = "policy p {}\ndefault on intent allow\n\
                  rule again on intent { when seen(intent per task within 1h) deny }";
    let bench = bench_of(TestStore::new(true), source, MemoryLimits { keys: 2 });
    for task in 0..6 {
        let intent = bench.event(&format!(r#"{{"event":"intent","action":"x","task":"t-{task}"}}"#));
        bench.judge(intent).await.unwrap();
    }
    let records: Vec<String> = bench
        .store
        .entries
        .lock()
        .unwrap()
        .iter()
        .map(|entry| String::from_utf8(entry.canonical.clone()).unwrap())
        .collect();
    assert_eq!(records.len(), 7, "{records:#?}");
    assert_eq!(records.iter().filter(|record| record.contains("engine.memory")).count(), 1);
    let first = bench.event(r#"{"event":"intent","action":"x","task":"t-0"}"#);
    let undecided = bench.judge(first).await.unwrap();
    assert_eq!(undecided.decision.decision, Outcome::Deny, "it can't be ruled out");
}
