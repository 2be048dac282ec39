//! The servers: started with the same rules, asked the same questions, ended when dropped.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::bare;
use crate::lictor_text;
use crate::peer::Fields;
use crate::workload::{Place, Rule};

/// A running server and what it is asked.
pub struct Server {
    pub name: String,
    process: Process,
    /// `http://host:port`.
    pub base: String,
    pub path: &'static str,
    pub authorization: Option<String>,
    pub bodies: Vec<String>,
    /// Whether an answer allows.
    allows: fn(&Value) -> Option<bool>,
}

/// Killed when dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const START: Duration = Duration::from_secs(60);
const EMAIL: &str = "owner@example.com";
const PASSWORD: &str = "correct horse battery";

/// All servers that there are; the first one is the measure of the others.
pub fn start(folder: &Path, rules: &[Rule], events: &[Vec<u8>]) -> Result<Vec<Server>> {
    let file = |name: &str| folder.join(name).display().to_string();
    let lictor = |name, database, dry_run| start_lictor(name, database, dry_run, rules, events);
    let mut servers = vec![
        start_bare("axum, rules by hand", None, events)?,
        lictor("Lictor, dry run", file("dry.db"), true)?,
        start_bare("axum, rules by hand, group commit to SQLite", Some(file("bare.db")), events)?,
        lictor("Lictor, in the ledger, SQLite", file("lictor.db"), false)?,
    ];
    match std::env::var("LICTOR_TEST_POSTGRES") {
        Ok(cluster) => {
            let (bare, of_lictor) = (database(&cluster, "bare")?, database(&cluster, "lictor")?);
            let name = "axum, rules by hand, group commit to PostgreSQL";
            servers.push(start_bare(name, Some(bare), events)?);
            servers.push(lictor("Lictor, in the ledger, PostgreSQL", of_lictor, false)?);
        }
        Err(_) => eprintln!("PostgreSQL is left out: run this by tests/postgres.sh"),
    }
    match std::env::var_os("CERBOS") {
        Some(binary) => {
            for audited in [false, true] {
                servers.push(start_cerbos(binary.as_ref(), folder, rules, events, audited)?);
            }
        }
        None => eprintln!("Cerbos is left out: CERBOS names no binary (the npm package cerbos brings one)"),
    }
    Ok(servers)
}

impl Server {
    /// Whether it allows this.
    pub fn ask(&self, body: &str) -> Result<bool> {
        let answer = post(&format!("{}{}", self.base, self.path), self.authorization.as_deref(), body)?;
        (self.allows)(&answer).with_context(|| format!("{} says {answer}", self.name))
    }

    pub fn process_id(&self) -> u32 {
        self.process.0.id()
    }
}

/// A new database of this cluster.
fn database(cluster: &str, name: &str) -> Result<String> {
    let name = format!("bench_{name}_{}", std::process::id());
    let (place, options) = cluster.split_once('?').unwrap_or((cluster, ""));
    let (server, _) = place.rsplit_once('/').context("an address of PostgreSQL has a database")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(cluster, tokio_postgres::NoTls).await?;
        tokio::spawn(connection);
        client.batch_execute(&format!("CREATE DATABASE {name}")).await
    })?;
    Ok(format!("{server}/{name}?{options}"))
}

fn start_bare(name: &str, ledger: Option<String>, events: &[Vec<u8>]) -> Result<Server> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(bare::COMMAND).args(ledger);
    let (process, base) = until_it_says(command, "listens on ")?;
    Ok(Server {
        name: name.to_owned(),
        process,
        base: format!("http://{base}"),
        path: "/decide",
        authorization: Some(bare::KEY.to_owned()),
        bodies: events.iter().map(|event| text(event).to_owned()).collect(),
        allows: |answer| Some(answer["decision"] == "allow"),
    })
}

/// Judging only, or with a ledger in this database.
fn start_lictor(
    name: &str,
    database: String,
    dry_run: bool,
    rules: &[Rule],
    events: &[Vec<u8>],
) -> Result<Server> {
    let binary = std::env::var_os("LICTOR").context("LICTOR names no binary of the server")?;
    let mut command = Command::new(&binary);
    command.args(["serve", "--listen", "127.0.0.1:0", "--database", &database]);
    command.env("LICTOR_OWNER_EMAIL", EMAIL).env("LICTOR_OWNER_PASSWORD", PASSWORD);
    command.env("LICTOR_MASTER_KEY", "0b".repeat(32));
    let (process, base) = until_it_says(command, "Lictor listens on ")?;
    Ok(Server {
        name: name.to_owned(),
        process,
        authorization: Some(set_up_lictor(&base, rules, events)?),
        base,
        path: "/api/v1/decisions",
        bodies: events.iter().map(|event| lictor_body(text(event), dry_run)).collect(),
        allows: |answer| Some(answer["decision"].as_str()? == "allow"),
    })
}

fn lictor_body(event: &str, dry_run: bool) -> String {
    if dry_run { event.replacen('{', "{\"dry_run\":true,", 1) } else { event.to_owned() }
}

