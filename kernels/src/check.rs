//! What residuals are computed with: |A - Q R| and |I - Q'Q| a tile at a time, in 1-norms, with A
//! scaled by its largest entry first, so that nothing overflows. Exact bits, no tolerance.
//!
//! With s = amax of A: E(i,j) = A(i,j)/s - sum over k of Q(i,k) (R(k,j)/s), by one `residual_start` and a
//! chain of `residual_step`; G(i,j) = sum over l of Q(l,i)' Q(l,j), by a chain of `gram_step`, less
//! the identity where i = j. A 1-norm is the `max_entry` of a chain of `colsum`. Where s = 0, x/s is 0.
//! [`crate::norms`] has the sums.

use crate::micro::{Cpu, Part, Store};
use crate::op::{KernelError, KernelOp, TaskShapes, TaskTiles};
use crate::product::{Extent, View, product, product_nt_words, product_words};
use crate::tile::{Kind, Shape, TileRef};

/// Which factor of a product is transposed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flip {
    None,
    First,
    Second,
}

pub(crate) fn ops() -> Vec<KernelOp> {
    let step = |signature, flip| {
        KernelOp::standard(signature, move |tiles| residual_step(tiles, flip))
            .with_version(3)
            .with_flops(move |shapes| product_flops(step_extent(shapes, flip)))
            .with_scratch(move |shapes| {
                let extent = step_extent(shapes, flip);
                let product = if flip == Flip::Second {
                    product_nt_words(extent)
                } else {
                    product_words(extent)
                };
                let (rows, cols) = shapes.input(2);
                copy_words(shapes.inputs[1]) + rows * cols + product
            })
    };
    vec![
        // A / s.
        KernelOp::standard(
            "residual_start(any(m,n), full(1,1)) -> full(m,n)",
            |tiles| {
                let (a, s) = (tiles.input(0), tiles.input(1).data[0]);
                let ([e], _) = tiles.outputs();
                a.unpack(e.data, a.shape.rows as usize);
                for e in e.data.iter_mut() {
                    *e = quotient(*e, s);
                }
                Ok(())
            },
        ),
        // E - X (Y / s).
        step(
            "residual_step(full(m,n), any(m,k), any(k,n), full(1,1)) -> full(m,n)",
            Flip::None,
        ),
        // E - X (Y / s)'.
        step(
            "residual_step_nt(full(m,n), any(m,k), any(n,k), full(1,1)) -> full(m,n)",
            Flip::Second,
        ),
        // E - X' (Y / s).
        step(
            "residual_step_tn(full(m,n), any(k,m), any(k,n), full(1,1)) -> full(m,n)",
            Flip::First,
        ),
        // G + X'Y; X'Y where G is absent.
        KernelOp::standard(
            "gram_step(full(l,m), full(l,n), full(m,n)?) -> full(m,n)",
            gram_step,
        )
        .with_version(3)
        .with_flops(|shapes| product_flops(gram_extent(shapes)))
        .with_scratch(|shapes| product_words(gram_extent(shapes))),
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
    ]
}

/// x / s, and 0 where s is 0.
fn quotient(x: f64, s: f64) -> f64 {
    if s == 0.0 { 0.0 } else { x / s }
}

fn product_flops(Extent { m, n, k }: Extent) -> u64 {
    2 * (m * n * k) as u64
}

fn step_extent(shapes: &TaskShapes<'_>, flip: Flip) -> Extent {
    let ((m, n), (rows, cols)) = (shapes.output(0), shapes.input(1));
    let k = if flip == Flip::First { rows } else { cols };
    Extent { m, n, k }
}

/// Words of the dense copy of a tile that is not dense.
fn copy_words(shape: Option<Shape>) -> usize {
    let dense = shape
        .filter(|shape| shape.kind != Kind::Full)
        .map(Shape::dense);
    dense.map_or(0, |(rows, cols)| rows * cols)
}

fn residual_step(tiles: &mut TaskTiles<'_, '_>, flip: Flip) -> Result<(), KernelError> {
    let (e, x, y) = (tiles.input(0), tiles.input(1), tiles.input(2));
    let s = tiles.input(3).data[0];
    let ((m, n), (x_rows, x_cols), (y_rows, y_cols)) =
        (e.shape.dense(), x.shape.dense(), y.shape.dense());
    let ([output], scratch) = tiles.outputs();
    let (copy, scratch) = scratch.split_at_mut(copy_words(Some(x.shape)));
    let (scaled, scratch) = scratch.split_at_mut(y_rows * y_cols);
    let x = unpacked(x, copy);
    y.unpack(scaled, y_rows);
    for y in scaled.iter_mut() {
        *y = quotient(*y, s);
    }
    let (k, x, y) = match flip {
        Flip::None => (x_cols, View::plain(x, m), View::plain(scaled, y_rows)),
        Flip::First => (
            x_rows,
            View::transposed(x, x_rows),
            View::plain(scaled, y_rows),
        ),
        Flip::Second => (x_cols, View::plain(x, m), View::transposed(scaled, n)),
    };
    let how = (Store::SubFrom(e.data), Part::All);
    product(
        Cpu::new(),
        (&mut *output.data, m),
        Extent { m, n, k },
        (x, y),
        how,
        scratch,
    );
    Ok(())
}

/// The words of a full tile, or those of its dense copy.
fn unpacked<'a>(tile: TileRef<'a>, copy: &'a mut [f64]) -> &'a [f64] {
    if tile.shape.kind == Kind::Full {
        return tile.data;
    }
    tile.unpack(copy, tile.shape.rows as usize);
    copy
}

fn gram_extent(shapes: &TaskShapes<'_>) -> Extent {
    let ((k, m), (_, n)) = (shapes.input(0), shapes.input(1));
    Extent { m, n, k }
}

fn gram_step(tiles: &mut TaskTiles<'_, '_>) -> Result<(), KernelError> {
    let (x, y, before) = (tiles.input(0), tiles.input(1), tiles.optional_input(2));
    let ((k, m), (_, n)) = (x.shape.dense(), y.shape.dense());
    let ([output], scratch) = tiles.outputs();
    let store = before.map_or(Store::Set, |before| Store::AddFrom(before.data));
    let factors = (View::transposed(x.data, k), View::plain(y.data, k));
    let extent = Extent { m, n, k };
    product(
        Cpu::new(),
        (&mut *output.data, m),
        extent,
        factors,
        (store, Part::All),
        scratch,
    );
    Ok(())
}
