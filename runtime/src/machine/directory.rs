//! Where blocks are: who holds each, whether the store does, and how many unfinished tasks still
//! read it. Never decides what is to be done about a lost block.

use std::collections::BTreeMap;

use peerwren_transports::block::{BlockKey, Digest};

use super::WorkerId;

/// What is known of one block.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Bytes of payload.
    pub bytes: u64,
    /// What its bytes hash to; inputs have none.
    pub digest: Option<Digest>,
    /// Workers that have it in their cache.
    pub holders: Vec<WorkerId>,
    /// Workers that were told to fetch it.
    pub coming: Vec<WorkerId>,
    /// Whether the store (or the run's input) has it.
    pub durable: bool,
    /// Unfinished tasks that read it.
    pub readers_left: u32,
}

/// All blocks that exist or are wanted.
#[derive(Debug, Default)]
pub struct Directory {
    entries: BTreeMap<BlockKey, Entry>,
}

impl Directory {
    /// What is known of `key`.
    #[must_use]
    pub fn get(&self, key: &BlockKey) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// The entry of `key`, made by `new` if there is none.
    pub fn entry(&mut self, key: BlockKey, new: impl FnOnce() -> Entry) -> &mut Entry {
        self.entries.entry(key).or_insert_with(new)
    }

    /// The entry of `key`, if there is one.
    pub fn get_mut(&mut self, key: &BlockKey) -> Option<&mut Entry> {
        self.entries.get_mut(key)
    }

    /// Whether somebody has the block's bytes.
    #[must_use]
    pub fn is_available(&self, key: &BlockKey) -> bool {
        self.entries.get(key).is_some_and(Entry::is_available)
    }

    /// Whether `worker` has the block or will have it without being told again.
    #[must_use]
    pub fn reaches(&self, key: &BlockKey, worker: WorkerId) -> bool {
        self.entries
            .get(key)
            .is_some_and(|entry| entry.holders.contains(&worker) || entry.coming.contains(&worker))
    }

    /// Takes `worker` off the holders of `key`; true if the block is now nowhere.
    pub fn drop_holder(&mut self, key: &BlockKey, worker: WorkerId) -> bool {
        let Some(entry) = self.entries.get_mut(key) else { return false };
        let before = entry.holders.len();
        entry.holders.retain(|&holder| holder != worker);
        before != entry.holders.len() && !entry.is_available()
    }

    /// Takes `worker` off all entries; returns the blocks that are now nowhere.
    pub fn drop_worker(&mut self, worker: WorkerId) -> Vec<BlockKey> {
        let mut lost = Vec::new();
        for (key, entry) in &mut self.entries {
            entry.coming.retain(|&other| other != worker);
            if entry.holders.contains(&worker) {
                entry.holders.retain(|&holder| holder != worker);
                if !entry.is_available() {
                    lost.push(*key);
                }
            }
        }
        lost
    }

    /// Forgets `key`.
    pub fn remove(&mut self, key: &BlockKey) {
        self.entries.remove(key);
    }

    /// Every block and what is known of it, in the order of keys.
    pub fn iter(&self) -> impl Iterator<Item = (&BlockKey, &Entry)> {
        self.entries.iter()
    }

    /// How many blocks are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no block is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl Entry {
    /// Whether somebody has the block's bytes.
    #[must_use]
    pub fn is_available(&self) -> bool {
        self.durable || !self.holders.is_empty()
    }

    /// Adds a holder once.
    pub fn hold(&mut self, worker: WorkerId) {
        self.coming.retain(|&other| other != worker);
        if !self.holders.contains(&worker) {
            self.holders.push(worker);
        }
    }
}
