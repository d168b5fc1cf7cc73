//! Workers that must leave: near the end of their time, or not needed any more. Each is replaced
//! while it still serves, and stays until others keep the blocks that only it kept. Decides what is
//! given to whom; never moves a byte.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use peerwren_transports::block::BlockKey;

use super::super::{Timestamp, WorkerId};
use super::Scheduler;
use crate::control::{InputHint, StoreReason, ToWorker};
use crate::options::Exchange;
use crate::trace::RunEvent;

/// Blocks that one worker gives to others at a time: two on their way hide each other's latency, the
/// others wait at the taker behind what its tasks need.
const TAKES_MAX: usize = 8;
/// Longest time that a worker may ask for: a day.
const LEAVING_MAX: Duration = Duration::from_secs(24 * 3600);

/// A worker that is to leave.
#[derive(Debug)]
pub(super) struct Retiring {
    /// From then on what nobody has taken goes to the store.
    store_at: Timestamp,
    is_storing: bool,
    /// When it is told to stop at the latest.
    until: Timestamp,
    /// What only it keeps, and what is being done about it.
    left: BTreeMap<BlockKey, Handover>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Handover {
    Waiting,
    Taking(WorkerId),
    Storing,
}

impl Retiring {
    /// One that was not needed and had time has less of it now.
    fn hurry(&mut self, now: Timestamp, span: Duration) {
        self.store_at = self.store_at.min(now.after(span / 2));
        self.until = self.until.min(now.after(span * 9 / 10));
    }

    /// When [`Scheduler::retire_in_time`] is wanted.
    pub(super) fn timeout(&self) -> (Timestamp, &'static str) {
        if self.is_storing {
            (self.until, "a worker leaves")
        } else {
            (self.store_at, "blocks of a worker that leaves")
        }
    }
}

impl Scheduler {
    /// `worker` must leave in `span`: its slot gets another one at once.
    pub(super) fn leaving(&mut self, now: Timestamp, worker: WorkerId, span: Duration) {
        let Some(member) = self.fleet.get(worker) else {
            return;
        };
        let slot = member.slot;
        if let Some(retiring) = self.retiring.get_mut(&worker) {
            retiring.hurry(now, span);
            self.settle(now, worker);
            return;
        }
        if !member.is_joined() {
            return;
        }
        // One that had nothing to do says nothing about the time that tasks take.
        if !member.leases.is_empty() && member.tally.tasks == 0 {
            self.fleet.left_early();
        }
        if !self.fleet.may_replace() {
            self.fail(
                "workers have to leave before they finish a task: give them more time (a longer \
                 time-out of the function) or less to do (a smaller --block)"
                    .to_owned(),
            );
            return;
        }
        self.fleet.unseat(worker);
        if self.refill(now, slot) {
            self.counted.replaced += 1;
        }
        self.retire(now, worker, span);
        if self.preloading.remove(&worker) && self.preloading.is_empty() {
            self.start_phase(now, 0);
        }
        self.dispatch(now);
    }

    /// Gives `worker` no more tasks and lets it go when nothing is only there, within `span`.
    pub(super) fn retire(&mut self, now: Timestamp, worker: WorkerId, span: Duration) {
        let span = span.min(LEAVING_MAX);
        self.note(|| RunEvent::Leaving(worker));
        self.fleet.unseat(worker);
        let retiring = Retiring {
            store_at: now.after(span / 2),
            is_storing: false,
            // What it is told takes a moment to arrive.
            until: now.after(span * 9 / 10),
            left: BTreeMap::new(),
        };
        self.retiring.insert(worker, retiring);
        let backlog = self.fleet.get_mut(worker).map(|member| {
            member.backlog_flops = 0;
            std::mem::take(&mut member.backlog)
        });
        for (_, _, task) in backlog.into_iter().flatten() {
            self.place(task);
        }
        self.look_for_last_copies(now);
    }

    /// Acts on time that has passed for those who are to leave.
    pub(super) fn retire_in_time(&mut self, now: Timestamp) {
        let all: Vec<_> = self.retiring.keys().copied().collect();
        for worker in all {
            let Some(retiring) = self.retiring.get_mut(&worker) else {
                continue;
            };
            if now >= retiring.until {
                self.dismiss(now, worker);
            } else if now >= retiring.store_at && !retiring.is_storing {
                retiring.is_storing = true;
                self.settle(now, worker);
            }
        }
    }

    /// Who is there has changed: looks again for what is kept by nobody but those who are to leave.
    pub(super) fn look_for_last_copies(&mut self, now: Timestamp) {
        if self.retiring.is_empty() {
            return;
        }
        for (key, entry) in self.directory.iter() {
            let needed =
                entry.readers_left > 0 || self.pending.contains(key) || self.checkpoints.wants(key);
            if needed
                && !entry.durable
                && let Some(keeper) = entry.holders.first()
                && let Some(retiring) = self.retiring.get_mut(keeper)
            {
                retiring.left.entry(*key).or_insert(Handover::Waiting);
            }
        }
        let all: Vec<_> = self.retiring.keys().copied().collect();
        for worker in all {
            self.settle(now, worker);
        }
    }

