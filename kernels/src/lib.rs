//! Tile kernels of peerwren: QR of tiles in compact WY form, one thread a kernel. Knows tiles and
//! shapes, never keys, networks, tasks or programs.
//!
//! A [`KernelSet`](op::KernelSet) maps the names that programs use to [`KernelOp`](op::KernelOp)s; each checks its tiles'
//! shapes against a signature, tells its flops and scratch, and runs. The result of a kernel
//! depends on its inputs alone: not on buffers, their alignment or earlier runs, and for the compact WY kernels
//! not on the width of the CPU's vectors either.

mod apply;
mod check;
mod geqrt;
mod householder;
mod micro;
mod numpywren;
pub mod op;
mod pack;
mod panel;
mod self_test;
pub mod signature;
mod stacked;
pub mod tile;

pub use op::{KernelError, KernelOp, KernelSet, NameTaken, TaskShapes, TaskTiles};
pub use self_test::self_test;
pub use signature::{Arity, Signature, SignatureError};
pub use tile::{Kind, Shape, TileMut, TileRef};

/// The kernels of this crate.
fn standard_ops() -> Vec<KernelOp> {
    let families = [geqrt::ops(), stacked::ops(), numpywren::ops(), check::ops()];
    families.into_iter().flatten().collect()
}
