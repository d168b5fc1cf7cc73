//! An array in its place: chunks are written and read by name, `zarr.json` comes last and goes first.
//! Never caches: what is read twice moves twice.

use peerwren_kernels::tile::Shape;
use peerwren_transports::block::{Block, BlockBuf};
use peerwren_transports::store::{Objects, Place, StoreError};

use super::chunk::{self, Part};
use super::metadata::{Form, Layout, METADATA, METADATA_BYTES_MAX, Unread};
use crate::matrix::Moved;
use crate::matrix::error::{InputError, OutputError, ShownPath};
use crate::matrix::npy::assert_inside;

/// What the names of all chunks start with.
pub(super) const CHUNKS: &str = "c/";

/// A Zarr v3 array in the layout of blocks, open in this process. Cheap to clone: clones are the same array.
#[derive(Clone, Debug)]
pub struct ZarrArray {
    place: Place,
    layout: Layout,
    objects: Objects,
}

impl ZarrArray {
    /// An array whose metadata were read.
    pub(super) fn new(place: Place, layout: Layout, objects: Objects) -> Self {
        Self {
            place,
            layout,
            objects,
        }
    }

    /// Starts an array in place of what is there, which is none, an array or an unfinished one: its
    /// chunks are removed, `zarr.json` first.
    ///
    /// # Errors
    /// The place cannot be written, or something else lies there.
    pub(crate) async fn create(place: &Place, layout: Layout) -> Result<Self, OutputError> {
        if let Place::Folder(folder) = place {
            // With the permissions of other results: opening would make it for this user alone. What
            // is wrong, opening finds too.
            let _ = std::fs::create_dir(folder);
        }
        let opened = Objects::open(place).await;
        let array = Self {
            objects: opened.map_err(|source| cannot_write(place, source))?,
            place: place.clone(),
            layout,
        };
        let found = look(&array.objects).await;
        match found.map_err(|source| cannot_write(place, source))? {
            Found::Replaceable => array.clear().await?,
            Found::Other(found) => return Err(kept(place, &found)),
        }
        Ok(array)
    }

    /// Joins an array that another process has started.
    ///
    /// # Errors
    /// The place cannot be written.
    pub(crate) async fn join(place: &Place, layout: Layout) -> Result<Self, OutputError> {
        let joined = Objects::join(place).await;
        Ok(Self {
            objects: joined.map_err(|source| cannot_write(place, source))?,
            place: place.clone(),
            layout,
        })
    }

    /// Where it lies.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Sizes of the array and of its chunks.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Writes a tile as chunk (i, j).
    ///
    /// # Errors
    /// The place cannot be written or is full.
    pub(crate) async fn write(
        &self,
        at: (u64, u64),
        shape: Shape,
        block: Block,
    ) -> Result<Moved, OutputError> {
        let layout = self.layout;
        let chunk = blocking(move || chunk::encode(&layout, shape, block.as_f64())).await;
        let bytes = bytes::Bytes::from_owner(chunk);
        let put = self.objects.put(&layout.key(at), bytes).await;
        put.map_err(|source| cannot_write(&self.place, source))?;
        Ok(Moved::once(layout.chunk_bytes() as u64))
    }

    /// Reads back the tile that was written as chunk (i, j), with its digest computed; `None` where
    /// there is no such chunk.
    ///
    /// # Errors
    /// The place cannot be read, or the chunk is damaged.
    pub(crate) async fn read(
        &self,
        at: (u64, u64),
        shape: Shape,
    ) -> Result<Option<(Block, Moved)>, InputError> {
        let Some(bytes) = self.chunk(at).await? else {
            return Ok(None);
        };
        let layout = self.layout;
        let moved = Moved::once(bytes.len() as u64);
        let decoded = blocking(move || {
            let block = chunk::decode(&layout, shape, &bytes)?;
            block.digest();
            Ok(block)
        });
        let block = decoded.await.map_err(|error| self.damaged(at, &error))?;
        Ok(Some((block, moved)))
    }

    /// Reads the `rows` x `cols` part whose first entry is (`row0`, `col0`), column-major, out of all
    /// chunks that it overlaps; a chunk that is not there is zero.
    ///
    /// # Errors
    /// The place cannot be read, or a chunk is damaged.
    ///
    /// # Panics
    /// The part lies outside the array.
    pub(super) async fn read_part(
        &self,
        (row0, col0): (u64, u64),
        rows: usize,
        cols: usize,
    ) -> Result<(BlockBuf, Moved), InputError> {
        assert_inside(self.layout.shape(), row0, col0, rows, cols, rows * cols);
        let (chunk_rows, chunk_cols) = self.layout.chunk();
        let mut tile = BlockBuf::zeroed(rows * cols * 8);
        let mut moved = Moved::default();
        for (j, col, width, to_col) in overlaps(col0, cols, chunk_cols.into()) {
            for (i, row, height, to_row) in overlaps(row0, rows, chunk_rows.into()) {
                let Some(bytes) = self.chunk((i, j)).await? else {
                    continue;
                };
                moved += Moved::once(bytes.len() as u64);
                let part = Part {
                    from: (row, col),
                    to: (to_row, to_col),
                    rows: height,
                    cols: width,
                };
                let layout = self.layout;
                let copied = blocking(move || {
                    let entries = chunk::check(&layout, &bytes)?;
                    chunk::copy(&layout, entries, part, tile.as_f64_mut(), rows);
                    Ok(tile)
                });
                tile = copied.await.map_err(|error| self.damaged((i, j), &error))?;
            }
        }
        Ok((tile, moved))
    }

