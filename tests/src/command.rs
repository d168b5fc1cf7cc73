//! Finds what tests of this crate run: cargo tells only a package's own tests where its binaries are.
//! Never builds it.

use std::path::PathBuf;

/// The command `peerwren` that `cargo test --workspace` has built beside these tests; none, and a line that says
/// so, where it was not built.
pub fn peerwren() -> Option<PathBuf> {
    beside("peerwren")
}

/// A binary of the workspace, see [`peerwren`].
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

/// What a test must say aloud.
pub fn say(line: &str) {
    use std::io::Write;
    // Nothing is left to tell when standard error is closed.
    let _ = writeln!(std::io::stderr(), "{line}");
}
