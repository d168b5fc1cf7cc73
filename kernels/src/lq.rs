//! LQ of tiles by QR of their transposes: with A' = Q^ R, A = R' Q^'. V and T are QR's, of the transposed tile; what
//! applies them multiplies by Q^ from the right. gelqt, tslqt, ttlqt; unmlq, tsmlq, ttmlq.

use crate::apply::Side;
use crate::geqrt::{self, factor_blocks, tall_words};
use crate::micro::Cpu;
use crate::op::{KernelError, KernelOp, TaskTiles};
use crate::pack::transpose;
use crate::stacked::{self, apply_tiles, factor_tiles};
use crate::tile::{Kind, Shape, TileMut, TileRef};

pub(crate) fn ops() -> Vec<KernelOp> {
    let stacked_factor = |signature| {
        KernelOp::standard(signature, stacked_factor).with_scratch(|shapes| {
            let (v, b) = (shapes.output(0), shapes.output(1).1);
            let (n, rows) = (v.1, v.0);
            n * (n + 1) + rows * n + flip_words(n, n).max(stacked::factor_words(v, b))
        })
    };
    let stacked_apply = |signature| {
        KernelOp::standard(signature, stacked_apply).with_scratch(|shapes| {
            let ((p, q), (_, n)) = (shapes.input(2), shapes.input(3));
            p * (q + n) + geqrt::apply_words(shapes.input(0), shapes.input(1).1)
        })
    };
    vec![
        // A = [L 0] Q^'.
        KernelOp::standard(
            "gelqt(full(m,n)) -> unit(n,r), tfac(r,b), lower(m,r) where r = min(m,n)",
            gelqt,
        )
        .with_flops(|shapes| {
            let (n, m) = shapes.input(0);
            geqrt::factor_flops(m, n)
        })
        .with_scratch(|shapes| {
            let ((m, n), (r, b)) = (shapes.input(0), shapes.output(1));
            2 * m * n + tall_words(n, b.min(r))
        }),
        // [L A] = [L' 0] Q^'.
        stacked_factor("tslqt(lower(m,m), full(m,n)) -> full(n,m), tfac(m,b), lower(m,m)").with_flops(
            |shapes| {
                let (m, n) = shapes.input(1);
                2 * (m * m * n) as u64
            },
        ),
        // [L1 L2] = [L 0] Q^'.
        stacked_factor(
            "ttlqt(lower(n,n), lower(n,r)) -> upper(r,n), tfac(n,b), lower(n,n) where r <= n",
        )
        .with_flops(|shapes| {
            let (n, r) = shapes.input(1);
            stacked::triangle_flops(r, n)
        }),
        // C becomes C Q^.
        KernelOp::standard(
            "unmlq(unit(n,r), tfac(r,b), full(p,n)) -> full(p,n) where r <= n",
            unmlq,
        )
        .with_flops(|shapes| {
            let ((n, r), (p, _)) = (shapes.input(0), shapes.input(2));
            geqrt::apply_flops(n, r, p)
        })
        .with_scratch(|shapes| {
            let (p, n) = shapes.input(2);
            p * n + geqrt::apply_words(shapes.input(0), shapes.input(1).1)
        }),
        // [C1 C2] becomes [C1 C2] Q^.
        stacked_apply(
            "tsmlq(full(n,m), tfac(m,b), full(p,q), full(p,n)) -> full(p,q), full(p,n) where q >= m",
        )
        .with_flops(|shapes| {
            let ((n, m), (p, _)) = (shapes.input(0), shapes.input(2));
            4 * (n * m * p) as u64
        }),
        stacked_apply(
            "ttmlq(upper(r,n), tfac(n,b), full(p,q), full(p,c)) -> full(p,q), full(p,c) where r <= n, q >= n, c >= r",
        )
        .with_flops(|shapes| {
            let ((r, n), (p, _)) = (shapes.input(0), shapes.input(2));
            stacked::triangle_apply_flops(r, n, p)
        }),
    ]
}

