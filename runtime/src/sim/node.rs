//! A simulated worker: what its machine wants done, what that takes, and what comes of it.

mod computing;
mod fetching;

use std::collections::{BTreeMap, HashMap, VecDeque};

use peerwren_transports::block::Digest;
use peerwren_transports::identity::NodeId;
use peerwren_transports::quic;
use peerwren_transports::serving::{self, RequestId, Server};

use self::computing::{INPUT_TAG, Running, untagged};
use super::world::{Event, World, nanos};
use crate::control::ToWorker;
use crate::dice::Dice;
use crate::machine::cache::Copy;
use crate::machine::worker::{Action, Input, Worker};
use crate::machine::{LeaseId, Timestamp, WorkerId};
use crate::plan::TaskId;

/// What one worker knows of its way to another.
#[derive(Clone, Copy, Debug)]
enum Way {
    Open,
    /// There was none at this time.
    Closed(u64),
}

/// A worker that is there.
#[derive(Debug)]
pub(super) struct Node {
    machine: Worker,
    /// When its clock began.
    born: u64,
    server: Server,
    table: HashMap<Copy, Digest>,
    /// Tasks that wait for a thread.
    waiting: VecDeque<(LeaseId, TaskId)>,
    running: BTreeMap<LeaseId, Running>,
    threads: Vec<u32>,
    /// How many times as long its kernels take.
    slow: f64,
    ways: HashMap<WorkerId, Way>,
    dice: Dice,
}

/// A block on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transfer {
    worker: WorkerId,
    copy: Copy,
    kind: Kind,
    bytes: u64,
    digest: Digest,
    /// Not before this time, where the store is what it waits for.
    least: u64,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// From a peer, that may have been asked and may be sending.
    Peer(WorkerId, Option<WorkerId>),
    /// From the store, blocks and inputs alike.
    Read,
    Put,
}

impl Node {
    pub(super) fn new(machine: Worker, born: u64, slow: f64, cores: u32, dice: Dice) -> Self {
        Self {
            machine,
            born,
            server: Server::new(serving_limits()),
            table: HashMap::new(),
            waiting: VecDeque::new(),
            running: BTreeMap::new(),
            threads: (0..cores).rev().collect(),
            slow,
            ways: HashMap::new(),
            dice,
        }
    }

    fn at(&self, now: u64) -> Timestamp {
        Timestamp::from_nanos(now - self.born)
    }

    /// A digest that stands for 64 bits.
    pub(super) fn digest(word: u64) -> Digest {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&word.to_le_bytes());
        Digest(bytes)
    }

    pub(super) fn word(digest: &Digest) -> u64 {
        let mut word = [0; 8];
        word.copy_from_slice(&digest.0[..8]);
        u64::from_le_bytes(word)
    }
}

/// What a node serves at a time, and when it refers: as real nodes do.
fn serving_limits() -> serving::Limits {
    let real = quic::Limits::default();
    serving::Limits {
        outgoing_max: real.outgoing_max,
        lagging_max: real.outgoing_lagging_max,
        queue_max: real.outgoing_queue_max,
        refer_bytes_min: real.refer_bytes_min as u64,
    }
}

