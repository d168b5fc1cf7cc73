//! `peerwren qr`: checks everything that can be checked, then runs.

use std::path::{Path, PathBuf};
use std::time::Instant;

use peerwren::RunError;
use peerwren::cloud::fit;
use peerwren::linalg::{QrOutcome, QrRequest, qr};
use peerwren::matrix::{MatrixSource, Place, ResultPlace, overlap};
use peerwren::options::{MachineFacts, RunOptions};
use peerwren::report::{ProgressBar, Report, summarize};

use crate::args::{Common, LogLevel, QrArgs};
use crate::failure::Failure;
use crate::interrupt;

/// Runs the factorization that the arguments describe.
pub(crate) fn run(arguments: QrArgs, common: &Common, started: Instant) -> Result<(), Failure> {
    let options = arguments.run.options()?;
    options.check_engine().map_err(Failure::usage)?;
    let options = fit(options, arguments.run.cores).map_err(Failure::usage)?;
    run_with(arguments, options, common, started, || {})
}

/// Runs the factorization with options that are made of more than its arguments; `begins` is called
/// when all of them are found good.
pub(crate) fn run_with(
    arguments: QrArgs,
    options: RunOptions,
    common: &Common,
    started: Instant,
    begins: impl FnOnce(),
) -> Result<(), Failure> {
    let request = check(&arguments, &options)?;
    begins();
    let checked_s = started.elapsed().as_secs_f64();
    let bar = progress_bar(common);
    let outcome = qr(request, &mut |progress| bar.update(progress));
    bar.clear();
    let mut outcome = outcome.map_err(explain)?;
    outcome.report.plan.input = arguments.input;
    outcome.report.startup_s += checked_s;
    tell(outcome, arguments.run.report.as_deref(), common, started)
}

/// A bar on the terminal, where it does not disturb.
pub(crate) fn progress_bar(common: &Common) -> ProgressBar {
    // Log lines of a talkative level and a bar would write over each other.
    let talkative = !matches!(common.log, LogLevel::Off | LogLevel::Error | LogLevel::Warn);
    ProgressBar::new(common.quiet || talkative)
}

/// Writes the report and shows the summary of a run that began with this command.
pub(crate) fn tell(
    outcome: QrOutcome,
    report_path: Option<&Path>,
    common: &Common,
    started: Instant,
) -> Result<(), Failure> {
    let QrOutcome { mut report, files } = outcome;
    report.wall_s = started.elapsed().as_secs_f64();
    if let Some(path) = report_path {
        report.write(path).map_err(Failure::run)?;
    }
    if !common.quiet {
        crate::print(summarize(&report, &files).to_string().as_bytes())?;
    }
    if report.is_sound() {
        Ok(())
    } else {
        Err(Failure::run(format!(
            "the factors are not sound: |A - QR| is {:.1}, |I - Q'Q| is {:.1} where 30 is the most; \
             please report this with the input",
            report.residual.unwrap_or_default(),
            report.orthogonality.unwrap_or_default(),
        )))
    }
}

/// Finds all that is wrong before any work, cheap checks first.
fn check(arguments: &QrArgs, options: &RunOptions) -> Result<QrRequest, Failure> {
    let source = MatrixSource::parse(&arguments.input).map_err(Failure::usage)?;
    let (m, n) = source.shape();
    let options = options
        .resolve(m, n, &MachineFacts::read())
        .map_err(Failure::usage)?;
    let place = |name: &Option<PathBuf>| name.as_deref().map(ResultPlace::parse).transpose();
    let results = &arguments.results;
    let q = place(&results.q).map_err(Failure::usage)?;
    let r = place(&results.r).map_err(Failure::usage)?;
    let report = arguments.run.report.as_deref();
    check_places(source.place(), q.as_ref(), r.as_ref(), report)?;
    Ok(QrRequest {
        source,
        options,
        q,
        r,
        check: results.check,
        report: arguments.run.report.clone(),
        interrupt: interrupt::on_signals()?,
    })
}

/// Every result of the run can be written, and no two are one.
fn check_places(
    input: Option<Place>,
    q: Option<&ResultPlace>,
    r: Option<&ResultPlace>,
    report: Option<&Path>,
) -> Result<(), Failure> {
    for result in [q, r].into_iter().flatten() {
        result
            .check_writable(input.as_ref())
            .map_err(Failure::usage)?;
    }
    if let Some(path) = report {
        Report::check_writable(path).map_err(Failure::usage)?;
    }
    let named = [
        ("the input", input),
        ("--q", q.map(ResultPlace::place)),
        ("--r", r.map(ResultPlace::place)),
        ("--report", report.map(|path| Place::Folder(path.into()))),
    ];
    for (number, (one, place)) in named.iter().enumerate() {
        for (other, second) in &named[number + 1..] {
            if let (Some(place), Some(second)) = (place, second)
                && overlap(place, second)
            {
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
        _ => Failure::run(error),
    }
}
