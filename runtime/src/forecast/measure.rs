//! Measures how fast this machine runs a plan's kernels: each once or a few times on one thread, on data
//! made up for it. The only part of a forecast that two calls may answer differently.

use std::collections::BTreeMap;

use peerwren_kernels::op::{KernelOp, KernelSet, TaskShapes, TaskTiles};
use peerwren_kernels::tile::{Kind, Shape, TileMut, TileRef};
use peerwren_transports::block::{Block, BlockBuf};

use super::counts::{Counts, Shapes};
use super::rates::Rates;
use crate::actors::clock::Clock;

/// Most operations of a task that is run to measure its kernel: some tenths of a second. Larger tiles are
/// halved until they are below.
const FLOPS_MAX: u64 = 2_000_000_000;
/// Most bytes of such a task: four tiles of 2048 x 2048.
const BYTES_MAX: u64 = 128 << 20;
/// A task that takes no longer than this runs [`RUNS`] times, of which the median counts.
const REPEATED_NS: u64 = 100_000_000;
const RUNS: usize = 3;

/// Runs each kernel at the shapes that most of its tasks have; one that refuses the data gets no rate.
#[must_use]
pub fn measure(counts: &Counts, kernels: &KernelSet) -> Rates {
    let (mut flops, mut bytes) = (BTreeMap::new(), BTreeMap::new());
    for (name, count) in &counts.kernels {
        let (Some(kernel), Some(shapes)) = (kernels.get(name), count.commonest()) else {
            continue;
        };
        let Some((work, ns)) = fitting(kernel, shapes).and_then(|shapes| time(kernel, &shapes))
        else {
            continue;
        };
        let (rates, amount) = match work {
            (0, moved) => (&mut bytes, moved),
            (operations, _) => (&mut flops, operations),
        };
        rates.insert(name.clone(), amount as f64 / (ns as f64 * 1e-9));
    }
    Rates::new(flops, bytes)
}

/// The shapes, halved until a task of them is small; none where the kernel does not take them so.
fn fitting(kernel: &KernelOp, shapes: &Shapes) -> Option<Shapes> {
    let mut shapes = shapes.clone();
    loop {
        let view = view(&shapes);
        kernel.check(&view).ok()?;
        if kernel.flops(&view) <= FLOPS_MAX && shapes.bytes() <= BYTES_MAX {
            return Some(shapes);
        }
        let before = shapes.bytes();
        for shape in shapes
            .inputs
            .iter_mut()
            .chain(&mut shapes.outputs)
            .flatten()
        {
            halve(shape);
        }
        (shapes.bytes() < before).then_some(())?;
    }
}

fn view(shapes: &Shapes) -> TaskShapes<'_> {
    TaskShapes {
        inputs: &shapes.inputs,
        outputs: &shapes.outputs,
    }
}

/// Halves the sides of a tile; the inner block stays.
fn halve(shape: &mut Shape) {
    shape.rows = shape.rows.div_ceil(2);
    if shape.kind != Kind::Tfac && shape.kind != Kind::Index {
        shape.cols = shape.cols.div_ceil(2);
    }
}

/// Operations and bytes of a task of these shapes, and its nanoseconds with the digests of what it makes,
/// as a worker's thread computes them; none where the kernel refuses the data.
fn time(kernel: &KernelOp, shapes: &Shapes) -> Option<((u64, u64), u64)> {
    let view = view(shapes);
    let first: Vec<Option<(Shape, Block)>> = shapes
        .inputs
        .iter()
        .map(|shape| shape.map(|shape| (shape, tame(shape))))
        .collect();
    // A worker's tiles are seldom in a core's own cache when their task begins.
    let copies: Vec<_> = (0..RUNS).map(|_| copied(&first)).collect();
    let mut scratch = vec![0.0; kernel.scratch_words(&view)];
    let mut times = Vec::new();
    // The first one also brings pages in and is not counted, unless it is slow.
    for data in std::iter::once(&first).chain(&copies) {
        let ns = once(kernel, data, &shapes.outputs, &mut scratch)?;
        times.push(ns);
        if ns > REPEATED_NS {
            break;
        }
    }
    if times.len() > RUNS {
        times.remove(0);
    }
    times.sort_unstable();
    let work = (kernel.flops(&view), shapes.bytes());
    Some((work, times[times.len() / 2].max(1)))
}

fn copied(tiles: &[Option<(Shape, Block)>]) -> Vec<Option<(Shape, Block)>> {
    let copy = |(shape, block): &(Shape, Block)| {
        let mut copy = BlockBuf::with_len(shape.bytes());
        copy.as_f64_mut().copy_from_slice(block.as_f64());
        (*shape, copy.freeze())
    };
    tiles.iter().map(|tile| tile.as_ref().map(copy)).collect()
}

fn once(
    kernel: &KernelOp,
    data: &[Option<(Shape, Block)>],
    outputs: &[Option<Shape>],
    scratch: &mut [f64],
) -> Option<u64> {
    let inputs: Vec<Option<TileRef<'_>>> = data
        .iter()
        .map(|tile| {
            let (shape, block) = tile.as_ref()?;
            Some(TileRef::new(*shape, block.as_f64()))
        })
        .collect();
    let mut buffers: Vec<Option<(Shape, BlockBuf)>> = outputs
        .iter()
        .map(|shape| shape.map(|shape| (shape, BlockBuf::with_len(shape.bytes()))))
        .collect();
    let mut tiles: Vec<Option<TileMut<'_>>> = buffers
        .iter_mut()
        .map(|buffer| {
            let (shape, words) = buffer.as_mut()?;
            Some(TileMut::new(*shape, words.as_f64_mut()))
        })
        .collect();
    let clock = Clock::start();
    // A kernel of the user's may think this data impossible.
    let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        kernel.run(&mut TaskTiles {
            inputs: &inputs,
            outputs: &mut tiles,
            scratch,
        })
    }));
    drop(tiles);
    for (_, buffer) in buffers.into_iter().flatten() {
        buffer.freeze().digest();
    }
    matches!(ran, Ok(Ok(()))).then(|| clock.now().as_nanos())
}

/// A tile that every kernel takes: small entries beside a diagonal of ones, which triangles and definite
/// matrices are sound with, and rows in their order.
fn tame(shape: Shape) -> Block {
    let mut block = BlockBuf::with_len(shape.bytes());
    let words = block.as_f64_mut();
    if shape.kind == Kind::Index {
        for (word, row) in words.iter_mut().zip(0_u64..) {
            *word = f64::from_bits(row);
        }
        return block.freeze();
    }
    let (rows, cols) = shape.dense();
    let scale = 1.0 / rows.max(cols).max(1) as f64;
    let mut state = 1_u64;
    let mut noise = || {
        // A linear congruence: Knuth's MMIX.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((state >> 11) as f64 / (1_u64 << 52) as f64 - 1.0) * scale
    };
    let mut dense: Vec<f64> = (0..rows * cols).map(|_| noise()).collect();
    if rows == cols {
        dense.iter_mut().step_by(rows + 1).for_each(|x| *x = 1.0);
    }
    TileMut::new(shape, words).pack(&dense, rows);
    block.freeze()
}
