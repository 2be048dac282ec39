//! One world from its first step to its last.

use std::iter::Sum;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use lictor_server::accounts::keys::ApiKey;
use lictor_server::accounts::{Caller, Person, Role};
use lictor_server::agents::Profile;
use lictor_server::db::Change;
use lictor_server::draft::{Answer, PolicyChange, Prepared, Refused};
use lictor_server::incidents::Status;
use lictor_server::memory::fill::fill;
use lictor_server::policies::Policy;
use lictor_server::registration::Registration;
use lictor_server::retries::{Claim, Keep, Shown};
use lictor_server::sequencer::Unavailable;
use lictor_server::vault::Vault;
use tokio::task::{JoinHandle, yield_now};
use uuid::Uuid;

use crate::promises::{Acknowledged, ONCE, Promises, SECRET};
use crate::random::Random;
use crate::servers::{Hand, SOURCES, Server, generation, policy, typed};
use crate::store::{Bug, Fault, ORG, World, name};

/// Steps of one world.
const STEPS: u64 = 24;
/// Servers of most worlds.
const SERVERS: usize = 2;
/// Of so many worlds one has a single server, whose store nobody else uses.
const ALONE: u64 = 3;
/// No step takes so long.
const STUCK: Duration = Duration::from_secs(20);
const SECOND_US: i64 = 1_000_000;

/// What happened in a world.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) entries: u64,
    pub(crate) acknowledged: u64,
    pub(crate) denied: u64,
    /// Decisions while rules waited for their memories.
    pub(crate) waiting: u64,
    /// Answers that nothing was recorded.
    pub(crate) failed: u64,
    pub(crate) lost_answers: u64,
    pub(crate) crashes: u64,
    pub(crate) swaps: u64,
    /// How often a server had to take over what another wrote.
    pub(crate) followed: u64,
    pub(crate) jumps: u64,
}

impl Sum for Ran {
    fn sum<I: Iterator<Item = Ran>>(all: I) -> Ran {
        all.fold(Ran::default(), |sum, ran| Ran {
            entries: sum.entries + ran.entries,
            acknowledged: sum.acknowledged + ran.acknowledged,
            denied: sum.denied + ran.denied,
            waiting: sum.waiting + ran.waiting,
            failed: sum.failed + ran.failed,
            lost_answers: sum.lost_answers + ran.lost_answers,
            crashes: sum.crashes + ran.crashes,
            swaps: sum.swaps + ran.swaps,
            followed: sum.followed + ran.followed,
            jumps: sum.jumps + ran.jumps,
        })
    }
}

/// Runs the world of this seed; the error is the promise that was broken.
pub(crate) fn run(seed: u64, bug: Option<Bug>, tells: bool) -> Result<Ran, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(Running::new(seed, bug, tells).run())
}

struct Running {
    random: Random,
    world: Arc<World>,
    clock: Arc<Hand>,
    vault: Arc<Vault>,
    servers: Vec<Option<Server>>,
    promises: Promises,
    acknowledged: Vec<Acknowledged>,
    ran: Ran,
    tells: bool,
}

fn heard(answers: Result<Vec<Result<Answer, Refused>>, Unavailable>) -> Heard {
    let answers = match answers {
        Ok(answers) => answers,
        Err(Unavailable::AnsweredBefore | Unavailable::Revoked) => return Heard::Refused,
        Err(_) => return Heard::Failed,
    };
    let acknowledged = answers.into_iter().filter_map(|answer| match answer {
        Ok(Answer::Judged(judged)) => {
            let outcome = judged.decision.decision.name();
            Some(Acknowledged { id: judged.id, seq: judged.seq, outcome })
        }
        _ => None,
    });
    Heard::Decisions(acknowledged.collect())
}

/// The person whose org it is.
fn owner() -> Caller {
    Caller::Person(Person { id: Uuid::nil(), org: ORG, role: Role::Owner })
}

/// What a caller hears.
#[derive(Debug)]
enum Heard {
    Decisions(Vec<Acknowledged>),
    Done,
    Refused,
    Failed,
}

impl Running {
    fn new(seed: u64, bug: Option<Bug>, tells: bool) -> Running {
        let first = policy(0, 1);
        let is_alone = seed.is_multiple_of(ALONE);
        Running {
            random: Random(seed),
            world: World::new(vec![Arc::clone(&first)], bug, is_alone),
            clock: Arc::new(Hand((1_700_000_000 * SECOND_US).into())),
            vault: Arc::new(Vault::new(&[1; 32])),
            servers: (0..if is_alone { 1 } else { SERVERS }).map(|_| None).collect(),
            promises: Promises::new(first),
            acknowledged: Vec::new(),
            ran: Ran::default(),
            tells,
        }
    }

