//! Connections that mean no good: thousands that send or read as slowly as they can, from other addresses, while
//! everybody else is answered as ever.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::home::Home;
use crate::running::{Client, Server, serve};

/// Bad connections that are open at a time.
const BAD: u32 = 2_000;
/// Of these, from one address: fewer than an address may have.
const BAD_PER_ADDRESS: u32 = 200;
/// How long they are at it: several times as long as the server bears with each.
const ATTACK: Duration = Duration::from_secs(12);
/// Limits shorter than the server's own, so that each is met within that time.
const HEAD_MS: u64 = 2_000;
const BODY_MS: u64 = 2_500;
const WRITE_MS: u64 = 3_000;
/// The latest end of a bad connection: all limits one after the other, on a machine that is busy.
const CLOSED: Duration = Duration::from_secs(15);
/// What 99 of 100 others wait at most. A debug build beside other tests is several times as slow as one in use.
const P99: Duration = Duration::from_millis(if cfg!(debug_assertions) { 1_500 } else { 500 });
/// Descriptors of this process: most are the other ends of bad connections.
const DESCRIPTORS: u64 = 2 * BAD as u64;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_connections_wear_nobody_down() {
    const NAME: &str = "slow_connections::slow_connections_wear_nobody_down";
    if !may_open(DESCRIPTORS) {
        return run_again_with_more_descriptors(NAME);
    }
    let home = Home::on_files();
    let mut command = serve(&home);
    for (name, millis) in [("HEAD", HEAD_MS), ("BODY", BODY_MS), ("WRITE", WRITE_MS)] {
        command.env(format!("LICTOR_{name}_TIMEOUT_MS"), millis.to_string());
    }
    let server = Server::start_by(command);
    let (agent, key) = agent(&server).await;

    let over = Arc::new(AtomicBool::new(false));
    let server_address: SocketAddr = server.base.trim_start_matches("http://").parse().unwrap();
    let mut bad = JoinSet::new();
    for number in 0..BAD {
        let from = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 0, 0, 2)) + number / BAD_PER_ADDRESS);
        let kind = [Bad::Head, Bad::Body, Bad::Chunks, Bad::Reader][number as usize % 4];
        let (over, key) = (Arc::clone(&over), key.clone());
        bad.spawn(async move { kind.again_and_again(server_address, from, &key, &over).await });
    }
    // Those who measure don't wait for a turn among the bad ones.
    let measuring =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut good = JoinSet::new();
    for number in 0..4 {
        let (agent, over) = (agent.clone(), Arc::clone(&over));
        // Half of them come with a new connection each time.
        let client = if number % 2 == 0 { agent } else { server.client_without_keep_alive().with(&key) };
        good.spawn_on(async move { waits(&client, &over).await }, measuring.handle());
    }
    tokio::time::sleep(ATTACK).await;
    over.store(true, Ordering::Relaxed);

    let mut waits: Vec<Duration> = good.join_all().await.into_iter().flatten().collect();
    waits.sort_unstable();
    measuring.shutdown_background();
    let p99 = waits[waits.len() * 99 / 100];
    let mut lives: Vec<Duration> = bad.join_all().await.into_iter().flatten().collect();
    lives.sort_unstable();
    let longest = lives[lives.len() - 1];
    println!(
        "{} good answers, p50 {:?}, p99 {p99:?}; {} bad connections, the longest {longest:?}",
        waits.len(),
        waits[waits.len() / 2],
        lives.len()
    );
    assert!(waits.len() > 200, "only {} good requests", waits.len());
    assert!(p99 <= P99, "p99 {p99:?}");
    assert!(lives.len() > 2 * BAD as usize, "only {} bad connections", lives.len());
    assert!(longest <= CLOSED, "a bad connection lived {longest:?}");
    agent.post("/api/v1/decisions", &event()).await.expect(200);
}

#[tokio::test]
async fn an_address_has_its_share_of_connections() {
    let home = Home::on_files();
    let mut command = serve(&home);
    command.env("LICTOR_MAX_CONNECTIONS_PER_ADDRESS", "8");
    let server = Server::start_by(command);
    let address: SocketAddr = server.base.trim_start_matches("http://").parse().unwrap();
    let greedy = Ipv4Addr::new(127, 0, 0, 2);
    let mut open = Vec::new();
    for _ in 0..8 {
        let mut stream = connect(address, greedy, None).await.unwrap();
        answered(&mut stream).await;
        open.push(stream);
    }
    for _ in 0..20 {
        let mut refused = connect(address, greedy, None).await.unwrap();
        let read = tokio::time::timeout(Duration::from_secs(10), refused.read(&mut [0; 64])).await;
        assert!(matches!(read, Ok(Ok(0) | Err(_))), "{read:?}");
    }
    // Others have theirs, and a place that is free again can be taken.
    answered(&mut connect(address, Ipv4Addr::new(127, 0, 0, 3), None).await.unwrap()).await;
    drop(open.pop());
    tokio::time::sleep(Duration::from_millis(200)).await;
    answered(&mut connect(address, greedy, None).await.unwrap()).await;
    for stream in &mut open {
        answered(stream).await;
    }
}

