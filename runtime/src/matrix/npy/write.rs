//! Writes a matrix tile by tile into a `.npy` file that appears whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::assert_inside;
use super::header::Header;
use crate::matrix::error::{OutputError, ShownPath};
use crate::matrix::form::{ArrayForm, Entries};

/// Tells two files of one process apart.
static SERIAL: AtomicU32 = AtomicU32::new(0);

/// A Fortran-ordered `.npy` file in the making. Tiles that nobody writes are zero.
///
/// Lives under a temporary name beside its target until [`finish`](Self::finish); dropping it removes
/// it. Threads may write different tiles at once.
#[derive(Debug)]
pub struct NpyWriter {
    file: File,
    path: ShownPath,
    target: PathBuf,
    temporary: TemporaryName,
    rows: u64,
    cols: u64,
    data_offset: u64,
    file_bytes: u64,
}

impl NpyWriter {
    /// Starts an array of zeros that will become the file `path`.
    ///
    /// # Errors
    /// As [`check_writable`], an empty matrix, a vector of several columns, or a file system that refuses the
    /// size.
    pub fn create(path: &Path, form: ArrayForm) -> Result<Self, OutputError> {
        let ArrayForm { rows, cols, .. } = form;
        let shown = ShownPath::new(path);
        let refused = |reason| OutputError::Refused {
            path: shown.clone(),
            reason,
        };
        form.check().map_err(refused)?;
        let target = resolve_target(path)?;
        let (file, temporary) =
            create_beside(&target).map_err(|error| cannot_create(path, error))?;
        let header = header(form);
        let data_offset = header.len() as u64;
        let file_bytes = data_offset + rows * cols * 8;
        let writer = Self {
            file,
            path: shown,
            target,
            temporary,
            rows,
            cols,
            data_offset,
            file_bytes,
        };
        // Unwritten parts of the longer file read as zeros and take no room.
        writer
            .file
            .set_len(file_bytes)
            .map_err(|error| writer.failed(error))?;
        writer
            .file
            .write_all_at(&header, 0)
            .map_err(|error| writer.failed(error))?;
        Ok(writer)
    }

    /// The path that the file will have.
    pub fn path(&self) -> &Path {
        self.path.as_path()
    }

    /// Bytes of the whole file.
    pub fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// Writes the `rows` x `cols` block whose first entry is (`row0`, `col0`) from `tile`,
    /// column-major; the bits of each word are those of the entry, whatever its type.
    ///
    /// # Errors
    /// The disk is full or the file cannot be written.
    ///
    /// # Panics
    /// The block lies outside the matrix, or `tile` is not `rows * cols` long.
    pub fn write_tile(
        &self,
        row0: u64,
        col0: u64,
        rows: usize,
        cols: usize,
        tile: &[f64],
    ) -> Result<(), OutputError> {
        assert_inside((self.rows, self.cols), row0, col0, rows, cols, tile.len());
        if rows == 0 || cols == 0 {
            return Ok(());
        }
        // Whole columns follow each other in the file as in the tile.
        let span = if rows as u64 == self.rows {
            tile.len()
        } else {
            rows
        };
        let mut swapped = Vec::new();
        for (j, column) in tile.chunks(span).enumerate() {
            let first = (col0 + j as u64) * self.rows + row0;
            let bytes: &[u8] = if cfg!(target_endian = "little") {
                bytemuck::cast_slice(column)
            } else {
                swapped.clear();
                swapped.extend(column.iter().flat_map(|value| value.to_le_bytes()));
                &swapped
            };
            self.file
                .write_all_at(bytes, self.data_offset + first * 8)
                .map_err(|error| self.failed(error))?;
        }
        Ok(())
    }

    /// Makes the file durable and gives it its name, replacing what had it.
    ///
    /// # Errors
    /// The disk is full or the file cannot be renamed; then nothing is left behind.
    pub fn finish(mut self) -> Result<(), OutputError> {
        self.file.sync_all().map_err(|error| self.failed(error))?;
        fs::rename(&self.temporary.path, &self.target).map_err(|error| self.failed(error))?;
        self.temporary.kept = true;
        // The name itself becomes durable with the folder; some file systems cannot sync one.
        if let Ok(folder) = File::open(parent_of(&self.target)) {
            let _ = folder.sync_all();
        }
        Ok(())
    }

    fn failed(&self, source: io::Error) -> OutputError {
        let path = self.path.clone();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => OutputError::Full {
                path,
                bytes: self.file_bytes,
            },
            _ => OutputError::Failed { path, source },
        }
    }
}

fn header(form: ArrayForm) -> Vec<u8> {
    let descr = match form.entries {
        Entries::F64 => "<f8",
        Entries::I64 => "<i8",
    };
    let shape = [form.rows, form.cols];
    Header::encode(descr, &shape[..if form.is_vector { 1 } else { 2 }])
}

/// Checks, before any work, that a result can be written to `path`.
///
/// # Errors
/// The name does not end in `.npy`; its folder is missing or cannot be written; the path is a folder
/// or a device.
pub fn check_writable(path: &Path) -> Result<(), OutputError> {
    let refused = |reason: String| OutputError::Refused {
        path: ShownPath::new(path),
        reason,
    };
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("npy") => {}
        _ => return Err(refused("expected a name that ends in .npy".into())),
    }
    let target = resolve_target(path)?;
    // Trying is the only check that knows every file system, mount and permission.
    create_beside(&target)
        .map(drop)
        .map_err(|error| cannot_create(path, error))
}

/// The file that `path` stands for: links are followed, so that a result replaces a link's target.
fn resolve_target(path: &Path) -> Result<PathBuf, OutputError> {
    let refused = |reason: String| OutputError::Refused {
        path: ShownPath::new(path),
        reason,
    };
    let Some(name) = path.file_name() else {
        return Err(refused("expected a file name".into()));
    };
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Err(refused("is a folder; name a file".into())),
        Ok(metadata) if !metadata.is_file() => {
            Err(refused("is a device, pipe or socket; name a file".into()))
        }
        Ok(_) => fs::canonicalize(path).map_err(|error| cannot_create(path, error)),
        Err(_) => {
            let folder =
                fs::canonicalize(parent_of(path)).map_err(|error| cannot_create(path, error))?;
            Ok(folder.join(name))
        }
    }
}

/// A name that is removed again unless it was kept.
#[derive(Debug)]
pub(in crate::matrix) struct TemporaryName {
    path: PathBuf,
    kept: bool,
}

impl Drop for TemporaryName {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Creates a file of its own in the target's folder: renaming it is then one step.
pub(in crate::matrix) fn create_beside(target: &Path) -> io::Result<(File, TemporaryName)> {
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    // A short name of its own: the target's may already be as long as the file system allows.
    let name = format!(".peerwren-{}-{serial}.tmp", std::process::id());
    let path = parent_of(target).join(name);
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)?;
    Ok((file, TemporaryName { path, kept: false }))
}

/// Says why there can be no file by that name.
pub(in crate::matrix) fn cannot_create(path: &Path, error: io::Error) -> OutputError {
    let folder = ShownPath::new(parent_of(path));
    let reason = match error.kind() {
        io::ErrorKind::NotFound => format!("its folder {folder} does not exist"),
        io::ErrorKind::NotADirectory => format!("{folder} is not a folder"),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            format!("its folder {folder} cannot be written: {error}")
        }
        _ => format!("a file cannot be created in {folder}: {error}"),
    };
    OutputError::Refused {
        path: ShownPath::new(path),
        reason,
    }
}

fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
