//! A door for fuzzers: the command's arguments, as far as they can be judged before a file is looked at.
//! Runs nothing.

#[path = "bin/peerwren/main.rs"]
#[allow(
    dead_code,
    unreachable_patterns,
    reason = "the whole command is here for the sake of its arguments, and part of the library here"
)]
mod command;

use std::ffi::OsString;

use self::command::args;

/// Reads a command line, the program's name first, and tells what is wrong with it in one line; `None` where
/// nothing is, or help was asked for.
pub fn arguments(words: Vec<OsString>) -> Option<String> {
    match args::parse(words) {
        Ok(_) => None,
        Err(error) if error.use_stderr() => Some(args::explain(&error).into_reason()),
        Err(_) => None,
    }
}

/// The same for a row of an experiment.
pub fn row(words: &[String]) -> Option<String> {
    let error = args::parse_row(words).err()?;
    error
        .use_stderr()
        .then(|| args::explain(&error).into_reason())
}
