//! A fixed run of every kernel that computes; its bits are the numeric fingerprint of a CPU. Two workers with
//! different ones must not share a run. Takes a few milliseconds.

use crate::op::{KernelError, KernelSet, TaskShapes, TaskTiles};
use crate::tile::{Shape, TileMut, TileRef};

/// Rows and columns of its tiles: all heights of panels of the multiplication occur.
const NB: u32 = 72;
/// Rows of the ragged tile.
const RAGGED: u32 = 53;
/// Inner block.
const IB: u32 = 32;
/// Rows and columns where the multiplication has been seen in full already.
const SMALL: u32 = 40;

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
    lq(&mut bench)?;
    systems(&mut bench)?;
    spectrum(&mut bench)?;
    Ok(bench.words)
}

/// LQ of tiles.
fn lq(bench: &mut Bench<'_>) -> Result<(), KernelError> {
    let (full, square, tfac) = (
        Shape::full(SMALL, SMALL),
        Shape::lower(SMALL, SMALL),
        Shape::tfac(SMALL, IB),
    );
    let (a, c, d) = (&noise(full, 6), &noise(full, 7), &noise(full, 8));
    let (tall, wide) = (
        Shape::full(RAGGED, SMALL),
        &noise(Shape::full(SMALL, RAGGED), 9),
    );
    let lq = bench.run("gelqt", &[a], &[Shape::unit(SMALL, SMALL), tfac, square])?;
    bench.run("unmlq", &[&lq[0], &lq[1], c], &[full])?;
    let ts = bench.run("tslqt", &[&lq[2], wide], &[tall, tfac, square])?;
    bench.run("tsmlq", &[&ts[0], &ts[1], c, wide], &[full, wide.0])?;
    let tt = bench.run(
        "ttlqt",
        &[&lq[2], &ts[2]],
        &[Shape::upper(SMALL, SMALL), tfac, square],
    )?;
    bench.run("ttmlq", &[&tt[0], &tt[1], c, d], &[full, full])?;
    let leaf = bench.run("lq_factor", &[a], &[full, full, full])?;
    bench.run("lq_leaf", &[&leaf[0], &leaf[1], c], &[full])?;
    let tall = Shape::full(2 * SMALL, SMALL);
    let pair = bench.run("lq_factor_triangular", &[&leaf[2], c], &[tall, full, full])?;
    bench.run(
        "lq_trailing_update",
        &[&pair[0], &pair[1], c, d],
        &[full, full],
    )?;
    Ok(())
}

/// Products, Cholesky, LU and triangular systems.
fn systems(bench: &mut Bench<'_>) -> Result<(), KernelError> {
    let (full, lower) = (Shape::full(SMALL, SMALL), Shape::lower(SMALL, SMALL));
    let (a, c, d) = (&noise(full, 10), &noise(full, 11), &noise(full, 12));
    for name in ["gemm", "gemm_sub", "gemm_sub_nt", "gemm_sub_tn"] {
        bench.run(name, &[c, a, d], &[full])?;
    }
    bench.run("gram_step", &[a, d, c], &[full])?;
    let scale = &(Shape::full(1, 1), vec![3.0]);
    bench.run("axpby", &[scale, a, scale, c], &[full])?;
    bench.run("residual_step_nt", &[c, a, d, scale], &[full])?;
    // Minus half of an A A', and more on the diagonal than its rows can sum up to.
    let half = &(full, a.1.iter().map(|x| x * 0.5).collect());
    let mut positive = bench
        .run(
            "syrk",
            &[&(lower, vec![0.0; lower.words()]), half],
            &[lower],
        )?
        .remove(0);
    for j in 0..SMALL as usize {
        positive.1[lower.span(j).offset] += f64::from(SMALL * SMALL);
    }
    let l = bench.run("potrf", &[&positive], &[lower])?.remove(0);
    for name in ["trsm", "trsm_lower", "trsm_lower_t"] {
        bench.run(name, &[&l, c], &[full])?;
    }
    let shapes = [
        Shape::index(SMALL),
        Shape::unit(SMALL, SMALL),
        Shape::upper(SMALL, SMALL),
    ];
    let lu = bench.run("getrf", &[a], &shapes)?;
    for name in ["trsm_upper", "trsm_upper_t", "trsm_right"] {
        bench.run(name, &[&lu[2], c], &[full])?;
    }
    for name in ["trsm_unit", "trsm_unit_t"] {
        bench.run(name, &[&lu[1], c], &[full])?;
    }
    let order: Owned = (Shape::index(SMALL), lu[0].1.clone());
    let match_of = [a, &order, c, &order];
    bench.run("playoff", &match_of, &[full, order.0])?;
    bench.run("ssq", &[a], &[Shape::full(1, 2)])?;
    Ok(())
}

/// Singular values and vectors.
fn spectrum(bench: &mut Bench<'_>) -> Result<(), KernelError> {
    let band = &noise(Shape::full(9, SMALL), 13);
    let (square, values) = (Shape::full(SMALL, SMALL), Shape::full(SMALL, 1));
    bench.run("band_values", &[band], &[values])?;
    bench.run("band_svd", &[band], &[square, values, square])?;
    bench.run("gesvd", &[&noise(square, 14)], &[square, values, square])?;
    Ok(())
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
