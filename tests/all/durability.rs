//! What was answered is in the ledger, whatever happens to the process: killed under load again and again, or asked
//! to end under load.
//!
//! What was remembered is there again: every decision after a restart is the one that would have been given without it.
//!
//! Killing the process does not test what a power cut does: the kernel's page cache survives it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use lictor_server::db::Database;
use lictor_server::ledger::{Head, StoredEntry, Verified, verify};
use reqwest::Method;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::task::{JoinHandle, JoinSet};

use crate::home::Home;
use crate::replay;
use crate::running::{Answer, Client, Server, text};

/// Times that something goes wrong, unless `LICTOR_KILLS` says otherwise.
const KILLS: u64 = 40;
/// How long there is load before it is killed, in milliseconds. All that was written is folded again after each kill, and
/// in a debug build that takes longer than to write it.
const LOAD_MS: (u64, u64) = (50, if cfg!(debug_assertions) { 350 } else { 3_000 });
/// Clients that ask at the same time.
const CLIENTS: usize = 11;
/// How a person edits where another server has to follow: not all the time, and with every other version only, which
/// ask the same of the past. To fill memories takes each server as long as to remember the whole ledger.
const CALM: Edits = Edits { pause: Duration::from_millis(250), next: |version| 2 * version };
/// How a person edits who is alone.
const RESTLESS: Edits = Edits { pause: Duration::ZERO, next: |version| version + 1 };

/// How a person edits.
#[derive(Debug, Clone, Copy)]
struct Edits {
    pause: Duration,
    /// Which policy comes after this version.
    next: fn(i64) -> i64,
}

/// Events of one batch.
const BATCH: u64 = 20;
/// A server that is asked to end ends within this time, whatever is under way.
const STOPPED: Duration = Duration::from_secs(10);
/// A restarted server answers within this time.
const READY: Duration = Duration::from_secs(2);

