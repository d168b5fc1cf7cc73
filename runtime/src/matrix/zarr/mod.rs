//! Zarr v3 arrays: inputs that are read by tiles, results that workers write tile by tile.
//!
//! Results have one layout, that of blocks: f64, two dimensions, a regular grid of chunks named `c/i/j`, codecs
//! transpose (column by column), bytes (little-endian) and crc32c; vectors, of f64 or int64, have one dimension and
//! no transpose. A tile is a chunk, so that it moves once. An array whose `zarr.json` is not there does not open: it is written last.
//!
//! Inputs may be laid out by other programs: one or two dimensions, real types, any chunks in a regular grid,
//! codecs transpose, bytes, crc32c, gzip, zstd and sharding_indexed. Integers are rounded to f64 as those of `.npy`
//! files are. Such a chunk is decoded within bounds that its array's metadata give: the codecs' own crates are used
//! for that, since the crate `zarrs` decodes whatever length a chunk promises.

mod array;
mod chunk;
mod entries;
mod foreign;
mod input;
mod metadata;
mod result;
mod upload;

use peerwren_transports::store::{Place, PlaceError};
use rkyv::{Archive, Deserialize, Serialize};

use crate::matrix::form::ArrayForm;

pub use array::ZarrArray;
pub(crate) use entries::{remove, write};
pub use input::ZarrMatrix;
pub use metadata::Layout;
pub use result::check_writable;
pub(crate) use upload::{upload, uploaded};

/// Where an array lies and how it is laid out; plain data.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct ZarrSpec {
    /// The place, as text.
    pub place: String,
    /// Sizes, dimensions and type.
    pub form: ArrayForm,
    /// Rows and columns of a chunk.
    pub chunk: (u32, u32),
}

impl ZarrSpec {
    /// Describes an array.
    #[must_use]
    pub fn new(place: &Place, layout: &Layout) -> Self {
        Self {
            place: place.to_string(),
            form: layout.form(),
            chunk: layout.chunk(),
        }
    }

    /// Checks what came over the wire.
    ///
    /// # Errors
    /// No place, or sizes that no array has.
    pub fn check(&self) -> Result<(Place, Layout), String> {
        let place = self
            .place
            .parse()
            .map_err(|error: PlaceError| error.to_string())?;
        Ok((place, Layout::new(self.form, self.chunk)?))
    }
}

#[cfg(test)]
mod tests;
