//! What a coordinator decides: which task runs where and when, what a lost block costs, when a phase
//! and the run are over. Owns leases, directory and fleet; never touches a network, a file or a clock.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use peerwren_transports::block::{BlockKey, Digest};

use super::directory::{Directory, Entry};
use super::fleet::{Fleet, Rank};
use super::lease::{Lease, Leases};
use super::policy::{self, Candidate};
use super::{Timestamp, WorkerId};
use crate::control::{Assignment, FromWorker, InputHint, Made, Missed, Peer, Tally, ToWorker};
use crate::options::{Exchange, Policy};
use crate::plan::{Plan, TaskId};

/// How a run is to be scheduled.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Workers wanted.
    pub workers: u32,
    /// Compute threads a worker.
    pub cores: u32,
    /// Where tasks go.
    pub policy: Policy,
    /// Where blocks may come from.
    pub exchange: Exchange,
    /// Whether inputs are read into the caches before the first task.
    pub preload: bool,
    /// How long the first assignment waits for wanted workers.
    pub start_timeout: Duration,
    /// How long a worker may be silent before its leases expire.
    pub lease: Duration,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// The run begins.
    Begin,
    /// A worker proved who it is, listens at an address, and its kernels give these bits.
    Joined(WorkerId, String, Digest),
    /// A worker is gone: its process ended, or its connection did.
    Left(WorkerId),
    /// A worker said something.
    Message(WorkerId, FromWorker),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Start a worker in a slot.
    Start(WorkerId, u32),
    /// End a worker, however it is.
    End(WorkerId),
    /// Tell a worker something.
    Send(WorkerId, ToWorker),
    /// Every task of a phase is finished and its results are durable.
    PhaseDone(usize, PhaseFigures),
    /// The run is over and complete.
    Completed,
    /// The run cannot be completed.
    Failed(String),
}

/// What one phase took.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PhaseFigures {
    /// From the first kernel's start to the last result.
    pub span: Duration,
    /// What each worker counted in it: id, whether it was lost, counts.
    pub workers: Vec<(WorkerId, bool, Tally)>,
    /// Finished executions of tasks beyond the first of each.
    pub tasks_recomputed: u64,
    /// Workers lost.
    pub lost: u32,
    /// Workers started for lost ones.
    pub replaced: u32,
    /// Workers turned away since their kernels give other bits.
    pub refused: u32,
    /// Leases that ended because their worker was silent.
    pub leases_expired: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Idle,
    Gathering { deadline: Timestamp },
    Preloading,
    Running { phase: usize },
    Over,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counters {
    recomputed: u64,
    leases_expired: u32,
    lost: u32,
    replaced: u32,
    refused: u32,
}

/// A task that could run now.
#[derive(Clone, Debug)]
struct Ready {
    inputs: Vec<BlockKey>,
    input_bytes: Vec<u64>,
    output_bytes: u64,
    flops: u64,
    home: Option<i64>,
    rank: Rank,
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Nowhere,
    Backlog(WorkerId),
    Leased,
}

/// Backlog entries looked at for one theft, a victim.
const THEFT_TASKS_MAX: usize = 8;

/// The state machine of a coordinator.
#[derive(Debug)]
pub struct Scheduler {
    plan: Arc<Plan>,
    settings: Settings,
    stage: Stage,
    /// Digest of the kernel self-test that every worker of the run must have.
    bits: Option<Digest>,
    fleet: Fleet,
    directory: Directory,
    leases: Leases,
    done: BTreeSet<TaskId>,
    /// Tasks that were done and must be done again, since their blocks were lost.
    reopened: BTreeSet<TaskId>,
    ready: BTreeMap<TaskId, Ready>,
    homeless: BTreeSet<Rank>,
    got_ready: u64,
    /// Tasks of each phase that have never been finished.
    remaining: Vec<u64>,
    /// Results of each phase that are not durable yet.
    results_pending: Vec<BTreeSet<BlockKey>>,
    preloading: BTreeSet<WorkerId>,
    first_start: Option<Timestamp>,
    flops_done: u64,
    /// What each worker had counted when the phase began.
    before: BTreeMap<WorkerId, Tally>,
    counted: Counters,
    counted_before: Counters,
    actions: VecDeque<Action>,
}

