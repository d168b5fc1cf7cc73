//! A chunk's bytes as its codecs left them, and the entries that they stand for. Decodes into bounded memory,
//! whatever the bytes promise; never knows where chunks lie.

use std::borrow::Cow;
use std::io::Read;

use flate2::read::MultiGzDecoder;
use ruzstd::decoding::StreamingDecoder;
use serde_json::Value;

use super::super::chunk::ChunkError;
use super::super::metadata::{CHECKSUM_BYTES, Extension, Unread, excerpt};
use super::{element, foreign, sizes};
use crate::matrix::npy::{Element, ElementKind, Order};

/// Rows of a chunk that are turned into columns together: 16 f64 are two cache lines of a column.
const STRIP: usize = 16;
/// Bytes of an inner chunk in a shard's index: where it begins and how long it is.
const INDEX_BYTES: usize = 16;

/// The codecs of one array's chunks.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Chain {
    chunk: (usize, usize),
    core: Core,
    /// What was done to the bytes, in that order.
    packings: Vec<Packing>,
}

/// How entries become bytes.
#[derive(Clone, Debug, PartialEq)]
enum Core {
    Entries(Element, Order),
    Shard(Box<Shard>),
}

/// Chunks within a chunk, found by an index.
#[derive(Clone, Debug, PartialEq)]
struct Shard {
    inner: Chain,
    index: IndexForm,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct IndexForm {
    is_first: bool,
    big_endian: bool,
    has_checksum: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packing {
    Crc32c,
    Gzip,
    Zstd,
}

/// What every codec of an array is read for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Codecs {
    pub(super) kind: ElementKind,
    pub(super) is_vector: bool,
}

impl Codecs {
    /// Understands the codecs of chunks of `chunk` entries.
    pub(super) fn chain(self, codecs: &[Extension], chunk: (u64, u64)) -> Result<Chain, Unread> {
        self.level(codecs, chunk, true)
    }

    fn level(
        self,
        codecs: &[Extension],
        (rows, cols): (u64, u64),
        may_shard: bool,
    ) -> Result<Chain, Unread> {
        let turns = codecs
            .iter()
            .take_while(|codec| codec.name() == "transpose");
        let turns = turns
            .map(|codec| self.turns(codec))
            .collect::<Result<Vec<_>, _>>()?;
        let is_turned = turns.iter().filter(|turns| **turns).count() % 2 == 1;
        let Some((core, packings)) = codecs[turns.len()..].split_first() else {
            return foreign("a codec that makes bytes of entries", listed(codecs));
        };
        let core = match core.name() {
            "bytes" => {
                // A column's entries follow each other in either order.
                let order = if is_turned || cols == 1 {
                    Order::Fortran
                } else {
                    Order::C
                };
                Core::Entries(element(self.kind, core)?, order)
            }
            "sharding_indexed" if may_shard && !is_turned => {
                Core::Shard(Box::new(self.shard(core, (rows, cols))?))
            }
            _ => {
                return foreign(
                    "codecs transpose, bytes, crc32c, gzip, zstd or, outermost, sharding_indexed",
                    listed(codecs),
                );
            }
        };
        let packings = packings.iter().map(|codec| match codec.name() {
            "crc32c" => Ok(Packing::Crc32c),
            "gzip" => Ok(Packing::Gzip),
            "zstd" => Ok(Packing::Zstd),
            _ => foreign("codecs crc32c, gzip or zstd after bytes", codec.to_string()),
        });
        Ok(Chain {
            chunk: (rows as usize, cols as usize),
            core,
            packings: packings.collect::<Result<_, _>>()?,
        })
    }

    /// Whether a transposition exchanges rows and columns.
    fn turns(self, codec: &Extension) -> Result<bool, Unread> {
        let order = &codec.configuration()["order"];
        let order: Option<Vec<_>> = order
            .as_array()
            .map(|axes| axes.iter().filter_map(Value::as_u64).collect());
        match order.as_deref() {
            Some([0]) if self.is_vector => Ok(false),
            Some([0, 1]) if !self.is_vector => Ok(false),
            Some([1, 0]) if !self.is_vector => Ok(true),
            _ => foreign("an order of all dimensions", codec.to_string()),
        }
    }

