//! What a worker decides: when a task has room, where each of its inputs is fetched from, what runs
//! next, what is written through. Owns the cache and the ladder (cache, peers, store); never
//! touches a network, a file or a clock.

mod ladder;
mod leaving;
mod outputs;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use peerwren_transports::block::{BlockKey, Digest};

use self::ladder::{Ladder, Line, Rung};
use super::cache::{Cache, Copy, NextUse};
use super::{LeaseId, Timestamp, WorkerId};
pub use crate::control::Origin;
use crate::control::{
    Assignment, Counts, FromWorker, InputHint, Made, Moves, Purpose, StoreReason, Tally,
    WorkerSettings,
};
use crate::matrix::Moved;
use crate::options::Exchange;
use crate::plan::{Plan, TaskId};
use crate::trace::{DropReason, EVENTS_MAX, Notes, WorkerEvent};

/// Blocks on their way to this worker at a time: two hide each other's latency, more only share
/// the bandwidth.
const FETCHES_MAX: usize = 2;
/// Tasks that wait behind the compute threads, so that a thread that ends one starts the next
/// without asking.
const COMPUTE_AHEAD: usize = 1;
/// Blocks on their way to the store at a time.
const STORES_MAX: usize = 2;

/// What happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// The coordinator gave a task.
    Assigned(Assignment),
    /// The coordinator wants inputs in the cache.
    Preload(Vec<BlockKey>),
    /// The coordinator wants these in the store; if it may have lost them, also those that were put before.
    Store(Vec<BlockKey>, StoreReason),
    /// The coordinator wants these kept here, since whoever keeps them is to leave.
    Take(Vec<InputHint>),
    /// This worker must leave, and can give blocks away for so long.
    Leave(Duration),
    /// A fetch ended, and moved so much.
    Fetched(Copy, Result<Moved, FetchFailure>),
    /// A kernel ended.
    Computed(LeaseId, Result<Vec<Output>, String>, Ran),
    /// A block is in the store, for which so much was moved, or cannot be put there.
    Stored(Copy, Result<(Moved, Digest), String>),
}

/// Where and when a kernel ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ran {
    /// Number of the compute thread.
    pub thread: u32,
    /// When it began.
    pub began: Timestamp,
    /// Nanoseconds in the kernel.
    pub compute_ns: u64,
}

/// Why a fetch brought nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchFailure {
    /// It may be had elsewhere.
    Elsewhere,
    /// There is no path to the worker that was to be asked.
    NoPath,
    /// Other bytes came than were made.
    Wrong,
    /// Who was asked serves others, and refers to this worker, which has the block.
    Referred(WorkerId),
    /// Nobody will have it: the run cannot go on.
    Fatal(String),
}

/// A copy to be brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// Of which block, and whose.
    pub copy: Copy,
    /// From where.
    pub origin: Origin,
    /// What it must hash to, if that is known. If not, the store has nothing that could be trusted: who gives
    /// the lease back is told when it was stored.
    pub digest: Option<Digest>,
    /// The worker to which who is asked referred this one, if that did not deliver.
    pub in_vain: Option<WorkerId>,
}

impl Fetch {
    /// Whether bytes that the store has are the block's.
    #[must_use]
    pub fn accepts(&self, stored: Digest) -> bool {
        self.digest == Some(stored)
    }
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Bring a block.
    Fetch(Fetch),
    /// Run a task; its inputs are all there.
    Compute(LeaseId, TaskId),
    /// Put a block into the store.
    Store(Copy),
    /// Let a block go.
    Drop(Copy),
    /// Tell the coordinator something.
    Send(FromWorker),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Fetching,
    Ready,
    Computing,
    Storing,
}

/// A block that a kernel has made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Output {
    /// The block.
    pub key: BlockKey,
    /// What its bytes hash to, if they were hashed ([`Worker::is_to_be_hashed`]).
    pub digest: Option<Digest>,
    /// Its payload: that of its shape, or less where the shape is a bound.
    pub bytes: u64,
}

