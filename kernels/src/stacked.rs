//! QR of two tiles, one over the other, the upper one a triangle: tsqrt (over a full tile) and
//! ttqrt (over another triangle); and their Q applied: tsmqr, ttmqr, and tsmqr_n, ttmqr_n.
//!
//! [R; A] = Q [R'; 0] with Q = I - [I; V2] T [I; V2]'. V2 has A's shape, zeros included.

use crate::apply::{Block, Profile, Side, Target, TileColumns, upper};
use crate::geqrt::{groups, write_group};
use crate::micro::Cpu;
use crate::op::{KernelError, KernelOp, TaskShapes, TaskTiles};
use crate::pack::Dense;
use crate::panel::{Matrix, factor_stacked, panel_words};
use crate::tile::{Kind, TileMut};

pub(crate) fn ops() -> Vec<KernelOp> {
    let tsmqr = |signature, side| {
        KernelOp::standard(signature, move |tiles| apply(tiles, side)).with_flops(tsmqr_flops).with_scratch(apply_scratch)
    };
    let ttmqr = |signature, side| {
        KernelOp::standard(signature, move |tiles| apply(tiles, side)).with_flops(ttmqr_flops).with_scratch(apply_scratch)
    };
    vec![
        KernelOp::standard("tsqrt(upper(n,n), full(m,n)) -> full(m,n), tfac(n,b), upper(n,n)", tsqrt)
            .with_flops(|shapes| {
                let (m, n) = shapes.input(1);
                2 * (m * n * n) as u64
            })
            .with_scratch(tsqrt_scratch),
        KernelOp::standard(
            "ttqrt(upper(n,n), upper(q,n)) -> upper(q,n), tfac(n,b), upper(n,n) where q <= n",
            ttqrt,
        )
        .with_flops(ttqrt_flops)
        .with_scratch(|shapes| {
            let (q, n) = shapes.input(1);
            q * n + tsqrt_scratch(shapes)
        }),
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

/// R dense, one T, and what a panel or its application takes.
fn tsqrt_scratch(shapes: &TaskShapes<'_>) -> usize {
    let (m, n) = shapes.input(1);
    let (_, b) = shapes.output(1);
    n * n + stacked_words(m, b.min(n))
}

/// Scratch of [`factor_blocks`].
fn stacked_words(m: usize, ib: usize) -> usize {
    ib * ib + panel_words(m, ib).max(Block::words(m, ib) + Block::apply_words(ib))
}

fn tsqrt(tiles: &mut TaskTiles<'_, '_>) -> Result<(), KernelError> {
    let (r, a) = (tiles.input(0), tiles.input(1));
    let (m, n) = a.shape.dense();
    let ([v, t, r_new], scratch) = tiles.outputs();
    let (r_dense, scratch) = scratch.split_at_mut(n * n);
    r.unpack(r_dense, n);
    v.data.copy_from_slice(a.data);
    factor_blocks(Cpu::new(), r_dense, v.data, (m, n), Kind::Full, t, scratch)?;
    r_new.pack(r_dense, n);
    Ok(())
}

/// Four times the products of entries of V2 with the columns to their right.
fn ttqrt_flops(shapes: &TaskShapes<'_>) -> u64 {
    let (q, n) = shapes.input(1);
    let (q, n) = (q as u64, n as u64);
    2 * n * q * q + 2 * q * (n - q) * (n - q) - 4 * q * q * q / 3
}

fn ttqrt(tiles: &mut TaskTiles<'_, '_>) -> Result<(), KernelError> {
    let (r, a) = (tiles.input(0), tiles.input(1));
    let (q, n) = a.shape.dense();
    let ([v, t, r_new], scratch) = tiles.outputs();
    let (r_dense, scratch) = scratch.split_at_mut(n * n);
    let (v_dense, scratch) = scratch.split_at_mut(q * n);
    r.unpack(r_dense, n);
    a.unpack(v_dense, q);
    factor_blocks(Cpu::new(), r_dense, v_dense, (q, n), Kind::Upper, t, scratch)?;
    r_new.pack(r_dense, n);
    v.pack(v_dense, q);
    Ok(())
}

/// Factors [R; A] in place; `r` is `n` x `n`, `a` is `m` x `n`, both dense, `a` of this kind.
fn factor_blocks(
    cpu: Cpu,
    r: &mut [f64],
    a: &mut [f64],
    (m, n): (usize, usize),
    kind: Kind,
    t: &mut TileMut<'_>,
    scratch: &mut [f64],
) -> Result<(), KernelError> {
    let ib = t.shape.cols as usize;
    for (j, k) in groups(n, ib, Side::Transposed) {
        let (rows, profile) = reach(kind, m, j, k);
        let rise = if let Profile::Upper { rise } = profile { rise } else { usize::MAX };
        let (factor, scratch) = scratch.split_at_mut(k * k);
        factor.fill(0.0);
        let top = Matrix { data: &mut r[j * n + j..], ld: n };
        let bottom = Matrix { data: &mut a[j * m..], ld: m };
        factor_stacked(cpu, top, bottom, (rows, rise, k), Matrix { data: factor, ld: k }, scratch)?;
        write_group(t, j, factor, k);
        let (left, right) = a.split_at_mut((j + k) * m);
        let v = Dense { data: &left[j * m..], ld: m, rows, rise };
        let factor = upper(factor, k, k);
        let (block, work) = Block::new(cpu, scratch, (rows, k), profile, &v, &factor, Side::Transposed);
        let top = Target { data: &mut r[(j + k) * n..], ld: n, row: j, source: None };
        let bottom = Target { data: right, ld: m, row: 0, source: None };
        block.apply(cpu, Some(top), bottom, n - j - k, work);
    }
    Ok(())
}

/// Rows that reflectors `j..j + k` of V2 reach, and where their zeros are.
fn reach(kind: Kind, m: usize, j: usize, k: usize) -> (usize, Profile) {
    if kind == Kind::Upper { (m.min(j + k), Profile::Upper { rise: j }) } else { (m, Profile::Full) }
}

fn tsmqr_flops(shapes: &TaskShapes<'_>) -> u64 {
    let ((m, n), (_, c)) = (shapes.input(0), shapes.input(3));
    4 * (m * n * c) as u64
}

/// 4 c times the entries of V2.
fn ttmqr_flops(shapes: &TaskShapes<'_>) -> u64 {
    let ((q, n), (_, c)) = (shapes.input(0), shapes.input(3));
    let (q, n, c) = (q as u64, n as u64, c as u64);
    4 * q * n * c - 2 * q * q * c
}

fn apply_scratch(shapes: &TaskShapes<'_>) -> usize {
    let (m, _) = shapes.input(0);
    let (n, b) = shapes.input(1);
    Block::words(m, b.min(n)) + Block::apply_words(b.min(n))
}

/// [C1; C2] becomes Q' or Q times itself; rows of C1 from n on and of C2 below V2 are copied.
fn apply(tiles: &mut TaskTiles<'_, '_>, side: Side) -> Result<(), KernelError> {
    let (v, t, c1, c2) = (tiles.input(0), tiles.input(1), tiles.input(2), tiles.input(3));
    let ((m, n), (p, cols), (rows, _)) = (v.shape.dense(), c1.shape.dense(), c2.shape.dense());
    let ([top, bottom], scratch) = tiles.outputs();
    let cpu = Cpu::new();
    let mut sources = (Some(c1.data), Some(c2.data));
    for (j, k) in groups(n, t.shape.cols as usize, side) {
        let (reached, profile) = reach(v.shape.kind, m, j, k);
        let columns = TileColumns { tile: v, first: j };
        let factor = TileColumns { tile: t, first: j };
        let (block, work) = Block::new(cpu, scratch, (reached, k), profile, &columns, &factor, side);
        let top = Target { data: top.data, ld: p, row: j, source: sources.0.take() };
        let bottom = Target { data: bottom.data, ld: rows, row: 0, source: sources.1.take() };
        block.apply(cpu, Some(top), bottom, cols, work);
    }
    Ok(())
}
