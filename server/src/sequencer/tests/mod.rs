//! The sequencer over a store that fails, waits and remembers as told.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use std::ops::Range;

use lictor_engine::decision::{Mode, Outcome};
use lictor_engine::event::{Event, Origin};
use lictor_engine::memory::{Memories, MemoryLimits};

use tokio::sync::Semaphore;
use uuid::Uuid;

use super::queue::QUEUE_EVENTS;
use super::*;
use crate::accounts::{Caller, Person, Role};
use crate::agents::{Agent, Directory};
use crate::db::{Batch, Change, JudgedRow, Later, Turn};
use crate::draft::{Answer, Judged, PolicyChange, Prepared, Refused, payload};
use crate::incidents::{Incident, Open};
use crate::intents::{Declaration, Intent};
use crate::ledger::{Head, StepBefore, StoredEntry, Verified, verify};
use crate::metrics::Metrics;
use crate::policies::{InForce, Policies, Policy};
use crate::retries::{KeptAnswer, Name};
use crate::rollout::compile;

/// A store in memory: keeps entries and tasks, fails when told to, and commits only when let.
#[derive(Debug)]
struct TestStore {
    fails: AtomicBool,
    overtaken: AtomicBool,
    moved: AtomicBool,
    gate: Semaphore,
    /// Lets reads of what was judged through.
    reading: Semaphore,
    batches: Mutex<Vec<usize>>,
    entries: Mutex<Vec<StoredEntry>>,
    judged: Mutex<Vec<JudgedRow>>,
    intents: Mutex<Vec<Intent>>,
    answers: Mutex<Vec<KeptAnswer>>,
}

impl TestStore {
    fn new(open: bool) -> Arc<TestStore> {
        Arc::new(TestStore {
            fails: AtomicBool::new(false),
            overtaken: AtomicBool::new(false),
            moved: AtomicBool::new(false),
            gate: Semaphore::new(if open { Semaphore::MAX_PERMITS } else { 0 }),
            reading: Semaphore::new(Semaphore::MAX_PERMITS),
            batches: Mutex::default(),
            entries: Mutex::default(),
            judged: Mutex::default(),
            intents: Mutex::default(),
            answers: Mutex::default(),
        })
    }

    fn fail(&self, fails: bool) {
        self.fails.store(fails, Ordering::SeqCst);
    }

    fn batches(&self) -> Vec<usize> {
        self.batches.lock().unwrap().clone()
    }

    fn verified(&self) -> Verified {
        verify(Head::EMPTY, self.entries.lock().unwrap().clone())
    }

    /// How many entries say that something could not be recorded.
    fn outages(&self) -> usize {
        let entries = self.entries.lock().unwrap();
        let says = |entry: &&StoredEntry| str::from_utf8(&entry.canonical).unwrap().contains("engine.ledger");
        entries.iter().filter(says).count()
    }
}

