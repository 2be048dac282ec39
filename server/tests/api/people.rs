//! People: several orgs, roles that are looked up at each call, invitations, and what the ledger says of them.

use lictor_server::Server;
use lictor_server::config::Config;
use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{Answer, EMAIL, PASSWORD, TestApp, answer, config, text};
use crate::home::Home;

const LOGIN: &str = "/api/v1/auth/login";

async fn login(app: &TestApp, email: &str, password: &str) -> Answer {
    app.send(Method::POST, LOGIN, None, json!({"email": email, "password": password})).await
}

async fn policy(app: &TestApp, token: &str, name: &str) -> Answer {
    let source = json!({"source": format!("policy {name} {{}}")});
    app.send(Method::POST, "/api/v1/policies", Some(token), source).await
}

/// With the header that names an org.
async fn in_org(app: &TestApp, token: &str, org: &str, path: &str) -> Answer {
    answer(app.request(Method::GET, path, Some(token)).header("x-org-id", org)).await
}

/// What the ledger says of this kind: the actions, in order.
async fn acts(app: &TestApp, kind: &str) -> Vec<String> {
    let entries = app.ledger().await;
    entries.iter().filter(|entry| entry["kind"] == kind).map(|entry| text(&entry["action"])).collect()
}

/// A server where anybody may make an org.
async fn open(home: Home) -> TestApp {
    let config = Config { open_registration: true, ..config(&home) };
    TestApp::over(Server::start(&config).await.unwrap(), home).await
}

#[tokio::test]
async fn a_role_counts_from_the_next_call_on() {
    let app = TestApp::start().await;
    let token = app.member("ann@example.com", "viewer").await;
    let refused = policy(&app, &token, "a").await.expect_problem(403, "");
    assert_eq!(refused["detail"], "this takes the role `member` or more; yours is `viewer`");
    let set = |role: &'static str| {
        let body = json!({"email": "Ann@Example.com", "role": role});
        app.post("/v1/members/role", body)
    };
    assert_eq!(set("member").await.expect(200)["role"], "member");
    let console = json!({"email": "ann@example.com", "password": "password of ann@example.com"});
    app.send(Method::POST, "/admin/auth/login", None, console).await.expect(200);
    policy(&app, &token, "a").await.expect(201);
    set("viewer").await.expect(200);
    policy(&app, &token, "b").await.expect_problem(403, "");
    set("king").await.expect_problem(400, "role");
    for email in [
        "",
        "ann",
        "@example.com",
        "ann@",
        "a b@example.com",
        "a\0@example.com",
        &format!("{}@b", "a".repeat(320)),
    ] {
        let wrong = json!({"email": email, "role": "member"});
        app.post("/v1/members/role", wrong.clone()).await.expect_problem(400, "email");
        app.post("/v1/members/invite", wrong).await.expect_problem(400, "email");
        login(&app, email, "x").await.expect_problem(401, "");
    }
    app.send(Method::DELETE, "/v1/members/a%00b", Some(&app.token), json!({})).await.expect_problem(404, "");
    let nobody = json!({"email": "nobody@example.com", "role": "member"});
    app.post("/v1/members/role", nobody).await.expect_problem(404, "");
    // Whoever is removed is nobody, with the token that they still have.
    let removed = app
        .send(Method::DELETE, "/v1/members/ann@example.com", Some(&app.token), json!({}))
        .await
        .expect(200);
    assert_eq!(removed["api_keys"], json!([]));
    app.send(Method::GET, "/api/v1/policies", Some(&token), json!({})).await.expect_problem(401, "");
    assert_eq!(acts(&app, "member").await, ["invited", "accepted", "role_set", "role_set", "removed"]);
    let ledger = serde_json::to_string(&app.ledger().await).unwrap();
    assert!(!ledger.contains("ann@example.com"), "an e-mail address is in the ledger");
}

