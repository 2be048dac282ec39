//! The path of one decision, on the thread of its request: event, payload, queue, answer.
//!
//! Everything that costs time and needs no order happens here; the sequencer only puts it in its place.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use lictor_engine::decision::Decision;
use lictor_engine::event::{Event, FieldError, Origin};
use lictor_engine::memory::Memories;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::accounts::Caller;
use crate::agents::Known;
use crate::app::{App, Org};
use crate::draft::{Answer, Prepared, Refused, judge, payload};
use crate::http::members::members;
use crate::ids;
use crate::intents::Declaration;
use crate::retries::Keep;
use crate::sequencer::Unavailable;

/// The longest JSON text of one field of an event, in bytes.
pub const MAX_FIELD_BYTES: usize = 64 * 1024;

/// Why an event was not judged. Nothing was stored.
#[derive(Debug, thiserror::Error)]
pub enum PdpError {
    /// The sequencer refused it.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Nobody can decide now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// An event as it came, and who sent it.
#[derive(Debug, Clone, Copy)]
pub struct Incoming<'a> {
    /// Who sent it.
    pub caller: &'a Caller,
    /// The API that took it.
    pub source: &'static str,
    /// The event's JSON.
    pub json: &'a [u8],
}

/// Decodes an event, with the server's word on everything attested.
pub fn decode(org: &Org, incoming: Incoming<'_>, agent: &Known) -> Result<Event, Refused> {
    let mut id = Uuid::encode_buffer();
    let id = &*org.view.id.hyphenated().encode_lower(&mut id);
    let origin = Origin::Server { org: id, source: incoming.source, agent: &agent.facts };
    // What is too long is not read to its end.
    let too_long = too_long(incoming.json);
    if let Ok(errors) = &too_long
        && !errors.is_empty()
    {
        return Err(Refused::Invalid(errors.clone()));
    }
    let event = Event::decode(incoming.json, origin).map_err(|invalid| Refused::Invalid(invalid.errors))?;
    // What could be read and not be looked through is refused as well.
    too_long.map_err(|error| Refused::Invalid(vec![invalid("", &error.to_string())]))?;
    Ok(event)
}

/// Makes an event ready for the sequencer.
pub fn prepare(
    app: &App,
    org: &Org,
    incoming: Incoming<'_>,
    agent: &Known,
    declaration: Option<Declaration>,
) -> Result<Prepared, Refused> {
    let event = decode(org, incoming, agent)?;
    let id = ids::new();
    let payload = payload(agent.json.as_deref().ok_or(Refused::Unsealable)?, incoming.json);
    let sealed = app.vault.seal(org.view.id, id, &payload).map_err(|_| Refused::Unsealable)?;
    let (source, caller, agent) = (incoming.source, incoming.caller.clone(), Arc::clone(&agent.agent));
    let actor = caller.actor();
    Ok(Prepared { id, event, source, agent, caller, actor, sealed, declaration })
}

/// Judges one event and records the decision; answers when it is durable.
pub async fn decide(org: &Org, prepared: Prepared) -> Result<Answer, PdpError> {
    decide_once(org, prepared, None).await
}

/// The same, with the answer kept, if the same may be asked again.
pub async fn decide_once(
    org: &Org,
    prepared: Prepared,
    keep: Option<Keep<Vec<Result<Answer, Refused>>>>,
) -> Result<Answer, PdpError> {
    let answers = org.queue.judge(vec![prepared]).keeping(keep).await?;
    Ok(answers.into_iter().next().ok_or(Unavailable::NotDurable)??)
}

/// Judges an event, at this time or at its own, and records nothing. On this thread, unless a rule asks what happened
/// before.
pub async fn dry_run(org: &Org, event: Event, at_us: Option<i64>) -> Result<Decision, Unavailable> {
    let decisions = dry_runs(org, [(event, at_us)]).await?;
    decisions.into_iter().next().ok_or(Unavailable::Stopping)
}

/// Judges events, each at this time or at its own, and records nothing. On this thread, unless a rule asks what
/// happened before.
pub async fn dry_runs(
    org: &Org,
    events: impl IntoIterator<Item = (Event, Option<i64>)>,
) -> Result<Vec<Decision>, Unavailable> {
    let in_force = org.view.in_force();
    if in_force.generation.remembers() {
        return org.queue.would_decide(events.into_iter().collect()).await;
    }
    let decide = |(mut event, at_us): (Event, Option<i64>)| {
        if let Some(at_us) = at_us {
            event.set_at(at_us);
        }
        judge(&in_force, &NOTHING, &event)
    };
    Ok(events.into_iter().map(decide).collect())
}

/// What is remembered where no rule asks.
static NOTHING: LazyLock<Memories> = LazyLock::new(Memories::default);

/// Every field of an event that is longer than a field may be.
fn too_long(json: &[u8]) -> serde_json::Result<Vec<FieldError>> {
    if json.len() <= MAX_FIELD_BYTES {
        return Ok(Vec::new());
    }
    let members: Vec<(Cow<'_, str>, &RawValue)> = members(serde_json::from_slice(json)?)?;
    let too_long = members.iter().filter(|(_, value)| value.get().len() > MAX_FIELD_BYTES);
    Ok(too_long.map(|(name, _)| invalid(name, "is longer than 64 KiB")).collect())
}

fn invalid(field: &str, message: &str) -> FieldError {
    FieldError { field: field.to_owned(), message: message.to_owned() }
}
