//! The operations, `peerwren qr` and its like: checks everything that can be checked, then runs.

use std::path::Path;
use std::time::Instant;

use peerwren::RunError;
use peerwren::cloud::fit;
use peerwren::linalg::{self, Outcome, Request};
use peerwren::matrix::{MatrixSource, Place, ResultPlace, overlap};
use peerwren::options::{MachineFacts, Replay, RunOptions};
use peerwren::report::{ProgressBar, Report, check_text_file, summarize};

use crate::args::{Asked, Common, LogLevel, Work};
use crate::failure::Failure;
use crate::interrupt;

/// Runs the operation that the arguments describe.
pub(crate) fn run(work: &Work, common: &Common, started: Instant) -> Result<(), Failure> {
    let asked = work.asked()?;
    let options = asked.run.options()?;
    options.check_engine().map_err(Failure::usage)?;
    let options = fit(options, asked.run.cores).map_err(Failure::usage)?;
    run_with(&asked, options, common, started, || {})
}

/// Runs the operation with options that are made of more than its arguments; `begins` is called when
/// all of them are found good.
pub(crate) fn run_with(
    asked: &Asked<'_>,
    options: RunOptions,
    common: &Common,
    started: Instant,
    begins: impl FnOnce(),
) -> Result<(), Failure> {
    let mut request = check(asked, options)?;
    request.interrupt = interrupt::on_signals()?;
    begins();
    let checked_s = started.elapsed().as_secs_f64();
    let bar = progress_bar(common);
    let outcome = linalg::run(request, &mut |progress| bar.update(progress));
    bar.clear();
    let mut outcome = outcome.map_err(explain)?;
    let named: Vec<_> = asked.inputs.iter().map(|input| input.text).collect();
    outcome.report.plan.input = asked.operation.applied_to(&named);
    outcome.report.startup_s += checked_s;
    tell(outcome, asked.run.report.as_deref(), common, started)
}

/// A bar on the terminal, where it does not disturb.
pub(crate) fn progress_bar(common: &Common) -> ProgressBar {
    // Log lines of a talkative level and a bar would write over each other.
    let talkative = !matches!(common.log, LogLevel::Off | LogLevel::Error | LogLevel::Warn);
    ProgressBar::new(common.quiet || talkative)
}

/// Writes the report and shows the summary of a run that began with this command.
pub(crate) fn tell(
    outcome: Outcome,
    report_path: Option<&Path>,
    common: &Common,
    started: Instant,
) -> Result<(), Failure> {
    let Outcome {
        mut report,
        files,
        trace_error,
    } = outcome;
    report.wall_s = started.elapsed().as_secs_f64();
    if let Some(path) = report_path {
        report.write(path).map_err(Failure::run)?;
    }
    if !common.quiet {
        crate::print(summarize(&report, &files).to_string().as_bytes())?;
    }
    if let Some(error) = trace_error {
        return Err(Failure::run(error));
    }
    if report.is_sound() {
        Ok(())
    } else {
        Err(Failure::run(format!(
            "the results are not sound: {} where 30 is the most; please report this with the input",
            report.ratios()
        )))
    }
}

/// Finds all that is wrong before any work, cheap checks first.
pub(crate) fn check(asked: &Asked<'_>, options: RunOptions) -> Result<Request, Failure> {
    let mut inputs = Vec::new();
    for input in &asked.inputs {
        let source = MatrixSource::parse(input.text).map_err(Failure::usage)?;
        inputs.push(if input.transposed {
            source.transposed()
        } else {
            source
        });
    }
    let shapes: Vec<_> = inputs.iter().map(MatrixSource::shape).collect();
    let problem = asked.operation.problem(&shapes).map_err(Failure::usage)?;
    let options = match &asked.run.plan {
        None => options,
        Some(path) => Replay::apply(path, asked.operation.name(), &problem, options)
            .map_err(Failure::usage)?,
    };
    let block = asked.operation.block((problem.m, problem.n));
    let block = options.block.or(block);
    let options = RunOptions { block, ..options }
        .resolve_for(&problem, &MachineFacts::read())
        .map_err(Failure::usage)?;
    let mut request = Request::new(asked.operation.clone(), inputs, options);
    for (name, path) in &asked.results {
        let place = ResultPlace::parse(path).map_err(Failure::usage)?;
        request = request.wanting(name, place);
    }
    let (report, trace) = (asked.run.report.as_deref(), asked.run.trace.as_deref());
    check_places(&request, [report, trace, asked.run.plan.as_deref()])?;
    request.check = asked.check;
    request.report = asked.run.report.clone();
    request.trace = asked.run.trace.clone();
    Ok(request)
}

/// Every result of the run can be written, and no two are one.
fn check_places(
    request: &Request,
    [report, trace, plan]: [Option<&Path>; 3],
) -> Result<(), Failure> {
    let inputs: Vec<_> = request.inputs.iter().map(MatrixSource::place).collect();
    for (_, result) in &request.results {
        result.check_writable(None).map_err(Failure::usage)?;
        for input in inputs.iter().flatten() {
            result.check_writable(Some(input)).map_err(Failure::usage)?;
        }
    }
    if let Some(path) = report {
        Report::check_writable(path).map_err(Failure::usage)?;
    }
    if let Some(path) = trace {
        check_text_file("trace", path).map_err(Failure::usage)?;
    }
    let inputs = inputs.into_iter().flatten();
    let inputs = inputs.map(|place| ("the input".to_owned(), place));
    let results = request.results.iter();
    let results = results.map(|(name, result)| (format!("--{name}"), result.place()));
    let files = [("--report", report), ("--trace", trace), ("--plan", plan)];
    let files = files
        .into_iter()
        .filter_map(|(name, path)| Some((name.to_owned(), Place::Folder(path?.into()))));
    let named: Vec<_> = inputs.chain(results).chain(files).collect();
    for (number, (one, place)) in named.iter().enumerate() {
        for (other, second) in &named[number + 1..] {
            // One matrix may be two inputs.
            if one != other && overlap(place, second) {
                return Err(Failure::usage(format!(
                    "{one} and {other} are both {second}; name two files"
                )));
            }
        }
    }
    Ok(())
}

/// A run that could never have worked is the user's to correct; all else is a failed run.
pub(crate) fn explain(error: RunError) -> Failure {
    match error {
        RunError::Usage(_) => Failure::usage(error),
        RunError::Program(text) => Failure::program(text),
        _ => Failure::run(error),
    }
}
