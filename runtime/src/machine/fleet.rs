//! The workers of a run: slots, who fills them, what each is doing and how fast it is. Decides whom
//! a rank belongs to and whether a lost worker is replaced; never starts one itself.

mod helpers;
mod orders;

use std::collections::{BTreeMap, BTreeSet};

use peerwren_transports::block::{BlockKey, Digest};

pub use self::orders::Orders;
use super::{LeaseId, Timestamp, WorkerId};
use crate::control::Tally;
use crate::plan::TaskId;

/// Losses of workers without a task finished in between, a slot, before the run gives up: a worker
/// that dies at every start must not be started for ever.
pub const FRUITLESS_LOSSES_A_SLOT_MAX: u32 = 3;
/// Workers that cannot take part, after each of which a slot is filled again: the next may be another machine.
pub const REFUSALS_A_SLOT_MAX: u32 = 3;
/// Flops a second assumed of a worker's thread before it has finished a task.
const SPEED_FIRST: f64 = 2e10;
/// Weight of the newest measurement of a worker's speed.
const SPEED_WEIGHT: f64 = 0.2;

/// The place of a ready task in a backlog: priority, order of getting ready, task.
pub type Rank = (i64, u64, TaskId);

/// One worker.
#[derive(Debug)]
pub struct Member {
    /// The slot it fills.
    pub slot: u32,
    /// Its compute threads.
    pub cores: u32,
    /// The UDP addresses of its interfaces, once it has joined.
    pub addresses: Option<Vec<String>>,
    /// Digest of its kernel self-test, once it has joined.
    pub bits: Option<Digest>,
    /// When it was last heard, or started.
    pub heard: Timestamp,
    /// What it was told to do.
    pub orders: Orders,
    /// The leases it holds.
    pub leases: BTreeSet<LeaseId>,
    /// Flops under these leases.
    pub leased_flops: u64,
    /// Ready tasks that wait for it, not yet told.
    pub backlog: BTreeSet<Rank>,
    /// Flops in the backlog.
    pub backlog_flops: u64,
    /// Flops a second and thread, measured.
    pub speed: f64,
    /// Bytes that others were told to fetch from it.
    pub asked_bytes: u64,
    /// Dead blocks that it has not been told of.
    pub dead: Vec<BlockKey>,
    /// All that it has counted.
    pub tally: Tally,
}

impl Member {
    /// Whether it has joined.
    #[must_use]
    pub fn is_joined(&self) -> bool {
        self.addresses.is_some()
    }

    /// Takes in one finished kernel.
    pub fn measure(&mut self, flops: u64, compute_ns: u64) {
        if flops > 0 && compute_ns > 0 {
            let speed = flops as f64 / (compute_ns as f64 * 1e-9);
            self.speed += SPEED_WEIGHT * (speed - self.speed);
        }
    }
}

/// All workers.
#[derive(Debug)]
pub struct Fleet {
    slots: Vec<Option<WorkerId>>,
    /// Slots that ranks are spread over; the others are helpers'.
    homes: usize,
    /// Compute threads of a worker that does not say.
    cores: u32,
    /// Workers of each slot that could not take part.
    refusals: Vec<u32>,
    members: BTreeMap<WorkerId, Member>,
    started: u32,
    fruitless_losses: u32,
    /// What workers that are gone had counted, and whether they were lost.
    gone: Vec<(WorkerId, bool, Tally)>,
}

impl Fleet {
    /// A fleet of `slots` empty slots, whose workers have so many compute threads unless they say.
    #[must_use]
    pub fn new(slots: u32, cores: u32) -> Self {
        Self {
            slots: vec![None; slots as usize],
            homes: slots as usize,
            cores,
            refusals: vec![0; slots as usize],
            members: BTreeMap::new(),
            started: 0,
            fruitless_losses: 0,
            gone: Vec::new(),
        }
    }

    /// Fills an empty slot with a new worker, which is yet to join.
    pub fn start(&mut self, now: Timestamp, slot: u32) -> WorkerId {
        let worker = WorkerId(self.started);
        self.started += 1;
        self.slots[slot as usize] = Some(worker);
        self.members.insert(
            worker,
            Member {
                slot,
                cores: self.cores,
                addresses: None,
                bits: None,
                heard: now,
                orders: Orders::default(),
                leases: BTreeSet::new(),
                leased_flops: 0,
                backlog: BTreeSet::new(),
                backlog_flops: 0,
                speed: SPEED_FIRST,
                asked_bytes: 0,
                dead: Vec::new(),
                tally: Tally::default(),
            },
        );
        worker
    }

    /// Removes a lost worker for good; its counts stay.
    pub fn remove(&mut self, worker: WorkerId) -> Option<Member> {
        let member = self.take(worker, true)?;
        self.fruitless_losses += 1;
        Some(member)
    }

    /// Removes a worker that may go; its counts stay.
    pub fn dismiss(&mut self, worker: WorkerId) -> Option<Member> {
        self.take(worker, false)
    }

