//! What a coordinator decides: which task runs where and when, what a lost block costs, when a phase
//! and the run are over. Owns leases, directory and fleet; never touches a network, a file or a clock.

#[cfg(test)]
mod audit;
mod checkpoint;
mod joining;
mod lineage;
mod placing;
mod retiring;
mod scaling;
mod sense;
mod volunteers;
mod ways;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use peerwren_transports::block::{BlockKey, Digest};

use self::checkpoint::Checkpoints;
use self::lineage::Pending;
use self::placing::{Place, Ready};
use self::retiring::Retiring;
pub use self::volunteers::Volunteers;
pub use self::ways::WayCounts;
use self::ways::Ways;
use super::autoscaler::{Autoscaler, Elastic};
use super::directory::Directory;
use super::fleet::{Fleet, Rank};
use super::lease::{Lease, Leases};
use super::moves::MoveTable;
use super::profile::Profile;
use super::taskset::TaskSet;
use super::{LeaseId, Timestamp, WorkerId};
use crate::control::{Counts, FromWorker, Kept, Made, Tally, ToWorker};
use crate::manifest::Manifest;
use crate::options::{Durability, Exchange, Policy, Resolved};
use crate::plan::{Plan, TaskId};
use crate::trace::{Notes, Record, RunEvent};

/// How long the first assignment waits for wanted workers.
pub const START_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a worker may be silent: it gives ten signs of life in this time.
pub const LEASE: Duration = Duration::from_secs(10);

/// How a run is to be scheduled.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Workers wanted; where the fleet is elastic, the most there may be.
    pub workers: u32,
    /// How the fleet grows and shrinks; without, it has its size from first to last.
    pub elastic: Option<Elastic>,
    /// Compute threads a worker.
    pub cores: u32,
    /// Where tasks go.
    pub policy: Policy,
    /// Where blocks may come from.
    pub exchange: Exchange,
    /// Which blocks are put into the store.
    pub durability: Durability,
    /// The least time from one checkpoint to the next; `None` for a run that leaves nothing to resume.
    pub checkpoint: Option<Duration>,
    /// Whether inputs are read into the caches before the first task.
    pub preload: bool,
    /// How long the first assignment waits for wanted workers.
    pub start_timeout: Duration,
    /// How long a worker may be silent before its leases expire.
    pub lease: Duration,
    /// Whether workers come by themselves, and how many more than wanted may.
    pub volunteers: Option<Volunteers>,
}

impl Settings {
    /// As a run's options say, with workers that start and speak as those of one machine do, and none that come
    /// by themselves.
    #[must_use]
    pub fn of(options: &Resolved) -> Self {
        let every_s = options.durability.checkpoint_s();
        Self {
            workers: options.workers,
            // A worker does as many tasks at a time as it has cores.
            elastic: options.scaling.map(|scaling| Elastic {
                factor: scaling.factor.get(),
                pipeline_width: options.cores,
                floor: 1,
                ceiling: options.workers,
                idle: scaling.idle,
            }),
            cores: options.cores,
            policy: options.policy,
            exchange: options.exchange,
            durability: options.durability,
            checkpoint: every_s.map(|s| Duration::from_secs(s.into())),
            preload: options.preload,
            start_timeout: START_TIMEOUT,
            lease: LEASE,
            volunteers: None,
        }
    }

