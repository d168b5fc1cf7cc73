//! Where blocks are: who holds each, whether the store does, and how many unfinished tasks still
//! read it. Never decides what is to be done about a lost block.

use std::collections::BTreeMap;

use peerwren_transports::block::{BlockKey, Digest};

use super::{LeaseId, WorkerId};

/// What is known of one block.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Bytes of payload.
    pub bytes: u64,
    /// What its bytes hash to; inputs have none.
    pub digest: Option<Digest>,
    /// Workers that have it in their cache. The first one keeps it: it made the block or took it over,
    /// and puts it into the store before it lets it go.
    pub holders: Vec<WorkerId>,
    /// Workers that were told to fetch it.
    pub coming: Vec<WorkerId>,
    /// Whether the store (or the run's input) has it.
    pub durable: bool,
    /// The newest lease when it became durable: who works under a later one finds it in the store.
    pub durable_since: LeaseId,
    /// Unfinished tasks that read it.
    pub readers_left: u32,
}

/// All blocks that exist or are wanted.
#[derive(Debug)]
pub struct Directory {
    /// Whether a block can be had from a worker that holds it, not from the store alone.
    by_peers: bool,
    entries: BTreeMap<BlockKey, Entry>,
}

impl Directory {
    /// A directory of nothing. `by_peers`: workers give blocks to each other.
    #[must_use]
    pub fn new(by_peers: bool) -> Self {
        Self {
            by_peers,
            entries: BTreeMap::new(),
        }
    }

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

    /// Whether every worker can have the block's bytes.
    #[must_use]
    pub fn is_available(&self, key: &BlockKey) -> bool {
        self.entries
            .get(key)
            .is_some_and(|entry| entry.is_available(self.by_peers))
    }

    /// Takes `worker` off the holders of `key`; true if the block is now nowhere.
    pub fn drop_holder(&mut self, key: &BlockKey, worker: WorkerId) -> bool {
        let Some(entry) = self.entries.get_mut(key) else {
            return false;
        };
        let before = entry.holders.len();
        entry.holders.retain(|&holder| holder != worker);
        before != entry.holders.len() && !entry.is_available(self.by_peers)
    }

    /// Takes `worker` off all entries; returns the blocks that are now nowhere.
    pub fn drop_worker(&mut self, worker: WorkerId) -> Vec<BlockKey> {
        let mut lost = Vec::new();
        for (key, entry) in &mut self.entries {
            entry.coming.retain(|&other| other != worker);
            if entry.holders.contains(&worker) {
                entry.holders.retain(|&holder| holder != worker);
                if !entry.is_available(self.by_peers) {
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
    /// A block of `bytes` that is nowhere and that nobody reads.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        Self {
            bytes,
            digest: None,
            holders: Vec::new(),
            coming: Vec::new(),
            durable: false,
            durable_since: LeaseId(0),
            readers_left: 0,
        }
    }

    fn is_available(&self, by_peers: bool) -> bool {
        self.durable || by_peers && !self.holders.is_empty()
    }

    /// Whether `worker` has the block or will have it without being told again.
    #[must_use]
    pub fn reaches(&self, worker: WorkerId) -> bool {
        self.holders.contains(&worker) || self.coming.contains(&worker)
    }

    /// Makes a holder the one that keeps the block.
    pub fn keep(&mut self, worker: WorkerId) {
        self.coming.retain(|&other| other != worker);
        self.holders.retain(|&other| other != worker);
        self.holders.insert(0, worker);
    }

    /// The store has it; `granted` is the newest lease.
    pub fn put(&mut self, granted: LeaseId) {
        if !self.durable {
            self.durable_since = granted;
        }
        self.durable = true;
    }

    /// Whether it was durable when `lease` was granted.
    #[must_use]
    pub fn was_put_before(&self, lease: LeaseId) -> bool {
        lease > self.durable_since
    }

    /// Adds a holder once.
    pub fn hold(&mut self, worker: WorkerId) {
        self.coming.retain(|&other| other != worker);
        if !self.holders.contains(&worker) {
            self.holders.push(worker);
        }
    }
}
