//! Reads parts of an array out of its chunks, one chunk at a time, and keeps some chunks that it read in part.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use peerwren_transports::block::BlockBuf;
use peerwren_transports::store::{Objects, Place};
use tokio::sync::OnceCell;

use super::super::array::{blocking, cannot_read, overlaps};
use super::super::chunk::Part;
use super::Foreign;
use crate::matrix::Moved;
use crate::matrix::error::InputError;
use crate::matrix::npy::assert_inside;

/// Bytes of decoded chunks that an open array keeps for tiles that need another part of them, beyond `--memory`:
/// one chunk of 4,096 x 4,096 or 16 of 1,024 x 1,024. Larger chunks are decoded for each tile anew.
const KEPT_BYTES_MAX: usize = 128 << 20;

/// An array in another layout than peerwren's, open in this process.
#[derive(Debug)]
pub(in super::super) struct ForeignArray {
    place: Place,
    form: Arc<Foreign>,
    objects: Objects,
    kept: Mutex<VecDeque<(At, Arc<Kept>)>>,
}

/// The place of a chunk in the grid.
type At = (u64, u64);
/// A chunk that is read once for all who ask for it meanwhile.
type Kept = OnceCell<Chunk>;
/// Entries column by column; `None` where there is no such chunk.
type Chunk = Option<Arc<Vec<f64>>>;

impl ForeignArray {
    /// An array whose metadata were read.
    pub(in super::super) fn new(place: Place, form: Foreign, objects: Objects) -> Self {
        Self {
            place,
            form: Arc::new(form),
            objects,
            kept: Mutex::default(),
        }
    }

    /// How it is laid out.
    pub(in super::super) fn form(&self) -> &Foreign {
        &self.form
    }

    /// Reads the `rows` x `cols` part whose first entry is (`row0`, `col0`), column-major, out of all chunks
    /// that it overlaps; one that is not there is the fill value.
    ///
    /// # Errors
    /// The place cannot be read, or a chunk is damaged.
    ///
    /// # Panics
    /// The part lies outside the array.
    pub(in super::super) async fn read_part(
        &self,
        (row0, col0): (u64, u64),
        rows: usize,
        cols: usize,
    ) -> Result<(BlockBuf, Moved), InputError> {
        assert_inside(self.form.shape, row0, col0, rows, cols, rows * cols);
        let (chunk_rows, chunk_cols) = self.form.chunk;
        let mut tile = BlockBuf::zeroed(rows * cols * 8);
        let mut moved = Moved::default();
        for (j, col, width, to_col) in overlaps(col0, cols, chunk_cols) {
            for (i, row, height, to_row) in overlaps(row0, rows, chunk_rows) {
                let part = Part {
                    from: (row, col),
                    to: (to_row, to_col),
                    rows: height,
                    cols: width,
                };
                let is_whole = self.covers((i, j), part);
                let (chunk, more) = self.chunk((i, j), is_whole).await?;
                moved += more;
                let form = Arc::clone(&self.form);
                tile = blocking(move || {
                    copy(
                        &form,
                        chunk.as_ref().map(|chunk| chunk.as_slice()),
                        part,
                        tile.as_f64_mut(),
                        rows,
                    );
                    tile
                })
                .await;
            }
        }
        Ok((tile, moved))
    }

    /// Whether a part is all of a chunk that lies in the array.
    fn covers(&self, (i, j): At, part: Part) -> bool {
        let side = |at: u64, chunk: u64, whole: u64| chunk.min(whole - at * chunk);
        let (chunk, shape) = (self.form.chunk, self.form.shape);
        let whole = (side(i, chunk.0, shape.0), side(j, chunk.1, shape.1));
        (part.rows as u64, part.cols as u64) == whole
    }

    async fn chunk(&self, at: At, is_whole: bool) -> Result<(Chunk, Moved), InputError> {
        let bytes = self.form.chunk.0 as usize * self.form.chunk.1 as usize * 8;
        let slots = KEPT_BYTES_MAX / bytes;
        if is_whole || slots == 0 {
            return self.fetch(at).await;
        }
        let kept = self.slot(at, slots);
        let mut moved = Moved::default();
        let counted = &mut moved;
        let chunk = kept.get_or_try_init(|| async move {
            let (chunk, more) = self.fetch(at).await?;
            *counted = more;
            Ok::<_, InputError>(chunk)
        });
        let chunk = chunk.await?.clone();
        Ok((chunk, moved))
    }

    /// Where a chunk is kept, in place of the one that was asked for the longest ago.
    fn slot(&self, at: At, slots: usize) -> Arc<Kept> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.iter().position(|(of, _)| *of == at);
        let entry = found.and_then(|place| kept.remove(place));
        let (_, slot) = entry.unwrap_or_default();
        kept.push_back((at, Arc::clone(&slot)));
        if kept.len() > slots {
            kept.pop_front();
        }
        slot
    }

    async fn fetch(&self, at: At) -> Result<(Chunk, Moved), InputError> {
        let key = self.form.key(at);
        let read = self.objects.get(&key, self.form.codecs.stored_bytes_max());
        let Some(stored) = read
            .await
            .map_err(|source| cannot_read(&self.place, source))?
        else {
            return Ok((None, Moved::default()));
        };
        let moved = Moved::once(stored.len() as u64);
        let form = Arc::clone(&self.form);
        let decoded = blocking(move || form.codecs.decode(&stored, form.fill)).await;
        let entries = decoded.map_err(|error| InputError::Chunk {
            place: self.place.to_string(),
            chunk: key,
            reason: error.to_string(),
        })?;
        Ok((Some(Arc::new(entries)), moved))
    }
}

/// Copies a part of a chunk into a column-major tile with leading dimension `ld`.
fn copy(form: &Foreign, chunk: Option<&[f64]>, part: Part, tile: &mut [f64], ld: usize) {
    let chunk_rows = form.chunk.0 as usize;
    for j in 0..part.cols {
        let to = &mut tile[(part.to.1 + j) * ld + part.to.0..][..part.rows];
        match chunk {
            Some(entries) => {
                let from = (part.from.1 + j) * chunk_rows + part.from.0;
                to.copy_from_slice(&entries[from..][..part.rows]);
            }
            None => to.fill(form.fill),
        }
    }
}
