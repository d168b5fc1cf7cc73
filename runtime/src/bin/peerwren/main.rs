//! The command `peerwren`: reads arguments, calls the library, prints what came of it.
//!
//! Exit status 0 only when every requested result is complete; 2 for bad usage or input; 1 for a
//! failed run. Every error is one line on standard error.

pub(crate) mod args;
mod doctor;
mod experiment;
pub(crate) mod failure;
mod interrupt;
mod lambda;
mod plan;
mod remote;
mod resume;
mod sim;
mod store;
mod story;
mod version;
mod work;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

use clap::CommandFactory;
use peerwren::kernels::op::KernelSet;
use tracing_subscriber::prelude::*;

use args::{Cli, Command};
use failure::Failure;

fn main() -> ExitCode {
    let started = Instant::now();
    // Returns at once in any process that was not started as a worker.
    peerwren::worker_main(KernelSet::standard());
    match run(started) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(started: Instant) -> Result<(), Failure> {
    let cli = match args::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => return Err(args::explain(&error)),
        Err(help_or_version) => return printed(help_or_version.print()),
    };
    start_log(&cli);
    match cli.command {
        Command::Work(work) => work::run(&work, &cli.common, started),
        Command::Plan(arguments) => plan::run(&arguments, &cli.common),
        Command::Experiment(arguments) => experiment::run(&arguments, &cli.common),
        Command::Sim(arguments) => sim::run(&arguments, &cli.common, started),
        Command::Story(arguments) => story::run(&arguments),
        Command::Lambda(command) => lambda::run(command, &cli.common),
        Command::Coordinator(arguments) => remote::coordinate(arguments, &cli.common, started),
        Command::Worker(arguments) => remote::work(arguments, &cli.common),
        Command::Resume(arguments) => resume::run(&arguments, &cli.common, started),
        Command::Store { action } => store::run(&action),
        Command::Doctor(arguments) => doctor::run(arguments),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "peerwren", &mut script);
            print(&script)
        }
        Command::Man { command } => print(&manual(command.as_deref())?),
    }
}

/// Sends the log to standard error, where it never mixes with results.
fn start_log(cli: &Cli) {
    tracing_subscriber::fmt()
        .with_max_level(cli.common.log.filter())
        .with_writer(io::stderr)
        .with_ansi(io::IsTerminal::is_terminal(&io::stderr()))
        .finish()
        .with(peerwren::log_targets(cli.common.log.filter()))
        .init();
}

/// The manual page of the whole or of one subcommand.
fn manual(subcommand: Option<&str>) -> Result<Vec<u8>, Failure> {
    let mut command = Cli::command();
    command.build();
    let page = match subcommand {
        None => command,
        Some(name) => {
            let found = command
                .find_subcommand(name)
                .filter(|found| found.get_name() != "help");
            found.ok_or_else(|| args::unknown_command(name))?.clone()
        }
    };
    let mut text = Vec::new();
    clap_mangen::Man::new(page)
        .render(&mut text)
        .map_err(Failure::run)?;
    Ok(text)
}

/// Prints to standard output.
fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    printed(out.write_all(bytes).and_then(|()| out.flush()))
}

/// A reader that has seen enough and closed the pipe is no failure.
fn printed(result: io::Result<()>) -> Result<(), Failure> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(|error| Failure::run(format!("standard output: {error}"))),
    }
}
