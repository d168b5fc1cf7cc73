//! Puts result tiles together: into a `.npy` file, one tile in memory at a time, or into a number. Also
//! turns what workers counted into the report's figures.

use std::path::Path;

use peerwren_kernels::tile::TileRef;
use peerwren_transports::block::BlockKey;

use super::job::Wanted;
use crate::control::Purpose;
use crate::machine::moves::MoveTable;
use crate::machine::profile::Profile;
use crate::machine::scheduler::PhaseFigures;
use crate::matrix::NpyWriter;
use crate::plan::Plan;
use crate::prices::{Prices, Usage, Work};
use crate::report::{
    ByteCounts, PairMoves, PhaseStats, ProfileSeries, RequestCounts, StatementMoves, WayCounts,
    WorkerStats,
};
use crate::run::{Outcome, Results, RunError};

/// Writes an output as `.npy` beside its final name; tiles that the output does not have are zero.
/// The file takes its name when the writer is finished.
pub(super) async fn write_npy(
    results: &Results<'_>,
    wanted: &Wanted,
    path: &Path,
) -> Result<NpyWriter, RunError> {
    let failed = |error: &dyn std::fmt::Display| RunError::Failed(error.to_string());
    let writer = NpyWriter::create(path, wanted.form).map_err(|e| failed(&e))?;
    let mut dense = Vec::new();
    for (at, key) in results.plan.output(wanted.phase.into(), &wanted.output) {
        let shape = results.plan.shape(&key);
        let tile = results.block(&key).await?;
        let (rows, cols) = (shape.rows as usize, shape.cols as usize);
        dense.resize(rows * cols, 0.0);
        TileRef {
            shape,
            data: tile.as_f64(),
        }
        .unpack(&mut dense, rows);
        let first = |place, side: u32| {
            u64::try_from(at.get(place).unwrap_or(0)).unwrap_or(0) * u64::from(side)
        };
        let (row, col) = (first(0, wanted.tile.0), first(1, wanted.tile.1));
        writer
            .write_tile(row, col, rows, cols, &dense)
            .map_err(|e| failed(&e))?;
    }
    Ok(writer)
}

/// The only entry of a 1 x 1 output.
pub(super) async fn number(
    results: &Results<'_>,
    phase: usize,
    output: &str,
) -> Result<f64, RunError> {
    let tiles = results.plan.output(phase, output);
    let Some((_, key)) = tiles.first() else {
        return Err(RunError::Failed(format!(
            "the check has no output {output}"
        )));
    };
    let block = results.block(key).await?;
    block
        .as_f64()
        .first()
        .copied()
        .ok_or_else(|| RunError::Failed(format!("{output} is empty")))
}

/// The run's profile in the report's form; it begins with the first task.
pub(super) fn series(profile: &Profile) -> ProfileSeries {
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
pub(super) fn stats(figures: &PhaseFigures, plan: &Plan, phase: usize, cores: u32) -> PhaseStats {
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
pub(super) fn priced(
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
