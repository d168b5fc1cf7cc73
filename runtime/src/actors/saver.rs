//! Keeps a run's manifests in its store: writes one, deletes what it supersedes, finds the newest that is
//! sound. Never decides when.

use std::sync::Arc;

use peerwren_transports::block::{BlockKey, Digest};
use peerwren_transports::store::{BlockStore, StoreError};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::durable::{DurableBlocks, DurableError};
use crate::manifest::{Manifest, ManifestKey};
use crate::plan::Plan;

/// What names of manifests start with, among a run's objects.
const MANIFESTS: &str = "manifest/";
/// Blocks that are read or deleted at a time: 8 of 8 MiB = 64 MiB.
const BLOCKS_AT_A_TIME: usize = 8;

/// The manifests of one run. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Saver {
    store: BlockStore,
    durable: DurableBlocks,
    plan: Arc<Plan>,
    key: ManifestKey,
    /// Held while something is written or deleted.
    busy: Arc<Mutex<()>>,
}

impl Saver {
    pub(crate) fn new(
        store: BlockStore,
        durable: DurableBlocks,
        plan: Arc<Plan>,
        key: ManifestKey,
    ) -> Self {
        let busy = Arc::default();
        Self {
            store,
            durable,
            plan,
            key,
            busy,
        }
    }

    /// Writes a manifest, whole or not at all.
    pub(crate) async fn write(&self, manifest: &Manifest) -> Result<(), String> {
        let _busy = self.busy.lock().await;
        let objects = self.store.objects(manifest.run);
        let bytes = manifest.encode(&self.key);
        let put = objects.put(&name(manifest.number), bytes).await;
        put.map_err(|error| error.to_string())
    }

    /// Deletes the manifests with smaller numbers, then blocks that only they needed. What cannot be
    /// deleted stays until the run ends.
    pub(crate) async fn sweep(&self, before: u32, blocks: Vec<BlockKey>) {
        let _busy = self.busy.lock().await;
        let swept = async {
            let objects = self.store.objects(self.plan.run());
            for (number, name) in self.list().await? {
                if number < before {
                    objects.delete(&name).await?;
                }
            }
            self.delete(blocks).await
        };
        if let Err(error) = swept.await {
            tracing::warn!(%error, "what an older checkpoint left stays in the store until the run ends");
        }
    }

    /// Waits until nothing is being written or deleted.
    pub(crate) async fn finish(&self) {
        drop(self.busy.lock().await);
    }

    /// Whether the run has any manifest, sound or not.
    pub(crate) async fn has_any(&self) -> Result<bool, StoreError> {
        self.list().await.map(|list| !list.is_empty())
    }

    /// The newest manifest that was written under the run's key, is one of its plan, and whose blocks are
    /// all in the store as they were. Deletes those that are newer and are not.
    pub(crate) async fn newest(&self) -> Result<Option<Manifest>, DurableError> {
        let objects = self.store.objects(self.plan.run());
        for (number, name) in self.list().await?.into_iter().rev() {
            let bytes = match objects.get(&name, Manifest::bytes_max(&self.plan)).await {
                Ok(Some(bytes)) => bytes,
                Ok(None) => continue,
                Err(StoreError::TooLong { .. }) => Vec::new(),
                Err(error) => return Err(error.into()),
            };
            let refused = match self.read(number, &bytes) {
                Ok(manifest) => match self.first_wrong(&manifest).await? {
                    None => return Ok(Some(manifest)),
                    Some(key) => format!("block {key} is not in the store as it was"),
                },
                Err(reason) => reason,
            };
            tracing::warn!(number, refused, "a checkpoint is not used");
            objects.delete(&name).await?;
        }
        Ok(None)
    }

    fn read(&self, number: u32, bytes: &[u8]) -> Result<Manifest, String> {
        let manifest = Manifest::decode(bytes, &self.key).map_err(|error| error.to_string())?;
        if manifest.number != number {
            return Err(format!(
                "it is manifest {} by another name",
                manifest.number
            ));
        }
        manifest
            .check(&self.plan)
            .map_err(|error| error.to_string())?;
        Ok(manifest)
    }

    /// A block of a manifest that the store does not have with the bytes it had.
    async fn first_wrong(&self, manifest: &Manifest) -> Result<Option<BlockKey>, DurableError> {
        let mut reading = JoinSet::new();
        let mut blocks = manifest.blocks();
        loop {
            while reading.len() < BLOCKS_AT_A_TIME
                && let Some((key, digest)) = blocks.next()
            {
                let durable = self.durable.clone();
                reading.spawn(async move { (key, is_whole(&durable, &key, digest).await) });
            }
            match reading.join_next().await {
                None => return Ok(None),
                Some(Ok((_, Ok(true)))) => {}
                Some(Ok((key, Ok(false)))) => return Ok(Some(key)),
                Some(Ok((_, Err(error)))) => return Err(error),
                Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
            }
        }
    }

    async fn delete(&self, blocks: Vec<BlockKey>) -> Result<(), StoreError> {
        let mut deleting = JoinSet::new();
        let mut blocks = blocks.into_iter();
        loop {
            while deleting.len() < BLOCKS_AT_A_TIME
                && let Some(key) = blocks.next()
            {
                let store = self.store.clone();
                deleting.spawn(async move { store.delete(&key).await });
            }
            match deleting.join_next().await {
                None => return Ok(()),
                Some(Ok(deleted)) => deleted?,
                Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
            }
        }
    }

    /// The run's manifests, by number.
    async fn list(&self) -> Result<Vec<(u32, String)>, StoreError> {
        let listed = self.store.objects(self.plan.run()).list(MANIFESTS).await?;
        let numbered = |(text, _): (String, u64)| {
            let number = text.strip_prefix(MANIFESTS)?.parse().ok()?;
            // Only the one spelling names a manifest.
            (name(number) == text).then_some((number, text))
        };
        Ok(listed.into_iter().filter_map(numbered).collect())
    }
}

fn name(number: u32) -> String {
    format!("{MANIFESTS}{number:010}")
}

/// Whether a durable block is there and hashes to `digest`.
async fn is_whole(
    durable: &DurableBlocks,
    key: &BlockKey,
    digest: Digest,
) -> Result<bool, DurableError> {
    match durable.get(key).await {
        Ok(Some((block, _))) => {
            // Megabytes are hashed where nobody waits for messages.
            let hashed = tokio::task::spawn_blocking(move || block.digest() == digest).await;
            Ok(hashed.unwrap_or(false))
        }
        Ok(None) => Ok(false),
        Err(error) if error.is_damage() => Ok(false),
        Err(error) => Err(error),
    }
}
