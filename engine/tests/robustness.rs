//! Events that no agent would send: reading them ends soon, in an event or in faults, with the stack intact.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets what it did not expect should stop there"
)]

use std::time::{Duration, Instant};

use lictor_dsl::Source;
use lictor_engine::event::{Event, Origin};
use lictor_engine::{Engine, Generation, Run};

/// An intent with this payload.
fn intent(payload: &str) -> String {
    format!(
        r#"{{"event":"intent","at":"2026-01-01T00:00:00Z","org":"o","agent":{{"id":"a"}},"action":"x","payload":{payload}}}"#
    )
}

/// For a megabyte of event; unoptimised and beside other work it may be many seconds.
const SOON: Duration = Duration::from_secs(if cfg!(debug_assertions) { 30 } else { 1 });

#[test]
fn hostile_events_are_refused_soon() {
    let keys = |count: usize, same: usize| {
        let keys: Vec<String> = (0..count).map(|number| format!("\"k{}\":1", number % same)).collect();
        format!("{{{}}}", keys.join(","))
    };
    let cases = [
        ("open lists", intent(&"[".repeat(1_000_000)), "nest"),
        ("deep lists", intent(&format!("{}{}", "[".repeat(129), "]".repeat(129))), "nest"),
        ("deep objects", intent(&format!("{}1{}", "{\"a\":".repeat(100_000), "}".repeat(100_000))), "nest"),
        ("wide objects", intent(&keys(100_000, 100_000)), "KiB"),
        ("wide lists", intent(&format!("[{}1]", "1,".repeat(500_000))), "KiB"),
        ("a key said again, last of many", intent(&keys(5_001, 5_000)), "twice"),
        ("the same key, always", intent(&keys(100_000, 1)), "twice"),
        ("one key in two spellings", intent(r#"{"a":1,"\u0061":2}"#), "twice"),
        ("a long text", intent(&format!("\"{}\"", "x".repeat(1_000_000))), "KiB"),
        ("a long text of escapes", intent(&format!("\"{}\"", "\\u0041".repeat(200_000))), "KiB"),
        ("half a pair", intent("\"\\ud800\""), ""),
        ("a long number", intent(&"1".repeat(1_000_000)), "KiB"),
        ("a text that does not end", intent(&format!("\"{}", "\\\\".repeat(500_000))), ""),
        ("nothing but blanks", " ".repeat(1_000_000), ""),
        ("a number that is too large for a field", intent("1,\"amount\":1e400"), ""),
        ("an exponent that is too large for anything", intent("1,\"amount\":1e99999999999999999999"), ""),
        ("a long number in a field", intent(&format!("1,\"amount\":{}", "1".repeat(1_000_000))), ""),
        ("an event in a list", format!("[{}]", intent("1")), ""),
    ];
    for (name, text, because) in cases {
        let start = Instant::now();
        let refused = Event::decode(text.as_bytes(), Origin::Event).err();
        let time = start.elapsed();
        let refused = refused.unwrap_or_else(|| panic!("{name} is read"));
        let said: Vec<&str> = refused.errors.iter().map(|error| error.message.as_str()).collect();
        assert!(said.iter().any(|message| message.contains(because)), "{name}: {said:?}");
        assert!(said.iter().all(|message| message.len() < 1_000), "{name}: a long message");
        assert!(time < SOON, "{name} took {time:?}");
    }
}

/// What is large but allowed is judged, by rules that look at all of it.
#[test]
fn large_events_are_judged_soon() {
    let policy = "policy p {}
default on intent allow
rule nested on intent { when any a in payload.xs: any b in payload.xs: any c in payload.xs: a == b + c deny }
rule looked_up on intent { when any a in payload.xs: any b in payload.xs: a == b + payload.k deny }
rule all_texts on intent { when text(payload) matches /(x+x+)+y/ or text(payload) contains word \"secret\" deny }
rule remembered on intent { when count(intent per each payload.xs = payload.x within 1h) >= 3 deny }
";
    let set = lictor_dsl::check(vec![Source::new("p", policy)]).into_set().expect("a policy");
    let generation = Generation::compile(&set).expect("it compiles");
    let payloads = [
        format!("{{\"xs\":[{}1],\"x\":1}}", "1,".repeat(30_000)),
        format!("{{\"xs\":[{}1],\"x\":1}}", "0.5,".repeat(15_000)),
        format!("{{\"xs\":\"{}\"}}", "x".repeat(60_000)),
        format!("{{\"{}\":0,\"xs\":[{}1],\"k\":2}}", "\\n".repeat(15_000), "1,".repeat(15_000)),
        format!(
            "{{{}\"xs\":[{}1],\"k\":2}}",
            (0..4_000).map(|key| format!("\"k{key}\":0,")).collect::<String>(),
            "1,".repeat(10_000)
        ),
        format!("{{\"xs\":[{}\"\"]}}", "\"xxxxxxxxxxxxxxxx\",".repeat(3_000)),
        format!("{}1{}", "{\"xs\":".repeat(120), "}".repeat(120)),
        format!("{}{}", "[".repeat(120), "]".repeat(120)),
    ];
    let mut run = Run::new(&generation, Engine::Jit);
    for payload in &payloads {
        let event = Event::decode(intent(payload).as_bytes(), Origin::Event).expect("an event");
        let start = Instant::now();
        run.judge(event);
        assert!(
            start.elapsed() < SOON,
            "{:?} for {}",
            start.elapsed(),
            &payload.get(..40).unwrap_or(payload)
        );
    }
}
