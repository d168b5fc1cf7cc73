//! Where an input's entries come from, whole or a part, transposed or not.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use peerwren_kernels::tile::{Kind, Shape, TileMut};
use peerwren_transports::block::BlockBuf;
use peerwren_transports::store::Place;

use super::Moved;
use super::error::{INPUTS, InputError, ShownPath};
use super::form::{ArrayForm, Entries};
use super::npy::{NpyMatrix, assert_inside, first_not_finite};
use super::random::{RandomMatrix, check_size};
use super::spd::SpdMatrix;
use super::view::{View, transpose};
use super::zarr::ZarrMatrix;

/// An input matrix, ready to be read by tiles from any thread. Cheap to clone: clones are the same matrix.
#[derive(Clone, Debug)]
pub struct MatrixSource {
    pub(super) base: Base,
    pub(super) view: View,
}

/// The matrix that a source shows all or a part of.
#[derive(Clone, Debug)]
pub(super) enum Base {
    Random(RandomMatrix),
    Spd(SpdMatrix),
    Npy(Arc<NpyMatrix>),
    Zarr(Arc<ZarrMatrix>),
    /// Ones on the diagonal, zeros elsewhere.
    Eye {
        m: u64,
        n: u64,
    },
    /// 1 x 1.
    Scalar(f64),
}

impl MatrixSource {
    /// Opens the input that `text` names: `random:MxN[:seed]`, `spd:N[:seed]`, the path of a `.npy` file or of
    /// a Zarr array, or `s3://bucket/key` of a Zarr array; blocks.
    ///
    /// # Errors
    /// A form that this version does not read, or whatever is wrong with the file.
    pub fn parse(text: &str) -> Result<Self, InputError> {
        let refused = |reason: String| {
            Err(InputError::Spec {
                text: text.escape_default().to_string(),
                reason,
            })
        };
        if text.starts_with("random:") {
            return RandomMatrix::parse(text).map(Self::from);
        }
        if text.starts_with("spd:") {
            return SpdMatrix::parse(text).map(Self::from);
        }
        if text.is_empty() {
            return refused(format!("expected {INPUTS}"));
        }
        let path = Path::new(text);
        let ends_in = |wanted: &str| path.extension().is_some_and(|found| found == wanted);
        if text.starts_with("s3://") {
            if ends_in("npy") {
                return refused(
                    "a .npy file is read from this machine's disk alone; on S3 expected a Zarr array"
                        .to_owned(),
                );
            }
            return match text.parse() {
                Ok(place) => Self::open_zarr(&place),
                Err(error) => refused(format!("{error}")),
            };
        }
        if ends_in("zarr") || path.join("zarr.json").is_file() {
            return Self::open_zarr(&Place::Folder(path.to_owned()));
        }
        Self::open(path)
    }

    /// Opens a Zarr array; blocks.
    ///
    /// # Errors
    /// As [`ZarrMatrix::open`].
    pub fn open_zarr(place: &Place) -> Result<Self, InputError> {
        ZarrMatrix::open(place).map(Self::from)
    }

    /// Opens a `.npy` file.
    ///
    /// # Errors
    /// As [`NpyMatrix::open`].
    pub fn open(path: &Path) -> Result<Self, InputError> {
        NpyMatrix::open(path).map(Self::from)
    }

    /// Describes an `m` x `n` matrix with ones on its diagonal.
    ///
    /// # Errors
    /// A zero size, or more than 2^63 - 1 bytes of entries.
    pub fn eye(m: u64, n: u64) -> Result<Self, InputError> {
        check_size(m, n).map_err(|reason| InputError::Spec {
            text: format!("eye:{m}x{n}"),
            reason,
        })?;
        Ok(Self::whole(Base::Eye { m, n }))
    }

    /// A 1 x 1 matrix that holds `value`; [`Self::validate`] refuses NaN and infinity.
    #[must_use]
    pub fn scalar(value: f64) -> Self {
        Self::whole(Base::Scalar(value))
    }

