//! The ledger says everything: judged again from its first entry, by the engine alone, every event gets the decision
//! that was recorded, whatever clients did at the same time, however policies changed, and however often the server
//! ended in between. Where content was erased it says so, and of a decision that rested on it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lictor_dsl::events::EventKind;
use lictor_dsl::{Source, check};
use lictor_engine::decision::{Class, Decision, Mode, ReportedTruth};
use lictor_engine::generation::{Engine, Generation};
use lictor_engine::memory::Memories;
use lictor_server::db::{Address, Database, Store};
use lictor_server::memory::{Past, Recorded};
use lictor_server::vault::Vault;
use serde_json::{Value, json};

use crate::durability::{Caller, bytes32, load_edited_every, note};
use crate::home::Home;
use crate::running::{Server, text};

/// How many decisions there are at least: some thousands, unless this says otherwise.
const DECISIONS: &str = "LICTOR_REPLAY_DECISIONS";
const IN_CI: usize = 5_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_judged_again_gives_the_decisions_that_were_recorded() {
    let decisions = std::env::var(DECISIONS).map_or(IN_CI, |decisions| decisions.parse().unwrap());
    let home = Home::on_files();
    let mut server = Server::start(&home);
    let caller = Caller::new(&server).await;
    // To judge again takes as long for each edit as for all events before it.
    let pause = Duration::from_millis(decisions as u64 / 50);
    let (mut decided, mut restarts) = (0, 0);
    // One restart from a snapshot, and one from a snapshot that is older than the end of the ledger, in turns.
    for killed in [false, true].into_iter().cycle() {
        if decided >= decisions && restarts >= 3 {
            break;
        }
        let load = load_edited_every(pause, &server, &caller).await;
        load.at_least(300).await;
        match killed {
            true => server.kill(),
            // This blocks its thread; the load goes on in the others.
            false => assert!(tokio::task::block_in_place(|| server.terminate()).success()),
        }
        decided += load.ended().await.decisions();
        restarts += 1;
        server = Server::start(&home);
        server.healthy().await;
    }
    caller.spend(&server).await;
    server.kill();
    note(&format!("{decided} decisions, {restarts} restarts"));
    let Replayed { registrations, changes, .. } = same_decisions(&home, &caller.org).await;
    assert!(changes > 1 && registrations > 1, "{changes} changes, {registrations} registrations");
}

/// What judging a ledger again says.
#[derive(Debug, Default)]
pub(crate) struct Replayed {
    /// Decisions that are the same.
    pub(crate) same: usize,
    /// Decisions that can't be made again, as their content was erased.
    pub(crate) erased: usize,
    /// Decisions that are not the same, and were made before the content was erased that they may rest on.
    pub(crate) rest_on_erased: usize,
    registrations: usize,
    /// How often the policies changed.
    changes: usize,
}

/// Judges all events of a ledger again. No server runs on it.
pub(crate) async fn same_decisions(home: &Home, org: &str) -> Replayed {
    let begun = Instant::now();
    let address: Address = home.database.parse().unwrap();
    let database = Arc::new(Database::open(&address).await.unwrap());
    let vault = Arc::new(Vault::open(home.master_key().as_deref(), address.key_file().as_deref()).unwrap());
    let past = Past::new(Arc::clone(&database) as Arc<dyn Store>, vault, org.parse().unwrap());
    let erasure = database.last_erasure(past.org()).await.unwrap();
    let mut replay = Replay {
        database,
        past,
        policies: None,
        events: Vec::new(),
        hits: HashMap::new(),
        erasure,
        replayed: Replayed::default(),
    };
    let mut seq = 0;
    loop {
        let page = replay.database.entries(replay.past.org(), seq - 1, 1_000).await.unwrap();
        let Some(last) = page.last() else { break };
        let judged = replay.past.read(seq..last.seq + 1, 1_000).await.unwrap();
        let mut judged = judged.iter().map(|row| replay.past.recorded(row).unwrap()).collect::<Vec<_>>();
        judged.reverse();
        seq = last.seq + 1;
        for entry in page {
            let record: Value = serde_json::from_slice(&entry.canonical).unwrap();
            match entry.kind.as_str() {
                "policy" => replay.change(&record).await,
                _ if entry.outcome.is_some() => {
                    let recorded = judged.pop().unwrap();
                    assert_eq!(recorded.seq, entry.seq);
                    match recorded.erased {
                        true => replay.remember_erased(recorded),
                        false => replay.judge(recorded, &record),
                    }
                }
                _ => {}
            }
        }
    }
    note(&format!("{:?} of {seq} entries, in {:?}", replay.replayed, begun.elapsed()));
    for rule in ["limits.burst", "limits.refused", "limits.steps", "limits.spent", "limits.late"] {
        assert!(replay.hits.contains_key(rule), "{rule} never matched: {:?}", replay.hits);
    }
    let most = Duration::from_secs(300) + Duration::from_millis(replay.events.len() as u64);
    assert!(begun.elapsed() < most, "judging again took {:?}", begun.elapsed());
    replay.replayed
}

/// What decides at one place of the ledger.
struct Policies {
    generation: Generation,
    memories: Memories,
    policy_set: String,
}

