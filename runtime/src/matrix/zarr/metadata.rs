//! `zarr.json` and what it says: the sizes of an array and of its chunks. Knows one layout of bytes
//! (that of the blocks: column by column, little-endian, with a checksum) and tells it from others.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::foreign::Foreign;
use crate::matrix::form::{ArrayForm, Entries};

/// Name of an array's metadata; written last, so that an array without it is not there.
pub(super) const METADATA: &str = "zarr.json";
/// Longest `zarr.json` that is read: a few kB are usual, attributes may be more.
pub(super) const METADATA_BYTES_MAX: usize = 1 << 20;
/// Most bytes of a chunk: that of the largest block, 16,384 x 16,384 x 8 B + 4 B = 2 GiB.
const CHUNK_BYTES_MAX: u64 = (16_384 * 16_384 * 8) + CHECKSUM_BYTES;
/// Bytes of the CRC-32C behind each chunk.
pub(super) const CHECKSUM_BYTES: u64 = 4;

/// Sizes of an array and of its chunks, which begin at multiples of the chunk's size. A chunk at the
/// edge is stored whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    form: ArrayForm,
    chunk_rows: u32,
    chunk_cols: u32,
}

/// What `zarr.json` says that this version does not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// It describes no Zarr v3 array at all.
    NotZarr(String),
    /// An array in another layout.
    Foreign {
        expected: &'static str,
        found: String,
    },
}

impl Layout {
    /// An array in chunks of `chunk` rows and columns.
    ///
    /// # Errors
    /// One of the sizes is 0, or the array or a chunk is too large; says which.
    pub fn new(form: ArrayForm, (chunk_rows, chunk_cols): (u32, u32)) -> Result<Self, String> {
        form.check()?;
        let words = u64::from(chunk_rows) * u64::from(chunk_cols);
        if words == 0 {
            return Err(format!("chunks of {chunk_rows} x {chunk_cols} are empty"));
        }
        if words > (CHUNK_BYTES_MAX - CHECKSUM_BYTES) / 8 {
            return Err(format!(
                "chunks of {chunk_rows} x {chunk_cols} have more than 2 GiB"
            ));
        }
        Ok(Self {
            form,
            chunk_rows,
            chunk_cols,
        })
    }

    /// An array in tiles of `tile` rows and columns: no chunk is longer or wider than the array.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn tiled(form: ArrayForm, tile: (u32, u32)) -> Result<Self, String> {
        let side = |length: u64, tile: u32| u32::try_from(length).unwrap_or(u32::MAX).min(tile);
        Self::new(form, (side(form.rows, tile.0), side(form.cols, tile.1)))
    }

    /// Sizes, dimensions and type of the array.
    pub fn form(&self) -> ArrayForm {
        self.form
    }

    /// Rows and columns of the array; a vector is a column.
    pub fn shape(&self) -> (u64, u64) {
        (self.form.rows, self.form.cols)
    }

    /// Rows and columns of a chunk.
    pub fn chunk(&self) -> (u32, u32) {
        (self.chunk_rows, self.chunk_cols)
    }

    /// Bytes of every chunk, its checksum included.
    pub fn chunk_bytes(&self) -> usize {
        self.chunk_words() * 8 + CHECKSUM_BYTES as usize
    }

    /// Entries of every chunk.
    pub(super) fn chunk_words(&self) -> usize {
        self.chunk_rows as usize * self.chunk_cols as usize
    }

    /// The name of chunk (i, j).
    pub(super) fn key(&self, (i, j): (u64, u64)) -> String {
        if self.form.is_vector {
            format!("c/{i}")
        } else {
            format!("c/{i}/{j}")
        }
    }

    /// The text of `zarr.json`, the same for the same layout.
    pub(super) fn encode(&self) -> String {
        let dimensions = if self.form.is_vector { 1 } else { 2 };
        let shape = [self.form.rows, self.form.cols];
        let chunk = [self.chunk_rows, self.chunk_cols];
        let transpose = json!({"name": "transpose", "configuration": {"order": [1, 0]}});
        let mut codecs = vec![
            json!({"name": "bytes", "configuration": {"endian": "little"}}),
            json!({"name": "crc32c"}),
        ];
        if !self.form.is_vector {
            codecs.insert(0, transpose);
        }
        let (data_type, fill) = match self.form.entries {
            Entries::F64 => ("float64", json!(0.0)),
            Entries::I64 => ("int64", json!(0)),
        };
        let value = json!({
            "zarr_format": 3,
            "node_type": "array",
            "shape": shape[..dimensions],
            "data_type": data_type,
            "chunk_grid": {
                "name": "regular",
                "configuration": {"chunk_shape": chunk[..dimensions]},
            },
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": fill,
            "codecs": codecs,
            "attributes": {},
        });
        format!("{value:#}\n")
    }

    /// Tells an array of this layout from others.
    pub(super) fn stamp(&self) -> [u8; 32] {
        stamp(self.encode().as_bytes())
    }
}

/// How an array is laid out.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Form {
    /// As blocks are.
    Ours(Layout),
    /// As another program chose.
    Foreign(Foreign),
}

