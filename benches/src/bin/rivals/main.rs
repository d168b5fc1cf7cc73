//! peerwren and its rivals on the same work, alternately and in one run: medians, ratios, and whether what is
//! asked for is met. Owns cases, the search for each side's best setting and the results page; never computes
//! a matrix and never looks inside peerwren: the programs in `benches/rivals`, which it builds, and the
//! `peerwren` command tell their own seconds. Linux only.
//!
//! Nothing of the environment reaches any side that sets how it computes (`OPENBLAS_*`, `MKL_*`, `OMP_*`,
//! `PEERWREN_*`): a core type that is left over there would slow a rival down unseen.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the tables are what this binary is for"
)]

mod cases;
mod compare;
mod overheads;
mod page;
mod programs;
mod record;
mod setting;
mod work;

use std::path::PathBuf;
use std::process::ExitCode;

use peerwren_benches::call::Call;
use peerwren_benches::compile::folder;
use peerwren_benches::exchange;
use peerwren_benches::machine::{Others, cpus, machine};
use peerwren_benches::options::{Common, Words};
use peerwren_benches::peerwren::Peerwren;

use crate::cases::{NAMES, Over, cases};
use crate::overheads::OVERHEADS;
use crate::programs::Programs;
use crate::record::Record;

/// What others may take of the CPUs, in percent, before times mean little.
const OTHERS_PERCENT_MAX: f64 = 2.0;
/// What may be left out where it cannot be had.
const LEFT_OUT: [&str; 2] = ["mkl", "dask"];

const WORDS: Words = Words {
    usage: "usage: rivals [--repeat K] [--only CASE[,CASE...]] [--sizes full|small] [--without mkl|dask|mkl,dask] \
            [--out FOLDER] [--peerwren PATH]\n\
            cases: qr4096 qr8192 tall wide cholesky gemm values workers blocks overheads",
    repeat: 5,
    // 1000 runs of a few seconds each are an afternoon.
    repeat_max: 1000,
};

fn main() -> ExitCode {
    if exchange::is_child() {
        return exchange::serve();
    }
    WORDS.main(Options::parse, run)
}

struct Options {
    common: Common,
    /// All where there is none.
    only: Vec<String>,
    without: Vec<String>,
    out: Option<PathBuf>,
}

impl Options {
    fn parse(args: &[String]) -> Result<Self, String> {
        let (mut only, mut without, mut out) = (Vec::new(), Vec::new(), None);
        let common = WORDS.parse(args, |name, value| {
            match name {
                "--only" => only = list(value, &all_names())?,
                "--without" => without = list(value, &LEFT_OUT)?,
                "--out" => out = Some(PathBuf::from(value)),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(Self {
            common,
            only,
            without,
            out,
        })
    }

    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }

    /// Where the results go.
    fn folder(&self) -> Result<PathBuf, String> {
        let made = match &self.out {
            Some(out) => out.clone(),
            None if self.common.small => folder()?.join("results-small"),
            None => folder()?.join("results"),
        };
        std::fs::create_dir_all(&made).map_err(|error| format!("{}: {error}", made.display()))?;
        Ok(made)
    }
}

fn all_names() -> Vec<&'static str> {
    NAMES.into_iter().chain([OVERHEADS]).collect()
}

/// Names with commas between them, each one of those known; what was expected where one is not.
fn list(value: &str, known: &[&str]) -> Result<Vec<String>, String> {
    let names: Vec<String> = value.split(',').map(str::to_owned).collect();
    if names.iter().all(|name| known.contains(&name.as_str())) {
        return Ok(names);
    }
    Err(format!("some of {} with commas between", known.join(", ")))
}

fn run(options: &Options) -> Result<(), String> {
    let folder = options.folder()?;
    let peerwren = Peerwren::find(options.common.peerwren.as_deref())?;
    println!("{}", machine());
    println!("peerwren: {}", peerwren.version()?);
    println!("Nothing else should run on this machine: each side computes on 2 cores.");
    let programs = Programs::find(peerwren, &options.without)?;
    println!("packages: {}", programs.packages());
    let mut measured = Vec::new();
    for case in cases(options.common.small) {
        if !options.wants(case.name) {
            continue;
        }
        let over = match case.over {
            Over::Sides => "",
            Over::Workers => "workers of one core, or ranks",
            Over::Blocks => "block",
        };
        let others = Others::start();
        let record = record(&programs, case.name, &case.title(), over)?;
        let mut record = compare::compare(&programs, &case, options.common.repeat, record)?;
        record.others = told(&others);
        println!("\n{}", page::sides(&record));
        record.write(&folder)?;
        measured.push(record);
    }
    if options.wants(OVERHEADS) {
        let record = record(&programs, OVERHEADS, "Overheads", "")?;
        let others = Others::start();
        let mut record = overheads::measure(&programs.peerwren, &options.common, record)?;
        record.others = told(&others);
        record.write(&folder)?;
        measured.push(record);
    }
    println!("\n{}", page::targets(&measured));
    // Cases that were measured before are on the page too.
    let all = Record::read_all(&folder, &all_names())?;
    page::write_page(&folder, &all)?;
    println!("\nresults: {}", folder.join("README.md").display());
    Ok(())
}

/// What others took of the machine, and a warning where that spoils the figures.
fn told(others: &Others) -> f64 {
    let percent = others.percent();
    if percent > OTHERS_PERCENT_MAX {
        println!(
            "    WARNING: others took {percent:.1}% of the CPUs meanwhile: these times mean little"
        );
    }
    percent
}

/// A record of what the figures of a case depend on.
fn record(programs: &Programs, name: &str, title: &str, over: &str) -> Result<Record, String> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let as_set = programs.as_set.as_ref();
    let as_set = as_set.map_or_else(String::new, |core| format!("OPENBLAS_CORETYPE={core} "));
    Ok(Record {
        case: name.to_owned(),
        title: title.to_owned(),
        over: over.to_owned(),
        day: Call::new("date")
            .args(["-u", "+%F"])
            .run()?
            .trim()
            .to_owned(),
        command: format!(
            "{as_set}cargo run --release --bin rivals -- {}",
            words.join(" ")
        ),
        machine: cpus(),
        packages: programs.packages(),
        peerwren: programs.peerwren.version()?,
        ..Record::default()
    })
}
