//! What can be wrong with an input or an output file. Each error reads as one line.

use std::io;
use std::path::{Path, PathBuf};

use peerwren_transports::store::StoreError;

/// The path of a file, shown so that it can never break a one-line error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownPath(PathBuf);

impl ShownPath {
    /// Wraps a path for an error.
    pub fn new(path: &Path) -> Self {
        Self(path.to_path_buf())
    }

    /// Returns the path itself.
    pub fn as_path(&self) -> &Path {
        &self.0
    }
}

impl std::fmt::Display for ShownPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for c in self.0.to_string_lossy().chars() {
            if c.is_control() {
                write!(f, "{}", c.escape_default())?;
            } else {
                write!(f, "{c}")?;
            }
        }
        Ok(())
    }
}

/// The inputs that this version reads.
pub(super) const INPUTS: &str =
    "a .npy file, a Zarr array (folder or s3://bucket/key), random:MxN[:seed] or spd:N[:seed]";

/// An input that cannot be used. The caller corrects the input; retrying changes nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// The text names no input that this version reads.
    #[error("input `{text}`: {reason}")]
    Spec {
        /// What was given.
        text: String,
        /// What was expected instead.
        reason: String,
    },
    /// Nothing is at the path.
    #[error("{path}: no such file; expected {INPUTS}")]
    Missing {
        /// The path as given.
        path: ShownPath,
    },
    /// The file exists but reading it failed.
    #[error("{path}: cannot be read: {source}")]
    Unreadable {
        /// The path as given.
        path: ShownPath,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not a well-formed `.npy` file.
    #[error("{path}: expected a .npy file, found {found}")]
    NotNpy {
        /// The path as given.
        path: ShownPath,
        /// What is there instead.
        found: String,
    },
    /// A `.npy` file whose contents this command does not take.
    #[error("{path}: expected {expected}, found {found}")]
    Unsupported {
        /// The path as given.
        path: ShownPath,
        /// What is needed.
        expected: &'static str,
        /// What the header says.
        found: String,
    },
    /// There is no Zarr v3 array at the place.
    #[error("{place}: expected a Zarr v3 array, found {found}")]
    NotZarr {
        /// The place as given.
        place: String,
        /// What is there instead.
        found: String,
    },
    /// A Zarr array in a layout that is not read.
    #[error("{place}/zarr.json: expected {expected}, found {found}")]
    ForeignZarr {
        /// The place as given.
        place: String,
        /// What this version reads.
        expected: &'static str,
        /// What the metadata says.
        found: String,
    },
    /// A chunk of a Zarr array is not what was written.
    #[error("{place}/{chunk}: {reason}")]
    Chunk {
        /// The array.
        place: String,
        /// The chunk.
        chunk: String,
        /// What was expected and what came.
        reason: String,
    },
    /// A folder or bucket cannot be read.
    #[error("{place}: cannot be read: {source}")]
    Store {
        /// The place as given.
        place: String,
        /// What went wrong.
        source: StoreError,
    },
    /// The file ends before its last entry.
    #[error("{path}: truncated: its header promises {expected} bytes, the file has {found}")]
    Truncated {
        /// The path as given.
        path: ShownPath,
        /// Bytes that the header promises, itself included.
        expected: u64,
        /// Bytes of the file.
        found: u64,
    },
    /// An entry is NaN or infinite.
    #[error("{path}: expected finite entries, found {value} at [{row}, {col}] (counted from 0)")]
    NotFinite {
        /// The path as given.
        path: ShownPath,
        /// Row of the first such entry in the order of the file.
        row: u64,
        /// Its column.
        col: u64,
        /// `NaN`, `inf` or `-inf`.
        value: f64,
    },
    /// The file is another one than when the run began.
    #[error("{path}: the file changed while the run was using it; start again")]
    Changed {
        /// The path as given.
        path: ShownPath,
    },
}

/// A result that cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// The path is unusable as given; found before any work. The caller names another one.
    #[error("output {path}: {reason}")]
    Refused {
        /// The path as given.
        path: ShownPath,
        /// What is wrong and what is expected.
        reason: String,
    },
    /// The file system is full, or the user's quota is. The caller makes room and runs again.
    #[error("output {path}: no space left for {bytes} bytes in its folder")]
    Full {
        /// The path as given.
        path: ShownPath,
        /// Bytes of the whole file.
        bytes: u64,
    },
    /// A folder or bucket cannot be written.
    #[error("output {place}: cannot be written: {source}")]
    Store {
        /// The place as given.
        place: String,
        /// What went wrong.
        source: StoreError,
    },
    /// Writing failed for another reason.
    #[error("output {path}: cannot be written: {source}")]
    Failed {
        /// The path as given.
        path: ShownPath,
        /// What the system said.
        source: io::Error,
    },
}

impl OutputError {
    /// Whether the fault is in what was asked for, not in the run.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }
}
