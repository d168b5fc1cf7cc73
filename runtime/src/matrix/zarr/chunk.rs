//! A tile as the bytes of a chunk, and back: the whole chunk column by column, little-endian, entries
//! outside of the array zero, then CRC-32C. Never knows where chunks lie.

use bytemuck::cast_slice_mut;
use peerwren_kernels::tile::{Kind, Shape, TileMut, TileRef};
use peerwren_transports::block::{Block, BlockBuf};

use super::metadata::{CHECKSUM_BYTES, Layout};

/// Bytes that are no chunk of an array.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ChunkError {
    #[error("expected {expected} bytes, found {found}")]
    Length { expected: usize, found: usize },
    #[error("its checksum is {found:08x}, that of its bytes {expected:08x}: it was damaged")]
    Checksum { expected: u32, found: u32 },
    #[error("codec {codec}: {reason}")]
    Codec { codec: &'static str, reason: String },
}

impl ChunkError {
    /// Bytes that a codec cannot have made.
    pub(super) fn codec(codec: &'static str, reason: impl ToString) -> Self {
        let reason = reason.to_string();
        Self::Codec { codec, reason }
    }
}

/// The chunk that begins with `tile`, a block of `shape` that is no larger than a chunk.
pub(super) fn encode(layout: &Layout, shape: Shape, tile: &[f64]) -> Block {
    let mut chunk = BlockBuf::zeroed(layout.chunk_bytes());
    let (chunk_rows, _) = layout.chunk();
    TileRef::new(shape, tile).unpack(chunk.as_f64_mut(), chunk_rows as usize);
    let (entries, checksum) = chunk.as_bytes_mut().split_at_mut(layout.chunk_words() * 8);
    checksum.copy_from_slice(&crc_fast::crc32_iscsi(entries).to_le_bytes());
    chunk.freeze()
}

/// Checks a chunk and returns its entries' bytes.
pub(super) fn check<'a>(layout: &Layout, bytes: &'a [u8]) -> Result<&'a [u8], ChunkError> {
    let wrong = || ChunkError::Length {
        expected: layout.chunk_bytes(),
        found: bytes.len(),
    };
    if bytes.len() != layout.chunk_bytes() {
        return Err(wrong());
    }
    let (entries, checksum) = bytes
        .split_last_chunk::<{ CHECKSUM_BYTES as usize }>()
        .ok_or_else(wrong)?;
    let (expected, found) = (
        crc_fast::crc32_iscsi(entries),
        u32::from_le_bytes(*checksum),
    );
    if expected != found {
        return Err(ChunkError::Checksum { expected, found });
    }
    Ok(entries)
}

/// The block of `shape` that a chunk begins with; the inverse of [`encode`].
pub(super) fn decode(layout: &Layout, shape: Shape, bytes: &[u8]) -> Result<Block, ChunkError> {
    let entries = check(layout, bytes)?;
    let (rows, cols) = shape.dense();
    let whole = Part {
        from: (0, 0),
        to: (0, 0),
        rows,
        cols,
    };
    let mut tile = BlockBuf::with_len(shape.bytes());
    if shape.kind == Kind::Full {
        copy(layout, entries, whole, tile.as_f64_mut(), rows);
    } else {
        let mut dense = vec![0.0; rows * cols];
        copy(layout, entries, whole, &mut dense, rows);
        TileMut::new(shape, tile.as_f64_mut()).pack(&dense, rows);
    }
    Ok(tile.freeze())
}

/// A part of a chunk and where it goes in a tile: rows and columns of their first entries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) from: (usize, usize),
    pub(super) to: (usize, usize),
    pub(super) rows: usize,
    pub(super) cols: usize,
}

/// Copies a part of a chunk's entries into a column-major tile with leading dimension `ld`.
pub(super) fn copy(layout: &Layout, entries: &[u8], part: Part, tile: &mut [f64], ld: usize) {
    let (chunk_rows, _) = layout.chunk();
    for j in 0..part.cols {
        let from = (part.from.1 + j) * chunk_rows as usize + part.from.0;
        let to = (part.to.1 + j) * ld + part.to.0;
        cast_slice_mut::<f64, u8>(&mut tile[to..to + part.rows])
            .copy_from_slice(&entries[from * 8..][..part.rows * 8]);
    }
}
