//! Where an input is fetched from: the cache, then peers, then the store; one fetch in flight a copy.

use std::collections::{BTreeSet, VecDeque};

use peerwren_transports::block::{BlockKey, Digest};

use super::super::cache::Copy;
use super::super::{LeaseId, Timestamp, WorkerId};
use super::{Action, FetchFailure, Origin, Worker};
use crate::control::{FromWorker, InputHint, Missed, Purpose};
use crate::matrix::Moved;
use crate::options::Exchange;
use crate::plan::TaskId;
use crate::trace::WorkerEvent;

/// How often a worker follows those that refer it to others for one copy: a tree that doubles at each step
/// has 256 nodes then.
const REFERRALS_MAX: u32 = 8;

/// Wrong blocks after which a worker is not asked again: what is damaged on the way never comes this far, so that
/// two may be bad memory, and more are not.
const WRONG_MAX: u32 = 3;

/// A place to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rung {
    pub(super) origin: Origin,
    /// To whom it referred this worker when it was asked before.
    pub(super) in_vain: Option<WorkerId>,
}

impl From<Origin> for Rung {
    fn from(origin: Origin) -> Self {
        Self {
            origin,
            in_vain: None,
        }
    }
}

/// A copy that is waited for.
#[derive(Debug)]
pub(super) struct Ladder {
    pub(super) rungs: VecDeque<Rung>,
    pub(super) tried: Vec<Origin>,
    /// Workers among `tried` that there is no path to.
    pub(super) unreachable: Vec<WorkerId>,
    pub(super) at: Option<Rung>,
    /// How often it was referred to somebody.
    pub(super) referrals: u32,
    /// Since when it is asked for there.
    pub(super) since: Timestamp,
    pub(super) digest: Option<Digest>,
    /// The task that was the first to wait for it; none for a preload or handover.
    pub(super) task: Option<TaskId>,
    /// Jobs that wait; none for a preload.
    pub(super) jobs: Vec<LeaseId>,
    /// Whether the copy is to be kept here, since nobody else will.
    pub(super) is_kept: bool,
}

impl Ladder {
    /// What the copy is fetched for.
    pub(super) fn purpose(&self) -> Purpose {
        match self.task {
            Some(TaskId { phase, stmt, .. }) => Purpose::Task { phase, stmt },
            None if self.is_kept => Purpose::Handover,
            None => Purpose::Preload,
        }
    }

    /// Puts the worker to which `by` refers first, and `by` behind it, which is not to refer again. A worker
    /// that has failed, or has itself referred this one elsewhere, is not asked for that.
    fn refer(&mut self, by: Origin, to: WorkerId) {
        let origin = Origin::Peer(to);
        let again = Rung {
            origin: by,
            in_vain: Some(to),
        };
        let has_referred = |rung: &Rung| rung.origin == origin && rung.in_vain.is_some();
        let is_known = self.tried.contains(&origin) || self.rungs.iter().any(has_referred);
        self.rungs.push_front(again);
        if !is_known && origin != by && self.referrals < REFERRALS_MAX {
            self.referrals += 1;
            self.rungs.retain(|rung| rung.origin != origin);
            self.rungs.push_front(origin.into());
        }
    }
}

/// When copies were on their way from peers or the store.
#[derive(Debug, Default)]
pub(super) struct Line {
    under_way: BTreeSet<Copy>,
    busy_since: Timestamp,
}

impl Line {
    pub(super) fn begins(&mut self, now: Timestamp, copy: Copy) {
        if self.under_way.is_empty() {
            self.busy_since = now;
        }
        self.under_way.insert(copy);
    }

    /// Nanoseconds for which the line has been busy until now, since it was idle last.
    pub(super) fn busy_ns(&self, now: Timestamp) -> u64 {
        if self.under_way.is_empty() {
            0
        } else {
            now.as_nanos().saturating_sub(self.busy_since.as_nanos())
        }
    }

    /// Nanoseconds for which the line was busy, once it is no longer.
    fn ends(&mut self, now: Timestamp, copy: &Copy) -> u64 {
        let idle = self.under_way.remove(copy) && self.under_way.is_empty();
        if idle {
            now.as_nanos().saturating_sub(self.busy_since.as_nanos())
        } else {
            0
        }
    }
}

