//! Who depends on whom in programs that are never unrolled: successors, inputs and homes of tasks, a program's
//! parsing, and the check of a plan.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use peerwren::lambdapack::{Program, Task};
use peerwren_benches::drain::{bound, plan, text};

const PROGRAMS: [&str; 3] = ["cholesky", "qr_grid", "qr_numpywren"];
const TILES: i64 = 16;

fn dependencies(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("dependencies");
    for name in PROGRAMS {
        let bound = bound(name, TILES).expect("shipped");
        let tasks: Vec<Task> = bound.tasks().collect();
        group.throughput(Throughput::Elements(tasks.len() as u64));
        group.bench_function(format!("successors {name}"), |bencher| {
            let mut out = Vec::new();
            bencher.iter(|| {
                for task in &tasks {
                    out.clear();
                    bound.successors(*task, &mut out).expect("a sound program");
                    black_box(&out);
                }
            });
        });
        group.bench_function(format!("inputs {name}"), |bencher| {
            bencher.iter(|| {
                for task in &tasks {
                    black_box(bound.inputs(*task).expect("a sound program"));
                }
            });
        });
    }
    group.throughput(Throughput::Elements(1));
    group.bench_function("parse qr_grid", |bencher| {
        let text = text("qr_grid").expect("shipped");
        bencher.iter(|| Program::parse("qr_grid.lp", black_box(text)).expect("a sound program"));
    });
    group.bench_function("plan qr_numpywren", |bencher| {
        bencher.iter(|| plan(black_box(TILES)).expect("a sound plan"));
    });
}

criterion_group!(benches, dependencies);
criterion_main!(benches);
