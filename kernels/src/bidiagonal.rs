//! Brings a square matrix to upper bidiagonal form, Q' A P = B, and makes Q and P of the reflectors: a block of columns
//! and rows at a time, half of the work in products (Dongarra, Sorensen, Hammarling: Block reduction of matrices to
//! condensed forms, 1989; LAPACK's dlabrd). Knows storage, not tiles.

use pulp::{Simd, WithSimd};

use crate::apply::{Block, Profile, Side, Target, unit_lower, upper};
use crate::micro::{Cpu, Part, Place, Store};
use crate::product::{Extent, View, product, product_nt_words};

/// Columns and rows that are reduced before the rest of the matrix is updated.
const BLOCK: usize = 32;
/// Partial sums of a dot product.
const LANES: usize = 8;
/// Columns that a pass over a vector takes.
const TOGETHER: usize = 8;
/// The matrix's largest entry is 1 or so: what is below 2^-480 counts as zero, since squares that lose digits to
/// underflow would make reflections that are not orthogonal.
const SQUARE_MIN: f64 = f64::from_bits((1023 - 960) << 52);

/// Scratch words of [`reduce`] for order `n`.
pub(crate) fn reduce_words(n: usize) -> usize {
    let block = BLOCK.min(n);
    let extent = Extent { m: n, n, k: block };
    2 * n * block + 2 * block + product_nt_words(extent)
}

/// What [`reduce`] leaves beside the reflectors.
pub(crate) struct Bidiagonal<'a> {
    /// The diagonal, `n` words.
    pub(crate) d: &'a mut [f64],
    /// What is above it, in the first `n - 1` of `n` words.
    pub(crate) e: &'a mut [f64],
    /// Factors of the reflectors of Q and of P, `n` words each.
    pub(crate) tau_q: &'a mut [f64],
    pub(crate) tau_p: &'a mut [f64],
}

/// Reduces `a` of order `n`, largest entry 1 or nearly. The reflectors of Q are left below its diagonal, those of P
/// below the first subdiagonal of `p`.
pub(crate) fn reduce(
    cpu: Cpu,
    a: &mut [f64],
    p: &mut [f64],
    n: usize,
    out: &mut Bidiagonal<'_>,
    scratch: &mut [f64],
) {
    let block = BLOCK.min(n);
    let (x, rest) = scratch.split_at_mut(n * block);
    let (y, rest) = rest.split_at_mut(n * block);
    let (small, rest) = rest.split_at_mut(2 * block);
    for j in (0..n).step_by(BLOCK) {
        let (k, order) = (BLOCK.min(n - j), n - j);
        for i in 0..k {
            let mut panel = Panel {
                cpu,
                a: &mut a[j * n + j..],
                r: &mut p[j * n + j..],
                x,
                y,
                ld: n,
                order,
            };
            let at = j + i;
            (out.d[at], out.tau_q[at]) = panel.column(i, small);
            if at + 1 < n {
                (out.e[at], out.tau_p[at]) = panel.row(i, out.tau_q[at], small);
            }
        }
        if j + k == n {
            break;
        }
        // What is left becomes itself less V Y' + X U'.
        let (left, right) = a.split_at_mut((j + k) * n);
        let (v, r) = (&left[j * n + j + k..], &p[j * n + j + k..]);
        let extent = Extent {
            m: order - k,
            n: order - k,
            k,
        };
        for factors in [
            (View::plain(v, n), View::transposed(&y[k..], n)),
            (View::plain(&x[k..], n), View::transposed(r, n)),
        ] {
            let c = (&mut right[j + k..], n);
            product(cpu, c, extent, factors, (Store::Sub, Part::All), rest);
        }
    }
}

/// What is left of the matrix, and the reflectors and updates of the columns and rows that are being reduced, all with
/// one leading dimension. Column `k` of `a` is v_k, with a one at row `k`; that of `r` is u_k, a one at row `k + 1`.
struct Panel<'a> {
    cpu: Cpu,
    a: &'a mut [f64],
    r: &'a mut [f64],
    x: &'a mut [f64],
    y: &'a mut [f64],
    ld: usize,
    order: usize,
}

