//! Files for what reads files: one folder a thread, gone with it. Never reads them.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// Where nothing is written to a disk, if there is such a place.
const MEMORY: &str = "/dev/shm";

thread_local! {
    static FOLDER: TempDir = {
        let mut folder = tempfile::Builder::new();
        folder.prefix("peerwren-fuzz-");
        let made = if Path::new(MEMORY).is_dir() {
            folder.tempdir_in(MEMORY)
        } else {
            folder.tempdir()
        };
        made.expect("a folder can be made")
    };
}

/// The path of that name in this thread's folder.
pub(crate) fn path(name: &str) -> PathBuf {
    FOLDER.with(|folder| folder.path().join(name))
}

/// Writes a file of that name.
pub(crate) fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = path(name);
    std::fs::write(&path, bytes).expect("a file can be written");
    path
}