    fn shard(self, codec: &Extension, (rows, cols): (u64, u64)) -> Result<Shard, Unread> {
        let configuration = codec.configuration();
        let inner_chunk = sizes(&configuration["chunk_shape"], self.is_vector)?;
        if !rows.is_multiple_of(inner_chunk.0) || !cols.is_multiple_of(inner_chunk.1) {
            return foreign(
                "inner chunks that divide a shard",
                excerpt(&configuration["chunk_shape"]),
            );
        }
        let codecs = |name: &str| -> Result<Vec<Extension>, Unread> {
            let read = serde_json::from_value(configuration[name].clone());
            read.or_else(|_| foreign("codecs of shards and their index", codec.to_string()))
        };
        let is_first = match &configuration["index_location"] {
            Value::Null => false,
            Value::String(text) if text == "end" => false,
            Value::String(text) if text == "start" => true,
            other => return foreign("an index at the start or end", excerpt(other)),
        };
        let index_codecs = codecs("index_codecs")?;
        let (bytes, has_checksum) = match index_codecs.as_slice() {
            [bytes] if bytes.name() == "bytes" => (bytes, false),
            [bytes, checksum] if bytes.name() == "bytes" && checksum.name() == "crc32c" => {
                (bytes, true)
            }
            _ => return foreign("index codecs bytes and crc32c", listed(&index_codecs)),
        };
        let big_endian = element(ElementKind::U8, bytes)?.big_endian;
        Ok(Shard {
            inner: self.level(&codecs("codecs")?, inner_chunk, false)?,
            index: IndexForm {
                is_first,
                big_endian,
                has_checksum,
            },
        })
    }
}

impl Chain {
    /// Most bytes of a chunk as it is stored: its entries, what a codec may add to data that it cannot shorten (an
    /// eighth is more than any adds), and a shard's index.
    pub(super) fn stored_bytes_max(&self) -> usize {
        loose(match &self.core {
            Core::Entries(..) => self.exact_bytes().unwrap_or_default(),
            Core::Shard(shard) => {
                let count = self.chunks_of(shard);
                count * shard.inner.stored_bytes_max() + shard.index.bytes(count)
            }
        })
    }

    /// Decodes a chunk into its entries as f64, column by column; `fill` is what is not stored.
    pub(super) fn decode(&self, stored: &[u8], fill: f64) -> Result<Vec<f64>, ChunkError> {
        let (rows, cols) = self.chunk;
        let mut out = vec![fill; rows * cols];
        self.decode_into(stored, &mut out, rows, (0, 0))?;
        Ok(out)
    }

    /// The same into a part of a column-major matrix with leading dimension `ld`.
    fn decode_into(
        &self,
        stored: &[u8],
        out: &mut [f64],
        ld: usize,
        (row0, col0): (usize, usize),
    ) -> Result<(), ChunkError> {
        let bytes = self.unpacked(stored)?;
        match &self.core {
            Core::Entries(element, order) => {
                let first = col0 * ld + row0;
                place(&bytes, *element, *order, self.chunk, &mut out[first..], ld);
                Ok(())
            }
            Core::Shard(shard) => self.decode_shard(shard, &bytes, out, ld),
        }
    }

