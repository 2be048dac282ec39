//! What changes while work waits for its turn, and work that is asked for again.

use super::*;
use crate::accounts::keys::ApiKey;
use crate::agents::Profile;
use crate::registration::Registration;
use crate::retries::{Claim, Keep, Shown, open};

const PURPOSES: &str = "policy p {}\ndefault on intent allow\ndefault on registration allow\n\
    rule bad on intent { when agent.purpose == \"bad\" deny }";

fn key(number: u8) -> Arc<ApiKey> {
    let (id, org) = (Uuid::from_u128(100 + u128::from(number)), Uuid::from_u128(1));
    let name = || "k".to_owned();
    Arc::new(ApiKey::new(id, org, Uuid::nil(), name(), name(), None, [number; 32], 0, None))
}

fn by(caller: Caller, prepared: Prepared) -> Prepared {
    Prepared { actor: caller.actor(), caller, ..prepared }
}

fn registration(caller: Caller, purpose: &str) -> Registration {
    let profile = Profile { purpose: Some(purpose.to_owned()), ..Profile::default() };
    Registration { key: "bot".to_owned(), profile, declared: true, caller, source: "test" }
}

/// Lets a batch be under way, so that what comes next waits for it.
async fn busy(bench: &Bench) -> JoinHandle<()> {
    let (queue, event) = (Arc::clone(&bench.queue), bench.log("t"));
    let busy = tokio::spawn(async move { drop(queue.judge(vec![event]).await.unwrap()) });
    soon().await;
    busy
}

async fn soon() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

/// Asks for something that waits.
async fn waiting<T: Send + 'static>(
    asked: impl Future<Output = Result<T, Unavailable>> + Send + 'static,
) -> JoinHandle<Result<T, Unavailable>> {
    let waiting = tokio::spawn(asked);
    soon().await;
    waiting
}

