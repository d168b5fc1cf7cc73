//! Where an input's entries come from, and how another process finds them again.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use rkyv::{Archive, Deserialize, Serialize};

use super::error::{InputError, ShownPath};
use super::npy::{NpyMatrix, assert_inside};
use super::random::{RandomMatrix, check_size};

/// An input matrix, ready to be read by tiles from any thread.
#[derive(Clone, Debug)]
pub enum MatrixSource {
    /// Computed from a seed.
    Random(RandomMatrix),
    /// A `.npy` file.
    Npy(Arc<NpyMatrix>),
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
    /// Opens the input that `text` names: `random:MxN[:seed]` or the path of a `.npy` file.
    ///
    /// # Errors
    /// A form that this version does not read, or whatever is wrong with the file.
    pub fn parse(text: &str) -> Result<Self, InputError> {
        let refused = |reason: &str| {
            Err(InputError::Spec {
                text: text.escape_default().to_string(),
                reason: reason.into(),
            })
        };
        if text.starts_with("random:") {
            return RandomMatrix::parse(text).map(Self::Random);
        }
        if text.starts_with("spd:") {
            return refused(
                "spd:N[:seed] inputs are not in this version; expected a .npy file or random:MxN[:seed]",
            );
        }
        if text.starts_with("s3://") {
            return refused(
                "s3:// inputs are not in this version; expected a .npy file or random:MxN[:seed]",
            );
        }
        if text.is_empty() {
            return refused("expected a .npy file or random:MxN[:seed]");
        }
        let path = Path::new(text);
        let zarr = path
            .extension()
            .is_some_and(|extension| extension == "zarr");
        if zarr || path.join("zarr.json").is_file() {
            return refused(
                "Zarr inputs are not in this version; expected a .npy file or random:MxN[:seed]",
            );
        }
        Self::open(path)
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
            Self::Eye { m, n } => (*m, *n),
        }
    }

    /// The file behind the input, if there is one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Npy(matrix) => Some(matrix.path()),
            Self::Random(_) | Self::Eye { .. } => None,
        }
    }

    /// Checks every entry once: NaN and infinity have no factorization.
    ///
    /// # Errors
    /// The first such entry in the order of the file, or a file that cannot be read.
    pub fn validate(&self) -> Result<(), InputError> {
        match self {
            Self::Npy(matrix) => matrix.scan_finite(),
            Self::Random(_) | Self::Eye { .. } => Ok(()),
        }
    }

    /// Bytes that are read from a file for a block of `rows` x `cols`; 0 where entries are computed.
    pub fn read_bytes(&self, rows: usize, cols: usize) -> u64 {
        match self {
            Self::Npy(matrix) => matrix.stored_bytes(rows as u64 * cols as u64),
            Self::Random(_) | Self::Eye { .. } => 0,
        }
    }

    /// Writes the `rows` x `cols` block whose first entry is (`row0`, `col0`) into `out`, column-major.
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
            Self::Eye { m, n } => SourceSpec::Eye { m: *m, n: *n },
        })
    }
}

impl std::fmt::Display for MatrixSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Random(matrix) => matrix.fmt(f),
            Self::Npy(matrix) => ShownPath::new(matrix.path()).fmt(f),
            Self::Eye { m, n } => write!(f, "eye:{m}x{n}"),
        }
    }
}

impl SourceSpec {
    /// Rows and columns.
    pub fn shape(&self) -> (u64, u64) {
        match self {
            Self::Random { m, n, .. } | Self::Npy { m, n, .. } | Self::Eye { m, n } => (*m, *n),
        }
    }

    /// Opens the same input.
    ///
    /// # Errors
    /// The file is not what it was when the run began, or a size that came over the wire is refused.
    pub fn open(&self) -> Result<MatrixSource, InputError> {
        match self {
            Self::Random { m, n, seed } => {
                RandomMatrix::new(*m, *n, *seed).map(MatrixSource::Random)
            }
            Self::Eye { m, n } => MatrixSource::eye(*m, *n),
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

fn stamp(matrix: &NpyMatrix) -> FileStamp {
    let since = matrix
        .modified()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    FileStamp {
        bytes: matrix.file_bytes(),
        modified_ns: since.map_or(0, |since| since.as_nanos() as u64),
    }
}
