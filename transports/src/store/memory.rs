//! A store in this process's memory, for the engine whose workers share it. Never copies a block.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::StoreError;
use crate::block::{Block, BlockKey};

/// Blocks in memory, up to a bound. Cheap to clone: clones are the same store.
#[derive(Clone, Debug)]
pub struct MemoryStore(Arc<Mutex<Held>>);

#[derive(Debug)]
struct Held {
    blocks: BTreeMap<BlockKey, Block>,
    bytes: usize,
    bytes_max: usize,
}

impl MemoryStore {
    /// Makes a store that holds up to `bytes_max` bytes of blocks.
    pub fn new(bytes_max: usize) -> Self {
        Self(Arc::new(Mutex::new(Held {
            blocks: BTreeMap::new(),
            bytes: 0,
            bytes_max,
        })))
    }

    /// Returns the bytes of all blocks held.
    pub fn bytes(&self) -> usize {
        self.held().bytes
    }

    pub(super) fn get(&self, key: &BlockKey, expected: usize) -> Result<Option<Block>, StoreError> {
        match self.held().blocks.get(key) {
            Some(block) if block.len() != expected => {
                let place = format!("block {key} in memory");
                Err(StoreError::Length {
                    place,
                    expected,
                    got: block.len() as u64,
                })
            }
            found => Ok(found.cloned()),
        }
    }

    pub(super) fn put(&self, key: &BlockKey, block: &Block) -> Result<(), StoreError> {
        let mut held = self.held();
        let replaced = held.blocks.get(key).map_or(0, Block::len);
        let bytes = held.bytes - replaced + block.len();
        if bytes > held.bytes_max {
            let limit = held.bytes_max;
            return Err(StoreError::Full {
                place: "in memory".to_owned(),
                source: io::Error::new(
                    io::ErrorKind::StorageFull,
                    format!("{bytes} bytes where at most {limit} are allowed"),
                ),
            });
        }
        held.bytes = bytes;
        let old = held.blocks.insert(*key, block.clone());
        drop(held);
        drop(old);
        Ok(())
    }

    pub(super) fn list(&self, run: u64) -> Vec<BlockKey> {
        let held = self.held();
        let of_run = held.blocks.keys().filter(|key| key.run == run);
        of_run.copied().collect()
    }

    pub(super) fn delete_run(&self, run: u64) {
        let mut held = self.held();
        let kept = std::mem::take(&mut held.blocks);
        let (deleted, kept) = kept
            .into_iter()
            .partition::<BTreeMap<_, _>, _>(|(key, _)| key.run == run);
        held.blocks = kept;
        held.bytes -= deleted.values().map(Block::len).sum::<usize>();
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
