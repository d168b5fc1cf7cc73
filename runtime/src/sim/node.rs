//! A simulated worker: what its machine wants done, what that takes, and what comes of it.

use std::collections::{BTreeMap, HashMap, VecDeque};

use peerwren_transports::block::{BlockKey, Digest};
use peerwren_transports::identity::NodeId;
use peerwren_transports::punch::RETRY;
use peerwren_transports::quic;
use peerwren_transports::serving::{self, Request, RequestId, Server};

use super::dice::Dice;
use super::network::End;
use super::world::{Event, World, nanos};
use crate::control::{FromWorker, PeerWay, ToWorker};
use crate::machine::cache::Copy;
use crate::machine::worker::{Action, Fetch, FetchFailure, Input, Origin, Output, Ran, Worker};
use crate::machine::{LeaseId, Timestamp, WorkerId};
use crate::matrix::Moved;
use crate::plan::TaskId;

/// How long a pair of workers looks for a path where there is none.
const GIVE_UP_S: f64 = 4.0;

/// A kernel on a thread.
#[derive(Clone, Copy, Debug)]
struct Running {
    task: TaskId,
    thread: u32,
    began: u64,
    /// In the kernel, on a core of its own.
    kernel_ns: u64,
}

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

/// The digest of a block that no task makes.
fn source_digest(key: &BlockKey) -> Digest {
    let mut word = u64::from(key.matrix) + 1;
    for &index in key.indices.as_slice() {
        word = Dice::new(word ^ u64::from(index.cast_unsigned())).next();
    }
    Node::digest(word)
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
            ToWorker::Stop => self.leave(id),
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

    // ---- fetching

    fn fetch(&mut self, id: WorkerId, fetch: Fetch) {
        let Fetch {
            copy,
            origin,
            digest: expected,
            in_vain,
        } = fetch;
        let transfer = |kind| Transfer {
            worker: id,
            copy,
            kind,
            bytes: 0,
            digest: Digest([0; 32]),
            least: 0,
        };
        match origin {
            Origin::Peer(peer) => {
                let number = self.transfer(transfer(Kind::Peer(peer, in_vain)));
                self.ask(number, id, peer);
            }
            Origin::Store => {
                let number = self.transfer(transfer(Kind::Read));
                let held = expected.and(self.store.get(&copy.key).copied());
                self.read(number, held);
            }
            Origin::Source => {
                let number = self.transfer(transfer(Kind::Read));
                let digest = source_digest(&copy.key);
                if self.fleet.inputs.from_store && self.plan.is_input(&copy.key) {
                    self.read(number, Some(digest));
                } else {
                    let bytes = self.plan.bytes(&copy.key);
                    let takes = nanos(bytes as f64 / self.fleet.inputs.bytes_s);
                    self.amend(number, bytes, digest);
                    // Whoever reads or makes it takes a core for that.
                    match &mut self.cores {
                        Some(cores) => {
                            let next = cores.start(self.now, takes, number | INPUT_TAG);
                            self.expect_core(next);
                        }
                        None => self.queue.push(self.now + takes, Event::Came(number)),
                    }
                }
            }
        }
    }

    fn amend(&mut self, number: u64, bytes: u64, digest: Digest) {
        if let Some(transfer) = self.transfers.get_mut(&number) {
            (transfer.bytes, transfer.digest) = (bytes, digest);
        }
    }

    /// Asks a peer, after a path to it was found.
    fn ask(&mut self, number: u64, id: WorkerId, peer: WorkerId) {
        let now = self.now;
        let (nat, trip) = (&self.fleet.nat, self.half_trip());
        let is_open = self.reaches(id, peer);
        let Some(node) = self.nodes[id.0 as usize].as_deref_mut() else {
            return;
        };
        let mut takes = trip;
        match node.ways.get(&peer) {
            Some(Way::Open) => {}
            Some(Way::Closed(at)) if now - at < RETRY.as_nanos() as u64 => {
                self.queue
                    .push(now, Event::Failed(number, FetchFailure::NoPath));
                return;
            }
            _ => {
                let way = if is_open { Way::Open } else { Way::Closed(now) };
                node.ways.insert(peer, way);
                if !is_open {
                    let at = now + nanos(GIVE_UP_S);
                    self.queue
                        .push(at, Event::Failed(number, FetchFailure::NoPath));
                    self.say(
                        id,
                        FromWorker::Way {
                            peer,
                            way: PeerWay::Store,
                        },
                    );
                    return;
                }
                // A handshake takes a round trip of its own.
                takes += 2 * trip + nanos(nat.punch_s);
                let way = if nat.punch_s > 0.0 {
                    PeerWay::Punched
                } else {
                    PeerWay::Local
                };
                self.say(id, FromWorker::Way { peer, way });
            }
        }
        self.queue.push(now + takes, Event::Asked(number));
    }

    /// Whether packets pass between two workers.
    fn reaches(&self, one: WorkerId, other: WorkerId) -> bool {
        let unreachable = self.fleet.nat.unreachable;
        if unreachable <= 0.0 {
            return true;
        }
        let (low, high) = (one.0.min(other.0), one.0.max(other.0));
        let pair = u64::from(low) << 32 | u64::from(high);
        self.dice.of(pair ^ 1 << 63).share() >= unreachable
    }

    /// A request reaches the peer, if that is there and has the block.
    fn asked(&mut self, number: u64) {
        let Some(&transfer) = self.transfers.get(&number) else {
            return;
        };
        let Kind::Peer(peer, in_vain) = transfer.kind else {
            return;
        };
        let key = transfer.copy.key;
        if !self.is_up(peer) {
            let silence = nanos(self.fleet.faults.notice_s);
            let failed = Event::Failed(number, FetchFailure::Elsewhere);
            self.queue.push(self.now + silence, failed);
            return;
        }
        let shared = Copy { key, private: None };
        let held = self
            .node(peer)
            .and_then(|node| node.table.get(&shared).copied());
        let Some(digest) = held else {
            let failed = Event::Failed(number, FetchFailure::Elsewhere);
            self.queue.push(self.now + self.half_trip(), failed);
            return;
        };
        let bytes = self.plan.likely_bytes(&key);
        self.amend(number, bytes, digest);
        self.serve(
            peer,
            serving::Input::Asked(Request {
                id: RequestId(number),
                peer: NodeId::Worker(transfer.worker.0),
                key,
                bytes,
                in_vain: in_vain.map(|peer| NodeId::Worker(peer.0)),
            }),
        );
    }

    /// Tells a worker's server something, and does what it says.
    fn serve(&mut self, id: WorkerId, input: serving::Input) {
        let Some(node) = self.node(id) else { return };
        node.server.handle_input(input);
        let answer = |world: &mut Self, number, failure| {
            let at = world.now + world.half_trip();
            world.queue.push(at, Event::Failed(number, failure));
        };
        while let Some(action) = self.node(id).and_then(|node| node.server.poll_action()) {
            match action {
                serving::Action::Send(RequestId(number)) => {
                    let at = self.now + nanos(self.fleet.network.serve_s);
                    self.queue.push(at, Event::Begun(number));
                }
                serving::Action::Refer(RequestId(number), NodeId::Worker(to)) => {
                    answer(self, number, FetchFailure::Referred(WorkerId(to)));
                }
                serving::Action::Refer(RequestId(number), _)
                | serving::Action::Busy(RequestId(number)) => {
                    answer(self, number, FetchFailure::Elsewhere);
                }
            }
        }
    }

    /// Waits for the store to take a read of a block that it may have.
    fn read(&mut self, number: u64, digest: Option<Digest>) {
        let store = &self.fleet.store;
        let asked = gate(&mut self.store_free[0], self.now, store.gets_per_s);
        let at = asked + nanos(store.get_s);
        let Some(digest) = digest else {
            self.queue
                .push(at, Event::Failed(number, FetchFailure::Elsewhere));
            return;
        };
        let Some(transfer) = self.transfers.get(&number) else {
            return;
        };
        let bytes = self.plan.likely_bytes(&transfer.copy.key);
        self.amend(number, bytes, digest);
        self.queue.push(at, Event::Begun(number));
    }

    /// Bytes begin to flow.
    fn begun(&mut self, number: u64) {
        let Some(transfer) = self.transfers.get_mut(&number) else {
            return;
        };
        let store = &self.fleet.store;
        let here = End::Line(transfer.worker.0 as usize);
        let (way, most) = match transfer.kind {
            Kind::Peer(peer, _) => ((End::Line(peer.0 as usize), here), f64::INFINITY),
            Kind::Read => ((End::Store, here), store.bytes_s),
            Kind::Put => ((here, End::Store), store.bytes_s),
        };
        let bytes = transfer.bytes;
        let is_by_store = !matches!(transfer.kind, Kind::Peer(..));
        if is_by_store && store.total_bytes_s > 0.0 {
            let per_s = store.total_bytes_s / bytes.max(1) as f64;
            transfer.least = gate(&mut self.store_free[2], self.now, per_s) + nanos(1.0 / per_s);
        }
        if let Kind::Peer(peer, _) = transfer.kind
            && !self.is_up(peer)
        {
            // That it failed is on its way.
            return;
        }
        let mut ends = std::mem::take(&mut self.ends);
        self.network
            .start(self.now, way, bytes, most, number, &mut ends);
        self.ends = ends;
    }

    /// All bytes of a transfer have left.
    fn flowed(&mut self, number: u64) {
        let Some(transfer) = self.transfers.get(&number) else {
            return;
        };
        let takes = match transfer.kind {
            Kind::Peer(..) => self.half_trip(),
            Kind::Read => 0,
            Kind::Put => nanos(self.fleet.store.put_s),
        };
        let at = (self.now + takes).max(transfer.least);
        self.queue.push(at, Event::Came(number));
    }

    /// A block is where it was to go.
    fn came(&mut self, number: u64) {
        let Some(transfer) = self.transfers.remove(&number) else {
            return;
        };
        let Transfer {
            worker,
            copy,
            kind,
            bytes,
            digest,
            ..
        } = transfer;
        if let Kind::Peer(peer, _) = kind {
            let at = self.now + self.half_trip();
            self.queue.push(at, Event::Served(peer, number));
        }
        let moved = Moved::once(bytes);
        match kind {
            Kind::Put => {
                self.store.insert(copy.key, digest);
                self.input(worker, Input::Stored(copy, Ok((moved, digest))));
            }
            Kind::Peer(..) | Kind::Read => {
                if let Some(node) = self.node(worker) {
                    node.table.insert(copy, digest);
                }
                self.input(worker, Input::Fetched(copy, Ok(moved)));
            }
        }
    }

    fn failed(&mut self, number: u64, failure: FetchFailure) {
        let Some(transfer) = self.transfers.remove(&number) else {
            return;
        };
        if let Kind::Peer(peer, _) = transfer.kind {
            self.serve(peer, serving::Input::GaveUp(RequestId(number)));
        }
        let result = Input::Fetched(transfer.copy, Err(failure));
        self.input(transfer.worker, result);
    }

    /// A worker hears that a peer is gone: what it wanted of that one fails now.
    fn give_up_peer(&mut self, id: WorkerId, peer: WorkerId) {
        let is_of = |transfer: &Transfer| {
            transfer.worker == id && matches!(transfer.kind, Kind::Peer(from, _) if from == peer)
        };
        let transfers = self.transfers.iter();
        let mut lost: Vec<u64> = transfers
            .filter(|(_, transfer)| is_of(transfer))
            .map(|(&number, _)| number)
            .collect();
        lost.sort_unstable();
        for number in lost {
            self.queue
                .push(self.now, Event::Failed(number, FetchFailure::Elsewhere));
        }
    }

    /// A worker is gone: nothing flows to or from it, and its peers hear nothing for a while.
    pub(super) fn cut(&mut self, id: WorkerId) {
        let mut ends = std::mem::take(&mut self.ends);
        self.network.cut(self.now, id.0 as usize, &mut ends);
        self.ends = ends;
        let touched = self.transfers.iter().filter(|(_, transfer)| {
            transfer.worker == id || matches!(transfer.kind, Kind::Peer(peer, _) if peer == id)
        });
        let mut touched: Vec<(u64, Transfer)> = touched.map(|(&at, &of)| (at, of)).collect();
        touched.sort_unstable_by_key(|(number, _)| *number);
        let silence = nanos(self.fleet.faults.notice_s);
        for (number, transfer) in touched {
            if transfer.worker != id {
                let failed = Event::Failed(number, FetchFailure::Elsewhere);
                self.queue.push(self.now + silence, failed);
                continue;
            }
            self.transfers.remove(&number);
            if let Kind::Peer(peer, _) = transfer.kind {
                self.serve(peer, serving::Input::GaveUp(RequestId(number)));
            }
        }
    }

    // ---- the store

    fn put(&mut self, id: WorkerId, copy: Copy) {
        let Some(digest) = self
            .node(id)
            .and_then(|node| node.table.get(&copy).copied())
        else {
            let error = format!("block {} left before it was stored", copy.key);
            self.input(id, Input::Stored(copy, Err(error)));
            return;
        };
        let store = &self.fleet.store;
        let at = gate(&mut self.store_free[1], self.now, store.puts_per_s);
        let bytes = self.plan.likely_bytes(&copy.key);
        let number = self.transfer(Transfer {
            worker: id,
            copy,
            kind: Kind::Put,
            bytes,
            digest,
            least: 0,
        });
        self.queue.push(at, Event::Begun(number));
    }

    // ---- computing

    fn compute(&mut self, id: WorkerId, lease: LeaseId, task: TaskId) {
        if let Some(node) = self.node(id) {
            node.waiting.push_back((lease, task));
        }
        self.start_kernels(id);
    }

    fn start_kernels(&mut self, id: WorkerId) {
        let spread = self.fleet.kernels.spread;
        loop {
            let now = self.now;
            let Some(node) = self.node(id) else { return };
            let Some(thread) = node.threads.pop() else {
                return;
            };
            let Some((lease, task)) = node.waiting.pop_front() else {
                node.threads.push(thread);
                return;
            };
            let slow = node.slow * node.dice.around(1.0, spread);
            let kernel_ns = (slow * self.kernels.nanos(self.plan, &task)).round() as u64;
            let running = Running {
                task,
                thread,
                began: now,
                kernel_ns,
            };
            if let Some(node) = self.node(id) {
                node.running.insert(lease, running);
            }
            match &mut self.cores {
                Some(cores) => {
                    let next = cores.start(now, kernel_ns, tagged(id, lease));
                    self.expect_core(next);
                }
                None => {
                    let takes = kernel_ns + nanos(self.fleet.kernels.task_s);
                    self.queue.push(now + takes, Event::Computed(id, lease));
                }
            }
        }
    }

    fn computed(&mut self, id: WorkerId, lease: LeaseId) {
        let Some(node) = self.nodes[id.0 as usize].as_deref_mut() else {
            return;
        };
        let Some(run) = node.running.remove(&lease) else {
            return;
        };
        node.threads.push(run.thread);
        let task = run.task;
        let mut word = u64::from(task.stmt) << 8 | u64::from(task.phase);
        for &index in task.at.as_slice() {
            word = Dice::new(word ^ u64::from(index.cast_unsigned())).next();
        }
        for key in self.plan.input_slots(&task) {
            let digest = key.map(|key| node.table[&node.machine.copy(key, lease)]);
            word = Dice::new(word ^ digest.as_ref().map_or(1, Node::word)).next();
        }
        let mut made = Vec::new();
        for key in self.plan.outputs(&task) {
            word = Dice::new(word).next();
            let digest = Node::digest(word);
            node.table.insert(node.machine.copy(key, lease), digest);
            let is_hashed = node.machine.is_to_be_hashed(&task, &key);
            made.push(Output {
                key,
                digest: is_hashed.then_some(digest),
                bytes: self.plan.likely_bytes(&key),
            });
        }
        if self.computed.insert(task) {
            self.bits = self.bits.wrapping_add(word);
        }
        let ran = Ran {
            thread: run.thread,
            began: node.at(run.began),
            compute_ns: run.kernel_ns,
        };
        self.input(id, Input::Computed(lease, Ok(made), ran));
        self.start_kernels(id);
    }
}

/// What marks the number of an input that is read or made on shared cores.
const INPUT_TAG: u64 = 1 << 63;

/// A kernel's name on shared cores.
fn tagged(id: WorkerId, lease: LeaseId) -> u64 {
    u64::from(id.0) << 40 | lease.0
}

fn untagged(tag: u64) -> Option<(WorkerId, LeaseId)> {
    let id = u32::try_from(tag >> 40).ok()?;
    Some((WorkerId(id), LeaseId(tag & ((1 << 40) - 1))))
}

/// When one of a limited number of things a second may happen; 0 for no limit.
fn gate(free: &mut u64, now: u64, per_s: f64) -> u64 {
    if per_s <= 0.0 {
        return now;
    }
    let at = now.max(*free);
    *free = at + nanos(1.0 / per_s);
    at
}