/// What a bad connection does.
#[derive(Debug, Clone, Copy)]
enum Bad {
    /// Sends a head, a byte at a time.
    Head,
    /// Sends a body, a byte at a time.
    Body,
    /// The same in chunks, to a route that wants no body.
    Chunks,
    /// Asks for more than fits on the way, and reads nothing.
    Reader,
}

impl Bad {
    /// How long each connection lived.
    async fn again_and_again(
        self,
        server: SocketAddr,
        from: Ipv4Addr,
        key: &str,
        over: &AtomicBool,
    ) -> Vec<Duration> {
        let mut lives = Vec::new();
        while !over.load(Ordering::Relaxed) {
            let begun = Instant::now();
            match connect(server, from, matches!(self, Bad::Reader).then_some(4_096)).await {
                Ok(stream) => self.live(stream, key).await,
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
            lives.push(begun.elapsed());
        }
        lives
    }

    /// Goes on until the server has enough of it.
    async fn live(self, mut stream: TcpStream, key: &str) {
        let (opening, then) = match self {
            Bad::Head => ("GET /health HTTP/1.1\r\nhost: a\r\nx-a: ".to_owned(), "a"),
            Bad::Body => (
                format!(
                    "POST /api/v1/decisions HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {key}\r\n\
                     content-length: 60000\r\n\r\n"
                ),
                " ",
            ),
            Bad::Chunks => (
                "POST /api/v1/logs HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n".to_owned(),
                "1\r\n \r\n",
            ),
            Bad::Reader => ("GET /openapi.json HTTP/1.1\r\nhost: a\r\n\r\n".repeat(200), "G"),
        };
        if stream.write_all(opening.as_bytes()).await.is_err() {
            return;
        }
        let mut bytes = [0; 1_024];
        let mut tick = tokio::time::interval(Duration::from_millis(500));
        loop {
            tokio::select! {
                _ = tick.tick() => if stream.write_all(then.as_bytes()).await.is_err() { return },
                read = stream.read(&mut bytes), if !matches!(self, Bad::Reader) => {
                    if matches!(read, Ok(0) | Err(_)) { return }
                }
            }
        }
    }
}

async fn connect(
    server: SocketAddr,
    from: Ipv4Addr,
    receive_buffer: Option<u32>,
) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if let Some(bytes) = receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.bind(SocketAddr::from((from, 0)))?;
    socket.connect(server).await
}

/// Asks something on a connection that stays open.
async fn answered(stream: &mut TcpStream) {
    stream.write_all(b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut bytes = vec![0; 4_096];
    let read = stream.read(&mut bytes).await.unwrap();
    assert!(bytes[..read].starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&bytes[..read]));
}

/// A client that may act for an agent, and its key.
async fn agent(server: &Server) -> (Client, String) {
    let owner = server.owner().await;
    let key = owner.key().await;
    let agent = owner.with(&key);
    agent.post("/api/v1/agents", &json!({"agent_key": "bot"})).await.expect(201);
    (agent, key)
}

fn event() -> Value {
    json!({"event": "intent", "agent": {"id": "bot"}, "action": "refund", "amount": 5})
}

/// How long each answer took.
async fn waits(client: &Client, over: &AtomicBool) -> Vec<Duration> {
    let mut waits = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let asked = Instant::now();
        let answer = client.try_send(Method::POST, "/api/v1/decisions", &[], &event()).await;
        waits.push(asked.elapsed());
        let answer = answer.unwrap();
        if answer.status != 200 {
            println!("{:?} {}", asked.elapsed(), answer.status);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    waits
}

/// Whether this process may have so many descriptors.
fn may_open(descriptors: u64) -> bool {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().is_ok_and(|most| most >= descriptors)
}

/// Runs this test in a process that may open more, as a shell can let it.
fn run_again_with_more_descriptors(test: &str) {
    let run = format!("ulimit -n {DESCRIPTORS} && exec \"$0\" --exact {test} --nocapture");
    let status = Command::new("sh").args(["-c", &run]).arg(std::env::current_exe().unwrap()).status();
    assert!(status.unwrap().success());
}
