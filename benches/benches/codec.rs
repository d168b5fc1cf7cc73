//! What is written on the wire: messages, frames around them, and digests of blocks.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use peerwren::control::{Counts, FromWorker, Made, decode, encode};
use peerwren::machine::LeaseId;
use peerwren_transports::block::{BlockBuf, BlockKey, Digest, Indices};
use peerwren_transports::frame;

/// Outputs of a task that updates two tiles.
const OUTPUTS: i64 = 2;
/// Kind and bound of the frame.
const KIND: u8 = 1;
const LIMIT: usize = 1 << 20;
/// 1024 x 1024 floats.
const BLOCK_BYTES: usize = 8 << 20;

fn done() -> FromWorker {
    let made = (0..OUTPUTS).map(|number| Made {
        key: BlockKey::new(1, 2, Indices::new(&[number, 3, 5]).expect("three indices")),
        digest: Some(Digest::of(b"a block")),
        bytes: BLOCK_BYTES as u64,
        durable: false,
    });
    FromWorker::Done {
        lease: LeaseId(7),
        made: made.collect(),
        dropped: Vec::new(),
        compute_ns: 1_000_000,
        counts: Counts::default(),
    }
}

fn codec(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codec");
    let message = done();
    let bytes = encode(&message);
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("encode Done", |bencher| {
        bencher.iter(|| encode(black_box(&message)));
    });
    group.bench_function("decode Done", |bencher| {
        bencher.iter(|| decode::<FromWorker>(black_box(&bytes)).expect("it was encoded"));
    });
    let mut framed = Vec::new();
    frame::encode(KIND, &bytes, &mut framed).expect("it is short");
    group.bench_function("encode a frame", |bencher| {
        let mut out = Vec::with_capacity(framed.len());
        bencher.iter(|| {
            out.clear();
            frame::encode(KIND, black_box(&bytes), &mut out).expect("it is short");
        });
    });
    group.bench_function("decode a frame", |bencher| {
        bencher.iter(|| {
            let (kind, payload, _) =
                frame::decode(black_box(&framed), LIMIT).expect("it was encoded");
            black_box((kind, payload.len()))
        });
    });
    let block = BlockBuf::zeroed(BLOCK_BYTES);
    group.throughput(Throughput::Bytes(BLOCK_BYTES as u64));
    group.sample_size(20);
    group.bench_function("digest of 8 MiB", |bencher| {
        bencher.iter(|| Digest::of(black_box(block.as_bytes())));
    });
}

criterion_group!(benches, codec);
criterion_main!(benches);
