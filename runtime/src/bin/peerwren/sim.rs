//! `peerwren sim`: runs an operation on a fleet that is not there.

use std::time::Instant;

use peerwren::linalg::{Simulation, simulate};
use peerwren::report::summarize;
use peerwren::sim::{Fleet, SHIPPED};

use crate::args::{Common, SimArgs};
use crate::failure::Failure;
use crate::work::{check, explain};

/// Simulates the operation that the arguments describe.
pub(crate) fn run(arguments: &SimArgs, common: &Common, started: Instant) -> Result<(), Failure> {
    if let Some(name) = &arguments.show {
        return show(name);
    }
    let Some(work) = &arguments.work else {
        return Err(Failure::usage(
            "expected an operation, such as `peerwren sim qr random:65536x65536 --workers 16`",
        ));
    };
    let asked = work.asked()?;
    let fleet = Fleet::named(&arguments.fleet, &arguments.set).map_err(Failure::usage)?;
    let mut options = fleet.options(asked.run.options()?);
    options.cores = asked.run.cores.unwrap_or(fleet.worker.cores);
    let request = check(&asked, options)?;
    let simulation = simulate(&request, &fleet, arguments.seed).map_err(explain)?;
    let Simulation {
        mut report,
        bits,
        events,
        trace_error,
    } = simulation;
    let named: Vec<_> = asked.inputs.iter().map(|input| input.text).collect();
    report.plan.input = asked.operation.applied_to(&named);
    if let Some(path) = &asked.run.report {
        report.write(path).map_err(Failure::run)?;
    }
    if !common.quiet {
        let took = started.elapsed().as_secs_f64();
        let told = format!(
            "{}  simulated       {events} events in {took:.1} s, seed {}, bits {}\n",
            summarize(&report, &[]),
            arguments.seed,
            &bits[..16]
        );
        crate::print(told.as_bytes())?;
    }
    trace_error.map_or(Ok(()), |error| Err(Failure::run(error)))
}

fn show(name: &str) -> Result<(), Failure> {
    let known = SHIPPED.iter().find(|(shipped, _)| *shipped == name);
    let Some((_, text)) = known else {
        let names: Vec<&str> = SHIPPED.iter().map(|(shipped, _)| *shipped).collect();
        return Err(Failure::usage(format!(
            "--show {}: expected one of {}",
            name.escape_debug(),
            names.join(", ")
        )));
    };
    crate::print(text.as_bytes())
}
