//! Every route x every role x every kind of credential: exactly what the table says, and nothing of another org.
//!
//! The routes come from the OpenAPI document, which the server makes from its own code: one that has no row in the
//! table fails here.

use std::collections::BTreeSet;
use std::sync::Arc;

use lictor_server::accounts::checks::Checks;
use lictor_server::accounts::tokens::{Claims, Tokens};
use lictor_server::accounts::{Membership, Role};
use lictor_server::http::access::{ACCESS, Access, access};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::{Answer, OtherOrg, TestApp, answer, text};

/// An id that nobody has.
const UNKNOWN: &str = "0198c0de-0000-7000-8000-00000000dead";
/// What a body must not be able to set (A5).
const ASSIGNED: [&str; 7] =
    ["org_id", "role", "status", "risk_score", "approved_by", "created_at", "account_id"];

/// What changes something whatever is sent. Other tests let people do it.
const NEED_NO_BODY: [(&str, &str); 2] = [("POST", "/v1/members/leave"), ("POST", "/api/v1/ledger/keys")];

/// A route of the document.
#[derive(Debug, Clone)]
struct Route {
    method: Method,
    path: String,
    /// The members that its body may have.
    members: BTreeSet<String>,
}

impl Route {
    /// Its path with this in place of what it names.
    fn naming(&self, object: &str) -> String {
        self.path
            .split('/')
            .map(|part| if part.starts_with('{') { object } else { part })
            .collect::<Vec<_>>()
            .join("/")
    }

    fn access(&self) -> Access {
        access(self.method.as_str(), &self.path).unwrap_or_else(|| panic!("{self:?} has no row in the table"))
    }

    /// Templates come with the server: they belong to nobody.
    fn names_an_object(&self) -> bool {
        self.path.contains('{') && !self.path.contains("{template}")
    }
}

async fn routes(app: &TestApp) -> Vec<Route> {
    let document = answer(app.request(Method::GET, "/openapi.json", None)).await.expect(200);
    let mut routes = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let Ok(method) = method.to_uppercase().parse::<Method>() else { continue };
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"]["$ref"];
            let name = schema.as_str().and_then(|name| name.rsplit('/').next()).unwrap_or_default();
            let members = document["components"]["schemas"][name]["properties"].as_object();
            let members = members.into_iter().flat_map(|members| members.keys().cloned()).collect();
            routes.push(Route { method, path: path.clone(), members });
        }
    }
    // What removes an object comes last, so that the others find it.
    routes.sort_by_key(|route| route.method == Method::DELETE);
    routes
}

/// Somebody who calls.
struct Credential {
    what: &'static str,
    text: Option<String>,
    /// What a person is; none for a key, or for nobody.
    role: Option<Role>,
    /// Whether it is good at all.
    good: bool,
}

/// Every kind of credential, of the first org but for what is said.
async fn credentials(app: &TestApp, other: &OtherOrg) -> Vec<Credential> {
    let mut all = Vec::new();
    for role in Role::ALL {
        let token = match role {
            Role::Owner => app.token.clone(),
            role => app.member(&format!("{}@example.com", role.name()), role.name()).await,
        };
        all.push(Credential { what: role.name(), text: Some(token), role: Some(role), good: true });
    }
    let key = app.key().await;
    app.agent(&key, "bound").await;
    let bound =
        app.post("/api/v1/auth/api-keys", json!({"name": "b", "agent_id": "bound"})).await.expect(201);
    let revoked = app.post("/api/v1/auth/api-keys", json!({"name": "r"})).await.expect(201);
    let path = format!("/api/v1/auth/api-keys/{}", text(&revoked["id"]));
    app.send(Method::DELETE, &path, Some(&app.token), json!({})).await.expect(204);
    for (what, key) in [("key", &json!(key)), ("key bound to an agent", &bound["key"])] {
        all.push(Credential { what, text: Some(text(key)), role: None, good: true });
    }
    let mut forged = app.token.clone();
    let last = forged.pop().unwrap();
    forged.push(if last == 'A' { 'B' } else { 'A' });
    let no_signature = format!("{}.", app.token.rsplit_once('.').unwrap().0);
    let removed = app.member("removed@example.com", "admin").await;
    app.send(Method::DELETE, "/v1/members/removed@example.com", Some(&app.token), json!({}))
        .await
        .expect(200);
    for (what, text) in [
        ("nobody", None),
        ("revoked key", Some(text(&revoked["key"]))),
        ("made-up key", Some(format!("KvKey-{}", "0".repeat(72)))),
        ("forged token", Some(forged)),
        ("token without signature", Some(no_signature)),
        ("token of somebody who was removed", Some(removed)),
        ("id of the other org", Some(other.id.clone())),
    ] {
        all.push(Credential { what, text, role: None, good: false });
    }
    all
}

