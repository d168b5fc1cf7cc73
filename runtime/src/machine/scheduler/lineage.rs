//! What becomes of blocks: made, read for the last time, durable, dropped, lost, and what must run
//! again for a lost one to exist. Decides nothing about where tasks run.

use std::collections::BTreeMap;
use std::sync::Arc;

use peerwren_transports::block::{BlockKey, Digest};

use super::super::directory::Entry;
use super::super::{LeaseId, WorkerId};
use super::{Place, Scheduler};
use crate::control::{Made, Missed, StoreReason, ToWorker};
use crate::options::Exchange;
use crate::plan::{Plan, TaskId};
use crate::trace::RunEvent;

/// Results that are not durable yet, and who is to put each into the store.
#[derive(Debug, Default)]
pub(super) struct Pending {
    results: BTreeMap<BlockKey, (usize, Option<WorkerId>)>,
    /// How many of each phase.
    left: Vec<u64>,
}

impl Pending {
    /// All results of a plan. A block that is a result of two phases belongs to the first.
    pub(super) fn of(plan: &Plan) -> Self {
        let mut pending = Self {
            results: BTreeMap::new(),
            left: vec![0; plan.phase_count()],
        };
        for phase in 0..plan.phase_count() {
            for key in plan.results(phase).filter(|key| !plan.is_source(key)) {
                pending.insert(key, phase);
            }
        }
        pending
    }

    /// Whether all results up to a phase are durable.
    pub(super) fn is_none_up_to(&self, phase: usize) -> bool {
        self.left[..=phase].iter().all(|&left| left == 0)
    }

    fn insert(&mut self, key: BlockKey, phase: usize) {
        if self.results.insert(key, (phase, None)).is_none() {
            self.left[phase] += 1;
        }
    }

    pub(super) fn remove(&mut self, key: &BlockKey) {
        if let Some((phase, _)) = self.results.remove(key) {
            self.left[phase] -= 1;
        }
    }

    pub(super) fn contains(&self, key: &BlockKey) -> bool {
        self.results.contains_key(key)
    }
}

impl Scheduler {
    // ---- what is there

    /// `worker` has read `key` for a task that is now finished.
    pub(super) fn was_read(&mut self, key: BlockKey, worker: WorkerId) {
        let Some(entry) = self.directory.get_mut(&key) else {
            return;
        };
        entry.readers_left = entry.readers_left.saturating_sub(1);
        entry.coming.retain(|&other| other != worker);
        let left = entry.readers_left;
        self.holds(key, worker);
        if left == 0 && !self.pending.contains(&key) && !self.checkpoints.wants(&key) {
            self.died(&key);
        }
    }

    /// Nobody needs `key` any more: whoever holds it is told so.
    pub(super) fn died(&mut self, key: &BlockKey) {
        self.note(|| RunEvent::Dead(*key));
        let holders = self
            .directory
            .get(key)
            .map_or(&[][..], |entry| &entry.holders);
        for holder in holders {
            if let Some(member) = self.fleet.get_mut(*holder) {
                member.dead.push(*key);
            }
        }
        self.forget(key);
    }

    /// Learns what a block's bytes hash to, where a worker tells it; false if they were others before.
    pub(super) fn is_as_made(&mut self, key: &BlockKey, digest: Option<Digest>) -> bool {
        let known = self.directory.get_mut(key).zip(digest);
        known.is_none_or(|(entry, digest)| *entry.digest.get_or_insert(digest) == digest)
    }

    /// A block exists; its unfinished readers go to `next`.
    pub(super) fn was_made(&mut self, worker: WorkerId, block: &Made, next: &mut Vec<TaskId>) {
        let key = block.key;
        let first = next.len();
        self.plan.readers(&key, next);
        let mut at = first;
        while at < next.len() {
            if self.done.contains(&next[at]) {
                next.swap_remove(at);
            } else {
                at += 1;
            }
        }
        let readers_left = u32::try_from(next.len() - first).unwrap_or(u32::MAX);
        let bytes = self.plan.bytes(&key);
        self.directory.entry(key, || Entry::new(bytes));
        if !self.is_as_made(&key, block.digest) {
            self.fail(format!(
                "{worker} computed other bits for block {key} than were computed before: the workers' \
                 CPUs differ; run on machines of one kind"
            ));
            return;
        }
        let Some(entry) = self.directory.get_mut(&key) else {
            return;
        };
        entry.bytes = block.bytes.min(bytes);
        entry.readers_left = readers_left;
        if self.settings.exchange != Exchange::Store {
            entry.hold(worker);
        }
        if block.durable {
            entry.put(self.leases.granted());
            self.pending.remove(&key);
        }
        match self.pending.results.get_mut(&key) {
            Some((_, keeper)) => *keeper = Some(worker),
            None if readers_left == 0 => {
                if let Some(member) = self.fleet.get_mut(worker) {
                    member.dead.push(key);
                }
            }
            None => {}
        }
    }

