//! What callers ask, what they hold in their hands afterwards, and whether it is in the ledger.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use lictor_server::db::Database;
use lictor_server::ledger::{Head, StoredEntry, Verified, verify};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::{Answer, TestApp, answer, text};

/// Large amounts are denied, so that what was answered can be told from what was not.
const POLICY: &str = "policy limits {}\ndefault on intent allow\nrule large on intent { when amount > 100 deny }\n\
                      rule steps on log { when count(log per task) >= 3 score +0.2 incident low per task }";
/// What a 503 is allowed to be called.
const CODES: [&str; 3] = ["unavailable", "audit_unavailable", "storage_full"];

/// Something that a caller was told.
#[derive(Debug, Clone)]
pub(crate) enum Answered {
    /// Something was recorded: at this place and with this outcome, where the answer says.
    Entry { id: Uuid, seq: Option<i64>, outcome: Option<String> },
    /// There is a key.
    Key(Uuid),
}

/// What can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    Decision,
    /// With an `Idempotency-Key`.
    Once,
    ByPerson,
    Batch,
    LogStep,
    Intent,
    Evaluation,
    Registration,
    Key,
}

/// Everything that decides, or is judged.
pub(crate) const DECIDING: [Ask; 8] = [
    Ask::Decision,
    Ask::Once,
    Ask::ByPerson,
    Ask::Batch,
    Ask::LogStep,
    Ask::Intent,
    Ask::Evaluation,
    Ask::Registration,
];

/// Who asks.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    client: reqwest::Client,
    base: String,
    /// An access token.
    token: String,
    /// An API key.
    key: String,
    org: String,
    agent: String,
    /// An intent that was allowed.
    intent: String,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Asked {
    /// What the caller was told; nothing, if it was told that nobody can decide.
    pub(crate) answered: Vec<Answered>,
    /// Why nobody can decide.
    pub(crate) code: Option<String>,
    /// Whether something is allowed.
    pub(crate) allows: bool,
    pub(crate) took: Duration,
}

impl Caller {
    pub(crate) async fn new(app: &TestApp) -> Caller {
        app.post("/api/v1/policies", json!({"source": POLICY})).await.expect(201);
        let key = app.key().await;
        let agent = app.agent(&key, "bot").await;
        let mut caller = Caller {
            client: app.client.clone(),
            base: app.base.clone(),
            token: app.token.clone(),
            key,
            org: app.org.clone(),
            agent,
            intent: String::new(),
        };
        caller.intent = text(&answer(caller.request(Ask::Intent, "first", 1)).await.expect(201)["intent_id"]);
        caller
    }

    /// The same caller, of a server that was started again.
    pub(crate) fn at(&self, base: &str) -> Caller {
        Caller { base: base.to_owned(), ..self.clone() }
    }

    fn request(&self, ask: Ask, action: &str, amount: i64) -> RequestBuilder {
        let event = || json!({"event": "intent", "agent": {"id": "bot"}, "action": action, "amount": amount});
        let (credential, path, body) = match ask {
            Ask::Decision | Ask::Once => (&self.key, "/api/v1/decisions", event()),
            Ask::ByPerson => (&self.token, "/api/v1/decisions", event()),
            Ask::Batch => (&self.key, "/api/v1/decisions", json!({"events": [event(), event(), event()]})),
            Ask::LogStep => {
                let step = json!({"agent_id": "bot", "task_id": action, "node_type": "TOOL_CALL"});
                (&self.key, "/api/v1/logs", step)
            }
            Ask::Intent => {
                let intent =
                    json!({"agent_id": self.agent, "org_id": self.org, "action": action, "amount": amount});
                (&self.key, "/api/v3/intents", intent)
            }
            Ask::Evaluation => {
                let asked = json!({"intent_id": self.intent, "org_id": self.org});
                (&self.key, "/api/v3/policy/evaluate", asked)
            }
            Ask::Registration => (&self.key, "/api/v1/agents", json!({"agent_key": action})),
            Ask::Key => (&self.token, "/api/v1/auth/api-keys", json!({"name": action})),
        };
        let request = self.client.request(Method::POST, format!("{}{path}", self.base));
        let request = match ask {
            Ask::Intent | Ask::Evaluation => {
                request.header("x-org-id", &self.org).header("x-agent-id", &self.agent)
            }
            Ask::Once => request.header("Idempotency-Key", action),
            _ => request,
        };
        request.bearer_auth(credential).json(&body)
    }

