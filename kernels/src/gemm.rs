//! Products and sums of full tiles: gemm and its variants, axpby, and numpywren's mul and add. As in the BLAS, what is
//! infinite or not a number goes on into the result.

use crate::micro::{Cpu, Part, Store};
use crate::op::{KernelError, KernelOp, TaskShapes, TaskTiles};
use crate::product::{Extent, View, product, product_nt_words, product_words};
use crate::tile::{TileMut, TileRef};

/// C + A B, with what is transposed and the sign.
#[derive(Clone, Copy)]
pub(crate) struct Form {
    a_transposed: bool,
    b_transposed: bool,
    subtract: bool,
}

const PLAIN: Form = Form {
    a_transposed: false,
    b_transposed: false,
    subtract: false,
};
pub(crate) const SUB: Form = Form {
    subtract: true,
    ..PLAIN
};

pub(crate) fn ops() -> Vec<KernelOp> {
    let gemm = |signature, form: Form| {
        KernelOp::standard(signature, move |tiles| {
            let (a, b) = (tiles.input(1), tiles.input(2));
            multiply(tiles, tiles.optional_input(0), (a, b), form)
        })
        .with_flops(move |shapes| gemm_flops(extent(shapes, 1, form)))
        .with_scratch(move |shapes| {
            let extent = extent(shapes, 1, form);
            if form.b_transposed {
                product_nt_words(extent)
            } else {
                product_words(extent)
            }
        })
    };
    vec![
        // C + A B, A B where C is absent.
        gemm("gemm(full(m,n)?, full(m,k), full(k,n)) -> full(m,n)", PLAIN),
        // C - A B.
        gemm(
            "gemm_sub(full(m,n), full(m,k), full(k,n)) -> full(m,n)",
            SUB,
        ),
        // C - A B'.
        gemm(
            "gemm_sub_nt(full(m,n), full(m,k), full(n,k)) -> full(m,n)",
            Form {
                b_transposed: true,
                ..SUB
            },
        ),
        // C - A' B.
        gemm(
            "gemm_sub_tn(full(m,n), full(k,m), full(k,n)) -> full(m,n)",
            Form {
                a_transposed: true,
                ..SUB
            },
        ),
        // A B.
        KernelOp::standard("mul(full(m,k), full(k,n)) -> full(m,n)", |tiles| {
            let (a, b) = (tiles.input(0), tiles.input(1));
            multiply(tiles, None, (a, b), PLAIN)
        })
        .with_flops(|shapes| gemm_flops(extent(shapes, 0, PLAIN)))
        .with_scratch(|shapes| product_words(extent(shapes, 0, PLAIN))),
        // The sum of one to four, from the left.
        KernelOp::standard(
            "add(full(m,n), full(m,n)?, full(m,n)?, full(m,n)?) -> full(m,n)",
            add,
        )
        .with_flops(|shapes| {
            let (m, n) = shapes.output(0);
            let terms = shapes.inputs.iter().flatten().count() as u64;
            (m * n) as u64 * (terms - 1)
        }),
        // alpha X + beta Y; a term whose factor is 0, or whose matrix is absent, is not read.
        KernelOp::standard(
            "axpby(full(1,1), full(m,n), full(1,1), full(m,n)?) -> full(m,n)",
            axpby,
        )
        .with_flops(|shapes| {
            let (m, n) = shapes.output(0);
            3 * (m * n) as u64
        }),
    ]
}

/// The extent of the product of inputs `first` and `first + 1`.
pub(crate) fn extent(shapes: &TaskShapes<'_>, first: usize, form: Form) -> Extent {
    let ((m, n), (rows, cols)) = (shapes.output(0), shapes.input(first));
    let k = if form.a_transposed { rows } else { cols };
    Extent { m, n, k }
}

pub(crate) fn gemm_flops(Extent { m, n, k }: Extent) -> u64 {
    2 * (m * n * k) as u64
}

fn multiply(
    tiles: &mut TaskTiles<'_, '_>,
    c: Option<TileRef<'_>>,
    (a, b): (TileRef<'_>, TileRef<'_>),
    form: Form,
) -> Result<(), KernelError> {
    let ([output], scratch) = tiles.outputs();
    let (m, n) = output.shape.dense();
    let (k, a) = match form.a_transposed {
        false => (a.shape.cols, View::plain(a.data, m)),
        true => (
            a.shape.rows,
            View::transposed(a.data, a.shape.rows as usize),
        ),
    };
    let k = k as usize;
    let b = if form.b_transposed {
        View::transposed(b.data, n)
    } else {
        View::plain(b.data, k)
    };
    let store = match (c, form.subtract) {
        (None, _) => Store::Set,
        (Some(c), false) => Store::AddFrom(c.data),
        (Some(c), true) => Store::SubFrom(c.data),
    };
    product(
        Cpu::new(),
        (&mut *output.data, m),
        Extent { m, n, k },
        (a, b),
        (store, Part::All),
        scratch,
    );
    Ok(())
}

/// C - A B in place.
pub(crate) fn multiply_into(
    c: &mut TileMut<'_>,
    (a, b): (TileRef<'_>, TileRef<'_>),
    scratch: &mut [f64],
) {
    let ((m, n), (_, k)) = (c.shape.dense(), a.shape.dense());
    product(
        Cpu::new(),
        (&mut *c.data, m),
        Extent { m, n, k },
        (View::plain(a.data, m), View::plain(b.data, k)),
        (Store::Sub, Part::All),
        scratch,
    );
}

fn add(tiles: &mut TaskTiles<'_, '_>) -> Result<(), KernelError> {
    let first = tiles.input(0);
    let others: [_; 3] = std::array::from_fn(|i| tiles.optional_input(i + 1));
    let ([output], _) = tiles.outputs();
    output.data.copy_from_slice(first.data);
    for other in others.into_iter().flatten() {
        for (sum, x) in output.data.iter_mut().zip(other.data) {
            *sum += x;
        }
    }
    Ok(())
}

fn axpby(tiles: &mut TaskTiles<'_, '_>) -> Result<(), KernelError> {
    let (alpha, beta) = (tiles.input(0).data[0], tiles.input(2).data[0]);
    let (x, y) = (tiles.input(1), tiles.optional_input(3));
    let ([output], _) = tiles.outputs();
    let output = output.data.iter_mut();
    match (alpha != 0.0, y.filter(|_| beta != 0.0)) {
        (false, None) => output.for_each(|z| *z = 0.0),
        (true, None) => output.zip(x.data).for_each(|(z, x)| *z = alpha * x),
        (false, Some(y)) => output.zip(y.data).for_each(|(z, y)| *z = beta * y),
        (true, Some(y)) => {
            for ((z, x), y) in output.zip(x.data).zip(y.data) {
                *z = alpha * x + beta * y;
            }
        }
    }
    Ok(())
}
