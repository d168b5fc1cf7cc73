//! A request on a fleet that is not there: the plan that a real run would have, in the simulator. Computes no
//! number of a result and writes none.

use super::figures::report;
use super::request::{Request, plan};
use crate::plan::Plan;
use crate::report::Report;
use crate::run::RunError;
use crate::sim::{self, Fleet};
use crate::trace::{Header, Spool, TraceFile};

/// What a simulated run came to.
#[derive(Clone, Debug)]
pub struct Simulation {
    /// As of a real run; times are simulated ones, and nothing is measured of the results.
    pub report: Report,
    /// Hash of all that was computed, in hexadecimal: the same for a plan whatever the fleet, exchange, policy and faults.
    pub bits: String,
    /// Events that happened.
    pub events: u64,
    /// Why there is no trace, in one line, where there was to be one.
    pub trace_error: Option<String>,
}

/// Runs a request on a simulated fleet, on this thread. The same request, fleet and seed give the same report.
///
/// ```
/// use peerwren::linalg::{Operation, Request, simulate};
/// use peerwren::matrix::MatrixSource;
/// use peerwren::options::{MachineFacts, RunOptions};
/// use peerwren::sim::Fleet;
///
/// let fleet = Fleet::named("lambda-now", &[])?;
/// let options = RunOptions { block: Some(4096), workers: Some(16), ..fleet.options(RunOptions::default()) };
/// let (m, n) = (65536, 65536);
/// let source = MatrixSource::parse("random:65536x65536")?;
/// let options = options.resolve(m, n, &MachineFacts::read())?;
/// let simulation = simulate(&Request::new(Operation::Qr, vec![source], options), &fleet, 1)?;
/// // Every task of 16 x 16 tiles once, in minutes that nobody waited for.
/// assert_eq!(simulation.report.factor.tasks, 1894);
/// assert!(simulation.report.factor.factor_s > 60.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`RunError::Usage`] where the request cannot be meant, [`RunError::Failed`] where the simulated run failed.
pub fn simulate(request: &Request, fleet: &Fleet, seed: u64) -> Result<Simulation, RunError> {
    let job = plan(request)?;
    let checked = Plan::new(job.plan.clone(), request.kernels.clone())?;
    let options = &request.options;
    checked.check_memory(options.cores, options.memory)?;
    let trace = request.trace.clone().map(|path| TraceFile {
        path,
        header: Header {
            title: format!("{} of {}, simulated", job.operation, job.input),
        },
    });
    let mut spool = match &trace {
        Some(trace) => {
            let spool = Spool::open(&trace.path, job.plan.run);
            Some(spool.map_err(|error| RunError::Usage(trace.failed(&error)))?)
        }
        None => None,
    };
    let mut record = |records: &[crate::trace::Record]| {
        if let Some(spool) = &mut spool {
            spool.add(records);
        }
    };
    let recorder: Option<sim::Recorder<'_>> = match &trace {
        Some(_) => Some(&mut record),
        None => None,
    };
    let simulated = sim::simulate(&checked, options, fleet, seed, recorder);
    let said = match &simulated {
        Ok(_) => "complete",
        Err(error) => error,
    };
    let written = match (&trace, &mut spool) {
        (Some(trace), Some(spool)) => {
            let written = spool.finish(trace, &checked, said);
            written.map_err(|error| trace.failed(&error))
        }
        _ => Ok(()),
    };
    let simulated = simulated.map_err(RunError::Failed)?;
    let mut report = report(options, &job, &checked, &simulated.outcome);
    report.engine = format!("sim:{}", fleet.name);
    report.wall_s = simulated.nanos as f64 * 1e-9;
    Ok(Simulation {
        report,
        bits: simulated.bits.to_string(),
        events: simulated.events,
        trace_error: written.err(),
    })
}
