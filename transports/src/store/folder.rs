//! Objects in a folder: one file each. Never overwrites in place, never follows a link, and never
//! makes its root again once it is gone.
//!
//! An object is written to a temporary file beside its place and renamed, so that readers, in other
//! processes too, see none or the whole. A crash of the whole machine may still lose or cut what
//! was written last: lengths and digests tell.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::Semaphore;

use super::objects::Listed;
use super::{Created, StoreError};
use crate::block::{Block, BlockBuf, BlockLen};

/// Files that one process reads or writes at one time, each on a thread of its own: memory that is
/// on its way to a caller is at most 8 objects. 8 x 8 MiB = 64 MiB.
const OPERATIONS_MAX: usize = 8;

/// What names of temporary files start with; no part of an object's name does.
const TEMPORARY: &str = ".new-";

/// Looks that [`Inner::create`] takes at what others create and delete.
const CREATE_TRIES_MAX: usize = 4;

/// Objects as files in a folder. Cheap to clone: clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Folder(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    operations: Arc<Semaphore>,
}

impl Folder {
    /// Opens the folder, makes it if need be, and checks that it can be written.
    pub(super) async fn open(root: PathBuf) -> Result<Self, StoreError> {
        let folder = Self::at(root);
        folder.blocking(Inner::probe).await?;
        Ok(folder)
    }

    /// Opens a folder that is there. Whoever only reads needs no right to write.
    pub(super) async fn join(root: PathBuf) -> Result<Self, StoreError> {
        let folder = Self::at(root);
        folder.blocking(Inner::look).await?;
        Ok(folder)
    }

    fn at(root: PathBuf) -> Self {
        let operations = Arc::new(Semaphore::new(OPERATIONS_MAX));
        Self(Arc::new(Inner { root, operations }))
    }

    pub(super) async fn get(
        &self,
        name: &str,
        bytes_max: usize,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.path(name)?;
        self.blocking(move |inner| inner.read(&path, bytes_max))
            .await
    }

    pub(super) async fn get_block(
        &self,
        name: &str,
        expected: BlockLen,
    ) -> Result<Option<Block>, StoreError> {
        let path = self.path(name)?;
        self.blocking(move |inner| inner.read_block(&path, expected))
            .await
    }

    pub(super) async fn put(
        &self,
        name: &str,
        bytes: impl AsRef<[u8]> + Send + 'static,
    ) -> Result<(), StoreError> {
        let path = self.path(name)?;
        self.blocking(move |inner| inner.write(&path, bytes.as_ref()))
            .await
    }

    pub(super) async fn create(&self, name: &str, bytes: Bytes) -> Result<Created, StoreError> {
        let path = self.path(name)?;
        self.blocking(move |inner| inner.create(&path, &bytes))
            .await
    }

    pub(super) async fn list(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        let prefix = prefix.to_owned();
        self.blocking(move |inner| inner.list(&prefix, false)).await
    }

    /// Lists half-written objects, by the names of their temporary files.
    pub(super) async fn unfinished(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        let prefix = prefix.to_owned();
        self.blocking(move |inner| inner.list(&prefix, true)).await
    }

    /// Removes half-written objects.
    pub(super) async fn remove_unfinished(&self, prefix: &str) -> Result<(), StoreError> {
        let prefix = prefix.to_owned();
        self.blocking(move |inner| {
            for left in inner.list(&prefix, true)? {
                inner.remove(&inner.root.join(&left.name))?;
            }
            Ok(())
        })
        .await
    }

    pub(super) async fn delete(&self, name: &str) -> Result<(), StoreError> {
        let path = self.path(name)?;
        self.blocking(move |inner| inner.remove(&path)).await
    }

    pub(super) async fn delete_all(&self, prefix: &str) -> Result<(), StoreError> {
        let prefix = prefix.to_owned();
        self.blocking(move |inner| inner.remove_all(&prefix)).await
    }

    fn path(&self, name: &str) -> Result<PathBuf, StoreError> {
        if name.split('/').any(|part| part.starts_with(TEMPORARY)) {
            let name = name.to_owned();
            return Err(StoreError::Name { name });
        }
        Ok(self.0.root.join(name))
    }

    /// Runs file work on a thread that may wait, a bounded number at a time.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let stopped = || StoreError::Io {
            place: self.0.root.display().to_string(),
            source: io::Error::other("the runtime is shutting down"),
        };
        let permit = self
            .0
            .operations
            .clone()
            .acquire_owned()
            .await
            .map_err(|_| stopped())?;
        let inner = self.0.clone();
        let done = tokio::task::spawn_blocking(move || {
            let done = work(&inner);
            // Held until the work is done, even where the caller gave up waiting for it.
            drop(permit);
            done
        });
        match done.await {
            Ok(done) => done,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(stopped()),
            },
        }
    }
}

