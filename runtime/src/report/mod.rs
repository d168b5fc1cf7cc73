//! What a run tells at its end and on its way: the report that other tools read, the summary, the page
//! and the progress that people read.
//!
//! Owns the fields and their meaning. Counts nothing itself: the engine fills the fields in.

mod page;
pub(crate) mod pictures;
mod progress;
mod summary;
mod write;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::options::Chosen;

pub use page::{PageExtras, is_page, page};
pub use progress::{Phase, Progress, ProgressBar};
pub use summary::{Summary, summarize};
pub(crate) use summary::{counted, grouped, seconds};
pub use write::{ReportError, check_text_file, write_text_file};

/// The JSON Schema (draft 2020-12) of [`Report`].
pub const SCHEMA: &str = include_str!("schema.json");

/// Version of the report's form. Fields are added under one version, never renamed.
pub const SCHEMA_VERSION: u32 = 1;

/// Most bytes of a report that is read: one of 4096 workers' pairs has less.
pub(crate) const REPORT_BYTES_MAX: u64 = 256 << 20;

/// The report of a run. Sizes are in bytes, times in seconds; a field that does not apply is 0.
///
/// The fields of [`PhaseStats`] at the top level cover the factorization alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA_VERSION`].
    pub schema: u32,
    /// The subcommand, such as `qr`.
    pub command: String,
    /// Version of peerwren.
    pub version: String,
    /// What was run, enough to run it again.
    pub plan: PlanRecord,
    /// Rows of the input.
    pub m: u64,
    /// Columns of the input.
    pub n: u64,
    /// Side of a tile.
    pub block: u32,
    /// Inner block of the kernels.
    pub ib: u32,
    /// Reduction tree, in the form that `--tree` takes to get it again.
    pub tree: String,
    /// Options that were left open, what was chosen, and why.
    #[serde(default)]
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
    /// Memory of each worker.
    pub memory: u64,
    /// Duration of the whole command.
    pub wall_s: f64,
    /// From the start of the command to the first assignment of a task.
    pub startup_s: f64,
    /// Duration of loading the inputs into the workers' caches; 0 without `--preload`.
    pub preload_s: f64,
    /// Parallelism and workers over the whole run.
    #[serde(default)]
    pub profile: ProfileSeries,
    /// The factorization.
    #[serde(flatten)]
    pub factor: PhaseStats,
    /// Forming Q; all 0 where it was not asked for.
    pub q: PhaseStats,
    /// Checking the factors; all 0 without `--check`.
    pub check: PhaseStats,
    /// How far the results are from their definition, as LAPACK's tests measure it in 1-norms, eps = 2^-53,
    /// 0/0 = 0; for `qr` |A - QR| / (max(m, n) eps |A|), A scaled by max|A| first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub residual: Option<f64>,
    /// |I - Q'Q| / (m eps) in the 1-norm, eps = 2^-53.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orthogonality: Option<f64>,
}

/// What was run: the same record gives the same bits again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanRecord {
    /// The input as named on the command line.
    pub input: String,
    /// Name of the factorization's program.
    pub program: String,
    /// Digest of the whole plan, in hexadecimal.
    pub digest: String,
}

/// How parallel a run was over time, beside the workers that it had: lists of one length, at most 256.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProfileSeries {
    /// Seconds since the first task.
    pub t_s: Vec<f64>,
    /// Tasks that ran or could have.
    pub ready: Vec<u64>,
    /// Tasks that workers' threads had.
    pub running: Vec<u64>,
    /// Workers that took tasks.
    pub workers: Vec<u32>,
}

/// What one phase of a run did and what it cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PhaseStats {
    /// From the first kernel's start to the last result; writing results is outside it.
    pub factor_s: f64,
    /// Time in kernels, summed over threads.
    pub compute_s: f64,
    /// Time in which blocks were on their way to a worker from peers or the store, summed over workers.
    #[serde(default)]
    pub fetch_s: f64,
    /// Distinct tasks of the plan.
    pub tasks: u64,
    /// Executions of tasks beyond each one's first.
    pub tasks_recomputed: u64,
    /// Tasks of the plan that were finished before the run was resumed, and not executed again; 0 in a run
    /// that was not.
    #[serde(default)]
    pub tasks_restored: u64,
    /// Useful floating-point operations of the tasks.
    pub flops: u64,
    /// Payload that blocks caused to move.
    pub bytes: ByteCounts,
    /// Bytes of input that were read from files or the store; also within `bytes.store_read`.
    pub inputs_read: u64,
    /// Bytes of local files that were tiled into the store first; also within `bytes.store_written`.
    pub inputs_uploaded: u64,
    /// Bytes of results that were written; also within `bytes.store_written`.
    pub outputs_written: u64,
    /// How often blocks were asked for.
    pub requests: RequestCounts,
    /// Pairs of workers by how they exchanged blocks, up to the phase's end.
    #[serde(default)]
    pub ways: WayCounts,
    /// Most bytes that any worker held in its cache.
    pub peak_cache_bytes: u64,
    /// Workers that died or left before their time.
    pub workers_lost: u32,
    /// Workers started in place of lost ones and of those that had to leave.
    pub workers_replaced: u32,
    /// Workers that could not take part: with other bits than the run's, of another version, without a kernel; and
    /// volunteers that were admitted and never came.
    pub workers_refused: u32,
    /// Tasks taken back from a worker that did not finish them in time.
    pub leases_expired: u64,
    /// What came to workers by what it was for, in the order of the programs' text: the columns' sums are
    /// `bytes.peer`, and `bytes.store_read` in two parts.
    #[serde(default)]
    pub moved_by_statement: Vec<StatementMoves>,
    /// What workers gave each other, by giver and receiver: the sums are `bytes.peer` and
    /// `requests.peer_get`. Pairs that exchanged nothing are not there.
    #[serde(default)]
    pub moved_by_pair: Vec<PairMoves>,
    /// What the phase costs in the cloud.
    pub cost_usd: CostEstimate,
    /// The same by worker.
    pub per_worker: Vec<WorkerStats>,
}

