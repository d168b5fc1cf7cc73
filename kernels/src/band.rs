//! Singular values of an upper band matrix without its vectors: Householder reflections chase the band down to a
//! bidiagonal (O(n^2 w)), and bisection finds the values (O(n^2)). Always ends; knows storage, not tiles.
//!
//! A sweep clears one row: a reflection from the right clears it beyond its first superdiagonal entry and fills a block
//! below the diagonal, one from the left clears that block's first column and fills the next row beyond the band, and
//! so on to the end (Haidar, Kurzak, Luszczek: An improved parallel singular value algorithm, SC13).

use pulp::{Simd, WithSimd};

use crate::micro::Cpu;

/// Partial sums of a dot product.
const LANES: usize = 16;
/// Values that are bisected side by side.
const TOGETHER: usize = 32;

/// Scratch words of [`values`] for order `n` and `w - 1` superdiagonals.
pub(crate) fn values_words(n: usize, w: usize) -> usize {
    let b = (w - 1).min(n - 1).max(1);
    n * Band::ld(b) + 4 * b + 2 * n
}

/// Writes all singular values, descending, of the matrix with `entry(i, j)` for `j - w < i <= j`, largest entry 1 or
/// nearly.
pub(crate) fn values(
    cpu: Cpu,
    (n, w): (usize, usize),
    entry: impl Fn(usize, usize) -> f64,
    values: &mut [f64],
    scratch: &mut [f64],
) {
    let b = (w - 1).min(n - 1).max(1);
    let ld = Band::ld(b);
    let (data, rest) = scratch.split_at_mut(n * ld);
    let (work, rest) = rest.split_at_mut(4 * b);
    let (d, e) = rest.split_at_mut(n);
    data.fill(0.0);
    let mut band = Band { data, n, b };
    for j in 0..n {
        for i in (j + 1).saturating_sub(w)..=j {
            let at = band.at(i, j);
            band.data[at] = entry(i, j);
        }
    }
    if b > 1 {
        cpu.dispatch(Reduce {
            band: &mut band,
            work,
        });
    }
    for (j, (d, e)) in d.iter_mut().zip(e.iter_mut()).enumerate() {
        let x = band.data[band.at(j, j)];
        *d = x * x;
        let y = if j + 1 < n {
            band.data[band.at(j, j + 1)]
        } else {
            0.0
        };
        *e = y * y;
    }
    let most = d
        .iter()
        .zip(e.iter())
        .fold(0.0_f64, |max, (d, e)| max.max(*d).max(*e));
    let bound = 2.0 * most.sqrt() * (1.0 + 4.0 * f64::EPSILON);
    for first in (0..n).step_by(TOGETHER) {
        let count = TOGETHER.min(n - first);
        let found = cpu.dispatch(Bisect {
            squares: (&*d, &e[..n - 1]),
            first,
            bound,
        });
        values[first..first + count].copy_from_slice(&found[..count]);
    }
    // Values that rounding cannot tell apart may come in any order.
    values.sort_unstable_by(|x, y| y.total_cmp(x));
}

/// The band with room for what the sweeps fill in: entry (i, j) at `2b + i - j` of column `j`, for
/// `j - 2b < i < j + b`.
struct Band<'a> {
    data: &'a mut [f64],
    n: usize,
    /// Superdiagonals.
    b: usize,
}

impl Band<'_> {
    const fn ld(b: usize) -> usize {
        3 * b
    }

    #[inline(always)]
    fn at(&self, i: usize, j: usize) -> usize {
        j * Band::ld(self.b) + 2 * self.b + i - j
    }

    /// Rows `r0..r1` of column `j`.
    #[inline(always)]
    fn column(&mut self, j: usize, r0: usize, r1: usize) -> &mut [f64] {
        let at = self.at(r0, j);
        &mut self.data[at..at + r1 - r0]
    }
}

/// Brings the band to bidiagonal form, sweep by sweep.
struct Reduce<'a, 'b> {
    band: &'a mut Band<'b>,
    work: &'a mut [f64],
}

impl WithSimd for Reduce<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Reduce { band, work } = self;
        let (n, b) = (band.n, band.b);
        let (v, sums) = work.split_at_mut(b);
        for sweep in 0..n - 1 {
            let (mut row, mut c0) = (sweep, sweep + 1);
            while c0 < n {
                let c1 = n.min(c0 + b);
                from_right(band, row, (c0, c1), &mut v[..c1 - c0], sums);
                from_left(band, (c0, c1), &mut v[..c1 - c0]);
                (row, c0) = (c0, c1);
            }
        }
    }
}

/// Clears row `row` between columns `c0` and `c1`, but for its entry in `c0`, by a reflection of those columns.
#[inline(always)]
fn from_right(
    band: &mut Band<'_>,
    row: usize,
    (c0, c1): (usize, usize),
    v: &mut [f64],
    sums: &mut [f64],
) {
    if c1 - c0 < 2 {
        return;
    }
    for (v, j) in v.iter_mut().zip(c0..c1) {
        *v = band.data[band.at(row, j)];
    }
    let Some((beta, tau)) = reflector(v) else {
        return;
    };
    for j in c0..c1 {
        let at = band.at(row, j);
        band.data[at] = if j == c0 { beta } else { 0.0 };
    }
    let (r0, r1) = (row + 1, c1);
    let sums = &mut sums[..r1 - r0];
    sums.fill(0.0);
    for (v, j) in v.iter().zip(c0..c1) {
        add(sums, *v, band.column(j, r0, r1));
    }
    for (v, j) in v.iter().zip(c0..c1) {
        add(band.column(j, r0, r1), -tau * v, sums);
    }
}

