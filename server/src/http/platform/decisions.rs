//! `/api/v1/decisions`: any event, one or many, judged and recorded, or only judged.

use std::borrow::Cow;
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use lictor_engine::decision::{Decision, IncidentReport};
use lictor_engine::event::{Event, Origin};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use super::super::acting::Acting;
use super::super::answer::RequestId;
use super::super::auth::Actor;
use super::super::body::{Events, MIB, without_place};
use super::super::members::{items, members};
use super::super::problem::{FieldProblem, Problem, WriteProblems};
use super::super::retries::Retry;
use super::dry_run::{brings_attested_fields, filled};
use super::incidents::TouchedIncident;
use super::plain::json;
use crate::accounts::Caller;
use crate::agents::{Agent, Known};
use crate::app::App;
use crate::draft::{Answer, Judged, Prepared, Refused};
use crate::pdp::{Incoming, decode, dry_runs, prepare};
use crate::retries::{Keep, Shown};
use crate::sequencer::BATCH_EVENTS;

pub(in crate::http) const SOURCE: &str = "/api/v1/decisions";
/// Events of one request.
const MAX_EVENTS: usize = 10_000;
/// Of them, those that are judged together.
const RUN_EVENTS: usize = BATCH_EVENTS / 2;
/// Bytes of payloads after which a run ends early.
const RUN_BYTES: usize = 4 * MIB;

/// One event, or `events` with many. What an event has depends on its kind; the language reference lists it.
#[derive(Debug, Deserialize, ToSchema)]
#[expect(dead_code, reason = "documents the body; it is read without building a tree")]
#[schema(example = json!({"event": "intent", "agent": {"id": "support-bot"}, "action": "refund", "amount": 5000}))]
pub struct Asked {
    /// Many events, judged in this order; then nothing else but `dry_run` counts.
    #[schema(value_type = Option<Vec<Object>>)]
    events: Option<Vec<Box<RawValue>>>,
    /// Judge, but record and remember nothing. Only then may a person say `at`, `org` and other attested fields; what
    /// they do not say of these, the server fills in.
    dry_run: Option<bool>,
    /// `registration`, `intent`, `action`, `log`, `request` or `submission`.
    event: Option<String>,
    /// `id`: the id or the name of the agent. An unknown name registers it as one that nobody declared.
    #[schema(value_type = Option<Object>)]
    agent: Option<Box<RawValue>>,
    /// The run that it belongs to.
    task: Option<String>,
}

/// A decision in its place in the ledger. `rules` has every rule that applied or stayed unknown, strongest first.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"decision_id": "0198c0de-0000-7000-8000-000000000000", "seq": 7, "decision": "require_approval",
    "class": "approval_required", "risk": 0.35, "reason": "refund of 5000 is above 1000",
    "rules": [{"rule": "payment_controls.large_refund", "effect": "require_approval", "truth": "true", "score": 0.35,
        "because": "refund of 5000 is above 1000", "mode": "enforce"}],
    "approval": {"from": ["finance"], "count": 1, "within_s": 3600}, "policy_set": "sha256:5e88…"}))]
pub struct DecisionBody {
    /// The id of its ledger entry; none for a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    decision_id: Option<Uuid>,
    /// Its place in the ledger; none for a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<i64>,
    /// Whether nothing was recorded.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
    #[serde(flatten)]
    #[schema(value_type = Object)]
    decision: Decision,
    /// The incidents that it opened or added to, and those that shadow rules would have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Object>)]
    incidents: Vec<ShownIncident>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum ShownIncident {
    Touched(TouchedIncident),
    Hypothetical(IncidentReport),
}

/// One for each event, in order: its decision, or the problem with it.
#[derive(Debug, Serialize, ToSchema)]
pub struct DecisionsBody {
    #[schema(value_type = Vec<Object>)]
    decisions: Vec<ItemBody>,
}

/// What is answered: the decision of one event, or those of many.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "documents the answer")]
enum DecideBody {
    One(Box<DecisionBody>),
    Many(DecisionsBody),
}

impl DecisionsBody {
    fn new(answers: Vec<Answered>, request_id: &str) -> DecisionsBody {
        let item = |answer| match answer {
            Ok(decision) => ItemBody::Decided(Box::new(decision)),
            Err(problem) => ItemBody::Problem(Problem::body(&problem, request_id)),
        };
        DecisionsBody { decisions: answers.into_iter().map(item).collect() }
    }
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum ItemBody {
    Decided(Box<DecisionBody>),
    Problem(serde_json::Value),
}

/// Judge any event, or many.
///
/// In a batch an event with a fault gets a problem in its place, and the others are judged.
#[utoipa::path(post, path = "/api/v1/decisions", tag = "decisions", request_body = Asked,
    responses((status = 200, description = "The decision; for `events` a `decisions` list of them", body = DecideBody), WriteProblems))]
