//! `peerwren sim`: runs an operation on a fleet that is not there.

use std::time::Instant;

use peerwren::linalg::{Request, Simulation, simulate};
use peerwren::report::summarize;
use peerwren::sim::{Fleet, SHIPPED};

use super::args::{Asked, Common, SimArgs};
use super::failure::Failure;
use super::work::{Told, check, explain, write_report};

/// Simulates the operation that the arguments describe.
pub(crate) fn run(arguments: &SimArgs, common: &Common, started: Instant) -> Result<(), Failure> {
    if let Some(name) = &arguments.show {
        return show(name);
    }
    let simulated = Simulated::check(arguments)?;
    let Simulation {
        report,
        bits,
        events,
        trace_error,
    } = simulated.perform()?;
    let told = Told::of(&simulated.asked);
    let summary = summarize(&report, &[]);
    // The trace that failed is not there to be drawn.
    let trace = told.trace.filter(|_| trace_error.is_none());
    write_report(Told { trace, ..told }, &report, &summary)?;
    if !common.quiet {
        let took = started.elapsed().as_secs_f64();
        let told = format!(
            "{summary}  simulated       {events} events in {took:.1} s, seed {}, bits {}\n",
            arguments.seed,
            &bits[..16]
        );
        super::print(told.as_bytes())?;
    }
    trace_error.map_or(Ok(()), |error| Err(Failure::run(error)))
}

/// A simulation whose arguments were found good.
pub(crate) struct Simulated<'a> {
    asked: Asked<'a>,
    fleet: Fleet,
    request: Request,
    seed: u64,
}

impl<'a> Simulated<'a> {
    /// Finds all that is wrong before any work.
    pub(crate) fn check(arguments: &'a SimArgs) -> Result<Self, Failure> {
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
        Ok(Self {
            asked,
            fleet,
            request,
            seed: arguments.seed,
        })
    }

    /// What is to be simulated.
    pub(crate) fn request(&self) -> &Request {
        &self.request
    }

    /// Simulates it.
    pub(crate) fn perform(&self) -> Result<Simulation, Failure> {
        let simulation = simulate(&self.request, &self.fleet, self.seed);
        let mut simulation = simulation.map_err(explain)?;
        let named: Vec<_> = self.asked.inputs.iter().map(|input| input.text).collect();
        simulation.report.plan.input = self.asked.operation.applied_to(&named);
        Ok(simulation)
    }
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
    super::print(text.as_bytes())
}
