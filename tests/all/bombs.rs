//! Bodies made to cost more than they weigh: refused at once, and without much memory.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::home::Home;
use crate::running::Server;

const MIB: usize = 1024 * 1024;
/// How long refusing one may take, once it has arrived. A debug build on a busy machine needs more than the 50 ms that
/// a server in use has.
const AT_ONCE: Duration = Duration::from_millis(if cfg!(debug_assertions) { 3_000 } else { 50 });
/// What a route takes at most, and so twice what a body may cost; beside it what allocators keep.
const LIMIT_MIB: usize = 16;
const SPARE_MIB: usize = 32;

#[tokio::test]
async fn bombs_are_refused_at_once_and_without_much_memory() {
    let home = Home::on_files();
    let server = Server::start(&home);
    let owner = server.owner().await;
    let agent = owner.with(owner.key().await);
    agent.post("/api/v1/agents", &json!({"agent_key": "bot"})).await.expect(201);

    let event = |payload: &str| {
        format!(r#"{{"event":"intent","agent":{{"id":"bot"}},"action":"x","payload":{payload}}}"#)
    };
    let keys = |count: usize| {
        let members: Vec<_> = (0..count).map(|number| format!("\"k{number}\":1")).collect();
        format!("{{{}}}", members.join(","))
    };
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let text = |bytes: usize| format!("\"{}\"", "x".repeat(bytes));
    // A string of this many bytes between its quotes fills a payload to its limit.
    let full = 64 * 1024 - "{\"a\":\"\"}".len();
    let bombs = [
        ("depth", 400, event(&deep(100_000))),
        ("depth of objects", 400, event(&format!("{}1{}", "{\"a\":".repeat(100_000), "}".repeat(100_000)))),
        ("unclosed", 400, event(&"[".repeat(500_000))),
        ("a million keys", 413, event(&keys(1_000_000))),
        ("as many keys as fit", 400, event(&keys(80_000))),
        ("keys of the event", 400, keys(80_000)),
        ("a list", 413, event(&format!("[{}1]", "1,".repeat(5 * MIB)))),
        ("as much list as fits", 400, event(&format!("[{}1]", "1,".repeat(500_000)))),
        ("a string", 413, event(&text(50 * MIB))),
        ("a number", 400, event(&"1".repeat(1_000_000))),
        ("a fraction", 400, event(&format!("0.{}", "1".repeat(1_000_000)))),
        ("an exponent that nobody reads", 200, event(&format!("1e{}", "9".repeat(60_000)))),
        (
            "an amount",
            400,
            r#"{"event":"intent","agent":{"id":"bot"},"action":"x","amount":1e999999999}"#.to_owned(),
        ),
        ("one byte too much", 400, event(&format!("{{\"a\":{}}}", text(full + 1)))),
        ("events that are none", 200, format!("{{\"events\":[{}1]}}", "1,".repeat(9_000))),
        ("too many events", 400, format!("{{\"events\":[{}1]}}", "1,".repeat(1_000_000))),
    ];
    agent.post_text("/api/v1/decisions", event(&format!("{{\"a\":{}}}", text(full)))).await.expect(200);
    let before = server.memory_mib();
    for (name, want, bomb) in bombs {
        let bytes = bomb.len();
        let asked = Instant::now();
        let answer = agent.post_text("/api/v1/decisions", bomb).await;
        let took = asked.elapsed();
        assert_eq!(answer.status, want, "{name}: {}", answer.body);
        // Sending it takes its time as well, and so does its answer.
        let arriving =
            Duration::from_millis(20) * u32::try_from((bytes + answer.body.to_string().len()) / MIB).unwrap();
        assert!(took <= AT_ONCE + arriving, "{name} of {bytes} bytes took {took:?}");
    }
    let more = server.memory_mib().saturating_sub(before);
    assert!(more <= 2 * LIMIT_MIB + SPARE_MIB, "{more} MiB more than before");
    agent.get("/health").await.expect(200);
}
