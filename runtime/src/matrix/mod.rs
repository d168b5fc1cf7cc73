//! Matrices at the edge of a run: where tiles of the input come from and where results go.
//!
//! Owns the tiling, the generated inputs and the `.npy` files. Never knows tasks, workers or the
//! network: a worker that holds a [`SourceSpec`] reads its own tiles.

mod error;
pub mod npy;
pub mod random;
mod source;
mod tiling;

pub use error::{InputError, OutputError, ShownPath};
pub use npy::{NpyMatrix, NpyWriter, check_writable, same_file};
pub use random::RandomMatrix;
pub use source::{FileStamp, MatrixSource, SourceSpec};
pub use tiling::{TILES_PER_SIDE_MAX, TileIndex, TileRect, Tiling, TilingError};
