//! What residuals are computed with: |A - Q R| and |I - Q'Q| a tile at a time, in 1-norms, with A
//! scaled by its largest entry first, so that nothing overflows. Exact bits, no tolerance.
//!
//! With s = amax of A: E(i,j) = A(i,j)/s - sum over k of Q(i,k) (R(k,j)/s), by one `residual_start` and a
//! chain of `residual_step`; G(i,j) = sum over l of Q(l,i)' Q(l,j), by a chain of `gram_step`, less
//! the identity where i = j. A 1-norm is the `max_entry` of a chain of `colsum`. Where s = 0, x/s is 0.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

use crate::op::{KernelError, KernelOp, TaskShapes, TaskTiles};
use crate::tile::TileRef;

pub(crate) fn ops() -> Vec<KernelOp> {
    let step = |signature| {
        KernelOp::standard(signature, residual_step)
            .with_flops(step_flops)
            .with_scratch(|shapes| {
                let (n, c) = shapes.input(2);
                n * c
            })
    };
    vec![
        // max over |A(i,j)|.
        KernelOp::standard("amax(full(m,n)) -> full(1,1)", |tiles| {
            let largest = largest(tiles.input(0).data);
            write_one(tiles, largest)
        }),
        // The larger of two numbers; one where the other is absent.
        KernelOp::standard("max(full(1,1), full(1,1)?) -> full(1,1)", |tiles| {
            let (a, b) = (
                tiles.input(0).data[0],
                tiles.optional_input(1).map(|b| b.data[0]),
            );
            write_one(tiles, b.map_or(a, |b| larger(a, b)))
        }),
        // A / s.
        KernelOp::standard(
            "residual_start(full(m,n), full(1,1)) -> full(m,n)",
            |tiles| {
                let (a, s) = (tiles.input(0), tiles.input(1).data[0]);
                let ([e], _) = tiles.outputs();
                for (e, a) in e.data.iter_mut().zip(a.data) {
                    *e = quotient(*a, s);
                }
                Ok(())
            },
        ),
        // E - Q (R / s).
        step("residual_step(full(m,n), full(m,k), full(k,n), full(1,1)) -> full(m,n)"),
        // The same where R is a diagonal tile.
        step("residual_step_upper(full(m,n), full(m,k), upper(k,n), full(1,1)) -> full(m,n)"),
        // G + X'Y; X'Y where G is absent.
        KernelOp::standard(
            "gram_step(full(l,m), full(l,n), full(m,n)?) -> full(m,n)",
            gram_step,
        )
        .with_flops(|shapes| {
            let ((l, m), (_, n)) = (shapes.input(0), shapes.input(1));
            2 * (l * m * n) as u64
        }),
        // G - I.
        KernelOp::standard("sub_identity(full(n,n)) -> full(n,n)", |tiles| {
            let g = tiles.input(0);
            let ([output], _) = tiles.outputs();
            output.data.copy_from_slice(g.data);
            for x in output.data.iter_mut().step_by(g.shape.rows as usize + 1) {
                *x -= 1.0;
            }
            Ok(())
        }),
        // Sums over the rows of |E(i,j)|, added to those before.
        KernelOp::standard("colsum(full(m,n), full(1,n)?) -> full(1,n)", colsum),
        // The largest of a row, and of the largest before.
        KernelOp::standard("max_entry(full(1,n), full(1,1)?) -> full(1,1)", |tiles| {
            let (row, before) = (tiles.input(0), tiles.optional_input(1).map(|x| x.data[0]));
            write_one(tiles, larger(largest(row.data), before.unwrap_or(0.0)))
        }),
    ]
}

/// NaN if there is one.
fn largest(x: &[f64]) -> f64 {
    x.iter().fold(0.0, |max, x| larger(max, x.abs()))
}

/// The larger; NaN if one is.
fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || a > b { a } else { b }
}

/// x / s, and 0 where s is 0.
fn quotient(x: f64, s: f64) -> f64 {
    if s == 0.0 { 0.0 } else { x / s }
}

fn write_one(tiles: &mut TaskTiles<'_, '_>, value: f64) -> Result<(), KernelError> {
    let ([output], _) = tiles.outputs();
    output.data[0] = value;
    Ok(())
}

fn step_flops(shapes: &TaskShapes<'_>) -> u64 {
    let ((m, k), (_, n)) = (shapes.input(1), shapes.input(2));
    2 * (m * k * n) as u64
}

fn residual_step(tiles: &mut TaskTiles<'_, '_>) -> Result<(), KernelError> {
    let (e, q, r, s) = (
        tiles.input(0),
        tiles.input(1),
        tiles.input(2),
        tiles.input(3).data[0],
    );
    let (k, n) = r.shape.dense();
    let ([output], scratch) = tiles.outputs();
    let scaled = &mut scratch[..k * n];
    r.unpack(scaled, k);
    for x in scaled.iter_mut() {
        *x = quotient(*x, s);
    }
    output.data.copy_from_slice(e.data);
    let r = MatRef::from_column_major_slice(scaled, k, n);
    matmul(
        dense_mut(output.data, q.shape.rows as usize, n),
        Accum::Add,
        dense(q),
        r,
        -1.0,
        Par::Seq,
    );
    Ok(())
}

fn gram_step(tiles: &mut TaskTiles<'_, '_>) -> Result<(), KernelError> {
    let (x, y, before) = (tiles.input(0), tiles.input(1), tiles.optional_input(2));
    let ([output], _) = tiles.outputs();
    let accum = match before {
        None => Accum::Replace,
        Some(before) => {
            output.data.copy_from_slice(before.data);
            Accum::Add
        }
    };
    let dst = dense_mut(output.data, x.shape.cols as usize, y.shape.cols as usize);
    matmul(dst, accum, dense(x).transpose(), dense(y), 1.0, Par::Seq);
    Ok(())
}

fn colsum(tiles: &mut TaskTiles<'_, '_>) -> Result<(), KernelError> {
    let (e, before) = (tiles.input(0), tiles.optional_input(1));
    let ([output], _) = tiles.outputs();
    for (j, (sum, column)) in output
        .data
        .iter_mut()
        .zip(e.data.chunks_exact(e.shape.rows as usize))
        .enumerate()
    {
        let start = before.map_or(0.0, |before| before.data[j]);
        *sum = column.iter().fold(start, |sum, x| sum + x.abs());
    }
    Ok(())
}

fn dense(tile: TileRef<'_>) -> MatRef<'_, f64> {
    MatRef::from_column_major_slice(
        tile.data,
        tile.shape.rows as usize,
        tile.shape.cols as usize,
    )
}

fn dense_mut(data: &mut [f64], rows: usize, cols: usize) -> MatMut<'_, f64> {
    MatMut::from_column_major_slice_mut(data, rows, cols)
}