    pub(super) fn whole(base: Base) -> Self {
        let view = View::whole(base.shape());
        Self { base, view }
    }

    /// The same entries with rows and columns exchanged; moves none.
    ///
    /// ```
    /// use peerwren::matrix::MatrixSource;
    /// let a = MatrixSource::parse("random:9x4:1")?;
    /// let part = a.transposed().slice(1..3, 0..9)?;
    /// assert_eq!(part.shape(), (2, 9));
    /// assert_eq!(part.to_string(), "random:9x4:1[0..9, 1..3] transposed");
    /// # Ok::<(), peerwren::matrix::InputError>(())
    /// ```
    #[must_use]
    pub fn transposed(mut self) -> Self {
        self.view = self.view.transposed();
        self
    }

    /// Some of the rows and columns, counted from 0 as the source shows them; moves none.
    ///
    /// # Errors
    /// A range is empty or reaches beyond the source.
    pub fn slice(mut self, rows: Range<u64>, cols: Range<u64>) -> Result<Self, InputError> {
        let view = self.view.slice(rows, cols);
        self.view = view.map_err(|reason| InputError::Spec {
            text: self.to_string(),
            reason,
        })?;
        Ok(self)
    }

    /// Rows and columns.
    pub fn shape(&self) -> (u64, u64) {
        self.view.shape()
    }

    /// Whether it is a one-dimensional array, or a part of one: its shape is then n x 1.
    pub fn is_vector(&self) -> bool {
        let is_one_dimensional = match &self.base {
            Base::Npy(matrix) => matrix.is_vector(),
            Base::Zarr(matrix) => matrix.is_vector(),
            Base::Random(_) | Base::Spd(_) | Base::Eye { .. } | Base::Scalar(_) => false,
        };
        is_one_dimensional && !self.view.transposed
    }

    /// Rows and columns of the chunks in which its array lies, as the source shows them; none where there is no
    /// array.
    pub fn tile_shape(&self) -> Option<(u32, u32)> {
        let Base::Zarr(matrix) = &self.base else {
            return None;
        };
        let (rows, cols) = matrix.chunk()?;
        Some(if self.view.transposed {
            (cols, rows)
        } else {
            (rows, cols)
        })
    }

    /// Sizes, dimensions and type of an array of these entries: int64 for a vector that is so on a store, such as
    /// an order of rows; float64 else.
    pub fn form(&self) -> ArrayForm {
        let (rows, cols) = self.shape();
        let is_vector = self.is_vector();
        let entries = match &self.base {
            Base::Zarr(matrix) if is_vector && matrix.is_int64() => Entries::I64,
            _ => Entries::F64,
        };
        ArrayForm {
            rows,
            cols,
            is_vector,
            entries,
        }
    }

    /// Where the input lies, if it is not computed.
    pub fn place(&self) -> Option<Place> {
        match &self.base {
            Base::Npy(matrix) => Some(Place::Folder(matrix.path().to_owned())),
            Base::Zarr(matrix) => Some(matrix.place().clone()),
            Base::Random(_) | Base::Spd(_) | Base::Eye { .. } | Base::Scalar(_) => None,
        }
    }

    /// Whether only processes of this machine can read it.
    pub fn is_local(&self) -> bool {
        matches!(self.place(), Some(Place::Folder(_)))
    }

    /// Checks every entry of a file once, also of one that is shown in part: NaN and infinity have no
    /// factorization. Those of a Zarr array are checked when they are read for the run, since reading may
    /// cost.
    ///
    /// # Errors
    /// The first such entry in the order of the file, a file that cannot be read, or such a number.
    pub fn validate(&self) -> Result<(), InputError> {
        match &self.base {
            Base::Npy(matrix) => matrix.scan_finite(),
            Base::Scalar(value) if !value.is_finite() => Err(InputError::Spec {
                text: value.to_string(),
                reason: "expected a finite number".to_owned(),
            }),
            Base::Random(_) | Base::Spd(_) | Base::Zarr(_) | Base::Eye { .. } | Base::Scalar(_) => {
                Ok(())
            }
        }
    }

