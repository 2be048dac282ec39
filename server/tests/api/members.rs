//! Members who leave, lose their password or are invited twice: what ends with a membership, and who lets whom in.

use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{Answer, OtherOrg, TestApp, answer, text};

const BOB: &str = "bob@example.com";

async fn login(app: &TestApp, email: &str, password: &str) -> Answer {
    let body = json!({"email": email, "password": password});
    app.send(Method::POST, "/api/v1/auth/login", None, body).await
}

/// What the owner of an org does.
async fn in_org(app: &TestApp, org: &OtherOrg, method: Method, path: &str, body: Value) -> Answer {
    app.send(method, path, Some(&org.token), body).await
}

async fn invite(app: &TestApp, org: &OtherOrg, role: &str) -> Value {
    let body = json!({"email": BOB, "role": role});
    in_org(app, org, Method::POST, "/v1/members/invite", body).await.expect(201)
}

/// The answer to asking for a new password for one login.
async fn issue(app: &TestApp, org: &OtherOrg) -> Answer {
    let path = format!("/v1/members/{BOB}/one-time-password");
    in_org(app, org, Method::POST, &path, json!({})).await
}

async fn remove(app: &TestApp, org: &OtherOrg) -> Value {
    in_org(app, org, Method::DELETE, &format!("/v1/members/{BOB}"), json!({})).await.expect(200)
}

/// What an org says of Bob.
async fn bob(app: &TestApp, org: &OtherOrg) -> Value {
    let members = in_org(app, org, Method::GET, "/v1/members", json!({})).await.expect(200);
    members.as_array().unwrap().iter().find(|member| member["email"] == BOB).cloned().unwrap_or_default()
}

/// The orgs that somebody belongs to.
async fn orgs(app: &TestApp, token: &str) -> Vec<String> {
    let orgs = answer(app.request(Method::GET, "/api/v1/orgs", Some(token))).await.expect(200);
    let mut ids: Vec<_> = orgs.as_array().unwrap().iter().map(|org| text(&org["id"])).collect();
    ids.sort_unstable();
    ids
}

fn token(login: Value) -> String {
    text(&login["access_token"])
}

/// The first org and another one, with what their owners need.
async fn two_orgs(app: &TestApp) -> (OtherOrg, OtherOrg) {
    let first = OtherOrg { id: app.org.clone(), token: app.token.clone() };
    (first, app.org("Second").await)
}

/// How many entries the ledgers of both orgs have.
async fn entries(app: &TestApp, orgs: [&OtherOrg; 2]) -> Vec<usize> {
    let mut lengths = Vec::new();
    for org in orgs {
        let ledger = in_org(app, org, Method::GET, "/api/v1/ledger?limit=1000", json!({})).await.expect(200);
        lengths.push(ledger.as_array().unwrap().len());
    }
    lengths
}

