//! Running the command in a folder of its own.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A folder of this process's own, removed at the end.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let folder = tempfile::Builder::new()
            .prefix(&format!("peerwren-{name}-"))
            .tempdir();
        Self(folder.unwrap().keep())
    }

    /// The names of the files in it, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        names(&self.0)
    }

    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.0.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub(crate) fn report(&self, name: &str) -> Value {
        serde_json::from_slice(&self.bytes(name)).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The names in a folder, sorted.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The command in a folder, with no option from the environment but these.
pub(crate) fn command(folder: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_peerwren"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PEERWREN_") {
            command.env_remove(name);
        }
    }
    // Never the user's own: what a run keeps to be resumed.
    let state = std::env::temp_dir().join(format!("peerwren-t-{}-state", std::process::id()));
    command
        .env("PEERWREN_STATE", state)
        .current_dir(folder)
        .args(arguments)
        .envs(environment.iter().copied());
    command
}

/// Runs the command in a folder, with no option from the environment but these.
pub(crate) fn peerwren_with(
    folder: &Path,
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> Output {
    command(folder, arguments, environment).output().unwrap()
}

/// Runs a command line in a folder.
pub(crate) fn peerwren(folder: &Path, line: &str) -> Output {
    peerwren_with(folder, &line.split_whitespace().collect::<Vec<_>>(), &[])
}

/// Runs a command line that must succeed.
pub(crate) fn succeed(folder: &Path, line: &str) {
    let output = peerwren(folder, line);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "peerwren {line}: {told}");
}

/// Starts a command line and leaves it running.
pub(crate) fn start(folder: &Path, line: &str) -> Child {
    command(folder, &line.split_whitespace().collect::<Vec<_>>(), &[])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The live children of a process.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let tasks = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten();
    for task in tasks.flatten() {
        let list = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        found.extend(
            list.split_whitespace()
                .filter_map(|pid| pid.parse::<u32>().ok()),
        );
    }
    found.retain(|&pid| is_alive(pid));
    found
}

/// Whether a process runs and is not a zombie.
pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// Sends a signal by name.
pub(crate) fn signal(name: &str, pid: u32) {
    let sent = Command::new("kill")
        .args(["-s", name, &pid.to_string()])
        .status()
        .unwrap();
    assert!(
        sent.success() || !is_alive(pid),
        "cannot send {name} to {pid}"
    );
}

/// Waits until something is so; a test that waits in vain fails after a minute.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "waited a minute for: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What a test shows beside its verdict.
pub(crate) fn say(line: &str) {
    // Nothing is left to tell when standard error is closed.
    let _ = writeln!(std::io::stderr(), "{line}");
}