/// What an answer is expected to be where the caller may not call at all.
fn refusal(access: Access, credential: &Credential) -> Option<u16> {
    match (access, credential.role) {
        (Access::Everybody, _) => None,
        _ if !credential.good => Some(401),
        (Access::KeysAnd(_), None) => None,
        (Access::People(_), None) => Some(403),
        (Access::KeysAnd(least) | Access::People(least), Some(role)) => (role < least).then_some(403),
    }
}

fn blank_request_ids(body: &mut Value) {
    match body {
        Value::Object(members) => {
            members.iter_mut().for_each(|(name, value)| match name.as_str() {
                "request_id" => *value = Value::Null,
                _ => blank_request_ids(value),
            });
        }
        Value::Array(items) => items.iter_mut().for_each(blank_request_ids),
        _ => {}
    }
}

/// An answer without what differs from one request to the next.
fn shape(answer: &Answer, named: &str) -> (u16, String, usize) {
    let mut body = answer.body.clone();
    blank_request_ids(&mut body);
    let length = answer.headers.get("content-length").and_then(|length| length.to_str().ok()?.parse().ok());
    // The request's id always has the same length.
    (answer.status.as_u16(), body.to_string().replace(named, "…"), length.unwrap_or_default())
}

/// What the other org has, by the route that names it.
async fn objects(app: &TestApp, other: &OtherOrg) -> Vec<(&'static str, Vec<String>)> {
    let as_other = |path: &'static str, body: Value| app.send(Method::POST, path, Some(&other.token), body);
    let key = as_other("/api/v1/auth/api-keys", json!({"name": "k"})).await.expect(201);
    let secret = text(&key["key"]);
    let agent = app.send(Method::POST, "/api/v1/agents", Some(&secret), json!({"agent_key": "theirs"})).await;
    let agent = agent.expect(201);
    let source = "policy theirs {}\nrule r on intent { when action == \"x\" deny incident high }";
    let policy = as_other("/api/v1/policies", json!({"source": source})).await.expect(201);
    let event = json!({"event": "intent", "agent": {"id": "theirs"}, "action": "x"});
    let denied = as_other("/api/v1/decisions", event).await.expect(200);
    assert_eq!(denied["decision"], "deny");
    let get = |path: &'static str| app.send(Method::GET, path, Some(&other.token), json!({}));
    let incident = get("/api/v1/incidents").await.expect(200)[0]["incident_id"].clone();
    let member = get("/v1/members").await.expect(200)[0].clone();
    vec![
        ("/api/v1/auth/api-keys/", vec![text(&key["id"])]),
        ("/api/v1/agents/", vec![text(&agent["agent_id"]), "theirs".to_owned()]),
        ("/api/v1/policies/", vec![text(&policy["id"]), "theirs".to_owned()]),
        ("/api/v1/incidents/", vec![text(&incident)]),
        ("/v1/members/", vec![text(&member["id"]), text(&member["email"])]),
    ]
}

