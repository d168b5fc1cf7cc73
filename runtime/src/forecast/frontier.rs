//! The tasks of a phase in the order in which they become ready, whoever says which is done. Remembers
//! the tasks that wait with one input or more there, so that memory follows the frontier.

use std::collections::HashMap;

use peerwren_transports::block::BlockKey;

use super::task::View;
use crate::plan::{Plan, TaskId};

/// The longest chain of tasks up to a point, by each measure alone.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Chain {
    pub(super) seconds: f64,
    pub(super) flops: u64,
}

impl Chain {
    pub(super) fn longest(self, other: Self) -> Self {
        Self {
            seconds: self.seconds.max(other.seconds),
            flops: self.flops.max(other.flops),
        }
    }
}

/// A task that waits.
struct Waiting {
    /// Blocks of this phase that are not there yet.
    missing: u32,
    /// What came before it.
    after: Chain,
}

/// See the module's page.
pub(super) struct Frontier<'a> {
    plan: &'a Plan,
    phase: usize,
    waiting: HashMap<TaskId, Waiting>,
}

impl<'a> Frontier<'a> {
    /// A phase of which nothing is done.
    pub(super) fn of(plan: &'a Plan, phase: usize) -> Self {
        Self {
            plan,
            phase,
            waiting: HashMap::new(),
        }
    }

    /// The tasks that can run at once.
    pub(super) fn starters(&self) -> Vec<TaskId> {
        self.plan.starters(self.phase)
    }

    /// A block is there, at the end of this chain: tells each of its readers, `readers`, and gives those
    /// that became ready to `ready`.
    pub(super) fn made(
        &mut self,
        readers: &[TaskId],
        chain: Chain,
        mut ready: impl FnMut(TaskId, Chain),
    ) {
        for reader in readers {
            if usize::from(reader.phase) != self.phase {
                continue;
            }
            let waiting = self.waiting.entry(*reader).or_insert_with(|| Waiting {
                missing: missing(self.plan, self.phase, reader),
                after: Chain::default(),
            });
            waiting.missing -= 1;
            waiting.after = waiting.after.longest(chain);
            if waiting.missing == 0 {
                let after = waiting.after;
                self.waiting.remove(reader);
                ready(*reader, after);
            }
        }
    }
}

/// Distinct blocks of a phase that a task reads.
fn missing(plan: &Plan, phase: usize, task: &TaskId) -> u32 {
    let inputs = plan.inputs(task);
    let made = inputs
        .iter()
        .filter(|key| !plan.is_source(key) && plan.phase_of(key) == phase);
    u32::try_from(made.count()).unwrap_or(u32::MAX)
}

/// The tasks that read a block, each once.
pub(super) fn readers(plan: &Plan, key: &BlockKey) -> Vec<TaskId> {
    let mut readers = Vec::new();
    plan.readers(key, &mut readers);
    readers
}

/// Blocks that somebody still reads, and what is known of each.
pub(super) struct Live<'a, T> {
    plan: &'a Plan,
    blocks: HashMap<BlockKey, (u64, T)>,
}

impl<'a, T: Default> Live<'a, T> {
    pub(super) fn new(plan: &'a Plan) -> Self {
        Self {
            plan,
            blocks: HashMap::new(),
        }
    }

    /// A task has made a block that `readers` tasks of all phases read; false if nobody does and it is no
    /// result, so that it dies at once.
    pub(super) fn make(&mut self, key: BlockKey, readers: usize, about: T) -> bool {
        let left = match self.plan.is_result(&key) {
            true => u64::MAX,
            false => readers as u64,
        };
        if left > 0 {
            self.blocks.insert(key, (left, about));
        }
        left > 0
    }

    /// What is known of a block; none before an input's first reader.
    pub(super) fn get(&self, key: &BlockKey) -> Option<&T> {
        self.blocks.get(key).map(|(_, about)| about)
    }

    /// An input has its first reader.
    pub(super) fn enter(&mut self, key: BlockKey) -> &mut T {
        let plan = self.plan;
        let entry = self.blocks.entry(key);
        &mut entry
            .or_insert_with(|| (readers(plan, &key).len() as u64, T::default()))
            .1
    }

    /// A task has read a block; true if it was the last one.
    pub(super) fn read(&mut self, key: &BlockKey) -> bool {
        let Some((left, _)) = self.blocks.get_mut(key) else {
            return false;
        };
        if *left != u64::MAX {
            *left -= 1;
        }
        let is_dead = *left == 0;
        if is_dead {
            self.blocks.remove(key);
        }
        is_dead
    }
}

/// The chain that ends with a task after what came before it.
pub(super) fn extended(before: Chain, seconds: f64, view: &View) -> Chain {
    Chain {
        seconds: before.seconds + seconds,
        flops: before.flops + view.flops,
    }
}