    fn take(&mut self, worker: WorkerId, lost: bool) -> Option<Member> {
        self.unseat(worker);
        let member = self.members.remove(&worker)?;
        self.gone.push((worker, lost, member.tally));
        Some(member)
    }

    /// Empties the slot of a worker that is to leave, which stays a member until it does.
    pub fn unseat(&mut self, worker: WorkerId) {
        if let Some(member) = self.members.get(&worker)
            && self.slots[member.slot as usize] == Some(worker)
        {
            self.slots[member.slot as usize] = None;
        }
    }

    /// A worker left before its time without being lost: the next one of its slot may do so too.
    pub fn left_early(&mut self) {
        self.fruitless_losses += 1;
    }

    /// Removes a worker that never worked, since it cannot take part; true if its slot may
    /// be filled again.
    pub fn refuse(&mut self, worker: WorkerId) -> bool {
        let Some(member) = self.members.remove(&worker) else {
            return false;
        };
        let slot = member.slot as usize;
        if self.slots[slot] == Some(worker) {
            self.slots[slot] = None;
        }
        self.refusals[slot] += 1;
        self.refusals[slot] <= REFUSALS_A_SLOT_MAX
    }

    /// The self-test digest of most joined workers; of equals the smallest.
    #[must_use]
    pub fn common_bits(&self) -> Option<Digest> {
        let mut votes: BTreeMap<[u8; 32], usize> = BTreeMap::new();
        for bits in self.joined().filter_map(|(_, member)| member.bits) {
            *votes.entry(bits.0).or_default() += 1;
        }
        let most = votes
            .into_iter()
            .max_by_key(|&(bits, n)| (n, std::cmp::Reverse(bits)));
        most.map(|(bits, _)| Digest(bits))
    }

    /// A task was finished: losses before it count no more.
    pub fn progress(&mut self) {
        self.fruitless_losses = 0;
    }

    /// Whether one more lost worker may be replaced.
    #[must_use]
    pub fn may_replace(&self) -> bool {
        let slots = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        self.fruitless_losses <= FRUITLESS_LOSSES_A_SLOT_MAX.saturating_mul(slots)
    }

    /// One worker.
    #[must_use]
    pub fn get(&self, worker: WorkerId) -> Option<&Member> {
        self.members.get(&worker)
    }

    /// One worker.
    pub fn get_mut(&mut self, worker: WorkerId) -> Option<&mut Member> {
        self.members.get_mut(&worker)
    }

    /// All workers that are not lost, by id.
    pub fn iter(&self) -> impl Iterator<Item = (WorkerId, &Member)> {
        self.members.iter().map(|(&id, member)| (id, member))
    }

    /// Whether there is no worker that is not lost.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether a worker fills its slot: one that is to leave does not.
    #[must_use]
    pub fn is_seated(&self, worker: WorkerId) -> bool {
        let member = self.members.get(&worker);
        member.is_some_and(|member| self.slots[member.slot as usize] == Some(worker))
    }

    /// The worker of a slot, whether it has joined or not.
    #[must_use]
    pub fn filler(&self, slot: u32) -> Option<WorkerId> {
        self.slots[slot as usize]
    }

    /// Slots that a worker fills, whether it has joined or not.
    #[must_use]
    pub fn filled(&self) -> u32 {
        u32::try_from(self.slots.iter().flatten().count()).unwrap_or(u32::MAX)
    }

    /// At most `most` empty slots that may be filled, the first ones first.
    #[must_use]
    pub fn empty_slots(&self, most: usize) -> Vec<u32> {
        let slots = (0..).zip(self.slots[..self.homes].iter().zip(&self.refusals));
        slots
            .filter(|(_, (filler, refusals))| filler.is_none() && **refusals <= REFUSALS_A_SLOT_MAX)
            .map(|(slot, _)| slot)
            .take(most)
            .collect()
    }

    /// All workers that have joined and may be given tasks, by id.
    pub fn seated(&self) -> impl Iterator<Item = (WorkerId, &Member)> {
        self.joined().filter(|(worker, _)| self.is_seated(*worker))
    }

    /// All workers that have joined, those that are to leave too, by id.
    pub fn joined(&self) -> impl Iterator<Item = (WorkerId, &Member)> {
        self.iter().filter(|(_, member)| member.is_joined())
    }

    /// The worker that a rank belongs to: that of slot `rank mod slots`, or while the slot is empty
    /// its heir, the next slot's worker.
    #[must_use]
    pub fn owner(&self, rank: i64) -> Option<WorkerId> {
        let n = self.homes;
        let slot = usize::try_from(rank.rem_euclid(i64::try_from(n).ok()?)).ok()?;
        (0..n)
            .filter_map(|step| self.slots[(slot + step) % n])
            .find(|worker| self.members.get(worker).is_some_and(Member::is_joined))
    }

    /// Counts of every worker that ever was: id, whether it was lost, tally.
    pub fn tallies(&self) -> impl Iterator<Item = (WorkerId, bool, Tally)> + '_ {
        let gone = self.gone.iter().copied();
        gone.chain(self.members.iter().map(|(&id, m)| (id, false, m.tally)))
    }
}
