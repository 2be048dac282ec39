//! Agents: who is registered, under which name, by whom, and what the server vouches for about them.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, PoisonError, RwLock};

use lictor_dsl::number::Number;
use lictor_engine::event::AgentFacts;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::accounts::Caller;

/// What a registration says about an agent.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "named like the members of a registration, which the API documents")]
pub struct Profile {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maintainer_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub risk_classification: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    #[serde(default)]
    pub declared_tools: Vec<String>,
    #[serde(default)]
    pub tags: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Box<RawValue>>,
}

/// Why an agent may not act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inactive {
    /// A policy denied its registration; an allowed one lifts it.
    Denied,
}

impl Inactive {
    /// The word in the database and in answers.
    pub fn name(self) -> &'static str {
        match self {
            Inactive::Denied => "denied",
        }
    }

    /// The cause with this name.
    pub fn named(name: &str) -> Option<Inactive> {
        (name == Inactive::Denied.name()).then_some(Inactive::Denied)
    }
}

/// One registered agent.
#[derive(Debug, Clone)]
pub struct Agent {
    /// Its id.
    pub id: Uuid,
    /// The name its developer chose, unique in the org.
    pub key: String,
    /// The account that it belongs to; none before somebody registers it.
    pub account: Option<Uuid>,
    /// The API key that registered it; none if a person did.
    pub api_key: Option<Uuid>,
    /// What its registration says.
    pub profile: Profile,
    /// Whether it was registered, or only seen.
    pub declared: bool,
    /// Why it may not act.
    pub inactive: Option<Inactive>,
    /// What the policy said when it was made inactive.
    pub reason: Option<String>,
    /// Counts its changes.
    pub revision: i64,
    /// When it was first seen.
    pub registered_at_us: i64,
    /// When it was last changed.
    pub updated_at_us: i64,
}

impl Agent {
    /// An agent that nobody registered, seen under this name.
    pub fn undeclared(id: Uuid, key: &str) -> Agent {
        Agent {
            id,
            key: key.to_owned(),
            account: None,
            api_key: None,
            profile: Profile::default(),
            declared: false,
            inactive: None,
            reason: None,
            revision: 0,
            registered_at_us: 0,
            updated_at_us: 0,
        }
    }

    /// What a policy may read of it.
    pub fn facts(&self) -> AgentFacts {
        let profile = &self.profile;
        AgentFacts {
            id: self.id.to_string(),
            name: profile.name.clone().unwrap_or_else(|| self.key.clone()),
            owner: profile.owner_id.clone(),
            kind: "autonomous".to_owned(),
            status: if self.inactive.is_some() { "inactive" } else { "active" }.to_owned(),
            environment: profile.environment.clone(),
            purpose: profile.purpose.clone(),
            risk_class: profile.risk_classification.clone(),
            tags: profile.tags.clone(),
            manifest_tools: profile.declared_tools.clone(),
            manifest_destinations: Vec::new(),
            trust: Number::from_billionths(500_000_000),
            registered_at_us: self.registered_at_us,
            declared: self.declared,
            paused: false,
            metadata: profile.metadata.as_ref().map(|json| json.get().to_owned()),
        }
    }

    /// The whole agent as JSON: what a registration calls `previous`, and what is kept beside each judged event.
    pub fn to_json(&self) -> serde_json::Result<String> {
        #[derive(Serialize)]
        struct Shape<'a> {
            agent_id: Uuid,
            agent_key: &'a str,
            #[serde(flatten)]
            profile: &'a Profile,
            declared: bool,
            is_active: bool,
            registered_at_us: i64,
        }
        serde_json::to_string(&Shape {
            agent_id: self.id,
            agent_key: &self.key,
            profile: &self.profile,
            declared: self.declared,
            is_active: self.inactive.is_none(),
            registered_at_us: self.registered_at_us,
        })
    }

    /// Whether this caller may act for the agent.
    pub fn obeys(&self, caller: &Caller) -> bool {
        match caller {
            Caller::Person(_) => true,
            Caller::Key(key) => match key.agent {
                Some(bound) => bound == self.id,
                None => match self.api_key {
                    Some(registrar) => registrar == key.id,
                    None => self.account.is_none_or(|account| account == key.account),
                },
            },
        }
    }
}