    /// Milliseconds between two signs of life of a worker: ten in a lease.
    #[must_use]
    pub fn alive_ms(&self) -> u32 {
        u32::try_from(self.lease.as_millis() / 10).unwrap_or(u32::MAX)
    }
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// The run begins.
    Begin,
    /// A worker proved who it is, listens at these addresses, and its kernels give these bits.
    Joined(WorkerId, Vec<String>, Digest),
    /// A worker is gone: its process ended, or its connection did.
    Left(WorkerId),
    /// A worker is there that cannot take part, for a reason in one sentence: another version, a kernel that it
    /// lacks.
    Unfit(WorkerId, String),
    /// A worker said something.
    Message(WorkerId, FromWorker),
    /// Somebody asks to be a worker: number of the request, compute threads.
    Volunteered(u64, u32),
    /// Whoever started the run wants it no more.
    Cancelled,
    /// The manifest that was last to be written is in the store, or cannot be written.
    ManifestWritten(Result<(), String>),
    /// What was last to be swept is deleted, as far as it can be.
    Swept,
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
    /// Whoever asked is a worker now.
    Admit(u64, WorkerId),
    /// Whoever asked cannot be a worker, for a reason in one sentence.
    Decline(u64, String),
    /// Write a manifest into the store.
    WriteManifest(Box<Manifest>),
    /// Delete the manifests with smaller numbers, then the blocks that only they needed.
    Sweep {
        /// Number of the newest manifest, which stays.
        before: u32,
        /// Blocks that nobody needs.
        blocks: Vec<BlockKey>,
    },
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
    /// Tasks that a manifest said were finished before this run's process began.
    pub tasks_restored: u64,
    /// Workers lost.
    pub lost: u32,
    /// Workers started for lost ones and for those that had to leave.
    pub replaced: u32,
    /// Workers turned away that could not take part: other bits, another version, a kernel that is lacking.
    pub refused: u32,
    /// Leases that ended because their worker was silent.
    pub leases_expired: u32,
    /// Compute threads of workers that came by themselves.
    pub cores: BTreeMap<WorkerId, u32>,
    /// Pairs of workers by how they exchanged blocks, up to the phase's end.
    pub ways: WayCounts,
    /// What came to workers, by statement and by pair: its sums are those of the counts.
    pub moves: MoveTable,
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
    done: TaskSet,
    /// Tasks that were done and must be done again, since their blocks were lost.
    reopened: BTreeSet<TaskId>,
    ready: BTreeMap<TaskId, Ready>,
    homeless: BTreeSet<Rank>,
    got_ready: u64,
    /// Tasks of each phase that have never been finished.
    remaining: Vec<u64>,
    /// Results that are not durable yet.
    pending: Pending,
    /// Tasks of each phase that a manifest said were finished.
    restored: Vec<u64>,
    checkpoints: Checkpoints,
    /// Workers whose leases or backlogs have changed since tasks were last given out.
    touched: BTreeSet<WorkerId>,
    /// Whether a backlog has grown since then.
    has_grown: bool,
    preloading: BTreeSet<WorkerId>,
    /// When silent workers were last looked for, and when the first of those then there could have been silent
    /// for too long.
    looked: (Timestamp, Option<Timestamp>),
    /// Since when no worker has been there, where workers come by themselves.
    alone_since: Option<Timestamp>,
    /// Slots whose workers are gone and that wait for volunteers.
    vacated: u32,
    /// Compute threads of workers that came by themselves.
    cores: BTreeMap<WorkerId, u32>,
    /// Workers that are to leave, and what they still have to give away.
    retiring: BTreeMap<WorkerId, Retiring>,
    autoscaler: Option<Autoscaler>,
    profile: Profile,
    first_start: Option<Timestamp>,
    flops_done: u64,
    /// What each worker had counted when the phase began.
    before: BTreeMap<WorkerId, Tally>,
    /// What has moved since then.
    moves: MoveTable,
    counted: Counters,
    counted_before: Counters,
    /// How workers reach each other.
    ways: Ways,
    /// What a run that is traced has come to since it was last asked.
    records: Notes<Record>,
    now: Timestamp,
    actions: VecDeque<Action>,
}