    /// Makes the array one that opens: all its chunks have been written, and nobody writes any more. What
    /// workers that were killed left of a chunk goes.
    ///
    /// # Errors
    /// The place cannot be written.
    pub(crate) async fn finish(&self) -> Result<(), OutputError> {
        let cannot = |source| cannot_write(&self.place, source);
        self.objects.remove_unfinished().await.map_err(cannot)?;
        let put = self
            .objects
            .put(METADATA, self.layout.encode().into_bytes());
        put.await.map_err(cannot)
    }

    /// Removes all of the array, and its folder if nothing else is in it.
    ///
    /// # Errors
    /// The place cannot be written.
    pub(crate) async fn discard(&self) -> Result<(), OutputError> {
        self.clear().await?;
        if let Place::Folder(folder) = &self.place {
            // Whoever put something else there keeps it.
            let _ = std::fs::remove_dir(folder.join(CHUNKS));
            let _ = std::fs::remove_dir(folder);
        }
        Ok(())
    }

    async fn clear(&self) -> Result<(), OutputError> {
        let cleared = async {
            self.objects.delete(METADATA).await?;
            self.objects.delete_all(CHUNKS).await
        };
        cleared
            .await
            .map_err(|source| cannot_write(&self.place, source))
    }

    async fn chunk(&self, at: (u64, u64)) -> Result<Option<Vec<u8>>, InputError> {
        let key = self.layout.key(at);
        let read = self.objects.get(&key, self.layout.chunk_bytes()).await;
        read.map_err(|source| cannot_read(&self.place, source))
    }

    fn damaged(&self, at: (u64, u64), error: &chunk::ChunkError) -> InputError {
        InputError::Chunk {
            place: self.place.to_string(),
            chunk: self.layout.key(at),
            reason: error.to_string(),
        }
    }
}

/// What lies at a place where a result is to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing, an array, or chunks of one that was not finished.
    Replaceable,
    /// Something else, by name.
    Other(String),
}

/// Looks at what lies at a place.
pub(super) async fn look(objects: &Objects) -> Result<Found, StoreError> {
    if let Some(metadata) = objects.get(METADATA, METADATA_BYTES_MAX).await? {
        // An array in any layout may be replaced by another array.
        return Ok(match Form::decode(&metadata) {
            Err(Unread::NotZarr(found)) => Found::Other(found),
            Ok(_) | Err(Unread::Foreign { .. }) => Found::Replaceable,
        });
    }
    let names = objects.list("").await?;
    let other = names.into_iter().find(|(name, _)| !is_chunk(name));
    Ok(other.map_or(Found::Replaceable, |(name, _)| {
        Found::Other(format!("`{}`", name.escape_debug()))
    }))
}

fn is_chunk(name: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    name.strip_prefix(CHUNKS)
        .is_some_and(|indices| match indices.split_once('/') {
            Some((i, j)) => digits(i) && digits(j),
            None => digits(indices),
        })
}

/// The chunks that `length` entries from `first` on overlap: number, first entry in the chunk, how
/// many, and where they go.
pub(super) fn overlaps(
    first: u64,
    length: usize,
    chunk: u64,
) -> impl Iterator<Item = (u64, usize, usize, usize)> {
    let end = first + length as u64;
    (first / chunk..end.div_ceil(chunk)).map(move |number| {
        let from = first.max(number * chunk);
        let to = end.min((number + 1) * chunk);
        let within = (from - number * chunk) as usize;
        (
            number,
            within,
            (to - from) as usize,
            (from - first) as usize,
        )
    })
}

/// Copies and checksums of megabytes run on a thread that may wait.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Why there is no array at a place.
pub(super) async fn absent(place: &Place, objects: &Objects) -> InputError {
    let is_there =
        async |name: &str| matches!(objects.get(name, METADATA_BYTES_MAX).await, Ok(Some(_)));
    let found = if is_there(".zarray").await {
        "a Zarr v2 array"
    } else if is_there(".zgroup").await {
        "a Zarr v2 group"
    } else {
        match objects.list(CHUNKS).await {
            Ok(chunks) if !chunks.is_empty() => "chunks without zarr.json: it was not finished",
            _ => "no zarr.json",
        }
    };
    not_zarr(place, found)
}

pub(super) fn not_zarr(place: &Place, found: &str) -> InputError {
    InputError::NotZarr {
        place: place.to_string(),
        found: found.to_owned(),
    }
}

/// Why nothing is written where something else lies.
pub(super) fn kept(place: &Place, found: &str) -> OutputError {
    OutputError::Refused {
        path: ShownPath::new(place.to_string().as_ref()),
        reason: format!("holds {found}; only a Zarr array is replaced, name another place"),
    }
}

pub(super) fn cannot_read(place: &Place, source: StoreError) -> InputError {
    InputError::Store {
        place: place.to_string(),
        source,
    }
}

fn cannot_write(place: &Place, source: StoreError) -> OutputError {
    OutputError::Store {
        place: place.to_string(),
        source,
    }
}