    fn decode_shard(
        &self,
        shard: &Shard,
        bytes: &[u8],
        out: &mut [f64],
        ld: usize,
    ) -> Result<(), ChunkError> {
        let (rows, cols) = shard.inner.chunk;
        let across = self.chunk.1 / cols;
        let index = shard.index.read(bytes, self.chunks_of(shard))?;
        for (number, entry) in index.into_iter().enumerate() {
            if entry == (u64::MAX, u64::MAX) {
                // An inner chunk that is not there is the fill value.
                continue;
            }
            let (offset, length) = entry;
            // Chunks may lie over each other, so that long ones would be read as often as there are chunks.
            if length > shard.inner.stored_bytes_max() as u64 {
                return Err(ChunkError::codec(
                    "sharding_indexed",
                    format!("its index names a chunk of {length} bytes, longer than any is"),
                ));
            }
            let range = offset
                .checked_add(length)
                .filter(|end| *end <= bytes.len() as u64)
                .map(|end| offset as usize..end as usize);
            let inner = range.map(|range| &bytes[range]).ok_or_else(|| {
                ChunkError::codec("sharding_indexed", "its index points beyond its end")
            })?;
            let at = (number / across * rows, number % across * cols);
            shard.inner.decode_into(inner, out, ld, at)?;
        }
        Ok(())
    }

    /// Inner chunks of a shard.
    fn chunks_of(&self, shard: &Shard) -> usize {
        let (rows, cols) = shard.inner.chunk;
        (self.chunk.0 / rows) * (self.chunk.1 / cols)
    }

    /// Bytes of the entries, where these alone are stored.
    fn exact_bytes(&self) -> Option<usize> {
        match &self.core {
            Core::Entries(element, _) => Some(self.chunk.0 * self.chunk.1 * element.kind.bytes()),
            Core::Shard(_) => None,
        }
    }

    /// What was stored before it was packed.
    fn unpacked<'a>(&self, stored: &'a [u8]) -> Result<Cow<'a, [u8]>, ChunkError> {
        let mut bytes = Cow::Borrowed(stored);
        // What the last codec left of the others' work is no longer than what is stored at most.
        let bytes_max = self.stored_bytes_max();
        for packing in self.packings.iter().rev() {
            bytes = match packing {
                Packing::Crc32c => {
                    let checked = checked(&bytes)?.len();
                    match bytes {
                        Cow::Borrowed(bytes) => Cow::Borrowed(&bytes[..checked]),
                        Cow::Owned(mut bytes) => {
                            bytes.truncate(checked);
                            Cow::Owned(bytes)
                        }
                    }
                }
                Packing::Gzip => Cow::Owned(read_all(
                    "gzip",
                    &mut MultiGzDecoder::new(&*bytes),
                    self.exact_bytes(),
                    bytes_max,
                )?),
                Packing::Zstd => Cow::Owned(unpack_zstd(&bytes, self.exact_bytes(), bytes_max)?),
            };
        }
        match self.exact_bytes() {
            Some(expected) if expected != bytes.len() => Err(ChunkError::Length {
                expected,
                found: bytes.len(),
            }),
            _ => Ok(bytes),
        }
    }
}

impl IndexForm {
    /// Bytes of the index of `count` chunks.
    fn bytes(self, count: usize) -> usize {
        let checksum = if self.has_checksum { CHECKSUM_BYTES } else { 0 };
        count * INDEX_BYTES + checksum as usize
    }

    /// Reads where each inner chunk begins and how long it is.
    fn read(self, shard: &[u8], count: usize) -> Result<Vec<(u64, u64)>, ChunkError> {
        let bytes = self.bytes(count);
        let Some(rest) = shard.len().checked_sub(bytes) else {
            return Err(ChunkError::codec(
                "sharding_indexed",
                format!("expected an index of {bytes} bytes, found {}", shard.len()),
            ));
        };
        let mut index = if self.is_first {
            &shard[..bytes]
        } else {
            &shard[rest..]
        };
        if self.has_checksum {
            index = checked(index)?;
        }
        let (words, _) = index.as_chunks::<8>();
        let word = |word: [u8; 8]| {
            if self.big_endian {
                u64::from_be_bytes(word)
            } else {
                u64::from_le_bytes(word)
            }
        };
        let (pairs, _) = words.as_chunks::<2>();
        Ok(pairs
            .iter()
            .map(|&[at, length]| (word(at), word(length)))
            .collect())
    }
}

