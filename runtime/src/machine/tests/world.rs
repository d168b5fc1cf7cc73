//! A world of one coordinator and its workers, driven by a seed: the real machines, and around them
//! a store, links, threads and mishaps. Each action becomes an input at now + a cost.

mod channels;
mod fetching;
mod ledger;
mod mishaps;
mod nodes;
mod saved;
mod storing;
mod telling;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use peerwren_transports::block::{BlockKey, Digest};

use self::channels::Channels;
use self::ledger::Ledger;
use self::nodes::Node;
use super::setup::{Dice, Setup};
use super::trace::Log;
use super::truth::{self, Truth};
use crate::control::{Assignment, FromWorker, Tally, ToWorker};
use crate::machine::cache::Copy;
use crate::machine::profile::Profile;
use crate::machine::scheduler::{self, PhaseFigures, Scheduler};
use crate::machine::worker::Fetch;
use crate::machine::{LeaseId, Timestamp, WorkerId};
use crate::manifest::Manifest;
use crate::plan::TaskId;
use crate::trace::Record;

/// Nanoseconds in a microsecond, the unit of costs.
const US: u64 = 1_000;
/// Nothing may stand still so long: some leases and start time-outs, one after the other.
const PATIENCE: Duration = Duration::from_secs(120);
/// Nor may so many things happen without a task being finished.
const IDLE_EVENTS_MAX: u32 = 20_000;

/// Once nothing goes wrong any more a run completes in this time: it waits for some leases and start time-outs,
/// one after the other, and does the rest of its work.
const CALM_MAX: Duration = Duration::from_secs(60);

#[derive(Debug)]
enum Event {
    Up(WorkerId),
    Left(WorkerId),
    Said(WorkerId, FromWorker),
    Told(WorkerId, ToWorker),
    /// A letter of a link can be read: from or to a worker, its number.
    Letter((WorkerId, bool), u64),
    Fetched(WorkerId, Fetch),
    Computed(WorkerId, LeaseId, TaskId, u64),
    /// A write takes effect, though nobody is told so.
    Written(BlockKey, Digest),
    Stored(WorkerId, Copy),
    /// Somebody comes who wants to be a worker.
    Volunteer,
    /// A worker's end is near.
    Leave(WorkerId),
    /// It is there.
    Expire(WorkerId),
    /// A manifest takes effect, then the coordinator hears of it.
    ManifestPut(Box<Manifest>),
    ManifestWritten,
    /// Older manifests are gone, then some blocks, then the others; then the coordinator hears of it.
    Swept(u32, Vec<BlockKey>),
    WorkerTimer(WorkerId),
    Timer,
}

/// What a run came to.
pub(super) struct Outcome {
    /// Sum over all workers and phases.
    pub(super) tally: Tally,
    /// Tasks that were reported finished under a lease, the same one counted again.
    pub(super) finished: u64,
    pub(super) recomputed: u64,
    pub(super) lost: u32,
    pub(super) replaced: u32,
    /// Workers that ever ran.
    pub(super) started: usize,
    pub(super) profile: Profile,
    /// Manifests that were written.
    pub(super) manifests: u32,
    /// How often the driver died.
    pub(super) drivers: u32,
    /// Tasks that were finished in the last manifest when the last driver began.
    pub(super) restored: u64,
    /// How often each thing went wrong.
    pub(super) strikes: Strikes,
    /// How long the run took after the end of all faults, if it outlived them.
    pub(super) calm: Option<Duration>,
}

/// How often each thing went wrong.
pub(super) type Strikes = BTreeMap<&'static str, u64>;

/// See the module's page.
pub(super) struct World<'a> {
    truth: &'a Truth,
    setup: Setup,
    dice: Dice,
    now: u64,
    events: BTreeMap<(u64, u64), Event>,
    numbered: u64,
    coordinator: Scheduler,
    timer: u64,
    nodes: BTreeMap<WorkerId, Node>,
    /// Workers that were ended: nothing of theirs happens any more, but what is under way arrives.
    down: BTreeSet<WorkerId>,
    channels: Channels,
    /// Until when two workers do not reach each other: who does not reach whom.
    cuts: BTreeMap<(WorkerId, WorkerId), u64>,
    store: BTreeMap<BlockKey, Digest>,
    ledger: Ledger,
    effective: BTreeMap<TaskId, u64>,
    phases: Vec<PhaseFigures>,
    records: Vec<Record>,
    manifests: BTreeMap<u32, Manifest>,
    /// Tasks of complete manifests, which must not run again.
    settled: BTreeSet<TaskId>,
    written: u32,
    drivers: u32,
    restored: u64,
    /// When the next driver dies.
    dies_at: Option<u64>,
    over: Option<Result<(), String>>,
    progress_at: u64,
    idle_events: u32,
    steps: u64,
    /// Volunteers on their way.
    coming: u32,
    strikes: Strikes,
    log: Option<Log>,
}

