//! Two workers of an engine, tried by a small run: whether they start, and by which way their blocks go.

use std::time::Duration;

use super::{Finding, rate};
use crate::cloud::fit;
use crate::linalg::{Operation, Outcome, Request, run};
use crate::matrix::MatrixSource;
use crate::options::{MachineFacts, RunOptions};
use crate::run::RunError;

/// 4 x 4 tiles of 2 MiB: a second of work, and some blocks each way.
const INPUT: &str = "random:2048x2048";
const BLOCK: u32 = 512;

/// Factors a small matrix on two workers.
pub(super) fn examine(options: &RunOptions) -> Result<Vec<Finding>, RunError> {
    let usage = |error: &dyn std::fmt::Display| RunError::Usage(error.to_string());
    let options = RunOptions {
        workers: Some(2),
        block: Some(BLOCK),
        ..options.clone()
    };
    options.check_engine().map_err(|e| usage(&e))?;
    let options = fit(options, None).map_err(|e| usage(&e))?;
    let source = MatrixSource::parse(INPUT).map_err(|e| usage(&e))?;
    let (m, n) = source.shape();
    let options = options.resolve(m, n, &MachineFacts::read());
    let options = options.map_err(|e| usage(&e))?;
    let request = Request::new(Operation::Qr, vec![source], options);
    match run(request, &mut |_| {}) {
        Ok(outcome) => Ok(found(&outcome)),
        Err(error @ RunError::Usage(_)) => Err(error),
        Err(error) => Ok(vec![Finding::bad(
            "workers",
            error.to_string(),
            "see the workers' own last lines; on Lambda those are in the function's log",
        )]),
    }
}

fn found(outcome: &Outcome) -> Vec<Finding> {
    let report = &outcome.report;
    let started = Finding::ok(
        "workers",
        format!("two joined after {:.1} s", report.startup_s),
    );
    let (ways, factor) = (report.factor.ways, &report.factor);
    let came = |way: &str| {
        let bytes = usize::try_from(factor.bytes.peer).unwrap_or(usize::MAX);
        let took = Duration::from_secs_f64(factor.fetch_s.max(0.0));
        let (mib, speed) = (bytes >> 20, rate(bytes, took));
        format!("{way}: {mib} MiB at {speed:.0} MB/s")
    };
    let path = if ways.punched > 0 {
        Finding::ok("between workers", came("through NATs, punched"))
    } else if ways.local > 0 {
        Finding::ok("between workers", came("by their own addresses"))
    } else if ways.store > 0 {
        Finding::warn(
            "between workers",
            "no packets get through: blocks go through the store",
            "give them a network in which they reach each other, or NATs that keep a port for all \
             destinations; runs work without, and move more bytes through the store",
        )
    } else {
        Finding::warn(
            "between workers",
            "no block went from one to the other",
            "try again: one of them came too late to take part",
        )
    };
    vec![started, path]
}
