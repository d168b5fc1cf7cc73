//! Bytes of blocks: written once as a [`BlockBuf`], then shared as a [`Block`] that never changes.

use std::fmt;
use std::sync::{Arc, OnceLock};

use bytemuck::{Pod, Zeroable};
use rkyv::{Archive, Deserialize, Serialize};

use super::pool;

#[cfg(target_endian = "big")]
compile_error!("a block holds little-endian f64 that are used in place");

/// A cache line, so that every block starts on one.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
pub(super) struct Line([f64; 8]);

/// The blake3 digest of a block's bytes.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Archive, Serialize, Deserialize,
)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Computes the digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

/// 64 hexadecimal digits.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The first 8 of the 64 digits.
impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4]
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str("..")
    }
}

/// A buffer that a block is written into: 64-byte aligned, seen as bytes or as f64.
pub struct BlockBuf {
    lines: Vec<Line>,
    len: usize,
}

impl BlockBuf {
    /// Makes a buffer of `len` bytes whose contents are unspecified, for a writer that writes all
    /// of it. Builds with debug assertions fill it with NaN, so that a byte left out shows.
    ///
    /// ```
    /// let mut buf = peerwren_transports::block::BlockBuf::with_len(16);
    /// buf.as_f64_mut().copy_from_slice(&[1.0, 2.0]);
    /// assert_eq!(buf.freeze().as_f64(), &[1.0, 2.0]);
    /// ```
    pub fn with_len(len: usize) -> Self {
        let lines = len.div_ceil(size_of::<Line>());
        // The allocator's zeroed memory is untouched pages: no cheaper way to make a buffer.
        let lines = pool::take(lines).unwrap_or_else(|| bytemuck::zeroed_vec(lines));
        let mut buf = Self { lines, len };
        if cfg!(debug_assertions) {
            buf.as_bytes_mut().fill(0xff);
        }
        buf
    }

    /// Makes a buffer of `len` zero bytes.
    pub fn zeroed(len: usize) -> Self {
        let lines = len.div_ceil(size_of::<Line>());
        let lines = match pool::take(lines) {
            Some(mut reused) => {
                reused.fill(Line::zeroed());
                reused
            }
            None => bytemuck::zeroed_vec(lines),
        };
        Self { lines, len }
    }

    /// Makes a buffer that holds a copy of `bytes`.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut buf = Self::with_len(bytes.len());
        buf.as_bytes_mut().copy_from_slice(bytes);
        buf
    }

    /// Returns the length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Tells whether the length is 0.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.lines)[..self.len]
    }

    /// Returns the bytes for writing.
    pub fn as_bytes_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.len]
    }

    /// Returns the whole words: len / 8 of them.
    pub fn as_f64(&self) -> &[f64] {
        &bytemuck::cast_slice(&self.lines)[..self.len / 8]
    }

    /// Returns the whole words for writing: len / 8 of them.
    pub fn as_f64_mut(&mut self) -> &mut [f64] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.len / 8]
    }

    /// Makes the block: from here on its bytes never change.
    pub fn freeze(self) -> Block {
        Block(Arc::new(Inner {
            buf: self,
            digest: OnceLock::new(),
        }))
    }

    /// Makes a block whose digest the caller has just computed from these bytes.
    pub(crate) fn freeze_with(self, digest: Digest) -> Block {
        Block(Arc::new(Inner {
            buf: self,
            digest: OnceLock::from(digest),
        }))
    }
}

impl AsMut<[u8]> for BlockBuf {
    fn as_mut(&mut self) -> &mut [u8] {
        self.as_bytes_mut()
    }
}

impl fmt::Debug for BlockBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlockBuf({} bytes)", self.len)
    }
}

impl Drop for BlockBuf {
    fn drop(&mut self) {
        pool::give(std::mem::take(&mut self.lines));
    }
}

/// A block's bytes: immutable, 64-byte aligned, cheap to clone.
#[derive(Clone)]
pub struct Block(Arc<Inner>);

struct Inner {
    buf: BlockBuf,
    digest: OnceLock<Digest>,
}

impl Block {
    /// Makes a block that holds a copy of `bytes`.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        BlockBuf::from_bytes(bytes).freeze()
    }

    /// Returns the bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.buf.as_bytes()
    }

    /// Returns the whole words: len / 8 of them.
    pub fn as_f64(&self) -> &[f64] {
        self.0.buf.as_f64()
    }

    /// Returns the length in bytes.
    pub fn len(&self) -> usize {
        self.0.buf.len()
    }

    /// Tells whether the length is 0.
    pub fn is_empty(&self) -> bool {
        self.0.buf.is_empty()
    }

    /// Returns the digest, computed the first time (about 0.3 ms a MiB; call it first where the
    /// time is to be spent, a compute thread rather than one that serves peers).
    pub fn digest(&self) -> Digest {
        *self.0.digest.get_or_init(|| Digest::of(self.as_bytes()))
    }

    /// Returns the digest if it was computed or came with the bytes.
    pub fn known_digest(&self) -> Option<Digest> {
        self.0.digest.get().copied()
    }

    /// Gives the buffer back for writing if this is the only clone, else the block.
    pub fn try_into_buf(self) -> Result<BlockBuf, Self> {
        Arc::try_unwrap(self.0).map(|inner| inner.buf).map_err(Self)
    }
}

impl AsRef<[u8]> for Block {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

/// Equal bytes; digests are not computed for it.
impl PartialEq for Block {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Block {}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.digest.get() {
            Some(digest) => write!(f, "Block({} bytes, {digest:?})", self.len()),
            None => write!(f, "Block({} bytes)", self.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_of_any_length_are_aligned_and_seen_both_ways() {
        for len in [0, 1, 7, 8, 63, 64, 65, 4096, (1 << 20) + 8] {
            let mut buf = BlockBuf::with_len(len);
            assert_eq!(buf.as_bytes_mut().len(), len);
            assert_eq!(buf.as_f64_mut().len(), len / 8);
            assert_eq!(buf.as_bytes().as_ptr() as usize % 64, 0);
            buf.as_bytes_mut().fill(0);
            if let Some(first) = buf.as_f64_mut().first_mut() {
                *first = 1.5;
                assert_eq!(buf.as_bytes()[..8], 1.5f64.to_le_bytes());
            }
            assert!(
                BlockBuf::zeroed(len)
                    .as_bytes()
                    .iter()
                    .all(|&byte| byte == 0)
            );
            let block = buf.freeze();
            assert_eq!(block.digest(), Digest::of(block.as_bytes()));
        }
    }

    #[test]
    fn only_the_last_clone_becomes_a_buffer() {
        let block = Block::from_bytes(b"bytes");
        let clone = block.clone();
        let block = block.try_into_buf().expect_err("there is a clone");
        drop(clone);
        assert_eq!(
            block.try_into_buf().expect("the only one").as_bytes(),
            b"bytes"
        );
    }

    #[test]
    fn digests_are_blake3() {
        assert_eq!(
            Digest::of(b"").to_string(),
            "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
        );
    }
}