    /// Asks. Whatever is wrong with the storage, it is answered: well, or with a 503 that says why.
    pub(crate) async fn ask(&self, ask: Ask, action: &str, amount: i64) -> Asked {
        let begun = Instant::now();
        let got = answer(self.request(ask, action, amount)).await;
        let took = begun.elapsed();
        let mut asked = Asked { answered: Vec::new(), code: None, allows: false, took };
        if got.status == 503 {
            asked.refused(got.expect_problem(503, ""));
            return asked;
        }
        match ask {
            Ask::Decision | Ask::Once | Ask::ByPerson => asked.decided(&got.expect(200)),
            Ask::Batch => {
                for decided in got.expect(200)["decisions"].as_array().unwrap() {
                    match decided["status"] == 503 {
                        true => asked.refused(decided.clone()),
                        false => asked.decided(decided),
                    }
                }
            }
            Ask::LogStep => asked.recorded(&got.expect(201)["log_id"]),
            Ask::Intent => asked.recorded(&got.expect(201)["intent_id"]),
            Ask::Evaluation => asked.allows = got.expect(200)["decision"] == "allow",
            Ask::Registration => asked.registered(got),
            Ask::Key => asked.answered.push(Answered::Key(id(&got.expect(201)["id"]))),
        }
        asked
    }
}

impl Asked {
    fn refused(&mut self, problem: Value) {
        let code = text(&problem["code"]);
        assert!(CODES.contains(&&*code), "{problem}");
        self.code = Some(code);
    }

    fn decided(&mut self, body: &Value) {
        let outcome = text(&body["decision"]);
        self.allows |= outcome == "allow";
        let (id, seq) = (id(&body["decision_id"]), Some(body["seq"].as_i64().unwrap()));
        self.answered.push(Answered::Entry { id, seq, outcome: Some(outcome) });
    }

    fn recorded(&mut self, entry: &Value) {
        self.answered.push(Answered::Entry { id: id(entry), seq: None, outcome: None });
    }

    /// The answer names no entry.
    fn registered(&mut self, got: Answer) {
        assert!(got.status == 201 || got.status == 200, "{got:?}");
    }
}

fn id(value: &Value) -> Uuid {
    text(value).parse().unwrap()
}

/// Whether the ledgers are whole, and all that callers were told is in them: the names of what was done, or what is wrong.
pub(crate) async fn recorded<'a>(
    database: &Database,
    answers: impl IntoIterator<Item = &'a Answered>,
) -> Result<Vec<String>, String> {
    let failed = |error: lictor_server::db::StoreError| format!("it can't be read: {error:?}");
    let mut entries = HashMap::new();
    let mut actions = Vec::new();
    for (org, next_seq) in database.heads().await.map_err(failed)? {
        let mut head = Head::EMPTY;
        loop {
            let page = database.entries(org, head.next_seq - 1, 1_000).await.map_err(failed)?;
            if page.is_empty() {
                break;
            }
            let mut stored = Vec::with_capacity(page.len());
            for row in page {
                entries.insert(row.entry_id, (row.seq, row.outcome));
                actions.extend([row.action, row.task].into_iter().flatten());
                let (hash, prev_hash) = (row.hash.try_into().unwrap(), row.prev_hash.try_into().unwrap());
                stored.push(StoredEntry { seq: row.seq, canonical: row.canonical, hash, prev_hash });
            }
            head = match verify(head, stored) {
                Verified::Ok(head) => head,
                fault => return Err(format!("the chain is broken: {fault:?}")),
            };
        }
        if head.next_seq != next_seq {
            return Err(format!("the head is at {next_seq}, the chain ends at {}", head.next_seq));
        }
    }
    let keys = database.live_keys().await.map_err(failed)?;
    for answer in answers {
        let is_there = match answer {
            Answered::Key(id) => keys.iter().any(|key| key.id == *id),
            Answered::Entry { id, seq, outcome } => entries.get(id).is_some_and(|(at, was)| {
                seq.is_none_or(|seq| seq == *at) && (outcome.is_none() || outcome == was)
            }),
        };
        if !is_there {
            return Err(format!("lost: {answer:?}, of {} entries", entries.len()));
        }
    }
    Ok(actions)
}