/// More than any codec makes of `bytes` bytes: gzip adds 5 a block of 16 KiB and 18, zstd 3 a block of 1 KiB
/// and 22.
fn loose(bytes: usize) -> usize {
    bytes + bytes / 8 + 4096
}

/// Checks the CRC-32C behind bytes and returns them without it.
fn checked(bytes: &[u8]) -> Result<&[u8], ChunkError> {
    let Some((checked, checksum)) = bytes.split_last_chunk::<{ CHECKSUM_BYTES as usize }>() else {
        return Err(ChunkError::codec("crc32c", "found no checksum"));
    };
    let expected = crc_fast::crc32_iscsi(checked);
    let found = u32::from_le_bytes(*checksum);
    if expected == found {
        Ok(checked)
    } else {
        Err(ChunkError::Checksum { expected, found })
    }
}

/// Reads a decoder to its end, or to one byte more than there may be: the rest is never decoded.
fn read_all(
    codec: &'static str,
    decoder: &mut impl Read,
    expected: Option<usize>,
    bytes_max: usize,
) -> Result<Vec<u8>, ChunkError> {
    // What is expected, and one byte to see the end by.
    let mut bytes = Vec::with_capacity(expected.map_or(0, |expected| expected + 1));
    let read = decoder
        .take(bytes_max as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| ChunkError::codec(codec, error))?;
    if read > bytes_max {
        return Err(ChunkError::codec(
            codec,
            format!("expected at most {bytes_max} bytes in it, found more"),
        ));
    }
    Ok(bytes)
}

/// The contents of zstd's frames, one after the other.
fn unpack_zstd(
    mut packed: &[u8],
    expected: Option<usize>,
    bytes_max: usize,
) -> Result<Vec<u8>, ChunkError> {
    let mut bytes = Vec::new();
    loop {
        // A frame may refer back to all that it has; larger windows are more than the chunk.
        let window_max = (bytes_max as u64).max(ruzstd::decoding::DEFAULT_MAX_WINDOW_SIZE);
        let mut decoder = StreamingDecoder::new_with_max_window_size(&mut packed, window_max)
            .map_err(|error| ChunkError::codec("zstd", error))?;
        let more = read_all("zstd", &mut decoder, expected, bytes_max - bytes.len())?;
        let expected = decoder.decoder.get_checksum_from_data();
        let found = decoder.decoder.get_calculated_checksum();
        if let (Some(expected), Some(found)) = (expected, found)
            && expected != found
        {
            return Err(ChunkError::Checksum {
                expected: found,
                found: expected,
            });
        }
        if bytes.is_empty() {
            bytes = more;
        } else {
            bytes.extend(more);
        }
        if packed.is_empty() {
            return Ok(bytes);
        }
    }
}

/// Converts the entries of a chunk and puts them into a column-major matrix with leading dimension `ld`.
fn place(
    bytes: &[u8],
    element: Element,
    order: Order,
    (rows, cols): (usize, usize),
    out: &mut [f64],
    ld: usize,
) {
    let width = element.kind.bytes();
    match order {
        Order::Fortran => {
            for (j, column) in bytes.chunks(rows * width).enumerate() {
                element.decode(column, &mut out[j * ld..][..rows]);
            }
        }
        Order::C => {
            let mut strip = vec![0.0; STRIP.min(rows) * cols];
            for (number, lines) in bytes.chunks(STRIP * cols * width).enumerate() {
                let height = lines.len() / (cols * width);
                let values = &mut strip[..height * cols];
                element.decode(lines, values);
                for j in 0..cols {
                    let column = &mut out[j * ld + number * STRIP..][..height];
                    for (i, entry) in column.iter_mut().enumerate() {
                        *entry = values[i * cols + j];
                    }
                }
            }
        }
    }
}

fn listed(codecs: &[Extension]) -> String {
    let names: Vec<_> = codecs.iter().map(Extension::to_string).collect();
    names.join(", ")
}