impl Scheduler {
    /// A scheduler that waits for [`Input::Begin`].
    #[must_use]
    pub fn new(plan: Arc<Plan>, settings: Settings) -> Self {
        let phases = 0..plan.phase_count();
        Self {
            remaining: phases.clone().map(|phase| plan.task_count(phase)).collect(),
            results_pending: phases.map(|phase| plan.results(phase).collect()).collect(),
            fleet: Fleet::new(settings.workers),
            plan,
            settings,
            stage: Stage::Idle,
            bits: None,
            directory: Directory::default(),
            leases: Leases::default(),
            done: BTreeSet::new(),
            reopened: BTreeSet::new(),
            ready: BTreeMap::new(),
            homeless: BTreeSet::new(),
            got_ready: 0,
            preloading: BTreeSet::new(),
            first_start: None,
            flops_done: 0,
            before: BTreeMap::new(),
            counted: Counters::default(),
            counted_before: Counters::default(),
            actions: VecDeque::new(),
        }
    }

    /// Takes in what happened.
    pub fn handle_input(&mut self, now: Timestamp, input: Input) {
        if self.stage == Stage::Over {
            return;
        }
        match input {
            Input::Begin => self.begin(now),
            Input::Joined(worker, address, bits) => self.joined(now, worker, address, bits),
            Input::Left(worker) => self.left(now, worker),
            Input::Message(worker, message) => {
                let Some(member) = self.fleet.get_mut(worker) else { return };
                member.heard = now;
                self.message(now, worker, message);
            }
        }
    }

