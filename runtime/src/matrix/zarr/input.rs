//! An array as an input, in any layout that is read: found before the run, opened again by each process that
//! reads it.

use std::future::Future;
use std::path::Path;

use peerwren_transports::block::BlockBuf;
use peerwren_transports::store::{Objects, Place};
use tokio::sync::OnceCell;

use super::array::{ZarrArray, absent, cannot_read, not_zarr};
use super::foreign::ForeignArray;
use super::metadata::{Form, METADATA, METADATA_BYTES_MAX, Unread, stamp};
use crate::matrix::Moved;
use crate::matrix::error::{InputError, ShownPath};
use crate::matrix::npy::first_not_finite;

/// Threads that read files for a caller that waits: it asks for one after the other.
const WAIT_THREADS: usize = 2;

/// A Zarr array that is read by tiles, from any thread.
#[derive(Debug)]
pub struct ZarrMatrix {
    place: Place,
    shape: (u64, u64),
    is_vector: bool,
    /// Rows and columns of a chunk, where somebody has looked.
    chunk: Option<(u32, u32)>,
    is_int64: bool,
    stamp: [u8; 32],
    /// Opened by the first who reads, in the runtime that reads.
    array: OnceCell<Opened>,
}

/// An array that lies there, in its layout.
#[derive(Debug)]
pub(super) enum Opened {
    /// In the layout of blocks.
    Ours(ZarrArray),
    /// In another one.
    Foreign(ForeignArray),
}

impl Opened {
    /// Opens an array that is whole, and returns the digest of its `zarr.json` too.
    ///
    /// # Errors
    /// There is none, it is laid out in a way that is not read, or it cannot be read.
    pub(super) async fn find(place: &Place) -> Result<(Self, [u8; 32]), InputError> {
        let failed = |source| cannot_read(place, source);
        if let Place::Folder(folder) = place
            && !folder.is_dir()
        {
            return Err(if folder.exists() {
                not_zarr(place, "a file")
            } else {
                let path = ShownPath::new(folder);
                InputError::Missing { path }
            });
        }
        let objects = Objects::join(place).await.map_err(failed)?;
        let metadata = objects.get(METADATA, METADATA_BYTES_MAX).await;
        let Some(metadata) = metadata.map_err(failed)? else {
            return Err(absent(place, &objects).await);
        };
        let form = Form::decode(&metadata).map_err(|unread| match unread {
            Unread::NotZarr(found) => not_zarr(place, &found),
            Unread::Foreign { expected, found } => InputError::ForeignZarr {
                place: place.to_string(),
                expected,
                found,
            },
        })?;
        let place = place.clone();
        let opened = match form {
            Form::Ours(layout) => Self::Ours(ZarrArray::new(place, layout, objects)),
            Form::Foreign(form) => Self::Foreign(ForeignArray::new(place, form, objects)),
        };
        Ok((opened, stamp(&metadata)))
    }

    /// Rows and columns.
    fn shape(&self) -> (u64, u64) {
        match self {
            Self::Ours(array) => array.layout().shape(),
            Self::Foreign(array) => array.form().shape(),
        }
    }

    /// Rows and columns of a chunk.
    fn chunk(&self) -> Option<(u32, u32)> {
        match self {
            Self::Ours(array) => Some(array.layout().chunk()),
            Self::Foreign(array) => {
                let (rows, cols) = array.form().chunk();
                Some((u32::try_from(rows).ok()?, u32::try_from(cols).ok()?))
            }
        }
    }

    fn is_int64(&self) -> bool {
        match self {
            Self::Ours(_) => false,
            Self::Foreign(array) => array.form().is_int64(),
        }
    }

    fn is_vector(&self) -> bool {
        match self {
            Self::Ours(_) => false,
            Self::Foreign(array) => array.form().is_vector(),
        }
    }

    /// Reads a part, column-major, and says what moved for it.
    pub(super) async fn read_part(
        &self,
        at: (u64, u64),
        rows: usize,
        cols: usize,
    ) -> Result<(BlockBuf, Moved), InputError> {
        match self {
            Self::Ours(array) => array.read_part(at, rows, cols).await,
            Self::Foreign(array) => array.read_part(at, rows, cols).await,
        }
    }
}

impl ZarrMatrix {
    /// Finds an array and reads its metadata; blocks.
    ///
    /// # Errors
    /// There is none, it is laid out otherwise than this version reads, or it cannot be read.
    pub fn open(place: &Place) -> Result<Self, InputError> {
        if let Place::Folder(folder) = place
            && folder.to_str().is_none()
        {
            return Err(InputError::Spec {
                text: folder.display().to_string(),
                reason: "expected a path that is valid UTF-8".to_owned(),
            });
        }
        let (array, stamp) = wait(Opened::find(place))?;
        let (shape, is_vector) = (array.shape(), array.is_vector());
        Ok(Self {
            chunk: array.chunk(),
            is_int64: array.is_int64(),
            ..Self::known(place.clone(), shape, is_vector, stamp)
        })
    }

