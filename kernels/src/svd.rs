//! The singular value decomposition of a tile, and of a band matrix that is gathered in one: gesvd, band_svd,
//! band_values, band_column, append. Matrices are scaled by a power of two first, so that nothing overflows.
//!
//! A band matrix with w - 1 superdiagonals is stored as LAPACK does: entry (i, j) at row w - 1 + i - j of column j.

use crate::apply::Side;
use crate::band;
use crate::bidiagonal::{self, Bidiagonal};
use crate::geqrt::{apply, apply_words, factor_blocks, tall_words};
use crate::golub_kahan::diagonalize;
use crate::micro::Cpu;
use crate::op::{KernelError, KernelOp, TaskTiles};
use crate::pack::transpose;
use crate::rotations::Rotations;
use crate::tile::{Shape, TileMut, TileRef};
use crate::trsm::check_finite;

pub(crate) fn ops() -> Vec<KernelOp> {
    vec![
        // A = U diag(s) V'; the third output is V'.
        KernelOp::standard(
            "gesvd(full(m,n)) -> full(m,k), full(k,1), full(k,n) where k = min(m,n)",
            gesvd,
        )
        .with_flops(|shapes| {
            let (m, n) = shapes.input(0);
            svd_flops(m, n)
        })
        .with_scratch(|shapes| {
            let (m, n) = shapes.input(0);
            2 * m * n + tall_svd_words(m.max(n), m.min(n))
        }),
        // The columns of the band matrix that a diagonal tile R and the tile L above it hold.
        KernelOp::standard(
            "band_column(upper(r,n), lower(m,n)?) -> full(w,n) where w >= n, w >= m + 1",
            band_column,
        ),
        // The columns of both.
        KernelOp::standard("append(full(w,p)?, full(w,c)) -> full(w,q)", append),
        // All singular values of a band matrix, the largest first.
        KernelOp::standard("band_values(full(w,n)) -> full(n,1)", band_values)
            .with_flops(|shapes| {
                let (w, n) = shapes.input(0);
                8 * (n * n * w.min(n)) as u64
            })
            .with_scratch(|shapes| {
                let (w, n) = shapes.input(0);
                band::values_words(n, w)
            }),
        // B = U diag(s) V' of a band matrix; the third output is V'.
        KernelOp::standard(
            "band_svd(full(w,n)) -> full(n,n), full(n,1), full(n,n)",
            band_svd,
        )
        .with_flops(|shapes| {
            let (_, n) = shapes.input(0);
            svd_flops(n, n)
        })
        .with_scratch(|shapes| {
            let (_, n) = shapes.input(0);
            2 * n * n + square_words(n)
        }),
    ]
}

/// 14 m n^2 + 8 n^3 for n <= m: with both sides' vectors (Golub, Van Loan, table 8.6.1).
fn svd_flops(m: usize, n: usize) -> u64 {
    let (m, n) = (m.max(n) as u64, m.min(n) as u64);
    14 * m * n * n + 8 * n * n * n
}

/// The power of two by which the largest entry becomes 1 or nearly; 1 for zeros.
fn scale_of(data: &[f64]) -> Result<Scale, KernelError> {
    check_finite(data)?;
    let largest = data.iter().fold(0.0_f64, |max, x| max.max(x.abs()));
    if largest == 0.0 {
        return Ok(Scale {
            first: 1.0,
            last: 1.0,
        });
    }
    // In two factors: their product may be out of range.
    let exponent = 1023 - (largest.max(f64::MIN_POSITIVE).to_bits() >> 52) as i32;
    let half = exponent / 2;
    Ok(Scale {
        first: 2_f64.powi(half),
        last: 2_f64.powi(exponent - half),
    })
}

/// A factor that is a power of two.
#[derive(Clone, Copy)]
struct Scale {
    first: f64,
    last: f64,
}

impl Scale {
    fn apply(self, x: f64) -> f64 {
        x * self.first * self.last
    }

    fn undo(self, x: f64) -> f64 {
        x / self.first / self.last
    }
}

