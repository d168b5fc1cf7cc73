//! `peerwren experiment`: runs the rows of a grid one after the other, each as the line that it is.

use std::fmt::Write;
use std::path::Path;
use std::time::Instant;

use peerwren::Interrupt;
use peerwren::doctor::machine;
use peerwren::experiment::{Experiment, Folder, Measured, Results, Row, SHIPPED, shell_line};
use peerwren::report::Report;
use peerwren::trace::Timeline;

use super::args::{self, Command, Common, ExperimentArgs};
use super::failure::Failure;
use super::sim::Simulated;
use super::{interrupt, work};

/// Does what the arguments say about experiments.
pub(crate) fn run(arguments: &ExperimentArgs, common: &Common) -> Result<(), Failure> {
    let Some(name) = &arguments.grid else {
        return list();
    };
    let experiment = Experiment::open(name).map_err(Failure::usage)?;
    let rows = experiment.rows();
    let out = match &arguments.out {
        Some(out) => Some(out.as_path()),
        None if arguments.dry_run => None,
        None => {
            return Err(Failure::usage(
                "expected --out FOLDER, where the runs are kept, or --dry-run",
            ));
        }
    };
    if let Some(out) = out {
        Folder::check(out).map_err(Failure::usage)?;
    }
    // The rows of one point differ in nothing that could be wrong.
    for row in rows.iter().filter(|row| row.repetition == 1) {
        check_row(row).map_err(|failure| failure.within(&format!("{name}: {}", row.line())))?;
    }
    let Some(out) = out.filter(|_| !arguments.dry_run) else {
        let lines: Vec<_> = rows.iter().map(|row| row.line() + "\n").collect();
        return super::print(lines.concat().as_bytes());
    };
    let folder = Folder::open(out, &experiment).map_err(Failure::usage)?;
    let session = Session {
        experiment: &experiment,
        folder,
        interrupt: interrupt::on_signals()?,
        common,
    };
    session.run(&rows, out)
}

fn list() -> Result<(), Failure> {
    let mut text = String::new();
    for shipped in SHIPPED {
        let experiment = Experiment::open(shipped.name).map_err(Failure::run)?;
        let rows = experiment.rows().len();
        let _ = writeln!(
            text,
            "{:<22} {rows:>4} runs  {}",
            shipped.name, experiment.title
        );
    }
    super::print(text.as_bytes())
}

/// Finds all that is wrong with a row that can be found without running it.
fn check_row(row: &Row) -> Result<(), Failure> {
    match parse(&row.words)? {
        Command::Work(work) => {
            let asked = work.asked()?;
            let request = work::check(&asked, work::options(&asked)?)?;
            work::plan(&request).map(drop)
        }
        Command::Sim(arguments) => {
            let simulated = Simulated::check(&arguments)?;
            work::plan(simulated.request()).map(drop)
        }
        _ => Err(no_operation()),
    }
}

/// Runs a row as the command would, but for what it tells.
fn run_row(words: &[String], interrupt: &Interrupt, common: &Common) -> Result<Report, Failure> {
    let started = Instant::now();
    let (report, trace_error) = match parse(words)? {
        Command::Work(work) => {
            let asked = work.asked()?;
            let mut request = work::check(&asked, work::options(&asked)?)?;
            request.interrupt = interrupt.clone();
            let outcome = work::perform(&asked, request, common, started)?;
            (outcome.report, outcome.trace_error)
        }
        Command::Sim(arguments) => {
            let simulation = Simulated::check(&arguments)?.perform()?;
            (simulation.report, simulation.trace_error)
        }
        _ => return Err(no_operation()),
    };
    if let Some(error) = trace_error {
        return Err(Failure::run(error));
    }
    work::check_sound(&report)?;
    Ok(report)
}

fn parse(words: &[String]) -> Result<Command, Failure> {
    let cli = args::parse_row(words).map_err(|error| args::explain(&error))?;
    Ok(cli.command)
}

fn no_operation() -> Failure {
    Failure::usage("a row is an operation, such as qr")
}

