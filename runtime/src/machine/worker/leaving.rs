//! What a worker does when it must leave, and when it is to keep what another one leaves behind.
//! Never decides who leaves or who takes what.

use std::time::Duration;

use peerwren_transports::block::BlockKey;

use super::super::cache::Copy;
use super::super::{LeaseId, Timestamp};
use super::{Job, State, Worker};
use crate::control::{FromWorker, InputHint};

/// Share of the memory, one in so many, that stays free of others' blocks: the tasks' own.
const OWN_SHARE: u64 = 4;

/// Bytes a second at which blocks are given away, before any has come: 600 Mbit/s, a Lambda's card.
const SPEED_FIRST: f64 = 75e6;
/// For how long blocks must have been on their way before that is told from them.
const MEASURED_AFTER: Duration = Duration::from_secs(1);
/// What a replacement takes to be there, and what all takes longer than it should.
const START: Duration = Duration::from_secs(5);

/// What decides how early a worker must begin to leave.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Pace {
    /// Bytes that came from peers and the store.
    bytes: u64,
    /// The longest kernel so far.
    kernel: Duration,
}

impl Pace {
    /// A block came.
    pub(super) fn fetched(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// A kernel took so long.
    pub(super) fn computed(&mut self, nanos: u64) {
        self.kernel = self.kernel.max(Duration::from_nanos(nanos));
    }

    /// How long before its end a worker must begin to leave that has so many bytes to give away, where blocks
    /// were on their way to it for `busy`: a replacement starts, threads end the two tasks that they may have
    /// each, and by half of the time the heirs have the blocks, or else the store gets them in the other half.
    pub(super) fn notice(&self, bytes: u64, busy: Duration) -> Duration {
        let speed = if busy < MEASURED_AFTER {
            SPEED_FIRST
        } else {
            self.bytes as f64 / busy.as_secs_f64()
        };
        let moving = Duration::from_secs_f64((bytes as f64 / speed.max(1.0)).min(1e6));
        (START + moving).max(self.kernel) * 2
    }
}

impl Worker {
    /// The worker must be gone at `end`, and leaves in time before it.
    pub fn must_end(&mut self, end: Timestamp) {
        self.end = Some(end);
    }

    /// Begins to leave if the time that it takes is all that is left. At least half of what there was
    /// at first is for work.
    pub(super) fn leave_in_time(&mut self) {
        let Some(end) = self.end.filter(|_| !self.is_leaving) else {
            return;
        };
        let life = Duration::from_nanos(end.as_nanos());
        let busy = Duration::from_nanos(self.tally.fetch_ns + self.line.busy_ns(self.now));
        let notice = self.pace.notice(self.to_give_away(), busy);
        let notice = notice.min(life / 2);
        let left = end.since(self.now);
        // What is not due now would be late after the next look.
        if left <= notice + super::alive(&self.settings) {
            self.leave(left);
            self.advance();
        }
    }

    /// Bytes of blocks that only this worker has, or will when its threads are done.
    fn to_give_away(&self) -> u64 {
        let is_running = |job: &&Job| job.state == State::Computing;
        let making = self.jobs.values().filter(is_running);
        self.cache.kept() + making.map(|job| job.output_bytes).sum::<u64>()
    }

    /// Takes no more tasks and gives back those that are not in the threads yet.
    pub(super) fn leave(&mut self, span: Duration) {
        if std::mem::replace(&mut self.is_leaving, true) {
            return;
        }
        let until_ms = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        self.send(FromWorker::Leaving { until_ms });
        let begun = |state| matches!(state, State::Computing | State::Storing);
        let back: Vec<_> = self
            .jobs
            .iter()
            .filter(|(_, job)| !begun(job.state))
            .map(|(&lease, _)| lease)
            .collect();
        for lease in back {
            self.abandon(lease);
            self.hand_back(lease);
        }
        self.forget_fetches();
    }

    /// Gives a lease back, though nothing was missing.
    pub(super) fn hand_back(&mut self, lease: LeaseId) {
        self.send(FromWorker::Missing {
            lease,
            blocks: Vec::new(),
        });
    }

    /// Undoes all that was done for a task that has not begun to compute.
    pub(super) fn abandon(&mut self, lease: LeaseId) {
        let Some(job) = self.jobs.remove(&lease) else {
            return;
        };
        self.waiting.retain(|&other| other != lease);
        if job.state == State::Waiting {
            return;
        }
        self.ready.remove(&(self.use_of(&job.task), lease));
        for ladder in self.ladders.values_mut() {
            ladder.jobs.retain(|&other| other != lease);
        }
        self.unpin(lease, &job);
        self.cache.give_back(job.output_bytes + job.scratch_bytes);
    }

    /// Forgets what was to be fetched for tasks that are given back; what is on its way comes.
    fn forget_fetches(&mut self) {
        if self.preload_left.take().is_some() {
            self.preloaded.clear();
        }
        let idle: Vec<_> = self
            .ladders
            .iter()
            .filter(|(_, ladder)| ladder.at.is_none() && ladder.jobs.is_empty() && !ladder.is_kept)
            .map(|(&copy, _)| copy)
            .collect();
        for copy in idle {
            self.ladders.remove(&copy);
            self.cache.remove(&copy);
        }
    }

    /// Keeps blocks from now on as if they were made here: what is not here is fetched, as far as
    /// memory goes.
    pub(super) fn keep(&mut self, blocks: Vec<InputHint>) {
        let (mut taken, mut refused) = (Vec::new(), Vec::new());
        for hint in blocks {
            let key = hint.key;
            let copy = Copy { key, private: None };
            self.cache.revive(&copy);
            let is_coming = match self.cache.get_mut(&copy) {
                Some(held) if held.present => {
                    held.spare = held.durable;
                    taken.push(key);
                    continue;
                }
                held => held.is_some(),
            };
            if !is_coming {
                if self.is_leaving || !self.take_spare(&key) {
                    refused.push(key);
                    continue;
                }
                self.cache.insert(copy, self.plan.bytes(&key), false);
            }
            let (rungs, digest) = self.rungs_of(&hint);
            self.fetch(copy, rungs, digest, None);
            if let Some(ladder) = self.ladders.get_mut(&copy) {
                ladder.is_kept = true;
            }
        }
        if !taken.is_empty() || !refused.is_empty() {
            self.tell_taken(taken, refused);
        }
    }

    /// Takes room for a block, if that leaves the tasks theirs and puts nothing into the store.
    fn take_spare(&mut self, key: &BlockKey) -> bool {
        let (bytes, own) = (self.plan.bytes(key), self.cache.limit() / OWN_SHARE);
        self.cache.free() >= bytes + own && self.take(bytes, (u8::MAX, i64::MAX))
    }

    pub(super) fn tell_taken(&mut self, keys: Vec<BlockKey>, refused: Vec<BlockKey>) {
        let counts = self.counts();
        self.send(FromWorker::Taken {
            keys,
            refused,
            counts,
        });
    }
}