#[tokio::test]
async fn only_owners_decide_who_is_an_owner_and_one_stays() {
    let app = TestApp::start().await;
    let admin = app.member("admin@example.com", "admin").await;
    let send = |path: &'static str, body: Value| app.send(Method::POST, path, Some(&admin), body);
    let before = app.head().await;
    let invited = json!({"email": "new@example.com", "role": "owner", "password": "long enough"});
    send("/v1/members/invite", invited).await.expect_problem(403, "");
    for (email, role) in [("admin@example.com", "owner"), (EMAIL, "viewer")] {
        send("/v1/members/role", json!({"email": email, "role": role})).await.expect_problem(403, "");
    }
    let remove = app.send(Method::DELETE, "/v1/members/owner@example.com", Some(&admin), json!({}));
    remove.await.expect_problem(403, "");
    app.post("/v1/members/leave", json!({})).await.expect_problem(409, "");
    app.post("/v1/members/role", json!({"email": EMAIL, "role": "admin"})).await.expect_problem(409, "");
    assert_eq!(app.head().await, before);
    login(&app, "new@example.com", "long enough").await.expect_problem(401, "");
    // An owner who did not accept yet can't look after the org.
    let second = json!({"email": "two@example.com", "role": "owner", "password": "long enough"});
    app.post("/v1/members/invite", second.clone()).await.expect(201);
    app.post("/v1/members/invite", second).await.expect_problem(409, "");
    app.post("/v1/members/leave", json!({})).await.expect_problem(409, "");
    let two = text(&login(&app, "two@example.com", "long enough").await.expect(200)["access_token"]);
    app.post("/v1/members/leave", json!({})).await.expect(200);
    app.get("/api/v1/orgs").await.expect_problem(401, "");
    let members = app.send(Method::GET, "/v1/members", Some(&two), json!({})).await.expect(200);
    let members: Vec<_> =
        members.as_array().unwrap().iter().map(|member| (&member["email"], &member["role"])).collect();
    assert_eq!(
        members,
        [(&json!("admin@example.com"), &json!("admin")), (&json!("two@example.com"), &json!("owner"))]
    );
}

#[tokio::test]
async fn a_password_that_was_made_up_is_good_for_one_login() {
    let app = TestApp::start().await;
    let invited = app.post("/v1/members/invite", json!({"email": "bob@example.com", "role": "member"}));
    let invited = invited.await.expect(201);
    assert_eq!((&invited["status"], &invited["was_known"]), (&json!("invited"), &json!(false)));
    let password = text(&invited["one_time_password"]);
    assert!(!app.get("/v1/members").await.expect(200).to_string().contains(&password));
    let token = text(&login(&app, "bob@example.com", &password).await.expect(200)["access_token"]);
    login(&app, "bob@example.com", &password).await.expect_problem(401, "");
    login(&app, "bob@example.com", "").await.expect_problem(401, "");
    let set = |body: Value| app.send(Method::POST, "/api/v1/auth/password", Some(&token), body);
    set(json!({"new_password": "short"})).await.expect_problem(400, "new_password");
    set(json!({"new_password": "mine from now on"})).await.expect(204);
    login(&app, "bob@example.com", "mine from now on").await.expect(200);
    set(json!({"new_password": "somebody else's"})).await.expect_problem(400, "password");
    set(json!({"new_password": "somebody else's", "password": "wrong"})).await.expect_problem(401, "");
    set(json!({"new_password": "another one", "password": "mine from now on"})).await.expect(204);
    login(&app, "bob@example.com", "mine from now on").await.expect_problem(401, "");
    login(&app, "bob@example.com", "another one").await.expect(200);
    assert_eq!(
        acts(&app, "member").await,
        ["invited", "accepted", "password_spent", "password_set", "password_set"]
    );
}

