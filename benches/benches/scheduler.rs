//! The scheduler that runs use: the authors' QR with workers that finish a task when they hear of it, by task.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use peerwren_benches::drain::{plan, run};

/// Tiles a side: 426, 3,138 and 23,734 tasks.
const TILES: [i64; 3] = [8, 16, 32];

fn scheduler(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("scheduler");
    group.sample_size(10);
    for tiles in TILES {
        let plan = plan(tiles).expect("a sound plan");
        let tasks = run(&plan).expect("it ends");
        group.throughput(Throughput::Elements(tasks));
        group.bench_function(format!("qr_numpywren {tiles}"), |bencher| {
            bencher.iter(|| run(&plan).expect("it ends"));
        });
    }
}

criterion_group!(benches, scheduler);
criterion_main!(benches);
