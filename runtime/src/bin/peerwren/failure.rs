//! How the command ends when it fails: one line and an exit status.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

/// Why the command ends without its results.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Bad usage or input: status 2.
    Usage(String),
    /// A program that is wrong: status 2. Several lines, with the place in its text.
    Program(String),
    /// A failed run: status 1.
    Run(String),
}

impl Failure {
    pub(crate) fn usage(reason: impl Display) -> Self {
        Self::Usage(reason.to_string())
    }

    pub(crate) fn run(reason: impl Display) -> Self {
        Self::Run(reason.to_string())
    }

    /// A diagnosis, with or without the word "error" before it.
    pub(crate) fn program(diagnosis: impl Display) -> Self {
        let text = diagnosis.to_string();
        Self::Program(text.strip_prefix("error: ").unwrap_or(&text).to_owned())
    }

    /// The same, told of something.
    pub(crate) fn within(self, what: &str) -> Self {
        match self {
            Self::Usage(reason) => Self::Usage(format!("{what}: {reason}")),
            Self::Run(reason) => Self::Run(format!("{what}: {reason}")),
            // A diagnosis names its place.
            Self::Program(diagnosis) => Self::Program(diagnosis),
        }
    }

    /// Why, in one line.
    pub(crate) fn into_reason(self) -> String {
        match self {
            Self::Usage(reason) | Self::Run(reason) | Self::Program(reason) => one_line(&reason),
        }
    }

    /// Prints the one line, or a diagnosis, and gives the exit status.
    pub(crate) fn report(self) -> ExitCode {
        let (reason, status) = match self {
            Self::Usage(reason) => (one_line(&reason), 2),
            Self::Program(diagnosis) => (diagnosis.trim_end().to_owned(), 2),
            Self::Run(reason) => (one_line(&reason), 1),
        };
        // Nothing is left to tell when standard error is closed.
        let _ = writeln!(io::stderr(), "error: {reason}");
        ExitCode::from(status)
    }
}

/// Joins the lines of a text, so that scripts can rely on one.
fn one_line(text: &str) -> String {
    let lines: Vec<_> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    lines.join(" ")
}