impl Inner {
    fn probe(&self) -> Result<(), StoreError> {
        let probe = || {
            // What lies here is the user's data: a folder that is made here is the user's alone.
            let mut builder = fs::DirBuilder::new();
            builder.recursive(true).mode(0o700).create(&self.root)?;
            let path = temporary_in(&self.root);
            let written = File::create_new(&path).and_then(|mut file| file.write_all(b"probe"));
            // Removed also where writing failed.
            let removed = fs::remove_file(&path);
            written.and(removed)
        };
        probe().map_err(|source| self.unusable(source))
    }

    fn look(&self) -> Result<(), StoreError> {
        match fs::metadata(&self.root) {
            Ok(metadata) if metadata.is_dir() => Ok(()),
            Ok(_) => Err(self.unusable(io::ErrorKind::NotADirectory.into())),
            Err(source) => Err(self.unusable(source)),
        }
    }

    fn unusable(&self, source: io::Error) -> StoreError {
        match self.failed(&self.root, source) {
            StoreError::Io { source, .. } => StoreError::Unusable {
                folder: self.root.clone(),
                source,
            },
            full => full,
        }
    }

    /// Opens an object and tells its length.
    fn open(&self, path: &Path) -> Result<Option<(File, u64)>, StoreError> {
        let failed = |source| self.failed(path, source);
        match File::open(path) {
            Err(error) if is_absent(&error) => Ok(None),
            opened => {
                let file = opened.map_err(failed)?;
                let metadata = file.metadata().map_err(failed)?;
                // A folder is no object, but what some object's name starts with.
                Ok((!metadata.is_dir()).then_some((file, metadata.len())))
            }
        }
    }

    fn read(&self, path: &Path, bytes_max: usize) -> Result<Option<Vec<u8>>, StoreError> {
        let Some((file, got)) = self.open(path)? else {
            return Ok(None);
        };
        if got > bytes_max as u64 {
            let place = path.display().to_string();
            return Err(StoreError::TooLong {
                place,
                bytes_max,
                got,
            });
        }
        let mut bytes = Vec::with_capacity(got as usize);
        let read = file.take(got).read_to_end(&mut bytes);
        read.map_err(|source| self.failed(path, source))?;
        Ok(Some(bytes))
    }

    fn read_block(&self, path: &Path, expected: BlockLen) -> Result<Option<Block>, StoreError> {
        let Some((mut file, got)) = self.open(path)? else {
            return Ok(None);
        };
        // The length is checked before memory is taken for it.
        if !expected.fits(got) {
            let place = path.display().to_string();
            return Err(StoreError::Length {
                place,
                expected,
                got,
            });
        }
        let mut buf = BlockBuf::with_len(got as usize);
        let read = file.read_exact(buf.as_bytes_mut());
        read.map_err(|source| self.failed(path, source))?;
        Ok(Some(buf.freeze()))
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        self.write_then(path, bytes, |temporary| fs::rename(temporary, path))
    }