/// Payload in bytes by where it came from or went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByteCounts {
    /// Read from the store, inputs from files included.
    pub store_read: u64,
    /// Written to the store, results included.
    pub store_written: u64,
    /// Received by a worker from another worker, counted once, at the receiver.
    pub peer: u64,
    /// Used by a task from its worker's own cache.
    pub cache_hit: u64,
}

/// Requests by whom they went to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestCounts {
    /// Blocks read from the store.
    pub store_get: u64,
    /// Blocks written to the store.
    pub store_put: u64,
    /// Blocks received from peers.
    pub peer_get: u64,
    /// Requests to peers that brought no good block.
    pub peer_failed: u64,
    /// Requests to peers that served others, and referred to a worker which they had served.
    #[serde(default)]
    pub peer_referred: u64,
    /// Blocks from peers that were not what had been made; each counts in `peer_failed` too.
    #[serde(default)]
    pub peer_wrong: u64,
}

/// Payload of one family's blocks that came to workers for one statement of a program, by where it came
/// from. A block that several tasks of a worker read is counted once, for the first that waited for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatementMoves {
    /// The phase of the statement; empty where blocks came for no task.
    pub phase: String,
    /// The file with the statement.
    pub program: String,
    /// The statement's number in the program's text, from 1; 0 where blocks came for no task.
    pub statement: u32,
    /// Its line in the file, from 1.
    pub line: u32,
    /// The kernel that it calls; `preload` for inputs that were loaded first, `handover` for blocks of
    /// workers that left.
    pub kernel: String,
    /// The family of the blocks; of those that several programs have, `PROGRAM.FAMILY`.
    pub block: String,
    /// From other workers.
    pub peer: u64,
    /// From the store, inputs aside.
    pub store: u64,
    /// From the run's inputs.
    pub input: u64,
}

/// What one worker got from another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairMoves {
    /// The giver's number.
    pub from: u32,
    /// The receiver's number.
    pub to: u32,
    /// Payload.
    pub bytes: u64,
    /// Blocks.
    pub blocks: u64,
}

/// Pairs of workers that have wanted blocks of each other, by their way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WayCounts {
    /// By addresses of their own: on one host or network, or without NATs between them.
    pub local: u64,
    /// Through NATs.
    pub punched: u64,
    /// Through the store alone: no packets got through between them.
    pub store: u64,
}

/// What a phase costs in US dollars, by a table of prices.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CostEstimate {
    /// Dollars by estimate before the run; 0 where the workers run on machines of the user's.
    pub estimate: f64,
    /// Dollars for what was used; 0 where the workers run on machines of the user's.
    #[serde(default)]
    pub measured: f64,
    /// Memory in GB times the duration of all invocations.
    #[serde(default)]
    pub gb_seconds: f64,
    /// Invocations of the function.
    #[serde(default)]
    pub invocations: u64,
    /// Name and date of the table of prices; empty where none applies.
    pub table: String,
}

/// What one worker did in a phase.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkerStats {
    /// The worker's number in the run; a replacement has one of its own.
    pub id: u32,
    /// The machine that it ran on.
    pub host: String,
    /// Its cores.
    pub cores: u32,
    /// Tasks that it executed, recomputed ones included.
    pub tasks: u64,
    /// Time in kernels, summed over its threads.
    pub compute_s: f64,
    /// Time in which blocks were on their way to it from peers or the store.
    #[serde(default)]
    pub fetch_s: f64,
    /// Payload that it moved.
    pub bytes: ByteCounts,
    /// Most bytes that it held in its cache.
    pub peak_cache_bytes: u64,
    /// Whether it was lost.
    pub lost: bool,
}

