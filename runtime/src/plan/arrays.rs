//! Results that become Zarr arrays: which chunk each tile is. Never writes one.

use peerwren_transports::block::{BlockKey, Indices};
use peerwren_transports::store::Place;
use rkyv::{Archive, Deserialize, Serialize};

use super::{Plan, PlanError};
use crate::matrix::zarr::{Layout, ZarrSpec};

/// An output that is kept when its phase is over.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Kept {
    /// Its name.
    pub output: String,
    /// The array whose chunks its tiles become; without one they are blocks of the store.
    pub array: Option<ZarrSpec>,
}

/// The chunk that a result becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkOf {
    /// The array, by its place in [`Plan::arrays`].
    pub array: usize,
    /// Row and column of the chunk.
    pub at: (u64, u64),
}

impl Plan {
    /// The arrays that results become, in the order of the phases.
    #[must_use]
    pub fn arrays(&self) -> &[(Place, Layout)] {
        &self.arrays
    }

    /// The chunk that a result becomes where it is durable; none for a block of the store.
    #[must_use]
    pub fn chunk_of(&self, key: &BlockKey) -> Option<ChunkOf> {
        self.chunks.get(key).copied()
    }

    /// Finds the chunk of each result of the newest phase that is to be an array.
    pub(super) fn place_results(&mut self) -> Result<(), PlanError> {
        let number = self.phases.len() - 1;
        let kept = self.phases[number].spec.results.clone();
        for (output, spec) in kept
            .iter()
            .filter_map(|kept| Some((&kept.output, kept.array.as_ref()?)))
        {
            let failed = |problem: String| PlanError::Array {
                file: self.phases[number].spec.file.clone(),
                output: output.clone(),
                problem,
            };
            let (place, layout) = spec.check().map_err(failed)?;
            let array = self.arrays.len();
            for (indices, key) in self.output(number, output) {
                let at = self.chunk_at(&indices, &key, &layout).ok_or_else(|| {
                    failed(format!(
                        "its tile {indices} of {} is no chunk",
                        self.shape(&key)
                    ))
                })?;
                if self.is_source(&key) || self.chunks.contains_key(&key) {
                    return Err(failed(format!(
                        "its tile {indices} is an input, or part of another array too; write it as .npy"
                    )));
                }
                self.chunks.insert(key, ChunkOf { array, at });
            }
            self.arrays.push((place, layout));
        }
        Ok(())
    }

    /// The chunk that begins where a tile does, if the tile lies in it.
    fn chunk_at(&self, indices: &Indices, key: &BlockKey, layout: &Layout) -> Option<(u64, u64)> {
        let (i, j) = match *indices.as_slice() {
            [i, j] => (i, j),
            [i] => (i, 0),
            _ => return None,
        };
        let (i, j) = (u64::try_from(i).ok()?, u64::try_from(j).ok()?);
        let (rows, cols) = self.shape(key).dense();
        let ((m, n), (chunk_rows, chunk_cols)) = (layout.shape(), layout.chunk());
        let fits = |at: u64, length: usize, chunk: u32, whole: u64| {
            length as u64 <= u64::from(chunk)
                && (at.checked_mul(chunk.into()))
                    .is_some_and(|first| first + length as u64 <= whole)
        };
        (fits(i, rows, chunk_rows, m) && fits(j, cols, chunk_cols, n)).then_some((i, j))
    }
}
