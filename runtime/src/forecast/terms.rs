//! What a forecast takes for granted beside the plan: the fleet, its lines, what it costs; and how that is
//! said.

use super::Figures;
use super::rates::Rates;
use crate::cloud::Facts;
use crate::options::{Durability, EngineKind, Exchange, MachineFacts, Policy, Resolved};
use crate::prices::{Fleet, InstanceKind};
use crate::report::{CostEstimate, counted};

/// Bytes a second into a worker of this machine: QUIC over loopback.
pub const LOOPBACK_BYTES_S: f64 = 1e9;
/// What messages take on one machine from a task's end to the coordinator and from there to a worker, in
/// seconds, as measured with chains of small tasks.
pub const LOOPBACK_TRIP_S: f64 = 100e-6;
/// The same between machines of one region.
pub const REGION_TRIP_S: f64 = 1e-3;
/// What a task takes of the coordinator, which looks at one after the other.
pub const COORDINATOR_TASK_S: f64 = 50e-6;
/// Longest life of a function's instance that Lambda allows.
const LAMBDA_TIMEOUT_S: f64 = 900.0;
/// Storage of an instance that costs nothing, in MB.
const LAMBDA_STORAGE_MB: u32 = 512;
/// The fleet that a plan is forecast on.
#[derive(Clone, Debug, PartialEq)]
pub struct Terms {
    /// Workers.
    pub workers: u32,
    /// Cores of each.
    pub cores: u32,
    /// How blocks move.
    pub exchange: Exchange,
    /// How tasks are placed.
    pub policy: Policy,
    /// Whether every output is written to the store whatever the exchange.
    pub writes_all: bool,
    /// Whether inputs are in the workers' caches before time counts.
    pub preload: bool,
    /// Bytes a second into a worker, and out of it to the store.
    pub bytes_s: f64,
    /// Seconds of messages between a task's end and the start of one that waits for it.
    pub trip_s: f64,
    /// Seconds that a task takes of the coordinator.
    pub coordinator_s: f64,
    /// Cores that all workers share; each has its own when absent.
    pub machine_cores: Option<u32>,
}

impl Terms {
    /// Those of a run with these options.
    #[must_use]
    pub fn of(options: &Resolved, facts: &MachineFacts) -> Self {
        let is_remote = options.engine.is_remote();
        Self {
            workers: options.workers,
            cores: options.cores,
            exchange: options.exchange,
            policy: options.policy,
            writes_all: options.durability == Durability::All,
            preload: options.preload,
            bytes_s: if is_remote {
                Fleet::BYTES_S_ASSUMED
            } else {
                LOOPBACK_BYTES_S
            },
            trip_s: if is_remote {
                REGION_TRIP_S
            } else {
                LOOPBACK_TRIP_S
            },
            coordinator_s: COORDINATOR_TASK_S,
            machine_cores: (!is_remote).then_some(facts.cores),
        }
    }

    /// Dollars of a run on Lambda, for the predicted time where there is one.
    pub(super) fn cost(&self, options: &Resolved, figures: &Figures) -> CostEstimate {
        let EngineKind::Lambda(_) = options.engine else {
            return CostEstimate::default();
        };
        let fleet = self.instances();
        let work = figures.work(options.exchange);
        let usage = if figures.skipped.is_empty() {
            fleet.usage_for(&work, figures.predicted.time_s)
        } else {
            fleet.usage(&work)
        };
        CostEstimate {
            estimate: options.prices.dollars(&usage),
            measured: 0.0,
            gb_seconds: usage.gb_s_x86,
            invocations: usage.invocations,
            table: options.prices.name.clone(),
        }
    }

    /// Functions that have these cores.
    fn instances(&self) -> Fleet {
        Fleet {
            workers: self.workers,
            cores: self.cores,
            kind: InstanceKind {
                memory_mb: Facts::memory_mb_of(self.cores),
                storage_mb: LAMBDA_STORAGE_MB,
                arm: false,
            },
            timeout_s: LAMBDA_TIMEOUT_S,
            gflops: Fleet::GFLOPS_ASSUMED,
            bytes_s: self.bytes_s,
            startup_s: Fleet::STARTUP_S_ASSUMED,
        }
    }

    pub(super) fn assumptions(&self, options: &Resolved, rates: &Rates) -> Vec<String> {
        let mut said = vec![
            "bytes: tasks at their home, no cache ever full, nothing lost".to_owned(),
            "time: without starting workers, forming Q, checking and writing results".to_owned(),
            format!(
                "time: {:.0} MB/s into a worker, {}",
                self.bytes_s / 1e6,
                if options.engine.is_remote() {
                    "a function's card"
                } else {
                    "over loopback"
                }
            ),
            format!(
                "time: {:.0} us of messages from task to task, {:.0} us of the coordinator a task",
                self.trip_s * 1e6,
                self.coordinator_s * 1e6
            ),
            if rates.is_measured() {
                "time: kernels as fast as just measured on one thread, at most tasks' shapes"
                    .to_owned()
            } else {
                format!(
                    "time: kernels at {:.0} GFLOP/s a core; nothing was measured",
                    Fleet::GFLOPS_ASSUMED
                )
            },
        ];
        let threads = u64::from(self.workers) * u64::from(self.cores);
        if let Some(cores) = self
            .machine_cores
            .filter(|&cores| u64::from(cores) < threads)
        {
            said.push(format!(
                "time: {} share the {} of this machine",
                counted(threads, "compute thread"),
                counted(cores.into(), "core"),
            ));
        }
        if let EngineKind::Lambda(_) = options.engine {
            let kind = self.instances().kind;
            said.push(format!(
                "cost: functions of {} MB on x86_64 that live {LAMBDA_TIMEOUT_S:.0} s; AWS was not asked",
                kind.memory_mb
            ));
        }
        if options.scaling.is_some() {
            said.push(
                "all workers are there from the first task to the last, whatever --autoscale does"
                    .to_owned(),
            );
        }
        said
    }
}
