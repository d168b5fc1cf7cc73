//! Turns what workers counted, real or simulated ones, into a report. Runs nothing.

use peerwren_transports::block::BlockKey;

use super::job::Job;
use crate::control::Purpose;
use crate::machine::moves::MoveTable;
use crate::machine::profile::Profile;
use crate::machine::scheduler::PhaseFigures;
use crate::options::Resolved;
use crate::outcome::Outcome;
use crate::plan::Plan;
use crate::prices::{Prices, Usage, Work};
use crate::report::{
    ByteCounts, PairMoves, PhaseStats, PlanRecord, ProfileSeries, Report, RequestCounts,
    SCHEMA_VERSION, StatementMoves, WayCounts, WorkerStats,
};

/// The report of a job's run, but what its driver took and what the check measured.
pub(super) fn report(options: &Resolved, job: &Job, plan: &Plan, outcome: &Outcome) -> Report {
    let phase = |number: usize| match outcome.phases.get(number) {
        Some(figures) => {
            let stats = stats(figures, plan, number, options.cores);
            priced(stats, plan, number, outcome, &options.prices)
        }
        None => PhaseStats::default(),
    };
    let sum = |is_part: &dyn Fn(&str) -> bool| {
        let parts = (0..plan.phase_count()).filter(|&p| is_part(plan.phase_name(p)));
        parts
            .map(phase)
            .reduce(PhaseStats::then)
            .unwrap_or_default()
    };
    let mut factor = sum(&|name| name != "q" && name != "check");
    factor.inputs_uploaded = outcome.uploaded.bytes;
    factor.bytes.store_written += outcome.uploaded.bytes;
    factor.requests.store_put += outcome.uploaded.requests;
    let program = &job.plan.phases[0].file;
    Report {
        schema: SCHEMA_VERSION,
        command: job.operation.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        plan: PlanRecord {
            input: job.input.clone(),
            program: program.strip_suffix(".lp").unwrap_or(program).to_owned(),
            digest: job.plan.digest().to_string(),
        },
        m: job.m,
        n: job.n,
        block: options.block,
        ib: options.ib,
        tree: options.tree.to_string(),
        chosen: options.chosen.clone(),
        workers: options.workers,
        cores: cores_of(&outcome.phases).unwrap_or(options.cores),
        engine: options.engine.to_string(),
        exchange: options.exchange.to_string(),
        policy: options.policy.to_string(),
        durability: options.durability.to_string(),
        memory: options.memory,
        startup_s: outcome.startup.as_secs_f64(),
        preload_s: outcome.preload.as_secs_f64(),
        profile: series(&outcome.profile),
        factor,
        q: sum(&|name| name == "q"),
        check: sum(&|name| name == "check"),
        ..Report::default()
    }
}

/// The most compute threads of a worker that came by itself.
fn cores_of(phases: &[PhaseFigures]) -> Option<u32> {
    phases.iter().flat_map(|f| f.cores.values()).copied().max()
}

/// The run's profile in the report's form; it begins with the first task.
fn series(profile: &Profile) -> ProfileSeries {
    let points = profile.points();
    let began = points.first().map(|point| point.at).unwrap_or_default();
    ProfileSeries {
        t_s: points
            .iter()
            .map(|point| point.at.since(began).as_secs_f64())
            .collect(),
        ready: points.iter().map(|point| point.ready).collect(),
        running: points.iter().map(|point| point.running).collect(),
        workers: points.iter().map(|point| point.workers).collect(),
    }
}