    /// Writes the `rows` x `cols` block whose first entry is (`row0`, `col0`) into `out`, column-major;
    /// blocks.
    ///
    /// # Errors
    /// The file changed or cannot be read.
    ///
    /// # Panics
    /// The block lies outside the matrix, or `out` is not `rows * cols` long.
    pub fn read_tile(
        &self,
        row0: u64,
        col0: u64,
        rows: usize,
        cols: usize,
        out: &mut [f64],
    ) -> Result<(), InputError> {
        self.view
            .read_tile((row0, col0), rows, cols, out, |at, rows, cols, out| {
                self.base.read_tile(at, rows, cols, out)
            })
    }

    /// Reads the tile of this shape whose first entry is (`row0`, `col0`) into a buffer of its own, and
    /// says what moved for it. Entries that its kind does not keep are read, but never looked at.
    ///
    /// # Errors
    /// As [`MatrixSource::read_tile`], or an entry that is kept is NaN or infinite; it is named by its place in
    /// the whole matrix.
    ///
    /// # Panics
    /// As [`MatrixSource::read_tile`], or the kind is no dense one.
    pub(crate) async fn tile(
        &self,
        row0: u64,
        col0: u64,
        shape: Shape,
    ) -> Result<(BlockBuf, Moved), InputError> {
        let (rows, cols) = (shape.rows as usize, shape.cols as usize);
        let (dense, moved) = self.part(row0, col0, rows, cols).await?;
        // Files of which all is read were checked before the run too, where that costs no transfer.
        if matches!(self.base, Base::Npy(_) | Base::Zarr(_)) {
            let kept = |k: &usize| keeps(shape.kind, k % rows, k / rows);
            let values = dense.as_f64();
            if first_not_finite(values).is_some()
                && let Some(k) = (0..values.len())
                    .filter(kept)
                    .find(|&k| !values[k].is_finite())
            {
                let at = (row0 + (k % rows) as u64, col0 + (k / rows) as u64);
                return Err(self.not_finite(at, values[k]));
            }
        }
        if shape.kind == Kind::Full {
            return Ok((dense, moved));
        }
        let mut packed = BlockBuf::with_len(shape.bytes());
        TileMut::new(shape, packed.as_f64_mut()).pack(dense.as_f64(), rows);
        Ok((packed, moved))
    }

    /// Reads a block as it is, NaN and infinity too, into a buffer of its own, and says what moved for
    /// it.
    ///
    /// # Errors
    /// The file changed or cannot be read.
    ///
    /// # Panics
    /// The block lies outside the matrix.
    pub(crate) async fn part(
        &self,
        row0: u64,
        col0: u64,
        rows: usize,
        cols: usize,
    ) -> Result<(BlockBuf, Moved), InputError> {
        if let Base::Zarr(matrix) = &self.base {
            return self.zarr_part(matrix, (row0, col0), rows, cols).await;
        }
        let source = self.clone();
        blocking(move || {
            let mut tile = BlockBuf::with_len(rows * cols * 8);
            source.read_tile(row0, col0, rows, cols, tile.as_f64_mut())?;
            let entries = rows as u64 * cols as u64;
            let moved = match &source.base {
                Base::Npy(matrix) => Moved::once(matrix.stored_bytes(entries)),
                _ => Moved::once(entries * 8),
            };
            Ok((tile, moved))
        })
        .await
    }

    async fn zarr_part(
        &self,
        matrix: &ZarrMatrix,
        (row0, col0): (u64, u64),
        rows: usize,
        cols: usize,
    ) -> Result<(BlockBuf, Moved), InputError> {
        assert_inside(self.shape(), row0, col0, rows, cols, rows * cols);
        let (row, col) = self.view.at(row0, col0);
        if !self.view.transposed {
            return matrix.read_unchecked(row, col, rows, cols).await;
        }
        let (part, moved) = matrix.read_unchecked(row, col, cols, rows).await?;
        let turn = move || {
            let mut tile = BlockBuf::with_len(rows * cols * 8);
            transpose(part.as_f64(), cols, tile.as_f64_mut());
            tile
        };
        Ok((blocking(turn).await, moved))
    }

