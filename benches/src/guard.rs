//! What must be done when a benchmark ends, whatever ends it: Ctrl-C, a kill, an error, or nothing.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// A shell that waits until this process ends, or until the guard is dropped, and runs a script then.
pub struct Guard(Child);

impl Guard {
    /// Has a script run at the end; it finds its arguments in `$1`, `$2` and so on.
    ///
    /// # Errors
    /// There is no shell.
    pub fn new(script: &str, arguments: &[&str]) -> Result<Self, String> {
        let child = Command::new("sh")
            // The read ends when the pipe's other end closes, with this process at the latest.
            .args(["-c", &format!("read -r _; {script}"), "sh"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C on the terminal ends this process, not the shell that cleans up after it.
            .process_group(0)
            .spawn();
        child.map(Self).map_err(|error| format!("sh: {error}"))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}
