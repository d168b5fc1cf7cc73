//! Where bytes rest beyond their worker: one interface, one conformance suite, several backends.
//!
//! [`Objects`] are bytes by name; [`BlockStore`] keeps a run's blocks in them. An object is written
//! whole or not at all. A block has a name that never gets another block; putting it twice is no
//! error. A store never knows which blocks are needed, and never caches.
//!
//! ```text
//! PLACE/<run, 16 hex digits>/<2 hash characters>/<matrix>.<i.j.k>     a block
//! PLACE/<run, 16 hex digits>/<name>                                  what else a run keeps
//! ```

mod folder;
mod memory;
mod objects;
mod place;
mod runs;
mod s3;

use std::io;
use std::path::PathBuf;

pub use objects::{Created, Objects};
pub use place::{Place, PlaceError};
pub use runs::RunFound;
pub use s3::{S3Keys, S3Limits, S3Settings};

use crate::block::{Block, BlockKey, BlockLen};

/// A store of blocks. Cheap to clone: clones are the same store.
#[derive(Clone, Debug)]
pub struct BlockStore(Objects);

impl BlockStore {
    /// Opens a place as a store, makes its folder if need be, and checks that it can be written.
    pub async fn open(place: &Place) -> Result<Self, StoreError> {
        Objects::open(place).await.map(Self)
    }

    /// Opens a store that another process has opened. Never makes its folder: a store that was
    /// removed since is not to come back.
    pub async fn join(place: &Place) -> Result<Self, StoreError> {
        Objects::join(place).await.map(Self)
    }

    /// Keeps blocks among these objects.
    pub fn on(objects: Objects) -> Self {
        Self(objects)
    }

    /// Makes a store in this process's memory that holds up to `bytes_max` bytes.
    pub fn memory(bytes_max: usize) -> Self {
        Self(Objects::memory_of(bytes_max))
    }

    /// Returns the run's own objects, its blocks among them.
    pub fn objects(&self, run: u64) -> Objects {
        self.0.at(&format!("{run:016x}"))
    }

    /// Reads a block of the expected length; `None` where there is none by that name. A block of
    /// another length is an error, found before memory is taken for it; its digest is the caller's to
    /// check.
    pub async fn get(
        &self,
        key: &BlockKey,
        expected: impl Into<BlockLen>,
    ) -> Result<Option<Block>, StoreError> {
        let objects = self.objects(key.run);
        objects.get_block(&block_name(key), expected.into()).await
    }

    /// Writes a block. When this returns, every reader finds it; until then, none or the whole.
    pub async fn put(&self, key: &BlockKey, block: &Block) -> Result<(), StoreError> {
        let objects = self.objects(key.run);
        objects.put_block(&block_name(key), block).await
    }

    /// Deletes a block; one that is not there is no error.
    pub async fn delete(&self, key: &BlockKey) -> Result<(), StoreError> {
        self.objects(key.run).delete(&block_name(key)).await
    }

    /// Lists the run's blocks, in the order of their keys.
    pub async fn list(&self, run: u64) -> Result<Vec<BlockKey>, StoreError> {
        let listed = self.objects(run).list("").await?;
        // Whatever else lies there is no block.
        let keys = listed.iter().filter_map(|(name, _)| block_key(run, name));
        let mut keys: Vec<_> = keys.collect();
        keys.sort_unstable();
        Ok(keys)
    }

    /// Deletes all that the run left, half-written blocks too. A run that left nothing is no
    /// error.
    pub async fn delete_run(&self, run: u64) -> Result<(), StoreError> {
        self.objects(run).delete_all("").await
    }
}

/// The name of a block among its run's objects. The hash spreads them over 256 folders, or over an
/// object store's partitions.
fn block_name(key: &BlockKey) -> String {
    let name = key.to_string();
    let hash = blake3::hash(name.as_bytes()).as_bytes()[0];
    format!("{hash:02x}/{}", name.replace('/', "."))
}

/// The block that an object is, if it is one.
fn block_key(run: u64, name: &str) -> Option<BlockKey> {
    let (_, file) = name.split_once('/')?;
    let (matrix, indices) = file.split_once('.')?;
    let key = BlockKey::parse(run, &format!("{matrix}/{indices}")).ok()?;
    (block_name(&key) == name).then_some(key)
}

/// Why a store could not do it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No room left: free some, or choose another store.
    #[error("no room left in the store {place}: {source}")]
    Full {
        /// The store's folder, or its name.
        place: String,
        /// What the system said.
        source: io::Error,
    },
    /// The folder cannot be used as a store: choose another, or mend its permissions.
    #[error("cannot use {folder} as a store: {source}")]
    Unusable {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A service cannot even be asked: set what is missing.
    #[error("{place}: {said}")]
    Unconfigured {
        /// Where the objects lie.
        place: String,
        /// What is missing, and where it may be set.
        said: String,
    },
    /// A service refuses, and would each time: mend what the advice names.
    #[error("{place}: {said}; {advice}")]
    Refused {
        /// Where the object is.
        place: String,
        /// What the service said.
        said: String,
        /// What to do about it.
        advice: String,
    },
    /// A service cannot do it now, however often it was asked.
    #[error("{place}: {said} (after {tries} tries); {advice}")]
    Unavailable {
        /// Where the object is.
        place: String,
        /// What the service said at last.
        said: String,
        /// How often it was asked.
        tries: u32,
        /// What to do about it.
        advice: String,
    },
    /// What is stored is not the block that was put: write it again.
    #[error("{place} holds {got} bytes where the block has {expected}")]
    Length {
        /// Where the block is.
        place: String,
        /// The block's length in bytes.
        expected: BlockLen,
        /// The stored length in bytes.
        got: u64,
    },
    /// An object is longer than its reader takes.
    #[error("{place} holds {got} bytes where at most {bytes_max} are expected")]
    TooLong {
        /// Where the object is.
        place: String,
        /// Most bytes that the reader takes.
        bytes_max: usize,
        /// The stored length in bytes.
        got: u64,
    },
    /// A text cannot name an object.
    #[error(
        "{name:?} does not name an object; expected parts with `/` between them, none empty, `.` or \
         `..`, 511 bytes in all"
    )]
    Name {
        /// The text.
        name: String,
    },
    /// Reading or writing failed.
    #[error("{place}: {source}")]
    Io {
        /// Where.
        place: String,
        /// What the system said.
        source: io::Error,
    },
}
