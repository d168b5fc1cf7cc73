//! QR of one tile, and its Q applied: geqrt, unmqr, unmqr_n.

use crate::apply::{Block, Profile, Side, Target, TileColumns, UnitTileColumns, unit_lower, upper};
use crate::micro::{Cpu, Place};
use crate::op::{KernelError, KernelOp, TaskShapes, TaskTiles};
use crate::panel::{Matrix, factor_tall, panel_words};
use crate::tile::{TileMut, TileRef};

pub(crate) fn ops() -> Vec<KernelOp> {
    let unmqr = |signature, side| {
        KernelOp::standard(signature, move |tiles| unmqr(tiles, side))
            .with_flops(unmqr_flops)
            .with_scratch(unmqr_scratch)
    };
    vec![
        // A = Q [R; 0], Q = I - V T V' a group of reflectors at a time.
        KernelOp::standard(
            "geqrt(full(m,n)) -> unit(m,r), tfac(r,b), upper(r,n) where r = min(m,n)",
            geqrt,
        )
        .with_flops(geqrt_flops)
        .with_scratch(geqrt_scratch),
        // C becomes Q' C.
        unmqr(
            "unmqr(unit(m,r), tfac(r,b), full(m,c)) -> full(m,c) where r <= m",
            Side::Transposed,
        ),
        // C becomes Q C.
        unmqr(
            "unmqr_n(unit(m,r), tfac(r,b), full(m,c)) -> full(m,c) where r <= m",
            Side::Plain,
        ),
    ]
}

fn geqrt_flops(shapes: &TaskShapes<'_>) -> u64 {
    let (m, n) = shapes.input(0);
    factor_flops(m, n)
}

/// 4 m n r - 2 (m + n) r^2 + 4/3 r^3: 2 m n^2 - 2/3 n^3 where m >= n.
pub(crate) fn factor_flops(m: usize, n: usize) -> u64 {
    let (m, n, r) = (m as u64, n as u64, m.min(n) as u64);
    4 * m * n * r + 4 * r * r * r / 3 - 2 * (m + n) * r * r
}

/// The matrix, one T, and what a panel or its application takes.
fn geqrt_scratch(shapes: &TaskShapes<'_>) -> usize {
    let (m, n) = shapes.input(0);
    let (r, b) = shapes.output(1);
    m * n + tall_words(m, b.min(r))
}

/// Scratch of [`factor_blocks`].
pub(crate) fn tall_words(m: usize, ib: usize) -> usize {
    ib * ib + panel_words(m, ib).max(Block::words(m, ib) + Block::apply_words(ib))
}

fn geqrt(tiles: &mut TaskTiles<'_, '_>) -> Result<(), KernelError> {
    let input = tiles.input(0);
    let (m, n) = input.shape.dense();
    let ([v, t, r], scratch) = tiles.outputs();
    let (work, scratch) = scratch.split_at_mut(m * n);
    factor_blocks(Cpu::new(), input.data, work, (m, n), t, scratch)?;
    v.pack(work, m);
    r.pack(work, m);
    Ok(())
}

/// Factors the `m` x `n` matrix `input` into `a`, its groups of reflectors as the tile `t` has them.
pub(crate) fn factor_blocks(
    cpu: Cpu,
    input: &[f64],
    a: &mut [f64],
    (m, n): (usize, usize),
    t: &mut TileMut<'_>,
    scratch: &mut [f64],
) -> Result<(), KernelError> {
    let (r, ib) = (t.shape.rows as usize, t.shape.cols as usize);
    let first = m * ib.min(r);
    a[..first].copy_from_slice(&input[..first]);
    // The first application copies the rest.
    let mut source = Some(&input[first..]);
    for j in (0..r).step_by(ib) {
        let k = ib.min(r - j);
        let (factor, scratch) = scratch.split_at_mut(k * k);
        factor.fill(0.0);
        let panel = Matrix {
            data: &mut a[j * m + j..],
            ld: m,
        };
        factor_tall(
            cpu,
            panel,
            (m - j, k),
            Matrix {
                data: factor,
                ld: k,
            },
            scratch,
        )?;
        write_group(t, j, factor, k);
        if j + k == n {
            break;
        }
        let (left, right) = a.split_at_mut((j + k) * m);
        let v = unit_lower(&left[j * m + j..], m, m - j);
        let (block, work) = Block::new(
            cpu,
            scratch,
            (m - j, k),
            Profile::UnitLower,
            &v,
            &upper(factor, k, k),
            Side::Transposed,
        );
        let place = Place {
            row: j,
            ..Place::dense(m)
        };
        let target = Target {
            data: right,
            place,
            source: source.take(),
        };
        block.apply(cpu, None, target, n - j - k, work);
    }
    Ok(())
}

