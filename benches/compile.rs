//! From policy text to a generation that judges, step by step, at 10, 100 and 1,000 rules.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a bench that can't go on should say so"
)]

mod workload;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use lictor_engine::Generation;
use lictor_engine::plan::Plan;
use workload::Shape;

fn compile(c: &mut Criterion) {
    let mut group = c.benchmark_group("compile");
    group.sample_size(10);
    for rules in [10, 100, 1_000] {
        let sources = workload::sources(Shape::Indexable, rules, 0);
        let set = workload::policies(Shape::Indexable, rules);
        group.bench_function(BenchmarkId::new("check", rules), |b| {
            b.iter(|| black_box(lictor_dsl::check(sources.clone())))
        });
        group.bench_function(BenchmarkId::new("plan", rules), |b| b.iter(|| black_box(Plan::new(&set))));
        group.bench_function(BenchmarkId::new("plan_and_machine_code", rules), |b| {
            b.iter(|| black_box(Generation::compile(&set)))
        });
    }
    group.finish();
}

criterion_group!(benches, compile);
criterion_main!(benches);