#[tokio::test]
async fn api_keys_end_with_the_membership_of_whoever_made_them() {
    let app = TestApp::start().await;
    let second = app.org("Second").await;
    let ann = app.member("ann@example.com", "member").await;
    let key = async |token: &str, body: Value| {
        let made = app.send(Method::POST, "/api/v1/auth/api-keys", Some(token), body).await.expect(201);
        (text(&made["id"]), text(&made["key"]))
    };
    let hers = key(&ann, json!({"name": "hers"})).await;
    let agent = app.agent(&hers.1, "bot").await;
    let bound = key(&ann, json!({"name": "bound", "agent_id": agent})).await;
    let rotated = key(&ann, json!({"name": "rotated"})).await;
    let path = format!("/api/v1/auth/api-keys/{}/rotate", rotated.0);
    let renewed = text(&app.post(&path, json!({"overlap_s": 600})).await.expect(200)["key"]);
    let others = key(&app.token, json!({"name": "the owner's"})).await;
    // She belongs to another org as well, where nothing ends.
    let body = json!({"email": "ann@example.com", "role": "member"});
    in_org(&app, &second, Method::POST, "/v1/members/invite", body).await.expect(201);
    let ann = token(login(&app, "ann@example.com", "password of ann@example.com").await.expect(200));
    let there = app.request(Method::POST, "/api/v1/auth/api-keys", Some(&ann)).header("x-org-id", &second.id);
    let there = text(&answer(there.json(&json!({"name": "there"}))).await.expect(201)["key"]);

    let before = app.ledger().await.len();
    let path = "/v1/members/ann@example.com";
    let gone = app.send(Method::DELETE, path, Some(&app.token), json!({})).await.expect(200);
    let mut ended = [hers.0, bound.0, rotated.0];
    ended.sort_unstable();
    assert_eq!(gone["api_keys"], json!(ended));
    let status =
        async |key: &str| answer(app.request(Method::GET, "/api/v1/agents", Some(key))).await.status.as_u16();
    for key in [&hers.1, &bound.1, &rotated.1, &renewed] {
        assert_eq!(status(key).await, 401);
    }
    assert_eq!((status(&others.1).await, status(&there).await), (200, 200));
    let acts: Vec<_> = app.ledger().await.split_off(before);
    let acts: Vec<_> = acts.iter().map(|entry| (text(&entry["kind"]), text(&entry["action"]))).collect();
    let act = |kind: &str, action: &str| (kind.to_owned(), action.to_owned());
    let revoked = act("key", "revoked");
    assert_eq!(acts, [act("member", "removed"), revoked.clone(), revoked.clone(), revoked]);
    // Her agent is the org's: a key that is made for it goes on, and registers it anew.
    let next = key(&app.token, json!({"name": "next", "agent_id": agent})).await.1;
    let step = json!({"agent_id": agent, "task_id": "t", "node_type": "TOOL_CALL"});
    app.send(Method::POST, "/api/v1/logs", Some(&next), step).await.expect(201);
    app.send(Method::POST, "/api/v1/agents", Some(&next), json!({"agent_key": "bot"})).await.expect(200);
    app.send(Method::POST, "/api/v1/agents", Some(&others.1), json!({"agent_key": "bot"}))
        .await
        .expect_problem(409, "");
    // Whoever leaves by themselves takes nothing along either, and so it is after a restart.
    let leave = app.request(Method::POST, "/v1/members/leave", Some(&ann)).header("x-org-id", &second.id);
    assert_eq!(answer(leave.json(&json!({}))).await.expect(200)["api_keys"].as_array().unwrap().len(), 1);
    let app = app.restart().await;
    for key in [&hers.1, &bound.1, &rotated.1, &renewed, &there] {
        assert_eq!(answer(app.request(Method::GET, "/api/v1/agents", Some(key))).await.status, 401);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_made_while_its_account_is_removed_is_worthless() {
    let app = TestApp::start().await;
    for round in 0..8 {
        let email = format!("p{round}@example.com");
        let token = app.member(&email, "member").await;
        let making: Vec<_> = (0..6)
            .map(|_| app.request(Method::POST, "/api/v1/auth/api-keys", Some(&token)))
            .map(|request| tokio::spawn(answer(request.json(&json!({"name": "late"})))))
            .collect();
        let path = format!("/v1/members/{email}");
        app.send(Method::DELETE, &path, Some(&app.token), json!({})).await.expect(200);
        for made in making {
            let made = made.await.unwrap();
            match made.status.as_u16() {
                201 => {
                    let key = text(&made.body["key"]);
                    let asked = answer(app.request(Method::GET, "/api/v1/agents", Some(&key))).await;
                    assert_eq!(asked.status, 401, "a key is still good in round {round}");
                }
                status => assert!([401, 404].contains(&status), "{status}: {}", made.body),
            }
        }
    }
    assert_eq!(app.get("/api/v1/auth/api-keys").await.expect(200), json!([]));
}

#[tokio::test]
async fn whoever_lost_a_password_before_the_first_login_gets_another() {
    let app = TestApp::start().await;
    let (org, _) = two_orgs(&app).await;
    let lost = text(&invite(&app, &org, "member").await["one_time_password"]);
    let issued = issue(&app, &org).await.expect(200);
    assert_eq!(issued["status"], "invited");
    let password = text(&issued["one_time_password"]);
    login(&app, BOB, &lost).await.expect_problem(401, "");
    let first = token(login(&app, BOB, &password).await.expect(200));
    login(&app, BOB, &password).await.expect_problem(401, "");
    // From then on nobody else sets it.
    issue(&app, &org).await.expect_problem(409, "");
    // He closed the page before he set one of his own: invited again he is somebody new, and who still has his token is nobody.
    remove(&app, &org).await;
    let again = invite(&app, &org, "member").await;
    assert_eq!(again["was_known"], false);
    let bob = token(login(&app, BOB, &text(&again["one_time_password"])).await.expect(200));
    answer(app.request(Method::GET, "/api/v1/orgs", Some(&first))).await.expect_problem(401, "");
    let set = json!({"new_password": "mine from now on"});
    app.send(Method::POST, "/api/v1/auth/password", Some(&bob), set).await.expect(204);
    issue(&app, &org).await.expect_problem(409, "");
    login(&app, BOB, "mine from now on").await.expect(200);
    let acts = app.ledger().await;
    let acts: Vec<_> =
        acts.iter().filter(|entry| entry["kind"] == "member").map(|e| text(&e["action"])).collect();
    let (once, again) = (["invited", "password_issued"], ["removed", "invited"]);
    let in_ = ["accepted", "password_spent"];
    assert_eq!(acts, [&once[..], &in_, &again, &in_, &["password_set"]].concat());
}

#[tokio::test]
async fn only_who_may_decide_gives_out_passwords() {
    let app = TestApp::start().await;
    let (org, second) = two_orgs(&app).await;
    let admin = app.member("admin@example.com", "admin").await;
    let member = app.member("member@example.com", "member").await;
    invite(&app, &org, "owner").await;
    let before = entries(&app, [&org, &second]).await;
    let path = format!("/v1/members/{BOB}/one-time-password");
    // An admin would become an owner by it; a member is no admin; and another org does not have him.
    app.send(Method::POST, &path, Some(&admin), json!({})).await.expect_problem(403, "");
    app.send(Method::POST, &path, Some(&member), json!({})).await.expect_problem(403, "");
    issue(&app, &second).await.expect_problem(404, "");
    for known in ["member@example.com", "owner@example.com"] {
        let path = format!("/v1/members/{known}/one-time-password");
        app.post(&path, json!({})).await.expect_problem(409, "");
    }
    assert_eq!(entries(&app, [&org, &second]).await, before);
    login(&app, "member@example.com", "password of member@example.com").await.expect(200);
    issue(&app, &org).await.expect(200);
}

#[tokio::test]
async fn one_login_accepts_the_invitations_of_two_orgs() {
    let app = TestApp::start().await;
    let (first, second) = two_orgs(&app).await;
    let password = text(&invite(&app, &first, "viewer").await["one_time_password"]);
    let invited = invite(&app, &second, "member").await;
    assert_eq!((&invited["was_known"], &invited["one_time_password"]), (&json!(true), &Value::Null));
    let token = token(login(&app, BOB, &password).await.expect(200));
    let mut both = [first.id.clone(), second.id.clone()];
    both.sort_unstable();
    assert_eq!(orgs(&app, &token).await, both);
}

#[tokio::test]
async fn who_was_removed_before_the_first_login_still_gets_into_the_other_org() {
    let app = TestApp::start().await;
    let (first, second) = two_orgs(&app).await;
    let password = text(&invite(&app, &first, "viewer").await["one_time_password"]);
    invite(&app, &second, "member").await;
    remove(&app, &first).await;
    let theirs = token(login(&app, BOB, &password).await.expect(200));
    assert_eq!(orgs(&app, &theirs).await, [second.id.as_str()]);
    login(&app, BOB, &password).await.expect_problem(401, "");
    let set = json!({"new_password": "mine from now on"});
    app.send(Method::POST, "/api/v1/auth/password", Some(&theirs), set).await.expect(204);
    login(&app, BOB, "mine from now on").await.expect(200);
}

#[tokio::test]
async fn a_password_of_one_org_opens_no_invitation_of_another() {
    let app = TestApp::start().await;
    let (honest, other) = two_orgs(&app).await;
    let password = text(&invite(&app, &honest, "admin").await["one_time_password"]);
    // The other org has him as well, and gives out a password that it knows.
    invite(&app, &other, "viewer").await;
    let known_to_other = text(&issue(&app, &other).await.expect(200)["one_time_password"]);
    login(&app, BOB, &password).await.expect_problem(401, "");
    assert_eq!(bob(&app, &honest).await["status"], "outdated");
    let theirs = token(login(&app, BOB, &known_to_other).await.expect(200));
    assert_eq!(orgs(&app, &theirs).await, [other.id.as_str()]);
    let set = json!({"new_password": "known to the other"});
    app.send(Method::POST, "/api/v1/auth/password", Some(&theirs), set).await.expect(204);
    let theirs = token(login(&app, BOB, "known to the other").await.expect(200));
    assert_eq!(orgs(&app, &theirs).await, [other.id.as_str()]);
    // He logged in: the first org can't take him over either.
    issue(&app, &honest).await.expect_problem(409, "");
    login(&app, BOB, "known to the other").await.expect(200);
    // It has him if it says so again, and is told that the address is known.
    remove(&app, &honest).await;
    assert_eq!(invite(&app, &honest, "viewer").await["was_known"], true);
    let theirs = token(login(&app, BOB, "known to the other").await.expect(200));
    assert_eq!(orgs(&app, &theirs).await.len(), 2);
    // No org gives a password to somebody whom another has accepted.
    for org in [&honest, &other] {
        issue(&app, org).await.expect_problem(409, "");
    }
}

#[tokio::test]
async fn a_token_from_before_is_worth_nothing_once_another_org_lets_somebody_in() {
    let app = TestApp::start().await;
    let (honest, other) = two_orgs(&app).await;
    invite(&app, &honest, "admin").await;
    invite(&app, &other, "viewer").await;
    let known_to_other = text(&issue(&app, &other).await.expect(200)["one_time_password"]);
    // The other org logs in as him, keeps the token, and has him no more.
    let kept = token(login(&app, BOB, &known_to_other).await.expect(200));
    remove(&app, &other).await;
    issue(&app, &honest).await.expect_problem(409, "");
    remove(&app, &honest).await;
    let again = invite(&app, &honest, "admin").await;
    assert_eq!(again["was_known"], false);
    let his = token(login(&app, BOB, &text(&again["one_time_password"])).await.expect(200));
    assert_eq!(orgs(&app, &his).await, [honest.id.as_str()]);
    answer(app.request(Method::GET, "/api/v1/orgs", Some(&kept))).await.expect_problem(401, "");
    answer(app.request(Method::GET, "/v1/members", Some(&kept)).header("x-org-id", &honest.id))
        .await
        .expect_problem(401, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_and_a_new_password_that_race_let_one_of_them_in() {
    let app = TestApp::start().await;
    let (first, second) = two_orgs(&app).await;
    for _ in 0..4 {
        let password = text(&invite(&app, &first, "admin").await["one_time_password"]);
        invite(&app, &second, "viewer").await;
        let (login_, issued) = tokio::join!(login(&app, BOB, &password), issue(&app, &second));
        match login_.status.as_u16() {
            200 => {
                let theirs = token(login_.body);
                assert!(orgs(&app, &theirs).await.contains(&first.id));
                // Whoever got a password from the second org is not let into the first with it.
                assert!(issued.status != 200, "{}", issued.body);
                let set = json!({"new_password": "mine from now on"});
                app.send(Method::POST, "/api/v1/auth/password", Some(&theirs), set).await.expect(204);
                return;
            }
            401 | 503 => {
                if issued.status == 200 {
                    let password = text(&issued.body["one_time_password"]);
                    let theirs = token(login(&app, BOB, &password).await.expect(200));
                    assert_eq!(orgs(&app, &theirs).await, [second.id.as_str()]);
                    return;
                }
            }
            status => panic!("{status}: {}", login_.body),
        }
        remove(&app, &first).await;
        remove(&app, &second).await;
    }
    panic!("neither ever came through");
}

#[tokio::test]
async fn groups_are_set_by_admins_listed_and_recorded() {
    let app = TestApp::start().await;
    let admin = app.member("admin@example.com", "admin").await;
    let member = app.member("ann@example.com", "member").await;
    let set = async |token: &str, email: &str, groups: Value| {
        let body = json!({"email": email, "groups": groups});
        app.send(Method::POST, "/v1/members/groups", Some(token), body).await
    };
    let ann = set(&admin, "Ann@example.com", json!(["legal", "finance", "legal"])).await.expect(200);
    assert_eq!((&ann["groups"], &ann["role"]), (&json!(["finance", "legal"]), &json!("member")));
    set(&member, "ann@example.com", json!(["board"])).await.expect_problem(403, "");
    set(&admin, "owner@example.com", json!(["board"])).await.expect_problem(403, "");
    set(&admin, "nobody@example.com", json!([])).await.expect_problem(404, "");
    for wrong in [json!("finance"), json!(["owner"]), json!([""]), json!(["x".repeat(65)]), json!([7])] {
        let answer = set(&admin, "ann@example.com", wrong).await;
        assert_eq!(answer.status, 400, "{}", answer.body);
    }
    // A role or a restart changes none of it.
    app.post("/v1/members/role", json!({"email": "ann@example.com", "role": "approver"})).await.expect(200);
    let app = app.restart().await;
    let members = app.get("/v1/members").await.expect(200);
    let groups: Vec<_> = members.as_array().unwrap().iter().map(|member| member["groups"].clone()).collect();
    assert_eq!(groups, [json!([]), json!([]), json!(["finance", "legal"])]);
    let entries: Vec<_> =
        app.ledger().await.into_iter().filter(|entry| entry["action"] == "groups_set").collect();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0]["record"]["groups"], json!(["finance", "legal"]));
}
