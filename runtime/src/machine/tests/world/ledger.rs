//! What the world itself knows of leases: written down from what is said and told, never asked of the machines.

use std::collections::BTreeMap;

use crate::machine::{LeaseId, WorkerId};
use crate::plan::TaskId;

/// Who may finish what.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    granted: BTreeMap<LeaseId, (WorkerId, TaskId)>,
    /// The lease of each task that is in force, until its worker says that it has ended.
    in_force: BTreeMap<TaskId, LeaseId>,
}

impl Ledger {
    /// A lease is granted: the only one of its task whose worker is a member.
    pub(super) fn granted(
        &mut self,
        lease: LeaseId,
        task: TaskId,
        worker: WorkerId,
        is_member: impl Fn(WorkerId) -> bool,
    ) {
        if let Some(other) = self.in_force.insert(task, lease) {
            let (holder, _) = self.granted[&other];
            assert!(
                !is_member(holder),
                "{task:?} has two leases, {other:?} of {holder} and {lease:?} of {worker}"
            );
        }
        let newest = self.granted.last_key_value().map(|(&lease, _)| lease);
        assert!(newest < Some(lease), "{lease:?} is granted twice");
        self.granted.insert(lease, (worker, task));
    }

    /// The task that a worker has finished under a lease that must be in force.
    pub(super) fn task(&self, worker: WorkerId, lease: LeaseId) -> TaskId {
        let (holder, task) = self.granted[&lease];
        assert_eq!(holder, worker, "a worker finishes what it was given");
        assert_eq!(
            self.in_force.get(&task),
            Some(&lease),
            "{worker} finishes {task:?} under a lease that is not in force"
        );
        task
    }

    /// A worker has finished a task or given it back.
    pub(super) fn ended(&mut self, worker: WorkerId, lease: LeaseId) {
        let task = self.task(worker, lease);
        self.in_force.remove(&task);
    }
}