/// The figures of a phase in the report's form.
fn stats(figures: &PhaseFigures, plan: &Plan, phase: usize, cores: u32) -> PhaseStats {
    let mut stats = PhaseStats {
        factor_s: figures.span.as_secs_f64(),
        tasks: plan.task_count(phase),
        tasks_recomputed: figures.tasks_recomputed,
        tasks_restored: figures.tasks_restored,
        flops: plan.phase_flops(phase),
        moved_by_statement: by_statement(&figures.moves, plan),
        moved_by_pair: by_pair(&figures.moves),
        workers_lost: figures.lost,
        workers_replaced: figures.replaced,
        workers_refused: figures.refused,
        leases_expired: u64::from(figures.leases_expired),
        ways: WayCounts {
            local: figures.ways.local,
            punched: figures.ways.punched,
            store: figures.ways.store,
        },
        ..PhaseStats::default()
    };
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    for (worker, lost, tally) in &figures.workers {
        let bytes = ByteCounts {
            store_read: tally.store_read,
            store_written: tally.store_written,
            peer: tally.peer,
            cache_hit: tally.cache_hit,
        };
        stats.bytes += bytes;
        stats.requests += RequestCounts {
            store_get: tally.store_get,
            store_put: tally.store_put,
            peer_get: tally.peer_get,
            peer_failed: tally.peer_failed,
            peer_referred: tally.peer_referred,
            peer_wrong: tally.peer_wrong,
        };
        stats.compute_s += tally.compute_ns as f64 * 1e-9;
        stats.fetch_s += tally.fetch_ns as f64 * 1e-9;
        stats.inputs_read += tally.inputs_read;
        stats.outputs_written += tally.outputs_written;
        stats.peak_cache_bytes = stats.peak_cache_bytes.max(tally.cache_bytes_peak);
        stats.per_worker.push(WorkerStats {
            id: worker.0,
            host: host.trim().to_owned(),
            cores: figures.cores.get(worker).copied().unwrap_or(cores),
            tasks: tally.tasks,
            compute_s: tally.compute_ns as f64 * 1e-9,
            fetch_s: tally.fetch_ns as f64 * 1e-9,
            bytes,
            peak_cache_bytes: tally.cache_bytes_peak,
            lost: *lost,
        });
    }
    stats
}

fn by_statement(moves: &MoveTable, plan: &Plan) -> Vec<StatementMoves> {
    let labels = plan.family_labels();
    let rows = moves.by_statement.iter();
    rows.map(|((purpose, family), bytes)| {
        let row = StatementMoves {
            block: labels[usize::from(*family)].clone(),
            peer: bytes.peer,
            store: bytes.store,
            input: bytes.input,
            ..StatementMoves::default()
        };
        match *purpose {
            Purpose::Task { phase, stmt } => {
                let phase = usize::from(phase);
                let (program, line) = plan.statement_place(phase, stmt);
                StatementMoves {
                    phase: plan.phase_name(phase).to_owned(),
                    program: program.to_owned(),
                    statement: u32::from(stmt) + 1,
                    line: u32::try_from(line).unwrap_or(u32::MAX),
                    kernel: plan.statement_kernel(phase, stmt).to_owned(),
                    ..row
                }
            }
            Purpose::Preload | Purpose::Handover => StatementMoves {
                kernel: if *purpose == Purpose::Preload {
                    "preload".to_owned()
                } else {
                    "handover".to_owned()
                },
                ..row
            },
        }
    })
    .collect()
}

fn by_pair(moves: &MoveTable) -> Vec<PairMoves> {
    let pairs = moves.by_pair.iter();
    pairs
        .map(|((from, to), moved)| PairMoves {
            from: from.0,
            to: to.0,
            bytes: moved.bytes,
            blocks: moved.blocks,
        })
        .collect()
}

/// Adds what a phase cost in the cloud, by estimate and as measured; nothing where it ran elsewhere.
fn priced(
    mut stats: PhaseStats,
    plan: &Plan,
    phase: usize,
    outcome: &Outcome,
    prices: &Prices,
) -> PhaseStats {
    let (Some(fleet), Some(used)) = (&outcome.fleet, outcome.used.get(phase)) else {
        return stats;
    };
    let bytes = |keys: &[BlockKey]| keys.iter().map(|key| plan.bytes(key)).sum();
    let inputs: Vec<_> = plan.sources(phase).into_iter().collect();
    let results: Vec<_> = plan.results(phase).collect();
    let work = Work {
        flops: stats.flops,
        store_get: inputs.len() as u64,
        store_put: results.len() as u64,
        store_read: bytes(&inputs),
        store_written: bytes(&results),
        peer: 0,
    };
    let used = Usage {
        store_get: stats.requests.store_get,
        store_put: stats.requests.store_put,
        store_byte_s: stats.bytes.store_written as f64 * stats.factor_s,
        peer_bytes: stats.bytes.peer,
        ..*used
    };
    stats.cost_usd = prices.report(&fleet.usage(&work), &used);
    stats
}