#[derive(Debug)]
struct Job {
    task: TaskId,
    inputs: Vec<BlockKey>,
    outputs: Vec<BlockKey>,
    output_bytes: u64,
    scratch_bytes: u64,
    hints: Vec<InputHint>,
    missing: BTreeSet<BlockKey>,
    /// Bytes of inputs that were in the cache or on their way when it began.
    hit_bytes: u64,
    state: State,
    made: Vec<Made>,
    compute_ns: u64,
    /// When it was assigned.
    told: Timestamp,
}

/// The state machine of a worker.
#[derive(Debug)]
pub struct Worker {
    plan: Arc<Plan>,
    settings: WorkerSettings,
    cache: Cache,
    jobs: BTreeMap<LeaseId, Job>,
    waiting: VecDeque<LeaseId>,
    ready: BTreeSet<(NextUse, LeaseId)>,
    computing: usize,
    ladders: BTreeMap<Copy, Ladder>,
    fetch_queue: VecDeque<Copy>,
    fetching: usize,
    /// Wrong blocks that came from each worker.
    wrong: BTreeMap<WorkerId, u32>,
    line: Line,
    store_queue: VecDeque<(Copy, StoreReason)>,
    /// Why and since when copies are on their way to the store.
    puts: BTreeMap<Copy, (StoreReason, Timestamp)>,
    storing: usize,
    preload_left: Option<BTreeSet<BlockKey>>,
    preloaded: Vec<BlockKey>,
    /// Whether it takes no more tasks.
    is_leaving: bool,
    /// When it must be gone.
    end: Option<Timestamp>,
    pace: leaving::Pace,
    now: Timestamp,
    /// Blocks that have left the cache since the coordinator was last told.
    dropped: BTreeSet<BlockKey>,
    tally: Tally,
    /// Blocks and bytes that came since the coordinator was last told.
    moves: BTreeMap<(Purpose, u16, Origin), (u64, u64)>,
    /// What it did since then, in a run that is traced.
    events: Notes<WorkerEvent>,
    alive_at: Timestamp,
    /// How often the coordinator told it to do something.
    orders: u64,
    actions: VecDeque<Action>,
}

impl Worker {
    /// A worker with an empty cache.
    #[must_use]
    pub fn new(now: Timestamp, plan: Arc<Plan>, settings: WorkerSettings) -> Self {
        let alive_at = now.after(alive(&settings));
        Self {
            jobs: BTreeMap::new(),
            waiting: VecDeque::new(),
            ready: BTreeSet::new(),
            computing: 0,
            ladders: BTreeMap::new(),
            fetch_queue: VecDeque::new(),
            fetching: 0,
            wrong: BTreeMap::new(),
            line: Line::default(),
            store_queue: VecDeque::new(),
            puts: BTreeMap::new(),
            storing: 0,
            preload_left: None,
            preloaded: Vec::new(),
            is_leaving: false,
            end: None,
            pace: leaving::Pace::default(),
            now,
            dropped: BTreeSet::new(),
            tally: Tally::default(),
            moves: BTreeMap::new(),
            events: Notes::new(settings.traces),
            alive_at,
            orders: 0,
            actions: VecDeque::new(),
            cache: Cache::new(settings.memory_bytes),
            plan,
            settings,
        }
    }

    /// Takes in what happened.
    pub fn handle_input(&mut self, now: Timestamp, input: Input) {
        self.now = now;
        let is_order = matches!(
            input,
            Input::Assigned(_) | Input::Preload(_) | Input::Store(..) | Input::Take(_)
        );
        self.orders += u64::from(is_order);
        match input {
            Input::Assigned(assignment) => self.assigned(assignment),
            Input::Preload(keys) => self.preload(keys),
            Input::Store(keys, reason) => self.store(keys, reason),
            Input::Take(blocks) => self.keep(blocks),
            Input::Leave(span) => self.leave(span),
            Input::Fetched(copy, result) => self.fetched(copy, result),
            Input::Computed(lease, result, ran) => self.computed(lease, result, ran),
            Input::Stored(copy, result) => self.stored(copy, result),
        }
        self.advance();
    }