fn judging(bench: &Bench, event: Prepared) -> impl Future<Output = Result<Judged, Unavailable>> + use<> {
    let queue = Arc::clone(&bench.queue);
    async move {
        match queue.judge(vec![event]).await?.pop() {
            Some(Ok(Answer::Judged(judged))) => Ok(*judged),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn what_waits_behind_the_revocation_of_its_key_is_not_done() {
    let bench = bench(TestStore::new(false));
    let (revoked, other) = (key(1), key(2));
    [&revoked, &other].into_iter().for_each(|key| bench.keys.put(Arc::clone(key)));
    let event = |key: &Arc<ApiKey>| by(Caller::Key(Arc::clone(key)), bench.intent());
    let busy = busy(&bench).await;
    let before = waiting(judging(&bench, event(&revoked))).await;
    let (queue, id) = (Arc::clone(&bench.queue), revoked.id);
    let revocation = waiting(async move { queue.revoke_key(id, "test".to_owned()).await }).await;
    let after = waiting(judging(&bench, event(&revoked))).await;
    let queue = Arc::clone(&bench.queue);
    let registering = registration(Caller::Key(Arc::clone(&revoked)), "x");
    let registered = waiting(async move { queue.register(registering).await }).await;
    let others = waiting(judging(&bench, event(&other))).await;
    bench.store.gate.add_permits(100);
    busy.await.unwrap();
    assert_eq!(before.await.unwrap().unwrap().seq, 1);
    revocation.await.unwrap().unwrap();
    assert_eq!(after.await.unwrap().unwrap_err(), Unavailable::Revoked);
    assert_eq!(registered.await.unwrap().unwrap_err(), Unavailable::Revoked);
    assert_eq!(others.await.unwrap().unwrap().seq, 3);
    // It was in the same batch, and is as good as unknown from then on.
    assert_eq!(bench.store.batches(), [1, 3]);
    assert_eq!(judging(&bench, event(&revoked)).await.unwrap_err(), Unavailable::Revoked);
    // One that only this server does not know yet is let in by nobody.
    assert_eq!(judging(&bench, event(&key(3))).await.unwrap_err(), Unavailable::Revoked);
}

#[tokio::test]
async fn a_revocation_that_fails_revokes_nothing() {
    let bench = bench(TestStore::new(true));
    let revoked = key(1);
    bench.keys.put(Arc::clone(&revoked));
    bench.store.fail(true);
    assert!(bench.queue.revoke_key(revoked.id, "test".to_owned()).await.is_err());
    bench.store.fail(false);
    judging(&bench, by(Caller::Key(revoked), bench.intent())).await.unwrap();
}

#[tokio::test]
async fn an_event_is_judged_by_its_agent_as_it_is_when_its_turn_comes() {
    let mut bench = bench_of(TestStore::new(false), PURPOSES, MemoryLimits::default());
    bench.store.gate.add_permits(1);
    let registered = bench.queue.register(registration(person(), "good")).await.unwrap().unwrap();
    bench.agent = registered.agent;
    let busy = busy(&bench).await;
    let before = waiting(judging(&bench, bench.intent())).await;
    let queue = Arc::clone(&bench.queue);
    let changed = waiting(async move { queue.register(registration(person(), "bad")).await }).await;
    // Made ready before the agent was changed.
    let stale = bench.intent();
    let entry = stale.id;
    let after = waiting(judging(&bench, stale)).await;
    bench.store.gate.add_permits(100);
    busy.await.unwrap();
    assert_eq!(before.await.unwrap().unwrap().decision.decision, Outcome::Allow);
    assert_eq!(changed.await.unwrap().unwrap().unwrap().agent.revision, 1);
    let after = after.await.unwrap().unwrap();
    assert_eq!((after.id, after.decision.decision), (entry, Outcome::Deny));
    // What is kept of it is the event with the agent that it was judged by.
    let row = bench.store.judged.lock().unwrap().iter().find(|row| row.entry_id == entry).unwrap().clone();
    assert_eq!(bench.past().recorded(&row).unwrap().event.text("agent.purpose"), "bad");
    let record: serde_json::Value = serde_json::from_slice(&row.canonical).unwrap();
    assert_eq!(record["agent_revision"], 1);
}

#[tokio::test]
async fn an_event_is_not_judged_for_a_key_that_lost_its_agent() {
    let mut bench = bench_of(TestStore::new(true), PURPOSES, MemoryLimits::default());
    let (first, second) = (key(1), key(2));
    [&first, &second].into_iter().for_each(|key| bench.keys.put(Arc::clone(key)));
    bench.agent = bench.queue.register(registration(person(), "x")).await.unwrap().unwrap().agent;
    let stale = by(Caller::Key(first), bench.intent());
    bench.queue.register(registration(Caller::Key(second), "x")).await.unwrap().unwrap();
    let refused = bench.queue.judge(vec![stale]).await.unwrap().pop();
    assert!(matches!(refused, Some(Err(Refused::Taken))), "{refused:?}");
}

fn claim(key: &str) -> Claim {
    let (org, route) = (Uuid::from_u128(1), "/test".to_owned());
    Claim { name: Name { org, account: Uuid::nil(), route, key: key.to_owned() }, digest: [7; 32] }
}

/// Judges an event of a request that may be sent again.
fn once(bench: &Bench, key: &str) -> impl Future<Output = Result<i64, Unavailable>> + use<> {
    let (queue, event, claim) = (Arc::clone(&bench.queue), bench.intent(), claim(key));
    let seq = |answers: &Vec<Result<Answer, Refused>>| match answers.first() {
        Some(Ok(Answer::Judged(judged))) => judged.seq,
        other => panic!("{other:?}"),
    };
    let keep = Keep {
        claim,
        show: Box::new(move |answers: &Vec<Result<Answer, Refused>>| Shown::new(200, &seq(answers))),
    };
    async move { Ok(seq(&queue.judge(vec![event]).keeping(Some(keep)).await?)) }
}

#[tokio::test]
async fn what_is_asked_again_is_done_once_and_its_answer_is_part_of_the_batch() {
    let bench = bench(TestStore::new(false));
    let busy = busy(&bench).await;
    let mut asked = Vec::new();
    for _ in 0..5 {
        asked.push(waiting(once(&bench, "one")).await);
    }
    asked.push(waiting(once(&bench, "other")).await);
    bench.store.gate.add_permits(100);
    busy.await.unwrap();
    let mut heard = Vec::new();
    for asked in asked {
        heard.push(asked.await.unwrap());
    }
    let before = Err(Unavailable::AnsweredBefore);
    assert_eq!(heard, [Ok(1), before, before, before, before, Ok(2)]);
    assert_eq!(once(&bench, "one").await, before);
    assert_eq!(bench.store.batches(), [1, 2]);
    let kept = bench.store.answers.lock().unwrap().clone();
    assert_eq!(kept.iter().map(|kept| kept.entries).collect::<Vec<_>>(), [(1, 1), (2, 2)]);
    let sealed = &kept[0].sealed;
    let opened = open(&bench.vault, bench.view.id, kept[0].id, &sealed.wrapped_key, &sealed.ciphertext);
    assert_eq!(opened.unwrap(), ([7; 32], Shown { status: 200, etag: None, body: "1".to_owned() }));
}

#[tokio::test]
async fn of_a_batch_that_fails_no_answer_is_kept() {
    let bench = bench(TestStore::new(true));
    bench.store.fail(true);
    let (one, same) = tokio::join!(once(&bench, "k"), once(&bench, "k"));
    assert_eq!((one, same), (Err(Unavailable::NotDurable), Err(Unavailable::NotDurable)));
    assert!(bench.store.answers.lock().unwrap().is_empty());
    bench.store.fail(false);
    assert_eq!(once(&bench, "k").await, Ok(0));
    assert_eq!(once(&bench, "k").await, Err(Unavailable::AnsweredBefore));
}
