//! Arrays that other programs laid out: what `zarr.json` says of their chunks, entries and codecs, or what of
//! it is not read. Knows no place; [`array`] reads chunks, [`codecs`] decodes them.

mod array;
mod codecs;

pub(super) use array::ForeignArray;

use serde_json::Value;

use self::codecs::{Chain, Codecs};
use super::metadata::{Extension, Metadata, Unread, excerpt};
use crate::matrix::npy::{Element, ElementKind};
use crate::matrix::random::check_size;

/// Most bytes of a chunk's entries as f64. While one is decoded there are 3 of it, as stored, as the codecs leave
/// it and as f64: 3 x 512 MiB = 1.5 GiB.
const CHUNK_BYTES_MAX: u64 = 512 << 20;

/// How an array is laid out: a regular grid of chunks, and how an entry is found in a chunk.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Foreign {
    shape: (u64, u64),
    chunk: (u64, u64),
    is_vector: bool,
    kind: ElementKind,
    /// Entries of chunks that are not there.
    fill: f64,
    keys: Keys,
    codecs: Chain,
}

/// How chunks are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Keys {
    prefix: &'static str,
    separator: char,
}

/// What has the wrong form: what was expected and what came.
fn foreign<T>(expected: &'static str, found: String) -> Result<T, Unread> {
    Err(Unread::Foreign { expected, found })
}

impl Foreign {
    /// Understands metadata.
    pub(super) fn new(metadata: &Metadata) -> Result<Self, Unread> {
        let kind = kind(&metadata.data_type)?;
        let Some(fill) = fill(kind, &metadata.fill_value) else {
            return foreign(
                "a fill value of the data type",
                excerpt(&metadata.fill_value),
            );
        };
        let (shape, is_vector) = match metadata.shape.as_slice() {
            &[length] => ((length, 1), true),
            &[rows, cols] => ((rows, cols), false),
            shape => {
                return foreign(
                    "a 1-d or 2-d array",
                    format!("shape {}", excerpt(&shape.into())),
                );
            }
        };
        if let Err(reason) = check_size(shape.0, shape.1) {
            return foreign("a matrix of 1 to 2^63 - 1 bytes as float64", reason);
        }
        if metadata.chunk_grid.name() != "regular" {
            return foreign("a regular chunk grid", metadata.chunk_grid.to_string());
        }
        let chunk = sizes(
            &metadata.chunk_grid.configuration()["chunk_shape"],
            is_vector,
        )?;
        Ok(Self {
            shape,
            chunk,
            is_vector,
            kind,
            fill,
            keys: Keys::new(&metadata.chunk_key_encoding)?,
            codecs: Codecs { kind, is_vector }.chain(&metadata.codecs, chunk)?,
        })
    }

    /// Rows and columns.
    pub(super) fn shape(&self) -> (u64, u64) {
        self.shape
    }

    /// Whether entries are int64.
    pub(super) fn is_int64(&self) -> bool {
        self.kind == ElementKind::I8
    }

    /// Rows and columns of a chunk.
    pub(super) fn chunk(&self) -> (u64, u64) {
        self.chunk
    }

    /// Whether the array has one dimension; it is then a column.
    pub(super) fn is_vector(&self) -> bool {
        self.is_vector
    }

    /// The name of a chunk.
    fn key(&self, (i, j): (u64, u64)) -> String {
        let Keys { prefix, separator } = self.keys;
        let joint = if prefix.is_empty() {
            String::new()
        } else {
            format!("{prefix}{separator}")
        };
        if self.is_vector {
            format!("{joint}{i}")
        } else {
            format!("{joint}{i}{separator}{j}")
        }
    }
}

impl Keys {
    fn new(encoding: &Extension) -> Result<Self, Unread> {
        let (prefix, usual) = match encoding.name() {
            "default" => ("c", '/'),
            "v2" => ("", '.'),
            _ => return foreign("chunk keys `default` or `v2`", encoding.to_string()),
        };
        let separator = match &encoding.configuration()["separator"] {
            Value::Null => usual,
            Value::String(text) if text == "/" => '/',
            Value::String(text) if text == "." => '.',
            other => return foreign("separator `/` or `.`", excerpt(other)),
        };
        Ok(Self { prefix, separator })
    }
}

