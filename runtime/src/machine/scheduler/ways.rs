//! How workers reach each other, and what is done for those that do not: a holder puts the block into
//! the store, and whoever reads it waits for that. Never looks for a path itself.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use peerwren_transports::block::BlockKey;
use peerwren_transports::punch::RETRY;

use super::super::{Timestamp, WorkerId};
use super::Scheduler;
use crate::control::{PeerWay, StoreReason, ToWorker};
use crate::plan::TaskId;

/// Pairs of workers by how they exchanged blocks last; pairs that never did are not among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WayCounts {
    /// By addresses of their own interfaces.
    pub local: u64,
    /// Through NATs.
    pub punched: u64,
    /// Through the store alone.
    pub store: u64,
}

impl WayCounts {
    fn count(&mut self, way: PeerWay) {
        match way {
            PeerWay::Local => self.local += 1,
            PeerWay::Punched => self.punched += 1,
            PeerWay::Store => self.store += 1,
        }
    }
}

/// What workers have said of their paths, and the blocks that go through the store for it.
#[derive(Debug, Default)]
pub(super) struct Ways {
    /// Each pair once, the lower id first.
    pairs: BTreeMap<(WorkerId, WorkerId), PairWay>,
    /// Pairs of which one is gone.
    gone: WayCounts,
    /// Blocks that a holder was asked to put into the store, and who.
    relayed: BTreeMap<BlockKey, WorkerId>,
}

/// What a pair has said, and when.
#[derive(Clone, Copy, Debug)]
struct PairWay {
    way: PeerWay,
    since: Timestamp,
    said_by: WorkerId,
}

impl Ways {
    pub(super) fn set(&mut self, now: Timestamp, one: WorkerId, other: WorkerId, way: PeerWay) {
        let said = PairWay {
            way,
            since: now,
            said_by: one,
        };
        let pair = self.pairs.entry(pair(one, other)).or_insert(said);
        // A node without a NAT is reached at an address of its own: only its peer sees that there is one.
        let punched = pair.way == PeerWay::Punched && way == PeerWay::Local && pair.said_by != one;
        if !punched {
            *pair = said;
        }
    }

    pub(super) fn left(&mut self, worker: WorkerId) {
        let of_it = |(one, other): &(WorkerId, WorkerId)| *one == worker || *other == worker;
        for (_, pair) in self.pairs.extract_if(.., |pair, _| of_it(pair)) {
            self.gone.count(pair.way);
        }
    }

    pub(super) fn counts(&self) -> WayCounts {
        let mut counts = self.gone;
        for pair in self.pairs.values() {
            counts.count(pair.way);
        }
        counts
    }

    /// Whether it is worth while for `one` to ask `other`: after a while, also where it failed.
    pub(super) fn reaches(&self, now: Timestamp, one: WorkerId, other: WorkerId) -> bool {
        match self.pairs.get(&pair(one, other)) {
            Some(pair) if pair.way == PeerWay::Store => now.since(pair.since) >= RETRY,
            _ => true,
        }
    }

    /// Whether whoever reads a block has to wait until the store has it.
    pub(super) fn is_relayed(&self, key: &BlockKey) -> bool {
        self.relayed.contains_key(key)
    }

    /// The store has a block, or nobody will put it there; whether it was waited for.
    pub(super) fn relayed(&mut self, key: &BlockKey) -> bool {
        self.relayed.remove(key).is_some()
    }
}

fn pair(one: WorkerId, other: WorkerId) -> (WorkerId, WorkerId) {
    (one.min(other), one.max(other))
}

impl Scheduler {
    /// Whether a task cannot start at `worker` since it reaches no holder of an input and the store
    /// does not have it; then that is mended, and the task is ready again when it is.
    pub(super) fn relays_inputs(
        &mut self,
        now: Timestamp,
        worker: WorkerId,
        task: &TaskId,
    ) -> bool {
        let Some(ready) = self.ready.get(task) else {
            return false;
        };
        let is_cut_off = |key: &&BlockKey| {
            self.directory.get(key).is_some_and(|entry| {
                let has = |holder: &WorkerId| {
                    *holder == worker || self.ways.reaches(now, worker, *holder)
                };
                !entry.durable && !entry.holders.is_empty() && !entry.holders.iter().any(has)
            })
        };
        let cut_off: Vec<_> = ready.inputs.iter().filter(is_cut_off).copied().collect();
        if cut_off.is_empty() {
            return false;
        }
        self.ready.remove(task);
        for key in cut_off {
            self.relay(key);
        }
        true
    }

    /// Has a holder put a block into the store for those that do not reach it.
    pub(super) fn relay(&mut self, key: BlockKey) {
        let entry = self.directory.get(&key).filter(|entry| !entry.durable);
        let Some(&holder) = entry.and_then(|entry| entry.holders.first()) else {
            return;
        };
        if let Entry::Vacant(vacant) = self.ways.relayed.entry(key) {
            vacant.insert(holder);
            let (keys, reason) = (vec![key], StoreReason::Relay);
            self.send(holder, ToWorker::Store { keys, reason });
        }
    }

    /// `worker` does not hold `key` any more: if it was to put it into the store, another does.
    pub(super) fn relay_instead_of(&mut self, worker: WorkerId, key: &BlockKey) {
        if self.ways.relayed.get(key) == Some(&worker) {
            self.ways.relayed.remove(key);
            self.relay(*key);
        }
    }

    /// `worker` is gone.
    pub(super) fn relay_all_instead_of(&mut self, worker: WorkerId) {
        let relayed = self.ways.relayed.iter();
        let orphans: Vec<_> = relayed
            .filter(|(_, holder)| **holder == worker)
            .map(|(key, _)| *key)
            .collect();
        for key in orphans {
            self.relay_instead_of(worker, &key);
        }
    }
}
