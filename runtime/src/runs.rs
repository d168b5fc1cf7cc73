//! Runs that can be resumed: a private folder for each, with all that another process needs to finish it.
//! Never runs anything.
//!
//! ```text
//! $PEERWREN_STATE, else $XDG_STATE_HOME/peerwren, else ~/.local/state/peerwren     mode 0700
//!   runs/<run, 16 hex digits>/                                                     mode 0700
//!     lock       held by the driver while it lives; has its process id             mode 0600
//!     record     what was asked for, the plan, the secret of its manifests         mode 0600
//! ```
//!
//! The folder is written before the first worker starts and removed when the run is complete. Secrets are
//! here and never in the store.
#![allow(
    missing_docs,
    reason = "the archived fields that rkyv derives cannot be documented"
)]

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rkyv::{Archive, Deserialize, Serialize};

use crate::control;
use crate::linalg::Job;
use crate::manifest::ManifestKey;

/// Names the folder instead of the user's state folder.
pub const STATE_VARIABLE: &str = "PEERWREN_STATE";
const RECORD: &str = "record";
const LOCK: &str = "lock";
/// First bytes of a record: its form and version.
const MAGIC: [u8; 8] = *b"pwrnrun2";
/// Longest record: a plan's programs of some kB each, and texts.
const RECORD_BYTES_MAX: u64 = 16 << 20;

/// What a run was asked to do, in words: enough to finish it in another process.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct RunRecord {
    /// What is computed: the plan, and what becomes of its outputs.
    pub job: Job,
    /// Options by their names, in the form that the command takes.
    pub options: Vec<(String, String)>,
    /// Results, the token that lets workers join, and where each goes, in the bytes of the system.
    pub results: Vec<(String, Vec<u8>)>,
    /// Where the report goes, in the bytes of the system.
    pub report: Option<Vec<u8>>,
    /// Where the store is.
    pub store: String,
    /// Whether the store was made for the run and goes with it.
    pub store_is_temporary: bool,
    /// The secret of the run's manifests.
    pub key: ManifestKey,
    /// The run's certificate authority with its secret key, where workers may outlive the driver and are to
    /// know the next one.
    pub authority: Option<String>,
}

impl RunRecord {
    /// The text of an option.
    #[must_use]
    pub fn option(&self, name: &str) -> Option<&str> {
        let found = self.options.iter().find(|(option, _)| option == name);
        found.map(|(_, text)| text.as_str())
    }

    /// Where a result goes.
    #[must_use]
    pub fn result(&self, name: &str) -> Option<PathBuf> {
        let found = self.results.iter().find(|(result, _)| result == name);
        found.map(|(_, bytes)| path_of(bytes))
    }

    /// Where the report goes.
    #[must_use]
    pub fn report_path(&self) -> Option<PathBuf> {
        self.report.as_deref().map(path_of)
    }
}

/// A path that means the same in every folder, in the bytes of the system.
pub(crate) fn absolute_bytes(path: &Path) -> Vec<u8> {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute.as_os_str().as_bytes().to_vec()
}

fn path_of(bytes: &[u8]) -> PathBuf {
    OsString::from_vec(bytes.to_vec()).into()
}

/// Why a run cannot be saved or found again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunsError {
    /// Nothing says where the folder of runs is.
    #[error(
        "cannot tell where to keep what `peerwren resume` needs: set PEERWREN_STATE to a folder, or HOME"
    )]
    NoHome,
    /// A folder or file cannot be read or written.
    #[error(
        "{path}: {source}; PEERWREN_STATE names another folder for what `peerwren resume` needs"
    )]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A text that is no run's number.
    #[error(
        "`{0}` is no run; expected its hexadecimal number or the first digits of it, as `peerwren resume` \
         lists them"
    )]
    NoNumber(String),
    /// No such run.
    #[error("no run {text} is kept in {folder}; `peerwren resume` lists those that can be resumed")]
    Unknown {
        /// What was asked for.
        text: String,
        /// Where it was looked for.
        folder: PathBuf,
    },
    /// Several runs.
    #[error("`{text}` could be any of {found}; write more digits")]
    Ambiguous {
        /// What was asked for.
        text: String,
        /// What it could mean.
        found: String,
    },
    /// Its driver is alive.
    #[error("run {run} is still running (process {process}); wait for its end, or end it first")]
    Alive {
        /// The run.
        run: String,
        /// Its driver.
        process: String,
    },
    /// Its record is not readable by this version.
    #[error(
        "{path} was not written by this version of peerwren; resume it with the version that began it"
    )]
    Malformed {
        /// The record.
        path: PathBuf,
    },
}

/// A run with its folder, which this process alone may touch as long as this lives.
#[derive(Debug)]
pub struct SavedRun {
    run: u64,
    folder: PathBuf,
    record: RunRecord,
    /// The lock goes with the file, and the file with the process, however it ends.
    _lock: File,
}

/// A run as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedRun {
    /// Its number.
    pub run: u64,
    /// Its folder.
    pub folder: PathBuf,
    /// The subcommand and its input.
    pub what: String,
    /// Whether its driver is alive.
    pub is_running: bool,
}

