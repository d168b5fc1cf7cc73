//! What is asked of the benchmark, and what its experiments share. Runs nothing but `peerwren`.

use std::path::PathBuf;

use peerwren_benches::machine::machine;
use peerwren_benches::options::{Common, Words};
use peerwren_benches::peerwren::Peerwren;
use peerwren_benches::report::Report;

/// The experiments, in the order in which the usage names them.
const EXPERIMENTS: [&str; 6] = ["qr", "faults", "table", "hosts", "cores", "validate"];
/// Bytes of a MiB.
pub(crate) const MIB: f64 = 1_048_576.0;

pub(crate) const WORDS: Words = Words {
    usage: "usage: locality qr|faults|table|hosts|cores|validate [--sizes full|small] [--repeat K] [--only NAME] \
            [--peerwren PATH] [--weed PATH]",
    repeat: 3,
    // 1000 runs of a few seconds each are an afternoon.
    repeat_max: 1000,
};

/// What the command line says.
pub(crate) struct Options {
    pub(crate) experiment: String,
    common: Common,
    only: Option<String>,
    weed: Option<PathBuf>,
}

impl Options {
    pub(crate) fn parse(args: &[String]) -> Result<Self, String> {
        let usage = WORDS.usage;
        let Some((experiment, rest)) = args.split_first() else {
            return Err(format!("expected an experiment; {usage}"));
        };
        if !EXPERIMENTS.contains(&experiment.as_str()) {
            let known = EXPERIMENTS.join(", ");
            return Err(format!(
                "expected one of {known}, got {experiment}; {usage}"
            ));
        }
        let (mut only, mut weed) = (None, None);
        let common = WORDS.parse(rest, |name, value| {
            match name {
                "--only" => only = Some(value.to_owned()),
                "--weed" => weed = Some(value.into()),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(Self {
            experiment: experiment.clone(),
            common,
            only,
            weed,
        })
    }

    /// Finds the command and prints what figures depend on.
    pub(crate) fn open(&self) -> Result<Bench, String> {
        let peerwren = Peerwren::find(self.common.peerwren.as_deref())?;
        println!("{}", machine());
        println!("peerwren: {}", peerwren.version()?);
        Ok(Bench {
            peerwren,
            small: self.common.small,
            repeat: self.common.repeat,
            only: self.only.clone(),
            weed: self.weed.clone(),
        })
    }
}

/// What an experiment is given.
pub(crate) struct Bench {
    pub(crate) peerwren: Peerwren,
    /// Whether sizes are those of a smoke run.
    pub(crate) small: bool,
    pub(crate) repeat: usize,
    only: Option<String>,
    /// The binary of an S3 server.
    pub(crate) weed: Option<PathBuf>,
}

impl Bench {
    /// Keeps the cases whose name has what `--only` says.
    pub(crate) fn wanted<T>(
        &self,
        cases: Vec<T>,
        name: impl Fn(&T) -> String,
    ) -> Result<Vec<T>, String> {
        let Some(only) = &self.only else {
            return Ok(cases);
        };
        let names: Vec<String> = cases.iter().map(&name).collect();
        let kept: Vec<T> = cases
            .into_iter()
            .filter(|case| name(case).contains(only.as_str()))
            .collect();
        if kept.is_empty() {
            let names = names.join("; ");
            return Err(format!(
                "--only: expected a part of one of: {names}; got {only}"
            ));
        }
        Ok(kept)
    }

    /// Runs a line as often as is asked, and prints it.
    pub(crate) fn repeated(&self, line: &str) -> Result<Vec<Report>, String> {
        println!("\npeerwren {line}");
        (0..self.repeat).map(|_| self.peerwren.run(line)).collect()
    }

    /// Bytes between workers by peerwren's own count: tasks at their home, nothing lost.
    pub(crate) fn model(&self, line: &str) -> Result<Report, String> {
        self.peerwren.run(&format!("plan {line}"))
    }
}

/// The largest of some figures.
pub(crate) fn largest(figures: &[f64]) -> f64 {
    figures.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

/// Every single figure of a column of reports.
pub(crate) fn figures(
    reports: &[Report],
    figure: impl Fn(&Report) -> Result<f64, String>,
) -> Result<Vec<f64>, String> {
    reports.iter().map(figure).collect()
}
