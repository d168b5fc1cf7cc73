//! The simulated world: what happens in which order, the coordinator with its queue of messages, and workers
//! that start, end and die. What workers do is in [`super::node`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use peerwren_transports::block::{BlockKey, Digest};

use super::cores::SharedCores;
use super::fleet::Fleet;
use super::kernels::Kernels;
use super::network::{Ends, FlowId, Network};
use super::node::{Node, Transfer};
use super::queue::Queue;
use super::{Recorder, Simulated};
use crate::control::{FromWorker, ToWorker, WorkerSettings};
use crate::dice::Dice;
use crate::machine::scheduler::{self, PhaseFigures, Scheduler, Settings};
use crate::machine::taskset::TaskSet;
use crate::machine::worker::{FetchFailure, Worker};
use crate::machine::{LeaseId, Timestamp, WorkerId};
use crate::options::Resolved;
use crate::outcome::Outcome;
use crate::plan::Plan;
use crate::prices::{self, Usage};

/// How long workers may take to join.
const START_TIMEOUT: Duration = Duration::from_secs(120);
/// Nothing may stand still for so long in simulated time: hours of a task that is very slow.
const PATIENCE_NS: u64 = 30 * 86_400 * 1_000_000_000;
/// Nor may so many things happen without a task being finished.
const IDLE_EVENTS_MAX: u64 = 50_000_000;
/// Between two looks at a machine's invariants, in a debug build.
const CHECK_EVERY: u64 = 4096;
/// All workers compute the same bits here.
const BITS: Digest = Digest([0; 32]);

/// What happens.
#[derive(Debug)]
pub(super) enum Event {
    /// A worker is there and says hello.
    Up(WorkerId),
    /// The coordinator hears that a worker is gone.
    Left(WorkerId),
    /// A worker dies.
    Killed(WorkerId),
    /// A worker's life is over.
    Expired(WorkerId),
    Said(WorkerId, Box<FromWorker>),
    Told(WorkerId, Box<ToWorker>),
    /// A worker is asked for a block.
    Asked(u64),
    /// The store begins to send or take.
    Begun(u64),
    /// A flow is over, if nothing has changed meanwhile.
    Flowed(FlowId),
    /// A block is here, or in the store.
    Came(u64),
    Failed(u64, FetchFailure),
    /// A worker hears that a peer has the block that it sent.
    Served(WorkerId, u64),
    Computed(WorkerId, LeaseId),
    /// A kernel on shared cores is over, if nothing has changed meanwhile.
    CoreFree(u64),
    /// A worker wants to be told the time.
    WorkerTimer(WorkerId),
    /// So does the coordinator.
    Timer,
    ManifestWritten,
    Swept(Vec<BlockKey>),
}

/// When a worker was there.
#[derive(Clone, Copy, Debug)]
struct Life {
    began: u64,
    ended: Option<u64>,
}

/// See the module's page.
pub(super) struct World<'a> {
    pub(super) plan: &'a Arc<Plan>,
    pub(super) options: &'a Resolved,
    pub(super) fleet: &'a Fleet,
    pub(super) dice: Dice,
    pub(super) now: u64,
    pub(super) queue: Queue<Event>,
    pub(super) nodes: Vec<Option<Box<Node>>>,
    pub(super) network: Network,
    pub(super) cores: Option<SharedCores>,
    pub(super) kernels: Kernels,
    /// Blocks on their way, by number.
    pub(super) transfers: HashMap<u64, Transfer>,
    pub(super) numbered: u64,
    pub(super) store: HashMap<BlockKey, Digest>,
    /// When the store takes the next read, the next write and the next byte.
    pub(super) store_free: [u64; 3],
    /// Tasks that were computed, and a hash of what they made.
    pub(super) computed: TaskSet,
    pub(super) bits: u64,
    /// Rates that have changed, told by the network.
    pub(super) ends: Vec<Ends>,
    coordinator: Scheduler,
    /// When the coordinator has read all that was said so far.
    coordinator_free: u64,
    timer: u64,
    settings: WorkerSettings,
    /// When the next worker may be started, where that is limited.
    start_free: u64,
    lives: HashMap<WorkerId, Life>,
    started: Option<u64>,
    preload_began: Option<u64>,
    phases: Vec<PhaseFigures>,
    used: Vec<Usage>,
    counted: Usage,
    recorder: Option<Recorder<'a>>,
    over: Option<Result<(), String>>,
    events: u64,
    /// When a task was finished last, and events since.
    progress: (u64, u64),
}