impl Panel<'_> {
    /// Updates column `i` and reflects it to its diagonal entry; returns that and the reflector's factor.
    fn column(&mut self, i: usize, small: &mut [f64]) -> (f64, f64) {
        let (ld, cpu, end) = (self.ld, self.cpu, self.order);
        let (left, column) = self.a.split_at_mut(i * ld);
        let column = &mut column[i..end];
        subtract(
            cpu,
            (&*left, ld),
            i..end,
            gather(self.y, ld, i, small, i),
            column,
        );
        subtract(
            cpu,
            (&*self.x, ld),
            i..end,
            gather(self.r, ld, i, small, i),
            column,
        );
        reflect(cpu, column)
    }

    /// Updates row `i` right of the diagonal and reflects it to one entry; returns that and the reflector's factor.
    /// Leaves what the updates of later columns and rows need in `x` and `y`.
    fn row(&mut self, i: usize, tau_q: f64, small: &mut [f64]) -> (f64, f64) {
        let (ld, cpu, end) = (self.ld, self.cpu, self.order);
        let (first, rest) = (i + 1, i + 1..end);
        let (z, spare) = small.split_at_mut(small.len() / 2);

        // y_i = tau (A' - Y V' - U X') v_i
        let (before, y) = self.y.split_at_mut(i * ld);
        let y = &mut y[first..end];
        let v = &self.a[i * ld + i..i * ld + end];
        dots(cpu, (&self.a[first * ld..], ld), i..end, v, y);
        dots(cpu, (&*self.a, ld), i..end, v, &mut z[..i]);
        subtract(cpu, (&*before, ld), rest.clone(), &z[..i], y);
        dots(cpu, (&*self.x, ld), i..end, v, &mut z[..i]);
        subtract(cpu, (&*self.r, ld), rest.clone(), &z[..i], y);
        y.iter_mut().for_each(|y| *y *= tau_q);

        // The row.
        let (before, row) = self.r.split_at_mut(i * ld);
        let row = &mut row[first..end];
        for (u, column) in row.iter_mut().zip(self.a[first * ld..].chunks(ld)) {
            *u = column[i];
        }
        let of_v = gather(self.a, ld, i, spare, first);
        subtract(cpu, (&*self.y, ld), rest.clone(), of_v, row);
        let of_x = gather(self.x, ld, i, spare, i);
        subtract(cpu, (&*before, ld), rest.clone(), of_x, row);
        let (e, tau) = reflect(cpu, row);

        // x_i = tau (A - V Y' - X U') u_i
        let (columns, x) = self.x.split_at_mut(i * ld);
        let x = &mut x[first..end];
        x.fill(0.0);
        // The sum has the sign of what is subtracted.
        subtract(cpu, (&self.a[first * ld..], ld), rest.clone(), row, x);
        dots(cpu, (&*self.y, ld), rest.clone(), row, &mut z[..first]);
        z[..first].iter_mut().for_each(|z| *z = -*z);
        subtract(cpu, (&*self.a, ld), rest.clone(), &z[..first], x);
        dots(cpu, (&*before, ld), rest.clone(), row, &mut z[..i]);
        z[..i].iter_mut().for_each(|z| *z = -*z);
        subtract(cpu, (&*columns, ld), rest, &z[..i], x);
        x.iter_mut().for_each(|x| *x *= -tau);
        (e, tau)
    }
}

/// Row `row` of the first `count` columns.
fn gather<'a>(m: &[f64], ld: usize, row: usize, to: &'a mut [f64], count: usize) -> &'a [f64] {
    for (to, column) in to.iter_mut().zip(m.chunks(ld)).take(count) {
        *to = column[row];
    }
    &to[..count]
}

/// The reflector that makes x a multiple of e_1, as LAPACK's dlarfg: x becomes v; returns beta and tau.
fn reflect(cpu: Cpu, x: &mut [f64]) -> (f64, f64) {
    let alpha = x[0];
    let mut square = [0.0];
    let rows = 1..x.len();
    dots(cpu, (&*x, x.len()), rows, &x[1..], &mut square);
    x[0] = 1.0;
    if square[0] < SQUARE_MIN {
        x[1..].fill(0.0);
        return (alpha, 0.0);
    }
    let beta = -alpha.signum() * (alpha * alpha + square[0]).sqrt();
    let scale = 1.0 / (alpha - beta);
    x[1..].iter_mut().for_each(|x| *x *= scale);
    (beta, (beta - alpha) / beta)
}

/// Scratch words of [`vectors`].
pub(crate) fn vectors_words(n: usize) -> usize {
    let block = BLOCK.min(n);
    block * block + block + Block::words(n, block) + Block::apply_words(block)
}

/// Writes the product of `count` reflectors, the first of them with its one in row `shift`, column by column below
/// each other in `v`.
pub(crate) fn vectors(
    cpu: Cpu,
    (v, tau): (&[f64], &[f64]),
    (n, count, shift): (usize, usize, usize),
    q: &mut [f64],
    scratch: &mut [f64],
) {
    q.fill(0.0);
    q.iter_mut().step_by(n + 1).for_each(|x| *x = 1.0);
    for j in (0..count).step_by(BLOCK).rev() {
        let (k, row) = (BLOCK.min(count - j), j + shift);
        let m = n - row;
        let (t, scratch) = scratch.split_at_mut(k * k);
        let (z, scratch) = scratch.split_at_mut(k);
        let v = &v[j * n + row..];
        triangle(cpu, (v, n), (m, k), &tau[j..j + k], t, z);
        let columns = unit_lower(v, n, m);
        let (block, work) = Block::new(
            cpu,
            scratch,
            (m, k),
            Profile::UnitLower,
            &columns,
            &upper(t, k, k),
            Side::Plain,
        );
        let place = Place {
            row,
            ..Place::dense(n).after(row)
        };
        let target = Target {
            data: &mut *q,
            place,
            source: None,
        };
        block.apply(cpu, None, target, m, work);
    }
}