pub async fn decide(
    State(app): State<Arc<App>>,
    Extension(request_id): Extension<RequestId>,
    actor: Actor,
    retry: Retry,
    Events(text): Events,
) -> Result<Response, Problem> {
    let body = Body::read(&text)?;
    let is_batch = body.events.is_some();
    let asked = Asking { app: &app, actor: &actor, dry_run: body.dry_run, is_batch };
    match body.events {
        None if text.get().len() > MIB => Err(Problem::too_large(MIB)),
        None => {
            let mut answers = match retry.0 {
                Some(_) => {
                    asked
                        .at_once(&[&*text], |places| retry.keep(|judged: &Judgements| one(places, judged)))
                        .await?
                }
                None => asked.all(&[&*text]).await?,
            };
            let answer = answers.pop().ok_or_else(Problem::internal)??;
            Ok(json(&answer))
        }
        Some(events) => {
            let id = request_id.0;
            let answers = match retry.0 {
                Some(_) if events.len() > RUN_EVENTS => {
                    let detail = format!("may have at most {RUN_EVENTS} items with an `Idempotency-Key`");
                    return Err(Problem::field("events", detail));
                }
                Some(_) => {
                    let id = id.clone();
                    let keep = |places| retry.keep(move |judged: &Judgements| many(places, judged, &id));
                    asked.at_once(&events, keep).await?
                }
                None => asked.all(&events).await?,
            };
            Ok(json(&DecisionsBody::new(answers, &id)))
        }
    }
}

/// The kept answer to one event.
fn one(places: Vec<Option<Problem>>, judged: &[Result<Answer, Refused>]) -> Option<Shown> {
    let decision = in_places(places, judged.to_vec()).pop()?.ok()?;
    Shown::new(StatusCode::OK.as_u16(), &decision)
}

/// The kept answer to a batch.
fn many(places: Vec<Option<Problem>>, judged: &[Result<Answer, Refused>], id: &str) -> Option<Shown> {
    let answers = in_places(places, judged.to_vec());
    Shown::new(StatusCode::OK.as_u16(), &DecisionsBody::new(answers, id))
}

/// The members of the body that are not the event's.
struct Body<'a> {
    events: Option<Vec<&'a RawValue>>,
    dry_run: bool,
}

impl<'a> Body<'a> {
    fn read(text: &'a RawValue) -> Result<Body<'a>, Problem> {
        let mut body = Body { events: None, dry_run: false };
        for (name, value) in members(text).map_err(|error| not_an_object("", &error))? {
            match name.as_ref() {
                "events" => {
                    let no_list = |_| Problem::field("events", "must be a list of events");
                    let too_many = || Problem::field("events", format!("has more than {MAX_EVENTS} items"));
                    body.events = Some(items(value, MAX_EVENTS).map_err(no_list)?.ok_or_else(too_many)?);
                }
                "dry_run" => {
                    let flag = serde_json::from_str::<Option<bool>>(value.get());
                    body.dry_run = flag
                        .map_err(|_| Problem::field("dry_run", "must be true or false"))?
                        .unwrap_or(false);
                }
                _ => {}
            }
        }
        Ok(body)
    }
}

/// Who asks, and how.
struct Asking<'a> {
    app: &'a App,
    actor: &'a Actor,
    dry_run: bool,
    is_batch: bool,
}

pub(super) type Answered = Result<DecisionBody, Problem>;
/// What became of events that were ready.
type Judgements = Vec<Result<Answer, Refused>>;

/// Events of a batch that are made ready and judged together, so that a large batch is never in memory whole.
#[derive(Default)]
struct Run {
    /// For each event what is wrong with it; none if it is ready.
    places: Vec<Option<Problem>>,
    ready: Vec<Prepared>,
    bytes: usize,
}