impl Report {
    /// Useful GFLOP/s of the factorization, 0 where nothing was timed.
    pub fn gflops(&self) -> f64 {
        self.factor.gflops()
    }

    /// Whether what was checked is sound: LAPACK's ratios below 30. True without a check.
    pub fn is_sound(&self) -> bool {
        let ratios = [self.residual, self.orthogonality];
        // Not `>=`: a NaN is not sound.
        ratios.into_iter().flatten().all(|ratio| ratio < 30.0)
    }

    /// The ratios that the check measured, in words; empty without one.
    pub fn ratios(&self) -> String {
        summary::ratios(self)
    }

    /// Bytes of the input as float64.
    pub fn matrix_bytes(&self) -> u64 {
        self.m.saturating_mul(self.n).saturating_mul(8)
    }
}

impl PhaseStats {
    /// What two phases of one run took that came one after the other.
    pub(crate) fn then(mut self, next: Self) -> Self {
        self.factor_s += next.factor_s;
        self.compute_s += next.compute_s;
        self.fetch_s += next.fetch_s;
        self.tasks += next.tasks;
        self.tasks_recomputed += next.tasks_recomputed;
        self.tasks_restored += next.tasks_restored;
        self.flops += next.flops;
        self.bytes += next.bytes;
        self.inputs_read += next.inputs_read;
        self.inputs_uploaded += next.inputs_uploaded;
        self.outputs_written += next.outputs_written;
        self.requests += next.requests;
        self.ways = next.ways;
        self.peak_cache_bytes = self.peak_cache_bytes.max(next.peak_cache_bytes);
        self.workers_lost += next.workers_lost;
        self.workers_replaced += next.workers_replaced;
        self.workers_refused += next.workers_refused;
        self.leases_expired += next.leases_expired;
        self.cost_usd.estimate += next.cost_usd.estimate;
        self.cost_usd.measured += next.cost_usd.measured;
        self.cost_usd.gb_seconds += next.cost_usd.gb_seconds;
        self.cost_usd.invocations += next.cost_usd.invocations;
        // Two phases may read for one statement: a lost block is made again in a later phase.
        for row in next.moved_by_statement {
            let same = |known: &&mut StatementMoves| known.is_for(&row);
            match self.moved_by_statement.iter_mut().find(same) {
                Some(known) => known.add(&row),
                None => self.moved_by_statement.push(row),
            }
        }
        self.moved_by_pair = joined(&self.moved_by_pair, &next.moved_by_pair);
        for worker in next.per_worker {
            match self.per_worker.iter_mut().find(|w| w.id == worker.id) {
                Some(known) => known.then(&worker),
                None => self.per_worker.push(worker),
            }
        }
        self
    }

    /// Useful GFLOP/s, 0 where nothing was timed.
    pub fn gflops(&self) -> f64 {
        if self.factor_s > 0.0 {
            self.flops as f64 / self.factor_s / 1e9
        } else {
            0.0
        }
    }
}

impl StatementMoves {
    fn is_for(&self, other: &Self) -> bool {
        let key = |row: &Self| (row.statement, row.line);
        key(self) == key(other)
            && (&self.phase, &self.program, &self.kernel, &self.block)
                == (&other.phase, &other.program, &other.kernel, &other.block)
    }

    fn add(&mut self, more: &Self) {
        self.peer += more.peer;
        self.store += more.store;
        self.input += more.input;
    }
}

/// The sums of two lists, by pair.
fn joined(first: &[PairMoves], second: &[PairMoves]) -> Vec<PairMoves> {
    let mut sums: BTreeMap<(u32, u32), PairMoves> = BTreeMap::new();
    for pair in first.iter().chain(second) {
        let new = PairMoves {
            bytes: 0,
            blocks: 0,
            ..*pair
        };
        let sum = sums.entry((pair.from, pair.to)).or_insert(new);
        sum.bytes += pair.bytes;
        sum.blocks += pair.blocks;
    }
    sums.into_values().collect()
}

impl WorkerStats {
    fn then(&mut self, next: &Self) {
        self.tasks += next.tasks;
        self.compute_s += next.compute_s;
        self.fetch_s += next.fetch_s;
        self.bytes += next.bytes;
        self.peak_cache_bytes = self.peak_cache_bytes.max(next.peak_cache_bytes);
        self.lost |= next.lost;
    }
}

impl std::ops::AddAssign for ByteCounts {
    fn add_assign(&mut self, more: Self) {
        self.store_read += more.store_read;
        self.store_written += more.store_written;
        self.peer += more.peer;
        self.cache_hit += more.cache_hit;
    }
}

impl std::ops::AddAssign for RequestCounts {
    fn add_assign(&mut self, more: Self) {
        self.store_get += more.store_get;
        self.store_put += more.store_put;
        self.peer_get += more.peer_get;
        self.peer_failed += more.peer_failed;
        self.peer_referred += more.peer_referred;
        self.peer_wrong += more.peer_wrong;
    }
}
