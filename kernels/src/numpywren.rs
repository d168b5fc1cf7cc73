//! The kernels of numpywren's own QR and LQ, our baseline: V dense, T a full triangle, pairs of triangles
//! factored as one dense stacked matrix.
//!
//! Q = I - V T V' with V unit lower (`m` x `n`, zeros stored) and T upper (`n` x `n`).

use crate::apply::Side;
use crate::micro::{Cpu, Part, Store};
use crate::op::{KernelError, KernelOp, TaskShapes, TaskTiles};
use crate::pack::transpose;
use crate::panel::{Matrix, factor_tall, panel_words};
use crate::product::{Extent, View, product, product_nt_words, product_words};
use crate::tile::TileMut;

pub(crate) fn ops() -> Vec<KernelOp> {
    let leaf = |signature, side| {
        KernelOp::standard(signature, move |tiles| leaf(tiles, side))
            .with_flops(leaf_flops)
            .with_scratch(|shapes| {
                let ((m, n), c) = (shapes.input(0), shapes.input(2).1);
                2 * n * c + product_words(Extent { m, n: c, k: m })
            })
    };
    let update = |signature, side| {
        KernelOp::standard(signature, move |tiles| trailing_update(tiles, side))
            .with_flops(update_flops)
            .with_scratch(|shapes| {
                let (n, c) = shapes.input(2);
                2 * n * c + product_words(Extent { m: n, n: c, k: n })
            })
    };
    vec![
        // A = (I - V T V') [R; 0].
        KernelOp::standard(
            "qr_factor(full(m,n)) -> full(m,n), full(n,n), full(n,n) where m >= n",
            qr_factor,
        )
        .with_flops(factor_flops)
        .with_scratch(factor_scratch),
        // [R1; R2] = (I - V T V') [R; 0]; without R2, R1 alone. Rows of V beyond them are zeros.
        KernelOp::standard(
            "qr_factor_triangular(full(n,n), full(n,n)?) -> full(p,n), full(n,n), full(n,n) where p >= n",
            qr_factor_triangular,
        )
        .with_flops(factor_flops)
        .with_scratch(factor_scratch),
        leaf("qr_leaf(full(m,n), full(n,n), full(m,c)) -> full(m,c)", Side::Transposed),
        leaf("qr_leaf_n(full(m,n), full(n,n), full(m,c)) -> full(m,c)", Side::Plain),
        update(
            "qr_trailing_update(full(p,n), full(n,n), full(n,c), full(n,c)?) -> full(n,c), full(n,c)? where p >= n",
            Side::Transposed,
        ),
        update(
            "qr_trailing_update_n(full(p,n), full(n,n), full(n,c), full(n,c)?) -> full(n,c), full(n,c)? where p >= n",
            Side::Plain,
        ),
        // A = [R' 0] (I - V T' V'), from A' = (I - V T V') [R; 0].
        KernelOp::standard(
            "lq_factor(full(m,n)) -> full(n,m), full(m,m), full(m,m) where n >= m",
            lq_factor,
        )
        .with_flops(factor_flops)
        .with_scratch(lq_scratch),
        // [L1 L2] = [L 0] (I - V T' V'); without L2, L1 alone. Rows of V beyond them are zeros.
        KernelOp::standard(
            "lq_factor_triangular(full(n,n), full(n,n)?) -> full(p,n), full(n,n), full(n,n) where p >= n",
            lq_factor_triangular,
        )
        .with_flops(factor_flops)
        .with_scratch(lq_scratch),
        // C (I - V T V').
        KernelOp::standard("lq_leaf(full(m,n), full(n,n), full(c,m)) -> full(c,m)", lq_leaf)
            .with_flops(|shapes| {
                let ((m, n), (c, _)) = (shapes.input(0), shapes.input(2));
                ((4 * m + 2 * n) * n * c) as u64
            })
            .with_scratch(|shapes| {
                let ((m, n), (c, _)) = (shapes.input(0), shapes.input(2));
                2 * n * c + product_nt_words(Extent { m: c, n: m, k: m })
            }),
        // [S1 S2] (I - V T V').
        KernelOp::standard(
            "lq_trailing_update(full(p,n), full(n,n), full(c,n), full(c,n)?) -> full(c,n), full(c,n)? where p >= n",
            lq_trailing_update,
        )
        .with_flops(|shapes| {
            let ((p, n), (c, _)) = (shapes.input(0), shapes.input(2));
            ((4 * p + 2 * n) * n * c) as u64
        })
        .with_scratch(|shapes| {
            let (c, n) = shapes.input(2);
            2 * n * c + product_nt_words(Extent { m: c, n, k: n })
        }),
        KernelOp::standard("identity(full(m,n)) -> full(m,n)", |tiles| {
            let input = tiles.input(0);
            let ([output], _) = tiles.outputs();
            output.data.copy_from_slice(input.data);
            Ok(())
        }),
    ]
}

