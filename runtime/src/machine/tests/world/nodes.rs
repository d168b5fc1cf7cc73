//! The workers of the world: each has its machine, a memory of what blocks hash to, threads and timers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use peerwren_transports::block::{BlockKey, Digest};

use super::super::setup::Costs;
use super::super::truth;
use super::{Event, US, World};
use crate::control::{FromWorker, ToWorker, WorkerSettings};
use crate::machine::cache::Copy;
use crate::machine::scheduler;
use crate::machine::worker::{self, Origin, Output, Ran, Worker};
use crate::machine::{LeaseId, WorkerId};
use crate::matrix::Moved;
use crate::plan::TaskId;

/// A worker of the world.
pub(super) struct Node {
    pub(super) machine: Worker,
    pub(super) table: BTreeMap<Copy, Digest>,
    pub(super) peers: BTreeSet<WorkerId>,
    /// Tasks at its threads; those beyond their number wait.
    pub(super) computing: VecDeque<(LeaseId, TaskId)>,
    pub(super) slow: u64,
    /// What it says takes so much longer.
    pub(super) stalled: u64,
    /// It stands still until then.
    pub(super) paused_until: u64,
    /// What it made or took over and nobody has said is dead, until it has put it into the store: it must not let
    /// that go.
    own: BTreeSet<Copy>,
}

