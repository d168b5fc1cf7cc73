//! A source as plain data, as it travels to workers with the plan, and how they open it again.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::UNIX_EPOCH;

use peerwren_transports::store::PlaceError;
use rkyv::{Archive, Deserialize, Serialize};

use super::error::{InputError, ShownPath};
use super::npy::NpyMatrix;
use super::random::{RandomMatrix, check_size};
use super::result::absolute;
use super::source::{Base, MatrixSource};
use super::spd::SpdMatrix;
use super::view::View;
use super::zarr::ZarrMatrix;

/// All that a worker needs to read the same input; plain data.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct SourceSpec {
    /// The matrix that is shown.
    pub base: BaseSpec,
    /// What of it, and whether transposed.
    pub view: View,
}

/// A whole matrix; plain data.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum BaseSpec {
    /// Computed from a seed.
    Random {
        /// Rows.
        m: u64,
        /// Columns.
        n: u64,
        /// The seed.
        seed: u64,
    },
    /// Computed from a seed, symmetric and positive definite.
    Spd {
        /// Rows, and columns.
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
        /// The place, as text.
        place: String,
        /// Rows.
        m: u64,
        /// Columns.
        n: u64,
        /// Whether it has one dimension.
        is_vector: bool,
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
    /// A 1 x 1 matrix.
    Scalar {
        /// The bits of its entry.
        bits: u64,
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
    /// Describes the input for another process of this machine.
    ///
    /// # Errors
    /// The file is gone.
    pub fn spec(&self) -> Result<SourceSpec, InputError> {
        let base = match &self.base {
            Base::Random(matrix) => BaseSpec::Random {
                m: matrix.m(),
                n: matrix.n(),
                seed: matrix.seed(),
            },
            Base::Spd(matrix) => BaseSpec::Spd {
                n: matrix.n(),
                seed: matrix.seed(),
            },
            Base::Npy(matrix) => {
                // Absolute: a worker may have another working directory.
                let path = std::path::absolute(matrix.path()).map_err(|source| {
                    InputError::Unreadable {
                        path: ShownPath::new(matrix.path()),
                        source,
                    }
                })?;
                BaseSpec::Npy {
                    path: path.as_os_str().as_bytes().to_vec(),
                    m: matrix.rows(),
                    n: matrix.cols(),
                    stamp: stamp(matrix),
                }
            }
            Base::Zarr(matrix) => BaseSpec::Zarr {
                place: absolute(matrix.place().clone()).to_string(),
                m: matrix.shape().0,
                n: matrix.shape().1,
                is_vector: matrix.is_vector(),
                stamp: matrix.stamp(),
            },
            Base::Eye { m, n } => BaseSpec::Eye { m: *m, n: *n },
            Base::Scalar(value) => BaseSpec::Scalar {
                bits: value.to_bits(),
            },
        };
        let view = self.view;
        Ok(SourceSpec { base, view })
    }
}

impl SourceSpec {
    /// A matrix of independent random entries, as [`RandomMatrix`].
    #[must_use]
    pub fn random(m: u64, n: u64, seed: u64) -> Self {
        Self::whole(BaseSpec::Random { m, n, seed }, (m, n))
    }

    /// Ones on the diagonal, zeros elsewhere.
    #[must_use]
    pub fn eye(m: u64, n: u64) -> Self {
        Self::whole(BaseSpec::Eye { m, n }, (m, n))
    }

    /// A 1 x 1 matrix that holds `value`.
    #[must_use]
    pub fn scalar(value: f64) -> Self {
        let bits = value.to_bits();
        Self::whole(BaseSpec::Scalar { bits }, (1, 1))
    }

    fn whole(base: BaseSpec, shape: (u64, u64)) -> Self {
        let view = View::whole(shape);
        Self { base, view }
    }

    /// Rows and columns.
    #[must_use]
    pub fn shape(&self) -> (u64, u64) {
        self.view.shape()
    }

    /// Whether it is no data of the user's: an identity or a number.
    #[must_use]
    pub fn is_constant(&self) -> bool {
        matches!(self.base, BaseSpec::Eye { .. } | BaseSpec::Scalar { .. })
    }

    /// Opens the same input; a Zarr array is opened by its first reader.
    ///
    /// # Errors
    /// The file is not what it was when the run began, or a size that came over the wire is refused.
    pub fn open(&self) -> Result<MatrixSource, InputError> {
        let mut source = self.base.open()?;
        if !self.view.is_inside(source.shape()) {
            let view = self.view;
            return Err(InputError::Spec {
                text: source.to_string(),
                reason: format!(
                    "expected a part of it, found {} x {} from [{}, {}]",
                    view.m, view.n, view.row0, view.col0
                ),
            });
        }
        source.view = self.view;
        Ok(source)
    }
}

impl BaseSpec {
    fn open(&self) -> Result<MatrixSource, InputError> {
        match self {
            Self::Random { m, n, seed } => RandomMatrix::new(*m, *n, *seed).map(Into::into),
            Self::Spd { n, seed } => SpdMatrix::new(*n, *seed).map(Into::into),
            Self::Eye { m, n } => MatrixSource::eye(*m, *n),
            Self::Scalar { bits } => Ok(MatrixSource::scalar(f64::from_bits(*bits))),
            Self::Zarr {
                place,
                m,
                n,
                is_vector,
                stamp,
            } => {
                let refused = |reason: String| InputError::Spec {
                    text: place.escape_default().to_string(),
                    reason,
                };
                check_size(*m, *n).map_err(refused)?;
                let parsed: Result<_, PlaceError> = place.parse();
                let place = parsed.map_err(|error| refused(error.to_string()))?;
                Ok(ZarrMatrix::known(place, (*m, *n), *is_vector, *stamp).into())
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
                Ok(matrix.into())
            }
        }
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