/// 2 m n^2 - 2/3 n^3 for V of `m` x `n`.
fn factor_flops(shapes: &TaskShapes<'_>) -> u64 {
    let (m, n) = shapes.output(0);
    let (m, n) = (m as u64, n as u64);
    (2 * m * n * n).saturating_sub(2 * n * n * n / 3)
}

fn factor_scratch(shapes: &TaskShapes<'_>) -> usize {
    let (m, n) = shapes.output(0);
    panel_words(m, n)
}

fn qr_factor(tiles: &mut TaskTiles<'_, '_>) -> Result<(), KernelError> {
    let a = tiles.input(0);
    let (m, n) = a.shape.dense();
    let ([v, t, r], scratch) = tiles.outputs();
    v.data.copy_from_slice(a.data);
    factor(v, t, r, (m, n), scratch)
}

fn qr_factor_triangular(tiles: &mut TaskTiles<'_, '_>) -> Result<(), KernelError> {
    let (top, bottom) = (tiles.input(0), tiles.optional_input(1));
    let n = top.shape.cols as usize;
    let ([v, t, r], scratch) = tiles.outputs();
    let p = v.shape.rows as usize;
    check_pair("qr_factor_triangular", n, p, bottom.is_some())?;
    for (j, column) in v.data.chunks_exact_mut(p).enumerate() {
        column[..n].copy_from_slice(&top.data[j * n..(j + 1) * n]);
        let rest = &mut column[n..];
        rest.fill(0.0);
        if let Some(bottom) = bottom {
            rest[..n].copy_from_slice(&bottom.data[j * n..(j + 1) * n]);
        }
    }
    factor(v, t, r, (p, n), scratch)
}

/// V of two tiles has the rows of both.
fn check_pair(name: &str, n: usize, p: usize, pair: bool) -> Result<(), KernelError> {
    if pair && p < 2 * n {
        return Err(KernelError::Failed(format!(
            "{name}: V of two tiles of {n} rows should have {} rows, got {p}",
            2 * n
        )));
    }
    Ok(())
}

fn lq_scratch(shapes: &TaskShapes<'_>) -> usize {
    let (m, n) = shapes.output(0);
    n * n + panel_words(m, n)
}

fn lq_factor(tiles: &mut TaskTiles<'_, '_>) -> Result<(), KernelError> {
    let a = tiles.input(0);
    let (m, n) = a.shape.dense();
    let ([v, t, l], scratch) = tiles.outputs();
    transpose(Cpu::new(), (a.data, m), (m, n), (&mut *v.data, n));
    factor_lower(v, t, l, (n, m), scratch)
}

fn lq_factor_triangular(tiles: &mut TaskTiles<'_, '_>) -> Result<(), KernelError> {
    let (left, right) = (tiles.input(0), tiles.optional_input(1));
    let n = left.shape.cols as usize;
    let ([v, t, l], scratch) = tiles.outputs();
    let p = v.shape.rows as usize;
    check_pair("lq_factor_triangular", n, p, right.is_some())?;
    v.data.fill(0.0);
    for (i, tile) in [Some(left), right].into_iter().flatten().enumerate() {
        transpose(
            Cpu::new(),
            (tile.data, n),
            (n, n),
            (&mut v.data[i * n..], p),
        );
    }
    factor_lower(v, t, l, (p, n), scratch)
}

