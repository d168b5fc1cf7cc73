//! What becomes of blocks that a kernel has made: they stay in the cache, go to the store where they must, and the
//! coordinator is told. Never decides what is computed.

use peerwren_transports::block::{BlockKey, Digest};

use super::super::LeaseId;
use super::super::cache::Copy;
use super::{Job, Output, Ran, State, Worker};
use crate::control::{FromWorker, Kept, Made, StoreReason};
use crate::matrix::Moved;
use crate::options::{Durability, Exchange};
use crate::plan::TaskId;
use crate::trace::WorkerEvent;

impl Worker {
    /// A kernel ended: what it made is kept, and put into the store where it must be.
    pub(super) fn computed(
        &mut self,
        lease: LeaseId,
        result: Result<Vec<Output>, String>,
        ran: Ran,
    ) {
        let compute_ns = ran.compute_ns;
        self.computing -= 1;
        let Some(mut job) = self.jobs.remove(&lease) else {
            return;
        };
        let outputs = match result {
            Ok(outputs) => outputs,
            Err(error) => {
                self.last_words();
                self.send(FromWorker::Failed { lease, error });
                return;
            }
        };
        self.events.add(|| WorkerEvent::Ran {
            lease,
            thread: ran.thread,
            told_ns: job.told.as_nanos(),
            began_ns: ran.began.as_nanos(),
            took_ns: compute_ns,
            made: outputs.iter().map(|o| (o.key, o.digest, o.bytes)).collect(),
        });
        self.tally.tasks += 1;
        self.tally.compute_ns += compute_ns;
        self.pace.computed(compute_ns);
        self.tally.cache_hit += job.hit_bytes;
        job.compute_ns = compute_ns;
        self.cache.give_back(job.scratch_bytes);
        self.unpin(lease, &job);
        let through = self.settings.exchange != Exchange::Peer;
        for Output { key, digest, bytes } in outputs {
            let copy = self.copy(key, lease);
            job.made.push(Made {
                key,
                digest,
                bytes,
                durable: through,
            });
            self.made(copy, bytes);
            if let Some(reason) = self.stores_at_once(&key) {
                self.put(copy, reason);
            }
        }
        if through {
            job.state = State::Storing;
            self.jobs.insert(lease, job);
        } else {
            self.done(lease, job);
        }
    }

    /// Why a block is put into the store as soon as it is made, if it is.
    fn stores_at_once(&self, key: &BlockKey) -> Option<StoreReason> {
        if self.plan.is_result(key) {
            Some(StoreReason::Result)
        } else if self.settings.exchange != Exchange::Peer {
            Some(StoreReason::Exchange)
        } else {
            (self.settings.durability == Durability::All).then_some(StoreReason::All)
        }
    }

    /// Turns room that was taken for an output into the output, which may have fewer bytes. A task that
    /// runs again may find it here, or on its way here: then its bytes are the same.
    fn made(&mut self, copy: Copy, bytes: u64) {
        let taken = self.plan.bytes(&copy.key);
        self.dropped.remove(&copy.key);
        let Some(held) = self.cache.get_mut(&copy) else {
            self.cache.give_back(taken - bytes);
            self.cache.insert(copy, bytes, true);
            return;
        };
        held.spare = held.durable;
        self.cache.revive(&copy);
        self.cache.give_back(taken);
        self.cache.shrink(&copy, bytes);
        if let Some(ladder) = self.ladders.remove(&copy) {
            self.came(copy, ladder);
        }
    }

    /// Puts blocks into the store that nobody else will put there.
    pub(super) fn store(&mut self, keys: Vec<BlockKey>, reason: StoreReason) {
        let mut durable = Vec::new();
        for key in keys {
            let copy = Copy { key, private: None };
            match self.cache.get_mut(&copy) {
                Some(held) if held.durable && !reason.may_be_lost() && !held.storing => {
                    durable.push(key);
                }
                Some(held) if held.present => self.put(copy, reason),
                // The coordinator learns of it and asks another.
                _ => drop(self.dropped.insert(key)),
            }
        }
        if !durable.is_empty() {
            let counts = self.counts();
            let blocks = durable.into_iter().map(|key| Kept { key, digest: None });
            let blocks = blocks.collect();
            self.send(FromWorker::Durable { blocks, counts });
        }
    }

