//! What is asked of the benchmark, and what its experiments share. Runs nothing but `peerwren`.

use std::path::PathBuf;

use peerwren_benches::machine::machine;
use peerwren_benches::peerwren::Peerwren;
use peerwren_benches::report::Report;

/// The experiments, in the order in which the usage names them.
const EXPERIMENTS: [&str; 5] = ["qr", "faults", "table", "hosts", "cores"];
/// Times that each run is repeated where `--repeat` is not given.
const REPEAT: usize = 3;
/// 1000 runs of a few seconds each are an afternoon.
const REPEAT_MAX: usize = 1000;
/// Bytes of a MiB.
pub(crate) const MIB: f64 = 1_048_576.0;

pub(crate) const USAGE: &str = "usage: locality qr|faults|table|hosts|cores [--sizes full|small] [--repeat K] [--only NAME] \
                                [--peerwren PATH] [--weed PATH]";

/// What the command line says.
pub(crate) struct Options {
    pub(crate) experiment: String,
    small: bool,
    repeat: usize,
    only: Option<String>,
    peerwren: Option<PathBuf>,
    weed: Option<PathBuf>,
}

impl Options {
    pub(crate) fn parse(args: &[String]) -> Result<Self, String> {
        let Some((experiment, rest)) = args.split_first() else {
            return Err(format!("expected an experiment; {USAGE}"));
        };
        if !EXPERIMENTS.contains(&experiment.as_str()) {
            let known = EXPERIMENTS.join(", ");
            return Err(format!(
                "expected one of {known}, got {experiment}; {USAGE}"
            ));
        }
        let mut options = Self {
            experiment: experiment.clone(),
            small: false,
            repeat: REPEAT,
            only: None,
            peerwren: None,
            weed: None,
        };
        for pair in rest.chunks(2) {
            let [name, value] = pair else {
                return Err(format!("{}: expected a value after it; {USAGE}", pair[0]));
            };
            let refused = |expected: &str| format!("{name}: expected {expected}, got {value}");
            match (name.as_str(), value.as_str()) {
                ("--sizes", "full") => options.small = false,
                ("--sizes", "small") => options.small = true,
                ("--sizes", _) => return Err(refused("full or small")),
                ("--repeat", _) => {
                    options.repeat = value
                        .parse()
                        .ok()
                        .filter(|repeat| (1..=REPEAT_MAX).contains(repeat))
                        .ok_or_else(|| refused(&format!("a number of 1 to {REPEAT_MAX}")))?;
                }
                ("--only", _) => options.only = Some(value.clone()),
                ("--peerwren", _) => options.peerwren = Some(value.into()),
                ("--weed", _) => options.weed = Some(value.into()),
                _ => return Err(format!("{name} is no option; {USAGE}")),
            }
        }
        Ok(options)
    }

    /// Finds the command and prints what figures depend on.
    pub(crate) fn open(&self) -> Result<Bench, String> {
        let peerwren = Peerwren::find(self.peerwren.as_deref())?;
        println!("{}", machine());
        println!("peerwren: {}", peerwren.version()?);
        Ok(Bench {
            peerwren,
            small: self.small,
            repeat: self.repeat,
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

/// The middle one of some figures.
pub(crate) fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    } else {
        sorted[middle]
    }
}

/// Every single figure of a column of reports.
pub(crate) fn figures(
    reports: &[Report],
    figure: impl Fn(&Report) -> Result<f64, String>,
) -> Result<Vec<f64>, String> {
    reports.iter().map(figure).collect()
}

/// Figures in a line, with so many digits after the point.
pub(crate) fn listed(figures: &[f64], digits: usize) -> String {
    let texts: Vec<String> = figures.iter().map(|f| format!("{f:.digits$}")).collect();
    texts.join(" ")
}
