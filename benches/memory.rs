//! What looking back costs: by the length of the history, by the number of keys, by the number of rules; and how much
//! one key takes.
//!
//! The other side is the full history searched anew. Each event is judged and then remembered; the tables say what each
//! of the two takes, and how often it allocates.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a bench that can't go on should say so"
)]

mod drawing;

use std::alloc::{GlobalAlloc, Layout, System};
use std::fmt::Write;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use drawing::{Drawing, Line, Plot};
use lictor_dsl::Source;
use lictor_engine::event::{Event, Origin};
use lictor_engine::memory::history::History;
use lictor_engine::memory::{Fate, Memories};
use lictor_engine::{Engine, Generation};

/// The system's allocator; it counts how often it is asked.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: it hands on to the system's allocator.
#[expect(unsafe_code, reason = "an allocator is unsafe to write")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `GlobalAlloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Ten memories of each kind of state that is kept.
const MEMORIES: [(&str, &str); 10] = [
    ("count(intent where action == \"refund\" per agent.id within 1m)", ">="),
    ("sum(intent.amount per agent.id within 24h)", ">"),
    ("max(intent.amount per agent.id within 1h)", ">"),
    ("distinct(intent.target.host per agent.id within 1h)", ">="),
    ("count(denied intent per agent.id within 10m)", ">="),
    ("streak(intent where action == \"payout\" per agent.id)", ">="),
    ("count(intent where amount > 900 per agent.id within 7d)", ">="),
    ("min(intent.amount where action == \"refund\" per agent.id within 1h)", "<"),
    ("count(intent per agent.id within 20 events)", ">"),
    ("sum(intent.amount where payload.note == \"gift\" per agent.id within 1h)", ">"),
];

fn compiled(texts: Vec<String>) -> Generation {
    let sources = texts.into_iter().map(|text| Source::new("bench", text)).collect();
    let set = lictor_dsl::check(sources).into_set().expect("clean");
    Generation::compile(&set).expect("compiles")
}

/// A hundred rules, ten over each memory, with thresholds that are rarely reached.
fn hundred() -> Generation {
    let mut text = String::from("policy bench {}\ndefault on intent allow\n");
    for rule in 0..100 {
        let (memory, comparison) = MEMORIES[rule % 10];
        let threshold = if comparison == "<" { -1 - (rule as i64) } else { 20 + rule as i64 / 10 };
        let threshold = if memory.starts_with("sum") || memory.starts_with("max") {
            threshold * 100_000
        } else {
            threshold
        };
        writeln!(text, "rule r{rule} on intent {{ when {memory} {comparison} {threshold} warn }}")
            .expect("text");
    }
    compiled(vec![text])
}

fn event(agent: usize, number: usize) -> Event {
    let action = ["refund", "payout", "transfer", "note"][number % 4];
    let json = format!(
        "{{\"event\":\"intent\",\"at\":\"2026-01-01T00:00:00Z\",\"org\":\"o\",\"agent\":{{\"id\":\"agent-{agent}\"}},\
         \"action\":\"{action}\",\"amount\":{}.{},\"target\":{{\"host\":\"h{}.example\"}},\"payload\":{{\"note\":\"{}\"}}}}",
        number % 1_000,
        number % 10,
        number % 7,
        if number.is_multiple_of(50) { "gift" } else { "rent" }
    );
    Event::decode(json.as_bytes(), Origin::Event).expect("valid")
}

/// Two seconds between events.
fn at(number: usize) -> i64 {
    1_767_225_600_000_000 + number as i64 * 2_000_000
}

/// Judges and remembers one event.
fn turn(generation: &Generation, memories: &mut Memories, event: &mut Event, number: usize) {
    event.set_at(at(number));
    let decision = generation.judge_with(event, memories, Engine::Jit);
    memories.remember(generation, event, Fate::of(decision.decision), number as u64, event.at());
    black_box(decision);
}

/// What turns took: judging, remembering, and both.
#[derive(Default)]
struct Turns {
    judging: Vec<Duration>,
    remembering: Vec<Duration>,
    both: Vec<Duration>,
    /// Allocations while judging, and while remembering.
    allocations: (usize, usize),
    /// Rules that matched.
    matched: usize,
}

impl Turns {
    fn sort(&mut self) {
        for times in [&mut self.judging, &mut self.remembering, &mut self.both] {
            times.sort_unstable();
        }
    }

    /// Of sorted times the one that so many per cent don't exceed.
    fn percentile(times: &[Duration], percent: usize) -> Duration {
        times[(times.len() - 1) * percent / 100]
    }