/// An experiment on its way.
struct Session<'a> {
    experiment: &'a Experiment,
    folder: Folder,
    interrupt: Interrupt,
    common: &'a Common,
}

impl Session<'_> {
    fn run(&self, rows: &[Row], out: &Path) -> Result<(), Failure> {
        let mut measured = Vec::new();
        for (number, row) in rows.iter().enumerate() {
            let place = format!("[{}/{}]", number + 1, rows.len());
            let Some(outcome) = self.outcome(row, &place)? else {
                break;
            };
            measured.push(Measured {
                row: row.clone(),
                outcome,
            });
        }
        let timeline = self.timeline(rows)?;
        let line = timeline.as_ref().map(|(_, line)| line.as_str());
        let results = Results {
            experiment: self.experiment,
            measured: &measured,
            timeline: timeline.as_ref().map(|(timeline, _)| timeline),
            timeline_line: line,
            machine: &machine(),
        };
        self.folder.write(&results).map_err(Failure::run)?;
        if self.interrupt.is_triggered() {
            return Err(Failure::run(format!(
                "interrupted after {} of {} runs; the same command goes on from here",
                measured.len(),
                rows.len()
            )));
        }
        let failed = || measured.iter().filter(|row| row.outcome.is_err());
        if let Some(Measured {
            row,
            outcome: Err(reason),
        }) = failed().next()
        {
            return Err(Failure::run(format!(
                "{} of {} runs failed, first {}: {reason}",
                failed().count(),
                rows.len(),
                row.line()
            )));
        }
        self.say(&format!(
            "written to {}\n",
            out.join("index.html").display()
        ))
    }

    /// What came of a row, now or earlier; none where somebody wants the experiment to stop.
    fn outcome(&self, row: &Row, place: &str) -> Result<Option<Result<Report, String>>, Failure> {
        if self.interrupt.is_triggered() {
            return Ok(None);
        }
        if let Some(report) = self.folder.finished(row) {
            self.say(&format!("{place} kept     {}\n", row.line()))?;
            return Ok(Some(Ok(report)));
        }
        let outcome = run_row(&row.words, &self.interrupt, self.common);
        // A run that ended just before is a run.
        if outcome.is_err() && self.interrupt.is_triggered() {
            return Ok(None);
        }
        let outcome = outcome.map_err(Failure::into_reason);
        let told = match &outcome {
            Ok(report) => {
                self.folder.keep(row, report).map_err(Failure::run)?;
                format!("{:>8}", format!("{:.3} s", report.factor.factor_s))
            }
            Err(reason) => format!("failed: {reason};"),
        };
        self.say(&format!("{place} {told} {}\n", row.line()))?;
        Ok(Some(outcome))
    }

    /// The time of the shown point's workers: a run of its own, since a trace takes time too.
    fn timeline(&self, rows: &[Row]) -> Result<Option<(Timeline, String)>, Failure> {
        let shown = rows
            .iter()
            .find(|row| Some(row.point) == self.experiment.show);
        let Some(row) = shown.filter(|_| !self.interrupt.is_triggered()) else {
            return Ok(None);
        };
        let path = self.folder.trace_path(row);
        let words = ["--trace".to_owned(), path.to_string_lossy().into_owned()];
        let words = [row.words.as_slice(), &words].concat();
        let line = shell_line(&words);
        if let Ok(timeline) = Timeline::read(&path) {
            return Ok(Some((timeline, line)));
        }
        match run_row(&words, &self.interrupt, self.common) {
            Err(_) if self.interrupt.is_triggered() => Ok(None),
            Err(failure) => Err(failure.within(&line)),
            Ok(_) => {
                self.say(&format!("traced  {line}\n"))?;
                let timeline = Timeline::read(&path).map_err(Failure::run)?;
                Ok(Some((timeline, line)))
            }
        }
    }

    fn say(&self, text: &str) -> Result<(), Failure> {
        if self.common.quiet {
            return Ok(());
        }
        super::print(text.as_bytes())
    }
}
