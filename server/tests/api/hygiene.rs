//! What every answer says, whatever was asked; what is not HTTP; and what a server says of itself.

use reqwest::{Method, Response};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::app::{TestApp, answer};

async fn get(app: &TestApp, path: &str) -> Response {
    app.client.get(format!("{}{path}", app.base)).send().await.unwrap()
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn every_answer_tells_browsers_what_they_may() {
    let app = TestApp::start().await;
    let key = app.key().await;
    app.agent(&key, "bot").await;
    let event = json!({"event": "intent", "agent": {"id": "bot"}, "action": "x"});
    let decided = app.request(Method::POST, "/api/v1/decisions", Some(&key)).json(&event);
    let refused = app.request(Method::POST, "/api/v1/decisions", Some("KvKey-nonsense")).json(&event);
    let mut answers = vec![decided.send().await.unwrap(), refused.send().await.unwrap()];
    for path in
        ["/health", "/ready", "/livez", "/metrics", "/nothing", "/docs/", "/docs/nothing", "/openapi.json"]
    {
        answers.push(get(&app, path).await);
    }
    for answer in &answers {
        let path = answer.url().path();
        assert_eq!(header(answer, "x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header(answer, "referrer-policy"), "no-referrer", "{path}");
        let policy = header(answer, "content-security-policy");
        assert!(policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
        assert!(!policy.contains("script-src"), "{path}: {policy}");
        let is_page = path == "/docs/";
        assert!(
            policy.starts_with(if is_page { "default-src 'self'" } else { "default-src 'none'" }),
            "{path}"
        );
        let kept = if path == "/openapi.json" { "no-cache" } else { "no-store" };
        assert_eq!(header(answer, "cache-control"), kept, "{path}");
        assert_eq!(header(answer, "x-request-id").len(), 36, "{path}");
        // There is no TLS before this server.
        assert_eq!(header(answer, "strict-transport-security"), "", "{path}");
        if answer.status().as_u16() >= 400 {
            assert_eq!(header(answer, "content-type"), "application/problem+json", "{path}");
        }
    }
}

#[tokio::test]
async fn behind_tls_browsers_are_told_to_stay_there() {
    let app =
        TestApp::start_with(|config| config.public_url = Some("https://lictor.example".to_owned())).await;
    assert!(header(&get(&app, "/health").await, "strict-transport-security").starts_with("max-age="));
}

#[tokio::test]
async fn the_pages_use_nothing_that_their_policy_forbids() {
    let app = TestApp::start().await;
    let page = get(&app, "/docs/").await.text().await.unwrap();
    let tags: Vec<_> = page.split("<script").skip(1).collect();
    assert!(tags.len() >= 3, "{page}");
    for tag in tags {
        let (attributes, rest) = tag.split_once('>').unwrap();
        assert!(attributes.contains("src=\"./"), "{tag}");
        let (inline, _) = rest.split_once("</script>").unwrap();
        assert_eq!(inline.trim(), "");
    }
    assert!(!page.contains("<style") && !page.contains("style=") && !page.contains("http"), "{page}");
    let start = get(&app, "/docs/swagger-initializer.js").await;
    assert_eq!(header(&start, "content-type"), "text/javascript");
    assert!(start.text().await.unwrap().contains("\"/openapi.json\""));
    for asset in ["swagger-ui.css", "index.css", "swagger-ui-bundle.js", "swagger-ui-standalone-preset.js"] {
        assert_eq!(get(&app, &format!("/docs/{asset}")).await.status().as_u16(), 200, "{asset}");
    }
}

#[tokio::test]
async fn the_document_is_sent_once_to_whoever_keeps_it() {
    let app = TestApp::start().await;
    let first = get(&app, "/openapi.json").await;
    let etag = header(&first, "etag").to_owned();
    assert!(first.json::<Value>().await.unwrap()["paths"].is_object());
    let again = app.request(Method::GET, "/openapi.json", None).header("if-none-match", etag);
    let again = again.send().await.unwrap();
    assert_eq!(again.status().as_u16(), 304);
    assert_eq!(again.text().await.unwrap(), "");
}

#[tokio::test]
async fn a_refused_method_hears_which_there_are() {
    let app = TestApp::start().await;
    for (path, method, allowed) in [
        ("/api/v1/policies", "DELETE", "POST,GET,HEAD"),
        ("/api/v1/policies/x", "POST", "PUT,GET,HEAD,DELETE"),
        ("/api/v3/intents", "GET", "POST"),
        ("/health", "ODD", "GET,HEAD"),
    ] {
        let request = app.request(Method::from_bytes(method.as_bytes()).unwrap(), path, Some(&app.token));
        let refused = answer(request).await;
        let mut said: Vec<_> = refused.headers["allow"].to_str().unwrap().split(',').map(str::trim).collect();
        let mut want: Vec<_> = allowed.split(',').collect();
        said.sort_unstable();
        want.sort_unstable();
        assert_eq!(said, want, "{path}");
        refused.expect_problem(405, "");
    }
}

#[tokio::test]
async fn packed_bodies_are_not_unpacked() {
    let app = TestApp::start().await;
    let before = app.head().await;
    for path in ["/api/v1/decisions", "/api/v1/agents", "/api/v1/policies", "/api/v3/intents"] {
        for encoding in ["gzip", "br", "deflate", "identity, gzip"] {
            let request =
                app.request(Method::POST, path, Some(&app.token)).header("content-encoding", encoding);
            answer(request.body("{}")).await.expect_problem(415, "");
        }
    }
    assert_eq!(app.head().await, before);
    let plain = app.request(Method::POST, "/api/v1/agents", Some(&app.token));
    let plain = plain.header("content-encoding", "identity").json(&json!({"agent_key": "bot"}));
    answer(plain).await.expect(201);
}

/// What comes back for these bytes, until the server closes or a whole answer is there.
async fn raw(app: &TestApp, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(app.base.trim_start_matches("http://")).await.unwrap();
    // It may have closed already.
    let _ = stream.write_all(request).await;
    let mut read = Vec::new();
    let mut bytes = [0; 4_096];
    while let Ok(Ok(count @ 1..)) =
        tokio::time::timeout(std::time::Duration::from_secs(5), stream.read(&mut bytes)).await
    {
        read.extend_from_slice(&bytes[..count]);
    }
    String::from_utf8_lossy(&read).into_owned()
}

#[tokio::test]
async fn what_is_not_http_is_refused_and_cut_off() {
    let app = TestApp::start().await;
    let long = "x".repeat(70_000);
    for (want, request) in [
        ("400", "nonsense\r\n\r\n".to_owned()),
        ("400", "GET / HTTP/1.1\r\nhost: a\r\nbad header\r\n\r\n".to_owned()),
        ("400", "POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n".to_owned()),
        ("400", "POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n".to_owned()),
        ("431", format!("GET / HTTP/1.1\r\nhost: a\r\nx-long: {long}\r\n\r\n")),
        ("431", format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x-many: a\r\n".repeat(200))),
    ] {
        let answer = raw(&app, request.as_bytes()).await;
        let head: String = request.chars().take(60).collect();
        assert!(answer.starts_with(&format!("HTTP/1.1 {want}")), "{head:?}: {answer:?}");
        assert!(answer.contains("connection: close"), "{head:?}: {answer:?}");
    }
    answer(app.request(Method::GET, "/health", None)).await.expect(200);
}

#[tokio::test]
async fn it_lives_and_is_ready() {
    let app = TestApp::start().await;
    assert_eq!(get(&app, "/livez").await.text().await.unwrap(), "ok");
    let ready = answer(app.request(Method::GET, "/ready", None)).await.expect(200);
    assert_eq!((&ready["status"], &ready["database"]), (&json!("ok"), &json!("ok")));
}

#[tokio::test]
async fn metrics_count_by_route_and_name_nobody() {
    let app = TestApp::start().await;
    let key = app.key().await;
    let id = app.agent(&key, "bot-of-somebody").await;
    app.post(
        "/api/v1/policies",
        json!({"source": "policy p {}\nrule r on intent { when action == \"bad\" deny }"}),
    )
    .await
    .expect(201);
    for action in ["good", "bad", "bad"] {
        let event = json!({"event": "intent", "agent": {"id": "bot-of-somebody"}, "action": action});
        app.send(Method::POST, "/api/v1/decisions", Some(&key), event).await.expect(200);
    }
    app.get(&format!("/api/v1/agents/{id}")).await.expect(200);
    app.get("/nothing/here-is-a-path").await.expect(404);
    let answer = get(&app, "/metrics").await;
    assert_eq!(header(&answer, "content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let text = answer.text().await.unwrap();
    for line in [
        r#"lictor_http_requests_total{method="POST",route="/api/v1/decisions",status="2xx"} 3"#,
        r#"lictor_http_requests_total{method="GET",route="/api/v1/agents/{agent}",status="2xx"} 1"#,
        r#"lictor_http_requests_total{method="none",route="none",status="4xx"} 1"#,
        r#"lictor_http_request_seconds_count{method="POST",route="/api/v1/decisions"} 3"#,
        r#"lictor_decisions_total{outcome="deny"} 2"#,
        "lictor_queue_events 0",
    ] {
        assert!(text.lines().any(|other| other == line), "no {line} in\n{text}");
    }
    let value = |name: &str| -> f64 {
        let line = text.lines().find(|line| line.split(' ').next() == Some(name));
        line.unwrap_or_else(|| panic!("no {name}")).split(' ').nth(1).unwrap().parse().unwrap()
    };
    assert!(value("lictor_http_connections") >= 1.0);
    assert!(value("lictor_commit_seconds_count") >= 3.0 && value("lictor_commit_seconds_sum") > 0.0);
    assert_eq!(value("lictor_ledger_entries"), app.ledger().await.len() as f64);
    for secret in ["bot-of-somebody", &*id, &*key, &*app.token, &*app.org, "here-is-a-path", "bad"] {
        assert!(!text.contains(secret), "{secret} in\n{text}");
    }
}

#[tokio::test]
async fn metrics_are_for_this_machine_or_for_a_token() {
    let app = TestApp::start().await;
    for proxy in ["x-forwarded-for", "forwarded", "x-real-ip"] {
        let request = app.request(Method::GET, "/metrics", None).header(proxy, "127.0.0.1");
        answer(request).await.expect_problem(403, "");
    }
    let app = TestApp::start_with(|config| config.metrics_token = Some("metrics-secret".to_owned())).await;
    for credential in [None, Some("metrics"), Some("metrics-secret2"), Some(&*app.token)] {
        answer(app.request(Method::GET, "/metrics", credential)).await.expect_problem(401, "");
    }
    let request = app.request(Method::GET, "/metrics", Some("metrics-secret"));
    assert_eq!(request.header("x-forwarded-for", "192.0.2.1").send().await.unwrap().status().as_u16(), 200);
}

/// What callers send something to before anybody knows them.
const BEFORE_LOGIN: [&str; 3] = ["/api/v1/auth/login", "/admin/auth/login", "/api/v1/auth/register"];

/// An object of the document, or what its reference names.
fn resolved<'a>(api: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(reference) => api.pointer(reference.trim_start_matches('#')).unwrap(),
        None => value,
    }
}

/// Whether a reader sees what a value looks like: an example of the whole, or of what it consists of.
fn has_example(api: &Value, schema: &Value) -> bool {
    let schema = resolved(api, schema);
    let members = ["items", "oneOf", "allOf", "anyOf"].into_iter().map(|name| &schema[name]);
    let mut parts = members.flat_map(|part| part.as_array().cloned().unwrap_or_else(|| vec![part.clone()]));
    let of_members =
        || schema["properties"].as_object().is_some_and(|all| all.values().any(|one| has_example(api, one)));
    schema["example"] != Value::Null
        || parts.any(|part| part.is_object() && has_example(api, &part))
        || of_members()
}

#[tokio::test]
async fn the_document_says_of_each_route_what_it_takes_answers_and_whom_it_serves() {
    let app = TestApp::start().await;
    let api = answer(app.request(Method::GET, "/openapi.json", None)).await.expect(200);
    assert!(api["openapi"].as_str().unwrap().starts_with("3.1"));
    assert_eq!(api["security"], json!([{"bearer": []}]));
    let open = [&["/health", "/ready", "/livez"][..], &BEFORE_LOGIN].concat();
    let mut lacking = Vec::new();
    for (path, item) in api["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let mut must = |is_so: bool, what: &str| {
                if !is_so {
                    lacking.push(format!("{method} {path}: {what}"));
                }
            };
            must(operation["summary"].is_string() && operation["tags"].is_array(), "a summary and a tag");
            // Without one of its own it has that of the document: a key or a token.
            let is_open = operation["security"] == json!([{}]) || operation["security"] == json!([]);
            must(is_open == open.contains(&path.as_str()), "whom it serves");
            let body = &operation["requestBody"]["content"]["application/json"];
            must(body.is_null() || has_example(&api, &body["schema"]), "an example of its body");
            for (status, response) in operation["responses"].as_object().unwrap() {
                let response = resolved(&api, response);
                must(
                    response["description"].as_str().is_some_and(|text| !text.is_empty()),
                    "what a status means",
                );
                let json = &response["content"]["application/json"];
                let shown =
                    json.is_null() || has_example(&api, &json["schema"]) || !json["example"].is_null();
                must(shown, &format!("an example of {status}"));
                let is_error = status.starts_with(['4', '5']);
                let is_problem = response["content"]["application/problem+json"].is_object();
                let says_how_it_is = open.contains(&path.as_str()) && status == "503" && !json.is_null();
                must(is_error == is_problem || says_how_it_is, &format!("a problem for {status}"));
            }
            let named: Vec<_> = path.split('/').filter(|part| part.starts_with('{')).collect();
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let in_path = parameters.iter().filter(|one| one["in"] == "path").count();
            must(in_path == named.len(), "the parameters of its path");
            must(parameters.iter().all(|one| one["description"].is_string()), "what its parameters mean");
        }
    }
    assert!(lacking.is_empty(), "these lack something:\n{}", lacking.join("\n"));
}

/// Each documented route is there, and answers no caller with a server's error.
#[tokio::test]
async fn every_documented_route_is_there_and_asks_who_calls() {
    let app = TestApp::start().await;
    let api = answer(app.request(Method::GET, "/openapi.json", None)).await.expect(200);
    for (path, item) in api["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let part = |part: &str| if part.starts_with('{') { "x".to_owned() } else { part.to_owned() };
            let asked = path.split('/').map(part).collect::<Vec<_>>().join("/");
            let found = answer(app.request(method.clone(), &asked, None).body("{}")).await;
            let want: &[u16] = match (operation["security"].is_array(), path.as_str()) {
                (true, path) if BEFORE_LOGIN.contains(&path) => &[400],
                (true, _) | (_, "/metrics") => &[200],
                (false, _) => &[401],
            };
            assert!(
                want.contains(&found.status.as_u16()),
                "{method} {asked}: {} {}",
                found.status,
                found.body
            );
        }
    }
}
