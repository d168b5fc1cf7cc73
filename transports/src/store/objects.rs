//! Objects by plain name: what lies beneath blocks, Zarr chunks, manifests and mailboxes. Writes an
//! object whole or not at all. Never knows what it holds, and never caches.

use std::time::SystemTime;

use bytes::Bytes;

use super::folder::Folder;
use super::memory::Memory;
use super::place::is_name;
use super::s3::{S3, S3Settings};
use super::{Place, StoreError};
use crate::block::{Block, BlockLen};

/// Most bytes that [`Objects::memory`] holds: 1 GiB.
const MEMORY_BYTES_MAX: usize = 1 << 30;

/// Objects of one place, by name. A name is parts with `/` between them. Cheap to clone: clones are
/// the same objects.
///
/// ```
/// use peerwren_transports::store::{Created, Objects};
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let mailbox = Objects::memory().at("run/mailbox");
/// mailbox.put("3/1", b"hello".to_vec()).await?;
/// assert_eq!(mailbox.get("3/1", 100).await?, Some(b"hello".to_vec()));
/// assert_eq!(mailbox.create("3/1", b"other".to_vec()).await?, Created::Clash);
/// assert_eq!(mailbox.list("3/").await?, [("3/1".to_owned(), 5)]);
/// # Ok::<(), peerwren_transports::store::StoreError>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Objects {
    backend: Backend,
    /// What every name starts with: nothing, or parts with a `/` after each.
    prefix: String,
}

#[derive(Clone, Debug)]
enum Backend {
    Memory(Memory),
    Folder(Folder),
    S3(S3),
}

/// An object as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) name: String,
    /// Length in bytes.
    pub(super) len: u64,
    /// When it was written, where the place tells.
    pub(super) modified: Option<SystemTime>,
}

/// What came of [`Objects::create`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// There was none by that name; now there is.
    New,
    /// There was one with the same bytes.
    Same,
    /// There is one with other bytes, which stays.
    Clash,
}

impl Objects {
    /// Opens a place, makes its folder if need be, and checks that it can be written.
    pub async fn open(place: &Place) -> Result<Self, StoreError> {
        Self::open_with(place, &S3Settings::default()).await
    }

    /// As [`open`](Self::open); a bucket with settings of the caller's.
    pub async fn open_with(place: &Place, settings: &S3Settings) -> Result<Self, StoreError> {
        let backend = match place {
            Place::Folder(root) => Backend::Folder(Folder::open(root.clone()).await?),
            Place::S3 { bucket, prefix } => Backend::S3(S3::open(bucket, prefix, settings).await?),
        };
        Ok(Self::of(backend))
    }

    /// Opens a place that is there, for reading at least. Never makes its folder: a place that was
    /// removed since is not to come back.
    pub async fn join(place: &Place) -> Result<Self, StoreError> {
        Self::join_with(place, &S3Settings::default()).await
    }

    /// As [`join`](Self::join); a bucket with settings of the caller's.
    pub async fn join_with(place: &Place, settings: &S3Settings) -> Result<Self, StoreError> {
        let backend = match place {
            Place::Folder(root) => Backend::Folder(Folder::join(root.clone()).await?),
            Place::S3 { bucket, prefix } => Backend::S3(S3::join(bucket, prefix, settings).await?),
        };
        Ok(Self::of(backend))
    }

    /// Makes a place in this process's memory that holds up to 1 GiB.
    pub fn memory() -> Self {
        Self::memory_of(MEMORY_BYTES_MAX)
    }

    pub(super) fn memory_of(bytes_max: usize) -> Self {
        Self::of(Backend::Memory(Memory::new(bytes_max)))
    }

    fn of(backend: Backend) -> Self {
        let prefix = String::new();
        Self { backend, prefix }
    }

    /// Returns the objects below a name, by what follows it.
    #[must_use]
    pub fn at(&self, below: &str) -> Self {
        Self {
            backend: self.backend.clone(),
            prefix: format!("{}{below}/", self.prefix),
        }
    }

