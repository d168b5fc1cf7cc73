//! Runs of a plan on a fleet that is not there: discrete events around the very machines that a real run has
//! (scheduler, workers with their caches and ladders, autoscaler, the servers of blocks). Never computes a
//! tile and never reads a clock: the same plan, fleet and seed give the same run to the last bit.
//!
//! ```text
//! fleet     what a fleet is, as a TOML file describes it; those that are shipped
//! world     events in their order; the coordinator's side, starts and ends of workers
//! node      the workers' side: fetches, serving, computing, the store
//! network   bytes on their way, on lines that they share
//! cores     kernels on cores that workers share
//! kernels   how long a task takes
//! ```
//!
//! An action of a machine becomes an input at now + what it costs. Blocks are digests: a task's outputs hash
//! its inputs' digests, so that a run which exchanged wrong blocks would end with another `Simulated::bits`.

mod cores;
mod fleet;
mod kernels;
mod network;
mod node;
mod queue;
mod world;

use std::sync::Arc;

use peerwren_transports::block::Digest;

pub use fleet::{
    FaultModel, Fleet, FleetError, FunctionModel, InputModel, KernelModel, MachineModel, NatModel,
    NetworkModel, SHIPPED, StoreModel, StragglerModel, WorkerModel,
};

use crate::options::Resolved;
use crate::outcome::Outcome;
use crate::plan::Plan;
use crate::trace::Record;

/// What a simulated run came to, beside what any run comes to.
#[derive(Debug)]
pub(crate) struct Simulated {
    pub(crate) outcome: Outcome,
    /// Hash of all that was computed: the same for a plan, whatever the fleet, exchange, policy and faults.
    pub(crate) bits: Digest,
    /// From the begin to the last worker's end, in simulated nanoseconds.
    pub(crate) nanos: u64,
    /// Events that happened.
    pub(crate) events: u64,
}

/// Where the records of a traced run go.
pub(crate) type Recorder<'a> = &'a mut dyn FnMut(&[Record]);

/// Runs a plan on a fleet.
///
/// # Errors
/// Why the run failed, in one sentence, as a real one would have told it.
pub(crate) fn simulate<'a>(
    plan: &'a Arc<Plan>,
    options: &'a Resolved,
    fleet: &'a Fleet,
    seed: u64,
    recorder: Option<Recorder<'a>>,
) -> Result<Simulated, String> {
    world::World::new(plan, options, fleet, seed, recorder).run()
}
