//! `peerwren plan`: tells what an operation would take, and starts nothing.

use std::path::Path;

use peerwren::cloud::assumed;
use peerwren::forecast::{draw, forecast};
use peerwren::lambdapack::ProgramError;
use peerwren::linalg::Request;
use peerwren::matrix::{MatrixSource, Place, overlap};
use peerwren::options::MachineFacts;
use peerwren::plan::Plan;
use peerwren::report::{check_text_file, is_page, write_text_file};

use super::args::{Common, PlanArgs};
use super::failure::Failure;
use super::work::{self, check};

/// Tells what the operation that the arguments describe would take.
pub(crate) fn run(arguments: &PlanArgs, common: &Common) -> Result<(), Failure> {
    let asked = arguments.work.asked()?;
    let options = asked.run.options()?;
    options.check_engine().map_err(Failure::usage)?;
    let options = assumed(options, asked.run.cores).map_err(Failure::usage)?;
    let request = check(&asked, options)?;
    if asked.run.trace.is_some() {
        return Err(Failure::usage(
            "--trace is of a run, and `peerwren plan` runs nothing; leave it out",
        ));
    }
    let report = asked.run.report.as_deref();
    if report.is_some_and(is_page) {
        return Err(Failure::usage(
            "--report FILE.html is of a run, and `peerwren plan` runs nothing; write it as .json",
        ));
    }
    check_files(arguments, &request, report)?;
    let (mut job, plan) = work::plan(&request)?;
    let named: Vec<_> = asked.inputs.iter().map(|input| input.text).collect();
    job.input = asked.operation.applied_to(&named);
    // Sooner refused than measured.
    let graph = arguments.dot.as_deref().map(|path| graph(&plan, path));
    let graph = graph.transpose()?;
    let forecast = forecast(&plan, &job, &request.options, &MachineFacts::read());
    let write = |what, path: Option<&Path>, text: &dyn Fn() -> String| match path {
        Some(path) => write_text_file(what, path, &text()).map_err(Failure::run),
        None => Ok(()),
    };
    write("graph", arguments.dot.as_deref(), &|| {
        graph.clone().unwrap_or_default()
    })?;
    write("picture", arguments.svg.as_deref(), &|| draw(&forecast))?;
    write("report", report, &|| forecast.to_json())?;
    if common.quiet {
        return Ok(());
    }
    super::print(forecast.to_string().as_bytes())
}

/// Every file can be written, and none is another one or an input.
fn check_files(
    arguments: &PlanArgs,
    request: &Request,
    report: Option<&Path>,
) -> Result<(), Failure> {
    let files = [
        ("graph", "--dot", arguments.dot.as_deref()),
        ("picture", "--svg", arguments.svg.as_deref()),
    ];
    let inputs = request.inputs.iter().filter_map(MatrixSource::place);
    let inputs = inputs.map(|place| ("the input".to_owned(), place));
    let results = request.results.iter();
    let results = results.map(|(name, result)| (format!("--{name}"), result.place()));
    let report = report.map(|path| ("--report".to_owned(), Place::Folder(path.into())));
    let mut named: Vec<_> = inputs.chain(results).chain(report).collect();
    for (what, option, path) in files {
        let Some(path) = path else { continue };
        check_text_file(what, path).map_err(Failure::usage)?;
        let place = Place::Folder(path.into());
        if let Some((other, same)) = named.iter().find(|(_, other)| overlap(&place, other)) {
            return Err(Failure::usage(format!(
                "{other} and {option} are both {same}; name two files"
            )));
        }
        named.push((option.to_owned(), place));
    }
    Ok(())
}

fn graph(plan: &Plan, path: &Path) -> Result<String, Failure> {
    plan.phase_to_dot(0).map_err(|error| {
        let mut told = error.diagnosis().headline().to_owned();
        if let ProgramError::TooLarge(_) = error {
            told.push_str(": choose a larger --block or a smaller matrix, the shape is the same");
        }
        Failure::usage(format!("--dot {}: {told}", path.display()))
    })
}
