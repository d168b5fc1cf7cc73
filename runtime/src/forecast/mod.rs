//! What a plan would take, before anything runs: tasks and operations by kernel, the critical path,
//! parallelism and working set, bytes by exchange, memory, time and dollars.
//!
//! ```text
//! task, frontier   one task as it is counted; tasks in the order in which they become ready
//! counts           operations by kernel, bytes by exchange
//! profile          levels, working set, longest chains
//! rates, measure   how fast kernels are; measured on this machine
//! schedule, fleet  the plan on its workers, event by event
//! text, figure     a page for the terminal, a picture
//! ```
//!
//! All but `measure` are pure: the same plan, terms and rates give the same forecast. Nothing here moves a
//! block or starts a worker.
//!
//! ```
//! use peerwren::forecast::forecast;
//! use peerwren::kernels::op::KernelSet;
//! use peerwren::linalg::{Operation, Request, plan};
//! use peerwren::matrix::MatrixSource;
//! use peerwren::options::{MachineFacts, RunOptions};
//! use peerwren::plan::Plan;
//!
//! let (source, facts) = (MatrixSource::parse("spd:512")?, MachineFacts::read());
//! let options = RunOptions { block: Some(64), workers: Some(2), ..RunOptions::default() };
//! let request = Request::new(Operation::Cholesky, vec![source], options.resolve(512, 512, &facts)?);
//! let job = plan(&request)?;
//! let checked = Plan::new(job.plan.clone(), KernelSet::standard())?;
//! let forecast = forecast(&checked, &job, &request.options, &facts);
//! // N (N + 1) (N + 2) / 6 tasks of N = 8 tiles a side, 3 levels a column but the last.
//! assert_eq!((forecast.figures.tasks, forecast.figures.profile.levels), (120, 22));
//! println!("{forecast}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod counts;
mod figure;
mod fleet;
mod frontier;
mod measure;
mod profile;
mod rates;
mod schedule;
mod task;
mod terms;
#[cfg(test)]
mod tests;
mod text;

use serde::Serialize;

pub use counts::{Counts, Exchanges, Moved, Traffic};
pub use figure::draw;
pub use measure::measure;
pub use profile::{CriticalPath, POINTS_MAX, Profile};
pub use rates::Rates;
pub use schedule::Predicted;
pub use terms::{COORDINATOR_TASK_S, LOOPBACK_BYTES_S, LOOPBACK_TRIP_S, REGION_TRIP_S, Terms};

use crate::linalg::Job;
use crate::options::{Chosen, Exchange, MachineFacts, Resolved};
use crate::plan::Plan;
use crate::prices::Work;
use crate::report::{CostEstimate, PlanRecord, grouped};

/// Version of the forecast's form. Fields are added under one version, never renamed.
pub const SCHEMA_VERSION: u32 = 1;

/// Beyond so many tasks neither profile nor schedule are made: each looks at every task in turn, some
/// 10 us a task.
pub const TASKS_MAX: u64 = 2_000_000;

/// What is said where blocks have a length that shows when they are made.
const ESTIMATE: &str = "bytes: the likely ones of blocks whose length shows when they are made";

