//! Where an input's entries come from, and how another process finds them again.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use peerwren_kernels::tile::{Kind, Shape, TileMut};
use peerwren_transports::block::BlockBuf;
use peerwren_transports::store::Place;
use rkyv::{Archive, Deserialize, Serialize};

use super::Moved;
use super::error::{INPUTS, InputError, ShownPath};
use super::npy::{NpyMatrix, assert_inside};
use super::random::{RandomMatrix, check_size};
use super::result::absolute;
use super::zarr::{ZarrMatrix, ZarrSpec};

/// An input matrix, ready to be read by tiles from any thread.
#[derive(Clone, Debug)]
pub enum MatrixSource {
    /// Computed from a seed.
    Random(RandomMatrix),
    /// A `.npy` file.
    Npy(Arc<NpyMatrix>),
    /// A Zarr array, in a folder or a bucket.
    Zarr(Arc<ZarrMatrix>),
    /// Ones on the diagonal, zeros elsewhere.
    Eye {
        /// Rows.
        m: u64,
        /// Columns.
        n: u64,
    },
}

/// All that a worker needs to read the same input; plain data.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum SourceSpec {
    /// Computed from a seed.
    Random {
        /// Rows.
        m: u64,
        /// Columns.
        n: u64,
        /// The seed.
        seed: u64,
    },
    /// A `.npy` file.
    Npy {
        /// Its absolute path, in the bytes of the system.
        path: Vec<u8>,
        /// Rows.
        m: u64,
        /// Columns.
        n: u64,
        /// The file as it was when the run began.
        stamp: FileStamp,
    },
    /// A Zarr array.
    Zarr {
        /// Where it lies and how it is laid out.
        array: ZarrSpec,
        /// Digest of its metadata as they were when the run began.
        stamp: [u8; 32],
    },
    /// Ones on the diagonal, zeros elsewhere.
    Eye {
        /// Rows.
        m: u64,
        /// Columns.
        n: u64,
    },
}

/// Tells whether a file is still the one that was checked.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStamp {
    /// Length of the file.
    pub bytes: u64,
    /// Last modification in nanoseconds since 1970, or 0 where the file system keeps none.
    pub modified_ns: u64,
}

