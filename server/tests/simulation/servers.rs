//! A server of the world: what it begins from, and how it ends.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock, RwLock};

use lictor_engine::event::{Event, Origin};
use lictor_engine::generation::Generation;
use lictor_engine::memory::Memories;
use lictor_server::accounts::Caller;
use lictor_server::accounts::keys::Keyring;
use lictor_server::agents::{Agent, Directory};
use lictor_server::clock::Clock;
use lictor_server::db::Store;
use lictor_server::draft::{Draft, Memory, Prepared, View, payload};
use lictor_server::incidents::{Incident, Open};
use lictor_server::ledger::Head;
use lictor_server::memory::{Past, PastError};
use lictor_server::metrics::Metrics;
use lictor_server::policies::{InForce, Policy};
use lictor_server::rollout::compile;
use lictor_server::sequencer::{Parts, Queue, start};
use lictor_server::vault::Vault;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::store::{ORG, Reach, World, copy};

/// The clock of the world, which goes as the seed says.
#[derive(Debug)]
pub(crate) struct Hand(pub(crate) AtomicI64);

impl Clock for Hand {
    fn now_us(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// What policies are swapped for: without memory, with some, with other thresholds on the same, with others.
pub(crate) const SOURCES: [&str; 5] = [
    "policy p {}\ndefault on intent allow\nrule large on intent { when amount > 900 deny }",
    "policy p {}\ndefault on intent allow\n\
     rule many on intent { when count(intent per agent.id within 10s) >= 3 deny incident high }\n\
     rule steps on log { when count(log per task) >= 4 warn incident low per task }",
    "policy p {}\ndefault on intent allow\n\
     rule many on intent { when count(intent per agent.id within 10s) >= 2 deny incident high }\n\
     rule steps on log { when count(log per task) >= 3 warn incident low per task }",
    "policy p {}\ndefault on intent allow\n\
     rule spent on intent { when sum(intent.amount per agent.id within 1m) > 700 deny }\n\
     rule refused on intent { when streak(attempted intent where amount > 500 per agent.id) >= 2 warn incident medium }",
    "policy p {}\ndefault on intent deny\nrule small on intent { when amount? < 100 allow }\n\
     rule after on log { when seen(intent where amount > 500 since log per agent.id) warn }",
];

/// Their generations, compiled once for all worlds.
static GENERATIONS: LazyLock<Vec<Arc<Generation>>> = LazyLock::new(|| {
    let generation = |which| Arc::new(compile(&[policy(which, 1)]).unwrap());
    (0..SOURCES.len()).map(generation).collect()
});

/// The policy of the world from one of its sources.
pub(crate) fn policy(which: usize, version: i64) -> Arc<Policy> {
    Arc::new(Policy {
        id: Uuid::from_u128(7),
        name: "p".to_owned(),
        title: "p".to_owned(),
        enabled: true,
        shadow: false,
        shadow_by_header: false,
        version,
        revision: version,
        source: Arc::from(SOURCES[which]),
        created_at_us: 0,
        updated_at_us: version,
    })
}

/// The generation of policies that the world knows.
pub(crate) fn generation(policies: &[Arc<Policy>]) -> Arc<Generation> {
    let which = SOURCES.iter().position(|source| *source == &*policies[0].source).unwrap();
    Arc::clone(&GENERATIONS[which])
}

/// A server that runs.
pub(crate) struct Server {
    pub(crate) reach: Arc<Reach>,
    pub(crate) view: Arc<View>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) keys: Arc<Keyring>,
    pub(crate) past: Past,
    vault: Arc<Vault>,
    task: JoinHandle<Option<Memory>>,
}

impl Server {
    /// Starts one on what is kept.
    pub(crate) async fn start(
        world: &Arc<World>,
        clock: &Arc<Hand>,
        vault: &Arc<Vault>,
    ) -> Result<Server, PastError> {
        let reach = Reach::new(world);
        let store = Arc::clone(&reach) as Arc<dyn Store>;
        let past = Past::new(Arc::clone(&store), Arc::clone(vault), ORG);
        let turn = store.turn(ORG).await?;
        let (view, keys, mut memory) = read(world);
        if view.in_force().generation.remembers() {
            let generation = Arc::clone(&view.in_force().generation);
            memory.memories = past.fold(&generation, memory.memories, 0..memory.head.next_seq).await?;
        } else if memory.head != Head::EMPTY {
            memory.memories.pass(memory.head.at_us);
        }
        if !view.in_force().filling.is_empty() {
            let mut draft = Draft::new(&view, &mut memory, vault);
            draft.activate(clock.now_us(), Memories::default());
            let (batch, new) = draft.finish();
            store.commit(turn, batch.unwrap()).await?;
            new.publish(&view, &keys, &mut memory);
        }
        let (view, keys) = (Arc::new(view), Arc::new(keys));
        let parts = Parts {
            view: Arc::clone(&view),
            keys: Arc::clone(&keys),
            store,
            clock: Arc::clone(clock) as Arc<dyn Clock>,
            vault: Arc::clone(vault),
            metrics: Arc::new(Metrics::new([])),
            compile: Box::new(|policies| Box::pin(async move { Ok(generation(&policies)) })),
        };
        let (queue, task) = start(parts, memory);
        Ok(Server { reach, view, queue: Arc::new(queue), keys, past, vault: Arc::clone(vault), task })
    }

    /// Ends it at once: whatever it was doing is cut off where it waits.
    pub(crate) async fn end(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    /// Whether it does anything.
    pub(crate) fn is_up(&self) -> bool {
        !self.reach.has_crashed() && self.queue.is_served()
    }

    /// An event of an agent that it knows, ready to be judged.
    pub(crate) fn event(&self, agent: &Arc<Agent>, json: &str, caller: &Caller) -> Prepared {
        let id = Uuid::now_v7();
        let payload = payload(&agent.to_json().unwrap(), json.as_bytes());
        let sealed = self.vault.seal(ORG, id, &payload).unwrap();
        let (event, agent) = (typed(agent, json), Arc::clone(agent));
        Prepared {
            id,
            event,
            source: "simulation",
            agent,
            caller: caller.clone(),
            actor: caller.actor(),
            sealed,
            declaration: None,
        }
    }
}

/// The typed event of an agent.
pub(crate) fn typed(agent: &Agent, json: &str) -> Event {
    let (facts, org) = (agent.facts(), ORG.to_string());
    Event::decode(json.as_bytes(), Origin::Server { org: &org, source: "simulation", agent: &facts }).unwrap()
}

/// What a server begins from.
fn read(world: &World) -> (View, Keyring, Memory) {
    let kept = world.kept();
    let policies = Arc::new(kept.policies.clone());
    let generation = generation(&policies);
    let memories = Memories::new(&generation);
    let mut incidents = Open::default();
    kept.incidents.values().for_each(|incident| incidents.put(Arc::new(Incident::clone(incident))));
    let view = View {
        id: ORG,
        name: "simulation".to_owned(),
        created_at_us: 0,
        directory: Directory::new(kept.agents.values().map(|agent| Agent::clone(agent)).collect()),
        in_force: RwLock::new(Arc::new(InForce::new(policies, generation, kept.filling.clone()))),
        next_seq: AtomicI64::new(kept.head.next_seq),
    };
    let keys = Keyring::new(kept.keys.values().map(|key| copy(key)).collect());
    let memory = Memory { head: kept.head, incidents, tasks: HashMap::new(), memories };
    (view, keys, memory)
}