/// Clears column `c0` below the diagonal by a reflection of rows `c0..c1`.
#[inline(always)]
fn from_left(band: &mut Band<'_>, (c0, c1): (usize, usize), v: &mut [f64]) {
    if c1 - c0 < 2 {
        return;
    }
    v.copy_from_slice(band.column(c0, c0, c1));
    let Some((beta, tau)) = reflector(v) else {
        return;
    };
    let column = band.column(c0, c0, c1);
    column.fill(0.0);
    column[0] = beta;
    for j in c0 + 1..band.n.min(c1 + band.b) {
        let column = band.column(j, c0, c1);
        let factor = -tau * dot(column, v);
        add(column, factor, v);
    }
}

/// Overwrites x by v with v(0) = 1 and (I - tau v v') x = beta e; nothing where x is such a multiple already or
/// nearly. The matrix's largest entry is 1 or so: what is below 2^-480 may stay, for nobody would see it. A
/// reflection may not be made of it: squares that lose digits to underflow would make one that is not
/// orthogonal, and it is applied to large entries.
#[inline(always)]
fn reflector(x: &mut [f64]) -> Option<(f64, f64)> {
    const LEAST: f64 = f64::from_bits((1023 - 960) << 52);
    let (alpha, square) = (x[0], dot(&x[1..], &x[1..]));
    if square < LEAST {
        return None;
    }
    let beta = -alpha.signum() * (alpha * alpha + square).sqrt();
    let scale = 1.0 / (alpha - beta);
    x[0] = 1.0;
    for x in &mut x[1..] {
        *x *= scale;
    }
    Some((beta, (beta - alpha) / beta))
}

#[inline(always)]
fn dot(x: &[f64], y: &[f64]) -> f64 {
    let mut sums = [0.0; LANES];
    let ((x, x_rest), (y, y_rest)) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>());
    for (x, y) in x.iter().zip(y) {
        for ((sum, x), y) in sums.iter_mut().zip(x).zip(y) {
            *sum = x.mul_add(*y, *sum);
        }
    }
    for ((sum, x), y) in sums.iter_mut().zip(x_rest).zip(y_rest) {
        *sum = x.mul_add(*y, *sum);
    }
    sums.iter().sum()
}

#[inline(always)]
fn add(y: &mut [f64], factor: f64, x: &[f64]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = factor.mul_add(*x, *y);
    }
}

/// Values `first..`, counted from the largest, of the bidiagonal whose squared entries are at most 4 or so.
struct Bisect<'a> {
    squares: (&'a [f64], &'a [f64]),
    first: usize,
    bound: f64,
}

impl WithSimd for Bisect<'_> {
    type Output = [f64; TOGETHER];

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> [f64; TOGETHER] {
        /// Below this part of the bound there is nothing but rounding.
        const LEAST: f64 = f64::from_bits((1023 - 110) << 52);
        let Bisect {
            squares,
            first,
            bound,
        } = self;
        let n = squares.0.len();
        let (mut low, mut high) = ([0.0; TOGETHER], [bound; TOGETHER]);
        loop {
            let open = low
                .iter()
                .zip(&high)
                .any(|(low, high)| high - low > 2.0 * f64::EPSILON * high && *high > LEAST * bound);
            if !open {
                break;
            }
            let mut middle = [0.0; TOGETHER];
            for ((middle, low), high) in middle.iter_mut().zip(&low).zip(&high) {
                *middle = 0.5 * (low + high);
            }
            let smaller = count(squares, &middle);
            for lane in 0..TOGETHER {
                // Value k is less than the middle when at least n - k are.
                let rank = n.saturating_sub(first + lane) as f64;
                if smaller[lane] >= rank {
                    high[lane] = middle[lane];
                } else {
                    low[lane] = middle[lane];
                }
            }
        }
        let mut found = [0.0; TOGETHER];
        for ((found, low), high) in found.iter_mut().zip(&low).zip(&high) {
            *found = if *low == 0.0 { 0.0 } else { 0.5 * (low + high) };
        }
        found
    }
}

/// How many singular values are less than each sigma: the negative pivots of B'B - sigma^2 I in differential form
/// (Fernando, SIAM J. Matrix Anal. Appl. 20, 1998).
#[inline(always)]
fn count((d, e): (&[f64], &[f64]), sigma: &[f64; TOGETHER]) -> [f64; TOGETHER] {
    const PIVOT_MIN: f64 = 1e-300;
    let mut squared = [0.0; TOGETHER];
    for (squared, sigma) in squared.iter_mut().zip(sigma) {
        *squared = sigma * sigma;
    }
    let (mut t, mut counts) = (squared.map(|x| -x), [0.0; TOGETHER]);
    for (k, d) in d.iter().enumerate() {
        let e = e.get(k).copied().unwrap_or(0.0);
        for lane in 0..TOGETHER {
            let pivot = d + t[lane];
            let pivot = if pivot.abs() < PIVOT_MIN {
                -PIVOT_MIN
            } else {
                pivot
            };
            counts[lane] += if pivot < 0.0 { 1.0 } else { 0.0 };
            t[lane] = (t[lane] / pivot) * e - squared[lane];
        }
    }
    counts
}