    /// Reads an object; `None` where there is none by that name. One of more than `bytes_max` bytes
    /// is an error, found before memory is taken for it.
    pub async fn get(&self, name: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, StoreError> {
        let name = self.full(name)?;
        match &self.backend {
            Backend::Memory(memory) => match memory.get(&name) {
                Some(block) if block.len() > bytes_max => Err(StoreError::TooLong {
                    place: format!("{name} in memory"),
                    bytes_max,
                    got: block.len() as u64,
                }),
                found => Ok(found.map(|block| block.as_bytes().to_vec())),
            },
            Backend::Folder(folder) => folder.get(&name, bytes_max).await,
            Backend::S3(s3) => s3.get(&name, bytes_max).await,
        }
    }

    /// Writes an object, in place of the one by that name. When this returns, every reader finds
    /// it; until then, the old one or none.
    pub async fn put(&self, name: &str, bytes: impl Into<Bytes>) -> Result<(), StoreError> {
        let (name, bytes) = (self.full(name)?, bytes.into());
        match &self.backend {
            Backend::Memory(memory) => memory.put(name, Block::from_bytes(&bytes)),
            Backend::Folder(folder) => folder.put(&name, bytes).await,
            Backend::S3(s3) => s3.put(&name, bytes).await,
        }
    }

    /// Writes an object if there is none by that name; of several who do so at once, one succeeds.
    pub async fn create(&self, name: &str, bytes: impl Into<Bytes>) -> Result<Created, StoreError> {
        let (name, bytes) = (self.full(name)?, bytes.into());
        match &self.backend {
            Backend::Memory(memory) => memory.create(name, Block::from_bytes(&bytes)),
            Backend::Folder(folder) => folder.create(&name, bytes).await,
            Backend::S3(s3) => s3.create(&name, bytes).await,
        }
    }

    /// Lists the objects whose names start with `prefix`, which may end within a part, with their
    /// lengths in bytes, sorted by name.
    pub async fn list(&self, prefix: &str) -> Result<Vec<(String, u64)>, StoreError> {
        let listed = self.list_dated(prefix).await?.into_iter();
        Ok(listed.map(|listed| (listed.name, listed.len)).collect())
    }

    pub(super) async fn list_dated(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        let start = format!("{}{prefix}", self.prefix);
        let mut found = match &self.backend {
            Backend::Memory(memory) => memory.list(&start),
            Backend::Folder(folder) => folder.list(&start).await?,
            Backend::S3(s3) => s3.list(&start).await?,
        };
        for listed in &mut found {
            listed.name.drain(..self.prefix.len());
        }
        Ok(found)
    }

    /// Lists writes that were begun and neither completed nor given up, by name, as far as the
    /// place knows them.
    pub(super) async fn unfinished(&self) -> Result<Vec<String>, StoreError> {
        let mut names: Vec<_> = match &self.backend {
            Backend::Memory(_) => return Ok(Vec::new()),
            Backend::Folder(folder) => {
                let listed = folder.unfinished(&self.prefix).await?.into_iter();
                listed.map(|listed| listed.name).collect()
            }
            Backend::S3(s3) => s3.unfinished(&self.prefix).await?,
        };
        for name in &mut names {
            name.drain(..self.prefix.len());
        }
        Ok(names)
    }

    /// Removes what writers that were killed have left half-written in a folder; whoever still writes there
    /// fails. Elsewhere nobody sees such a rest, and it goes with [`delete_all`](Self::delete_all).
    pub async fn remove_unfinished(&self) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Memory(_) | Backend::S3(_) => Ok(()),
            Backend::Folder(folder) => folder.remove_unfinished(&self.prefix).await,
        }
    }

    /// Deletes an object; one that is not there is no error.
    pub async fn delete(&self, name: &str) -> Result<(), StoreError> {
        let name = self.full(name)?;
        match &self.backend {
            Backend::Memory(memory) => {
                memory.delete(&name);
                Ok(())
            }
            Backend::Folder(folder) => folder.delete(&name).await,
            Backend::S3(s3) => s3.delete(&name).await,
        }
    }

    /// Deletes all objects whose names start with `prefix`, and what writers that were killed left
    /// there. That there is none is no error.
    pub async fn delete_all(&self, prefix: &str) -> Result<(), StoreError> {
        let start = format!("{}{prefix}", self.prefix);
        match &self.backend {
            Backend::Memory(memory) => {
                memory.delete_all(&start);
                Ok(())
            }
            Backend::Folder(folder) => folder.delete_all(&start).await,
            Backend::S3(s3) => s3.delete_all(&start).await,
        }
    }

    /// Reads an object of the expected length into a block.
    pub(super) async fn get_block(
        &self,
        name: &str,
        expected: BlockLen,
    ) -> Result<Option<Block>, StoreError> {
        let name = self.full(name)?;
        match &self.backend {
            Backend::Memory(memory) => match memory.get(&name) {
                Some(block) if !expected.fits(block.len() as u64) => Err(StoreError::Length {
                    place: format!("{name} in memory"),
                    expected,
                    got: block.len() as u64,
                }),
                found => Ok(found),
            },
            Backend::Folder(folder) => folder.get_block(&name, expected).await,
            Backend::S3(s3) => s3.get_block(&name, expected).await,
        }
    }

    /// Writes a block without copying it where that can be.
    pub(super) async fn put_block(&self, name: &str, block: &Block) -> Result<(), StoreError> {
        let name = self.full(name)?;
        match &self.backend {
            Backend::Memory(memory) => memory.put(name, block.clone()),
            Backend::Folder(folder) => folder.put(&name, block.clone()).await,
            Backend::S3(s3) => s3.put(&name, Bytes::from_owner(block.clone())).await,
        }
    }

    fn full(&self, name: &str) -> Result<String, StoreError> {
        let full = format!("{}{name}", self.prefix);
        if is_name(&full) && full.len() <= NAME_BYTES_MAX {
            Ok(full)
        } else {
            Err(StoreError::Name { name: full })
        }
    }
}

/// Longest name: with a place's prefix of at most 512 it stays below the 1,024 bytes of a key.
const NAME_BYTES_MAX: usize = 511;