    async fn run(mut self) -> Result<Ran, String> {
        self.start_those_down(1).await?;
        for agent in ["a", "b"] {
            let registered = self.register(0, agent);
            self.let_happen(vec![registered]).await?;
        }
        for _ in 0..STEPS {
            self.start_those_down(2).await?;
            self.pass_time();
            self.let_fail();
            let mut happening = Vec::new();
            for _ in 0..=self.random.below(3) {
                happening.extend(self.something());
            }
            self.let_happen(happening).await?;
        }
        self.agree().await?;
        self.ran.waiting = self.promises.waiting;
        self.ran.entries = self.world.kept().entries.len() as u64;
        Ok(self.ran)
    }

    /// Starts servers that are down, each with one chance in so many. One is always up.
    async fn start_those_down(&mut self, one_in: u64) -> Result<(), String> {
        for place in 0..self.servers.len() {
            let nobody_is_up = self.servers.iter().all(Option::is_none);
            if self.servers[place].is_none() && (nobody_is_up || self.random.one_in(one_in)) {
                let started = Server::start(&self.world, &self.clock, &self.vault).await;
                self.servers[place] = Some(started.map_err(|error| format!("no server starts: {error}"))?);
                self.tell(|| format!("server {place} starts"));
            }
        }
        Ok(())
    }

    fn pass_time(&mut self) {
        let jump = match self.random.below(12) {
            0 => 3_600,
            1 => -3_600,
            _ => self.random.below(4) as i64,
        };
        self.ran.jumps += u64::from(jump.abs() == 3_600);
        self.clock.0.fetch_add(jump * SECOND_US, Ordering::SeqCst);
    }

    fn let_fail(&mut self) {
        if self.random.one_in(3) {
            let fault =
                self.random.of(&[Fault::Fails, Fault::LosesTheAnswer, Fault::Crashes, Fault::CrashesAfter]);
            let (call, server) =
                (self.random.below(6) as u32, self.random.below(self.servers.len() as u64) as usize);
            if let Some(server) = &self.servers[server] {
                server.reach.let_fail(call, fault);
            }
            self.tell(|| format!("{fault:?} at call {call} of server {server}"));
        }
    }

    /// Something that a caller asks one of the servers for.
    fn something(&mut self) -> Option<JoinHandle<Heard>> {
        let place = self.random.below(self.servers.len() as u64) as usize;
        self.servers[place].as_ref()?;
        Some(match self.random.below(20) {
            0 | 1 => self.swap(place),
            2 => {
                let name = self.random.of(&["a", "b", "c"]);
                self.register(place, name)
            }
            3 => self.change_keys(place),
            6 | 7 => self.decide_once(place)?,
            4 => self.move_incident(place)?,
            5 => {
                let server = self.servers[place].as_ref()?;
                self.ran.followed += u64::from(server.view.next_seq() != self.world.kept().head.next_seq);
                server.queue.follow();
                return None;
            }
            _ => self.decide(place)?,
        })
    }

    fn decide(&mut self, place: usize) -> Option<JoinHandle<Heard>> {
        let count = 1 + self.random.below(2);
        let name = self.random.of(&["a", "b"]);
        let events: Vec<String> = (0..count).map(|_| self.event()).collect();
        let by_key = self.random.one_in(2);
        let server = self.servers[place].as_ref()?;
        let agent = Arc::clone(&server.view.directory.find(name)?.agent);
        let key = server.keys.of(ORG).pop().filter(|_| by_key);
        let caller = key.map_or_else(owner, Caller::Key);
        let prepared: Vec<Prepared> = events.iter().map(|json| server.event(&agent, json, &caller)).collect();
        let queue = Arc::clone(&server.queue);
        self.tell(|| format!("server {place} is asked for {events:?} of {name}"));
        Some(tokio::spawn(async move { heard(queue.judge(prepared).await) }))
    }

