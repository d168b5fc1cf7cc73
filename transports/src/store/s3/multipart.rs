//! Writes large objects in parts. A write that fails or is given up is aborted, so that its parts
//! take no room (and cost nothing).

use std::ops::Range;
use std::sync::Arc;

use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use futures_util::future::FutureExt;
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::Inner;
use super::error::{Failed, Verdict};
use super::requests::Kind;
use crate::store::StoreError;

/// Writes an object in parts, several at one time.
pub(super) async fn put(store: &Arc<Inner>, key: &str, bytes: &Bytes) -> Result<(), Failed> {
    let mut upload = Upload::begin(store, key).await?;
    let written = upload.write(bytes).await;
    if written.is_err() {
        // What failed is told; what cannot be aborted is aborted with the run.
        if let Err(error) = abort(store, key, &upload.id).await {
            tracing::warn!(key, ?error, "parts of an object are left in the store");
        }
    }
    upload.open = false;
    written
}

/// Aborts all writes whose keys start so.
pub(super) async fn abort_all(store: &Inner, prefix: &str) -> Result<(), StoreError> {
    for (key, id) in under_way(store, prefix).await? {
        let aborted = abort(store, &key, &id).await;
        aborted.map_err(|failed| store.told(failed, &key))?;
    }
    Ok(())
}

/// Lists all writes whose keys start so, key and id each.
pub(super) async fn under_way(
    store: &Inner,
    prefix: &str,
) -> Result<Vec<(String, String)>, StoreError> {
    let mut found = Vec::new();
    let mut markers = (None, None);
    loop {
        let (uploads, next) = match list_page(store, prefix, markers).await {
            // A service that cannot list them has none, or its own way to end them.
            Err(failed) if failed.is(&["NotImplemented"]) || failed.status == Some(501) => {
                return Ok(found);
            }
            listed => listed.map_err(|failed| store.told(failed, prefix))?,
        };
        found.extend(uploads);
        match next {
            Some(next) => markers = next,
            None => return Ok(found),
        }
    }
}

/// An upload that is not complete yet.
struct Upload {
    store: Arc<Inner>,
    key: String,
    id: String,
    open: bool,
}

impl Upload {
    async fn begin(store: &Arc<Inner>, key: &str) -> Result<Self, Failed> {
        let mut tries = store.requests.tries(Kind::Write);
        loop {
            tries.begin().await;
            let request = store.client.create_multipart_upload();
            let request = request
                .bucket(&store.bucket)
                .key(key)
                .checksum_algorithm(ChecksumAlgorithm::Crc32);
            let failed = match request.send().await {
                Ok(answer) => match answer.upload_id {
                    Some(id) => {
                        return Ok(tries.won(Self {
                            store: Arc::clone(store),
                            key: key.to_owned(),
                            id,
                            open: true,
                        }));
                    }
                    None => Failed::of(Verdict::Never, "an upload that has no id"),
                },
                Err(error) => error.into(),
            };
            tries.lost(failed).await?;
        }
    }

    async fn write(&self, bytes: &Bytes) -> Result<(), Failed> {
        let limits = &self.store.limits;
        let part = limits.part_bytes(bytes.len());
        let mut parts = Vec::new();
        for (number, from) in (1..).zip((0..bytes.len()).step_by(part)) {
            let range = from..bytes.len().min(from + part);
            parts.push(self.write_part(number, range, bytes).boxed());
        }
        let parts = stream::iter(parts).buffered(limits.parts_at_once.max(1));
        let parts: Vec<CompletedPart> = parts.try_collect().await?;
        self.complete(parts).await
    }

