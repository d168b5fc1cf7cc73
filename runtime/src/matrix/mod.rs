//! Matrices at the edge of a run: where tiles of the input come from and where results go.
//!
//! Owns the tiling, the generated inputs, the `.npy` files and the Zarr arrays. Never knows tasks or
//! workers: a worker that holds a [`SourceSpec`] reads its own tiles.

mod error;
mod form;
pub mod npy;
pub mod random;
mod result;
mod source;
mod spd;
mod spec;
mod tiling;
mod view;
pub mod zarr;

pub use peerwren_transports::store::Place;

pub use error::{InputError, OutputError, ShownPath};
pub use form::{ArrayForm, Entries};
pub use npy::{NpyMatrix, NpyWriter};
pub use random::RandomMatrix;
pub use result::{ResultPlace, overlap};
pub use source::MatrixSource;
pub use spd::SpdMatrix;
pub use spec::{BaseSpec, FileStamp, SourceSpec};
pub use tiling::{TILES_PER_SIDE_MAX, TileIndex, TileRect, Tiling, TilingError};
pub use view::View;

/// What a transfer to or from the store or an input really moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Bytes of payload, padding and checksums included.
    pub bytes: u64,
    /// Requests that moved some.
    pub requests: u64,
}

impl Moved {
    /// So many bytes by one request.
    #[must_use]
    pub fn once(bytes: u64) -> Self {
        Self { bytes, requests: 1 }
    }
}

impl std::ops::AddAssign for Moved {
    fn add_assign(&mut self, more: Self) {
        self.bytes += more.bytes;
        self.requests += more.requests;
    }
}
