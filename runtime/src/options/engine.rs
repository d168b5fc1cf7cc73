//! What runs the workers, and how their number follows the work.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::UnknownChoice;

/// What runs the workers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum EngineKind {
    /// In this process.
    Threads,
    /// Each a child process.
    #[default]
    Processes,
    /// Processes on any machine, started by the user.
    Remote,
    /// Each an invocation of a Lambda function, by name or ARN.
    Lambda(String),
}

/// Longest name of a function: an ARN with an alias.
const FUNCTION_NAME_MAX: usize = 170;

const ENGINES: &str = "threads, processes or lambda:NAME";

impl EngineKind {
    /// Whether workers run where this machine's files and loopback are not.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        match self {
            Self::Threads | Self::Processes => false,
            Self::Remote | Self::Lambda(_) => true,
        }
    }
}

impl FromStr for EngineKind {
    type Err = UnknownChoice;

    fn from_str(text: &str) -> Result<Self, UnknownChoice> {
        let of_name = |c: char| c.is_ascii_alphanumeric() || "-_:$".contains(c);
        match text {
            "threads" => Ok(Self::Threads),
            "processes" => Ok(Self::Processes),
            "remote" => Ok(Self::Remote),
            _ => match text.strip_prefix("lambda:") {
                Some(name)
                    if !name.is_empty()
                        && name.len() <= FUNCTION_NAME_MAX
                        && name.chars().all(of_name) =>
                {
                    Ok(Self::Lambda(name.to_owned()))
                }
                Some(_) => Err(UnknownChoice::expected(
                    "lambda:NAME with the name of a function, such as lambda:peerwren",
                )),
                None => Err(UnknownChoice::expected(ENGINES)),
            },
        }
    }
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Threads => f.write_str("threads"),
            Self::Processes => f.write_str("processes"),
            Self::Remote => f.write_str("remote"),
            Self::Lambda(name) => write!(f, "lambda:{name}"),
        }
    }
}

/// How the number of workers follows the work; the number asked for is the most there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScalingOptions {
    /// Workers for each worker's fill of work that could be done now.
    pub factor: Factor,
    /// How long a worker may have nothing to do before it leaves.
    pub idle: Duration,
}

impl Default for ScalingOptions {
    /// numpywren's: a core for each task, 10 s of idleness.
    fn default() -> Self {
        Self {
            factor: Factor(1_000),
            idle: Duration::from_secs(10),
        }
    }
}

/// A positive factor in thousandths, so that it can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Factor(u32);

impl Factor {
    /// The factor as a number.
    #[must_use]
    pub fn get(self) -> f64 {
        f64::from(self.0) / 1e3
    }
}

impl FromStr for Factor {
    type Err = UnknownChoice;

    fn from_str(text: &str) -> Result<Self, UnknownChoice> {
        let value: Option<f64> = text.parse().ok();
        match value.map(|value| (value * 1e3).round()) {
            Some(thousandths) if (1.0..=1e6).contains(&thousandths) => Ok(Self(thousandths as u32)),
            _ => Err(UnknownChoice::expected(
                "a factor from 0.001 to 1000, such as 0.5",
            )),
        }
    }
}

impl fmt::Display for Factor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_and_factors_read_and_write() {
        let arn = "lambda:arn:aws:lambda:eu-west-1:123456789012:function:peerwren:live";
        for text in ["threads", "processes", "remote", "lambda:qr-1_b", arn] {
            assert_eq!(text.parse::<EngineKind>().unwrap().to_string(), text);
        }
        for text in ["1", "0.5", "0.001", "1000"] {
            assert_eq!(text.parse::<Factor>().unwrap().to_string(), text);
        }
        let said = |text: &str| text.parse::<EngineKind>().unwrap_err().to_string();
        assert_eq!(said("gpu"), "expected threads, processes or lambda:NAME");
        let name = "expected lambda:NAME with the name of a function, such as lambda:peerwren";
        for text in ["lambda:", "lambda:a b", "lambda:x/y", "lambda:ü"] {
            assert_eq!(said(text), name, "{text}");
        }
        for text in ["", "0", "-1", "nan", "inf", "1e9", "x"] {
            assert!(text.parse::<Factor>().is_err(), "{text}");
        }
    }
}