impl Worker {
    /// A fetch ended: the copy is here, or the next rung is tried, or those who wait give up.
    pub(super) fn fetched(&mut self, copy: Copy, result: Result<Moved, FetchFailure>) {
        self.fetching -= 1;
        self.tally.fetch_ns += self.line.ends(self.now, &copy);
        let Some(mut ladder) = self.ladders.remove(&copy) else {
            // The block was made here in the meantime; perhaps it has left again.
            if result.is_ok() && self.cache.get(&copy).is_none() {
                self.actions.push_back(Action::Drop(copy));
            }
            return;
        };
        let rung = ladder.at.take();
        if let (Err(FetchFailure::Referred(to)), Some(by)) = (&result, rung)
            && by.in_vain.is_none()
        {
            return self.referred(copy, ladder, by.origin, *to);
        }
        let origin = rung.map(|rung| rung.origin);
        self.note_fetch(&copy.key, &ladder, origin, result.as_ref().ok(), None);
        match result {
            Ok(moved) => {
                self.count_fetch(&copy.key, ladder.purpose(), origin, moved);
                if origin != Some(Origin::Source) {
                    self.pace.fetched(moved.bytes);
                }
                if let Some(held) = self.cache.get_mut(&copy) {
                    held.spare = true;
                    held.durable = origin == Some(Origin::Store);
                }
                if !self.plan.shape(&copy.key).is_exact() {
                    self.cache.shrink(&copy, moved.bytes);
                }
                self.came(copy, ladder);
            }
            Err(FetchFailure::Fatal(error)) => {
                // Nobody climbs on: the run ends. Until then the room stays taken, and the copy is coming.
                self.ladders.insert(copy, ladder);
                self.last_words();
                self.send(FromWorker::Broken { error });
            }
            // Who was asked again is not to refer again.
            Err(failure) => {
                ladder.tried.extend(origin);
                if let Some(Origin::Peer(peer)) = origin {
                    self.tally.peer_failed += 1;
                    match failure {
                        FetchFailure::NoPath => ladder.unreachable.push(peer),
                        FetchFailure::Wrong => self.was_wrong(peer),
                        _ => {}
                    }
                }
                if ladder.rungs.is_empty() {
                    self.cache.remove(&copy);
                    if ladder.is_kept {
                        self.tell_taken(Vec::new(), vec![copy.key]);
                    }
                    for lease in std::mem::take(&mut ladder.jobs) {
                        self.give_up(lease, copy.key, &ladder);
                    }
                } else {
                    self.ladders.insert(copy, ladder);
                    self.fetch_queue.push_front(copy);
                }
            }
        }
    }

    /// Who was asked named another that has the block: that one is next.
    fn referred(&mut self, copy: Copy, mut ladder: Ladder, by: Origin, to: WorkerId) {
        self.tally.peer_referred += 1;
        self.note_fetch(&copy.key, &ladder, Some(by), None, Some(to));
        if self.is_distrusted(Origin::Peer(to)) {
            ladder.tried.push(Origin::Peer(to));
        }
        ladder.refer(by, to);
        self.ladders.insert(copy, ladder);
        self.fetch_queue.push_front(copy);
    }

    /// A worker sent other bytes than were made.
    fn was_wrong(&mut self, peer: WorkerId) {
        self.tally.peer_wrong += 1;
        let wrong = self.wrong.entry(peer).or_default();
        *wrong += 1;
        if *wrong == WRONG_MAX {
            tracing::warn!(%peer, "has sent {WRONG_MAX} wrong blocks and is not asked again");
        }
    }

    /// Whether it is a worker that has sent too many wrong blocks.
    fn is_distrusted(&self, origin: Origin) -> bool {
        let Origin::Peer(peer) = origin else {
            return false;
        };
        self.wrong
            .get(&peer)
            .is_some_and(|&wrong| wrong >= WRONG_MAX)
    }

    /// Whether anything moves for a block from there: not for a constant, which is made in place.
    fn is_moved(&self, key: &BlockKey, origin: Origin) -> bool {
        origin != Origin::Source || self.plan.is_input(key)
    }

    /// Notes how a fetch ended, but not that of a constant.
    fn note_fetch(
        &mut self,
        key: &BlockKey,
        ladder: &Ladder,
        origin: Option<Origin>,
        moved: Option<&Moved>,
        referred: Option<WorkerId>,
    ) {
        if let Some(origin) = origin.filter(|origin| self.is_moved(key, *origin)) {
            self.events.add(|| WorkerEvent::Fetched {
                key: *key,
                origin,
                purpose: ladder.purpose(),
                task: ladder.task,
                began_ns: ladder.since.as_nanos(),
                ended_ns: self.now.as_nanos(),
                bytes: moved.map(|moved| moved.bytes),
                referred,
            });
        }
    }

    /// The bytes of a copy that was waited for are here.
    pub(super) fn came(&mut self, copy: Copy, ladder: Ladder) {
        let key = copy.key;
        self.dropped.remove(&key);
        if let Some(held) = self.cache.get_mut(&copy) {
            held.present = true;
            if ladder.is_kept {
                held.spare = held.durable;
            }
        }
        if ladder.is_kept {
            self.tell_taken(vec![key], Vec::new());
        }
        if copy.private.is_some() && ladder.jobs.is_empty() {
            self.drop_copy(copy);
        }
        for lease in ladder.jobs {
            self.input_came(lease, &key);
        }
        if let Some(left) = &mut self.preload_left
            && left.remove(&key)
        {
            self.preloaded.push(key);
            self.preload_ended();
        }
    }