    fn print(&self, name: &str) {
        let median = |times: &[Duration]| Turns::percentile(times, 50);
        let each = |count: usize| count as f64 / self.both.len() as f64;
        println!(
            "{name}: median {:?} an event (judging {:?}, remembering {:?}), 99th percentile {:?}; {:.1} and {:.1} allocations; {:.1} rules match",
            median(&self.both),
            median(&self.judging),
            median(&self.remembering),
            Turns::percentile(&self.both, 99),
            each(self.allocations.0),
            each(self.allocations.1),
            each(self.matched),
        );
    }
}

fn timed_turn(
    generation: &Generation,
    memories: &mut Memories,
    event: &mut Event,
    number: usize,
    turns: &mut Turns,
) {
    event.set_at(at(number));
    let allocations = || ALLOCATIONS.load(Ordering::Relaxed);
    let (started, before) = (Instant::now(), allocations());
    let decision = generation.judge_with(event, memories, Engine::Jit);
    let (judged, between) = (Instant::now(), allocations());
    memories.remember(generation, event, Fate::of(decision.decision), number as u64, event.at());
    let (remembered, after) = (Instant::now(), allocations());
    turns.judging.push(judged - started);
    turns.remembering.push(remembered - judged);
    turns.both.push(remembered - started);
    turns.allocations.0 += between - before;
    turns.allocations.1 += after - between;
    turns.matched += decision.rules.len();
    black_box(decision);
}

/// One case of several that are timed in turns, so that what else the machine does falls on all alike.
struct Case {
    name: String,
    memories: Memories,
    events: Vec<Event>,
    number: usize,
    turns: Turns,
}

impl Case {
    fn new(name: String, memories: Memories, events: Vec<Event>, number: usize) -> Case {
        Case { name, memories, events, number, turns: Turns::default() }
    }
}

const ROUNDS: usize = 60;
const TURNS: usize = 500;

/// Times all cases in turns, and prints each as a multiple of the first.
fn in_turns(what: &str, generation: &Generation, cases: &mut [Case]) {
    for round in 0..ROUNDS + 5 {
        for case in cases.iter_mut() {
            // The first rounds warm up, and there is room for all.
            if round == 5 {
                let room = || Vec::with_capacity(ROUNDS * TURNS);
                case.turns = Turns { judging: room(), remembering: room(), both: room(), ..Turns::default() };
            }
            for _ in 0..TURNS {
                case.number += 1;
                let place = case.number.wrapping_mul(7_919) % case.events.len();
                let event = &mut case.events[place];
                timed_turn(generation, &mut case.memories, event, case.number, &mut case.turns);
            }
        }
    }
    let mut first = None;
    for case in cases {
        case.turns.sort();
        let median = Turns::percentile(&case.turns.both, 50).as_secs_f64();
        let ratio = median / *first.get_or_insert(median);
        case.turns.print(&format!("{what}/{}: {ratio:.2} times the first", case.name));
    }
}

/// Events in the histories that are compared.
const LENGTHS: [usize; 4] = [1, 1_000, 30_000, 1_000_000];

/// A turn by the length of the history, and judging alone where the history is searched anew.
fn draw(generation: &Generation, cases: &[Case]) {
    let median = |case: &Case| Turns::percentile(&case.turns.both, 50).as_nanos() as f64;
    let kept = LENGTHS.into_iter().zip(cases.iter().map(median)).collect();
    let searched = [1, 1_000, 30_000].into_iter().map(|length| {
        let mut history = History::default();
        for number in 0..length {
            let past = Arc::new(event(1, number));
            history.remember(generation, past, Fate::Happened, number as u64, at(number));
        }
        let mut last = event(1, length);
        last.set_at(at(length));
        let mut times = [0; 15].map(|_| {
            let started = Instant::now();
            black_box(generation.judge_by_history(&last, &history, Engine::Jit));
            started.elapsed().as_nanos() as f64
        });
        times.sort_by(f64::total_cmp);
        (length, times[7])
    });
    let line = |name, number, points| Line { name, number, points };
    let lines = vec![line("searched anew", 0, searched.collect()), line("Lictor", 1, kept)];
    let title =
        "What a turn of a hundred rules over ten memories costs with 1 to 1,000,000 events of history";
    let plots = vec![Plot { name: "100 rules, 10 memories", lines }];
    drawing::publish("memory.svg", &Drawing { title, across: "events of history", plots });
}

