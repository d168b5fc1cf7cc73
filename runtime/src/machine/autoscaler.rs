//! How many workers a run is worth: numpywren's rule. As many as the scaling factor times the work
//! that could be done now, divided by what a worker does at a time, within bounds; whoever has
//! had nothing to do for a while goes. Never starts or ends one itself.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Timestamp, WorkerId};

/// Between two looks at the demand: a worker takes longer to start.
pub const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How a fleet may grow and shrink.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Elastic {
    /// Workers wanted for each worker's fill of ready tasks: 1 gives each task a core at once, less
    /// costs less and takes longer.
    pub factor: f64,
    /// Tasks that a worker does at a time.
    pub pipeline_width: u32,
    /// Fewest workers.
    pub floor: u32,
    /// Most workers.
    pub ceiling: u32,
    /// How long a worker may have nothing to do.
    pub idle: Duration,
}

impl Elastic {
    /// The workers wanted for so many tasks that could run now.
    #[must_use]
    pub fn wanted(&self, ready: u64) -> u32 {
        let wanted = self.factor * ready as f64 / f64::from(self.pipeline_width.max(1));
        // A float beyond the integers becomes the largest, which the ceiling bounds.
        (wanted.ceil() as u32).clamp(self.floor, self.ceiling)
    }
}

/// What there is to do, and who has nothing of it.
#[derive(Clone, Debug, Default)]
pub struct Demand {
    /// Tasks that run or could.
    pub ready: u64,
    /// Workers that fill a slot, whether they have joined or not.
    pub workers: u32,
    /// Joined workers without a task, each with the number of tasks that it has ever finished.
    pub idle: Vec<(WorkerId, u64)>,
}

/// Who is to come and to go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// Workers to start.
    pub start: u32,
    /// Workers that are one too many.
    pub leave: Vec<WorkerId>,
}

/// Looks at the demand now and then.
#[derive(Debug)]
pub struct Autoscaler {
    elastic: Elastic,
    look_at: Timestamp,
    grown_at: Option<Timestamp>,
    /// Since when workers have been idle, and the tasks that they had finished by then.
    idle: BTreeMap<WorkerId, (Timestamp, u64)>,
}

impl Autoscaler {
    /// An autoscaler that has seen nothing yet.
    #[must_use]
    pub fn new(elastic: Elastic) -> Self {
        Self {
            elastic,
            look_at: Timestamp::default(),
            grown_at: None,
            idle: BTreeMap::new(),
        }
    }

    /// Whether it is time to look again.
    #[must_use]
    pub fn is_due(&self, now: Timestamp) -> bool {
        now >= self.look_at
    }

    /// When to look again at the latest.
    #[must_use]
    pub fn timeout(&self) -> Timestamp {
        self.look_at
    }

    /// Decides who comes and goes. Growing is at once; whoever shrinks has waited for the time-out
    /// since its last task and since the fleet last grew, so that a short lull costs no start.
    pub fn decide(&mut self, now: Timestamp, demand: &Demand) -> Decision {
        self.look_at = now.after(LOOK_EVERY);
        let before = std::mem::take(&mut self.idle);
        for &(worker, tasks) in &demand.idle {
            let known = before.get(&worker).filter(|(_, then)| *then == tasks);
            let since = known.map_or(now, |&(since, _)| since);
            self.idle.insert(worker, (since, tasks));
        }
        let wanted = self.elastic.wanted(demand.ready);
        if wanted > demand.workers {
            self.grown_at = Some(now);
            return Decision {
                start: wanted - demand.workers,
                leave: Vec::new(),
            };
        }
        let mut tired: Vec<_> = self
            .idle
            .iter()
            .filter(|(_, (since, _))| {
                let since = self.grown_at.map_or(*since, |grown| grown.max(*since));
                now.since(since) >= self.elastic.idle
            })
            .map(|(&worker, &(since, _))| (since, worker))
            .collect();
        tired.sort_unstable();
        let most = (demand.workers - wanted) as usize;
        let leave = tired.into_iter().take(most).map(|(_, worker)| worker);
        Decision {
            start: 0,
            leave: leave.collect(),
        }
    }
}
