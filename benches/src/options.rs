//! What the benchmarks' command lines have in common: `--repeat`, `--sizes` and `--peerwren`, help, errors and
//! exit status. Knows no benchmark.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "help and errors are told here for all benchmarks"
)]

use std::path::PathBuf;
use std::process::ExitCode;

/// What every benchmark is asked.
#[derive(Clone, Debug)]
pub struct Common {
    /// Times that each run is done.
    pub repeat: usize,
    /// Whether sizes are those of a smoke run.
    pub small: bool,
    /// The command, where it is not the one beside this program.
    pub peerwren: Option<PathBuf>,
}

/// The words of one benchmark.
#[derive(Clone, Copy, Debug)]
pub struct Words {
    /// What `--help` says.
    pub usage: &'static str,
    /// Times that runs are repeated where `--repeat` is not given.
    pub repeat: usize,
    /// The most that it may be.
    pub repeat_max: usize,
}

impl Words {
    /// Runs a benchmark: status 2 for what `parse` refuses, 1 where `run` fails.
    pub fn main<T>(
        &self,
        parse: impl FnOnce(&[String]) -> Result<T, String>,
        run: impl FnOnce(&T) -> Result<(), String>,
    ) -> ExitCode {
        let args: Vec<String> = std::env::args().skip(1).collect();
        if args == ["--help"] {
            println!("{}", self.usage);
            return ExitCode::SUCCESS;
        }
        let (status, error) = match parse(&args) {
            Ok(options) => match run(&options) {
                Ok(()) => return ExitCode::SUCCESS,
                Err(error) => (1, error),
            },
            Err(error) => (2, error),
        };
        eprintln!("error: {error}");
        ExitCode::from(status)
    }

    /// Reads options, each a name and a value. Those that only this benchmark has are `own`'s, which says
    /// whether it has such a one, or what it expected.
    ///
    /// # Errors
    /// No value, a wrong one, or no such option.
    pub fn parse(
        &self,
        args: &[String],
        mut own: impl FnMut(&str, &str) -> Result<bool, String>,
    ) -> Result<Common, String> {
        let Self {
            usage,
            repeat,
            repeat_max,
        } = self;
        let mut common = Common {
            repeat: *repeat,
            small: false,
            peerwren: None,
        };
        for pair in args.chunks(2) {
            let [name, value] = pair else {
                return Err(format!("{}: expected a value after it; {usage}", pair[0]));
            };
            let refused = |expected: &str| format!("{name}: expected {expected}, got {value}");
            match (name.as_str(), value.as_str()) {
                ("--repeat", _) => {
                    common.repeat = value
                        .parse()
                        .ok()
                        .filter(|repeat| (1..=*repeat_max).contains(repeat))
                        .ok_or_else(|| refused(&format!("a number of 1 to {repeat_max}")))?;
                }
                ("--sizes", "full") => common.small = false,
                ("--sizes", "small") => common.small = true,
                ("--sizes", _) => return Err(refused("full or small")),
                ("--peerwren", _) => common.peerwren = Some(value.into()),
                _ if own(name, value).map_err(|expected| refused(&expected))? => {}
                _ => return Err(format!("{name} is no option; {usage}")),
            }
        }
        Ok(common)
    }
}