impl<'a> World<'a> {
    pub(super) fn new(truth: &'a Truth, setup: Setup) -> Self {
        Self {
            dice: Dice::new(setup.seed),
            coordinator: Scheduler::new(Arc::clone(&truth.plan), settings(&setup)).traced(),
            truth,
            dies_at: setup.faults.driver_dies.first().copied(),
            setup,
            now: 0,
            events: BTreeMap::new(),
            numbered: 0,
            timer: u64::MAX,
            nodes: BTreeMap::new(),
            down: BTreeSet::new(),
            channels: Channels::default(),
            cuts: BTreeMap::new(),
            store: BTreeMap::new(),
            ledger: Ledger::default(),
            effective: BTreeMap::new(),
            phases: Vec::new(),
            records: Vec::new(),
            manifests: BTreeMap::new(),
            settled: BTreeSet::new(),
            written: 0,
            drivers: 0,
            restored: 0,
            over: None,
            progress_at: 0,
            idle_events: 0,
            steps: 0,
            coming: 0,
            strikes: Strikes::new(),
            log: None,
        }
    }

    /// The same that writes down what happens.
    pub(super) fn logged(self, log: Log) -> Self {
        Self {
            log: Some(log),
            ..self
        }
    }

    /// Runs to the end and checks what came of it.
    pub(super) fn run(mut self) -> Outcome {
        self.coordinator
            .handle_input(self.at(), scheduler::Input::Begin);
        if self.setup.faults.volunteers {
            (0..=self.setup.workers).for_each(|_| self.volunteer());
        }
        self.coordinator_acts();
        while self.over.is_none() {
            let Some(((at, number), event)) = self.events.pop_first() else {
                panic!("nothing will ever happen again: {}", self.state());
            };
            self.now = at;
            if let Some(until) = self.paused_until(&event) {
                self.events.insert((until, number), event);
                continue;
            }
            self.log_event(&event);
            self.happen(event);
            self.steps += 1;
            self.idle_events += 1;
            if self.over.is_none() && self.dies_at.is_some_and(|at| at <= self.steps) {
                self.driver_dies();
            }
            if self.steps.is_multiple_of(256) {
                self.coordinator.check_waiting(&self.truth.tasks);
            }
            let waited = Duration::from_nanos(self.now - self.progress_at);
            assert!(
                waited < PATIENCE,
                "nothing has gone on for {waited:?}: {}",
                self.state()
            );
            assert!(
                self.idle_events < IDLE_EVENTS_MAX,
                "busy for nothing: {}",
                self.state()
            );
        }
        self.judge()
    }

    /// What can be said of a finished run without knowing how it went.
    fn judge(self) -> Outcome {
        if let Some(Err(reason)) = &self.over {
            panic!("the run failed: {reason}");
        }
        let calm = self.calm();
        assert!(
            calm.is_none_or(|calm| calm < CALM_MAX),
            "nothing went wrong any more for {calm:?}, and still it took so long"
        );
        for key in self.truth.results() {
            assert_eq!(
                self.store.get(&key),
                self.truth.blocks.get(&key),
                "result {key} is not in the store as it should be"
            );
        }
        assert_eq!(
            self.phases.len(),
            self.truth.plan.phase_count(),
            "every phase ends once"
        );
        let finished: u64 = self.effective.values().sum();
        let recomputed = self.phases.iter().map(|p| p.tasks_recomputed).sum();
        let to_do = self.truth.tasks.len() as u64 - self.restored;
        let restored: u64 = self.phases.iter().map(|p| p.tasks_restored).sum();
        assert_eq!(restored, self.restored, "tasks restored");
        if !self.store_is_lossy() {
            assert_eq!(
                self.effective.len() as u64,
                to_do,
                "every task that was not restored was finished, and no other"
            );
        }
        assert_eq!(recomputed, finished - to_do, "tasks recomputed");
        for phase in &self.phases {
            truth::check_moves(phase);
        }
        if self.drivers == 0 {
            truth::check_records(&self.records, &self.phases);
        }
        let tallies = || {
            self.phases
                .iter()
                .flat_map(|p| p.workers.iter().map(|(_, _, t)| t))
        };
        Outcome {
            tally: tallies().fold(Tally::default(), |sum, tally| sum.plus(tally)),
            finished,
            recomputed,
            lost: self.coordinator.lost(),
            replaced: self.phases.iter().map(|p| p.replaced).sum(),
            started: self.nodes.len() + self.down.len(),
            profile: self.coordinator.profile().clone(),
            manifests: self.written,
            drivers: self.drivers,
            restored: self.restored,
            strikes: self.strikes,
            calm,
        }
    }

