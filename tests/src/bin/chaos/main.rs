//! Strikes real runs: the `peerwren` command with worker processes, QUIC and stores, drawn from seeds, each beside
//! the same run in calm. Says what was lost (nothing) and what it cost. Never looks inside of peerwren: files,
//! exit statuses, reports and logs are read. Linux only; some faults need root.
//!
//! ```text
//! cargo build --release --workspace --bins
//! target/release/chaos --runs 100 --seed 1 --out table.md
//! ```
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the table is what this binary is for"
)]

mod attempt;
mod draw;
mod options;
mod place;
mod processes;
mod tally;

use std::fs;
use std::process::ExitCode;

use attempt::{Attempt, Known, Outcome};
use draw::{Drawn, Fault, StoreKind};
use options::{Options, USAGE};
use place::{Hosts, Place};
use processes::adopt_orphans;
use tally::Tally;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words == ["--help"] {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let options = match Options::parse(&words) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs all that is asked for; whether all of it ended as it must.
fn run(options: &Options) -> Result<bool, String> {
    adopt_orphans()?;
    let base = tempfile::Builder::new().prefix("peerwren-chaos-").tempdir();
    let base = base.map_err(|error| format!("a temporary folder: {error}"))?;
    let hosts = Needed::of(options, base.path());
    let (mut tally, mut known, mut failed) = (Tally::default(), Known::new(), 0);
    tally.compares = options.durabilities().len() > 1;
    let faults = &options.only;
    for number in 0..options.runs {
        let fault = faults[number as usize % faults.len()];
        if let Some(why) = hosts.missing(fault) {
            tally.skip(fault, why);
            continue;
        }
        let seed = options.seed + number;
        for durability in options.durabilities() {
            let drawn = Drawn::new(seed, fault, durability);
            let folder = base
                .path()
                .join(format!("{seed}-{}", drawn.durability.name()));
            let attempt = Attempt {
                drawn: &drawn,
                program: &options.peerwren,
                hosts: hosts.hosts.as_ref().ok(),
            };
            let outcome = attempt.run(&folder, &mut known);
            show(number, &drawn, &outcome);
            match outcome {
                Ok(outcome) => tally.add(&drawn, outcome),
                Err(_) => {
                    failed += 1;
                    tally.fail(&drawn);
                    keep(options, &drawn, &folder)?;
                }
            }
            // What is left of it is only the logs of a run that went well.
            let _ = fs::remove_dir_all(&folder);
        }
        // After each run: who ends this program has what there was until then.
        if let Some(out) = &options.out {
            let written = fs::write(out, format!("{}\n", tally.table()));
            written.map_err(|error| format!("--out {}: {error}", out.display()))?;
        }
    }
    println!("\n{}", tally.table());
    Ok(failed == 0)
}

/// What some faults need of the machine.
struct Needed {
    hosts: Result<Hosts, String>,
    disk: Result<(), String>,
}

impl Needed {
    /// Makes hosts and tries a disk, where a fault is asked for that needs them.
    fn of(options: &Options, base: &std::path::Path) -> Self {
        let wants = |faults: [Fault; 2]| faults.iter().any(|fault| options.only.contains(fault));
        let hosts = if wants([Fault::CutLink, Fault::SlowLink]) {
            Hosts::up(4)
        } else {
            Err("not asked for".to_owned())
        };
        let disk = Place::new(StoreKind::Disk, base).map(drop);
        let _ = fs::remove_dir(base.join("store"));
        Self { hosts, disk }
    }

    /// Why a fault cannot be had here.
    fn missing(&self, fault: Fault) -> Option<&str> {
        let missing = match fault {
            Fault::CutLink | Fault::SlowLink => self.hosts.as_ref().err(),
            Fault::DiskFull | Fault::DiskRoom => self.disk.as_ref().err(),
            _ => None,
        };
        missing.map(String::as_str)
    }
}

/// One line for each run.
fn show(number: u64, drawn: &Drawn, outcome: &Result<Outcome, String>) {
    let Drawn {
        seed,
        fault,
        work,
        workers,
        store,
        setting,
        exchange,
        durability,
        ..
    } = drawn;
    let operation = work.line.split(' ').next().unwrap_or_default();
    let what = format!(
        "{:>3}  seed {seed} {:<12} {operation:<8} {workers} workers ({setting:?}), {store:?}, {exchange}, {}",
        number + 1,
        fault.name(),
        durability.name()
    );
    match outcome {
        Ok(outcome) => println!("{what}: {}", outcome.told()),
        Err(error) => println!("{what}: FAILED: {error}"),
    }
}

/// Keeps the logs of a run that failed, and says how to run it again.
fn keep(options: &Options, drawn: &Drawn, folder: &std::path::Path) -> Result<(), String> {
    let name = format!("chaos-{}-{}", drawn.fault.name(), drawn.seed);
    let kept = std::env::temp_dir().join(name);
    let _ = fs::remove_dir_all(&kept);
    for part in ["calm", "own"] {
        let to = kept.join(part);
        fs::create_dir_all(&to).map_err(|error| format!("{}: {error}", to.display()))?;
        let entries = fs::read_dir(folder.join(part))
            .into_iter()
            .flatten()
            .flatten();
        for entry in entries.filter(|entry| entry.path().is_file()) {
            let copied = fs::copy(entry.path(), to.join(entry.file_name()));
            copied.map_err(|error| format!("{}: {error}", to.display()))?;
        }
    }
    println!("     drawn: {drawn:?}");
    println!("     logs: {}", kept.display());
    println!(
        "     again: {} --seed {} --only {} --durability {}",
        options.program,
        drawn.seed,
        drawn.fault.name(),
        drawn.durability.name()
    );
    Ok(())
}
