//! The input tiles that a worker reads or makes for itself. Decides nothing, and keeps matrices open,
//! never tiles.

use std::collections::BTreeMap;

use peerwren_kernels::tile::Shape;
use peerwren_transports::block::{BlockBuf, BlockKey};

use crate::lambdapack::Generated;
use crate::matrix::{InputError, MatrixSource, Moved};
use crate::plan::{Plan, Source};

/// The matrices of a plan that this worker has opened, by number of the family.
#[derive(Default)]
pub(crate) struct Sources {
    open: BTreeMap<u16, MatrixSource>,
}

/// An input tile that can be read.
pub(crate) enum SourceTile {
    /// A part of a matrix, with its first row and column.
    Part(MatrixSource, u64, u64),
    Made(Generated),
}

impl Sources {
    /// Finds where an input tile comes from; opens its matrix if that is the first.
    ///
    /// # Errors
    /// The block is no input, or its matrix is not what it was.
    pub(crate) fn tile(&mut self, plan: &Plan, key: &BlockKey) -> Result<SourceTile, String> {
        match plan.source_of(key) {
            None => Err(format!("block {key} is no input")),
            Some(Source::Generated(made)) => Ok(SourceTile::Made(made)),
            Some(Source::Matrix { matrix, row, col }) => {
                let open = match self.open.get(&key.matrix) {
                    Some(open) => open.clone(),
                    None => {
                        let open = matrix.open().map_err(|error| error.to_string())?;
                        self.open.insert(key.matrix, open.clone());
                        open
                    }
                };
                Ok(SourceTile::Part(open, row, col))
            }
        }
    }
}

impl SourceTile {
    /// The tile, as it is stored, and what moved for it.
    ///
    /// # Errors
    /// The matrix changed, cannot be read, or has an entry that is not finite.
    pub(crate) async fn read(self, shape: Shape) -> Result<(BlockBuf, Moved), InputError> {
        match self {
            Self::Part(matrix, row, col) => matrix.tile(row, col, shape).await,
            Self::Made(made) => {
                let make = move || {
                    let mut tile = BlockBuf::with_len(shape.bytes());
                    made.write(shape, tile.as_f64_mut());
                    (tile, Moved::default())
                };
                match tokio::task::spawn_blocking(make).await {
                    Ok(tile) => Ok(tile),
                    Err(error) => std::panic::resume_unwind(error.into_panic()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A lower tile is read from a file whose entries above the diagonal are NaN.
    #[tokio::test]
    async fn what_a_kind_does_not_keep_does_no_harm() {
        let name = format!("peerwren-sources-{}.npy", std::process::id());
        let path = std::env::temp_dir().join(name);
        let writer =
            crate::matrix::NpyWriter::create(&path, crate::matrix::ArrayForm::matrix(3, 3))
                .expect("a file");
        let nan = f64::NAN;
        let entries = [1.0, 2.0, 3.0, nan, 4.0, 5.0, nan, nan, 6.0];
        writer.write_tile(0, 0, 3, 3, &entries).expect("written");
        writer.finish().expect("a whole file");
        let matrix = MatrixSource::open(&path).expect("an input");
        // What is open can still be read.
        std::fs::remove_file(&path).expect("the file is there");
        let lower = SourceTile::Part(matrix.clone(), 0, 0);
        let (tile, _) = lower.read(Shape::lower(3, 3)).await.expect("finite");
        assert_eq!(tile.as_f64(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let unit = SourceTile::Part(matrix.clone(), 1, 0);
        let (tile, _) = unit.read(Shape::unit(2, 1)).await.expect("finite");
        assert_eq!(tile.as_f64(), [3.0]);
        let upper = SourceTile::Part(matrix, 0, 1);
        let error = upper.read(Shape::upper(2, 2)).await.expect_err("NaN");
        let text = error.to_string();
        assert!(
            text.ends_with("found NaN at [0, 1] (counted from 0)"),
            "{text}"
        );

        let made = SourceTile::Made(Generated::Iota { first: 3 });
        let (tile, moved) = made.read(Shape::index(2)).await.expect("made");
        assert_eq!(
            tile.as_f64()
                .iter()
                .map(|w| w.to_bits())
                .collect::<Vec<_>>(),
            [3, 4]
        );
        assert_eq!(moved, Moved::default(), "nothing moved for it");
    }
}