/// What a run would take. Sizes are in bytes, times in seconds; a field that does not apply is 0 or empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Forecast {
    /// [`SCHEMA_VERSION`].
    pub schema: u32,
    /// The operation, such as `qr`.
    pub command: String,
    /// Version of peerwren.
    pub version: String,
    /// What would be run.
    pub plan: PlanRecord,
    /// Rows of the input.
    pub m: u64,
    /// Columns of the input.
    pub n: u64,
    /// Side of a tile.
    pub block: u32,
    /// Inner block of the kernels.
    pub ib: u32,
    /// Reduction tree and rank grid.
    pub tree: String,
    /// Options that were left open, what was chosen, and why.
    pub chosen: Vec<Chosen>,
    /// Workers.
    pub workers: u32,
    /// Cores of each worker.
    pub cores: u32,
    /// `threads`, `processes`, `remote` or `lambda:NAME`.
    pub engine: String,
    /// `peer`, `cache` or `store`.
    pub exchange: String,
    /// `locality`, `owner`, `fifo` or `random`.
    pub policy: String,
    /// `outputs`, `all` or `checkpoint:S`.
    pub durability: String,
    /// The phases of the plan.
    pub phases: Vec<PhaseForecast>,
    /// All figures of the phases that are counted.
    #[serde(flatten)]
    pub figures: Figures,
    /// What a worker needs and has.
    pub memory: MemoryForecast,
    /// Dollars by estimate; 0 where the workers run on machines of the user's.
    pub cost_usd: CostEstimate,
    /// What the forecast takes for granted, a sentence each.
    pub assumptions: Vec<String>,
}

/// A phase of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PhaseForecast {
    /// What it is for: `factor`, `q`, `check`.
    pub name: String,
    /// The file of its program.
    pub program: String,
    /// Its tasks.
    pub tasks: u64,
    /// Their operations.
    pub flops: u64,
    /// Whether it is part of the figures, as it is of a report's top level: all but forming Q and checking.
    pub is_counted: bool,
}

/// What the tasks of some phases take.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Tasks.
    pub tasks: u64,
    /// Useful floating-point operations.
    pub flops: u64,
    /// The same by kernel, the most seconds first.
    pub kernels: Vec<KernelForecast>,
    /// The longest chains of tasks.
    pub critical_path: CriticalPath,
    /// Parallelism and working set by level.
    pub profile: Profile,
    /// What moves by each exchange.
    pub bytes: Exchanges,
    /// How long it takes.
    pub predicted: Predicted,
    /// Why critical path, profile and predicted time are missing; empty where they are there.
    pub skipped: String,
}

/// The tasks of one kernel.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct KernelForecast {
    /// Its name.
    pub kernel: String,
    /// Its tasks.
    pub tasks: u64,
    /// Their operations.
    pub flops: u64,
    /// Their seconds on one thread, summed up.
    pub seconds: f64,
    /// Operations a second on one thread; of a kernel that has none, bytes read and written a second.
    pub per_s: f64,
    /// Whether that rate was measured for this kernel, not taken from others.
    pub is_measured: bool,
}

/// Memory of a worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MemoryForecast {
    /// Inputs, outputs and scratch of the plan's largest task, of all phases.
    pub task_bytes: u64,
    /// The kernel of that task.
    pub kernel: String,
    /// The same for each core: with less a worker cannot run.
    pub least_bytes: u64,
    /// What a worker has by `--memory`.
    pub given_bytes: u64,
}

/// Counts, walks and schedules these phases of a plan. Pure: `rates` say how fast kernels are.
#[must_use]
pub fn figures(
    plan: &Plan,
    phases: &[usize],
    terms: &Terms,
    counts: &Counts,
    rates: &Rates,
) -> Figures {
    let tasks = counts.kernels.values().map(|count| count.tasks).sum();
    let mut figures = Figures {
        tasks,
        flops: counts.kernels.values().map(|count| count.flops).sum(),
        kernels: kernels(counts, rates),
        bytes: counts.exchanges,
        ..Figures::default()
    };
    if tasks > TASKS_MAX {
        figures.skipped = format!(
            "more than {} tasks: no critical path, profile or predicted time",
            grouped(TASKS_MAX)
        );
        return figures;
    }
    let (levels, path) = profile::levels(plan, phases, rates);
    figures.profile = Profile::of(&levels);
    figures.critical_path = path;
    figures.predicted = schedule::duration(plan, phases, terms, rates);
    figures
}