/// Amounts above 100 are denied, so that what was answered can be told from what was not. The other rules depend on what
/// happened before, some of them on more than the version before them. The last line is the number of the version.
fn policy(version: i64) -> Value {
    let most = 2 + version % 3;
    let spent = match version % 2 {
        0 => "rule spent on intent { when sum(intent.amount per agent.id within 2s) > 500 score +0.1 }",
        _ => "",
    };
    json!({"source": format!(
        "policy limits {{}}
         default on intent allow
         rule large on intent {{ when amount > 100 deny }}
         rule burst on intent {{ when count(intent per agent.id within 100ms) >= {most} warn }}
         rule refused on intent {{ when streak(attempted intent where amount > 100 per agent.id) >= 2 score +0.2 }}
         rule steps on log {{
           when count(log per task) >= 3 and seen(intent where amount <= 100 since log per agent.id)
           score +0.3 incident low per task
         }}
         rule late on intent {{ when agent.purpose == \"late\" score +0.05 }}
         {spent}
// {version}"
    )})
}

/// What goes wrong under load.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// The server is gone at once.
    KillServer,
    /// PostgreSQL ends all connections of the server, in the middle of whatever they do.
    EndConnections,
    /// PostgreSQL is gone at once, and comes back from what it wrote.
    CrashPostgres,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_under_load_nothing_acknowledged_is_lost() {
    let kills = std::env::var("LICTOR_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    again_and_again(Home::on_files(), kills, &[Fault::KillServer]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgres_nothing_acknowledged_is_lost_whoever_is_killed() {
    let kills = std::env::var("LICTOR_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let home = Home::on_postgres_that_may_crash().await;
    let faults = [Fault::KillServer, Fault::EndConnections, Fault::CrashPostgres];
    again_and_again(home, kills, &faults).await;
}

/// One fault after the other under load: whatever was acknowledged is there afterwards.
async fn again_and_again(home: Home, rounds: u64, faults: &[Fault]) {
    let mut random = Random::new();
    let mut server = Server::start(&home);
    let caller = Caller::new(&server).await;
    let mut ledger = Ledger::default();
    let mut ready = Vec::new();

    for (round, fault) in (1..=rounds).zip(faults.iter().cycle()) {
        let load = load(&server, &caller).await;
        let pause = Duration::from_millis(random.between(LOAD_MS.0, LOAD_MS.1));
        tokio::time::sleep(pause).await;
        match fault {
            Fault::KillServer => server.kill(),
            Fault::EndConnections => assert!(home.end_connections().await > 0),
            Fault::CrashPostgres => home.crash().await,
        }
        let begun = Instant::now();
        if !matches!(fault, Fault::KillServer) {
            // It goes on by itself.
            server.healthy().await;
            ready.push(begun.elapsed());
            server.kill();
        }
        let acknowledged = load.ended().await;
        let begun = Instant::now();
        server = Server::start(&home);
        server.healthy().await;
        ready.push(begun.elapsed());
        ledger.read(&server, &caller).await;
        ledger.expect(acknowledged.answers, &format!("{fault:?} in round {round} after {pause:?}"));
        let version = caller.version(&caller.person(&server)).await;
        assert!(version >= acknowledged.version, "an edit is lost: {version} of {}", acknowledged.version);
    }

    caller.spend(&server).await;
    assert!(server.terminate().success());
    ledger.verify_stored(&home, &caller).await;
    replay::same_decisions(&home, &caller.org).await;
    ready.sort_unstable();
    let (median, longest) = (ready[ready.len() / 2], ready[ready.len() - 1]);
    note(&format!(
        "{rounds} faults: {} acknowledged answers, {} entries, none lost; ready again after {median:?} (median), \
         {longest:?} (longest)",
        ledger.acknowledged.len(),
        ledger.entries.len()
    ));
    assert!(ledger.acknowledged.len() as u64 > 10 * rounds, "hardly any load");
    // The longest time is the machine's as much as the server's: tests beside this one take all cores.
    assert!(median <= READY, "ready again after {median:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_servers_under_load_one_is_killed_and_nothing_is_lost_or_overrun() {
    let home = Home::on_postgres().await;
    let (mut first, mut second) = (Server::start(&home), Server::start(&home));
    let caller = Caller::new(&first).await;
    let mut ledger = Ledger::default();
    let mut survived = Vec::new();
    for round in 0..5 {
        caller.known_to(&second).await;
        let (one, other) =
            (load_with_edits(&first, &caller, CALM).await, load_without_edits(&second, &caller).await);
        one.at_least(30).await;
        other.at_least(30).await;
        first.kill();
        let mut acknowledged = one.ended().await.answers;
        // The other one goes on at once: what the first held is let go with its connections.
        let (begun, before) = (Instant::now(), other.answered());
        other.at_least(before + 30).await;
        survived.push(begun.elapsed());
        assert!(tokio::task::block_in_place(|| second.terminate()).success());
        acknowledged.extend(other.ended().await.answers);
        (first, second) = (Server::start(&home), Server::start(&home));
        ledger.read(&second, &caller).await;
        ledger.expect(acknowledged, &format!("round {round}"));
        let version = caller.version(&caller.person(&first)).await;
        assert_eq!(caller.version(&caller.person(&second)).await, version);
    }
    caller.spend(&second).await;
    drop((first, second));
    ledger.verify_stored(&home, &caller).await;
    // What was remembered on two servers is what the ledger says: no window was overrun.
    replay::same_decisions(&home, &caller.org).await;
    note(&format!(
        "{} acknowledged answers, none lost; 30 more after {survived:?}",
        ledger.acknowledged.len()
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asked_to_end_under_load_it_ends_well_and_loses_nothing() {
    let home = Home::on_files();
    let mut server = Server::start(&home);
    let caller = Caller::new(&server).await;
    let load = load(&server, &caller).await;
    load.at_least(50).await;
    let asked = Instant::now();
    // This blocks its thread; the load goes on in the others.
    let status = tokio::task::block_in_place(|| server.terminate());
    let took = asked.elapsed();
    note(&format!("ended {took:?} after it was asked to"));
    assert!(took <= STOPPED, "it took {took:?} to end");
    assert_eq!(status.code(), Some(0));
    let acknowledged = load.ended().await;

    let server = Server::start(&home);
    let mut ledger = Ledger::default();
    ledger.read(&server, &caller).await;
    ledger.expect(acknowledged.answers, "asked to end");
    assert!(caller.version(&caller.person(&server)).await >= acknowledged.version);
    drop(server);
    ledger.verify_stored(&home, &caller).await;
}

/// Who asks, on every server that is started on the same database.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// An API key, for agents.
    key: String,
    /// An access token, for a person: only people read the ledger.
    token: String,
    pub(crate) org: String,
    agent: String,
    /// Where the policy is.
    policy: String,
}

impl Caller {
    pub(crate) async fn new(server: &Server) -> Caller {
        let owner = server.owner().await;
        let policy = owner.post("/api/v1/policies", &policy(1)).await.expect(201);
        let policy = format!("/api/v1/policies/{}", text(&policy["id"]));
        let org = text(&owner.get("/api/v1/orgs").await.expect(200)[0]["id"]);
        let (key, token) = (owner.key().await, owner.credential().to_owned());
        let agent = owner.with(&key).post("/api/v1/agents", &json!({"agent_key": "bot"})).await.expect(201);
        Caller { key, token, org, agent: text(&agent["agent_id"]), policy }
    }

    /// A client that is a person.
    fn person(&self, server: &Server) -> Client {
        server.client().with(&self.token)
    }

    /// Waits until a server knows the key, which another server made.
    async fn known_to(&self, server: &Server) {
        let (client, begun) = (server.client().with(&self.key), Instant::now());
        while client.get("/api/v1/agents").await.status != 200 {
            assert!(begun.elapsed() < Duration::from_secs(5), "the key stays unknown");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Lets the rule match that needs much at once, which load on a busy machine may not bring about.
    pub(crate) async fn spend(&self, server: &Server) {
        let (person, agent) = (self.person(server), server.client().with(&self.key));
        person.try_send(Method::PUT, &self.policy, &[], &policy(2)).await.unwrap().expect(200);
        let events =
            vec![json!({"event": "intent", "agent": {"id": "bot"}, "action": "pay", "amount": 100}); 20];
        let begun = Instant::now();
        loop {
            let decided = agent.post("/api/v1/decisions", &json!({"events": events})).await.expect(200);
            let mut rules = decided["decisions"]
                .as_array()
                .unwrap()
                .iter()
                .flat_map(|decision| decision["rules"].as_array().map(Vec::as_slice).unwrap_or_default());
            if rules.any(|rule| rule["rule"] == "limits.spent" && rule["truth"] == "true") {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "what was spent is not known: {decided}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The version of the policy that is in force.
    async fn version(&self, person: &Client) -> i64 {
        let policy = person.get(&self.policy).await.expect(200);
        policy["version"].as_i64().unwrap()
    }
}

/// An answer that a client had in its hands.
#[derive(Debug, Clone)]
struct Acknowledged {
    id: String,
    /// The place in the ledger, where the answer has one.
    seq: Option<i64>,
    /// What was decided, where the answer says.
    outcome: Option<String>,
}

impl Acknowledged {
    fn decision(body: &Value) -> Acknowledged {
        let seq = body["seq"].as_i64().unwrap_or_else(|| panic!("no seq in {body}"));
        Acknowledged {
            id: text(&body["decision_id"]),
            seq: Some(seq),
            outcome: Some(text(&body["decision"])),
        }
    }
}

/// Clients that ask until nobody answers, and a person who edits the policy all the while.
pub(crate) struct Load {
    /// Ends with the version that was last acknowledged.
    editor: Option<JoinHandle<i64>>,
    clients: JoinSet<Vec<Acknowledged>>,
    answers: Arc<AtomicU64>,
}

/// What was acknowledged to anybody.
pub(crate) struct Acknowledgements {
    answers: Vec<Acknowledged>,
    version: i64,
}

/// What a client sends.
#[derive(Debug, Clone, Copy)]
enum Asks {
    OneDecision,
    Batch,
    LogStep,
    Intent,
    Registration,
}

pub(crate) async fn load(server: &Server, caller: &Caller) -> Load {
    load_with_edits(server, caller, RESTLESS).await
}

/// With a person who rests between edits.
pub(crate) async fn load_edited_every(pause: Duration, server: &Server, caller: &Caller) -> Load {
    load_with_edits(server, caller, Edits { pause, ..RESTLESS }).await
}

async fn load_with_edits(server: &Server, caller: &Caller, edits: Edits) -> Load {
    let person = caller.person(server);
    let version = caller.version(&person).await;
    let editor = tokio::spawn(edit(person, caller.clone(), version, edits));
    Load { editor: Some(editor), ..load_without_edits(server, caller).await }
}

/// Clients that ask until nobody answers.
async fn load_without_edits(server: &Server, caller: &Caller) -> Load {
    let answers = Arc::new(AtomicU64::new(0));
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let asks = match number {
            0..=4 => Asks::OneDecision,
            5..=7 => Asks::Batch,
            8 => Asks::LogStep,
            9 => Asks::Intent,
            _ => Asks::Registration,
        };
        let (client, caller) = (server.client().with(&caller.key), caller.clone());
        let answers = Arc::clone(&answers);
        clients.spawn(async move {
            let mut acknowledged = Vec::new();
            let mut turn = 0;
            // Without a whole answer nothing was acknowledged, and the server is gone.
            while let Ok(answer) = asks.send(&client, &caller, number, turn).await {
                match asks.acknowledged(answer) {
                    Some(new) => {
                        acknowledged.extend(new);
                        answers.fetch_add(1, Ordering::Relaxed);
                        turn += 1;
                    }
                    None => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
            acknowledged
        });
    }
    Load { editor: None, clients, answers }
}

/// Edits the policy until nobody answers.
async fn edit(person: Client, caller: Caller, mut version: i64, edits: Edits) -> i64 {
    while let Ok(answer) =
        person.try_send(Method::PUT, &caller.policy, &[], &policy((edits.next)(version))).await
    {
        if answer.status == 503 {
            break;
        }
        assert_eq!(answer.expect(200)["version"], version + 1);
        version += 1;
        tokio::time::sleep(edits.pause).await;
    }
    version
}

impl Asks {
    async fn send(
        self,
        client: &Client,
        caller: &Caller,
        number: usize,
        turn: u64,
    ) -> reqwest::Result<Answer> {
        let amount = |turn: u64| if turn.is_multiple_of(2) { 5 } else { 500 };
        let event = |turn| json!({"event": "intent", "agent": {"id": "bot"}, "action": "pay", "amount": amount(turn)});
        match self {
            Asks::OneDecision => client.try_send(Method::POST, "/api/v1/decisions", &[], &event(turn)).await,
            Asks::Batch => {
                let events: Vec<_> = (turn..turn + BATCH).map(event).collect();
                client.try_send(Method::POST, "/api/v1/decisions", &[], &json!({"events": events})).await
            }
            Asks::LogStep => {
                let step =
                    json!({"agent_id": "bot", "task_id": format!("t-{number}"), "node_type": "TOOL_CALL"});
                client.try_send(Method::POST, "/api/v1/logs", &[], &step).await
            }
            Asks::Intent => {
                let headers = [("x-org-id", &*caller.org), ("x-agent-id", &*caller.agent)];
                let (org, agent) = (&caller.org, &caller.agent);
                let intent =
                    json!({"agent_id": agent, "org_id": org, "action": "pay", "amount": amount(turn)});
                client.try_send(Method::POST, "/api/v3/intents", &headers, &intent).await
            }
            Asks::Registration => {
                let purpose = if turn.is_multiple_of(2) { "late" } else { "early" };
                let agent = json!({"agent_key": "bot", "purpose": purpose});
                client.try_send(Method::POST, "/api/v1/agents", &[], &agent).await
            }
        }
    }

    /// What an answer promises; nothing if it says that nobody can decide now.
    fn acknowledged(self, answer: Answer) -> Option<Vec<Acknowledged>> {
        if answer.status == 503 {
            return None;
        }
        let only = |id: &Value| vec![Acknowledged { id: text(id), seq: None, outcome: None }];
        Some(match self {
            Asks::OneDecision => vec![Acknowledged::decision(&answer.expect(200))],
            Asks::Batch => {
                let body = answer.expect(200);
                let decided = body["decisions"].as_array().unwrap().iter();
                // An event that could not be recorded has a problem in its place.
                let decided = decided.filter(|item| item["status"] != 503);
                decided.map(Acknowledged::decision).collect()
            }
            Asks::LogStep => only(&answer.expect(201)["log_id"]),
            Asks::Intent => only(&answer.expect(201)["intent_id"]),
            Asks::Registration => {
                assert_eq!(answer.expect(200)["registration_status"], "updated");
                Vec::new()
            }
        })
    }
}

impl Acknowledgements {
    /// How many decisions were acknowledged.
    pub(crate) fn decisions(&self) -> usize {
        self.answers.len()
    }
}

impl Load {
    /// Waits until there were this many answers.
    pub(crate) async fn at_least(&self, answers: u64) {
        let begun = Instant::now();
        while self.answered() < answers {
            assert!(begun.elapsed() < Duration::from_secs(60), "hardly any answers");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// How many answers there were.
    pub(crate) fn answered(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    /// Everything that was acknowledged to any client.
    pub(crate) async fn ended(mut self) -> Acknowledgements {
        let mut answers = Vec::new();
        while let Some(client) = self.clients.join_next().await {
            answers.extend(client.unwrap());
        }
        let version = match self.editor {
            Some(editor) => editor.await.unwrap(),
            None => 0,
        };
        Acknowledgements { answers, version }
    }
}

/// One entry, as the server shows it.
#[derive(Debug, Deserialize)]
struct Entry {
    seq: i64,
    entry_id: String,
    hash: String,
    prev_hash: String,
    outcome: Option<String>,
    record: Box<RawValue>,
}

/// The ledger as it was read so far, and what must be in it.
struct Ledger {
    head: Head,
    /// Place and outcome of each entry, by its id.
    entries: HashMap<String, (i64, Option<String>)>,
    acknowledged: Vec<Acknowledged>,
}

impl Default for Ledger {
    fn default() -> Ledger {
        Ledger { head: Head::EMPTY, entries: HashMap::new(), acknowledged: Vec::new() }
    }
}

impl Ledger {
    /// Reads what is new, and verifies that it follows densely from what was read before.
    async fn read(&mut self, server: &Server, caller: &Caller) {
        let client = caller.person(server);
        loop {
            let path = format!("/api/v1/ledger?limit=1000&after={}", self.head.next_seq - 1);
            let page: Vec<Entry> = serde_json::from_str(&client.get_text(&path).await).unwrap();
            if page.is_empty() {
                return;
            }
            let stored = page.iter().map(|entry| StoredEntry {
                seq: entry.seq,
                canonical: entry.record.get().as_bytes().to_vec(),
                hash: bytes32(&entry.hash),
                prev_hash: bytes32(&entry.prev_hash),
            });
            self.head = match verify(self.head, stored) {
                Verified::Ok(head) => head,
                fault => panic!("{fault:?}"),
            };
            let places = page.into_iter().map(|entry| (entry.entry_id, (entry.seq, entry.outcome)));
            self.entries.extend(places);
        }
    }

    /// These are in what was read: at the place and with the outcome that the answer named.
    #[track_caller]
    fn expect(&mut self, acknowledged: Vec<Acknowledged>, when: &str) {
        for wanted in &acknowledged {
            let Some((seq, outcome)) = self.entries.get(&wanted.id) else {
                panic!("lost: {wanted:?}, {when}, ledger of {} entries", self.entries.len());
            };
            assert!(wanted.seq.is_none_or(|wanted| wanted == *seq), "{wanted:?} is at {seq}, {when}");
            assert!(
                wanted.outcome.is_none() || wanted.outcome == *outcome,
                "{wanted:?} is {outcome:?}, {when}"
            );
        }
        self.acknowledged.extend(acknowledged);
    }

    /// Reads all that is stored, once no server runs on it: one chain from the first entry to the head, which holds
    /// everything that was ever acknowledged.
    async fn verify_stored(&self, home: &Home, caller: &Caller) {
        let database = Database::open(&home.database.parse().unwrap()).await.unwrap();
        let org = caller.org.parse().unwrap();
        let (mut head, mut ids) = (Head::EMPTY, HashMap::new());
        loop {
            let stored = database.stored_entries(org, head.next_seq - 1, 1_000).await.unwrap();
            if stored.is_empty() {
                break;
            }
            for entry in &stored {
                let record: Value = serde_json::from_slice(&entry.canonical).unwrap();
                assert!(ids.insert(text(&record["id"]), entry.seq).is_none(), "twice: {record}");
            }
            head = match verify(head, stored) {
                Verified::Ok(head) => head,
                fault => panic!("{fault:?}"),
            };
        }
        assert!(head.next_seq >= self.head.next_seq, "{head:?} is before {:?}", self.head);
        for wanted in &self.acknowledged {
            assert!(ids.contains_key(&wanted.id), "lost: {wanted:?}");
        }
    }
}

pub(crate) fn bytes32(hex: &str) -> [u8; 32] {
    let bytes: Vec<u8> =
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
    bytes.try_into().unwrap()
}

/// Numbers that look random, from a seed that is printed (splitmix64).
struct Random(u64);

impl Random {
    /// Seeded by `LICTOR_SEED`, else by the clock.
    fn new() -> Random {
        let clock = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64;
        let seed = std::env::var("LICTOR_SEED").map_or_else(|_| clock(), |seed| seed.parse().unwrap());
        note(&format!("LICTOR_SEED={seed}"));
        Random(seed)
    }

    fn between(&mut self, low: u64, high: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        low + (mixed ^ (mixed >> 31)) % (high - low + 1)
    }
}

#[expect(clippy::print_stderr, reason = "the seed repeats a failure, the figures are what was measured")]
pub(crate) fn note(text: &str) {
    eprintln!("{text}");
}
