//! Blocks over QUIC on loopback: between two nodes of one process, and between two processes, one and two blocks
//! on their way at a time.

use std::process::ExitCode;

use criterion::{Criterion, Throughput};
use peerwren_benches::exchange::{Exchange, is_child, serve};

/// 1024 x 1024 floats, and a tile of 256.
const BLOCK_BYTES: [usize; 2] = [8 << 20, 512 << 10];
/// Bytes of one measurement.
const BYTES: usize = 64 << 20;

fn main() -> ExitCode {
    if is_child() {
        return serve();
    }
    let mut criterion = Criterion::default().configure_from_args();
    exchange(&mut criterion);
    criterion.final_summary();
    ExitCode::SUCCESS
}

fn exchange(criterion: &mut Criterion) {
    for bytes in BLOCK_BYTES {
        let mut group = criterion.benchmark_group(format!("exchange {} KiB", bytes >> 10));
        group
            .sample_size(10)
            .throughput(Throughput::Bytes(BYTES as u64));
        let nodes = [
            ("in one process", Exchange::in_one_process(bytes)),
            ("between processes", Exchange::between_processes(bytes)),
        ];
        for (name, nodes) in nodes {
            let nodes = nodes.expect("sockets on loopback");
            for at_a_time in [1, 2] {
                group.bench_function(format!("{name}, {at_a_time} at a time"), |bencher| {
                    bencher.iter(|| {
                        nodes
                            .fetch(BYTES / bytes, at_a_time)
                            .expect("the block comes")
                    });
                });
            }
        }
    }
}