fn gelqt(tiles: &mut TaskTiles<'_, '_>) -> Result<(), KernelError> {
    let a = tiles.input(0);
    let (m, n) = a.shape.dense();
    let r = m.min(n);
    let cpu = Cpu::new();
    let ([v, t, l], scratch) = tiles.outputs();
    let (flipped, scratch) = scratch.split_at_mut(m * n);
    let (work, scratch) = scratch.split_at_mut(m * n);
    transpose(cpu, (a.data, m), (m, n), (&mut *flipped, n));
    factor_blocks(cpu, flipped, work, (n, m), t, scratch)?;
    v.pack(work, n);
    transpose(cpu, (work, n), (r, m), (&mut *flipped, m));
    l.pack(flipped, m);
    Ok(())
}

/// Scratch words of [`flip`] of a tile that is `rows` x `cols` when unpacked.
fn flip_words(rows: usize, cols: usize) -> usize {
    2 * rows * cols
}

/// Writes the transpose of a tile.
fn flip(cpu: Cpu, from: TileRef<'_>, to: &mut TileMut<'_>, scratch: &mut [f64]) {
    let (rows, cols) = from.shape.dense();
    let (dense, rest) = scratch.split_at_mut(rows * cols);
    from.unpack(dense, rows);
    let flipped = &mut rest[..rows * cols];
    transpose(cpu, (dense, rows), (rows, cols), (&mut *flipped, cols));
    to.pack(flipped, cols);
}

/// tslqt and ttlqt.
fn stacked_factor(tiles: &mut TaskTiles<'_, '_>) -> Result<(), KernelError> {
    let (l, a) = (tiles.input(0), tiles.input(1));
    let cpu = Cpu::new();
    let ([v, t, l_new], scratch) = tiles.outputs();
    let triangle = Shape {
        kind: Kind::Upper,
        ..l.shape
    };
    let words = triangle.words();
    let (upper, scratch) = scratch.split_at_mut(words);
    let (upper_new, scratch) = scratch.split_at_mut(words);
    let (flipped, scratch) = scratch.split_at_mut(v.shape.words());
    flip(cpu, l, &mut TileMut::new(triangle, upper), scratch);
    if a.shape.kind == Kind::Full {
        let (m, n) = a.shape.dense();
        transpose(cpu, (a.data, m), (m, n), (&mut *flipped, n));
    } else {
        flip(cpu, a, &mut TileMut::new(v.shape, flipped), scratch);
    }
    let inputs = (
        TileRef::new(triangle, upper),
        TileRef::new(v.shape, flipped),
    );
    let mut r_new = TileMut::new(triangle, upper_new);
    factor_tiles(cpu, inputs, (v, t), &mut r_new, scratch)?;
    flip(cpu, TileRef::new(triangle, upper_new), l_new, scratch);
    Ok(())
}

fn unmlq(tiles: &mut TaskTiles<'_, '_>) -> Result<(), KernelError> {
    let (v, t, c) = (tiles.input(0), tiles.input(1), tiles.input(2));
    let (p, n) = c.shape.dense();
    let cpu = Cpu::new();
    let ([output], scratch) = tiles.outputs();
    let (flipped, scratch) = scratch.split_at_mut(p * n);
    transpose(cpu, (c.data, p), (p, n), (&mut *flipped, n));
    geqrt::apply(cpu, (v, t, Side::Transposed), (flipped, None), p, scratch);
    transpose(cpu, (flipped, n), (n, p), (&mut *output.data, p));
    Ok(())
}

/// tsmlq and ttmlq.
fn stacked_apply(tiles: &mut TaskTiles<'_, '_>) -> Result<(), KernelError> {
    let (v, t, c1, c2) = (
        tiles.input(0),
        tiles.input(1),
        tiles.input(2),
        tiles.input(3),
    );
    let ((p, q), (_, n)) = (c1.shape.dense(), c2.shape.dense());
    let cpu = Cpu::new();
    let ([left, right], scratch) = tiles.outputs();
    let (top, scratch) = scratch.split_at_mut(p * q);
    let (bottom, scratch) = scratch.split_at_mut(p * n);
    transpose(cpu, (c1.data, p), (p, q), (&mut *top, q));
    transpose(cpu, (c2.data, p), (p, n), (&mut *bottom, n));
    let halves = ((&mut *top, q, None), (&mut *bottom, n, None));
    apply_tiles(cpu, (v, t, Side::Transposed), halves, p, scratch);
    transpose(cpu, (top, q), (q, p), (&mut *left.data, p));
    transpose(cpu, (bottom, n), (n, p), (&mut *right.data, p));
    Ok(())
}