impl MatrixSource {
    /// Opens the input that `text` names: `random:MxN[:seed]`, the path of a `.npy` file or of a Zarr
    /// array, or `s3://bucket/key` of a Zarr array; blocks.
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
            return RandomMatrix::parse(text).map(Self::Random);
        }
        if text.starts_with("spd:") {
            return refused(format!(
                "spd:N[:seed] inputs are not in this version; expected {INPUTS}"
            ));
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
        ZarrMatrix::open(place).map(|matrix| Self::Zarr(Arc::new(matrix)))
    }

    /// Opens a `.npy` file.
    ///
    /// # Errors
    /// As [`NpyMatrix::open`].
    pub fn open(path: &Path) -> Result<Self, InputError> {
        NpyMatrix::open(path).map(|matrix| Self::Npy(Arc::new(matrix)))
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
        Ok(Self::Eye { m, n })
    }

    /// Rows and columns.
    pub fn shape(&self) -> (u64, u64) {
        match self {
            Self::Random(matrix) => (matrix.m(), matrix.n()),
            Self::Npy(matrix) => (matrix.rows(), matrix.cols()),
            Self::Zarr(matrix) => matrix.layout().shape(),
            Self::Eye { m, n } => (*m, *n),
        }
    }

    /// Where the input lies, if it is not computed.
    pub fn place(&self) -> Option<Place> {
        match self {
            Self::Npy(matrix) => Some(Place::Folder(matrix.path().to_owned())),
            Self::Zarr(matrix) => Some(matrix.place().clone()),
            Self::Random(_) | Self::Eye { .. } => None,
        }
    }

    /// Whether only processes of this machine can read it.
    pub fn is_local(&self) -> bool {
        matches!(self.place(), Some(Place::Folder(_)))
    }

    /// Checks every entry of a file once: NaN and infinity have no factorization. Those of a Zarr
    /// array are checked when they are read for the run, since reading may cost.
    ///
    /// # Errors
    /// The first such entry in the order of the file, or a file that cannot be read.
    pub fn validate(&self) -> Result<(), InputError> {
        match self {
            Self::Npy(matrix) => matrix.scan_finite(),
            Self::Random(_) | Self::Zarr(_) | Self::Eye { .. } => Ok(()),
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
        match self {
            Self::Random(matrix) => matrix.fill(row0, col0, rows, cols, out),
            Self::Npy(matrix) => matrix.read_tile(row0, col0, rows, cols, out)?,
            Self::Zarr(matrix) => {
                let tile = matrix.read_waiting((row0, col0), rows, cols)?;
                out.copy_from_slice(tile.as_f64());
            }
            Self::Eye { m, n } => {
                assert_inside((*m, *n), row0, col0, rows, cols, out.len());
                out.fill(0.0);
                for j in 0..cols {
                    let i = (col0 + j as u64).checked_sub(row0);
                    if let Some(i) = i.filter(|i| *i < rows as u64) {
                        out[j * rows + i as usize] = 1.0;
                    }
                }
            }
        }
        Ok(())
    }

    /// Reads the tile of this shape whose first entry is (`row0`, `col0`) into a buffer of its own, and
    /// says what moved for it. Entries that its kind does not keep are read, but never looked at.
    ///
    /// # Errors
    /// As [`MatrixSource::read_tile`], or an entry that is kept is NaN or infinite.
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
        let (dense, moved) = match (self, shape.kind) {
            (Self::Zarr(matrix), Kind::Full) => return matrix.read(row0, col0, rows, cols).await,
            (_, Kind::Full) => return self.part(row0, col0, rows, cols).await,
            _ => self.part(row0, col0, rows, cols).await?,
        };
        for (k, &value) in dense.as_f64().iter().enumerate() {
            let (row, col) = (k % rows, k / rows);
            if !value.is_finite() && keeps(shape.kind, row, col) {
                return Err(InputError::NotFinite {
                    path: ShownPath::new(Path::new(&self.to_string())),
                    row: row0 + row as u64,
                    col: col0 + col as u64,
                    value,
                });
            }
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
        if let Self::Zarr(matrix) = self {
            return matrix.read_unchecked(row0, col0, rows, cols).await;
        }
        let source = self.clone();
        let read = move || {
            let mut tile = BlockBuf::with_len(rows * cols * 8);
            source.read_tile(row0, col0, rows, cols, tile.as_f64_mut())?;
            let entries = rows as u64 * cols as u64;
            let moved = match &source {
                Self::Npy(matrix) => Moved::once(matrix.stored_bytes(entries)),
                _ => Moved::once(entries * 8),
            };
            Ok((tile, moved))
        };
        match tokio::task::spawn_blocking(read).await {
            Ok(read) => read,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// Describes the input for another process of this machine.
    ///
    /// # Errors
    /// The file is gone.
    pub fn spec(&self) -> Result<SourceSpec, InputError> {
        Ok(match self {
            Self::Random(matrix) => SourceSpec::Random {
                m: matrix.m(),
                n: matrix.n(),
                seed: matrix.seed(),
            },
            Self::Npy(matrix) => {
                // Absolute: a worker may have another working directory.
                let path = std::path::absolute(matrix.path()).map_err(|source| {
                    InputError::Unreadable {
                        path: ShownPath::new(matrix.path()),
                        source,
                    }
                })?;
                SourceSpec::Npy {
                    path: path.as_os_str().as_bytes().to_vec(),
                    m: matrix.rows(),
                    n: matrix.cols(),
                    stamp: stamp(matrix),
                }
            }
            Self::Zarr(matrix) => SourceSpec::Zarr {
                array: ZarrSpec::new(&absolute(matrix.place().clone()), &matrix.layout()),
                stamp: matrix.stamp(),
            },
            Self::Eye { m, n } => SourceSpec::Eye { m: *m, n: *n },
        })
    }
}

impl std::fmt::Display for MatrixSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Random(matrix) => matrix.fmt(f),
            Self::Npy(matrix) => ShownPath::new(matrix.path()).fmt(f),
            Self::Zarr(matrix) => matrix.place().fmt(f),
            Self::Eye { m, n } => write!(f, "eye:{m}x{n}"),
        }
    }
}

impl SourceSpec {
    /// Rows and columns.
    pub fn shape(&self) -> (u64, u64) {
        match self {
            Self::Random { m, n, .. } | Self::Npy { m, n, .. } | Self::Eye { m, n } => (*m, *n),
            Self::Zarr { array, .. } => (array.m, array.n),
        }
    }

    /// Opens the same input; a Zarr array is opened by its first reader.
    ///
    /// # Errors
    /// The file is not what it was when the run began, or a size that came over the wire is refused.
    pub fn open(&self) -> Result<MatrixSource, InputError> {
        match self {
            Self::Random { m, n, seed } => {
                RandomMatrix::new(*m, *n, *seed).map(MatrixSource::Random)
            }
            Self::Eye { m, n } => MatrixSource::eye(*m, *n),
            Self::Zarr { array, stamp } => {
                let (place, layout) = array.check().map_err(|reason| InputError::Spec {
                    text: array.place.escape_default().to_string(),
                    reason,
                })?;
                let matrix = ZarrMatrix::known(place, layout, *stamp);
                Ok(MatrixSource::Zarr(Arc::new(matrix)))
            }
            Self::Npy {
                path,
                m,
                n,
                stamp: expected,
            } => {
                let path = PathBuf::from(OsString::from_vec(path.clone()));
                let matrix = NpyMatrix::open(&path)?;
                if stamp(&matrix) != *expected || (matrix.rows(), matrix.cols()) != (*m, *n) {
                    return Err(InputError::Changed {
                        path: ShownPath::new(&path),
                    });
                }
                Ok(MatrixSource::Npy(Arc::new(matrix)))
            }
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
        Kind::Tfac | Kind::Index => panic!("a matrix has no {} tiles", kind.name()),
    }
}

fn stamp(matrix: &NpyMatrix) -> FileStamp {
    let since = matrix
        .modified()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    FileStamp {
        bytes: matrix.file_bytes(),
        modified_ns: since.map_or(0, |since| since.as_nanos() as u64),
    }
}