    /// `worker` has `key` in its cache.
    pub(super) fn holds(&mut self, key: BlockKey, worker: WorkerId) {
        if self.settings.exchange == Exchange::Store {
            return;
        }
        let was_available = self.directory.is_available(&key);
        self.entry_of(key).hold(worker);
        if !was_available {
            self.is_back(&key);
        }
    }

    /// The store has `key`.
    pub(super) fn durable(&mut self, key: BlockKey) {
        if self.checkpoints.sweeps(&key) {
            // What was put may be deleted: it is put again, until that is over.
            if self.ways.relayed(&key) {
                self.relay(key);
            }
            return;
        }
        self.pending.remove(&key);
        let was_relayed = self.ways.relayed(&key);
        let was_available = self.directory.is_available(&key) && !was_relayed;
        let Some(entry) = self.directory.get_mut(&key) else {
            return;
        };
        entry.put(self.leases.granted());
        if !was_available {
            self.is_back(&key);
        }
        self.was_put(&key);
    }

    /// A block that was nowhere is somewhere: whoever waited for it to be made again need not.
    fn is_back(&mut self, key: &BlockKey) {
        let mut readers = Vec::new();
        self.plan.readers(key, &mut readers);
        for task in readers {
            self.consider(task);
        }
    }

    /// Blocks have left a worker's cache.
    pub(super) fn dropped(&mut self, worker: WorkerId, keys: &[BlockKey]) {
        for key in keys {
            if self.directory.drop_holder(key, worker) {
                self.mourn(*key);
            } else {
                if self.is_keeper(key, worker) {
                    self.keep(*key);
                }
                self.put_instead_of(key, worker);
                self.relay_instead_of(worker, key);
                if self
                    .directory
                    .get(key)
                    .is_some_and(|entry| entry.readers_left == 0)
                {
                    self.forget(key);
                }
            }
        }
    }

    /// Forgets a block that nobody reads and nobody holds. One that the store has from among peers is
    /// remembered: lineage ends there. So is a result, for checkpoints name it.
    fn forget(&mut self, key: &BlockKey) {
        let by_peers = self.settings.exchange == Exchange::Peer;
        if let Some(entry) = self.directory.get(key)
            && entry.holders.is_empty()
            && !(entry.durable && by_peers && !self.plan.is_source(key))
            && !self.plan.is_result(key)
        {
            self.directory.remove(key);
        }
    }

    // ---- results that nobody puts into the store any more

    pub(super) fn is_keeper(&self, key: &BlockKey, worker: WorkerId) -> bool {
        self.pending
            .results
            .get(key)
            .is_some_and(|(_, keeper)| *keeper == Some(worker))
    }

    /// `worker` is gone: results that it was to put are put by others that hold them.
    pub(super) fn keep_instead_of(&mut self, worker: WorkerId) {
        let results = self.pending.results.iter();
        let orphans: Vec<_> = results
            .filter(|(_, (_, keeper))| *keeper == Some(worker))
            .map(|(key, _)| *key)
            .collect();
        for key in orphans {
            self.keep(key);
        }
    }

    /// Has a holder of a result put it into the store; without one, it will be made again.
    fn keep(&mut self, key: BlockKey) {
        let holder = self.directory.get(&key).and_then(|entry| {
            let stays = |worker: &&WorkerId| self.fleet.is_seated(**worker);
            let holders = &entry.holders;
            holders.iter().find(stays).or(holders.first()).copied()
        });
        if let Some((_, keeper)) = self.pending.results.get_mut(&key) {
            *keeper = holder;
            if let Some(worker) = holder {
                let keys = vec![key];
                let reason = StoreReason::Result;
                self.send(worker, ToWorker::Store { keys, reason });
            }
        }
    }