    fn count_fetch(
        &mut self,
        key: &BlockKey,
        purpose: Purpose,
        origin: Option<Origin>,
        moved: Moved,
    ) {
        let Some(origin) = origin.filter(|origin| self.is_moved(key, *origin)) else {
            return;
        };
        match origin {
            Origin::Peer(_) => {
                self.tally.peer += moved.bytes;
                self.tally.peer_get += moved.requests;
            }
            Origin::Store | Origin::Source => {
                self.tally.store_read += moved.bytes;
                self.tally.store_get += moved.requests;
                if origin == Origin::Source {
                    self.tally.inputs_read += moved.bytes;
                }
            }
        }
        let moves = self.moves.entry((purpose, key.matrix, origin));
        let (blocks, bytes) = moves.or_default();
        *blocks += 1;
        *bytes += moved.bytes;
    }

    /// The rungs of the ladder for an input, best first.
    pub(super) fn rungs(&self, key: &BlockKey, lease: LeaseId) -> (VecDeque<Rung>, Option<Digest>) {
        if self.plan.is_source(key) {
            return (VecDeque::from([Origin::Source.into()]), None);
        }
        let hint = self
            .jobs
            .get(&lease)
            .and_then(|j| j.hints.iter().find(|h| h.key == *key));
        let Some(hint) = hint else {
            return (VecDeque::from([Origin::Store.into()]), None);
        };
        self.rungs_of(hint)
    }

    /// The rungs of the ladder for a block that the coordinator has told of.
    pub(super) fn rungs_of(&self, hint: &InputHint) -> (VecDeque<Rung>, Option<Digest>) {
        let mut rungs = VecDeque::new();
        if self.settings.exchange == Exchange::Peer {
            let peers = hint.holders.iter().map(|&holder| Origin::Peer(holder));
            rungs.extend(peers.map(Rung::from));
        }
        // Even if nobody has said so yet: a holder that spilled it may have let it go in the meantime.
        rungs.push_back(Origin::Store.into());
        (rungs, hint.digest)
    }

    /// Queues a fetch, or joins the one under way: one in flight a copy.
    pub(super) fn fetch(
        &mut self,
        copy: Copy,
        rungs: VecDeque<Rung>,
        digest: Option<Digest>,
        job: Option<LeaseId>,
    ) {
        // Who is not trusted counts as asked in vain, so that the coordinator looks for the block elsewhere.
        let (distrusted, rungs): (VecDeque<_>, VecDeque<_>) = rungs
            .into_iter()
            .partition(|rung| self.is_distrusted(rung.origin));
        let distrusted = distrusted.into_iter().map(|rung| rung.origin);
        if let Some(ladder) = self.ladders.get_mut(&copy) {
            // Without a digest the store was asked in vain, or is.
            let is_told = ladder.digest.is_none() && digest.is_some();
            ladder.digest = ladder.digest.or(digest);
            ladder.tried.extend(distrusted);
            for rung in rungs {
                let origin = rung.origin;
                // The store may have it by now; a peer that failed will fail again.
                let is_tried = origin != Origin::Store && ladder.tried.contains(&origin);
                let under_way = ladder.at.filter(|_| origin != Origin::Store || !is_told);
                let mut is_to_be = ladder.rungs.iter().chain(&under_way);
                if !is_tried && is_to_be.all(|other| other.origin != origin) {
                    ladder.rungs.push_back(rung);
                }
            }
            ladder.jobs.extend(job);
            return;
        }
        let task = job
            .and_then(|lease| self.jobs.get(&lease))
            .map(|job| job.task);
        let jobs = job.into_iter().collect();
        self.ladders.insert(
            copy,
            Ladder {
                rungs,
                tried: distrusted.collect(),
                unreachable: Vec::new(),
                at: None,
                referrals: 0,
                since: self.now,
                digest,
                task,
                jobs,
                is_kept: false,
            },
        );
        self.fetch_queue.push_back(copy);
    }

    fn input_came(&mut self, lease: LeaseId, key: &BlockKey) {
        if let Some(job) = self.jobs.get_mut(&lease) {
            job.missing.remove(key);
            self.maybe_ready(lease);
        }
    }

    /// Gives a lease back because `key` could not be had.
    fn give_up(&mut self, lease: LeaseId, key: BlockKey, given_up: &Ladder) {
        if !self.jobs.contains_key(&lease) {
            return;
        }
        self.abandon(lease);
        let peer = |origin: &Origin| match origin {
            Origin::Peer(peer) => Some(*peer),
            Origin::Store | Origin::Source => None,
        };
        let unreachable = given_up.unreachable.clone();
        let asked = given_up.tried.iter().filter_map(peer);
        let workers = asked.filter(|peer| !unreachable.contains(peer)).collect();
        let store = given_up.tried.contains(&Origin::Store);
        self.send(FromWorker::Missing {
            lease,
            blocks: vec![Missed {
                key,
                workers,
                unreachable,
                store,
            }],
        });
    }
}
