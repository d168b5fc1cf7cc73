//! How the command ends when it fails: one line and an exit status.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

/// Why the command ends without its results.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Bad usage or input: status 2.
    Usage(String),
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

    /// Prints the one line and gives the exit status.
    pub(crate) fn report(self) -> ExitCode {
        let (reason, status) = match self {
            Self::Usage(reason) => (reason, 2),
            Self::Run(reason) => (reason, 1),
        };
        // Nothing is left to tell when standard error is closed.
        let _ = writeln!(io::stderr(), "error: {}", one_line(&reason));
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
