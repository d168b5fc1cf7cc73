//! Tiles an input that only this machine has into an array that every worker reaches.

use peerwren_kernels::tile::Shape;
use peerwren_transports::store::Place;
use tokio::task::JoinSet;

use super::array::ZarrArray;
use super::input::{Opened, ZarrMatrix};
use super::metadata::Layout;
use crate::matrix::error::{InputError, OutputError, ShownPath};
use crate::matrix::{ArrayForm, MatrixSource, Moved, TileIndex, Tiling};

/// Tiles on their way at a time: 4 x (tile + chunk) of 8 MiB = 64 MiB of the driver's.
const TILES_MAX: usize = 4;

/// Why an input is not where workers reach it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UploadError {
    #[error(transparent)]
    Read(#[from] InputError),
    #[error(transparent)]
    Write(#[from] OutputError),
}

/// Writes all of `source` to an array at `place` in chunks of `tile` rows and columns; returns what reads it there,
/// and what was written.
///
/// # Errors
/// The source cannot be read or the place cannot be written.
pub(crate) async fn upload(
    source: &MatrixSource,
    place: &Place,
    tile: (u32, u32),
) -> Result<(MatrixSource, Moved), UploadError> {
    let (m, n) = source.shape();
    let refused = |reason: String| OutputError::Refused {
        path: ShownPath::new(place.to_string().as_ref()),
        reason,
    };
    let layout = Layout::tiled(ArrayForm::matrix(m, n), tile).map_err(refused)?;
    let tiling = Tiling::new(m, n, tile.0, tile.1).map_err(|error| refused(error.to_string()))?;
    let array = ZarrArray::create(place, layout).await?;
    let (mut moved, mut under_way) = (Moved::default(), JoinSet::new());
    for at in tiling.indices() {
        if under_way.len() == TILES_MAX {
            moved += one(&mut under_way).await?;
        }
        under_way.spawn(copy(source.clone(), array.clone(), tiling, at));
    }
    while !under_way.is_empty() {
        moved += one(&mut under_way).await?;
    }
    array.finish().await?;
    let stamp = layout.stamp();
    let matrix = ZarrMatrix::known(place.clone(), (m, n), false, stamp);
    Ok((matrix.into(), moved))
}

/// What reads the array that [`upload`] wrote to `place` before, if that is there whole.
pub(crate) async fn uploaded(
    source: &MatrixSource,
    place: &Place,
    tile: (u32, u32),
) -> Option<MatrixSource> {
    let (m, n) = source.shape();
    let layout = Layout::tiled(ArrayForm::matrix(m, n), tile).ok()?;
    let (_, stamp) = Opened::find(place).await.ok()?;
    // All of the layout is in it.
    (stamp == layout.stamp()).then(|| ZarrMatrix::known(place.clone(), (m, n), false, stamp).into())
}

async fn copy(
    source: MatrixSource,
    array: ZarrArray,
    tiling: Tiling,
    at: TileIndex,
) -> Result<Moved, UploadError> {
    let rect = tiling.rect(at);
    let (tile, _) = source
        .part(rect.row0, rect.col0, rect.rows, rect.cols)
        .await?;
    let shape = Shape::full(rect.rows as u32, rect.cols as u32);
    let chunk = (at.i().into(), at.j().into());
    Ok(array.write(chunk, shape, tile.freeze()).await?)
}

/// What one of the transfers moved; those still under way end with the set.
async fn one(under_way: &mut JoinSet<Result<Moved, UploadError>>) -> Result<Moved, UploadError> {
    match under_way.join_next().await {
        None => Ok(Moved::default()),
        Some(Ok(moved)) => moved,
        Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
    }
}
