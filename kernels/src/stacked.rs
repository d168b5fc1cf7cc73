//! QR of two tiles, one over the other, the upper one a triangle: tsqrt (over a full tile) and
//! ttqrt (over another triangle); and their Q applied: tsmqr, ttmqr, and tsmqr_n, ttmqr_n.
//!
//! [R; A] = Q [R'; 0] with Q = I - [I; V2] T [I; V2]'. V2 has A's shape, zeros included.

use crate::apply::{Block, Profile, Side, Target, TileColumns, upper};
use crate::geqrt::{apply_words, groups, write_group};
use crate::micro::{Cpu, Place, Stride};
use crate::op::{KernelError, KernelOp, TaskShapes, TaskTiles};
use crate::pack::Dense;
use crate::panel::{Matrix, factor_stacked, panel_words};
use crate::tile::{Kind, Shape, TileMut, TileRef};

pub(crate) fn ops() -> Vec<KernelOp> {
    let tsmqr = |signature, side| {
        KernelOp::standard(signature, move |tiles| apply(tiles, side))
            .with_flops(tsmqr_flops)
            .with_scratch(apply_scratch)
    };
    let ttmqr = |signature, side| {
        KernelOp::standard(signature, move |tiles| apply(tiles, side))
            .with_flops(ttmqr_flops)
            .with_scratch(apply_scratch)
    };
    vec![
        KernelOp::standard(
            "tsqrt(upper(n,n), full(m,n)) -> full(m,n), tfac(n,b), upper(n,n)",
            factor,
        )
        .with_flops(|shapes| {
            let (m, n) = shapes.input(1);
            2 * (m * n * n) as u64
        })
        .with_scratch(factor_scratch),
        KernelOp::standard(
            "ttqrt(upper(n,n), upper(q,n)) -> upper(q,n), tfac(n,b), upper(n,n) where q <= n",
            factor,
        )
        .with_flops(ttqrt_flops)
        .with_scratch(factor_scratch),
        tsmqr(
            "tsmqr(full(m,n), tfac(n,b), full(p,c), full(m,c)) -> full(p,c), full(m,c) where p >= n",
            Side::Transposed,
        ),
        tsmqr(
            "tsmqr_n(full(m,n), tfac(n,b), full(p,c), full(m,c)) -> full(p,c), full(m,c) where p >= n",
            Side::Plain,
        ),
        ttmqr(
            "ttmqr(upper(q,n), tfac(n,b), full(p,c), full(m,c)) -> full(p,c), full(m,c) where q <= n, p >= n, m >= q",
            Side::Transposed,
        ),
        ttmqr(
            "ttmqr_n(upper(q,n), tfac(n,b), full(p,c), full(m,c)) -> full(p,c), full(m,c) where q <= n, p >= n, m >= q",
            Side::Plain,
        ),
    ]
}

/// A diagonal block of R, a block of a packed A, one T, and what a panel or its application takes.
fn factor_scratch(shapes: &TaskShapes<'_>) -> usize {
    factor_words(shapes.input(1), shapes.output(1).1)
}

/// The same for A of `m` x `n` and inner block `ib`.
pub(crate) fn factor_words((m, n): (usize, usize), ib: usize) -> usize {
    let ib = ib.min(n);
    2 * ib * ib + m * ib + panel_words(m, ib).max(Block::words(m, ib) + Block::apply_words(ib))
}

fn factor(tiles: &mut TaskTiles<'_, '_>) -> Result<(), KernelError> {
    let (r, a) = (tiles.input(0), tiles.input(1));
    let ([v, t, r_new], scratch) = tiles.outputs();
    factor_tiles(Cpu::new(), (r, a), (v, t), r_new, scratch)
}