    /// Gives a sign of life when one is due.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        if now >= self.alive_at {
            self.now = now;
            self.alive_at = now.after(alive(&self.settings));
            self.leave_in_time();
            self.tell_alive();
        }
    }

    /// Tells what it did before it says what ends the run, in a run that is traced.
    pub(super) fn last_words(&mut self) {
        if self.events.is_on() {
            self.tell_alive();
        }
    }

    fn tell_alive(&mut self) {
        let (dropped, counts) = (self.take_dropped(), self.counts());
        let orders = self.orders;
        self.send(FromWorker::Alive {
            orders,
            dropped,
            counts,
        });
    }

    /// The next thing to do, until there is none.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Self::handle_timeout`] is wanted at the latest, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Timestamp, &'static str)> {
        Some((self.alive_at, "sign of life"))
    }

    /// The copy of `key` that a task under `lease` reads or makes.
    #[must_use]
    pub fn copy(&self, key: BlockKey, lease: LeaseId) -> Copy {
        let private = (self.settings.exchange == Exchange::Store).then_some(lease);
        Copy { key, private }
    }

    /// The memory, for tests.
    #[cfg(test)]
    pub(super) fn cache(&self) -> &Cache {
        &self.cache
    }

    /// What waits for what, for a person.
    #[cfg(test)]
    pub(super) fn summary(&self) -> String {
        format!(
            "{:?} waiting {:?}, ladders {:?}, jobs {:?}",
            self.cache.used(),
            self.waiting,
            self.ladders,
            self.jobs
        )
    }

    /// Panics with a sentence if what this machine knows contradicts itself.
    pub fn check_invariants(&self) {
        self.cache.check_invariants();
        for (copy, held) in self.cache.iter() {
            let coming = self.ladders.contains_key(copy);
            assert!(
                held.present != coming,
                "{} is neither here nor coming, or both",
                copy.key
            );
        }
        for (lease, job) in &self.jobs {
            let reserved = job.state != State::Waiting;
            if matches!(job.state, State::Ready | State::Computing) {
                for &key in &job.inputs {
                    let held = self.cache.get(&self.copy(key, *lease));
                    assert!(
                        held.is_some_and(|h| h.present && h.pins > 0),
                        "{lease:?} may compute but {key} is not pinned in the cache"
                    );
                }
            }
            assert!(
                reserved || self.waiting.contains(lease),
                "{lease:?} is forgotten"
            );
        }
    }

    // ---- what came in

    fn assigned(&mut self, assignment: Assignment) {
        self.dead(&assignment.dead);
        let (task, lease) = (assignment.task, assignment.lease);
        if self.is_leaving {
            self.hand_back(lease);
            return;
        }
        let facts = self.plan.facts(&task);
        let job = Job {
            task,
            inputs: self.plan.inputs(&task),
            outputs: self.plan.outputs(&task),
            output_bytes: facts.output_bytes,
            scratch_bytes: facts.scratch_bytes,
            hints: assignment.inputs,
            missing: BTreeSet::new(),
            hit_bytes: 0,
            state: State::Waiting,
            made: Vec::new(),
            compute_ns: 0,
            told: self.now,
        };
        self.jobs.insert(lease, job);
        self.waiting.push_back(lease);
    }

    fn preload(&mut self, keys: Vec<BlockKey>) {
        let mut left = BTreeSet::new();
        for key in keys {
            let copy = Copy { key, private: None };
            let bytes = self.plan.bytes(&key);
            if self.cache.get(&copy).is_some() || !self.take(bytes, (0, i64::MIN)) {
                continue;
            }
            self.cache.insert(copy, bytes, false).spare = true;
            self.fetch(copy, VecDeque::from([Origin::Source.into()]), None, None);
            left.insert(key);
        }
        self.preload_left = Some(left);
        self.preload_ended();
    }

    fn dead(&mut self, keys: &[BlockKey]) {
        for &key in keys {
            self.cache.mark_dead(Copy { key, private: None });
        }
        for copy in self.cache.shed() {
            self.dropped.insert(copy.key);
            self.let_go(copy, DropReason::Dead);
        }
    }

    // ---- the life of a task

    /// Starts all that can start.
    fn advance(&mut self) {
        while let Some(&lease) = self.waiting.front() {
            if !self.reserve(lease) {
                break;
            }
            self.waiting.pop_front();
        }
        while self.fetching < FETCHES_MAX
            && let Some(copy) = self.fetch_queue.pop_front()
        {
            // A copy may have come otherwise, and be waited for again: one fetch in flight a copy.
            let ladder = self.ladders.get_mut(&copy);
            let Some(ladder) = ladder.filter(|ladder| ladder.at.is_none()) else {
                continue;
            };
            let Some(rung) = ladder.rungs.pop_front() else {
                continue;
            };
            let Rung { origin, in_vain } = rung;
            ladder.at = Some(rung);
            ladder.since = self.now;
            self.fetching += 1;
            if origin != Origin::Source {
                self.line.begins(self.now, copy);
            }
            self.actions.push_back(Action::Fetch(Fetch {
                copy,
                origin,
                digest: ladder.digest,
                in_vain,
            }));
        }
        while self.computing < self.settings.cores as usize + COMPUTE_AHEAD
            && let Some((_, lease)) = self.ready.pop_first()
        {
            let Some(job) = self.jobs.get_mut(&lease) else {
                continue;
            };
            job.state = State::Computing;
            self.computing += 1;
            self.actions.push_back(Action::Compute(lease, job.task));
        }
        while self.storing < STORES_MAX
            && let Some((copy, reason)) = self.store_queue.pop_front()
        {
            self.storing += 1;
            self.puts.insert(copy, (reason, self.now));
            self.actions.push_back(Action::Store(copy));
        }
        if self.events.len() >= EVENTS_MAX {
            self.tell_alive();
        }
    }

    /// Takes room for a task's inputs, outputs and scratch at once, so that tasks never wait for
    /// each other's memory; then starts its fetches. False if there is no room yet.
    fn reserve(&mut self, lease: LeaseId) -> bool {
        let Some(job) = self.jobs.get(&lease) else {
            return true;
        };
        let (inputs, at) = (job.inputs.clone(), self.use_of(&job.task));
        let absent: Vec<_> = inputs
            .iter()
            .map(|&key| self.copy(key, lease))
            .filter(|copy| self.cache.get(copy).is_none())
            .collect();
        let fetched: u64 = absent.iter().map(|copy| self.plan.bytes(&copy.key)).sum();
        let need = fetched + job.output_bytes + job.scratch_bytes;
        for &key in &inputs {
            self.cache.pin(&self.copy(key, lease));
        }
        if !self.take(need, at) {
            for &key in &inputs {
                if let Some(held) = self.cache.get_mut(&self.copy(key, lease)) {
                    held.pins -= 1;
                }
            }
            return false;
        }
        for copy in &absent {
            let bytes = self.plan.bytes(&copy.key);
            self.cache.insert(*copy, bytes, false).pins = 1;
        }
        let (mut missing, mut hit_bytes) = (BTreeSet::new(), 0);
        for key in inputs {
            let copy = self.copy(key, lease);
            let Some(held) = self.cache.get(&copy) else {
                continue;
            };
            if held.present {
                hit_bytes += held.bytes;
                continue;
            }
            missing.insert(key);
            if !absent.contains(&copy) {
                hit_bytes += held.bytes;
            }
            let (rungs, digest) = self.rungs(&key, lease);
            self.fetch(copy, rungs, digest, Some(lease));
        }
        let Some(job) = self.jobs.get_mut(&lease) else {
            return true;
        };
        job.missing = missing;
        job.hit_bytes = hit_bytes;
        job.state = State::Fetching;
        self.maybe_ready(lease);
        true
    }

    fn maybe_ready(&mut self, lease: LeaseId) {
        let Some(job) = self.jobs.get(&lease) else {
            return;
        };
        if job.state == State::Fetching && job.missing.is_empty() {
            let at = self.use_of(&job.task);
            self.ready.insert((at, lease));
            if let Some(job) = self.jobs.get_mut(&lease) {
                job.state = State::Ready;
            }
        }
    }

    fn unpin(&mut self, lease: LeaseId, job: &Job) {
        for &key in &job.inputs {
            let copy = self.copy(key, lease);
            if let Some(held) = self.cache.get_mut(&copy) {
                held.pins -= 1;
                if copy.private.is_some() && held.present {
                    self.drop_copy(copy);
                }
            }
        }
    }

    fn take_dropped(&mut self) -> Vec<BlockKey> {
        std::mem::take(&mut self.dropped).into_iter().collect()
    }

    fn preload_ended(&mut self) {
        if self.preload_left.as_ref().is_some_and(BTreeSet::is_empty) {
            self.preload_left = None;
            let (keys, counts) = (std::mem::take(&mut self.preloaded), self.counts());
            self.send(FromWorker::Preloaded { keys, counts });
        }
    }

    // ---- memory

    /// Takes `bytes` of the cache; drops or spills others' for it.
    fn take(&mut self, bytes: u64, front: NextUse) -> bool {
        let plan = Arc::clone(&self.plan);
        let room = self.cache.take(bytes, front, |key| {
            let mut readers = Vec::new();
            plan.readers(key, &mut readers);
            readers
                .iter()
                .map(|task| (task.phase, plan.priority(task)))
                .collect()
        });
        for copy in room.dropped {
            if copy.private.is_none() {
                self.dropped.insert(copy.key);
            }
            self.let_go(copy, DropReason::Room);
        }
        for copy in room.spill {
            self.put(copy, StoreReason::Spill);
        }
        room.taken
    }

    fn drop_copy(&mut self, copy: Copy) {
        self.cache.remove(&copy);
        self.let_go(copy, DropReason::Private);
    }

    /// A copy has left the cache: its bytes go too.
    fn let_go(&mut self, copy: Copy, reason: DropReason) {
        let (key, at_ns) = (copy.key, self.now.as_nanos());
        self.events
            .add(|| WorkerEvent::Dropped { key, reason, at_ns });
        self.actions.push_back(Action::Drop(copy));
    }

    fn use_of(&self, task: &TaskId) -> NextUse {
        (task.phase, self.plan.priority(task))
    }

    /// All that this worker has counted.
    pub(super) fn tally(&self) -> Tally {
        let (cache_bytes, cache_bytes_peak) = self.cache.used();
        Tally {
            cache_bytes,
            cache_bytes_peak,
            ..self.tally
        }
    }

    /// What the coordinator is told of that, with what came since it was last told.
    pub(super) fn counts(&mut self) -> Counts {
        let moves = std::mem::take(&mut self.moves).into_iter();
        let moves = moves.map(|((purpose, family, origin), (blocks, bytes))| Moves {
            purpose,
            family,
            origin,
            blocks,
            bytes,
        });
        Counts {
            tally: self.tally(),
            moves: moves.collect(),
            events: self.events.take(),
            sent_ns: self.now.as_nanos(),
        }
    }

    fn send(&mut self, message: FromWorker) {
        self.actions.push_back(Action::Send(message));
    }
}

/// Time between two signs of life.
fn alive(settings: &WorkerSettings) -> Duration {
    Duration::from_millis(settings.alive_ms.max(1).into())
}