/// T of `k` reflectors over `m` rows: t_ii = tau_i, t_i = -tau_i T (V' v_i) above it.
fn triangle(
    cpu: Cpu,
    (v, ld): (&[f64], usize),
    (m, k): (usize, usize),
    tau: &[f64],
    t: &mut [f64],
    z: &mut [f64],
) {
    t.fill(0.0);
    for i in 0..k {
        let rows = i + 1..m;
        dots(
            cpu,
            (v, ld),
            rows.clone(),
            &v[i * ld + i + 1..i * ld + m],
            &mut z[..i],
        );
        for (l, z) in z.iter_mut().enumerate().take(i) {
            *z += v[l * ld + i];
        }
        for l in 0..i {
            let sum: f64 = (l..i).map(|c| t[c * k + l] * z[c]).sum();
            t[i * k + l] = -tau[i] * sum;
        }
        t[i * k + i] = tau[i];
    }
}

/// Dot products of `v` with rows `rows` of the first columns of a matrix, as many as `out` has.
fn dots(
    cpu: Cpu,
    (m, ld): (&[f64], usize),
    rows: std::ops::Range<usize>,
    v: &[f64],
    out: &mut [f64],
) {
    cpu.dispatch(Dots {
        m,
        ld,
        rows,
        v,
        out,
    });
}

struct Dots<'a> {
    m: &'a [f64],
    ld: usize,
    rows: std::ops::Range<usize>,
    v: &'a [f64],
    out: &'a mut [f64],
}

impl WithSimd for Dots<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Dots {
            m,
            ld,
            rows,
            v,
            out,
        } = self;
        let column = |c: usize| &m[c * ld + rows.start..c * ld + rows.end];
        let (groups, last) = out.as_chunks_mut::<4>();
        let count = groups.len() * 4;
        for (g, out) in groups.iter_mut().enumerate() {
            *out = dot([0, 1, 2, 3].map(|c| column(4 * g + c)), v);
        }
        for (c, out) in last.iter_mut().enumerate() {
            [*out] = dot([column(count + c)], v);
        }
    }
}

/// The same sums for one column as for several.
#[inline(always)]
fn dot<const N: usize>(columns: [&[f64]; N], v: &[f64]) -> [f64; N] {
    let mut sums = [[0.0_f64; LANES]; N];
    let (whole, rest) = v.as_chunks::<LANES>();
    let mut parts = [(&[][..], &[][..]); N];
    for (part, column) in parts.iter_mut().zip(columns) {
        let (chunks, last) = column[..v.len()].as_chunks::<LANES>();
        *part = (&chunks[..whole.len()], last);
    }
    for (k, v) in whole.iter().enumerate() {
        for (sums, (chunks, _)) in sums.iter_mut().zip(&parts) {
            for lane in 0..LANES {
                sums[lane] = v[lane].mul_add(chunks[k][lane], sums[lane]);
            }
        }
    }
    let mut totals = [0.0; N];
    for ((total, sums), (_, last)) in totals.iter_mut().zip(&mut sums).zip(&parts) {
        for ((sum, v), x) in sums.iter_mut().zip(rest).zip(*last) {
            *sum = v.mul_add(*x, *sum);
        }
        *total = sums.iter().sum();
    }
    totals
}

/// `y` less rows `rows` of a matrix times `x`, column by column.
fn subtract(
    cpu: Cpu,
    (m, ld): (&[f64], usize),
    rows: std::ops::Range<usize>,
    x: &[f64],
    y: &mut [f64],
) {
    cpu.dispatch(Subtract { m, ld, rows, x, y });
}

struct Subtract<'a> {
    m: &'a [f64],
    ld: usize,
    rows: std::ops::Range<usize>,
    x: &'a [f64],
    y: &'a mut [f64],
}

impl WithSimd for Subtract<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Subtract { m, ld, rows, x, y } = self;
        let column = |c: usize| &m[c * ld + rows.start..c * ld + rows.end];
        let (groups, last) = x.as_chunks::<TOGETHER>();
        let count = groups.len() * TOGETHER;
        for (g, x) in groups.iter().enumerate() {
            let mut columns = [&[][..]; TOGETHER];
            for (c, slot) in columns.iter_mut().enumerate() {
                *slot = &column(g * TOGETHER + c)[..y.len()];
            }
            for (r, y) in y.iter_mut().enumerate() {
                let mut sum = *y;
                unroll!(8, c, { sum = (-x[c]).mul_add(columns[c][r], sum) });
                *y = sum;
            }
        }
        for (c, x) in last.iter().enumerate() {
            for (y, m) in y.iter_mut().zip(column(count + c)) {
                *y = (-x).mul_add(*m, *y);
            }
        }
    }
}
