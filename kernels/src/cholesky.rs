//! Cholesky of a tile, A = L L', and the update of a diagonal tile: potrf and syrk. Of a symmetric tile only the lower
//! triangle exists.

use crate::micro::{Cpu, Part, Store};
use crate::op::{KernelError, KernelOp, TaskShapes, TaskTiles};
use crate::pack::transpose;
use crate::panel::Matrix;
use crate::product::{Extent, View, product, product_nt_words};
use crate::solve::{BASE, Diagonal, half, right_words, solve_right};
use crate::trsm::check_finite;

pub(crate) fn ops() -> Vec<KernelOp> {
    vec![
        // L with A = L L'.
        KernelOp::standard("potrf(lower(n,n)) -> lower(n,n)", potrf)
            .with_flops(|shapes| {
                let n = shapes.input(0).0 as u64;
                n * n * n / 3
            })
            .with_scratch(|shapes| {
                let (n, _) = shapes.input(0);
                n * n + factor_words(n)
            }),
        // The lower triangle of C - A A'.
        KernelOp::standard("syrk(lower(n,n), full(n,k)) -> lower(n,n)", syrk)
            .with_flops(|shapes| {
                let (n, k) = shapes.input(1);
                (n * (n + 1) * k) as u64
            })
            .with_scratch(|shapes| {
                let extent = syrk_extent(shapes);
                extent.n * extent.n + product_nt_words(extent)
            }),
    ]
}

fn potrf(tiles: &mut TaskTiles<'_, '_>) -> Result<(), KernelError> {
    let a = tiles.input(0);
    let n = a.shape.rows as usize;
    let ([l], scratch) = tiles.outputs();
    let (dense, scratch) = scratch.split_at_mut(n * n);
    a.unpack(dense, n);
    let matrix = Matrix {
        data: &mut *dense,
        ld: n,
    };
    factor(Cpu::new(), matrix, n, scratch)
        .map_err(|order| KernelError::NotPositiveDefinite { order })?;
    l.pack(dense, n);
    check_finite(l.data)
}

/// Scratch words of [`factor`].
pub(crate) fn factor_words(n: usize) -> usize {
    if n <= BASE {
        return 0;
    }
    let k = half(n);
    let extent = Extent { m: k, n: k, k };
    k * k + right_words(k, k).max(product_nt_words(extent))
}

/// Factors the lower triangle of `a` in place, by halves; or the order of the first minor that is not positive. What is
/// above the diagonal is overwritten.
pub(crate) fn factor(
    cpu: Cpu,
    mut a: Matrix<'_>,
    n: usize,
    scratch: &mut [f64],
) -> Result<(), usize> {
    if n <= BASE {
        return factor_base(a, n);
    }
    let (n1, ld) = (half(n), a.ld);
    let n2 = n - n1;
    factor(cpu, a.part(0, 0), n1, scratch)?;
    let (upper, rest) = scratch.split_at_mut(n1 * n1);
    transpose(cpu, (a.data, ld), (n1, n1), (&mut *upper, n1));
    solve_right(
        cpu,
        (upper, n1),
        Diagonal::Stored,
        a.part(n1, 0),
        (n2, n1),
        rest,
    );
    let (left, mut right) = {
        let (left, right) = a.data.split_at_mut(n1 * ld);
        (&left[n1..], Matrix { data: right, ld })
    };
    let extent = Extent {
        m: n2,
        n: n2,
        k: n1,
    };
    product(
        cpu,
        (right.part(n1, 0).data, ld),
        extent,
        (View::plain(left, ld), View::transposed(left, ld)),
        (Store::Sub, Part::Lower { shift: 0 }),
        rest,
    );
    factor(cpu, right.part(n1, 0), n2, scratch).map_err(|order| n1 + order)
}

fn factor_base(a: Matrix<'_>, n: usize) -> Result<(), usize> {
    let mut l = [[0.0_f64; BASE]; BASE];
    for (j, (column, l)) in a.data.chunks(a.ld).zip(&mut l).take(n).enumerate() {
        l[j..n].copy_from_slice(&column[j..n]);
    }
    for j in 0..n {
        let pivot = l[j][j];
        // Not a number is not positive either.
        if pivot.is_nan() || pivot <= 0.0 {
            return Err(j + 1);
        }
        let root = pivot.sqrt();
        l[j][j] = root;
        for x in &mut l[j][j + 1..] {
            *x /= root;
        }
        let column = l[j];
        for (i, later) in l.iter_mut().enumerate().take(n).skip(j + 1) {
            for (x, left) in later[i..].iter_mut().zip(&column[i..]) {
                *x -= left * column[i];
            }
        }
    }
    for (j, (column, l)) in a.data.chunks_mut(a.ld).zip(&l).take(n).enumerate() {
        column[j..n].copy_from_slice(&l[j..n]);
    }
    Ok(())
}

fn syrk_extent(shapes: &TaskShapes<'_>) -> Extent {
    let (n, k) = shapes.input(1);
    Extent { m: n, n, k }
}

fn syrk(tiles: &mut TaskTiles<'_, '_>) -> Result<(), KernelError> {
    let (c, a) = (tiles.input(0), tiles.input(1));
    let (n, k) = a.shape.dense();
    let ([output], scratch) = tiles.outputs();
    let (square, scratch) = scratch.split_at_mut(n * n);
    product(
        Cpu::new(),
        (&mut *square, n),
        Extent { m: n, n, k },
        (View::plain(a.data, n), View::transposed(a.data, n)),
        (Store::Set, Part::Lower { shift: 0 }),
        scratch,
    );
    for (j, square) in square.chunks_exact(n).enumerate() {
        let (row, before) = c.column(j);
        let span = output.shape.span(j);
        let result = &mut output.data[span.offset..span.offset + span.len];
        for ((x, c), product) in result.iter_mut().zip(before).zip(&square[row..]) {
            *x = c - product;
        }
    }
    Ok(())
}