fn of_route<'a>(objects: &'a [(&'static str, Vec<String>)], route: &Route) -> &'a [String] {
    let found = objects.iter().find(|(prefix, _)| route.path.starts_with(prefix));
    &found.unwrap_or_else(|| panic!("no object of another org for {route:?}")).1
}

/// What a caller can tell of objects of another org: routes that answer otherwise than for what nobody has. The request may
/// name an org to act in.
async fn leaks(
    app: &TestApp,
    objects: &[(&'static str, Vec<String>)],
    token: &str,
    named: Option<&str>,
) -> BTreeSet<String> {
    let mut leaks = BTreeSet::new();
    for route in routes(app).await.into_iter().filter(Route::names_an_object) {
        // One that its route can read, so that it looks for the object.
        let body = match route.members.contains("source") {
            true => json!({"source": "policy theirs {}"}),
            false => json!({}),
        };
        for object in of_route(objects, &route) {
            // A name that nobody has is as long as the one that somebody has.
            let unknown =
                if object.len() == UNKNOWN.len() { UNKNOWN.to_owned() } else { "q".repeat(object.len()) };
            let ask = async |name: &str| {
                let request = app.request(route.method.clone(), &route.naming(name), Some(token)).json(&body);
                answer(match named {
                    Some(org) => request.header("x-org-id", org),
                    None => request,
                })
                .await
            };
            let (theirs, nobodys) = (ask(object).await, ask(&unknown).await);
            if shape(&theirs, object) != shape(&nobodys, &unknown) {
                leaks.insert(format!("{} {}", route.method, route.path));
            }
        }
    }
    leaks
}

#[tokio::test]
async fn the_table_has_every_route_and_no_other() {
    let app = TestApp::start().await;
    let routes = routes(&app).await;
    let served: BTreeSet<_> =
        routes.iter().map(|route| (route.method.as_str(), route.path.as_str())).collect();
    let in_table: BTreeSet<_> = ACCESS.iter().map(|(method, path, _)| (*method, *path)).collect();
    assert_eq!(served, in_table);
    assert_eq!(in_table.len(), ACCESS.len(), "a route has two rows");
    // Nobody lets a key do what people look after, and nobody who looks change anything.
    for (method, path, access) in ACCESS {
        let least = match access {
            Access::Everybody => continue,
            Access::KeysAnd(role) | Access::People(role) => *role,
        };
        let only_asks = [
            "/api/v1/policies/check",
            "/api/v1/policy-templates/{template}/preview",
            "/api/v1/auth/password",
            "/v1/members/leave",
        ]
        .contains(path);
        assert_eq!(*method == "GET" || only_asks, least == Role::Viewer, "{method} {path}");
    }
}

#[tokio::test]
async fn every_credential_may_do_exactly_what_the_table_says() {
    let app = TestApp::start().await;
    let other = app.org("Other").await;
    let (credentials, routes) = (credentials(&app, &other).await, routes(&app).await);
    let before = app.head().await;
    let (mut asked, mut passed_over) = (0, 0);
    for route in &routes {
        // An unreadable body, so that whoever is let through changes nothing.
        for credential in &credentials {
            if NEED_NO_BODY.contains(&(route.method.as_str(), &*route.path))
                && refusal(route.access(), credential).is_none()
            {
                passed_over += 1;
                continue;
            }
            let request =
                app.request(route.method.clone(), &route.naming(UNKNOWN), credential.text.as_deref());
            let answer = answer(request.body("{")).await;
            let (status, what) = (answer.status.as_u16(), credential.what);
            match refusal(route.access(), credential) {
                Some(expected) => assert_eq!(status, expected, "{what}: {route:?}"),
                None => assert!(
                    ![401, 403, 500].contains(&status) || route.path.ends_with("/login"),
                    "{what}: {route:?}: {}",
                    answer.body
                ),
            }
            asked += 1;
        }
    }
    // Whoever is there may leave, and an owner may replace the ledger's key.
    assert_eq!((asked + passed_over, passed_over), (routes.len() * credentials.len(), Role::ALL.len() + 1));
    assert_eq!(app.head().await, before, "somebody changed something");
}

#[tokio::test]
async fn what_another_org_has_looks_like_what_nobody_has() {
    let app = TestApp::start().await;
    let other = app.org("Other").await;
    let objects = objects(&app, &other).await;
    let theirs = async || {
        let ledger = app.send(Method::GET, "/api/v1/ledger?limit=1000", Some(&other.token), json!({})).await;
        ledger.expect(200).as_array().unwrap().len()
    };
    let before = (app.head().await, theirs().await);
    for credential in credentials(&app, &other).await {
        let Some(token) = credential.text.filter(|_| credential.good) else { continue };
        for named in [None, Some(other.id.as_str())] {
            let leaks = leaks(&app, &objects, &token, named).await;
            assert_eq!(leaks, BTreeSet::new(), "{}, {named:?}", credential.what);
        }
    }
    // Nothing happened over there, and here only what made the credentials.
    assert_eq!(theirs().await, before.1);
    let acts = app.ledger().await.split_off(usize::try_from(before.0.0).unwrap() + 1);
    let here = ["member", "key", "registration", "access"];
    assert!(acts.iter().all(|entry| here.contains(&entry["kind"].as_str().unwrap())));
}

/// Lets whoever is known act in any org that they name.
#[derive(Debug)]
struct AnyOrg(Tokens);

impl Checks for AnyOrg {
    fn token(&self, token: &str, now_us: i64) -> Option<Claims> {
        self.0.check(token, now_us)
    }

    fn in_org(&self, _own: &[Membership], named: Uuid) -> Option<Membership> {
        Some(Membership { org: named, role: Role::Owner })
    }
}

#[tokio::test]
async fn without_the_check_of_orgs_every_route_that_names_an_object_is_found_to_leak() {
    let any_org = |secret: &[u8; 32]| Some(Arc::new(AnyOrg(Tokens::new(secret))) as Arc<dyn Checks>);
    let (app, _) = TestApp::start_checked(any_org).await;
    let other = app.org("Other").await;
    let objects = objects(&app, &other).await;
    let routes = routes(&app).await.into_iter().filter(Route::names_an_object);
    let all: BTreeSet<_> = routes.map(|route| format!("{} {}", route.method, route.path)).collect();
    assert_eq!(leaks(&app, &objects, &app.token, Some(&other.id)).await, all);
    assert!(all.len() > 10, "{all:?}");
    // Without the header the home is what it was.
    assert_eq!(leaks(&app, &objects, &app.token, None).await, BTreeSet::new());
}

#[tokio::test]
async fn an_id_of_another_org_is_worth_nothing_wherever_it_is_sent() {
    let app = TestApp::start().await;
    let other = app.org("Other").await;
    let objects = objects(&app, &other).await;
    let theirs = &objects[1].1[0];
    let key = app.key().await;
    app.agent(&key, "mine").await;
    let event = |agent: &str| json!({"event": "intent", "agent": {"id": agent}, "action": "x"});
    let intent = |org: &str, agent: &str| json!({"agent_id": agent, "org_id": org, "action": "x"});
    let ask = async |token: &str, method, path: String, agent: &str, body: Value| {
        let request = app.request(method, &path, Some(token)).header("x-org-id", &app.org);
        answer(request.header("x-agent-id", agent).json(&body)).await
    };
    let before = app.head().await;
    for token in [&app.token, &key] {
        let mut shapes = Vec::new();
        // The org's own agent in between proves that each of them is looked at.
        for (agent, org) in [(theirs.as_str(), other.id.as_str()), (UNKNOWN, UNKNOWN)] {
            let mut answers = Vec::new();
            let bodies = [
                ("/api/v1/auth/api-keys", json!({"name": "k", "agent_id": agent})),
                ("/api/v1/decisions", event(agent)),
                ("/api/v1/decisions", json!({"events": [event(agent)]})),
                ("/api/v1/logs", json!({"agent_id": agent, "task_id": "t", "node_type": "TOOL_CALL"})),
                ("/api/v3/intents", intent(&app.org, agent)),
                ("/api/v3/policy/evaluate", json!({"intent_id": agent, "org_id": app.org})),
            ];
            for (path, body) in bodies {
                answers.push(ask(token, Method::POST, path.to_owned(), agent, body).await);
            }
            answers.push(
                ask(token, Method::POST, "/api/v3/intents".to_owned(), "mine", intent(org, "mine")).await,
            );
            answers.push(
                ask(token, Method::POST, "/api/v3/intents".to_owned(), "mine", intent(&app.org, agent)).await,
            );
            for query in
                ["incidents?agent_id", "incidents?before", "agents?after", "policies?after", "ledger?after"]
            {
                answers.push(
                    ask(token, Method::GET, format!("/api/v1/{query}={agent}"), agent, json!({})).await,
                );
            }
            shapes.push(answers.iter().map(|answer| shape(answer, agent)).collect::<Vec<_>>());
        }
        for (theirs, nobodys) in shapes[0].iter().zip(&shapes[1]) {
            assert_eq!(theirs, nobodys);
        }
        assert!(
            shapes[0][..8].iter().all(|(status, body, _)| *status >= 400 || body.contains("\"error\"")),
            "{shapes:?}"
        );
    }
    assert_eq!(app.head().await, before, "something was stored");
}

#[tokio::test]
async fn what_the_server_says_of_things_can_not_be_sent() {
    let app = TestApp::start().await;
    let key = app.key().await;
    let claims = |route: &Route| {
        ASSIGNED.into_iter().filter(|name| !route.members.contains(*name)).collect::<Vec<_>>()
    };
    let before = app.head().await;
    let mut refused = BTreeSet::new();
    let routes = routes(&app).await;
    for route in routes.iter().filter(|route| !route.members.is_empty()) {
        for name in claims(route) {
            let body = json!({name: "owner"});
            let path = route.naming(UNKNOWN);
            let answer = app.send(route.method.clone(), &path, Some(&app.token), body).await;
            assert!(answer.status.is_client_error(), "{route:?}: {}", answer.body);
            let errors = answer.body["errors"].as_array().cloned().unwrap_or_default();
            if errors.iter().any(|error| error["field"] == name) {
                refused.insert(route.path.clone());
            }
        }
    }
    assert_eq!(app.head().await, before);
    // Where agents send, members that are not known are ignored; everywhere else they are refused.
    let sent_by_agents = |route: &&Route| !route.members.is_empty() && !refused.contains(&route.path);
    let ignored: Vec<_> = routes.iter().filter(sent_by_agents).map(|route| route.path.as_str()).collect();
    let v3 = ["/api/v3/intents", "/api/v3/policy/evaluate"];
    let ingest: BTreeSet<_> =
        ["/api/v1/agents", "/api/v1/logs", "/api/v1/decisions"].into_iter().chain(v3).collect();
    assert!(ignored.iter().all(|path| ingest.contains(path)), "{ignored:?}");
    // Ignored is ignored: the agent, the step and the intent are what they would have been.
    let with = |mut body: Value, names: &[&str]| {
        names.iter().for_each(|name| body[*name] = json!("owner"));
        body
    };
    let agent = with(json!({"agent_key": "bot", "is_active": false, "registration_status": "x"}), &ASSIGNED);
    let agent = app.send(Method::POST, "/api/v1/agents", Some(&key), agent).await.expect(201);
    assert_eq!((&agent["is_active"], &agent["registration_status"]), (&json!(true), &json!("created")));
    assert!(ASSIGNED.iter().all(|name| agent[*name].is_null() || *name == "created_at"), "{agent}");
    assert_ne!(agent["created_at"], "owner");
    let intent = with(
        json!({"agent_id": "bot", "action": "x"}),
        &["status", "risk_score", "approved_by", "created_at", "role"],
    );
    let mut intent = intent;
    intent["org_id"] = json!(app.org);
    let declared = app.send_v3("/api/v3/intents", &key, "bot", intent).await.expect(201);
    assert_eq!(declared["status"], "pending");
    assert!(declared["risk_score"].is_number() && declared["approved_by"].is_null(), "{declared}");
}