    fn not_finite(&self, (row, col): (u64, u64), value: f64) -> InputError {
        let (row, col) = self.view.at(row, col);
        InputError::NotFinite {
            path: ShownPath::new(Path::new(&self.base.to_string())),
            row,
            col,
            value,
        }
    }
}

impl Base {
    /// Rows and columns.
    pub(super) fn shape(&self) -> (u64, u64) {
        match self {
            Self::Random(matrix) => (matrix.m(), matrix.n()),
            Self::Spd(matrix) => (matrix.n(), matrix.n()),
            Self::Npy(matrix) => (matrix.rows(), matrix.cols()),
            Self::Zarr(matrix) => matrix.shape(),
            Self::Eye { m, n } => (*m, *n),
            Self::Scalar(_) => (1, 1),
        }
    }

    fn read_tile(
        &self,
        (row0, col0): (u64, u64),
        rows: usize,
        cols: usize,
        out: &mut [f64],
    ) -> Result<(), InputError> {
        match self {
            Self::Random(matrix) => matrix.fill(row0, col0, rows, cols, out),
            Self::Spd(matrix) => matrix.fill(row0, col0, rows, cols, out),
            Self::Npy(matrix) => matrix.read_tile(row0, col0, rows, cols, out)?,
            Self::Zarr(matrix) => {
                let tile = matrix.read_waiting((row0, col0), rows, cols)?;
                out.copy_from_slice(tile.as_f64());
            }
            Self::Eye { .. } => {
                out.fill(0.0);
                for j in 0..cols {
                    let i = (col0 + j as u64).checked_sub(row0);
                    if let Some(i) = i.filter(|i| *i < rows as u64) {
                        out[j * rows + i as usize] = 1.0;
                    }
                }
            }
            Self::Scalar(value) => out.fill(*value),
        }
        Ok(())
    }
}

impl From<RandomMatrix> for MatrixSource {
    fn from(matrix: RandomMatrix) -> Self {
        Self::whole(Base::Random(matrix))
    }
}

impl From<SpdMatrix> for MatrixSource {
    fn from(matrix: SpdMatrix) -> Self {
        Self::whole(Base::Spd(matrix))
    }
}

impl From<NpyMatrix> for MatrixSource {
    fn from(matrix: NpyMatrix) -> Self {
        Self::whole(Base::Npy(Arc::new(matrix)))
    }
}

impl From<ZarrMatrix> for MatrixSource {
    fn from(matrix: ZarrMatrix) -> Self {
        Self::whole(Base::Zarr(Arc::new(matrix)))
    }
}

impl std::fmt::Display for MatrixSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.view.show(&self.base.to_string(), self.base.shape(), f)
    }
}

impl std::fmt::Display for Base {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Random(matrix) => matrix.fmt(f),
            Self::Spd(matrix) => matrix.fmt(f),
            Self::Npy(matrix) => ShownPath::new(matrix.path()).fmt(f),
            Self::Zarr(matrix) => matrix.place().fmt(f),
            Self::Eye { m, n } => write!(f, "eye:{m}x{n}"),
            Self::Scalar(value) => value.fmt(f),
        }
    }
}

/// Whether a tile of this kind keeps entry (`row`, `col`).
fn keeps(kind: Kind, row: usize, col: usize) -> bool {
    match kind {
        Kind::Full => true,
        Kind::Upper => row <= col,
        Kind::Lower => row >= col,
        Kind::Unit => row > col,
        Kind::Tfac | Kind::Index | Kind::Few => panic!("a matrix has no {} tiles", kind.name()),
    }
}

/// Reads and copies of megabytes run on a thread that may wait.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

#[cfg(test)]
mod tests;