    /// Acts on time that has passed.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        if let Stage::Gathering { deadline } = self.stage
            && now >= deadline
            && self.fleet.joined().next().is_some()
        {
            self.gathered(now);
        }
        let silent: Vec<_> = self
            .fleet
            .iter()
            .filter(|(_, member)| now.since(member.heard) >= self.patience(member.is_joined()))
            .map(|(worker, _)| worker)
            .collect();
        for worker in silent {
            tracing::warn!(%worker, "has been silent for too long and is taken for lost");
            self.counted.leases_expired += self
                .fleet
                .get(worker)
                .map_or(0, |m| u32::try_from(m.leases.len()).unwrap_or(u32::MAX));
            self.actions.push_back(Action::End(worker));
            self.left(now, worker);
        }
    }

    /// The next thing to do, until there is none.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Self::handle_timeout`] is wanted at the latest, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Timestamp, &'static str)> {
        let gathering = match self.stage {
            Stage::Gathering { deadline } if self.fleet.joined().next().is_some() => {
                Some((deadline, "workers wanted"))
            }
            Stage::Over | Stage::Idle => return None,
            _ => None,
        };
        let silence = self
            .fleet
            .iter()
            .map(|(_, member)| (member.heard.after(self.patience(member.is_joined())), "silence"))
            .min();
        gathering.into_iter().chain(silence).min()
    }

    /// The workers of the run.
    #[must_use]
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// Workers lost so far.
    #[must_use]
    pub fn lost(&self) -> u32 {
        self.counted.lost
    }

    /// Whether inputs are being read into the caches.
    #[must_use]
    pub fn is_preloading(&self) -> bool {
        self.stage == Stage::Preloading
    }

    /// The phase under way, and how many of its tasks and flops are finished.
    #[must_use]
    pub fn progress(&self) -> (usize, u64, u64) {
        match self.stage {
            Stage::Running { phase } => {
                (phase, self.plan.task_count(phase) - self.remaining[phase], self.flops_done)
            }
            Stage::Over => (self.plan.phase_count(), 0, 0),
            _ => (0, 0, 0),
        }
    }

    /// Panics with a sentence if what this machine knows contradicts itself.
    pub fn check_invariants(&self) {
        for (task, ready) in &self.ready {
            assert!(!self.done.contains(task), "{task:?} is done and ready at once");
            if ready.place != Place::Leased {
                for key in &ready.inputs {
                    assert!(
                        self.plan.is_source(key) || self.directory.is_available(key),
                        "{task:?} waits for a worker but its input {key} is nowhere"
                    );
                }
            }
        }
        for (_, lease) in self.leases.iter() {
            assert_eq!(
                self.ready.get(&lease.task).map(|r| r.place),
                Some(Place::Leased),
                "{:?} is leased but not known to be",
                lease.task
            );
        }
        for (worker, member) in self.fleet.iter() {
            let flops: u64 = member.backlog.iter().map(|(_, _, t)| self.ready[t].flops).sum();
            assert_eq!(flops, member.backlog_flops, "backlog of {worker} is miscounted");
        }
    }

    // ---- joining and leaving

    fn patience(&self, joined: bool) -> Duration {
        if joined { self.settings.lease } else { self.settings.start_timeout }
    }

    fn begin(&mut self, now: Timestamp) {
        self.stage = Stage::Gathering { deadline: now.after(self.settings.start_timeout) };
        for slot in 0..self.settings.workers {
            let worker = self.fleet.start(now, slot);
            self.actions.push_back(Action::Start(worker, slot));
        }
    }

    fn joined(&mut self, now: Timestamp, worker: WorkerId, address: String, bits: Digest) {
        let known: Vec<Peer> = self
            .fleet
            .joined()
            .filter_map(|(id, m)| m.address.clone().map(|address| Peer { worker: id, address }))
            .collect();
        let Some(member) = self.fleet.get_mut(worker) else {
            self.actions.push_back(Action::End(worker));
            return;
        };
        member.heard = now;
        member.address = Some(address.clone());
        member.bits = Some(bits);
        if self.bits.is_some_and(|common| common != bits) {
            self.refuse(now, worker);
            return;
        }
        for peer in &known {
            let joined = vec![Peer { worker, address: address.clone() }];
            self.send(peer.worker, ToWorker::Peers { joined, left: Vec::new() });
        }
        self.send(worker, ToWorker::Peers { joined: known, left: Vec::new() });
        match self.stage {
            Stage::Gathering { .. } if self.fleet.joined().count() == self.settings.workers as usize => {
                self.gathered(now);
            }
            Stage::Running { .. } => {
                for (_, _, task) in std::mem::take(&mut self.homeless) {
                    self.place(task);
                }
                self.dispatch(now);
            }
            _ => {}
        }
    }

    fn left(&mut self, now: Timestamp, worker: WorkerId) {
        let Some(member) = self.fleet.remove(worker) else { return };
        self.counted.lost += 1;
        let others: Vec<_> = self.fleet.joined().map(|(id, _)| id).collect();
        for other in others {
            self.send(other, ToWorker::Peers { joined: Vec::new(), left: vec![worker] });
        }
        let mut again: Vec<TaskId> = self.leases.take_all(worker).iter().map(|l| l.task).collect();
        again.extend(member.backlog.iter().map(|&(_, _, task)| task));
        for task in &again {
            self.ready.remove(task);
        }
        for key in self.directory.drop_worker(worker) {
            self.mourn(key);
        }
        for task in again {
            self.consider(task);
        }
        if self.fleet.may_replace() {
            let replacement = self.fleet.start(now, member.slot);
            self.counted.replaced += 1;
            self.actions.push_back(Action::Start(replacement, member.slot));
        } else {
            self.fail(format!(
                "workers keep dying: {} were lost, the last ones without finishing a task; see their \
                 last lines above, and try fewer --workers or more --memory",
                self.counted.lost
            ));
            return;
        }
        if self.preloading.remove(&worker) && self.preloading.is_empty() {
            self.start_phase(now, 0);
        }
        self.dispatch(now);
    }

    /// Turns a worker away whose kernels give other bits: mixing recomputed V with applied V can
    /// break Q.
    fn refuse(&mut self, now: Timestamp, worker: WorkerId) {
        tracing::warn!(%worker, "computes other bits than the run's workers (another CPU); refused");
        let slot = self.fleet.get(worker).map(|member| member.slot);
        self.counted.refused += 1;
        self.send(worker, ToWorker::Stop);
        self.actions.push_back(Action::End(worker));
        let others: Vec<_> =
            self.fleet.joined().map(|(id, _)| id).filter(|&id| id != worker).collect();
        for other in others {
            self.send(other, ToWorker::Peers { joined: Vec::new(), left: vec![worker] });
        }
        if self.fleet.refuse(worker)
            && let Some(slot) = slot
        {
            let replacement = self.fleet.start(now, slot);
            self.actions.push_back(Action::Start(replacement, slot));
        } else if self.fleet.iter().next().is_none() {
            self.fail("every worker computes other bits than the run's: run on one kind of CPU".into());
        }
    }

    fn gathered(&mut self, now: Timestamp) {
        self.bits = self.fleet.common_bits();
        let other: Vec<_> = self
            .fleet
            .joined()
            .filter(|(_, member)| member.bits != self.bits)
            .map(|(id, _)| id)
            .collect();
        for worker in other {
            self.refuse(now, worker);
        }
        if !self.settings.preload {
            self.start_phase(now, 0);
            return;
        }
        let mut wanted: BTreeMap<WorkerId, BTreeSet<BlockKey>> = BTreeMap::new();
        let plan = Arc::clone(&self.plan);
        let mut readers = Vec::new();
        for key in plan.sources(0) {
            readers.clear();
            plan.readers(&key, &mut readers);
            for task in readers.iter().filter(|task| task.phase == 0) {
                let owner = plan.home(task).and_then(|rank| self.fleet.owner(rank));
                if let Some(worker) = owner.or_else(|| self.fleet.joined().next().map(|(id, _)| id)) {
                    wanted.entry(worker).or_default().insert(key);
                }
            }
        }
        if wanted.is_empty() {
            self.start_phase(now, 0);
            return;
        }
        self.stage = Stage::Preloading;
        for (worker, keys) in wanted {
            self.preloading.insert(worker);
            self.send(worker, ToWorker::Preload { keys: keys.into_iter().collect() });
        }
    }

    // ---- messages

    fn message(&mut self, now: Timestamp, worker: WorkerId, message: FromWorker) {
        match message {
            FromWorker::Hello { .. } => {}
            FromWorker::Done { lease, made, dropped, compute_ns, tally } => {
                self.count(worker, tally);
                self.finished(now, worker, lease, &made, compute_ns);
                self.dropped(worker, &dropped);
                self.advance(now);
            }
            FromWorker::Missing { lease, blocks } => {
                if let Some(lease) = self.take_lease(lease, worker) {
                    let inputs = self.ready.remove(&lease.task).map_or(Vec::new(), |r| r.inputs);
                    for key in &inputs {
                        if let Some(entry) = self.directory.get_mut(key) {
                            entry.coming.retain(|&other| other != worker);
                        }
                    }
                    for missed in blocks {
                        self.missed(&missed);
                    }
                    self.consider(lease.task);
                }
                self.dispatch(now);
            }
            FromWorker::Durable { keys, tally } => {
                self.count(worker, tally);
                for key in keys {
                    self.durable(key);
                }
                self.advance(now);
            }
            FromWorker::Preloaded { keys, tally } => {
                self.count(worker, tally);
                for key in keys {
                    self.entry_of(key).hold(worker);
                }
                if self.preloading.remove(&worker) && self.preloading.is_empty() {
                    self.start_phase(now, 0);
                }
            }
            FromWorker::Alive { dropped, tally } => {
                self.count(worker, tally);
                self.dropped(worker, &dropped);
            }
            FromWorker::Failed { lease, error } => {
                if self.take_lease(lease, worker).is_some() {
                    self.fail(error);
                }
            }
            FromWorker::Broken { error } => self.fail(error),
        }
    }

    fn count(&mut self, worker: WorkerId, tally: Tally) {
        if let Some(member) = self.fleet.get_mut(worker) {
            member.tally = tally;
        }
    }

    fn take_lease(&mut self, id: super::LeaseId, worker: WorkerId) -> Option<Lease> {
        let lease = self.leases.take(id, worker)?;
        if let Some(member) = self.fleet.get_mut(worker) {
            member.leases.remove(&id);
            member.leased_flops -= lease.flops;
        }
        Some(lease)
    }

    fn finished(
        &mut self,
        now: Timestamp,
        worker: WorkerId,
        id: super::LeaseId,
        made: &[Made],
        compute_ns: u64,
    ) {
        let Some(lease) = self.take_lease(id, worker) else {
            self.counted.recomputed += 1;
            return;
        };
        let Some(ready) = self.ready.remove(&lease.task) else { return };
        if let Some(member) = self.fleet.get_mut(worker) {
            member.measure(lease.flops, compute_ns);
        }
        self.fleet.progress();
        let started = Timestamp::from_nanos(now.as_nanos().saturating_sub(compute_ns));
        self.first_start = Some(self.first_start.map_or(started, |first| first.min(started)));
        self.done.insert(lease.task);
        if self.reopened.remove(&lease.task) {
            self.counted.recomputed += 1;
        } else {
            self.remaining[usize::from(lease.task.phase)] -= 1;
            self.flops_done += lease.flops;
        }
        for key in &ready.inputs {
            self.was_read(*key, worker);
        }
        let mut next = BTreeSet::new();
        for block in made {
            self.was_made(worker, block, &mut next);
        }
        for task in next {
            self.consider(task);
        }
    }

    /// One reader of `key` less.
    fn was_read(&mut self, key: BlockKey, worker: WorkerId) {
        let keep = self.settings.exchange != Exchange::Store;
        let Some(entry) = self.directory.get_mut(&key) else { return };
        entry.readers_left = entry.readers_left.saturating_sub(1);
        entry.coming.retain(|&other| other != worker);
        if keep {
            entry.hold(worker);
        }
        let pending = self.results_pending.iter().any(|results| results.contains(&key));
        if entry.readers_left == 0 && !pending {
            let holders = entry.holders.clone();
            if holders.is_empty() {
                self.directory.remove(&key);
            }
            for holder in holders {
                if let Some(member) = self.fleet.get_mut(holder) {
                    member.dead.push(key);
                }
            }
        }
    }

    /// A block exists; its unfinished readers go to `next`.
    fn was_made(&mut self, worker: WorkerId, block: &Made, next: &mut BTreeSet<TaskId>) {
        let mut readers = Vec::new();
        self.plan.readers(&block.key, &mut readers);
        readers.retain(|task| !self.done.contains(task));
        let readers_left = u32::try_from(readers.len()).unwrap_or(u32::MAX);
        let keep = self.settings.exchange != Exchange::Store;
        let bytes = self.plan.bytes(&block.key);
        let entry = self.directory.entry(block.key, || Entry {
            bytes,
            digest: None,
            holders: Vec::new(),
            coming: Vec::new(),
            durable: false,
            readers_left,
        });
        if entry.digest.is_some_and(|digest| digest != block.digest) {
            let key = block.key;
            self.fail(format!(
                "{worker} computed other bits for block {key} than were computed before: the workers' \
                 CPUs differ; run on machines of one kind"
            ));
            return;
        }
        entry.digest = Some(block.digest);
        entry.readers_left = readers_left;
        if keep {
            entry.hold(worker);
        }
        if block.durable {
            self.durable(block.key);
        }
        if readers_left == 0 && !self.results_pending.iter().any(|r| r.contains(&block.key)) {
            if let Some(member) = self.fleet.get_mut(worker) {
                member.dead.push(block.key);
            }
        }
        next.extend(readers);
    }

    fn durable(&mut self, key: BlockKey) {
        if let Some(entry) = self.directory.get_mut(&key) {
            entry.durable = true;
        }
        for results in &mut self.results_pending {
            results.remove(&key);
        }
    }

    fn dropped(&mut self, worker: WorkerId, keys: &[BlockKey]) {
        for key in keys {
            let nowhere = self.directory.drop_holder(key, worker);
            if nowhere {
                self.mourn(*key);
            } else if let Some(entry) = self.directory.get(key)
                && entry.holders.is_empty()
                && entry.readers_left == 0
            {
                self.directory.remove(key);
            }
        }
    }

    // ---- loss and lineage

    /// A block could not be had where it was said to be.
    fn missed(&mut self, missed: &Missed) {
        let key = missed.key;
        if self.plan.is_source(&key) {
            return;
        }
        let Some(entry) = self.directory.get_mut(&key) else { return };
        entry.holders.retain(|holder| !missed.workers.contains(holder));
        // It may have become durable only after the worker was told where to look.
        entry.durable &= !missed.store;
        if !entry.is_available() {
            self.mourn(key);
        }
    }

    /// `key` is nowhere: if somebody still needs it, it is made again.
    fn mourn(&mut self, key: BlockKey) {
        let needed = self.directory.get(&key).is_some_and(|entry| entry.readers_left > 0)
            || self.results_pending.iter().any(|results| results.contains(&key));
        if !needed {
            self.directory.remove(&key);
            return;
        }
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
            let Some(writer) = plan.writer(&key) else { continue };
            if !self.done.remove(&writer) {
                continue;
            }
            self.reopened.insert(writer);
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
    fn entry_of(&mut self, key: BlockKey) -> &mut Entry {
        let (plan, done) = (&self.plan, &self.done);
        self.directory.entry(key, || {
            let mut readers = Vec::new();
            plan.readers(&key, &mut readers);
            let left = readers.iter().filter(|task| !done.contains(task)).count();
            Entry {
                bytes: plan.bytes(&key),
                digest: None,
                holders: Vec::new(),
                coming: Vec::new(),
                durable: plan.is_source(&key),
                readers_left: u32::try_from(left).unwrap_or(u32::MAX),
            }
        })
    }

    /// Takes a task that no worker has been told of back to waiting.
    fn withdraw(&mut self, task: TaskId) {
        let Some(ready) = self.ready.get(&task) else { return };
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

    // ---- placing

    fn start_phase(&mut self, now: Timestamp, phase: usize) {
        self.stage = Stage::Running { phase };
        self.first_start = None;
        self.flops_done = 0;
        let plan = Arc::clone(&self.plan);
        for task in plan.starters(phase) {
            self.consider(task);
        }
        self.advance(now);
    }

    /// Dispatches, and ends phases that are finished.
    fn advance(&mut self, now: Timestamp) {
        if let Stage::Running { phase } = self.stage
            && self.remaining[phase] == 0
            && self.results_pending[phase].is_empty()
        {
            let figures = self.figures(now);
            self.actions.push_back(Action::PhaseDone(phase, figures));
            if phase + 1 < self.plan.phase_count() {
                self.start_phase(now, phase + 1);
            } else {
                self.stop_all();
                self.actions.push_back(Action::Completed);
            }
            return;
        }
        self.dispatch(now);
    }

    /// Makes a task ready if it may run, can run and does not run.
    fn consider(&mut self, task: TaskId) {
        let Stage::Running { phase } = self.stage else { return };
        if usize::from(task.phase) > phase
            || self.done.contains(&task)
            || self.ready.contains_key(&task)
        {
            return;
        }
        let plan = Arc::clone(&self.plan);
        let inputs = plan.inputs(&task);
        if !inputs.iter().all(|key| plan.is_source(key) || self.directory.is_available(key)) {
            return;
        }
        let input_bytes = inputs.iter().map(|key| self.entry_of(*key).bytes).collect();
        let facts = plan.facts(&task);
        self.got_ready += 1;
        self.ready.insert(
            task,
            Ready {
                inputs,
                input_bytes,
                output_bytes: facts.output_bytes,
                flops: facts.flops,
                home: plan.home(&task),
                rank: (plan.priority(&task), self.got_ready, task),
                place: Place::Nowhere,
            },
        );
        self.place(task);
    }

    fn place(&mut self, task: TaskId) {
        let Some(ready) = self.ready.get(&task) else { return };
        let (rank, flops) = (ready.rank, ready.flops);
        let home = ready.home.and_then(|rank| self.fleet.owner(rank));
        let candidates: Vec<_> =
            self.fleet.joined().map(|(id, _)| self.candidate(id, ready, home)).collect();
        let draw = rank.1.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 17;
        let place = match policy::place(self.settings.policy, &candidates, draw) {
            None => {
                self.homeless.insert(rank);
                Place::Nowhere
            }
            Some(worker) => {
                if let Some(member) = self.fleet.get_mut(worker) {
                    member.backlog.insert(rank);
                    member.backlog_flops += flops;
                }
                Place::Backlog(worker)
            }
        };
        if let Some(ready) = self.ready.get_mut(&task) {
            ready.place = place;
        }
    }

    fn candidate(&self, worker: WorkerId, ready: &Ready, home: Option<WorkerId>) -> Candidate {
        let member = self.fleet.get(worker).expect("candidates are members");
        let missing = ready.inputs.iter().zip(&ready.input_bytes);
        Candidate {
            worker,
            is_home: home == Some(worker),
            cores: self.settings.cores,
            available_s: (member.backlog_flops + member.leased_flops) as f64
                / (member.speed * f64::from(self.settings.cores)),
            kernel_s: ready.flops as f64 / member.speed,
            missing_bytes: missing
                .filter(|(key, _)| !self.directory.reaches(key, worker))
                .map(|(_, bytes)| bytes)
                .sum(),
            output_bytes: ready.output_bytes,
        }
    }

    /// Gives every worker with room its next tasks, then lets idle ones steal.
    fn dispatch(&mut self, now: Timestamp) {
        if !matches!(self.stage, Stage::Running { .. }) {
            return;
        }
        let workers: Vec<_> = self.fleet.joined().map(|(id, _)| id).collect();
        let cores = self.settings.cores as usize;
        for &worker in &workers {
            while let Some(member) = self.fleet.get_mut(worker)
                && member.leases.len() < cores + policy::AHEAD
                && let Some((_, _, task)) = member.backlog.pop_first()
            {
                member.backlog_flops -= self.ready[&task].flops;
                self.assign(now, worker, task);
            }
        }
        for &thief in &workers {
            while self.fleet.get(thief).is_some_and(|m| m.leases.len() < cores) {
                let Some((victim, task)) = self.theft(thief, &workers) else { break };
                let ready = &self.ready[&task];
                if let Some(member) = self.fleet.get_mut(victim) {
                    member.backlog.remove(&ready.rank);
                    member.backlog_flops -= ready.flops;
                }
                self.assign(now, thief, task);
            }
        }
    }

    /// A task in another's backlog that `thief` would finish so much earlier that its bytes pay.
    fn theft(&self, thief: WorkerId, workers: &[WorkerId]) -> Option<(WorkerId, TaskId)> {
        let mut victims: Vec<_> = workers
            .iter()
            .filter(|&&w| w != thief)
            .filter_map(|&w| Some((w, self.fleet.get(w).filter(|m| !m.backlog.is_empty())?)))
            .collect();
        victims.sort_by_key(|(id, member)| (std::cmp::Reverse(member.backlog_flops), *id));
        for (victim, member) in victims.into_iter().take(4) {
            for (_, _, task) in member.backlog.iter().rev().take(THEFT_TASKS_MAX) {
                let ready = &self.ready[task];
                let home = ready.home.and_then(|rank| self.fleet.owner(rank));
                let (mine, theirs) =
                    (self.candidate(thief, ready, home), self.candidate(victim, ready, home));
                if policy::steal_pays(self.settings.policy, &mine, &theirs) {
                    return Some((victim, *task));
                }
            }
        }
        None
    }

    fn assign(&mut self, now: Timestamp, worker: WorkerId, task: TaskId) {
        let Some(ready) = self.ready.get_mut(&task) else { return };
        ready.place = Place::Leased;
        let (inputs, flops) = (ready.inputs.clone(), ready.flops);
        let id = self.leases.grant(Lease { task, worker, flops, granted: now });
        let mut hints = Vec::with_capacity(inputs.len());
        for key in inputs {
            let Some(entry) = self.directory.get_mut(&key) else { continue };
            let here = entry.holders.contains(&worker);
            if !here && !entry.coming.contains(&worker) {
                entry.coming.push(worker);
            }
            let Some(digest) = entry.digest else { continue };
            let mut holders: Vec<_> =
                entry.holders.iter().copied().filter(|&holder| holder != worker).collect();
            let (bytes, durable) = (entry.bytes, entry.durable);
            holders.sort_by_key(|&h| (self.fleet.get(h).map_or(u64::MAX, |m| m.asked_bytes), h));
            if !here
                && let Some(&first) = holders.first()
                && let Some(member) = self.fleet.get_mut(first)
            {
                member.asked_bytes += bytes;
            }
            hints.push(InputHint { key, digest, holders, durable });
        }
        let Some(member) = self.fleet.get_mut(worker) else { return };
        member.leases.insert(id);
        member.leased_flops += flops;
        let dead = std::mem::take(&mut member.dead);
        self.send(worker, ToWorker::Assign(Assignment { lease: id, task, inputs: hints, dead }));
    }

    // ---- ends

    /// What the phase that ends now took; the next one counts from here.
    fn figures(&mut self, now: Timestamp) -> PhaseFigures {
        let (counted, before) = (self.counted, self.counted_before);
        let mut figures = PhaseFigures {
            span: self.first_start.map_or(Duration::ZERO, |first| now.since(first)),
            workers: Vec::new(),
            tasks_recomputed: counted.recomputed - before.recomputed,
            lost: counted.lost - before.lost,
            replaced: counted.replaced - before.replaced,
            refused: counted.refused - before.refused,
            leases_expired: counted.leases_expired - before.leases_expired,
        };
        for (worker, lost, tally) in self.fleet.tallies() {
            let before = self.before.insert(worker, tally).unwrap_or_default();
            figures.workers.push((worker, lost, tally.since(&before)));
        }
        self.counted_before = counted;
        figures
    }

    fn send(&mut self, worker: WorkerId, message: ToWorker) {
        self.actions.push_back(Action::Send(worker, message));
    }

    fn stop_all(&mut self) {
        self.stage = Stage::Over;
        let workers: Vec<_> = self.fleet.joined().map(|(id, _)| id).collect();
        for worker in workers {
            self.send(worker, ToWorker::Stop);
        }
    }

    fn fail(&mut self, reason: String) {
        if self.stage != Stage::Over {
            self.stop_all();
            self.actions.push_back(Action::Failed(reason));
        }
    }
}
