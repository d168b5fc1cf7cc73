//! The `peerwren` command: where it lies, and a folder of its own for what it leaves. Never looks inside
//! of it: a run is told by its report.

use std::fs;
use std::path::{Path, PathBuf};

use crate::call::Call;
use crate::guard::Guard;
use crate::report::Report;
use crate::running::Running;

/// The command, and a folder that is removed at the end.
pub struct Peerwren {
    program: PathBuf,
    folder: PathBuf,
    _removes_folder: Guard,
}

impl Peerwren {
    /// Finds the command: where it is said to lie, or beside this program.
    ///
    /// # Errors
    /// It is not there.
    pub fn find(named: Option<&Path>) -> Result<Self, String> {
        let program = match named {
            Some(program) => program.to_path_buf(),
            None => std::env::current_exe()
                .map_err(|error| format!("this program: {error}"))?
                .with_file_name("peerwren"),
        };
        if !program.is_file() {
            return Err(format!(
                "{}: no such program; build it with: cargo build --release --workspace --bins",
                program.display()
            ));
        }
        let folder = std::env::temp_dir().join(format!("peerwren-bench-{}", std::process::id()));
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        // A run that this benchmark leaves behind may write there until it has heard of its end.
        let removed = Guard::new(
            "rm -rf \"$1\" || { sleep 2; rm -rf \"$1\"; }",
            &[&folder.to_string_lossy()],
        )?;
        Ok(Self {
            program,
            folder,
            _removes_folder: removed,
        })
    }

    /// A file of this benchmark's own folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The command's version.
    ///
    /// # Errors
    /// It does not run.
    pub fn version(&self) -> Result<String, String> {
        let version = self.bare().args(["--version"]).run()?;
        Ok(version.trim().to_owned())
    }

    /// The command without arguments; what a run keeps goes to this benchmark's folder.
    pub fn bare(&self) -> Call {
        Call::new(&self.program.to_string_lossy())
            .env("PEERWREN_STATE", &self.file("state").to_string_lossy())
    }

    /// A line of arguments, quiet, and with a report.
    pub fn call(&self, line: &str) -> Call {
        // What an earlier run left is never taken for this one's.
        let report = self.file("report.json");
        let _ = fs::remove_file(&report);
        self.bare().args(line.split_whitespace()).args([
            "--quiet",
            "--report",
            &report.to_string_lossy(),
        ])
    }

    /// The report of a call that is over.
    ///
    /// # Errors
    /// It left none.
    pub fn report(&self) -> Result<Report, String> {
        Report::read(&self.file("report.json"))
    }

    /// Runs a line of arguments to its end.
    ///
    /// # Errors
    /// It fails.
    pub fn run(&self, line: &str) -> Result<Report, String> {
        self.call(line).run()?;
        self.report()
    }

    /// Starts a line of arguments.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(&self, line: &str) -> Result<Running, String> {
        Running::start(&self.call(line))
    }
}
