//! A fixed run of every QR kernel; its bits are the numeric fingerprint of a CPU. Two workers with
//! different ones must not share a run. Takes about a millisecond.

use crate::op::{KernelError, KernelSet, TaskShapes, TaskTiles};
use crate::tile::{Shape, TileMut, TileRef};

/// Rows and columns of its tiles: all heights of panels of the multiplication occur.
const NB: u32 = 72;
/// Rows of the ragged tile.
const RAGGED: u32 = 53;
/// Inner block.
const IB: u32 = 32;

/// All output words of a fixed run of kernels: the same bits on every machine that may share a run.
///
/// ```
/// let words = peerwren_kernels::self_test();
/// assert!(words.iter().all(|word| word.is_finite()));
/// ```
///
/// # Panics
/// Never: the shapes and values are fixed, and this crate's tests run it.
#[must_use]
pub fn self_test() -> Vec<f64> {
    run_all(&KernelSet::standard()).expect("the self-test's matrices are finite")
}

fn run_all(kernels: &KernelSet) -> Result<Vec<f64>, KernelError> {
    let mut bench = Bench {
        kernels,
        words: Vec::new(),
    };
    let (full, square, tfac) = (
        Shape::full(NB, NB),
        Shape::upper(NB, NB),
        Shape::tfac(NB, IB),
    );
    let (a, b, c, d) = (
        &noise(full, 1),
        &noise(full, 2),
        &noise(full, 3),
        &noise(full, 4),
    );
    let ragged = Shape::full(RAGGED, NB);

    let qr = bench.run("geqrt", &[a], &[Shape::unit(NB, NB), tfac, square])?;
    bench.run("unmqr", &[&qr[0], &qr[1], c], &[full])?;
    bench.run("unmqr_n", &[&qr[0], &qr[1], c], &[full])?;

    let short = &noise(ragged, 5);
    let ts = bench.run("tsqrt", &[&qr[2], short], &[ragged, tfac, square])?;
    bench.run("tsmqr", &[&ts[0], &ts[1], c, short], &[full, ragged])?;
    bench.run("tsmqr_n", &[&ts[0], &ts[1], c, short], &[full, ragged])?;

    let other = bench.run("geqrt", &[b], &[Shape::unit(NB, NB), tfac, square])?;
    let tt = bench.run("ttqrt", &[&qr[2], &other[2]], &[square, tfac, square])?;
    bench.run("ttmqr", &[&tt[0], &tt[1], c, d], &[full, full])?;
    bench.run("ttmqr_n", &[&tt[0], &tt[1], c, d], &[full, full])?;

    let leaf = bench.run("qr_factor", &[a], &[full, full, full])?;
    bench.run("qr_leaf", &[&leaf[0], &leaf[1], c], &[full])?;
    let tall = Shape::full(2 * NB, NB);
    let pair = bench.run("qr_factor_triangular", &[&leaf[2], b], &[tall, full, full])?;
    bench.run(
        "qr_trailing_update",
        &[&pair[0], &pair[1], c, d],
        &[full, full],
    )?;
    Ok(bench.words)
}

/// A tile with its words.
type Owned = (Shape, Vec<f64>);

/// Entries in [-1, 1) that depend on the seed and their place alone.
fn noise(shape: Shape, seed: u64) -> Owned {
    let entry = |i: usize| {
        // splitmix64
        let mut z = (seed << 32)
            .wrapping_add(i as u64 + 1)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    };
    (shape, (0..shape.words()).map(entry).collect())
}

struct Bench<'a> {
    kernels: &'a KernelSet,
    words: Vec<f64>,
}

impl Bench<'_> {
    fn run(
        &mut self,
        name: &str,
        inputs: &[&Owned],
        outputs: &[Shape],
    ) -> Result<Vec<Owned>, KernelError> {
        let op = self
            .kernels
            .get(name)
            .expect("the self-test calls this crate's kernels");
        let input_shapes: Vec<_> = inputs.iter().map(|(shape, _)| Some(*shape)).collect();
        let output_shapes: Vec<_> = outputs.iter().copied().map(Some).collect();
        let shapes = TaskShapes {
            inputs: &input_shapes,
            outputs: &output_shapes,
        };
        let mut results: Vec<Owned> = outputs
            .iter()
            .map(|shape| (*shape, vec![0.0; shape.words()]))
            .collect();
        let mut scratch = vec![0.0; op.scratch_words(&shapes)];
        let inputs: Vec<_> = inputs
            .iter()
            .map(|(shape, data)| Some(TileRef::new(*shape, data)))
            .collect();
        let mut tiles: Vec<_> = results
            .iter_mut()
            .map(|(shape, data)| Some(TileMut::new(*shape, data)))
            .collect();
        op.run(&mut TaskTiles {
            inputs: &inputs,
            outputs: &mut tiles,
            scratch: &mut scratch,
        })?;
        for (_, data) in &results {
            self.words.extend_from_slice(data);
        }
        Ok(results)
    }
}
