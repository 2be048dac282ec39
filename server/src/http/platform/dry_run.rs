//! A person's dry run: an event that may bring its own attested fields, and gets from the server what it leaves out.

use std::collections::BTreeMap;

use lictor_dsl::events::{FIELDS, Trust};
use lictor_engine::event::AgentFacts;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use super::super::members::members;
use super::super::problem::Problem;
use super::super::values::Decimal;
use crate::app::Org;
use crate::clock::rfc3339;

/// Whether the event says more than the agent's id of what the server would vouch for.
pub fn brings_attested_fields(event: &RawValue) -> bool {
    let Ok(tree) = serde_json::from_str::<Value>(event.get()) else { return false };
    let attested = FIELDS.iter().filter(|field| field.trust == Trust::Attested && field.name != "agent.id");
    attested
        .map(|field| format!("/{}", field.name.replace('.', "/")))
        .any(|place| tree.pointer(&place).is_some())
}

/// The event, with the server's word on what it does not say itself. `agent` is the name of its agent.
pub fn filled(
    org: &Org,
    source: &str,
    agent: &str,
    event: &RawValue,
    now_us: i64,
) -> Result<String, Problem> {
    let mut whole = BTreeMap::from([
        ("at".to_owned(), raw(&rfc3339(now_us))?),
        ("org".to_owned(), raw(&org.view.id)?),
        ("source".to_owned(), raw(&source)?),
    ]);
    let said = parts(event)?;
    if let (Some(known), Some(agent)) = (org.view.directory.find(agent), said.get("agent")) {
        let facts = raw(&Facts::new(&known.facts)?)?;
        let mut merged = parts(&facts)?;
        merged.extend(parts(agent)?.into_iter().filter(|(name, _)| name != "id"));
        whole.extend(said.iter().map(|(name, value)| (name.clone(), value.clone())));
        whole.insert("agent".to_owned(), raw(&merged)?);
    } else {
        whole.extend(said);
    }
    serde_json::to_string(&whole).map_err(|_| Problem::internal())
}

fn parts(object: &RawValue) -> Result<BTreeMap<String, Box<RawValue>>, Problem> {
    let members = members(object).map_err(|_| Problem::field("", "must be an object"))?;
    Ok(members.into_iter().map(|(name, value)| (name.into_owned(), value.to_owned())).collect())
}

fn raw(value: &impl Serialize) -> Result<Box<RawValue>, Problem> {
    to_raw_value(value).map_err(|_| Problem::internal())
}

/// What the registry knows of an agent, as an event says it.
#[derive(Serialize)]
struct Facts {
    id: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    r#type: String,
    status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    purpose: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    risk_class: Option<String>,
    tags: Vec<String>,
    manifest: Manifest,
    trust: Decimal,
    registered_at: String,
    declared: bool,
    paused: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Box<RawValue>>,
}

#[derive(Serialize)]
struct Manifest {
    tools: Vec<String>,
    destinations: Vec<String>,
}

impl Facts {
    fn new(facts: &AgentFacts) -> Result<Facts, Problem> {
        let facts = facts.clone();
        let metadata = facts.metadata.map(RawValue::from_string).transpose();
        Ok(Facts {
            id: facts.id,
            name: facts.name,
            owner: facts.owner,
            r#type: facts.kind,
            status: facts.status,
            environment: facts.environment,
            purpose: facts.purpose,
            risk_class: facts.risk_class,
            tags: facts.tags,
            manifest: Manifest { tools: facts.manifest_tools, destinations: facts.manifest_destinations },
            trust: Decimal(facts.trust),
            registered_at: rfc3339(facts.registered_at_us),
            declared: facts.declared,
            paused: facts.paused,
            metadata: metadata.map_err(|_| Problem::internal())?,
        })
    }
}
