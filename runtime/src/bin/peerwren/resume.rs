//! `peerwren resume`: finishes a run whose driver died, gives one up, or lists what there is.

use std::fmt::Write;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use peerwren::kernels::op::KernelSet;
use peerwren::linalg::{ResumeOptions, forget, resume};
use peerwren::options::{ByteSize, EngineKind, Exchange, Policy};
use peerwren::report::{Report, check_text_file};
use peerwren::runs::SavedRun;

use super::args::{Common, whole_number};
use super::failure::Failure;
use super::{interrupt, work};

#[derive(Debug, Args)]
pub(crate) struct ResumeArgs {
    /// Number of the run, or its first digits; left out, the runs that can be resumed are listed
    run: Option<String>,
    /// Gives the run up instead: removes its blocks and all that was kept to resume it
    #[arg(long, requires = "run")]
    forget: bool,

    /// Number of workers [default: as before, like all that follow]
    #[arg(
        long,
        value_name = "N",
        help_heading = "Workers",
        env = "PEERWREN_WORKERS",
        hide_env = true,
        value_parser = whole_number, allow_negative_numbers = true
    )]
    workers: Option<u32>,
    /// Cores of each worker
    #[arg(
        long,
        value_name = "C",
        help_heading = "Workers",
        env = "PEERWREN_CORES",
        hide_env = true,
        value_parser = whole_number, allow_negative_numbers = true
    )]
    cores: Option<u32>,
    /// What runs the workers
    #[arg(
        long,
        value_name = "ENGINE",
        help_heading = "Workers",
        env = "PEERWREN_ENGINE",
        hide_env = true
    )]
    engine: Option<EngineKind>,
    /// Memory of each worker
    #[arg(
        long,
        value_name = "BYTES",
        help_heading = "Workers",
        env = "PEERWREN_MEMORY",
        hide_env = true,
        allow_negative_numbers = true
    )]
    memory: Option<ByteSize>,
    /// How tasks are placed
    #[arg(
        long,
        value_name = "POLICY",
        help_heading = "Workers",
        env = "PEERWREN_POLICY",
        hide_env = true
    )]
    policy: Option<Policy>,
    /// How blocks move
    #[arg(
        long,
        value_name = "HOW",
        help_heading = "Blocks",
        env = "PEERWREN_EXCHANGE",
        hide_env = true
    )]
    exchange: Option<Exchange>,
    /// Writes the report there instead
    #[arg(
        long,
        value_name = "FILE.json",
        help_heading = "Output",
        env = "PEERWREN_REPORT",
        hide_env = true
    )]
    report: Option<PathBuf>,
    /// Writes a trace of what is left of the run
    #[arg(
        long,
        value_name = "FILE.json",
        help_heading = "Output",
        env = "PEERWREN_TRACE",
        hide_env = true
    )]
    trace: Option<PathBuf>,
}

/// Does what the arguments say about saved runs.
pub(crate) fn run(
    arguments: &ResumeArgs,
    common: &Common,
    started: Instant,
) -> Result<(), Failure> {
    let Some(number) = &arguments.run else {
        return list();
    };
    let saved = SavedRun::find(number).map_err(Failure::usage)?;
    if arguments.forget {
        return forget(saved).map_err(work::explain);
    }
    let report = arguments.report.clone();
    let report = report.or_else(|| saved.record().report_path());
    if let Some(path) = &report {
        Report::check_writable(path).map_err(Failure::usage)?;
    }
    if let Some(path) = &arguments.trace {
        check_text_file("trace", path).map_err(Failure::usage)?;
    }
    let options = ResumeOptions {
        workers: arguments.workers,
        cores: arguments.cores,
        engine: arguments.engine.clone(),
        exchange: arguments.exchange,
        policy: arguments.policy,
        memory: arguments.memory.map(|size| size.0),
        trace: arguments.trace.clone(),
    };
    let interrupt = interrupt::on_signals()?;
    let checked_s = started.elapsed().as_secs_f64();
    let bar = work::progress_bar(common);
    let outcome = resume(
        saved,
        &options,
        KernelSet::standard(),
        interrupt,
        &mut |progress| bar.update(progress),
    );
    bar.clear();
    let mut outcome = outcome.map_err(work::explain)?;
    outcome.report.startup_s += checked_s;
    let told = work::Told {
        report: report.as_deref(),
        trace: arguments.trace.as_deref(),
    };
    work::tell(outcome, told, common, started)
}

fn list() -> Result<(), Failure> {
    let runs = SavedRun::list().map_err(Failure::usage)?;
    let mut text = String::new();
    for run in &runs {
        let state = if run.is_running { " (running)" } else { "" };
        let _ = writeln!(text, "{:016x}  {}{state}", run.run, run.what);
    }
    if runs.is_empty() {
        text.push_str(
            "no run can be resumed: none with --durability checkpoint or all was cut short\n",
        );
    }
    super::print(text.as_bytes())
}
