//! What came of an experiment's rows: their figures, and the medians of each point of the grid.

use super::grid::{Experiment, Point};
use super::row::Row;
use crate::report::Report;
use crate::trace::Timeline;

/// What came of a row.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The row.
    pub row: Row,
    /// Its report, or why it failed in one line.
    pub outcome: Result<Report, String>,
}

/// All that an experiment has brought so far.
#[derive(Clone, Debug)]
pub struct Results<'a> {
    /// What was asked for.
    pub experiment: &'a Experiment,
    /// What came of it, in the order of [`Experiment::rows`]; fewer where it was interrupted.
    pub measured: &'a [Measured],
    /// What the workers of the shown point did when.
    pub timeline: Option<&'a Timeline>,
    /// The line that brought the timeline.
    pub timeline_line: Option<&'a str>,
    /// The machine that this was run or simulated on.
    pub machine: &'a str,
}

/// A point of the grid with what came of it.
#[derive(Clone, Debug)]
pub(super) struct PointResults<'a> {
    pub(super) number: usize,
    pub(super) point: &'a Point,
    /// A line that runs one of its rows.
    pub(super) line: String,
    pub(super) reports: Vec<&'a Report>,
    pub(super) failed: Option<&'a str>,
}

/// A figure of a run.
pub(super) type Figure = fn(&Report) -> f64;

impl<'a> Results<'a> {
    /// Points that have rows, in the grid's order.
    pub(super) fn points(&self) -> Vec<PointResults<'a>> {
        let mut points: Vec<PointResults<'a>> = Vec::new();
        let mut measured: Vec<_> = self.measured.iter().collect();
        measured.sort_by_key(|measured| measured.row.point);
        for Measured { row, outcome } in measured {
            if points.last().is_none_or(|last| last.number != row.point) {
                points.push(PointResults {
                    number: row.point,
                    point: &self.experiment.points[row.point],
                    line: row.line(),
                    reports: Vec::new(),
                    failed: None,
                });
            }
            let last = points.last_mut().expect("there is one now");
            match outcome {
                Ok(report) => last.reports.push(report),
                Err(reason) => last.failed = Some(reason),
            }
        }
        points
    }

    /// How many rows have reports, and how many there are to be.
    pub(super) fn progress(&self) -> (usize, usize) {
        let finished = self.measured.iter().filter(|row| row.outcome.is_ok());
        let all = self.experiment.points.len() * self.experiment.repeat as usize;
        (finished.count(), all)
    }
}

impl PointResults<'_> {
    /// The figure of the run in the middle; 0 where none was finished.
    pub(super) fn median(&self, figure: Figure) -> f64 {
        let values = self.sorted(figure);
        let half = values.len() / 2;
        match values.len() {
            0 => 0.0,
            length if length % 2 == 1 => values[half],
            _ => (values[half - 1] + values[half]) / 2.0,
        }
    }

    /// The least and the most of several runs.
    pub(super) fn range(&self, figure: Figure) -> Option<(f64, f64)> {
        let values = self.sorted(figure);
        (values.len() > 1).then(|| (values[0], values[values.len() - 1]))
    }

    fn sorted(&self, figure: Figure) -> Vec<f64> {
        let mut values: Vec<f64> = self.reports.iter().map(|report| figure(report)).collect();
        values.sort_by(f64::total_cmp);
        values
    }
}

/// Bytes that came to workers from each other.
pub(super) fn peer(report: &Report) -> f64 {
    report.factor.bytes.peer as f64
}

/// Bytes that came to workers from the store and the inputs.
pub(super) fn store_read(report: &Report) -> f64 {
    report.factor.bytes.store_read as f64
}

/// Bytes that workers put into the store.
pub(super) fn store_written(report: &Report) -> f64 {
    report.factor.bytes.store_written as f64
}

/// Seconds of the computation itself.
pub(super) fn factor_s(report: &Report) -> f64 {
    report.factor.factor_s
}

/// Requests to the store.
pub(super) fn store_requests(report: &Report) -> f64 {
    (report.factor.requests.store_get + report.factor.requests.store_put) as f64
}

/// Dollars for what was used.
pub(super) fn dollars(report: &Report) -> f64 {
    report.factor.cost_usd.measured
}

/// The matrix' size in bytes; 0 of a user's own program, whose sizes are its own.
pub(super) fn matrix_bytes(report: &Report) -> f64 {
    if report.command == "run" {
        return 0.0;
    }
    report.matrix_bytes() as f64
}

/// Bytes in times the matrix; 0 where there is none.
pub(super) fn times_matrix(report: &Report, bytes: f64) -> f64 {
    let matrix = matrix_bytes(report);
    if matrix > 0.0 { bytes / matrix } else { 0.0 }
}

/// Cores that the workers had times the seconds of the computation, by the report's profile where there is one:
/// workers come and go.
pub(super) fn core_seconds(report: &Report) -> f64 {
    let (profile, end) = (&report.profile, report.factor.factor_s);
    let cores = f64::from(report.cores);
    if profile.t_s.is_empty() {
        return f64::from(report.workers) * cores * end;
    }
    let next = profile.t_s.iter().skip(1).copied().chain([f64::INFINITY]);
    let steps = profile.t_s.iter().zip(next).zip(&profile.workers);
    let worker_s = steps
        .map(|((from, to), workers)| f64::from(*workers) * (to.min(end) - from.min(end)).max(0.0));
    worker_s.sum::<f64>() * cores
}
