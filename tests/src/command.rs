//! Finds and runs what tests of this crate run: cargo tells only a package's own tests where its binaries are.
//! Never builds it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The command `peerwren` that `cargo test --workspace` has built beside these tests; none, and a line that says
/// so, where it was not built.
pub fn peerwren() -> Option<PathBuf> {
    beside("peerwren")
}

/// A binary of the workspace, see [`peerwren()`].
pub fn beside(name: &str) -> Option<PathBuf> {
    let here = std::env::current_exe().ok()?;
    // target/debug/deps/test-0123456789abcdef
    let path = here.parent()?.parent()?.join(name);
    if path.is_file() {
        return Some(path);
    }
    say(&format!(
        "SKIPPED: {} is not built; `cargo test --workspace` builds it",
        path.display()
    ));
    None
}

/// The command in a folder, with no option from the environment but these.
///
/// # Panics
/// The command was not built.
pub fn command(folder: &Path, line: &str, variables: &[(&str, String)]) -> Command {
    let program = peerwren().expect("the command is built");
    clean(Command::new(program), folder, line, variables)
}

/// A command with the words of a line, in a folder, with no option from the environment but these.
pub fn clean(
    mut command: Command,
    folder: &Path,
    line: &str,
    variables: &[(&str, String)],
) -> Command {
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("PEERWREN_") || name.starts_with("AWS_") {
            command.env_remove(&*name);
        }
    }
    command.current_dir(folder).args(line.split_whitespace());
    command.envs(variables.iter().map(|(name, value)| (*name, value)));
    command
}

/// Runs a command line in a folder.
///
/// # Panics
/// The command cannot be started.
pub fn run(folder: &Path, line: &str, variables: &[(&str, String)]) -> Output {
    command(folder, line, variables)
        .output()
        .expect("the command starts")
}

/// Runs a command line that must succeed; returns what it printed.
///
/// # Panics
/// It did not succeed.
pub fn succeed(folder: &Path, line: &str, variables: &[(&str, String)]) -> String {
    let output = run(folder, line, variables);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "peerwren {line}: {told}");
    String::from_utf8(output.stdout).expect("the command prints UTF-8")
}

/// A folder of a test's own, removed at its end.
pub struct Folder(pub PathBuf);

impl Folder {
    /// Makes an empty one.
    ///
    /// # Panics
    /// It cannot be made.
    pub fn new(name: &str) -> Self {
        let folder = tempfile::Builder::new()
            .prefix(&format!("peerwren-{name}-"))
            .tempdir();
        Self(folder.expect("a temporary folder can be made").keep())
    }

    /// A file in it.
    ///
    /// # Panics
    /// It cannot be read.
    pub fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.0.join(name)).expect("the file is there")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What a test must say aloud.
pub fn say(line: &str) {
    use std::io::Write;
    // Nothing is left to tell when standard error is closed.
    let _ = writeln!(std::io::stderr(), "{line}");
}