fn kernels(counts: &Counts, rates: &Rates) -> Vec<KernelForecast> {
    let kernels = counts.kernels.iter().map(|(name, count)| {
        let (seconds, rate) = count.time(name, rates);
        KernelForecast {
            kernel: name.clone(),
            tasks: count.tasks,
            flops: count.flops,
            seconds,
            per_s: rate.per_s,
            is_measured: rate.is_measured,
        }
    });
    let mut kernels: Vec<_> = kernels.collect();
    kernels.sort_by(|one, other| {
        let by_time = other.seconds.total_cmp(&one.seconds);
        by_time.then(one.kernel.cmp(&other.kernel))
    });
    kernels
}

/// Forecasts a job's run on this machine or in the cloud. Where workers are of this machine, its kernels'
/// speeds are measured now, which takes some seconds.
#[must_use]
pub fn forecast(plan: &Plan, job: &Job, options: &Resolved, facts: &MachineFacts) -> Forecast {
    let all = 0..plan.phase_count();
    let is_counted = |phase: &usize| !matches!(plan.phase_name(*phase), "q" | "check");
    let counted: Vec<usize> = all.clone().filter(is_counted).collect();
    let terms = Terms::of(options, facts);
    let counts = Counts::of(plan, &counted, &terms);
    let rates = if options.engine.is_remote() {
        Rates::assumed()
    } else {
        measure(&counts, plan.kernels())
    };
    let figures = figures(plan, &counted, &terms, &counts, &rates);
    let mut assumptions = terms.assumptions(options, &rates);
    if counts.is_estimate() {
        assumptions.insert(0, ESTIMATE.to_owned());
    }
    let (task_bytes, kernel) = plan.largest_task();
    let phases = all.map(|phase| PhaseForecast {
        name: plan.phase_name(phase).to_owned(),
        program: plan.phase_file(phase).to_owned(),
        tasks: plan.task_count(phase),
        flops: plan.phase_flops(phase),
        is_counted: is_counted(&phase),
    });
    Forecast {
        schema: SCHEMA_VERSION,
        command: job.operation.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        plan: PlanRecord {
            input: job.input.clone(),
            program: plan.phase_file(0).trim_end_matches(".lp").to_owned(),
            digest: plan.digest().to_string(),
        },
        m: job.m,
        n: job.n,
        block: options.block,
        ib: options.ib,
        tree: options.tree.to_string(),
        chosen: options.chosen.clone(),
        workers: options.workers,
        cores: options.cores,
        engine: options.engine.to_string(),
        exchange: options.exchange.to_string(),
        policy: options.policy.to_string(),
        durability: options.durability.to_string(),
        phases: phases.collect(),
        memory: MemoryForecast {
            task_bytes,
            kernel: kernel.to_owned(),
            least_bytes: task_bytes.saturating_mul(options.cores.into()),
            given_bytes: options.memory,
        },
        cost_usd: terms.cost(options, &figures),
        assumptions,
        figures,
    }
}

impl Figures {
    /// What moves by one exchange.
    #[must_use]
    pub fn moved(&self, exchange: Exchange) -> &Traffic {
        match exchange {
            Exchange::Peer => &self.bytes.peer,
            Exchange::Cache => &self.bytes.cache,
            Exchange::Store => &self.bytes.store,
        }
    }

    /// What is asked of the cloud, by one exchange.
    fn work(&self, exchange: Exchange) -> Work {
        let moved = self.moved(exchange);
        Work {
            flops: self.flops,
            store_get: moved.store_read.blocks,
            store_put: moved.store_written.blocks,
            store_read: moved.store_read.bytes,
            store_written: moved.store_written.bytes,
            peer: moved.peer.bytes,
        }
    }
}

impl Forecast {
    /// The forecast as indented JSON with a newline at its end.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Plain numbers, strings and lists: serde_json has nothing to refuse.
        let mut text = serde_json::to_string_pretty(self).expect("a forecast is plain data");
        text.push('\n');
        text
    }

    /// Bytes of the input as float64.
    #[must_use]
    pub fn matrix_bytes(&self) -> u64 {
        self.m.saturating_mul(self.n).saturating_mul(8)
    }
}