/// What a policy may read of an agent, from what [`Agent::to_json`] kept.
pub fn facts_from_json(json: &str) -> serde_json::Result<AgentFacts> {
    #[derive(Deserialize)]
    struct Kept {
        agent_id: Uuid,
        agent_key: String,
        declared: bool,
        is_active: bool,
        registered_at_us: i64,
    }
    let (kept, profile): (Kept, Profile) = (serde_json::from_str(json)?, serde_json::from_str(json)?);
    let agent = Agent {
        profile,
        declared: kept.declared,
        inactive: (!kept.is_active).then_some(Inactive::Denied),
        registered_at_us: kept.registered_at_us,
        ..Agent::undeclared(kept.agent_id, &kept.agent_key)
    };
    Ok(agent.facts())
}

/// Whether a caller may register an agent that exists already.
pub fn may_take_over(agent: &Agent, caller: &Caller, registrar_is_live: bool) -> bool {
    let account_agrees = agent.account.is_none_or(|account| account == caller.account());
    match caller {
        Caller::Person(_) => true,
        // A person made it for this agent, who may do the same: it outlives whoever registered the agent.
        Caller::Key(key) if key.agent.is_some() => key.agent == Some(agent.id),
        Caller::Key(key) => agent.api_key == Some(key.id) || (account_agrees && !registrar_is_live),
    }
}

/// An agent with what every event of it needs, made once.
#[derive(Debug)]
pub struct Known {
    /// The agent.
    pub agent: Arc<Agent>,
    /// What a policy may read of it.
    pub facts: AgentFacts,
    /// What is kept of it beside each judged event; none if it can't be written as JSON.
    pub json: Option<String>,
}

impl Known {
    /// An agent as it is now.
    pub fn new(agent: Arc<Agent>) -> Known {
        let (facts, json) = (agent.facts(), agent.to_json().ok());
        Known { agent, facts, json }
    }
}

impl Deref for Known {
    type Target = Agent;

    fn deref(&self) -> &Agent {
        &self.agent
    }
}

/// All agents of an org, as of the last committed batch.
#[derive(Debug, Default)]
pub struct Directory(RwLock<Names>);

#[derive(Debug, Default)]
struct Names {
    by_id: HashMap<Uuid, Arc<Known>>,
    by_key: HashMap<String, Uuid>,
}

impl Directory {
    /// A directory of these agents.
    pub fn new(agents: Vec<Agent>) -> Directory {
        let directory = Directory::default();
        for agent in agents {
            directory.put(Arc::new(agent));
        }
        directory
    }

    /// The agent with this id, or else with this name.
    pub fn find(&self, name: &str) -> Option<Arc<Known>> {
        let names = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let id = match Uuid::parse_str(name) {
            Ok(id) => id,
            Err(_) => *names.by_key.get(name)?,
        };
        names.by_id.get(&id).cloned()
    }

    /// The agent with this id.
    pub fn by_id(&self, id: Uuid) -> Option<Arc<Agent>> {
        let names = self.0.read().unwrap_or_else(PoisonError::into_inner);
        names.by_id.get(&id).map(|known| Arc::clone(&known.agent))
    }

    /// Every agent, oldest first.
    pub fn all(&self) -> Vec<Arc<Agent>> {
        let names = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut agents: Vec<_> = names.by_id.values().map(|known| Arc::clone(&known.agent)).collect();
        agents.sort_unstable_by_key(|agent| agent.id);
        agents
    }

    /// Adds or replaces an agent. Only for what is committed.
    pub fn put(&self, agent: Arc<Agent>) {
        let known = Arc::new(Known::new(agent));
        let mut names = self.0.write().unwrap_or_else(PoisonError::into_inner);
        names.by_key.insert(known.key.clone(), known.id);
        names.by_id.insert(known.id, known);
    }
}
