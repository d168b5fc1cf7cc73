//! Runs a job and puts its results and figures together. Never knows one operation from another.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use peerwren_kernels::op::KernelSet;

use super::assemble::{number, write_npy};
use super::figures::report;
use super::job::{Job, Measure, Ratio};
use super::request::Outcome;
use super::resume::save;
use crate::actors::clock::Clock;
use crate::matrix::ResultPlace;
use crate::options::Resolved;
use crate::plan::Plan;
use crate::report::Progress;
use crate::run::{Interrupt, Results, Run, RunError};
use crate::runs::SavedRun;
use crate::trace::{Header, TraceFile};

/// Unit roundoff of f64, LAPACK's eps.
const EPS: f64 = f64::EPSILON / 2.0;

/// All of a request but what it computes.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) options: Resolved,
    /// Where each of the job's results goes.
    pub(super) results: Vec<(String, ResultPlace)>,
    pub(super) kernels: KernelSet,
    pub(super) report: Option<PathBuf>,
    pub(super) trace: Option<PathBuf>,
    pub(super) interrupt: Interrupt,
}

impl Terms {
    fn place(&self, name: &str) -> Option<&ResultPlace> {
        let found = self.results.iter().find(|(result, _)| result == name);
        found.map(|(_, place)| place)
    }
}

/// Runs a job that is new, or that another driver began and saved.
pub(super) fn execute(
    clock: Clock,
    terms: Terms,
    job: Job,
    resumed: Option<SavedRun>,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Outcome, RunError> {
    let kernels = terms.kernels.clone();
    let plan = Plan::new(job.plan.clone(), kernels.clone())?;
    if terms.options.remote.is_none() {
        // Workers elsewhere are asked for their memory when they come.
        plan.check_memory(terms.options.cores, terms.options.memory)?;
    }
    let is_resumed = resumed.is_some();
    let saved = match resumed {
        None if terms.options.is_resumable() => Some(save(&terms, &job)?),
        resumed => resumed,
    };
    let run = Run {
        spec: job.plan.clone(),
        kernels,
        options: terms.options.clone(),
        interrupt: terms.interrupt.clone(),
        uploads_inputs: terms.options.engine.is_remote(),
        saved,
        is_resumed,
        trace: terms.trace.clone().map(|path| TraceFile {
            path,
            header: Header {
                title: format!("{} of {}", job.operation, job.input),
            },
        }),
    };
    let files: Vec<_> = job
        .wanted
        .iter()
        .filter_map(|wanted| Some((wanted.clone(), npy(&terms, &wanted.name)?.to_owned())))
        .collect();
    let ratios = job.ratios.clone();
    let planned = clock.now();
    let (outcome, measured) = run.execute(Arc::clone(&plan), progress, async move |results| {
        let mut written = Vec::new();
        for (wanted, path) in &files {
            written.push(write_npy(&results, wanted, path).await?);
        }
        let measured = measure(&results, &ratios).await?;
        // With nothing to wait for in between: all files or none. Arrays become whole after them.
        for file in written {
            file.finish()
                .map_err(|error| RunError::Failed(error.to_string()))?;
        }
        Ok(measured)
    })?;
    let mut report = report(&terms.options, &job, &plan, &outcome);
    report.wall_s = clock.now().since(Default::default()).as_secs_f64();
    report.startup_s += planned.since(Default::default()).as_secs_f64();
    [report.residual, report.orthogonality] = measured;
    let wanted = job.wanted.into_iter();
    let files = wanted.filter_map(|wanted| {
        let place = terms.place(&wanted.name)?.clone();
        Some((wanted.name, place))
    });
    Ok(Outcome {
        report,
        files: files.collect(),
        trace_error: outcome.trace_error,
    })
}

/// The `.npy` file that a result becomes, if it is one.
fn npy<'a>(terms: &'a Terms, name: &str) -> Option<&'a Path> {
    match terms.place(name)? {
        ResultPlace::Npy(path) => Some(path),
        ResultPlace::Zarr(_) => None,
    }
}

/// Residual and orthogonality, where the check measured them.
async fn measure(results: &Results<'_>, ratios: &[Ratio]) -> Result<[Option<f64>; 2], RunError> {
    let mut measured = [None::<f64>; 2];
    for ratio in ratios {
        let phase = usize::from(ratio.phase);
        let mut below = ratio.factor * EPS;
        for norm in &ratio.below {
            below *= number(results, phase, norm).await?;
        }
        let above = number(results, phase, &ratio.above).await?;
        let value = if above == 0.0 { 0.0 } else { above / below };
        let slot = &mut measured[usize::from(ratio.measure == Measure::Orthogonality)];
        // Not f64::max: a NaN is the worst.
        *slot = Some(match *slot {
            Some(worst) if worst.is_nan() || worst >= value => worst,
            _ => value,
        });
    }
    Ok(measured)
}
