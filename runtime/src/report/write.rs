//! Writes a report, or any text: whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::Report;
use crate::whole::{is_special, write_whole};

/// A report that cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The path is unusable as given; found before any work.
    #[error("{what} {path}: {reason}")]
    Refused {
        /// What was to be written, such as `report`.
        what: &'static str,
        /// The path as given.
        path: String,
        /// What is wrong and what is expected.
        reason: String,
    },
    /// Writing failed.
    #[error("{what} {path}: cannot be written: {source}")]
    Failed {
        /// What was to be written.
        what: &'static str,
        /// The path as given.
        path: String,
        /// What the system said.
        source: io::Error,
    },
}

impl Report {
    /// The report as indented JSON with a newline at its end.
    pub fn to_json(&self) -> String {
        // Plain numbers, strings and lists: serde_json has nothing to refuse.
        let mut text = serde_json::to_string_pretty(self).expect("a report is plain data");
        text.push('\n');
        text
    }

    /// Checks, before any work, that a report can be written to `path`.
    ///
    /// # Errors
    /// The path is a folder or its folder cannot be written.
    pub fn check_writable(path: &Path) -> Result<(), ReportError> {
        check_text_file("report", path)
    }

    /// Writes the report to `path`, replacing what is there in one step.
    ///
    /// # Errors
    /// The file cannot be written; then nothing is left behind.
    pub fn write(&self, path: &Path) -> Result<(), ReportError> {
        write_text_file("report", path, &self.to_json())
    }
}

/// Checks, before any work, that a file can be written; `what` it is begins the error's text.
///
/// # Errors
/// The path is a folder or its folder cannot be written.
pub fn check_text_file(what: &'static str, path: &Path) -> Result<(), ReportError> {
    let refused = |reason: String| ReportError::Refused {
        what,
        path: shown(path),
        reason,
    };
    if path.is_dir() {
        return Err(refused("is a folder; name a file".into()));
    }
    if is_special(path) {
        return OpenOptions::new()
            .write(true)
            .open(path)
            .map(drop)
            .map_err(|error| refused(error.to_string()));
    }
    let temporary = temporary_beside(path);
    match File::create_new(&temporary) {
        Ok(_) => fs::remove_file(&temporary).map_err(|error| refused(error.to_string())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(refused("its folder does not exist".into()))
        }
        Err(error) => Err(refused(format!("its folder cannot be written: {error}"))),
    }
}

/// Writes a text to `path`, replacing what is there in one step; `what` it is begins the error's text.
///
/// # Errors
/// The file cannot be written; then nothing is left behind.
pub fn write_text_file(what: &'static str, path: &Path, text: &str) -> Result<(), ReportError> {
    let failed = |source| ReportError::Failed {
        what,
        path: shown(path),
        source,
    };
    write_whole(path, &temporary_beside(path), |out| {
        out.write_all(text.as_bytes())
    })
    .map_err(failed)
}

fn temporary_beside(path: &Path) -> PathBuf {
    let name = format!(".peerwren-report-{}.tmp", std::process::id());
    path.with_file_name(name)
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().escape_debug().to_string()
}
