//! Files that are there whole or not at all. Never knows what is in them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// Writes what `write` gives to `path`, replacing what is there in one step; until then it lies at
/// `temporary`, in the same folder. Straight into a device or pipe.
///
/// # Errors
/// A file cannot be made or written; then nothing is left behind.
pub(crate) fn write_whole(
    path: &Path,
    temporary: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<()> {
    if is_special(path) {
        let mut out = BufWriter::new(OpenOptions::new().write(true).open(path)?);
        write(&mut out)?;
        return out.flush();
    }
    let written = File::create_new(temporary).and_then(|file| {
        let mut out = BufWriter::new(file);
        write(&mut out)?;
        out.flush()?;
        out.get_ref().sync_all()?;
        fs::rename(temporary, path)
    });
    if written.is_err() {
        let _ = fs::remove_file(temporary);
    }
    written
}

/// Whether the path is a device or pipe, such as `/dev/stdout`, which a file must not replace.
pub(crate) fn is_special(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir())
}