    /// A request that others may send as well: whoever comes first, it is done once.
    fn decide_once(&mut self, place: usize) -> Option<JoinHandle<Heard>> {
        let key = format!("{ONCE}{}", self.random.below(6));
        let server = self.servers[place].as_ref()?;
        let agent = Arc::clone(&server.view.directory.find("a")?.agent);
        let json = format!(r#"{{"event":"intent","action":"{key}","payload":{{"note":"{SECRET}"}}}}"#);
        let event = server.event(&agent, &json, &owner());
        let queue = Arc::clone(&server.queue);
        self.tell(|| format!("server {place} is asked for {key}"));
        let claim = Claim { name: name(ORG, &key), digest: [0; 32] };
        let keep = Keep { claim, show: Box::new(|_: &Vec<Result<Answer, Refused>>| Some(Shown::empty(200))) };
        Some(tokio::spawn(async move { heard(queue.judge(vec![event]).keeping(Some(keep)).await) }))
    }

    fn event(&mut self) -> String {
        let task = self.random.of(&["t", "u"]);
        let amount = self.random.of(&[
            "",
            r#","amount":1"#,
            r#","amount":300"#,
            r#","amount":600"#,
            r#","amount":1000"#,
        ]);
        match self.random.one_in(4) {
            true => {
                format!(r#"{{"event":"log","task":"{task}","step_type":"step.exec","input":"{SECRET}"}}"#)
            }
            false => {
                format!(
                    r#"{{"event":"intent","task":"{task}","action":"pay"{amount},"payload":{{"note":"{SECRET}"}}}}"#
                )
            }
        }
    }

    fn register(&mut self, place: usize, name: &'static str) -> JoinHandle<Heard> {
        let queue = self.servers[place].as_ref().map(|server| Arc::clone(&server.queue));
        let purpose = Some(format!("{SECRET} {}", self.random.below(1_000)));
        let registration = Registration {
            key: name.to_owned(),
            profile: Profile { purpose, ..Profile::default() },
            declared: true,
            caller: owner(),
            source: "simulation",
        };
        self.tell(|| format!("server {place} registers {name}"));
        tokio::spawn(async move {
            let Some(queue) = queue else { return Heard::Refused };
            match queue.register(registration).await {
                Ok(Ok(registered)) => Heard::Decisions(
                    registered
                        .judged
                        .iter()
                        .map(|judged| Acknowledged {
                            id: judged.id,
                            seq: judged.seq,
                            outcome: judged.decision.decision.name(),
                        })
                        .collect(),
                ),
                Ok(Err(_)) => Heard::Refused,
                Err(_) => Heard::Failed,
            }
        })
    }

    /// Other policies, with their memories filled afterwards.
    fn swap(&mut self, place: usize) -> JoinHandle<Heard> {
        let which = self.random.below(SOURCES.len() as u64) as usize;
        let server = self.servers[place].as_ref().expect("it was looked for");
        let (queue, past, based_on) =
            (Arc::clone(&server.queue), server.past.clone(), server.view.policies());
        let next = Policy::clone(&policy(which, based_on[0].version + 1));
        self.ran.swaps += 1;
        self.tell(|| format!("server {place} swaps for policy {which}"));
        tokio::spawn(async move {
            let next = Arc::new(next);
            let policies = Arc::new(vec![Arc::clone(&next)]);
            let generation = generation(&policies);
            let change = PolicyChange {
                what: "updated",
                name: "p".to_owned(),
                based_on,
                policies,
                generation: Arc::clone(&generation),
                change: Change::Policy { policy: next, new_source_by: None },
                filled: None,
            };
            let in_force = match queue.change_policies(change, "simulation".to_owned()).await {
                Ok(Ok(in_force)) => in_force,
                Ok(Err(_)) => return Heard::Refused,
                Err(_) => return Heard::Failed,
            };
            if !in_force.filling.is_empty() {
                // Others decide meanwhile.
                for _ in 0..20 {
                    yield_now().await;
                }
                if let Ok(Some(filled)) = fill(&past, &queue, &generation).await {
                    queue.activate(filled).await;
                }
            }
            Heard::Done
        })
    }

    fn change_keys(&mut self, place: usize) -> JoinHandle<Heard> {
        let server = self.servers[place].as_ref().expect("it was looked for");
        let queue = Arc::clone(&server.queue);
        let known = server.keys.of(ORG);
        let number = self.random.0;
        let revoked = if self.random.one_in(2) { known.first().map(|key| key.id) } else { None };
        self.tell(|| format!("server {place} changes keys"));
        tokio::spawn(async move {
            let actor = "simulation".to_owned();
            let done = match revoked {
                Some(id) => queue.revoke_key(id, actor).await,
                None => {
                    let mut hash = [0; 32];
                    hash[..8].copy_from_slice(&number.to_le_bytes());
                    let (id, name) = (Uuid::from_u64_pair(number, number), || SECRET.to_owned());
                    let key = ApiKey::new(id, ORG, Uuid::nil(), name(), name(), None, hash, 0, None);
                    queue.add_key(Arc::new(key), actor).await.map(drop)
                }
            };
            if done.is_ok() { Heard::Done } else { Heard::Failed }
        })
    }

    fn move_incident(&mut self, place: usize) -> Option<JoinHandle<Heard>> {
        let incidents: Vec<_> = {
            let kept = self.world.kept();
            let mut incidents: Vec<_> =
                kept.incidents.values().map(|one| (one.witnesses.len(), one.id, one.status)).collect();
            // Ids are new in each run.
            incidents.sort_by_key(|(hits, ..)| *hits);
            incidents
        };
        let (_, id, status) = *incidents.first()?;
        let to = self.random.of(&["acknowledged", "resolved", "ignored", "open"]);
        let to = Status::named(to).filter(|to| status.may_become(*to) || *to == status)?;
        let queue = Arc::clone(&self.servers[place].as_ref()?.queue);
        Some(tokio::spawn(async move {
            match queue.change_incident(id, to, "simulation".to_owned()).await {
                Ok(Ok(_)) => Heard::Done,
                Ok(Err(_)) => Heard::Refused,
                Err(_) => Heard::Failed,
            }
        }))
    }

    /// Lets all of it happen at once, and looks whether what is kept is as promised.
    async fn let_happen(&mut self, happening: Vec<JoinHandle<Heard>>) -> Result<(), String> {
        let begun = Instant::now();
        while !happening.iter().all(JoinHandle::is_finished) {
            yield_now().await;
            if self.bury().await {
                // What runs in a server that is gone is gone with it; who waits for an answer hears that there is none.
                for _ in 0..100 {
                    yield_now().await;
                }
                happening.iter().for_each(|waiting| waiting.abort());
            }
            if begun.elapsed() > STUCK {
                return Err("nothing happens any more".to_owned());
            }
        }
        for done in happening {
            let heard = match done.await {
                Ok(heard) => heard,
                Err(error) if error.is_cancelled() => Heard::Failed,
                Err(error) => return Err(format!("a caller's task: {error}")),
            };
            self.tell(|| format!("  {heard:?}"));
            match heard {
                Heard::Decisions(decisions) => {
                    self.ran.acknowledged += decisions.len() as u64;
                    self.ran.denied += decisions.iter().filter(|one| one.outcome == "deny").count() as u64;
                    self.acknowledged.extend(decisions);
                }
                Heard::Failed => self.ran.failed += 1,
                Heard::Done | Heard::Refused => {}
            }
        }
        self.bury().await;
        self.check()
    }

    /// Servers that crashed, or gave up, are gone. Whether there was one.
    async fn bury(&mut self) -> bool {
        let mut buried = false;
        for place in 0..self.servers.len() {
            if let Some(server) = &self.servers[place] {
                self.ran.lost_answers += server.reach.take_lost_answers();
            }
            if let Some(server) = self.servers[place].take_if(|server| !server.is_up()) {
                self.ran.crashes += u64::from(server.reach.has_crashed());
                self.tell(|| format!("server {place} is gone"));
                server.end().await;
                buried = true;
            }
        }
        buried
    }

    fn check(&mut self) -> Result<(), String> {
        let Some(past) = self.servers.iter().flatten().map(|server| server.past.clone()).next() else {
            return Ok(());
        };
        let kept = self.world.kept();
        self.promises.check(&kept, &past)?;
        Promises::durable(&self.acknowledged, &kept)
    }

    /// In the end nothing goes wrong any more: all servers are up, know everything and would decide the same.
    async fn agree(&mut self) -> Result<(), String> {
        for server in self.servers.iter().flatten() {
            server.reach.let_fail(u32::MAX, Fault::Fails);
        }
        self.start_those_down(1).await?;
        for server in self.servers.iter().flatten() {
            server.queue.follow();
            let begun = Instant::now();
            while server.view.next_seq() != self.world.kept().head.next_seq {
                yield_now().await;
                if begun.elapsed() > STUCK {
                    return Err("a well server does not follow".to_owned());
                }
            }
        }
        for agent in ["a", "b"] {
            let mut decisions = Vec::new();
            for server in self.servers.iter().flatten() {
                let Some(known) = server.view.directory.find(agent) else {
                    return Err(format!("{agent} is unknown"));
                };
                let event =
                    typed(&known.agent, r#"{"event":"intent","task":"t","action":"pay","amount":150}"#);
                let at_us = self.world.kept().head.at_us;
                let decided = server.queue.would_decide(vec![(event, Some(at_us))]).await;
                let decided = decided.map_err(|error| format!("a well server says: {error}"))?;
                let rules: Vec<_> =
                    decided[0].rules.iter().map(|rule| (rule.rule.clone(), rule.truth)).collect();
                decisions.push((decided[0].decision, decided[0].policy_set.clone(), rules));
            }
            if decisions.windows(2).any(|pair| pair[0] != pair[1]) {
                return Err(format!("servers disagree about {agent}: {decisions:?}"));
            }
        }
        self.check()
    }

    fn tell(&self, what: impl FnOnce() -> String) {
        if self.tells {
            crate::note(&what());
        }
    }
}
