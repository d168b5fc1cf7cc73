//! Reads tiles of a `.npy` file, from any thread, with a bounded buffer.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::SystemTime;

use super::assert_inside;
use super::header::{Element, ElementKind, Header, HeaderError, Order};
use crate::matrix::error::{InputError, ShownPath};
use crate::matrix::random::check_size;

/// Entries read at a time: 256 KiB as f64 and at most as much as stored = 512 KiB a thread.
const BUFFER_ENTRIES: usize = 32 * 1024;
/// Runs read at a time: 8 f64 fill a cache line of the tile.
const BATCH: usize = 8;

/// A `.npy` file of real numbers with one or two dimensions, open for reading. One of n entries is a column,
/// n x 1.
#[derive(Debug)]
pub struct NpyMatrix {
    file: File,
    path: ShownPath,
    rows: u64,
    cols: u64,
    is_vector: bool,
    element: Element,
    order: Order,
    data_offset: u64,
    file_bytes: u64,
    modified: Option<SystemTime>,
}

impl NpyMatrix {
    /// Opens a file and checks its header and length; reads no entry.
    ///
    /// # Errors
    /// The path is missing, unreadable or not a file, or its contents are not a whole one- or
    /// two-dimensional array of booleans, integers, float32 or float64.
    pub fn open(path: &Path) -> Result<Self, InputError> {
        let shown = || ShownPath::new(path);
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => InputError::Missing { path: shown() },
            _ => InputError::Unreadable {
                path: shown(),
                source,
            },
        };
        // Looked at before it is opened: opening a pipe would wait for its writer.
        let kind = fs::metadata(path).map_err(failed)?.file_type();
        if !kind.is_file() {
            let found = if kind.is_dir() {
                "a folder"
            } else {
                "a device, pipe or socket"
            };
            return Err(InputError::NotNpy {
                path: shown(),
                found: found.into(),
            });
        }
        let mut file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        let header = Header::read(&mut file).map_err(|error| match error {
            HeaderError::NotNpy(found) => InputError::NotNpy {
                path: shown(),
                found,
            },
            HeaderError::Type(found) => InputError::Unsupported {
                path: shown(),
                expected: "booleans, integers, float32 or float64",
                found,
            },
            HeaderError::Io(source) => failed(source),
        })?;
        let (rows, cols) =
            check_shape(&header.shape).map_err(|(expected, found)| InputError::Unsupported {
                path: shown(),
                expected,
                found,
            })?;
        let is_vector = header.shape.len() == 1;
        // check_size bounds rows * cols * 8, and no entry is longer.
        let expected = header.data_offset + rows * cols * header.element.kind.bytes() as u64;
        if metadata.len() < expected {
            return Err(InputError::Truncated {
                path: shown(),
                expected,
                found: metadata.len(),
            });
        }
        Ok(Self {
            file,
            path: shown(),
            rows,
            cols,
            is_vector,
            element: header.element,
            // A column's entries follow each other in either order.
            order: if cols == 1 {
                Order::Fortran
            } else {
                header.order
            },
            data_offset: header.data_offset,
            file_bytes: metadata.len(),
            modified: metadata.modified().ok(),
        })
    }

    /// Rows.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Columns.
    pub fn cols(&self) -> u64 {
        self.cols
    }

    /// Whether the array has one dimension.
    pub fn is_vector(&self) -> bool {
        self.is_vector
    }

    /// What an entry is in the file.
    pub fn element(&self) -> Element {
        self.element
    }

    /// Which index runs fastest in the file; of a single column the rows'.
    pub fn order(&self) -> Order {
        self.order
    }

    /// The path that was opened.
    pub fn path(&self) -> &Path {
        self.path.as_path()
    }

    /// Bytes of the whole file when it was opened.
    pub fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// When the file was last written, where the file system says so.
    pub fn modified(&self) -> Option<SystemTime> {
        self.modified
    }

    /// Bytes of `entries` entries in the file.
    pub fn stored_bytes(&self, entries: u64) -> u64 {
        entries * self.element.kind.bytes() as u64
    }

    /// Reads the `rows` x `cols` block whose first entry is (`row0`, `col0`) into `out`, column-major.
    ///
    /// # Errors
    /// The file shrank or cannot be read.
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
        assert_inside((self.rows, self.cols), row0, col0, rows, cols, out.len());
        if rows == 0 || cols == 0 {
            return Ok(());
        }
        let native = ElementKind::F8 == self.element.kind
            && self.element.big_endian == cfg!(target_endian = "big");
        match self.order {
            Order::Fortran if native => self.read_columns(row0, col0, rows, out),
            Order::Fortran => {
                let runs = Runs {
                    inner: self.rows,
                    inner0: row0,
                    length: rows,
                    outer0: col0,
                    count: cols,
                };
                self.read_runs(runs, |piece| {
                    for (o, values) in piece.runs() {
                        out[o * rows + piece.inner..][..values.len()].copy_from_slice(values);
                    }
                })
            }
            Order::C => {
                let runs = Runs {
                    inner: self.cols,
                    inner0: col0,
                    length: cols,
                    outer0: row0,
                    count: rows,
                };
                self.read_runs(runs, |piece| {
                    // Down a short column of the tile at a time: whole cache lines of `out`.
                    for j in 0..piece.length {
                        let column =
                            &mut out[(piece.inner + j) * rows + piece.outer..][..piece.count];
                        for (o, entry) in column.iter_mut().enumerate() {
                            *entry = piece.values[o * piece.length + j];
                        }
                    }
                })
            }
        }
    }

    /// Finds the first entry, in the order of the file, that is NaN or infinite.
    ///
    /// # Errors
    /// There is one, or the file cannot be read.
    pub fn scan_finite(&self) -> Result<(), InputError> {
        if !self.element.kind.is_float() {
            return Ok(());
        }
        let total = self.rows * self.cols;
        let mut buffers = Buffers::new(self.element, BUFFER_ENTRIES.min(total as usize));
        let mut at = 0;
        while at < total {
            let count = (total - at).min(BUFFER_ENTRIES as u64) as usize;
            self.read_entries(at, 0..count, &mut buffers)?;
            let values = &buffers.values[..count];
            if let Some(k) = first_not_finite(values) {
                let value = values[k];
                let place = at + k as u64;
                let (row, col) = match self.order {
                    Order::C => (place / self.cols, place % self.cols),
                    Order::Fortran => (place % self.rows, place / self.rows),
                };
                return Err(InputError::NotFinite {
                    path: self.path.clone(),
                    row,
                    col,
                    value,
                });
            }
            at += count as u64;
        }
        Ok(())
    }

    /// Reads columns that need no conversion straight into their place.
    fn read_columns(
        &self,
        row0: u64,
        col0: u64,
        rows: usize,
        out: &mut [f64],
    ) -> Result<(), InputError> {
        // Whole columns follow each other in the file as in the tile.
        let span = if rows as u64 == self.rows {
            out.len()
        } else {
            rows
        };
        for (j, column) in out.chunks_mut(span).enumerate() {
            let first = (col0 + j as u64) * self.rows + row0;
            self.read_exact(first, bytemuck::cast_slice_mut(column))?;
        }
        Ok(())
    }

    /// Reads runs of neighbouring entries and hands them over in pieces.
    fn read_runs(&self, runs: Runs, mut place: impl FnMut(Piece<'_>)) -> Result<(), InputError> {
        let longest = runs.length.min(BUFFER_ENTRIES / BATCH);
        let mut buffers = Buffers::new(self.element, longest * BATCH);
        for outer in (0..runs.count).step_by(BATCH) {
            let count = BATCH.min(runs.count - outer);
            for inner in (0..runs.length).step_by(longest) {
                let length = longest.min(runs.length - inner);
                for o in 0..count {
                    let line = (runs.outer0 + (outer + o) as u64) * runs.inner;
                    let first = line + runs.inner0 + inner as u64;
                    self.read_entries(first, o * length..(o + 1) * length, &mut buffers)?;
                }
                place(Piece {
                    outer,
                    inner,
                    count,
                    length,
                    values: &buffers.values[..count * length],
                });
            }
        }
        Ok(())
    }

    /// Reads and converts entries from the `first`-th on into a range of the buffers.
    fn read_entries(
        &self,
        first: u64,
        range: Range<usize>,
        buffers: &mut Buffers,
    ) -> Result<(), InputError> {
        let raw = &mut buffers.raw[..range.len() * self.element.kind.bytes()];
        self.read_exact(first, raw)?;
        self.element.decode(raw, &mut buffers.values[range]);
        Ok(())
    }

    fn read_exact(&self, first: u64, raw: &mut [u8]) -> Result<(), InputError> {
        let offset = self.data_offset + self.stored_bytes(first);
        self.file
            .read_exact_at(raw, offset)
            .map_err(|source| match source.kind() {
                io::ErrorKind::UnexpectedEof => InputError::Changed {
                    path: self.path.clone(),
                },
                _ => InputError::Unreadable {
                    path: self.path.clone(),
                    source,
                },
            })
    }
}

