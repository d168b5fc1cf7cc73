//! What is asked on the command line. Runs nothing.

use std::path::PathBuf;

use crate::draw::{Durability, Fault};

pub(crate) const USAGE: &str = "usage: chaos [--runs N] [--seed S] [--only FAULT,..] \
    [--durability outputs|checkpoint:1|all|each] [--out FILE] [--peerwren PATH]\n\
    faults: kill, kill-quarter, kill-most, pause, pause-long, cut-link, slow-link, store-out, store-slow, \
    store-errors, disk-full, disk-room, driver, outlived, mixed; run after run takes the next one";
/// A day's worth of runs.
const RUNS_MAX: u64 = 10_000;

/// What is asked.
pub(crate) struct Options {
    pub(crate) program: String,
    pub(crate) runs: u64,
    pub(crate) seed: u64,
    pub(crate) only: Vec<Fault>,
    durability: Option<Option<Durability>>,
    pub(crate) out: Option<PathBuf>,
    pub(crate) peerwren: PathBuf,
}

impl Options {
    pub(crate) fn parse(words: &[String]) -> Result<Self, String> {
        let this = std::env::current_exe().map_err(|error| format!("this program: {error}"))?;
        let mut options = Self {
            program: this.display().to_string(),
            runs: 0,
            seed: 1,
            only: Fault::ALL.to_vec(),
            durability: None,
            out: None,
            peerwren: this.with_file_name("peerwren"),
        };
        for pair in words.chunks(2) {
            let [name, value] = pair else {
                return Err(format!("{}: expected a value after it; {USAGE}", pair[0]));
            };
            let refused = |expected: &str| format!("{name}: expected {expected}, got {value}");
            match name.as_str() {
                "--runs" => {
                    let runs = value.parse().ok();
                    options.runs = runs
                        .filter(|runs| (1..=RUNS_MAX).contains(runs))
                        .ok_or_else(|| refused(&format!("a number of 1 to {RUNS_MAX}")))?;
                }
                "--seed" => options.seed = value.parse().map_err(|_| refused("a number"))?,
                "--only" => {
                    let fault = |name: &str| Fault::ALL.into_iter().find(|f| f.name() == name);
                    let faults: Option<Vec<_>> = value.split(',').map(fault).collect();
                    options.only = faults.ok_or_else(|| refused("faults' names"))?;
                }
                "--durability" => {
                    let one = Durability::ALL.into_iter().find(|d| d.name() == value);
                    if one.is_none() && value != "each" {
                        return Err(refused("outputs, checkpoint:1, all or each"));
                    }
                    options.durability = Some(one);
                }
                "--out" => options.out = Some(value.into()),
                "--peerwren" => options.peerwren = value.into(),
                _ => return Err(format!("{name} is no option; {USAGE}")),
            }
        }
        if options.runs == 0 {
            options.runs = options.only.len() as u64;
        }
        if !options.peerwren.is_file() {
            let path = options.peerwren.display();
            return Err(format!(
                "--peerwren: expected a program, got {path}; build it with: cargo build --release --workspace --bins"
            ));
        }
        Ok(options)
    }

    /// The durabilities of each run: the drawn one, one that was named, or each in turn.
    pub(crate) fn durabilities(&self) -> Vec<Option<Durability>> {
        match self.durability {
            None => vec![None],
            Some(Some(one)) => vec![Some(one)],
            Some(None) => Durability::ALL.map(Some).to_vec(),
        }
    }
}
