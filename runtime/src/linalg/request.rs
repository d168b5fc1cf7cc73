//! What a user asks for: an operation, its inputs, where its results go. Checks that they fit; computes
//! nothing.

use std::path::PathBuf;

use peerwren_kernels::op::KernelSet;

use super::execute::{Terms, execute};
use super::job::{Builder, Job};
use super::operation::Operation;
use crate::actors::clock::Clock;
use crate::matrix::{MatrixSource, Place, ResultPlace, overlap};
use crate::options::Resolved;
use crate::report::{Progress, Report};
use crate::run::{Interrupt, RunError};

/// An operation on matrices, and what is wanted of it.
#[derive(Clone, Debug)]
pub struct Request {
    /// What is to be computed.
    pub operation: Operation,
    /// Its inputs, in the order of the operation's description.
    pub inputs: Vec<MatrixSource>,
    /// How to run, resolved for [`Operation::shape`].
    pub options: Resolved,
    /// The results that are wanted, by the names of [`Operation::results`], and where each goes.
    pub results: Vec<(String, ResultPlace)>,
    /// Whether the results are checked as LAPACK's tests do, as tasks of the same workers.
    pub check: bool,
    /// The kernels that programs may call; workers in other processes must have them too.
    pub kernels: KernelSet,
    /// Where whoever asks writes the report; only noted, for whoever resumes the run.
    pub report: Option<PathBuf>,
    /// Where a trace of the run is written, for chrome://tracing, Perfetto and `peerwren story`; also of a
    /// run that fails.
    pub trace: Option<PathBuf>,
    /// Stops the run from outside.
    pub interrupt: Interrupt,
}

impl Request {
    /// An operation of which nothing is wanted yet.
    #[must_use]
    pub fn new(operation: Operation, inputs: Vec<MatrixSource>, options: Resolved) -> Self {
        Self {
            operation,
            inputs,
            options,
            results: Vec::new(),
            check: false,
            kernels: KernelSet::standard(),
            report: None,
            trace: None,
            interrupt: Interrupt::default(),
        }
    }

    /// The same with a result that is wanted.
    #[must_use]
    pub fn wanting(mut self, name: &str, place: ResultPlace) -> Self {
        self.results.push((name.to_owned(), place));
        self
    }

    /// The same with a check of the results.
    #[must_use]
    pub fn checked(mut self) -> Self {
        self.check = true;
        self
    }

    /// Where a result goes, if it is wanted.
    pub(super) fn place(&self, name: &str) -> Option<&ResultPlace> {
        let found = self.results.iter().find(|(result, _)| result == name);
        found.map(|(_, place)| place)
    }

    /// The inputs as a user names them.
    pub(super) fn named(&self) -> String {
        let names: Vec<String> = self.inputs.iter().map(ToString::to_string).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.operation.applied_to(&names)
    }
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// All figures.
    pub report: Report,
    /// The files and arrays written: what and where.
    pub files: Vec<(String, ResultPlace)>,
    /// Why there is no trace, in one line, where there was to be one: all else is complete.
    pub trace_error: Option<String>,
}

/// Runs an operation; `progress` is called on this thread about ten times a second.
///
/// # Errors
/// [`RunError::Usage`] where nothing was started, [`RunError::Failed`] where the run failed.
pub fn run(request: Request, progress: &mut dyn FnMut(&Progress)) -> Result<Outcome, RunError> {
    let clock = Clock::start();
    check(&request)?;
    for (number, input) in request.inputs.iter().enumerate() {
        // Of a triangle what is read is checked by who reads it.
        if request.operation.reads_all(number) {
            input
                .validate()
                .map_err(|error| RunError::Usage(error.to_string()))?;
        }
    }
    let job = build(&request)?;
    let terms = Terms {
        options: request.options,
        results: request.results,
        kernels: request.kernels,
        report: request.report,
        trace: request.trace,
        interrupt: request.interrupt,
    };
    execute(clock, terms, job, None, progress)
}

/// The plan of a request, without running it.
///
/// # Errors
/// The inputs or results do not fit the operation, or cannot be read any more.
pub fn plan(request: &Request) -> Result<Job, RunError> {
    check(request)?;
    build(request)
}

fn build(request: &Request) -> Result<Job, RunError> {
    let mut builder = Builder::new(request);
    request.operation.build(&mut builder)?;
    builder.finish()
}

/// Inputs and results are those of the operation, and no result takes the place of an input or of
/// another result.
fn check(request: &Request) -> Result<(), RunError> {
    let shapes: Vec<_> = request.inputs.iter().map(MatrixSource::shape).collect();
    request
        .operation
        .shape(&shapes)
        .map_err(|error| RunError::Usage(error.to_string()))?;
    let known = request.operation.results();
    for (number, (name, _)) in request.results.iter().enumerate() {
        let twice = request.results[..number].iter().any(|(n, _)| n == name);
        if twice || !known.contains(&name.as_str()) {
            let problem = if twice {
                "asked for twice"
            } else {
                "no result"
            };
            return Err(RunError::Usage(format!(
                "{name} is {problem} of {}; expected each of these at most once: {}",
                request.operation.label(),
                known.join(", ")
            )));
        }
    }
    let inputs = request.inputs.iter().filter_map(MatrixSource::place);
    let inputs: Vec<Place> = inputs.collect();
    for (number, (name, place)) in request.results.iter().enumerate() {
        let place = place.place();
        let mut earlier = request.results[..number].iter();
        let other = match earlier.find(|(_, other)| overlap(&place, &other.place())) {
            Some((other, _)) => other.as_str(),
            None if inputs.iter().any(|input| overlap(&place, input)) => "an input",
            None => continue,
        };
        return Err(RunError::Usage(format!(
            "{name} and {other} are both {place}; name two places"
        )));
    }
    Ok(())
}