/// `count` runs of `length` entries, one in each of neighbouring lines of `inner` entries.
struct Runs {
    inner: u64,
    inner0: u64,
    length: usize,
    outer0: u64,
    count: usize,
}

/// Parts of `count` runs from the `outer`-th on, each `length` entries from its `inner`-th on.
struct Piece<'a> {
    outer: usize,
    inner: usize,
    count: usize,
    length: usize,
    values: &'a [f64],
}

impl<'a> Piece<'a> {
    /// The number of each run and its values.
    fn runs(&self) -> impl Iterator<Item = (usize, &'a [f64])> + use<'a> {
        let outer = self.outer;
        self.values
            .chunks(self.length)
            .enumerate()
            .map(move |(o, values)| (outer + o, values))
    }
}

struct Buffers {
    raw: Vec<u8>,
    values: Vec<f64>,
}

impl Buffers {
    fn new(element: Element, entries: usize) -> Self {
        Self {
            raw: vec![0; entries * element.kind.bytes()],
            values: vec![0.0; entries],
        }
    }
}

/// Rows and columns of a shape of one or two dimensions, or what was expected and what came.
fn check_shape(shape: &[u64]) -> Result<(u64, u64), (&'static str, String)> {
    let sizes: Vec<_> = shape.iter().map(u64::to_string).collect();
    let comma = if shape.len() == 1 { "," } else { "" };
    let found = format!("shape ({}{comma})", sizes.join(", "));
    match *shape {
        [0] | [0, _] | [_, 0] => Err(("a matrix with at least one entry", found)),
        [rows, cols] if check_size(rows, cols).is_ok() => Ok((rows, cols)),
        [length] if check_size(length, 1).is_ok() => Ok((length, 1)),
        [_] | [_, _] => Err(("a matrix of fewer than 2^63 bytes", found)),
        _ => Err(("a 1-d or 2-d array", found)),
    }
}

/// The place of the first entry that is NaN or infinite.
pub(in crate::matrix) fn first_not_finite(values: &[f64]) -> Option<usize> {
    // Two passes: the first has no early exit, so that it runs at the speed of memory.
    let all = values.iter().fold(true, |all, v| all & v.is_finite());
    if all {
        None
    } else {
        values.iter().position(|v| !v.is_finite())
    }
}
