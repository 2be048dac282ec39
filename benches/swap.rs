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

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use lictor_engine::{Active, Generation};
use workload::Shape;

fn swap(c: &mut Criterion) {
    let mut group = c.benchmark_group("swap");
    group.sample_size(20);
    for rules in [10, 100, 1_000] {
        let versions: Vec<_> = (1..3)
            .map(|changed| {
                lictor_dsl::check(workload::sources(Shape::Indexable, rules, changed))
                    .into_set()
                    .expect("well typed")
            })
            .collect();
        let first = Generation::compile(&versions[0]).expect("compiles");
        let mut turn = 0;
        group.bench_function(BenchmarkId::new("everything_compiled_anew", rules), |b| {
            b.iter(|| {
                turn += 1;
                black_box(Generation::compile(&versions[turn % 2]))
            });
        });
        group.bench_function(BenchmarkId::new("one_rule_changed", rules), |b| {
            b.iter(|| black_box(Generation::replacing(&versions[1], Some(&first))));
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
