//! One rule changed among many: compiling what changed, and putting the new generation in force.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a bench that can't go on should say so"
)]

mod workload;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use lictor_dsl::Library;
use lictor_engine::plan::Planner;
use lictor_engine::{Active, Generation};
use workload::Shape;

fn swap(c: &mut Criterion) {
    let mut group = c.benchmark_group("swap");
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
    for rules in [10, 100, 1_000, 10_000] {
        // Of different lengths, so that all behind the rule that changes moves.
        let texts = [1, 20].map(|changed| workload::sources(Shape::Indexable, rules, changed));
        let read = |text: usize| lictor_dsl::load(texts[text].clone()).into_set().expect("well typed");
        let versions = [read(0), read(1)];
        let first = Generation::compile(&versions[0]).expect("compiles");
        let mut turn = 0;
        group.bench_function(BenchmarkId::new("everything_compiled_anew", rules), |b| {
            b.iter(|| {
                turn += 1;
                black_box(Generation::compile(&versions[turn % 2]))
            });
        });
        group.bench_function(BenchmarkId::new("everything_anew_text_to_first_answer", rules), |b| {
            b.iter(|| black_box(Generation::interpreted(&read(1))));
        });
        let (mut library, mut planner) = (Library::default(), Planner::default());
        group.bench_function(BenchmarkId::new("one_rule_changed_text_to_first_answer", rules), |b| {
            b.iter(|| {
                turn += 1;
                let set = library.load(texts[turn % 2].clone()).expect("well typed");
                black_box(Generation::interpreted_by(&mut planner, &set))
            });
        });
        group.bench_function(BenchmarkId::new("one_rule_changed_load", rules), |b| {
            b.iter(|| {
                turn += 1;
                black_box(library.load(texts[turn % 2].clone()).expect("well typed"))
            });
        });
        // A rule of the version before is another one each time, as it is when it comes from a text.
        let kept = [0, 1].map(|text| library.load(texts[text].clone()).expect("well typed"));
        group.bench_function(BenchmarkId::new("one_rule_changed_plan", rules), |b| {
            b.iter(|| {
                turn += 1;
                black_box(Generation::interpreted_by(&mut planner, &kept[turn % 2]))
            });
        });
        group.bench_function(BenchmarkId::new("one_rule_changed_machine_code", rules), |b| {
            let planned = || Generation::interpreted(&versions[1]).expect("plans");
            let code = |generation: Generation| {
                generation.make_code(Some(&first));
                generation
            };
            b.iter_batched(planned, code, BatchSize::PerIteration)
        });
        let generations = versions
            .iter()
            .map(|set| Arc::new(Generation::compile(set).expect("compiles")))
            .collect::<Vec<_>>();
        let active = Active::new(first);
        group.bench_function(BenchmarkId::new("publish", rules), |b| {
            b.iter(|| {
                turn += 1;
                active.publish(Arc::clone(&generations[turn % 2]));
            });
        });
        group
            .bench_function(BenchmarkId::new("snapshot", rules), |b| b.iter(|| black_box(active.snapshot())));
    }
    group.finish();
}

criterion_group!(benches, swap);
criterion_main!(benches);