    /// Writes bytes to a temporary file beside a place and has them moved there.
    fn write_then(
        &self,
        path: &Path,
        bytes: &[u8],
        place: impl FnOnce(&Path) -> io::Result<()>,
    ) -> Result<(), StoreError> {
        let folder = path.parent().unwrap_or(&self.root);
        let temporary = temporary_in(folder);
        let create = || File::create_new(&temporary);
        let write = || {
            let mut file = match create() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.make(folder)?;
                    create()?
                }
                created => created?,
            };
            file.write_all(bytes)?;
            drop(file);
            place(&temporary)
        };
        write().map_err(|source| {
            // What cannot be removed goes with the run.
            let _ = fs::remove_file(&temporary);
            self.failed(path, source)
        })
    }

    fn create(&self, path: &Path, bytes: &[u8]) -> Result<Created, StoreError> {
        // Others may delete between two looks; whoever creates and deletes for ever is no reason to
        // wait for ever.
        for _ in 0..CREATE_TRIES_MAX {
            let there = self.read(path, bytes.len());
            match there {
                Ok(Some(there)) if there == bytes => return Ok(Created::Same),
                Ok(Some(_)) | Err(StoreError::TooLong { .. }) => return Ok(Created::Clash),
                Ok(None) => {}
                Err(error) => return Err(error),
            }
            // A hard link, unlike a rename, never takes another's place.
            let mut exists = false;
            self.write_then(path, bytes, |temporary| {
                match fs::hard_link(temporary, path) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => exists = true,
                    linked => linked?,
                }
                fs::remove_file(temporary)
            })?;
            if !exists {
                return Ok(Created::New);
            }
        }
        let source = io::Error::other("it is created and deleted by others all the time");
        Err(self.failed(path, source))
    }

    /// Lists objects, or temporary files instead of them.
    fn list(&self, prefix: &str, temporary: bool) -> Result<Vec<Listed>, StoreError> {
        let mut found = Vec::new();
        // Folders still to be read, by the names of their objects' start.
        let mut starts = vec![folder_of(prefix).to_owned()];
        while let Some(start) = starts.pop() {
            let folder = self.root.join(&start);
            let listed = list_into(&folder, &start, prefix, temporary, &mut starts, &mut found);
            listed.map_err(|source| self.failed(&folder, source))?;
        }
        found.sort_unstable_by(|one: &Listed, other| one.name.cmp(&other.name));
        Ok(found)
    }

    fn remove(&self, path: &Path) -> Result<(), StoreError> {
        match fs::remove_file(path) {
            // A folder is no object.
            Err(error) if !is_absent(&error) && error.kind() != io::ErrorKind::IsADirectory => {
                Err(self.failed(path, error))
            }
            _ => Ok(()),
        }
    }

    fn remove_all(&self, prefix: &str) -> Result<(), StoreError> {
        let start = folder_of(prefix);
        let folder = self.root.join(start);
        let failed = |source| self.failed(&folder, source);
        if !start.is_empty() && start == prefix {
            return match fs::remove_dir_all(&folder) {
                Err(error) if !is_absent(&error) => Err(failed(error)),
                _ => Ok(()),
            };
        }
        let entries = match fs::read_dir(&folder) {
            Err(error) if is_absent(&error) => return Ok(()),
            entries => entries.map_err(failed)?,
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let starts = name
                .to_str()
                .is_some_and(|name| name.starts_with(&prefix[start.len()..]));
            if !starts {
                continue;
            }
            let kind = entry.file_type().map_err(failed)?;
            let removed = if kind.is_dir() {
                fs::remove_dir_all(entry.path())
            } else {
                fs::remove_file(entry.path())
            };
            match removed {
                Err(error) if !is_absent(&error) => return Err(failed(error)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Makes a folder below the root, never the root itself: a store that is removed while somebody
    /// writes stays removed.
    fn make(&self, folder: &Path) -> io::Result<()> {
        let Ok(below) = folder.strip_prefix(&self.root) else {
            return Ok(());
        };
        let mut at = self.root.clone();
        for part in below {
            at.push(part);
            match fs::create_dir(&at) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn failed(&self, path: &Path, source: io::Error) -> StoreError {
        if is_full(&source) {
            StoreError::Full {
                place: self.root.display().to_string(),
                source,
            }
        } else {
            StoreError::Io {
                place: path.display().to_string(),
                source,
            }
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Names a temporary file that no other process or thread on any host names.
fn temporary_in(folder: &Path) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    folder.join(format!(
        "{TEMPORARY}{:x}-{:016x}-{next:x}",
        std::process::id(),
        process_tag()
    ))
}

/// Tells this process from those of other hosts that share the folder and reuse its id.
fn process_tag() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    use std::sync::OnceLock;
    static TAG: OnceLock<u64> = OnceLock::new();
    *TAG.get_or_init(|| RandomState::new().hash_one(std::process::id()))
}

/// Lists one folder: objects whose names start with `prefix` into `found`, folders that may hold some
/// into `starts`.
fn list_into(
    folder: &Path,
    start: &str,
    prefix: &str,
    temporary: bool,
    starts: &mut Vec<String>,
    found: &mut Vec<Listed>,
) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if is_absent(&error) => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let file = entry.file_name();
        // No name can mean what is no UTF-8.
        let Some(file) = file.to_str() else {
            continue;
        };
        let name = format!("{start}{file}");
        if !name.starts_with(prefix) {
            continue;
        }
        let kind = entry.file_type()?;
        if kind.is_dir() {
            starts.push(format!("{name}/"));
        } else if kind.is_file() && file.starts_with(TEMPORARY) == temporary {
            match entry.metadata() {
                Err(error) if is_absent(&error) => {}
                metadata => {
                    let metadata = metadata?;
                    found.push(Listed {
                        name,
                        len: metadata.len(),
                        modified: metadata.modified().ok(),
                    });
                }
            }
        }
    }
    Ok(())
}

/// The start of a name up to its last `/`.
fn folder_of(prefix: &str) -> &str {
    &prefix[..prefix.rfind('/').map_or(0, |at| at + 1)]
}

/// Whether there is nothing by a name: not its file, not its folder, or a file where a folder is
/// meant.
fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}