fn by_history(c: &mut Criterion) {
    let generation = hundred();
    let mut cases: Vec<Case> = LENGTHS
        .into_iter()
        .map(|length| {
            let mut memories = Memories::new(&generation);
            let events: Vec<Event> = (0..64).map(|number| event(1, number)).collect();
            for number in 0..length {
                let past = &events[number % 64];
                memories.remember(&generation, past, Fate::Happened, number as u64, at(number));
            }
            Case::new(format!("{length} events"), memories, events, length)
        })
        .collect();
    in_turns("memory/history", &generation, &mut cases);
    if drawing::is_wanted() {
        draw(&generation, &cases);
    }
    let mut group = c.benchmark_group("memory/history");
    let longest = &mut cases[LENGTHS.len() - 1];
    group.bench_function(BenchmarkId::new("memories", 1_000_000), |b| {
        b.iter(|| {
            longest.number += 1;
            let place = longest.number % 64;
            turn(&generation, &mut longest.memories, &mut longest.events[place], longest.number);
        });
    });
    let mut history = History::default();
    for number in 0..1_000 {
        history.remember(&generation, Arc::new(event(1, number)), Fate::Happened, number as u64, at(number));
    }
    let mut last = event(1, 1_000);
    last.set_at(at(1_000));
    group.sample_size(20);
    group.bench_function(BenchmarkId::new("searched_anew", 1_000), |b| {
        b.iter(|| black_box(generation.judge_by_history(&last, &history, Engine::Jit)));
    });
    group.finish();
}

fn by_keys(_: &mut Criterion) {
    let generation = hundred();
    let mut cases: Vec<Case> = [1, 1_000, 1_000_000]
        .into_iter()
        .map(|keys| {
            let mut memories = Memories::new(&generation);
            for agent in 0..keys {
                memories.remember(&generation, &event(agent, agent), Fate::Happened, agent as u64, at(0));
            }
            assert_eq!(memories.keys(), keys);
            println!("memory/keys/{keys}: {} bytes a key after one event", memories.bytes() / keys);
            // Keys far apart, so that none is in a cache by chance.
            let events =
                (0..16_384usize).map(|number| event(number.wrapping_mul(7_919) % keys, number)).collect();
            Case::new(format!("{keys} keys"), memories, events, 1)
        })
        .collect();
    in_turns("memory/keys", &generation, &mut cases);
}

/// Ten thousand rules over a thousand memories, of which an event touches ten.
fn many_rules(c: &mut Criterion) {
    let policy = |file: usize| {
        let mut text = format!("policy p{file} {{}}\ndefault on intent allow\n");
        for action in file * 10..file * 10 + 10 {
            for (memory, rule) in (0..100).map(|number| (number / 10, number % 10)) {
                writeln!(
                    text,
                    "rule r{action}_{memory}_{rule} on intent {{ when action == \"a{action}\" and count(intent where action == \"a{action}\" and amount > {memory} per agent.id within 1h) > {} deny }}",
                    1_000 + rule
                )
                .expect("text");
            }
        }
        text
    };
    let generation = compiled((0..10).map(policy).collect());
    let mut memories = Memories::new(&generation);
    let mut events: Vec<Event> = (0..200)
        .map(|number| {
            let json = format!(
                "{{\"event\":\"intent\",\"at\":\"2026-01-01T00:00:00Z\",\"org\":\"o\",\"agent\":{{\"id\":\"agent\"}},\"action\":\"a{}\",\"amount\":{}}}",
                number % 100,
                number % 20
            );
            Event::decode(json.as_bytes(), Origin::Event).expect("valid")
        })
        .collect();
    for (number, past) in events.iter().enumerate() {
        memories.remember(&generation, past, Fate::Happened, number as u64, at(number));
    }
    let mut turns = Turns::default();
    for number in 200..20_200 {
        timed_turn(&generation, &mut memories, &mut events[number % 200], number, &mut turns);
    }
    turns.sort();
    turns.print("memory/many_rules: 10,000 rules over 1,000 memories");
    let mut number = 20_200;
    c.bench_function("memory/many_rules", |b| {
        b.iter(|| {
            number += 1;
            turn(&generation, &mut memories, &mut events[number % 200], number);
        });
    });
}

/// Whether this was asked for: `cargo bench --bench memory -- memory/keys`.
fn wanted(name: &str) -> bool {
    let mut filters = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).peekable();
    filters.peek().is_none() || filters.any(|filter| name.contains(&filter))
}

fn all(c: &mut Criterion) {
    for (name, bench) in [
        ("memory/history", by_history as fn(&mut Criterion)),
        ("memory/keys", by_keys),
        ("memory/many_rules", many_rules),
    ] {
        if wanted(name) {
            bench(c);
        }
    }
}

criterion_group!(benches, all);
criterion_main!(benches);
