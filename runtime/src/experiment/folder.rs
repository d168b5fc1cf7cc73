//! The folder of an experiment: the report of each finished row, by which an interrupted experiment goes on
//! where it was, and what is made of all of them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::grid::Experiment;
use super::results::Results;
use super::row::Row;
use crate::report::{REPORT_BYTES_MAX, Report, ReportError, write_text_file};
use crate::text;

/// The grid's text, which also tells that a folder is an experiment's.
const GRID: &str = "experiment.toml";
const RUNS: &str = "runs";

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    /// It is something else, or of somebody else.
    #[error("--out {path}: {reason}")]
    Refused {
        /// The folder.
        path: String,
        /// What is there instead.
        reason: String,
    },
    /// A file in it cannot be written.
    #[error(transparent)]
    Write(#[from] ReportError),
}

/// The folder of an experiment.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Checks that a folder is new, empty or an experiment's. Makes nothing.
    ///
    /// # Errors
    /// It holds other files, or is no folder.
    pub fn check(path: &Path) -> Result<(), FolderError> {
        let refused = |reason: String| FolderError::Refused {
            path: path.to_string_lossy().escape_debug().to_string(),
            reason,
        };
        let mut entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return Err(refused("is a file; name a folder".to_owned()));
            }
            Err(error) => return Err(refused(error.to_string())),
        };
        if entries.next().is_some() && !path.join(GRID).is_file() {
            let reason = "has files of something else; name a new folder, or one of an experiment";
            return Err(refused(reason.to_owned()));
        }
        Ok(())
    }

    /// Opens a folder, makes it if it is new, and keeps the experiment's grid in it.
    ///
    /// # Errors
    /// [`Folder::check`], and a folder that cannot be made or written.
    pub fn open(path: &Path, experiment: &Experiment) -> Result<Self, FolderError> {
        Self::check(path)?;
        let runs = path.join(RUNS);
        fs::create_dir_all(&runs).map_err(|error| FolderError::Refused {
            path: path.to_string_lossy().escape_debug().to_string(),
            reason: error.to_string(),
        })?;
        write_text_file("grid", &path.join(GRID), &experiment.text)?;
        Ok(Self { path: path.into() })
    }

    /// The report of a row that was finished with the same line; none otherwise.
    #[must_use]
    pub fn finished(&self, row: &Row) -> Option<Report> {
        let text = text::read(&self.report_path(row), REPORT_BYTES_MAX).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Keeps the report of a finished row.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn keep(&self, row: &Row, report: &Report) -> Result<(), FolderError> {
        Ok(report.write(&self.report_path(row))?)
    }

    /// Where the trace of the row lies whose workers' time is drawn.
    #[must_use]
    pub fn trace_path(&self, row: &Row) -> PathBuf {
        self.path
            .join(RUNS)
            .join(format!("{}.trace.json", row.name()))
    }

    /// Writes tables, pictures and the page.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write(&self, results: &Results<'_>) -> Result<(), FolderError> {
        write_text_file("table", &self.path.join("results.csv"), &results.csv())?;
        write_text_file("table", &self.path.join("table.md"), &results.markdown())?;
        for (name, picture) in results.pictures() {
            let path = self.path.join(format!("{name}.svg"));
            write_text_file("picture", &path, &picture.alone())?;
        }
        let page = self.path.join("index.html");
        write_text_file("page", &page, &results.page())?;
        Ok(())
    }

    fn report_path(&self, row: &Row) -> PathBuf {
        self.path.join(RUNS).join(format!("{}.json", row.name()))
    }
}