#[tokio::test]
async fn a_person_belongs_to_several_orgs_and_a_header_switches() {
    let app = TestApp::start().await;
    let second = app.org("Second").await;
    let known = app.member("ann@example.com", "viewer").await;
    // Ann is known: she accepts with the password that she has, which another org can't set.
    let invited = json!({"email": "ann@example.com", "role": "admin", "password": "set by somebody"});
    let invited =
        app.send(Method::POST, "/v1/members/invite", Some(&second.token), invited).await.expect(201);
    assert_eq!((&invited["was_known"], &invited["status"]), (&json!(true), &json!("invited")));
    assert!(invited["one_time_password"].is_null());
    in_org(&app, &known, &second.id, "/api/v1/orgs").await.expect_problem(403, "x-org-id");
    login(&app, "ann@example.com", "set by somebody").await.expect_problem(401, "");
    let ann = text(
        &login(&app, "ann@example.com", "password of ann@example.com").await.expect(200)["access_token"],
    );
    let orgs = app.send(Method::GET, "/api/v1/orgs", Some(&ann), json!({})).await.expect(200);
    let orgs: Vec<_> =
        orgs.as_array().unwrap().iter().map(|org| (text(&org["id"]), text(&org["role"]))).collect();
    assert_eq!(orgs, [(app.org.clone(), "viewer".to_owned()), (second.id.clone(), "admin".to_owned())]);
    // What she does in one org is neither seen nor allowed in the other.
    let in_second = |method, path: &str| app.request(method, path, Some(&ann)).header("x-org-id", &second.id);
    let made = in_second(Method::POST, "/api/v1/policies").json(&json!({"source": "policy theirs {}"}));
    answer(made).await.expect(201);
    policy(&app, &ann, "mine").await.expect_problem(403, "");
    answer(in_second(Method::GET, "/api/v1/policies/theirs")).await.expect(200);
    app.get("/api/v1/policies/theirs").await.expect_problem(404, "");
    // A new org answers after a restart as before it.
    let app = app.restart().await;
    in_org(&app, &ann, &second.id, "/api/v1/policies/theirs").await.expect(200);
    answer(app.request(Method::GET, "/api/v1/policies", Some(&ann)).header("x-org-id", "second"))
        .await
        .expect_problem(403, "x-org-id");
}

#[tokio::test]
async fn an_org_is_made_by_owners_only_and_its_ledger_is_its_own() {
    let app = TestApp::start().await;
    let admin = app.member("admin@example.com", "admin").await;
    let new = json!({"name": "New", "owner_email": "new@example.org", "owner_password": "long enough"});
    app.send(Method::POST, "/api/v1/orgs", Some(&admin), new.clone()).await.expect_problem(403, "");
    for (field, value) in
        [("name", json!(" ")), ("owner_email", json!("nobody")), ("owner_password", json!("short"))]
    {
        let mut wrong = new.clone();
        wrong[field] = value;
        app.post("/api/v1/orgs", wrong).await.expect_problem(400, field);
    }
    let made = app.post("/api/v1/orgs", new.clone()).await.expect(201);
    assert_eq!(made["owner"]["status"], "active");
    let owner = text(&login(&app, "new@example.org", "long enough").await.expect(200)["access_token"]);
    let ledger = app.send(Method::GET, "/api/v1/ledger", Some(&owner), json!({})).await.expect(200);
    assert_eq!((&ledger[0]["seq"], &ledger[0]["action"]), (&json!(0), &json!("created")));
    assert!(text(&ledger[0]["actor"]).starts_with("user:"));
    assert_eq!(ledger[1]["kind"], "policy");
    app.send(Method::GET, &format!("/api/v1/policies/{}", "base"), Some(&owner), json!({})).await.expect(200);
    // Somebody who is known owns it once they log in; the caller at once.
    let again = app.post("/api/v1/orgs", json!({"name": "For them", "owner_email": "new@example.org"}));
    assert_eq!(again.await.expect(201)["owner"]["status"], "invited");
    app.post("/api/v1/orgs", json!({"name": "Mine"})).await.expect(201);
    assert_eq!(app.get("/api/v1/orgs").await.expect(200).as_array().unwrap().len(), 2);
    let orgs = async || app.send(Method::GET, "/api/v1/orgs", Some(&owner), json!({})).await.expect(200);
    assert_eq!(orgs().await.as_array().unwrap().len(), 1);
    login(&app, "new@example.org", "long enough").await.expect(200);
    assert_eq!(orgs().await[1]["name"], "For them");
}

