//! A handle of a matrix that lies somewhere, and views of it. Moves entries only where it is asked for them.

use std::ops::Range;
use std::sync::Arc;

use super::call::Call;
use super::home::Kept;
use super::usage;
use crate::matrix::MatrixSource;
use crate::run::RunError;

/// A matrix of float64 that lies in a file, on a store, or nowhere since its entries are computed. Cheap to clone;
/// transposes and slices are views that move nothing.
///
/// ```
/// use peerwren::Session;
///
/// let session = Session::new()?;
/// let a = session.from_fn(5, 3, |i, j| (10 * i + j) as f64).wait()?;
/// let part = a.transposed().slice(1..3, 0..2)?;
/// assert_eq!(part.shape(), (2, 2));
/// // Column by column.
/// assert_eq!(part.to_vec().wait()?, [1.0, 2.0, 11.0, 12.0]);
/// # Ok::<(), peerwren::RunError>(())
/// ```
#[derive(Clone, Debug)]
pub struct BigMatrix {
    source: MatrixSource,
    /// Keeps what a session made while there is a handle of it.
    kept: Option<Arc<Kept>>,
}

impl BigMatrix {
    pub(super) fn kept(source: MatrixSource, kept: Kept) -> Self {
        let kept = Some(Arc::new(kept));
        Self { source, kept }
    }

    /// Where the entries come from.
    #[must_use]
    pub fn source(&self) -> &MatrixSource {
        &self.source
    }

    /// Rows and columns; an array of one dimension is a column.
    #[must_use]
    pub fn shape(&self) -> (u64, u64) {
        self.source.shape()
    }

    /// Whether it is an array of one dimension, or a part of one.
    #[must_use]
    pub fn is_vector(&self) -> bool {
        self.source.is_vector()
    }

    /// Rows and columns of the tiles in which it lies on a store, as it is seen here; none for a file in one piece
    /// and for computed entries.
    #[must_use]
    pub fn tile_shape(&self) -> Option<(u32, u32)> {
        self.source.tile_shape()
    }

    /// The same entries with rows and columns exchanged.
    #[must_use]
    pub fn transposed(&self) -> Self {
        Self {
            source: self.source.clone().transposed(),
            kept: self.kept.clone(),
        }
    }

    /// Some of the rows and columns, counted from 0.
    ///
    /// # Errors
    /// [`RunError::Usage`] where a range is empty or reaches beyond the matrix.
    pub fn slice(&self, rows: Range<u64>, cols: Range<u64>) -> Result<Self, RunError> {
        let source = self.source.clone().slice(rows, cols);
        Ok(Self {
            source: source.map_err(usage)?,
            kept: self.kept.clone(),
        })
    }

    /// Tile (i, j) of the matrix cut into tiles of `block` rows and columns; those at the edges may be smaller.
    ///
    /// # Errors
    /// [`RunError::Usage`] where there is no such tile.
    pub fn block(&self, block: u32, i: u64, j: u64) -> Result<Self, RunError> {
        let (m, n) = self.shape();
        let range = |at: u64, length: u64| {
            let first = at.saturating_mul(block.into());
            first..first.saturating_add(block.into()).min(length).max(first)
        };
        self.slice(range(i, m), range(j, n))
    }

    /// Reads all entries, column by column.
    pub fn to_vec(&self) -> Call<Vec<f64>> {
        let matrix = self.clone();
        Call::new(move |_| matrix.read())
    }

    /// Reads all entries into a matrix of faer's.
    pub fn to_faer(&self) -> Call<faer::Mat<f64>> {
        let matrix = self.clone();
        Call::new(move |_| {
            let (values, (rows, cols)) = (matrix.read()?, matrix.shape());
            let (rows, cols) = (rows as usize, cols as usize);
            Ok(faer::MatRef::from_column_major_slice(&values, rows, cols).to_owned())
        })
    }

    /// Reads all entries into an array of ndarray's, in Fortran order.
    #[cfg(feature = "ndarray")]
    pub fn to_ndarray(&self) -> Call<ndarray::Array2<f64>> {
        use ndarray::ShapeBuilder;

        let matrix = self.clone();
        Call::new(move |_| {
            let (rows, cols) = matrix.shape();
            let shape = (rows as usize, cols as usize).f();
            ndarray::Array2::from_shape_vec(shape, matrix.read()?)
                .map_err(|error| RunError::Failed(error.to_string()))
        })
    }

    fn read(&self) -> Result<Vec<f64>, RunError> {
        let failed = |error: &dyn std::fmt::Display| RunError::Failed(error.to_string());
        let (rows, cols) = self.shape();
        let length = usize::try_from(rows.saturating_mul(cols)).unwrap_or(usize::MAX);
        let mut values = Vec::new();
        values.try_reserve_exact(length).map_err(|error| {
            RunError::Failed(format!(
                "{rows} x {cols} entries do not fit this process: {error}"
            ))
        })?;
        values.resize(length, 0.0);
        let (rows, cols) = (rows as usize, cols as usize);
        let read = self.source.read_tile(0, 0, rows, cols, &mut values);
        read.map_err(|error| failed(&error))?;
        Ok(values)
    }
}

impl From<MatrixSource> for BigMatrix {
    fn from(source: MatrixSource) -> Self {
        Self { source, kept: None }
    }
}

impl std::fmt::Display for BigMatrix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.source.fmt(f)
    }
}
