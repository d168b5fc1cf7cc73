//! Where the durable blocks of a run lie: results that are Zarr arrays as chunks of theirs, all others in
//! the store. Never decides what is durable.

use std::sync::Arc;

use peerwren_transports::block::{Block, BlockKey};
use peerwren_transports::store::{BlockStore, StoreError};
use tokio::sync::OnceCell;

use crate::matrix::zarr::ZarrArray;
use crate::matrix::{InputError, Moved, OutputError};
use crate::plan::Plan;

/// The durable blocks of a run. Cheap to clone: clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct DurableBlocks {
    store: BlockStore,
    plan: Arc<Plan>,
    /// One for each of the plan's arrays, opened by the first who needs it.
    arrays: Arc<[OnceCell<ZarrArray>]>,
}

/// Why a durable block cannot be had or made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DurableError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Read(#[from] InputError),
    #[error(transparent)]
    Write(#[from] OutputError),
}

impl DurableError {
    /// Whether what lies there is not what was put: making it again mends that.
    pub(crate) fn is_damage(&self) -> bool {
        matches!(
            self,
            Self::Store(StoreError::Length { .. }) | Self::Read(InputError::Chunk { .. })
        )
    }
}

impl DurableBlocks {
    /// The blocks of a plan whose arrays somebody has created.
    pub(crate) fn new(store: BlockStore, plan: Arc<Plan>) -> Self {
        let arrays = plan.arrays().iter().map(|_| OnceCell::new()).collect();
        Self {
            store,
            plan,
            arrays,
        }
    }

    /// Makes the plan's arrays, without chunks, in place of what is there.
    ///
    /// # Errors
    /// A place cannot be written; then no array is left behind.
    pub(crate) async fn create_arrays(&self) -> Result<(), DurableError> {
        for ((place, layout), cell) in self.plan.arrays().iter().zip(self.arrays.iter()) {
            match ZarrArray::create(place, *layout).await {
                Ok(array) => drop(cell.set(array)),
                Err(error) => {
                    self.discard_arrays().await;
                    return Err(error.into());
                }
            }
        }
        Ok(())
    }

    /// Takes up the plan's arrays as another driver left them.
    ///
    /// # Errors
    /// A place cannot be written.
    pub(crate) async fn join_arrays(&self) -> Result<(), DurableError> {
        for number in 0..self.arrays.len() {
            self.array(number).await?;
        }
        Ok(())
    }

    /// Makes the arrays ones that open; the last thing a run does.
    ///
    /// # Errors
    /// A place cannot be written.
    pub(crate) async fn finish_arrays(&self) -> Result<(), DurableError> {
        for array in self.arrays.iter().filter_map(OnceCell::get) {
            array.finish().await?;
        }
        Ok(())
    }

    /// Removes the arrays of a run that failed.
    pub(crate) async fn discard_arrays(&self) {
        for array in self.arrays.iter().filter_map(OnceCell::get) {
            if let Err(error) = array.discard().await {
                tracing::warn!(%error, "chunks of an unfinished array are left");
            }
        }
    }

    /// Reads a durable block; `None` where there is none by that name.
    ///
    /// # Errors
    /// It cannot be read, or is not what was put.
    pub(crate) async fn get(&self, key: &BlockKey) -> Result<Option<(Block, Moved)>, DurableError> {
        let shape = self.plan.shape(key);
        if let Some(chunk) = self.plan.chunk_of(key) {
            let array = self.array(chunk.array).await?;
            return Ok(array.read(chunk.at, shape).await?);
        }
        let block = self.store.get(key, self.plan.block_len(key)).await?;
        Ok(block.map(|block| {
            let moved = Moved::once(block.len() as u64);
            (block, moved)
        }))
    }

    /// Writes a block. When this returns, every reader finds it; until then, none or the whole.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) async fn put(&self, key: &BlockKey, block: Block) -> Result<Moved, DurableError> {
        if let Some(chunk) = self.plan.chunk_of(key) {
            let array = self.array(chunk.array).await?;
            return Ok(array.write(chunk.at, self.plan.shape(key), block).await?);
        }
        self.store.put(key, &block).await?;
        Ok(Moved::once(block.len() as u64))
    }

    async fn array(&self, number: usize) -> Result<&ZarrArray, OutputError> {
        let (place, layout) = &self.plan.arrays()[number];
        self.arrays[number]
            .get_or_try_init(|| ZarrArray::join(place, *layout))
            .await
    }
}
