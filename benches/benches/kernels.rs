//! The tile kernels of QR, Cholesky and products, as tasks run them: one thread, useful flops a second.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use peerwren_kernels::{KernelOp, KernelSet, Shape, TaskShapes, TaskTiles, TileMut, TileRef};
use peerwren_transports::block::BlockBuf;

/// Sides of tiles, each with its inner block.
const SIZES: [(u32, u32); 2] = [(256, 32), (512, 32)];

type Tile = (Shape, BlockBuf);

fn kernels(criterion: &mut Criterion) {
    let set = KernelSet::standard();
    for (nb, ib) in SIZES {
        let mut group = criterion.benchmark_group(format!("kernels {nb}"));
        group.sample_size(20);
        for mut kernel in all(&set, nb, ib) {
            group.throughput(Throughput::Elements(kernel.flops));
            group.bench_function(kernel.op.name(), |bencher| bencher.iter(|| kernel.run()));
        }
    }
}

criterion_group!(benches, kernels);
criterion_main!(benches);

/// The kernels with inputs that earlier ones made.
fn all(set: &KernelSet, nb: u32, ib: u32) -> Vec<Kernel<'_>> {
    let (full, unit, upper) = (
        Shape::full(nb, nb),
        Shape::unit(nb, nb),
        Shape::upper(nb, nb),
    );
    let (lower, tfac) = (Shape::lower(nb, nb), Shape::tfac(nb, ib));
    let kernel =
        |name, inputs: &[&Tile], outputs: &[Shape]| Kernel::new(set, name, inputs, outputs);
    let (a, b, l) = (&noise(full, 1), &noise(full, 2), &dominant(lower));
    let geqrt = kernel("geqrt", &[a], &[unit, tfac, upper]).after_a_run();
    let other = kernel("geqrt", &[b], &[unit, tfac, upper]).after_a_run();
    let [v, t, r] = &geqrt.outputs[..] else {
        unreachable!("geqrt makes three tiles")
    };
    let tsqrt = kernel("tsqrt", &[r, b], &[full, tfac, upper]).after_a_run();
    let ttqrt = kernel("ttqrt", &[r, &other.outputs[2]], &[upper, tfac, upper]).after_a_run();
    let made = |kernel: &Kernel<'_>, at: usize| copy(&kernel.outputs[at]);
    let (ts_v, ts_t) = (&made(&tsqrt, 0), &made(&tsqrt, 1));
    let (tt_v, tt_t) = (&made(&ttqrt, 0), &made(&ttqrt, 1));
    let unmqr = kernel("unmqr", &[v, t, b], &[full]);
    vec![
        unmqr,
        kernel("tsmqr", &[ts_v, ts_t, a, b], &[full, full]),
        kernel("ttmqr", &[tt_v, tt_t, a, b], &[full, full]),
        kernel("gemm", &[a, a, b], &[full]),
        kernel("syrk", &[l, a], &[lower]),
        kernel("potrf", &[l], &[lower]),
        kernel("trsm", &[l, a], &[full]),
        kernel("getrf", &[a], &[Shape::index(nb), unit, upper]),
        tsqrt,
        ttqrt,
        geqrt,
    ]
}

/// A kernel with its tiles, ready to run again and again.
struct Kernel<'a> {
    op: &'a KernelOp,
    inputs: Vec<Tile>,
    outputs: Vec<Tile>,
    scratch: Vec<f64>,
    flops: u64,
}

impl<'a> Kernel<'a> {
    fn new(set: &'a KernelSet, name: &str, inputs: &[&Tile], outputs: &[Shape]) -> Self {
        let op = set.get(name).expect("a kernel of the standard set");
        let input_shapes: Vec<_> = inputs.iter().map(|tile| Some(tile.0)).collect();
        let output_shapes: Vec<_> = outputs.iter().copied().map(Some).collect();
        let shapes = TaskShapes {
            inputs: &input_shapes,
            outputs: &output_shapes,
        };
        op.check(&shapes).expect("shapes that fit");
        Self {
            op,
            inputs: inputs.iter().map(|tile| copy(tile)).collect(),
            outputs: outputs.iter().map(|&shape| (shape, zeros(shape))).collect(),
            scratch: vec![0.0; op.scratch_words(&shapes)],
            flops: op.flops(&shapes),
        }
    }

    fn after_a_run(mut self) -> Self {
        self.run();
        self
    }

    fn run(&mut self) {
        let inputs = self.inputs.iter();
        let inputs: Vec<_> = inputs
            .map(|(shape, words)| Some(TileRef::new(*shape, words.as_f64())))
            .collect();
        let outputs = self.outputs.iter_mut();
        let mut outputs: Vec<_> = outputs
            .map(|(shape, words)| Some(TileMut::new(*shape, words.as_f64_mut())))
            .collect();
        let mut tiles = TaskTiles {
            inputs: &inputs,
            outputs: &mut outputs,
            scratch: &mut self.scratch,
        };
        self.op.run(&mut tiles).expect("finite tiles");
    }
}

/// Aligned as a worker's tiles are.
fn zeros(shape: Shape) -> BlockBuf {
    BlockBuf::zeroed(shape.words() * size_of::<f64>())
}

fn copy((shape, words): &Tile) -> Tile {
    (*shape, BlockBuf::from_bytes(words.as_bytes()))
}

/// Entries in [-1, 1) from a linear congruence.
fn noise(shape: Shape, seed: u64) -> Tile {
    let mut state = seed;
    let mut words = zeros(shape);
    words.as_f64_mut().fill_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    });
    (shape, words)
}

/// A triangle whose diagonal outweighs the rest, so that it has a Cholesky factor and tame solutions.
fn dominant(shape: Shape) -> Tile {
    let n = shape.rows as usize;
    let mut dense = noise(Shape::full(shape.rows, shape.cols), 3).1;
    let diagonal = dense.as_f64_mut().iter_mut().step_by(n + 1);
    diagonal.for_each(|entry| *entry = n as f64);
    let mut words = zeros(shape);
    TileMut::new(shape, words.as_f64_mut()).pack(dense.as_f64(), n);
    (shape, words)
}
