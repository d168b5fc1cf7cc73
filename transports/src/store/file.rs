//! A store in a folder: one file a block. Never overwrites in place, never follows a name that it
//! did not make.
//!
//! ```text
//! ROOT/<run, 16 hex digits>/<2 hash characters>/<matrix>.<i.j.k>
//! ```
//!
//! A block is written to a temporary file beside its place and renamed, so that readers, in other
//! processes too, see none or the whole. A crash of the whole machine may still lose or cut what
//! was written last: lengths and digests tell.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Semaphore;

use super::StoreError;
use crate::block::{Block, BlockBuf, BlockKey};

/// Files that one process reads or writes at one time, each on a thread of its own: memory that is
/// on its way to a caller is at most 8 blocks. 8 x 8 MiB = 64 MiB.
const OPERATIONS_MAX: usize = 8;

/// What names of temporary files start with; no block's does.
const TEMPORARY: &str = ".new-";

/// Blocks as files in a folder. Cheap to clone: clones are the same store.
#[derive(Clone, Debug)]
pub struct FileStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    operations: Arc<Semaphore>,
}

impl FileStore {
    /// Opens the folder as a store, making it if need be, and checks that it can be written.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let root = root.into();
        // Blocks are the user's data: a folder that is made here is the user's alone.
        let made = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&root);
        Self::probed(root, made)
    }

    /// Opens a folder that another process has opened as a store. Never makes it: a store that was
    /// removed since is not to come back.
    pub fn join(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        Self::probed(root.into(), Ok(()))
    }

    fn probed(root: PathBuf, made: io::Result<()>) -> Result<Self, StoreError> {
        let probe = || {
            made?;
            let path = temporary_in(&root);
            let written = File::create_new(&path).and_then(|mut file| file.write_all(b"probe"));
            // Removed also where writing failed.
            let removed = fs::remove_file(&path);
            written.and(removed)
        };
        match probe() {
            Ok(()) => {}
            Err(source) if is_full(&source) => {
                return Err(StoreError::Full {
                    place: root.display().to_string(),
                    source,
                });
            }
            Err(source) => {
                return Err(StoreError::Unusable {
                    folder: root,
                    source,
                });
            }
        }
        let operations = Arc::new(Semaphore::new(OPERATIONS_MAX));
        Ok(Self(Arc::new(Inner { root, operations })))
    }

    /// Returns the folder.
    pub fn root(&self) -> &Path {
        &self.0.root
    }

    pub(super) async fn get(
        &self,
        key: &BlockKey,
        expected: usize,
    ) -> Result<Option<Block>, StoreError> {
        let path = self.path(key);
        self.blocking(move |inner| inner.read(&path, expected))
            .await
    }

    pub(super) async fn put(&self, key: &BlockKey, block: &Block) -> Result<(), StoreError> {
        let path = self.path(key);
        let block = block.clone();
        self.blocking(move |inner| inner.write(&path, &block)).await
    }

    pub(super) async fn list(&self, run: u64) -> Result<Vec<BlockKey>, StoreError> {
        let folder = self.run_folder(run);
        self.blocking(move |inner| {
            let mut keys = Vec::new();
            let listed = list_into(&folder, run, &mut keys);
            listed.map_err(|source| inner.failed(&folder, source))?;
            keys.sort_unstable();
            Ok(keys)
        })
        .await
    }

    pub(super) async fn delete_run(&self, run: u64) -> Result<(), StoreError> {
        let folder = self.run_folder(run);
        self.blocking(move |inner| match fs::remove_dir_all(&folder) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(inner.failed(&folder, source))
            }
            _ => Ok(()),
        })
        .await
    }

    fn run_folder(&self, run: u64) -> PathBuf {
        self.0.root.join(format!("{run:016x}"))
    }

    fn path(&self, key: &BlockKey) -> PathBuf {
        let name = key.to_string();
        // Spreads a run's blocks over 256 folders (and an object store's over its partitions).
        let hash = blake3::hash(name.as_bytes()).as_bytes()[0];
        let mut path = self.run_folder(key.run);
        path.push(format!("{hash:02x}"));
        path.push(name.replace('/', "."));
        path
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
    fn read(&self, path: &Path, expected: usize) -> Result<Option<Block>, StoreError> {
        let failed = |source| self.failed(path, source);
        let mut file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(failed)?,
        };
        // The length is checked before memory is taken for it.
        let got = file.metadata().map_err(failed)?.len();
        if got != expected as u64 {
            let place = path.display().to_string();
            return Err(StoreError::Length {
                place,
                expected,
                got,
            });
        }
        let mut buf = BlockBuf::with_len(expected);
        file.read_exact(buf.as_bytes_mut()).map_err(failed)?;
        Ok(Some(buf.freeze()))
    }

    fn write(&self, path: &Path, block: &Block) -> Result<(), StoreError> {
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
            file.write_all(block.as_bytes())?;
            drop(file);
            fs::rename(&temporary, path)
        };
        write().map_err(|source| {
            // What cannot be removed goes with the run.
            let _ = fs::remove_file(&temporary);
            self.failed(path, source)
        })
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

fn list_into(folder: &Path, run: u64, keys: &mut Vec<BlockKey>) -> io::Result<()> {
    let hashes = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        hashes => hashes?,
    };
    for hash in hashes {
        let hash = hash?;
        if !hash.file_type()?.is_dir() {
            continue;
        }
        for file in fs::read_dir(hash.path())? {
            let name = file?.file_name();
            // Whatever else lies there, half-written blocks among it, is no block.
            let key = name.to_str().and_then(|name| {
                let (matrix, indices) = name.split_once('.')?;
                BlockKey::parse(run, &format!("{matrix}/{indices}")).ok()
            });
            keys.extend(key);
        }
    }
    Ok(())
}
