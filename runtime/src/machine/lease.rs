//! Grants and takes back leases. Never talks to workers.

use std::collections::BTreeMap;

use super::{LeaseId, Timestamp, WorkerId};
use crate::plan::TaskId;

/// One task, given to one worker.
#[derive(Clone, Copy, Debug)]
pub struct Lease {
    /// The task.
    pub task: TaskId,
    /// Who may finish it.
    pub worker: WorkerId,
    /// Floating-point operations of the task.
    pub flops: u64,
    /// When it was granted.
    pub granted: Timestamp,
}

/// The leases in force.
#[derive(Debug, Default)]
pub struct Leases {
    granted: u64,
    in_force: BTreeMap<LeaseId, Lease>,
}

impl Leases {
    /// Grants a new lease.
    pub fn grant(&mut self, lease: Lease) -> LeaseId {
        self.granted += 1;
        let id = LeaseId(self.granted);
        self.in_force.insert(id, lease);
        id
    }

    /// The newest lease that was ever granted.
    #[must_use]
    pub fn granted(&self) -> LeaseId {
        LeaseId(self.granted)
    }

    /// A lease that is in force and that `worker` holds.
    #[must_use]
    pub fn get(&self, id: LeaseId, worker: WorkerId) -> Option<&Lease> {
        let lease = self.in_force.get(&id)?;
        (lease.worker == worker).then_some(lease)
    }

    /// Ends a lease, if it is in force and `worker` holds it.
    pub fn take(&mut self, id: LeaseId, worker: WorkerId) -> Option<Lease> {
        self.get(id, worker)?;
        self.in_force.remove(&id)
    }

    /// Ends all leases of `worker`.
    pub fn take_all(&mut self, worker: WorkerId) -> Vec<Lease> {
        let ids: Vec<_> = self
            .in_force
            .iter()
            .filter(|(_, l)| l.worker == worker)
            .map(|(&id, _)| id)
            .collect();
        ids.iter()
            .filter_map(|id| self.in_force.remove(id))
            .collect()
    }

    /// The leases in force.
    pub fn iter(&self) -> impl Iterator<Item = (&LeaseId, &Lease)> {
        self.in_force.iter()
    }
}