/// [`factor`], and R' instead of R.
fn factor_lower(
    v: &mut TileMut<'_>,
    t: &mut TileMut<'_>,
    l: &mut TileMut<'_>,
    (m, n): (usize, usize),
    scratch: &mut [f64],
) -> Result<(), KernelError> {
    let (upper, scratch) = scratch.split_at_mut(n * n);
    let mut r = TileMut::new(l.shape, upper);
    factor(v, t, &mut r, (m, n), scratch)?;
    transpose(Cpu::new(), (upper, n), (n, n), (&mut *l.data, n));
    Ok(())
}

/// Factors what is in `v`, and makes zeros and ones explicit.
fn factor(
    v: &mut TileMut<'_>,
    t: &mut TileMut<'_>,
    r: &mut TileMut<'_>,
    (m, n): (usize, usize),
    scratch: &mut [f64],
) -> Result<(), KernelError> {
    t.data.fill(0.0);
    let panel = Matrix {
        data: v.data,
        ld: m,
    };
    factor_tall(
        Cpu::new(),
        panel,
        (m, n),
        Matrix {
            data: t.data,
            ld: n,
        },
        scratch,
    )?;
    for (j, (column, r)) in v
        .data
        .chunks_exact_mut(m)
        .zip(r.data.chunks_exact_mut(n))
        .enumerate()
    {
        r[..=j].copy_from_slice(&column[..=j]);
        r[j + 1..].fill(0.0);
        column[..j].fill(0.0);
        column[j] = 1.0;
    }
    Ok(())
}

/// 4 m n c + 2 n^2 c: two products with V, one with T.
fn leaf_flops(shapes: &TaskShapes<'_>) -> u64 {
    let ((m, n), (_, c)) = (shapes.input(0), shapes.input(2));
    ((4 * m + 2 * n) * n * c) as u64
}

fn leaf(tiles: &mut TaskTiles<'_, '_>, side: Side) -> Result<(), KernelError> {
    let (v, t, c) = (tiles.input(0), tiles.input(1), tiles.input(2));
    let ((m, n), (_, cols)) = (v.shape.dense(), c.shape.dense());
    let ([output], scratch) = tiles.outputs();
    let (w, rest) = scratch.split_at_mut(n * cols);
    let (tw, rest) = rest.split_at_mut(n * cols);
    let factors = (View::transposed(v.data, m), View::plain(c.data, m));
    multiply(w, (n, cols, m), factors, Store::Set, rest);
    times_t(t.data, w, tw, (n, cols), side, rest);
    let factors = (View::plain(v.data, m), View::plain(tw, n));
    let store = Store::SubFrom(c.data);
    multiply(output.data, (m, cols, n), factors, store, rest);
    Ok(())
}

fn update_flops(shapes: &TaskShapes<'_>) -> u64 {
    let ((p, n), (_, c)) = (shapes.input(0), shapes.input(2));
    ((4 * p + 2 * n) * n * c) as u64
}

fn trailing_update(tiles: &mut TaskTiles<'_, '_>, side: Side) -> Result<(), KernelError> {
    let (v, t, s1, s2) = (
        tiles.input(0),
        tiles.input(1),
        tiles.input(2),
        tiles.optional_input(3),
    );
    let ((p, n), (_, cols)) = (v.shape.dense(), s1.shape.dense());
    check_partner("qr_trailing_update", tiles, (p, n))?;
    let (w, rest) = tiles.scratch.split_at_mut(n * cols);
    let (tw, rest) = rest.split_at_mut(n * cols);
    for (i, s) in [Some(s1), s2].into_iter().flatten().enumerate() {
        let factors = (
            View::transposed(&v.data[i * n..], p),
            View::plain(s.data, n),
        );
        let store = if i == 0 { Store::Set } else { Store::Add };
        multiply(w, (n, cols, n), factors, store, rest);
    }
    times_t(t.data, w, tw, (n, cols), side, rest);
    let pairs = [Some(s1), s2].into_iter().zip(tiles.outputs.iter_mut());
    for (i, (input, output)) in pairs.enumerate() {
        if let (Some(input), Some(output)) = (input, output) {
            let factors = (View::plain(&v.data[i * n..], p), View::plain(tw, n));
            let store = Store::SubFrom(input.data);
            multiply(output.data, (n, cols, n), factors, store, rest);
        }
    }
    Ok(())
}