#[tokio::test]
async fn registration_is_closed_unless_it_is_opened() {
    let home = Home::new().await;
    let app = TestApp::start_in(home).await;
    let register = |email: &str| json!({"email": email, "name": "Example", "password": "long enough"});
    let path = "/api/v1/auth/register";
    app.send(Method::POST, path, None, register("me@example.net")).await.expect_problem(403, "");
    let home = app.stop().await;
    let app = open(home).await;
    let made = app.send(Method::POST, path, None, register("Me@Example.net")).await.expect(201);
    let token = text(&login(&app, "me@example.net", "long enough").await.expect(200)["access_token"]);
    let orgs = app.send(Method::GET, "/api/v1/orgs", Some(&token), json!({})).await.expect(200);
    assert_eq!((&orgs[0]["id"], &orgs[0]["role"]), (&made["id"], &json!("owner")));
    // The same for somebody who is known and somebody who is not.
    let mut answers = Vec::new();
    for email in ["me@example.net", "you@example.net", EMAIL] {
        let mut body = app.send(Method::POST, path, None, register(email)).await.expect_problem(409, "");
        body["request_id"] = Value::Null;
        answers.push(body);
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));
    app.send(Method::POST, path, None, register("you@sub.example.net")).await.expect(201);
    app.send(Method::POST, path, None, register("you@exampl_.net")).await.expect(201);
}

#[tokio::test]
async fn one_of_many_that_register_at_once_makes_the_org() {
    let home = Home::new().await;
    let app = open(home).await;
    let body = |number: u32| json!({"email": format!("p{number}@example.net"), "name": "E", "password": "long enough"});
    let racing: Vec<_> = (0..8)
        .map(|number| app.request(Method::POST, "/api/v1/auth/register", None).json(&body(number)))
        .map(|request| tokio::spawn(answer(request)))
        .collect();
    let mut made = 0;
    for one in racing {
        match one.await.unwrap().status.as_u16() {
            201 => made += 1,
            status => assert_eq!(status, 409),
        }
    }
    assert_eq!(made, 1);
}

#[tokio::test]
async fn a_key_that_names_another_org_is_refused_and_recorded() {
    let app = TestApp::start().await;
    let (key, second) = (app.key().await, app.org("Second").await);
    app.agent(&key, "bot").await;
    let event = json!({"event": "intent", "agent": {"id": "bot"}, "action": "x"});
    for path in ["/api/v1/decisions", "/api/v1/agents", "/api/v3/intents"] {
        for named in [second.id.as_str(), "0198c0de-0000-7000-8000-000000000000", "", "nonsense"] {
            let request = app.request(Method::POST, path, Some(&key)).header("x-org-id", named);
            let request = request.header("x-agent-id", "bot");
            answer(request.json(&event)).await.expect_problem(403, "x-org-id");
        }
    }
    assert_eq!(acts(&app, "access").await, ["refused"; 12]);
    let named: Vec<_> = app.ledger().await.into_iter().filter(|entry| entry["kind"] == "access").collect();
    assert_eq!(named[0]["record"]["named_org"], second.id.as_str());
    assert!(named.iter().all(|entry| text(&entry["actor"]).starts_with("key:")));
    let own = app.request(Method::POST, "/api/v1/decisions", Some(&key)).header("x-org-id", &app.org);
    answer(own.json(&event)).await.expect(200);
}

#[tokio::test]
async fn an_older_database_keeps_its_people() {
    let app = TestApp::start().await;
    let (key, home) = (app.key().await, app.stop().await);
    home.meddle(&[
        "DROP TABLE members",
        "DROP TABLE login_tries",
        "DROP TABLE quota_days",
        "DROP INDEX users_by_id",
        "ALTER TABLE users DROP COLUMN one_time",
        "ALTER TABLE users ADD COLUMN role TEXT NOT NULL DEFAULT 'owner'",
        "DELETE FROM _sqlx_migrations WHERE version IN (5, 8)",
    ])
    .await;
    let app = TestApp::start_in(home).await;
    assert_eq!(app.get("/api/v1/orgs").await.expect(200)[0]["role"], "owner");
    login(&app, EMAIL, PASSWORD).await.expect(200);
    app.agent(&key, "bot").await;
}