impl Store for TestStore {
    fn commit(&self, _turn: Turn, batch: Batch) -> Later<'_, ()> {
        Box::pin(async move {
            self.gate.acquire().await.unwrap().forget();
            if self.fails.load(Ordering::SeqCst) {
                return Err(StoreError::Corrupt("test"));
            }
            if self.overtaken.load(Ordering::SeqCst) {
                return Err(StoreError::Overtaken("test"));
            }
            if self.moved.load(Ordering::SeqCst) {
                return Err(StoreError::HeadMoved);
            }
            self.batches.lock().unwrap().push(batch.entries.len());
            let stored = batch.entries.iter().map(|entry| StoredEntry {
                seq: entry.seq,
                canonical: entry.canonical.clone(),
                hash: entry.hash,
                prev_hash: entry.prev_hash,
            });
            self.entries.lock().unwrap().extend(stored);
            for (id, sealed) in &batch.payloads {
                let entry = batch.entries.iter().find(|entry| entry.id == *id).unwrap();
                self.judged.lock().unwrap().push(JudgedRow {
                    seq: entry.seq,
                    entry_id: *id,
                    canonical: entry.canonical.clone(),
                    wrapped_key: Some(sealed.wrapped_key.clone()),
                    ciphertext: Some(sealed.ciphertext.clone()),
                });
            }
            for change in &batch.changes {
                match change {
                    Change::Intent(intent) => self.intents.lock().unwrap().push(Intent::clone(intent)),
                    Change::Answer(answer) => self.answers.lock().unwrap().push(KeptAnswer::clone(answer)),
                    _ => {}
                }
            }
            Ok(())
        })
    }

    fn task<'a>(&'a self, _org: Uuid, _task: &'a str) -> Later<'a, Option<StepBefore>> {
        Box::pin(async {
            if self.fails.load(Ordering::SeqCst) { Err(StoreError::Corrupt("test")) } else { Ok(None) }
        })
    }

    fn incidents_by_id(&self, _org: Uuid, _ids: Vec<Uuid>) -> Later<'_, Vec<Incident>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn intent_by_key<'a>(&'a self, _org: Uuid, key: &'a str) -> Later<'a, Option<Intent>> {
        let intents = self.intents.lock().unwrap();
        let found = intents.iter().find(|intent| intent.idempotency_key.as_deref() == Some(key)).cloned();
        Box::pin(async { Ok(found) })
    }

    fn answered<'a>(&'a self, _org: Uuid, _keys: Vec<&'a str>) -> Later<'a, Vec<Name>> {
        let names = self.answers.lock().unwrap().iter().map(|answer| answer.name.clone()).collect();
        Box::pin(async { Ok(names) })
    }

    fn next_seq(&self, _org: Uuid) -> Later<'_, i64> {
        let next_seq = self.entries.lock().unwrap().len() as i64;
        Box::pin(async move { Ok(next_seq) })
    }

    fn judged(&self, _org: Uuid, entries: Range<i64>, limit: usize) -> Later<'_, Vec<JudgedRow>> {
        let judged = self.judged.lock().unwrap();
        let wanted = judged.iter().filter(|row| entries.contains(&row.seq)).take(limit);
        let found = wanted.cloned().collect();
        Box::pin(async {
            self.reading.acquire().await.unwrap().forget();
            Ok(found)
        })
    }
}

/// A clock that is set by hand.
#[derive(Debug)]
struct Hand(AtomicI64);

