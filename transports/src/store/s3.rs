//! Objects in a bucket of S3 or of a service that speaks its protocol. Never lists what it can name,
//! and never leaves a part behind that it could take away.
//!
//! Large objects are written in parts and read in ranges, several at one time, from and into the
//! caller's memory.

mod connect;
mod error;
mod multipart;
mod pace;
mod read;
mod requests;
mod settings;

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;

use aws_sdk_s3::Client;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use bytes::Bytes;

pub use settings::{S3Keys, S3Limits, S3Settings};

use self::error::{Failed, Verdict};
use self::requests::{Kind, Requests};
use super::objects::Listed;
use super::{Created, StoreError};

/// Objects that one request deletes: the protocol's most.
const DELETE_MAX: usize = 1000;
/// Times that each request of a probe is tried: 0.05 + 0.1 + 0.2 = at most 0.35 s of waiting.
const PROBE_TRIES_MAX: u32 = 4;
/// Times that [`S3::create`] tries anew because the object was deleted by others meanwhile.
const CREATE_TRIES_MAX: usize = 4;

/// Objects in a bucket, below a prefix. Cheap to clone: clones are the same.
#[derive(Clone)]
pub(super) struct S3(Arc<Inner>);

struct Inner {
    client: Client,
    bucket: String,
    /// What every key starts with: nothing, or parts with a `/` after each.
    prefix: String,
    encrypted: bool,
    limits: S3Limits,
    requests: Requests,
}

impl fmt::Debug for S3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "S3(s3://{}/{})", self.0.bucket, self.0.prefix)
    }
}

impl S3 {
    /// Makes a client. The service is asked nothing yet.
    pub(super) async fn join(
        bucket: &str,
        prefix: &str,
        settings: &S3Settings,
    ) -> Result<Self, StoreError> {
        let connected = connect::connect(settings).await;
        let connected = connected.map_err(|said| StoreError::Unconfigured {
            place: format!("s3://{bucket}/{prefix}"),
            said,
        })?;
        let mut prefix = prefix.to_owned();
        if !prefix.is_empty() {
            prefix.push('/');
        }
        Ok(Self(Arc::new(Inner {
            client: connected.client,
            bucket: bucket.to_owned(),
            prefix,
            encrypted: connected.encrypted,
            limits: settings.limits.clone(),
            requests: Requests::new(&settings.limits),
        })))
    }

    /// Makes a client and checks that objects can be written, created once, and deleted.
    pub(super) async fn open(
        bucket: &str,
        prefix: &str,
        settings: &S3Settings,
    ) -> Result<Self, StoreError> {
        let store = Self::join(bucket, prefix, settings).await?;
        store.probe().await?;
        Ok(store)
    }

    async fn probe(&self) -> Result<(), StoreError> {
        // Nothing depends on this store yet: what does not answer is better told soon.
        let tries_max = self.0.limits.tries_max.min(PROBE_TRIES_MAX);
        let limits = S3Limits {
            tries_max,
            ..self.0.limits.clone()
        };
        let store = Self(Arc::new(Inner {
            client: self.0.client.clone(),
            bucket: self.0.bucket.clone(),
            prefix: self.0.prefix.clone(),
            encrypted: self.0.encrypted,
            requests: Requests::new(&limits),
            limits,
        }));
        let tag = RandomState::new().build_hasher().finish();
        let probe = format!(".peerwren-probe-{tag:016x}");
        let bytes = Bytes::from_static(b"probe");
        store.put(&probe, bytes.clone()).await?;
        let key = store.key(&probe);
        // A service that does not know the condition overwrites, or refuses.
        let again = store.0.put_once(&key, &bytes, true).await;
        store.delete(&probe).await?;
        match again {
            Err(failed) if failed.is_clash() => Ok(()),
            Err(failed) => Err(store.0.told(failed, &key)),
            Ok(()) => {
                let said = "the service writes over an object in spite of If-None-Match: *";
                let failed = Failed {
                    status: Some(501),
                    ..Failed::of(Verdict::Never, said)
                };
                Err(store.0.told(failed, &key))
            }
        }
    }

    pub(super) async fn put(&self, name: &str, bytes: Bytes) -> Result<(), StoreError> {
        let key = self.key(name);
        let written = if bytes.len() >= self.0.limits.multipart_from {
            multipart::put(&self.0, &key, &bytes).await
        } else {
            self.0.put_once(&key, &bytes, false).await
        };
        written.map_err(|failed| self.0.told(failed, &key))
    }

    /// Creates an object, in one request whatever its size. After a try whose answer was lost the
    /// answer may be [`Created::Same`] where this call created it.
    pub(super) async fn create(&self, name: &str, bytes: Bytes) -> Result<Created, StoreError> {
        let key = self.key(name);
        for _ in 0..CREATE_TRIES_MAX {
            match self.0.put_once(&key, &bytes, true).await {
                Ok(()) => return Ok(Created::New),
                Err(failed) if failed.is_clash() => {}
                Err(failed) => return Err(self.0.told(failed, &key)),
            }
            match self.get(name, bytes.len()).await {
                Ok(Some(there)) if there == bytes => return Ok(Created::Same),
                Ok(Some(_)) | Err(StoreError::TooLong { .. }) => return Ok(Created::Clash),
                Ok(None) => {}
                Err(error) => return Err(error),
            }
        }
        let said = "it is created and deleted by others all the time";
        Err(self.0.told(Failed::of(Verdict::Never, said), &key))
    }