    // ---- what is lost

    /// A block could not be had by `worker`, under a lease, where it was said to be.
    pub(super) fn missed(&mut self, worker: WorkerId, lease: LeaseId, missed: &Missed) {
        let key = missed.key;
        if self.plan.is_source(&key) {
            return;
        }
        let Some(entry) = self.directory.get_mut(&key) else {
            return;
        };
        // Where a digest was told, so was a put: else whoever let the block go may have stored it, and is yet to
        // say so.
        let is_untold = entry.digest.is_none();
        // Nor has it the block itself, or it would not have looked for it.
        entry
            .holders
            .retain(|holder| *holder != worker && (is_untold || !missed.workers.contains(holder)));
        // It may have become durable only after the worker looked.
        let is_lost = entry.durable && missed.store && entry.was_put_before(lease);
        let is_lost_result = is_lost && self.plan.is_result(&key);
        entry.durable &= !is_lost;
        if is_lost {
            self.was_lost(&key);
        }
        if is_lost_result && let Some(writer) = self.plan.writer(&key) {
            self.pending.insert(key, usize::from(writer.phase));
        }
        if !self.directory.is_available(&key) {
            self.mourn(key);
        } else if is_lost_result {
            self.keep(key);
        }
        if is_untold || !missed.unreachable.is_empty() {
            self.relay(key);
        }
    }

    /// `key` is nowhere: if somebody still needs it, it is made again.
    pub(super) fn mourn(&mut self, key: BlockKey) {
        self.was_lost(&key);
        self.ways.relayed(&key);
        let needed = self.pending.contains(&key)
            || self
                .directory
                .get(&key)
                .is_some_and(|entry| entry.readers_left > 0);
        if !needed {
            self.directory.remove(&key);
            return;
        }
        self.note(|| RunEvent::Lost(key));
        let mut readers = Vec::new();
        self.plan.readers(&key, &mut readers);
        for task in readers {
            self.withdraw(task);
        }
        self.ensure(key);
    }

    /// Reopens what must run again for `key` to exist.
    fn ensure(&mut self, key: BlockKey) {
        let plan = Arc::clone(&self.plan);
        let mut wanted = vec![key];
        while let Some(key) = wanted.pop() {
            if plan.is_source(&key) || self.directory.is_available(&key) {
                continue;
            }
            let Some(writer) = plan.writer(&key) else {
                continue;
            };
            if !self.done.remove(&writer) {
                continue;
            }
            self.reopened.insert(writer);
            self.note(|| RunEvent::Reopened {
                task: writer,
                block: key,
            });
            for input in plan.inputs(&writer) {
                match self.directory.get_mut(&input) {
                    Some(entry) => entry.readers_left += 1,
                    None => {
                        self.entry_of(input);
                    }
                }
                wanted.push(input);
            }
            self.consider(writer);
        }
    }

    /// The entry of a block, with its unfinished readers counted if it is new.
    pub(super) fn entry_of(&mut self, key: BlockKey) -> &mut Entry {
        let (plan, done) = (&self.plan, &self.done);
        self.directory.entry(key, || {
            let mut readers = Vec::new();
            plan.readers(&key, &mut readers);
            let left = readers.iter().filter(|task| !done.contains(task)).count();
            Entry {
                durable: plan.is_source(&key),
                readers_left: u32::try_from(left).unwrap_or(u32::MAX),
                ..Entry::new(plan.bytes(&key))
            }
        })
    }

    /// Takes a task that no worker has been told of back to waiting.
    fn withdraw(&mut self, task: TaskId) {
        let Some(ready) = self.ready.get(&task) else {
            return;
        };
        match ready.place {
            Place::Leased => return,
            Place::Nowhere => {
                self.homeless.remove(&ready.rank);
            }
            Place::Backlog(worker) => {
                if let Some(member) = self.fleet.get_mut(worker)
                    && member.backlog.remove(&ready.rank)
                {
                    member.backlog_flops -= ready.flops;
                }
            }
        }
        self.ready.remove(&task);
    }
}