impl Clock for Hand {
    fn now_us(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

struct Bench {
    queue: Arc<Queue>,
    store: Arc<TestStore>,
    clock: Arc<Hand>,
    view: Arc<View>,
    keys: Arc<Keyring>,
    vault: Arc<Vault>,
    agent: Arc<Agent>,
    policies: Policies,
    task: JoinHandle<Option<Memory>>,
}

const SOURCE: &str = "policy p {}\ndefault on intent allow\n\
    rule bad on log, intent { when task == \"bad\" deny incident high per task }";

fn policy(source: &str) -> Arc<Policy> {
    Arc::new(Policy {
        id: Uuid::from_u128(7),
        name: "p".to_owned(),
        title: "p".to_owned(),
        enabled: true,
        shadow: false,
        shadow_by_header: false,
        version: 1,
        revision: 1,
        source: Arc::from(source),
        created_at_us: 0,
        updated_at_us: 0,
    })
}

fn bench(store: Arc<TestStore>) -> Bench {
    bench_of(store, SOURCE, MemoryLimits::default())
}

fn bench_of(store: Arc<TestStore>, source: &str, limits: MemoryLimits) -> Bench {
    let policies = Arc::new(vec![policy(source)]);
    let generation = Arc::new(compile(&policies).unwrap());
    let memories = Memories::limited(&generation, limits);
    let view = Arc::new(View {
        id: Uuid::from_u128(1),
        name: "test".to_owned(),
        created_at_us: 0,
        directory: Directory::default(),
        in_force: std::sync::RwLock::new(Arc::new(InForce::new(
            Arc::clone(&policies),
            generation,
            Vec::new(),
        ))),
        next_seq: AtomicI64::new(0),
    });
    let (clock, vault) = (Arc::new(Hand(AtomicI64::new(1_000))), Arc::new(Vault::new(&[1; 32])));
    let keys = Arc::<Keyring>::default();
    let parts = Parts {
        view: Arc::clone(&view),
        keys: Arc::clone(&keys),
        store: Arc::clone(&store) as Arc<dyn Store>,
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        vault: Arc::clone(&vault),
        metrics: Arc::new(Metrics::new([])),
        compile: Box::new(|policies| Box::pin(async move { Ok(Arc::new(compile(&policies)?)) })),
    };
    let memory =
        Memory { head: Head::EMPTY, incidents: Open::default(), tasks: Default::default(), memories };
    let (queue, task) = start(parts, memory);
    let agent = Arc::new(Agent::undeclared(Uuid::from_u128(2), "bot"));
    Bench { queue: Arc::new(queue), store, clock, view, keys, vault, agent, policies, task }
}

fn person() -> Caller {
    Caller::Person(Person { id: Uuid::nil(), org: Uuid::from_u128(1), role: Role::Owner })
}

impl Bench {
    fn event(&self, json: &str) -> Prepared {
        let (facts, org) = (self.agent.facts(), self.view.id.to_string());
        let event =
            Event::decode(json.as_bytes(), Origin::Server { org: &org, source: "test", agent: &facts })
                .unwrap();
        let id = Uuid::now_v7();
        let payload = payload(&self.agent.to_json().unwrap(), json.as_bytes());
        let sealed = self.vault.seal(self.view.id, id, &payload).unwrap();
        let (agent, caller) = (Arc::clone(&self.agent), person());
        let actor = caller.actor();
        Prepared { id, event, source: "test", agent, caller, actor, sealed, declaration: None }
    }

    fn log(&self, task: &str) -> Prepared {
        self.event(&format!(r#"{{"event":"log","task":"{task}","step_type":"step.exec"}}"#))
    }

    fn past(&self) -> Past {
        Past::new(Arc::clone(&self.store) as Arc<dyn Store>, Arc::clone(&self.vault), self.view.id)
    }

    fn intent(&self) -> Prepared {
        self.event(r#"{"event":"intent","action":"x"}"#)
    }

    /// A change to this source.
    fn change(&self, source: &str) -> PolicyChange {
        let policies = Arc::new(vec![policy(source)]);
        let generation = Arc::new(compile(&policies).unwrap());
        let change = Change::Policy { policy: Arc::clone(&policies[0]), new_source_by: None };
        let (what, name, based_on) = ("updated", "p".to_owned(), self.view.policies());
        PolicyChange { what, name, based_on, policies, generation, change, filled: None }
    }

    async fn judge(&self, prepared: Prepared) -> Result<Box<Judged>, Unavailable> {
        let mut answers = self.queue.judge(vec![prepared]).await?;
        match answers.pop() {
            Some(Ok(Answer::Judged(judged))) => Ok(judged),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_failed_commit_leaves_nothing_behind() {
    let bench = bench(TestStore::new(true));
    assert_eq!(bench.judge(bench.log("bad")).await.unwrap().seq, 0);
    bench.store.fail(true);
    assert_eq!(bench.judge(bench.log("bad")).await.unwrap_err(), Unavailable::NotDurable);
    assert_eq!(
        bench.judge(bench.log("other")).await.unwrap_err(),
        Unavailable::NotDurable,
        "its task can't be read"
    );
    bench.store.fail(false);
    let judged = bench.judge(bench.log("bad")).await.unwrap();
    assert_eq!(judged.seq, 1);
    assert_eq!(judged.step.unwrap().number, 2);
    assert_eq!((judged.incidents[0].new, judged.incidents[0].incident.count), (false, 2));
    // That something could not be recorded is recorded as well, once.
    assert_eq!(bench.store.outages(), 1);
    assert_eq!(bench.judge(bench.log("bad")).await.unwrap().seq, 3);
    assert_eq!(bench.store.outages(), 1);
    assert!(matches!(bench.store.verified(), Verified::Ok(head) if head.next_seq == 4));
}

#[tokio::test]
async fn a_batch_that_was_overtaken_is_no_outage() {
    let bench = bench(TestStore::new(true));
    bench.store.overtaken.store(true, Ordering::SeqCst);
    assert_eq!(bench.judge(bench.log("t")).await.unwrap_err(), Unavailable::NotDurable);
    bench.store.overtaken.store(false, Ordering::SeqCst);
    assert_eq!(bench.judge(bench.log("t")).await.unwrap().seq, 0);
    assert_eq!(bench.store.outages(), 0);
}

#[tokio::test]
async fn who_waits_for_a_store_that_hangs_is_told_soon_enough() {
    let bench = bench(TestStore::new(false));
    let begun = std::time::Instant::now();
    assert_eq!(bench.judge(bench.log("t")).await.unwrap_err(), Unavailable::Late);
    // Some of it is the debug build's.
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_ledger_that_somebody_else_moved_ends_its_sequencer() {
    let bench = bench(TestStore::new(true));
    bench.judge(bench.log("t")).await.unwrap();
    assert!(bench.queue.is_served());
    bench.store.moved.store(true, Ordering::SeqCst);
    assert_eq!(bench.judge(bench.log("t")).await.unwrap_err(), Unavailable::NotDurable);
    bench.store.moved.store(false, Ordering::SeqCst);
    assert_eq!(bench.judge(bench.log("t")).await.unwrap_err(), Unavailable::Stopping);
    assert!(!bench.queue.is_served());
    // What it remembered may be wrong, so nobody keeps it.
    assert!(bench.task.await.unwrap().is_none());
}

#[tokio::test]
async fn a_failed_policy_change_leaves_the_old_set_in_force() {
    let bench = bench(TestStore::new(true));
    let before = bench.view.in_force();
    let change = || bench.change("policy p {}\ndefault on intent deny");
    bench.store.fail(true);
    assert!(bench.queue.change_policies(change(), "test".to_owned()).await.is_err());
    assert_eq!(bench.view.in_force().policy_set, before.policy_set);
    assert_eq!(bench.view.policies(), bench.policies);
    bench.store.fail(false);
    let intent = r#"{"event":"intent","action":"x"}"#;
    assert_eq!(bench.judge(bench.event(intent)).await.unwrap().decision.policy_set, before.policy_set);
    let from_the_old_set = change();
    bench.queue.change_policies(change(), "test".to_owned()).await.unwrap().unwrap();
    let refused = bench.queue.change_policies(from_the_old_set, "test".to_owned()).await.unwrap();
    assert_eq!(refused.unwrap_err(), Refused::Superseded);
    let judged = bench.judge(bench.event(intent)).await.unwrap();
    assert_eq!(judged.decision.policy_set, bench.view.in_force().policy_set);
    assert_ne!(judged.decision.policy_set, before.policy_set);
}

#[tokio::test]
async fn what_waits_during_a_commit_shares_the_next_one() {
    let bench = bench(TestStore::new(false));
    let mut waiting = Vec::new();
    for _ in 0..20 {
        let (queue, event) = (Arc::clone(&bench.queue), bench.log("t"));
        waiting.push(tokio::spawn(async move { queue.judge(vec![event]).await }));
        tokio::task::yield_now().await;
    }
    bench.store.gate.add_permits(2);
    let mut steps = Vec::new();
    for task in waiting {
        match task.await.unwrap().unwrap().pop() {
            Some(Ok(Answer::Judged(judged))) => steps.push(judged.step.unwrap().number),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(steps, (1..=20).collect::<Vec<_>>());
    let batches = bench.store.batches();
    assert_eq!((batches.len(), batches.iter().sum::<usize>()), (2, 20), "{batches:?}");
}

#[tokio::test]
async fn who_waits_too_long_is_told_and_not_judged() {
    let bench = bench(TestStore::new(false));
    let (queue, event) = (Arc::clone(&bench.queue), bench.log("t"));
    let first = tokio::spawn(async move { queue.judge(vec![event]).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let (queue, event) = (Arc::clone(&bench.queue), bench.log("t"));
    let left = tokio::spawn(async move { queue.judge(vec![event]).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    left.abort();
    assert_eq!(bench.judge(bench.log("t")).await.unwrap_err(), Unavailable::Busy);
    bench.store.gate.add_permits(10);
    assert!(first.await.unwrap().is_ok());
    assert_eq!(bench.judge(bench.log("t")).await.unwrap().seq, 1);
    assert_eq!(bench.store.batches(), [1, 1]);
}

#[tokio::test]
async fn a_full_queue_turns_callers_away() {
    let bench = bench(TestStore::new(false));
    let mut waiting = Vec::new();
    for _ in 0..QUEUE_EVENTS / BATCH_EVENTS {
        let (queue, events) = (Arc::clone(&bench.queue), (0..BATCH_EVENTS).map(|_| bench.log("t")).collect());
        waiting.push(tokio::spawn(async move { queue.judge(events).await }));
        tokio::task::yield_now().await;
    }
    assert_eq!(bench.judge(bench.log("t")).await.unwrap_err(), Unavailable::Busy);
    bench.store.gate.add_permits(100);
    for task in waiting {
        // Those behind the first batch gave up as well, or were judged; none is lost.
        let _ = task.await.unwrap();
    }
    assert!(matches!(bench.store.verified(), Verified::Ok(_)));
}

#[tokio::test]
async fn time_goes_forward_whatever_the_clock_does() {
    let bench = bench(TestStore::new(true));
    for now_us in [5_000, 1, 5_001, 10] {
        bench.clock.0.store(now_us, Ordering::SeqCst);
        bench.judge(bench.log("t")).await.unwrap();
    }
    assert!(matches!(bench.store.verified(), Verified::Ok(head) if head.at_us == 5_003));
}

#[tokio::test]
async fn an_intent_declared_twice_in_one_batch_is_one() {
    let bench = bench(TestStore::new(true));
    let declared = |digest: u8| {
        let declaration = Declaration { idempotency_key: Some("k".to_owned()), request_digest: [digest; 32] };
        Prepared { declaration: Some(declaration), ..bench.event(r#"{"event":"intent","action":"x"}"#) }
    };
    bench.store.fail(true);
    assert!(bench.queue.judge(vec![declared(1)]).await.is_err());
    bench.store.fail(false);
    let answers = bench.queue.judge(vec![declared(1), declared(1), declared(2)]).await.unwrap();
    assert!(matches!(
        answers.as_slice(),
        [Ok(Answer::Judged(_)), Ok(Answer::DeclaredBefore(_)), Err(Refused::KeyReused)]
    ));
    let answers = bench.queue.judge(vec![declared(1), declared(2)]).await.unwrap();
    assert!(matches!(answers.as_slice(), [Ok(Answer::DeclaredBefore(_)), Err(Refused::KeyReused)]));
    // With an entry that says that something could not be recorded before.
    assert_eq!(bench.store.batches(), [2]);
}

#[tokio::test]
async fn stopping_finishes_what_waits() {
    let bench = bench(TestStore::new(true));
    let (queue, event) = (Arc::clone(&bench.queue), bench.log("t"));
    let waiting = tokio::spawn(async move { queue.judge(vec![event]).await });
    tokio::task::yield_now().await;
    bench.queue.stop();
    assert!(waiting.await.unwrap().is_ok());
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(bench.judge(bench.log("t")).await.unwrap_err(), Unavailable::Stopping);
}

mod memory;
mod waiting;