fn gesvd(tiles: &mut TaskTiles<'_, '_>) -> Result<(), KernelError> {
    let a = tiles.input(0);
    let (m, n) = a.shape.dense();
    let scale = scale_of(a.data)?;
    let ([u, s, vt], scratch) = tiles.outputs();
    let (dense, scratch) = scratch.split_at_mut(m * n);
    let (long, scratch) = scratch.split_at_mut(m * n);
    let cpu = Cpu::new();
    for (x, a) in long.iter_mut().zip(a.data) {
        *x = scale.apply(*a);
    }
    // The decomposition of A' where A is wide: its U is V.
    let (rows, cols) = (m.max(n), m.min(n));
    if m < n {
        transpose(cpu, (long, m), (m, n), (&mut *dense, n));
    } else {
        dense.copy_from_slice(long);
    }
    let (short, scratch) = scratch.split_at_mut(cols * cols);
    tall(cpu, dense, (rows, cols), (long, s.data, short), scratch)?;
    let (left, right) = if m < n {
        (&*short, &*long)
    } else {
        (&*long, &*short)
    };
    u.data.copy_from_slice(left);
    transpose(cpu, (right, n), (n, cols), (&mut *vt.data, cols));
    finish(scale, (u, s, vt))
}

/// Brings the values back to their size; what is not finite is an error.
fn finish(
    scale: Scale,
    (u, s, vt): (&mut TileMut<'_>, &mut TileMut<'_>, &mut TileMut<'_>),
) -> Result<(), KernelError> {
    for x in s.data.iter_mut() {
        *x = scale.undo(*x);
    }
    check_finite(s.data)?;
    check_finite(u.data)?;
    check_finite(vt.data)
}

/// Columns of Q that are made at a time.
const INNER: usize = 32;

/// Scratch words of [`tall`], V included.
fn tall_svd_words(m: usize, n: usize) -> usize {
    let (unit, factors) = qr_shapes(m, n);
    let ib = INNER.min(n);
    let qr = unit.words() + factors.words() + tall_words(m, ib).max(apply_words((m, n), ib));
    3 * n * n + square_words(n) + if m > n { m * n + qr } else { 0 }
}

fn qr_shapes(m: usize, n: usize) -> (Shape, Shape) {
    let (m, n) = (m as u32, n as u32);
    (Shape::unit(m, n), Shape::tfac(n, n.min(INNER as u32)))
}

/// U, s and V of the `m` x `n` matrix `dense`, m >= n, which is overwritten: those of R, and Q times R's U.
fn tall(
    cpu: Cpu,
    dense: &mut [f64],
    (m, n): (usize, usize),
    (u, s, v): (&mut [f64], &mut [f64], &mut [f64]),
    scratch: &mut [f64],
) -> Result<(), KernelError> {
    if m == n {
        return square(cpu, dense, n, (u, s, v), scratch);
    }
    let (unit, factors) = qr_shapes(m, n);
    let (reflectors, scratch) = scratch.split_at_mut(unit.words());
    let (t, scratch) = scratch.split_at_mut(factors.words());
    let (a, scratch) = scratch.split_at_mut(m * n);
    let mut t = TileMut::new(factors, t);
    factor_blocks(cpu, dense, a, (m, n), &mut t, scratch)?;
    TileMut::new(unit, reflectors).pack(a, m);
    let (small, scratch) = scratch.split_at_mut(n * n);
    let (r, scratch) = scratch.split_at_mut(n * n);
    r.fill(0.0);
    for (j, (to, from)) in r.chunks_exact_mut(n).zip(a.chunks_exact(m)).enumerate() {
        to[..=j].copy_from_slice(&from[..=j]);
    }
    square(cpu, r, n, (small, s, v), scratch)?;
    for (to, from) in u.chunks_exact_mut(m).zip(small.chunks_exact(n)) {
        to[..n].copy_from_slice(from);
        to[n..].fill(0.0);
    }
    let q = (
        TileRef::new(unit, reflectors),
        TileRef::new(factors, t.data),
        Side::Plain,
    );
    apply(cpu, q, (u, None), n, scratch);
    Ok(())
}

/// Scratch words of [`square`].
fn square_words(n: usize) -> usize {
    let later = bidiagonal::vectors_words(n).max(Rotations::words(n));
    n * n + 3 * n + bidiagonal::reduce_words(n).max(later)
}

/// U, s and V of the matrix `a` of order `n`, which is overwritten.
fn square(
    cpu: Cpu,
    a: &mut [f64],
    n: usize,
    (u, s, v): (&mut [f64], &mut [f64], &mut [f64]),
    scratch: &mut [f64],
) -> Result<(), KernelError> {
    let (p, scratch) = scratch.split_at_mut(n * n);
    let (e, scratch) = scratch.split_at_mut(n);
    let (tau_q, scratch) = scratch.split_at_mut(n);
    let (tau_p, scratch) = scratch.split_at_mut(n);
    let mut out = Bidiagonal {
        d: &mut *s,
        e,
        tau_q,
        tau_p,
    };
    bidiagonal::reduce(cpu, a, p, n, &mut out, scratch);
    bidiagonal::vectors(cpu, (a, tau_q), (n, n, 0), u, scratch);
    bidiagonal::vectors(cpu, (p, tau_p), (n, n - 1, 1), v, scratch);
    let mut rotations = Rotations::new(cpu, n, (u, v), scratch);
    diagonalize(s, e, &mut rotations)
        .map_err(|_| KernelError::Failed("the singular values do not converge".to_owned()))?;
    let (u, v) = rotations.finish();
    for (s, v) in s.iter_mut().zip(v.chunks_exact_mut(n)) {
        if s.is_sign_negative() {
            *s = -*s;
            v.iter_mut().for_each(|x| *x = -*x);
        }
    }
    sort(s, u, v);
    Ok(())
}

/// Brings the values in descending order, and the columns of both matrices with them.
fn sort(s: &mut [f64], u: &mut [f64], v: &mut [f64]) {
    let n = s.len();
    for i in 0..n {
        let mut most = i;
        for (at, x) in s.iter().enumerate().skip(i + 1) {
            if *x > s[most] {
                most = at;
            }
        }
        if most != i {
            s.swap(i, most);
            for matrix in [&mut *u, &mut *v] {
                let (left, right) = matrix.split_at_mut(most * n);
                left[i * n..(i + 1) * n].swap_with_slice(&mut right[..n]);
            }
        }
    }
}

fn band_column(tiles: &mut TaskTiles<'_, '_>) -> Result<(), KernelError> {
    let (r, l) = (tiles.input(0), tiles.optional_input(1));
    let ([output], _) = tiles.outputs();
    let w = output.shape.rows as usize;
    output.data.fill(0.0);
    for (j, column) in output.data.chunks_exact_mut(w).enumerate() {
        let (_, entries) = r.column(j);
        column[w - 1 - j..][..entries.len()].copy_from_slice(entries);
        if let Some(l) = l {
            let (row, entries) = l.column(j);
            let m = l.shape.rows as usize;
            if row < m {
                column[w - 1 - m + row - j..][..entries.len()].copy_from_slice(entries);
            }
        }
    }
    Ok(())
}

fn append(tiles: &mut TaskTiles<'_, '_>) -> Result<(), KernelError> {
    let (left, right) = (tiles.optional_input(0), tiles.input(1));
    let ([output], _) = tiles.outputs();
    let left = left.map_or(&[][..], |left| left.data);
    if output.data.len() != left.len() + right.data.len() {
        let w = right.shape.rows as usize;
        return Err(KernelError::Failed(format!(
            "append: the result should have {} columns, got {}",
            (left.len() + right.data.len()) / w,
            output.shape.cols
        )));
    }
    let (first, last) = output.data.split_at_mut(left.len());
    first.copy_from_slice(left);
    last.copy_from_slice(right.data);
    Ok(())
}

/// Whether the stored entry `at` of column `j` is one of the matrix.
fn inside(w: usize, at: usize, j: usize) -> bool {
    j + at + 1 >= w
}

fn band_values(tiles: &mut TaskTiles<'_, '_>) -> Result<(), KernelError> {
    let a = tiles.input(0);
    let (w, n) = a.shape.dense();
    let scale = scale_of(a.data)?;
    let ([s], scratch) = tiles.outputs();
    let entry = |i: usize, j: usize| scale.apply(a.data[j * w + w - 1 + i - j]);
    band::values(Cpu::new(), (n, w), entry, s.data, scratch);
    for x in s.data.iter_mut() {
        *x = scale.undo(*x);
    }
    check_finite(s.data)
}

fn band_svd(tiles: &mut TaskTiles<'_, '_>) -> Result<(), KernelError> {
    let a = tiles.input(0);
    let (w, n) = a.shape.dense();
    let scale = scale_of(a.data)?;
    let ([u, s, vt], scratch) = tiles.outputs();
    let (dense, scratch) = scratch.split_at_mut(n * n);
    dense.fill(0.0);
    let columns = dense.chunks_exact_mut(n).zip(a.data.chunks_exact(w));
    for (j, (column, stored)) in columns.enumerate() {
        for (at, x) in stored.iter().enumerate() {
            if inside(w, at, j) {
                column[j + at + 1 - w] = scale.apply(*x);
            }
        }
    }
    let cpu = Cpu::new();
    let (v, scratch) = scratch.split_at_mut(n * n);
    square(
        cpu,
        dense,
        n,
        (&mut *u.data, &mut *s.data, &mut *v),
        scratch,
    )?;
    transpose(cpu, (v, n), (n, n), (&mut *vt.data, n));
    finish(scale, (u, s, vt))
}
