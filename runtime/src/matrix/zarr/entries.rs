//! Arrays of entries that this process computes, and their end.

use peerwren_kernels::tile::Shape;
use peerwren_transports::block::BlockBuf;
use peerwren_transports::store::{Objects, Place, StoreError};
use tokio::task::JoinSet;

use super::array::{CHUNKS, ZarrArray};
use super::input::wait;
use super::metadata::{Layout, METADATA};
use crate::matrix::error::{OutputError, ShownPath};
use crate::matrix::{Entries, Tiling};

/// Tiles on their way at a time: 4 x (tile + chunk) of 8 MiB = 64 MiB of the driver's.
const TILES_MAX: usize = 4;

/// Why entries are not where workers reach them.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    #[error(transparent)]
    Write(#[from] OutputError),
    #[error("entry ({row}, {col}) is {value}; expected finite numbers")]
    Entry { row: u64, col: u64, value: f64 },
}

/// Writes an array whose entry (i, j) is `entry(i, j)`, of int64 its bits, one tile in memory after the other; blocks.
///
/// # Errors
/// An entry is NaN or infinite, or the place cannot be written; then no array is left.
pub(crate) fn write(
    place: &Place,
    layout: Layout,
    entry: &(dyn Fn(u64, u64) -> f64 + Sync),
) -> Result<(), WriteError> {
    wait(async {
        let array = ZarrArray::create(place, layout).await?;
        let written = write_tiles(&array, entry).await;
        if written.is_err() {
            // Why there is none is more worth telling than that something is left of it.
            let _ = array.discard().await;
        }
        written
    })
}

async fn write_tiles(
    array: &ZarrArray,
    entry: &(dyn Fn(u64, u64) -> f64 + Sync),
) -> Result<(), WriteError> {
    let layout = array.layout();
    let ((m, n), (rows, cols)) = (layout.shape(), layout.chunk());
    let tiling = Tiling::new(m, n, rows, cols).map_err(|error| OutputError::Refused {
        path: ShownPath::new(array.place().to_string().as_ref()),
        reason: error.to_string(),
    })?;
    let mut under_way = JoinSet::new();
    for at in tiling.indices() {
        let rect = tiling.rect(at);
        let mut tile = BlockBuf::with_len(rect.rows * rect.cols * 8);
        for (place, value) in tile.as_f64_mut().iter_mut().enumerate() {
            let (i, j) = (place % rect.rows, place / rect.rows);
            let (row, col) = (rect.row0 + i as u64, rect.col0 + j as u64);
            *value = entry(row, col);
            // Integers come as their bits.
            if layout.form().entries == Entries::F64 && !value.is_finite() {
                return Err(WriteError::Entry {
                    row,
                    col,
                    value: *value,
                });
            }
        }
        if under_way.len() == TILES_MAX {
            one(&mut under_way).await?;
        }
        let shape = Shape::full(rect.rows as u32, rect.cols as u32);
        let (array, tile) = (array.clone(), tile.freeze());
        let chunk = (at.i().into(), at.j().into());
        under_way.spawn(async move { array.write(chunk, shape, tile).await.map(drop) });
    }
    while !under_way.is_empty() {
        one(&mut under_way).await?;
    }
    array.finish().await?;
    Ok(())
}

/// Removes an array that nobody reads any more; blocks.
///
/// # Errors
/// The place cannot be written.
pub(crate) fn remove(place: &Place) -> Result<(), StoreError> {
    if let Place::Folder(folder) = place {
        return std::fs::remove_dir_all(folder).map_err(|source| StoreError::Unusable {
            folder: folder.clone(),
            source,
        });
    }
    wait(async {
        let objects = Objects::join(place).await?;
        objects.delete(METADATA).await?;
        objects.delete_all(CHUNKS).await
    })
}

/// Waits for one of the transfers; those still under way end with the set.
async fn one(under_way: &mut JoinSet<Result<(), OutputError>>) -> Result<(), OutputError> {
    match under_way.join_next().await {
        None => Ok(()),
        Some(Ok(written)) => written,
        Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
    }
}