impl Form {
    /// Reads `zarr.json`.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Unread> {
        let value: Value = serde_json::from_slice(bytes)
            .map_err(|error| Unread::NotZarr(format!("no JSON: {error}")))?;
        match (&value["zarr_format"], &value["node_type"]) {
            (Value::Number(three), Value::String(node))
                if three.as_u64() == Some(3) && node == "array" => {}
            (Value::Number(three), Value::String(node)) if three.as_u64() == Some(3) => {
                return Err(Unread::NotZarr(format!("a Zarr {}", shown(node))));
            }
            (Value::Number(format), _) => {
                return Err(Unread::NotZarr(format!("Zarr format {format}")));
            }
            _ => return Err(Unread::NotZarr("JSON without `zarr_format`".to_owned())),
        }
        let metadata: Metadata = serde_json::from_value(value)
            .map_err(|error| Unread::NotZarr(format!("metadata that is wrong: {error}")))?;
        metadata.form()
    }
}

/// Tells one `zarr.json` from another.
pub(super) fn stamp(metadata: &[u8]) -> [u8; 32] {
    *blake3::hash(metadata).as_bytes()
}

/// `zarr.json` of an array, as far as it is looked at.
#[derive(Deserialize)]
pub(super) struct Metadata {
    pub(super) shape: Vec<u64>,
    pub(super) data_type: Value,
    pub(super) chunk_grid: Extension,
    pub(super) chunk_key_encoding: Extension,
    pub(super) fill_value: Value,
    pub(super) codecs: Vec<Extension>,
    #[serde(default)]
    storage_transformers: Vec<Value>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// A name with a configuration, or the name alone.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Extension {
    Short(String),
    Full {
        name: String,
        #[serde(default)]
        configuration: Value,
    },
}

/// Members that say nothing about where the entries are.
const UNDERSTOOD: [&str; 4] = ["zarr_format", "node_type", "attributes", "dimension_names"];

impl Metadata {
    fn form(&self) -> Result<Form, Unread> {
        if let Some(transformer) = self.storage_transformers.first() {
            let found = excerpt(transformer);
            let expected = "no storage transformers";
            return Err(Unread::Foreign { expected, found });
        }
        let must_be_understood = |(name, value): &(&String, &Value)| {
            !UNDERSTOOD.contains(&name.as_str()) && value["must_understand"] != Value::Bool(false)
        };
        if let Some((name, _)) = self.rest.iter().find(must_be_understood) {
            let found = format!("`{}`", shown(name));
            let expected = "no extension";
            return Err(Unread::Foreign { expected, found });
        }
        match self.layout() {
            Some(layout) => Ok(Form::Ours(layout)),
            None => Foreign::new(self).map(Form::Foreign),
        }
    }

    /// The layout of the array if it is that of blocks; a vector is read as arrays of others are.
    fn layout(&self) -> Option<Layout> {
        let &[rows, cols] = self.shape.as_slice() else {
            return None;
        };
        let chunk = self.chunk_grid.configuration()["chunk_shape"].as_array()?;
        let separator = &self.chunk_key_encoding.configuration()["separator"];
        let is_ours = self.data_type == "float64"
            && self.chunk_grid.name() == "regular"
            && self.chunk_key_encoding.name() == "default"
            && (separator.is_null() || separator == "/")
            // Not -0.0, nor a NaN, which is text.
            && self.fill_value.as_f64().map(f64::to_bits) == Some(0)
            && self.has_our_codecs();
        let side = |value: &Value| value.as_u64().and_then(|side| u32::try_from(side).ok());
        match chunk.as_slice() {
            [chunk_rows, chunk_cols] if is_ours => {
                let chunk = (side(chunk_rows)?, side(chunk_cols)?);
                Layout::new(ArrayForm::matrix(rows, cols), chunk).ok()
            }
            _ => None,
        }
    }

    fn has_our_codecs(&self) -> bool {
        let [transpose, bytes, checksum] = self.codecs.as_slice() else {
            return false;
        };
        transpose.name() == "transpose"
            && transpose.configuration()["order"] == json!([1, 0])
            && bytes.name() == "bytes"
            && bytes.configuration()["endian"] == "little"
            && checksum.name() == "crc32c"
    }
}

impl Extension {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Short(name) | Self::Full { name, .. } => name,
        }
    }

    pub(super) fn configuration(&self) -> &Value {
        match self {
            Self::Short(_) => &Value::Null,
            Self::Full { configuration, .. } => configuration,
        }
    }
}

impl std::fmt::Display for Extension {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&shown(self.name()))?;
        match self.configuration() {
            Value::Null => Ok(()),
            configuration => write!(f, " {}", excerpt(configuration)),
        }
    }
}

/// A value on one line, cut where it is long.
pub(super) fn excerpt(value: &Value) -> String {
    shown(&value.to_string())
}

fn shown(text: &str) -> String {
    const LENGTH: usize = 80;
    let mut cut: String = text.escape_debug().take(LENGTH).collect();
    if text.escape_debug().nth(LENGTH).is_some() {
        cut.push_str("..");
    }
    cut.replace("\\\"", "\"")
}
