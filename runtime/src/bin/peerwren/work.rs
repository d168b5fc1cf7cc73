//! The operations, `peerwren qr` and its like: checks everything that can be checked, then runs.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use peerwren::cloud::fit;
use peerwren::experiment::shell_line;
use peerwren::linalg::{self, Job, Outcome, Request};
use peerwren::matrix::{MatrixSource, Place, ResultPlace, overlap};
use peerwren::options::{MachineFacts, Replay, RunOptions};
use peerwren::plan::Plan;
use peerwren::report::{
    PageExtras, ProgressBar, Report, Summary, check_text_file, is_page, page, summarize,
    write_text_file,
};
use peerwren::trace::Timeline;
use peerwren::{RunError, doctor};

use super::args::{Asked, Common, LogLevel, Work};
use super::failure::Failure;
use super::interrupt;

/// Runs the operation that the arguments describe.
pub(crate) fn run(work: &Work, common: &Common, started: Instant) -> Result<(), Failure> {
    let asked = work.asked()?;
    let options = options(&asked)?;
    run_with(&asked, options, common, started, || {})
}

/// The options that the arguments give, with what their engine says of them.
pub(crate) fn options(asked: &Asked<'_>) -> Result<RunOptions, Failure> {
    let options = asked.run.options()?;
    options.check_engine().map_err(Failure::usage)?;
    fit(options, asked.run.cores).map_err(Failure::usage)
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
    let outcome = perform(asked, request, common, started)?;
    tell(outcome, Told::of(asked), common, started)
}

/// Runs what was checked, and gives back what came of it.
pub(crate) fn perform(
    asked: &Asked<'_>,
    request: Request,
    common: &Common,
    started: Instant,
) -> Result<Outcome, Failure> {
    let checked_s = started.elapsed().as_secs_f64();
    let bar = progress_bar(common);
    let outcome = linalg::run(request, &mut |progress| bar.update(progress));
    bar.clear();
    let mut outcome = outcome.map_err(explain)?;
    let named: Vec<_> = asked.inputs.iter().map(|input| input.text).collect();
    outcome.report.plan.input = asked.operation.applied_to(&named);
    outcome.report.startup_s += checked_s;
    outcome.report.wall_s = started.elapsed().as_secs_f64();
    Ok(outcome)
}

/// The plan of what was checked, and whether a worker has memory for it.
pub(crate) fn plan(request: &Request) -> Result<(Job, Arc<Plan>), Failure> {
    let job = linalg::plan(request).map_err(explain)?;
    let plan = Plan::new(job.plan.clone(), request.kernels.clone());
    let plan = plan.map_err(|error| explain(error.into()))?;
    plan.check_memory(request.options.cores, request.options.memory)
        .map_err(Failure::usage)?;
    Ok((job, plan))
}

/// A bar on the terminal, where it does not disturb.
pub(crate) fn progress_bar(common: &Common) -> ProgressBar {
    // Log lines of a talkative level and a bar would write over each other.
    let talkative = !matches!(common.log, LogLevel::Off | LogLevel::Error | LogLevel::Warn);
    ProgressBar::new(common.quiet || talkative)
}

/// Files that tell of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told<'a> {
    pub(crate) report: Option<&'a Path>,
    pub(crate) trace: Option<&'a Path>,
}

impl<'a> Told<'a> {
    pub(crate) fn of(asked: &Asked<'a>) -> Self {
        Self {
            report: asked.run.report.as_deref(),
            trace: asked.run.trace.as_deref(),
        }
    }
}

/// Writes the report and shows the summary of a run that began with this command.
pub(crate) fn tell(
    outcome: Outcome,
    told: Told<'_>,
    common: &Common,
    started: Instant,
) -> Result<(), Failure> {
    let Outcome {
        mut report,
        files,
        trace_error,
    } = outcome;
    report.wall_s = started.elapsed().as_secs_f64();
    let summary = summarize(&report, &files);
    // The trace that failed is not there to be drawn.
    let trace = told.trace.filter(|_| trace_error.is_none());
    write_report(Told { trace, ..told }, &report, &summary)?;
    if !common.quiet {
        super::print(summary.to_string().as_bytes())?;
    }
    if let Some(error) = trace_error {
        return Err(Failure::run(error));
    }
    check_sound(&report)
}

/// Writes the report where it is wanted: as a page, with the line of this command and what its trace says, or
/// as JSON.
pub(crate) fn write_report(
    told: Told<'_>,
    report: &Report,
    summary: &Summary,
) -> Result<(), Failure> {
    let Some(path) = told.report else {
        return Ok(());
    };
    if !is_page(path) {
        return report.write(path).map_err(Failure::run);
    }
    let arguments = std::env::args_os().skip(1);
    let arguments = arguments.map(|argument| argument.to_string_lossy().into_owned());
    let line: Vec<String> = std::iter::once("peerwren".to_owned())
        .chain(arguments)
        .collect();
    // A trace that went into a pipe is gone.
    let trace = told.trace.filter(|path| path.is_file());
    let timeline = trace.map(Timeline::read).transpose();
    let timeline = timeline.map_err(Failure::run)?;
    let extras = PageExtras {
        line: Some(&shell_line(&line)),
        machine: Some(&doctor::machine()),
        timeline: timeline.as_ref(),
    };
    write_text_file("report", path, &page(report, summary, &extras)).map_err(Failure::run)
}

/// Results that are not sound are no results.
pub(crate) fn check_sound(report: &Report) -> Result<(), Failure> {
    if report.is_sound() {
        return Ok(());
    }
    Err(Failure::run(format!(
        "the results are not sound: {} where 30 is the most; please report this with the input",
        report.ratios()
    )))
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
