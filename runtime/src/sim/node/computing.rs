//! How a simulated worker computes: threads, cores that several share, and outputs whose digests stand for their
//! inputs.

use super::Node;
use crate::dice::Dice;
use crate::machine::worker::{Input, Output, Ran};
use crate::machine::{LeaseId, WorkerId};
use crate::plan::TaskId;
use crate::sim::world::{Event, World, nanos};

/// A kernel on a thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Running {
    task: TaskId,
    thread: u32,
    began: u64,
    /// In the kernel, on a core of its own.
    kernel_ns: u64,
}

impl World<'_> {
    pub(super) fn compute(&mut self, id: WorkerId, lease: LeaseId, task: TaskId) {
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

    pub(super) fn computed(&mut self, id: WorkerId, lease: LeaseId) {
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
pub(super) const INPUT_TAG: u64 = 1 << 63;

/// A kernel's name on shared cores.
fn tagged(id: WorkerId, lease: LeaseId) -> u64 {
    u64::from(id.0) << 40 | lease.0
}

pub(super) fn untagged(tag: u64) -> Option<(WorkerId, LeaseId)> {
    let id = u32::try_from(tag >> 40).ok()?;
    Some((WorkerId(id), LeaseId(tag & ((1 << 40) - 1))))
}
