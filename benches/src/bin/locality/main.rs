//! Shows locality: what crosses between workers, through real runs of the `peerwren` command on this
//! machine. Owns the experiments and their tables; never computes a matrix and never looks inside
//! peerwren: its reports are read. Linux only.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the table is what this binary is for"
)]

mod cores;
mod faults;
mod hosts;
mod options;
mod qr;
mod table;
mod validate;

use std::process::ExitCode;

use options::{Options, WORDS};

fn main() -> ExitCode {
    WORDS.main(Options::parse, run)
}

fn run(options: &Options) -> Result<(), String> {
    let bench = options.open()?;
    match options.experiment.as_str() {
        "qr" => qr::run(&bench),
        "faults" => faults::run(&bench),
        "hosts" => hosts::run(&bench),
        "cores" => cores::run(&bench),
        "validate" => validate::run(&bench),
        _ => table::run(&bench),
    }
}