impl World<'_> {
    pub(super) fn happen_at_node(&mut self, event: Event) {
        match event {
            Event::WorkerTimer(id) => {
                let now = self.now;
                if let Some(node) = self.node(id) {
                    node.machine.handle_timeout(node.at(now));
                    self.act(id);
                    self.arm(id);
                }
            }
            Event::Told(id, message) => self.told(id, *message),
            Event::Asked(number) => self.asked(number),
            Event::Begun(number) => self.begun(number),
            Event::Flowed(flow) => {
                let mut ends = std::mem::take(&mut self.ends);
                let tag = self.network.over(self.now, flow, &mut ends);
                self.ends = ends;
                if let Some(number) = tag {
                    self.flowed(number);
                }
            }
            Event::Came(number) => self.came(number),
            Event::Failed(number, failure) => self.failed(number, failure),
            Event::Served(id, number) => {
                self.serve(id, serving::Input::Served(RequestId(number)));
            }
            Event::Computed(id, lease) => self.computed(id, lease),
            Event::CoreFree(version) => {
                let over = self.cores.as_mut().and_then(|c| c.over(self.now, version));
                if let Some((tag, next)) = over {
                    self.expect_core(next);
                    if tag & INPUT_TAG != 0 {
                        self.came(tag & !INPUT_TAG);
                    } else if let Some((id, lease)) = untagged(tag) {
                        // The thread has a little to do after the kernel.
                        let after = nanos(self.fleet.kernels.task_s);
                        self.queue
                            .push(self.now + after, Event::Computed(id, lease));
                    }
                }
            }
            _ => unreachable!("the coordinator's"),
        }
    }

    /// After each event: flows whose rates have changed end at other times, and cores have more or less to do
    /// beside kernels.
    pub(super) fn settle(&mut self) {
        for ends in self.ends.drain(..) {
            self.queue.push(ends.at, Event::Flowed(ends.flow));
        }
        if let (Some(cores), Some(machine)) = (&mut self.cores, &self.fleet.machine) {
            let taken = self.network.load() * 1e-9 * machine.move_s_per_gb;
            let next = cores.take(self.now, taken);
            self.expect_core(next);
        }
    }

    fn expect_core(&mut self, next: Option<(u64, u64)>) {
        if let Some((at, version)) = next {
            self.queue.push(at, Event::CoreFree(version));
        }
    }

    fn node(&mut self, id: WorkerId) -> Option<&mut Node> {
        self.nodes.get_mut(id.0 as usize)?.as_deref_mut()
    }

    fn input(&mut self, id: WorkerId, input: Input) {
        let now = self.now;
        if let Some(node) = self.node(id) {
            node.machine.handle_input(node.at(now), input);
            self.act(id);
        }
    }

    pub(super) fn arm(&mut self, id: WorkerId) {
        let now = self.now;
        let Some(node) = self.node(id) else { return };
        if let Some((at, _)) = node.machine.poll_timeout() {
            let at = (node.born + at.as_nanos()).max(now);
            self.queue.push(at, Event::WorkerTimer(id));
        }
    }

    fn told(&mut self, id: WorkerId, message: ToWorker) {
        match message {
            ToWorker::Peers { left, .. } => {
                for peer in left {
                    self.serve(id, serving::Input::PeerLeft(NodeId::Worker(peer.0)));
                    self.give_up_peer(id, peer);
                }
            }
            ToWorker::Assign(assignment) => self.input(id, Input::Assigned(assignment)),
            ToWorker::Preload { keys } => self.input(id, Input::Preload(keys)),
            ToWorker::Store { keys, reason } => self.input(id, Input::Store(keys, reason)),
            ToWorker::Take { blocks } => self.input(id, Input::Take(blocks)),
            ToWorker::Refused { .. } | ToWorker::Stop => self.leave(id),
            ToWorker::Welcome { .. } | ToWorker::Observed { .. } | ToWorker::Introduce { .. } => {}
        }
    }

    fn act(&mut self, id: WorkerId) {
        while let Some(action) = self.node(id).and_then(|node| node.machine.poll_action()) {
            match action {
                Action::Fetch(fetch) => self.fetch(id, fetch),
                Action::Compute(lease, task) => self.compute(id, lease, task),
                Action::Store(copy) => self.put(id, copy),
                Action::Drop(copy) => {
                    if let Some(node) = self.node(id) {
                        node.table.remove(&copy);
                        self.serve(id, serving::Input::BlockLeft(copy.key));
                    }
                }
                Action::Send(message) => self.say(id, message),
            }
        }
        if cfg!(debug_assertions)
            && let Some(node) = self.node(id)
        {
            node.machine.check_invariants();
        }
    }

    fn transfer(&mut self, transfer: Transfer) -> u64 {
        self.numbered += 1;
        self.transfers.insert(self.numbered, transfer);
        self.numbered
    }
}
