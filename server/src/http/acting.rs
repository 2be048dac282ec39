//! Which agent a caller acts for.

use std::sync::Arc;

use uuid::Uuid;

use super::platform::agents::check_agent_key;
use super::problem::Problem;
use crate::accounts::Caller;
use crate::agents::{Agent, Known, Profile};
use crate::app::Org;
use crate::draft::Refused;
use crate::registration::Registration;

/// The agent with this id or name, if the caller may act for it. A name that nobody has yet makes a new agent.
#[derive(Debug)]
pub enum Acting {
    /// It is there.
    Known(Arc<Known>),
    /// It would be registered under this name, as one that nobody declared.
    New(Box<Known>),
}

impl Acting {
    /// Finds the agent that `field` names.
    pub fn find(org: &Org, caller: &Caller, field: &str, name: &str) -> Result<Acting, Problem> {
        match org.view.directory.find(name) {
            Some(agent) if agent.obeys(caller) => Ok(Acting::Known(agent)),
            Some(_) => Err(not_yours(field)),
            None if Uuid::parse_str(name).is_ok() => Err(Problem::not_found("agent")),
            None => {
                check_agent_key(name).map_err(|detail| Problem::field(field, detail))?;
                let is_bound = matches!(caller, Caller::Key(key) if key.agent.is_some());
                if is_bound {
                    return Err(not_yours(field));
                }
                let agent = Agent::undeclared(Uuid::now_v7(), name);
                Ok(Acting::New(Box::new(Known::new(Arc::new(agent)))))
            }
        }
    }

    /// The agent as it is, or would be.
    pub fn agent(&self) -> &Known {
        match self {
            Acting::Known(agent) => agent,
            Acting::New(agent) => agent,
        }
    }

    /// The agent, registered if it was not. Only for what passed every check: this is stored.
    pub async fn settle(
        self,
        org: &Org,
        caller: &Caller,
        source: &'static str,
        field: &str,
    ) -> Result<Arc<Known>, Problem> {
        let new = match self {
            Acting::Known(agent) => return Ok(agent),
            Acting::New(agent) => agent,
        };
        let (key, profile) = (new.key.clone(), Profile::default());
        let registration = Registration { key, profile, declared: false, caller: caller.clone(), source };
        match org.queue.register(registration).await? {
            Ok(registered) if registered.agent.obeys(caller) => Ok(Arc::new(Known::new(registered.agent))),
            Ok(_) => Err(not_yours(field)),
            Err(Refused::Taken) => Err(not_yours(field)),
            Err(error) => Err(error.into()),
        }
    }
}

fn not_yours(field: &str) -> Problem {
    Problem::contradicts(field, "this API key does not act for that agent")
}