/// Stores the T of reflectors `first..first + k`.
pub(crate) fn write_group(t: &mut TileMut<'_>, first: usize, dense: &[f64], k: usize) {
    for (c, column) in dense.chunks_exact(k).enumerate() {
        let span = t.shape.span(first + c);
        t.data[span.offset..span.offset + span.len].copy_from_slice(&column[..span.len]);
    }
}

/// The groups of `r` reflectors as (first, how many), in the order that `side` applies them.
pub(crate) fn groups(r: usize, ib: usize, side: Side) -> impl Iterator<Item = (usize, usize)> {
    let count = r.div_ceil(ib);
    (0..count).map(move |i| {
        let first = ib
            * if side == Side::Transposed {
                i
            } else {
                count - 1 - i
            };
        (first, ib.min(r - first))
    })
}

fn unmqr_flops(shapes: &TaskShapes<'_>) -> u64 {
    let ((m, r), (_, c)) = (shapes.input(0), shapes.input(2));
    apply_flops(m, r, c)
}

/// 4 m r c - 2 r^2 c.
pub(crate) fn apply_flops(m: usize, r: usize, c: usize) -> u64 {
    let (m, r, c) = (m as u64, r as u64, c as u64);
    (4 * m * r * c).saturating_sub(2 * r * r * c)
}

fn unmqr_scratch(shapes: &TaskShapes<'_>) -> usize {
    apply_words(shapes.input(0), shapes.input(1).1)
}

fn unmqr(tiles: &mut TaskTiles<'_, '_>, side: Side) -> Result<(), KernelError> {
    let (v, t, c) = (tiles.input(0), tiles.input(1), tiles.input(2));
    let ([output], scratch) = tiles.outputs();
    let cols = c.shape.cols as usize;
    apply(
        Cpu::new(),
        (v, t, side),
        (output.data, Some(c.data)),
        cols,
        scratch,
    );
    Ok(())
}

/// Scratch words of [`apply`] for V of `m` x `r` and inner block `ib`.
pub(crate) fn apply_words((m, r): (usize, usize), ib: usize) -> usize {
    Block::words(m, ib.min(r)) + Block::apply_words(ib.min(r))
}

/// `c` becomes Q' or Q times `source`, or times itself where there is none.
pub(crate) fn apply(
    cpu: Cpu,
    (v, t, side): (TileRef<'_>, TileRef<'_>, Side),
    (c, mut source): (&mut [f64], Option<&[f64]>),
    cols: usize,
    scratch: &mut [f64],
) {
    let (m, r) = v.shape.dense();
    for (j, k) in groups(r, t.shape.cols as usize, side) {
        let (columns, factor) = (
            UnitTileColumns { tile: v, first: j },
            TileColumns { tile: t, first: j },
        );
        let (block, work) = Block::new(
            cpu,
            scratch,
            (m - j, k),
            Profile::UnitLower,
            &columns,
            &factor,
            side,
        );
        let place = Place {
            row: j,
            ..Place::dense(m)
        };
        let target = Target {
            data: &mut *c,
            place,
            source: source.take(),
        };
        block.apply(cpu, None, target, cols, work);
    }
}
