//! What was true when a request came in, and may not be any more when its turn comes.

use lictor_engine::event::{Event, Origin};
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{Draft, Prepared, Refused};
use crate::accounts::keys::Keyring;

impl Draft<'_> {
    /// Whether a key is good, after what this batch does to keys.
    pub fn is_good(&self, keys: &Keyring, key: Uuid) -> bool {
        let is_new = || self.new.keys.iter().any(|new| new.id == key);
        !self.new.revoked.contains(&key) && (keys.by_id(self.view.id, key).is_some() || is_new())
    }

    /// The event with its agent as it is now. Where the agent changed since the event was made ready, it is made ready
    /// once more, from what was sealed of it.
    pub(super) fn up_to_date(&self, mut prepared: Prepared) -> Result<Prepared, Refused> {
        let Some(agent) = self.agent(prepared.agent.id) else { return Ok(prepared) };
        if agent.revision == prepared.agent.revision {
            prepared.agent = agent;
            return Ok(prepared);
        }
        if !agent.obeys(&prepared.caller) {
            return Err(Refused::Taken);
        }
        let (id, sealed) = (prepared.id, &prepared.sealed);
        let payload = self.vault.unseal(self.view.id, id, &sealed.wrapped_key, &sealed.ciphertext);
        let payload = payload.map_err(|_| Refused::Unsealable)?;
        let Payload { event: json } = serde_json::from_slice(&payload).map_err(|_| Refused::Unsealable)?;
        let (org, facts) = (self.view.id.to_string(), agent.facts());
        let origin = Origin::Server { org: &org, source: prepared.source, agent: &facts };
        let event = Event::decode(json.get().as_bytes(), origin);
        let event = event.map_err(|invalid| Refused::Invalid(invalid.errors))?;
        let sealed = self.seal(id, &agent, json.get().as_bytes())?;
        Ok(Prepared { agent, event, sealed, ..prepared })
    }
}

/// What is kept, encrypted, of an event.
#[derive(Deserialize)]
struct Payload<'a> {
    #[serde(borrow)]
    event: &'a RawValue,
}