/// Both or neither of the second tile and its update are there, and V has the rows of both.
fn check_partner(
    name: &str,
    tiles: &TaskTiles<'_, '_>,
    (p, n): (usize, usize),
) -> Result<(), KernelError> {
    let input = tiles.optional_input(3).is_some();
    let output = tiles.outputs.get(1).is_some_and(Option::is_some);
    if output != input || (input && p < 2 * n) {
        return Err(KernelError::Failed(format!(
            "{name}: both or neither of input 4 and output 2 should be there, and with them {} rows of V, got {p}",
            2 * n
        )));
    }
    Ok(())
}

fn lq_leaf(tiles: &mut TaskTiles<'_, '_>) -> Result<(), KernelError> {
    let (v, t, c) = (tiles.input(0), tiles.input(1), tiles.input(2));
    let ((m, n), (rows, _)) = (v.shape.dense(), c.shape.dense());
    let ([output], scratch) = tiles.outputs();
    let (w, rest) = scratch.split_at_mut(rows * n);
    let (wt, rest) = rest.split_at_mut(rows * n);
    let factors = (View::plain(c.data, rows), View::plain(v.data, m));
    multiply(w, (rows, n, m), factors, Store::Set, rest);
    let factors = (View::plain(w, rows), View::plain(t.data, n));
    multiply(wt, (rows, n, n), factors, Store::Set, rest);
    let factors = (View::plain(wt, rows), View::transposed(v.data, m));
    let store = Store::SubFrom(c.data);
    multiply(output.data, (rows, m, n), factors, store, rest);
    Ok(())
}

fn lq_trailing_update(tiles: &mut TaskTiles<'_, '_>) -> Result<(), KernelError> {
    let (v, t, s1, s2) = (
        tiles.input(0),
        tiles.input(1),
        tiles.input(2),
        tiles.optional_input(3),
    );
    let ((p, n), (rows, _)) = (v.shape.dense(), s1.shape.dense());
    check_partner("lq_trailing_update", tiles, (p, n))?;
    let (w, rest) = tiles.scratch.split_at_mut(rows * n);
    let (wt, rest) = rest.split_at_mut(rows * n);
    for (i, s) in [Some(s1), s2].into_iter().flatten().enumerate() {
        let factors = (View::plain(s.data, rows), View::plain(&v.data[i * n..], p));
        let store = if i == 0 { Store::Set } else { Store::Add };
        multiply(w, (rows, n, n), factors, store, rest);
    }
    let factors = (View::plain(w, rows), View::plain(t.data, n));
    multiply(wt, (rows, n, n), factors, Store::Set, rest);
    let pairs = [Some(s1), s2].into_iter().zip(tiles.outputs.iter_mut());
    for (i, (input, output)) in pairs.enumerate() {
        if let (Some(input), Some(output)) = (input, output) {
            let v = View::transposed(&v.data[i * n..], p);
            let store = Store::SubFrom(input.data);
            let factors = (View::plain(wt, rows), v);
            multiply(output.data, (rows, n, n), factors, store, rest);
        }
    }
    Ok(())
}

/// T' W or T W.
fn times_t(
    t: &[f64],
    w: &[f64],
    tw: &mut [f64],
    (n, cols): (usize, usize),
    side: Side,
    scratch: &mut [f64],
) {
    let t = match side {
        Side::Transposed => View::transposed(t, n),
        Side::Plain => View::plain(t, n),
    };
    multiply(
        tw,
        (n, cols, n),
        (t, View::plain(w, n)),
        Store::Set,
        scratch,
    );
}

/// The `m` x `n` matrix `c` becomes what `store` says of a product of depth `k`.
fn multiply(
    c: &mut [f64],
    (m, n, k): (usize, usize, usize),
    factors: (View<'_>, View<'_>),
    store: Store<'_>,
    scratch: &mut [f64],
) {
    let (extent, how) = (Extent { m, n, k }, (store, Part::All));
    product(Cpu::new(), (c, m), extent, factors, how, scratch);
}