impl SavedRun {
    /// Saves a run that begins now.
    ///
    /// # Errors
    /// The folder cannot be made or written.
    pub fn create(record: RunRecord) -> Result<Self, RunsError> {
        let run = record.job.plan.run;
        let folder = runs_folder()?.join(name(run));
        let failed = |path: &Path| {
            let path = path.to_owned();
            |source| RunsError::Io { path, source }
        };
        let mut private = DirBuilder::new();
        private.recursive(true).mode(0o700);
        private.create(&folder).map_err(failed(&folder))?;
        let lock = lock(&folder, run)?;
        let mut bytes = MAGIC.to_vec();
        bytes.extend(control::encode(&record));
        let (path, half) = (folder.join(RECORD), folder.join("record.new"));
        let written = || {
            let mut file = private_file(&half)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&half, &path)
        };
        written().map_err(failed(&path))?;
        Ok(Self {
            run,
            folder,
            record,
            _lock: lock,
        })
    }

    /// Finds the run whose number begins with `text`, whose driver must be gone.
    ///
    /// # Errors
    /// There is none, or more than one; its driver is alive; its record cannot be read.
    pub fn find(text: &str) -> Result<Self, RunsError> {
        let is_number = (1..=16).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase());
        if !is_number {
            let shown = text.chars().take(40).collect::<String>();
            return Err(RunsError::NoNumber(shown.escape_debug().to_string()));
        }
        let folder = runs_folder()?;
        let mut found = numbers(&folder)?;
        found.retain(|&run| name(run).starts_with(text));
        match found[..] {
            [run] => Self::open(&folder.join(name(run)), run),
            [] => {
                let text = text.to_owned();
                Err(RunsError::Unknown { text, folder })
            }
            _ => Err(RunsError::Ambiguous {
                text: text.to_owned(),
                found: found.into_iter().map(name).collect::<Vec<_>>().join(", "),
            }),
        }
    }

    fn open(folder: &Path, run: u64) -> Result<Self, RunsError> {
        let lock = lock(folder, run)?;
        Ok(Self {
            run,
            folder: folder.to_owned(),
            record: read(folder, run)?,
            _lock: lock,
        })
    }

    /// All saved runs, by number.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn list() -> Result<Vec<ListedRun>, RunsError> {
        let runs = runs_folder()?;
        let mut listed = Vec::new();
        for run in numbers(&runs)? {
            let folder = runs.join(name(run));
            let is_running = matches!(lock(&folder, run), Err(RunsError::Alive { .. }));
            let what = match read(&folder, run) {
                Ok(record) => format!("{} {}", record.job.operation, record.job.input),
                Err(_) => "of another version of peerwren, or not written to its end".to_owned(),
            };
            listed.push(ListedRun {
                run,
                folder,
                what,
                is_running,
            });
        }
        Ok(listed)
    }

    /// The run's number, as a user writes it.
    #[must_use]
    pub fn name(&self) -> String {
        name(self.run)
    }

    /// What it was asked to do.
    #[must_use]
    pub fn record(&self) -> &RunRecord {
        &self.record
    }

    /// Removes the folder: there is nothing to resume any more.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove(self) -> Result<(), RunsError> {
        fs::remove_dir_all(&self.folder).map_err(|source| RunsError::Io {
            path: self.folder,
            source,
        })
    }
}

/// A new secret for a run's manifests.
///
/// # Errors
/// The system gives no random bytes.
pub(crate) fn new_key() -> Result<ManifestKey, RunsError> {
    let path = PathBuf::from("/dev/urandom");
    let mut key = [0; 32];
    let read = File::open(&path).and_then(|mut file| file.read_exact(&mut key));
    read.map_err(|source| RunsError::Io { path, source })?;
    Ok(ManifestKey(key))
}

/// A run's number as it is written.
pub(crate) fn name(run: u64) -> String {
    format!("{run:016x}")
}

fn runs_folder() -> Result<PathBuf, RunsError> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let state = set(STATE_VARIABLE).map(PathBuf::from);
    let state = state.or_else(|| Some(PathBuf::from(set("XDG_STATE_HOME")?).join("peerwren")));
    let state = state.or_else(|| Some(PathBuf::from(set("HOME")?).join(".local/state/peerwren")));
    Ok(state.ok_or(RunsError::NoHome)?.join("runs"))
}

/// The runs that have a folder, sorted.
fn numbers(folder: &Path) -> Result<Vec<u64>, RunsError> {
    let failed = |source| RunsError::Io {
        path: folder.to_owned(),
        source,
    };
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let file = entry.map_err(failed)?.file_name();
        let run = file.to_str().and_then(|text| {
            let run = u64::from_str_radix(text, 16).ok()?;
            (name(run) == text).then_some(run)
        });
        found.extend(run);
    }
    found.sort_unstable();
    Ok(found)
}

fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
}

/// Takes the lock of a run's folder, unless a driver has it.
fn lock(folder: &Path, run: u64) -> Result<File, RunsError> {
    let path = folder.join(LOCK);
    let failed = |source| RunsError::Io {
        path: path.clone(),
        source,
    };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut process = String::new();
            // Only to tell the user.
            let _ = file.take(20).read_to_string(&mut process);
            let (run, process) = (name(run), process.trim().to_owned());
            return Err(RunsError::Alive { run, process });
        }
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    }
    let written = file
        .set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()));
    written.map_err(failed)?;
    Ok(file)
}

fn read(folder: &Path, run: u64) -> Result<RunRecord, RunsError> {
    let path = folder.join(RECORD);
    let failed = |source| RunsError::Io {
        path: path.clone(),
        source,
    };
    let mut bytes = Vec::new();
    let file = File::open(&path).map_err(failed)?;
    file.take(RECORD_BYTES_MAX)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    let record: Option<RunRecord> = bytes
        .strip_prefix(&MAGIC)
        .and_then(|bytes| control::decode(bytes).ok());
    match record {
        Some(record) if record.job.plan.run == run => Ok(record),
        _ => Err(RunsError::Malformed { path }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_are_no_number_are_told() {
        for text in ["", "x", "../..", "ABC", "0123456789abcdef0", "a\nb"] {
            let told = SavedRun::find(text).unwrap_err().to_string();
            assert!(told.contains("is no run; expected"), "{text:?}: {told}");
            assert_eq!(told.lines().count(), 1);
        }
    }
}
