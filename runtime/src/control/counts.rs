//! What a worker counts, as it travels with what it says. Data only.

use rkyv::{Archive, Deserialize, Serialize};

use crate::machine::WorkerId;
use crate::trace::WorkerEvent;

/// Where a block is fetched from.
#[derive(
    Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash,
)]
pub enum Origin {
    /// Another worker.
    Peer(WorkerId),
    /// The object store.
    Store,
    /// The run's input.
    Source,
}

/// What a block was fetched for.
#[derive(
    Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash,
)]
pub enum Purpose {
    /// A task; of several that waited for the block the first.
    Task {
        /// Its phase.
        phase: u8,
        /// Its statement.
        stmt: u16,
    },
    /// An input that was to be in the cache before the first task.
    Preload,
    /// A block of a worker that leaves.
    Handover,
}

/// Why a block is put into the store.
#[derive(
    Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash,
)]
pub enum StoreReason {
    /// It is a result.
    Result,
    /// Every block is durable.
    All,
    /// Blocks reach other workers through the store alone.
    Exchange,
    /// Others need its room, and it is still needed.
    Spill,
    /// It is part of a checkpoint.
    Checkpoint,
    /// A worker that wants it reaches nobody who has it.
    Relay,
    /// Its worker leaves, and no other one took it.
    Handover,
}

impl StoreReason {
    /// Whether the store may have lost what is asked for: it is put again then, also by who has put it
    /// before.
    #[must_use]
    pub fn may_be_lost(self) -> bool {
        matches!(self, Self::Result | Self::Relay)
    }
}

/// Blocks of one family that came to a worker from one place for one statement.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moves {
    /// What for.
    pub purpose: Purpose,
    /// Number of the family among the plan's.
    pub family: u16,
    /// Where from.
    pub origin: Origin,
    /// How many blocks.
    pub blocks: u64,
    /// Their payload.
    pub bytes: u64,
}

/// What a worker has counted: totals from its start on, and what moved since it last said so. A worker
/// that dies takes no more than its last counts with it.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All so far.
    pub tally: Tally,
    /// What came since the last counts, at most one entry for each statement, family and place: their sums
    /// are what the totals have grown by.
    pub moves: Vec<Moves>,
    /// What the worker did since the last counts; empty in a run that is not traced.
    pub events: Vec<WorkerEvent>,
    /// What the worker's clock shows, in nanoseconds.
    pub sent_ns: u64,
}

/// What a worker counts, from its start on. Bytes are payload.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Tasks finished.
    pub tasks: u64,
    /// Nanoseconds in kernels, over all threads.
    pub compute_ns: u64,
    /// Nanoseconds in which blocks were on their way here from peers or the store.
    pub fetch_ns: u64,
    /// Bytes read from the store, inputs included.
    pub store_read: u64,
    /// Bytes written to the store, results included.
    pub store_written: u64,
    /// Bytes received from other workers.
    pub peer: u64,
    /// Bytes of inputs found in the cache.
    pub cache_hit: u64,
    /// Bytes of the run's inputs read.
    pub inputs_read: u64,
    /// Bytes of results written.
    pub outputs_written: u64,
    /// Reads of the store.
    pub store_get: u64,
    /// Writes to the store.
    pub store_put: u64,
    /// Blocks received from other workers.
    pub peer_get: u64,
    /// Blocks asked of other workers in vain.
    pub peer_failed: u64,
    /// Requests to other workers that referred this one to a third.
    pub peer_referred: u64,
    /// Blocks from other workers that were not what had been made; each counts as asked in vain too.
    pub peer_wrong: u64,
    /// Bytes that blocks and scratch take now.
    pub cache_bytes: u64,
    /// The most that they ever took.
    pub cache_bytes_peak: u64,
}

impl Tally {
    /// The sum of two workers' counts; the peak is the larger one.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        self.each(other, u64::saturating_add)
    }

    /// What was counted since `earlier`; the peak is that of all the time.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        self.each(earlier, u64::saturating_sub)
    }

    fn each(&self, other: &Self, of: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            tasks: of(self.tasks, other.tasks),
            compute_ns: of(self.compute_ns, other.compute_ns),
            fetch_ns: of(self.fetch_ns, other.fetch_ns),
            store_read: of(self.store_read, other.store_read),
            store_written: of(self.store_written, other.store_written),
            peer: of(self.peer, other.peer),
            cache_hit: of(self.cache_hit, other.cache_hit),
            inputs_read: of(self.inputs_read, other.inputs_read),
            outputs_written: of(self.outputs_written, other.outputs_written),
            store_get: of(self.store_get, other.store_get),
            store_put: of(self.store_put, other.store_put),
            peer_get: of(self.peer_get, other.peer_get),
            peer_failed: of(self.peer_failed, other.peer_failed),
            peer_referred: of(self.peer_referred, other.peer_referred),
            peer_wrong: of(self.peer_wrong, other.peer_wrong),
            cache_bytes: self.cache_bytes,
            cache_bytes_peak: self.cache_bytes_peak.max(other.cache_bytes_peak),
        }
    }
}
