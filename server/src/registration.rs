//! Registering an agent: who may, what the agent becomes, and the event that the policies judge.

use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::accounts::Caller;
use crate::agents::{Agent, Profile, may_take_over};
use crate::draft::{Judged, Refused};

/// A registration to be judged.
#[derive(Debug)]
pub struct Registration {
    /// The name of the agent.
    pub key: String,
    /// What is said about it.
    pub profile: Profile,
    /// Whether it was registered, or only seen under its name.
    pub declared: bool,
    /// Who registers it.
    pub caller: Caller,
    /// The API that took it.
    pub source: &'static str,
}

/// What became of a registration.
#[derive(Debug)]
pub struct Registered {
    /// The agent as it is now.
    pub agent: Arc<Agent>,
    /// Whether it is new.
    pub created: bool,
    /// What the policies said; none for an agent that was there already and was only seen again.
    pub judged: Option<Judged>,
}

impl Registration {
    /// The agent that this makes of the previous one, and the event as JSON.
    pub fn outcome(
        &self,
        previous: Option<&Agent>,
        registrar_is_live: bool,
        at_us: i64,
    ) -> Result<(Agent, String), Refused> {
        let agent = match previous {
            Some(previous) if !may_take_over(previous, &self.caller, registrar_is_live) => {
                return Err(Refused::Taken);
            }
            Some(previous) => Agent { revision: previous.revision + 1, ..previous.clone() },
            None => Agent { registered_at_us: at_us, ..Agent::undeclared(Uuid::now_v7(), &self.key) },
        };
        let mut profile = self.profile.clone();
        if let (Caller::Key(_), Some(previous)) = (&self.caller, previous) {
            // Tags are a person's word about an agent; the agent itself can't change them.
            profile.tags.clone_from(&previous.profile.tags);
        }
        // Neither a person who changes a registration nor a key that is bound to the agent takes it away from the key
        // that registered it.
        let keeps_owner = match &self.caller {
            Caller::Person(_) => true,
            Caller::Key(key) => key.agent.is_some(),
        };
        let (account, api_key) = match agent.account {
            Some(account) if keeps_owner => (account, agent.api_key),
            _ => (self.caller.account(), self.caller.key_id()),
        };
        let account = Some(account);
        let agent =
            Agent { profile, declared: self.declared, account, api_key, updated_at_us: at_us, ..agent };
        Ok((agent, self.event(previous)?))
    }

    fn event(&self, previous: Option<&Agent>) -> Result<String, Refused> {
        #[derive(Serialize)]
        struct Shape<'a> {
            event: &'static str,
            change: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            previous: Option<&'a RawValue>,
            agent: Claimed<'a>,
        }
        #[derive(Serialize)]
        struct Claimed<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            purpose: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            metadata: Option<&'a RawValue>,
        }
        let previous = previous.map(Agent::to_json).transpose().map_err(|_| Refused::Unsealable)?;
        let previous = previous.map(RawValue::from_string).transpose().map_err(|_| Refused::Unsealable)?;
        let change = match (previous.is_some(), self.declared) {
            (true, _) => "updated",
            (false, true) => "created",
            (false, false) => "seen",
        };
        let claimed =
            Claimed { purpose: self.profile.purpose.as_deref(), metadata: self.profile.metadata.as_deref() };
        let shape = Shape { event: "registration", change, previous: previous.as_deref(), agent: claimed };
        serde_json::to_string(&shape).map_err(|_| Refused::Unsealable)
    }
}