    /// Whether an output of a task is hashed where it was computed. One whose readers are all at its writer's home
    /// is expected to stay there, and is hashed by whoever sends or stores it after all: that takes a tenth of
    /// the time of a QR's updates. Where blocks are stored anyway, all are.
    #[must_use]
    pub fn is_to_be_hashed(&self, task: &TaskId, key: &BlockKey) -> bool {
        self.stores_at_once(key).is_some()
            || self.settings.durability != Durability::Outputs
            || !self.plan.stays_home(task, key)
    }

    /// Queues a copy for the store. One that the store is said to have is put again: who asks has
    /// not found it there.
    pub(super) fn put(&mut self, copy: Copy, reason: StoreReason) {
        if let Some(held) = self.cache.get_mut(&copy)
            && !held.storing
        {
            held.storing = true;
            self.store_queue.push_back((copy, reason));
        }
    }

    /// A put ended: the block is durable, and its task done if that was the last of its outputs.
    pub(super) fn stored(&mut self, copy: Copy, result: Result<(Moved, Digest), String>) {
        self.storing -= 1;
        let put = self.puts.remove(&copy);
        let (moved, digest) = match result {
            Ok(moved) => moved,
            Err(error) => {
                self.last_words();
                self.send(FromWorker::Broken { error });
                return;
            }
        };
        let Some(held) = self.cache.get_mut(&copy) else {
            return;
        };
        held.storing = false;
        held.durable = true;
        held.spare = true;
        if let Some((reason, began)) = put {
            self.events.add(|| WorkerEvent::Stored {
                key: copy.key,
                reason,
                began_ns: began.as_nanos(),
                ended_ns: self.now.as_nanos(),
                bytes: moved.bytes,
            });
        }
        self.tally.store_written += moved.bytes;
        self.tally.store_put += moved.requests;
        if self.plan.is_result(&copy.key) {
            self.tally.outputs_written += moved.bytes;
        }
        let waiting = self.jobs.iter().find(|(_, job)| {
            job.state == State::Storing && job.made.iter().any(|made| made.key == copy.key)
        });
        let Some((&lease, job)) = waiting else {
            let kept = Kept {
                key: copy.key,
                digest: Some(digest),
            };
            let (blocks, counts) = (vec![kept], self.counts());
            self.send(FromWorker::Durable { blocks, counts });
            return;
        };
        if !job.made.iter().any(|made| self.is_storing(made.key, lease))
            && let Some(job) = self.jobs.remove(&lease)
        {
            if self.settings.exchange == Exchange::Store {
                for made in &job.made {
                    self.drop_copy(self.copy(made.key, lease));
                }
            }
            self.done(lease, job);
        }
    }

    fn is_storing(&self, key: BlockKey, lease: LeaseId) -> bool {
        self.cache
            .get(&self.copy(key, lease))
            .is_some_and(|held| held.storing)
    }

    /// Tells the coordinator that a task is done.
    fn done(&mut self, lease: LeaseId, job: Job) {
        debug_assert_eq!(
            job.made.len(),
            job.outputs.len(),
            "a task makes all of its outputs"
        );
        if self.settings.exchange == Exchange::Cache {
            // The coordinator believes that a task's inputs are here when it is done; while its
            // outputs were put into the store some may have left, and been told of.
            let cache = &self.cache;
            let gone = job
                .inputs
                .iter()
                .filter(|&&key| cache.get(&Copy { key, private: None }).is_none());
            self.dropped.extend(gone);
        }
        let (dropped, counts) = (self.take_dropped(), self.counts());
        self.send(FromWorker::Done {
            lease,
            made: job.made,
            dropped,
            compute_ns: job.compute_ns,
            counts,
        });
    }
}
