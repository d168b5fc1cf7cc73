//! Tile kernels of peerwren: products, Cholesky, LU, QR, LQ and singular values of tiles, one thread a kernel. Knows
//! tiles and shapes, never keys, networks, tasks or programs.
//!
//! A [`KernelSet`] maps the names that programs use to [`KernelOp`]s. Each has a [`Signature`], checks
//! the shapes of its tiles against it, tells its flops and scratch, and runs. It allocates nothing: the
//! caller brings outputs and scratch.
//!
//! ```text
//! geqrt unmqr          a tile; what applies its Q (unmqr_n: Q itself, unmqr: its transpose)
//! tsqrt tsmqr          a triangle on top of a tile
//! ttqrt ttmqr          a triangle on top of a triangle
//! gelqt, tslqt, ttlqt, unmlq, tsmlq, ttmlq
//!                      the same for LQ, from the right
//! gemm, gemm_sub, gemm_sub_nt, gemm_sub_tn, syrk, axpby, mul, add
//!                      products and sums
//! potrf, trsm          Cholesky of a tile, and what follows in its column
//! getrf, playoff, take_rows, put_rows, ..
//!                      LU of a tile, tournaments of pivot rows, and what moves rows by their indices
//! trsm_lower, trsm_upper, trsm_unit, their transposes, trsm_right
//!                      triangular systems
//! band_column, append, band_values, band_svd, gesvd
//!                      singular values and vectors
//! qr_factor, qr_leaf, qr_factor_triangular, qr_trailing_update, the same with lq, identity
//!                      numpywren's own kernels, T a full tile: the baseline
//! amax, residual_step, gram_step, colsum, ssq, ..
//!                      what checks such as |A - QR|, |I - Q'Q| are made of
//! ```
//!
//! A tile is at rest as it is in memory: 8-byte words, column-major, triangles packed ([`Kind`]). The
//! inner block `ib` is part of a T's shape, `tfac(k, ib)`, so that no kernel has an option that its
//! tiles do not show.
//!
//! The result of a kernel depends on its inputs alone: not on buffers, their alignment or earlier runs,
//! and not on the width of the CPU's vectors either.
//!
//! ```
//! use peerwren_kernels::{KernelSet, Shape, TaskShapes, TaskTiles, TileMut, TileRef};
//!
//! let kernels = KernelSet::standard();
//! let geqrt = kernels.get("geqrt").expect("a standard kernel");
//!
//! // A of 3 x 2, column by column; V is a unit trapezoid, T has inner block 2, R is a triangle.
//! let a = Shape::full(3, 2);
//! let (v, t, r) = (Shape::unit(3, 2), Shape::tfac(2, 2), Shape::upper(2, 2));
//! let words = [3.0, 4.0, 0.0, 1.0, 2.0, 2.0];
//! let [mut v_words, mut t_words, mut r_words] = [v, t, r].map(|shape| vec![0.0; shape.words()]);
//!
//! let shapes = TaskShapes { inputs: &[Some(a)], outputs: &[Some(v), Some(t), Some(r)] };
//! geqrt.check(&shapes)?;
//! geqrt.run(&mut TaskTiles {
//!     inputs: &[Some(TileRef::new(a, &words))],
//!     outputs: &mut [
//!         Some(TileMut::new(v, &mut v_words)),
//!         Some(TileMut::new(t, &mut t_words)),
//!         Some(TileMut::new(r, &mut r_words)),
//!     ],
//!     scratch: &mut vec![0.0; geqrt.scratch_words(&shapes)],
//! })?;
//! // |R[0, 0]| is the length of A's first column.
//! assert!((r_words[0].abs() - 5.0).abs() < 1e-14);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[macro_use]
mod micro;

mod apply;
mod band;
mod bidiagonal;
mod check;
mod cholesky;
mod exchange;
mod fit;
mod gemm;
mod geqrt;
mod golub_kahan;
mod householder;
mod lq;
mod lu;
mod norms;
mod numpywren;
pub mod op;
mod pack;
mod panel;
mod product;
mod rotations;
mod rows;
mod self_test;
pub mod signature;
mod solve;
mod stacked;
mod svd;
pub mod tile;
mod trsm;
#[cfg(test)]
mod widths;

pub use micro::Form;
pub use op::{KernelError, KernelOp, KernelSet, NameTaken, TaskShapes, TaskTiles};
pub use self_test::self_test;
pub use signature::{Arity, Signature, SignatureError};
pub use tile::{Kind, Shape, TileMut, TileRef};

/// The kernels of this crate.
fn standard_ops() -> Vec<KernelOp> {
    let families = [
        gemm::ops(),
        cholesky::ops(),
        trsm::ops(),
        lu::ops(),
        rows::ops(),
        exchange::ops(),
        geqrt::ops(),
        stacked::ops(),
        lq::ops(),
        numpywren::ops(),
        svd::ops(),
        check::ops(),
        fit::ops(),
        norms::ops(),
    ];
    families.into_iter().flatten().collect()
}
