//! Plane rotations: made of two numbers, kept by the sweep, and applied to columns of matrices, many sweeps to a few
//! rows at a time, so that the rows stay in the second cache. Every row is on its own: vectors of any width give the
//! same bits.

use pulp::{Simd, WithSimd};

use crate::micro::Cpu;

/// Rows that go through all sweeps together.
const STRIP: usize = 32;
/// Sweeps that are kept before they are applied.
const SWEEPS: usize = 32;
/// Words of a kept pair of rotations, one for each side.
const PAIR: usize = 4;

/// (c, s) with c^2 + s^2 = 1: x becomes c x + s y, y becomes c y - s x.
pub(crate) type Rotation = (f64, f64);

/// The rotation that takes (f, g) to (r, 0), and r.
pub(crate) fn rotation(f: f64, g: f64) -> (Rotation, f64) {
    /// Squares of these and their sums are normal numbers.
    const RANGE: std::ops::Range<f64> =
        f64::from_bits((1023 - 480) << 52)..f64::from_bits((1023 + 480) << 52);
    if g == 0.0 {
        return ((1.0, 0.0), f);
    }
    if f == 0.0 {
        return ((0.0, 1.0), g);
    }
    let largest = f.abs().max(g.abs());
    let scale = if RANGE.contains(&f.abs()) && RANGE.contains(&g.abs()) {
        1.0
    } else {
        // A power of two, so that nothing is rounded but what vanishes beside the other.
        let exponent = (largest.to_bits() >> 52).clamp(23, 2023);
        f64::from_bits((2046 - exponent) << 52)
    };
    let (f, g) = (f * scale, g * scale);
    let r = (f * f + g * g).sqrt().copysign(f);
    ((f / r, g / r), r / scale)
}

/// Sweeps over neighbouring columns of two matrices, applied when there are many.
pub(crate) struct Rotations<'a> {
    cpu: Cpu,
    n: usize,
    sweeps: [Sweep; SWEEPS],
    count: usize,
    /// Of pair `t` of a sweep: c and s for the left matrix, c and s for the right one.
    pairs: &'a mut [f64],
    used: usize,
    strip: &'a mut [f64],
    left: &'a mut [f64],
    right: &'a mut [f64],
}

/// Rotation `t` is for columns `first + t` and `first + t + 1`.
#[derive(Clone, Copy, Default)]
struct Sweep {
    first: usize,
    len: usize,
    /// Where its pairs begin.
    at: usize,
    /// From the last columns to the first.
    backward: bool,
}

impl<'a> Rotations<'a> {
    /// Scratch words for matrices of `n` columns.
    pub(crate) fn words(n: usize) -> usize {
        PAIR * SWEEPS * n + STRIP * n
    }

    /// No sweeps yet, for two square matrices of order `n`.
    pub(crate) fn new(
        cpu: Cpu,
        n: usize,
        (left, right): (&'a mut [f64], &'a mut [f64]),
        scratch: &'a mut [f64],
    ) -> Rotations<'a> {
        let (pairs, rest) = scratch.split_at_mut(PAIR * SWEEPS * n);
        Rotations {
            cpu,
            n,
            sweeps: [Sweep::default(); SWEEPS],
            count: 0,
            pairs,
            used: 0,
            strip: &mut rest[..STRIP * n],
            left,
            right,
        }
    }

    /// Begins a sweep of `len` pairs of rotations from column `first` on, or from there back to it.
    pub(crate) fn begin(&mut self, first: usize, len: usize, backward: bool) {
        if self.count == SWEEPS {
            self.flush();
        }
        self.sweeps[self.count] = Sweep {
            first,
            len,
            at: self.used,
            backward,
        };
        self.count += 1;
        self.used += PAIR * len;
    }

    /// Sets the rotations of columns `col` and `col + 1` in the sweep that was begun last.
    pub(crate) fn set(&mut self, col: usize, left: Rotation, right: Rotation) {
        let sweep = &self.sweeps[self.count - 1];
        let at = sweep.at + PAIR * (col - sweep.first);
        self.pairs[at..at + PAIR].copy_from_slice(&[left.0, left.1, right.0, right.1]);
    }

    /// Applies all sweeps.
    pub(crate) fn flush(&mut self) {
        let sweeps = &self.sweeps[..self.count];
        for (side, matrix) in [&mut *self.left, &mut *self.right].into_iter().enumerate() {
            self.cpu.dispatch(Apply {
                matrix,
                n: self.n,
                sweeps,
                pairs: self.pairs,
                side,
                strip: self.strip,
            });
        }
        (self.count, self.used) = (0, 0);
    }

    /// The matrices, every sweep applied.
    pub(crate) fn finish(mut self) -> (&'a mut [f64], &'a mut [f64]) {
        self.flush();
        (self.left, self.right)
    }
}

/// All sweeps on one matrix.
struct Apply<'a> {
    matrix: &'a mut [f64],
    n: usize,
    sweeps: &'a [Sweep],
    pairs: &'a [f64],
    /// 0 for the left matrix's rotations, 1 for the right one's.
    side: usize,
    strip: &'a mut [f64],
}

impl WithSimd for Apply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Apply {
            matrix,
            n,
            sweeps,
            pairs,
            side,
            strip,
        } = self;
        let first = sweeps.iter().map(|sweep| sweep.first).min().unwrap_or(0);
        let ends = sweeps.iter().map(|sweep| sweep.first + sweep.len + 1);
        let end = ends.max().unwrap_or(0);
        for r0 in (0..n).step_by(STRIP) {
            let rows = STRIP.min(n - r0);
            let (columns, _) = strip.as_chunks_mut::<STRIP>();
            for (to, c) in columns.iter_mut().zip(first..end) {
                to[..rows].copy_from_slice(&matrix[c * n + r0..c * n + r0 + rows]);
                to[rows..].fill(0.0);
            }
            for sweep in sweeps {
                let pairs = &pairs[sweep.at..sweep.at + PAIR * sweep.len];
                let columns = &mut columns[sweep.first - first..][..sweep.len + 1];
                turn(columns, pairs.as_chunks().0, side, sweep.backward);
            }
            for (from, c) in columns.iter().zip(first..end) {
                matrix[c * n + r0..c * n + r0 + rows].copy_from_slice(&from[..rows]);
            }
        }
    }
}

/// One sweep on a strip: the column that two rotations share stays in registers.
#[inline(always)]
fn turn(columns: &mut [[f64; STRIP]], pairs: &[[f64; PAIR]], side: usize, backward: bool) {
    let len = pairs.len();
    if backward {
        let mut y = columns[len];
        for t in (0..len).rev() {
            let (c, s) = (pairs[t][2 * side], pairs[t][2 * side + 1]);
            let x = columns[t];
            for lane in 0..STRIP {
                columns[t + 1][lane] = c.mul_add(y[lane], -(s * x[lane]));
                y[lane] = c.mul_add(x[lane], s * y[lane]);
            }
        }
        columns[0] = y;
    } else {
        let mut x = columns[0];
        for t in 0..len {
            let (c, s) = (pairs[t][2 * side], pairs[t][2 * side + 1]);
            let y = columns[t + 1];
            for lane in 0..STRIP {
                columns[t][lane] = c.mul_add(x[lane], s * y[lane]);
                x[lane] = c.mul_add(y[lane], -(s * x[lane]));
            }
        }
        columns[len] = x;
    }
}
