//! Systems with a triangular tile, on the left and on the right of the unknowns. An exact zero on the diagonal is
//! [`KernelError::Singular`]; an infinite solution of finite tiles is [`KernelError::NotFinite`], as in the QR kernels.

use crate::micro::Cpu;
use crate::op::{KernelError, KernelOp, TaskShapes, TaskTiles};
use crate::pack::transpose;
use crate::panel::Matrix;
use crate::solve::{Diagonal, Triangle, left_words, right_words, solve_left, solve_right};
use crate::tile::{Kind, TileRef};

pub(crate) fn ops() -> Vec<KernelOp> {
    let left = |signature, transposed| {
        KernelOp::standard(signature, move |tiles| left(tiles, transposed))
            .with_flops(|shapes| {
                let (n, c) = shapes.input(1);
                (n * n * c) as u64
            })
            .with_scratch(move |shapes| {
                let (n, c) = shapes.input(1);
                triangle_words(n, transposed) + left_words(n, c)
            })
    };
    let right = |signature, form| {
        KernelOp::standard(signature, move |tiles| right(tiles, form))
            .with_flops(right_flops)
            .with_scratch(move |shapes| {
                let (m, n) = shapes.input(1);
                triangle_words(n, form == Right::LowerTransposed) + right_words(m, n)
            })
    };
    vec![
        // L X = B.
        left("trsm_lower(lower(n,n), full(n,c)) -> full(n,c)", false),
        // L' X = B.
        left("trsm_lower_t(lower(n,n), full(n,c)) -> full(n,c)", true),
        // U X = B.
        left("trsm_upper(upper(n,n), full(n,c)) -> full(n,c)", false),
        // U' X = B.
        left("trsm_upper_t(upper(n,n), full(n,c)) -> full(n,c)", true),
        // L X = B, ones on the diagonal of L.
        left("trsm_unit(unit(n,n), full(n,c)) -> full(n,c)", false),
        // L' X = B, ones on the diagonal of L.
        left("trsm_unit_t(unit(n,n), full(n,c)) -> full(n,c)", true),
        // X L' = A.
        right(
            "trsm(lower(n,n), full(m,n)) -> full(m,n)",
            Right::LowerTransposed,
        ),
        // X U = A; column j of X is zero where U(j,j) is, so that an LU of a singular matrix completes.
        right(
            "trsm_right(upper(n,n), full(m,n)) -> full(m,n)",
            Right::Upper,
        ),
    ]
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Right {
    LowerTransposed,
    Upper,
}

/// Scratch of [`load`].
fn triangle_words(n: usize, transposed: bool) -> usize {
    n * n * if transposed { 2 } else { 1 }
}

/// Unpacks a triangular tile, or its transpose, into the start of `scratch`; returns it and the rest.
fn load<'a>(
    cpu: Cpu,
    tile: TileRef<'_>,
    transposed: bool,
    scratch: &'a mut [f64],
) -> (&'a [f64], &'a mut [f64]) {
    let n = tile.shape.rows as usize;
    let (dense, rest) = scratch.split_at_mut(n * n);
    if !transposed {
        tile.unpack(dense, n);
        return (dense, rest);
    }
    let (source, rest) = rest.split_at_mut(n * n);
    tile.unpack(source, n);
    transpose(cpu, (source, n), (n, n), (dense, n));
    (dense, rest)
}

/// The first zero on a diagonal is an error.
fn check_diagonal(dense: &[f64], n: usize) -> Result<(), KernelError> {
    match dense.iter().step_by(n + 1).position(|x| *x == 0.0) {
        None => Ok(()),
        Some(at) => Err(KernelError::Singular { order: at + 1 }),
    }
}

/// An infinite or undefined entry is an error.
pub(crate) fn check_finite(data: &[f64]) -> Result<(), KernelError> {
    // A sum of zeros, unless one is not a number.
    let sum: f64 = data
        .chunks(64)
        .map(|chunk| chunk.iter().map(|x| x * 0.0).sum::<f64>())
        .sum();
    if sum == 0.0 {
        Ok(())
    } else {
        Err(KernelError::NotFinite)
    }
}

fn left(tiles: &mut TaskTiles<'_, '_>, transposed: bool) -> Result<(), KernelError> {
    let (tile, b) = (tiles.input(0), tiles.input(1));
    let (n, cols) = b.shape.dense();
    let cpu = Cpu::new();
    let ([x], scratch) = tiles.outputs();
    let (dense, scratch) = load(cpu, tile, transposed, scratch);
    check_diagonal(dense, n)?;
    x.data.copy_from_slice(b.data);
    let triangle = if (tile.shape.kind == Kind::Upper) == transposed {
        Triangle::Lower
    } else {
        Triangle::Upper
    };
    let unknowns = Matrix {
        data: &mut *x.data,
        ld: n,
    };
    let kind = (triangle, Diagonal::Stored);
    solve_left(cpu, (dense, n), kind, unknowns, (n, cols), scratch);
    check_finite(x.data)
}

/// m n^2.
fn right_flops(shapes: &TaskShapes<'_>) -> u64 {
    let (m, n) = shapes.input(1);
    (m * n * n) as u64
}

fn right(tiles: &mut TaskTiles<'_, '_>, form: Right) -> Result<(), KernelError> {
    let (tile, a) = (tiles.input(0), tiles.input(1));
    let (m, n) = a.shape.dense();
    let cpu = Cpu::new();
    let ([x], scratch) = tiles.outputs();
    let (dense, scratch) = load(cpu, tile, form == Right::LowerTransposed, scratch);
    let diagonal = match form {
        Right::LowerTransposed => {
            check_diagonal(dense, n)?;
            Diagonal::Stored
        }
        Right::Upper => Diagonal::StoredOrZero,
    };
    x.data.copy_from_slice(a.data);
    let unknowns = Matrix {
        data: &mut *x.data,
        ld: m,
    };
    solve_right(cpu, (dense, n), diagonal, unknowns, (m, n), scratch);
    check_finite(x.data)
}
