//! The bytes behind a worker's cache. The machine says what comes and goes; peers read what is here.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use peerwren_transports::block::{Block, BlockKey};
use peerwren_transports::quic::BlockSource;

use crate::machine::cache::Copy;

/// Shared by a worker's actor and its block server.
#[derive(Clone, Default)]
pub(crate) struct BlockTable(Arc<RwLock<HashMap<Copy, Block>>>);

impl BlockTable {
    pub(crate) fn insert(&self, copy: Copy, block: Block) {
        self.0.write().expect(UNPOISONED).insert(copy, block);
    }

    pub(crate) fn remove(&self, copy: &Copy) {
        self.0.write().expect(UNPOISONED).remove(copy);
    }

    pub(crate) fn block(&self, copy: &Copy) -> Option<Block> {
        self.0.read().expect(UNPOISONED).get(copy).cloned()
    }
}

impl BlockSource for BlockTable {
    fn get(&self, key: &BlockKey) -> Option<Block> {
        self.block(&Copy {
            key: *key,
            private: None,
        })
    }
}

/// Nothing that can panic runs while the lock is held.
const UNPOISONED: &str = "the table's lock is held for single map operations only";