    /// How long ago everything ceased to go wrong.
    fn calm(&self) -> Option<Duration> {
        let end = self.setup.faults.end_us * US;
        (end > 0 && self.now > end).then(|| Duration::from_nanos(self.now - end))
    }

    // ---- what happens

    fn volunteer(&mut self) {
        self.coming += 1;
        let takes = self.dice.within(1_000, 500_000);
        self.push(takes * US, Event::Volunteer);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Timer => {
                self.timer = u64::MAX;
                self.coordinator.handle_timeout(self.at());
                self.coordinator_acts();
            }
            Event::Left(id) => self.coordinate(scheduler::Input::Left(id)),
            Event::Volunteer => {
                self.coming -= 1;
                let cores = self.setup.cores;
                self.coordinate(scheduler::Input::Volunteered(self.steps, cores));
            }
            Event::Expire(id) => self.expire(id),
            Event::Said(id, message) => self.said(id, message),
            Event::Letter(link, number) => self.letter_came(link, number),
            Event::Written(key, digest) => drop(self.store.insert(key, digest)),
            Event::ManifestPut(manifest) => self.manifest_put(*manifest),
            Event::ManifestWritten => {
                self.coordinate(scheduler::Input::ManifestWritten(Ok(())));
            }
            Event::Swept(before, blocks) => self.swept(before, blocks),
            event => self.happen_at_worker(event),
        }
    }

    /// A worker ends, and its connection with it.
    fn expire(&mut self, id: WorkerId) {
        if self.nodes.contains_key(&id) {
            let takes = self.latency();
            self.deliver((id, true), takes, Event::Left(id));
            self.end(id);
        }
    }

    fn said(&mut self, id: WorkerId, message: FromWorker) {
        let Some(member) = self.coordinator.fleet().get(id) else {
            self.strike("messages of workers taken for lost");
            let before = self.coordinator.standing();
            self.coordinate(scheduler::Input::Message(id, message));
            let after = self.coordinator.standing();
            assert_eq!(before, after, "{id} is taken for lost, and is heeded");
            return;
        };
        if self.at().since(member.heard) >= mishaps::LEASE * 9 / 10 {
            self.strike("workers heard when their lease ends");
        }
        if let FromWorker::Done { lease, .. } = &message {
            let task = self.ledger.task(id, *lease);
            assert!(!self.coordinator.is_done(&task), "{task:?} is done twice");
            *self.effective.entry(task).or_default() += 1;
            (self.progress_at, self.idle_events) = (self.now, 0);
        }
        if let FromWorker::Done { lease, .. } | FromWorker::Missing { lease, .. } = &message {
            self.ledger.ended(id, *lease);
        }
        if matches!(
            message,
            FromWorker::Durable { .. } | FromWorker::Preloaded { .. } | FromWorker::Taken { .. }
        ) {
            self.progress_at = self.now;
        }
        self.coordinate(scheduler::Input::Message(id, message));
        self.mishaps();
    }

    // ---- what the coordinator does about it

    fn coordinate(&mut self, input: scheduler::Input) {
        self.coordinator.handle_input(self.at(), input);
        self.coordinator_acts();
    }

    fn coordinator_acts(&mut self) {
        let records = self.coordinator.take_records();
        self.count_pressure(&records);
        self.records.extend(records);
        while let Some(action) = self.coordinator.poll_action() {
            match action {
                scheduler::Action::Start(id, _) | scheduler::Action::Admit(_, id) => {
                    let late = self.strikes("workers started late", self.setup.faults.late);
                    let most = if late {
                        self.setup.faults.late_us
                    } else {
                        50_000
                    };
                    let takes = self.dice.within(1_000, most);
                    self.push(takes * US, Event::Up(id));
                }
                scheduler::Action::End(id) => self.end_or_not(id),
                scheduler::Action::Send(id, message) => {
                    if let ToWorker::Assign(assignment) = &message {
                        self.assigned(id, assignment);
                    }
                    let takes = self.latency();
                    self.deliver((id, false), takes, Event::Told(id, message));
                }
                scheduler::Action::PhaseDone(phase, figures) => {
                    assert_eq!(phase, self.phases.len(), "phases end in their order");
                    self.phases.push(figures);
                }
                scheduler::Action::Decline(..) => {}
                scheduler::Action::WriteManifest(manifest) => {
                    let takes = self.dice.within(500, 20_000);
                    self.push(takes * US, Event::ManifestPut(manifest));
                }
                scheduler::Action::Sweep { before, blocks } => {
                    let takes = self.dice.within(500, 20_000);
                    self.push(takes * US, Event::Swept(before, blocks));
                }
                scheduler::Action::Completed => self.over = Some(Ok(())),
                scheduler::Action::Failed(reason) => self.over = Some(Err(reason)),
            }
        }
        self.coordinator.check_invariants();
        let wanted = self.setup.faults.volunteers && self.over.is_none();
        if wanted && self.coming == 0 && self.coordinator.fleet().empty_slot().is_some() {
            self.volunteer();
        }
        if let Some((at, _)) = self.coordinator.poll_timeout()
            && at.as_nanos() < self.timer
        {
            self.timer = at.as_nanos().max(self.now);
            self.push(self.timer - self.now, Event::Timer);
        }
    }

    fn assigned(&mut self, id: WorkerId, assignment: &Assignment) {
        let task = assignment.task;
        let phase = usize::from(task.phase);
        assert!(phase <= self.phases.len(), "a task runs before its phase");
        assert!(
            !self.settled.contains(&task),
            "{task:?} is done and durable"
        );
        assert!(
            !self.coordinator.is_done(&task),
            "{task:?} is done, and is given to {id}"
        );
        let fleet = self.coordinator.fleet();
        let is_member = |worker| fleet.get(worker).is_some();
        self.ledger.granted(assignment.lease, task, id, is_member);
    }

    /// The worker's process ends; what it has said still arrives.
    fn end(&mut self, id: WorkerId) {
        self.nodes.remove(&id);
        self.down.insert(id);
    }

    // ---- time

    fn at(&self) -> Timestamp {
        Timestamp::from_nanos(self.now)
    }

    fn push(&mut self, takes: u64, event: Event) {
        self.numbered += 1;
        self.events.insert((self.now + takes, self.numbered), event);
    }

    /// For whoever has to find out why a run stands still.
    fn state(&self) -> String {
        let workers = self
            .nodes
            .iter()
            .map(|(id, node)| format!("\n{id}: {}", node.machine.summary()));
        let workers: String = workers.collect();
        let under_way: Vec<_> = self
            .events
            .values()
            .filter(|e| !matches!(e, Event::Timer | Event::WorkerTimer(_)))
            .take(10)
            .collect();
        format!(
            "{} of {} tasks done in {} steps\n{}{workers}\nunder way: {under_way:?}",
            self.effective.len(),
            self.truth.tasks.len(),
            self.steps,
            self.coordinator.summary(&self.truth.tasks),
        )
    }
}

fn settings(setup: &Setup) -> scheduler::Settings {
    // Volunteers that die before they have joined hold their slots for two leases.
    let start_s = if setup.faults.volunteers { 10 } else { 2 };
    scheduler::Settings {
        workers: setup.workers,
        elastic: setup.elastic,
        cores: setup.cores,
        policy: setup.policy,
        exchange: setup.exchange,
        durability: setup.durability,
        checkpoint: setup.checkpoint_us.map(Duration::from_micros),
        preload: setup.preload,
        start_timeout: Duration::from_secs(start_s),
        lease: mishaps::LEASE,
        volunteers: (setup.faults.volunteers).then_some(scheduler::Volunteers { helpers_max: 1 }),
    }
}