/// tsqrt and ttqrt, a block of columns at a time: R in its packing, a full A in place, a block of a
/// packed A as a dense copy. V, T and the new R are written.
pub(crate) fn factor_tiles(
    cpu: Cpu,
    (r, a): (TileRef<'_>, TileRef<'_>),
    (v, t): (&mut TileMut<'_>, &mut TileMut<'_>),
    r_new: &mut TileMut<'_>,
    scratch: &mut [f64],
) -> Result<(), KernelError> {
    let (m, n) = a.shape.dense();
    let (shape, ib) = (a.shape, t.shape.cols as usize);
    r_new.data.copy_from_slice(r.data);
    // The first block's application copies the columns after it.
    let first = shape.span(ib.min(n)).offset;
    v.data[..first].copy_from_slice(&a.data[..first]);
    for (j, k) in groups(n, ib, Side::Transposed) {
        let (rows, profile) = reach(shape.kind, m, j, k);
        let rise = if let Profile::Upper { rise } = profile {
            rise
        } else {
            usize::MAX
        };
        let (factor, scratch) = scratch.split_at_mut(k * k);
        let (diagonal, scratch) = scratch.split_at_mut(k * k);
        let (copy, scratch) = scratch.split_at_mut(m * k);
        factor.fill(0.0);
        load_diagonal(r_new.data, j, diagonal, k);
        let (panel, rest, cut) = if shape.kind == Kind::Upper {
            load(TileRef::new(shape, v.data), j, &mut copy[..rows * k], rows);
            (&mut copy[..rows * k], &mut *v.data, 0)
        } else {
            let (left, right) = v.data.split_at_mut((j + k) * m);
            (&mut left[j * m..], right, (j + k) * m)
        };
        let top = Matrix {
            data: diagonal,
            ld: k,
        };
        let bottom = Matrix {
            data: panel,
            ld: rows,
        };
        factor_stacked(
            cpu,
            top,
            bottom,
            (rows, rise, k),
            Matrix {
                data: factor,
                ld: k,
            },
            scratch,
        )?;
        if shape.kind == Kind::Upper {
            store(shape, rest, j, panel, rows);
        }
        store_diagonal(r_new.data, j, diagonal, k);
        write_group(t, j, factor, k);

        let columns = Dense {
            data: panel,
            ld: rows,
            rows,
            rise,
        };
        let factor = upper(factor, k, k);
        let (block, work) = Block::new(
            cpu,
            scratch,
            (rows, k),
            profile,
            &columns,
            &factor,
            Side::Transposed,
        );
        // Columns of an upper trapezoid are packed up to its last row, of one length from there on.
        let turn = if shape.kind == Kind::Upper {
            n.min(m).max(j + k)
        } else {
            j + k
        };
        for (first, end) in [(j + k, turn), (turn, n)] {
            if first == end {
                continue;
            }
            let place = Place {
                stride: Stride::Packed,
                first,
                row: j,
            };
            let top = Target {
                data: &mut *r_new.data,
                place,
                source: None,
            };
            let (at, place) = if first < turn {
                (0, Place { row: 0, ..place })
            } else {
                (shape.span(first).offset, Place::dense(m))
            };
            let source = (j == 0).then_some(&a.data[at..]);
            let bottom = Target {
                data: &mut rest[at - cut..],
                place,
                source,
            };
            block.apply(cpu, Some(top), bottom, end - first, work);
        }
    }
    Ok(())
}

/// Copies the diagonal block of a packed triangle at `j`; only its upper part.
fn load_diagonal(packed: &[f64], j: usize, block: &mut [f64], k: usize) {
    for (c, column) in block.chunks_exact_mut(k).enumerate() {
        let start = Stride::Packed.start(j + c) + j;
        column[..=c].copy_from_slice(&packed[start..=start + c]);
    }
}

/// The inverse of [`load_diagonal`].
fn store_diagonal(packed: &mut [f64], j: usize, block: &[f64], k: usize) {
    for (c, column) in block.chunks_exact(k).enumerate() {
        let start = Stride::Packed.start(j + c) + j;
        packed[start..=start + c].copy_from_slice(&column[..=c]);
    }
}

/// Copies columns `first..` of a tile to a dense block of `rows` rows, zeros below them.
fn load(tile: TileRef<'_>, first: usize, block: &mut [f64], rows: usize) {
    for (c, column) in block.chunks_exact_mut(rows).enumerate() {
        let (_, entries) = tile.column(first + c);
        column[..entries.len()].copy_from_slice(entries);
        column[entries.len()..].fill(0.0);
    }
}

/// The inverse of [`load`] for a tile of this shape.
fn store(shape: Shape, data: &mut [f64], first: usize, block: &[f64], rows: usize) {
    for (c, column) in block.chunks_exact(rows).enumerate() {
        let span = shape.span(first + c);
        data[span.offset..span.offset + span.len].copy_from_slice(&column[..span.len]);
    }
}