    /// An array that was found before.
    pub(in crate::matrix) fn known(
        place: Place,
        shape: (u64, u64),
        is_vector: bool,
        stamp: [u8; 32],
    ) -> Self {
        Self {
            place,
            shape,
            is_vector,
            chunk: None,
            is_int64: false,
            stamp,
            array: OnceCell::new(),
        }
    }

    /// Where the array lies.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Rows and columns; an array of one dimension is a column.
    pub fn shape(&self) -> (u64, u64) {
        self.shape
    }

    /// Whether the array has one dimension.
    pub fn is_vector(&self) -> bool {
        self.is_vector
    }

    /// Rows and columns of a chunk; none where that is not known here.
    pub fn chunk(&self) -> Option<(u32, u32)> {
        self.chunk
    }

    /// Whether somebody has looked and found int64.
    pub(in crate::matrix) fn is_int64(&self) -> bool {
        self.is_int64
    }

    /// Tells one `zarr.json` from another.
    pub(in crate::matrix) fn stamp(&self) -> [u8; 32] {
        self.stamp
    }

    /// Reads the `rows` x `cols` block whose first entry is (`row0`, `col0`), column-major. A block
    /// that is a chunk reads one chunk; any other reads all chunks that it overlaps, whole. Of an array in
    /// the layout of blocks nothing is kept for the next.
    ///
    /// # Errors
    /// The array is another one, cannot be read or is damaged, or an entry is NaN or infinite.
    ///
    /// # Panics
    /// The block lies outside the matrix.
    pub async fn read(
        &self,
        row0: u64,
        col0: u64,
        rows: usize,
        cols: usize,
    ) -> Result<(BlockBuf, Moved), InputError> {
        let array = self.array.get_or_try_init(|| self.open_again()).await?;
        self.read_from(array, (row0, col0), rows, cols).await
    }

    /// The same for a caller that looks at some of the entries only and checks those.
    ///
    /// # Errors
    /// As [`ZarrMatrix::read`], but for NaN and infinity.
    pub(in crate::matrix) async fn read_unchecked(
        &self,
        row0: u64,
        col0: u64,
        rows: usize,
        cols: usize,
    ) -> Result<(BlockBuf, Moved), InputError> {
        let array = self.array.get_or_try_init(|| self.open_again()).await?;
        array.read_part((row0, col0), rows, cols).await
    }

    /// The same for callers outside of any runtime; blocks.
    pub(in crate::matrix) fn read_waiting(
        &self,
        at: (u64, u64),
        rows: usize,
        cols: usize,
    ) -> Result<BlockBuf, InputError> {
        // Opened each time: a client does not outlive its runtime.
        wait(async {
            let array = self.open_again().await?;
            let (tile, _) = self.read_from(&array, at, rows, cols).await?;
            Ok(tile)
        })
    }

    async fn read_from(
        &self,
        array: &Opened,
        (row0, col0): (u64, u64),
        rows: usize,
        cols: usize,
    ) -> Result<(BlockBuf, Moved), InputError> {
        let (tile, moved) = array.read_part((row0, col0), rows, cols).await?;
        // Checked here and not before the run: that would move the matrix twice.
        if let Some(k) = first_not_finite(tile.as_f64()) {
            return Err(InputError::NotFinite {
                path: ShownPath::new(Path::new(&self.place.to_string())),
                row: row0 + (k % rows) as u64,
                col: col0 + (k / rows) as u64,
                value: tile.as_f64()[k],
            });
        }
        Ok((tile, moved))
    }

    async fn open_again(&self) -> Result<Opened, InputError> {
        let (array, stamp) = Opened::find(&self.place).await?;
        if stamp != self.stamp {
            return Err(InputError::Changed {
                path: ShownPath::new(Path::new(&self.place.to_string())),
            });
        }
        Ok(array)
    }
}

/// Runs a future to its end on a thread of its own, so that any runtime of the caller's is left alone.
pub(super) fn wait<T: Send>(future: impl Future<Output = T> + Send) -> T {
    std::thread::scope(|scope| {
        let runtime = || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            runtime.enable_all().max_blocking_threads(WAIT_THREADS);
            runtime
                .build()
                .expect("a thread of this process can poll for events")
        };
        let thread = scope.spawn(move || runtime().block_on(future));
        match thread.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}