    pub(super) async fn list(&self, start: &str) -> Result<Vec<Listed>, StoreError> {
        let prefix = self.key(start);
        let mut found = Vec::new();
        let mut page = None;
        loop {
            let (listed, next) = self.0.list_page(&prefix, page).await?;
            let own = self.0.prefix.len();
            found.extend(listed.into_iter().map(|mut listed| {
                listed.name.drain(..own);
                listed
            }));
            page = next;
            if page.is_none() {
                // By name already with S3, but not with every service.
                found.sort_unstable_by(|one: &Listed, other| one.name.cmp(&other.name));
                return Ok(found);
            }
        }
    }

    /// Lists the names of writes in parts that are under way, or were left.
    pub(super) async fn unfinished(&self, start: &str) -> Result<Vec<String>, StoreError> {
        let uploads = multipart::under_way(&self.0, &self.key(start)).await?;
        let own = self.0.prefix.len();
        Ok(uploads
            .into_iter()
            .map(|(mut key, _)| key.split_off(own))
            .collect())
    }

    pub(super) async fn delete(&self, name: &str) -> Result<(), StoreError> {
        let key = self.key(name);
        let mut tries = self.0.requests.tries(Kind::Write);
        loop {
            tries.begin().await;
            let request = self
                .0
                .client
                .delete_object()
                .bucket(&self.0.bucket)
                .key(&key);
            let failed = match request.send().await {
                Ok(_) => return tries.done(),
                Err(error) => Failed::from(error),
            };
            if failed.is_absent() {
                return tries.done();
            }
            let lost = tries.lost(failed).await;
            lost.map_err(|failed| self.0.told(failed, &key))?;
        }
    }

    /// Deletes all objects whose names start so, and aborts the writes that were left there.
    pub(super) async fn delete_all(&self, start: &str) -> Result<(), StoreError> {
        let prefix = self.key(start);
        let mut page = None;
        loop {
            let (listed, next) = self.0.list_page(&prefix, page).await?;
            let keys: Vec<_> = listed.into_iter().map(|listed| listed.name).collect();
            for batch in keys.chunks(DELETE_MAX) {
                self.0.delete_batch(batch).await?;
            }
            page = next;
            if page.is_none() {
                return multipart::abort_all(&self.0, &prefix).await;
            }
        }
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.0.prefix)
    }
}

impl Inner {
    fn told(&self, failed: Failed, key: &str) -> StoreError {
        failed.told(&self.bucket, key)
    }

    /// Writes an object in one request; with `create` only where there is none.
    async fn put_once(&self, key: &str, bytes: &Bytes, create: bool) -> Result<(), Failed> {
        let mut tries = self.requests.tries(Kind::Write);
        loop {
            tries.begin().await;
            let request = self.client.put_object().bucket(&self.bucket).key(key);
            let request = request
                .body(bytes.clone().into())
                .set_if_none_match(create.then(|| "*".to_owned()))
                .customize();
            let request = if self.encrypted {
                request.disable_payload_signing()
            } else {
                request
            };
            match request.send().await {
                Ok(_) => return tries.done(),
                Err(error) => tries.lost(error.into()).await?,
            }
        }
    }

    /// One page of the objects whose keys start so, by key, and where the next begins.
    async fn list_page(
        &self,
        prefix: &str,
        page: Option<String>,
    ) -> Result<(Vec<Listed>, Option<String>), StoreError> {
        let mut tries = self.requests.tries(Kind::Read);
        let listed = loop {
            tries.begin().await;
            let request = self.client.list_objects_v2().bucket(&self.bucket);
            let request = request
                .prefix(prefix)
                .max_keys(self.limits.page.into())
                .set_continuation_token(page.clone());
            match request.send().await {
                Ok(listed) => break tries.won(listed),
                Err(error) => {
                    let lost = tries.lost(error.into()).await;
                    lost.map_err(|failed| self.told(failed, prefix))?;
                }
            }
        };
        let next = listed
            .next_continuation_token
            .filter(|_| listed.is_truncated == Some(true));
        let found = listed.contents.unwrap_or_default().into_iter();
        let found = found.filter_map(|object| {
            let modified = object.last_modified;
            Some(Listed {
                // Not every service heeds the prefix.
                name: object.key.filter(|key| key.starts_with(prefix))?,
                len: u64::try_from(object.size?).ok()?,
                modified: modified.and_then(|time| time.try_into().ok()),
            })
        });
        Ok((found.collect(), next))
    }

    async fn delete_batch(&self, keys: &[String]) -> Result<(), StoreError> {
        let named = keys
            .iter()
            .map(|key| ObjectIdentifier::builder().key(key).build());
        let named = named.collect::<Result<Vec<_>, _>>();
        let delete = named.and_then(|named| {
            Delete::builder()
                .set_objects(Some(named))
                .quiet(true)
                .build()
        });
        let first = keys.first().map_or("", String::as_str);
        let delete = delete.map_err(|error| self.told(Failed::of(Verdict::Never, error), first))?;
        let mut tries = self.requests.tries(Kind::Write);
        loop {
            tries.begin().await;
            let request = self.client.delete_objects().bucket(&self.bucket);
            let failed = match request.delete(delete.clone()).send().await {
                Err(error) => Failed::from(error),
                Ok(deleted) => match deleted.errors.unwrap_or_default().into_iter().next() {
                    None => return tries.done(),
                    // The others are deleted; those tried again are no error.
                    Some(error) => {
                        Failed::answered(200, error.code.as_deref(), error.message.as_deref())
                    }
                },
            };
            let lost = tries.lost(failed).await;
            lost.map_err(|failed| self.told(failed, first))?;
        }
    }
}
