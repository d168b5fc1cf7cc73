//! Whether what a worker says can be: it names blocks of the plan, and those of its own task. Never judges whether
//! it is true.

use super::Scheduler;
use crate::control::FromWorker;
use crate::machine::{Timestamp, WorkerId};

impl Scheduler {
    /// Takes a worker for lost that names blocks which are not there to be named: it is broken, or worse. Tells
    /// whether that is so.
    pub(super) fn cut_off_nonsense(
        &mut self,
        now: Timestamp,
        worker: WorkerId,
        message: &FromWorker,
    ) -> bool {
        let is_nonsense = !self.makes_sense(worker, message);
        if is_nonsense {
            tracing::warn!(%worker, "names blocks that its task or the plan does not have, and is cut off");
            self.actions.push_back(super::Action::End(worker));
            self.left(now, worker);
        }
        is_nonsense
    }

    fn makes_sense(&self, worker: WorkerId, message: &FromWorker) -> bool {
        match message {
            FromWorker::Done { lease, made, .. } => {
                // Under a stale lease nothing changes, whatever it names.
                let Some(lease) = self.leases.get(*lease, worker) else {
                    return true;
                };
                let mut named: Vec<_> = made.iter().map(|block| block.key).collect();
                let mut outputs = self.plan.outputs(&lease.task);
                named.sort_unstable();
                outputs.sort_unstable();
                named == outputs
            }
            FromWorker::Missing { blocks, .. } => {
                blocks.iter().all(|missed| self.plan.has(&missed.key))
            }
            FromWorker::Preloaded { keys, .. } => keys
                .iter()
                .all(|key| self.plan.has(key) && self.plan.is_source(key)),
            FromWorker::Taken { keys, refused, .. } => {
                keys.iter().chain(refused).all(|key| self.plan.has(key))
            }
            // What is not in the directory changes nothing there.
            _ => true,
        }
    }
}