impl<'a> World<'a> {
    pub(super) fn new(
        plan: &'a Arc<Plan>,
        options: &'a Resolved,
        fleet: &'a Fleet,
        seed: u64,
        recorder: Option<Recorder<'a>>,
    ) -> Self {
        let settings = Settings {
            start_timeout: START_TIMEOUT,
            lease: Duration::from_secs_f64(fleet.network.lease_s),
            ..Settings::of(options)
        };
        let alive_ms = settings.alive_ms();
        let machine = Scheduler::new(Arc::clone(plan), settings);
        Self {
            plan,
            options,
            fleet,
            dice: Dice::new(seed),
            now: 0,
            queue: Queue::new(),
            nodes: Vec::new(),
            network: Network::default(),
            cores: fleet
                .machine
                .as_ref()
                .map(|machine| SharedCores::new(machine.cores)),
            kernels: Kernels::new(&fleet.kernels),
            transfers: HashMap::new(),
            numbered: 0,
            store: HashMap::new(),
            store_free: [0; 3],
            computed: TaskSet::default(),
            bits: 0,
            ends: Vec::new(),
            coordinator: match recorder {
                Some(_) => machine.traced(),
                None => machine,
            },
            coordinator_free: 0,
            timer: u64::MAX,
            settings: WorkerSettings {
                exchange: options.exchange,
                durability: options.durability,
                memory_bytes: options.memory,
                cores: options.cores,
                alive_ms,
                stun: Vec::new(),
                traces: recorder.is_some(),
            },
            start_free: 0,
            lives: HashMap::new(),
            started: None,
            preload_began: None,
            phases: Vec::new(),
            used: Vec::new(),
            counted: Usage::default(),
            recorder,
            over: None,
            events: 0,
            progress: (0, 0),
        }
    }

    /// Runs to the end.
    pub(super) fn run(mut self) -> Result<Simulated, String> {
        self.coordinate(scheduler::Input::Begin);
        while self.over.is_none() {
            let Some((at, event)) = self.queue.pop() else {
                return Err(self.stuck("nothing will ever happen again"));
            };
            self.now = at;
            self.happen(event);
            self.settle();
            self.events += 1;
            let (since, events) = self.progress;
            if self.now - since > PATIENCE_NS || self.events - events > IDLE_EVENTS_MAX {
                return Err(self.stuck("no task has been finished for long"));
            }
            if cfg!(debug_assertions) && self.events.is_multiple_of(CHECK_EVERY) {
                self.coordinator.check_invariants();
            }
        }
        self.over.take().unwrap_or(Ok(()))?;
        let startup = self.started.unwrap_or(0);
        let preload = self.preload_began.map_or(0, |began| startup - began);
        Ok(Simulated {
            bits: Node::digest(self.bits),
            nanos: self.now,
            events: self.events,
            outcome: Outcome {
                startup: Duration::from_nanos(startup),
                preload: Duration::from_nanos(preload),
                phases: self.phases,
                profile: self.coordinator.profile().clone(),
                fleet: self.fleet.function.map(|function| prices::Fleet {
                    workers: self.options.workers,
                    cores: self.options.cores,
                    kind: function.kind(),
                    timeout_s: if self.fleet.worker.life_s > 0.0 {
                        self.fleet.worker.life_s
                    } else {
                        f64::MAX
                    },
                    gflops: self.fleet.kernels.gflops,
                    bytes_s: self.fleet.worker.bytes_in_s,
                    startup_s: self.fleet.worker.start_s,
                }),
                used: self.used,
                ..Outcome::default()
            },
        })
    }