    /// `worker` has made blocks; if it is to leave they must be kept elsewhere.
    pub(super) fn must_give_away(
        &mut self,
        worker: WorkerId,
        keys: impl Iterator<Item = BlockKey>,
    ) {
        if let Some(retiring) = self.retiring.get_mut(&worker) {
            retiring
                .left
                .extend(keys.map(|key| (key, Handover::Waiting)));
        }
    }

    /// `taker` keeps blocks from now on, and has no room for others.
    pub(super) fn taken(
        &mut self,
        now: Timestamp,
        taker: WorkerId,
        keys: &[BlockKey],
        refused: &[BlockKey],
    ) {
        for &key in keys {
            // What nobody has made, nobody has.
            if self.directory.get(&key).is_none() {
                continue;
            }
            self.holds(key, taker);
            if self.settings.exchange == Exchange::Peer
                && let Some(entry) = self.directory.get_mut(&key)
            {
                entry.keep(taker);
            }
        }
        let mut givers = BTreeSet::new();
        for (&giver, retiring) in &mut self.retiring {
            for key in keys.iter().chain(refused) {
                if let Some(state) = retiring.left.get_mut(key)
                    && *state == Handover::Taking(taker)
                {
                    givers.insert(giver);
                    // Who has no room now will have none for the next one either.
                    if refused.contains(key) {
                        *state = Handover::Waiting;
                        retiring.is_storing = true;
                    }
                }
            }
        }
        for giver in givers {
            self.settle(now, giver);
        }
        self.dispatch(now);
    }

    /// Does what can be done now for a worker that is to leave: has its blocks taken or stored, and
    /// lets it go when nothing is left.
    pub(super) fn settle(&mut self, now: Timestamp, worker: WorkerId) {
        let Some(mut retiring) = self.retiring.remove(&worker) else {
            return;
        };
        retiring.left.retain(|key, _| {
            let entry = self.directory.get(key);
            entry.is_some_and(|entry| {
                let needed = entry.readers_left > 0
                    || self.pending.contains(key)
                    || self.checkpoints.wants(key);
                needed && !entry.durable && entry.holders.first() == Some(&worker)
            })
        });
        self.give_away(worker, &mut retiring);
        let is_free = retiring.left.is_empty()
            && self
                .fleet
                .get(worker)
                .is_none_or(|member| member.leases.is_empty());
        self.retiring.insert(worker, retiring);
        if is_free {
            self.dismiss(now, worker);
        }
    }

    /// Has what waits taken by others, a few blocks at a time, or stored.
    fn give_away(&mut self, worker: WorkerId, retiring: &mut Retiring) {
        let heir = self.heir(worker);
        let by_peers = self.settings.exchange == Exchange::Peer;
        let mut under_way = 0;
        for state in retiring.left.values_mut() {
            if let Handover::Taking(taker) = *state {
                if self.fleet.is_seated(taker) {
                    under_way += 1;
                } else {
                    *state = Handover::Waiting;
                }
            }
        }
        let mut store = Vec::new();
        let mut take: BTreeMap<WorkerId, Vec<InputHint>> = BTreeMap::new();
        for (key, state) in &mut retiring.left {
            if *state == Handover::Storing {
                continue;
            }
            if self.is_keeper(key, worker) {
                // It puts its results there without being told.
                *state = Handover::Storing;
            } else if retiring.is_storing || !by_peers {
                *state = Handover::Storing;
                store.push(*key);
            } else if *state == Handover::Waiting
                && under_way < TAKES_MAX
                && let Some(entry) = self.directory.get(key)
            {
                let mut seated = entry.holders.iter().filter(|id| self.fleet.is_seated(**id));
                let Some(taker) = seated.next().copied().or(heir) else {
                    continue;
                };
                under_way += 1;
                *state = Handover::Taking(taker);
                let others = entry.holders.iter().filter(|&&id| id != taker);
                take.entry(taker).or_default().push(InputHint {
                    key: *key,
                    digest: entry.digest,
                    holders: others.copied().collect(),
                    durable: false,
                });
            }
        }
        if !store.is_empty() {
            let (keys, reason) = (store, StoreReason::Handover);
            self.send(worker, ToWorker::Store { keys, reason });
        }
        for (taker, blocks) in take {
            self.send(taker, ToWorker::Take { blocks });
        }
    }

    /// Who takes what nobody else has: the one in its slot, once that has joined; where the slot
    /// stays empty, whoever its ranks belong to now.
    fn heir(&self, worker: WorkerId) -> Option<WorkerId> {
        let slot = self.fleet.get(worker)?.slot;
        match self.fleet.filler(slot) {
            Some(filler) => {
                Some(filler).filter(|&id| self.fleet.get(id).is_some_and(|m| m.is_joined()))
            }
            None => self.fleet.owner(i64::from(slot)),
        }
    }

    /// Lets a worker go. What it has not given away in time is lost.
    fn dismiss(&mut self, now: Timestamp, worker: WorkerId) {
        self.retiring.remove(&worker);
        self.send(worker, ToWorker::Stop);
        let Some(member) = self.fleet.dismiss(worker) else {
            return;
        };
        self.note(|| RunEvent::Left {
            worker,
            is_lost: false,
        });
        self.do_without(worker, &member);
        self.dispatch(now);
        self.look_for_last_copies(now);
    }
}
