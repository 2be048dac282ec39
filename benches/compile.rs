//! From policy text to a generation that judges, step by step, from 10 rules to 10,000 in ten files.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a bench that can't go on should say so"
)]

mod workload;

use std::fmt::Write;
use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use lictor_dsl::Source;
use lictor_dsl::hir::PolicySet;
use lictor_engine::Generation;
use workload::Shape;

/// Every rule of another form, as no generated set is: what code costs where none is shared.
fn varied(rules: usize) -> PolicySet {
    const TESTS: [&str; 9] = [
        "amount > 10",
        "amount < 900",
        "agent.trust < 0.9",
        "agent.trust > 0.1",
        "currency == \"EUR\"",
        "agent.environment == \"production\"",
        "agent.type == \"autonomous\"",
        "payload.host endswith \".example\"",
        "agent.tags has any [\"t1\", \"t2\"]",
    ];
    let mut text = String::from("policy varied {}\n");
    for rule in 0..rules {
        let mut condition = format!("action == \"a{}\"", rule % (rules / 8).max(1));
        let mut rest = rule;
        // Each test is left out, or stands there, or is negated: no two rules are alike.
        for test in TESTS {
            match rest % 3 {
                0 => {}
                1 => write!(condition, " and {test}").expect("strings take writes"),
                _ => write!(condition, " and not ({test})").expect("strings take writes"),
            }
            rest /= 3;
        }
        writeln!(text, "rule r{rule} on intent {{ when {condition} deny }}").expect("strings take writes");
    }
    lictor_dsl::load(vec![Source::new("varied", text)]).into_set().expect("the rules are well typed")
}

fn compile(c: &mut Criterion) {
    let mut group = c.benchmark_group("compile");
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
    for rules in [10, 100, 1_000, 10_000] {
        let sources = workload::sources(Shape::Indexable, rules, 0);
        let set = workload::policies(Shape::Indexable, rules);
        let planned = || Generation::interpreted(&set).expect("plans");
        group.bench_function(BenchmarkId::new("check_without_comparing_rules", rules), |b| {
            b.iter(|| black_box(lictor_dsl::load(sources.clone())))
        });
        group.bench_function(BenchmarkId::new("check", rules), |b| {
            b.iter(|| black_box(lictor_dsl::check(sources.clone())))
        });
        group.bench_function(BenchmarkId::new("plan", rules), |b| b.iter(|| black_box(planned())));
        group.bench_function(BenchmarkId::new("machine_code", rules), |b| {
            let code = |generation: Generation| {
                generation.make_code(None);
                generation
            };
            b.iter_batched(planned, code, BatchSize::PerIteration)
        });
        group.bench_function(BenchmarkId::new("text_to_first_answer", rules), |b| {
            b.iter(|| {
                let set = lictor_dsl::load(sources.clone()).into_set().expect("well typed");
                black_box(Generation::interpreted(&set))
            })
        });
    }
    let set = varied(1_000);
    group.bench_function("machine_code_all_forms_different/1000", |b| {
        let planned = || Generation::interpreted(&set).expect("plans");
        b.iter_batched(planned, |generation| generation.make_code(None), BatchSize::PerIteration)
    });
    group.finish();
}

criterion_group!(benches, compile);
criterion_main!(benches);