fn ttqrt_flops(shapes: &TaskShapes<'_>) -> u64 {
    let (q, n) = shapes.input(1);
    triangle_flops(q, n)
}

/// Four times the products of entries of V2, an upper trapezoid of `q` x `n`, with the columns to their right.
pub(crate) fn triangle_flops(q: usize, n: usize) -> u64 {
    let (q, n) = (q as u64, n as u64);
    2 * n * q * q + 2 * q * (n - q) * (n - q) - 4 * q * q * q / 3
}

/// Rows that reflectors `j..j + k` of V2 reach, and where their zeros are.
fn reach(kind: Kind, m: usize, j: usize, k: usize) -> (usize, Profile) {
    if kind == Kind::Upper {
        (m.min(j + k), Profile::Upper { rise: j })
    } else {
        (m, Profile::Full)
    }
}

fn tsmqr_flops(shapes: &TaskShapes<'_>) -> u64 {
    let ((m, n), (_, c)) = (shapes.input(0), shapes.input(3));
    4 * (m * n * c) as u64
}

fn ttmqr_flops(shapes: &TaskShapes<'_>) -> u64 {
    let ((q, n), (_, c)) = (shapes.input(0), shapes.input(3));
    triangle_apply_flops(q, n, c)
}

/// 4 c times the entries of V2.
pub(crate) fn triangle_apply_flops(q: usize, n: usize, c: usize) -> u64 {
    let (q, n, c) = (q as u64, n as u64, c as u64);
    4 * q * n * c - 2 * q * q * c
}

fn apply_scratch(shapes: &TaskShapes<'_>) -> usize {
    apply_words(shapes.input(0), shapes.input(1).1)
}

/// [C1; C2] becomes Q' or Q times itself; rows of C1 from n on and of C2 below V2 are copied.
fn apply(tiles: &mut TaskTiles<'_, '_>, side: Side) -> Result<(), KernelError> {
    let (v, t, c1, c2) = (
        tiles.input(0),
        tiles.input(1),
        tiles.input(2),
        tiles.input(3),
    );
    let ((p, cols), (rows, _)) = (c1.shape.dense(), c2.shape.dense());
    let ([top, bottom], scratch) = tiles.outputs();
    copy_rows(top.data, c1.data, p, v.shape.cols as usize);
    let top = (&mut *top.data, p, Some(c1.data));
    let bottom = (&mut *bottom.data, rows, Some(c2.data));
    apply_tiles(Cpu::new(), (v, t, side), (top, bottom), cols, scratch);
    Ok(())
}

/// Columns that are written, how many rows each has, and what they were if they have not been copied yet.
pub(crate) type Half<'a> = (&'a mut [f64], usize, Option<&'a [f64]>);

/// [C1; C2] becomes Q' or Q times itself; rows of C1 from n on are not looked at.
pub(crate) fn apply_tiles(
    cpu: Cpu,
    (v, t, side): (TileRef<'_>, TileRef<'_>, Side),
    ((top, p, top_source), (bottom, rows, mut source)): (Half<'_>, Half<'_>),
    cols: usize,
    scratch: &mut [f64],
) {
    let (m, n) = v.shape.dense();
    for (j, k) in groups(n, t.shape.cols as usize, side) {
        let (reached, profile) = reach(v.shape.kind, m, j, k);
        let (columns, factor) = (
            TileColumns { tile: v, first: j },
            TileColumns { tile: t, first: j },
        );
        let (block, work) =
            Block::new(cpu, scratch, (reached, k), profile, &columns, &factor, side);
        // Every row on top belongs to one block, every row below to all.
        let place = Place {
            row: j,
            ..Place::dense(p)
        };
        let top = Target {
            data: &mut *top,
            place,
            source: top_source,
        };
        let bottom = Target {
            data: &mut *bottom,
            place: Place::dense(rows),
            source: source.take(),
        };
        block.apply(cpu, Some(top), bottom, cols, work);
    }
}

/// Copies the rows from `first` on of matrices with leading dimension `ld`.
fn copy_rows(to: &mut [f64], from: &[f64], ld: usize, first: usize) {
    if first < ld {
        for (to, from) in to.chunks_exact_mut(ld).zip(from.chunks_exact(ld)) {
            to[first..].copy_from_slice(&from[first..]);
        }
    }
}
