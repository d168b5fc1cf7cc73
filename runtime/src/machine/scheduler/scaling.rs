//! The size of the fleet over time: asks the autoscaler, fills slots, lets idle workers retire, and
//! writes down how it went.

use std::time::Duration;

use super::super::autoscaler::Demand;
use super::super::profile::{Point, Profile};
use super::super::{Timestamp, WorkerId};
use super::{Action, Scheduler, Stage};

/// How long a worker that is not needed may take to give its blocks away, after half of which the store gets
/// them: 8 GiB take some minutes on a line that others use too, and what is not given away is computed again.
const UNHURRIED: Duration = Duration::from_secs(3600);

impl Scheduler {
    /// How parallel the run has been so far.
    #[must_use]
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The workers to begin with.
    pub(super) fn first_workers(&self) -> u32 {
        self.settings
            .elastic
            .map_or(self.settings.workers, |elastic| {
                elastic.wanted(self.plan.starters(0).len() as u64)
            })
    }

    /// Grows or shrinks the fleet where that is due, and takes a point of the profile.
    pub(super) fn scale(&mut self, now: Timestamp) {
        if !matches!(self.stage, Stage::Running { .. }) {
            return;
        }
        if self.profile.is_due(now) {
            self.take_point(now);
        }
        let Some(mut scaler) = self.autoscaler.take() else {
            return;
        };
        if scaler.is_due(now) {
            let decision = scaler.decide(now, &self.demand());
            for slot in self.fleet.empty_slots(decision.start as usize) {
                let worker = self.fleet.start(now, slot);
                self.actions.push_back(Action::Start(worker, slot));
            }
            for worker in decision.leave {
                tracing::debug!(%worker, "has had nothing to do for long and leaves");
                self.retire(now, worker, UNHURRIED);
            }
        }
        self.autoscaler = Some(scaler);
    }

    fn demand(&self) -> Demand {
        let idle = self
            .fleet
            .seated()
            .filter(|(_, member)| member.leases.is_empty() && member.backlog.is_empty());
        Demand {
            ready: self.ready.len() as u64,
            workers: self.fleet.filled(),
            idle: idle
                .map(|(worker, member)| (worker, member.tally.tasks))
                .collect::<Vec<(WorkerId, u64)>>(),
        }
    }

    fn take_point(&mut self, now: Timestamp) {
        let leased = self
            .fleet
            .joined()
            .map(|(_, m)| m.leases.len().min(m.cores as usize));
        let running: usize = leased.sum();
        let workers = self.fleet.seated().count();
        self.profile.add(Point {
            at: now,
            ready: self.ready.len() as u64,
            running: running as u64,
            workers: u32::try_from(workers).unwrap_or(u32::MAX),
        });
    }
}