struct Replay {
    database: Arc<Database>,
    past: Past,
    policies: Option<Policies>,
    /// All events so far, with what became of them.
    events: Vec<Recorded>,
    /// How often each rule matched.
    hits: HashMap<String, usize>,
    /// The latest entry that erased something.
    erasure: i64,
    replayed: Replayed,
}

impl Replay {
    /// An entry that changes the policies, or says that their memories are filled.
    async fn change(&mut self, record: &Value) {
        self.replayed.changes += 1;
        let policy_set = text(&record["policy_set"]);
        let before = self.policies.take();
        let (generation, mut memories) = match (record.get("policies"), before) {
            (None, Some(before)) => (before.generation, before.memories),
            (Some(policies), before) => {
                let generation = self.compile(policies).await;
                let mut memories =
                    before.map_or_else(|| Memories::new(&generation), |before| before.memories);
                memories.adopt(&generation);
                (generation, memories)
            }
            (None, None) => panic!("nothing was in force: {record}"),
        };
        let missing = memories.missing(&generation);
        match record.get("filling") {
            Some(filling) => {
                let missing: Vec<_> =
                    missing.iter().map(|one| json!({"memory": one.memory, "rules": one.rules})).collect();
                assert_eq!(filling, &Value::from(missing));
                assert_ne!(policy_set, generation.digest());
            }
            None => {
                assert_eq!(policy_set, generation.digest());
                if !missing.is_empty() {
                    let mut aside = memories.aside(&generation);
                    for recorded in &self.events {
                        remember(&mut aside, &generation, recorded);
                    }
                    memories.absorb(aside);
                }
                assert!(memories.missing(&generation).is_empty());
            }
        }
        self.policies = Some(Policies { generation, memories, policy_set });
    }

    async fn compile(&self, policies: &Value) -> Generation {
        let policies = policies.as_array().unwrap();
        let mut sources = Vec::new();
        for policy in policies {
            let digest = bytes32(policy["source"].as_str().unwrap().strip_prefix("sha256:").unwrap());
            let source = self.database.policy_source(self.past.org(), &digest).await.unwrap().unwrap();
            sources.push(Source::new(text(&policy["name"]), source));
        }
        let mut checked = check(sources);
        for (policy, said) in checked.set.policies.iter_mut().zip(policies) {
            assert_eq!(said["name"], policy.name);
            Arc::make_mut(policy).shadow |= said["mode"] == "shadow";
        }
        Generation::compile(&checked.set).unwrap()
    }

    fn judge(&mut self, event: Recorded, record: &Value) {
        let seq = event.seq;
        self.replayed.registrations += usize::from(event.event.kind() == EventKind::Registration);
        let Policies { generation, memories, policy_set } = self.policies.as_mut().unwrap();
        let engine = if seq % 2 == 0 { Engine::Jit } else { Engine::Interpreter };
        let decision = generation.judge_with(&event.event, memories, engine);
        let recorded = &record["decision"];
        if self.replayed.erased > 0 && seq < self.erasure && comparable(&decision) != recorded_alike(recorded)
        {
            self.replayed.rest_on_erased += 1;
        } else {
            assert_eq!(&comparable(&decision), &recorded_alike(recorded), "entry {seq}: {record}");
            self.replayed.same += 1;
        }
        assert_eq!(record["policy_set"], **policy_set, "entry {seq}");
        for rule in decision.rules.iter().filter(|rule| rule.truth == ReportedTruth::True) {
            *self.hits.entry(rule.rule.to_string()).or_default() += 1;
        }
        assert_ne!(decision.class, Class::InvalidInput, "no policy here has a schema");
        remember(memories, generation, &event);
        self.events.push(event);
    }

    fn remember_erased(&mut self, recorded: Recorded) {
        self.replayed.erased += 1;
        let Policies { generation, memories, .. } = self.policies.as_mut().unwrap();
        remember(memories, generation, &recorded);
        self.events.push(recorded);
    }
}

fn remember(memories: &mut Memories, generation: &Generation, recorded: &Recorded) {
    let Recorded { seq, event, fate, erased } = recorded;
    let (number, fate) = (*seq as u64, fate.unwrap());
    match erased {
        true => memories.remember_erased(generation, event, fate, number, event.at()),
        false => memories.remember(generation, event, fate, number, event.at()),
    }
}

/// What of a decision must be the same: the outcome, its class, the risk, and each rule with its truth and mode.
fn comparable(decision: &Decision) -> Value {
    let rules = decision.rules.iter().map(|rule| {
        let mode = if rule.mode == Mode::Shadow { "shadow" } else { "enforce" };
        json!([*rule.rule, rule.truth, mode, rule.filling])
    });
    let rules: Vec<_> = rules.collect();
    json!([decision.decision.name(), decision.class.name(), decision.risk.to_string(), rules])
}

fn recorded_alike(recorded: &Value) -> Value {
    let rules = recorded["rules"].as_array().unwrap().iter();
    let rules: Vec<_> =
        rules.map(|rule| json!([rule["rule"], rule["truth"], rule["mode"], rule["filling"] == 1])).collect();
    json!([recorded["outcome"], recorded["class"], recorded["risk"], rules])
}
