//! The singular value decomposition of a tile, and of a band matrix that is gathered in one: gesvd, band_svd,
//! band_values, band_column, append. Matrices are scaled by a power of two first, so that nothing overflows.
//!
//! A band matrix with w - 1 superdiagonals is stored as LAPACK does: entry (i, j) at row w - 1 + i - j of column j.

use faer::diag::DiagMut;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::svd::{ComputeSvdVectors, svd, svd_scratch};
use faer::{MatMut, MatRef, Par};

use crate::band;
use crate::micro::Cpu;
use crate::op::{KernelError, KernelOp, TaskTiles};
use crate::pack::transpose;
use crate::tile::TileMut;
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
            let ((m, n), (_, k)) = (shapes.input(0), shapes.output(0));
            m * n + n * k
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
            2 * n * n
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
    let size = a.shape.dense();
    let scale = scale_of(a.data)?;
    let ([u, s, vt], scratch) = tiles.outputs();
    let (dense, scratch) = scratch.split_at_mut(a.data.len());
    for (x, a) in dense.iter_mut().zip(a.data) {
        *x = scale.apply(*a);
    }
    decompose(dense, size, scale, (u, s, vt), scratch)
}

/// The decomposition of the `m` x `n` matrix `dense`, which `scale` has been applied to.
fn decompose(
    dense: &[f64],
    (m, n): (usize, usize),
    scale: Scale,
    (u, s, vt): (&mut TileMut<'_>, &mut TileMut<'_>, &mut TileMut<'_>),
    scratch: &mut [f64],
) -> Result<(), KernelError> {
    let k = m.min(n);
    let v = &mut scratch[..n * k];
    let (thin, params) = (ComputeSvdVectors::Thin, Default::default());
    // Of bytes, which scratch is not, so it is the one thing that a kernel allocates.
    let mut space = MemBuffer::new(svd_scratch::<f64>(m, n, thin, thin, Par::Seq, params));
    svd(
        MatRef::from_column_major_slice(dense, m, n),
        DiagMut::from_slice_mut(s.data),
        Some(MatMut::from_column_major_slice_mut(u.data, m, k)),
        Some(MatMut::from_column_major_slice_mut(v, n, k)),
        Par::Seq,
        MemStack::new(&mut space),
        params,
    )
    .map_err(|_| KernelError::Failed("the singular values do not converge".to_owned()))?;
    transpose(Cpu::new(), (v, n), (n, k), (&mut *vt.data, k));
    for x in s.data.iter_mut() {
        *x = scale.undo(*x);
    }
    check_finite(s.data)?;
    check_finite(u.data)?;
    check_finite(vt.data)
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
    decompose(dense, (n, n), scale, (u, s, vt), scratch)
}
