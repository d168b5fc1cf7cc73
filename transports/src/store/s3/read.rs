//! Reads objects, large ones in ranges, straight into the caller's memory.

use aws_sdk_s3::primitives::ByteStream;
use futures_util::future::FutureExt;
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::error::{Failed, Verdict, causes};
use super::requests::{Kind, Tries};
use super::{Inner, S3};
use crate::block::{Block, BlockBuf, BlockLen};
use crate::store::StoreError;

impl S3 {
    pub(in crate::store) async fn get(
        &self,
        name: &str,
        bytes_max: usize,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let key = self.key(name);
        self.0
            .read(&key, |got| match usize::try_from(got) {
                Ok(len) if len <= bytes_max => Ok(vec![0; len]),
                _ => Err(StoreError::TooLong {
                    place: format!("s3://{}/{key}", self.0.bucket),
                    bytes_max,
                    got,
                }),
            })
            .await
    }

    pub(in crate::store) async fn get_block(
        &self,
        name: &str,
        expected: BlockLen,
    ) -> Result<Option<Block>, StoreError> {
        let key = self.key(name);
        let read = self.0.read(&key, |got| {
            if expected.fits(got) {
                return Ok(BlockBuf::with_len(got as usize));
            }
            Err(StoreError::Length {
                place: format!("s3://{}/{key}", self.0.bucket),
                expected,
                got,
            })
        });
        Ok(read.await?.map(BlockBuf::freeze))
    }
}

/// An object whose first bytes are on their way.
struct Opened<'a> {
    tries: Tries<'a>,
    len: u64,
    etag: Option<String>,
    body: ByteStream,
}

impl Inner {
    /// Reads an object into what `make` makes for its length; `None` where there is none.
    async fn read<B: AsMut<[u8]>>(
        &self,
        key: &str,
        make: impl FnOnce(u64) -> Result<B, StoreError>,
    ) -> Result<Option<B>, StoreError> {
        let opened = self.open_object(key).await;
        let Some(opened) = opened.map_err(|failed| self.told(failed, key))? else {
            return Ok(None);
        };
        let mut buffer = make(opened.len)?;
        let filled = self.fill(key, opened, buffer.as_mut()).await;
        filled.map_err(|failed| self.told(failed, key))?;
        Ok(Some(buffer))
    }

    /// Asks for a whole object; its body is still to be read.
    async fn open_object(&self, key: &str) -> Result<Option<Opened<'_>>, Failed> {
        let mut tries = self.requests.tries(Kind::Read);
        loop {
            tries.begin().await;
            let request = self.client.get_object().bucket(&self.bucket).key(key);
            let failed = match request.send().await {
                Ok(answer) => match answer.content_length.and_then(|len| len.try_into().ok()) {
                    Some(len) => {
                        return Ok(Some(Opened {
                            tries,
                            len,
                            etag: answer.e_tag,
                            body: answer.body,
                        }));
                    }
                    None => Failed::of(Verdict::Again, "an answer that does not tell its length"),
                },
                Err(error) => Failed::from(error),
            };
            if failed.is_absent() {
                return Ok(tries.won(None));
            }
            tries.lost(failed).await?;
        }
    }

    /// Fills the buffer of an object: its first part from the body that is open, the others by
    /// requests of their own at the same time.
    async fn fill(&self, key: &str, opened: Opened<'_>, buffer: &mut [u8]) -> Result<(), Failed> {
        let part = self.limits.part_bytes(buffer.len());
        let etag = opened.etag.as_deref();
        let (first, rest) = buffer.split_at_mut(part.min(buffer.len()));
        let whole = rest.is_empty();
        let opening = async {
            let (mut tries, body) = (opened.tries, opened.body);
            match self.read_body(body, first, whole).await {
                Ok(()) => return tries.done(),
                Err(failed) => tries.lost(failed).await?,
            }
            self.read_range(key, etag, 0, first, tries).await
        };
        let mut others = Vec::new();
        for (number, range) in rest.chunks_mut(part).enumerate() {
            let tries = self.requests.tries(Kind::Read);
            let offset = (number + 1) * part;
            others.push(self.read_range(key, etag, offset, range, tries).boxed());
        }
        let at_once = self.limits.parts_at_once.max(1);
        let others = stream::iter(others).buffer_unordered(at_once);
        tokio::try_join!(opening, others.try_collect::<()>()).map(drop)
    }

    /// Reads one range of an object, in as many tries as are left.
    async fn read_range(
        &self,
        key: &str,
        etag: Option<&str>,
        offset: usize,
        range: &mut [u8],
        mut tries: Tries<'_>,
    ) -> Result<(), Failed> {
        loop {
            tries.begin().await;
            match self.try_range(key, etag, offset, range).await {
                Ok(()) => return tries.done(),
                Err(failed) => tries.lost(failed).await?,
            }
        }
    }

    async fn try_range(
        &self,
        key: &str,
        etag: Option<&str>,
        offset: usize,
        range: &mut [u8],
    ) -> Result<(), Failed> {
        let request = self.client.get_object().bucket(&self.bucket).key(key);
        let request = match range.len().checked_sub(1) {
            Some(last) => request.range(format!("bytes={offset}-{}", offset + last)),
            // An empty object has no range.
            None => request,
        };
        // An object that is replaced meanwhile is not to be read half and half.
        let answer = request.set_if_match(etag.map(str::to_owned)).send().await?;
        let starts = format!("bytes {offset}-");
        let told = answer.content_range.as_deref();
        let right = answer.content_length == i64::try_from(range.len()).ok()
            && (range.is_empty() || told.is_none_or(|told| told.starts_with(&starts)));
        if !right {
            let said = format!(
                "asked for {} bytes from {offset}, offered {} ({})",
                range.len(),
                answer.content_length.unwrap_or_default(),
                told.unwrap_or("no range")
            );
            return Err(Failed::of(Verdict::Never, said));
        }
        self.read_body(answer.body, range, true).await
    }

    /// Reads a body into a buffer and, where it is `whole`, on to its end, where checksums are
    /// compared.
    async fn read_body(
        &self,
        mut body: ByteStream,
        buffer: &mut [u8],
        whole: bool,
    ) -> Result<(), Failed> {
        let broken = |said: String| Failed::of(Verdict::Again, said);
        let mut at = 0;
        while whole || at < buffer.len() {
            let next = tokio::time::timeout(self.limits.read_timeout, body.next()).await;
            let bytes = match next {
                Err(_) => return Err(broken(format!("the body stalled after {at} bytes"))),
                Ok(None) => break,
                Ok(Some(Err(error))) => {
                    let said = causes(Some(&error));
                    return Err(broken(format!(
                        "the body broke off after {at} bytes: {said}"
                    )));
                }
                Ok(Some(Ok(bytes))) => bytes,
            };
            let room = &mut buffer[at..];
            if whole && bytes.len() > room.len() {
                return Err(broken(
                    "the body is longer than it was told to be".to_owned(),
                ));
            }
            let taken = bytes.len().min(room.len());
            room[..taken].copy_from_slice(&bytes[..taken]);
            at += taken;
        }
        if at == buffer.len() {
            return Ok(());
        }
        let of = buffer.len();
        Err(broken(format!("the body ended after {at} of {of} bytes")))
    }
}