    async fn write_part(
        &self,
        number: i32,
        range: Range<usize>,
        bytes: &Bytes,
    ) -> Result<CompletedPart, Failed> {
        let store = &self.store;
        let mut tries = store.requests.tries(Kind::Write);
        loop {
            tries.begin().await;
            let request = store.client.upload_part().bucket(&store.bucket);
            let request = request
                .key(&self.key)
                .upload_id(&self.id)
                .part_number(number)
                .checksum_algorithm(ChecksumAlgorithm::Crc32)
                .body(bytes.slice(range.clone()).into())
                .customize();
            let request = if store.encrypted {
                request.disable_payload_signing()
            } else {
                request
            };
            match request.send().await {
                Ok(answer) => {
                    let part = CompletedPart::builder().part_number(number);
                    return Ok(tries.won(
                        part.set_e_tag(answer.e_tag)
                            .set_checksum_crc32(answer.checksum_crc32)
                            .build(),
                    ));
                }
                Err(error) => tries.lost(error.into()).await?,
            }
        }
    }

    async fn complete(&self, parts: Vec<CompletedPart>) -> Result<(), Failed> {
        let store = &self.store;
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts));
        let parts = parts.build();
        let mut tries = store.requests.tries(Kind::Write);
        let mut tried = false;
        loop {
            tries.begin().await;
            let request = store.client.complete_multipart_upload();
            let request = request
                .bucket(&store.bucket)
                .key(&self.key)
                .upload_id(&self.id)
                .multipart_upload(parts.clone());
            match request.send().await {
                Ok(_) => return tries.done(),
                Err(error) => {
                    let failed = Failed::from(error);
                    // Only completing or aborting ends an upload: an earlier try did the one, and
                    // its answer was lost.
                    if tried && failed.is(&["NoSuchUpload"]) {
                        return tries.done();
                    }
                    tries.lost(failed).await?;
                    tried = true;
                }
            }
        }
    }
}

impl Drop for Upload {
    /// Aborts an upload whose writer was given up.
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        // Without a runtime nothing can be sent any more; it is aborted with the run.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let store = Arc::clone(&self.store);
            let (key, id) = (std::mem::take(&mut self.key), std::mem::take(&mut self.id));
            runtime.spawn(async move {
                if let Err(error) = abort(&store, &key, &id).await {
                    tracing::warn!(key, ?error, "parts of an object are left in the store");
                }
            });
        }
    }
}

async fn abort(store: &Inner, key: &str, id: &str) -> Result<(), Failed> {
    let mut tries = store.requests.tries(Kind::Write);
    loop {
        tries.begin().await;
        let request = store.client.abort_multipart_upload();
        let request = request.bucket(&store.bucket).key(key).upload_id(id);
        let failed = match request.send().await {
            Ok(_) => return tries.done(),
            Err(error) => Failed::from(error),
        };
        if failed.is(&["NoSuchUpload"]) || failed.is_absent() {
            return tries.done();
        }
        tries.lost(failed).await?;
    }
}

/// Where a page of uploads begins: after this key and this id.
type Markers = (Option<String>, Option<String>);

/// One page of uploads whose keys start so, key and id each, and where the next begins.
async fn list_page(
    store: &Inner,
    prefix: &str,
    (key_marker, id_marker): Markers,
) -> Result<(Vec<(String, String)>, Option<Markers>), Failed> {
    let mut tries = store.requests.tries(Kind::Read);
    let listed = loop {
        tries.begin().await;
        let request = store.client.list_multipart_uploads();
        let request = request
            .bucket(&store.bucket)
            .prefix(prefix)
            .set_key_marker(key_marker.clone())
            .set_upload_id_marker(id_marker.clone());
        match request.send().await {
            Ok(listed) => break tries.won(listed),
            Err(error) => tries.lost(error.into()).await?,
        }
    };
    let next = (listed.is_truncated == Some(true) && listed.next_key_marker.is_some())
        .then_some((listed.next_key_marker, listed.next_upload_id_marker));
    let uploads = listed.uploads.unwrap_or_default().into_iter();
    let uploads = uploads.filter_map(|upload| Some((upload.key?, upload.upload_id?)));
    // Not every service heeds the prefix.
    let uploads = uploads.filter(|(key, _)| key.starts_with(prefix));
    Ok((uploads.collect(), next))
}