    fn stuck(&self, what: &str) -> String {
        let (phase, tasks, _) = self.coordinator.progress();
        format!(
            "the simulation stands still at {:.1} s in phase {phase} after {tasks} tasks: {what}; this is a \
             defect of peerwren",
            self.now as f64 * 1e-9
        )
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Timer => {
                self.timer = u64::MAX;
                self.coordinator.handle_timeout(self.at());
                self.coordinator_acts();
            }
            Event::Left(id) => self.coordinate(scheduler::Input::Left(id)),
            Event::Said(id, message) => {
                if let FromWorker::Done { .. } = *message {
                    self.progress = (self.now, self.events);
                }
                self.coordinate(scheduler::Input::Message(id, *message));
            }
            Event::ManifestWritten => {
                self.coordinate(scheduler::Input::ManifestWritten(Ok(())));
            }
            Event::Swept(blocks) => {
                for key in blocks {
                    self.store.remove(&key);
                }
                self.coordinate(scheduler::Input::Swept);
            }
            Event::Up(id) => self.up(id),
            Event::Killed(id) => {
                if self.end(id) {
                    let notice = nanos(self.fleet.faults.notice_s);
                    self.queue.push(self.now + notice, Event::Left(id));
                }
            }
            Event::Expired(id) => self.leave(id),
            event => self.happen_at_node(event),
        }
    }

    // ---- the coordinator

    fn at(&self) -> Timestamp {
        Timestamp::from_nanos(self.now)
    }

    fn coordinate(&mut self, input: scheduler::Input) {
        self.coordinator.handle_input(self.at(), input);
        self.coordinator_acts();
    }

    fn coordinator_acts(&mut self) {
        if let Some(recorder) = &mut self.recorder {
            recorder(&self.coordinator.take_records());
        }
        while let Some(action) = self.coordinator.poll_action() {
            match action {
                scheduler::Action::Start(id, _) => self.start(id),
                scheduler::Action::End(id) => drop(self.end(id)),
                scheduler::Action::Send(id, message) => self.tell(id, message),
                scheduler::Action::PhaseDone(_, figures) => {
                    self.phases.push(figures);
                    let used = self.usage();
                    self.used.push(used - self.counted);
                    self.counted = used;
                }
                scheduler::Action::WriteManifest(_) => {
                    let takes = nanos(self.fleet.store.put_s);
                    self.queue.push(self.now + takes, Event::ManifestWritten);
                }
                scheduler::Action::Sweep { blocks, .. } => {
                    let takes = nanos(self.fleet.store.put_s);
                    self.queue.push(self.now + takes, Event::Swept(blocks));
                }
                // Nobody volunteers here.
                scheduler::Action::Admit(..) | scheduler::Action::Decline(..) => {}
                scheduler::Action::Completed => self.over = Some(Ok(())),
                scheduler::Action::Failed(reason) => self.over = Some(Err(reason)),
            }
        }
        if let Some((at, _)) = self.coordinator.poll_timeout()
            && at.as_nanos() < self.timer
        {
            self.timer = at.as_nanos().max(self.now);
            self.queue.push(self.timer, Event::Timer);
        }
    }

    fn tell(&mut self, id: WorkerId, message: ToWorker) {
        match message {
            ToWorker::Preload { .. } if self.preload_began.is_none() => {
                self.preload_began = Some(self.now);
            }
            ToWorker::Assign(_) if self.started.is_none() => self.started = Some(self.now),
            _ => {}
        }
        let at = self.now + self.half_trip();
        self.queue.push(at, Event::Told(id, Box::new(message)));
    }

    /// A worker tells the coordinator something, which reads one message after the other. Links are of one
    /// length, so that messages come in the order in which they are sent.
    pub(super) fn say(&mut self, id: WorkerId, message: FromWorker) {
        let comes = self.now + self.half_trip();
        let read = comes.max(self.coordinator_free) + nanos(self.fleet.network.message_s);
        self.coordinator_free = read;
        self.queue.push(read, Event::Said(id, Box::new(message)));
    }

    pub(super) fn half_trip(&self) -> u64 {
        nanos(self.fleet.network.round_trip_s / 2.0)
    }

    // ---- lives

    /// A worker is asked for; it comes when one may be started and has started.
    fn start(&mut self, id: WorkerId) {
        let model = &self.fleet.worker;
        let begins = if model.starts_per_s > 0.0 && id.0 >= model.starts_at_once {
            self.start_free = self.start_free.max(self.now) + nanos(1.0 / model.starts_per_s);
            self.start_free
        } else {
            self.now
        };
        let mut dice = self.dice.of(u64::from(id.0));
        let takes = nanos(dice.around(model.start_s, model.start_spread_s));
        let life = Life {
            began: begins,
            ended: None,
        };
        self.lives.insert(id, life);
        self.queue.push(begins + takes, Event::Up(id));
    }

    fn up(&mut self, id: WorkerId) {
        if self.lives.get(&id).is_none_or(|life| life.ended.is_some()) {
            return;
        }
        let model = &self.fleet.worker;
        let number = id.0 as usize;
        self.network
            .line(number, [model.bytes_in_s, model.bytes_out_s]);
        let mut machine = Worker::new(
            Timestamp::default(),
            Arc::clone(self.plan),
            self.settings.clone(),
        );
        if model.life_s > 0.0 {
            let life = nanos(model.life_s);
            machine.must_end(Timestamp::from_nanos(life));
            self.queue.push(self.now + life, Event::Expired(id));
        }
        let mut dice = self.dice.of(u64::from(id.0) ^ 1 << 40);
        let stragglers = &self.fleet.stragglers;
        let slow = if dice.share() < stragglers.share {
            stragglers.slowdown
        } else {
            1.0
        };
        let kills = self.fleet.faults.kills_per_hour;
        if kills > 0.0 {
            let at = self.now + nanos(dice.wait(3600.0 / kills));
            self.queue.push(at, Event::Killed(id));
        }
        if self.nodes.len() <= number {
            self.nodes.resize_with(number + 1, || None);
        }
        let node = Node::new(machine, self.now, slow, self.options.cores, dice);
        self.nodes[number] = Some(Box::new(node));
        self.arm(id);
        let address = vec![format!("simulated:{}", id.0)];
        self.coordinate(scheduler::Input::Joined(id, address, BITS));
    }

    /// A worker ends, and whoever is connected with it hears of it.
    pub(super) fn leave(&mut self, id: WorkerId) {
        if self.end(id) {
            self.queue
                .push(self.now + self.half_trip(), Event::Left(id));
        }
    }

    /// A worker is no more, and what was on its way to or from it neither; whether there was one.
    fn end(&mut self, id: WorkerId) -> bool {
        let Some(life) = self.lives.get_mut(&id).filter(|life| life.ended.is_none()) else {
            return false;
        };
        life.ended = Some(self.now);
        let node = self.nodes.get_mut(id.0 as usize);
        if node.and_then(Option::take).is_some() {
            self.cut(id);
        }
        true
    }

    /// What was used of the cloud until now.
    fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        let Some(function) = self.fleet.function else {
            return usage;
        };
        let mut ids: Vec<_> = self.lives.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            let life = self.lives[&id];
            let ended = life.ended.unwrap_or(self.now).max(life.began);
            usage.add_invocation(function.kind(), (ended - life.began) as f64 * 1e-9);
        }
        usage
    }

    /// Whether a worker is there.
    pub(super) fn is_up(&self, id: WorkerId) -> bool {
        self.nodes.get(id.0 as usize).is_some_and(Option::is_some)
    }
}

pub(super) fn nanos(seconds: f64) -> u64 {
    (seconds * 1e9).round() as u64
}