impl World<'_> {
    /// Something happens at a worker, which acts on it.
    pub(super) fn happen_at_worker(&mut self, event: Event) {
        let (id, input) = match event {
            Event::Up(id) => return self.up(id),
            Event::WorkerTimer(id) => {
                let at = self.at();
                if let Some(node) = self.nodes.get_mut(&id) {
                    node.machine.handle_timeout(at);
                    self.worker_acts(id);
                    self.arm(id);
                }
                return;
            }
            Event::Told(id, message) => match self.told(id, message) {
                Some(input) => (id, input),
                None => return,
            },
            Event::Fetched(id, fetch) => {
                let (copy, result) = (fetch.copy, self.fetched(id, &fetch));
                let moved = Moved::once(self.bytes(&copy.key));
                let result = result.map(|()| moved);
                (id, worker::Input::Fetched(copy, result))
            }
            Event::Computed(id, lease, task, nanos) => match self.computed(id, lease, &task) {
                Some(made) => {
                    let node = self.nodes.get(&id);
                    let is_hashed = |key: &BlockKey| {
                        node.is_some_and(|node| node.machine.is_to_be_hashed(&task, key))
                    };
                    let made = made.into_iter().map(|(key, digest)| Output {
                        key,
                        digest: is_hashed(&key).then_some(digest),
                        bytes: self.bytes(&key),
                    });
                    let compute_ns = nanos;
                    let ran = Ran {
                        compute_ns,
                        ..Ran::default()
                    };
                    let made = Ok(made.collect());
                    (id, worker::Input::Computed(lease, made, ran))
                }
                None => return,
            },
            Event::Stored(id, copy) => {
                let moved = Moved::once(self.bytes(&copy.key));
                let digest = self.truth.blocks[&copy.key];
                (id, worker::Input::Stored(copy, Ok((moved, digest))))
            }
            Event::Leave(id) => {
                let left = Duration::from_micros(self.setup.faults.notice_us);
                (id, worker::Input::Leave(left))
            }
            _ => unreachable!("the coordinator's"),
        };
        let at = self.at();
        if let Some(node) = self.nodes.get_mut(&id) {
            if let worker::Input::Stored(copy, _) = &input {
                node.own.remove(copy);
                let digest = node.table[copy];
                self.stored(copy.key, digest);
            }
            if let Some(node) = self.nodes.get_mut(&id) {
                node.machine.handle_input(at, input);
            }
            self.worker_acts(id);
        }
    }

    /// A worker's process is there: it joins, and its life begins.
    fn up(&mut self, id: WorkerId) {
        if self.down.contains(&id) {
            return;
        }
        let settings = WorkerSettings {
            exchange: self.setup.exchange,
            durability: self.setup.durability,
            memory_bytes: self.setup.memory,
            cores: self.setup.cores,
            alive_ms: 1000,
            stun: Vec::new(),
            traces: true,
        };
        let machine = Worker::new(self.at(), Arc::clone(&self.truth.plan), settings);
        let slow = if self.strikes("workers 12 times slower", self.setup.faults.slow_workers) {
            12
        } else {
            1
        };
        if self.strikes("workers by mail", self.setup.faults.by_mail) {
            self.channels.choose_mail(id);
        }
        let node = Node {
            machine,
            table: BTreeMap::new(),
            peers: BTreeSet::new(),
            computing: VecDeque::new(),
            slow,
            stalled: 0,
            paused_until: 0,
            own: BTreeSet::new(),
        };
        self.nodes.insert(id, node);
        self.arm(id);
        let (life, notice) = (self.setup.faults.life_us, self.setup.faults.notice_us);
        if life > 0 && self.is_rough() {
            self.strike("workers near their deadline");
            self.push((life - notice) * US, Event::Leave(id));
            self.push(life * US, Event::Expire(id));
        }
        self.progress_at = self.now;
        let outvoted = self.coordinator.fleet().joined().count() > 1;
        let other_bits = self.setup.faults.other_bits;
        let other = outvoted && self.strikes("workers with other bits", other_bits);
        if other {
            self.setup.faults.other_bits = 0;
        }
        let bits = Digest([u8::from(other); 32]);
        self.coordinate(scheduler::Input::Joined(
            id,
            vec![format!("address {}", id.0)],
            bits,
        ));
    }

    /// A message comes to a worker: what its machine is to know of it.
    fn told(&mut self, id: WorkerId, message: ToWorker) -> Option<worker::Input> {
        let node = self.nodes.get_mut(&id)?;
        match message {
            ToWorker::Peers { joined, left } => {
                node.peers.extend(joined.iter().map(|peer| peer.worker));
                node.peers.retain(|peer| !left.contains(peer));
                None
            }
            ToWorker::Assign(assignment) => {
                node.own.retain(|copy| !assignment.dead.contains(&copy.key));
                Some(worker::Input::Assigned(assignment))
            }
            ToWorker::Preload { keys } => Some(worker::Input::Preload(keys)),
            ToWorker::Store { keys, reason } => Some(worker::Input::Store(keys, reason)),
            ToWorker::Take { blocks } => Some(worker::Input::Take(blocks)),
            ToWorker::Refused { .. } | ToWorker::Stop => {
                self.expire(id);
                None
            }
            ToWorker::Welcome { .. } | ToWorker::Observed { .. } | ToWorker::Introduce { .. } => {
                None
            }
        }
    }

    /// A kernel has ended, and the next task at the threads begins.
    fn computed(
        &mut self,
        id: WorkerId,
        lease: LeaseId,
        task: &TaskId,
    ) -> Option<Vec<(BlockKey, Digest)>> {
        let plan = &self.truth.plan;
        let node = self.nodes.get_mut(&id)?;
        let cores = self.setup.cores as usize;
        let next = node.computing.get(cores).copied();
        node.computing.retain(|(other, _)| *other != lease);
        let slots = plan.input_slots(task).into_iter();
        let inputs: Vec<_> = slots
            .map(|key| key.map(|key| node.table[&node.machine.copy(key, lease)]))
            .collect();
        let made = truth::compute(plan, task, &inputs);
        for (key, digest) in &made {
            assert_eq!(
                Some(digest),
                self.truth.blocks.get(key),
                "{key} was made of wrong inputs"
            );
            node.table.insert(node.machine.copy(*key, lease), *digest);
            let copy = node.machine.copy(*key, lease);
            let held = node.machine.cache().get(&copy);
            if held.is_none_or(|held| !held.durable) {
                node.own.insert(copy);
            }
        }
        if let Some((lease, task)) = next {
            self.compute(id, lease, task);
        }
        Some(made)
    }

    /// A thread of a worker starts a task.
    fn compute(&mut self, id: WorkerId, lease: LeaseId, task: TaskId) {
        let is_rough = self.is_rough();
        let slow = self.nodes.get(&id).filter(|_| is_rough);
        let slow = slow.map_or(1, |node| node.slow);
        let takes = slow * self.kernel_us(&task) * US;
        self.push(takes, Event::Computed(id, lease, task, takes));
    }

    /// Does what a worker's machine wants.
    fn worker_acts(&mut self, id: WorkerId) {
        let is_rough = self.is_rough();
        loop {
            let Some(node) = self.nodes.get_mut(&id) else {
                return;
            };
            let Some(action) = node.machine.poll_action() else {
                break;
            };
            let (slow, stalled) = (node.slow, node.stalled);
            let slow = if is_rough { slow } else { 1 };
            match action {
                worker::Action::Fetch(fetch) => {
                    let once = slow * self.fetch_us(&fetch.copy.key);
                    let takes = match fetch.origin {
                        Origin::Store => self.store_takes(once, None),
                        Origin::Peer(_) | Origin::Source => once,
                    };
                    self.push(takes * US, Event::Fetched(id, fetch));
                }
                worker::Action::Compute(lease, task) => {
                    node.computing.push_back((lease, task));
                    let cores = self.setup.cores as usize;
                    assert!(
                        node.computing.len() <= cores + 1,
                        "{id} queues tasks for its threads"
                    );
                    if node.computing.len() <= cores {
                        self.compute(id, lease, task);
                    }
                }
                worker::Action::Store(copy) => {
                    let digest = node.table.get(&copy).copied();
                    let digest =
                        digest.unwrap_or_else(|| panic!("{} left before it was put", copy.key));
                    let slow = self.strikes("slow writes", self.setup.faults.store_slow);
                    let once = self.dice.within(500, if slow { 500_000 } else { 5_000 });
                    let takes = self.store_takes(once, Some((copy.key, digest)));
                    self.push(takes * US, Event::Stored(id, copy));
                }
                worker::Action::Drop(copy) => {
                    node.table.remove(&copy);
                    assert!(
                        !node.own.remove(&copy),
                        "{id} lets {} go, which it made, and has not put into the store",
                        copy.key
                    );
                }
                worker::Action::Send(message) => {
                    if let FromWorker::Taken { keys, .. } = &message {
                        node.own.extend(kept(&node.machine, keys));
                    }
                    let takes = self.latency() + stalled;
                    self.deliver((id, true), takes, Event::Said(id, message));
                }
            }
        }
        self.check_node(id);
    }

    /// The machine's idea of its memory is what is there, and no more than it may be.
    fn check_node(&self, id: WorkerId) {
        let Some(node) = self.nodes.get(&id) else {
            return;
        };
        node.machine.check_invariants();
        let cached = node.machine.cache().iter().filter(|(_, held)| held.present);
        assert!(
            cached.map(|(copy, _)| copy).eq(node.table.keys()),
            "{id} keeps what it forgot"
        );
        let mut bytes = 0;
        for (copy, held) in node.machine.cache().iter().filter(|(_, h)| h.present) {
            let there = self.bytes(&copy.key);
            assert_eq!(
                held.bytes, there,
                "{id} takes {} for another size",
                copy.key
            );
            bytes += there;
        }
        assert!(
            bytes <= self.setup.memory,
            "{id} has {bytes} bytes of {}",
            self.setup.memory
        );
    }

    /// The payload of a block.
    fn bytes(&self, key: &BlockKey) -> u64 {
        truth::bytes(&self.truth.plan, key, &self.truth.blocks[key])
    }

    fn fetch_us(&mut self, key: &BlockKey) -> u64 {
        match self.setup.costs {
            Costs::Drawn => self.dice.within(200, 3_000),
            Costs::Modelled => 10_000 + self.truth.plan.bytes(key) / 75,
        }
    }

    fn kernel_us(&mut self, task: &TaskId) -> u64 {
        match self.setup.costs {
            Costs::Drawn => self.dice.within(500, 5_000),
            Costs::Modelled => 1 + self.truth.plan.facts(task).flops / 20_000,
        }
    }

    /// Sets the timer that a worker's machine wants.
    fn arm(&mut self, id: WorkerId) {
        let Some((at, _)) = self
            .nodes
            .get(&id)
            .and_then(|node| node.machine.poll_timeout())
        else {
            return;
        };
        self.push(
            at.as_nanos().saturating_sub(self.now),
            Event::WorkerTimer(id),
        );
    }
}

/// The blocks among those that a worker has taken over that the store does not have.
fn kept(machine: &Worker, keys: &[BlockKey]) -> Vec<Copy> {
    let must_stay = |copy: &Copy| {
        let held = machine.cache().get(copy);
        held.is_some_and(|held| held.present && !held.durable && !held.dead)
    };
    let copies = keys.iter().map(|&key| Copy { key, private: None });
    copies.filter(must_stay).collect()
}
