//! What tests ask of a scheduler.

use std::collections::BTreeMap;
use std::fmt::Write;

use peerwren_transports::block::BlockKey;

use super::{Scheduler, Stage};
use crate::plan::TaskId;

impl Scheduler {
    /// Panics if a task waits for something that nobody will bring, or is counted wrongly; `tasks`
    /// are all tasks of the plan and what they read.
    pub(in crate::machine) fn check_waiting(&self, tasks: &BTreeMap<TaskId, Vec<BlockKey>>) {
        let Stage::Running { phase } = self.stage else {
            return;
        };
        let mut readers: BTreeMap<BlockKey, u32> = BTreeMap::new();
        for (task, inputs) in tasks {
            if self.done.contains(task) {
                continue;
            }
            for key in inputs {
                *readers.entry(*key).or_default() += 1;
            }
            if usize::from(task.phase) > phase
                || self.ready.contains_key(task)
                || inputs.iter().any(|key| self.ways.is_relayed(key))
            {
                continue;
            }
            let mut absent = inputs
                .iter()
                .filter(|key| !self.plan.is_source(key) && !self.directory.is_available(key))
                .peekable();
            assert!(absent.peek().is_some(), "{task:?} could run but waits");
            for key in absent {
                let writer = self
                    .plan
                    .writer(key)
                    .expect("a block that is no source is written");
                assert!(
                    !self.done.contains(&writer),
                    "{task:?} waits for {key}, which nobody makes"
                );
            }
        }
        for (key, entry) in self.directory.iter() {
            let left = readers.get(key).copied().unwrap_or(0);
            assert_eq!(entry.readers_left, left, "readers of {key} are miscounted");
        }
    }

    /// Whether a task is finished and is not to run again.
    pub(in crate::machine) fn is_done(&self, task: &TaskId) -> bool {
        self.done.contains(task)
    }

    /// All that a worker's message may change, as text to compare.
    pub(in crate::machine) fn standing(&self) -> String {
        format!(
            "{:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?}",
            self.done,
            self.reopened,
            self.ready,
            self.leases,
            self.directory,
            self.remaining,
            self.pending,
            self.counted,
            self.fleet,
        )
    }

    /// What is done and what waits, for a person.
    pub(in crate::machine) fn summary(&self, tasks: &BTreeMap<TaskId, Vec<BlockKey>>) -> String {
        let mut text = format!(
            "{:?}; {:?}\ndone {}, remaining {:?}, results pending {:?}\nleases {:?}",
            self.stage,
            self.checkpoints,
            self.done.len(),
            self.remaining,
            self.pending,
            self.leases.iter().collect::<Vec<_>>(),
        );
        for (task, inputs) in tasks
            .iter()
            .filter(|(task, _)| !self.done.contains(task))
            .take(10)
        {
            let ready = self.ready.get(task).map(|ready| ready.place);
            let _ = write!(text, "\n{task:?} {ready:?} {}", self.plan.kernel(task));
            for key in inputs {
                let _ = write!(text, " | {key} {:?}", self.directory.get(key));
            }
        }
        text
    }
}