impl Run {
    fn add(&mut self, prepared: Result<Prepared, Problem>) {
        match prepared {
            Ok(prepared) => {
                self.bytes += prepared.sealed.ciphertext.len();
                self.ready.push(prepared);
                self.places.push(None);
            }
            Err(problem) => self.places.push(Some(problem)),
        }
    }

    fn is_full(&self) -> bool {
        self.ready.len() >= RUN_EVENTS || self.bytes >= RUN_BYTES
    }
}

impl Asking<'_> {
    /// Answers every event in its place. An error of the whole means that not all of them are known to be recorded.
    async fn all(&self, events: &[&RawValue]) -> Result<Vec<Answered>, Problem> {
        if self.dry_run {
            let mut answers = Vec::with_capacity(events.len());
            for events in events.chunks(RUN_EVENTS) {
                answers.extend(self.dry_run(events).await?);
            }
            return Ok(answers);
        }
        let mut answers = Vec::with_capacity(events.len());
        let mut run = Run::default();
        for event in events {
            run.add(self.prepare(event).await);
            if run.is_full() {
                answers.extend(self.judge(std::mem::take(&mut run), None).await?);
            }
        }
        answers.extend(self.judge(run, None).await?);
        Ok(answers)
    }

    /// The same, of events that are judged together or not at all; their answer is kept.
    async fn at_once(
        &self,
        events: &[&RawValue],
        keep: impl FnOnce(Vec<Option<Problem>>) -> Option<Keep<Judgements>>,
    ) -> Result<Vec<Answered>, Problem> {
        let mut run = Run::default();
        for event in events {
            run.add(self.prepare(event).await);
        }
        let keep = keep(run.places.clone());
        self.judge(run, keep).await
    }

    async fn judge(&self, run: Run, keep: Option<Keep<Judgements>>) -> Result<Vec<Answered>, Problem> {
        let Run { places, ready, .. } = run;
        let judged = match ready.is_empty() {
            true => Vec::new(),
            false => self.actor.org.queue.judge(ready).keeping(keep).await?,
        };
        Ok(in_places(places, judged))
    }

    async fn prepare(&self, event: &RawValue) -> Result<Prepared, Problem> {
        let Asking { app, actor: Actor { caller, org }, .. } = self;
        let incoming = self.incoming(event);
        let name = self.agent(event)?;
        match Acting::find(org, caller, "agent.id", &name)? {
            Acting::Known(agent) => Ok(prepare(app, org, incoming, &agent, None)?),
            new @ Acting::New(_) => {
                // What can't be an event registers nobody.
                decode(org, incoming, new.agent())?;
                let agent = new.settle(org, caller, SOURCE, "agent.id").await?;
                Ok(prepare(app, org, incoming, &agent, None)?)
            }
        }
    }

    async fn dry_run(&self, events: &[&RawValue]) -> Result<Vec<Answered>, Problem> {
        let mut ready = Vec::with_capacity(events.len());
        let places: Vec<_> =
            events.iter().map(|event| self.hypothetical(event).map(|event| ready.push(event))).collect();
        let mut decisions = dry_runs(&self.actor.org, ready).await?.into_iter();
        let answer = |place: Result<(), Problem>| {
            place.and_then(|()| decisions.next().map(hypothetical).ok_or_else(Problem::internal))
        };
        Ok(places.into_iter().map(answer).collect())
    }

    /// An event that is only judged, and when; none for its own time.
    fn hypothetical(&self, event: &RawValue) -> Result<(Event, Option<i64>), Problem> {
        let Actor { caller, org } = self.actor;
        let name = self.agent(event)?;
        let now_us = self.app.clock.now_us();
        if matches!(caller, Caller::Person(_)) && brings_attested_fields(event) {
            let whole = filled(org, SOURCE, &name, event, now_us)?;
            let decoded = Event::decode(whole.as_bytes(), Origin::Event);
            Ok((decoded.map_err(|invalid| Refused::Invalid(invalid.errors))?, None))
        } else {
            let acting = Acting::find(org, caller, "agent.id", &name)?;
            Ok((decode(org, self.incoming(event), acting.agent())?, Some(now_us)))
        }
    }

    fn incoming<'a>(&'a self, event: &'a RawValue) -> Incoming<'a> {
        Incoming { caller: &self.actor.caller, source: SOURCE, json: event.get().as_bytes() }
    }

    /// The name of the event's agent. Without one, a problem that names everything else that is wrong as well.
    fn agent<'a>(&self, event: &'a RawValue) -> Result<Cow<'a, str>, Problem> {
        let (mut name, mut errors) = (None, Vec::new());
        for (member, value) in members(event).map_err(|error| not_an_object("", &error))? {
            match member.as_ref() {
                "agent" => name = agent_id(value)?,
                "dry_run" if self.is_batch => {
                    errors.push(FieldProblem::new("dry_run", "belongs beside `events`, for all of them"));
                }
                _ => {}
            }
        }
        match name {
            Some(name) if errors.is_empty() => Ok(name),
            name => {
                if name.is_none() {
                    errors.insert(0, FieldProblem::new("agent.id", "is required"));
                }
                let nobody = Known::new(Arc::new(Agent::undeclared(Uuid::nil(), "")));
                if let Err(Refused::Invalid(more)) = decode(&self.actor.org, self.incoming(event), &nobody) {
                    errors.extend(more.into_iter().map(FieldProblem::from));
                }
                Err(Problem::invalid(errors))
            }
        }
    }
}

