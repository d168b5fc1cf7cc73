//! Where blocks rest beyond their worker: one interface, one conformance suite, several backends.
//!
//! A block is written whole or not at all, under a name that never gets another block; putting it
//! twice is no error. A store never knows which blocks are needed, and never caches.

mod file;
mod memory;

use std::io;
use std::path::PathBuf;

pub use file::FileStore;
pub use memory::MemoryStore;

use crate::block::{Block, BlockKey};

/// A store of blocks. Cheap to clone: clones are the same store.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum BlockStore {
    /// Blocks in this process's memory.
    Memory(MemoryStore),
    /// Blocks as files in a folder.
    File(FileStore),
}

impl BlockStore {
    /// Reads a block of `expected_len` bytes; `None` where there is none by that name. A block of
    /// another length is an error; its digest is the caller's to check.
    pub async fn get(
        &self,
        key: &BlockKey,
        expected_len: usize,
    ) -> Result<Option<Block>, StoreError> {
        match self {
            Self::Memory(store) => store.get(key, expected_len),
            Self::File(store) => store.get(key, expected_len).await,
        }
    }

    /// Writes a block. When this returns, every reader finds it; until then, none or the whole.
    pub async fn put(&self, key: &BlockKey, block: &Block) -> Result<(), StoreError> {
        match self {
            Self::Memory(store) => store.put(key, block),
            Self::File(store) => store.put(key, block).await,
        }
    }

    /// Lists the run's blocks, in the order of their keys.
    pub async fn list(&self, run: u64) -> Result<Vec<BlockKey>, StoreError> {
        match self {
            Self::Memory(store) => Ok(store.list(run)),
            Self::File(store) => store.list(run).await,
        }
    }

    /// Deletes all that the run left, half-written blocks too. A run that left nothing is no
    /// error.
    pub async fn delete_run(&self, run: u64) -> Result<(), StoreError> {
        match self {
            Self::Memory(store) => {
                store.delete_run(run);
                Ok(())
            }
            Self::File(store) => store.delete_run(run).await,
        }
    }
}

/// Why a store could not do it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No room left: free some, or choose another store.
    #[error("no room left in the store {place}: {source}")]
    Full {
        /// The store's folder, or its name.
        place: String,
        /// What the system said.
        source: io::Error,
    },
    /// The folder cannot be used as a store: choose another, or mend its permissions.
    #[error("cannot use {folder} as a store: {source}")]
    Unusable {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What is stored is not the block that was put: write it again.
    #[error("{place} holds {got} bytes where the block has {expected}")]
    Length {
        /// Where the block is.
        place: String,
        /// The block's length in bytes.
        expected: usize,
        /// The stored length in bytes.
        got: u64,
    },
    /// Reading or writing failed.
    #[error("{place}: {source}")]
    Io {
        /// Where.
        place: String,
        /// What the system said.
        source: io::Error,
    },
}