/// What an entry is in chunks, by the name of its data type.
fn kind(data_type: &Value) -> Result<ElementKind, Unread> {
    Ok(match data_type.as_str() {
        Some("bool") => ElementKind::Bool,
        Some("int8") => ElementKind::I1,
        Some("int16") => ElementKind::I2,
        Some("int32") => ElementKind::I4,
        Some("int64") => ElementKind::I8,
        Some("uint8") => ElementKind::U1,
        Some("uint16") => ElementKind::U2,
        Some("uint32") => ElementKind::U4,
        Some("uint64") => ElementKind::U8,
        Some("float32") => ElementKind::F4,
        Some("float64") => ElementKind::F8,
        _ => {
            return foreign(
                "data type float64, float32, bool or integers of up to 64 bits",
                excerpt(data_type),
            );
        }
    })
}

/// Rows and columns of a chunk that is not too large; a column where it has one dimension.
fn sizes(value: &Value, is_vector: bool) -> Result<(u64, u64), Unread> {
    let sizes: Option<Vec<_>> = value
        .as_array()
        .map(|sizes| sizes.iter().filter_map(Value::as_u64).collect());
    let (rows, cols) = match sizes.as_deref() {
        Some(&[length]) if is_vector => (length, 1),
        Some(&[rows, cols]) if !is_vector => (rows, cols),
        _ => return foreign("a chunk size for each dimension", excerpt(value)),
    };
    let bytes = rows
        .checked_mul(cols)
        .and_then(|entries| entries.checked_mul(8));
    match bytes {
        Some(1..=CHUNK_BYTES_MAX) => Ok((rows, cols)),
        _ => foreign(
            "chunks of 1 entry to 512 MiB as float64",
            format!("chunks of {}", excerpt(value)),
        ),
    }
}

/// The f64 that a fill value stands for: a number, a word for what JSON has no number for, or the bits in
/// hexadecimal.
fn fill(kind: ElementKind, value: &Value) -> Option<f64> {
    let bits = |digits: usize| {
        let text = value.as_str()?.strip_prefix("0x")?;
        let is_whole = text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit());
        is_whole
            .then(|| u64::from_str_radix(text, 16).ok())
            .flatten()
    };
    let word = || match value.as_str()? {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    };
    let whole = |min: i64, max: u64| {
        let is_inside = value
            .as_i64()
            .is_some_and(|v| v >= min && (v < 0 || v as u64 <= max))
            || value.as_u64().is_some_and(|v| v <= max);
        is_inside.then(|| value.as_f64()).flatten()
    };
    match kind {
        ElementKind::Bool => value.as_bool().map(|is_set| f64::from(u8::from(is_set))),
        ElementKind::I1 => whole(i8::MIN.into(), i8::MAX as u64),
        ElementKind::I2 => whole(i16::MIN.into(), i16::MAX as u64),
        ElementKind::I4 => whole(i32::MIN.into(), i32::MAX as u64),
        ElementKind::I8 => whole(i64::MIN, i64::MAX as u64),
        ElementKind::U1 => whole(0, u8::MAX.into()),
        ElementKind::U2 => whole(0, u16::MAX.into()),
        ElementKind::U4 => whole(0, u32::MAX.into()),
        ElementKind::U8 => whole(0, u64::MAX),
        ElementKind::F4 => value
            .as_f64()
            .map(|v| f64::from(v as f32))
            .or_else(word)
            .or_else(|| Some(f64::from(f32::from_bits(bits(8)? as u32)))),
        ElementKind::F8 => value
            .as_f64()
            .or_else(word)
            .or_else(|| bits(16).map(f64::from_bits)),
    }
}

/// An entry as the codec `bytes` stores it.
fn element(kind: ElementKind, bytes: &Extension) -> Result<Element, Unread> {
    let big_endian = match &bytes.configuration()["endian"] {
        Value::String(text) if text == "little" => false,
        Value::String(text) if text == "big" => true,
        // Of single bytes there is no order.
        Value::Null if kind.bytes() == 1 => false,
        _ => return foreign("codec bytes with endian little or big", bytes.to_string()),
    };
    Ok(Element { kind, big_endian })
}

#[cfg(test)]
mod tests;