impl Scheduler {
    /// A scheduler that waits for [`Input::Begin`].
    #[must_use]
    pub fn new(plan: Arc<Plan>, settings: Settings) -> Self {
        let phases = 0..plan.phase_count();
        Self {
            remaining: phases.map(|phase| plan.task_count(phase)).collect(),
            pending: Pending::of(&plan),
            restored: vec![0; plan.phase_count()],
            checkpoints: Checkpoints::default(),
            touched: BTreeSet::new(),
            has_grown: false,
            fleet: Fleet::new(settings.workers, settings.cores),
            autoscaler: settings.elastic.map(Autoscaler::new),
            directory: Directory::new(settings.exchange == Exchange::Peer),
            plan,
            settings,
            stage: Stage::Idle,
            bits: None,
            leases: Leases::default(),
            done: TaskSet::default(),
            reopened: BTreeSet::new(),
            ready: BTreeMap::new(),
            homeless: BTreeSet::new(),
            got_ready: 0,
            preloading: BTreeSet::new(),
            looked: (Timestamp::default(), None),
            alone_since: None,
            vacated: 0,
            cores: BTreeMap::new(),
            retiring: BTreeMap::new(),
            profile: Profile::default(),
            first_start: None,
            flops_done: 0,
            before: BTreeMap::new(),
            moves: MoveTable::default(),
            counted: Counters::default(),
            counted_before: Counters::default(),
            ways: Ways::default(),
            records: Notes::new(false),
            now: Timestamp::default(),
            actions: VecDeque::new(),
        }
    }

    /// The same that records what it does, for a trace.
    #[must_use]
    pub fn traced(mut self) -> Self {
        self.records = Notes::new(true);
        self
    }

    /// What happened since this was last asked, in a run that is traced.
    pub fn take_records(&mut self) -> Vec<Record> {
        self.records.take()
    }

    /// Takes in what happened.
    pub fn handle_input(&mut self, now: Timestamp, input: Input) {
        if self.stage == Stage::Over {
            return;
        }
        self.now = now;
        match input {
            Input::Begin => self.begin(now),
            Input::Joined(worker, addresses, bits) => self.joined(now, worker, addresses, bits),
            Input::Left(worker) => self.left(now, worker),
            Input::Unfit(worker, reason) => self.unfit(now, worker, reason),
            Input::Volunteered(request, cores) => self.volunteered(now, request, cores),
            Input::Cancelled => self.cancelled(),
            Input::Message(worker, message) => {
                let Some(member) = self.fleet.get_mut(worker) else {
                    return;
                };
                member.heard = now;
                self.message(now, worker, message);
            }
            Input::ManifestWritten(result) => self.manifest_written(now, result),
            Input::Swept => self.swept(),
        }
        self.scale(now);
    }