/// Rules, agents with the tags of their events, and an API key for them.
fn set_up_lictor(base: &str, rules: &[Rule], events: &[Vec<u8>]) -> Result<String> {
    let login = json!({"email": EMAIL, "password": PASSWORD}).to_string();
    let token = post(&format!("{base}/api/v1/auth/login"), None, &login)?;
    let owner = format!("Bearer {}", token["access_token"].as_str().context("no token")?);
    let as_owner = |path: &str, body: Value| post(&format!("{base}{path}"), Some(&owner), &body.to_string());
    for source in lictor_text::policies(rules) {
        as_owner("/api/v1/policies", json!({"source": source}))?;
    }
    for event in events {
        let event: Value = serde_json::from_slice(event)?;
        let agent = &event["agent"];
        as_owner("/api/v1/agents", json!({"agent_key": agent["id"], "tags": agent["tags"]}))?;
    }
    let key = as_owner("/api/v1/auth/api-keys", json!({"name": "bench"}))?;
    Ok(format!("Bearer {}", key["key"].as_str().context("no key")?))
}

fn start_cerbos(
    binary: &Path,
    folder: &Path,
    rules: &[Rule],
    events: &[Vec<u8>],
    audited: bool,
) -> Result<Server> {
    let folder = folder.join(format!("cerbos-{audited}"));
    let policies = folder.join("policies");
    std::fs::create_dir_all(&policies)?;
    std::fs::write(policies.join("target.json"), cerbos_policy(rules).to_string())?;
    let (http, grpc) = (free_address()?, free_address()?);
    let config = json!({
        "server": {"httpListenAddr": http, "grpcListenAddr": grpc},
        "storage": {"driver": "disk", "disk": {"directory": policies, "watchForChanges": false}},
        "audit": {"enabled": audited, "accessLogsEnabled": false, "decisionLogsEnabled": true, "backend": "file",
            "file": {"path": folder.join("audit.log")}},
        "telemetry": {"disabled": true},
    });
    std::fs::write(folder.join("config.json"), config.to_string())?;
    let mut command = Command::new(binary);
    command.args(["server", "--log-level=error", "--config"]).arg(folder.join("config.json"));
    let server = Server {
        name: format!("Cerbos {}{}", version(binary)?, if audited { ", with its audit file" } else { "" }),
        process: Process(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?),
        base: format!("http://{http}"),
        path: "/api/check/resources",
        authorization: None,
        bodies: events.iter().map(|event| cerbos_body(event)).collect::<Result<_>>()?,
        allows: |answer| {
            let (_, effect) = answer["results"][0]["actions"].as_object()?.iter().next()?;
            Some(effect == "EFFECT_ALLOW")
        },
    };
    let started = Instant::now();
    while server.ask(&server.bodies[0]).is_err() {
        if started.elapsed() > START {
            bail!("Cerbos does not start");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(server)
}

/// The first line of what it says of its version.
fn version(binary: &Path) -> Result<String> {
    let said = Command::new(binary).arg("--version").output()?.stdout;
    Ok(String::from_utf8_lossy(&said).lines().next().unwrap_or_default().to_owned())
}

fn cerbos_policy(rules: &[Rule]) -> Value {
    let mut all = vec![json!({"name": "others", "actions": ["*"], "effect": "EFFECT_ALLOW", "roles": ["*"]})];
    for rule in rules {
        let place = match &rule.place {
            Place::Suffix(suffix) => format!("R.attr.target.endsWith(\"{suffix}\")"),
            Place::Contains(part) => format!("R.attr.path.contains(\"{part}\")"),
            Place::Regex { prefix, suffix } => {
                format!("R.attr.path.matches(\"^{prefix}.*{}$\")", suffix.replace('.', "\\\\."))
            }
            Place::Network(network) => format!("R.attr.ip.inIPAddrRange(\"{network}0/24\")"),
        };
        let expr = format!(
            "R.attr.amount > {} && {place} && hasIntersection(P.attr.tags, {:?})",
            rule.amount, rule.tags
        );
        all.push(json!({
            "name": rule.name.replace('.', "-"), "actions": [rule.tool], "effect": "EFFECT_DENY", "roles": ["*"],
            "condition": {"match": {"expr": expr}},
        }));
    }
    json!({
        "apiVersion": "api.cerbos.dev/v1",
        "resourcePolicy": {"version": "default", "resource": "target", "rules": all},
    })
}

fn cerbos_body(event: &[u8]) -> Result<String> {
    let fields = Fields::read(event)?;
    let attributes = json!({"amount": fields.metadata.amount, "path": fields.metadata.path,
        "ip": fields.metadata.ip, "target": fields.target});
    let body = json!({
        "requestId": "r-1",
        "principal": {"id": "a", "roles": ["agent"], "attr": {"tags": fields.agent.tags.as_slice()}},
        "resources": [{"actions": [fields.tool], "resource": {"kind": "target", "id": "t", "attr": attributes}}],
    });
    Ok(body.to_string())
}

/// Starts a process, and what follows `words` on the line that says where it listens.
fn until_it_says(mut command: Command, words: &str) -> Result<(Process, String)> {
    let mut process =
        Process(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?);
    let mut lines = BufReader::new(process.0.stdout.take().context("its output is piped")?).lines();
    let base = lines
        .find_map(|line| line.ok()?.strip_prefix(words).map(str::to_owned))
        .context("a server ended before it listened")?;
    // Goes on to the end, so that the server can always write.
    std::thread::spawn(move || lines.for_each(drop));
    Ok((process, base))
}

fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

fn post(url: &str, authorization: Option<&str>, body: &str) -> Result<Value> {
    let mut request = ureq::post(url).header("content-type", "application/json");
    if let Some(key) = authorization {
        request = request.header("authorization", key);
    }
    let answer = request.send(body).with_context(|| format!("{url}: {body}"))?.body_mut().read_to_string()?;
    Ok(serde_json::from_str(&answer)?)
}

fn text(json: &[u8]) -> &str {
    std::str::from_utf8(json).expect("events are made from texts")
}