/// What was found wrong with events, and what became of the others, in the order of their places.
fn in_places(places: Vec<Option<Problem>>, judged: Judgements) -> Vec<Answered> {
    let mut judged = judged.into_iter().map(answered);
    let in_place = |place: Option<Problem>| {
        place.map(Err).or_else(|| judged.next()).unwrap_or_else(|| Err(Problem::internal()))
    };
    places.into_iter().map(in_place).collect()
}

pub(super) fn hypothetical(mut decision: Decision) -> DecisionBody {
    let incidents = std::mem::take(&mut decision.incidents);
    let incidents = incidents.into_iter().map(ShownIncident::Hypothetical).collect();
    DecisionBody { decision_id: None, seq: None, dry_run: true, decision, incidents }
}

pub(super) fn answered(answer: Result<Answer, Refused>) -> Answered {
    match answer? {
        Answer::Judged(judged) => Ok(shown(*judged)),
        Answer::DeclaredBefore(_) => Err(Problem::internal()),
    }
}

fn shown(judged: Judged) -> DecisionBody {
    let Judged { id, seq, mut decision, incidents, .. } = judged;
    let hypothetical = std::mem::take(&mut decision.incidents).into_iter().filter(|incident| incident.shadow);
    let touched = incidents.iter().map(|touched| ShownIncident::Touched(TouchedIncident::new(touched)));
    let incidents = touched.chain(hypothetical.map(ShownIncident::Hypothetical)).collect();
    DecisionBody { decision_id: Some(id), seq: Some(seq), dry_run: false, decision, incidents }
}

fn agent_id(agent: &RawValue) -> Result<Option<Cow<'_, str>>, Problem> {
    let members = members(agent).map_err(|error| not_an_object("agent", &error))?;
    let Some((_, id)) = members.into_iter().find(|(member, _)| member == "id") else { return Ok(None) };
    let id: JsonText<'_> =
        serde_json::from_str(id.get()).map_err(|_| Problem::field("agent.id", "must be a string"))?;
    Ok(Some(id.0))
}

/// Names the member that comes twice, or says that it is no object at all.
fn not_an_object(field: &str, error: &serde_json::Error) -> Problem {
    let message = without_place(&error.to_string());
    match message.strip_prefix("duplicate field `").and_then(|rest| rest.split('`').next()) {
        Some(member) if field.is_empty() => Problem::field(member, "comes twice"),
        Some(member) => Problem::field(&format!("{field}.{member}"), "comes twice"),
        None if message.starts_with("more than") => Problem::field(field, format!("has {message}")),
        None if field.is_empty() => Problem::field(field, "the event must be an object"),
        None => Problem::field(field, "must be an object"),
    }
}

/// A JSON string, borrowed where it has no escapes.
#[derive(Deserialize)]
struct JsonText<'a>(#[serde(borrow)] Cow<'a, str>);