    /// Acts on time that has passed.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        self.now = now;
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
            self.taken_for_lost(now, worker);
        }
        let members = self.fleet.iter();
        let ends = members.map(|(_, m)| m.heard.after(self.patience(m.is_joined())));
        self.looked = (now, ends.min());
        self.give_up_alone(now);
        self.retire_in_time(now);
        self.scale(now);
        self.maybe_checkpoint(now);
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
        let silence = (!self.fleet.is_empty()).then(|| (self.silence_ends(), "silence"));
        let checkpoint = self.checkpoint_due().map(|due| (due, "checkpoint"));
        let solitude = self.solitude_ends().map(|end| (end, "no worker at all"));
        let retiring = self.retiring.values().map(Retiring::timeout);
        let is_running = matches!(self.stage, Stage::Running { .. });
        let scaling = self.autoscaler.as_ref().filter(|_| is_running);
        let scaling = scaling.map(|scaler| (scaler.timeout(), "size of the fleet"));
        gathering
            .into_iter()
            .chain(silence)
            .chain(solitude)
            .chain(retiring)
            .chain(scaling)
            .chain(checkpoint)
            .min()
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
            Stage::Running { phase } => (
                phase,
                self.plan.task_count(phase) - self.remaining[phase],
                self.flops_done,
            ),
            Stage::Over => (self.plan.phase_count(), 0, 0),
            _ => (0, 0, 0),
        }
    }

    /// How many tasks of a phase a manifest said were finished.
    #[must_use]
    pub fn restored(&self, phase: usize) -> u64 {
        self.restored.get(phase).copied().unwrap_or(0)
    }

    /// Panics with a sentence if what this machine knows contradicts itself.
    pub fn check_invariants(&self) {
        for (task, ready) in &self.ready {
            assert!(
                !self.done.contains(task),
                "{task:?} is done and ready at once"
            );
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
            assert_eq!(
                self.fleet.is_seated(worker),
                !self.retiring.contains_key(&worker),
                "{worker} fills a slot and is to leave, or neither"
            );
            assert!(
                member.backlog.is_empty() || self.fleet.is_seated(worker),
                "{worker} is to leave but has tasks waiting for it"
            );
            let flops: u64 = member
                .backlog
                .iter()
                .map(|(_, _, t)| self.ready[t].flops)
                .sum();
            assert_eq!(
                flops, member.backlog_flops,
                "backlog of {worker} is miscounted"
            );
        }
    }

    // ---- joining and leaving

    /// No worker has been silent for too long before this; without looking at each of thousands.
    fn silence_ends(&self) -> Timestamp {
        let (looked, first) = self.looked;
        let patience = self.patience(true).min(self.patience(false));
        let of_newer = looked.after(patience);
        first.map_or(of_newer, |first| first.min(of_newer))
    }

    fn patience(&self, joined: bool) -> Duration {
        if joined {
            self.settings.lease
        } else {
            self.joining_patience()
        }
    }

    // ---- messages

    fn message(&mut self, now: Timestamp, worker: WorkerId, message: FromWorker) {
        if self.cut_off_nonsense(now, worker, &message) {
            return;
        }
        match message {
            // What the rendezvous hears besides: a sign of life here.
            FromWorker::Hello { .. } | FromWorker::Moved { .. } | FromWorker::WantPath { .. } => {}
            FromWorker::Way { peer, way } => {
                if self.fleet.get(peer).is_some() {
                    self.ways.set(now, worker, peer, way);
                }
            }
            FromWorker::Done {
                lease,
                made,
                dropped,
                compute_ns,
                counts,
            } => {
                self.count(worker, counts);
                self.finished(now, worker, lease, &made, compute_ns);
                self.dropped(worker, &dropped);
                self.must_give_away(worker, made.iter().map(|block| block.key));
                self.advance(now);
            }
            FromWorker::Missing { lease: id, blocks } => {
                if let Some(lease) = self.take_lease(id, worker) {
                    self.note(|| RunEvent::GivenBack {
                        lease: id,
                        task: lease.task,
                        worker,
                        missing: blocks.iter().map(|missed| missed.key).collect(),
                    });
                    let inputs = self
                        .ready
                        .remove(&lease.task)
                        .map_or(Vec::new(), |r| r.inputs);
                    for key in &inputs {
                        if let Some(entry) = self.directory.get_mut(key) {
                            entry.coming.retain(|&other| other != worker);
                        }
                    }
                    for missed in blocks {
                        self.missed(worker, id, &missed);
                    }
                    self.consider(lease.task);
                }
                self.dispatch(now);
            }
            FromWorker::Durable { blocks, counts } => {
                self.count(worker, counts);
                for Kept { key, digest } in blocks {
                    if self.is_as_made(&key, digest) {
                        self.durable(key);
                    } else {
                        tracing::warn!(%worker, %key, "stored other bytes than were made, and is not believed");
                        self.dropped(worker, &[key]);
                    }
                }
                self.advance(now);
            }
            FromWorker::Leaving { until_ms } => {
                self.leaving(now, worker, Duration::from_millis(until_ms));
            }
            FromWorker::Taken {
                keys,
                refused,
                counts,
            } => {
                self.count(worker, counts);
                self.taken(now, worker, &keys, &refused);
            }
            FromWorker::Preloaded { keys, counts } => {
                self.count(worker, counts);
                for key in keys {
                    self.holds(key, worker);
                }
                if self.preloading.remove(&worker) && self.preloading.is_empty() {
                    self.start_phase(now, 0);
                }
            }
            FromWorker::Alive {
                orders,
                dropped,
                counts,
            } => {
                self.count(worker, counts);
                if self.is_deaf(now, worker, orders) {
                    tracing::warn!(%worker, "does not hear what it is told and is taken for lost");
                    self.taken_for_lost(now, worker);
                    return;
                }
                self.dropped(worker, &dropped);
                // What did not pay a second ago may pay now.
                self.touched.insert(worker);
                self.dispatch(now);
            }
            FromWorker::Failed { lease, error } => {
                if self.take_lease(lease, worker).is_some() {
                    self.fail(error);
                }
            }
            FromWorker::Broken { error } => self.fail(error),
        }
        self.settle(now, worker);
    }

    fn count(&mut self, worker: WorkerId, counts: Counts) {
        if let Some(member) = self.fleet.get_mut(worker) {
            member.tally = counts.tally;
            let known = counts.moves.iter().filter(|moved| self.plan.knows(moved));
            self.moves.add(worker, known);
            let at = self.now;
            self.records.add(|| Record::Heard {
                at,
                worker,
                sent_ns: counts.sent_ns,
                events: counts.events,
            });
        }
    }

    fn take_lease(&mut self, id: LeaseId, worker: WorkerId) -> Option<Lease> {
        let lease = self.leases.take(id, worker)?;
        if let Some(member) = self.fleet.get_mut(worker) {
            member.leases.remove(&id);
            member.leased_flops -= lease.flops;
            self.touched.insert(worker);
        }
        Some(lease)
    }

    fn finished(
        &mut self,
        now: Timestamp,
        worker: WorkerId,
        id: LeaseId,
        made: &[Made],
        compute_ns: u64,
    ) {
        let Some(lease) = self.take_lease(id, worker) else {
            self.counted.recomputed += 1;
            return;
        };
        let Some(ready) = self.ready.remove(&lease.task) else {
            return;
        };
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
        let mut next = Vec::new();
        for block in made {
            self.was_made(worker, block, &mut next);
        }
        next.sort_unstable();
        next.dedup();
        for task in next {
            self.consider(task);
        }
    }

    // ---- phases

    fn start_phase(&mut self, now: Timestamp, phase: usize) {
        self.stage = Stage::Running { phase };
        self.note(|| RunEvent::Phase(u8::try_from(phase).unwrap_or(u8::MAX)));
        self.first_start = None;
        self.flops_done = 0;
        let plan = Arc::clone(&self.plan);
        for task in plan.starters(phase) {
            self.consider(task);
        }
        self.consider_restored();
        self.advance(now);
    }

    /// Dispatches, and ends phases that are finished.
    fn advance(&mut self, now: Timestamp) {
        if let Stage::Running { phase } = self.stage
            && self.remaining[phase] == 0
            && self.pending.is_none_up_to(phase)
        {
            let mut figures = self.figures(now);
            figures.tasks_restored = self.restored[phase];
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

    // ---- ends

    /// What the phase that ends now took; the next one counts from here.
    fn figures(&mut self, now: Timestamp) -> PhaseFigures {
        let (counted, before) = (self.counted, self.counted_before);
        let mut figures = PhaseFigures {
            span: self
                .first_start
                .map_or(Duration::ZERO, |first| now.since(first)),
            workers: Vec::new(),
            tasks_recomputed: counted.recomputed - before.recomputed,
            tasks_restored: 0,
            lost: counted.lost - before.lost,
            replaced: counted.replaced - before.replaced,
            refused: counted.refused - before.refused,
            leases_expired: counted.leases_expired - before.leases_expired,
            cores: self.cores.clone(),
            ways: self.ways.counts(),
            moves: std::mem::take(&mut self.moves),
        };
        for (worker, lost, tally) in self.fleet.tallies() {
            let before = self.before.insert(worker, tally).unwrap_or_default();
            figures.workers.push((worker, lost, tally.since(&before)));
        }
        self.counted_before = counted;
        figures
    }

    /// Records something, in a run that is traced.
    fn note(&mut self, event: impl FnOnce() -> RunEvent) {
        let at = self.now;
        self.records.add(|| Record::Run { at, event: event() });
    }

    fn send(&mut self, worker: WorkerId, message: ToWorker) {
        if message.is_order()
            && let Some(member) = self.fleet.get_mut(worker)
        {
            member.orders.sent(self.now);
        }
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
            self.note(|| RunEvent::Failed(reason.clone()));
            self.actions.push_back(Action::Failed(reason));
        }
    }
}
